#include "series.h"
#include "../base/file.h"
#include "../base/text.h"
#include "append.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_LINE = 1 << 24 };

static const rt_plot plot_list[] = {
    {.key = "loss", .title = "training loss", .better = -1},
    {.key = "lr", .title = "learning rate"},
    {.key = "grad_norm", .title = "gradient norm"},
    {.key = "tokens_per_second", .title = "tokens a second"},
    {.key = "auc", .title = "AUC", .of_eval = true, .better = 1},
    {.key = "log_loss", .title = "log loss", .of_eval = true, .better = -1},
    {.key = "accuracy", .title = "accuracy", .of_eval = true, .better = 1},
    {.key = "gauc", .title = "GAUC", .of_eval = true, .better = 1},
    {.key = "average_precision", .title = "average precision", .of_eval = true, .better = 1},
    {.key = "ne", .title = "normalised entropy", .of_eval = true, .better = -1},
    {.key = "calibration", .title = "calibration", .of_eval = true},
    {.key = "ece", .title = "ECE", .of_eval = true, .better = -1},
    {.key = "mrr@10", .title = "MRR@10", .of_eval = true, .better = 1},
    {.key = "ndcg@10", .title = "nDCG@10", .of_eval = true, .better = 1},
};
enum { N_PLOTS = sizeof plot_list / sizeof plot_list[0] };

static rt_status add_point(rt_series *series, double step, double value) {
    if (series->n == series->capacity) {
        size_t capacity = series->capacity ? 2 * series->capacity : 64;
        rt_point *points = realloc(series->points, capacity * sizeof *points);
        if (!points) return rt_fail(RT_ENOMEM, "out of memory: %zu points of a curve", capacity);
        series->points = points;
        series->capacity = capacity;
    }
    series->points[series->n++] = (rt_point){step, value};
    return RT_OK;
}

static int curve_of(const json_t *line, bool of_eval) {
    const char *split = json_string_value(json_object_get(line, "split"));
    if (!of_eval) return RT_CURVE_TRAIN;
    return rt_streq(split, "dev") ? RT_CURVE_DEV : rt_streq(split, "test") ? RT_CURVE_TEST : RT_CURVE_OTHER;
}

/* False when the line does not know the quantity; null is a gap. */
static bool value_of(const json_t *line, const char *key, double *value) {
    const json_t *v = json_object_get(line, key);
    if (!v && rt_streq(key, "accuracy")) v = json_object_get(json_object_get(line, "report"), key);
    if (!v && rt_streq(key, "tokens_per_second")) {
        double tokens = json_number_value(json_object_get(line, "tokens"));
        double seconds = json_number_value(json_object_get(line, "seconds"));
        *value = seconds > 0 ? tokens / seconds : NAN;
        return json_object_get(line, "tokens") && json_object_get(line, "seconds");
    }
    *value = json_is_number(v) ? json_number_value(v) : NAN;
    return v != NULL;
}

static rt_status take_line(const json_t *line, rt_run_curves *out) {
    const json_t *at = json_object_get(line, "step");
    const char *event = json_string_value(json_object_get(line, "event"));
    bool train = rt_streq(event, "train"), eval = rt_streq(event, "eval");
    if (!json_is_number(at) || !isfinite(json_number_value(at)) || !(train || eval)) return RT_OK;
    double step = json_number_value(at);
    out->last_step = fmax(out->last_step, step);
    out->last_epoch = fmax(out->last_epoch, json_number_value(json_object_get(line, "epoch")));
    if (train) {
        out->seqs += json_number_value(json_object_get(line, "seqs"));
        out->tokens += json_number_value(json_object_get(line, "tokens"));
        out->seconds += json_number_value(json_object_get(line, "seconds"));
    }
    for (int i = 0; i < out->n_plots; i++) {
        rt_plot *plot = &out->plots[i];
        double value;
        if (plot->of_eval != eval || !value_of(line, plot->key, &value)) continue;
        RT_TRY(add_point(&plot->curves[curve_of(line, eval)], step, value));
    }
    return RT_OK;
}

static int by_step(const void *a, const void *b) {
    double x = ((const rt_point *)a)->step, y = ((const rt_point *)b)->step;
    return (x > y) - (x < y);
}

rt_status rt_run_curves_read(const char *path, rt_run_curves *out) {
    rt_status rc = RT_OK;
    char *data = NULL;
    size_t size = 0;
    *out = (rt_run_curves){.n_plots = N_PLOTS};
    out->plots = malloc(sizeof plot_list);
    if (!out->plots) return rt_fail(RT_ENOMEM, "out of memory: curves of %s", path ? path : "a run");
    memcpy(out->plots, plot_list, sizeof plot_list);
    if (!path || !rt_file_exists(path)) return RT_OK;
    RT_GO(rt_file_read(path, RT_METRICS_LIMIT, &data, &size));
    for (size_t from = 0; from < size;) {
        const char *newline = memchr(data + from, '\n', size - from);
        size_t end = newline ? (size_t)(newline - data) : size;
        bool sane = end - from <= LONGEST_LINE && rt_json_memory(data + from, end - from) <= RT_JSON_MEMORY;
        json_t *line = sane ? json_loadb(data + from, end - from, 0, NULL) : NULL;
        rc = take_line(line, out);
        json_decref(line);
        if (rc != RT_OK) goto done;
        from = end + 1;
    }
    for (int i = 0; i < out->n_plots; i++)
        for (int c = 0; c < RT_CURVES; c++) {
            rt_series *s = &out->plots[i].curves[c];
            if (s->n > 0) qsort(s->points, s->n, sizeof *s->points, by_step);
        }
done:
    free(data);
    if (rc != RT_OK) rt_run_curves_free(out);
    return rc;
}

void rt_run_curves_free(rt_run_curves *curves) {
    if (!curves || !curves->plots) return;
    for (int i = 0; i < curves->n_plots; i++)
        for (int c = 0; c < RT_CURVES; c++) free(curves->plots[i].curves[c].points);
    free(curves->plots);
    *curves = (rt_run_curves){0};
}
