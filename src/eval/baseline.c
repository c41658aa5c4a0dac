#include "baseline.h"
#include "../data/batch.h"
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
    rt_batch_buffer buffer;
    int32_t *ids, *positions, *cu_seqlens; /* of the buffer */
    int n_tokens, n_seqs, max_len;
    text_pair *pairs; /* [max_seqs] */
    int n_pairs;
    unsigned char *raw; /* [max_seqs, H] pooled, as the backend keeps it */
    float *pooled;      /* [max_seqs, H] */
} pair_batch;

/* Returns the sequence's number. */
static int add_text(pair_batch *b, int32_t first, const int32_t *rest, int n) {
    int32_t *ids = b->ids + b->n_tokens, *positions = b->positions + b->n_tokens;
    ids[0] = first;
    memcpy(ids + 1, rest, (size_t)(n - 1) * sizeof *ids);
    for (int t = 0; t < n; t++) positions[t] = t;
    b->n_tokens += n;
    b->cu_seqlens[++b->n_seqs] = b->n_tokens;
    if (n > b->max_len) b->max_len = n;
    return b->n_seqs - 1;
}

/* The last pair's text_a if it is this one, else -1. */
static int last_text_a(const pair_batch *b, const int32_t *ids, int n) {
    if (b->n_pairs == 0) return -1;
    int a = b->pairs[b->n_pairs - 1].a, start = b->cu_seqlens[a];
    bool same = b->cu_seqlens[a + 1] - start == n && memcmp(b->ids + start, ids, (size_t)n * sizeof *ids) == 0;
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

static rt_status run_batch(pair_batch *b, double *scores) {
    rt_batch *batch = &b->buffer.batch;
    rt_backend *be = b->encoder->model->be;
    int hidden = b->encoder->model->bert.hidden;
    if (b->n_seqs == 0) return RT_OK;
    batch->n_tokens = b->n_tokens;
    batch->n_seqs = b->n_seqs;
    batch->max_len = b->max_len;
    batch->bucket = (b->n_tokens + 63) / 64 * 64;
    /* The contract's padding: zeros up to the bucket, empty sequences up to the capacity. */
    memset(b->ids + b->n_tokens, 0, (size_t)(batch->bucket - b->n_tokens) * sizeof *b->ids);
    memset(b->positions + b->n_tokens, 0, (size_t)(batch->bucket - b->n_tokens) * sizeof *b->positions);
    for (int s = b->n_seqs + 1; s <= batch->capacity; s++) b->cu_seqlens[s] = b->n_tokens;

    RT_TRY(rt_encoder_forward(b->encoder, batch, &(rt_pass){.training = false}));
    size_t values = (size_t)b->n_seqs * (size_t)hidden;
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
    b->n_tokens = b->n_seqs = b->n_pairs = b->max_len = 0;
    return RT_OK;
}

static rt_status pair_batch_new(rt_encoder *encoder, int batch_tokens, int max_seqs, pair_batch *b) {
    size_t values = (size_t)max_seqs * (size_t)encoder->model->bert.hidden;
    *b = (pair_batch){.encoder = encoder};
    RT_TRY(rt_batch_buffer_new(batch_tokens, max_seqs, &b->buffer));
    /* The batch shows its arrays as const; they are this buffer's own. */
    b->ids = (int32_t *)b->buffer.batch.input_ids;
    b->positions = (int32_t *)b->buffer.batch.positions;
    b->cu_seqlens = (int32_t *)b->buffer.batch.cu_seqlens;
    b->pairs = malloc((size_t)max_seqs * sizeof *b->pairs);
    b->raw = malloc(values * sizeof(float));
    b->pooled = malloc(values * sizeof *b->pooled);
    if (!b->pairs || !b->raw || !b->pooled) return rt_fail(RT_ENOMEM, "out of memory: vectors of %d texts", max_seqs);
    return RT_OK;
}

static void pair_batch_free(pair_batch *b) {
    rt_batch_buffer_free(&b->buffer);
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
        rt_dataset_tokens(ds, row, ids, &split);
        scores[row] = 0;
        if (split < 1 || split >= n) continue;
        if (n + 1 > batch_tokens || max_seqs < 2)
            RT_GO(rt_fail(RT_EINTERNAL, "row %u: %d tokens do not fit a batch of %d", row, n + 1, batch_tokens));
        if (b.n_tokens + n + 1 > batch_tokens || b.n_seqs + 2 > max_seqs) {
            if (stop && stop()) RT_GO(rt_fail(RT_ESTOPPED, "stopped by a signal"));
            RT_GO(run_batch(&b, scores));
        }
        int a = last_text_a(&b, ids, split);
        if (a < 0) a = add_text(&b, ids[0], ids + 1, split);
        b.pairs[b.n_pairs++] = (text_pair){row, a, add_text(&b, ids[0], ids + split, n - split + 1)};
    }
    RT_GO(run_batch(&b, scores));
done:
    pair_batch_free(&b);
    free(ids);
    return rc;
}
