/* Counts, rankings, slices and windows, against plain counting. */
#include "recommend/popularity.h"
#include "tests/recommend/log.h"

/* The ranking by hand of clicks that `counts` says: the next item is the one of most clicks, the smallest of equals. */
static void ranking_is(const rt_popular *ranking, uint64_t n, const uint32_t *counts, uint32_t n_items) {
    static bool done[512];
    memset(done, 0, sizeof done);
    uint32_t left = 0;
    for (uint32_t i = 0; i < n_items; i++) left += counts[i] > 0;
    assert_int_equal(n, left);
    for (uint64_t k = 0; k < n; k++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < n_items; i++)
            if (!done[i] && counts[i] && (best == UINT32_MAX || counts[i] > counts[best])) best = i;
        assert_int_equal(ranking[k].item, best);
        assert_int_equal(ranking[k].clicks, counts[best]);
        done[best] = true;
    }
}

static void rankings_are_those_of_plain_counting(void **state) {
    (void)state;
    static made_log log;
    static uint32_t of_user[64], of_item[128], counts[512];
    make_log(&log, 11, 30, 100, 1500);
    for (uint32_t u = 0; u < 30; u++) of_user[u] = u % 5 == 4 ? RT_NO_ID : u % 5;
    for (uint32_t i = 0; i < 100; i++) of_item[i] = i % 7 == 6 ? RT_NO_ID : i % 7;
    rt_events e;
    arrange(&log, &e);
    for (int kind = 0; kind < 3; kind++)
        for (int64_t window = 0; window <= 20; window += 10) {
            rt_popularity_options o = {.window = window, .n_slices = 6};
            rt_popularity p;
            if (kind == 1) o.item_slices = of_item;
            if (kind == 2) o.user_slices = of_user, o.n_slices = 4;
            assert_int_equal(rt_popularity_new(&e, &o, &p), RT_OK);
            memset(counts, 0, sizeof counts);
            uint64_t counted = 0;
            for (uint32_t i = 0; i < log.n; i++)
                if (!window || log.times[i] > 49 - window) counts[log.items[i]]++, counted++;
            assert_int_equal(p.counted, counted);
            ranking_is(p.all, p.n_all, counts, 100);
            for (uint32_t i = 0; i < 100; i++) assert_int_equal(p.clicks[i], counts[i]);
            for (uint32_t s = 0; s < p.n_slices; s++) {
                memset(counts, 0, sizeof counts);
                for (uint32_t i = 0; i < log.n; i++)
                    if ((!window || log.times[i] > 49 - window) &&
                        (kind == 1 ? of_item[log.items[i]] : of_user[log.users[i]]) == s)
                        counts[log.items[i]]++;
                ranking_is(p.slices + p.starts[s], p.starts[s + 1] - p.starts[s], counts, 100);
            }
            rt_popularity_free(&p);
        }
    rt_events_free(&e);
}

static void a_walk_falls_back_to_all(void **state) {
    (void)state;
    /* Clicks: item 0 once, 1 twice, 2 three times, 3 never; slice 0 has items 0 and 3, slice 1 has 1, 2 has 2. */
    const uint32_t users[] = {0, 0, 1, 0, 1, 2}, items[] = {0, 1, 1, 2, 2, 2}, of_item[] = {0, 1, 2, 0};
    rt_events e;
    rt_popularity p;
    bool of_slice;
    assert_int_equal(rt_events_from(3, 4, 6, users, items, NULL, &e), RT_OK);
    assert_int_equal(rt_popularity_new(&e, &(rt_popularity_options){.item_slices = of_item, .n_slices = 3}, &p), RT_OK);
    static const struct {
        uint32_t slice, items[5];
        int n, of_slice;
    } cases[] = {{0, {0, 2, 1, 0}, 4, 1}, {1, {1, 2, 1, 0}, 4, 1}, {RT_NO_ID, {2, 1, 0}, 3, 0}, {3, {2, 1, 0}, 3, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        rt_popularity_walk w = rt_popularity_begin(&p, cases[c].slice);
        for (int i = 0; i < cases[c].n; i++) {
            const rt_popular *next = rt_popularity_next(&w, &of_slice);
            assert_non_null(next);
            assert_int_equal(next->item, cases[c].items[i]);
            assert_int_equal(of_slice, i < cases[c].of_slice);
        }
        assert_null(rt_popularity_next(&w, &of_slice));
        assert_null(rt_popularity_next(&w, &of_slice));
    }
    rt_popularity_free(&p);
    assert_int_equal(rt_popularity_new(&e, &(rt_popularity_options){.window = 5}, &p), RT_EUSAGE); /* no times */
    rt_events_free(&e);
    assert_int_equal(rt_events_from(0, 0, 0, NULL, NULL, NULL, &e), RT_OK);
    assert_int_equal(rt_popularity_new(&e, &(rt_popularity_options){0}, &p), RT_OK);
    assert_int_equal(p.n_all, 0);
    rt_popularity_free(&p);
    rt_events_free(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rankings_are_those_of_plain_counting),
        cmocka_unit_test(a_walk_falls_back_to_all),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
