/* Clicks in order, and their two matrices. The file is read in events_read.c. */
#include "events.h"
#include "events_internal.h"
#include <stdlib.h>
#include <string.h>

void rt_clicks_free(rt_clicks *c) {
    if (!c) return;
    free(c->user_starts);
    free(c->item_starts);
    free(c->user_items);
    free(c->item_users);
    free(c->user_counts);
    free(c->item_counts);
    *c = (rt_clicks){0};
}

void rt_events_free(rt_events *e) {
    if (!e) return;
    free(e->starts);
    free(e->items);
    free(e->times);
    rt_clicks_free(&e->clicks);
    *e = (rt_events){0};
}

static rt_status no_memory(uint64_t n) {
    return rt_fail(RT_ENOMEM, "out of memory for %llu clicks", (unsigned long long)n);
}

/* --- histories in order of time -------------------------------------------------------------------------------------
 */

typedef struct {
    int64_t time;
    uint32_t item, at; /* at: its place before sorting, so that equal times keep their order */
} timed;

static int by_time(const void *a, const void *b) {
    const timed *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static bool in_order(const int64_t *times, uint64_t n) {
    for (uint64_t i = 1; i < n; i++)
        if (times[i] < times[i - 1]) return false;
    return true;
}

/* A log in order of time, as most are, is left as it is. */
static rt_status sort_histories(rt_events *e) {
    rt_status rc = RT_OK;
    timed *scratch = NULL;
    uint64_t room = 0;
    for (uint32_t u = 0; u < e->n_users; u++) {
        uint64_t from = e->starts[u], n = e->starts[u + 1] - from;
        if (in_order(e->times + from, n)) continue;
        if (n > UINT32_MAX) RT_GO(rt_fail(RT_EDATA, "one user has %llu clicks", (unsigned long long)n));
        if (n > room) {
            free(scratch);
            scratch = malloc(n * sizeof *scratch);
            if (!scratch) RT_GO(no_memory(n));
            room = n;
        }
        for (uint64_t i = 0; i < n; i++) scratch[i] = (timed){e->times[from + i], e->items[from + i], (uint32_t)i};
        qsort(scratch, n, sizeof *scratch, by_time);
        for (uint64_t i = 0; i < n; i++) {
            e->times[from + i] = scratch[i].time;
            e->items[from + i] = scratch[i].item;
        }
    }
done:
    free(scratch);
    return rc;
}

static void starts_from_counts(uint64_t *starts, uint32_t n) {
    uint64_t at = 0;
    for (uint32_t i = 0; i <= n; i++) { /* starts[i] holds the count of i - 1's place on entry */
        uint64_t count = starts[i];
        starts[i] = at;
        at += count;
    }
}

rt_status rt_events_arrange(rt_click_blocks *blocks, uint32_t n_users, uint32_t n_items, rt_events *e) {
    uint64_t n = blocks->n, *next = NULL;
    rt_status rc = RT_OK;
    e->n_users = n_users;
    e->n_items = n_items;
    e->n = n;
    e->starts = calloc((size_t)n_users + 1, sizeof *e->starts);
    next = malloc(((size_t)n_users + 1) * sizeof *next);
    e->items = malloc((n ? n : 1) * sizeof *e->items);
    e->times = malloc((n ? n : 1) * sizeof *e->times);
    if (!e->starts || !next || !e->items || !e->times) RT_GO(no_memory(n));
    for (uint64_t i = 0; i < n; i++) e->starts[rt_click_block_at(blocks, i)->user]++;
    starts_from_counts(e->starts, n_users);
    memcpy(next, e->starts, ((size_t)n_users + 1) * sizeof *next);
    for (uint64_t i = 0; i < n; i++) {
        const rt_click_row *row = rt_click_block_at(blocks, i);
        uint64_t to = next[row->user]++;
        e->items[to] = row->item;
        e->times[to] = row->time;
    }
    rt_click_blocks_free(blocks);
    RT_GO(sort_histories(e));
    RT_GO(rt_clicks_of(e, 0, &e->clicks, NULL));
done:
    free(next);
    return rc;
}

rt_status rt_events_from(uint32_t n_users, uint32_t n_items, uint64_t n, const uint32_t *users, const uint32_t *items,
                         const int64_t *times, rt_events *out) {
    rt_click_blocks blocks = {0};
    rt_status rc = RT_OK;
    *out = (rt_events){.timed = times != NULL, .rows = n};
    for (uint64_t i = 0; i < n; i++) {
        if (users[i] >= n_users || items[i] >= n_items)
            RT_GO(rt_fail(RT_EINTERNAL, "click %llu: user %u of %u, item %u of %u", (unsigned long long)i, users[i],
                          n_users, items[i], n_items));
        RT_GO(rt_click_blocks_add(&blocks, (rt_click_row){times ? times[i] : (int64_t)i, users[i], items[i]}));
    }
    RT_GO(rt_events_arrange(&blocks, n_users, n_items, out));
done:
    rt_click_blocks_free(&blocks);
    if (rc != RT_OK) rt_events_free(out);
    return rc;
}

/* --- matrices -------------------------------------------------------------------------------------------------------
 */

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Walks a user's clicks from the newest, keeps the first `most` different items in `kept`, and counts each in
 * counts[item], which the caller clears. *more: there were others. */
static uint32_t newest(const rt_events *e, uint32_t user, uint32_t most, uint32_t *counts, uint32_t *kept, bool *more) {
    uint32_t n = 0;
    for (uint64_t i = e->starts[user + 1]; i-- > e->starts[user];) {
        uint32_t item = e->items[i];
        if (counts[item]++ > 0) continue;
        if (n < most)
            kept[n++] = item;
        else
            counts[item] = 0, *more = true;
    }
    return n;
}

/* The second matrix from the first: users rise because they are walked in order. */
static rt_status transpose(rt_clicks *c) {
    rt_status rc = RT_OK;
    uint64_t *next = malloc(((size_t)c->n_items + 1) * sizeof *next);
    if (!next) RT_GO(no_memory(c->n));
    for (uint64_t i = 0; i < c->n; i++) c->item_starts[c->user_items[i]]++;
    starts_from_counts(c->item_starts, c->n_items);
    memcpy(next, c->item_starts, ((size_t)c->n_items + 1) * sizeof *next);
    for (uint32_t u = 0; u < c->n_users; u++)
        for (uint64_t i = c->user_starts[u]; i < c->user_starts[u + 1]; i++) {
            uint64_t to = next[c->user_items[i]]++;
            c->item_users[to] = u;
            c->item_counts[to] = c->user_counts[i];
        }
done:
    free(next);
    return rc;
}

/* Gives back what was taken for pairs that turned out to be the same. */
static void shrink(rt_clicks *c) {
    void *items = realloc(c->user_items, (c->n ? c->n : 1) * sizeof *c->user_items);
    if (items) c->user_items = items;
    void *counts = realloc(c->user_counts, (c->n ? c->n : 1) * sizeof *c->user_counts);
    if (counts) c->user_counts = counts;
}

rt_status rt_clicks_of(const rt_events *e, uint32_t most, rt_clicks *c, uint32_t *cut) {
    rt_status rc = RT_OK;
    uint32_t n_cut = 0;
    uint32_t *counts = calloc((size_t)e->n_items + 1, sizeof *counts);
    *c = (rt_clicks){.n_users = e->n_users, .n_items = e->n_items};
    c->user_starts = calloc((size_t)e->n_users + 1, sizeof *c->user_starts);
    c->item_starts = calloc((size_t)e->n_items + 1, sizeof *c->item_starts);
    c->user_items = malloc((e->n ? e->n : 1) * sizeof *c->user_items);
    c->user_counts = malloc((e->n ? e->n : 1) * sizeof *c->user_counts);
    if (!counts || !c->user_starts || !c->item_starts || !c->user_items || !c->user_counts) RT_GO(no_memory(e->n));
    for (uint32_t u = 0; u < e->n_users; u++) {
        bool more = false;
        uint32_t *kept = c->user_items + c->n, n = newest(e, u, most ? most : UINT32_MAX, counts, kept, &more);
        n_cut += more;
        qsort(kept, n, sizeof *kept, by_number);
        for (uint32_t i = 0; i < n; i++) {
            c->user_counts[c->n + i] = (uint16_t)(counts[kept[i]] < UINT16_MAX ? counts[kept[i]] : UINT16_MAX);
            counts[kept[i]] = 0;
        }
        c->n += n;
        c->user_starts[u + 1] = c->n;
    }
    shrink(c);
    c->item_users = malloc((c->n ? c->n : 1) * sizeof *c->item_users);
    c->item_counts = malloc((c->n ? c->n : 1) * sizeof *c->item_counts);
    if (!c->item_users || !c->item_counts) RT_GO(no_memory(c->n));
    RT_GO(transpose(c));
    if (cut) *cut = n_cut;
done:
    free(counts);
    if (rc != RT_OK) rt_clicks_free(c);
    return rc;
}
