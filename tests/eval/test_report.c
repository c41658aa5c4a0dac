/* The classification report against text that scikit-learn 1.9.1 printed for the same rows. */
#include "eval/metrics.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Logits under which arg max gives `predictions`. */
static void check_report(int n_labels, uint32_t n, const int32_t *labels, const int32_t *predictions,
                         const float *weights, const char *const *names, int digits, const char *expected) {
    float *logits = calloc((size_t)n * (size_t)n_labels, sizeof *logits);
    assert_non_null(logits);
    for (uint32_t i = 0; i < n; i++) {
        if (n_labels == 1)
            logits[i] = predictions[i] ? 1.0f : -1.0f;
        else
            logits[i * (uint32_t)n_labels + (uint32_t)predictions[i]] = 1.0f;
    }
    rt_scored scored = {.n_rows = n,
                        .n_labels = n_labels,
                        .logits = logits,
                        .labels = labels,
                        .weights = weights,
                        .label_names = names,
                        .threshold = NAN};
    rt_metrics metrics;
    rt_text text = {0};
    assert_int_equal(rt_metrics_compute(&scored, &metrics), RT_OK);
    rt_report_text(&metrics.report, digits, &text);
    assert_string_equal(text.data, expected);
    rt_text_free(&text);
    rt_metrics_free(&metrics);
    free(logits);
}

static void test_two_labels(void **state) {
    (void)state;
    const int32_t y[] = {1, 0, 1, 0, 0, 1}, p[] = {1, 1, 1, 0, 0, 0};
    check_report(2, 6, y, p, NULL, (const char *const[]){"no click", "click"}, 2,
                 "              precision    recall  f1-score   support\n"
                 "\n"
                 "    no click       0.67      0.67      0.67         3\n"
                 "       click       0.67      0.67      0.67         3\n"
                 "\n"
                 "    accuracy                           0.67         6\n"
                 "   macro avg       0.67      0.67      0.67         6\n"
                 "weighted avg       0.67      0.67      0.67         6\n");
}

/* With not one right prediction scikit-learn prints the supports as floats; one label: the rows are 0 and 1. */
static void test_none_right(void **state) {
    (void)state;
    const int32_t y[] = {1, 0, 1}, p[] = {0, 1, 0};
    check_report(1, 3, y, p, NULL, NULL, 2,
                 "              precision    recall  f1-score   support\n"
                 "\n"
                 "           0       0.00      0.00      0.00       1.0\n"
                 "           1       0.00      0.00      0.00       2.0\n"
                 "\n"
                 "    accuracy                           0.00       3.0\n"
                 "   macro avg       0.00      0.00      0.00       3.0\n"
                 "weighted avg       0.00      0.00      0.00       3.0\n");
}

/* Supports of weighted rows print as Python prints floats, wider than their column where they must. */
static void test_weights(void **state) {
    (void)state;
    const int32_t y[] = {1, 0, 1, 0}, p[] = {1, 0, 0, 0};
    const float w[] = {0.5f, 2.25f, 0x1p60f, 0.125f};
    check_report(2, 4, y, p, w, (const char *const[]){"0", "1"}, 2,
                 "              precision    recall  f1-score   support\n"
                 "\n"
                 "           0       0.00      1.00      0.00     2.375\n"
                 "           1       1.00      0.00      0.00 1.152921504606847e+18\n"
                 "\n"
                 "    accuracy                           0.00 1.152921504606847e+18\n"
                 "   macro avg       0.50      0.50      0.00 1.152921504606847e+18\n"
                 "weighted avg       1.00      0.00      0.00 1.152921504606847e+18\n");
}

/* A label that never occurs; names longer than any heading; a name of one code point in three bytes. */
static void test_names_and_absent_label(void **state) {
    (void)state;
    const int32_t y[] = {0, 2, 2, 0, 2}, p[] = {0, 2, 0, 0, 2};
    check_report(3, 5, y, p, NULL, (const char *const[]){"nie", "ganz lange Bezeichnung", "\xe5\xa5\xbd"}, 5,
                 "                        precision    recall  f1-score   support\n"
                 "\n"
                 "                   nie    0.66667   1.00000   0.80000         2\n"
                 "ganz lange Bezeichnung    0.00000   0.00000   0.00000         0\n"
                 "                     \xe5\xa5\xbd    1.00000   0.66667   0.80000         3\n"
                 "\n"
                 "              accuracy                        0.80000         5\n"
                 "             macro avg    0.55556   0.55556   0.53333         5\n"
                 "          weighted avg    0.86667   0.80000   0.80000         5\n");
}

static void test_many_digits_widen_the_names(void **state) {
    (void)state;
    const int32_t y[] = {0, 1, 1}, p[] = {0, 1, 0};
    check_report(2, 3, y, p, NULL, (const char *const[]){"a", "b"}, 15,
                 "                 precision    recall  f1-score   support\n"
                 "\n"
                 "              a  0.500000000000000 1.000000000000000 0.666666666666667         1\n"
                 "              b  1.000000000000000 0.500000000000000 0.666666666666667         2\n"
                 "\n"
                 "       accuracy                      0.666666666666667         3\n"
                 "      macro avg  0.750000000000000 0.750000000000000 0.666666666666667         3\n"
                 "   weighted avg  0.833333333333333 0.666666666666667 0.666666666666667         3\n");
}

/* Ten labels with weights of very different size: the last digits of the sums show the order in which
 * they were added (from eight labels on NumPy keeps eight running sums). */
static void test_ten_labels_weighted(void **state) {
    (void)state;
    static const char *const names[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"};
    int32_t y[60], p[60];
    float w[60];
    for (int i = 0; i < 60; i++) {
        y[i] = (i * 7 + i / 3) % 10;
        p[i] = (i * 7 + i / 3 + (i % 4 == 0 ? i % 5 : 0)) % 10;
        w[i] = ldexpf((float)(0.1 * (1 + i % 7)), i % 5 * 10);
    }
    check_report(10, 60, y, p, w, names, 3,
                 "              precision    recall  f1-score   support\n"
                 "\n"
                 "          k0      0.000     0.947     0.000 1946.600013755262\n"
                 "          k1      0.003     0.600     0.006 1048576.0234375\n"
                 "          k2      1.000     0.700     0.824 1101873884384.0\n"
                 "          k3      0.000     1.000     0.000 2.2000000178813934\n"
                 "          k4      1.000     0.722     0.839 1888768.0437545776\n"
                 "          k5      0.632     0.923     0.750 1395864376.0\n"
                 "          k6      0.824     0.778     0.800 1979120975873.5999\n"
                 "          k7      1.000     0.786     0.880 1433.6000213623047\n"
                 "          k8      0.923     0.857     0.889 1504916297.6171875\n"
                 "          k9      1.000     0.737     0.848 2089072107520.0\n"
                 "\n"
                 "    accuracy                          0.745 5172970689177.685\n"
                 "   macro avg      0.638     0.805     0.584 5172970689177.685\n"
                 "weighted avg      0.932     0.745     0.825 5172970689177.685\n");
    check_report(10, 60, y, p, NULL, names, 3,
                 "              precision    recall  f1-score   support\n"
                 "\n"
                 "          k0      0.778     0.875     0.824         8\n"
                 "          k1      0.600     0.750     0.667         4\n"
                 "          k2      1.000     0.750     0.857         8\n"
                 "          k3      0.667     1.000     0.800         4\n"
                 "          k4      1.000     0.750     0.857         8\n"
                 "          k5      0.600     0.750     0.667         4\n"
                 "          k6      0.778     0.875     0.824         8\n"
                 "          k7      1.000     0.750     0.857         4\n"
                 "          k8      0.750     0.750     0.750         8\n"
                 "          k9      1.000     0.750     0.857         4\n"
                 "\n"
                 "    accuracy                          0.800        60\n"
                 "   macro avg      0.817     0.800     0.796        60\n"
                 "weighted avg      0.832     0.800     0.805        60\n");
}

/* Nothing to report on: no row divides by zero silently or prints nan. */
static void test_no_rows(void **state) {
    (void)state;
    check_report(2, 0, NULL, NULL, NULL, (const char *const[]){"0", "1"}, 2,
                 "              precision    recall  f1-score   support\n"
                 "\n"
                 "           0       0.00      0.00      0.00         0\n"
                 "           1       0.00      0.00      0.00         0\n"
                 "\n"
                 "    accuracy                           0.00         0\n"
                 "   macro avg       0.00      0.00      0.00         0\n"
                 "weighted avg       0.00      0.00      0.00         0\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_labels),
        cmocka_unit_test(test_none_right),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_names_and_absent_label),
        cmocka_unit_test(test_many_digits_widen_the_names),
        cmocka_unit_test(test_ten_labels_weighted),
        cmocka_unit_test(test_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
