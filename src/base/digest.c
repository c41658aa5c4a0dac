/* XXH3 behind an interface of our own, so that one file knows the library. */
#include "digest.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct rt_digest {
    XXH3_state_t *state; /* apart, because it wants 64-byte alignment and comes from the library's own allocator */
};

rt_digest *rt_digest_new(void) {
    rt_digest *d = malloc(sizeof *d);
    if (!d) return NULL;
    d->state = XXH3_createState();
    if (d->state && XXH3_128bits_reset(d->state) == XXH_OK) return d;
    rt_digest_free(d);
    return NULL;
}

void rt_digest_free(rt_digest *d) {
    if (!d) return;
    if (d->state) XXH3_freeState(d->state);
    free(d);
}

void rt_digest_update(rt_digest *d, const void *bytes, size_t size) {
    if (size > 0) XXH3_128bits_update(d->state, bytes, size);
}

void rt_digest_u64(rt_digest *d, uint64_t value) {
    unsigned char bytes[8]; /* little-endian on every machine */
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(value >> (8 * i));
    rt_digest_update(d, bytes, sizeof bytes);
}

void rt_digest_string(rt_digest *d, const char *s) {
    size_t n = s ? strlen(s) : 0;
    rt_digest_u64(d, s ? (uint64_t)n : UINT64_MAX);
    rt_digest_update(d, s, n);
}

rt_digest128 rt_digest_end(const rt_digest *d) {
    XXH128_hash_t h = XXH3_128bits_digest(d->state);
    return (rt_digest128){.high = h.high64, .low = h.low64};
}

uint64_t rt_hash64(const void *bytes, size_t size) {
    return XXH3_64bits(size ? bytes : "", size);
}

rt_digest128 rt_hash128(const void *bytes, size_t size) {
    XXH128_hash_t h = XXH3_128bits(size ? bytes : "", size);
    return (rt_digest128){.high = h.high64, .low = h.low64};
}

void rt_digest_hex(rt_digest128 digest, char out[33]) {
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)digest.high, (unsigned long long)digest.low);
}
