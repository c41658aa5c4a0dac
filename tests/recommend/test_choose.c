/* Merging lists and choosing from one: worked examples, brute force, ties, conditions. */
#include "base/philox.h"
#include "recommend/mmr.h"
#include "tests/data/files.h"
#include <math.h>

/* Differences of a few roundings of numbers around 1. */
#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-14)

static void lists_merge_as_the_formulas_say(void **state) {
    (void)state;
    const rt_item_score text[] = {{4, 0.2}, {7, 0.8}, {9, 0.5}}, clicks[] = {{7, 10}, {1, 30}, {9, 10}, {2, 5}};
    const rt_fuse_list lists[] = {{text, 3, 1}, {clicks, 4, 2}, {NULL, 0, 5}};
    const rt_fused *f;
    rt_fuser *fuser;
    uint32_t n;
    assert_int_equal(rt_fuser_new(&fuser), RT_OK);
    assert_int_equal(rt_fuse(fuser, RT_FUSE_MINMAX, lists, 3, &f, &n), RT_OK);
    /* text: 7 1, 9 0.5, 4 0; clicks: 1 1, 7 and 9 0.2, 2 0, twice. */
    assert_int_equal(n, 5);
    const uint32_t minmax[] = {1, 7, 9, 2, 4};
    const double sums[] = {2, 1.4, 0.9, 0, 0};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(f[i].item, minmax[i]);
        NEAR(f[i].score, sums[i]);
    }
    NEAR(f[1].given[0], 1);
    NEAR(f[1].given[1], 0.4);
    assert_true(f[1].parts[0] == 0.8 && f[1].parts[1] == 10 && isnan(f[1].parts[2]));
    assert_true(isnan(f[0].parts[0]) && f[0].given[0] == 0);

    assert_int_equal(rt_fuse(fuser, RT_FUSE_RANK, lists, 3, &f, &n), RT_OK);
    /* text: 7 1, 9 2/3, 4 1/3; clicks: 1 1, 7 3/4, 9 2/4 (the tie goes to 7), 2 1/4, twice. */
    const uint32_t rank[] = {7, 1, 9, 2, 4};
    const double rank_sums[] = {2.5, 2, 2.0 / 3 + 1, 0.5, 1.0 / 3};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(f[i].item, rank[i]);
        NEAR(f[i].score, rank_sums[i]);
    }
    assert_int_equal(rt_fuse(fuser, RT_FUSE_RRF, lists, 3, &f, &n), RT_OK);
    const uint32_t rrf[] = {7, 9, 1, 2, 4};
    const double rrf_sums[] = {1.0 / 61 + 2.0 / 62, 1.0 / 62 + 2.0 / 63, 2.0 / 61, 2.0 / 64, 1.0 / 63};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(f[i].item, rrf[i]);
        NEAR(f[i].score, rrf_sums[i]);
    }
    /* All equal: nothing tells them apart, each has all. */
    const rt_item_score equal[] = {{3, -2}, {1, -2}};
    assert_int_equal(rt_fuse(fuser, RT_FUSE_MINMAX, &(rt_fuse_list){equal, 2, 0.5}, 1, &f, &n), RT_OK);
    assert_int_equal(f[0].item, 1);
    assert_true(f[0].score == 0.5 && f[1].score == 0.5);
    assert_int_equal(rt_fuse(fuser, RT_FUSE_RRF, NULL, 0, &f, &n), RT_OK);
    assert_int_equal(n, 0);
    const rt_item_score wrong[] = {{3, 1}, {1, NAN}}, huge[] = {{3, 1.7e308}, {1, -1.7e308}, {2, 0}};
    assert_int_equal(rt_fuse(fuser, RT_FUSE_MINMAX, &(rt_fuse_list){wrong, 2, 1}, 1, &f, &n), RT_EDATA);
    assert_int_equal(rt_fuse(fuser, RT_FUSE_MINMAX, &(rt_fuse_list){huge, 3, 1}, 1, &f, &n), RT_OK);
    assert_true(f[0].score == 1 && f[1].score == 0.5 && f[2].score == 0);
    rt_fuser_free(fuser);
    rt_fuser_free(NULL);
}

enum { N = 12, WIDTH = 5 };
typedef struct {
    float rows[N][WIDTH];
    uint32_t forbidden, taken; /* bits */
    int asked;
} world;

static double similar(void *context, uint32_t a, uint32_t b) {
    world *w = context;
    w->asked++;
    return rt_dot_rows(w->rows[a], w->rows[b], WIDTH);
}
static bool may(void *context, uint32_t item) {
    return !(((world *)context)->forbidden >> item & 1);
}
static void take(void *context, uint32_t item) {
    ((world *)context)->taken |= 1u << item;
}

/* The definition, recomputed from nothing at each step. */
static uint32_t next_by_hand(world *w, const rt_item_score *c, double diversity, const uint32_t *chosen, uint32_t n) {
    double most = -INFINITY, least = INFINITY, best = -INFINITY;
    uint32_t found = UINT32_MAX;
    for (int i = 0; i < N; i++) most = fmax(most, c[i].score), least = fmin(least, c[i].score);
    for (uint32_t i = 0; i < N; i++) {
        double rel = most > least ? (c[i].score / 2 - least / 2) / (most / 2 - least / 2) : 1, near = -INFINITY;
        bool gone = w->forbidden >> c[i].item & 1;
        for (uint32_t k = 0; k < n; k++) {
            gone = gone || chosen[k] == i;
            near = fmax(near, rt_dot_rows(w->rows[c[i].item], w->rows[c[chosen[k]].item], WIDTH));
        }
        double value = (1 - diversity) * rel - diversity * (n ? near : 0);
        if (gone || value < best) continue;
        if (found != UINT32_MAX && value == best &&
            (c[found].score > c[i].score || (c[found].score == c[i].score && c[found].item < c[i].item)))
            continue;
        best = value;
        found = i;
    }
    return found;
}

static void choices_are_those_of_the_definition(void **state) {
    (void)state;
    rt_rng rng = rt_rng_make(21, 0, 0);
    for (int round = 0; round < 200; round++) {
        static const double diversities[] = {0, 0.1, 0.3, 0.5, 0.9, 1};
        world w = {.forbidden = round % 3 ? 0 : rt_rng_u32(&rng) & rt_rng_u32(&rng)};
        rt_item_score c[N];
        uint32_t chosen[N], n, k = 1 + rt_rng_below(&rng, N);
        double diversity = diversities[round % 6];
        for (uint32_t i = 0; i < N; i++) {
            c[i] = (rt_item_score){N - 1 - i, rt_rng_below(&rng, 4) / 4.0}; /* ties */
            for (int d = 0; d < WIDTH; d++) w.rows[i][d] = (float)((int)rt_rng_below(&rng, 3) - 1);
        }
        rt_mmr_options o = {diversity, similar, may, take, &w};
        assert_int_equal(rt_mmr_choose(&o, c, N, k, chosen, &n), RT_OK);
        uint32_t allowed = N - (uint32_t)__builtin_popcount(w.forbidden & ((1u << N) - 1));
        assert_int_equal(n, allowed < k ? allowed : k);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(chosen[i], next_by_hand(&w, c, diversity, chosen, i));
            assert_true(w.taken >> c[chosen[i]].item & 1);
        }
        if (diversity == 0) assert_int_equal(w.asked, 0);
    }
}

/* rel 1, 0.9, 0; the second is the first's twin, the third stands apart: with half diversity it is the better second.
 */
static void a_worked_example(void **state) {
    (void)state;
    world w = {.rows = {{1, 0}, {1, 0}, {0, 1}}};
    const rt_item_score c[] = {{0, 10}, {1, 9}, {2, 0}};
    uint32_t chosen[3], n;
    rt_mmr_options o = {.similarity = similar, .context = &w};
    assert_int_equal(rt_mmr_choose(&o, c, 3, 3, chosen, &n), RT_OK);
    assert_int_equal(n, 3);
    assert_true(chosen[0] == 0 && chosen[1] == 1 && chosen[2] == 2);
    o.diversity = 0.5; /* 0.45 - 0.5 against 0 - 0 */
    assert_int_equal(rt_mmr_choose(&o, c, 3, 3, chosen, &n), RT_OK);
    assert_true(chosen[0] == 0 && chosen[1] == 2 && chosen[2] == 1);
    o.diversity = 0.4; /* 0.54 - 0.4 against 0 */
    assert_int_equal(rt_mmr_choose(&o, c, 3, 2, chosen, &n), RT_OK);
    assert_true(n == 2 && chosen[0] == 0 && chosen[1] == 1);
    assert_int_equal(rt_mmr_choose(&o, c, 0, 2, chosen, &n), RT_OK);
    assert_int_equal(n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_merge_as_the_formulas_say),
        cmocka_unit_test(choices_are_those_of_the_definition),
        cmocka_unit_test(a_worked_example),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
