#include "pairs.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void rt_pairs_free(rt_pairs *p) {
    free(p->texts);
    free(p->users);
    free(p->items);
    free(p->log_share);
    *p = (rt_pairs){0};
}

/* One value a pair from a section that has one a record: that of the row's record `side`, or its text's. */
static rt_status fill(const rt_dataset *ds, const rt_pairs *p, rt_dataset_hash which, int side, uint64_t *out) {
    enum { PAIRS = 512 };
    uint64_t window[PAIRS * (2 + RT_MOST_NEGATIVES)];
    const uint32_t sides = (uint32_t)p->sides;
    for (uint32_t first = 0, n; first < p->n; first += n) {
        n = p->n - first < PAIRS ? p->n - first : PAIRS;
        RT_TRY(rt_dataset_hashes(ds, which, first * sides, n * sides, window));
        for (uint32_t i = 0; i < n; i++) {
            const size_t record = (size_t)(first + i) * sides + (size_t)side;
            out[first + i] = window[i * sides] ? window[i * sides] : p->texts[record];
        }
    }
    return RT_OK;
}

static int by_hash(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static rt_status count_shares(rt_pairs *p) {
    uint64_t *sorted = malloc((size_t)p->n * sizeof *sorted + 1);
    p->log_share = malloc((size_t)p->n * sizeof *p->log_share + 1);
    if (!sorted || !p->log_share) {
        free(sorted);
        return rt_fail(RT_ENOMEM, "out of memory to count the items of %u pairs", p->n);
    }
    memcpy(sorted, p->items, (size_t)p->n * sizeof *sorted);
    qsort(sorted, p->n, sizeof *sorted, by_hash);
    for (uint32_t i = 0; i < p->n; i++) {
        size_t low = 0, high = p->n, end = p->n; /* first of the item's hashes, and first beyond them */
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (sorted[middle] < p->items[i])
                low = middle + 1;
            else
                high = middle;
        }
        for (high = low; high < end;) {
            size_t middle = high + (end - high) / 2;
            if (sorted[middle] <= p->items[i])
                high = middle + 1;
            else
                end = middle;
        }
        p->log_share[i] = (float)log((double)(high - low) / (double)p->n);
    }
    free(sorted);
    return RT_OK;
}

rt_status rt_pairs_new(const rt_dataset *ds, bool log_share, rt_pairs *p) {
    *p = (rt_pairs){.n = rt_dataset_examples(ds), .sides = rt_dataset_sides(ds)};
    if (p->sides < 2) return rt_fail(RT_EINTERNAL, "pairs of a data set whose texts are not apart");
    p->texts = malloc((size_t)p->n * (size_t)p->sides * sizeof *p->texts + 1);
    p->users = malloc((size_t)p->n * sizeof *p->users + 1);
    p->items = malloc((size_t)p->n * sizeof *p->items + 1);
    if (!p->texts || !p->users || !p->items) return rt_fail(RT_ENOMEM, "out of memory for the keys of %u pairs", p->n);
    RT_TRY(rt_dataset_hashes(ds, RT_HASH_TEXT, 0, p->n * (uint32_t)p->sides, p->texts));
    RT_TRY(fill(ds, p, RT_HASH_USER, 0, p->users));
    RT_TRY(fill(ds, p, RT_HASH_ITEM, 1, p->items));
    return log_share ? count_shares(p) : RT_OK;
}
