/* Exact top-k: the k items of the largest dot product for each query, over blocks of items x queries through the
 * backend's own product, and a heap a query. Ties go to the smaller item number, so the result hangs on nothing but the
 * numbers: not on threads, blocks or order. For the cosine both sides have length 1 (rt_unit_rows). */
#ifndef RT_RETRIEVE_TOPK_H
#define RT_RETRIEVE_TOPK_H
#include <rectrain/kernels.h>

typedef struct {
    uint32_t item; /* row number; RT_NO_HIT behind the last where there are fewer than k */
    float score;
} rt_hit;
#define RT_NO_HIT UINT32_MAX

/* What may be found. All items where a pointer is NULL. */
typedef struct {
    const uint64_t *allowed; /* bit i of word i / 64: item i may be found by anyone; [(n + 63) / 64] */
    /* Items that query q must not get (seen): seen[starts[q] .. starts[q + 1]), rising. */
    const uint32_t *seen;
    const uint64_t *starts; /* [n_queries + 1] */
    /* An item is found only by queries of its category: query_category[q] == item_category[i], or query's is
     * RT_ANY_CATEGORY. */
    const uint32_t *item_category, *query_category;
} rt_topk_filter;
#define RT_ANY_CATEGORY UINT32_MAX

typedef struct rt_topk rt_topk;

typedef struct {
    rt_backend *be; /* borrowed */
    int width, k;   /* k >= 1 */
    uint32_t n_queries;
    const float *queries;         /* [n_queries, width] host; borrowed until rt_topk_finish */
    const rt_topk_filter *filter; /* borrowed; may be NULL */
    /* Scan in bf16 (half the bytes), keep rescore x k candidates, and score those in fp32: exact but where an item's
     * bf16 score is off by more than the candidates cover. 0: fp32. */
    int rescore;
} rt_topk_options;

rt_status rt_topk_new(const rt_topk_options *options, rt_topk **out);
/* Items come in rising order, in blocks of any size: rows first .. first + n - 1 of the index, [n, width] host f32. */
rt_status rt_topk_add(rt_topk *t, const float *items, uint32_t first, uint32_t n);
/* hits [n_queries, k], best first. */
rt_status rt_topk_finish(rt_topk *t, rt_hit *hits);
void rt_topk_free(rt_topk *t);

/* Scales each row to length 1, lengths in fp64; a row of zeros stays. */
void rt_unit_rows(float *rows, uint32_t n, int width);

#endif
