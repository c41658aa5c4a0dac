#include "itemknn.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS_AT_ONCE = 64 };

void rt_itemknn_free(rt_itemknn *k) {
    if (!k) return;
    free(k->starts);
    free(k->items);
    free(k->cosines);
    *k = (rt_itemknn){0};
}

typedef struct {
    double cosine;
    uint32_t item;
} neighbour;

/* One thread's room for one item's row of the product. */
typedef struct {
    double *dot;          /* [n_items] 0 outside of a row */
    uint32_t *common;     /* [n_items] users of both */
    uint32_t *touched, n; /* items that have one */
    neighbour *nearest;   /* [neighbours] */
} row_room;

typedef struct {
    const rt_itemknn_options *o;
    const rt_clicks *c;
    double *norms;         /* [n_items] squares of the vectors' lengths */
    double weights[65536]; /* of a count */
    uint32_t *found;       /* [n_items] */
    uint32_t *items;       /* [n_items, neighbours] before they are put together */
    float *cosines;
    atomic_int failed; /* an rt_status */
} making;

static void room_free(row_room *r) {
    free(r->dot);
    free(r->common);
    free(r->touched);
    free(r->nearest);
}

static bool room_new(row_room *r, uint32_t n_items, uint32_t neighbours) {
    *r = (row_room){.dot = calloc((size_t)n_items + 1, sizeof *r->dot),
                    .common = calloc((size_t)n_items + 1, sizeof *r->common),
                    .touched = malloc(((size_t)n_items + 1) * sizeof *r->touched),
                    .nearest = malloc(((size_t)neighbours + 1) * sizeof *r->nearest)};
    return r->dot && r->common && r->touched && r->nearest;
}

static bool nearer(neighbour a, neighbour b) {
    return a.cosine > b.cosine || (a.cosine == b.cosine && a.item < b.item);
}

static int by_nearness(const void *a, const void *b) {
    const neighbour *x = a, *y = b;
    return nearer(*x, *y) ? -1 : nearer(*y, *x);
}

/* heap[0] is the least near of n. */
static void sink(neighbour *heap, uint32_t n, uint32_t at) {
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && nearer(heap[child], heap[child + 1])) child++;
        if (!nearer(heap[at], heap[child])) return;
        neighbour t = heap[at];
        heap[at] = heap[child];
        heap[child] = t;
        at = child;
    }
}

static uint32_t keep_nearest(const making *m, row_room *r, uint32_t item) {
    uint32_t most = m->o->neighbours, n = 0;
    for (uint32_t t = 0; t < r->n; t++) {
        uint32_t j = r->touched[t];
        double both = r->common[j], product = m->norms[item] * m->norms[j];
        neighbour found = {product > 0 ? r->dot[j] / sqrt(product) * (both / (both + m->o->shrinkage)) : 0, j};
        r->dot[j] = 0;
        r->common[j] = 0;
        if (n < most) {
            r->nearest[n++] = found;
            if (n == most)
                for (uint32_t i = most / 2; i-- > 0;) sink(r->nearest, n, i);
        } else if (nearer(found, r->nearest[0])) {
            r->nearest[0] = found;
            sink(r->nearest, n, 0);
        }
    }
    r->n = 0;
    qsort(r->nearest, n, sizeof *r->nearest, by_nearness);
    return n;
}

static void make_row(const making *m, row_room *r, uint32_t item) {
    const rt_clicks *c = m->c;
    for (uint64_t at = c->item_starts[item]; at < c->item_starts[item + 1]; at++) {
        uint32_t user = c->item_users[at];
        double own = m->weights[c->item_counts[at]];
        for (uint64_t k = c->user_starts[user]; k < c->user_starts[user + 1]; k++) {
            uint32_t j = c->user_items[k];
            if (j == item) continue;
            if (r->common[j]++ == 0) r->touched[r->n++] = j;
            r->dot[j] += own * m->weights[c->user_counts[k]];
        }
    }
    uint32_t n = keep_nearest(m, r, item);
    while (n > 0 && (float)r->nearest[n - 1].cosine == 0) n--; /* a shrinkage beyond all measure */
    size_t base = (size_t)item * m->o->neighbours;
    m->found[item] = n;
    for (uint32_t i = 0; i < n; i++) {
        m->items[base + i] = r->nearest[i].item;
        m->cosines[base + i] = (float)r->nearest[i].cosine;
    }
}

static void make_rows(making *m) {
    uint32_t n_items = m->c->n_items;
#pragma omp parallel
    {
        row_room r;
        bool mine = false; /* the thread that asks */
        if (!room_new(&r, n_items, m->o->neighbours)) atomic_store(&m->failed, RT_ENOMEM);
#pragma omp master
        mine = true;
#pragma omp for schedule(dynamic, 1)
        for (uint32_t from = 0; from < n_items; from += ITEMS_AT_ONCE) {
            if (atomic_load(&m->failed)) continue;
            if (mine && m->o->stop && m->o->stop(m->o->context, from)) atomic_store(&m->failed, RT_ESTOPPED);
            uint32_t to = n_items - from < ITEMS_AT_ONCE ? n_items : from + ITEMS_AT_ONCE;
            for (uint32_t i = from; i < to; i++) make_row(m, &r, i);
        }
        room_free(&r);
    }
}

static rt_status put_together(const making *m, rt_itemknn *k) {
    uint32_t n_items = m->c->n_items;
    k->starts = malloc(((size_t)n_items + 1) * sizeof *k->starts);
    if (!k->starts) return rt_fail(RT_ENOMEM, "out of memory for the neighbours of %u items", n_items);
    k->starts[0] = 0;
    for (uint32_t i = 0; i < n_items; i++) k->starts[i + 1] = k->starts[i] + m->found[i];
    k->n_items = n_items;
    for (uint32_t i = 0; i < n_items; i++) { /* to the left, in place */
        size_t from = (size_t)i * m->o->neighbours;
        memmove(m->items + k->starts[i], m->items + from, m->found[i] * sizeof *m->items);
        memmove(m->cosines + k->starts[i], m->cosines + from, m->found[i] * sizeof *m->cosines);
    }
    size_t n = k->starts[n_items] ? (size_t)k->starts[n_items] : 1;
    k->items = realloc(m->items, n * sizeof *k->items);
    if (!k->items) k->items = m->items;
    k->cosines = realloc(m->cosines, n * sizeof *k->cosines);
    if (!k->cosines) k->cosines = m->cosines;
    return RT_OK;
}

rt_status rt_itemknn_new(const rt_events *events, const rt_itemknn_options *o, rt_itemknn *out) {
    rt_status rc = RT_OK;
    rt_clicks cut = {0};
    making *m = calloc(1, sizeof *m);
    uint32_t n_items = events->n_items;
    rt_itemknn_options options = *o;
    *out = (rt_itemknn){0};
    if (!m) return rt_fail(RT_ENOMEM, "out of memory for the neighbours of %u items", n_items);
    if (options.neighbours == 0) options.neighbours = 1;
    if (n_items && options.neighbours > n_items) options.neighbours = n_items;
    m->o = &options;
    m->c = &events->clicks;
    if (options.user_cap) {
        RT_GO(rt_clicks_of(events, options.user_cap, &cut, &out->cut_users));
        m->c = &cut;
    }
    size_t room = (size_t)n_items * options.neighbours + 1;
    m->norms = calloc((size_t)n_items + 1, sizeof *m->norms);
    m->found = calloc((size_t)n_items + 1, sizeof *m->found);
    m->items = malloc(room * sizeof *m->items);
    m->cosines = malloc(room * sizeof *m->cosines);
    if (!m->norms || !m->found || !m->items || !m->cosines)
        RT_GO(rt_fail(RT_ENOMEM, "out of memory for %u neighbours of each of %u items", options.neighbours, n_items));
    for (int i = 1; i < 65536; i++) m->weights[i] = options.log_counts ? log1p(i) : 1;
    for (uint32_t i = 0; i < n_items; i++)
        for (uint64_t at = m->c->item_starts[i]; at < m->c->item_starts[i + 1]; at++)
            m->norms[i] += m->weights[m->c->item_counts[at]] * m->weights[m->c->item_counts[at]];
    if (o->stop && o->stop(o->context, 0)) atomic_store(&m->failed, RT_ESTOPPED);
    make_rows(m);
    if (m->failed == RT_ESTOPPED) RT_GO(rt_fail(RT_ESTOPPED, "stopped while the nearest items were looked for"));
    if (m->failed) RT_GO(rt_fail(RT_ENOMEM, "out of memory for the neighbours of %u items", n_items));
    RT_GO(put_together(m, out));
    m->items = NULL;
    m->cosines = NULL;
done:
    free(m->norms);
    free(m->found);
    free(m->items);
    free(m->cosines);
    free(m);
    rt_clicks_free(&cut);
    if (rc != RT_OK) rt_itemknn_free(out);
    return rc;
}

/* --- a user's scores ------------------------------------------------------------------------------------------------
 */

struct rt_knn_scorer {
    const rt_itemknn *knn;
    double *score; /* [n_items] 0 outside of a call */
    float *best;   /* [n_items] the most that one item gave */
    uint32_t *because;
    rt_knn_hit *hits; /* [n_items] */
};

void rt_knn_scorer_free(rt_knn_scorer *s) {
    if (!s) return;
    free(s->score);
    free(s->best);
    free(s->because);
    free(s->hits);
    free(s);
}

rt_status rt_knn_scorer_new(const rt_itemknn *knn, rt_knn_scorer **out) {
    rt_status rc = RT_OK;
    size_t n = (size_t)knn->n_items + 1;
    rt_knn_scorer *s = calloc(1, sizeof *s);
    if (s) {
        s->knn = knn;
        s->score = calloc(n, sizeof *s->score);
        s->best = malloc(n * sizeof *s->best);
        s->because = malloc(n * sizeof *s->because);
        s->hits = malloc(n * sizeof *s->hits);
    }
    if (!s || !s->score || !s->best || !s->because || !s->hits)
        RT_GO(rt_fail(RT_ENOMEM, "out of memory to score %u items", knn->n_items));
    *out = s;
    return RT_OK;
done:
    rt_knn_scorer_free(s);
    *out = NULL;
    return rc;
}

static int by_score(const void *a, const void *b) {
    const rt_knn_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Brings the `most` first hits to the front, in any order: Hoare's selection. The order is total, so which they are
 * does not hang on how. */
static void select_first(rt_knn_hit *hits, uint32_t n, uint32_t most) {
    while (n > most && n > 1) {
        rt_knn_hit pivot = hits[n / 2];
        uint32_t low = 0, high = n - 1;
        for (;;) {
            while (by_score(&hits[low], &pivot) < 0) low++;
            while (by_score(&hits[high], &pivot) > 0) high--;
            if (low >= high) break;
            rt_knn_hit t = hits[low];
            hits[low++] = hits[high];
            hits[high--] = t;
            if (low > high) break;
        }
        uint32_t front = high + 1; /* those are not behind the pivot, the others not before it */
        if (front == n) front--;
        if (most < front) {
            n = front;
        } else if (most > front) {
            hits += front;
            n -= front;
            most -= front;
        } else {
            return;
        }
    }
}

rt_status rt_knn_score(rt_knn_scorer *s, const rt_knn_query *q, const rt_knn_hit **hits, uint32_t *n_hits) {
    const rt_itemknn *k = s->knn;
    uint32_t found = 0, kept = 0;
    for (uint32_t h = 0; h < q->n; h++)
        if (q->items[h] >= k->n_items) return rt_fail(RT_EINTERNAL, "item %u of %u", q->items[h], k->n_items);
    for (uint32_t h = 0; h < q->n; h++) {
        uint32_t item = q->items[h];
        for (uint64_t at = k->starts[item]; at < k->starts[item + 1]; at++) {
            uint32_t j = k->items[at];
            if (s->score[j] == 0) {
                s->hits[found++].item = j;
                s->best[j] = -1;
            }
            s->score[j] += k->cosines[at];
            if (k->cosines[at] > s->best[j]) {
                s->best[j] = k->cosines[at];
                s->because[j] = item;
            }
        }
    }
    for (uint32_t i = 0; i < found; i++) {
        uint32_t j = s->hits[i].item;
        double score = s->score[j];
        s->score[j] = 0;
        if (q->allowed && !(q->allowed[j / 64] >> j % 64 & 1)) continue;
        if (!q->keep_own && q->n && bsearch(&j, q->items, q->n, sizeof *q->items, by_number)) continue;
        s->hits[kept++] = (rt_knn_hit){j, s->because[j], score};
    }
    if (q->most && kept > q->most) {
        select_first(s->hits, kept, q->most);
        kept = q->most;
    }
    qsort(s->hits, kept, sizeof *s->hits, by_score);
    *hits = s->hits;
    *n_hits = kept;
    return RT_OK;
}

double rt_clicks_cosine(const rt_clicks *c, uint32_t a, uint32_t b) {
    uint32_t n_a = rt_clicks_of_item(c, a), n_b = rt_clicks_of_item(c, b), both = 0;
    if (!n_a || !n_b) return 0;
    if (a == b) return 1;
    const uint32_t *x = c->item_users + c->item_starts[a], *y = c->item_users + c->item_starts[b];
    for (uint32_t i = 0, j = 0; i < n_a && j < n_b;) {
        if (x[i] == y[j])
            both++, i++, j++;
        else if (x[i] < y[j])
            i++;
        else
            j++;
    }
    return both / sqrt((double)n_a * n_b);
}
