/* Item-item cosine over click vectors: the items that the same users clicked.
 *
 *   c(i, j) = dot(x_i, x_j) / sqrt(dot(x_i, x_i) dot(x_j, x_j)),  x_i[u] = 1 where user u clicked item i
 *
 * (|U_i and U_j| / sqrt(|U_i| |U_j|); Sarwar et al. 2001, Deshpande and Karypis 2004), or x_i[u] = ln(1 + clicks) with
 * `log_counts`. Times n_ij / (n_ij + shrinkage), n_ij the users of both, which makes little of what few have done. Each
 * item keeps its `neighbours` nearest: greater c first, ties to the smaller number; an item is no neighbour of itself,
 * nor of one with which it has no user in common. Sums are in fp64 and in order of users, so threads change nothing.
 *
 * The work is the sum over users of the square of their items, so a few who clicked everything can outweigh all others:
 * `user_cap` takes only the items that a user clicked last (rt_clicks_of). 0, and exact, unless it is asked for. */
#ifndef RT_RECOMMEND_ITEMKNN_H
#define RT_RECOMMEND_ITEMKNN_H
#include "events.h"

typedef struct {
    uint32_t neighbours; /* >= 1 */
    double shrinkage;    /* >= 0 */
    bool log_counts;
    uint32_t user_cap;                          /* 0: none */
    bool (*stop)(void *context, uint32_t done); /* asked by one thread, now and then; NULL: never */
    void *context;
} rt_itemknn_options;

typedef struct {
    uint32_t n_items;
    uint64_t *starts; /* [n_items + 1] */
    uint32_t *items;  /* [starts[n_items]] neighbours, nearest first */
    float *cosines;
    uint32_t cut_users; /* had more items than user_cap */
} rt_itemknn;

/* 8 bytes a neighbour; while it is made also 20 bytes an item and thread. RT_ENOMEM, RT_ESTOPPED. */
rt_status rt_itemknn_new(const rt_events *events, const rt_itemknn_options *options, rt_itemknn *out);
void rt_itemknn_free(rt_itemknn *knn);

/* Items for a user: score(j) = sum over the user's different items h of c(h, j), j among the neighbours of h. */
typedef struct {
    uint32_t item, because; /* the user's item that gives the most; ties to the smaller number */
    double score;
} rt_knn_hit;
typedef struct rt_knn_scorer rt_knn_scorer; /* one a thread; 24 bytes an item */
rt_status rt_knn_scorer_new(const rt_itemknn *knn, rt_knn_scorer **out);
void rt_knn_scorer_free(rt_knn_scorer *scorer);
typedef struct {
    const uint32_t *items; /* [n] the user's different items, rising */
    uint32_t n;
    uint32_t most;           /* hits wanted; 0: all that have a score */
    const uint64_t *allowed; /* bit i of word i / 64: item i may be a hit; NULL: all may */
    bool keep_own;           /* the user's own items may be */
} rt_knn_query;
/* The hits, greatest score first, ties to the smaller number; *hits belongs to the scorer until its next use. */
rt_status rt_knn_score(rt_knn_scorer *scorer, const rt_knn_query *query, const rt_knn_hit **hits, uint32_t *n_hits);

/* The cosine of two items over 0 and 1, exactly; 1 for an item and itself, 0 where either has no click. */
double rt_clicks_cosine(const rt_clicks *clicks, uint32_t a, uint32_t b);

#endif
