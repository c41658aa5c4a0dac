/* Exact top-k: the k items of the largest dot product for each query. For the cosine both sides have length 1
 * (rt_unit_rows).
 *
 * The score of a pair is its dot product in fp64, summed in one fixed order and rounded once to f32 (rt_pair_score); of
 * equal scores the smaller item number wins. So the hits hang on nothing but the numbers: not on threads, blocks,
 * processor, device or precision. To get there fast, blocks of items x queries go through the backend's own product in
 * its own precision. Those products may be off by what the bound in topk_select.c says; an item is dropped only where
 * the bound leaves no doubt, and what stays gets its true score. */
#ifndef RT_RETRIEVE_TOPK_H
#define RT_RETRIEVE_TOPK_H
#include <rectrain/kernels.h>

typedef struct {
    uint32_t item; /* row number; RT_NO_HIT behind the last where there are fewer than k */
    float score;
} rt_hit;
#define RT_NO_HIT UINT32_MAX

/* What may be found, as if all else were not in the index. All items where a pointer is NULL. */
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
    /* Borrowed; NULL: the processor, in fp32, on as many threads as OpenMP would take. One of precision bf16 multiplies
     * half the bytes; the hits are the same, and more items need their true score. */
    rt_backend *be;
    /* The backend is nobody else's meanwhile: its workspace is set here, and who uses it afterwards sets his own.
     * false: it has one, of any size, and keeps it. */
    bool sets_workspace;
    int width, k; /* at least 1 */
    uint32_t n_queries;
    const float *queries;         /* [n_queries, width] host; borrowed until rt_topk_finish */
    const rt_topk_filter *filter; /* borrowed until rt_topk_finish; may be NULL */
} rt_topk_options;

/* RT_EDATA: a query is not finite. Takes n_queries x k x 8 bytes and about 100 MB. */
rt_status rt_topk_new(const rt_topk_options *options, rt_topk **out);
/* Rows that one rt_topk_add takes without a small rest; multiples of it are as good, and the more the better. */
uint32_t rt_topk_rows(const rt_topk *t);
/* Items come in rising order, in blocks of any size: rows first .. first + n - 1 of the index, [n, width] host f32.
 * RT_EDATA: a row that is not finite, or so long that its product with a query has no place in fp32. After an
 * error there is nothing left to do but rt_topk_free. */
rt_status rt_topk_add(rt_topk *t, const float *items, uint32_t first, uint32_t n);
/* hits [n_queries, k], best first. Nothing can be added afterwards. */
rt_status rt_topk_finish(rt_topk *t, rt_hit *hits);
void rt_topk_free(rt_topk *t);

/* The score of a pair; the same bits on every machine. */
float rt_pair_score(const float *a, const float *b, int width);
/* Scales each row to length 1, lengths in fp64; a row of zeros stays. */
void rt_unit_rows(float *rows, uint32_t n, int width);

#endif
