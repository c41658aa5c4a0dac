/* The proof of an export: both sides score the same rows. */
#include "export_check.h"
#include "../base/file.h"
#include "../data/template.h"
#include "../track/track.h"
#include "setup_embed.h"
#include "signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 20, ROWS_MAX = 65536 };
/* Both sides run the same ops on the same fp32 weights, so they should not differ at all; this is what is promised for
 * other programs that load the folder. */
static const double LIMIT = 2e-5;

typedef struct {
    char *a, *b; /* b NULL: a single text */
    size_t a_size, b_size;
} row;

typedef struct {
    row *rows; /* [n] */
    size_t n;
} row_list;

typedef struct {
    float *logits; /* [n, n_labels]; or vectors, of so many numbers */
    char **labels; /* NULL: vectors */
    int n_labels;
} answers;

static void free_rows(row_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        free(list->rows[i].a);
        free(list->rows[i].b);
    }
    free(list->rows);
}

static void free_answers(answers *a) {
    for (int k = 0; a->labels && k < a->n_labels; k++) free(a->labels[k]);
    free(a->labels);
    free(a->logits);
}

/* --- the rows ----------------------------------------------------------------------------------------------------- */

static rt_status push_row(row_list *list, const char *a, size_t a_size, const char *b, size_t b_size) {
    if ((list->n & (list->n - 1)) == 0) {
        row *grown = realloc(list->rows, (list->n ? 2 * list->n : 1) * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "export --check: out of memory");
        list->rows = grown;
    }
    row *r = &list->rows[list->n++];
    *r = (row){rt_strndup(a ? a : "", a ? a_size : 0), b ? rt_strndup(b, b_size) : NULL, a ? a_size : 0, b_size};
    return r->a && (r->b || !b) ? RT_OK : rt_fail(RT_ENOMEM, "export --check: out of memory");
}

static rt_status read_rows(const rt_setup *s, row_list *list) {
    rt_data_spec spec = rt_setup_spec(s, NULL, 0, false, NULL);
    const rt_config *cfg = s->cfg;
    rt_table *table = NULL;
    rt_template *text_a = NULL, *text_b = NULL;
    rt_text scratch_a = {0}, scratch_b = {0};
    rt_status rc;
    RT_GO(rt_table_open(s->cli->check, spec.format, spec.quoting, &table));
    RT_GO(rt_template_parse(cfg->data.text_a, "data.text_a", &text_a));
    RT_GO(rt_template_bind(text_a, table));
    if (cfg->data.text_b) {
        RT_GO(rt_template_parse(cfg->data.text_b, "data.text_b", &text_b));
        RT_GO(rt_template_bind(text_b, table));
    }
    while (list->n < ROWS_MAX) {
        const rt_field *fields = NULL;
        const char *a = NULL, *b = NULL;
        size_t a_size = 0, b_size = 0;
        uint64_t line = 0;
        rc = rt_table_next(table, &fields, &line);
        if (rc == RT_EDATA && cfg->data.on_bad_row == RT_CFG_BAD_SKIP) continue;
        if (rc != RT_OK || !fields) break;
        rt_template_render(text_a, fields, &scratch_a, &a, &a_size);
        if (text_b) rt_template_render(text_b, fields, &scratch_b, &b, &b_size);
        RT_GO(push_row(list, a, a_size, text_b && !b ? "" : b, b_size));
    }
    if (rc == RT_OK && list->n == 0) rc = rt_fail(RT_EDATA, "%s: no rows below the header", s->cli->check);
done:
    rt_text_free(&scratch_a);
    rt_text_free(&scratch_b);
    rt_template_free(text_a);
    rt_template_free(text_b);
    rt_table_close(table);
    return rc;
}

/* --- both sides --------------------------------------------------------------------------------------------------- */

static rt_status copy_answers(const rt_setup *s, const float *logits, size_t n_rows, answers *out) {
    size_t n = n_rows * (size_t)s->n_labels;
    out->n_labels = s->n_labels;
    out->logits = malloc(n * sizeof *out->logits);
    out->labels = calloc((size_t)s->n_labels, sizeof *out->labels);
    if (!out->logits || !out->labels) return rt_fail(RT_ENOMEM, "export --check: out of memory");
    memcpy(out->logits, logits, n * sizeof *out->logits);
    for (int k = 0; k < s->n_labels; k++) {
        out->labels[k] = rt_strdup(s->labels[k]);
        if (!out->labels[k]) return rt_fail(RT_ENOMEM, "export --check: out of memory");
    }
    return RT_OK;
}

static rt_status score(rt_setup *s, const row_list *rows, answers *out) {
    rt_predictor *predictor = NULL;
    const float *logits = NULL;
    rt_status rc;
    RT_GO(rt_setup_predictor(s, rt_signals_stop, &predictor));
    for (size_t i = 0; i < rows->n; i++) {
        const row *r = &rows->rows[i];
        RT_GO(rt_predictor_add(predictor, r->a, r->a_size, r->b, r->b_size));
    }
    RT_GO(rt_predictor_run(predictor, &logits));
    RT_GO(copy_answers(s, logits, rows->n, out));
done:
    rt_predictor_free(predictor);
    return rc;
}

static rt_status score_checkpoint(rt_cli *cli, row_list *rows, rt_config **cfg, answers *out) {
    rt_setup setup = {.cli = cli};
    rt_status rc = rt_setup_scoring(&setup, cfg);
    if (rc == RT_OK) rc = read_rows(&setup, rows);
    if (rc == RT_OK) rc = score(&setup, rows, out);
    rt_setup_close(&setup);
    return rc;
}

/* The folder knows nothing of our columns; they come from the checkpoint's configuration, all else from the folder. */
static rt_status score_folder(rt_cli *cli, const rt_config *cfg, const row_list *rows, answers *out) {
    rt_setup setup = {.cli = cli, .cfg = cfg};
    rt_status rc = rt_setup_base(&setup, cli->to, false);
    if (rc == RT_OK) rc = rt_setup_backend(&setup);
    if (rc == RT_OK) rc = rt_setup_model(&setup, false, 0, 0, 0);
    if (rc == RT_OK) rc = rt_setup_weights(&setup, false, false);
    if (rc == RT_OK) rc = score(&setup, rows, out);
    rt_setup_close(&setup);
    return rc;
}

static rt_status compare(const rt_cli *cli, const row_list *rows, const answers *a, const answers *b) {
    const char *what = a->labels ? "logit" : "number";
    double largest = 0;
    size_t at = 0;
    if (!a->labels && a->n_labels != b->n_labels)
        return rt_fail(RT_EINTERNAL, "%s: vectors of %d numbers, but the checkpoint's have %d; the export is wrong",
                       cli->to, b->n_labels, a->n_labels);
    if (a->n_labels != b->n_labels)
        return rt_fail(RT_EINTERNAL, "%s: %d labels, but the checkpoint has %d; the export is wrong", cli->to,
                       b->n_labels, a->n_labels);
    for (int k = 0; a->labels && a->n_labels > 1 && k < a->n_labels; k++)
        if (!rt_streq(a->labels[k], b->labels[k]))
            return rt_fail(RT_EINTERNAL, "%s: label %d is %s, but the checkpoint's is %s; the export is wrong", cli->to,
                           k, b->labels[k], a->labels[k]);
    for (size_t i = 0; i < rows->n * (size_t)a->n_labels; i++) {
        double difference = fabs((double)a->logits[i] - (double)b->logits[i]);
        if (difference <= largest) continue;
        largest = difference;
        at = i / (size_t)a->n_labels;
        if (!isfinite(difference)) break; /* NaN lands here, for it is not smaller than anything */
    }
    if (!(largest <= LIMIT))
        return rt_fail(RT_EINTERNAL,
                       "%s: a %s of %s %zu of %s differs by %g from the checkpoint's; at most %g is right", cli->to,
                       what, a->labels ? "row" : "text", at, cli->check, largest, LIMIT);
    return rt_cli_printf("check: %zu %s of %s, %zu %ss, largest difference %g (at most %g is right)\n", rows->n,
                         a->labels ? "rows" : "texts", cli->check, rows->n * (size_t)a->n_labels, what, largest, LIMIT);
}

/* --- request and answer ------------------------------------------------------------------------------------------- */

static void put_request(const row *r, bool reranker, rt_text *out) {
    rt_text_puts(out, reranker && r->b ? "{\"request\": {\"query\": " : "{\"request\": {\"inputs\": ");
    if (!reranker && r->b) rt_text_puts(out, "[");
    rt_text_json_string(out, r->a, r->a_size);
    if (r->b) {
        rt_text_puts(out, reranker ? ", \"texts\": [" : ", ");
        rt_text_json_string(out, r->b, r->b_size);
        rt_text_puts(out, "]");
    }
    rt_text_puts(out, "}");
}

static void put_numbers(const float *values, int n, rt_text *out) {
    for (int k = 0; k < n; k++) {
        if (k) rt_text_puts(out, ", ");
        rt_text_float(out, values[k]);
    }
}

/* All labels, falling by score, as text-embeddings-inference answers; ties in the order of labels. */
static void put_labels(const answers *a, const float *logits, rt_text *out) {
    double top = -INFINITY, sum = 0;
    for (int k = 0; k < a->n_labels; k++) top = fmax(top, logits[k]);
    for (int k = 0; k < a->n_labels; k++) sum += exp(logits[k] - top);
    bool used[RT_MAX_LABELS] = {false};
    for (int i = 0; i < a->n_labels; i++) {
        int best = 0;
        while (used[best]) best++;
        for (int k = best + 1; k < a->n_labels; k++)
            if (!used[k] && logits[k] > logits[best]) best = k;
        used[best] = true;
        rt_text_puts(out, i ? ", {\"score\": " : "{\"score\": ");
        rt_text_float(out, (float)(exp(logits[best] - top) / sum));
        rt_text_puts(out, ", \"label\": ");
        rt_text_json_string(out, a->labels[best], strlen(a->labels[best]));
        rt_text_puts(out, "}");
    }
}

static rt_status write_pairs(const rt_cli *cli, const row_list *rows, const answers *a) {
    rt_text out = {0};
    char *path = rt_path_join(cli->to, "check.jsonl");
    size_t n = rows->n < PAIRS ? rows->n : PAIRS;
    for (size_t i = 0; i < n; i++) {
        const row *r = &rows->rows[i];
        const float *logits = a->logits + i * (size_t)a->n_labels;
        bool reranker = a->n_labels == 1;
        put_request(r, reranker, &out);
        if (!a->labels) {
            rt_text_puts(&out, ", \"answer\": [[");
            put_numbers(logits, a->n_labels, &out);
            rt_text_puts(&out, "]]}\n");
            continue;
        }
        if (reranker) {
            rt_text_puts(&out, r->b ? ", \"answer\": [{\"index\": 0, \"score\": " : ", \"answer\": [{\"score\": ");
            rt_text_float(&out, (float)(1 / (1 + exp(-(double)logits[0]))));
            rt_text_puts(&out, "}]");
        } else {
            rt_text_puts(&out, ", \"answer\": [");
            put_labels(a, logits, &out);
            rt_text_puts(&out, "]");
        }
        rt_text_puts(&out, ", \"logits\": [");
        put_numbers(logits, a->n_labels, &out);
        rt_text_puts(&out, "]}\n");
    }
    rt_status rc = path ? rt_text_status(&out) : rt_fail(RT_ENOMEM, "export --check: out of memory");
    if (rc == RT_OK) rc = rt_file_write_atomic(path, out.data, out.size);
    if (rc == RT_OK) rc = rt_cli_printf("%s: %zu requests with the answers a server must give\n", path, n);
    free(path);
    rt_text_free(&out);
    return rc;
}

rt_status rt_export_check(rt_cli *cli) {
    row_list rows = {0};
    answers ours = {0}, theirs = {0};
    rt_config *cfg = NULL;
    rt_status rc;
    rt_signals_install(false);
    rt_progress_line_phase(cli->line, "comparing logits");
    RT_GO(score_checkpoint(cli, &rows, &cfg, &ours));
    RT_GO(score_folder(cli, cfg, &rows, &theirs));
    rt_progress_line_end(cli->line);
    RT_GO(compare(cli, &rows, &ours, &theirs));
    RT_GO(write_pairs(cli, &rows, &ours));
done:
    free_rows(&rows);
    free_answers(&ours);
    free_answers(&theirs);
    rt_config_free(cfg);
    return rc;
}

/* --- vectors ------------------------------------------------------------------------------------------------------ */

/* Each row's second text becomes a row of its own. */
static rt_status part_texts(row_list *list) {
    const size_t n = list->n;
    for (size_t i = 0; i < n; i++) {
        if (!list->rows[i].b) continue;
        RT_TRY(push_row(list, list->rows[i].b, list->rows[i].b_size, NULL, 0));
        free(list->rows[i].b);
        list->rows[i].b = NULL;
    }
    return RT_OK;
}

static rt_status embed(rt_setup *s, const row_list *rows, answers *out) {
    rt_embedder *embedder = NULL;
    const float *vectors = NULL;
    rt_status rc;
    RT_GO(rt_setup_embedder(s, rt_signals_stop, &embedder));
    for (size_t i = 0; i < rows->n; i++) RT_GO(rt_embedder_add(embedder, rows->rows[i].a, rows->rows[i].a_size));
    RT_GO(rt_embedder_run(embedder, &vectors));
    out->n_labels = rt_embedder_width(embedder);
    const size_t bytes = rows->n * (size_t)out->n_labels * sizeof *vectors;
    out->logits = malloc(bytes);
    if (!out->logits) RT_GO(rt_fail(RT_ENOMEM, "export --check: out of memory"));
    memcpy(out->logits, vectors, bytes);
done:
    rt_embedder_free(embedder);
    return rc;
}

/* What the folder says of pooling is read from it; columns and lengths come from the checkpoint's configuration. */
static rt_status embed_folder(rt_cli *cli, const rt_config *cfg, const row_list *rows, answers *out) {
    rt_setup setup = {.cli = cli, .cfg = cfg};
    rt_source *source = NULL;
    rt_status rc;
    RT_GO(rt_source_open_as("--to", cli->to, NULL, &source));
    const char *pooling = rt_source_sentence_pooling(source);
    if (!pooling)
        RT_GO(rt_fail(RT_EINTERNAL, "%s: 1_Pooling/config.json says no pooling; the export is wrong", cli->to));
    RT_GO(rt_setup_vector_encoder(&setup, cli->to, pooling, "as 1_Pooling/config.json says"));
    RT_GO(embed(&setup, rows, out));
done:
    rt_source_close(source);
    rt_setup_close(&setup);
    return rc;
}

rt_status rt_export_check_vectors(rt_cli *cli) {
    row_list rows = {0};
    answers ours = {0}, theirs = {0};
    rt_config *cfg = NULL;
    rt_setup setup = {.cli = cli};
    rt_status rc;
    rt_signals_install(false);
    rt_progress_line_phase(cli->line, "comparing vectors");
    RT_GO(rt_setup_embedding(&setup, &cfg));
    RT_GO(read_rows(&setup, &rows));
    RT_GO(part_texts(&rows));
    RT_GO(embed(&setup, &rows, &ours));
    RT_GO(embed_folder(cli, cfg, &rows, &theirs));
    rt_progress_line_end(cli->line);
    RT_GO(compare(cli, &rows, &ours, &theirs));
    RT_GO(write_pairs(cli, &rows, &ours));
done:
    free_rows(&rows);
    free_answers(&ours);
    free_answers(&theirs);
    rt_setup_close(&setup);
    rt_config_free(cfg);
    return rc;
}
