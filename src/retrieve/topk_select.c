/* Which products are worth a true score.
 *
 * The bound. Let s be the score of a pair, p its product by the backend, u = 2^-24. Summed in any order, with or
 * without fused multiply-add, |p - q.x| <= g sum |q_i x_i| <= g |q| |x| with g = width u / (1 - width u) (Higham,
 * Accuracy and Stability of Numerical Algorithms, 3.1; the last step is Cauchy's). Operands that are first rounded to v
 * bits make of it ((1 + 2^-v)^2 (1 + g) - 1) |q| |x|: v = 8 for bf16, and 10 for TF32, which some units cut instead of
 * rounding; their sums may be cut too, which doubles u. Whatever is below 2^-126 may have been taken for zero: at most
 * 2^-126 (sqrt(width) (|q| + |x|) + 2 width). The score itself is one rounding, u |s|, off the dot product, and what
 * fp64 does beside that is less than another. error() puts all of it together, from above, with |x| of the longest
 * item.
 *
 * An item can be dropped when k others beat it for certain, and all that is certain of it is s <= p + error. Two such
 * floors are known: the k-th best true score so far, which an equal score does not beat, for it came earlier and so has
 * the smaller number; and the k-th largest product among the candidates less its error, which an equal score may beat.
 * Where the candidates' room is full and no floor frees a quarter of it (many items that look the same), all of them
 * get their score at once; so nothing grows, whatever the items are. */
#include "topk_internal.h"
#include <math.h>

/* At most x, in fp32. */
static float at_most(double x) {
    const float f = (float)x;
    return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

static double error(const rt_selection *s, uint32_t q) {
    const double a = s->lengths[q], b = s->longest, n = (double)s->width;
    if (!(a > 0 && b > 0)) return 0; /* every product is 0, whoever multiplies */
    return s->relative * a * b + 0x1p-125 * (sqrt(n) * (a + b) + 2 * n);
}

static void set_over(const rt_selection *s, uint32_t q, rt_candidates *c) {
    c->over = nextafterf(at_most(c->floor - c->error), -INFINITY);
    if (s->n_best[q] < s->k) return;
    const float over = at_most((double)s->best[(size_t)q * s->k].score - c->error);
    if (over > c->over) c->over = over;
}

void rt_candidates_begin(const rt_selection *s, uint32_t q, rt_candidates *c) {
    c->n = c->done = 0;
    c->floor = -INFINITY;
    rt_candidates_widen(s, q, c);
}

void rt_candidates_widen(const rt_selection *s, uint32_t q, rt_candidates *c) {
    c->error = error(s, q);
    set_over(s, q, c);
}

/* The k-th largest of n numbers, which it reorders (Hoare's selection; 1 <= k <= n). The pivot's place is drawn, so
 * that no order of the items is a slow one. */
static float kth_largest(float *x, uint32_t n, uint32_t k) {
    int64_t low = 0, high = (int64_t)n - 1, wanted = (int64_t)k - 1;
    uint32_t state = n;
    while (low < high) {
        state = state * 1664525u + 1013904223u;
        const float pivot = x[low + (int64_t)(((uint64_t)state * (uint64_t)(high - low + 1)) >> 32)];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i > j) break;
            const float swapped = x[i];
            x[i++] = x[j];
            x[j--] = swapped;
        }
        if (wanted <= j)
            high = j;
        else if (wanted >= i)
            low = i;
        else
            break;
    }
    return x[wanted];
}

void rt_candidates_tighten(const rt_selection *s, uint32_t q, rt_candidates *c, float *scratch) {
    if (c->n < s->k) return;
    for (uint32_t i = 0; i < c->n; i++) scratch[i] = c->products[i];
    const double floor = (double)kth_largest(scratch, c->n, s->k) - c->error;
    if (floor > c->floor) c->floor = floor;
    set_over(s, q, c);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        c->products[kept] = c->products[i];
        c->items[kept] = c->items[i];
        kept += c->products[i] > c->over;
    }
    c->n = kept;
}

static bool is_seen(const rt_topk_filter *f, uint32_t q, uint32_t item) {
    uint64_t low = f->starts[q], high = f->starts[q + 1];
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (f->seen[middle] < item)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->starts[q + 1] && f->seen[low] == item;
}

static bool may_find(const rt_topk_filter *f, uint32_t q, uint32_t item) {
    if (!f) return true;
    if (f->allowed && !(f->allowed[item / 64] >> (item % 64) & 1)) return false;
    if (f->item_category && f->query_category && f->query_category[q] != RT_ANY_CATEGORY &&
        f->query_category[q] != f->item_category[item])
        return false;
    return !(f->seen && f->starts && is_seen(f, q, item));
}

static void take(rt_selection *s, uint32_t q, rt_candidates *c, float product, uint32_t item, float *scratch) {
    if (!may_find(s->filter, q, item)) return;
    c->products[c->n] = product;
    c->items[c->n++] = item;
    if (c->n < s->capacity) return;
    rt_candidates_tighten(s, q, c, scratch);
    if (c->n > s->capacity - s->capacity / 4) rt_candidates_settle(s, q, c, UINT64_MAX);
}

void rt_candidates_scan(rt_selection *s, uint32_t q, rt_candidates *c, const float *products, uint32_t n,
                        uint32_t first, const uint32_t *numbers, float *scratch) {
    for (uint32_t j = 0; j < n;) {
        j += rt_products_skip(products + j, n - j, c->over);
        const uint32_t end = n - j < RT_SCAN_STEP ? n : j + RT_SCAN_STEP;
        for (; j < end; j++)
            if (products[j] > c->over) take(s, q, c, products[j], numbers ? numbers[j] : first + j, scratch);
    }
}

static inline bool worse(rt_hit a, rt_hit b) {
    return a.score < b.score || (a.score == b.score && a.item > b.item);
}

/* Puts `hit` where heap[at] was, whose children are heaps: the worst of all comes to the top. */
static void sink(rt_hit *heap, uint32_t n, uint32_t at, rt_hit hit) {
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= n) break;
        if (child + 1 < n && worse(heap[child + 1], heap[child])) child++;
        if (!worse(heap[child], hit)) break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = hit;
}

static void rise(rt_hit *heap, uint32_t at, rt_hit hit) {
    while (at > 0 && worse(hit, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = hit;
}

static const float *row_of(const rt_selection *s, uint32_t item) {
    return s->rows + (size_t)(item - s->first) * (size_t)s->width;
}

/* Rows of candidates lie anywhere: the next one comes while this one is multiplied. */
static void fetch(const float *row, int width) {
    enum { LINE = 64 / sizeof(float), MOST = 1024 };
    for (int i = 0; i < width && i < MOST; i += LINE) __builtin_prefetch(row + i);
}

void rt_candidates_settle(rt_selection *s, uint32_t q, rt_candidates *c, uint64_t end) {
    rt_hit *best = s->best + (size_t)q * s->k;
    const float *query = s->queries + (size_t)q * (size_t)s->width;
    for (; c->done < c->n && c->items[c->done] < end; c->done++) {
        const uint32_t at = c->done, item = c->items[at];
        if (at + 1 < c->n && c->items[at + 1] < end) fetch(row_of(s, c->items[at + 1]), s->width);
        if (!(c->products[at] > c->over)) continue;
        const rt_hit hit = {item, rt_pair_score(query, row_of(s, item), s->width)};
        if (s->n_best[q] < s->k) {
            rise(best, s->n_best[q]++, hit);
        } else if (worse(best[0], hit)) {
            sink(best, s->k, 0, hit);
        }
    }
    if (c->done < c->n) return;
    c->n = c->done = 0;
    set_over(s, q, c);
}

void rt_hits_sort(rt_hit *hits, uint32_t n) {
    for (uint32_t left = n; left > 1; left--) { /* the worst of those left goes behind them */
        const rt_hit last = hits[left - 1];
        hits[left - 1] = hits[0];
        sink(hits, left - 1, 0, last);
    }
}
