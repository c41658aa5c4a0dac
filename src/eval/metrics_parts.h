/* The parts that rt_metrics_compute() puts together; private to src/eval/metrics*.c, report*.c, ranking*.c,
 * calibration*.c and retrieval*.c. */
#ifndef RT_EVAL_METRICS_PARTS_H
#define RT_EVAL_METRICS_PARTS_H
#include "metrics.h"

/* Compensated sum (Neumaier): the error does not grow with the number of rows. */
typedef struct {
    double sum, rest;
} rt_sum;
static inline void rt_sum_add(rt_sum *s, double x) {
    double t = s->sum + x;
    double big = s->sum < 0 ? -s->sum : s->sum, small = x < 0 ? -x : x;
    s->rest += big >= small ? (s->sum - t) + x : (x - t) + s->sum;
    s->sum = t;
}
static inline double rt_sum_value(const rt_sum *s) {
    return s->sum + s->rest;
}
static inline double rt_row_weight(const float *weights, uint32_t row) {
    return weights ? (double)weights[row] : 1.0;
}

/* order[0 .. n) = row numbers by falling score, equal scores by rising row. Stable radix sort, O(n). RT_ENOMEM. */
rt_status rt_rank_order(const double *scores, uint32_t n, uint32_t *order);
/* Both areas over rows given by falling score. */
double rt_rank_auc(const uint32_t *order, uint32_t n, const int32_t *labels, const double *scores,
                   const float *weights);
double rt_rank_average_precision(const uint32_t *order, uint32_t n, const int32_t *labels, const double *scores,
                                 const float *weights);
/* Splits `order` by key [rows]: starts [n_keys + 1], split [n], each part still by falling score. */
void rt_rank_split(const uint32_t *order, uint32_t n, const uint32_t *key, uint32_t n_keys, uint32_t *starts,
                   uint32_t *split);
/* Fills gauc .. ndcg_10 and the group counters of `out`. RT_ENOMEM. */
rt_status rt_rank_groups(const rt_scored *scored, const uint32_t *order, const double *scores, rt_metrics *out);

/* -ln p(label) of one row from its K logits. */
double rt_row_log_loss(const float *logits, int n_labels, int32_t label);
/* Fills log_loss, brier, ne, calibration, ece, click_rate, score_mean. row_loss [n_rows] is filled for the slices. */
void rt_calibration_fill(const rt_scored *scored, const double *scores, double *row_loss, rt_metrics *out);

/* Fills out->report. RT_ENOMEM. */
rt_status rt_report_fill(const rt_scored *scored, const int32_t *predictions, rt_report *out);
void rt_report_free(rt_report *report);
/* The report as scikit-learn's output_dict: one JSON object. */
void rt_report_json(const rt_report *report, rt_text *out);

/* How all tables of metrics show what they hold: 12,345,678 to the right of `width`; a title and a value with four
 * decimals, "-" where it is undefined; the same in JSON, null there. */
void rt_metrics_put_count(rt_text *out, uint64_t n, int width);
void rt_metrics_put_cell(rt_text *out, const char *title, int title_width, double value);
void rt_metrics_put_json(rt_text *out, double value);

#endif
