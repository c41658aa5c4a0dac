/* The classification report as text and as JSON. */
#include "metrics_parts.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Python's repr of a float: shortest digits that read back, fixed notation from 1e-4 to below 1e16. */
static void python_float(double value, char out[40]) {
    if (!isfinite(value)) {
        snprintf(out, 40, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    char sci[40];
    int digits = 1;
    for (; digits < 17; digits++) {
        snprintf(sci, sizeof sci, "%.*e", digits - 1, value);
        if (strtod(sci, NULL) == value) break;
    }
    snprintf(sci, sizeof sci, "%.*e", digits - 1, value);
    int exponent = atoi(strchr(sci, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, 40, "%.*e", digits - 1, value);
    } else {
        int decimals = digits - 1 - exponent;
        snprintf(out, 40, "%.*f", decimals < 1 ? 1 : decimals, value);
    }
}

static size_t code_points(const char *s) {
    size_t n = strlen(s), count = 0;
    for (size_t i = 0; i < n; count++) {
        unsigned cp;
        bool bad = false;
        int length = rt_utf8_decode((const unsigned char *)s + i, n - i, &cp, &bad);
        i += length > 0 ? (size_t)length : 1;
    }
    return count;
}

static const char *class_name(const rt_report *report, int k, char buffer[16]) {
    if (report->names) return report->names[k];
    snprintf(buffer, 16, "%d", k);
    return buffer;
}

/* Right-aligned in `width` code points. */
static void put_padded(rt_text *out, const char *s, size_t width) {
    for (size_t n = code_points(s); n < width; n++) rt_text_append(out, " ", 1);
    rt_text_puts(out, s);
}

static void put_support(const rt_report *report, double support, rt_text *out) {
    char text[40];
    if (report->support_is_float)
        python_float(support, text);
    else
        snprintf(text, sizeof text, "%.0f", support);
    rt_text_printf(out, " %9s\n", text);
}

static void put_row(const rt_report *report, const char *name, const rt_report_row *row, size_t width, int digits,
                    rt_text *out) {
    put_padded(out, name, width);
    rt_text_printf(out, "  %9.*f %9.*f %9.*f", digits, row->precision, digits, row->recall, digits, row->f1);
    put_support(report, row->support, out);
}

void rt_report_text(const rt_report *report, int digits, rt_text *out) {
    char number[16];
    size_t width = strlen("weighted avg");
    if (digits < 0) digits = 0;
    if (digits > 64) digits = 64;
    if ((size_t)digits > width) width = (size_t)digits;
    for (int k = 0; k < report->n_classes; k++) {
        size_t n = code_points(class_name(report, k, number));
        if (n > width) width = n;
    }
    put_padded(out, "", width);
    rt_text_printf(out, "  %9s %9s %9s %9s\n\n", "precision", "recall", "f1-score", "support");
    for (int k = 0; k < report->n_classes; k++)
        put_row(report, class_name(report, k, number), &report->classes[k], width, digits, out);
    rt_text_puts(out, "\n");
    put_padded(out, "accuracy", width);
    rt_text_printf(out, "  %9s %9s %9.*f", "", "", digits, report->micro_f1);
    put_support(report, report->support, out);
    put_row(report, "macro avg", &report->macro, width, digits, out);
    put_row(report, "weighted avg", &report->weighted, width, digits, out);
}

static void json_row(const char *name, const rt_report_row *row, rt_text *out) {
    const struct {
        const char *key;
        double value;
    } cells[] = {
        {"precision", row->precision}, {"recall", row->recall}, {"f1-score", row->f1}, {"support", row->support}};
    rt_text_json_string(out, name, strlen(name));
    for (size_t i = 0; i < 4; i++) {
        rt_text_printf(out, "%s\"%s\": ", i == 0 ? ": {" : ", ", cells[i].key);
        rt_text_double(out, cells[i].value);
    }
    rt_text_puts(out, "}");
}

void rt_report_json(const rt_report *report, rt_text *out) {
    char number[16];
    rt_text_puts(out, "{");
    for (int k = 0; k < report->n_classes; k++) {
        json_row(class_name(report, k, number), &report->classes[k], out);
        rt_text_puts(out, ", ");
    }
    rt_text_puts(out, "\"accuracy\": ");
    rt_text_double(out, report->accuracy);
    rt_text_puts(out, ", ");
    json_row("macro avg", &report->macro, out);
    rt_text_puts(out, ", ");
    json_row("weighted avg", &report->weighted, out);
    rt_text_puts(out, "}");
}
