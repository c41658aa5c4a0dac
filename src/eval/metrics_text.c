/* Metrics for people (text), for programs (JSON) and by name (eval.metric). */
#include "metrics.h"
#include "metrics_parts.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The one list of single-valued metrics: key in JSON, place, whether larger is better (0: neither). */
static const struct metric {
    const char *key;
    size_t offset;
    int better;
} metric_list[] = {
    {"auc", offsetof(rt_metrics, auc), 1},
    {"average_precision", offsetof(rt_metrics, average_precision), 1},
    {"log_loss", offsetof(rt_metrics, log_loss), -1},
    {"brier", offsetof(rt_metrics, brier), -1},
    {"ne", offsetof(rt_metrics, ne), -1},
    {"calibration", offsetof(rt_metrics, calibration), 0},
    {"ece", offsetof(rt_metrics, ece), -1},
    {"gauc", offsetof(rt_metrics, gauc), 1},
    {"gauc_mean", offsetof(rt_metrics, gauc_mean), 1},
    {"mrr@10", offsetof(rt_metrics, mrr_10), 1},
    {"mrr_mind", offsetof(rt_metrics, mrr_mind), 1},
    {"ndcg@5", offsetof(rt_metrics, ndcg_5), 1},
    {"ndcg@10", offsetof(rt_metrics, ndcg_10), 1},
};
enum { N_METRICS = sizeof metric_list / sizeof metric_list[0] };

static double metric_value(const rt_metrics *m, size_t offset) {
    return *(const double *)(const void *)((const char *)m + offset);
}

void rt_metrics_put_json(rt_text *out, double value) {
    if (isfinite(value))
        rt_text_double(out, value);
    else
        rt_text_puts(out, "null");
}

void rt_metrics_json(const rt_metrics *m, bool inner, rt_text *out) {
    rt_text_puts(out, inner ? "\"report\": " : "{\"report\": ");
    rt_report_json(&m->report, out);
    for (size_t i = 0; i < N_METRICS; i++) {
        rt_text_printf(out, ", \"%s\": ", metric_list[i].key);
        rt_metrics_put_json(out, metric_value(m, metric_list[i].offset));
    }
    rt_text_printf(out,
                   ", \"rows\": %llu, \"groups\": %llu, \"groups_one_class\": %llu, \"groups_no_positive\": %llu, "
                   "\"slices\": {",
                   (unsigned long long)m->rows, (unsigned long long)m->groups, (unsigned long long)m->groups_one_class,
                   (unsigned long long)m->groups_no_positive);
    for (uint32_t i = 0; i < m->n_slices; i++) {
        const struct rt_slice_metrics *s = &m->slices[i];
        if (i > 0) rt_text_puts(out, ", ");
        rt_text_json_string(out, s->name, strlen(s->name));
        rt_text_printf(out, ": {\"rows\": %llu, \"click_rate\": ", (unsigned long long)s->rows);
        rt_metrics_put_json(out, s->click_rate);
        rt_text_puts(out, ", \"auc\": ");
        rt_metrics_put_json(out, s->auc);
        rt_text_puts(out, ", \"log_loss\": ");
        rt_metrics_put_json(out, s->log_loss);
        rt_text_puts(out, ", \"calibration\": ");
        rt_metrics_put_json(out, s->calibration);
        rt_text_puts(out, "}");
    }
    rt_text_puts(out, inner ? "}" : "}}");
}

void rt_metrics_put_count(rt_text *out, uint64_t n, int width) {
    char digits[24], text[32];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    rt_text_printf(out, "%*s", width, text);
}

void rt_metrics_put_cell(rt_text *out, const char *title, int title_width, double value) {
    rt_text_printf(out, "%*s  ", title_width, title);
    if (isfinite(value))
        rt_text_printf(out, "%7.4f", value);
    else
        rt_text_printf(out, "%7s", "-");
}

enum { NAME_MOST = 32 };

/* Bytes and code points of a name, cut at NAME_MOST code points. */
static size_t cut_name(const char *name, int *points) {
    size_t length = strlen(name), used = 0;
    for (*points = 0; used < length && *points < NAME_MOST; (*points)++) {
        unsigned cp;
        bool bad = false;
        int step = rt_utf8_decode((const unsigned char *)name + used, length - used, &cp, &bad);
        used += step > 0 ? (size_t)step : 1;
    }
    return used;
}

static void put_slices(const rt_metrics *m, rt_text *out) {
    int width = 12, points;
    for (uint32_t i = 0; i < m->n_slices; i++) {
        cut_name(m->slices[i].name, &points);
        if (points > width) width = points;
    }
    rt_text_printf(out, "\n%*s  %10s  %10s  %7s  %8s  %11s\n", width, "slice", "rows", "click rate", "AUC", "log loss",
                   "calibration");
    for (uint32_t i = 0; i < m->n_slices; i++) {
        const struct rt_slice_metrics *s = &m->slices[i];
        size_t used = cut_name(s->name, &points);
        rt_text_printf(out, "%*s", width - points, "");
        rt_text_escaped(out, s->name, used, used); /* the name comes from a data file */
        rt_text_puts(out, "  ");
        rt_metrics_put_count(out, s->rows, 10);
        const double values[] = {s->click_rate, s->auc, s->log_loss, s->calibration};
        const int widths[] = {10, 7, 8, 11};
        for (size_t c = 0; c < 4; c++) {
            if (isfinite(values[c]))
                rt_text_printf(out, "  %*.4f", widths[c], values[c]);
            else
                rt_text_printf(out, "  %*s", widths[c], "-");
        }
        rt_text_puts(out, "\n");
    }
}

void rt_metrics_text(const rt_metrics *m, rt_text *out) {
    rt_report_text(&m->report, 2, out);
    rt_text_puts(out, "\n");
    rt_metrics_put_cell(out, "AUC", 12, m->auc);
    rt_metrics_put_cell(out, "avg precision", 16, m->average_precision);
    rt_metrics_put_cell(out, "log loss", 13, m->log_loss);
    rt_metrics_put_cell(out, "NE", 13, m->ne);
    rt_text_puts(out, "\n");
    rt_metrics_put_cell(out, "click rate", 12, m->click_rate);
    rt_metrics_put_cell(out, "calibration", 16, m->calibration);
    rt_metrics_put_cell(out, "Brier", 13, m->brier);
    rt_metrics_put_cell(out, "ECE (15)", 13, m->ece);
    rt_text_puts(out, "\n");
    if (m->groups > 0) {
        rt_metrics_put_cell(out, "GAUC", 12, m->gauc);
        rt_metrics_put_cell(out, "MRR@10", 16, m->mrr_10);
        rt_metrics_put_cell(out, "nDCG@5", 13, m->ndcg_5);
        rt_metrics_put_cell(out, "nDCG@10", 13, m->ndcg_10);
        rt_text_puts(out, "\n");
        rt_metrics_put_cell(out, "GAUC (mean)", 12, m->gauc_mean);
        rt_metrics_put_cell(out, "MRR (MIND)", 16, m->mrr_mind);
        rt_text_puts(out, "\n");
    }
    rt_text_puts(out, "rows ");
    rt_metrics_put_count(out, m->rows, 0);
    if (m->groups > 0) {
        rt_text_puts(out, ", groups ");
        rt_metrics_put_count(out, m->groups, 0);
        rt_text_puts(out, " (");
        rt_metrics_put_count(out, m->groups_one_class, 0);
        rt_text_puts(out, " of one class, not in GAUC; ");
        rt_metrics_put_count(out, m->groups_no_positive, 0);
        rt_text_puts(out, " without a click, not in MRR and nDCG; ");
        rt_metrics_put_count(out, m->groups_with_ties, 0);
        rt_text_puts(out, " with tied scores)");
    }
    rt_text_puts(out, "\n");
    if (m->report.zero_division)
        rt_text_puts(out, "A label that was never predicted or never occurs has 0.00 where a ratio is undefined.\n");
    if (m->n_slices > 0) put_slices(m, out);
}

bool rt_metric_by_name(const rt_metrics *m, const char *key, double *value, bool *higher) {
    static const struct {
        const char *key;
        size_t offset;
    } of_report[] = {
        {"accuracy", offsetof(rt_metrics, report.accuracy)},
        {"macro_f1", offsetof(rt_metrics, report.macro.f1)},
        {"weighted_f1", offsetof(rt_metrics, report.weighted.f1)},
    };
    if (!key) return false;
    for (size_t i = 0; i < sizeof of_report / sizeof of_report[0]; i++) {
        if (!rt_streq(key, of_report[i].key)) continue;
        *value = m->rows > 0 ? metric_value(m, of_report[i].offset) : NAN;
        *higher = true;
        return true;
    }
    for (size_t i = 0; i < N_METRICS; i++) {
        if (metric_list[i].better == 0 || !rt_streq(key, metric_list[i].key)) continue;
        *value = metric_value(m, metric_list[i].offset);
        *higher = metric_list[i].better > 0;
        return true;
    }
    return false;
}

const char *rt_metric_names(void) {
    return "auc, average_precision, log_loss, brier, ne, ece, gauc, gauc_mean, mrr@10, mrr_mind, ndcg@5, ndcg@10, "
           "accuracy, macro_f1, weighted_f1";
}
