/* Philox4x32-10 (Salmon et al. 2011), the one source of randomness. Counter layout: see rt_dropout in kernels.h. */
#ifndef RT_BASE_PHILOX_H
#define RT_BASE_PHILOX_H
#include <stdint.h>

typedef struct {
    uint32_t v[4];
} rt_philox4;

static inline rt_philox4 rt_philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b, c3 = (uint32_t)a, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return (rt_philox4){{c0, c1, c2, c3}};
}

/* A plain stream over the same generator, for initialisers, shuffles, simulators and tests. Streams of different
 * (seed, site, index) never meet: key = seed, counter = (block, index, site << 16, 0). */
typedef struct {
    uint64_t seed;
    uint32_t site, index, block;
    rt_philox4 word;
    int left;
} rt_rng;

rt_rng rt_rng_make(uint64_t seed, uint32_t site, uint32_t index);
uint32_t rt_rng_u32(rt_rng *rng);
double rt_rng_unit(rt_rng *rng);                /* [0, 1), 53 bits */
uint32_t rt_rng_below(rt_rng *rng, uint32_t n); /* [0, n), unbiased; n >= 1 */
double rt_rng_normal(rt_rng *rng);              /* mean 0, variance 1 (Box-Muller in fp64) */

#endif
