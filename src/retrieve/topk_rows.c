/* Arithmetic on single vectors.
 *
 * The score of a pair is sixteen sums in fp64 side by side, added in one order. A product of two floats is exact in
 * fp64, so a fused multiply-add gives the bits of a product and a sum; therefore the two forms below, for any processor
 * and for those with AVX2, agree to the bit. */
#include "topk_internal.h"
#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LANES = 16 };

/* The elements from `from` on, then the sum of the sums. */
static double dot_end(double s[LANES], const float *a, const float *b, int from, int width) {
    double t[4];
    for (int i = from; i < width; i++) s[i - from] += (double)a[i] * (double)b[i];
    for (int j = 0; j < 4; j++) t[j] = (s[j] + s[8 + j]) + (s[4 + j] + s[12 + j]);
    return (t[0] + t[2]) + (t[1] + t[3]);
}

static double dot_plain(const float *a, const float *b, int width) {
    double s[LANES] = {0};
    int i = 0;
    for (; i + LANES <= width; i += LANES) {
#pragma omp simd
        for (int j = 0; j < LANES; j++) s[j] += (double)a[i + j] * (double)b[i + j];
    }
    return dot_end(s, a, b, i, width);
}

#if defined(__x86_64__)
static __attribute__((target("avx2,fma"))) double dot_avx2(const float *a, const float *b, int width) {
    __m256d sum[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    double s[LANES];
    int i = 0;
    for (; i + LANES <= width; i += LANES) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sum[j] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(a + i + 4 * j)),
                                     _mm256_cvtps_pd(_mm_loadu_ps(b + i + 4 * j)), sum[j]);
    }
    if (i < width) {
        for (int j = 0; j < 4; j++) _mm256_storeu_pd(s + 4 * j, sum[j]);
        return dot_end(s, a, b, i, width);
    }
    _mm256_storeu_pd(s, _mm256_add_pd(_mm256_add_pd(sum[0], sum[2]), _mm256_add_pd(sum[1], sum[3])));
    return (s[0] + s[2]) + (s[1] + s[3]);
}
#endif

static double dot(const float *a, const float *b, int width) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return dot_avx2(a, b, width);
#endif
    return dot_plain(a, b, width);
}

float rt_pair_score(const float *a, const float *b, int width) {
    return (float)dot(a, b, width) + 0.0f; /* -0 would be another text for the same number */
}

/* In fp32 where that is safe: the sum of squares, in any order, is then at most width / 2^24 off, far less than the 1 %
 * on top. */
double rt_row_length(const float *row, int width) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < width; i++) sum += row[i] * row[i];
    if (sum > 1e-24f && sum < 1e37f) return sqrt((double)sum) * 1.005;
    return sqrt(dot(row, row, width)) * 1.005;
}

void rt_unit_rows(float *rows, uint32_t n, int width) {
#pragma omp parallel for schedule(static)
    for (uint32_t r = 0; r < n; r++) {
        float *row = rows + (size_t)r * (size_t)width;
        const double length = sqrt(dot(row, row, width));
        for (int i = 0; i < width && length > 0; i++) row[i] = (float)((double)row[i] / length);
    }
}

/* Vectors of four, which every x86-64 compares at once; eight with AVX2 are no faster. */
uint32_t rt_products_skip(const float *products, uint32_t n, float over) {
    typedef float floats __attribute__((vector_size(16)));
    typedef int32_t answers __attribute__((vector_size(16)));
    const floats limit = {over, over, over, over};
    uint32_t at = 0;
    for (; at + RT_SCAN_STEP <= n; at += RT_SCAN_STEP) {
        answers any = {0};
        uint64_t words[2];
        for (int i = 0; i < RT_SCAN_STEP; i += 4) {
            floats x;
            memcpy(&x, products + at + i, sizeof x);
            any |= x > limit;
        }
        memcpy(words, &any, sizeof words);
        if (words[0] | words[1]) break;
    }
    return at;
}
