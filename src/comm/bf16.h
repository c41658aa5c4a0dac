/* What gradients travel as under distributed.reduce_dtype = bf16: the high half of an fp32, rounded to nearest, ties to
 * even. A NaN stays one. */
#ifndef RT_COMM_BF16_H
#define RT_COMM_BF16_H
#include <rectrain/types.h>
#include <stdint.h>
#include <string.h>

static inline rt_bf16 rt_bf16_from(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40u;
    return (rt_bf16)((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

static inline float rt_bf16_to(rt_bf16 h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

#endif
