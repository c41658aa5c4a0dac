/* The exact search: memory, and blocks of queries x items through the backend's product. */
#include "topk_internal.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUP = 1024,               /* queries at once */
    PRODUCTS = 4 << 20,         /* of a block, about: below that oneDNN loses a tenth to packing */
    BLOCK_MIN = 4096,           /* items of a block */
    BLOCK_MAX = 16384,          /* the same, where there are not many queries */
    FEW = 32,                   /* queries whose time is that of reading the items, which then stay in the cache */
    BLOCK_FLOATS = 8 << 20,     /* of the items of a block at most, and of what one rt_topk_add should bring */
    CANDIDATE_BYTES = 32 << 20, /* of a group, about */
    PART_BYTES = 256 << 10,     /* of the items that are scored together: half of a core's cache */
    SPARE = 32,                 /* candidates beside twice k */
    SPARSE = 2,                 /* items are put together where fewer than one in so many may be found */
    HEAD = 128,
    UNIT = 8 /* widths that the backend multiplies are multiples of this */
};
#define PRODUCT_MAX 1e37 /* no sum of products overflows fp32 below this */

struct rt_topk {
    rt_backend *be, *mine; /* mine: opened here, or NULL */
    rt_selection s;
    int padded; /* width, rounded up */
    int threads;
    uint32_t n_queries, group, block;
    uint64_t next; /* item that may come next */
    double longest_query;
    rt_candidates *candidates; /* [group] */
    float *products_kept;      /* [group, capacity] */
    uint32_t *items_kept;
    float *scratch; /* [threads, capacity] */
    bool finished;
    /* Backend memory: NULL where what the caller gave is read as it is. */
    void *queries; /* [n_queries, padded] of the backend's dtype */
    float *rows;   /* [block, padded] */
    void *packed;
    float *products; /* [group, block] */
    void *workspace;
    size_t queries_bytes, rows_bytes, packed_bytes, products_bytes, workspace_bytes;
    /* Host memory. */
    float *gathered;   /* [block, padded] items that do not lie end to end as the backend wants them */
    uint32_t *numbers; /* [block] and which they are */
    float *downloaded; /* [group, block] */
};

/* Items that go through the product together. */
typedef struct {
    const float *rows; /* host, [n, padded] */
    const uint32_t *numbers;
    uint32_t first, n;
} item_block;

void rt_topk_free(rt_topk *t) {
    if (!t) return;
    if (t->be) {
        t->be->release(t->be, t->queries, t->queries_bytes);
        t->be->release(t->be, t->rows, t->rows_bytes);
        t->be->release(t->be, t->packed, t->packed_bytes);
        t->be->release(t->be, t->products, t->products_bytes);
        t->be->release(t->be, t->workspace, t->workspace_bytes);
    }
    if (t->mine) t->mine->close(t->mine);
    free(t->s.lengths);
    free(t->s.best);
    free(t->s.n_best);
    free(t->candidates);
    free(t->products_kept);
    free(t->items_kept);
    free(t->scratch);
    free(t->gathered);
    free(t->numbers);
    free(t->downloaded);
    free(t);
}

/* See topk_select.c. The hundredth on top covers what is said there to be smaller. */
static double relative_error(rt_precision precision, int width) {
    const double u = 0x1p-24, sums = (width + 8) * u * 1.01;
    switch (precision) {
    case RT_PRECISION_FP32:
        return sums;
    case RT_PRECISION_TF32:
        return (1 + 0x1p-10) * (1 + 0x1p-10) * (1 + 2 * sums) - 1;
    default:
        return (1 + 0x1p-8) * (1 + 0x1p-8) * (1 + 2 * sums) - 1;
    }
}

static rt_status get(rt_backend *be, size_t bytes, const char *what, void *out, size_t *kept) {
    RT_TRY(be->alloc(be, bytes ? bytes : 1, what, out));
    *kept = bytes ? bytes : 1;
    return RT_OK;
}

/* Rows of the caller's as the backend wants them: end to end, padded with zeros. */
static void put_row(const rt_topk *t, uint32_t at, const float *row) {
    float *to = t->gathered + (size_t)at * (size_t)t->padded;
    memcpy(to, row, (size_t)t->s.width * sizeof *to);
    memset(to + t->s.width, 0, (size_t)(t->padded - t->s.width) * sizeof *to);
}

static rt_status place_queries(rt_topk *t) {
    rt_backend *be = t->be;
    const size_t size = rt_dtype_size(be->act), padded = (size_t)t->padded, width = (size_t)t->s.width;
    if (be->host_memory && be->act == RT_F32 && t->padded == t->s.width) return RT_OK;
    RT_TRY(get(be, t->n_queries * padded * size, "the queries", &t->queries, &t->queries_bytes));
    for (uint32_t q = 0; q < t->n_queries; q += t->block) {
        const uint32_t n = t->n_queries - q < t->block ? t->n_queries - q : t->block;
        for (uint32_t i = 0; i < n; i++) put_row(t, i, t->s.queries + (size_t)(q + i) * width);
        char *to = (char *)t->queries + q * padded * size;
        const float *from = t->gathered;
        if (!be->host_memory) {
            RT_TRY(be->upload(be, t->rows, t->gathered, n * padded * sizeof(float)));
            from = t->rows;
        }
        RT_TRY(be->convert(be, to, be->act, from, RT_F32, n * padded));
        RT_TRY(be->synchronize(be));
    }
    return RT_OK;
}

static rt_status measure_queries(rt_topk *t) {
    for (uint32_t q = 0; q < t->n_queries; q++) {
        const double length = rt_row_length(t->s.queries + (size_t)q * (size_t)t->s.width, t->s.width);
        if (!isfinite(length)) return rt_fail(RT_EDATA, "query %u (from 0) has a value that is not finite", q);
        t->s.lengths[q] = length;
        if (length > t->longest_query) t->longest_query = length;
    }
    return RT_OK;
}

static rt_status set_sizes(rt_topk *t, int k) {
    const uint64_t capacity = 2 * (uint64_t)k + SPARE, each = capacity * (sizeof(float) + sizeof(uint32_t));
    uint64_t group = GROUP, block;
    if (capacity > UINT32_MAX / 2 || (uint64_t)t->n_queries * (uint64_t)k > SIZE_MAX / (2 * sizeof(rt_hit)))
        return rt_fail(RT_ENOMEM, "%u queries x the %d best: beyond any memory", t->n_queries, k);
    if (group * each > CANDIDATE_BYTES) group = CANDIDATE_BYTES / each;
    if (group < 8) group = 8;
    const uint64_t groups = (t->n_queries + group - 1) / group;
    group = groups ? (t->n_queries + groups - 1) / groups : 1; /* of like size */
    block = group > FEW ? PRODUCTS / group / 64 * 64 : BLOCK_MIN;
    if (block < BLOCK_MIN) block = BLOCK_MIN;
    if (block > BLOCK_MAX) block = BLOCK_MAX;
    if (block * (uint64_t)t->padded > BLOCK_FLOATS) block = BLOCK_FLOATS / (uint64_t)t->padded;
    t->s.capacity = (uint32_t)capacity;
    t->group = (uint32_t)group;
    t->block = (uint32_t)block;
    return RT_OK;
}

static rt_status take_host_memory(rt_topk *t) {
    const size_t queries = t->n_queries, kept = (size_t)t->group * t->s.capacity;
    t->s.lengths = calloc(queries + 1, sizeof *t->s.lengths);
    t->s.best = calloc(queries * t->s.k + 1, sizeof *t->s.best);
    t->s.n_best = calloc(queries + 1, sizeof *t->s.n_best);
    t->candidates = calloc(t->group, sizeof *t->candidates);
    t->products_kept = malloc(kept * sizeof *t->products_kept);
    t->items_kept = malloc(kept * sizeof *t->items_kept);
    t->scratch = malloc((size_t)t->threads * t->s.capacity * sizeof *t->scratch);
    t->gathered = malloc((size_t)t->block * (size_t)t->padded * sizeof *t->gathered);
    t->numbers = malloc(t->block * sizeof *t->numbers);
    if (!t->be->host_memory) t->downloaded = malloc((size_t)t->group * t->block * sizeof *t->downloaded);
    if (!t->s.lengths || !t->s.best || !t->s.n_best || !t->candidates || !t->products_kept || !t->items_kept ||
        !t->scratch || !t->gathered || !t->numbers || (!t->be->host_memory && !t->downloaded))
        return rt_fail(RT_ENOMEM, "out of memory to search the %u best for %u queries", t->s.k, t->n_queries);
    for (uint32_t i = 0; i < t->group; i++) {
        t->candidates[i].products = t->products_kept + (size_t)i * t->s.capacity;
        t->candidates[i].items = t->items_kept + (size_t)i * t->s.capacity;
    }
    return RT_OK;
}

static rt_status take_backend_memory(rt_topk *t, bool sets_workspace) {
    rt_backend *be = t->be;
    const size_t rows = (size_t)t->block * (size_t)t->padded * sizeof(float);
    const size_t packed = be->packed_bytes(be, t->block, t->padded);
    RT_TRY(get(be, (size_t)t->group * t->block * sizeof(float), "products of queries and items", &t->products,
               &t->products_bytes));
    if (!be->host_memory) RT_TRY(get(be, rows, "a block of items", &t->rows, &t->rows_bytes));
    if (packed) RT_TRY(get(be, packed, "a block of items, packed", &t->packed, &t->packed_bytes));
    if (!sets_workspace) return RT_OK;
    /* A model's sizes are asked for, so they are those of one: heads of a width that every backend takes. */
    const int32_t heads = (t->padded + HEAD - 1) / HEAD;
    const rt_dims dims = {.max_tokens = (int32_t)t->group,
                          .max_seqs = (int32_t)t->group,
                          .max_len = 1,
                          .hidden = heads * HEAD,
                          .heads = heads,
                          .ffn = (int32_t)t->block,
                          .vocab = 1,
                          .max_positions = 1,
                          .type_vocab = 1,
                          .labels = 1};
    RT_TRY(get(be, be->workspace_bytes(be, &dims), "workspace of the search", &t->workspace, &t->workspace_bytes));
    return be->set_workspace(be, &dims, t->workspace, t->workspace_bytes);
}

/* A processor that must widen bf16 to multiply it is no faster with it and needs a workspace for it. */
static rt_status choose_backend(rt_topk *t, const rt_topk_options *o) {
    const bool slow = o->be && o->be->host_memory && o->be->act == RT_BF16 && !o->sets_workspace && !rt_cpu_has_bf16();
    t->be = o->be;
    if (o->be && !slow) return RT_OK;
    t->be = NULL;
    RT_TRY(rt_cpu_backend_open(
        &(rt_backend_options){.precision = RT_PRECISION_FP32, .threads = omp_get_max_threads(), .device = -1},
        &t->mine));
    t->be = t->mine;
    return RT_OK;
}

rt_status rt_topk_new(const rt_topk_options *o, rt_topk **out) {
    rt_status rc = RT_OK;
    rt_topk *t = NULL;
    *out = NULL;
    if (o->width < 1 || o->width > 1 << 20 || o->k < 1 || (o->n_queries && !o->queries))
        return rt_fail(RT_ESHAPE, "a search of the %d best among vectors of width %d for %u queries", o->k, o->width,
                       o->n_queries);
    t = calloc(1, sizeof *t);
    if (!t) return rt_fail(RT_ENOMEM, "out of memory to search");
    t->s = (rt_selection){
        .filter = o->filter, .width = o->width, .k = (uint32_t)o->k, .queries = o->queries, .longest = 0};
    t->padded = (o->width + UNIT - 1) / UNIT * UNIT;
    t->n_queries = o->n_queries;
    RT_GO(choose_backend(t, o));
    t->threads = omp_get_max_threads();
    t->s.relative = relative_error(t->be->precision, t->padded);
    RT_GO(set_sizes(t, o->k));
    RT_GO(take_host_memory(t));
    RT_GO(measure_queries(t));
    RT_GO(take_backend_memory(t, o->sets_workspace || t->mine));
    RT_GO(place_queries(t));
    *out = t;
    t = NULL;
done:
    rt_topk_free(t);
    return rc;
}

uint32_t rt_topk_rows(const rt_topk *t) {
    const uint32_t blocks = BLOCK_FLOATS / (uint32_t)t->padded / t->block;
    return t->block * (blocks ? blocks : 1);
}

static bool is_allowed(const uint64_t *allowed, uint64_t item) {
    return allowed[item / 64] >> (item % 64) & 1;
}

/* Items first + at .. first + end - 1 that may be found by someone. */
static uint32_t count_allowed(const uint64_t *allowed, uint64_t begin, uint64_t end) {
    uint32_t n = 0;
    for (uint64_t i = begin; i < end;) {
        if (i % 64 == 0 && end - i >= 64) {
            n += (uint32_t)__builtin_popcountll(allowed[i / 64]);
            i += 64;
        } else {
            n += is_allowed(allowed, i++);
        }
    }
    return n;
}

/* The next block of the n items from *at on, which moves. */
static item_block next_block(rt_topk *t, const float *items, uint32_t first, uint32_t n, uint32_t *at) {
    const uint64_t *allowed = t->s.filter ? t->s.filter->allowed : NULL;
    const uint32_t rows = n - *at < t->block ? n - *at : t->block, begin = *at;
    const bool sparse =
        allowed && count_allowed(allowed, (uint64_t)first + begin, (uint64_t)first + begin + rows) < rows / SPARSE;
    const size_t width = (size_t)t->s.width;
    if (!sparse && t->padded == t->s.width) {
        *at += rows;
        return (item_block){.rows = items + begin * width, .first = first + begin, .n = rows};
    }
    item_block b = {.rows = t->gathered, .numbers = t->numbers};
    for (; *at < n && b.n < t->block; (*at)++) {
        if (sparse && !is_allowed(allowed, (uint64_t)first + *at)) continue;
        put_row(t, b.n, items + *at * width);
        t->numbers[b.n++] = first + *at;
    }
    return b;
}

static uint32_t item_of(const item_block *b, uint32_t row) {
    return b->numbers ? b->numbers[row] : b->first + row;
}

/* Lengths of a block's rows; *longer: one of them is the longest so far. */
static rt_status measure(rt_topk *t, const item_block *b, bool *longer) {
    double longest = 0;
    uint32_t bad = UINT32_MAX;
#pragma omp parallel for schedule(static) num_threads(t->threads) reduction(max : longest) reduction(min : bad)
    for (uint32_t i = 0; i < b->n; i++) {
        const double length = rt_row_length(b->rows + (size_t)i * (size_t)t->padded, t->padded);
        if (!isfinite(length) || length * t->longest_query > PRODUCT_MAX) {
            if (i < bad) bad = i;
        } else if (length > longest) {
            longest = length;
        }
    }
    if (bad != UINT32_MAX) {
        const double length = rt_row_length(b->rows + (size_t)bad * (size_t)t->padded, t->padded);
        if (!isfinite(length))
            return rt_fail(RT_EDATA, "item %u (from 0) has a value that is not finite", item_of(b, bad));
        return rt_fail(RT_EDATA,
                       "item %u (from 0) has length %.3g and the longest query %.3g: their product has no place in "
                       "fp32; scale the vectors",
                       item_of(b, bad), length, t->longest_query);
    }
    *longer = longest > t->s.longest;
    if (*longer) t->s.longest = longest;
    return RT_OK;
}

/* products [queries, b->n] on the host. */
static rt_status multiply(rt_topk *t, const item_block *b, uint32_t first_query, uint32_t queries, const float **out) {
    rt_backend *be = t->be;
    const size_t padded = (size_t)t->padded, bytes = (size_t)queries * b->n * sizeof(float);
    rt_weight weight = {.master = b->rows, .packed = t->packed, .n = b->n, .k = t->padded};
    const char *x = t->queries ? t->queries : (const void *)t->s.queries;
    if (!be->host_memory) {
        RT_TRY(be->upload(be, t->rows, b->rows, b->n * padded * sizeof(float)));
        weight.master = t->rows;
    }
    if (t->packed) RT_TRY(be->pack(be, weight.master, weight.n, weight.k, t->packed));
    RT_TRY(be->linear_forward(be, &(rt_linear_forward_args){.w = weight,
                                                            .act = RT_ACT_NONE,
                                                            .x = x + first_query * padded * rt_dtype_size(be->act),
                                                            .y = t->products,
                                                            .y_dtype = RT_F32,
                                                            .rows = queries}));
    *out = t->products;
    if (be->host_memory) return RT_OK;
    RT_TRY(be->download(be, t->downloaded, t->products, bytes));
    RT_TRY(be->synchronize(be));
    *out = t->downloaded;
    return RT_OK;
}

/* By parts of the items that stay in a core's cache while its queries score them: their candidates are all over. */
static void settle(rt_topk *t, uint32_t first_query, uint32_t queries, uint32_t first, uint32_t n) {
    const uint64_t fit = PART_BYTES / ((uint64_t)t->s.width * sizeof(float)), part = fit ? fit : 1;
#pragma omp parallel num_threads(t->threads)
    {
        float *scratch = t->scratch + (size_t)omp_get_thread_num() * t->s.capacity;
#pragma omp for schedule(static)
        for (uint32_t i = 0; i < queries; i++)
            rt_candidates_tighten(&t->s, first_query + i, &t->candidates[i], scratch);
        for (uint64_t end = 0; end < n;) {
            end += part;
#pragma omp for schedule(static) nowait /* each thread keeps its queries */
            for (uint32_t i = 0; i < queries; i++)
                rt_candidates_settle(&t->s, first_query + i, &t->candidates[i], first + end);
        }
    }
}

static rt_status search_group(rt_topk *t, uint32_t first_query, uint32_t queries, const float *items, uint32_t first,
                              uint32_t n) {
    const size_t capacity = t->s.capacity;
    for (uint32_t i = 0; i < queries; i++) rt_candidates_begin(&t->s, first_query + i, &t->candidates[i]);
    for (uint32_t at = 0; at < n;) {
        const item_block b = next_block(t, items, first, n, &at);
        const float *products;
        bool longer = false;
        if (!b.n) continue;
        if (first_query == 0) RT_TRY(measure(t, &b, &longer));
        RT_TRY(multiply(t, &b, first_query, queries, &products));
#pragma omp parallel for schedule(dynamic, 8) num_threads(t->threads)
        for (uint32_t i = 0; i < queries; i++) {
            float *scratch = t->scratch + (size_t)omp_get_thread_num() * capacity;
            if (longer) rt_candidates_widen(&t->s, first_query + i, &t->candidates[i]);
            rt_candidates_scan(&t->s, first_query + i, &t->candidates[i], products + (size_t)i * b.n, b.n, b.first,
                               b.numbers, scratch);
        }
    }
    settle(t, first_query, queries, first, n);
    return RT_OK;
}

rt_status rt_topk_add(rt_topk *t, const float *items, uint32_t first, uint32_t n) {
    if (t->finished || first < t->next || n > RT_NO_HIT - first)
        return rt_fail(RT_ESHAPE, "search: items %u to %llu after item %llu%s: they must come in rising order", first,
                       (unsigned long long)first + n, (unsigned long long)t->next, t->finished ? ", the last" : "");
    t->s.rows = items;
    t->s.first = first;
    for (uint32_t q = 0; q < t->n_queries; q += t->group) {
        const uint32_t queries = t->n_queries - q < t->group ? t->n_queries - q : t->group;
        RT_TRY(search_group(t, q, queries, items, first, n));
    }
    t->next = (uint64_t)first + n;
    return RT_OK;
}

rt_status rt_topk_finish(rt_topk *t, rt_hit *hits) {
    t->finished = true;
#pragma omp parallel for schedule(static) num_threads(t->threads)
    for (uint32_t q = 0; q < t->n_queries; q++) {
        rt_hit *best = t->s.best + (size_t)q * t->s.k, *to = hits + (size_t)q * t->s.k;
        const uint32_t n = t->s.n_best[q];
        rt_hits_sort(best, n);
        if (n) memcpy(to, best, n * sizeof *to);
        for (uint32_t i = n; i < t->s.k; i++) to[i] = (rt_hit){RT_NO_HIT, 0};
    }
    return RT_OK;
}
