/* rectrain search: for each query the nearest items of a file of vectors, exactly. Items stream through the search, and
 * queries come a window at a time, so both may be larger than memory. */
#include "../base/clock.h"
#include "../base/file.h"
#include "../track/track.h"
#include "search.h"
#include "signals.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TOP = 20,
    WINDOW_QUERIES = 16384,
    WINDOW_BYTES = 32 << 20, /* of a window's queries, and again of its hits: fewer queries where these are large */
};

typedef struct {
    rt_setup *setup;
    rt_vectors *index;
    rt_queries queries;
    rt_search_filter filter;
    bool cosine, unit_items, jsonl, to_stdout;
    uint32_t k, window, n_items;
    float *window_rows, *items;
    rt_hit *hits;
    double searching; /* seconds */
    uint64_t pairs;   /* looked at */
    uint32_t without; /* queries that got nothing */
    rt_live live;
    rt_atomic file;
    rt_text out;
} rt_search;

/* Takes the text away. */
static rt_status write_text(rt_search *s, rt_text *text) {
    RT_TRY(rt_text_status(text));
    if (text->size)
        RT_TRY(s->to_stdout ? rt_cli_write(text->data, text->size) : rt_atomic_write(&s->file, text->data, text->size));
    rt_text_clear(text);
    return RT_OK;
}

/* A TSV cell cannot hold a tab or a line break: they become blanks. */
static void put_id(bool jsonl, const char *id, size_t size, rt_text *out) {
    if (jsonl) {
        rt_text_json_string(out, id, size);
        return;
    }
    const size_t start = out->size;
    rt_text_append(out, id, size);
    for (size_t i = start; i < out->size; i++)
        if (out->data[i] == '\t' || out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' ';
}

static void put_hit(const rt_search *s, uint32_t query, uint32_t rank, const rt_hit *hit, rt_text *out) {
    size_t size;
    const char *id = rt_queries_id(&s->queries, query, &size);
    if (s->jsonl) rt_text_puts(out, "{\"query\": ");
    put_id(s->jsonl, id, size, out);
    rt_text_printf(out, s->jsonl ? ", \"rank\": %u, \"item\": " : "\t%u\t", rank);
    id = rt_vectors_id(s->index, hit->item, &size);
    put_id(s->jsonl, id, size, out);
    rt_text_puts(out, s->jsonl ? ", \"score\": " : "\t");
    rt_text_float(out, hit->score);
    rt_text_puts(out, s->jsonl ? "}\n" : "\n");
}

/* Queries first + from .. first + to - 1 of the window that begins with `first`. */
static void put_queries(const rt_search *s, uint32_t first, uint32_t from, uint32_t to, rt_text *out) {
    for (uint32_t q = from; q < to; q++) {
        const rt_hit *hits = s->hits + (size_t)q * s->k;
        for (uint32_t i = 0; i < s->k && hits[i].item != RT_NO_HIT; i++) put_hit(s, first + q, i + 1, &hits[i], out);
    }
}

/* Scores take longer to print than to compute, so all threads print. */
static rt_status write_window(rt_search *s, uint32_t first, uint32_t n) {
    enum { PARTS = 16, LINES = 4096 };
    rt_status rc = RT_OK;
    rt_text texts[PARTS] = {0};
    const uint32_t part = LINES / s->k + 1;
    for (uint32_t q = 0; q < n; q += PARTS * part) {
#pragma omp parallel for schedule(dynamic, 1)
        for (uint32_t p = 0; p < PARTS; p++) {
            const uint32_t from = q + p * part, to = from + part;
            put_queries(s, first, from < n ? from : n, to < n ? to : n, &texts[p]);
        }
        for (uint32_t p = 0; p < PARTS; p++) RT_GO(write_text(s, &texts[p]));
    }
    for (uint32_t q = 0; q < n; q++) s->without += s->hits[(size_t)q * s->k].item == RT_NO_HIT;
done:
    for (int p = 0; p < PARTS; p++) rt_text_free(&texts[p]);
    return rc;
}

/* By all threads; an error is looked for again by this one, for its words stay with the thread that met it. */
static rt_status read_items(const rt_search *s, uint32_t first, uint32_t n) {
    enum { PART = 1024 };
    const uint32_t parts = (n + PART - 1) / PART;
    const size_t width = (size_t)s->queries.width;
    int failed = 0;
#pragma omp parallel for schedule(static) reduction(| : failed)
    for (uint32_t p = 0; p < parts; p++) {
        const uint32_t from = p * PART, rows = n - from < PART ? n - from : PART;
        failed |= rt_vectors_read(s->index, first + from, rows, s->items + from * width) != RT_OK;
    }
    if (failed) RT_TRY(rt_vectors_read(s->index, first, n, s->items));
    if (s->cosine && !s->unit_items) rt_unit_rows(s->items, n, s->queries.width);
    return RT_OK;
}

static void show(rt_search *s, uint32_t window, uint32_t items) {
    rt_text text = {0};
    const double all = (double)s->queries.n * s->n_items;
    const double done = (double)window * s->n_items + (double)items * s->window;
    rt_text_printf(&text, "searching %s ", s->setup->cli->index);
    rt_progress_bar(all > 0 ? (done < all ? done / all : 1) : 1, 20, &text);
    rt_text_printf(&text, " %u of %u queries", window, s->queries.n);
    if (rt_text_status(&text) == RT_OK) rt_progress_line_update(s->live.line, text.data);
    rt_text_free(&text);
}

static rt_status search_window(rt_search *s, uint32_t first, uint32_t n) {
    rt_status rc;
    rt_topk *topk = NULL;
    const rt_topk_filter filter = rt_search_filter_at(&s->filter, first);
    const double started = rt_clock_seconds();
    RT_GO(rt_queries_read(&s->queries, first, n, s->cosine, s->window_rows));
    RT_GO(rt_topk_new(&(rt_topk_options){.be = s->setup->be,
                                         .sets_workspace = true,
                                         .width = s->queries.width,
                                         .k = (int)s->k,
                                         .n_queries = n,
                                         .queries = s->window_rows,
                                         .filter = s->filter.any ? &filter : NULL},
                      &topk));
    const uint32_t rows = rt_topk_rows(topk);
    if (!s->items) {
        s->items =
            malloc((size_t)(rows < s->n_items ? rows : s->n_items) * (size_t)s->queries.width * sizeof *s->items);
        if (!s->items) RT_GO(rt_fail(RT_ENOMEM, "out of memory for a block of %u items", rows));
    }
    for (uint32_t at = 0; at < s->n_items;) {
        const uint32_t some = s->n_items - at < rows ? s->n_items - at : rows;
        show(s, first, at);
        if (rt_signals_stop())
            RT_GO(rt_fail(RT_ESTOPPED, "stopped by %s after %u of %u queries", rt_signals_name(), first, s->queries.n));
        RT_GO(read_items(s, at, some));
        RT_GO(rt_topk_add(topk, s->items, at, some));
        at += some;
    }
    RT_GO(rt_topk_finish(topk, s->hits));
    s->searching += rt_clock_seconds() - started;
done:
    rt_topk_free(topk);
    return rc;
}

static rt_status search(rt_search *s) {
    if (!s->jsonl) rt_text_puts(&s->out, "query\trank\titem\tscore\n");
    RT_TRY(write_text(s, &s->out));
    for (uint32_t q = 0; q < s->queries.n; q += s->window) {
        const uint32_t n = s->queries.n - q < s->window ? s->queries.n - q : s->window;
        RT_TRY(search_window(s, q, n));
        RT_TRY(write_window(s, q, n));
    }
    rt_progress_line_end(s->live.line);
    return s->to_stdout ? rt_cli_flush() : rt_atomic_commit(&s->file);
}

static void report(const rt_search *s) {
    rt_log *log = s->setup->cli->log;
    char took[32];
    rt_duration_text(s->searching, took);
    rt_info(log, "%u queries x %u items of %d numbers, by %s: %s, %.0f queries a second", s->queries.n, s->n_items,
            s->queries.width, s->cosine ? "cosine" : "dot product", took,
            s->searching > 0 ? s->queries.n / s->searching : 0.0);
    if (s->without)
        rt_warn(log,
                "%u of %u queries got no item: nothing is left for them that --seen, --allow and --categories let "
                "through",
                s->without, s->queries.n);
}

/* As --set would say it, and stronger than one that was said. */
static rt_status take_precision(rt_cli *cli) {
    static const char *const settings[] = {"run.precision=fp32", "run.precision=bf16"};
    if (!cli->precision) return RT_OK;
    const bool bf16 = strcmp(cli->precision, "bf16") == 0;
    if (!bf16 && strcmp(cli->precision, "fp32") != 0)
        return rt_fail(RT_EUSAGE, "--precision %s: expected fp32 or bf16", cli->precision);
    const char **grown = realloc(cli->sets, ((size_t)cli->n_sets + 1) * sizeof *grown);
    if (!grown) return rt_fail(RT_ENOMEM, "--precision: out of memory");
    cli->sets = grown;
    cli->sets[cli->n_sets++] = settings[bf16];
    return RT_OK;
}

/* What can be said before anything is read. */
static rt_status check_flags(rt_search *s) {
    rt_cli *cli = s->setup->cli;
    const char *f = cli->format ? cli->format : "tsv", *by = cli->similarity ? cli->similarity : "cosine";
    s->jsonl = strcmp(f, "jsonl") == 0;
    if (!s->jsonl && strcmp(f, "tsv") != 0) return rt_fail(RT_EUSAGE, "--format %s: expected tsv or jsonl", f);
    s->cosine = strcmp(by, "cosine") == 0;
    if (!s->cosine && strcmp(by, "dot") != 0) return rt_fail(RT_EUSAGE, "--similarity %s: expected cosine or dot", by);
    if (!cli->categories != !cli->query_categories)
        return rt_fail(RT_EUSAGE, "%s: --categories (of the items) and --query-categories go together",
                       cli->categories ? "--categories" : "--query-categories");
    s->k = cli->top > 0 ? (uint32_t)cli->top : TOP;
    return take_precision(cli);
}

static rt_status open_files(rt_search *s, rt_config **cfg) {
    const rt_cli *cli = s->setup->cli;
    RT_TRY(rt_vectors_open(cli->index, &s->index));
    RT_TRY(rt_queries_open(s->setup, cfg, &s->live, &s->queries));
    s->n_items = rt_vectors_count(s->index);
    s->unit_items = rt_vectors_are_unit(s->index);
    if (s->queries.width != rt_vectors_width(s->index))
        return rt_fail(RT_EDATA,
                       "%s has vectors of %d numbers and %s of %d: the same model must have made both, with the same "
                       "--dimensions",
                       cli->index, rt_vectors_width(s->index), cli->queries, s->queries.width);
    return rt_search_filter_read(s->setup->cli, s->index, &s->queries, &s->filter);
}

static rt_status take_memory(rt_search *s) {
    const uint64_t row = (uint64_t)s->queries.width * sizeof(float), hits = (uint64_t)s->k * sizeof(rt_hit);
    uint64_t window = WINDOW_BYTES / (row > hits ? row : hits);
    if (window > WINDOW_QUERIES) window = WINDOW_QUERIES;
    if (window > s->queries.n) window = s->queries.n;
    s->window = window ? (uint32_t)window : 1;
    s->window_rows = malloc(s->window * row);
    s->hits = malloc(s->window * hits);
    return s->window_rows && s->hits ? RT_OK : rt_fail(RT_ENOMEM, "out of memory for %u queries", s->window);
}

static void close_search(rt_search *s) {
    rt_atomic_abort(&s->file);
    rt_queries_close(&s->queries);
    rt_vectors_close(s->index);
    rt_search_filter_free(&s->filter);
    free(s->window_rows);
    free(s->items);
    free(s->hits);
    rt_text_free(&s->out);
}

rt_status rt_cmd_search(rt_cli *cli) {
    rt_status rc;
    rt_setup setup = {.cli = cli};
    rt_config *cfg = NULL;
    rt_search s = {.setup = &setup, .to_stdout = !cli->output || strcmp(cli->output, "-") == 0};
    rt_signals_install(false);
    s.live = rt_live_begin(cli, cli->queries);
    if (s.to_stdout && cli->terminal && isatty(STDOUT_FILENO)) s.live.line = NULL;
    RT_GO(check_flags(&s));
    RT_GO(open_files(&s, &cfg));
    RT_GO(take_memory(&s));
    if (!s.to_stdout) RT_GO(rt_atomic_begin(&s.file, cli->output));
    RT_GO(search(&s));
    report(&s);
done:
    rt_progress_line_end(s.live.line);
    close_search(&s);
    rt_setup_close(&setup);
    rt_config_free(cfg);
    return rc;
}
