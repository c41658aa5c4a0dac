/* Measures of lists: a worked example, the definitions by hand on random lists, and the bootstrap's intervals. */
#include "base/philox.h"
#include "recommend/measure.h"
#include "tests/data/files.h"
#include <math.h>

/* Sums of some dozen numbers below 10 in another order. */
#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-12)

enum { ITEMS = 20, USERS = 40, K = 5 };

static double apart(void *context, uint32_t a, uint32_t b) {
    (void)context;
    return a % 3 == b % 3 ? 0.75 : 0.25;
}

/* One warm user: list 4 2 7 of k = 3, held out 2 5 7 9; 9 is new. The log has 3 users; item 4 was clicked by 3, 2 by 1,
 * 7 by 0. */
static void a_worked_example(void **state) {
    (void)state;
    const uint32_t clicked[10] = {0, 0, 1, 0, 3, 2, 0, 0, 0, 0}, list[] = {4, 2, 7}, held[] = {2, 5, 7, 9};
    rt_measure_options o = {
        .k = 3, .n_items = 10, .n_allowed = 8, .item_users = clicked, .n_users = 3, .similarity = apart};
    rt_measure *m;
    rt_measured all;
    assert_int_equal(rt_measure_new(&o, &m), RT_OK);
    assert_int_equal(rt_measure_add(m, list, 3, held, 4, true), RT_OK);
    assert_int_equal(rt_measure_finish(m, 1, 100, &all), RT_OK);
    const rt_measured_value *v = all.values[RT_G_ALL];
    NEAR(v[RT_M_RECALL].mean, 2.0 / 4);
    const double third = 1 / log2(4), second = 1 / log2(3);
    NEAR(v[RT_M_NDCG].mean, (second + third) / (1 + second + third)); /* at most three hits fit */
    NEAR(v[RT_M_MRR].mean, 1.0 / 2);
    NEAR(v[RT_M_NOVELTY].mean, (0 + 1 + 2) / 3.0);          /* shares 4/4, 2/4, 1/4 */
    NEAR(v[RT_M_DIVERSITY].mean, (0.75 + 0.25 + 0.75) / 3); /* only 4 and 7 are alike modulo 3 */
    NEAR(all.coverage, 3.0 / 8);
    /* Known of the held-out items are 2 and 5: one of two is found, at rank 2. New are 7 and 9: one, at rank 3. */
    NEAR(all.values[RT_G_KNOWN][RT_M_RECALL].mean, 0.5);
    NEAR(all.values[RT_G_KNOWN][RT_M_NDCG].mean, second / (1 + second));
    NEAR(all.values[RT_G_KNOWN][RT_M_MRR].mean, 0.5);
    NEAR(all.values[RT_G_NEW][RT_M_RECALL].mean, 0.5);
    NEAR(all.values[RT_G_NEW][RT_M_NDCG].mean, third / (1 + second));
    NEAR(all.values[RT_G_NEW][RT_M_MRR].mean, 1.0 / 3);
    assert_true(isnan(all.values[RT_G_COLD][RT_M_RECALL].mean) && isnan(all.values[RT_G_COLD][RT_M_RECALL].low));
    assert_true(isnan(all.values[RT_G_NEW][RT_M_NOVELTY].mean));
    assert_true(v[RT_M_RECALL].low == 0.5 && v[RT_M_RECALL].high == 0.5); /* one user is always drawn */
    const uint32_t users[RT_GROUPS] = {1, 1, 0, 1, 1};
    for (int g = 0; g < RT_GROUPS; g++) assert_int_equal(all.users[g], users[g]);
    assert_int_equal(all.held_out, 4);
    assert_int_equal(all.hits, 2);
    assert_int_equal(all.listed, 3);
    rt_measure_free(m);
    rt_measure_free(NULL);
}

static struct {
    uint32_t lists[USERS][K], n[USERS], held[USERS][ITEMS], n_held[USERS], clicked[ITEMS];
    bool warm[USERS];
    double values[RT_GROUPS][RT_MEASURES][USERS]; /* NaN: none */
} w;

static bool is_held(int u, uint32_t item, int kind) {
    if (kind == 1 && !w.clicked[item]) return false;
    if (kind == 2 && w.clicked[item]) return false;
    for (uint32_t h = 0; h < w.n_held[u]; h++)
        if (w.held[u][h] == item) return true;
    return false;
}

static void by_hand(int u, int kind, double out[3]) {
    uint32_t all = 0, hits = 0;
    double gain = 0, ideal = 0, first = 0;
    for (uint32_t i = 0; i < ITEMS; i++) all += is_held(u, i, kind);
    for (uint32_t r = 0; r < w.n[u]; r++)
        if (is_held(u, w.lists[u][r], kind)) {
            hits++;
            gain += log(2) / log(r + 2);
            if (first == 0) first = 1.0 / (r + 1);
        }
    for (uint32_t r = 0; r < all && r < K; r++) ideal += log(2) / log(r + 2);
    out[0] = all ? hits / (double)all : NAN;
    out[1] = all ? gain / ideal : NAN;
    out[2] = all ? first : NAN;
}

static rt_measure *make_world(uint64_t seed) {
    rt_rng rng = rt_rng_make(seed, 4, 4);
    rt_measure *m;
    for (uint32_t i = 0; i < ITEMS; i++) w.clicked[i] = rt_rng_below(&rng, 3) ? rt_rng_below(&rng, 30) : 0;
    rt_measure_options o = {
        .k = K, .n_items = ITEMS, .n_allowed = ITEMS, .item_users = w.clicked, .n_users = 30, .similarity = apart};
    assert_int_equal(rt_measure_new(&o, &m), RT_OK);
    for (int u = 0; u < USERS; u++) {
        w.n[u] = w.n_held[u] = 0;
        w.warm[u] = rt_rng_below(&rng, 3) > 0;
        for (uint32_t i = 0; i < ITEMS; i++)
            if (rt_rng_below(&rng, 4) == 0) w.held[u][w.n_held[u]++] = i;
        if (!w.n_held[u]) w.held[u][w.n_held[u]++] = 3;
        uint32_t length = rt_rng_below(&rng, K + 1), start = rt_rng_below(&rng, ITEMS);
        for (; w.n[u] < length; w.n[u]++) w.lists[u][w.n[u]] = (start + 7 * w.n[u]) % ITEMS;
        for (int g = 0; g < RT_GROUPS; g++)
            for (int v = 0; v < RT_MEASURES; v++) w.values[g][v][u] = NAN;
        double *all[RT_MEASURES], ranks[3];
        for (int v = 0; v < RT_MEASURES; v++) all[v] = &w.values[RT_G_ALL][v][u];
        by_hand(u, 0, ranks);
        for (int v = 0; v < 3; v++) *all[v] = ranks[v];
        double novelty = 0, pairs = 0, diversity = 0;
        for (uint32_t r = 0; r < w.n[u]; r++) {
            novelty += -log((w.clicked[w.lists[u][r]] + 1) / 31.0) / log(2);
            for (uint32_t s = 0; s < r; s++, pairs++) diversity += 1 - apart(NULL, w.lists[u][s], w.lists[u][r]);
        }
        if (w.n[u]) *all[RT_M_NOVELTY] = novelty / w.n[u];
        if (pairs > 0) *all[RT_M_DIVERSITY] = diversity / pairs;
        for (int v = 0; v < RT_MEASURES; v++) w.values[w.warm[u] ? RT_G_WARM : RT_G_COLD][v][u] = *all[v];
        for (int kind = 1; kind < 3; kind++) {
            by_hand(u, kind, ranks);
            for (int v = 0; v < 3; v++) w.values[kind == 1 ? RT_G_KNOWN : RT_G_NEW][v][u] = ranks[v];
        }
        assert_int_equal(rt_measure_add(m, w.lists[u], w.n[u], w.held[u], w.n_held[u], w.warm[u]), RT_OK);
    }
    return m;
}

static double mean_over(const double *values, const uint32_t *users) {
    double sum = 0;
    int n = 0;
    for (uint32_t i = 0; i < USERS; i++)
        if (!isnan(values[users[i]])) sum += values[users[i]], n++;
    return n ? sum / n : NAN;
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void means_and_intervals_are_those_of_plain_loops(void **state) {
    (void)state;
    enum { RESAMPLES = 41 }; /* so that 2.5 % and 97.5 % are the second and the last but one */
    for (uint64_t seed = 1; seed <= 3; seed++) {
        rt_measure *m = make_world(seed);
        rt_measured all, again;
        assert_int_equal(rt_measure_finish(m, seed, RESAMPLES, &all), RT_OK);
        assert_int_equal(rt_measure_finish(m, seed, RESAMPLES, &again), RT_OK);
        uint32_t users[USERS];
        for (int g = 0; g < RT_GROUPS; g++)
            for (int v = 0; v < RT_MEASURES; v++) {
                const double *values = w.values[g][v];
                const rt_measured_value *found = &all.values[g][v];
                double means[RESAMPLES];
                for (uint32_t i = 0; i < USERS; i++) users[i] = i;
                double mean = mean_over(values, users);
                assert_int_equal(isnan(mean), isnan(found->mean));
                if (isnan(mean)) continue;
                NEAR(found->mean, mean);
                bool whole = true;
                for (uint32_t r = 0; r < RESAMPLES; r++) {
                    rt_rng rng = rt_rng_make(seed, 0xFFD0, r);
                    for (uint32_t i = 0; i < USERS; i++) users[i] = rt_rng_below(&rng, USERS);
                    means[r] = mean_over(values, users);
                    whole = whole && !isnan(means[r]);
                }
                assert_true(found->low <= found->high);
                assert_true(found->low == again.values[g][v].low && found->high == again.values[g][v].high);
                if (!whole) continue;
                qsort(means, RESAMPLES, sizeof *means, rising);
                NEAR(found->low, means[1]);
                NEAR(found->high, means[39]);
            }
        bool seen[ITEMS] = {0};
        int different = 0;
        for (int u = 0; u < USERS; u++)
            for (uint32_t r = 0; r < w.n[u]; r++) different += !seen[w.lists[u][r]], seen[w.lists[u][r]] = true;
        NEAR(all.coverage, different / (double)ITEMS);
        rt_measure_free(m);
    }
}

static void nobody_and_wrong_lists(void **state) {
    (void)state;
    const uint32_t clicked[4] = {0}, list[] = {4, 1, 2, 3};
    rt_measure_options o = {.k = 2, .n_items = 4, .item_users = clicked};
    rt_measure *m;
    rt_measured all;
    assert_int_equal(rt_measure_new(&o, &m), RT_OK);
    assert_int_equal(rt_measure_finish(m, 1, 10, &all), RT_OK);
    assert_true(isnan(all.values[0][0].mean) && isnan(all.coverage));
    assert_int_equal(rt_measure_add(m, list, 1, list, 1, true), RT_EINTERNAL);     /* no such item */
    assert_int_equal(rt_measure_add(m, list + 1, 3, list, 1, true), RT_EINTERNAL); /* longer than k */
    assert_int_equal(rt_measure_add(m, list + 1, 2, list, 0, true), RT_EINTERNAL); /* nothing held out */
    rt_measure_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worked_example),
        cmocka_unit_test(means_and_intervals_are_those_of_plain_loops),
        cmocka_unit_test(nobody_and_wrong_lists),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
