#include "baseline.h"
#include "../data/feed.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Two texts of a row, by their sequences in the batch. */
typedef struct {
    uint32_t row;
    int a, b;
} text_pair;

/* A batch under construction. Rows that follow each other often share text_a (an impression's query): it is run once.
 */
typedef struct {
    rt_encoder *encoder;
    rt_feed *feed;
    rt_batch_buffer *buffer; /* the feed's, being filled; NULL: none yet */
    text_pair *pairs;        /* [max_seqs] */
    int n_pairs;
    unsigned char *raw; /* [max_seqs, H] pooled, as the backend keeps it */
    float *pooled;      /* [max_seqs, H] */
} pair_batch;

static const rt_batch *batch_of(const pair_batch *b) {
    return &b->buffer->batch;
}

/* *sequence is its number in the batch. */
static rt_status add_text(pair_batch *b, int32_t first, const int32_t *rest, int n, int *sequence) {
    int32_t *ids = (int32_t *)batch_of(b)->input_ids + batch_of(b)->n_tokens; /* the buffer's own memory */
    ids[0] = first;
    memcpy(ids + 1, rest, (size_t)(n - 1) * sizeof *ids);
    *sequence = batch_of(b)->n_seqs;
    return rt_batch_add(b->buffer, ids, n, n, 0, 0.0f, 0);
}

/* The last pair's text_a if it is this one, else -1. */
static int last_text_a(const pair_batch *b, const int32_t *ids, int n) {
    if (b->n_pairs == 0) return -1;
    const rt_batch *batch = batch_of(b);
    int a = b->pairs[b->n_pairs - 1].a, start = batch->cu_seqlens[a];
    bool same =
        batch->cu_seqlens[a + 1] - start == n && memcmp(batch->input_ids + start, ids, (size_t)n * sizeof *ids) == 0;
    return same ? a : -1;
}

static double cosine(const float *a, const float *b, int n) {
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static rt_status begin_batch(pair_batch *b) {
    RT_TRY(rt_feed_begin(b->feed, &b->buffer));
    rt_batch_begin(b->buffer);
    b->n_pairs = 0;
    return RT_OK;
}

static rt_status run_batch(pair_batch *b, double *scores) {
    const rt_batch *batch;
    rt_backend *be = b->encoder->model->be;
    int hidden = b->encoder->model->bert.hidden, n_seqs = batch_of(b)->n_seqs;
    if (n_seqs == 0) return RT_OK;
    rt_batch_finish(b->buffer, false);
    RT_TRY(rt_feed_send(b->feed, &batch));
    RT_TRY(rt_encoder_forward(b->encoder, batch, &(rt_pass){.training = false}));
    size_t values = (size_t)n_seqs * (size_t)hidden;
    RT_TRY(be->download(be, b->raw, b->encoder->last->pooled, values * rt_dtype_size(be->act)));
    if (be->act == RT_F32) {
        memcpy(b->pooled, b->raw, values * sizeof *b->pooled);
    } else {
        for (size_t i = 0; i < values; i++) {
            rt_bf16 narrow;
            memcpy(&narrow, b->raw + i * sizeof narrow, sizeof narrow);
            uint32_t wide = (uint32_t)narrow << 16;
            memcpy(&b->pooled[i], &wide, sizeof wide);
        }
    }
    for (int p = 0; p < b->n_pairs; p++)
        scores[b->pairs[p].row] = cosine(b->pooled + (size_t)b->pairs[p].a * (size_t)hidden,
                                         b->pooled + (size_t)b->pairs[p].b * (size_t)hidden, hidden);
    RT_TRY(rt_feed_end(b->feed));
    return begin_batch(b);
}

static rt_status pair_batch_new(rt_encoder *encoder, int batch_tokens, int max_seqs, pair_batch *b) {
    size_t values = (size_t)max_seqs * (size_t)encoder->model->bert.hidden;
    *b = (pair_batch){.encoder = encoder};
    RT_TRY(rt_feed_new(encoder->model->be, batch_tokens, max_seqs, &b->feed));
    b->pairs = malloc((size_t)max_seqs * sizeof *b->pairs);
    b->raw = malloc(values * sizeof(float));
    b->pooled = malloc(values * sizeof *b->pooled);
    if (!b->pairs || !b->raw || !b->pooled) return rt_fail(RT_ENOMEM, "out of memory: vectors of %d texts", max_seqs);
    return begin_batch(b);
}

static void pair_batch_free(pair_batch *b) {
    rt_feed_free(b->feed);
    free(b->pairs);
    free(b->raw);
    free(b->pooled);
}

rt_status rt_baseline_cosine(rt_encoder *encoder, const rt_dataset *ds, int batch_tokens, int max_seqs,
                             bool (*stop)(void), double *scores) {
    if (encoder->model->bert.pooling != RT_POOL_MEAN)
        return rt_fail(RT_ECONFIG, "the cosine of two texts needs model.pooling = mean");
    rt_status rc = RT_OK;
    pair_batch b = {0};
    uint32_t n_rows = rt_dataset_rows(ds);
    const uint16_t *lengths = rt_dataset_lengths(ds);
    int32_t *ids = malloc((size_t)UINT16_MAX * sizeof *ids);
    if (!ids) RT_GO(rt_fail(RT_ENOMEM, "out of memory: ids of a row"));
    RT_GO(pair_batch_new(encoder, batch_tokens, max_seqs, &b));
    for (uint32_t row = 0; row < n_rows; row++) {
        int split = 0, n = lengths[row]; /* [CLS] A [SEP] | B [SEP]; B gets a [CLS] of its own */
        RT_GO(rt_dataset_tokens(ds, row, ids, &split));
        scores[row] = 0;
        if (split < 1 || split >= n) continue;
        if (n + 1 > batch_tokens || max_seqs < 2)
            RT_GO(rt_fail(RT_EINTERNAL, "row %u: %d tokens do not fit a batch of %d", row, n + 1, batch_tokens));
        if (batch_of(&b)->n_tokens + n + 1 > batch_tokens || batch_of(&b)->n_seqs + 2 > max_seqs) {
            if (stop && stop()) RT_GO(rt_fail(RT_ESTOPPED, "stopped by a signal"));
            RT_GO(run_batch(&b, scores));
        }
        text_pair pair = {.row = row, .a = last_text_a(&b, ids, split)};
        if (pair.a < 0) RT_GO(add_text(&b, ids[0], ids + 1, split, &pair.a));
        RT_GO(add_text(&b, ids[0], ids + split, n - split + 1, &pair.b));
        b.pairs[b.n_pairs++] = pair;
    }
    RT_GO(run_batch(&b, scores));
done:
    pair_batch_free(&b);
    free(ids);
    return rc;
}
