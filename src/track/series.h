/* The curves in a metrics.jsonl; private to src/track. */
#ifndef RT_TRACK_SERIES_H
#define RT_TRACK_SERIES_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    double step, value; /* value NaN: a gap */
} rt_point;

typedef struct {
    rt_point *points;
    size_t n, capacity;
} rt_series;

enum { RT_CURVE_TRAIN, RT_CURVE_DEV, RT_CURVE_TEST, RT_CURVE_OTHER, RT_CURVES };

/* One plot: a quantity over steps, a curve for each split that has it. */
typedef struct {
    const char *key, *title;
    bool of_eval;
    int better; /* 1: larger is better, -1: smaller, 0: neither */
    rt_series curves[RT_CURVES];
} rt_plot;

typedef struct {
    rt_plot *plots;
    int n_plots;
    double last_step, last_epoch, seqs, tokens, seconds; /* sums over the train lines */
} rt_run_curves;

/* Reads what it can: a missing file gives empty curves, unreadable lines are passed over. RT_ENOMEM, RT_EIO. */
rt_status rt_run_curves_read(const char *path, rt_run_curves *out);
void rt_run_curves_free(rt_run_curves *curves);

#endif
