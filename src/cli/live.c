#include "live.h"
#include "../base/clock.h"
#include "../base/text.h"
#include "../track/track.h"
#include "signals.h"

rt_live rt_live_begin(rt_cli *cli, const char *what) {
    return (rt_live){cli->line, what, rt_clock_seconds()};
}

static void show(rt_live *live, rt_text *text) {
    if (rt_text_status(text) == RT_OK && text->data) rt_progress_line_update(live->line, text->data);
    rt_text_free(text);
}

bool rt_live_tokenising(void *context, uint64_t done, uint64_t all, uint64_t rows) {
    rt_live *live = context;
    rt_text text = {0};
    double seconds = rt_clock_seconds() - live->started;
    rt_text_printf(&text, "tokenising %s ", live->what);
    rt_progress_bar(all ? (double)done / (double)all : 1.0, 20, &text);
    rt_text_printf(&text, " %llu rows, %.0f MB/s", (unsigned long long)rows,
                   seconds > 0 ? (double)done / seconds / 1e6 : 0.0);
    show(live, &text);
    return rt_signals_stop();
}

void rt_live_evaluating(void *context, uint32_t done, uint32_t all) {
    rt_live *live = context;
    rt_text text = {0};
    rt_text_printf(&text, "evaluating %s ", live->what);
    rt_progress_bar(all ? (double)done / all : 1.0, 20, &text);
    rt_text_printf(&text, " %u/%u batches", done, all);
    show(live, &text);
}

void rt_live_rows(rt_live *live, const char *verb, uint64_t rows) {
    rt_text text = {0};
    double seconds = rt_clock_seconds() - live->started;
    rt_text_printf(&text, "%s %s: %llu rows", verb, live->what, (unsigned long long)rows);
    if (seconds > 0 && rows) rt_text_printf(&text, ", %.0f a second", (double)rows / seconds);
    show(live, &text);
}
