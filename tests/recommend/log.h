/* A small random click log for the tests here, and the same as a dense matrix. */
#ifndef TEST_RECOMMEND_LOG_H
#define TEST_RECOMMEND_LOG_H
#include "base/philox.h"
#include "recommend/events.h"
#include "tests/data/files.h"

enum { MOST_CLICKS = 4000 };

typedef struct {
    uint32_t n_users, n_items, n, users[MOST_CLICKS], items[MOST_CLICKS];
    int64_t times[MOST_CLICKS];
} made_log;

/* Low item numbers are clicked more often, some users do much, and times are few, so that ties occur. */
static inline void make_log(made_log *log, uint64_t seed, uint32_t n_users, uint32_t n_items, uint32_t n) {
    rt_rng rng = rt_rng_make(seed, 1, 2);
    *log = (made_log){.n_users = n_users, .n_items = n_items, .n = n};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t a = rt_rng_below(&rng, n_items), b = rt_rng_below(&rng, n_items);
        log->users[i] = rt_rng_below(&rng, rt_rng_below(&rng, n_users) + 1);
        log->items[i] = a < b ? a : b;
        log->times[i] = rt_rng_below(&rng, 50);
    }
}

static inline void arrange(const made_log *log, rt_events *e) {
    assert_int_equal(rt_events_from(log->n_users, log->n_items, log->n, log->users, log->items, log->times, e), RT_OK);
}

/* counts [n_users, n_items] of clicks; the caller frees. */
static inline uint32_t *dense_of(const made_log *log) {
    uint32_t *counts = calloc((size_t)log->n_users * log->n_items + 1, sizeof *counts);
    assert_non_null(counts);
    for (uint32_t i = 0; i < log->n; i++) counts[(size_t)log->users[i] * log->n_items + log->items[i]]++;
    return counts;
}

#endif
