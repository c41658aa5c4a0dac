#include "../data/template.h"
#include "../track/track.h"
#include "search.h"
#include "setup_embed.h"
#include "signals.h"
#include <stdlib.h>
#include <string.h>

enum { WINDOW_ROWS = 8192 }; /* texts that are tokenised together, so that like lengths meet */

void rt_queries_close(rt_queries *q) {
    rt_vectors_close(q->file);
    rt_ids_free(q->ids);
    free(q->rows);
    *q = (rt_queries){0};
}

const char *rt_queries_id(const rt_queries *q, uint32_t row, size_t *size) {
    return q->file ? rt_vectors_id(q->file, row, size) : rt_ids_get(q->ids, row, size);
}

rt_status rt_queries_read(const rt_queries *q, uint32_t first, uint32_t n, bool unit, float *out) {
    if (q->file)
        RT_TRY(rt_vectors_read(q->file, first, n, out));
    else
        memcpy(out, q->rows + (size_t)first * (size_t)q->width, (size_t)n * (size_t)q->width * sizeof *out);
    if (unit && !q->unit) rt_unit_rows(out, n, q->width);
    return RT_OK;
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

typedef struct {
    rt_setup *setup;
    rt_table *table;
    rt_template *text;
    int id;
    rt_embedder *embedder;
    rt_live *live;
    rt_queries *out;
    rt_text scratch, prefixed;
    uint32_t room; /* rows that out->rows has room for */
    uint64_t bad;
} reader;

static rt_status embed_window(reader *r) {
    const float *vectors;
    rt_queries *q = r->out;
    const uint32_t n = rt_embedder_rows(r->embedder);
    const size_t width = (size_t)q->width;
    if (!n) return RT_OK;
    if (q->n + n > r->room) {
        const uint64_t room = 2 * ((uint64_t)q->n + n);
        float *grown = realloc(q->rows, room * width * sizeof *grown);
        if (!grown)
            return rt_fail(RT_ENOMEM, "out of memory for the vectors of %llu queries", (unsigned long long)room);
        q->rows = grown;
        r->room = room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
    }
    RT_TRY(rt_embedder_run(r->embedder, &vectors));
    memcpy(q->rows + q->n * width, vectors, n * width * sizeof *vectors);
    q->n += n;
    rt_live_rows(r->live, "embedding", q->n);
    return RT_OK;
}

static rt_status add_row(reader *r, const rt_field *fields, uint64_t line) {
    const rt_cli *cli = r->setup->cli;
    const rt_field *id = &fields[r->id];
    const char *text, *name = id->missing ? "" : id->bytes;
    size_t size;
    uint32_t number, before = rt_ids_count(r->out->ids);
    if (id->missing || id->size == 0 || id->size > RT_ID_BYTES)
        return rt_fail(RT_EDATA, "%s:%llu: an id (column %s) of %zu bytes; 1 to %d are accepted",
                       rt_table_path(r->table), (unsigned long long)line, cli->id, id->missing ? (size_t)0 : id->size,
                       RT_ID_BYTES);
    RT_TRY(rt_ids_add(r->out->ids, name, id->size, &number));
    if (number < before) {
        rt_text shown = {0};
        rt_text_escaped(&shown, name, id->size, 100);
        rt_fail(RT_EDATA, "%s:%llu: the id \"%s\" (column %s) stands above already; each query needs its own",
                rt_table_path(r->table), (unsigned long long)line, shown.data ? shown.data : "", cli->id);
        rt_text_free(&shown);
        return RT_EDATA;
    }
    rt_template_render(r->text, fields, &r->scratch, &text, &size);
    if (cli->prefix) {
        rt_text_clear(&r->prefixed);
        rt_text_puts(&r->prefixed, cli->prefix);
        rt_text_append(&r->prefixed, text ? text : "", size);
        RT_TRY(rt_text_status(&r->prefixed));
        text = r->prefixed.data;
        size = r->prefixed.size;
    }
    RT_TRY(rt_embedder_add(r->embedder, text ? text : "", size));
    return rt_embedder_rows(r->embedder) < WINDOW_ROWS ? RT_OK : embed_window(r);
}

static rt_status embed_table(reader *r) {
    const rt_cli *cli = r->setup->cli;
    const bool skip = r->setup->cfg->data.on_bad_row == RT_CFG_BAD_SKIP;
    rt_data_spec spec = rt_setup_spec(r->setup, NULL, 0, false, NULL);
    RT_TRY(rt_table_open(cli->queries, spec.format, spec.quoting, &r->table));
    RT_TRY(rt_template_parse(cli->text, "--text", &r->text));
    RT_TRY(rt_template_bind(r->text, r->table));
    RT_TRY(rt_table_require(r->table, cli->id, &r->id));
    for (;;) {
        const rt_field *fields = NULL;
        uint64_t line = 0;
        rt_status rc = rt_table_next(r->table, &fields, &line);
        if (rt_signals_stop()) return rt_fail(RT_ESTOPPED, "stopped by %s", rt_signals_name());
        if (rc == RT_OK && !fields) break;
        if (rc == RT_OK) rc = add_row(r, fields, line);
        if (rc != RT_EDATA || !skip) RT_TRY(rc);
        r->bad += rc != RT_OK;
    }
    if (r->bad) rt_warn(cli->log, "%s: %llu bad rows were skipped", cli->queries, (unsigned long long)r->bad);
    return embed_window(r);
}

static rt_status embed_queries(rt_setup *setup, rt_config **cfg, rt_live *live, rt_queries *out) {
    rt_status rc;
    reader r = {.setup = setup, .live = live, .out = out};
    const char *missing = !setup->cli->text ? "--text" : !setup->cli->id ? "--id" : NULL;
    if (missing)
        return rt_fail(RT_EUSAGE, "--checkpoint makes vectors of the texts of --queries; %s says which column to take",
                       missing);
    rt_progress_line_phase(live->line, "loading the weights");
    RT_GO(rt_setup_embedding(setup, cfg));
    RT_GO(rt_setup_embedder(setup, rt_signals_stop, &r.embedder));
    RT_GO(rt_ids_new(&out->ids));
    out->width = rt_embedder_width(r.embedder);
    out->unit = !setup->cli->no_normalize;
    RT_GO(embed_table(&r));
done:
    rt_embedder_free(r.embedder);
    rt_template_free(r.text);
    rt_table_close(r.table);
    rt_text_free(&r.scratch);
    rt_text_free(&r.prefixed);
    return rc;
}

rt_status rt_queries_open(rt_setup *setup, rt_config **cfg, rt_live *live, rt_queries *out) {
    const rt_cli *cli = setup->cli;
    *out = (rt_queries){0};
    if (cli->checkpoint) return embed_queries(setup, cfg, live, out);
    const char *idle = cli->text             ? "--text"
                       : cli->id             ? "--id"
                       : cli->prefix         ? "--prefix"
                       : cli->pooling        ? "--pooling"
                       : cli->no_normalize   ? "--no-normalize"
                       : cli->dimensions > 0 ? "--dimensions"
                                             : NULL;
    if (idle)
        return rt_fail(RT_EUSAGE,
                       "%s is about texts of --queries, which --checkpoint makes vectors of; without it they "
                       "are a file of vectors",
                       idle);
    RT_TRY(rt_vectors_open(cli->queries, &out->file));
    out->n = rt_vectors_count(out->file);
    out->width = rt_vectors_width(out->file);
    out->unit = rt_vectors_are_unit(out->file);
    RT_TRY(rt_cli_config(setup->cli, NULL, 0, NULL, cfg));
    setup->cfg = *cfg;
    return rt_setup_backend(setup);
}
