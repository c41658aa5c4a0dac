/* Scores and predictions, and all metrics of one evaluation put together. */
#include "metrics.h"
#include "metrics_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double sigmoid(double x) {
    if (x >= 0) return 1.0 / (1.0 + exp(-x));
    double e = exp(x);
    return e / (1.0 + e);
}

void rt_scores(const rt_scored *scored, double *scores, int32_t *predictions) {
    int n_labels = scored->n_labels;
    bool threshold = !isnan(scored->threshold) && n_labels <= 2;
    for (uint32_t i = 0; i < scored->n_rows; i++) {
        const float *logits = scored->logits + (size_t)i * (size_t)n_labels;
        int best = 0;
        for (int k = 1; k < n_labels; k++)
            if (logits[k] > logits[best]) best = k;
        if (n_labels == 1) {
            scores[i] = sigmoid((double)logits[0]);
            best = scores[i] > 0.5;
        } else if (n_labels == 2) {
            scores[i] = sigmoid((double)logits[1] - (double)logits[0]);
        } else {
            double sum = 0, graded = 0;
            for (int k = 0; k < n_labels; k++) {
                double e = exp((double)logits[k] - (double)logits[best]);
                sum += e;
                graded += k * e;
            }
            scores[i] = graded / sum;
        }
        predictions[i] = threshold ? scores[i] >= scored->threshold : best;
    }
}

static rt_status check_rows(const rt_scored *s) {
    if (s->n_labels < 1) return rt_fail(RT_EINTERNAL, "metrics: %d labels", s->n_labels);
    if (!isnan(s->threshold) && s->n_labels > 2)
        return rt_fail(
            RT_ECONFIG,
            "eval.threshold = %g: the model has %d labels; a threshold serves one or two labels (leave it out: "
            "the label with the highest probability is predicted)",
            s->threshold, s->n_labels);
    int32_t most = s->n_labels == 1 ? 1 : s->n_labels - 1;
    for (uint32_t i = 0; i < s->n_rows; i++) {
        for (int k = 0; k < s->n_labels; k++) {
            float logit = s->logits[(size_t)i * (size_t)s->n_labels + (size_t)k];
            if (!isfinite(logit))
                return rt_fail(
                    RT_EDATA,
                    "row %u: the model's output for label %d is %g, not a finite number; its weights have "
                    "diverged (train again with a lower optimizer.learning_rate or with optimizer.clip_norm) or "
                    "the checkpoint is damaged (rectrain verify FILE.h5)",
                    i, k, (double)logit);
        }
        if (s->labels[i] < 0 || s->labels[i] > most)
            return rt_fail(RT_EINTERNAL, "metrics: row %u has label %d; 0 to %d are known", i, s->labels[i], most);
        if (s->weights && !(isfinite(s->weights[i]) && s->weights[i] >= 0))
            return rt_fail(RT_EINTERNAL, "metrics: row %u has weight %g", i, (double)s->weights[i]);
        if (s->groups && s->groups[i] >= s->n_groups)
            return rt_fail(RT_EINTERNAL, "metrics: row %u has group %u of %u", i, s->groups[i], s->n_groups);
    }
    size_t columns = s->n_slice_columns > 0 ? (size_t)s->n_slice_columns : 1;
    for (size_t i = 0; s->slices && i < columns * s->n_rows; i++)
        if (s->slices[i] >= s->n_slices)
            return rt_fail(RT_EINTERNAL, "metrics: row %u has slice %u of %u", (uint32_t)(i % s->n_rows), s->slices[i],
                           s->n_slices);
    return RT_OK;
}

static struct rt_slice_metrics measure_slice(const rt_scored *s, const uint32_t *rows, uint32_t n, const double *scores,
                                             const double *row_loss) {
    struct rt_slice_metrics m = {.rows = n, .click_rate = NAN, .log_loss = NAN, .calibration = NAN};
    m.auc = rt_rank_auc(rows, n, s->labels, scores, s->weights);
    rt_sum weight = {0}, loss = {0}, score = {0}, label = {0};
    for (uint32_t i = 0; i < n; i++) {
        double w = rt_row_weight(s->weights, rows[i]);
        rt_sum_add(&weight, w);
        rt_sum_add(&loss, w * row_loss[rows[i]]);
        rt_sum_add(&score, w * scores[rows[i]]);
        rt_sum_add(&label, s->labels[rows[i]] > 0 ? w : 0);
    }
    double all = rt_sum_value(&weight), clicks = rt_sum_value(&label);
    if (!(all > 0)) return m;
    m.click_rate = clicks / all;
    m.log_loss = rt_sum_value(&loss) / all;
    if (clicks > 0 && s->n_labels <= 2) m.calibration = rt_sum_value(&score) / clicks;
    return m;
}

static rt_status measure_slices(const rt_scored *s, const uint32_t *order, const double *scores, const double *row_loss,
                                rt_metrics *out) {
    if (!s->slices || s->n_slices == 0 || s->n_rows == 0) return RT_OK;
    rt_status rc = RT_OK;
    uint32_t *starts = malloc(((size_t)s->n_slices + 1) * sizeof *starts);
    uint32_t *rows = malloc((size_t)s->n_rows * sizeof *rows);
    out->slices = calloc(s->n_slices, sizeof *out->slices);
    if (!starts || !rows || !out->slices) {
        rc = rt_fail(RT_ENOMEM, "out of memory: metrics of %u slices", s->n_slices);
        goto done;
    }
    for (int c = 0; c == 0 || c < s->n_slice_columns; c++) {
        rt_rank_split(order, s->n_rows, s->slices + (size_t)c * s->n_rows, s->n_slices, starts, rows);
        for (uint32_t v = 0; v < s->n_slices && out->n_slices < s->n_slices; v++) {
            if (starts[v + 1] == starts[v]) continue; /* a value that this file, or this column, does not have */
            struct rt_slice_metrics m = measure_slice(s, rows + starts[v], starts[v + 1] - starts[v], scores, row_loss);
            m.name = s->slice_names[v];
            out->slices[out->n_slices++] = m;
        }
    }
done:
    free(starts);
    free(rows);
    return rc;
}

rt_status rt_metrics_compute(const rt_scored *scored, rt_metrics *out) {
    *out = (rt_metrics){.rows = scored->n_rows, .n_labels = scored->n_labels};
    RT_TRY(check_rows(scored));
    rt_status rc = RT_OK;
    size_t n = (size_t)scored->n_rows + 1; /* never malloc(0) */
    double *scores = malloc(n * sizeof *scores), *row_loss = malloc(n * sizeof *row_loss);
    int32_t *predictions = malloc(n * sizeof *predictions);
    uint32_t *order = malloc(n * sizeof *order);
    if (!scores || !row_loss || !predictions || !order) {
        rc = rt_fail(RT_ENOMEM, "out of memory: metrics of %u rows", scored->n_rows);
        goto done;
    }
    rt_scores(scored, scores, predictions);
    RT_GO(rt_rank_order(scores, scored->n_rows, order));
    RT_GO(rt_report_fill(scored, predictions, &out->report));
    out->auc = rt_rank_auc(order, scored->n_rows, scored->labels, scores, scored->weights);
    out->average_precision = rt_rank_average_precision(order, scored->n_rows, scored->labels, scores, scored->weights);
    rt_calibration_fill(scored, scores, row_loss, out);
    RT_GO(rt_rank_groups(scored, order, scores, out));
    RT_GO(measure_slices(scored, order, scores, row_loss, out));
done:
    free(scores);
    free(row_loss);
    free(predictions);
    free(order);
    if (rc != RT_OK) rt_metrics_free(out);
    return rc;
}

void rt_metrics_free(rt_metrics *metrics) {
    if (!metrics) return;
    rt_report_free(&metrics->report);
    free(metrics->slices);
    metrics->slices = NULL;
    metrics->n_slices = 0;
}
