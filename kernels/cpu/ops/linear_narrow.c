/* Linear layers with few outputs and fp32 y: a classifier's head on [B, H]. No GEMM library gains anything here; the
 * fp32 master weight is read in both precisions. */
#include "op.h"

/* Sum of x[i] w[i]. */
static float dot(const rt_act *restrict x, const float *restrict w, int64_t n) {
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < n; i++) s += rt_load(x + i) * w[i];
    return s;
}

void RT_OP(rt_cpu_narrow_forward)(rt_cpu_context *cpu, const rt_linear_forward_args *a) {
    const int64_t n = a->w.n, k = a->w.k;
    const rt_act *x = a->x;
    float *y = a->y, *pre = a->pre;
#pragma omp parallel for schedule(static) num_threads(cpu->threads) if (a->rows * n * k > 1 << 16)
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < n; j++) {
            float v = dot(x + r * k, a->w.master + j * k, k) + (a->bias ? a->bias[j] : 0.0f);
            if (pre) pre[r * n + j] = v;
            y[r * n + j] = a->act == RT_ACT_GELU ? rt_gelu(v) : a->act == RT_ACT_TANH ? rt_tanhf(v) : v;
        }
}

/* `sums` is scratch for n floats. Rows are few, so each thread takes columns of x and walks all rows in order. */
void RT_OP(rt_cpu_narrow_backward)(rt_cpu_context *cpu, const rt_linear_backward_args *a, float *sums) {
    const int64_t n = a->w.n, k = a->w.k, rows = a->rows;
    const rt_act *x = a->x, *add = a->dx_add;
    const float *saved = a->saved;
    float *dz = a->dy;
    rt_act *dx = a->dx;
    for (int64_t j = 0; j < n; j++) sums[j] = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < n; j++) {
            float *d = dz + r * n + j;
            if (a->act == RT_ACT_GELU) *d *= rt_gelu_slope(saved[r * n + j]);
            if (a->act == RT_ACT_TANH) *d *= 1.0f - saved[r * n + j] * saved[r * n + j];
            sums[j] += *d;
        }
    for (int64_t j = 0; a->db && j < n; j++) a->db[j] = a->accumulate ? a->db[j] + sums[j] : sums[j];
    enum { STRIP = 256 };
#pragma omp parallel for schedule(static) num_threads(cpu->threads) if (rows * n * k > 1 << 16)
    for (int64_t first = 0; first < k; first += STRIP) {
        const int64_t width = k - first < STRIP ? k - first : STRIP;
        float wide[STRIP];
        for (int64_t r = 0; a->dx && r < rows; r++) {
            const int64_t at = r * k + first;
            for (int64_t i = 0; i < width; i++) wide[i] = add ? rt_load(add + at + i) : 0.0f;
            for (int64_t j = 0; j < n; j++) {
                const float d = dz[r * n + j], *w = a->w.master + j * k + first;
#pragma omp simd
                for (int64_t i = 0; i < width; i++) wide[i] += d * w[i];
            }
            rt_store_row(dx + at, wide, width);
        }
        for (int64_t j = 0; a->dw && j < n; j++) {
            float *dw = a->dw + j * k + first;
            for (int64_t i = 0; i < width; i++) wide[i] = 0;
            for (int64_t r = 0; r < rows; r++) {
                const float d = dz[r * n + j];
                const rt_act *from = x + r * k + first;
#pragma omp simd
                for (int64_t i = 0; i < width; i++) wide[i] += d * rt_load(from + i);
            }
            for (int64_t i = 0; i < width; i++) dw[i] = a->accumulate ? dw[i] + wide[i] : wide[i];
        }
    }
}
