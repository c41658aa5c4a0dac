#include "fuse.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t item;
    uint32_t list;
    double score, given;
} entry;

struct rt_fuser {
    entry *entries;
    rt_fused *fused;
    size_t n_entries, n_fused; /* room */
};

rt_status rt_fuser_new(rt_fuser **out) {
    *out = calloc(1, sizeof **out);
    return *out ? RT_OK : rt_fail(RT_ENOMEM, "out of memory to merge lists");
}

void rt_fuser_free(rt_fuser *f) {
    if (!f) return;
    free(f->entries);
    free(f->fused);
    free(f);
}

static int by_score(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int by_item(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->item != y->item) return x->item < y->item ? -1 : 1;
    return (x->list > y->list) - (x->list < y->list);
}

static int by_sum(const void *a, const void *b) {
    const rt_fused *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* The list's entries, sorted by place. */
static void give(rt_fuse_kind kind, double weight, entry *e, uint32_t n) {
    double most = e[0].score, least = e[n - 1].score;
    for (uint32_t i = 0; i < n; i++) {
        double share = 0;
        switch (kind) {
        case RT_FUSE_MINMAX:
            /* Halves, so that the difference of two finite numbers stays finite. */
            share = most > least ? (e[i].score / 2 - least / 2) / (most / 2 - least / 2) : 1;
            break;
        case RT_FUSE_RANK:
            share = 1 - (double)i / n;
            break;
        case RT_FUSE_RRF:
            share = 1.0 / (RT_FUSE_RRF_K + i + 1);
            break;
        }
        e[i].given = weight * share;
    }
}

static rt_status make_room(rt_fuser *f, size_t n) {
    if (n > f->n_entries) {
        entry *grown = realloc(f->entries, n * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory to merge %zu items", n);
        f->entries = grown;
        f->n_entries = n;
    }
    if (n > f->n_fused) {
        rt_fused *grown = realloc(f->fused, n * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory to merge %zu items", n);
        f->fused = grown;
        f->n_fused = n;
    }
    return RT_OK;
}

rt_status rt_fuse(rt_fuser *f, rt_fuse_kind kind, const rt_fuse_list *lists, int n_lists, const rt_fused **fused,
                  uint32_t *n) {
    size_t all = 0, at = 0;
    *n = 0;
    if (n_lists < 0 || n_lists > RT_FUSE_LISTS) return rt_fail(RT_EINTERNAL, "%d lists to merge", n_lists);
    for (int l = 0; l < n_lists; l++) all += lists[l].n;
    RT_TRY(make_room(f, all + 1));
    for (int l = 0; l < n_lists; l++) {
        const rt_fuse_list *list = &lists[l];
        entry *e = f->entries + at;
        for (uint32_t i = 0; i < list->n; i++) {
            if (!isfinite(list->items[i].score))
                return rt_fail(RT_EDATA, "a score is not a finite number: %g", list->items[i].score);
            e[i] = (entry){list->items[i].item, (uint32_t)l, list->items[i].score, 0};
        }
        qsort(e, list->n, sizeof *e, by_score);
        if (list->n) give(kind, list->weight, e, list->n);
        at += list->n;
    }
    qsort(f->entries, all, sizeof *f->entries, by_item);
    for (size_t i = 0; i < all; i++) {
        const entry *e = &f->entries[i];
        if (i == 0 || e->item != e[-1].item) {
            rt_fused *fresh = &f->fused[(*n)++];
            *fresh = (rt_fused){.item = e->item};
            for (int l = 0; l < RT_FUSE_LISTS; l++) fresh->parts[l] = NAN;
        }
        rt_fused *to = &f->fused[*n - 1];
        to->given[e->list] = e->given;
        to->parts[e->list] = e->score;
        to->score += e->given;
    }
    qsort(f->fused, *n, sizeof *f->fused, by_sum);
    *fused = f->fused;
    return RT_OK;
}
