#include "dataset_read.h"
#include "../base/philox.h"
#include "join_internal.h"
#include "label.h"
#include <stdlib.h>
#include <string.h>

enum { OPTIONAL_GROUP, OPTIONAL_WEIGHT, OPTIONAL_USER, OPTIONAL_ITEM, OPTIONAL_TIME };

/* Bad rows that are shown one by one; the rest is counted. */
enum { SHOWN_BAD_ROWS = 5 };

/* Apart from the sites in types.h and those of the shop. */
#define NEGATIVE_KEEP_SITE 0xFFD0u

static rt_status grow_groups(rt_group_map *m) {
    size_t slots = m->slots ? m->slots * 2 : 1024;
    uint64_t *hashes = calloc(slots, sizeof *hashes);
    uint32_t *numbers = malloc(slots * sizeof *numbers);
    if (!hashes || !numbers) {
        free(hashes);
        free(numbers);
        return rt_fail(RT_ENOMEM, "no memory for %u groups", m->n);
    }
    for (size_t i = 0; i < m->slots; i++) {
        if (!m->hashes[i]) continue;
        size_t slot = (size_t)m->hashes[i] & (slots - 1);
        while (hashes[slot]) slot = (slot + 1) & (slots - 1);
        hashes[slot] = m->hashes[i];
        numbers[slot] = m->numbers[i];
    }
    free(m->hashes);
    free(m->numbers);
    m->hashes = hashes;
    m->numbers = numbers;
    m->slots = slots;
    return RT_OK;
}

static uint64_t hash_field(const rt_field *f) {
    uint64_t h = rt_hash64(f->bytes, f->size);
    return h ? h : 1;
}

static rt_status group_of(rt_group_map *m, const rt_field *f, uint32_t *number) {
    if ((size_t)m->n * 10 >= m->slots * 7) RT_TRY(grow_groups(m));
    uint64_t hash = hash_field(f);
    size_t slot = (size_t)hash & (m->slots - 1);
    while (m->hashes[slot] && m->hashes[slot] != hash) slot = (slot + 1) & (m->slots - 1);
    if (!m->hashes[slot]) {
        if (m->n == m->classes_capacity) {
            size_t capacity = m->classes_capacity ? m->classes_capacity * 2 : 1024;
            unsigned char *classes = realloc(m->classes, capacity);
            if (!classes) return rt_fail(RT_ENOMEM, "no memory for %u groups", m->n);
            m->classes = classes;
            m->classes_capacity = capacity;
        }
        m->classes[m->n] = 0;
        m->hashes[slot] = hash;
        m->numbers[slot] = m->n++;
    }
    *number = m->numbers[slot];
    return RT_OK;
}

uint32_t rt_group_map_one_class(const rt_group_map *m) {
    uint32_t n = 0;
    for (uint32_t g = 0; g < m->n; g++) n += m->classes[g] == 1 || m->classes[g] == 2;
    return n;
}

static void warn_dropped(const rt_data_spec *spec, const char *name, const char *key, const char *near,
                         const char *without, rt_log *log) {
    rt_warn(log, "%s: no column \"%s\" (%s)%s; %s%s%s%s", spec->files[0], name, key,
            spec->n_files > 1 ? " there, or in a file after it" : "", without, near ? "; did you mean \"" : "",
            near ? near : "", near ? "\"?" : "");
}

void rt_warn_dropped(const rt_data_spec *spec, uint32_t dropped, char *const *near, rt_log *log) {
    const char *names[RT_OPTIONAL_COLUMNS], *keys[RT_OPTIONAL_COLUMNS];
    rt_data_columns(spec, names, keys);
    for (int i = 0; i < RT_OPTIONAL_COLUMNS; i++)
        if (dropped >> i & 1 && !(spec->group_by_default && names[i] == spec->group))
            warn_dropped(spec, names[i], keys[i], near ? near[i] : NULL, "going on without it", log);
    for (int i = 0; i < spec->n_slices; i++)
        if (dropped >> (RT_OPTIONAL_COLUMNS + i) & 1)
            warn_dropped(spec, spec->slices[i], "data.slice", near ? near[RT_OPTIONAL_COLUMNS + i] : NULL,
                         "no metrics by it", log);
}

/* Column `name` is not in the open file: from now on it is in none. */
static void drop(rt_reader *r, int which, const char *name) {
    if (r->dropped >> which & 1) return;
    r->dropped |= 1u << which;
    const int n = rt_table_columns(r->table);
    const char **columns = calloc((size_t)n + 1, sizeof *columns);
    for (int c = 0; columns && c < n; c++) columns[c] = rt_table_column_name(r->table, c);
    const char *near = columns ? rt_did_you_mean(name, columns, n) : NULL;
    r->near[which] = near ? rt_strdup(near) : NULL; /* without memory there is no hint */
    free(columns);
}

static rt_status bind(rt_reader *r) {
    const rt_data_spec *spec = r->spec;
    for (int i = 0; i < r->n_texts; i++) RT_TRY(rt_template_bind(r->texts[i], r->table));
    r->label = -1;
    if (spec->need_label) RT_TRY(rt_table_require(r->table, spec->label, &r->label));
    if (spec->apart && spec->label && *spec->label) {
        if (!spec->label_by_default) RT_TRY(rt_table_require(r->table, spec->label, &r->label));
        r->label = rt_table_find(r->table, spec->label);
    }
    const char *names[RT_OPTIONAL_COLUMNS], *keys[RT_OPTIONAL_COLUMNS];
    rt_data_columns(spec, names, keys);
    for (int i = 0; i < RT_OPTIONAL_COLUMNS; i++) {
        r->columns[i] = names[i] && !(r->dropped >> i & 1) ? rt_table_find(r->table, names[i]) : -1;
        if (names[i] && r->columns[i] < 0) drop(r, i, names[i]);
    }
    for (int i = 0; i < spec->n_slices; i++) {
        const int which = RT_OPTIONAL_COLUMNS + i;
        r->slice_columns[i] = r->dropped >> which & 1 ? -1 : rt_table_find(r->table, spec->slices[i]);
        if (r->slice_columns[i] < 0) drop(r, which, spec->slices[i]);
    }
    return RT_OK;
}

static rt_status add_text(rt_reader *r, const char *text, const char *key) {
    RT_TRY(rt_template_parse(text, key, &r->texts[r->n_texts]));
    r->n_texts++;
    return RT_OK;
}

static rt_status open_file(rt_reader *r) {
    const rt_data_spec *spec = r->spec;
    RT_TRY(rt_table_open(spec->files[r->file], spec->format, spec->quoting, &r->table));
    return bind(r);
}

static void close_file(rt_reader *r) {
    rt_table_close(r->table);
    r->table = NULL;
}

rt_status rt_reader_open(rt_reader *r, const rt_data_spec *spec, rt_log *log) {
    *r = (rt_reader){.spec = spec, .log = log};
    if (spec->need_label && (!spec->label || !*spec->label))
        return rt_fail(RT_ECONFIG, "data.label is empty; the column that holds the click is expected");
    RT_TRY(add_text(r, spec->text_a, "data.text_a"));
    if (spec->text_b && *spec->text_b) RT_TRY(add_text(r, spec->text_b, "data.text_b"));
    if (spec->apart && r->n_texts < 2)
        return rt_fail(RT_ECONFIG, "data.text_b is empty; a pair of texts is learnt from two");
    for (int i = 0; i < spec->n_negatives; i++) RT_TRY(add_text(r, spec->negatives[i], "contrastive.negatives"));
    for (r->file = 0; r->file < spec->n_files; r->file++) {
        RT_TRY(open_file(r));
        r->all_bytes += rt_table_file_size(r->table);
        bool guessed;
        if (rt_table_get_quoting(r->table, &guessed) == RT_QUOTING_CSV && guessed)
            rt_info(log,
                    "%s: texts are quoted as in CSV (seen in its first rows); data.quoting = none reads quotes as they "
                    "stand",
                    rt_table_path(r->table));
        if (spec->n_files == 1) break; /* stays open: a pipe has only one beginning */
        if (rt_table_file_size(r->table) == 0)
            return rt_fail(RT_EDATA, "%s: a pipe among several files; it can be read alone only",
                           rt_table_path(r->table));
        close_file(r);
    }
    r->file = 0;
    rt_warn_dropped(spec, r->dropped, r->near, log);
    return RT_OK;
}

void rt_reader_close(rt_reader *r) {
    close_file(r);
    for (int i = 0; i < RT_DROPPABLE_COLUMNS; i++) free(r->near[i]);
    for (int i = 0; i < r->n_texts; i++) rt_template_free(r->texts[i]);
    rt_text_free(&r->scratch);
    free(r->groups.hashes);
    free(r->groups.numbers);
    free(r->groups.classes);
    for (int i = 0; i < RT_SLICE_COLUMNS; i++) rt_slice_map_free(&r->slices[i]);
    *r = (rt_reader){0};
}

uint64_t rt_reader_position(const rt_reader *r) {
    return r->bytes_before + (r->table ? rt_table_position(r->table) : 0);
}

/* `"maybe": expected 0, 1, or one of the labels no, yes`, the value escaped. */
static rt_status bad_value(const rt_reader *r, uint64_t line, int column, const rt_field *f, const char *expected) {
    rt_text shown = {0}, name = {0};
    if (f->missing) {
        rt_text_puts(&shown, "is null, or absent");
    } else {
        rt_text_puts(&shown, "= \"");
        rt_text_escaped(&shown, f->bytes, f->size, 60);
        rt_text_puts(&shown, "\"");
    }
    const char *raw = rt_table_column_name(r->table, column);
    rt_text_escaped(&name, raw, strlen(raw), 60);
    rt_status rc =
        rt_fail(RT_EDATA, "%s:%llu: column \"%s\" %s: expected %s", rt_table_path(r->table), (unsigned long long)line,
                name.data ? name.data : "", shown.data ? shown.data : "", expected);
    rt_text_free(&shown);
    rt_text_free(&name);
    return rc;
}

static rt_status bad_label(const rt_reader *r, uint64_t line, const rt_field *f) {
    enum { SHOWN = 12 };
    const int n = r->spec->n_labels, values = n > 2 ? n : 2;
    bool named = false; /* by other words than their numbers */
    char number[16];
    for (int k = 0; k < n && n > 1 && r->spec->labels; k++) {
        snprintf(number, sizeof number, "%d", k);
        named = named || strcmp(number, r->spec->labels[k]);
    }
    rt_text expected = {0};
    if (values > SHOWN) {
        rt_text_printf(&expected, "0 to %d", values - 1);
    } else {
        for (int k = 0; k < values; k++)
            rt_text_printf(&expected, "%s%d", k == 0 ? "" : named || k + 1 < values ? ", " : " or ", k);
    }
    for (int k = 0; k < n && named && k < SHOWN; k++) {
        rt_text_puts(&expected, k == 0 ? ", or one of the labels " : ", ");
        rt_text_puts(&expected, r->spec->labels[k]);
    }
    if (named && n > SHOWN) rt_text_puts(&expected, ", ...");
    rt_status rc = bad_value(r, line, r->label, f, expected.data ? expected.data : "a label");
    rt_text_free(&expected);
    return rc;
}

static rt_status append_text(rt_reader *r, const rt_template *t, const rt_field *fields, rt_rows_in *chunk,
                             uint32_t *size) {
    const char *bytes;
    size_t n;
    rt_template_render(t, fields, &r->scratch, &bytes, &n);
    RT_TRY(rt_text_status(&r->scratch));
    if (n > INT32_MAX)
        return rt_fail(RT_EDATA, "%s: a text of %zu bytes, put together by a template, is too long",
                       rt_table_path(r->table), n);
    rt_text_append(&chunk->text, bytes, n);
    *size = (uint32_t)n;
    return rt_text_status(&chunk->text);
}

/* Whether a row of label 0 stays: a function of the seed and the row's number among all good rows, so that threads,
 * chunks and a second start change nothing. */
static bool keeps_negative(const rt_reader *r) {
    const rt_data_spec *spec = r->spec;
    if (!(spec->negative_keep > 0 && spec->negative_keep < 1)) return true;
    uint64_t row = r->rows + r->left_out;
    rt_philox4 draw = rt_philox((uint32_t)row, (uint32_t)(row >> 32), NEGATIVE_KEEP_SITE << 16, 0, (uint32_t)spec->seed,
                                (uint32_t)(spec->seed >> 32));
    uint64_t bits = ((uint64_t)draw.v[0] << 32 | draw.v[1]) >> 11;
    return (double)bits * 0x1p-53 < spec->negative_keep;
}

/* Seconds since 1970, or the plain number; what is neither, or of the other kind than the first, has no place. */
static int64_t time_of(rt_reader *r, const rt_field *f) {
    rt_join_time time;
    bool calendar = false;
    if (f->missing || !rt_join_time_parse(f->bytes, f->size, &time, &calendar)) return INT64_MIN;
    if (!r->time_known) r->calendar = calendar;
    r->time_known = true;
    return calendar == r->calendar ? time.whole : INT64_MIN;
}

static rt_status take_slices(rt_reader *r, const rt_field *f, rt_rows_in *chunk, int i) {
    const int n = r->spec->n_slices;
    for (int c = 0; c < n; c++) {
        uint16_t *to = &chunk->slices[i * n + c];
        *to = RT_SLICE_VALUES;
        if (r->slice_columns[c] >= 0)
            RT_TRY(rt_slice_map_find(&r->slices[c], r->spec->slices[c], &f[r->slice_columns[c]], to));
    }
    return RT_OK;
}

/* The texts of a row: both at record chunk->n, or each at a record of its own. */
static rt_status take_texts(rt_reader *r, const rt_field *f, rt_rows_in *chunk) {
    const size_t before = chunk->text.size;
    const int i = chunk->n;
    rt_status rc = RT_OK;
    chunk->b_size[i] = 0;
    for (int k = 0; rc == RT_OK && k < r->n_texts; k++) {
        const bool beside = k == 1 && !r->spec->apart;
        uint32_t *size = beside ? &chunk->b_size[i] : &chunk->a_size[i + k];
        rc = append_text(r, r->texts[k], f, chunk, size);
        if (!beside) chunk->b_size[i + k] = 0;
    }
    if (rc != RT_OK && !chunk->text.failed) chunk->text.size = before;
    return rc;
}

/* All of a row but its text, once more. */
static void repeat_row(rt_rows_in *chunk, int from, int to, int n_slices) {
    chunk->labels[to] = chunk->labels[from];
    chunk->weights[to] = chunk->weights[from];
    chunk->groups[to] = chunk->groups[from];
    chunk->users[to] = chunk->users[from];
    chunk->items[to] = chunk->items[from];
    chunk->times[to] = chunk->times[from];
    memcpy(&chunk->slices[to * n_slices], &chunk->slices[from * n_slices], (size_t)n_slices * sizeof *chunk->slices);
}

static rt_status take_row(rt_reader *r, const rt_field *f, uint64_t line, rt_rows_in *chunk) {
    const int i = chunk->n;
    const int *c = r->columns;
    chunk->labels[i] = 0;
    chunk->weights[i] = 1;
    if (r->label >= 0) {
        chunk->labels[i] = rt_label_parse(&f[r->label], r->spec->labels, r->spec->n_labels);
        if (chunk->labels[i] < 0) return bad_label(r, line, &f[r->label]);
    }
    if (c[OPTIONAL_WEIGHT] >= 0 && !rt_weight_parse(&f[c[OPTIONAL_WEIGHT]], &chunk->weights[i]))
        return bad_value(r, line, c[OPTIONAL_WEIGHT], &f[c[OPTIONAL_WEIGHT]], "a finite number, 0 or more");
    if (r->label >= 0 && chunk->labels[i] == 0 && (r->spec->apart || !keeps_negative(r))) return r->left_out++, RT_OK;
    const int records = r->spec->apart ? r->n_texts : 1;
    if (r->rows > UINT32_MAX - (uint32_t)records)
        return rt_fail(RT_EINTERNAL, "more rows than %u", UINT32_MAX); /* told apart by the caller */
    RT_TRY(take_texts(r, f, chunk));
    bool positive = chunk->labels[i] > 0;
    if (c[OPTIONAL_GROUP] >= 0) {
        RT_TRY(group_of(&r->groups, &f[c[OPTIONAL_GROUP]], &chunk->groups[i]));
        if (r->label >= 0) r->groups.classes[chunk->groups[i]] |= positive ? 2 : 1;
    }
    const rt_field none = {"", 0, true};
    const rt_field *user = c[OPTIONAL_USER] >= 0 ? &f[c[OPTIONAL_USER]] : &none;
    const rt_field *item = c[OPTIONAL_ITEM] >= 0 ? &f[c[OPTIONAL_ITEM]] : &none;
    chunk->users[i] = user->size ? hash_field(user) : 0;
    chunk->items[i] = item->size ? hash_field(item) : 0;
    chunk->times[i] = c[OPTIONAL_TIME] >= 0 ? time_of(r, &f[c[OPTIONAL_TIME]]) : INT64_MIN;
    RT_TRY(take_slices(r, f, chunk, i));
    if (r->label >= 0) r->label_counts[positive]++;
    for (int k = 1; k < records; k++) repeat_row(chunk, i, i + k, r->spec->n_slices);
    r->rows += (uint64_t)records;
    chunk->n += records;
    return RT_OK;
}

static void finish_file(rt_reader *r) {
    uint64_t suspicious = rt_table_suspicious(r->table);
    if (suspicious > 0)
        rt_warn(
            r->log,
            "%s: %llu fields look quoted as in CSV, but quotes were read as they stand; data.quoting = csv reads them",
            rt_table_path(r->table), (unsigned long long)suspicious);
    r->bytes_before += rt_table_file_size(r->table);
    close_file(r);
    r->file++;
}

rt_status rt_reader_next(rt_reader *r, rt_rows_in *chunk) {
    chunk->n = 0;
    rt_text_clear(&chunk->text);
    const int records = r->spec->apart ? r->n_texts : 1;
    while (r->file < r->spec->n_files && chunk->n + records <= RT_CHUNK_ROWS && chunk->text.size < RT_CHUNK_TEXT) {
        if (!r->table) RT_TRY(open_file(r));
        const rt_field *fields;
        uint64_t line;
        rt_status rc = rt_table_next(r->table, &fields, &line);
        if (rc == RT_OK && !fields) {
            finish_file(r);
            continue;
        }
        if (rc == RT_OK) rc = take_row(r, fields, line, chunk);
        if (rc == RT_EINTERNAL && r->rows > UINT32_MAX - (uint32_t)records)
            return rt_fail(RT_EDATA, "%s:%llu: more than %u rows; train on a part of them", rt_table_path(r->table),
                           (unsigned long long)line, UINT32_MAX);
        if (rc == RT_EDATA && r->spec->skip_bad_rows) {
            if (r->bad_rows++ < SHOWN_BAD_ROWS) rt_warn(r->log, "skipped: %s", rt_error_get()->text);
            rt_error_clear();
            continue;
        }
        RT_TRY(rc);
    }
    /* A chunk that met one huge row does not keep its room. */
    if (chunk->n == 0 && chunk->text.capacity > 4 * RT_CHUNK_TEXT) rt_text_free(&chunk->text);
    return RT_OK;
}
