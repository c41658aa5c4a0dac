/* The dropout factors of a row of keys. */
#ifndef RT_OPS_ATTENTION_MASK_H
#define RT_OPS_ATTENTION_MASK_H
#include "op.h"

typedef uint64_t rt_pairs __attribute__((vector_size(32)));
typedef uint64_t rt_pairs_at __attribute__((vector_size(32), aligned(4), may_alias));

/* factor[j] = 0 or the scale, for keys j < keys of `query` in `head`; room for keys rounded up to 16. Group 4j + t
 * holds keys 16j + 2t + {0, 1, 8, 9}: so of the sixteen words of four groups, seen as eight pairs, the even pairs are
 * keys 0 to 7 and the odd ones keys 8 to 15. */
static inline void rt_attention_factors(float *restrict factor, const rt_mask *mask, uint32_t example, uint32_t head,
                                        uint32_t query, int64_t keys) {
    uint32_t words[256], ordered[256];
    for (int64_t first = 0; first < keys; first += 256) {
        int n = keys - first < 256 ? (int)((keys - first + 15) / 16 * 16) : 256;
        rt_mask_words(words, mask, example, head << 24 | query << 12 | (uint32_t)(first / 4), n / 4);
        for (int i = 0; i < n; i += 16) {
            rt_pairs a = *(const rt_pairs_at *)(words + i), b = *(const rt_pairs_at *)(words + i + 8);
            rt_pairs even = __builtin_shufflevector(a, b, 0, 2, 4, 6), odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
            memcpy(ordered + i, &even, sizeof even);
            memcpy(ordered + i + 8, &odd, sizeof odd);
        }
#pragma omp simd
        for (int i = 0; i < n; i++) factor[first + i] = ordered[i] >= mask->threshold ? mask->scale : 0.0f;
    }
}

#endif
