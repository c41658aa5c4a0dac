#include "baseline.h"
#include "embedder.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_PAIRS = 2048 };

/* Two texts of a row, by their places among those that the embedder holds. */
typedef struct {
    uint32_t row, a, b;
} text_pair;

typedef struct {
    rt_embedder *embedder;
    text_pair pairs[WINDOW_PAIRS];
    int n_pairs;
    int32_t last[UINT16_MAX]; /* text_a of the last pair: rows that follow each other often share it (an impression's */
    int n_last;               /* query), and it is run once */
} pair_window;

static double cosine(const float *a, const float *b, int n) {
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static rt_status add_text_a(pair_window *w, const int32_t *ids, int n, uint32_t *place) {
    if (w->n_pairs && w->n_last == n && memcmp(w->last, ids, (size_t)n * sizeof *ids) == 0) {
        *place = w->pairs[w->n_pairs - 1].a;
        return RT_OK;
    }
    *place = rt_embedder_rows(w->embedder);
    memcpy(w->last, ids, (size_t)n * sizeof *ids);
    w->n_last = n;
    return rt_embedder_add_ids(w->embedder, ids, n);
}

/* [CLS] A [SEP] | B [SEP]: B gets a [CLS] of its own in the place of A's [SEP]. */
static rt_status add_pair(pair_window *w, uint32_t row, int32_t *ids, int split, int n) {
    text_pair *pair = &w->pairs[w->n_pairs];
    pair->row = row;
    RT_TRY(add_text_a(w, ids, split, &pair->a));
    ids[split - 1] = ids[0];
    pair->b = rt_embedder_rows(w->embedder);
    RT_TRY(rt_embedder_add_ids(w->embedder, ids + split - 1, n - split + 1));
    w->n_pairs++;
    return RT_OK;
}

static rt_status run_window(pair_window *w, double *scores) {
    const float *vectors;
    const int width = rt_embedder_width(w->embedder);
    RT_TRY(rt_embedder_run(w->embedder, &vectors));
    for (int i = 0; i < w->n_pairs; i++)
        scores[w->pairs[i].row] =
            cosine(vectors + w->pairs[i].a * (size_t)width, vectors + w->pairs[i].b * (size_t)width, width);
    w->n_pairs = 0;
    return RT_OK;
}

rt_status rt_baseline_cosine(rt_encoder *encoder, const rt_dataset *ds, int batch_tokens, int max_seqs,
                             bool (*stop)(void), double *scores) {
    if (encoder->model->bert.pooling != RT_POOL_MEAN)
        return rt_fail(RT_ECONFIG, "the cosine of two texts needs model.pooling = mean");
    rt_status rc = RT_OK;
    uint32_t n_rows = rt_dataset_rows(ds);
    const uint16_t *lengths = rt_dataset_lengths(ds);
    int32_t *ids = malloc((size_t)UINT16_MAX * sizeof *ids);
    pair_window *w = calloc(1, sizeof *w);
    if (!ids || !w) RT_GO(rt_fail(RT_ENOMEM, "out of memory: texts of a window of rows"));
    RT_GO(rt_embedder_new(
        &(rt_embedder_options){.encoder = encoder, .batch_tokens = batch_tokens, .max_seqs = max_seqs, .stop = stop},
        &w->embedder));
    for (uint32_t row = 0; row < n_rows; row++) {
        int split = 0, n = lengths[row];
        RT_GO(rt_dataset_tokens(ds, row, ids, &split));
        scores[row] = 0;
        if (split < 1 || split >= n) continue;
        RT_GO(add_pair(w, row, ids, split, n));
        if (w->n_pairs == WINDOW_PAIRS) RT_GO(run_window(w, scores));
    }
    RT_GO(run_window(w, scores));
done:
    if (w) rt_embedder_free(w->embedder);
    free(w);
    free(ids);
    return rc;
}
