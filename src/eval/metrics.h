/* Metrics from labels and scores. Pure functions: no model, no file, no state; every sum runs in a fixed order in fp64.
 *
 * Definitions (y = 1 where label > 0, p = the score, w = the row's weight):
 *   score              probability of the last label for two labels, sum k p_k for more, sigmoid for one
 *   prediction         arg max, the lower index winning ties; one label: score > 0.5; with a threshold (one or two
 *                      labels): score >= threshold
 *   auc                (pairs won + half of ties) / all pairs of a y = 1 and a y = 0 row, each pair weighing w w'
 *   average_precision  sum (R_n - R_n-1) P_n over distinct scores; undefined without a y = 1 row
 *   log_loss           mean of -ln p(label) from the logits, unclipped; the cross-entropy for more than two labels
 *   brier              mean (p - y)^2; for more than two labels the mean of sum_k (p_k - [label = k])^2, not halved
 *   ne                 log_loss / entropy of the mean label     } one and
 *   calibration        sum p / sum y                            } two labels
 *   ece                15 equal bins (lo, hi]: sum of w_b / W x |mean p - mean y|
 *   gauc, gauc_mean    AUC of each group, averaged by its number of rows, and plainly; groups of one class are left out
 *   mrr@10             1 / rank of the first y = 1 row, 0 beyond 10      } expected value over all orders of tied rows,
 *   mrr_mind           sum of 1 / rank of every y = 1 row, over their number } plain mean over groups with a y = 1 row
 *   ndcg@5, ndcg@10    the label's value is the gain, discount 1 / log2(rank + 1)                  } (likewise)
 * Row weights count everywhere but in the group metrics: a group is a list as it was shown, one row one impression. */
#ifndef RT_EVAL_METRICS_H
#define RT_EVAL_METRICS_H
#include "../base/status.h"
#include "../base/text.h"
#include <stdbool.h>
#include <stdint.h>

/* What evaluation gathered, in row order. */
typedef struct {
    uint32_t n_rows;
    int n_labels;           /* K; 1: one score */
    const float *logits;    /* [n_rows, K] */
    const int32_t *labels;  /* [n_rows]; K = 1: 0 or 1 */
    const float *weights;   /* [n_rows] or NULL (all 1) */
    const uint32_t *groups; /* [n_rows] or NULL */
    uint32_t n_groups;
    const uint32_t *slices; /* [n_slice_columns, n_rows] or NULL: one slice a row for each column */
    int n_slice_columns;    /* 0 is 1 */
    const char *const *slice_names;
    uint32_t n_slices;
    const char *const *label_names; /* [K]; K = 1: rows of the report are "0" and "1" */
    double threshold;               /* NaN: arg max (K >= 2), score > 0.5 (K = 1) */
} rt_scored;

typedef struct {
    double precision, recall, f1;
    double support; /* rows, or sum of weights */
} rt_report_row;

typedef struct {
    int n_classes;          /* rows of the report */
    rt_report_row *classes; /* [n_classes] */
    const char *const *names;
    double accuracy;
    rt_report_row macro, weighted;
    double support;
    bool zero_division;    /* a 0/0 was set to 0 */
    double micro_f1;       /* equals accuracy up to rounding; what the text's accuracy row shows */
    bool support_is_float; /* supports print as 3.0: rows have weights, or (a quirk kept) no prediction was right */
} rt_report;

typedef struct {
    rt_report report;
    /* NaN where undefined (printed as null in JSON, "-" in text): one class, no groups, more than two labels */
    double auc, average_precision, log_loss, brier, ne, calibration, ece;
    double gauc, gauc_mean, mrr_10, mrr_mind, ndcg_5, ndcg_10;
    double click_rate, score_mean; /* weighted mean of y and of the score */
    int n_labels;
    uint64_t rows, groups, groups_one_class, groups_no_positive, groups_with_ties;
    uint32_t n_slices;
    struct rt_slice_metrics {
        const char *name;
        uint64_t rows;
        double click_rate, auc, log_loss, calibration;
    } * slices;
} rt_metrics;

/* Predictions [n_rows] (class index) and scores [n_rows] as defined above, f64 from f32 logits. Needs finite logits
 * (rt_metrics_compute refuses others). */
void rt_scores(const rt_scored *scored, double *scores, int32_t *predictions);
/* RT_EDATA for a logit that is not finite; RT_ECONFIG for a threshold with more than two labels; RT_EINTERNAL for a
 * label, group or slice out of range or a bad weight; RT_ENOMEM. No row at all is legal: everything undefined. `out`
 * borrows the label and slice names; free it in any case. */
rt_status rt_metrics_compute(const rt_scored *scored, rt_metrics *out);
void rt_metrics_free(rt_metrics *metrics);
/* The text of sklearn.metrics.classification_report(labels = all, digits = digits), to the letter. */
void rt_report_text(const rt_report *report, int digits, rt_text *out);
/* The report and, below it, the click metrics for people. */
void rt_metrics_text(const rt_metrics *metrics, rt_text *out);
/* One JSON object with exactly the keys of `eval --json`: report (as output_dict), auc, average_precision, log_loss,
 * brier, ne, calibration, ece, gauc, gauc_mean, mrr@10, mrr_mind, ndcg@5, ndcg@10, rows, groups, groups_one_class,
 * groups_no_positive, slices. Without braces when `inner`, for embedding in a larger object. */
void rt_metrics_json(const rt_metrics *metrics, bool inner, rt_text *out);
/* The value by its key ("auc", "ndcg@10", "accuracy", "macro_f1", "log_loss"); false for an unknown key. *higher:
 * larger is better. For eval.metric. */
bool rt_metric_by_name(const rt_metrics *metrics, const char *key, double *value, bool *higher);
const char *rt_metric_names(void); /* "auc, average_precision, ...", for messages */

/* Areas used elsewhere too: y = label > 0, weights may be NULL. NaN with one class (and when out of memory). */
double rt_auc(const int32_t *labels01, const double *scores, const float *weights, uint32_t n);
double rt_average_precision(const int32_t *labels01, const double *scores, const float *weights, uint32_t n);
/* Expected calibration error in n_bins equal bins (lo, hi]; scores in [0, 1]. NaN without weight. */
double rt_ece(const int32_t *labels01, const double *scores, const float *weights, uint32_t n, int n_bins);

#endif
