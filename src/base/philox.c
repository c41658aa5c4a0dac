/* The plain stream over the counter-based generator. */
#include "philox.h"
#include <math.h>

rt_rng rt_rng_make(uint64_t seed, uint32_t site, uint32_t index) {
    return (rt_rng){.seed = seed, .site = site, .index = index};
}

uint32_t rt_rng_u32(rt_rng *rng) {
    if (rng->left == 0) {
        rng->word =
            rt_philox(rng->block++, rng->index, rng->site << 16, 0, (uint32_t)rng->seed, (uint32_t)(rng->seed >> 32));
        rng->left = 4;
    }
    return rng->word.v[4 - rng->left--];
}

double rt_rng_unit(rt_rng *rng) {
    uint64_t high = rt_rng_u32(rng) >> 5, low = rt_rng_u32(rng) >> 6; /* 27 and 26 bits */
    return (double)(high << 26 | low) * 0x1p-53;
}

uint32_t rt_rng_below(rt_rng *rng, uint32_t n) {
    /* Lemire's multiply-shift; the rejected low words are those that would favour some results. */
    if (n <= 1) return 0;
    uint32_t threshold = -n % n;
    for (;;) {
        uint64_t product = (uint64_t)rt_rng_u32(rng) * n;
        if ((uint32_t)product >= threshold) return (uint32_t)(product >> 32);
    }
}

double rt_rng_normal(rt_rng *rng) {
    /* One of the pair is thrown away, so that the stream's state stays a counter. 1 - u lies in (0, 1]. */
    double radius = sqrt(-2 * log(1 - rt_rng_unit(rng)));
    return radius * cos(6.283185307179586476925 * rt_rng_unit(rng));
}
