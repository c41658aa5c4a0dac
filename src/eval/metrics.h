/* Metrics from labels and scores; definitions in contract 8. Pure functions: no model, no file. */
#ifndef RT_EVAL_METRICS_H
#define RT_EVAL_METRICS_H
#include "../base/status.h"
#include "../base/text.h"
#include <stdbool.h>
#include <stdint.h>

/* What evaluation gathered, in row order. */
typedef struct {
    uint32_t n_rows;
    int n_labels;              /* K; 1: one score */
    const float *logits;       /* [n_rows, K] */
    const int32_t *labels;     /* [n_rows]; K = 1: 0 or 1 */
    const float *weights;      /* [n_rows] or NULL (all 1) */
    const uint32_t *groups;    /* [n_rows] or NULL */
    uint32_t n_groups;
    const uint32_t *slices;    /* [n_rows] or NULL */
    const char *const *slice_names;
    uint32_t n_slices;
    const char *const *label_names; /* [K]; K = 1: rows of the report are "0" and "1" */
    double threshold;          /* NaN: arg max (K >= 2), score > 0.5 (K = 1) */
} rt_scored;

typedef struct {
    double precision, recall, f1;
    double support;            /* rows, or sum of weights */
} rt_report_row;

typedef struct {
    int n_classes;             /* rows of the report */
    rt_report_row *classes;    /* [n_classes] */
    const char *const *names;
    double accuracy;
    rt_report_row macro, weighted;
    double support;
    bool zero_division;        /* a 0/0 was set to 0 */
} rt_report;

typedef struct {
    rt_report report;
    /* NaN where undefined (printed as null in JSON, "-" in text): one class, no groups, more than two labels */
    double auc, average_precision, log_loss, brier, ne, calibration, ece;
    double gauc, gauc_mean, mrr_10, mrr_mind, ndcg_5, ndcg_10;
    uint64_t rows, groups, groups_one_class, groups_no_positive, groups_with_ties;
    uint32_t n_slices;
    struct rt_slice_metrics {
        const char *name;
        uint64_t rows;
        double click_rate, auc, log_loss, calibration;
    } *slices;
} rt_metrics;

/* Predictions [n_rows] (class index) and scores [n_rows] (contract 8: probability of the last label for two, sum k p_k
 * for more, sigmoid for one), f64 from f32 logits. */
void rt_scores(const rt_scored *scored, double *scores, int32_t *predictions);
rt_status rt_metrics_compute(const rt_scored *scored, rt_metrics *out);
void rt_metrics_free(rt_metrics *metrics);
/* The text of sklearn.metrics.classification_report(digits=2), to the letter. */
void rt_report_text(const rt_report *report, int digits, rt_text *out);
/* The report and, below it, the click metrics for people. */
void rt_metrics_text(const rt_metrics *metrics, rt_text *out);
/* One JSON object with exactly the keys of `eval --json`: report (as output_dict), auc, average_precision, log_loss,
 * brier, ne, calibration, ece, gauc, gauc_mean, mrr@10, mrr_mind, ndcg@5, ndcg@10, rows, groups, groups_one_class,
 * groups_no_positive, slices. Without braces when `inner`, for embedding in a larger object. */
void rt_metrics_json(const rt_metrics *metrics, bool inner, rt_text *out);
/* The value by its key ("auc", "ndcg@10", "accuracy", "macro_f1", "log_loss"); false for an unknown key. *higher: larger is
 * better. For eval.metric. */
bool rt_metric_by_name(const rt_metrics *metrics, const char *key, double *value, bool *higher);
const char *rt_metric_names(void); /* "auc, average_precision, ...", for messages */

/* Areas used elsewhere too. Ties count half. NaN with one class. */
double rt_auc(const int32_t *labels01, const double *scores, const float *weights, uint32_t n);

#endif
