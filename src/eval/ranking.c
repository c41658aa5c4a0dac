/* Areas under curves and the order of rows by score. One sort serves AUC, average precision, groups and slices. */
#include "metrics_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A key that sorts ascending as the score falls; -0 and 0 are one score. */
static uint64_t falling_key(double score) {
    uint64_t bits;
    score += 0.0;
    memcpy(&bits, &score, sizeof bits);
    uint64_t rising = bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
    return ~rising;
}

typedef struct {
    uint64_t key;
    uint32_t row;
} keyed_row;

rt_status rt_rank_order(const double *scores, uint32_t n, uint32_t *order) {
    if (n == 0) return RT_OK;
    keyed_row *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b);
    if (!a || !b) {
        free(a);
        free(b);
        return rt_fail(RT_ENOMEM, "out of memory: ranking %u rows needs %zu bytes", n, 2 * (size_t)n * sizeof *a);
    }
    for (uint32_t i = 0; i < n; i++) a[i] = (keyed_row){falling_key(scores[i]), i};
    for (int shift = 0; shift < 64; shift += 8) {
        uint32_t count[256] = {0};
        for (uint32_t i = 0; i < n; i++) count[a[i].key >> shift & 255]++;
        if (count[a[0].key >> shift & 255] == n) continue; /* this byte orders nothing */
        for (uint32_t v = 0, at = 0; v < 256; v++) {
            uint32_t c = count[v];
            count[v] = at;
            at += c;
        }
        for (uint32_t i = 0; i < n; i++) b[count[a[i].key >> shift & 255]++] = a[i];
        keyed_row *t = a;
        a = b;
        b = t;
    }
    for (uint32_t i = 0; i < n; i++) order[i] = a[i].row;
    free(a);
    free(b);
    return RT_OK;
}

/* The end of the block of equal scores that starts at i. */
static uint32_t block_end(const uint32_t *order, uint32_t n, const double *scores, uint32_t i) {
    uint32_t j = i + 1;
    while (j < n && scores[order[j]] == scores[order[i]]) j++;
    return j;
}

double rt_rank_auc(const uint32_t *order, uint32_t n, const int32_t *labels, const double *scores,
                   const float *weights) {
    /* Going down the scores: a y = 0 row loses to all y = 1 weight above it, and half to that of its own block. */
    rt_sum positive = {0}, negative = {0}, won = {0};
    for (uint32_t i = 0; i < n;) {
        uint32_t end = block_end(order, n, scores, i);
        rt_sum up = {0}, down = {0};
        for (; i < end; i++) rt_sum_add(labels[order[i]] > 0 ? &up : &down, rt_row_weight(weights, order[i]));
        double block_up = rt_sum_value(&up), block_down = rt_sum_value(&down);
        rt_sum_add(&won, block_down * (rt_sum_value(&positive) + block_up / 2));
        rt_sum_add(&positive, block_up);
        rt_sum_add(&negative, block_down);
    }
    double pairs = rt_sum_value(&positive) * rt_sum_value(&negative);
    return pairs > 0 ? rt_sum_value(&won) / pairs : NAN;
}

double rt_rank_average_precision(const uint32_t *order, uint32_t n, const int32_t *labels, const double *scores,
                                 const float *weights) {
    rt_sum positive = {0}, all = {0}, area = {0};
    for (uint32_t i = 0; i < n;) {
        uint32_t end = block_end(order, n, scores, i);
        rt_sum up = {0};
        for (; i < end; i++) {
            double w = rt_row_weight(weights, order[i]);
            rt_sum_add(&all, w);
            if (labels[order[i]] > 0) rt_sum_add(&up, w);
        }
        double block_up = rt_sum_value(&up);
        rt_sum_add(&positive, block_up);
        if (block_up > 0) rt_sum_add(&area, block_up * (rt_sum_value(&positive) / rt_sum_value(&all)));
    }
    double total = rt_sum_value(&positive);
    return total > 0 ? rt_sum_value(&area) / total : NAN;
}

typedef double area_function(const uint32_t *, uint32_t, const int32_t *, const double *, const float *);

static double area_of(area_function *area, const int32_t *labels, const double *scores, const float *weights,
                      uint32_t n) {
    double value = NAN;
    uint32_t *order = malloc((size_t)n * sizeof *order + 1);
    if (order && rt_rank_order(scores, n, order) == RT_OK) value = area(order, n, labels, scores, weights);
    free(order);
    return value;
}

double rt_auc(const int32_t *labels01, const double *scores, const float *weights, uint32_t n) {
    return area_of(rt_rank_auc, labels01, scores, weights, n);
}

double rt_average_precision(const int32_t *labels01, const double *scores, const float *weights, uint32_t n) {
    return area_of(rt_rank_average_precision, labels01, scores, weights, n);
}

void rt_rank_split(const uint32_t *order, uint32_t n, const uint32_t *key, uint32_t n_keys, uint32_t *starts,
                   uint32_t *split) {
    memset(starts, 0, ((size_t)n_keys + 1) * sizeof *starts);
    for (uint32_t i = 0; i < n; i++) starts[key[order[i]]]++;
    uint32_t at = 0;
    for (uint32_t k = 0; k < n_keys; k++) {
        uint32_t c = starts[k];
        starts[k] = at;
        at += c;
    }
    /* starts[k] serves as the cursor of part k and ends where part k + 1 begins, so the array is shifted back by one.
     */
    for (uint32_t i = 0; i < n; i++) split[starts[key[order[i]]]++] = order[i];
    for (uint32_t k = n_keys; k > 0; k--) starts[k] = starts[k - 1];
    starts[0] = 0;
}
