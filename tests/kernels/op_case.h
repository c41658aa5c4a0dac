/* What the tests of packed-batch ops share: batches, inputs as floats, and the comparison that derives its tolerance.
 */
#ifndef RT_TEST_OP_CASE_H
#define RT_TEST_OP_CASE_H
#include "../../src/base/philox.h"
#include "../support/kernel_check.h"
#include <math.h>
#include <string.h>

#define REAL double
#define NAME(x) exact_##x
#include "reference_ops.h"
#undef REAL
#undef NAME
#define REAL float
#define NAME(x) plain_##x
#include "reference_ops.h"
#undef REAL
#undef NAME

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const rt_precision case_precisions[2] = {RT_PRECISION_FP32, RT_PRECISION_BF16};

/* A batch of sequences of these lengths. Everything beyond what the op may read is poison (-1). */
static inline rt_batch case_batch(rt_check *c, const int *lengths, int n_seqs, int vocab, int labels) {
    rt_rng rng = rt_rng_make(77, (uint32_t)n_seqs, (uint32_t)vocab);
    rt_batch batch = {.n_seqs = n_seqs, .capacity = n_seqs + 2};
    int32_t *cu = rt_check_buffer(c, (size_t)(batch.capacity + 1) * 4);
    cu[0] = 0;
    for (int b = 0; b < batch.capacity; b++) {
        cu[b + 1] = cu[b] + (b < n_seqs ? lengths[b] : 0);
        if (b < n_seqs && lengths[b] > batch.max_len) batch.max_len = lengths[b];
    }
    batch.n_tokens = cu[n_seqs];
    batch.bucket = (batch.n_tokens + 63) / 64 * 64;
    size_t tokens = (size_t)batch.bucket * 4, rows = (size_t)batch.capacity * 4;
    int32_t *ids = rt_check_buffer(c, tokens), *positions = rt_check_buffer(c, tokens);
    int32_t *types = rt_check_buffer(c, tokens), *row_labels = rt_check_buffer(c, rows);
    int32_t *sorted = rt_check_buffer(c, (size_t)batch.n_tokens * 4);
    float *scale = rt_check_buffer(c, rows);
    uint32_t *example = rt_check_buffer(c, rows);
    for (int b = 0; b < n_seqs; b++) {
        row_labels[b] = labels > 1 ? (int32_t)rt_rng_below(&rng, (uint32_t)labels) : (int32_t)rt_rng_below(&rng, 2);
        scale[b] = (float)(0.25 + rt_rng_unit(&rng)) / (float)n_seqs;
        example[b] = rt_rng_u32(&rng);
        for (int t = cu[b]; t < cu[b + 1]; t++) {
            ids[t] = t == cu[b] ? 1 : (int32_t)rt_rng_below(&rng, (uint32_t)vocab);
            positions[t] = t - cu[b];
            types[t] = 2 * (t - cu[b]) > lengths[b];
        }
    }
    int n = 0;
    for (int id = 0; id < vocab; id++)
        for (int t = 0; t < batch.n_tokens; t++)
            if (ids[t] == id) sorted[n++] = t;
    batch.input_ids = ids, batch.positions = positions, batch.types = types, batch.cu_seqlens = cu;
    batch.row_scale = scale, batch.labels = row_labels, batch.example_id = example, batch.sorted_tokens = sorted;
    return batch;
}

static inline rt_step_state *case_state(rt_check *c, uint32_t step) {
    rt_step_state *state = rt_check_buffer(c, sizeof *state);
    state->step = step;
    return state;
}

static inline rt_dropout case_dropout(rt_check *c, float p, uint16_t site) {
    return (rt_dropout){.p = p, .site = site, .view = 3, .seed = 0x123456789abcdef0u, .state = case_state(c, 41)};
}

/* n elements of dtype as floats (exact), guarded. */
static inline float *case_floats(rt_check *c, rt_dtype dtype, const void *from, size_t n) {
    float *to = rt_check_poison(c, RT_F32, n);
    for (size_t i = 0; i < n; i++) to[i] = (float)rt_check_get(dtype, from, i);
    return to;
}

static inline float *case_zeros(rt_check *c, size_t n) {
    float *to = rt_check_poison(c, RT_F32, n);
    memset(to, 0, n * sizeof *to);
    return to;
}

/* The project's rule: at most twice the error of a plain implementation in the same precision, both against fp64, in
 * the L2 norm and in the largest difference. `plain` is rounded to dtype here. A plain result may be luckily exact, so
 * one rounding of each element to dtype, and in fp32 one more of a sum, is allowed beside it. */
static inline void case_check(rt_check *c, const char *what, rt_dtype dtype, const void *got, const double *want,
                              const float *plain, size_t n) {
    double *wide = rt_check_widen(c, RT_F32, plain, n), top = 0;
    void *rounded = rt_check_poison(c, dtype, n);
    rt_check_round(dtype, rounded, wide, n);
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs(want[i]));
    double slack = rt_check_roundoff(dtype) + 0x1p-24;
    rt_check_close_to(what, dtype, got, want, n, 2 * rt_check_error(dtype, rounded, want, n) + slack);
    double error = rt_check_max_error(dtype, got, want, n);
    double limit = 2 * rt_check_max_error(dtype, rounded, want, n) + slack * top;
    if (!(error <= limit)) fail_msg("%s: largest error %.3g, allowed %.3g", what, error, limit);
}

/* Rows of `width` elements out of (into) an array with rows of `stride`. */
static inline void *case_gather(rt_check *c, rt_dtype dtype, const void *from, size_t rows, size_t width,
                                size_t stride) {
    size_t size = rt_dtype_size(dtype);
    void *to = rt_check_poison(c, dtype, rows * width);
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)to + r * width * size, (const char *)from + r * stride * size, width * size);
    return to;
}

static inline void *case_spread(rt_check *c, rt_dtype dtype, const void *from, size_t rows, size_t width,
                                size_t stride) {
    size_t size = rt_dtype_size(dtype);
    void *to = rt_check_poison(c, dtype, rows * stride);
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)to + r * stride * size, (const char *)from + r * width * size, width * size);
    return to;
}

#endif
