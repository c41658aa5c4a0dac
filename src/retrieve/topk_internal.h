/* What the files of the exact search share. */
#ifndef RT_RETRIEVE_TOPK_INTERNAL_H
#define RT_RETRIEVE_TOPK_INTERNAL_H
#include "topk.h"

/* Of one query of the group at hand: items whose product leaves open whether they are among the k best. */
typedef struct {
    float *products; /* [capacity] */
    uint32_t *items; /* [capacity] rising */
    uint32_t n;      /* of them */
    uint32_t done;   /* the first so many have their score */
    float over;      /* products beyond this are candidates */
    double floor;    /* k of the items up to here have at least this score */
    double error;    /* no product is off its score by more */
} rt_candidates;

typedef struct {
    const rt_topk_filter *filter; /* or NULL */
    int width;
    uint32_t k, capacity;
    const float *queries; /* of all queries, [n_queries, width] */
    double *lengths;      /* [n_queries] */
    double relative;      /* the error of a product of vectors of length 1 */
    rt_hit *best;         /* [n_queries, k] by true score: a heap, the worst first */
    uint32_t *n_best;     /* [n_queries] */
    const float *rows;    /* of the items being added: row i is item first + i */
    uint32_t first;
    double longest; /* length of the longest item so far */
} rt_selection;

/* topk_select.c. In all of these c is query q's. */
/* The query has no candidates and asks what its best so far allow. */
void rt_candidates_begin(const rt_selection *s, uint32_t q, rt_candidates *c);
/* Longer items may have come: s->longest has grown. */
void rt_candidates_widen(const rt_selection *s, uint32_t q, rt_candidates *c);
/* Products of n items; item j is first + j, or numbers[j] where that is not NULL. scratch: [capacity]. */
void rt_candidates_scan(rt_selection *s, uint32_t q, rt_candidates *c, const float *products, uint32_t n,
                        uint32_t first, const uint32_t *numbers, float *scratch);
/* Drops the candidates that the k-th largest product leaves without hope. */
void rt_candidates_tighten(const rt_selection *s, uint32_t q, rt_candidates *c, float *scratch);
/* Candidates before item `end` get their score; the best stay in s->best. After the last of them there are none. */
void rt_candidates_settle(rt_selection *s, uint32_t q, rt_candidates *c, uint64_t end);
/* The heap of one query into falling order. */
void rt_hits_sort(rt_hit *hits, uint32_t n);

/* topk_rows.c */
/* An upper bound of the row's length, at most 1 % off; the exact 0 for a row of zeros; not finite: the row is not. */
double rt_row_length(const float *row, int width);
/* How many of n products, in whole steps, come before a step that has one beyond `over`. */
enum { RT_SCAN_STEP = 32 };
uint32_t rt_products_skip(const float *products, uint32_t n, float over);

#endif
