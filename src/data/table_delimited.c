#include "table_internal.h"
#include <stdlib.h>
#include <string.h>

/* Fields of one row, one after another: row[0..size), unescaped in place. */
typedef struct {
    char *at, *stop;
    char delimiter;
    bool quoting, more; /* more: another field follows (perhaps an empty last one) */
} rt_cut;

static rt_cut cut_row(const rt_table *t, const rt_extent *e, rt_quoting quoting) {
    char *row = t->buffer + t->start;
    return (rt_cut){row, row + e->size, t->delimiter, quoting == RT_QUOTING_CSV, true};
}

/* The next field as it shall be read; *quoted: it stood in quotes; *escaped: with a doubled quote, a delimiter or a
 * line break inside, which is why it stood there. With `look` nothing is changed and the field's bytes are its raw
 * ones. */
static rt_field next_field(rt_cut *c, bool look, bool *quoted, bool *escaped) {
    char *from = c->at;
    *quoted = c->quoting && from < c->stop && *from == '"';
    *escaped = false;
    if (!*quoted) {
        char *end = memchr(from, c->delimiter, (size_t)(c->stop - from));
        c->more = end != NULL;
        if (!end) end = c->stop;
        c->at = end + c->more;
        return (rt_field){from, (size_t)(end - from), false};
    }
    char *to = from, *p = from + 1;
    for (;;) {
        char *q = memchr(p, '"', (size_t)(c->stop - p));
        char *end = q ? q : c->stop;
        *escaped = *escaped || memchr(p, c->delimiter, (size_t)(end - p)) || memchr(p, '\n', (size_t)(end - p));
        if (!look) memmove(to, p, (size_t)(end - p));
        to += end - p;
        if (q && q + 1 < c->stop && q[1] == '"') {
            *escaped = true;
            if (!look) *to = '"';
            to++;
            p = q + 2;
            continue;
        }
        p = q ? q + 1 : c->stop;
        break;
    }
    /* The extent was found with the same rules: here stands a delimiter, or the row's end. */
    c->more = p < c->stop && *p == c->delimiter;
    c->at = p + c->more;
    return (rt_field){from, (size_t)(to - from), false};
}

static rt_status broken_row(const rt_table *t, uint64_t line, const rt_extent *e) {
    const char *hint = "";
    if (e->size > RT_ROW_LIMIT && e->broken[0] == 'o')
        hint = "; a row of at most 8 MiB is accepted: is this a table of text?";
    else if (t->quoting == RT_QUOTING_CSV)
        hint = t->guessed
                   ? "; the first rows are quoted as in CSV: a field that begins with \" ends with \" and doubles "
                     "those inside (otherwise set quoting = none)"
                   : "; a field that begins with \" ends with \" and doubles those inside";
    return rt_fail(RT_EDATA, "%s:%llu: %s (byte %zu of the row)%s", rt_table_path(t), (unsigned long long)line,
                   e->broken, e->broken_at + 1, hint);
}

static rt_status nul_byte(const rt_table *t, uint64_t line, size_t at) {
    return rt_fail(RT_EDATA, "%s:%llu: a NUL byte (byte %zu of the row); text in UTF-8 is expected", rt_table_path(t),
                   (unsigned long long)line, at + 1);
}

static rt_status wrong_count(const rt_table *t, uint64_t line, int found) {
    rt_text names = {0};
    for (int c = 0; c < t->n_columns && c < 12; c++) {
        if (c > 0) rt_text_puts(&names, ", ");
        rt_text_escaped(&names, t->columns[c], strlen(t->columns[c]), 40);
    }
    if (t->n_columns > 12) rt_text_puts(&names, ", ...");
    const char *what = t->delimiter == '\t' ? "tab" : "comma";
    rt_status rc =
        rt_fail(RT_EDATA, "%s:%llu: %d field%s, expected %d (%s); is there a %s or a line break inside a text%s?",
                rt_table_path(t), (unsigned long long)line, found, found == 1 ? "" : "s", t->n_columns,
                names.data ? names.data : "", what,
                t->quoting == RT_QUOTING_CSV ? " that is not in quotes" : " (quoting = csv reads texts in quotes)");
    rt_text_free(&names);
    return rc;
}

static rt_status read_header(rt_table *t, rt_quoting quoting) {
    rt_extent e;
    RT_TRY(rt_table_row_extent(t, quoting, &e));
    if (e.broken) {
        t->quoting = quoting;
        return broken_row(t, 1, &e);
    }
    const char *row = t->buffer + t->start, *nul = memchr(row, 0, e.size);
    if (nul) return nul_byte(t, 1, (size_t)(nul - row));
    if (e.size == 0)
        return rt_fail(RT_EDATA, "%s:1: an empty line; a header with the columns' names is expected", rt_table_path(t));
    if (t->end && e.lines == 0 && memchr(row, '\r', e.size))
        return rt_fail(RT_EDATA, "%s: its lines end in CR alone; convert it: tr '\\r' '\\n' < '%s'", rt_table_path(t),
                       rt_table_path(t));
    rt_cut c = cut_row(t, &e, quoting);
    while (c.more) {
        bool quoted, escaped;
        rt_field f = next_field(&c, false, &quoted, &escaped);
        RT_TRY(rt_table_add_column(t, f.bytes, f.size));
    }
    rt_table_consume(t, &e);
    return RT_OK;
}

/* Whether the rows held so far are quoted as pandas and the csv modules do it: every field that begins with a quote is
 * a well-formed quoted one, rows have the header's number of fields that way, and quotes stand where they are needed
 * (or around the header's names). Raw titles such as "Heroes" (1977) are none of that. Changes nothing. */
static bool looks_quoted(rt_table *t) {
    rt_table view = *t; /* a second cursor over what is held; the last row may be cut off and is left out */
    bool any = false, whole_stream = t->end;
    int columns = 0;
    view.end = true;
    for (int row = 0; view.start < view.stop; row++) {
        rt_extent e;
        if (rt_table_row_extent(&view, RT_QUOTING_CSV, &e) != RT_OK) return false;
        bool cut_off = view.start + e.whole >= view.stop || e.unclosed;
        if (cut_off && !whole_stream && row > 0) break;
        if (e.broken) return false;
        rt_cut c = cut_row(&view, &e, RT_QUOTING_CSV);
        int n = 0;
        bool quoted, escaped;
        while (c.more) {
            next_field(&c, true, &quoted, &escaped);
            any = any || escaped || (quoted && row == 0);
            n++;
        }
        if (row == 0) columns = n;
        bool blank = e.size == 0 && columns > 1;
        if (n != columns && !blank) return false;
        rt_table_consume(&view, &e);
    }
    return any;
}

rt_status rt_delimited_open(rt_table *t, rt_quoting wanted) {
    t->quoting = wanted;
    if (wanted == RT_QUOTING_AUTO) {
        t->quoting = RT_QUOTING_CSV;
        if (t->format == RT_FORMAT_TSV) {
            t->guessed = looks_quoted(t);
            t->quoting = t->guessed ? RT_QUOTING_CSV : RT_QUOTING_NONE;
        }
    }
    return read_header(t, t->quoting);
}

static bool looks_like_a_quoted_field(const rt_field *f) {
    return f->size >= 4 && f->bytes[0] == '"' && f->bytes[f->size - 1] == '"' &&
           memmem(f->bytes + 1, f->size - 2, "\"\"", 2);
}

rt_status rt_delimited_next(rt_table *t, const rt_field **fields, uint64_t *line) {
    rt_extent e;
    for (uint64_t blanks = 0;;) {
        RT_TRY(rt_table_fill(t, 0));
        if (t->start == t->stop) return RT_OK;
        RT_TRY(rt_table_row_extent(t, t->quoting, &e));
        if (e.size > 0 || e.broken || t->n_columns == 1) break;
        rt_table_consume(t, &e);
        RT_TRY(rt_table_count_blank(t, &blanks));
    }
    *line = t->line;
    char *row = t->buffer + t->start;
    rt_cut c = cut_row(t, &e, t->quoting);
    rt_table_consume(t, &e);
    if (e.broken) return broken_row(t, *line, &e);
    const char *nul = memchr(row, 0, e.size);
    if (nul) return nul_byte(t, *line, (size_t)(nul - row));
    int n = 0;
    while (c.more) {
        bool quoted, escaped;
        rt_field f = next_field(&c, false, &quoted, &escaped);
        if (n < t->n_columns) t->fields[n] = f;
        if (!c.quoting && looks_like_a_quoted_field(&f)) t->suspicious++;
        n++;
    }
    if (n != t->n_columns) return wrong_count(t, *line, n);
    *fields = t->fields;
    return RT_OK;
}
