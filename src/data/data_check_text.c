/* The data check in words and as JSON. */
#include "data_check.h"
#include <math.h>
#include <string.h>
#include <time.h>

static double percent(uint64_t part, uint64_t all) {
    return all ? 100.0 * (double)part / (double)all : 0;
}

static double rate(uint64_t clicks, uint64_t rows) {
    return rows ? (double)clicks / (double)rows : 0;
}

static void put_time(const rt_data_check *c, int64_t time, rt_text *out) {
    char text[64];
    struct tm parts;
    time_t seconds = (time_t)time;
    if (c->calendar && gmtime_r(&seconds, &parts) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts))
        rt_text_puts(out, text);
    else
        rt_text_printf(out, "%lld", (long long)time);
}

static void put_slices(const rt_data_check *c, rt_text *out) {
    for (uint32_t i = 0; i < c->n_slices; i++) {
        const rt_check_slice *s = &c->by_slice[i];
        rt_text_puts(out, "slice ");
        rt_text_escaped(out, s->name, strlen(s->name), 60); /* the name comes from a data file */
        rt_text_printf(out, ": %llu rows, click rate %.4f%s\n", (unsigned long long)s->rows, rate(s->clicks, s->rows),
                       s->clicks == 0 || s->clicks == s->rows ? " (one class: no AUC)" : "");
    }
}

void rt_data_check_text(const rt_data_check *c, const char *unit, rt_text *out) {
    rt_text_printf(out, "%llu rows, %llu clicks, click rate %.4f", (unsigned long long)c->rows,
                   (unsigned long long)c->clicks, rate(c->clicks, c->rows));
    if (c->bad_rows) rt_text_printf(out, "; %llu bad rows were skipped", (unsigned long long)c->bad_rows);
    rt_text_printf(out, "\n%s a row: %.1f mean, %d median, %d p95, %d p99, %d longest; %.2f %% are longer than %d\n",
                   unit, c->mean_len, c->p50, c->p95, c->p99, c->max_len, percent(c->cut, c->rows), c->max_length);
    rt_text_printf(out, "texts: %llu empty; %llu rows (%.2f %%) repeat the texts of an earlier row\n",
                   (unsigned long long)c->empty_texts, (unsigned long long)c->duplicates,
                   percent(c->duplicates, c->rows));
    rt_text_printf(out, "the same texts with both labels: %llu pairs, %llu rows (%.2f %%)%s\n",
                   (unsigned long long)c->contradictory_pairs, (unsigned long long)c->contradictory_rows,
                   percent(c->contradictory_rows, c->rows),
                   c->contradictory_rows * 20 > c->rows ? "; no text model can tell them apart" : "");
    if (c->has_groups)
        rt_text_printf(out, "groups: %u, %u of one class (%.2f %%)\n", c->groups, c->one_class_groups,
                       percent(c->one_class_groups, c->groups));
    if (c->has_times && c->first <= c->last) {
        rt_text_puts(out, "times: ");
        put_time(c, c->first, out);
        rt_text_puts(out, " to ");
        put_time(c, c->last, out);
        if (c->without_time) rt_text_printf(out, "; %llu rows have none", (unsigned long long)c->without_time);
        rt_text_puts(out, "\n");
    }
    put_slices(c, out);
}

void rt_data_check_suggestions(const rt_data_check *c, rt_text *out) {
    rt_text_puts(out, "suggested: ");
    if (c->suggested_max_length) rt_text_printf(out, "data.max_length = %d, ", c->suggested_max_length);
    rt_text_printf(out, "train.batch_size = %d", c->suggested_batch_size);
    if (c->suggested_keep < 1)
        rt_text_printf(out, "; clicks are rare: data.negative_keep = %.2g, or train.class_weights = balanced",
                       c->suggested_keep);
    rt_text_puts(out, "\n");
}

void rt_data_against_text(const rt_data_against *a, uint64_t rows, rt_text *out) {
    rt_text_printf(out, "shared: %llu of %llu rows (same texts)", (unsigned long long)a->shared.rows,
                   (unsigned long long)rows);
    if (a->shared.has_items) rt_text_printf(out, ", %llu items", (unsigned long long)a->shared.items);
    if (a->shared.has_users) rt_text_printf(out, ", %llu users", (unsigned long long)a->shared.users);
    rt_text_puts(out, "\n");
    if (a->has_times && a->overlaps)
        rt_text_printf(out, "times overlap: %llu of %llu rows are not newer than the newest training row\n",
                       (unsigned long long)a->not_newer, (unsigned long long)rows);
    else if (a->has_times)
        rt_text_puts(out, "times do not overlap: every row is newer than the training rows\n");
}

void rt_data_check_json(const rt_data_check *c, const char *unit, rt_text *out) {
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {{"rows", c->rows},
                  {"clicks", c->clicks},
                  {"bad_rows", c->bad_rows},
                  {"empty_texts", c->empty_texts},
                  {"duplicates", c->duplicates},
                  {"contradictory_pairs", c->contradictory_pairs},
                  {"contradictory_rows", c->contradictory_rows},
                  {"groups", c->groups},
                  {"groups_one_class", c->one_class_groups}};
    rt_text_puts(out, "{");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        rt_text_printf(out, "\"%s\": %llu, ", counts[i].key, (unsigned long long)counts[i].value);
    rt_text_puts(out, "\"click_rate\": ");
    rt_text_double(out, rate(c->clicks, c->rows));
    rt_text_printf(out, ", \"lengths\": {\"unit\": \"%s\", \"mean\": ", unit);
    rt_text_double(out, c->mean_len);
    rt_text_printf(out,
                   ", \"p50\": %d, \"p95\": %d, \"p99\": %d, \"max\": %d, \"max_length\": %d, \"truncated\": %llu}",
                   c->p50, c->p95, c->p99, c->max_len, c->max_length, (unsigned long long)c->cut);
    rt_text_puts(out, ", \"times\": ");
    if (c->has_times && c->first <= c->last) {
        rt_text_puts(out, "{\"first\": \"");
        put_time(c, c->first, out);
        rt_text_puts(out, "\", \"last\": \"");
        put_time(c, c->last, out);
        rt_text_printf(out, "\", \"rows_without\": %llu}", (unsigned long long)c->without_time);
    } else {
        rt_text_puts(out, "null");
    }
    rt_text_puts(out, ", \"slices\": {");
    for (uint32_t i = 0; i < c->n_slices; i++) {
        const rt_check_slice *s = &c->by_slice[i];
        if (i) rt_text_puts(out, ", ");
        rt_text_json_string(out, s->name, strlen(s->name));
        rt_text_printf(out, ": {\"rows\": %llu, \"click_rate\": ", (unsigned long long)s->rows);
        rt_text_double(out, rate(s->clicks, s->rows));
        rt_text_puts(out, "}");
    }
    rt_text_puts(out, "}, \"suggested\": {\"data.max_length\": ");
    if (c->suggested_max_length)
        rt_text_printf(out, "%d", c->suggested_max_length);
    else
        rt_text_puts(out, "null");
    rt_text_printf(out, ", \"train.batch_size\": %d, \"data.negative_keep\": ", c->suggested_batch_size);
    rt_text_double(out, c->suggested_keep);
    rt_text_printf(out, ", \"train.class_weights\": \"%s\"}}", c->suggested_keep < 1 ? "balanced" : "none");
}

void rt_data_against_json(const rt_data_against *a, rt_text *out) {
    rt_text_printf(out, "{\"rows\": %llu", (unsigned long long)a->shared.rows);
    if (a->shared.has_items) rt_text_printf(out, ", \"items\": %llu", (unsigned long long)a->shared.items);
    if (a->shared.has_users) rt_text_printf(out, ", \"users\": %llu", (unsigned long long)a->shared.users);
    if (a->has_times)
        rt_text_printf(out, ", \"times_overlap\": %s, \"rows_not_newer\": %llu", a->overlaps ? "true" : "false",
                       (unsigned long long)a->not_newer);
    rt_text_puts(out, "}");
}
