/* LayerNorm on one row of floats; Ba et al. 2016. */
#ifndef RT_OPS_NORM_ROW_H
#define RT_OPS_NORM_ROW_H
#include <math.h>
#include <stdint.h>

/* Variance in a second pass over the row, which is in cache: sum of squares less squared mean cancels. */
static inline void rt_norm_statistics(const float *z, int64_t n, float eps, float *mean, float *rstd) {
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; c++) sum += z[c];
    float middle = sum / (float)n;
#pragma omp simd reduction(+ : square)
    for (int64_t c = 0; c < n; c++) square += (z[c] - middle) * (z[c] - middle);
    *mean = middle, *rstd = 1.0f / sqrtf(square / (float)n + eps);
}

/* With x = (z - mean) rstd and g = gamma dy: dz = rstd (g - mean of g - x mean of g x). dy and dz may be one. The row's
 * shares are added to dgamma and dbeta. */
static inline void rt_norm_backward(const float *restrict z, float mean, float rstd, const float *restrict gamma,
                                    const float *dy, int64_t n, float *dz, float *restrict dgamma,
                                    float *restrict dbeta) {
    float a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (int64_t c = 0; c < n; c++) {
        float x = (z[c] - mean) * rstd, g = dy[c] * gamma[c];
        a += g, b += g * x;
        dgamma[c] += dy[c] * x, dbeta[c] += dy[c];
    }
    a /= (float)n, b /= (float)n;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        float x = (z[c] - mean) * rstd, g = dy[c] * gamma[c];
        dz[c] = rstd * (g - a - x * b);
    }
}

#endif
