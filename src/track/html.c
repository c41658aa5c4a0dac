/* report.html: one page that needs nothing else. Plots are small multiples of one size, so that their steps line up. */
#include "../base/clock.h"
#include "../base/file.h"
#include "series.h"
#include "track.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The plot's own units: view box and the frame of the curves in it. */
enum { WIDTH = 360, HEIGHT = 200, LEFT = 46, RIGHT = 12, TOP = 12, BOTTOM = 26, MOST_COLUMNS = 600, FEW_POINTS = 40 };

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1c1e21;--soft:#6a7078;--line:#e4e6e9;"
    "--train:#2563c9;--dev:#d9730d;--test:#1d8a5b;--other:#8a4fbf}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#15171a;--card:#1d2024;--ink:#e8eaed;--soft:#98a0aa;--line:#30353b;"
    "--train:#7aa7f7;--dev:#f2a14a;--test:#54c794;--other:#c093ec}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",sans-serif}\n"
    "main{max-width:1180px;margin:0 auto;padding:28px 20px 48px}h1{font-size:24px;margin:0 0 "
    "4px;overflow-wrap:anywhere}"
    "h2{font-size:17px;margin:32px 0 12px}.facts{color:var(--soft);margin:0}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:14px}\n"
    "figure{margin:0;padding:12px 12px 6px;background:var(--card);border:1px solid var(--line);border-radius:10px}\n"
    "figcaption{display:flex;flex-wrap:wrap;gap:2px 12px;align-items:baseline;font-weight:600}"
    "figcaption span{font-weight:400;font-size:13px;font-variant-numeric:tabular-nums}\n"
    "svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:10.5px;"
    "font-variant-numeric:tabular-nums}.grid{stroke:var(--line);stroke-width:1}\n"
    ".curve{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.pale{opacity:.3;stroke-width:1}\n"
    ".train{stroke:var(--train);color:var(--train)}.dev{stroke:var(--dev);color:var(--dev)}"
    ".test{stroke:var(--test);color:var(--test)}.other{stroke:var(--other);color:var(--other)}"
    "circle{fill:currentColor;stroke:none}\n"
    "pre{margin:0;padding:16px;overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace}\n";

static const char *const curve_names[RT_CURVES] = {"train", "dev", "test", "other"};

static void put_escaped(rt_text *out, const char *s) {
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        unsigned cp;
        bool bad = false;
        int step = rt_utf8_decode((const unsigned char *)s + i, n - i, &cp, &bad);
        if (step < 1) step = 1;
        if (bad || (cp < 32 && cp != '\n' && cp != '\t') || cp == 127)
            rt_text_puts(out, "\xef\xbf\xbd");
        else if (cp == '&')
            rt_text_puts(out, "&amp;");
        else if (cp == '<')
            rt_text_puts(out, "&lt;");
        else if (cp == '>')
            rt_text_puts(out, "&gt;");
        else if (cp == '"')
            rt_text_puts(out, "&quot;");
        else
            rt_text_append(out, s + i, (size_t)step);
        i += (size_t)step;
    }
}

/* --- axes --- */

typedef struct {
    double low, high, tick; /* of the values */
    double first, last;     /* of the steps */
} axes;

/* 1, 2 or 5 times a power of ten: about `pieces` of them in `range`. */
static double nice_tick(double range, int pieces) {
    double raw = range / pieces, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static bool plot_axes(const rt_plot *plot, axes *out) {
    bool any = false;
    for (int c = 0; c < RT_CURVES; c++)
        for (size_t i = 0; i < plot->curves[c].n; i++) {
            rt_point p = plot->curves[c].points[i];
            if (!isfinite(p.value) || fabs(p.value) > 1e300) continue;
            if (!any) *out = (axes){.low = p.value, .high = p.value, .first = p.step, .last = p.step};
            any = true;
            out->low = fmin(out->low, p.value);
            out->high = fmax(out->high, p.value);
            out->first = fmin(out->first, p.step);
            out->last = fmax(out->last, p.step);
        }
    if (!any) return false;
    double range = out->high - out->low, least = fmax(fabs(out->high) * 1e-3, 1e-12);
    if (range < least) { /* a flat curve runs through the middle */
        out->low -= least / 2;
        out->high += least / 2;
        range = out->high - out->low;
    }
    out->tick = nice_tick(range, 4);
    out->low = floor(out->low / out->tick + 1e-9) * out->tick;
    out->high = ceil(out->high / out->tick - 1e-9) * out->tick;
    if (out->last <= out->first) {
        out->first -= 1;
        out->last += 1;
    } else if (out->first < 0.2 * out->last) {
        out->first = 0;
    }
    return true;
}

static double place_x(const axes *a, double step) {
    return LEFT + (step - a->first) / (a->last - a->first) * (WIDTH - LEFT - RIGHT);
}
static double place_y(const axes *a, double value) {
    return TOP + (a->high - value) / (a->high - a->low) * (HEIGHT - TOP - BOTTOM);
}

static void put_axis_number(rt_text *out, double value, double tick) {
    if (fabs(value) < tick * 1e-6) value = 0;
    double size = fmax(fabs(value), tick);
    if (size >= 1e6 || tick < 1e-4) {
        rt_text_printf(out, "%.3g", value);
    } else if (tick >= 1000) {
        rt_text_printf(out, "%gk", value / 1000);
    } else {
        int decimals = tick >= 1 ? 0 : (int)ceil(-log10(tick) - 1e-9);
        rt_text_printf(out, "%.*f", decimals, value);
    }
}

static void put_axes(const axes *a, rt_text *out) {
    for (int i = 0; i <= 20; i++) {
        double value = a->low + i * a->tick;
        if (value > a->high + a->tick / 2) break;
        double y = place_y(a, value);
        rt_text_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT,
                       y, y);
        rt_text_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 6, y + 3.5);
        put_axis_number(out, value, a->tick);
        rt_text_puts(out, "</text>");
    }
    double tick = nice_tick(a->last - a->first, 5);
    if (tick < 1) tick = 1; /* steps are whole */
    double from = ceil(a->first / tick - 1e-9) * tick;
    for (int i = 0; i <= 12 && from + i * tick <= a->last + tick * 1e-6; i++) {
        rt_text_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", place_x(a, from + i * tick),
                       HEIGHT - 8);
        put_axis_number(out, from + i * tick, tick);
        rt_text_puts(out, "</text>");
    }
    rt_text_puts(out, "\n");
}

/* --- curves --- */

static void put_line_to(rt_text *out, const axes *a, rt_point p, bool *open) {
    if (!isfinite(p.value) || fabs(p.value) > 1e300) {
        *open = false;
        return;
    }
    rt_text_printf(out, "%s%.1f %.1f", *open ? "L" : "M", place_x(a, p.step), place_y(a, p.value));
    *open = true;
}

/* Long curves are thinned to the extremes of each column, in their order, so that no spike gets lost. */
static void put_path(const rt_series *s, const axes *a, const char *name, bool pale, rt_text *out) {
    bool open = false;
    size_t stride = s->n <= MOST_COLUMNS ? 1 : (s->n + MOST_COLUMNS - 1) / MOST_COLUMNS;
    rt_text_printf(out, "<path class=\"curve %s%s\" d=\"", name, pale ? " pale" : "");
    for (size_t from = 0; from < s->n; from += stride) {
        size_t end = from + stride < s->n ? from + stride : s->n, low = from, high = from;
        bool gap = false;
        for (size_t i = from; i < end; i++) {
            gap |= !isfinite(s->points[i].value);
            if (!(s->points[low].value <= s->points[i].value)) low = i;
            if (!(s->points[high].value >= s->points[i].value)) high = i;
        }
        if (gap && stride > 1) {
            for (size_t i = from; i < end; i++) put_line_to(out, a, s->points[i], &open);
            continue;
        }
        put_line_to(out, a, s->points[low < high ? low : high], &open);
        if (low != high) put_line_to(out, a, s->points[low < high ? high : low], &open);
    }
    rt_text_puts(out, "\"/>");
}

/* The running mean that makes a trend visible: weight 0.9 on the past, corrected at the start as Adam's moments are. */
static rt_status smooth(const rt_series *s, rt_series *out) {
    *out = (rt_series){.points = malloc(s->n * sizeof *s->points + 1), .n = s->n};
    if (!out->points) return rt_fail(RT_ENOMEM, "out of memory: %zu points of a curve", s->n);
    double mean = 0, share = 0;
    for (size_t i = 0; i < s->n; i++) {
        out->points[i] = s->points[i];
        if (!isfinite(s->points[i].value)) continue;
        mean = 0.9 * mean + 0.1 * s->points[i].value;
        share = 0.9 * share + 0.1;
        out->points[i].value = mean / share;
    }
    return RT_OK;
}

static rt_status put_curve(const rt_plot *plot, int c, const axes *a, rt_text *out) {
    const rt_series *s = &plot->curves[c];
    if (s->n == 0) return RT_OK;
    if (!plot->of_eval && plot->better != 0 && s->n > FEW_POINTS) {
        rt_series trend;
        RT_TRY(smooth(s, &trend));
        put_path(s, a, curve_names[c], true, out);
        put_path(&trend, a, curve_names[c], false, out);
        free(trend.points);
        return RT_OK;
    }
    put_path(s, a, curve_names[c], false, out);
    for (size_t i = 0; i < s->n && s->n <= FEW_POINTS; i++) {
        rt_point p = s->points[i];
        if (!isfinite(p.value) || fabs(p.value) > 1e300) continue;
        rt_text_printf(out,
                       "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"><title>step %.0f: %.6g</title></circle>",
                       curve_names[c], place_x(a, p.step), place_y(a, p.value), p.step, p.value);
    }
    return RT_OK;
}

/* "dev 0.8042, best 0.8051 at step 256" */
static void put_last(const rt_plot *plot, int c, rt_text *out) {
    const rt_series *s = &plot->curves[c];
    size_t last = s->n, best = s->n;
    for (size_t i = 0; i < s->n; i++) {
        if (!isfinite(s->points[i].value)) continue;
        last = i;
        if (best == s->n || plot->better * s->points[i].value > plot->better * s->points[best].value) best = i;
    }
    if (last == s->n) return;
    rt_text_printf(out, "<span class=\"%s\">", curve_names[c]);
    if (plot->of_eval) rt_text_printf(out, "%s ", curve_names[c]);
    rt_text_printf(out, "%.4g", s->points[last].value);
    if (plot->of_eval && plot->better != 0 && s->points[best].value != s->points[last].value)
        rt_text_printf(out, ", best %.4g at step %.0f", s->points[best].value, s->points[best].step);
    rt_text_puts(out, "</span>");
}

static rt_status put_plot(const rt_plot *plot, rt_text *out) {
    axes a = {0};
    if (!plot_axes(plot, &a)) return RT_OK;
    rt_text_printf(out, "<figure><figcaption>%s", plot->title);
    for (int c = 0; c < RT_CURVES; c++) put_last(plot, c, out);
    rt_text_printf(out, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s over steps\">", WIDTH,
                   HEIGHT, plot->title);
    put_axes(&a, out);
    for (int c = 0; c < RT_CURVES; c++) RT_TRY(put_curve(plot, c, &a, out));
    rt_text_puts(out, "</svg></figure>\n");
    return RT_OK;
}

static void put_facts(const rt_run_curves *run, rt_text *out) {
    if (run->last_step <= 0) return;
    char time[32];
    rt_duration_text(run->seconds, time);
    rt_text_printf(out, "<p class=\"facts\">%.0f steps", run->last_step);
    if (run->last_epoch > 0) rt_text_printf(out, " &middot; epoch %.3g", run->last_epoch);
    if (run->seqs > 0) rt_text_printf(out, " &middot; %.0f rows, %.0f tokens", run->seqs, run->tokens);
    if (run->seconds > 0)
        rt_text_printf(out, " &middot; %s of training, %.0f tokens a second", time, run->tokens / run->seconds);
    rt_text_puts(out, "</p>\n");
}

static rt_status put_page(const char *title, const rt_run_curves *run, const char *report_text, rt_text *out) {
    rt_text_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    put_escaped(out, title);
    rt_text_printf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>", style);
    put_escaped(out, title);
    rt_text_puts(out, "</h1>\n");
    put_facts(run, out);
    for (int of_eval = 1; of_eval >= 0; of_eval--) {
        rt_text plots = {0};
        rt_status rc = RT_OK;
        for (int i = 0; i < run->n_plots && rc == RT_OK; i++)
            if (run->plots[i].of_eval == of_eval) rc = put_plot(&run->plots[i], &plots);
        if (rc == RT_OK) rc = rt_text_status(&plots);
        if (rc == RT_OK && plots.size > 0)
            rt_text_printf(out, "<h2>%s</h2>\n<div class=\"plots\">\n", of_eval ? "Evaluation" : "Training");
        if (rc == RT_OK && plots.size > 0) {
            rt_text_append(out, plots.data, plots.size);
            rt_text_puts(out, "</div>\n");
        }
        rt_text_free(&plots);
        RT_TRY(rc);
    }
    if (report_text && *report_text) {
        rt_text_puts(out, "<h2>Reports</h2>\n<pre>");
        put_escaped(out, report_text);
        rt_text_puts(out, "</pre>\n");
    }
    rt_text_puts(out, "</main>\n</body>\n</html>\n");
    return rt_text_status(out);
}

rt_status rt_html_write(const char *path, const char *title, const char *metrics_jsonl_path, const char *report_text) {
    rt_status rc = RT_OK;
    rt_run_curves run = {0};
    rt_text page = {0};
    RT_GO(rt_run_curves_read(metrics_jsonl_path, &run));
    RT_GO(put_page(title ? title : "rectrain", &run, report_text, &page));
    RT_GO(rt_file_write_atomic(path, page.data, page.size));
done:
    rt_text_free(&page);
    rt_run_curves_free(&run);
    return rc;
}
