/* rectrain predict: scores for the rows of a table, in their order, as TSV or JSON lines. Rows are read, scored and
 * written a window at a time, so the table may be larger than memory; where it has data.group's column, lines wait for
 * their rank among the rows of their group. */
#include "../api/scorer.h"
#include "../base/digest.h"
#include "../base/file.h"
#include "../data/template.h"
#include "../eval/metrics.h"
#include "../eval/predictor.h"
#include "../track/track.h"
#include "live.h"
#include "predict_rank.h"
#include "setup.h"
#include "signals.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW_ROWS = RT_SCORER_WINDOW }; /* librectrain cuts the same, so its bits are the same */

typedef struct {
    rt_setup *setup;
    rt_table *table;
    rt_template *text_a, *text_b; /* text_b NULL: single texts */
    rt_text scratch_a, scratch_b;
    int *keep; /* columns of data.keep that the file has */
    const char **keep_names;
    int n_keep;
    rt_text kept;      /* their values, one after the other */
    size_t *kept_ends; /* [WINDOW_ROWS * n_keep] */
    int group;         /* column; -1: none, no rank */
    uint64_t *groups;  /* [WINDOW_ROWS] hashes */
    rt_ranks *ranks;
    char *folder; /* of its temporary files */
    rt_predictor *predictor;
    double *scores;
    int32_t *predictions;
    uint64_t row; /* of the next line of output */
    bool jsonl;
    bool to_stdout;
    rt_live live; /* its line is NULL where the rows themselves go to the terminal */
    rt_atomic file;
    rt_text out;
} rt_predict;

static void warn_left_out(const rt_predict *p, const char *name) {
    const char *meant = NULL;
    int n = rt_table_columns(p->table);
    const char **names = calloc((size_t)n + 1, sizeof *names);
    for (int c = 0; names && c < n; c++) names[c] = rt_table_column_name(p->table, c);
    if (names) meant = rt_did_you_mean(name, names, n);
    rt_warn(p->setup->cli->log, "%s: no column \"%s\" (data.keep); it is left out%s%s%s", p->setup->cli->data, name,
            meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    free(names);
}

static rt_status open_table(rt_predict *p) {
    const rt_config *cfg = p->setup->cfg;
    rt_data_spec spec = rt_setup_spec(p->setup, NULL, 0, false, NULL);
    RT_TRY(rt_table_open(p->setup->cli->data, spec.format, spec.quoting, &p->table));
    RT_TRY(rt_template_parse(cfg->data.text_a, "data.text_a", &p->text_a));
    RT_TRY(rt_template_bind(p->text_a, p->table));
    if (cfg->data.text_b) {
        RT_TRY(rt_template_parse(cfg->data.text_b, "data.text_b", &p->text_b));
        RT_TRY(rt_template_bind(p->text_b, p->table));
    }
    p->keep = calloc((size_t)cfg->data.keep.n + 1, sizeof *p->keep);
    p->keep_names = calloc((size_t)cfg->data.keep.n + 1, sizeof *p->keep_names);
    p->kept_ends = calloc((size_t)WINDOW_ROWS * (size_t)(cfg->data.keep.n + 1), sizeof *p->kept_ends);
    if (!p->keep || !p->keep_names || !p->kept_ends) return rt_fail(RT_ENOMEM, "out of memory for data.keep");
    for (int i = 0; i < cfg->data.keep.n; i++) {
        int column = rt_table_find(p->table, cfg->data.keep.items[i]);
        if (column < 0) {
            warn_left_out(p, cfg->data.keep.items[i]);
            continue;
        }
        p->keep[p->n_keep] = column;
        p->keep_names[p->n_keep++] = cfg->data.keep.items[i];
    }
    return RT_OK;
}

/* Temporary files lie beside the output, where there is room for it. */
static rt_status open_ranks(rt_predict *p) {
    const char *group = p->setup->cfg->data.group, *folder = getenv("TMPDIR");
    p->group = group ? rt_table_find(p->table, group) : -1;
    if (p->group < 0) return RT_OK;
    p->groups = calloc(WINDOW_ROWS, sizeof *p->groups);
    if (!p->groups) return rt_fail(RT_ENOMEM, "out of memory to rank");
    if (!folder || !*folder) folder = "/tmp";
    bool beside = !p->to_stdout && !p->file.direct; /* /dev is no place for files */
    const char *slash = beside ? strrchr(p->setup->cli->output, '/') : NULL;
    size_t length = slash ? (size_t)(slash - p->setup->cli->output) : 0;
    p->folder = !beside  ? rt_strdup(folder)
                : !slash ? rt_strdup(".")
                         : rt_strndup(p->setup->cli->output, length ? length : 1);
    if (!p->folder) return rt_fail(RT_ENOMEM, "out of memory to rank");
    return rt_ranks_new(p->folder, &p->ranks);
}

static void header(rt_predict *p) {
    const rt_setup *s = p->setup;
    if (p->jsonl) return;
    rt_text_puts(&p->out, s->n_labels == 1 ? "row\tscore" : "row\tprediction");
    for (int k = 0; s->n_labels > 1 && k < s->n_labels; k++) rt_text_printf(&p->out, "\tp_%s", s->labels[k]);
    if (s->cli->logits && s->n_labels == 1) rt_text_puts(&p->out, "\tlogit");
    for (int k = 0; s->cli->logits && s->n_labels > 1 && k < s->n_labels; k++)
        rt_text_printf(&p->out, "\tlogit_%s", s->labels[k]);
    for (int i = 0; i < p->n_keep; i++) rt_text_printf(&p->out, "\t%s", p->keep_names[i]);
    rt_text_puts(&p->out, p->ranks ? "\trank\n" : "\n");
}

/* A float value under a key: the separator and key of either format. */
static void cell(rt_predict *p, const char *prefix, const char *name, float value) {
    if (p->jsonl) {
        rt_text key = {0};
        rt_text_printf(&key, "%s%s", prefix, name);
        rt_text_puts(&p->out, ", ");
        rt_text_json_string(&p->out, key.data, key.size);
        rt_text_puts(&p->out, ": ");
        rt_text_free(&key);
    } else {
        rt_text_puts(&p->out, "\t");
    }
    if (p->jsonl && !isfinite(value))
        rt_text_puts(&p->out, "null");
    else
        rt_text_float(&p->out, value);
}

/* Kept values go out as they came in, except that a TSV cell cannot hold a tab or a line break: they become spaces. */
static void kept_cell(rt_predict *p, int i, const char *bytes, size_t size) {
    if (p->jsonl) {
        rt_text_puts(&p->out, ", ");
        rt_text_json_string(&p->out, p->keep_names[i], strlen(p->keep_names[i]));
        rt_text_puts(&p->out, ": ");
        rt_text_json_string(&p->out, bytes, size);
        return;
    }
    rt_text_puts(&p->out, "\t");
    size_t start = p->out.size;
    rt_text_append(&p->out, bytes, size);
    for (size_t j = start; j < p->out.size; j++)
        if (p->out.data[j] == '\t' || p->out.data[j] == '\n' || p->out.data[j] == '\r') p->out.data[j] = ' ';
}

static void line(rt_predict *p, uint32_t i, const float *logits) {
    const rt_setup *s = p->setup;
    float probs[RT_MAX_LABELS];
    rt_text_printf(&p->out, p->jsonl ? "{\"row\": %llu" : "%llu", (unsigned long long)p->row++);
    if (s->n_labels == 1) {
        cell(p, "score", "", (float)p->scores[i]);
        if (s->cli->logits) cell(p, "logit", "", logits[0]);
    } else {
        const char *name = s->labels[p->predictions[i]];
        rt_text_puts(&p->out, p->jsonl ? ", \"prediction\": " : "\t");
        if (p->jsonl)
            rt_text_json_string(&p->out, name, strlen(name));
        else
            rt_text_puts(&p->out, name);
        rt_scorer_probabilities(logits, s->n_labels, probs);
        for (int k = 0; k < s->n_labels; k++) cell(p, "p_", s->labels[k], probs[k]);
        for (int k = 0; s->cli->logits && k < s->n_labels; k++) cell(p, "logit_", s->labels[k], logits[k]);
    }
    for (int j = 0; j < p->n_keep; j++) {
        size_t at = (size_t)i * (size_t)p->n_keep + (size_t)j, from = at ? p->kept_ends[at - 1] : 0;
        kept_cell(p, j, p->kept.data ? p->kept.data + from : "", p->kept_ends[at] - from);
    }
    if (!p->ranks) rt_text_puts(&p->out, p->jsonl ? "}\n" : "\n");
}

static rt_status flush(rt_predict *p) {
    RT_TRY(rt_text_status(&p->out));
    if (p->out.size)
        RT_TRY(p->to_stdout ? rt_cli_write(p->out.data, p->out.size)
                            : rt_atomic_write(&p->file, p->out.data, p->out.size));
    rt_text_clear(&p->out);
    return RT_OK;
}

static rt_status score_window(rt_predict *p) {
    const float *logits = NULL;
    rt_setup *s = p->setup;
    uint32_t n = rt_predictor_rows(p->predictor);
    if (!n) return RT_OK;
    RT_TRY(rt_text_status(&p->kept));
    RT_TRY(rt_predictor_run(p->predictor, &logits));
    rt_scored scored = {.n_rows = n, .n_labels = s->n_labels, .logits = logits, .threshold = s->cfg->eval.threshold};
    rt_scores(&scored, p->scores, p->predictions);
    for (uint32_t i = 0; i < n; i++) {
        line(p, i, logits + (size_t)i * (size_t)s->n_labels);
        if (!p->ranks) continue;
        RT_TRY(rt_text_status(&p->out));
        RT_TRY(rt_ranks_add(p->ranks, p->groups[i], p->scores[i], p->out.data, p->out.size));
        rt_text_clear(&p->out);
    }
    rt_text_clear(&p->kept);
    return flush(p);
}

static rt_status write_ranked(rt_predict *p) {
    RT_TRY(rt_ranks_finish(p->ranks));
    for (;;) {
        const char *text;
        size_t size;
        uint64_t rank;
        RT_TRY(rt_ranks_next(p->ranks, &text, &size, &rank));
        if (!text) return flush(p);
        rt_text_append(&p->out, text, size);
        rt_text_printf(&p->out, p->jsonl ? ", \"rank\": %llu}\n" : "\t%llu\n", (unsigned long long)rank);
        if (p->out.size > 1 << 16) RT_TRY(flush(p));
        if (rt_signals_stop()) return rt_fail(RT_ESTOPPED, "stopped by %s while ranking", rt_signals_name());
    }
}

static rt_status add_row(rt_predict *p, const rt_field *fields) {
    const char *a, *b = NULL;
    size_t a_size, b_size = 0, row = rt_predictor_rows(p->predictor);
    rt_template_render(p->text_a, fields, &p->scratch_a, &a, &a_size);
    if (p->text_b) rt_template_render(p->text_b, fields, &p->scratch_b, &b, &b_size);
    if (p->text_b && !b) b = "";
    RT_TRY(rt_predictor_add(p->predictor, a ? a : "", a_size, b, b_size));
    if (p->ranks) {
        const rt_field *f = &fields[p->group];
        p->groups[row] = rt_hash64(f->size ? f->bytes : "", f->size);
    }
    for (int j = 0; j < p->n_keep; j++) {
        const rt_field *f = &fields[p->keep[j]];
        if (!f->missing) rt_text_append(&p->kept, f->bytes, f->size);
        p->kept_ends[row * (size_t)p->n_keep + (size_t)j] = p->kept.size;
    }
    return RT_OK;
}

static rt_status stopped(const rt_predict *p) {
    return rt_fail(RT_ESTOPPED, "stopped by %s after %llu rows", rt_signals_name(), (unsigned long long)p->row);
}

static rt_status score_table(rt_predict *p) {
    header(p);
    RT_TRY(flush(p));
    const bool skip = p->setup->cfg->data.on_bad_row == RT_CFG_BAD_SKIP;
    uint64_t bad = 0, line_number;
    for (;;) {
        const rt_field *fields;
        rt_status rc = rt_table_next(p->table, &fields, &line_number);
        if (rt_signals_stop()) return stopped(p); /* after the read, whose end a signal may have been */
        if (rc == RT_EDATA && skip) {
            bad++;
            continue;
        }
        RT_TRY(rc);
        if (!fields) break;
        RT_TRY(add_row(p, fields));
        if (rt_predictor_rows(p->predictor) < WINDOW_ROWS) continue;
        RT_TRY(score_window(p));
        rt_live_rows(&p->live, "scoring", p->row);
    }
    RT_TRY(score_window(p));
    if (p->ranks) RT_TRY(write_ranked(p));
    rt_progress_line_end(p->live.line);
    if (bad)
        rt_warn(p->setup->cli->log, "%s: %llu bad rows were skipped", p->setup->cli->data, (unsigned long long)bad);
    return p->to_stdout ? rt_cli_flush() : rt_atomic_commit(&p->file);
}

static void close_predict(rt_predict *p) {
    rt_atomic_abort(&p->file);
    rt_predictor_free(p->predictor);
    rt_ranks_free(p->ranks);
    free(p->groups);
    free(p->folder);
    rt_template_free(p->text_a);
    rt_template_free(p->text_b);
    rt_table_close(p->table);
    rt_text_free(&p->scratch_a);
    rt_text_free(&p->scratch_b);
    rt_text_free(&p->kept);
    rt_text_free(&p->out);
    free(p->keep);
    free(p->keep_names);
    free(p->kept_ends);
    free(p->scores);
    free(p->predictions);
}

static rt_status format_of(const rt_cli *cli, bool *jsonl) {
    const char *f = cli->format ? cli->format : "tsv";
    *jsonl = strcmp(f, "jsonl") == 0;
    if (*jsonl || strcmp(f, "tsv") == 0) return RT_OK;
    return rt_fail(RT_EUSAGE, "--format %s: expected tsv or jsonl", f);
}

rt_status rt_cmd_predict(rt_cli *cli) {
    rt_status rc = RT_OK;
    rt_setup setup = {.cli = cli};
    rt_config *cfg = NULL;
    rt_predict p = {.setup = &setup, .to_stdout = !cli->output || strcmp(cli->output, "-") == 0};
    const bool from_stdin = !strcmp(cli->data, "-");
    rt_signals_install(false);
    if (from_stdin) rt_signals_end_stdin();
    p.live = rt_live_begin(cli, from_stdin ? "stdin" : cli->data);
    if (p.to_stdout && cli->terminal && isatty(STDOUT_FILENO)) p.live.line = NULL;
    RT_GO(format_of(cli, &p.jsonl));
    rt_progress_line_phase(p.live.line, "loading the weights");
    RT_GO(rt_setup_scoring(&setup, &cfg));
    if (from_stdin) rt_cli_awaits_lines(cli, "rows below a header line");
    RT_GO(open_table(&p));
    RT_GO(rt_setup_predictor(&setup, rt_signals_stop, &p.predictor));
    p.scores = calloc(WINDOW_ROWS, sizeof *p.scores);
    p.predictions = calloc(WINDOW_ROWS, sizeof *p.predictions);
    if (!p.scores || !p.predictions) RT_GO(rt_fail(RT_ENOMEM, "out of memory to predict"));
    if (!p.to_stdout) RT_GO(rt_atomic_begin(&p.file, cli->output));
    RT_GO(open_ranks(&p));
    rt_progress_line_phase(p.live.line, "scoring");
    RT_GO(score_table(&p));
done:
    rt_progress_line_end(p.live.line);
    if (rc != RT_OK && from_stdin && rt_signals_stop()) rc = stopped(&p); /* no header, for the signal came first */
    close_predict(&p);
    rt_setup_close(&setup);
    rt_config_free(cfg);
    return rc;
}
