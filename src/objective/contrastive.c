/* The contrastive objective: vectors out of micro-batches, their loss all together, gradients back into micro-batches.
 */
#include "contrast.h"
#include "objective.h"
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SCORES = 1 << 24, MOST_BLOCK_ROWS = 4096 }; /* 64 MiB of scores at a time */

typedef struct {
    rt_objective base;
    rt_contrastive_options options;
    rt_encoder *encoder;
    int hidden, block_rows; /* rows whose scores are there at a time */
    int max_docs;
    const rt_coupling *step; /* from couple on, with the micro-batch of the last forward */
    int micro;
    /* Host, by place. */
    float *vectors,
        *gradients; /* [sides * max_rows, H]; gradients: first of the unit vectors, then of the pooled ones */
    double *norms;  /* [sides * max_rows] of the pooled vectors; of this rank's */
    double *row_lse, *column_lse, *column_max, *losses;
    float *host_scores; /* [block_rows, max_docs]; NULL where the backend's memory is the host's */
    float *stage_host;  /* [max_seqs, H] */
    /* Backend. */
    float *docs, *ddocs;    /* [max_docs, H] f32 */
    void *queries, *dquery; /* [max_rows, H], [block_rows, H] */
    float *scores, *stage;  /* [block_rows, max_docs], [max(max_seqs, max_rows), H] f32 */
    void *packed;           /* of one tile of documents */
    double *slots;          /* [max_micro] losses */
    size_t packed_bytes;
    int stage_rows;
} rt_contrastive;

static int block_rows_of(const rt_contrastive_options *o) {
    int64_t docs = (int64_t)o->max_rows * (o->sides - 1), most = o->block_scores ? o->block_scores : BLOCK_SCORES;
    int64_t rows = most / docs;
    if (rows < 1) rows = 1;
    if (rows > MOST_BLOCK_ROWS) rows = MOST_BLOCK_ROWS;
    return rows < o->max_rows ? (int)rows : o->max_rows;
}

void rt_contrastive_sizes(const rt_contrastive_options *o, int *head_rows, int *head_width) {
    int64_t docs = (int64_t)o->max_rows * (o->sides - 1);
    *head_rows = block_rows_of(o);
    *head_width = docs < RT_CONTRAST_TILE ? (int)docs : RT_CONTRAST_TILE;
}

static rt_status add_params(rt_objective *o, rt_param_table *table, const rt_bert *bert) {
    (void)o, (void)table;
    if (bert->pooling == RT_POOL_CLS)
        return rt_fail(RT_EINTERNAL, "a contrastive objective on BERT's pooler; mean or first is expected");
    return RT_OK;
}

/* Every buffer with its bytes: one list for taking and giving back. */
typedef struct {
    void **at;
    size_t bytes;
    const char *what;
} buffer;
enum { BUFFERS = 8 };

static int backend_buffers(rt_contrastive *c, buffer list[BUFFERS]) {
    const size_t h = (size_t)c->hidden, act = rt_dtype_size(c->base.be->act), row = h * sizeof(float);
    const buffer all[BUFFERS] = {
        {(void **)&c->docs, (size_t)c->max_docs * row, "vectors of a step"},
        {(void **)&c->ddocs, (size_t)c->max_docs * row, "gradients of a step's vectors"},
        {&c->queries, (size_t)c->options.max_rows * h * act, "vectors of a step"},
        {&c->dquery, (size_t)c->block_rows * h * act, "gradients of a step's vectors"},
        {(void **)&c->scores, (size_t)c->block_rows * (size_t)c->max_docs * sizeof(float), "scores of a step"},
        {(void **)&c->stage, (size_t)c->stage_rows * row, "vectors of a step"},
        {&c->packed, c->packed_bytes, "packed vectors of a step"},
        {(void **)&c->slots, (size_t)c->base.max_micro * sizeof(double), "losses"}};
    memcpy(list, all, sizeof all);
    return BUFFERS;
}

static rt_status host_memory(rt_contrastive *c) {
    const size_t texts = (size_t)c->options.max_rows * (size_t)c->options.sides, rows = (size_t)c->options.max_rows;
    const size_t wide = texts * (size_t)c->hidden;
    c->vectors = calloc(wide, sizeof *c->vectors);
    c->gradients = calloc(wide, sizeof *c->gradients);
    c->norms = calloc(texts, sizeof *c->norms);
    c->row_lse = calloc(rows, sizeof *c->row_lse);
    c->column_lse = calloc(rows, sizeof *c->column_lse);
    c->column_max = calloc(rows, sizeof *c->column_max);
    c->losses = calloc(rows, sizeof *c->losses);
    c->stage_host = calloc((size_t)c->stage_rows * (size_t)c->hidden, sizeof *c->stage_host);
    bool ok = c->vectors && c->gradients && c->norms && c->row_lse && c->column_lse && c->column_max && c->losses &&
              c->stage_host;
    if (!c->base.be->host_memory) {
        c->host_scores = malloc((size_t)c->block_rows * (size_t)c->max_docs * sizeof *c->host_scores);
        ok = ok && c->host_scores;
    }
    return ok ? RT_OK : rt_fail(RT_ENOMEM, "out of memory for the vectors of a step of %zu texts", texts);
}

static rt_status bind(rt_objective *o, rt_encoder *encoder) {
    rt_contrastive *c = (rt_contrastive *)o;
    rt_backend *be = encoder->model->be;
    buffer list[BUFFERS];
    c->encoder = encoder;
    o->be = be;
    if (!encoder->training) return RT_OK;
    c->hidden = encoder->model->bert.hidden;
    c->block_rows = block_rows_of(&c->options);
    c->max_docs = c->options.max_rows * (c->options.sides - 1);
    c->stage_rows = encoder->sizes.train_seqs > c->options.max_rows ? encoder->sizes.train_seqs : c->options.max_rows;
    int rows, width;
    rt_contrastive_sizes(&c->options, &rows, &width);
    c->packed_bytes = be->packed_bytes(be, width, c->hidden);
    const int n = backend_buffers(c, list);
    for (int i = 0; i < n; i++)
        if (list[i].bytes) RT_TRY(be->alloc(be, list[i].bytes, list[i].what, list[i].at));
    return host_memory(c);
}

static void close_contrastive(rt_objective *o) {
    rt_contrastive *c = (rt_contrastive *)o;
    buffer list[BUFFERS];
    const int n = c->encoder && c->encoder->training ? backend_buffers(c, list) : 0;
    for (int i = 0; i < n; i++)
        if (*list[i].at) o->be->release(o->be, *list[i].at, list[i].bytes);
    free(c->vectors);
    free(c->gradients);
    free(c->norms);
    free(c->row_lse);
    free(c->column_lse);
    free(c->column_max);
    free(c->losses);
    free(c->host_scores);
    free(c->stage_host);
    free(c);
}

/* --- vectors ------------------------------------------------------------------------------------------------------ */

static rt_status embed(rt_objective *o, const rt_coupling *step, const rt_batch *batch, const rt_pass *pass,
                       int micro) {
    rt_contrastive *c = (rt_contrastive *)o;
    rt_backend *be = o->be;
    const size_t h = (size_t)c->hidden, values = (size_t)batch->n_seqs * h;
    const int *places = step->places + step->starts[micro];
    RT_TRY(rt_encoder_forward(c->encoder, batch, pass));
    if (!batch->n_seqs) return RT_OK;
    RT_TRY(be->convert(be, c->stage, RT_F32, c->encoder->last->pooled, be->act, values));
    RT_TRY(be->download(be, c->stage_host, c->stage, values * sizeof(float)));
    for (int i = 0; i < batch->n_seqs; i++)
        rt_contrast_normalise(c->stage_host + (size_t)i * h, c->vectors + (size_t)places[i] * h, &c->norms[places[i]],
                              1, c->hidden);
    return RT_OK;
}

static float *vectors(rt_objective *o, int *width) {
    rt_contrastive *c = (rt_contrastive *)o;
    *width = c->hidden;
    return c->vectors;
}

/* --- the loss of a step ------------------------------------------------------------------------------------------- */

static rt_weight tile_weight(const rt_contrastive *c, const rt_contrast *t, int tile) {
    return (rt_weight){.master = c->docs + (int64_t)tile * RT_CONTRAST_TILE * c->hidden,
                       .packed = c->packed,
                       .n = rt_contrast_width(t, tile),
                       .k = c->hidden};
}

static rt_status pack_tile(const rt_contrastive *c, const rt_weight *w) {
    return c->packed ? c->base.be->pack(c->base.be, w->master, w->n, w->k, c->packed) : RT_OK;
}

static const void *queries_from(const rt_contrastive *c, int first) {
    return (const char *)c->queries + (size_t)first * (size_t)c->hidden * rt_dtype_size(c->base.be->act);
}

static int tiles_of(const rt_contrast *t) {
    return (t->documents + RT_CONTRAST_TILE - 1) / RT_CONTRAST_TILE;
}

/* *scores: rows first .. first + n - 1 on the host. */
static rt_status score_block(rt_contrastive *c, const rt_contrast *t, int first, int n, float **scores) {
    rt_backend *be = c->base.be;
    for (int tile = 0; tile < tiles_of(t); tile++) {
        const rt_weight w = tile_weight(c, t, tile);
        RT_TRY(pack_tile(c, &w));
        RT_TRY(be->linear_forward(be, &(rt_linear_forward_args){.w = w,
                                                                .x = queries_from(c, first),
                                                                .y = rt_contrast_tile(c->scores, n, tile),
                                                                .y_dtype = RT_F32,
                                                                .rows = n}));
    }
    *scores = be->host_memory ? c->scores : c->host_scores;
    if (!be->host_memory)
        RT_TRY(be->download(be, *scores, c->scores, (size_t)n * (size_t)t->documents * sizeof(float)));
    rt_contrast_scores(t, *scores, first, n);
    return RT_OK;
}

/* From dloss / dcosine of a block: gradients of its queries, to the host, and of all documents, added up. */
static rt_status gradient_block(rt_contrastive *c, const rt_contrast *t, float *scores, int first, int n) {
    rt_backend *be = c->base.be;
    const size_t values = (size_t)n * (size_t)c->hidden;
    rt_contrast_gradient(t, scores, first, n);
    if (!be->host_memory) RT_TRY(be->upload(be, c->scores, scores, (size_t)n * (size_t)t->documents * sizeof(float)));
    for (int tile = 0; tile < tiles_of(t); tile++) {
        const rt_weight w = tile_weight(c, t, tile);
        RT_TRY(pack_tile(c, &w));
        RT_TRY(be->linear_backward(
            be, &(rt_linear_backward_args){.w = w,
                                           .x = queries_from(c, first),
                                           .dy = rt_contrast_tile(c->scores, n, tile),
                                           .dy_dtype = RT_F32,
                                           .dx = c->dquery,
                                           .dx_add = tile ? c->dquery : NULL,
                                           .dw = c->ddocs + (int64_t)tile * RT_CONTRAST_TILE * c->hidden,
                                           .accumulate = first > 0,
                                           .rows = n}));
    }
    RT_TRY(be->convert(be, c->stage, RT_F32, c->dquery, be->act, values));
    return be->download(be, c->gradients + (size_t)first * (size_t)c->hidden, c->stage, values * sizeof(float));
}

static rt_status send_vectors(rt_contrastive *c, const rt_contrast *t) {
    rt_backend *be = c->base.be;
    const size_t h = (size_t)c->hidden, queries = (size_t)t->rows * h;
    RT_TRY(be->upload(be, c->stage, c->vectors, queries * sizeof(float)));
    RT_TRY(be->convert(be, c->queries, be->act, c->stage, RT_F32, queries));
    return be->upload(be, c->docs, c->vectors + queries, (size_t)t->documents * h * sizeof(float));
}

static rt_status couple(rt_objective *o, const rt_coupling *step) {
    rt_contrastive *c = (rt_contrastive *)o;
    rt_backend *be = o->be;
    const size_t rows = (size_t)step->rows;
    const rt_contrast t = {.rows = step->rows,
                           .documents = step->rows * (step->sides - 1),
                           .scale = c->options.scale,
                           .symmetric = c->options.symmetric,
                           .mask_clicked = c->options.mask_clicked,
                           .weights = step->weights,
                           .users = step->users,
                           .items = step->items,
                           .texts = step->texts + rows,
                           .missing = step->missing + rows,
                           .log_share = step->log_share,
                           .row_lse = c->row_lse,
                           .column_lse = c->column_lse,
                           .column_max = c->column_max,
                           .losses = c->losses};
    float *scores = NULL;
    c->step = step;
    const bool whole = step->rows <= c->block_rows; /* one block: its scores need not be computed twice */
    if (step->rows > c->options.max_rows || step->sides != c->options.sides)
        return rt_fail(RT_EINTERNAL, "a step of %d rows of %d texts, but room for %d of %d", step->rows, step->sides,
                       c->options.max_rows, c->options.sides);
    RT_TRY(send_vectors(c, &t));
    if (t.symmetric) rt_contrast_columns_begin(&t);
    for (int first = 0; first < t.rows; first += c->block_rows) {
        const int n = t.rows - first < c->block_rows ? t.rows - first : c->block_rows;
        RT_TRY(score_block(c, &t, first, n, &scores));
        rt_contrast_rows(&t, scores, first, n);
        if (t.symmetric) rt_contrast_columns(&t, scores, first, n);
        if (!t.symmetric) RT_TRY(gradient_block(c, &t, scores, first, n));
    }
    if (t.symmetric) rt_contrast_columns_end(&t);
    for (int first = 0; t.symmetric && first < t.rows; first += c->block_rows) {
        const int n = t.rows - first < c->block_rows ? t.rows - first : c->block_rows;
        if (!whole) RT_TRY(score_block(c, &t, first, n, &scores));
        RT_TRY(gradient_block(c, &t, scores, first, n));
    }
    float *of_docs = c->gradients + rows * (size_t)c->hidden;
    RT_TRY(be->download(be, of_docs, c->ddocs, (size_t)t.documents * (size_t)c->hidden * sizeof(float)));
    const double loss = step->leads ? rt_contrast_loss(&t) : 0;
    return be->write(be, c->slots, &loss, sizeof loss);
}

/* --- micro-batches ------------------------------------------------------------------------------------------------ */

static rt_status forward(rt_objective *o, const rt_batch *batch, const rt_pass *pass, int micro) {
    rt_contrastive *c = (rt_contrastive *)o;
    c->micro = micro;
    if (micro >= o->max_micro) return rt_fail(RT_EINTERNAL, "micro-batch %d of at most %d", micro, o->max_micro);
    /* Micro-batch 0 was embedded last: what it left is there. */
    return micro ? rt_encoder_forward(c->encoder, batch, pass) : RT_OK;
}

static rt_status backward(rt_objective *o, const rt_batch *batch, const rt_pass *pass, int accumulate,
                          rt_range_done range_done, void *context) {
    rt_contrastive *c = (rt_contrastive *)o;
    rt_backend *be = o->be;
    const size_t h = (size_t)c->hidden, values = (size_t)batch->n_seqs * h;
    const int *places = c->step->places + c->step->starts[c->micro];
    void *dpooled = rt_encoder_dpooled(c->encoder);
    for (int i = 0; i < batch->n_seqs; i++)
        rt_contrast_normalise_backward(c->vectors + (size_t)places[i] * h, &c->norms[places[i]],
                                       c->gradients + (size_t)places[i] * h, c->stage_host + (size_t)i * h, 1,
                                       c->hidden);
    if (values) {
        RT_TRY(be->upload(be, c->stage, c->stage_host, values * sizeof(float)));
        RT_TRY(be->convert(be, dpooled, be->act, c->stage, RT_F32, values));
    }
    return rt_encoder_backward(c->encoder, batch, pass, dpooled, accumulate, range_done, context);
}

static const double *losses(const rt_objective *o) {
    return ((const rt_contrastive *)o)->slots;
}

rt_status rt_objective_contrastive_new(const rt_contrastive_options *options, rt_objective **out) {
    if (options->max_rows < 1 || options->sides < 2)
        return rt_fail(RT_EINTERNAL, "a contrastive objective of %d rows of %d texts", options->max_rows,
                       options->sides);
    rt_contrastive *c = calloc(1, sizeof *c);
    if (!c) return rt_fail(RT_ENOMEM, "out of memory for the objective");
    c->options = *options;
    c->base = (rt_objective){.name = "contrastive",
                             .max_micro = options->max_micro > 0 ? options->max_micro : 1,
                             .add_params = add_params,
                             .bind = bind,
                             .forward = forward,
                             .backward = backward,
                             .embed = embed,
                             .vectors = vectors,
                             .couple = couple,
                             .losses = losses,
                             .close = close_contrastive};
    *out = &c->base;
    return RT_OK;
}
