/* See emulated.h. With RT_ON_GPU (tests/gpu/device.c) the same over a real GPU's table. */
#define RT_EMULATED_ITSELF
#include "emulated.h"
#include "device_memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPEN_MAX = 64, BINDINGS = 32 };

typedef struct {
    rt_backend api; /* first: a rt_backend pointer is a pointer to this */
    rt_check *c;
    device_place place;
    bool captured;
    uint64_t seed;
} emulated;

static emulated *opened[OPEN_MAX];

/* --- one call's arguments ---------------------------------------------------------------------------------------- */

enum { IN = 1, OUT = 2, FINITE = 4, ZERO = 8 }; /* FINITE, ZERO: what the rows beyond must hold afterwards */

typedef struct {
    void *host, *device, *image; /* image: what the host sees of the device's memory */
    size_t bytes, room;
    int mode;
    rt_dtype dtype;
} binding;

/* A host array in pieces: rows of a matrix whose columns between the rows are somebody else's, or rows of [heads, rows]
 * which the device has more of. Between its pieces the device's memory must stay as it is. */
typedef struct {
    char *host, *device, *image;
    size_t bytes, host_step, device_step, pieces, room; /* room: pieces on the device */
    size_t last;                                        /* bytes from the last piece's begin to the end */
    int mode;
    rt_dtype dtype;
} spread;

typedef struct {
    emulated *e;
    const char *op;
    binding list[BINDINGS];
    spread spreads[BINDINGS];
    int count, spread_count;
    rt_batch batch; /* on the device */
    int64_t tokens, rows;
} call;

/* `n` elements of the host's, room for `room` on the device. Pointers that are one stay one. */
static void *bind(call *k, const void *host, rt_dtype dtype, int64_t n, int64_t room, int mode) {
    if (!host) return NULL;
    binding *b = NULL;
    for (int i = 0; i < k->count; i++)
        if (k->list[i].host == host) b = &k->list[i];
    if (!b) {
        assert_true(k->count < BINDINGS);
        b = &k->list[k->count++];
        *b = (binding){(void *)(uintptr_t)host,
                       NULL,
                       NULL,
                       (size_t)n * rt_dtype_size(dtype),
                       (size_t)room * rt_dtype_size(dtype),
                       0,
                       dtype};
        b->device = device_alloc(&k->e->place, b->room, &b->image);
    }
    b->mode |= mode;
    if (mode & IN) memcpy(b->image, host, b->bytes);
    return b->device;
}

/* The host's view of what `bind` gave; it reaches the device before the launch. */
static void *image_of(const call *k, const void *device) {
    for (int i = 0; i < k->count; i++)
        if (device && k->list[i].device == device) return k->list[i].image;
    return NULL;
}

static void *words(call *k, const void *host, int64_t n, int64_t room) {
    return bind(k, host, RT_F32, n, room, IN);
}

static call begin(rt_backend *backend, const char *op, const rt_batch *batch) {
    call k = {.e = (emulated *)backend, .op = op};
    device_seed(k.e->seed);
    if (!batch) return k;
    k.tokens = batch->n_tokens, k.rows = batch->n_seqs;
    k.batch = *batch;
    k.batch.bucket += 64; /* for all seeds: the bucket may change bits, the seed may not */
    if (k.e->captured) k.batch.n_seqs = batch->capacity;
    const int64_t tokens = batch->n_tokens, seqs = batch->n_seqs, bucket = k.batch.bucket, room = batch->capacity;
    k.batch.input_ids = words(&k, batch->input_ids, tokens, bucket);
    k.batch.positions = words(&k, batch->positions, tokens, bucket);
    k.batch.types = words(&k, batch->types, tokens, bucket);
    k.batch.cu_seqlens = words(&k, batch->cu_seqlens, room + 1, room + 1);
    k.batch.example_id = words(&k, batch->example_id, seqs, room);
    k.batch.sorted_tokens = words(&k, batch->sorted_tokens, tokens, bucket);
    /* As the contract has them beyond the batch's rows: 0. */
    k.batch.row_scale = words(&k, batch->row_scale, seqs, room);
    k.batch.labels = words(&k, batch->labels, seqs, room);
    float *scale = image_of(&k, k.batch.row_scale);
    int32_t *labels = image_of(&k, k.batch.labels);
    for (int64_t b = seqs; b < room; b++) {
        if (scale) scale[b] = 0;
        if (labels) labels[b] = 0;
    }
    return k;
}

/* [rows, width] of activations: a row a token, or one a sequence. */
static void *rows_of(call *k, const void *host, rt_rows rows, int64_t width, int mode) {
    const bool first = rows == RT_ROWS_FIRST;
    return bind(k, host, k->e->api.act, (first ? k->rows : k->tokens) * width,
                (first ? k->batch.n_seqs : k->batch.bucket) * width, mode);
}
static float *numbers(call *k, const void *host, rt_rows rows, int64_t width, int mode) {
    const bool first = rows == RT_ROWS_FIRST;
    return bind(k, host, RT_F32, (first ? k->rows : k->tokens) * width,
                (first ? k->batch.n_seqs : k->batch.bucket) * width, mode);
}
static float *parameter(call *k, const float *host, int64_t n, int mode) {
    return bind(k, host, RT_F32, n, n, mode);
}
static rt_dropout dropout_of(call *k, rt_dropout d) {
    d.state = bind(k, d.state, RT_F32, sizeof *d.state / 4, sizeof *d.state / 4, IN);
    return d;
}

static size_t spread_bytes(const spread *s) {
    return s->room ? (s->room - 1) * s->device_step + s->last : 0;
}

static void *bind_spread(call *k, const void *host, rt_dtype dtype, int mode, spread s) {
    if (!host) return NULL;
    assert_true(k->spread_count < BINDINGS);
    s.host = (char *)(uintptr_t)host, s.mode = mode, s.dtype = dtype;
    void *image;
    s.device = device_alloc(&k->e->place, spread_bytes(&s), &image);
    s.image = image;
    for (size_t i = 0; mode & IN && i < s.pieces; i++)
        memcpy(s.image + i * s.device_step, s.host + i * s.host_step, s.bytes);
    k->spreads[k->spread_count++] = s;
    return s.device;
}

/* Rows of `width` elements, `stride` from one to the next. The last row's gap is not there: the array may be the end of
 * somebody else's. */
static void *strided(call *k, const void *host, rt_rows rows, int64_t width, int64_t stride, int mode) {
    const size_t size = rt_dtype_size(k->e->api.act);
    const bool first = rows == RT_ROWS_FIRST;
    return bind_spread(k, host, k->e->api.act, mode,
                       (spread){.bytes = (size_t)width * size,
                                .last = (size_t)width * size,
                                .host_step = (size_t)stride * size,
                                .device_step = (size_t)stride * size,
                                .pieces = (size_t)(first ? k->rows : k->tokens),
                                .room = (size_t)(first ? k->batch.n_seqs : k->batch.bucket)});
}

/* [heads, rows] of fp32, with as many rows on the device as it works on. */
static float *by_heads(call *k, const float *host, rt_rows rows, int64_t heads, int mode) {
    const bool first = rows == RT_ROWS_FIRST;
    const size_t mine = (size_t)(first ? k->rows : k->tokens) * 4;
    const size_t room = (size_t)(first ? k->batch.n_seqs : k->batch.bucket) * 4;
    return bind_spread(k, host, RT_F32, mode,
                       (spread){.bytes = mine,
                                .host_step = mine,
                                .device_step = room,
                                .last = room,
                                .pieces = (size_t)heads,
                                .room = (size_t)heads});
}

static void end_spread(const call *k, const spread *s, bool done) {
    const size_t size = rt_dtype_size(s->dtype);
    for (size_t i = 0; done && i < s->room; i++) {
        char *piece = s->image + i * s->device_step;
        if (i < s->pieces && s->mode & OUT) memcpy(s->host + i * s->host_step, piece, s->bytes);
        if (i < s->pieces && !(s->mode & OUT) && memcmp(s->host + i * s->host_step, piece, s->bytes) != 0)
            fail_msg("%s: wrote to an input", k->op);
        for (size_t n = 0; i >= s->pieces && s->mode & ZERO && n < s->bytes / size; n++)
            if (!(rt_check_get(s->dtype, piece, n) == 0))
                fail_msg("%s: row %zu beyond the batch's rows is not zero", k->op, i - s->pieces);
        /* Between the pieces of [heads, rows] are rows, written or not; between rows, what is somebody else's. */
        for (size_t n = s->bytes; s->last == s->bytes && n < s->device_step && i + 1 < s->room; n++)
            if ((unsigned char)piece[n] != 0xFF) fail_msg("%s: wrote behind row %zu", k->op, i);
    }
    device_free(&k->e->place, s->device, s->image, spread_bytes(s));
}

static void check_beyond(const call *k, const binding *b) {
    const size_t size = rt_dtype_size(b->dtype);
    for (size_t i = b->bytes / size; i < b->room / size; i++) {
        const double x = rt_check_get(b->dtype, b->image, i);
        if ((b->mode & FINITE && !isfinite(x)) || (b->mode & ZERO && !(x == 0)))
            fail_msg("%s: element %zu beyond the batch's rows is %g (buffer %d)", k->op, i - b->bytes / size, x,
                     (int)(b - k->list));
    }
}

/* What the host wrote into the images is the device's; the call itself; what the device wrote is the images'. */
static const device_place *ready(const call *k) {
    for (int i = 0; i < k->count; i++) device_write(&k->e->place, k->list[i].device, k->list[i].image, k->list[i].room);
    for (int i = 0; i < k->spread_count; i++)
        device_write(&k->e->place, k->spreads[i].device, k->spreads[i].image, spread_bytes(&k->spreads[i]));
    return &k->e->place;
}
#define RUN(k, op, args) end((k), DEVICE_CALL(op, ready(k), (args)))

static rt_status end(call *k, rt_status status) {
    if (status == RT_EINTERNAL) fail_msg("%s: %s", k->op, rt_error_get()->text);
    for (int i = 0; i < k->count; i++)
        device_read(&k->e->place, k->list[i].device, k->list[i].image, k->list[i].room, k->op);
    for (int i = 0; i < k->spread_count; i++)
        device_read(&k->e->place, k->spreads[i].device, k->spreads[i].image, spread_bytes(&k->spreads[i]), k->op);
    device_check(k->op);
    for (int i = 0; i < k->count; i++) {
        binding *b = &k->list[i];
        if (status == RT_OK && b->mode & OUT) {
            memcpy(b->host, b->image, b->bytes);
            check_beyond(k, b);
        }
        if (status == RT_OK && !(b->mode & OUT) && memcmp(b->host, b->image, b->bytes) != 0)
            fail_msg("%s: wrote to an input (buffer %d)", k->op, i);
        device_free(&k->e->place, b->device, b->image, b->room);
    }
    for (int i = 0; i < k->spread_count; i++) end_spread(k, &k->spreads[i], status == RT_OK);
    return status;
}

/* --- ops ---------------------------------------------------------------------------------------------------------- */

static rt_status embed_forward(rt_backend *backend, const rt_embed_forward_args *args) {
    rt_embed_forward_args a = *args;
    call k = begin(backend, "embed_forward", a.batch);
    const int64_t n = a.hidden;
    int32_t words_most = 0, positions = 0, types = 0; /* the tables' sizes are not among the arguments */
    for (int t = 0; t < a.batch->n_tokens; t++) {
        if (a.batch->input_ids[t] >= words_most) words_most = a.batch->input_ids[t] + 1;
        if (a.batch->positions[t] >= positions) positions = a.batch->positions[t] + 1;
        if (a.batch->types[t] >= types) types = a.batch->types[t] + 1;
    }
    a.batch = &k.batch, a.dropout = dropout_of(&k, a.dropout);
    /* A test may give one table three times. */
    const int64_t most = words_most > positions ? words_most : positions;
    const bool one = a.word == a.position;
    a.word = parameter(&k, a.word, (one ? most : words_most) * n, IN);
    a.position = parameter(&k, a.position, positions * n, IN), a.type = parameter(&k, a.type, types * n, IN);
    a.gamma = parameter(&k, a.gamma, n, IN), a.beta = parameter(&k, a.beta, n, IN);
    a.y = rows_of(&k, a.y, RT_ROWS_TOKENS, n, OUT | FINITE);
    a.mean = numbers(&k, a.mean, RT_ROWS_TOKENS, 1, OUT | FINITE);
    a.rstd = numbers(&k, a.rstd, RT_ROWS_TOKENS, 1, OUT | FINITE);
    return RUN(&k, embed_forward, &a);
}

static rt_status embed_backward(rt_backend *backend, const rt_embed_backward_args *args) {
    rt_embed_backward_args a = *args;
    call k = begin(backend, "embed_backward", a.batch);
    const int64_t n = a.hidden;
    const int sum = OUT | (a.accumulate ? IN : 0);
    a.batch = &k.batch, a.dropout = dropout_of(&k, a.dropout);
    a.word = parameter(&k, a.word, a.vocab * n, IN), a.type = parameter(&k, a.type, a.type_vocab * n, IN);
    a.position = parameter(&k, a.position, a.max_positions * n, IN), a.gamma = parameter(&k, a.gamma, n, IN);
    a.mean = numbers(&k, a.mean, RT_ROWS_TOKENS, 1, IN), a.rstd = numbers(&k, a.rstd, RT_ROWS_TOKENS, 1, IN);
    a.dy = rows_of(&k, a.dy, RT_ROWS_TOKENS, n, IN | OUT | ZERO);
    a.dword = parameter(&k, a.dword, a.vocab * n, sum), a.dtype = parameter(&k, a.dtype, a.type_vocab * n, sum);
    a.dposition = parameter(&k, a.dposition, a.max_positions * n, sum);
    a.dgamma = parameter(&k, a.dgamma, n, sum), a.dbeta = parameter(&k, a.dbeta, n, sum);
    return RUN(&k, embed_backward, &a);
}

/* The same arguments on the device; `mode`: of what forward writes. */
static void bind_attention(call *k, rt_attention_forward_args *f, int mode) {
    const int64_t width = (int64_t)f->heads * f->head_dim;
    f->batch = &k->batch, f->dropout = dropout_of(k, f->dropout);
    f->q = strided(k, f->q, f->queries, width, f->q_stride, IN);
    f->k = strided(k, f->k, RT_ROWS_TOKENS, width, f->k_stride, IN);
    f->v = strided(k, f->v, RT_ROWS_TOKENS, width, f->v_stride, IN);
    f->out = strided(k, f->out, f->queries, width, f->out_stride, mode);
    f->lse = by_heads(k, f->lse, f->queries, f->heads, mode & (IN | OUT));
}

static rt_status attention_forward(rt_backend *backend, const rt_attention_forward_args *args) {
    rt_attention_forward_args f = *args;
    call k = begin(backend, "attention_forward", f.batch);
    bind_attention(&k, &f, OUT | ZERO);
    return RUN(&k, attention_forward, &f);
}

static rt_status attention_backward(rt_backend *backend, const rt_attention_backward_args *args) {
    rt_attention_backward_args a = *args;
    call k = begin(backend, "attention_backward", a.f.batch);
    const int64_t width = (int64_t)a.f.heads * a.f.head_dim;
    bind_attention(&k, &a.f, IN);
    a.dout = strided(&k, a.dout, a.f.queries, width, a.f.out_stride, IN);
    a.dq = strided(&k, a.dq, a.f.queries, width, a.dq_stride, OUT | ZERO);
    a.dk = strided(&k, a.dk, RT_ROWS_TOKENS, width, a.dk_stride, OUT | ZERO);
    a.dv = strided(&k, a.dv, RT_ROWS_TOKENS, width, a.dv_stride, OUT | ZERO);
    return RUN(&k, attention_backward, &a);
}

static rt_status residual_norm_forward(rt_backend *backend, const rt_residual_norm_forward_args *args) {
    rt_residual_norm_forward_args a = *args;
    call k = begin(backend, "residual_norm_forward", a.batch);
    const int64_t n = a.hidden;
    a.batch = &k.batch, a.dropout = dropout_of(&k, a.dropout);
    a.bias = parameter(&k, a.bias, n, IN);
    a.gamma = parameter(&k, a.gamma, n, IN), a.beta = parameter(&k, a.beta, n, IN);
    a.x = rows_of(&k, a.x, a.rows, n, IN | OUT | FINITE);
    a.residual = rows_of(&k, a.residual, a.rows, n, IN);
    a.y = rows_of(&k, a.y, a.rows, n, OUT | FINITE);
    a.mean = numbers(&k, a.mean, a.rows, 1, OUT | FINITE), a.rstd = numbers(&k, a.rstd, a.rows, 1, OUT | FINITE);
    return RUN(&k, residual_norm_forward, &a);
}

static rt_status residual_norm_backward(rt_backend *backend, const rt_residual_norm_backward_args *args) {
    rt_residual_norm_backward_args a = *args;
    call k = begin(backend, "residual_norm_backward", a.batch);
    const int64_t n = a.hidden;
    const int sum = OUT | (a.accumulate ? IN : 0);
    a.batch = &k.batch, a.dropout = dropout_of(&k, a.dropout);
    a.gamma = parameter(&k, a.gamma, n, IN);
    a.z = rows_of(&k, a.z, a.rows, n, IN), a.dy = rows_of(&k, a.dy, a.rows, n, IN);
    a.mean = numbers(&k, a.mean, a.rows, 1, IN), a.rstd = numbers(&k, a.rstd, a.rows, 1, IN);
    a.dresidual = rows_of(&k, a.dresidual, a.rows, n, OUT | ZERO), a.dx = rows_of(&k, a.dx, a.rows, n, OUT | ZERO);
    a.dbias = parameter(&k, a.dbias, n, sum);
    a.dgamma = parameter(&k, a.dgamma, n, sum), a.dbeta = parameter(&k, a.dbeta, n, sum);
    return RUN(&k, residual_norm_backward, &a);
}

static rt_status rows_forward(rt_backend *backend, const rt_rows_forward_args *args, bool mean) {
    rt_rows_forward_args a = *args;
    call k = begin(backend, mean ? "mean_rows_forward" : "select_rows_forward", a.batch);
    a.batch = &k.batch;
    a.x = rows_of(&k, a.x, RT_ROWS_TOKENS, a.hidden, IN);
    a.y = rows_of(&k, a.y, RT_ROWS_FIRST, a.hidden, OUT | ZERO);
    return mean ? RUN(&k, mean_rows_forward, &a) : RUN(&k, select_rows_forward, &a);
}
static rt_status rows_backward(rt_backend *backend, const rt_rows_backward_args *args, bool mean) {
    rt_rows_backward_args a = *args;
    call k = begin(backend, mean ? "mean_rows_backward" : "select_rows_backward", a.batch);
    a.batch = &k.batch;
    a.dy = rows_of(&k, a.dy, RT_ROWS_FIRST, a.hidden, IN);
    a.dx_add = rows_of(&k, a.dx_add, RT_ROWS_TOKENS, a.hidden, IN);
    a.dx = rows_of(&k, a.dx, RT_ROWS_TOKENS, a.hidden, OUT | ZERO);
    return mean ? RUN(&k, mean_rows_backward, &a) : RUN(&k, select_rows_backward, &a);
}
static rt_status select_rows_forward(rt_backend *backend, const rt_rows_forward_args *a) {
    return rows_forward(backend, a, false);
}
static rt_status mean_rows_forward(rt_backend *backend, const rt_rows_forward_args *a) {
    return rows_forward(backend, a, true);
}
static rt_status select_rows_backward(rt_backend *backend, const rt_rows_backward_args *a) {
    return rows_backward(backend, a, false);
}
static rt_status mean_rows_backward(rt_backend *backend, const rt_rows_backward_args *a) {
    return rows_backward(backend, a, true);
}

static rt_status dropout(rt_backend *backend, const rt_dropout_args *args) {
    rt_dropout_args a = *args;
    call k = begin(backend, "dropout", a.batch);
    if (k.e->captured) k.batch.n_seqs = args->batch->n_seqs; /* what is beyond is not specified: not even read */
    a.batch = &k.batch, a.dropout = dropout_of(&k, a.dropout);
    a.x = rows_of(&k, a.x, RT_ROWS_FIRST, a.hidden, IN), a.y = rows_of(&k, a.y, RT_ROWS_FIRST, a.hidden, OUT);
    return RUN(&k, dropout, &a);
}

static rt_status classify(rt_backend *backend, const rt_classify_args *args) {
    rt_classify_args a = *args;
    call k = begin(backend, "classify", a.batch);
    a.batch = &k.batch;
    a.logits = numbers(&k, a.logits, RT_ROWS_FIRST, a.labels, IN);
    float *logits = image_of(&k, a.logits);
    for (int64_t i = k.rows * a.labels; i < k.batch.n_seqs * a.labels; i++) logits[i] = (float)(i % 5); /* finite */
    const int results = a.with_labels ? OUT : 0; /* without labels these are left alone */
    if (!results) a.loss = NULL, a.row_loss = a.dlogits = NULL;
    a.loss = bind(&k, a.loss, RT_F32, 2, 2, results);
    a.row_loss = numbers(&k, a.row_loss, RT_ROWS_FIRST, 1, results | FINITE);
    a.probs = numbers(&k, a.probs, RT_ROWS_FIRST, a.labels, OUT | FINITE);
    a.dlogits = numbers(&k, a.dlogits, RT_ROWS_FIRST, a.labels, results | ZERO);
    return RUN(&k, classify, &a);
}

static rt_status sum_squares(rt_backend *backend, const rt_sum_squares_args *args) {
    rt_sum_squares_args a = *args;
    call k = begin(backend, "sum_squares", NULL);
    const int64_t n = a.n > 0 ? a.n : 0, blocks = (n + 65535) / 65536;
    a.x = parameter(&k, a.x, n, IN);
    a.partials = bind(&k, a.partials, RT_F32, 2 * blocks, 2 * blocks, a.x ? OUT : IN);
    if (a.total) a.total = bind(&k, a.total, RT_F32, 2, 2, OUT);
    return RUN(&k, sum_squares, &a);
}

static rt_status adamw(rt_backend *backend, const rt_adamw_args *args) {
    rt_adamw_args a = *args;
    call k = begin(backend, "adamw", NULL);
    int64_t params = 0, trained = 0;
    for (int i = 0; i < a.n_ranges; i++) {
        const rt_adam_range *r = &args->ranges[i];
        if (r->param_off + r->count > params) params = r->param_off + r->count;
        if (r->train_off + r->count > trained) trained = r->train_off + r->count;
    }
    a.params = parameter(&k, a.params, params, IN | OUT), a.grads = parameter(&k, a.grads, trained, IN);
    const int64_t moments = trained - a.moment_off;
    a.m = parameter(&k, a.m, moments, IN | OUT), a.v = parameter(&k, a.v, moments, IN | OUT);
    const int64_t table = a.n_ranges * (int64_t)(sizeof *a.ranges / 4);
    a.ranges = words(&k, a.ranges, table, table);
    a.losses = words(&k, a.losses, 2 * (int64_t)a.n_losses, 2 * (int64_t)a.n_losses);
    a.state = bind(&k, a.state, RT_F32, sizeof *a.state / 4, sizeof *a.state / 4, IN | OUT);
    return RUN(&k, adamw, &a);
}

static rt_status convert(rt_backend *backend, void *to, rt_dtype to_dtype, const void *from, rt_dtype from_dtype,
                         size_t n) {
    call k = begin(backend, "convert", NULL);
    const void *source = bind(&k, from, from_dtype, (int64_t)n, (int64_t)n, IN);
    void *target = bind(&k, to, to_dtype, (int64_t)n, (int64_t)n, OUT);
    return end(&k, DEVICE_CONVERT(ready(&k), target, to_dtype, source, from_dtype, n));
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void close_emulated(emulated *e) {
    device_close(&e->place);
    free(e);
}

rt_check *emulated_open(rt_precision precision, int threads, const rt_dims *dims) {
    emulated *e = calloc(1, sizeof *e);
    assert_non_null(e);
    e->c = rt_check_open(RT_PRECISION_FP32, 1, NULL);
    e->seed = (uint64_t)threads, e->captured = threads % 2 != 0;
    device_open(&e->place, precision, dims);
    e->api = (rt_backend){.name = "emulated",
                          .act = precision == RT_PRECISION_BF16 ? RT_BF16 : RT_F32,
                          .precision = precision,
                          .convert = convert,
                          .embed_forward = embed_forward,
                          .embed_backward = embed_backward,
                          .attention_forward = attention_forward,
                          .attention_backward = attention_backward,
                          .residual_norm_forward = residual_norm_forward,
                          .residual_norm_backward = residual_norm_backward,
                          .select_rows_forward = select_rows_forward,
                          .select_rows_backward = select_rows_backward,
                          .mean_rows_forward = mean_rows_forward,
                          .mean_rows_backward = mean_rows_backward,
                          .dropout = dropout,
                          .classify = classify,
                          .sum_squares = sum_squares,
                          .adamw = adamw};
    DEVICE_MORE(&e->api);
    for (int i = 0; i < OPEN_MAX; i++)
        if (!opened[i]) {
            opened[i] = e;
            return e->c;
        }
    fail_msg("more than %d checks are open", OPEN_MAX);
    return NULL;
}

static int place_of(const rt_check *c) {
    for (int i = 0; i < OPEN_MAX; i++)
        if (opened[i] && opened[i]->c == c) return i;
    fail_msg("a check that is not open");
    return 0;
}

rt_backend *emulated_backend(rt_check *c) {
    return &opened[place_of(c)]->api;
}

void emulated_close(rt_check *c) {
    const int place = place_of(c);
    close_emulated(opened[place]);
    opened[place] = NULL;
    rt_check_close(c);
}
