#include "ids.h"
#include "../base/digest.h"
#include "../base/text.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct rt_ids {
    rt_text bytes;
    uint64_t *ends, *hashes; /* [capacity] */
    uint32_t n, capacity;
    uint32_t *slots; /* [n_slots], a power of two: number + 1; 0: free */
    size_t n_slots;
};

rt_status rt_ids_new(rt_ids **out) {
    *out = calloc(1, sizeof **out);
    return *out ? RT_OK : rt_fail(RT_ENOMEM, "out of memory for ids");
}

void rt_ids_free(rt_ids *ids) {
    if (!ids) return;
    rt_text_free(&ids->bytes);
    free(ids->ends);
    free(ids->hashes);
    free(ids->slots);
    free(ids);
}

uint32_t rt_ids_count(const rt_ids *ids) {
    return ids->n;
}

const char *rt_ids_get(const rt_ids *ids, uint32_t number, size_t *size) {
    uint64_t from = number ? ids->ends[number - 1] : 0;
    *size = (size_t)(ids->ends[number] - from);
    return ids->bytes.data ? ids->bytes.data + from : "";
}

/* The slot that holds the id, or the free one where it belongs. */
static size_t slot_of(const rt_ids *ids, const char *bytes, size_t size, uint64_t hash) {
    size_t mask = ids->n_slots - 1, slot = (size_t)hash & mask;
    for (; ids->slots[slot]; slot = (slot + 1) & mask) {
        uint32_t number = ids->slots[slot] - 1;
        size_t length;
        if (ids->hashes[number] != hash) continue;
        const char *other = rt_ids_get(ids, number, &length);
        if (length == size && (size == 0 || memcmp(other, bytes, size) == 0)) break;
    }
    return slot;
}

uint32_t rt_ids_find(const rt_ids *ids, const char *bytes, size_t size) {
    if (!ids->n_slots) return RT_NO_ID;
    uint32_t entry = ids->slots[slot_of(ids, bytes, size, rt_hash64(size ? bytes : "", size))];
    return entry ? entry - 1 : RT_NO_ID;
}

static rt_status make_room(rt_ids *ids) {
    if (ids->n == ids->capacity) {
        uint32_t n = ids->capacity ? 2 * ids->capacity : 256;
        uint64_t *ends = realloc(ids->ends, n * sizeof *ends);
        if (ends) ids->ends = ends;
        uint64_t *hashes = ends ? realloc(ids->hashes, n * sizeof *hashes) : NULL;
        if (hashes) ids->hashes = hashes;
        if (!hashes) return rt_fail(RT_ENOMEM, "out of memory for %u ids", n);
        ids->capacity = n;
    }
    if ((size_t)ids->n + 1 <= ids->n_slots / 4 * 3) return RT_OK;
    size_t n_slots = ids->n_slots ? 2 * ids->n_slots : 512;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return rt_fail(RT_ENOMEM, "out of memory for %u ids", ids->n);
    free(ids->slots);
    ids->slots = slots;
    ids->n_slots = n_slots;
    for (uint32_t i = 0; i < ids->n; i++) {
        size_t slot = (size_t)ids->hashes[i] & (n_slots - 1);
        while (slots[slot]) slot = (slot + 1) & (n_slots - 1);
        slots[slot] = i + 1;
    }
    return RT_OK;
}

rt_status rt_ids_add(rt_ids *ids, const char *bytes, size_t size, uint32_t *number) {
    uint64_t hash = rt_hash64(size ? bytes : "", size);
    RT_TRY(make_room(ids));
    size_t slot = slot_of(ids, bytes, size, hash);
    if (ids->slots[slot]) {
        *number = ids->slots[slot] - 1;
        return RT_OK;
    }
    if (ids->n >= RT_MAX_IDS) return rt_fail(RT_EDATA, "more than %d different ids", RT_MAX_IDS);
    if (size) rt_text_append(&ids->bytes, bytes, size);
    RT_TRY(rt_text_status(&ids->bytes));
    ids->ends[ids->n] = ids->bytes.size;
    ids->hashes[ids->n] = hash;
    *number = ids->n++;
    ids->slots[slot] = ids->n;
    return RT_OK;
}
