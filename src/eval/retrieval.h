/* Metrics of ranked lists over a whole catalogue: how far up the relevant items of a query stand among all items.
 *
 * Definitions (those of sentence-transformers' InformationRetrievalEvaluator), of one query with R > 0 relevant items:
 *   recall@k   relevant items among the first k / R
 *   mrr@k      1 / rank of the first relevant item, 0 beyond k
 *   ndcg@k     sum of 1 / log2(rank + 1) over the relevant among the first k, over that of min(k, R) of them in front
 * and the plain mean over the queries, summed in their order in fp64. A query without a relevant item says nothing and
 * is left out and counted. Ties are the search's business: it puts the smaller item number first. */
#ifndef RT_EVAL_RETRIEVAL_H
#define RT_EVAL_RETRIEVAL_H
#include "../base/status.h"
#include "../base/text.h"
#include "../retrieve/topk.h"
#include <stdbool.h>
#include <stdint.h>

enum { RT_RETRIEVAL_DEPTH = 100 }; /* the largest k of a metric: lists of so many hits define all of them */

typedef struct {
    uint32_t n_queries, n_items;
    int k;                    /* hits a query */
    const rt_hit *hits;       /* [n_queries, k], best first; RT_NO_HIT behind the last */
    const uint32_t *relevant; /* items of query q: relevant[starts[q] .. starts[q + 1]), rising */
    const uint64_t *starts;   /* [n_queries + 1] */
} rt_ranked;

typedef struct rt_retrieval_metrics {
    /* NaN where undefined: no query with a relevant item, or lists shorter than the metric's k (and than n_items) */
    double recall_1, recall_5, recall_10, recall_20, recall_50, recall_100;
    double mrr_10, ndcg_10, ndcg_20;
    uint64_t queries;             /* that the means are of */
    uint64_t queries_no_relevant; /* left out */
    uint64_t items;
    uint64_t rows; /* pairs of a query and a relevant item */
} rt_retrieval_metrics;

/* RT_EINTERNAL: k < 1; items out of range, not rising among the relevant, or twice among the hits; RT_ENOMEM. */
rt_status rt_retrieval_compute(const rt_ranked *ranked, rt_retrieval_metrics *out);
/* The same where the queries come in parts, in order, with the same n_items and k: zero-initialise, add every part,
 * finish. The sums are those of all at once, to the bit. */
typedef struct {
    double sums[9]; /* one a metric */
    int k;          /* hits a query of the parts so far */
    uint64_t queries, queries_no_relevant, rows;
} rt_retrieval_sums;
rt_status rt_retrieval_add(rt_retrieval_sums *sums, const rt_ranked *part);
void rt_retrieval_finish(const rt_retrieval_sums *sums, uint32_t n_items, rt_retrieval_metrics *out);
/* A small table for people. */
void rt_retrieval_text(const rt_retrieval_metrics *metrics, rt_text *out);
/* One JSON object: recall@1 .. recall@100, mrr@10, ndcg@10, ndcg@20, queries, queries_no_relevant, items, rows. Without
 * braces when `inner`, for embedding in a larger object. */
void rt_retrieval_json(const rt_retrieval_metrics *metrics, bool inner, rt_text *out);
/* The value by its key; false for an unknown key. Larger is better for all of them. */
bool rt_retrieval_by_name(const rt_retrieval_metrics *metrics, const char *key, double *value, bool *higher);
const char *rt_retrieval_names(void); /* "recall@1, recall@5, ...", for messages */

#endif
