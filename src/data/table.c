#include "table.h"
#include "../base/digest.h"
#include "table_internal.h"
#include <stdlib.h>
#include <string.h>

/* A small file takes a small window; a large one's first MiB is looked at before its first row. */
enum { SMALL_WINDOW = 1 << 12, FIRST_WINDOW = 1 << 20 };

typedef struct {
    const char *magic;
    size_t size;
    const char *what, *advice; /* %s: the path, as often as it stands there */
} rt_foreign;

#define PANDAS "convert it: python3 -c \"import pandas; pandas."
#define TO_TSV ".to_csv('data.tsv', sep='\\t', index=False)\""
static const rt_foreign foreign[] = {
    {"PAR1", 4, "a Parquet file", PANDAS "read_parquet('%s')" TO_TSV},
    {"ARROW1", 6, "an Arrow (Feather) file", PANDAS "read_feather('%s')" TO_TSV},
    {"FEA1", 4, "a Feather file", PANDAS "read_feather('%s')" TO_TSV},
    {"\xFF\xFF\xFF\xFF", 4, "an Arrow stream",
     "convert it: python3 -c \"import pyarrow; pyarrow.ipc.open_stream('%s').read_pandas()" TO_TSV},
    {"ORC", 3, "an ORC file", PANDAS "read_orc('%s')" TO_TSV},
    {"PK\003\004", 4, "a zip archive (or a spreadsheet)", "unpack it: unzip '%s'; a spreadsheet: save it as CSV"},
    {"\x89HDF\r\n\x1A\n", 8, "an HDF5 file", PANDAS "read_hdf('%s')" TO_TSV},
    {"BZh", 3, "a bzip2 file", "unpack it: bunzip2 -k '%s'; gzip and zstd are read as they are"},
    {"\xFD"
     "7zXZ",
     5, "an xz file", "unpack it: xz -dk '%s'; gzip and zstd are read as they are"},
    {"SQLite format 3", 15, "an SQLite database",
     "convert it: sqlite3 -csv -header '%s' 'select * from TABLE' > data.csv"},
    {"Obj\001", 4, "an Avro file", "convert it: avrocat '%s' > data.jsonl"},
    {"\x93NUMPY", 6, "a NumPy array", "write a table of text with a header line"},
    {"\xFF\xFE", 2, "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 '%s' > data.txt"},
    {"\xFE\xFF", 2, "UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 '%s' > data.txt"},
    {"\x1F\x8B", 2, "gzip in gzip", "unpack it once: gunzip '%s'"},
    {"\x28\xB5\x2F\xFD", 4, "zstd packed twice", "unpack it once: unzstd '%s'"},
};

/* The advice holds the path once at most, and is no format string of anyone else's. */
static rt_status refuse(const rt_table *t, const rt_foreign *f) {
    rt_text advice = {0};
    const char *name = rt_input_name(t->input), *hole = strstr(f->advice, "%s");
    rt_text_append(&advice, f->advice, hole ? (size_t)(hole - f->advice) : strlen(f->advice));
    if (hole) {
        rt_text_escaped(&advice, name, strlen(name), 1024);
        rt_text_puts(&advice, hole + 2);
    }
    rt_status rc = rt_fail(RT_EDATA, "%s: %s; a table of text is expected (TSV, CSV or JSON lines). To go on, %s", name,
                           f->what, advice.data ? advice.data : "convert it");
    rt_text_free(&advice);
    return rc;
}

rt_status rt_table_fill(rt_table *t, size_t held) {
    while (!t->end && t->stop - t->start <= held) {
        if (t->start > 0 && (t->stop == t->capacity || t->start == t->stop)) {
            memmove(t->buffer, t->buffer + t->start, t->stop - t->start);
            t->stop -= t->start;
            t->start = 0;
        }
        if (t->stop == t->capacity) {
            size_t capacity = t->capacity ? t->capacity * 2 : SMALL_WINDOW;
            char *buffer = realloc(t->buffer, capacity);
            if (!buffer)
                return rt_fail(RT_ENOMEM, "%s:%llu: no memory for a row of %zu bytes", rt_table_path(t),
                               (unsigned long long)t->line, t->capacity);
            t->buffer = buffer;
            t->capacity = capacity;
        }
        size_t n;
        RT_TRY(rt_input_read(t->input, t->buffer + t->stop, t->capacity - t->stop, &n));
        t->stop += n;
        t->end = n == 0;
    }
    return RT_OK;
}

/* The end of a line that holds no quotes: *nl its newline or the end; false if it lies beyond what is held. */
static const char *newline(const char *from, const char *to) {
    return memchr(from, '\n', (size_t)(to - from));
}

/* After a row that cannot be read to its end: it takes its first line alone, so that what follows is read anew. The
 * rest of an endless line waits until the next row is asked for: whoever stops here shall not wait for it. */
static void first_line_extent(const rt_table *t, rt_extent *e, const char *what, size_t at) {
    const char *row = t->buffer + t->start, *nl = newline(row, t->buffer + t->stop);
    *e = (rt_extent){.broken = what, .broken_at = at, .cut = !nl && !t->end};
    e->size = nl ? (size_t)(nl - row) : t->stop - t->start;
    e->whole = e->size + (nl != NULL);
    e->lines = nl != NULL;
}

static rt_status skip_line(rt_table *t) {
    for (uint64_t skipped = 0; t->skipping;) {
        RT_TRY(rt_table_fill(t, 0));
        const char *at = t->buffer + t->start, *nl = newline(at, t->buffer + t->stop);
        skipped += t->stop - t->start;
        t->skipping = !nl && !t->end;
        t->start = nl ? (size_t)(nl - t->buffer) + 1 : t->stop;
        t->line += nl != NULL;
        if (skipped > RT_LINE_LIMIT)
            return rt_fail(RT_EIO,
                           "%s:%llu: a line of over 256 MiB; what follows it cannot be looked for: is this a "
                           "table of text?",
                           rt_table_path(t), (unsigned long long)t->line);
    }
    return RT_OK;
}

rt_status rt_table_count_blank(rt_table *t, uint64_t *blanks) {
    if (++*blanks <= RT_BLANK_LIMIT) return RT_OK;
    t->given_up = true;
    return rt_fail(RT_EDATA, "%s:%llu: over %d empty lines, one after another; a table of rows is expected",
                   rt_table_path(t), (unsigned long long)t->line, RT_BLANK_LIMIT);
}

static bool is_row_end(const rt_table *t, const char *p, const char *stop) {
    return p == stop || *p == '\n' || *p == t->delimiter || (*p == '\r' && (p + 1 == stop || p[1] == '\n'));
}

/* Where the quoted field at row[*at] (its first byte after the quote) ends; counts its line breaks. *found: the end is
 * held. RT_OK with e->broken set if something else than a delimiter follows the closing quote. */
static void scan_quoted(const rt_table *t, const char *row, size_t held, size_t *at, bool *found, rt_extent *e) {
    const char *stop = row + held, *p = row + *at;
    *found = false;
    for (;;) {
        const char *q = memchr(p, '"', (size_t)(stop - p));
        if (!q) {
            p = stop;
            break;
        }
        /* What follows decides, and for a carriage return the byte after it. */
        if (!t->end && stop - q < 3) {
            p = q;
            break;
        }
        if (q + 1 < stop && q[1] == '"') {
            p = q + 2;
            continue;
        }
        *found = true;
        p = q + 1;
        if (!is_row_end(t, p, stop)) {
            e->broken = "text after a closing quote";
            e->broken_at = (size_t)(p - row);
        }
        break;
    }
    for (const char *c = row + *at; (c = memchr(c, '\n', (size_t)(p - c))) != NULL; c++) e->lines++;
    *at = (size_t)(p - row);
}

static rt_status quoted_extent(rt_table *t, rt_extent *e) {
    size_t at = 0, opened = 0;
    bool in_quotes = false, field_start = true;
    for (;;) {
        const char *row = t->buffer + t->start;
        size_t held = t->stop - t->start;
        while (at < held && !e->broken) {
            if (in_quotes) {
                bool found;
                size_t before = at;
                scan_quoted(t, row, held, &at, &found, e);
                if (found) {
                    in_quotes = field_start = false;
                    continue;
                }
                if (at == before) break; /* the byte after a quote is not here yet */
            } else if (field_start && row[at] == '"') {
                opened = at++;
                in_quotes = true;
                field_start = false;
            } else if (row[at] == '\n') {
                e->size = at;
                e->whole = at + 1;
                e->lines++;
                return RT_OK;
            } else {
                field_start = row[at++] == t->delimiter;
            }
        }
        if (e->broken || (!t->end && held > RT_ROW_LIMIT)) {
            const char *what = in_quotes ? "a quote that is not closed within 8 MiB" : "over 8 MiB";
            first_line_extent(t, e, e->broken ? e->broken : what, e->broken ? e->broken_at : opened);
            return RT_OK;
        }
        if (t->end) break;
        RT_TRY(rt_table_fill(t, held));
    }
    if (in_quotes) {
        first_line_extent(t, e, "a quote that is never closed", opened);
        e->unclosed = true;
        return RT_OK;
    }
    e->size = e->whole = t->stop - t->start;
    return RT_OK;
}

static rt_status plain_extent(rt_table *t, rt_extent *e) {
    size_t at = 0;
    for (;;) {
        const char *row = t->buffer + t->start;
        size_t held = t->stop - t->start;
        const char *nl = held > at ? newline(row + at, row + held) : NULL;
        if (nl || t->end) {
            e->size = nl ? (size_t)(nl - row) : held;
            e->whole = e->size + (nl != NULL);
            e->lines = nl != NULL;
            return RT_OK;
        }
        if (held > RT_ROW_LIMIT) {
            first_line_extent(t, e, "over 8 MiB", 0);
            return RT_OK;
        }
        at = held;
        RT_TRY(rt_table_fill(t, held));
    }
}

rt_status rt_table_row_extent(rt_table *t, rt_quoting quoting, rt_extent *e) {
    *e = (rt_extent){0};
    RT_TRY(quoting == RT_QUOTING_CSV ? quoted_extent(t, e) : plain_extent(t, e));
    if (!e->broken && e->size > RT_ROW_LIMIT) e->broken = "over 8 MiB";
    /* One carriage return before the line's end belongs to it. */
    if (e->size > 0 && t->buffer[t->start + e->size - 1] == '\r') e->size--;
    return RT_OK;
}

void rt_table_consume(rt_table *t, const rt_extent *e) {
    t->start += e->whole;
    t->line += e->lines;
    t->skipping = e->cut;
}

static size_t slot_of(const rt_table *t, const char *name, size_t size) {
    size_t slot = (size_t)rt_hash64(name, size) & (t->n_slots - 1);
    while (t->slots[slot] >= 0) {
        const char *other = t->columns[t->slots[slot]];
        if (strlen(other) == size && !memcmp(other, name, size)) break;
        slot = (slot + 1) & (t->n_slots - 1);
    }
    return slot;
}

int rt_table_find_bytes(const rt_table *t, const char *name, size_t size) {
    return t->n_slots ? t->slots[slot_of(t, name, size)] : -1;
}

static rt_status grow_slots(rt_table *t) {
    size_t n = t->n_slots ? t->n_slots * 2 : 32;
    int32_t *slots = malloc(n * sizeof *slots);
    char **columns = realloc(t->columns, n / 2 * sizeof *columns);
    if (columns) t->columns = columns;
    if (!slots || !columns) {
        free(slots);
        return rt_fail(RT_ENOMEM, "%s: no memory for %d columns", rt_table_path(t), t->n_columns);
    }
    free(t->slots);
    t->slots = slots;
    t->n_slots = n;
    for (size_t i = 0; i < n; i++) slots[i] = -1;
    for (int c = 0; c < t->n_columns; c++) slots[slot_of(t, t->columns[c], strlen(t->columns[c]))] = c;
    return RT_OK;
}

rt_status rt_table_add_column(rt_table *t, const char *name, size_t size) {
    if (t->n_columns >= RT_COLUMN_LIMIT)
        return rt_fail(RT_EDATA, "%s:1: more than %d columns; at most so many are accepted", rt_table_path(t),
                       RT_COLUMN_LIMIT);
    if ((size_t)t->n_columns * 2 >= t->n_slots) RT_TRY(grow_slots(t));
    size_t slot = slot_of(t, name, size);
    if (t->slots[slot] >= 0) {
        rt_text shown = {0};
        rt_text_escaped(&shown, name, size, 80);
        rt_status rc = rt_fail(
            RT_EDATA, "%s:1: column \"%s\" stands there twice (columns %d and %d); each needs a name of its own",
            rt_table_path(t), shown.data ? shown.data : "", t->slots[slot] + 1, t->n_columns + 1);
        rt_text_free(&shown);
        return rc;
    }
    char *copy = rt_strndup(name, size);
    if (!copy) return rt_fail(RT_ENOMEM, "%s: no memory for its column names", rt_table_path(t));
    t->slots[slot] = t->n_columns;
    t->columns[t->n_columns++] = copy;
    return RT_OK;
}

static bool ends_with(const char *s, size_t n, const char *end) {
    size_t m = strlen(end);
    return n >= m && !strncasecmp(s + n - m, end, m);
}

/* By the name, less .gz or .zst; a name of the wrong kind yields to what the first line shows. */
static rt_table_format guess_format(const rt_table *t) {
    const char *name = rt_table_path(t), *row = t->buffer + t->start;
    size_t n = strlen(name), held = t->stop - t->start;
    if (ends_with(name, n, ".gz"))
        n -= 3;
    else if (ends_with(name, n, ".zst"))
        n -= 4;
    const char *nl = held ? newline(row, row + held) : NULL;
    size_t size = nl ? (size_t)(nl - row) : held;
    bool tabs = size && memchr(row, '\t', size), commas = size && memchr(row, ',', size);
    if (ends_with(name, n, ".jsonl") || ends_with(name, n, ".ndjson") || ends_with(name, n, ".json"))
        return RT_FORMAT_JSONL;
    if (ends_with(name, n, ".tsv") || ends_with(name, n, ".tab")) return RT_FORMAT_TSV;
    if (ends_with(name, n, ".csv")) return tabs && !commas ? RT_FORMAT_TSV : RT_FORMAT_CSV;
    if (size && row[0] == '{') return RT_FORMAT_JSONL;
    return !tabs && commas ? RT_FORMAT_CSV : RT_FORMAT_TSV;
}

static rt_status open_stream(rt_table *t) {
    RT_TRY(rt_table_fill(t, 15)); /* the longest magic */
    const char *bytes = t->buffer + t->start;
    size_t held = t->stop - t->start;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (held >= foreign[i].size && !memcmp(bytes, foreign[i].magic, foreign[i].size)) return refuse(t, &foreign[i]);
    if (held >= 3 && !memcmp(bytes, "\xEF\xBB\xBF", 3)) t->start += 3; /* a byte order mark is no part of a name */
    if (rt_input_is_regular(t->input)) {
        RT_TRY(rt_table_fill(t, FIRST_WINDOW - 4));
    } else {
        /* A pipe may be a conversation: wait for the header alone. */
        size_t held = 0;
        do {
            RT_TRY(rt_table_fill(t, held));
            held = t->stop - t->start;
        } while (!t->end && held < FIRST_WINDOW - 4 && !newline(t->buffer + t->start, t->buffer + t->stop));
    }
    if (t->start == t->stop)
        return rt_fail(RT_EDATA, "%s: empty; a header line with the columns' names is expected", rt_table_path(t));
    return RT_OK;
}

rt_status rt_table_open(const char *path, rt_table_format format, rt_quoting quoting, rt_table **out) {
    *out = NULL;
    rt_status rc = RT_OK;
    rt_table *t = calloc(1, sizeof *t);
    if (!t) return rt_fail(RT_ENOMEM, "%s: no memory to open it", path);
    t->line = 1;
    RT_GO(rt_input_open(path, &t->input));
    RT_GO(open_stream(t));
    t->format = format == RT_FORMAT_AUTO ? guess_format(t) : format;
    t->delimiter = t->format == RT_FORMAT_CSV ? ',' : '\t';
    RT_GO(t->format == RT_FORMAT_JSONL ? rt_table_jsonl_open(t) : rt_delimited_open(t, quoting));
    t->fields = calloc((size_t)t->n_columns, sizeof *t->fields);
    if (!t->fields) {
        rc = rt_fail(RT_ENOMEM, "%s: no memory for %d columns", path, t->n_columns);
        goto done;
    }
    *out = t;
    t = NULL;
done:
    rt_table_close(t);
    return rc;
}

void rt_table_close(rt_table *t) {
    if (!t) return;
    rt_table_jsonl_close(t);
    for (int c = 0; c < t->n_columns; c++) free(t->columns[c]);
    free(t->columns);
    free(t->fields);
    free(t->slots);
    free(t->buffer);
    rt_input_close(t->input);
    free(t);
}

rt_status rt_table_next(rt_table *t, const rt_field **fields, uint64_t *line) {
    *fields = NULL;
    if (t->given_up)
        return rt_fail(RT_EIO, "%s:%llu: nothing behind this line is read; is this a table of text?", rt_table_path(t),
                       (unsigned long long)t->line);
    if (t->skipping) RT_TRY(skip_line(t));
    *line = t->line;
    return t->format == RT_FORMAT_JSONL ? rt_jsonl_next(t, fields, line) : rt_delimited_next(t, fields, line);
}

int rt_table_columns(const rt_table *t) {
    return t->n_columns;
}

const char *rt_table_column_name(const rt_table *t, int column) {
    return column >= 0 && column < t->n_columns ? t->columns[column] : NULL;
}

int rt_table_find(const rt_table *t, const char *name) {
    return rt_table_find_bytes(t, name, strlen(name));
}

rt_status rt_table_require(const rt_table *t, const char *name, int *column) {
    *column = rt_table_find(t, name);
    if (*column >= 0) return RT_OK;
    enum { SHOWN = 24 };
    rt_text found = {0}, near = {0};
    for (int c = 0; c < t->n_columns && c < SHOWN; c++) {
        if (c > 0) rt_text_puts(&found, ", ");
        rt_text_escaped(&found, t->columns[c], strlen(t->columns[c]), 64);
    }
    if (t->n_columns > SHOWN) rt_text_printf(&found, " and %d more", t->n_columns - SHOWN);
    const char *meant = rt_did_you_mean(name, (const char *const *)t->columns, t->n_columns);
    if (meant) {
        rt_text_puts(&near, "; did you mean \"");
        rt_text_escaped(&near, meant, strlen(meant), 64);
        rt_text_puts(&near, "\"?");
    }
    rt_status rc = rt_fail(RT_EDATA, "%s:1: no %s \"%s\"; found %s%s", rt_table_path(t),
                           t->format == RT_FORMAT_JSONL ? "key" : "column", name, found.data ? found.data : "",
                           near.data ? near.data : "");
    rt_text_free(&found);
    rt_text_free(&near);
    return rc;
}

const char *rt_table_path(const rt_table *t) {
    return rt_input_name(t->input);
}
rt_table_format rt_table_get_format(const rt_table *t) {
    return t->format;
}
uint64_t rt_table_suspicious(const rt_table *t) {
    return t->suspicious;
}
uint64_t rt_table_position(const rt_table *t) {
    return rt_input_consumed(t->input);
}
uint64_t rt_table_file_size(const rt_table *t) {
    return rt_input_size(t->input);
}

rt_quoting rt_table_get_quoting(const rt_table *t, bool *guessed) {
    if (guessed) *guessed = t->guessed;
    return t->quoting;
}
