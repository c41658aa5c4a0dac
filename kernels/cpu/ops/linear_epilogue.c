/* What surrounds a linear layer's products: bias and activation after the forward one; the activation's derivative and
 * the bias gradient before the backward ones. */
#include "op.h"
#include <stdbool.h>

/* One loop for every combination of dtypes and activation: called with constants, so that each becomes its own loop. */
static inline __attribute__((always_inline)) void forward_row(const float *z, const float *bias, void *y, void *pre,
                                                              int64_t n, rt_activation act, bool f32, bool has_pre) {
    float *y_wide = y, *pre_wide = pre;
    rt_act *y_act = y, *pre_act = pre;
    /* No restrict: z may be y or pre, element for element. */
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        float v = z[j] + bias[j];
        float out = act == RT_ACT_GELU ? rt_gelu(v) : act == RT_ACT_TANH ? rt_tanhf(v) : v;
        if (f32) {
            if (has_pre) pre_wide[j] = v;
            y_wide[j] = out;
        } else {
            if (has_pre) rt_store(pre_act + j, v);
            rt_store(y_act + j, out);
        }
    }
}

#define FORWARD(act, f32)                                                                                              \
    do {                                                                                                               \
        if (pre)                                                                                                       \
            forward_row(z, bias, y, pre, width, act, f32, true);                                                       \
        else                                                                                                           \
            forward_row(z, bias, y, NULL, width, act, f32, false);                                                     \
    } while (0)

enum { COLUMNS = 256 }; /* of a row at once: a strip of zeros stands in for a missing bias */

void RT_OP(rt_cpu_epilogue_forward)(rt_cpu_context *cpu, const rt_cpu_epilogue_args *a) {
    static const float zeros[COLUMNS];
    const size_t size = a->f32 ? sizeof(float) : sizeof(rt_act);
#pragma omp parallel for schedule(static) num_threads(cpu->threads)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t first = 0; first < a->n; first += COLUMNS) {
            const int64_t width = a->n - first < COLUMNS ? a->n - first : COLUMNS, at = r * a->n + first;
            const float *z = a->z + at, *bias = a->bias ? a->bias + first : zeros;
            void *y = (char *)a->y + (size_t)at * size, *pre = a->pre ? (char *)a->pre + (size_t)at * size : NULL;
            if (a->f32) {
                if (a->act == RT_ACT_GELU)
                    FORWARD(RT_ACT_GELU, true);
                else if (a->act == RT_ACT_TANH)
                    FORWARD(RT_ACT_TANH, true);
                else
                    FORWARD(RT_ACT_NONE, true);
            } else {
                if (a->act == RT_ACT_GELU)
                    FORWARD(RT_ACT_GELU, false);
                else if (a->act == RT_ACT_TANH)
                    FORWARD(RT_ACT_TANH, false);
                else
                    FORWARD(RT_ACT_NONE, false);
            }
        }
}

static inline float slope(rt_activation act, float saved) {
    return act == RT_ACT_GELU ? rt_gelu_slope(saved) : act == RT_ACT_TANH ? 1.0f - saved * saved : 1.0f;
}

/* dy becomes dz, sums += dz where wanted. */
static inline __attribute__((always_inline)) void backward_row(void *dy, const void *saved, float *restrict sums,
                                                               int64_t n, rt_activation act, bool f32, bool with_sums) {
    float *dy_wide = dy;
    const float *saved_wide = saved;
    rt_act *dy_act = dy;
    const rt_act *saved_act = saved;
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        float dz = f32 ? dy_wide[j] : rt_load(dy_act + j);
        if (act != RT_ACT_NONE) {
            dz *= slope(act, f32 ? saved_wide[j] : rt_load(saved_act + j));
            if (f32)
                dy_wide[j] = dz;
            else
                rt_store(dy_act + j, dz);
        }
        if (with_sums) sums[j] += dz;
    }
}

#define BACKWARD(act, f32)                                                                                             \
    do {                                                                                                               \
        if (sums)                                                                                                      \
            backward_row(dy, saved, sums, n, act, f32, true);                                                          \
        else                                                                                                           \
            backward_row(dy, saved, NULL, n, act, f32, false);                                                         \
    } while (0)

void RT_OP(rt_cpu_epilogue_backward)(rt_cpu_context *cpu, const rt_cpu_epilogue_backward_args *a) {
    const size_t size = a->f32 ? sizeof(float) : sizeof(rt_act);
    const int blocks = rt_row_blocks(a->rows);
    const int64_t n = a->n;
    if (a->act == RT_ACT_NONE && !a->db) return;
#pragma omp parallel for schedule(static) num_threads(cpu->threads)
    for (int b = 0; b < blocks; b++) {
        const rt_span rows = rt_part(a->rows, blocks, b, 1);
        float *sums = a->db ? a->partials + b * n : NULL;
        for (int64_t j = 0; sums && j < n; j++) sums[j] = 0;
        for (int64_t r = rows.begin; r < rows.end; r++) {
            void *dy = (char *)a->dy + (size_t)(r * n) * size;
            const void *saved = a->saved ? (const char *)a->saved + (size_t)(r * n) * size : NULL;
            if (a->f32) {
                if (a->act == RT_ACT_GELU)
                    BACKWARD(RT_ACT_GELU, true);
                else if (a->act == RT_ACT_TANH)
                    BACKWARD(RT_ACT_TANH, true);
                else
                    BACKWARD(RT_ACT_NONE, true);
            } else {
                if (a->act == RT_ACT_GELU)
                    BACKWARD(RT_ACT_GELU, false);
                else if (a->act == RT_ACT_TANH)
                    BACKWARD(RT_ACT_TANH, false);
                else
                    BACKWARD(RT_ACT_NONE, false);
            }
        }
    }
    if (a->db) rt_add_blocks(a->db, a->partials, blocks, n, n, a->accumulate, cpu->threads);
}
