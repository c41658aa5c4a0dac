/* Dropout masks (rt_dropout in types.h), recomputed wherever they are needed and never stored. */
#ifndef RT_OPS_DROPOUT_MASK_H
#define RT_OPS_DROPOUT_MASK_H
#include "../../../src/base/philox.h"
#include <rectrain/types.h>
#include <stdbool.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

/* One site of one step, prepared once per op. */
typedef struct {
    uint32_t key0, key1, step, site_view, threshold;
    float scale; /* of kept values */
    bool on;
} rt_mask;

static inline rt_mask rt_mask_make(const rt_dropout *d) {
    double p = (double)d->p;
    rt_mask mask = {.scale = 1.0f, .on = d->p > 0};
    if (!mask.on) return mask;
    mask.key0 = (uint32_t)d->seed, mask.key1 = (uint32_t)(d->seed >> 32);
    mask.step = d->state->step;
    mask.site_view = (uint32_t)d->site << 16 | d->view;
    mask.threshold = p < 1 ? (uint32_t)(p * 4294967296.0) : UINT32_MAX;
    mask.scale = p < 1 ? (float)(1.0 / (1.0 - p)) : 0.0f;
    return mask;
}

/* words[4 * i + n] = word n of counter c3 = first + i, i < count. `words` has room for count rounded up to 4. */
static inline void rt_mask_words(uint32_t *restrict words, const rt_mask *mask, uint32_t example, uint32_t first,
                                 int count) {
    int i = 0;
#ifdef __AVX2__
    /* Four counters at a time, a counter in the low half of each 64-bit lane: the multiply reads the low halves alone,
     * so what is left in the high ones never has to be cleared. */
    const __m256i m0 = _mm256_set1_epi64x(0xD2511F53), m1 = _mm256_set1_epi64x(0xCD9E8D57);
    for (; i < count; i += 4) {
        __m256i c0 = _mm256_set1_epi64x(mask->step), c1 = _mm256_set1_epi64x(example);
        __m256i c2 = _mm256_set1_epi64x(mask->site_view);
        __m256i c3 =
            _mm256_add_epi64(_mm256_set1_epi64x((uint32_t)(first + (uint32_t)i)), _mm256_setr_epi64x(0, 1, 2, 3));
        uint32_t k0 = mask->key0, k1 = mask->key1;
        for (int round = 0; round < 10; round++) {
            __m256i a = _mm256_mul_epu32(c0, m0), b = _mm256_mul_epu32(c2, m1);
            c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(b, 32), c1), _mm256_set1_epi64x(k0));
            c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(a, 32), c3), _mm256_set1_epi64x(k1));
            c1 = b, c3 = a;
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
        __m256i w01 = _mm256_blend_epi32(c0, _mm256_slli_epi64(c1, 32), 0xAA);
        __m256i w23 = _mm256_blend_epi32(c2, _mm256_slli_epi64(c3, 32), 0xAA);
        __m256i even = _mm256_unpacklo_epi64(w01, w23), odd = _mm256_unpackhi_epi64(w01, w23);
        _mm256_storeu_si256((__m256i *)(words + 4 * i), _mm256_permute2x128_si256(even, odd, 0x20));
        _mm256_storeu_si256((__m256i *)(words + 4 * i + 8), _mm256_permute2x128_si256(even, odd, 0x31));
    }
#else
    for (; i < count; i++) {
        rt_philox4 w = rt_philox(mask->step, example, mask->site_view, first + (uint32_t)i, mask->key0, mask->key1);
        for (int n = 0; n < 4; n++) words[4 * i + n] = w.v[n];
    }
#endif
}

/* factor[c] = 0 or the scale, for channels c < n (a multiple of 4) of the token at `position` of `example`. */
static inline void rt_mask_hidden(float *restrict factor, const rt_mask *mask, uint32_t example, uint32_t position,
                                  int64_t n) {
    uint32_t words[256];
    for (int64_t c = 0; c < n; c += 256) {
        int m = n - c < 256 ? (int)(n - c) : 256;
        rt_mask_words(words, mask, example, position << 16 | (uint32_t)(c / 4), (m + 3) / 4);
#pragma omp simd
        for (int i = 0; i < m; i++) factor[c + i] = words[i] >= mask->threshold ? mask->scale : 0.0f;
    }
}

/* factor[j] = 0 or the scale, for keys j < keys of `query` in `head`. `factor` has room for keys rounded up to 16. */
static inline void rt_mask_attention(float *restrict factor, const rt_mask *mask, uint32_t example, uint32_t head,
                                     uint32_t query, int keys) {
    uint32_t words[256];
    for (int first = 0; first < keys; first += 256) {
        int tiles = ((keys - first < 256 ? keys - first : 256) + 15) / 16;
        rt_mask_words(words, mask, example, head << 24 | query << 12 | (uint32_t)(first / 4), 4 * tiles);
        for (int j = 0; j < tiles; j++)
            for (int t = 0; t < 4; t++) /* group 4j + t: keys 16j + 2t + {0, 1, 8, 9} */
                for (int n = 0; n < 4; n++)
                    factor[first + 16 * j + 2 * t + (n & 1) + (n & 2) * 4] =
                        words[16 * j + 4 * t + n] >= mask->threshold ? mask->scale : 0.0f;
    }
}

#endif
