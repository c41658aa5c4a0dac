/* The global heap, where strings of their own length stand. */
#include "h5_parse.h"
#include <stdlib.h>
#include <string.h>

#define COLLECTION_LIMIT ((uint64_t)1 << 20) /* libhdf5 makes them of 4 KiB, and of one larger string alone */
#define INDEX_LIMIT 65536

void rt_h5_heap_free(rt_h5_heap *heap) {
    if (!heap) return;
    free(heap->bytes);
    free(heap->places);
    *heap = (rt_h5_heap){0};
}

/* Where each object begins; the walk ends at the free space, which is object 0. */
static rt_status find_objects(rt_h5_parser *p, rt_h5_heap *h) {
    h->n = 0;
    for (size_t at = 16; h->size - at >= 16;) {
        uint32_t index = rt_h5_u16(h->bytes + at);
        uint64_t size = rt_h5_u64(h->bytes + at + 8);
        if (index == 0) break;
        if (size > h->size - at - 16) return rt_h5_bad(p, "a collection of its strings is damaged");
        while (h->n <= index) h->places[h->n++] = 0;
        h->places[index] = (uint32_t)at;
        size = (size + 7) & ~(uint64_t)7;
        if (size > h->size - at - 16) break;
        at += 16 + (size_t)size;
    }
    return RT_OK;
}

static rt_status load(rt_h5_parser *p, rt_h5_heap *h, uint64_t at) {
    unsigned char b[16];
    RT_TRY(rt_h5_get(p, at, b, sizeof b));
    uint64_t size = rt_h5_u64(b + 8);
    if (memcmp(b, "GCOL", 4) != 0 || b[4] != 1 || size < 16 || size > COLLECTION_LIMIT)
        return rt_h5_bad(p, "a collection of its strings is damaged");
    h->read += size;
    if (h->read / 3 > p->bytes->size) return rt_h5_bad(p, "its strings are those of many more bytes than it has");
    unsigned char *grown = realloc(h->bytes, (size_t)size);
    if (grown) h->bytes = grown;
    if (!h->places) h->places = malloc(INDEX_LIMIT * sizeof *h->places);
    if (!grown || !h->places) return rt_fail(RT_ENOMEM, "%s: out of memory", p->bytes->name);
    h->size = 0; /* nothing valid until all of it is */
    RT_TRY(rt_h5_get(p, at, h->bytes, (size_t)size));
    h->size = (size_t)size;
    h->at = at;
    return find_objects(p, h);
}

rt_status rt_h5_heap_get(rt_h5_parser *p, rt_h5_heap *h, uint64_t at, uint32_t index, const char **bytes,
                         size_t *size) {
    if (!h->size || h->at != at) {
        rt_status rc = load(p, h, at);
        if (rc != RT_OK) h->size = 0;
        RT_TRY(rc);
    }
    uint32_t place = index < h->n ? h->places[index] : 0;
    if (!place) return rt_h5_bad(p, "a string of it is not where it should be");
    *bytes = (const char *)h->bytes + place + 16;
    *size = (size_t)rt_h5_u64(h->bytes + place + 8);
    return RT_OK;
}
