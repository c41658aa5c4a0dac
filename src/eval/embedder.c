#include "embedder.h"
#include "token_rows.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rt_embedder {
    rt_embedder_options o;
    rt_tok_scratch *scratch;
    rt_tok_stats stats;
    rt_feed *feed;
    int max_tokens; /* of a batch, and so of a text */
    rt_token_rows rows;
    unsigned char *raw; /* [max_seqs, H] pooled, as the backend keeps it */
    float *vectors;     /* [vectors_capacity, width] */
    size_t vectors_capacity;
};

static rt_status check(const rt_embedder_options *o) {
    const rt_encoder_sizes *sizes = &o->encoder->sizes;
    int hidden = o->encoder->model->bert.hidden;
    if (o->width < 0 || o->width > hidden)
        return rt_fail(RT_ECONFIG, "%d dimensions of a vector: the model has %d", o->width, hidden);
    if (o->batch_tokens < 1 || o->batch_tokens > sizes->eval_tokens || o->max_seqs < 1 ||
        o->max_seqs > sizes->eval_seqs || o->encode.max_length > sizes->eval_tokens)
        return rt_fail(RT_EINTERNAL, "an encoder for batches of %d tokens and %d texts cannot embed %d and %d, %d long",
                       sizes->eval_tokens, sizes->eval_seqs, o->batch_tokens, o->max_seqs, o->encode.max_length);
    return RT_OK;
}

rt_status rt_embedder_new(const rt_embedder_options *options, rt_embedder **out) {
    rt_status rc = RT_OK;
    rt_embedder *e = NULL;
    RT_TRY(check(options));
    e = calloc(1, sizeof *e);
    if (!e) return rt_fail(RT_ENOMEM, "out of memory to embed");
    int hidden = options->encoder->model->bert.hidden, longest = options->encode.max_length;
    e->o = *options;
    if (!e->o.width) e->o.width = hidden;
    e->max_tokens = options->batch_tokens > longest ? options->batch_tokens : longest;
    e->scratch = rt_tok_scratch_new();
    e->raw = malloc((size_t)options->max_seqs * (size_t)hidden * sizeof(float));
    if (!e->scratch || !e->raw) RT_GO(rt_fail(RT_ENOMEM, "out of memory to embed"));
    RT_GO(rt_feed_new(options->encoder->model->be, e->max_tokens, options->max_seqs, &e->feed));
    *out = e;
    return RT_OK;
done:
    rt_embedder_free(e);
    return rc;
}

void rt_embedder_free(rt_embedder *e) {
    if (!e) return;
    rt_tok_scratch_free(e->scratch);
    rt_feed_free(e->feed);
    rt_token_rows_free(&e->rows);
    free(e->raw);
    free(e->vectors);
    free(e);
}

int rt_embedder_width(const rt_embedder *e) {
    return e->o.width;
}

uint32_t rt_embedder_rows(const rt_embedder *e) {
    return e->rows.n;
}

const rt_tok_stats *rt_embedder_stats(const rt_embedder *e) {
    return &e->stats;
}

rt_status rt_embedder_add(rt_embedder *e, const char *text, size_t size) {
    int32_t *ids;
    int n = 0, split = 0;
    RT_TRY(rt_token_rows_room(&e->rows, e->o.encode.max_length, &ids));
    RT_TRY(rt_encode(e->o.tok, e->scratch, &e->o.encode, text, size, NULL, 0, ids, &n, &split, &e->stats));
    rt_token_rows_push(&e->rows, n, n);
    return RT_OK;
}

rt_status rt_embedder_add_ids(rt_embedder *e, const int32_t *ids, int n) {
    int32_t *to;
    if (n < 1 || n > e->max_tokens || n > e->o.encoder->sizes.max_len)
        return rt_fail(RT_EINTERNAL, "a text of %d tokens does not fit a batch of %d", n, e->max_tokens);
    RT_TRY(rt_token_rows_room(&e->rows, n, &to));
    memcpy(to, ids, (size_t)n * sizeof *ids);
    rt_token_rows_push(&e->rows, n, n);
    return RT_OK;
}

/* The first `width` of a pooled vector's elements, in f32. */
static void widen(rt_dtype dtype, const unsigned char *raw, int width, float *out) {
    if (dtype == RT_F32) {
        memcpy(out, raw, (size_t)width * sizeof *out);
        return;
    }
    for (int i = 0; i < width; i++) {
        rt_bf16 narrow;
        memcpy(&narrow, raw + (size_t)i * sizeof narrow, sizeof narrow);
        uint32_t wide = (uint32_t)narrow << 16;
        memcpy(&out[i], &wide, sizeof wide);
    }
}

/* A vector of zeros has no direction and stays as it is. */
static void make_unit(float *v, int n) {
    double squares = 0;
    for (int i = 0; i < n; i++) squares += (double)v[i] * (double)v[i];
    if (!(squares > 0)) return;
    double scale = 1 / sqrt(squares);
    for (int i = 0; i < n; i++) v[i] = (float)(v[i] * scale);
}

static rt_status embed_batch(void *context, const rt_batch *batch, const uint32_t *rows, int n) {
    rt_embedder *e = context;
    rt_backend *be = e->o.encoder->model->be;
    size_t row = (size_t)e->o.encoder->model->bert.hidden * rt_dtype_size(be->act), width = (size_t)e->o.width;
    RT_TRY(rt_encoder_forward(e->o.encoder, batch, &(rt_pass){.training = false}));
    RT_TRY(be->download(be, e->raw, e->o.encoder->last->pooled, (size_t)n * row));
    for (int i = 0; i < n; i++) {
        float *v = e->vectors + rows[i] * width;
        widen(be->act, e->raw + (size_t)i * row, e->o.width, v);
        if (e->o.unit) make_unit(v, e->o.width);
    }
    return RT_OK;
}

rt_status rt_embedder_run(rt_embedder *e, const float **vectors) {
    if (e->rows.n > e->vectors_capacity) {
        float *grown = realloc(e->vectors, e->rows.n * (size_t)e->o.width * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory for %u vectors of %d", e->rows.n, e->o.width);
        e->vectors = grown;
        e->vectors_capacity = e->rows.n;
    }
    RT_TRY(rt_token_rows_run(&e->rows, &(rt_token_run){.feed = e->feed,
                                                       .batch_tokens = e->o.batch_tokens,
                                                       .max_seqs = e->o.max_seqs,
                                                       .stop = e->o.stop,
                                                       .context = e,
                                                       .each = embed_batch}));
    *vectors = e->vectors;
    rt_token_rows_clear(&e->rows);
    return RT_OK;
}
