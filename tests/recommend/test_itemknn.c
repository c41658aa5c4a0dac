/* Item-item cosine and the scores from it, against plain loops over the dense matrix. */
#include "recommend/itemknn.h"
#include "tests/recommend/log.h"
#include <math.h>

typedef struct {
    double cosine;
    uint32_t item;
} pair;

static int nearest_first(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->cosine != y->cosine) return x->cosine > y->cosine ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* All neighbours of one item in order; returns how many. Sums run over users in their order, as they do in the
 * library, and are of the same fp64 numbers, so the cosines are equal to the last bit. */
static uint32_t by_hand(const uint32_t *dense, const made_log *log, uint32_t item, bool logs, double shrinkage,
                        pair *out) {
    uint32_t n = 0, m = log->n_items;
    for (uint32_t j = 0; j < m; j++) {
        double dot = 0, xx = 0, yy = 0;
        uint32_t both = 0;
        for (uint32_t u = 0; u < log->n_users; u++) {
            uint32_t a = dense[u * m + item], b = dense[u * m + j];
            double x = a ? logs ? log1p(a) : 1 : 0, y = b ? logs ? log1p(b) : 1 : 0;
            dot += x * y, xx += x * x, yy += y * y;
            both += a && b;
        }
        if (j == item || both == 0) continue;
        out[n++] = (pair){dot / sqrt(xx * yy) * (both / (both + shrinkage)), j};
    }
    qsort(out, n, sizeof *out, nearest_first);
    return n;
}

static void compare(const made_log *log, const uint32_t *dense, rt_itemknn_options o) {
    rt_events e;
    rt_itemknn knn;
    static pair wanted[512];
    arrange(log, &e);
    assert_int_equal(rt_itemknn_new(&e, &o, &knn), RT_OK);
    for (uint32_t i = 0; i < log->n_items; i++) {
        uint32_t n = by_hand(dense, log, i, o.log_counts, o.shrinkage, wanted);
        if (n > o.neighbours) n = o.neighbours;
        assert_int_equal(knn.starts[i + 1] - knn.starts[i], n);
        for (uint32_t k = 0; k < n; k++) {
            assert_int_equal(knn.items[knn.starts[i] + k], wanted[k].item);
            assert_true(knn.cosines[knn.starts[i] + k] == (float)wanted[k].cosine);
        }
    }
    rt_itemknn_free(&knn);
    rt_events_free(&e);
}

static void neighbours_are_those_of_brute_force(void **state) {
    (void)state;
    static made_log log;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        make_log(&log, seed, 50, 130, 2500);
        uint32_t *dense = dense_of(&log);
        compare(&log, dense, (rt_itemknn_options){.neighbours = 130});
        compare(&log, dense, (rt_itemknn_options){.neighbours = 7});
        compare(&log, dense, (rt_itemknn_options){.neighbours = 1, .log_counts = true});
        compare(&log, dense, (rt_itemknn_options){.neighbours = 20, .log_counts = true, .shrinkage = 10});
        free(dense);
    }
}

/* |U_0 and U_1| = 2, |U_0| = 3, |U_1| = 2: 2 / sqrt(6); with shrinkage 1 two thirds of it. */
static void a_worked_example(void **state) {
    (void)state;
    const uint32_t users[] = {0, 0, 1, 1, 2, 2, 3}, items[] = {0, 1, 0, 1, 0, 2, 2};
    rt_events e;
    rt_itemknn knn;
    assert_int_equal(rt_events_from(4, 4, 7, users, items, NULL, &e), RT_OK);
    assert_int_equal(rt_itemknn_new(&e, &(rt_itemknn_options){.neighbours = 5, .shrinkage = 1}, &knn), RT_OK);
    assert_int_equal(knn.starts[1], 2);
    assert_int_equal(knn.items[0], 1);
    assert_true(knn.cosines[0] == (float)(2 / sqrt(6) * (2.0 / 3)));
    assert_int_equal(knn.items[1], 2);
    assert_true(knn.cosines[1] == (float)(1 / sqrt(6) * 0.5));
    assert_int_equal(knn.starts[4] - knn.starts[3], 0); /* nobody clicked it */
    assert_true(rt_clicks_cosine(&e.clicks, 0, 1) == 2 / sqrt(6));
    assert_true(rt_clicks_cosine(&e.clicks, 1, 2) == 0);
    assert_true(rt_clicks_cosine(&e.clicks, 1, 1) == 1);
    assert_true(rt_clicks_cosine(&e.clicks, 3, 3) == 0);
    rt_itemknn_free(&knn);
    rt_events_free(&e);
}

static void scores_are_sums_over_the_users_items(void **state) {
    (void)state;
    static made_log log;
    static pair wanted[512];
    static double score[512], best[512];
    static uint32_t because[512];
    rt_events e;
    rt_itemknn knn;
    rt_knn_scorer *scorer;
    make_log(&log, 5, 30, 90, 800);
    uint32_t *dense = dense_of(&log);
    arrange(&log, &e);
    assert_int_equal(rt_itemknn_new(&e, &(rt_itemknn_options){.neighbours = 9}, &knn), RT_OK);
    assert_int_equal(rt_knn_scorer_new(&knn, &scorer), RT_OK);
    for (uint32_t u = 0; u < log.n_users; u++)
        for (int own = 0; own < 2; own++) {
            const uint32_t *items;
            const rt_knn_hit *hits;
            uint32_t n = rt_clicks_user(&e.clicks, u, &items), n_hits, left = 0;
            memset(score, 0, sizeof score);
            for (uint32_t j = 0; j < log.n_items; j++) best[j] = -1;
            for (uint32_t i = 0; i < log.n_items; i++) {
                if (!dense[u * log.n_items + i]) continue;
                uint32_t near = by_hand(dense, &log, i, false, 0, wanted);
                for (uint32_t k = 0; k < near && k < 9; k++) {
                    float cosine = (float)wanted[k].cosine;
                    score[wanted[k].item] += cosine;
                    if (cosine > best[wanted[k].item]) best[wanted[k].item] = cosine, because[wanted[k].item] = i;
                }
            }
            rt_knn_query q = {.items = items, .n = n, .keep_own = own};
            assert_int_equal(rt_knn_score(scorer, &q, &hits, &n_hits), RT_OK);
            for (uint32_t j = 0; j < log.n_items; j++) left += score[j] > 0 && (own || !dense[u * log.n_items + j]);
            assert_int_equal(n_hits, left);
            for (uint32_t h = 0; h < n_hits; h++) {
                assert_true(hits[h].score == score[hits[h].item]);
                assert_int_equal(hits[h].because, because[hits[h].item]);
                assert_true(own || !dense[u * log.n_items + hits[h].item]);
                if (h == 0) continue;
                assert_true(hits[h - 1].score > hits[h].score ||
                            (hits[h - 1].score == hits[h].score && hits[h - 1].item < hits[h].item));
            }
            /* The first few of them, and of those that may be. */
            static rt_knn_hit all[512];
            uint64_t allowed[2] = {0x5555555555555555 << (u & 1), 0x33333333333333 << (u & 1)};
            memcpy(all, hits, n_hits * sizeof *hits);
            uint32_t n_all = n_hits, at;
            for (uint32_t most = 1; most <= n_all + 1; most += 3)
                for (int some = 0; some < 2; some++) {
                    q.most = most;
                    q.allowed = some ? allowed : NULL;
                    assert_int_equal(rt_knn_score(scorer, &q, &hits, &n_hits), RT_OK);
                    at = 0;
                    for (uint32_t h = 0; h < n_all && at < most; h++) {
                        if (some && !(allowed[all[h].item / 64] >> all[h].item % 64 & 1)) continue;
                        assert_true(at < n_hits);
                        assert_int_equal(hits[at].item, all[h].item);
                        assert_true(hits[at].score == all[h].score);
                        at++;
                    }
                    assert_int_equal(at, n_hits);
                }
        }
    const rt_knn_hit *hits;
    uint32_t n_hits;
    assert_int_equal(rt_knn_score(scorer, &(rt_knn_query){.most = 5}, &hits, &n_hits), RT_OK);
    assert_int_equal(n_hits, 0);
    rt_knn_scorer_free(scorer);
    rt_knn_scorer_free(NULL);
    rt_itemknn_free(&knn);
    rt_events_free(&e);
    free(dense);
}

/* With a cap of one item a user, no two items have a user in common. */
static void a_cap_is_asked_for_and_told(void **state) {
    (void)state;
    static made_log log;
    rt_events e;
    rt_itemknn knn;
    make_log(&log, 6, 20, 40, 500);
    arrange(&log, &e);
    assert_int_equal(rt_itemknn_new(&e, &(rt_itemknn_options){.neighbours = 5}, &knn), RT_OK);
    assert_int_equal(knn.cut_users, 0);
    rt_itemknn_free(&knn);
    assert_int_equal(rt_itemknn_new(&e, &(rt_itemknn_options){.neighbours = 5, .user_cap = 1}, &knn), RT_OK);
    assert_int_equal(knn.starts[40], 0);
    uint32_t more = 0;
    for (uint32_t u = 0; u < 20; u++) {
        const uint32_t *items;
        more += rt_clicks_user(&e.clicks, u, &items) > 1;
    }
    assert_int_equal(knn.cut_users, more);
    assert_true(more > 0);
    rt_itemknn_free(&knn);
    rt_events_free(&e);
}

static bool at_once(void *context, uint32_t done) {
    (void)context, (void)done;
    return true;
}

static void nothing_and_stops(void **state) {
    (void)state;
    static made_log log;
    rt_events e;
    rt_itemknn knn;
    assert_int_equal(rt_events_from(0, 0, 0, NULL, NULL, NULL, &e), RT_OK);
    assert_int_equal(rt_itemknn_new(&e, &(rt_itemknn_options){.neighbours = 5}, &knn), RT_OK);
    assert_int_equal(knn.starts[0], 0);
    rt_itemknn_free(&knn);
    rt_events_free(&e);
    make_log(&log, 7, 20, 2000, 500);
    arrange(&log, &e);
    assert_int_equal(rt_itemknn_new(&e, &(rt_itemknn_options){.neighbours = 5, .stop = at_once}, &knn), RT_ESTOPPED);
    rt_events_free(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_those_of_brute_force),
        cmocka_unit_test(a_worked_example),
        cmocka_unit_test(scores_are_sums_over_the_users_items),
        cmocka_unit_test(a_cap_is_asked_for_and_told),
        cmocka_unit_test(nothing_and_stops),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
