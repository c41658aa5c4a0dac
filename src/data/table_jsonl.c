/* JSON lines. jansson decides what is well-formed; because it keeps numbers as doubles, their text is taken from the
 * line itself: numbers are listed in the order in which they stand there, which is the order of the walk. */
#include "table_internal.h"
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_ROWS = 1000 };

void rt_table_jsonl_close(rt_table *t) {
    json_decref(t->root);
    rt_text_free(&t->built);
    free(t->pending);
    free(t->numbers);
}

static rt_status list_numbers(rt_table *t, const char *row, size_t size) {
    t->n_numbers = t->next_number = 0;
    for (size_t i = 0; i < size;) {
        if (row[i] == '"') {
            for (i++; i < size && row[i] != '"'; i++) i += row[i] == '\\';
            i++;
        } else if (row[i] == '-' || (row[i] >= '0' && row[i] <= '9')) {
            size_t from = i;
            while (i < size && row[i] && strchr("+-.eE0123456789", row[i])) i++;
            if (t->n_numbers == t->numbers_capacity) {
                size_t n = t->numbers_capacity ? t->numbers_capacity * 2 : 64;
                rt_span *numbers = realloc(t->numbers, n * sizeof *numbers);
                if (!numbers) return rt_fail(RT_ENOMEM, "%s: no memory for the numbers of a row", rt_table_path(t));
                t->numbers = numbers;
                t->numbers_capacity = n;
            }
            t->numbers[t->n_numbers++] = (rt_span){from, i - from};
        } else {
            i++;
        }
    }
    return RT_OK;
}

static rt_status bad_json(const rt_table *t, uint64_t line, const char *what, int column) {
    rt_text shown = {0};
    rt_text_escaped(&shown, what, strlen(what), 160);
    rt_status rc = rt_fail(
        RT_EDATA, "%s:%llu: not a JSON object: %s (column %d); one object a line is expected, {\"key\": value, ...}",
        rt_table_path(t), (unsigned long long)line, shown.data ? shown.data : "", column);
    rt_text_free(&shown);
    return rc;
}

/* Parses the row at the window's start into t->root; *row outlives the move of the cursor, not the next row. */
static rt_status parse_row(rt_table *t, uint64_t line, const rt_extent *e, const char **row) {
    *row = t->buffer + t->start;
    json_decref(t->root);
    t->root = NULL;
    if (e->broken)
        return rt_fail(RT_EDATA, "%s:%llu: %s; one object a line is expected, of at most 8 MiB", rt_table_path(t),
                       (unsigned long long)line, e->broken);
    size_t memory = rt_json_memory(*row, e->size);
    if (memory > RT_ROW_MEMORY)
        return rt_fail(RT_EDATA,
                       "%s:%llu: so many keys and values that they would take %zu MiB of memory; a row may take %zu",
                       rt_table_path(t), (unsigned long long)line, memory >> 20, RT_ROW_MEMORY >> 20);
    json_error_t error;
    t->root = json_loadb(*row, e->size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    if (e->size > 0 && **row == '[')
        return bad_json(t, line, "a list; jq -c '.[]' turns a list of objects into JSON lines", 1);
    if (!t->root) return bad_json(t, line, error.text, error.column);
    return list_numbers(t, *row, e->size);
}

static bool is_blank(const char *row, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r\n", row[i]) || !row[i]) return false;
    return true;
}

static rt_span take_number(rt_table *t) {
    return t->next_number < t->n_numbers ? t->numbers[t->next_number++] : (rt_span){0, 0};
}

/* One value of a list (or a list in it) as text, blanks between. */
static void build(rt_table *t, const char *row, const json_t *value, bool first) {
    if (json_is_array(value) || json_is_object(value)) {
        size_t i = 0;
        if (json_is_array(value)) {
            for (; i < json_array_size(value); i++) build(t, row, json_array_get(value, i), first && i == 0);
        } else {
            for (void *it = json_object_iter((json_t *)value); it; it = json_object_iter_next((json_t *)value, it), i++)
                build(t, row, json_object_iter_value(it), first && i == 0);
        }
        return;
    }
    if (json_is_null(value)) return;
    if (!first) rt_text_puts(&t->built, " ");
    if (json_is_string(value)) {
        rt_text_append(&t->built, json_string_value(value), json_string_length(value));
    } else if (json_is_number(value)) {
        rt_span n = take_number(t);
        rt_text_append(&t->built, row + n.offset, n.size);
    } else {
        rt_text_puts(&t->built, json_is_true(value) ? "true" : "false");
    }
}

/* What to do with each key that has a value: learn its name, or fill its field. */
typedef struct {
    rt_table *t;
    const char *row;
    uint64_t line;
    bool learn;
    int next;     /* the column that stands next if rows are alike: spares the look-up */
    rt_text path; /* keys so far, joined by dots */
} rt_walk;

static rt_status learn_column(rt_walk *w) {
    rt_table *t = w->t;
    if (rt_table_find_bytes(t, w->path.data, w->path.size) >= 0) return RT_OK;
    return rt_table_add_column(t, w->path.data, w->path.size);
}

static void fill_field(rt_walk *w, const json_t *value) {
    rt_table *t = w->t;
    int column = w->next;
    if (column >= t->n_columns || strlen(t->columns[column]) != w->path.size ||
        memcmp(t->columns[column], w->path.data, w->path.size) != 0)
        column = rt_table_find_bytes(t, w->path.data, w->path.size);
    rt_field field = {"", 0, false};
    rt_span pending = {0, SIZE_MAX};
    if (json_is_string(value)) {
        field = (rt_field){json_string_value(value), json_string_length(value), false};
    } else if (json_is_number(value)) {
        rt_span n = take_number(t);
        field = (rt_field){w->row + n.offset, n.size, false};
    } else if (json_is_array(value)) {
        pending.offset = t->built.size;
        build(t, w->row, value, true);
        pending.size = t->built.size - pending.offset;
    } else if (json_is_null(value)) {
        field.missing = true;
    } else {
        field = json_is_true(value) ? (rt_field){"true", 4, false} : (rt_field){"false", 5, false};
    }
    if (column < 0) return;
    w->next = column + 1;
    t->fields[column] = field;
    t->pending[column] = pending;
}

static rt_status walk(rt_walk *w, json_t *object) {
    size_t base = w->path.size;
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        json_t *value = json_object_iter_value(it);
        const char *key = json_object_iter_key(it);
        if (base > 0) rt_text_puts(&w->path, ".");
        rt_text_puts(&w->path, key);
        RT_TRY(rt_text_status(&w->path));
        if (w->path.size > RT_KEY_LIMIT)
            return rt_fail(RT_EDATA, "%s:%llu: a key of more than %d bytes, those around it counted",
                           rt_table_path(w->t), (unsigned long long)w->line, RT_KEY_LIMIT);
        if (json_is_object(value))
            RT_TRY(walk(w, value));
        else if (w->learn)
            RT_TRY(learn_column(w));
        else
            fill_field(w, value);
        w->path.size = base;
        w->path.data[base] = 0;
    }
    return RT_OK;
}

/* So that the path has bytes even while it is empty: {"": 1} is a JSON object. */
static rt_status start_path(rt_text *path) {
    rt_text_puts(path, ".");
    rt_text_clear(path);
    return rt_text_status(path);
}

rt_status rt_table_jsonl_open(rt_table *t) {
    t->quoting = RT_QUOTING_NONE;
    rt_extent e;
    RT_TRY(rt_table_row_extent(t, RT_QUOTING_NONE, &e)); /* the first row at least is held whole */
    rt_table view = *t;                                  /* a second cursor over what is held */
    rt_walk w = {.t = t, .learn = true};
    rt_status rc = RT_OK, first_error = RT_OK;
    bool whole_stream = t->end;
    rt_error error;
    view.end = true;
    RT_GO(start_path(&w.path));
    for (int row = 0; row < SAMPLE_ROWS && view.start < view.stop; row++) {
        const char *text;
        RT_GO(rt_table_row_extent(&view, RT_QUOTING_NONE, &e));
        if (row > 0 && !whole_stream && view.start + e.whole >= view.stop) break;
        uint64_t line = view.line;
        rc = RT_OK;
        if (!is_blank(view.buffer + view.start, e.size)) rc = parse_row(&view, line, &e, &text);
        /* The cursor's parse is all that the two do not share. */
        t->numbers = view.numbers;
        t->numbers_capacity = view.numbers_capacity;
        if (rc == RT_OK && view.root) {
            w.path.size = 0;
            w.line = line;
            rc = walk(&w, view.root);
        }
        json_decref(view.root);
        view.root = NULL;
        if (rc == RT_ENOMEM || t->n_columns == RT_COLUMN_LIMIT) goto done;
        if (rc != RT_OK && first_error == RT_OK) {
            first_error = rc;
            error = *rt_error_get();
        }
        rt_table_consume(&view, &e);
    }
    rc = RT_OK;
    if (t->n_columns == 0) {
        if (first_error != RT_OK) {
            rt_error_set(&error);
            rc = first_error;
        } else {
            rc = rt_fail(RT_EDATA, "%s: no JSON object with a key; one object a line is expected", rt_table_path(t));
        }
        goto done;
    }
    t->pending = calloc((size_t)t->n_columns, sizeof *t->pending);
    if (!t->pending) rc = rt_fail(RT_ENOMEM, "%s: no memory for %d columns", rt_table_path(t), t->n_columns);
done:
    rt_text_free(&w.path);
    return rc;
}

rt_status rt_jsonl_next(rt_table *t, const rt_field **fields, uint64_t *line) {
    rt_extent e;
    for (uint64_t blanks = 0;;) {
        RT_TRY(rt_table_fill(t, 0));
        if (t->start == t->stop) return RT_OK;
        RT_TRY(rt_table_row_extent(t, RT_QUOTING_NONE, &e));
        if (e.broken || !is_blank(t->buffer + t->start, e.size)) break;
        rt_table_consume(t, &e);
        RT_TRY(rt_table_count_blank(t, &blanks));
    }
    *line = t->line;
    const char *row;
    rt_status rc = parse_row(t, *line, &e, &row);
    rt_table_consume(t, &e);
    if (rc != RT_OK) return rc;
    for (int c = 0; c < t->n_columns; c++) {
        t->fields[c] = (rt_field){"", 0, true};
        t->pending[c].size = SIZE_MAX;
    }
    rt_walk w = {.t = t, .row = row, .line = *line};
    rt_text_clear(&t->built);
    rc = start_path(&w.path);
    if (rc == RT_OK) rc = walk(&w, t->root);
    if (rc == RT_OK) rc = rt_text_status(&t->built);
    rt_text_free(&w.path);
    if (rc != RT_OK) return rc;
    for (int c = 0; c < t->n_columns; c++)
        if (t->pending[c].size != SIZE_MAX)
            t->fields[c] =
                (rt_field){t->pending[c].size ? t->built.data + t->pending[c].offset : "", t->pending[c].size, false};
    *fields = t->fields;
    return RT_OK;
}
