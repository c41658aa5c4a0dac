/* rectrain embed: a vector for every row of a table, into a file of vectors with ids. Rows are read, run and written a
 * window at a time, so the table may be larger than memory, and a run that was stopped goes on from its last window. A
 * table in a file is read twice: first for its ids, which must differ, and for what the output hangs on. */
#include "../base/clock.h"
#include "../base/digest.h"
#include "../base/file.h"
#include "../data/template.h"
#include "../retrieve/vectors.h"
#include "../retrieve/vectors_ids.h"
#include "../track/track.h"
#include "live.h"
#include "setup_embed.h"
#include "signals.h"
#include <stdlib.h>
#include <string.h>

enum { WINDOW_ROWS = 8192 };

typedef struct {
    rt_setup *setup;
    bool from_stdin, skip_bad;
    rt_vectors_format format;
    char *folder; /* of the output: temporary files too */
    rt_embedder *embedder;
    rt_vectors_writer *writer;
    rt_live live;
    uint64_t rows, kept; /* of the table; of them made by an earlier run */
    uint64_t bad;
    char first_bad[512];
    rt_text ids; /* of the window, one after the other */
    size_t sizes[WINDOW_ROWS];
    const char *starts[WINDOW_ROWS];
} embedding;

/* --- the table ---------------------------------------------------------------------------------------------------- */

typedef struct {
    rt_table *table;
    rt_template *text;
    int id;
    rt_text scratch, prefixed;
} reader;

typedef struct {
    const char *id, *text; /* valid until the next row */
    size_t id_size, text_size;
    uint64_t line;
} row;

static void close_reader(reader *r) {
    rt_template_free(r->text);
    rt_table_close(r->table);
    rt_text_free(&r->scratch);
    rt_text_free(&r->prefixed);
    *r = (reader){0};
}

static rt_status open_reader(const embedding *e, reader *r) {
    const rt_cli *cli = e->setup->cli;
    rt_data_spec spec = rt_setup_spec(e->setup, NULL, 0, false, NULL);
    *r = (reader){0};
    RT_TRY(rt_table_open(cli->data, spec.format, spec.quoting, &r->table));
    RT_TRY(rt_template_parse(cli->text, "--text", &r->text));
    RT_TRY(rt_template_bind(r->text, r->table));
    return rt_table_require(r->table, cli->id, &r->id);
}

static rt_status read_row(embedding *e, reader *r, const rt_field *fields, row *out) {
    const rt_cli *cli = e->setup->cli;
    const rt_field *id = &fields[r->id];
    const char *refused = id->missing ? "is missing" : rt_id_refused(id->bytes, id->size);
    if (refused)
        return rt_fail(RT_EDATA, "%s:%llu: an id (column %s) that %s", rt_table_path(r->table),
                       (unsigned long long)out->line, cli->id, refused);
    out->id = id->bytes;
    out->id_size = id->size;
    rt_template_render(r->text, fields, &r->scratch, &out->text, &out->text_size);
    if (!cli->prefix) return RT_OK;
    rt_text_clear(&r->prefixed);
    rt_text_puts(&r->prefixed, cli->prefix);
    rt_text_append(&r->prefixed, out->text ? out->text : "", out->text_size);
    out->text = r->prefixed.data;
    out->text_size = r->prefixed.size;
    return rt_text_status(&r->prefixed);
}

/* *more false: the end. A bad row ends it, or is counted. */
static rt_status next_row(embedding *e, reader *r, row *out, bool *more) {
    for (;;) {
        const rt_field *fields = NULL;
        rt_status rc = rt_table_next(r->table, &fields, &out->line);
        if (rt_signals_stop()) return rt_fail(RT_ESTOPPED, "stopped by %s", rt_signals_name());
        *more = rc == RT_OK && fields;
        if (rc == RT_OK && fields) rc = read_row(e, r, fields, out);
        if (rc != RT_EDATA || !e->skip_bad) return rc;
        if (!e->bad++) snprintf(e->first_bad, sizeof e->first_bad, "%.500s", rt_error_get()->text);
    }
}

/* --- before anything is run --------------------------------------------------------------------------------------- */

/* Ids that differ, and a digest of ids and texts: of the rows, so that packing or quoting make no other run of it. */
static rt_status look_through(embedding *e, rt_digest *digest) {
    rt_id_check *check = NULL;
    rt_text twice = {0}, shown = {0};
    uint64_t lines[2];
    reader r = {0};
    rt_status rc;
    RT_GO(rt_id_check_new(e->folder, &check));
    RT_GO(open_reader(e, &r));
    for (bool more = true;;) {
        row next = {0};
        RT_GO(next_row(e, &r, &next, &more));
        if (!more) break;
        RT_GO(rt_id_check_add(check, next.id, next.id_size, next.line));
        rt_digest_u64(digest, next.id_size);
        rt_digest_update(digest, next.id, next.id_size);
        rt_digest_u64(digest, next.text_size);
        if (next.text_size) rt_digest_update(digest, next.text, next.text_size);
        if (++e->rows % WINDOW_ROWS == 0) rt_live_rows(&e->live, "looking through", e->rows);
    }
    RT_GO(rt_id_check_finish(check, &twice, lines));
    if (twice.size) {
        rt_text_escaped(&shown, twice.data, twice.size, 100);
        rc = rt_fail(RT_EDATA,
                     "%s: lines %llu and %llu both have the id \"%s\" (column %s); each row needs its own: remove one, "
                     "or name another column by --id",
                     e->setup->cli->data, (unsigned long long)lines[0], (unsigned long long)lines[1],
                     shown.data ? shown.data : "", e->setup->cli->id);
    }
done:
    rt_text_free(&twice);
    rt_text_free(&shown);
    rt_id_check_free(check);
    close_reader(&r);
    return rc;
}

/* Rows from stdin cannot be read twice, so what an earlier run left of them is of no use. */
static rt_status begin(embedding *e) {
    const rt_cli *cli = e->setup->cli;
    char key[33] = "";
    rt_status rc = RT_OK;
    rt_digest *digest = rt_digest_new();
    if (!digest) return rt_fail(RT_ENOMEM, "out of memory to embed");
    RT_GO(rt_setup_embedding_digest(e->setup, digest));
    if (e->from_stdin) {
        rt_digest_u64(digest, (uint64_t)(rt_clock_unix() * 1e6));
    } else {
        RT_GO(look_through(e, digest));
        if (!e->rows) RT_GO(rt_fail(RT_EDATA, "%s: no rows below the header", cli->data));
    }
    rt_digest_hex(rt_digest_end(digest), key);
    RT_GO(rt_vectors_create(cli->output, e->format, rt_embedder_width(e->embedder), !cli->no_normalize, key, &e->writer,
                            &e->kept));
    if (e->kept)
        rt_info(cli->log, "%s: an earlier run left %llu of %llu vectors; going on after these", cli->output,
                (unsigned long long)e->kept, (unsigned long long)e->rows);
done:
    rt_digest_free(digest);
    return rc;
}

/* --- the work ----------------------------------------------------------------------------------------------------- */

static rt_status run_window(embedding *e) {
    const float *vectors;
    uint32_t n = rt_embedder_rows(e->embedder);
    size_t at = 0;
    if (!n) return RT_OK;
    RT_TRY(rt_text_status(&e->ids));
    for (uint32_t i = 0; i < n; i++) {
        e->starts[i] = e->ids.data + at;
        at += e->sizes[i];
    }
    RT_TRY(rt_embedder_run(e->embedder, &vectors));
    RT_TRY(rt_vectors_append(e->writer, vectors, e->starts, e->sizes, n));
    rt_text_clear(&e->ids);
    return RT_OK;
}

static rt_status run_rows(embedding *e) {
    reader r = {0};
    rt_status rc;
    uint64_t n = 0;
    e->bad = 0; /* the first reading counted the same ones */
    RT_GO(open_reader(e, &r));
    for (bool more = true;;) {
        row next = {0};
        RT_GO(next_row(e, &r, &next, &more));
        if (!more) break;
        if (n++ < e->kept) continue;
        e->sizes[rt_embedder_rows(e->embedder)] = next.id_size;
        rt_text_append(&e->ids, next.id, next.id_size);
        RT_GO(rt_embedder_add(e->embedder, next.text ? next.text : "", next.text_size));
        if (rt_embedder_rows(e->embedder) < WINDOW_ROWS) continue;
        RT_GO(run_window(e));
        rt_live_rows(&e->live, "embedding", n);
    }
    RT_GO(run_window(e));
    if (!e->from_stdin && n != e->rows)
        RT_GO(rt_fail(RT_EDATA, "%s: has %llu rows, and had %llu when it was looked through; it was altered meanwhile",
                      e->setup->cli->data, (unsigned long long)n, (unsigned long long)e->rows));
    if (!n) RT_GO(rt_fail(RT_EDATA, "stdin: no rows below the header"));
    e->rows = n;
done:
    close_reader(&r);
    return rc;
}

static rt_status stopped(const embedding *e) {
    if (e->from_stdin || !e->writer)
        return rt_fail(RT_ESTOPPED, "stopped by %s; nothing was written", rt_signals_name());
    return rt_fail(RT_ESTOPPED, "stopped by %s; what is finished stands in %s.part, and the same command goes on",
                   rt_signals_name(), e->setup->cli->output);
}

static rt_status report(const embedding *e) {
    const rt_cli *cli = e->setup->cli;
    const rt_tok_stats *t = rt_embedder_stats(e->embedder);
    double seconds = rt_clock_seconds() - e->live.started;
    if (e->bad)
        rt_warn(cli->log, "%s: %llu bad rows were skipped, the first: %s", cli->data, (unsigned long long)e->bad,
                e->first_bad);
    if (t->truncated)
        rt_warn(cli->log, "%llu of %llu texts were longer than data.max_length = %d tokens and were cut",
                (unsigned long long)t->truncated, (unsigned long long)t->texts, e->setup->cfg->data.max_length);
    RT_TRY(rt_cli_printf("%s: %llu vectors of %d numbers%s", cli->output, (unsigned long long)e->rows,
                         rt_embedder_width(e->embedder), cli->no_normalize ? "" : ", of length 1"));
    if (seconds > 0 && e->rows > e->kept)
        RT_TRY(rt_cli_printf(", %.0f a second", (double)(e->rows - e->kept) / seconds));
    RT_TRY(rt_cli_printf("\n"));
    return rt_cli_flush();
}

/* What can be said before a model is loaded. */
static rt_status check_flags(embedding *e) {
    static const char *const names[] = {[RT_VECTORS_H5] = "h5",
                                        [RT_VECTORS_NPY] = "npy",
                                        [RT_VECTORS_FBIN] = "fbin",
                                        [RT_VECTORS_FAISS] = "faiss",
                                        [RT_VECTORS_JSONL] = "jsonl"};
    const rt_cli *cli = e->setup->cli;
    for (size_t i = 0; cli->format && i < sizeof names / sizeof *names; i++)
        if (names[i] && strcmp(cli->format, names[i]) == 0) e->format = (rt_vectors_format)i;
    if (cli->format && e->format == RT_VECTORS_AUTO)
        return rt_fail(RT_EUSAGE, "--format %s: expected h5, npy, fbin, faiss or jsonl", cli->format);
    RT_TRY(rt_vectors_check_name(cli->output, &e->format));
    e->folder = rt_path_dirname(cli->output);
    return e->folder ? RT_OK : rt_fail(RT_ENOMEM, "out of memory to embed");
}

rt_status rt_cmd_embed(rt_cli *cli) {
    rt_status rc;
    rt_setup setup = {.cli = cli};
    rt_config *cfg = NULL;
    embedding *e = calloc(1, sizeof *e);
    if (!e) return rt_fail(RT_ENOMEM, "out of memory to embed");
    e->setup = &setup;
    e->from_stdin = strcmp(cli->data, "-") == 0;
    rt_signals_install(false);
    if (e->from_stdin) rt_signals_end_stdin();
    RT_GO(check_flags(e));
    rt_progress_line_phase(cli->line, "loading the weights");
    RT_GO(rt_setup_embedding(&setup, &cfg));
    e->skip_bad = cfg->data.on_bad_row == RT_CFG_BAD_SKIP;
    RT_GO(rt_setup_embedder(&setup, rt_signals_stop, &e->embedder));
    if (e->from_stdin) rt_cli_awaits_lines(cli, "rows below a header line");
    e->live = rt_live_begin(cli, e->from_stdin ? "stdin" : cli->data);
    RT_GO(begin(e));
    e->live.started = rt_clock_seconds();
    RT_GO(run_rows(e));
    rt_progress_line_end(cli->line);
    rt_vectors_writer *writer = e->writer;
    e->writer = NULL;
    RT_GO(rt_vectors_commit(writer));
    rc = report(e);
done:
    rt_progress_line_end(cli->line);
    if (rc != RT_OK && rt_signals_stop()) rc = stopped(e); /* a line may have been cut by it */
    rt_vectors_abort(e->writer, !e->from_stdin && (rc == RT_ESTOPPED || rc == RT_EIO || rc == RT_ENOMEM));
    rt_embedder_free(e->embedder);
    rt_text_free(&e->ids);
    free(e->folder);
    free(e);
    rt_setup_close(&setup);
    rt_config_free(cfg);
    return rc;
}
