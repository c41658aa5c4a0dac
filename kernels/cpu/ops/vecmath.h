/* Elementary functions in fp32, without branches and calls, so that loops over them vectorise at every level; checked
 * against fp64 by tests/kernels/test_vecmath.c. Each says what it does with NaN and infinity. */
#ifndef RT_OPS_VECMATH_H
#define RT_OPS_VECMATH_H
#include <stdint.h>
#include <string.h>

static inline uint32_t rt_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float rt_from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* bfloat16, rounded to nearest even; infinity kept, NaN kept (made quiet). */
static inline float rt_widen(uint16_t h) {
    return rt_from_bits((uint32_t)h << 16);
}

static inline uint16_t rt_narrow(float x) {
    uint32_t u = rt_bits(x);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, quiet = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* Adding this rounds to an integer, which then stands in the low bits: 1.5 x 2^23. */
#define RT_ROUNDER 12582912.0f

/* e^x within 1 ulp. Results below 2^-125 become 0 and above 2^128 infinity; NaN stays. */
static inline float rt_expf(float x) {
    float c = x < -86.64f ? -86.64f : x;
    c = c > 88.73f ? 88.73f : c;
    float shifted = c * 1.44269504f + RT_ROUNDER;
    float n = shifted - RT_ROUNDER;
    float r = (c - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts; the first product is exact */
    /* (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, minimax: 3e-9 of e^r. */
    float p = 1.38141739e-3f;
    p = p * r + 8.36892147e-3f;
    p = p * r + 4.16684076e-2f;
    p = p * r + 1.66665196e-1f;
    p = p * r + 4.99999940e-1f;
    p = (p * r) * r + r + 1.0f;
    /* 2^(n-1), doubled in p, so that n = 128 does not overflow on the way. */
    float scale = rt_from_bits((rt_bits(shifted) + 126u) << 23);
    float y = (p + p) * scale;
    return x < -86.64f ? 0.0f : y;
}

/* tanh x within 2 ulp; +-1 at infinity, NaN stays. */
static inline float rt_tanhf(float x) {
    float a = x < 0 ? -x : x;
    float s = x * x;
    float near = -5.60391461e-3f; /* (tanh x / x - 1) / x^2 on |x| <= 0.64, minimax in x^2: 5e-9 */
    near = near * s + 2.05517206e-2f;
    near = near * s - 5.37141077e-2f;
    near = near * s + 1.33311525e-1f;
    near = near * s - 3.33332717e-1f;
    near = near * s * x + x;
    float far = 1.0f - 2.0f / (rt_expf(a + a) + 1.0f);
    far = x < 0 ? -far : far;
    return a < 0.64f ? near : far;
}

/* The normal distribution: *cdf = Phi(x) = (1 + erf(x / sqrt 2)) / 2 within 1e-7 absolutely, in the lower tail also
 * relatively (5e-7 times 1 + x^2 / 2); *density = Phi'(x). NaN stays. One exponential serves both. */
static inline void rt_normal(float x, float *cdf, float *density) {
    float a = x < 0 ? -x : x;
    float s = x * x;
    float e = rt_expf(-0.5f * s);
    *density = 0.398942280f * e;
    /* Below 1: Phi = 1/2 + x near(x^2). */
    float near = -7.51269181e-6f;
    near = near * s + 1.13106224e-4f;
    near = near * s - 1.18595955e-3f;
    near = near * s + 9.97316651e-3f;
    near = near * s - 6.64903298e-2f;
    near = near * s + 3.98942292e-1f;
    near = near * x + 0.5f;
    /* Beyond: Phi(-a) = e t far(t), t = 1 / (1 + 0.35 a), minimax on 0 <= a <= 13.3: 3e-8; farther out e is 0. */
    float t = 1.0f / (1.0f + 0.35f * a);
    float far = -2.91150156e-2f;
    far = far * t + 1.43818408e-1f;
    far = far * t - 2.55391002e-1f;
    far = far * t + 1.58796564e-1f;
    far = far * t - 2.28434242e-2f;
    far = far * t + 1.05392143e-1f;
    far = far * t + 1.19863085e-1f;
    far = far * t + 1.39857560e-1f;
    far = far * t + 1.39621660e-1f;
    far = far * t * e;
    far = x < 0 ? far : 1.0f - far;
    *cdf = a < 1.0f ? near : far;
}

/* GELU by erf and its derivative. -infinity gives NaN (0 times infinity), as erf's form does. */
static inline float rt_gelu(float x) {
    float cdf, density;
    rt_normal(x, &cdf, &density);
    return x * cdf;
}

static inline float rt_gelu_slope(float x) {
    float cdf, density;
    rt_normal(x, &cdf, &density);
    return cdf + x * density;
}

#endif
