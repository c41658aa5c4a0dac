/* The lists as TSV or JSON lines: user, rank, item, score, what each part said, and why. */
#include "../base/file.h"
#include "../track/track.h"
#include "recommend_parts.h"
#include "signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLUSH = 1 << 16 };

typedef struct {
    rt_rec *rec;
    rt_rec_window window;
    uint32_t *chosen; /* [top] */
    bool jsonl, to_stdout;
    rt_atomic file;
    rt_text out, reason;
    uint64_t users, short_lists, popular_only, rows;
} writer;

static rt_status flush(writer *w, size_t at_least) {
    RT_TRY(rt_text_status(&w->out));
    if (w->out.size < at_least || !w->out.size) return RT_OK;
    RT_TRY(w->to_stdout ? rt_cli_write(w->out.data, w->out.size) : rt_atomic_write(&w->file, w->out.data, w->out.size));
    rt_text_clear(&w->out);
    return RT_OK;
}

/* A cell cannot hold a tab or a line break: they become blanks. */
static void cell(rt_text *out, const char *bytes, size_t size) {
    size_t start = out->size;
    if (size) rt_text_append(out, bytes, size);
    for (size_t i = start; !out->failed && i < out->size; i++)
        if (out->data[i] == '\t' || out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' ';
}

/* The part that gave most to the score; of equals the first. */
static int main_part(const rt_fused *f) {
    int best = -1;
    for (int p = 0; p < RT_PARTS; p++)
        if (!isnan(f->parts[p]) && (best < 0 || f->given[p] > f->given[best])) best = p;
    return best;
}

static uint32_t place_in(const rt_item_score *list, uint32_t n, uint32_t item) {
    uint32_t i = 0;
    while (i < n && list[i].item != item) i++;
    return i;
}

static void put_title(writer *w, uint32_t item) {
    const rt_rec *rec = w->rec;
    size_t size;
    const char *title = rt_catalogue_text(&rec->items, RT_CATALOGUE_TEXTS, item, &size);
    if (!size) title = rt_ids_get(rec->items.ids, item, &size);
    rt_text_append(&w->reason, title, size);
}

static void make_reason(writer *w, uint32_t i, const rt_fused *f) {
    const rt_rec *rec = w->rec;
    const rt_rec_user *u = &w->window.users[i];
    int part = main_part(f);
    rt_text_clear(&w->reason);
    switch (part) {
    case RT_PART_TEXT:
    case RT_PART_RANKER:
        rt_text_puts(&w->reason, u->from_log[part == RT_PART_TEXT ? RT_ROLE_RETRIEVER : RT_ROLE_RANKER]
                                     ? "matches your history"
                                     : "matches your query");
        break;
    case RT_PART_COLLABORATIVE: {
        uint32_t at = place_in(rt_rec_list(rec, &w->window, i, part), u->n[part], f->item);
        rt_text_puts(&w->reason, "like ");
        put_title(w, w->window.because[(size_t)i * rec->candidates + at]);
        break;
    }
    default: {
        uint32_t at = place_in(rt_rec_list(rec, &w->window, i, RT_PART_POPULARITY), u->n[RT_PART_POPULARITY], f->item);
        size_t size = 0;
        rt_text_puts(&w->reason, "popular");
        if (at >= u->of_slice) break;
        const char *slice = rt_ids_get(rec->slices, u->slice, &size);
        rt_text_puts(&w->reason, " in ");
        rt_text_append(&w->reason, slice, size);
    }
    }
}

static void put_tsv(writer *w, uint32_t i, uint32_t rank, const rt_fused *f) {
    const rt_rec *rec = w->rec;
    const rt_rec_user *u = &w->window.users[i];
    rt_text *o = &w->out;
    size_t size;
    const char *item = rt_ids_get(rec->items.ids, f->item, &size);
    cell(o, w->window.bytes.data + u->id, u->id_size);
    rt_text_printf(o, "\t%u\t", rank);
    cell(o, item, size);
    rt_text_puts(o, "\t");
    rt_text_float(o, (float)f->score);
    for (int p = 0; p < RT_PARTS; p++) {
        rt_text_puts(o, "\t");
        if (!isnan(f->parts[p])) rt_text_float(o, (float)f->parts[p]);
    }
    rt_text_puts(o, "\t");
    cell(o, w->reason.data, w->reason.size);
    rt_text_puts(o, "\n");
}

static void put_jsonl(writer *w, uint32_t i, uint32_t rank, const rt_fused *f) {
    const rt_rec *rec = w->rec;
    const rt_rec_user *u = &w->window.users[i];
    rt_text *o = &w->out;
    size_t size;
    const char *item = rt_ids_get(rec->items.ids, f->item, &size);
    rt_text_puts(o, "{\"user\": ");
    rt_text_json_string(o, w->window.bytes.data + u->id, u->id_size);
    rt_text_printf(o, ", \"rank\": %u, \"item\": ", rank);
    rt_text_json_string(o, item, size);
    rt_text_puts(o, ", \"score\": ");
    rt_text_float(o, (float)f->score);
    for (int p = 0; p < RT_PARTS; p++) {
        rt_text_printf(o, ", \"%s\": ", rt_part_names[p]);
        if (isnan(f->parts[p]))
            rt_text_puts(o, "null");
        else
            rt_text_float(o, (float)f->parts[p]);
    }
    rt_text_puts(o, ", \"reason\": ");
    rt_text_json_string(o, w->reason.data ? w->reason.data : "", w->reason.size);
    rt_text_puts(o, "}\n");
}

static rt_status put_user(writer *w, uint32_t i) {
    rt_rec *rec = w->rec;
    const rt_fused *fused;
    const rt_rec_user *u = &w->window.users[i];
    uint32_t n;
    RT_TRY(rt_rec_choose(rec, &w->window, i, &rec->recipe, &fused, w->chosen, &n));
    w->users++;
    w->short_lists += n < rec->top;
    w->popular_only += !u->n[RT_PART_TEXT] && !u->n[RT_PART_COLLABORATIVE] && !u->n[RT_PART_RANKER];
    w->rows += n;
    for (uint32_t r = 0; r < n; r++) {
        const rt_fused *f = &fused[w->chosen[r]];
        make_reason(w, i, f);
        RT_TRY(rt_text_status(&w->reason));
        if (w->jsonl)
            put_jsonl(w, i, r + 1, f);
        else
            put_tsv(w, i, r + 1, f);
    }
    return flush(w, FLUSH);
}

static void tell(const writer *w, uint64_t bad_rows) {
    const rt_rec *rec = w->rec;
    rt_log *log = rec->cli->log;
    if (bad_rows)
        rt_warn(log, "%s: %llu bad rows were skipped", rec->cli->recommend.users, (unsigned long long)bad_rows);
    rt_info(log, "%llu users, %llu rows%s", (unsigned long long)w->users, (unsigned long long)w->rows,
            w->users ? "" : ": nobody to recommend to");
    if (w->popular_only)
        rt_info(log, "%llu users of whom nothing is known got what is popular", (unsigned long long)w->popular_only);
    if (w->short_lists)
        rt_info(log, "%llu lists are shorter than %u: rules, what was seen and --candidates left no more",
                (unsigned long long)w->short_lists, rec->top);
    for (int i = 0; rec->rules && i < rec->rules->n; i++) {
        const rt_rule *rule = &rec->rules->rules[i];
        rt_info(log, "%s:%d: %s: %llu %s", rec->rules->path, rule->line, rule->text, (unsigned long long)rule->effect,
                rule->kind == RT_RULE_AT_MOST ? "candidates passed over" : "items left out");
    }
}

static rt_status write_all(writer *w, rt_rec_users *users) {
    rt_rec *rec = w->rec;
    if (!w->jsonl) rt_text_puts(&w->out, "user\trank\titem\tscore\ttext\tranker\tcollaborative\tpopularity\treason\n");
    for (;;) {
        RT_TRY(rt_rec_users_next(users, &w->window));
        if (!w->window.n) break;
        RT_TRY(rt_rec_score(rec, &w->window, &rec->recipe, 1));
        for (uint32_t i = 0; i < w->window.n; i++) RT_TRY(put_user(w, i));
        rt_live_rows(&rec->live, "lists for", w->users);
    }
    RT_TRY(flush(w, 1));
    rt_progress_line_end(rec->live.line);
    return w->to_stdout ? rt_cli_flush() : rt_atomic_commit(&w->file);
}

rt_status rt_rec_write(rt_rec *rec) {
    rt_status rc;
    rt_rec_users *users = NULL;
    const rt_cli *cli = rec->cli;
    writer w = {.rec = rec, .to_stdout = !cli->output || !strcmp(cli->output, "-")};
    w.jsonl = cli->format && !strcmp(cli->format, "jsonl");
    if (w.to_stdout && cli->terminal && isatty(STDOUT_FILENO)) rec->live.line = NULL;
    rt_rec_phase(rec, "lists for", "users");
    RT_GO(rt_rec_window_new(rec, &w.window));
    w.chosen = malloc(rec->top * sizeof *w.chosen);
    if (!w.chosen) RT_GO(rt_fail(RT_ENOMEM, "out of memory for lists"));
    RT_GO(rt_rec_users_open(rec, NULL, 0, &users));
    if (!w.to_stdout) RT_GO(rt_atomic_begin(&w.file, cli->output));
    RT_GO(write_all(&w, users));
    tell(&w, rt_rec_users_bad_rows(users));
done:
    rt_atomic_abort(&w.file);
    rt_rec_users_close(users);
    rt_rec_window_free(&w.window);
    free(w.chosen);
    rt_text_free(&w.out);
    rt_text_free(&w.reason);
    return rc;
}
