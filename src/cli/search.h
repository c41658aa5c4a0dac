/* The parts of `rectrain search`: who asks, and what may be found. */
#ifndef RT_CLI_SEARCH_H
#define RT_CLI_SEARCH_H
#include "../recommend/events.h"
#include "../retrieve/topk.h"
#include "../retrieve/vectors.h"
#include "live.h"
#include "setup.h"

/* Queries, from a file of vectors (read by windows) or made of texts (all in memory). */
typedef struct {
    rt_vectors *file; /* or NULL, and then: */
    float *rows;      /* [n, width] */
    rt_ids *ids;      /* numbers are rows */
    uint32_t n;
    int width;
    bool unit; /* rows have length 1 */
} rt_queries;

/* --queries. With --checkpoint texts become vectors, by `setup`, which then has a backend; *cfg is the caller's. */
rt_status rt_queries_open(rt_setup *setup, rt_config **cfg, rt_live *live, rt_queries *out);
void rt_queries_close(rt_queries *queries);
const char *rt_queries_id(const rt_queries *queries, uint32_t row, size_t *size);
/* Rows first .. first + n - 1, of length 1 where `unit` asks for that. */
rt_status rt_queries_read(const rt_queries *queries, uint32_t first, uint32_t n, bool unit, float *out);

/* --seen, --allow, --categories: numbers of the index's and the queries' rows. */
typedef struct {
    bool any;
    uint64_t *allowed;
    rt_events seen;
    uint32_t *item_category, *query_category;
} rt_search_filter;

rt_status rt_search_filter_read(rt_cli *cli, const rt_vectors *index, const rt_queries *queries, rt_search_filter *out);
void rt_search_filter_free(rt_search_filter *filter);
/* For the queries from `first` on. */
rt_topk_filter rt_search_filter_at(const rt_search_filter *filter, uint32_t first);

#endif
