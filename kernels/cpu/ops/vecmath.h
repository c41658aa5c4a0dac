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

/* e^x within 1 ulp. Results below 2^-125 become 0 and above 2^128 infinity; NaN stays. */
static inline float rt_expf(float x) {
    const float magic = 12582912.0f; /* 1.5 x 2^23: adding it rounds to an integer in the low bits */
    float c = x < -86.64f ? -86.64f : x;
    c = c > 88.73f ? 88.73f : c;
    float shifted = c * 1.44269504f + magic;
    float n = shifted - magic;
    float r = (c - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts; the first product is exact */
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
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
    float small = -8.8632355e-3f; /* tanh's own series, x^11 and below, good to 2^-24 for |x| < 0.3 */
    small = small * s + 2.1869488e-2f;
    small = small * s - 5.3968254e-2f;
    small = small * s + 1.3333333e-1f;
    small = small * s - 3.3333333e-1f;
    small = small * s * x + x;
    float large = 1.0f - 2.0f / (rt_expf(a + a) + 1.0f);
    large = x < 0 ? -large : large;
    return a < 0.3f ? small : large;
}

#endif
