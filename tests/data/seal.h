/* Makes every checksum of an altered token cache right again, as an attacker could, or a bug of ours. */
#ifndef TEST_DATA_SEAL_H
#define TEST_DATA_SEAL_H
#include "data/dataset_internal.h"
#include <string.h>

/* `bytes`: the file; `h`: its header, which goes into it. Digests of blocks are mended where the header's sections fill
 * the file. */
static inline void seal_cache(void *bytes, size_t size, rt_cache_header *h) {
    rt_cache_layout layout;
    if (rt_cache_lay_out(h, &layout) && layout.file_bytes == size) {
        uint64_t *digests = (uint64_t *)(void *)((unsigned char *)bytes + layout.at[RT_SECTIONS]);
        for (uint64_t i = 0; i < layout.blocks; i++)
            digests[i] = rt_hash64((unsigned char *)bytes + (i + 1) * RT_CACHE_BLOCK, RT_CACHE_BLOCK);
        h->digests = rt_hash128(digests, (size_t)layout.blocks * sizeof *digests);
        h->content = rt_cache_content(h, &layout, digests);
    }
    h->self = rt_cache_self(h);
    memcpy(bytes, h, sizeof *h);
}

#endif
