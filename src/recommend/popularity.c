#include "popularity.h"
#include <stdlib.h>
#include <string.h>

void rt_popularity_free(rt_popularity *p) {
    if (!p) return;
    free(p->clicks);
    free(p->all);
    free(p->starts);
    free(p->slices);
    *p = (rt_popularity){0};
}

static int by_clicks(const void *a, const void *b) {
    const rt_popular *x = a, *y = b;
    if (x->clicks != y->clicks) return x->clicks > y->clicks ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static rt_status no_memory(void) {
    return rt_fail(RT_ENOMEM, "out of memory to count clicks");
}

/* The first time that counts. */
static rt_status window_start(const rt_events *e, int64_t window, int64_t *from) {
    int64_t newest = INT64_MIN;
    *from = INT64_MIN;
    if (window <= 0) return RT_OK;
    if (!e->timed) return rt_fail(RT_EUSAGE, "a window of %lld needs times, and the log has none", (long long)window);
    for (uint64_t i = 0; i < e->n; i++)
        if (e->times[i] > newest) newest = e->times[i];
    if (newest >= INT64_MIN + window) *from = newest - window + 1;
    return RT_OK;
}

/* (slice, item) of each click in the window whose user has a slice, sorted and counted. */
static rt_status count_by_user(const rt_events *e, const rt_popularity_options *o, int64_t from, rt_popularity *p) {
    rt_status rc = RT_OK;
    uint64_t n = 0, pairs = 0;
    uint64_t *keys = malloc((e->n ? e->n : 1) * sizeof *keys);
    if (!keys) RT_GO(no_memory());
    for (uint32_t u = 0; u < e->n_users; u++) {
        uint32_t slice = o->user_slices[u];
        for (uint64_t i = e->starts[u]; slice < p->n_slices && i < e->starts[u + 1]; i++)
            if (e->times[i] >= from) keys[n++] = (uint64_t)slice << 32 | e->items[i];
    }
    qsort(keys, n, sizeof *keys, by_key);
    for (uint64_t i = 0; i < n; i++) pairs += i == 0 || keys[i] != keys[i - 1];
    p->slices = malloc((pairs ? pairs : 1) * sizeof *p->slices);
    if (!p->slices) RT_GO(no_memory());
    uint64_t to = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (i > 0 && keys[i] == keys[i - 1]) {
            p->slices[to - 1].clicks++;
            continue;
        }
        p->slices[to++] = (rt_popular){(uint32_t)keys[i], 1};
        p->starts[(keys[i] >> 32) + 1]++;
    }
done:
    free(keys);
    return rc;
}

static rt_status count_by_item(const rt_popularity_options *o, rt_popularity *p) {
    uint64_t *next = malloc(((size_t)p->n_slices + 1) * sizeof *next), total = 0;
    p->slices = malloc(((size_t)p->n_all + 1) * sizeof *p->slices);
    if (!next || !p->slices) {
        free(next);
        return no_memory();
    }
    for (uint32_t i = 0; i < p->n_items; i++)
        if (p->clicks[i] && o->item_slices[i] < p->n_slices) p->starts[o->item_slices[i] + 1]++;
    for (uint32_t s = 0; s < p->n_slices; s++) {
        next[s] = total;
        total += p->starts[s + 1];
    }
    for (uint32_t i = 0; i < p->n_items; i++)
        if (p->clicks[i] && o->item_slices[i] < p->n_slices)
            p->slices[next[o->item_slices[i]]++] = (rt_popular){i, p->clicks[i]};
    free(next);
    return RT_OK;
}

rt_status rt_popularity_new(const rt_events *e, const rt_popularity_options *o, rt_popularity *p) {
    rt_status rc = RT_OK;
    int64_t from;
    *p = (rt_popularity){.n_items = e->n_items, .n_slices = o->item_slices || o->user_slices ? o->n_slices : 0};
    RT_GO(window_start(e, o->window, &from));
    p->clicks = calloc((size_t)e->n_items + 1, sizeof *p->clicks);
    p->starts = calloc((size_t)p->n_slices + 1, sizeof *p->starts);
    if (!p->clicks || !p->starts) RT_GO(no_memory());
    for (uint64_t i = 0; i < e->n; i++) {
        if (e->times[i] < from) continue;
        p->counted++;
        p->n_all += p->clicks[e->items[i]]++ == 0;
    }
    p->all = malloc(((size_t)p->n_all + 1) * sizeof *p->all);
    if (!p->all) RT_GO(no_memory());
    for (uint32_t i = 0, to = 0; i < e->n_items; i++)
        if (p->clicks[i]) p->all[to++] = (rt_popular){i, p->clicks[i]};
    qsort(p->all, p->n_all, sizeof *p->all, by_clicks);
    if (o->user_slices)
        RT_GO(count_by_user(e, o, from, p));
    else if (o->item_slices)
        RT_GO(count_by_item(o, p));
    for (uint32_t s = 0; s < p->n_slices; s++) {
        p->starts[s + 1] += p->starts[s];
        qsort(p->slices + p->starts[s], (size_t)(p->starts[s + 1] - p->starts[s]), sizeof *p->slices, by_clicks);
    }
done:
    if (rc != RT_OK) rt_popularity_free(p);
    return rc;
}

rt_popularity_walk rt_popularity_begin(const rt_popularity *p, uint32_t slice) {
    bool known = slice < p->n_slices;
    return (rt_popularity_walk){p, slice, known ? p->starts[slice] : 0, !known};
}

const rt_popular *rt_popularity_next(rt_popularity_walk *w, bool *of_slice) {
    if (!w->beyond && w->at < w->p->starts[w->slice + 1]) {
        *of_slice = true;
        return &w->p->slices[w->at++];
    }
    if (!w->beyond) {
        w->beyond = true;
        w->at = 0;
    }
    *of_slice = false;
    return w->at < w->p->n_all ? &w->p->all[w->at++] : NULL;
}
