/* How good lists are, measured on what users clicked later (their held-out items H, different ones).
 *
 * Of one user with a list of at most k items and |H| > 0; hit(r): the item at rank r is in H:
 *   recall@k   hits / |H|
 *   ndcg@k     sum over hits of 1 / log2(r + 1), over the same sum of min(k, |H|) hits in front
 *   mrr@k      1 / the rank of the first hit, 0 without one
 *   novelty    mean over the list of -log2 of the item's share of users, (users who clicked it + 1) / (users + 1)
 *   diversity  mean over the pairs of the list of 1 - similarity (intra-list diversity); none for fewer than two items
 * Each is the mean over users who have it, a list without items included with 0 in the first three. Of all users
 * together coverage   different items in all lists / items that may be recommended
 *
 * Groups: all users; warm users, who have a click in the log, and cold ones; known items, which have a click in the
 * log, and new ones: there H is only those items, and users without one are left out. Lists stay as they are.
 *
 * Intervals: bootstrap by user (Efron 1979). A resample draws as many users as there are, with replacement, and takes
 * the means again; the interval runs from the 2.5th to the 97.5th percentile of the resamples' means, interpolated
 * linearly as numpy.percentile does. Draws hang on (seed, number of the resample) alone, so two systems measured on the
 * same users are resampled alike. Coverage is no mean, and has none. */
#ifndef RT_RECOMMEND_MEASURE_H
#define RT_RECOMMEND_MEASURE_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { RT_M_RECALL, RT_M_NDCG, RT_M_MRR, RT_M_NOVELTY, RT_M_DIVERSITY, RT_MEASURES } rt_measure_kind;
typedef enum { RT_G_ALL, RT_G_WARM, RT_G_COLD, RT_G_KNOWN, RT_G_NEW, RT_GROUPS } rt_measure_group;
extern const char *const rt_measure_names[RT_MEASURES];
extern const char *const rt_group_names[RT_GROUPS];

typedef struct {
    double mean, low, high; /* NaN where no user has it; known and new have the first three alone */
} rt_measured_value;

typedef struct {
    uint32_t users[RT_GROUPS];
    rt_measured_value values[RT_GROUPS][RT_MEASURES];
    double coverage;
    uint64_t held_out, hits, listed; /* of all users */
} rt_measured;

typedef struct {
    uint32_t k, n_items;
    uint32_t n_allowed;         /* items that may be recommended: coverage's denominator */
    const uint32_t *item_users; /* [n_items] users in the log who clicked the item */
    uint32_t n_users;           /* in the log */
    double (*similarity)(void *context, uint32_t a, uint32_t b); /* NULL: no diversity */
    void *context;
} rt_measure_options;

typedef struct rt_measure rt_measure;
/* 88 bytes a user. */
rt_status rt_measure_new(const rt_measure_options *options, rt_measure **out);
void rt_measure_free(rt_measure *m);
/* One user: a list of n <= k different items, best first; his n_held > 0 held-out items, rising. */
rt_status rt_measure_add(rt_measure *m, const uint32_t *list, uint32_t n, const uint32_t *held, uint32_t n_held,
                         bool warm);
rt_status rt_measure_finish(const rt_measure *m, uint64_t seed, uint32_t resamples, rt_measured *out);

#endif
