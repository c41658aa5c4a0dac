/* Click metrics: worked examples (computed in fp64 with scikit-learn 1.9.1 where it has the metric), undefined cases,
 * row weights, JSON and text. */
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

/* Values written with six decimals: half a unit of the last. */
#define SIX 5.0e-7
/* One-label logits are fp32: p = sigmoid(float(logit(p))) errs by at most p (1 - p) |logit| 2^-24 <= 0.23 x 2^-24, and
 * a mean of terms with |d / dp| <= 1 / p <= 10 by ten times that: under 2e-7. */
#define FROM_F32 2.0e-7

static void near_(double value, double expected, double tolerance, const char *what) {
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s: %.17g, not %.17g", what, value, expected);
}

static float logit(double p) {
    return (float)log(p / (1 - p));
}

static rt_metrics compute(const rt_scored *scored) {
    rt_metrics m;
    assert_int_equal(rt_metrics_compute(scored, &m), RT_OK);
    return m;
}

static const int32_t a_labels[] = {1, 0, 1, 0, 0, 1};
static const double a_scores[] = {.9, .8, .8, .4, .2, .2};

static void test_areas(void **state) {
    (void)state;
    near_(rt_auc(a_labels, a_scores, NULL, 6), 6.0 / 9, DBL_EPSILON, "auc");
    near_(rt_average_precision(a_labels, a_scores, NULL, 6), 0.722222, SIX, "average precision");
    /* A row of weight 2 is two rows. */
    const float w[] = {1, 2, 1, 1, 1, 1};
    const int32_t twice[] = {1, 0, 0, 1, 0, 0, 1};
    const double twice_scores[] = {.9, .8, .8, .8, .4, .2, .2};
    near_(rt_auc(a_labels, a_scores, w, 6), rt_auc(twice, twice_scores, NULL, 7), DBL_EPSILON, "weighted auc");
    near_(rt_average_precision(a_labels, a_scores, w, 6), rt_average_precision(twice, twice_scores, NULL, 7),
          DBL_EPSILON, "weighted average precision");
    assert_true(rt_auc(twice, twice_scores, NULL, 7) != rt_auc(a_labels, a_scores, NULL, 6));
    /* One class has no pairs; without a positive there is no recall; all equal scores know nothing. */
    const int32_t ones[] = {1, 1}, zeros[] = {0, 0}, both[] = {0, 1};
    const double up[] = {.1, .2}, equal[] = {-0.0, 0.0};
    assert_true(isnan(rt_auc(ones, up, NULL, 2)) && isnan(rt_auc(zeros, up, NULL, 2)) &&
                isnan(rt_auc(ones, up, NULL, 0)));
    assert_true(isnan(rt_average_precision(zeros, up, NULL, 2)));
    near_(rt_average_precision(ones, up, NULL, 2), 1, 0, "all positive");
    near_(rt_auc(both, equal, NULL, 2), .5, 0, "0 and -0 are a tie");
    near_(rt_auc(both, up, NULL, 2), 1, 0, "perfect");
}

/* Against the definition, pair by pair, on scores with many ties and both signs. */
static void test_auc_pairwise(void **state) {
    (void)state;
    enum { N = 257 };
    int32_t y[N];
    double s[N];
    float w[N];
    uint32_t x = 12345;
    for (int i = 0; i < N; i++) {
        x = x * 1664525u + 1013904223u;
        y[i] = (x >> 20) % 3 == 0;
        s[i] = ((int)(x >> 24) % 40 - 20) * 0.37e-3;
        w[i] = (float)((x >> 9) % 4); /* 0 too */
    }
    double won = 0, pairs = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            if (y[i] && !y[j]) {
                double both = (double)w[i] * (double)w[j];
                pairs += both;
                won += both * (s[i] > s[j] ? 1 : s[i] == s[j] ? .5 : 0);
            }
    /* Both sums are of small integers and halves: exact. One rounding, in the quotient. */
    near_(rt_auc(y, s, w, N), won / pairs, DBL_EPSILON, "auc");
}

static void test_log_loss(void **state) {
    (void)state;
    float logits[6];
    for (int i = 0; i < 6; i++) logits[i] = logit(a_scores[i]);
    rt_scored s = {.n_rows = 6, .n_labels = 1, .logits = logits, .labels = a_labels, .threshold = NAN};
    rt_metrics m = compute(&s);
    near_(m.log_loss, 0.713558, SIX + FROM_F32, "log loss of A");
    near_(m.auc, 6.0 / 9, DBL_EPSILON, "auc of A");
    rt_metrics_free(&m);

    /* The same through two labels, shifted: only the difference counts. */
    float two[12];
    for (int i = 0; i < 6; i++) two[2 * i] = 3.0f, two[2 * i + 1] = 3.0f + logits[i];
    s.n_labels = 2, s.logits = two;
    m = compute(&s);
    near_(m.log_loss, 0.713558, SIX + 4 * FROM_F32, "log loss of A, two labels"); /* 3 + logit rounds at 2^-22 */
    rt_metrics_free(&m);

    /* Not clipped: p = sigmoid(-100) of a click costs 100, where a probability in fp32 would have been 0. */
    const float sure[] = {-100.0f, 50.0f};
    const int32_t y[] = {1, 1};
    s = (rt_scored){.n_rows = 2, .n_labels = 1, .logits = sure, .labels = y, .threshold = NAN};
    m = compute(&s);
    near_(m.log_loss, 50, 1e-13, "unclipped");
    assert_true(m.ne != m.ne); /* one class: base entropy 0 */
    rt_metrics_free(&m);

    /* Three labels: -ln softmax; logits 2 1 .1, target 0: 0.417030. Brier: the sum over the labels. */
    const float three[] = {2.0f, 1.0f, .1f};
    const int32_t zero[] = {0};
    s = (rt_scored){.n_rows = 1, .n_labels = 3, .logits = three, .labels = zero, .threshold = NAN};
    m = compute(&s);
    near_(m.log_loss, 0.417030, SIX, "cross-entropy");
    double e0 = exp(2.0), e1 = exp(1.0), e2 = exp((double).1f), sum = e0 + e1 + e2;
    near_(m.brier, pow(e0 / sum - 1, 2) + pow(e1 / sum, 2) + pow(e2 / sum, 2), 8 * DBL_EPSILON, "Brier");
    near_(m.score_mean, (e1 + 2 * e2) / sum, 8 * DBL_EPSILON, "graded score");
    assert_true(isnan(m.ne) && isnan(m.calibration) && isnan(m.ece));
    rt_metrics_free(&m);
}

static void test_calibration(void **state) {
    (void)state;
    const double p[] = {.6, .2, .1, .3};
    const int32_t y[] = {1, 0, 0, 0};
    float logits[4];
    for (int i = 0; i < 4; i++) logits[i] = logit(p[i]);
    rt_scored s = {.n_rows = 4, .n_labels = 1, .logits = logits, .labels = y, .threshold = NAN};
    rt_metrics m = compute(&s);
    near_(m.log_loss, 0.299001, SIX + FROM_F32, "log loss of B");
    near_(m.ne, 0.531713, SIX + 2 * FROM_F32, "NE of B"); /* base entropy 0.56: under twice the error */
    near_(m.calibration, 1.2, 4 * FROM_F32, "calibration of B");
    near_(m.brier, (.16 + .04 + .01 + .09) / 4, 2 * FROM_F32, "Brier of B");
    rt_metrics_free(&m);

    const double c[] = {.05, .12, .18, .33, .35, .62, .68, .91};
    const int32_t cy[] = {0, 0, 1, 0, 1, 1, 0, 1};
    near_(rt_ece(cy, c, NULL, 8, 10), .1825, 8 * DBL_EPSILON, "ECE, 10 bins");
    near_(rt_ece(cy, c, NULL, 8, 5), .17, 8 * DBL_EPSILON, "ECE, 5 bins");
    near_(rt_ece(cy, c, NULL, 8, 15), .39, 8 * DBL_EPSILON, "ECE, 15 bins");
    /* A bin ends with its upper bound: .2 belongs to (.1, .2], alone with .15 there. */
    const double edge[] = {.15, .2, .25};
    const int32_t ey[] = {0, 1, 0};
    near_(rt_ece(ey, edge, NULL, 3, 10), (fabs(.35 - 1) + .25) / 3, 8 * DBL_EPSILON, "bins are (lo, hi]");
    /* 7 / 25 x 25 rounds to above 7: a row on this bound must still stay below it, with the row at .26. */
    const double bound[] = {7.0 / 25, .26};
    const int32_t by[] = {1, 0};
    near_(rt_ece(by, bound, NULL, 2, 25), fabs(.54 - 1) / 2, 8 * DBL_EPSILON, "a bound that rounds up");
    const double ends[] = {0, 1};
    const int32_t right[] = {0, 1};
    near_(rt_ece(right, ends, NULL, 2, 15), 0, 0, "0 and 1 have bins");
    /* Weights: a row of weight 3 is three rows. */
    const float w[] = {3, 1, 1};
    const double triple[] = {.15, .15, .15, .2, .25};
    const int32_t ty[] = {0, 0, 0, 1, 0};
    near_(rt_ece(ey, edge, w, 3, 10), rt_ece(ty, triple, NULL, 5, 10), 8 * DBL_EPSILON, "weighted ECE");
}

static void test_weights_are_repeats(void **state) {
    (void)state;
    const float logits[] = {0, 1, 0.5f, 0, 0, -1, 1, 1, 0, 2, 0.25f, 0};
    const int32_t labels[] = {1, 0, 0, 1, 1, 0};
    const float weights[] = {1, 2, 3, 0, 1, 2};
    float many[18];
    int32_t many_labels[9];
    uint32_t n = 0;
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < (int)weights[i]; k++, n++) {
            many[2 * n] = logits[2 * i], many[2 * n + 1] = logits[2 * i + 1];
            many_labels[n] = labels[i];
        }
    rt_scored s = {
        .n_rows = 6, .n_labels = 2, .logits = logits, .labels = labels, .weights = weights, .threshold = NAN};
    rt_scored r = {.n_rows = n, .n_labels = 2, .logits = many, .labels = many_labels, .threshold = NAN};
    rt_metrics a = compute(&s), b = compute(&r);
    const double pairs[][2] = {{a.auc, b.auc},
                               {a.average_precision, b.average_precision},
                               {a.log_loss, b.log_loss},
                               {a.brier, b.brier},
                               {a.ne, b.ne},
                               {a.calibration, b.calibration},
                               {a.ece, b.ece},
                               {a.report.accuracy, b.report.accuracy},
                               {a.report.macro.f1, b.report.macro.f1},
                               {a.click_rate, b.click_rate}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        near_(pairs[i][0], pairs[i][1], 16 * DBL_EPSILON, "weights");
    rt_metrics_free(&a);
    rt_metrics_free(&b);
}

static void test_predictions(void **state) {
    (void)state;
    const float logits[] = {1, 1, 1, 2, -5, -5, 2, 2, 0};
    double scores[9];
    int32_t p[9];
    rt_scored s = {.n_rows = 3, .n_labels = 3, .logits = logits, .threshold = NAN};
    rt_scores(&s, scores, p);
    assert_int_equal(p[0], 0); /* the lower index wins a tie */
    assert_int_equal(p[1], 0);
    assert_int_equal(p[2], 0);
    const float one[] = {0, 1e-3f, -1e-3f};
    s = (rt_scored){.n_rows = 3, .n_labels = 1, .logits = one, .threshold = NAN};
    rt_scores(&s, scores, p);
    assert_int_equal(p[0], 0); /* score > 0.5, not >= */
    assert_int_equal(p[1], 1);
    assert_int_equal(p[2], 0);
    s.threshold = .5;
    rt_scores(&s, scores, p);
    assert_int_equal(p[0], 1); /* with a threshold: >= */
    const float two[] = {0, 0, 0, -1};
    s = (rt_scored){.n_rows = 2, .n_labels = 2, .logits = two, .threshold = .2};
    rt_scores(&s, scores, p);
    assert_int_equal(p[0], 1);
    assert_int_equal(p[1], 1); /* sigmoid(-1) = 0.27 */
}

static void test_refusals(void **state) {
    (void)state;
    rt_metrics m;
    const float good[] = {0, 1, 2}, bad[] = {0, NAN, 2}, minus[] = {1, -1, 1};
    const int32_t y[] = {0, 1, 0}, wrong[] = {0, 2, 0};
    const uint32_t g[] = {0, 1, 2};
    rt_scored s = {.n_rows = 3, .n_labels = 1, .logits = bad, .labels = y, .threshold = NAN};
    assert_int_equal(rt_metrics_compute(&s, &m), RT_EDATA);
    assert_non_null(strstr(rt_error_get()->text, "row 1"));
    rt_metrics_free(&m);
    s.logits = good, s.labels = wrong;
    assert_int_equal(rt_metrics_compute(&s, &m), RT_EINTERNAL);
    s.labels = y, s.groups = g, s.n_groups = 2;
    assert_int_equal(rt_metrics_compute(&s, &m), RT_EINTERNAL);
    s.groups = NULL, s.weights = minus;
    assert_int_equal(rt_metrics_compute(&s, &m), RT_EINTERNAL);
    s = (rt_scored){.n_rows = 1, .n_labels = 3, .logits = good, .labels = y, .threshold = .5};
    assert_int_equal(rt_metrics_compute(&s, &m), RT_ECONFIG);
}

static void test_json(void **state) {
    (void)state;
    const float logits[] = {0, 1, 0, -1, 0, 1};
    const int32_t labels[] = {1, 0, 1};
    const uint32_t slices[] = {0, 2, 0};
    rt_scored s = {.n_rows = 3,
                   .n_labels = 2,
                   .logits = logits,
                   .labels = labels,
                   .slices = slices,
                   .n_slices = 3,
                   .slice_names = (const char *const[]){"new \"item\"", "unused", "old"},
                   .label_names = (const char *const[]){"no", "yes"},
                   .threshold = NAN};
    rt_metrics m = compute(&s);
    rt_text text = {0}, inner = {0};
    rt_metrics_json(&m, false, &text);
    rt_metrics_json(&m, true, &inner);
    assert_int_equal(text.size, inner.size + 2);
    assert_memory_equal(text.data + 1, inner.data, inner.size);
    /* The keys, in order; no group: null. */
    const char *const keys[] = {"\"report\": {\"no\": {\"precision\": ",
                                "\"recall\": ",
                                "\"f1-score\": ",
                                "\"support\": ",
                                "\"yes\": {",
                                "\"accuracy\": ",
                                "\"macro avg\": {",
                                "\"weighted avg\": {",
                                "\"auc\": 1,",
                                "\"average_precision\": 1,",
                                "\"log_loss\": ",
                                "\"brier\": ",
                                "\"ne\": ",
                                "\"calibration\": ",
                                "\"ece\": ",
                                "\"gauc\": null,",
                                "\"gauc_mean\": null,",
                                "\"mrr@10\": null,",
                                "\"mrr_mind\": null,",
                                "\"ndcg@5\": null,",
                                "\"ndcg@10\": null,",
                                "\"rows\": 3,",
                                "\"groups\": 0,",
                                "\"groups_one_class\": 0,",
                                "\"groups_no_positive\": 0,",
                                "\"slices\": {\"new \\\"item\\\"\": {\"rows\": 2, \"click_rate\": 1, \"auc\": null, ",
                                "\"old\": {\"rows\": 1, \"click_rate\": 0, ",
                                "\"calibration\": null}}}"};
    const char *at = text.data;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *found = strstr(at, keys[i]);
        if (!found) fail_msg("no %s after %s", keys[i], at);
        at = found + strlen(keys[i]);
    }
    assert_string_equal(at, "");
    assert_null(strstr(text.data, "unused"));
    /* Numbers read back to the same double. */
    const char *loss = strstr(text.data, "\"log_loss\": ") + strlen("\"log_loss\": ");
    assert_true(strtod(loss, NULL) == m.log_loss);
    rt_text_free(&text);
    rt_text_free(&inner);
    rt_metrics_free(&m);
}

static void test_slices_of_two_columns(void **state) {
    (void)state;
    const float logits[] = {1, -1, 2, 0};
    const int32_t labels[] = {1, 0, 0, 1};
    const uint32_t slices[] = {0, 0, 1, 1, /* the second column */ 2, 3, 2, 3};
    rt_scored s = {.n_rows = 4,
                   .n_labels = 1,
                   .logits = logits,
                   .labels = labels,
                   .slices = slices,
                   .n_slice_columns = 2,
                   .n_slices = 4,
                   .slice_names = (const char *const[]){"a=x", "a=y", "b=x", "b=y"},
                   .threshold = NAN};
    rt_metrics m = compute(&s);
    assert_int_equal(m.n_slices, 4);
    const double auc[] = {1, 0, 0, 1}; /* rows 0 1, 2 3, 0 2, 1 3 */
    for (uint32_t i = 0; i < 4; i++) {
        assert_string_equal(m.slices[i].name, s.slice_names[i]);
        assert_int_equal(m.slices[i].rows, 2);
        assert_true(m.slices[i].auc == auc[i]);
    }
    rt_metrics_free(&m);
    s.n_slices = 3;
    assert_int_equal(rt_metrics_compute(&s, &m), RT_EINTERNAL);
}

static void test_text_and_names(void **state) {
    (void)state;
    const float logits[] = {0, 1, 0, -1, 0, 1, 0, 1};
    const int32_t labels[] = {1, 0, 1, 1};
    const uint32_t groups[] = {0, 0, 1, 1}, slices[] = {0, 0, 0, 1};
    rt_scored s = {.n_rows = 4,
                   .n_labels = 2,
                   .logits = logits,
                   .labels = labels,
                   .groups = groups,
                   .n_groups = 2,
                   .slices = slices,
                   .n_slices = 2,
                   .slice_names = (const char *const[]){"\x1b[31mred", "b"},
                   .threshold = NAN};
    rt_metrics m = compute(&s);
    rt_text text = {0}, report = {0};
    rt_report_text(&m.report, 2, &report);
    rt_metrics_text(&m, &text);
    assert_memory_equal(text.data, report.data, report.size);
    assert_non_null(strstr(text.data,
                           "groups 2 (1 of one class, not in GAUC; 0 without a click, not in MRR and nDCG; 1 "
                           "with tied scores)\n"));
    assert_null(strchr(text.data, '\x1b')); /* a data file must not drive the terminal */
    assert_null(strstr(text.data, "nan"));
    rt_text_free(&text);
    rt_text_free(&report);

    double value;
    bool higher;
    assert_true(rt_metric_by_name(&m, "auc", &value, &higher) && higher && value == m.auc);
    assert_true(rt_metric_by_name(&m, "log_loss", &value, &higher) && !higher && value == m.log_loss);
    assert_true(rt_metric_by_name(&m, "macro_f1", &value, &higher) && higher && value == m.report.macro.f1);
    assert_false(rt_metric_by_name(&m, "calibration", &value, &higher)); /* its best is 1: nothing to maximise */
    assert_false(rt_metric_by_name(&m, "AUC ", &value, &higher) || rt_metric_by_name(&m, NULL, &value, &higher));
    /* Every name of the message is known. */
    char *names = rt_strdup(rt_metric_names());
    for (char *rest = names, *name; (name = strsep(&rest, ", ")) != NULL;)
        if (*name && !rt_metric_by_name(&m, name, &value, &higher)) fail_msg("%s", name);
    free(names);
    rt_metrics_free(&m);
}

static void test_no_rows(void **state) {
    (void)state;
    rt_scored s = {.n_labels = 2, .threshold = NAN};
    rt_metrics m = compute(&s);
    rt_text text = {0};
    assert_true(isnan(m.auc) && isnan(m.log_loss) && isnan(m.ece) && isnan(m.gauc));
    rt_metrics_json(&m, false, &text);
    rt_metrics_text(&m, &text);
    assert_null(strstr(text.data, "nan"));
    rt_text_free(&text);
    rt_metrics_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_areas),
        cmocka_unit_test(test_auc_pairwise),
        cmocka_unit_test(test_log_loss),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_weights_are_repeats),
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_slices_of_two_columns),
        cmocka_unit_test(test_text_and_names),
        cmocka_unit_test(test_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
