/* How far the probabilities can be believed: log loss, NE, Brier, calibration, ECE. */
#include "metrics_parts.h"
#include <math.h>

enum { ECE_BINS = 15, ECE_MOST_BINS = 100 };

/* ln(1 + e^x) without overflow and without losing small values. */
static double softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

double rt_row_log_loss(const float *logits, int n_labels, int32_t label) {
    if (n_labels == 1) return softplus(label > 0 ? -(double)logits[0] : (double)logits[0]);
    if (n_labels == 2) return softplus((double)logits[1 - label] - (double)logits[label]);
    double top = logits[0], sum = 0;
    for (int k = 1; k < n_labels; k++) top = fmax(top, (double)logits[k]);
    for (int k = 0; k < n_labels; k++) sum += exp((double)logits[k] - top);
    return top - (double)logits[label] + log(sum);
}

/* (p - y)^2; for more than two labels the sum over all of them. */
static double row_brier(const float *logits, int n_labels, int32_t label, double score) {
    if (n_labels <= 2) return (score - (label > 0)) * (score - (label > 0));
    double top = logits[0], sum = 0, total = 0;
    for (int k = 1; k < n_labels; k++) top = fmax(top, (double)logits[k]);
    for (int k = 0; k < n_labels; k++) sum += exp((double)logits[k] - top);
    for (int k = 0; k < n_labels; k++) {
        double d = exp((double)logits[k] - top) / sum - (k == label);
        total += d * d;
    }
    return total;
}

double rt_ece(const int32_t *labels01, const double *scores, const float *weights, uint32_t n, int n_bins) {
    if (n_bins < 1 || n_bins > ECE_MOST_BINS) return NAN;
    rt_sum weight[ECE_MOST_BINS] = {{0}}, score[ECE_MOST_BINS] = {{0}}, label[ECE_MOST_BINS] = {{0}}, total = {0};
    for (uint32_t i = 0; i < n; i++) {
        /* The first guess may be off by one in the last bit of p; the bounds b / n_bins decide. 0 joins the first bin.
         */
        int bin = (int)ceil(scores[i] * n_bins) - 1;
        bin = bin < 0 ? 0 : bin >= n_bins ? n_bins - 1 : bin;
        while (bin > 0 && scores[i] <= (double)bin / n_bins) bin--;
        while (bin < n_bins - 1 && scores[i] > (double)(bin + 1) / n_bins) bin++;
        double w = rt_row_weight(weights, i);
        rt_sum_add(&weight[bin], w);
        rt_sum_add(&score[bin], w * scores[i]);
        rt_sum_add(&label[bin], labels01[i] > 0 ? w : 0);
        rt_sum_add(&total, w);
    }
    double all = rt_sum_value(&total), error = 0;
    if (!(all > 0)) return NAN;
    /* w_b / W x |sum p / w_b - sum y / w_b| is |sum p - sum y| / W */
    for (int b = 0; b < n_bins; b++) error += fabs(rt_sum_value(&score[b]) - rt_sum_value(&label[b]));
    return error / all;
}

void rt_calibration_fill(const rt_scored *scored, const double *scores, double *row_loss, rt_metrics *out) {
    rt_sum weight = {0}, loss = {0}, brier = {0}, score = {0}, label = {0}, rest = {0};
    for (uint32_t i = 0; i < scored->n_rows; i++) {
        const float *logits = scored->logits + (size_t)i * (size_t)scored->n_labels;
        double w = rt_row_weight(scored->weights, i);
        row_loss[i] = rt_row_log_loss(logits, scored->n_labels, scored->labels[i]);
        rt_sum_add(&weight, w);
        rt_sum_add(&loss, w * row_loss[i]);
        rt_sum_add(&brier, w * row_brier(logits, scored->n_labels, scored->labels[i], scores[i]));
        rt_sum_add(&score, w * scores[i]);
        rt_sum_add(scored->labels[i] > 0 ? &label : &rest, w);
    }
    out->log_loss = out->brier = out->ne = out->calibration = out->ece = out->click_rate = out->score_mean = NAN;
    double all = rt_sum_value(&weight), clicks = rt_sum_value(&label);
    if (!(all > 0)) return;
    out->log_loss = rt_sum_value(&loss) / all;
    out->brier = rt_sum_value(&brier) / all;
    out->click_rate = clicks / all;
    out->score_mean = rt_sum_value(&score) / all;
    if (scored->n_labels > 2) return;
    double c = out->click_rate, d = rt_sum_value(&rest) / all; /* not 1 - c: exact near 1 as near 0 */
    if (c > 0 && d > 0)
        out->ne = out->log_loss / -(c * (d < 0.5 ? log1p(-d) : log(c)) + d * (c < 0.5 ? log1p(-c) : log(d)));
    if (clicks > 0) out->calibration = rt_sum_value(&score) / clicks;
    out->ece = rt_ece(scored->labels, scores, scored->weights, scored->n_rows, ECE_BINS);
}
