/* XXH3 digests (xxHash), streaming. Not cryptographic: they find damage and difference, not forgery. */
#ifndef RT_BASE_DIGEST_H
#define RT_BASE_DIGEST_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t high, low;
} rt_digest128;

typedef struct rt_digest rt_digest;
rt_digest *rt_digest_new(void); /* NULL when out of memory */
void rt_digest_free(rt_digest *d);
void rt_digest_update(rt_digest *d, const void *bytes, size_t size);
/* A length-prefixed string, so that ("ab","c") and ("a","bc") differ; NULL differs from "". */
void rt_digest_string(rt_digest *d, const char *s);
void rt_digest_u64(rt_digest *d, uint64_t value);
rt_digest128 rt_digest_end(const rt_digest *d);
uint64_t rt_hash64(const void *bytes, size_t size); /* XXH3-64, seed 0 */
rt_digest128 rt_hash128(const void *bytes, size_t size);
void rt_digest_hex(rt_digest128 digest, char out[33]); /* 32 hex digits, high first, NUL */

#endif
