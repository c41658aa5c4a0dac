/* Metrics of groups: worked examples, ties by brute force over all orders, and groups that must be left out. */
#include "eval/metrics.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIX 5.0e-7 /* values written with six decimals */

static void near_(double value, double expected, double tolerance, const char *what) {
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s: %.17g, not %.17g", what, value, expected);
}

/* Logits order rows as their scores do, so the examples' scores serve as one-label logits. */
static rt_metrics of_lists(uint32_t n, const int32_t *labels, const float *scores, const uint32_t *groups,
                           uint32_t n_groups) {
    rt_scored s = {.n_rows = n,
                   .n_labels = 1,
                   .logits = scores,
                   .labels = labels,
                   .groups = groups,
                   .n_groups = n_groups,
                   .threshold = NAN};
    rt_metrics m;
    assert_int_equal(rt_metrics_compute(&s, &m), RT_OK);
    return m;
}

static const uint32_t one_group[64];

static void test_gauc(void **state) {
    (void)state;
    /* Four users' lists, shuffled together; group 3 has no row. */
    const int32_t y[] = {1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0};
    const float s[] = {.9f, .3f, .1f, .4f, .5f, .4f, .6f, .5f, .2f, .4f, .1f};
    const uint32_t g[] = {0, 1, 2, 4, 0, 0, 1, 1, 2, 4, 0};
    rt_metrics m = of_lists(11, y, s, g, 5);
    near_(m.gauc, (4 + 1.5 + 1) / 9, 2 * DBL_EPSILON, "gauc");
    near_(m.gauc_mean, 2.0 / 3, 2 * DBL_EPSILON, "gauc_mean");
    near_(m.auc, .75, DBL_EPSILON, "auc");
    assert_int_equal(m.groups, 4);
    assert_int_equal(m.groups_one_class, 1);
    assert_int_equal(m.groups_no_positive, 1);
    assert_int_equal(m.groups_with_ties, 1);
    rt_metrics_free(&m);
}

static void test_lists(void **state) {
    (void)state;
    /* Clicks at ranks 1 and 4. */
    const int32_t y[] = {0, 1, 0, 0, 1};
    const float s[] = {.7f, .9f, .1f, .5f, .3f};
    rt_metrics m = of_lists(5, y, s, one_group, 1);
    near_(m.mrr_mind, .625, DBL_EPSILON, "mrr_mind");
    near_(m.mrr_10, 1, 0, "mrr@10");
    near_(m.auc, 2.0 / 3, DBL_EPSILON, "auc");
    near_(m.ndcg_5, 0.877215, SIX, "ndcg@5");
    rt_metrics_free(&m);
    /* Two rows tied, whichever of them is the click. */
    for (int first = 0; first < 2; first++) {
        const int32_t t[] = {first == 0, first == 1, 0, 1};
        const float ts[] = {.5f, .5f, .2f, .9f};
        m = of_lists(4, t, ts, one_group, 1);
        near_(m.ndcg_5, 0.959860, SIX, "ndcg@5, tie");
        near_(m.mrr_mind, (1 + (1.0 / 2 + 1.0 / 3) / 2) / 2, 2 * DBL_EPSILON, "mrr_mind, tie");
        assert_int_equal(m.groups_with_ties, 1);
        rt_metrics_free(&m);
    }
}

/* Graded labels gain linearly: grades 3 2 0 1, scores .2 .9 .5 .1 as a four-label model gives them. */
static void test_graded(void **state) {
    (void)state;
    const double want[] = {.2, .9, .5, .1};
    const int32_t y[] = {3, 2, 0, 1};
    float logits[16];
    for (int i = 0; i < 4; i++) {
        /* p(1) = want, p(0) = the rest, the others e^-80: score = want up to 1e-34 */
        const float row[] = {0, (float)log(want[i] / (1 - want[i])), -80, -80};
        memcpy(logits + 4 * i, row, sizeof row);
    }
    rt_scored s = {.n_rows = 4,
                   .n_labels = 4,
                   .logits = logits,
                   .labels = y,
                   .groups = one_group,
                   .n_groups = 1,
                   .threshold = NAN};
    rt_metrics m;
    assert_int_equal(rt_metrics_compute(&s, &m), RT_OK);
    near_(m.ndcg_5, 0.825450, SIX, "graded ndcg");
    near_(m.ndcg_10, 0.825450, SIX, "graded ndcg");
    rt_metrics_free(&m);
}

static void test_groups_left_out(void **state) {
    (void)state;
    /* A click alone; a row alone without one; nothing but clicks; a proper list, its click second. */
    const int32_t y[] = {1, 0, 1, 1, 0, 1};
    const float s[] = {.1f, .2f, .3f, .4f, .9f, .5f};
    const uint32_t g[] = {0, 1, 2, 2, 3, 3};
    rt_metrics m = of_lists(6, y, s, g, 4);
    assert_int_equal(m.groups, 4);
    assert_int_equal(m.groups_one_class, 3);
    assert_int_equal(m.groups_no_positive, 1);
    near_(m.gauc, 0, 0, "gauc");
    near_(m.mrr_10, (1 + 1 + .5) / 3, DBL_EPSILON, "mrr@10");
    near_(m.mrr_mind, (1 + .75 + .5) / 3, DBL_EPSILON, "mrr_mind");
    near_(m.ndcg_10, (1 + 1 + 1 / log2(3)) / 3, 2 * DBL_EPSILON, "ndcg@10");
    rt_metrics_free(&m);
    const int32_t none[] = {0, 0};
    m = of_lists(2, none, s, one_group, 1);
    assert_true(isnan(m.gauc) && isnan(m.gauc_mean) && isnan(m.mrr_10) && isnan(m.mrr_mind) && isnan(m.ndcg_5));
    rt_metrics_free(&m);
}

/* Beyond rank 10 the first click counts nothing, for tied rows in proportion. */
static void test_depth(void **state) {
    (void)state;
    int32_t y[13] = {0};
    float s[13];
    for (int i = 0; i < 13; i++) s[i] = (float)(20 - i);
    y[10] = 1;
    rt_metrics m = of_lists(13, y, s, one_group, 1);
    near_(m.mrr_10, 0, 0, "rank 11");
    near_(m.mrr_mind, 1.0 / 11, DBL_EPSILON, "rank 11");
    near_(m.ndcg_10, 0, 0, "rank 11");
    rt_metrics_free(&m);
    for (int i = 8; i < 13; i++) s[i] = 1; /* ranks 9 to 13 are one tie */
    m = of_lists(13, y, s, one_group, 1);
    near_(m.mrr_10, (1.0 / 9 + 1.0 / 10) / 5, DBL_EPSILON, "tie across rank 10");
    near_(m.ndcg_10, (1 / log2(10) + 1 / log2(11)) / 5, 2 * DBL_EPSILON, "tie across rank 10");
    rt_metrics_free(&m);
}

/* All orders of `row` that do not contradict the scores, by exchanging; sums of what each would score. */
typedef struct {
    int n;
    int32_t label[8];
    float score[8];
    double first, all, ndcg_5, orders;
} brute;

static void visit(brute *b, int *row, int placed) {
    if (placed == b->n) {
        double first = 0, all = 0, dcg = 0, ideal = 0;
        int clicks = 0;
        for (int r = 0; r < b->n; r++) {
            if (!b->label[row[r]]) continue;
            if (clicks == 0) first = 1.0 / (r + 1);
            all += 1.0 / (r + 1);
            if (r < 5) dcg += 1 / log2(r + 2);
            clicks++;
            if (clicks <= 5) ideal += 1 / log2(clicks + 1);
        }
        b->first += first;
        b->all += all / clicks;
        b->ndcg_5 += dcg / ideal;
        b->orders++;
        return;
    }
    for (int i = placed; i < b->n; i++) {
        int t = row[placed];
        row[placed] = row[i], row[i] = t;
        if (placed == 0 || b->score[row[placed - 1]] >= b->score[row[placed]]) visit(b, row, placed + 1);
        t = row[placed];
        row[placed] = row[i], row[i] = t;
    }
}

static void test_ties_by_brute_force(void **state) {
    (void)state;
    uint32_t x = 7;
    int lists = 0;
    for (int trial = 0; trial < 200; trial++) {
        brute b = {.n = 1 + trial % 7};
        int clicks = 0, row[8];
        for (int i = 0; i < b.n; i++) {
            x = x * 1664525u + 1013904223u;
            b.label[i] = (int32_t)((x >> 22) % 2);
            b.score[i] = (float)((x >> 26) % 3);
            clicks += b.label[i];
            row[i] = i;
        }
        if (clicks == 0) continue;
        visit(&b, row, 0);
        rt_metrics m = of_lists((uint32_t)b.n, b.label, b.score, one_group, 1);
        /* Sums of at most 7! terms below 1: relative error under 5040 eps. */
        near_(m.mrr_10, b.first / b.orders, 5040 * DBL_EPSILON, "mrr@10");
        near_(m.mrr_mind, b.all / b.orders, 5040 * DBL_EPSILON, "mrr_mind");
        near_(m.ndcg_5, b.ndcg_5 / b.orders, 5040 * DBL_EPSILON, "ndcg@5");
        rt_metrics_free(&m);
        lists++;
    }
    assert_true(lists > 150);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gauc),   cmocka_unit_test(test_lists),
        cmocka_unit_test(test_graded), cmocka_unit_test(test_groups_left_out),
        cmocka_unit_test(test_depth),  cmocka_unit_test(test_ties_by_brute_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
