/* What is clicked most, everywhere and in slices: of items (a category) or of users (a country). */
#ifndef RT_RECOMMEND_POPULARITY_H
#define RT_RECOMMEND_POPULARITY_H
#include "events.h"

typedef struct {
    /* At most one of the two; RT_NO_ID is no slice. */
    const uint32_t *item_slices; /* [n_items] an item is in the ranking of its own slice */
    const uint32_t *user_slices; /* [n_users] a click counts in the slice of whoever clicked */
    uint32_t n_slices;
    /* Clicks of times in (newest - window, newest]; 0: all. RT_EUSAGE for a log without times. */
    int64_t window;
} rt_popularity_options;

typedef struct {
    uint32_t item, clicks;
} rt_popular;

typedef struct {
    uint32_t n_items, n_slices;
    uint32_t *clicks;   /* [n_items] */
    uint32_t n_all;     /* items with a click */
    rt_popular *all;    /* [n_all] most clicks first, ties to the smaller number */
    uint64_t *starts;   /* [n_slices + 1] */
    rt_popular *slices; /* [starts[n_slices]] likewise in each slice */
    uint64_t counted;   /* clicks in the window */
} rt_popularity;

/* Every click counts, a user's second one too. 16 bytes an item, 8 a pair of slice and item, 8 a click while it is made
 * with user_slices. */
rt_status rt_popularity_new(const rt_events *events, const rt_popularity_options *options, rt_popularity *out);
void rt_popularity_free(rt_popularity *p);

/* Walks the items for one user: first those of his slice, then all others, most clicks first. */
typedef struct {
    const rt_popularity *p;
    uint32_t slice;
    uint64_t at;
    bool beyond; /* the slice has no more */
} rt_popularity_walk;
rt_popularity_walk rt_popularity_begin(const rt_popularity *p, uint32_t slice); /* RT_NO_ID: all at once */
/* The next item; an item of the slice comes again among all. NULL: no more. *of_slice: from the slice's ranking. */
const rt_popular *rt_popularity_next(rt_popularity_walk *walk, bool *of_slice);

#endif
