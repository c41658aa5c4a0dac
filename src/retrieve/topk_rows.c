/* Arithmetic on single vectors. */
#include "topk_internal.h"
#include <math.h>
#include <string.h>

/* Eight sums side by side, in vector types of the compiler's: it makes of them what the processor has, and never
 * changes the order. A product of two floats is exact in fp64, so with or without fused multiply-add the bits are the
 * same. */
enum { LANES = 8 };
typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
typedef double doubles __attribute__((vector_size(LANES * sizeof(double))));

static inline double sum_of(const doubles *v) {
    const doubles s = *v;
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static double dot(const float *a, const float *b, int width) {
    doubles sum = {0};
    floats x, y;
    int i = 0;
    for (; i + LANES <= width; i += LANES) {
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        sum += __builtin_convertvector(x, doubles) * __builtin_convertvector(y, doubles);
    }
    for (int j = 0; i < width; i++, j++) sum[j] += (double)a[i] * (double)b[i];
    return sum_of(&sum);
}

float rt_pair_score(const float *a, const float *b, int width) {
    return (float)dot(a, b, width) + 0.0f; /* -0 would be another text for the same number */
}

/* In fp32 where that is safe: the sum of squares is then at most width / 2^24 off, far less than the 1 % on top. */
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
