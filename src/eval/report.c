/* The classification report: the numbers, summed in the order in which NumPy sums them, because a report that equals
 * scikit-learn's to the letter must also round like it. */
#include "metrics_parts.h"
#include <math.h>
#include <stdlib.h>

static const char *const binary_names[] = {"0", "1"};

/* NumPy's pairwise summation (numpy/_core, DOUBLE_pairwise_sum): plain below 8 values, eight running sums up to 128,
 * halves above. */
static double pairwise_sum(const double *a, size_t n) {
    if (n < 8) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum = i == 0 ? a[0] : sum + a[i];
        return sum;
    }
    if (n <= 128) {
        double r[8];
        for (size_t k = 0; k < 8; k++) r[k] = a[k];
        size_t i = 8;
        for (; i < n - n % 8; i += 8)
            for (size_t k = 0; k < 8; k++) r[k] += a[i + k];
        double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
        for (; i < n; i++) sum += a[i];
        return sum;
    }
    size_t half = n / 2;
    half -= half % 8;
    return pairwise_sum(a, half) + pairwise_sum(a + half, n - half);
}

static double divide(double numerator, double denominator, bool *zero_division) {
    if (denominator != 0) return numerator / denominator;
    *zero_division = true;
    return 0;
}

/* The mean of one column of the report; weights NULL: plain. `scratch` [n]. */
static double average(const double *values, const double *weights, double *scratch, size_t n) {
    double scale = weights ? pairwise_sum(weights, n) : 0;
    if (!weights || scale == 0) return pairwise_sum(values, n) / (double)n;
    for (size_t i = 0; i < n; i++) scratch[i] = values[i] * weights[i];
    return pairwise_sum(scratch, n) / scale;
}

rt_status rt_report_fill(const rt_scored *scored, const int32_t *predictions, rt_report *out) {
    size_t n = scored->n_labels == 1 ? 2 : (size_t)scored->n_labels;
    rt_status rc = RT_OK;
    *out = (rt_report){.n_classes = (int)n, .names = scored->n_labels == 1 ? binary_names : scored->label_names};
    out->classes = calloc(n, sizeof *out->classes);
    double *columns = calloc(n, 7 * sizeof *columns);
    if (!out->classes || !columns) {
        rc = rt_fail(RT_ENOMEM, "out of memory: report of %zu labels", n);
        goto done;
    }
    double *right = columns, *predicted = right + n, *support = predicted + n, *precision = support + n,
           *recall = precision + n, *f1 = recall + n, *scratch = f1 + n;
    bool any_right = false;
    for (uint32_t i = 0; i < scored->n_rows; i++) {
        double w = rt_row_weight(scored->weights, i);
        predicted[predictions[i]] += w;
        support[scored->labels[i]] += w;
        if (predictions[i] == scored->labels[i]) right[predictions[i]] += w, any_right = true;
    }
    for (size_t k = 0; k < n; k++) {
        /* By way of the confusion matrix, as there: with weights a - b + b need not be a. */
        predicted[k] = right[k] + (predicted[k] - right[k]);
        support[k] = right[k] + (support[k] - right[k]);
        precision[k] = divide(right[k], predicted[k], &out->zero_division);
        recall[k] = divide(right[k], support[k], &out->zero_division);
        f1[k] = divide(2 * right[k], support[k] + predicted[k], &out->zero_division);
        out->classes[k] = (rt_report_row){precision[k], recall[k], f1[k], support[k]};
    }
    double all_right = pairwise_sum(right, n), all_predicted = pairwise_sum(predicted, n);
    out->support = pairwise_sum(support, n);
    out->support_is_float = scored->weights || (!any_right && scored->n_rows > 0);
    out->accuracy = divide(all_right, all_predicted, &out->zero_division);
    out->micro_f1 = divide(2 * all_right, out->support + all_predicted, &out->zero_division);
    out->macro = (rt_report_row){average(precision, NULL, NULL, n), average(recall, NULL, NULL, n),
                                 average(f1, NULL, NULL, n), out->support};
    out->weighted = (rt_report_row){average(precision, support, scratch, n), average(recall, support, scratch, n),
                                    average(f1, support, scratch, n), out->support};
done:
    free(columns);
    if (rc != RT_OK) rt_report_free(out);
    return rc;
}

void rt_report_free(rt_report *report) {
    if (!report) return;
    free(report->classes);
    *report = (rt_report){0};
}
