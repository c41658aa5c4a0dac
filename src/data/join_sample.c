/* Items that a user did not click, for logs that hold clicks alone: uniformly among those that the log knew by then. */
#include "../base/philox.h"
#include "join_internal.h"
#include <stdlib.h>
#include <string.h>

struct rt_join_sampler {
    const rt_join_time *first_seen;
    uint64_t seed;
    uint32_t *known; /* [n] items of the log, in the order in which they first occurred */
    uint32_t n;
    uint64_t *excluded; /* bits, by item */
    uint32_t *marked;   /* what `excluded` holds, to take it back */
    uint32_t n_marked, capacity;
    bool overflow; /* more than `marked` holds: all bits are cleared instead */
    size_t words;
};

static int by_first_seen(const void *a, const void *b, void *context) {
    const rt_join_time *first_seen = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = rt_join_time_compare(first_seen[x], first_seen[y]);
    return order ? order : (x > y) - (x < y);
}

rt_status rt_join_sampler_new(const rt_joining *j, rt_join_sampler **out) {
    *out = NULL;
    uint32_t items = rt_join_items_count(j->items);
    rt_join_sampler *s = calloc(1, sizeof *s);
    if (!s) return rt_fail(RT_ENOMEM, "no memory to sample items");
    s->first_seen = j->first_seen;
    s->seed = j->o->seed;
    s->words = (size_t)items / 64 + 1;
    s->capacity = 4096;
    s->known = malloc(((size_t)items + 1) * sizeof *s->known);
    s->excluded = calloc(s->words, sizeof *s->excluded);
    s->marked = malloc(s->capacity * sizeof *s->marked);
    if (!s->known || !s->excluded || !s->marked) {
        rt_join_sampler_free(s);
        return rt_fail(RT_ENOMEM, "no memory to sample among %u items", items);
    }
    for (uint32_t i = 0; i < items; i++)
        if (j->seen[i >> 6] >> (i & 63) & 1) s->known[s->n++] = i;
    qsort_r(s->known, s->n, sizeof *s->known, by_first_seen, j->first_seen);
    *out = s;
    return RT_OK;
}

void rt_join_sampler_free(rt_join_sampler *s) {
    if (!s) return;
    free(s->known);
    free(s->excluded);
    free(s->marked);
    free(s);
}

static bool is_excluded(const rt_join_sampler *s, uint32_t item) {
    return s->excluded[item >> 6] >> (item & 63) & 1;
}

static void unmark(rt_join_sampler *s, uint32_t item) {
    s->excluded[item >> 6] &= ~((uint64_t)1 << (item & 63));
}

void rt_join_sampler_clear(rt_join_sampler *s) {
    if (s->overflow) memset(s->excluded, 0, s->words * sizeof *s->excluded);
    for (uint32_t i = 0; i < s->n_marked; i++) unmark(s, s->marked[i]);
    s->n_marked = 0;
    s->overflow = false;
}

void rt_join_sampler_exclude(rt_join_sampler *s, uint32_t item) {
    if (is_excluded(s, item)) return;
    s->excluded[item >> 6] |= (uint64_t)1 << (item & 63);
    if (s->n_marked < s->capacity)
        s->marked[s->n_marked++] = item;
    else
        s->overflow = true;
}

/* How many of `known` had occurred by `time`. */
static uint32_t known_by(const rt_join_sampler *s, rt_join_time time) {
    uint32_t low = 0, high = s->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rt_join_time_compare(s->first_seen[s->known[middle]], time) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int rt_join_sampler_draw(rt_join_sampler *s, rt_join_time time, uint64_t stream, int n, uint32_t *items) {
    enum { TRIES = 64, LOOK = 4096 };
    uint32_t pool = known_by(s, time);
    rt_rng rng = rt_rng_make(s->seed ^ stream >> 32, 0xFFE3, (uint32_t)stream);
    int drawn = 0;
    for (; drawn < n && pool > 0; drawn++) {
        uint32_t at = rt_rng_below(&rng, pool), item = s->known[at];
        for (int i = 0; i < TRIES && is_excluded(s, item); i++) item = s->known[at = rt_rng_below(&rng, pool)];
        /* Almost everything is excluded: the next that is not. A user of everything must not cost a look at everything
         * for each of his rows, so the search ends, and the row has fewer. */
        for (uint32_t i = 0; i < pool && i < LOOK && is_excluded(s, item); i++)
            item = s->known[at = at + 1 < pool ? at + 1 : 0];
        if (is_excluded(s, item)) break;
        s->excluded[item >> 6] |= (uint64_t)1 << (item & 63); /* until all n are there: no item twice */
        items[drawn] = item;
    }
    for (int i = 0; i < drawn; i++) unmark(s, items[i]);
    return drawn;
}
