/* Dropout masks in their plainest form, written from the contract's text and sharing no code with the ops: a Philox of
 * its own, one decision at a time. */
#ifndef RT_TEST_REFERENCE_MASK_H
#define RT_TEST_REFERENCE_MASK_H
#include <math.h>
#include <rectrain/types.h>

/* Philox4x32-10 as Salmon et al. 2011 write it: ten rounds, the key bumped by the Weyl constants between them. */
static inline void ref_philox(const uint32_t counter[4], uint64_t seed, uint32_t out[4]) {
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        if (round) key[0] += 0x9E3779B9u, key[1] += 0xBB67AE85u;
        uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
        uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ key[0], (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ key[1],
                            (uint32_t)p0};
        for (int i = 0; i < 4; i++) c[i] = next[i];
    }
    for (int i = 0; i < 4; i++) out[i] = c[i];
}

static inline int ref_decide(const rt_dropout *d, uint32_t example, uint32_t c3, int member) {
    if (d->p == 0.0f) return 1;
    uint32_t counter[4] = {d->state->step, example, (uint32_t)d->site << 16 | d->view, c3}, word[4];
    ref_philox(counter, d->seed, word);
    return (double)word[member] >= floor((double)d->p * 4294967296.0);
}

static inline int ref_keep_hidden(const rt_dropout *d, uint32_t example, int position, int64_t channel) {
    return ref_decide(d, example, (uint32_t)position << 16 | (uint32_t)(channel / 4), (int)(channel % 4));
}

static inline int ref_keep_attention(const rt_dropout *d, uint32_t example, int head, int query, int key) {
    /* Which (t, member) holds this key among the sixteen: the key is 2t + {0, 1, 8, 9}[member]. */
    static const int offset[4] = {0, 1, 8, 9};
    for (int t = 0; t < 4; t++)
        for (int member = 0; member < 4; member++)
            if (2 * t + offset[member] == key % 16) {
                uint32_t group = (uint32_t)(4 * (key / 16) + t);
                return ref_decide(d, example, (uint32_t)head << 24 | (uint32_t)query << 12 | group, member);
            }
    return -1;
}
#endif
