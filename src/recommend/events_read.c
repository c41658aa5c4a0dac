/* Reads a click log. */
#include "../base/text.h"
#include "../data/join_internal.h"
#include "../data/label.h"
#include "events_internal.h"
#include <stdlib.h>
#include <string.h>

enum { ASK_EVERY = 4096 };

typedef struct {
    const rt_events_options *o;
    rt_table *table;
    int user, item, time, label;
    bool time_known, calendar; /* the kind of time that the log has, once a row was read */
    rt_click_blocks blocks;
    rt_events *e;
} log_reader;

rt_status rt_click_blocks_add(rt_click_blocks *b, rt_click_row row) {
    size_t at = (size_t)(b->n % RT_CLICK_BLOCK);
    if (at == 0) {
        if (b->n_blocks == b->capacity) {
            size_t n = b->capacity ? 2 * b->capacity : 64;
            rt_click_row **grown = realloc(b->blocks, n * sizeof *grown);
            if (!grown) return rt_fail(RT_ENOMEM, "out of memory for %llu clicks", (unsigned long long)b->n);
            b->blocks = grown;
            b->capacity = n;
        }
        rt_click_row *block = malloc(RT_CLICK_BLOCK * sizeof *block);
        if (!block) return rt_fail(RT_ENOMEM, "out of memory for %llu clicks", (unsigned long long)b->n);
        b->blocks[b->n_blocks++] = block;
    }
    b->blocks[b->n_blocks - 1][at] = row;
    b->n++;
    return RT_OK;
}

void rt_click_blocks_free(rt_click_blocks *b) {
    for (size_t i = 0; i < b->n_blocks; i++) free(b->blocks[i]);
    free(b->blocks);
    *b = (rt_click_blocks){0};
}

static rt_status bad(const log_reader *r, uint64_t line, int column, const rt_field *f, const char *accepted) {
    rt_text shown = {0};
    if (!f->missing) rt_text_escaped(&shown, f->bytes, f->size, 80);
    rt_status rc =
        rt_fail(RT_EDATA, "%s:%llu: %s \"%s\"; accepted: %s", rt_table_path(r->table), (unsigned long long)line,
                rt_table_column_name(r->table, column), shown.data ? shown.data : "", accepted);
    rt_text_free(&shown);
    return rc;
}

static rt_status find_columns(log_reader *r) {
    const rt_events_options *o = r->o;
    RT_TRY(rt_table_require(r->table, o->user, &r->user));
    RT_TRY(rt_table_require(r->table, o->item, &r->item));
    r->time = r->label = -1;
    if (o->time) r->time = rt_table_find(r->table, o->time);
    if (o->time && r->time < 0 && !o->time_optional) RT_TRY(rt_table_require(r->table, o->time, &r->time));
    if (o->label) r->label = rt_table_find(r->table, o->label);
    if (r->label < 0 && o->label_optional && o->label_else) r->label = rt_table_find(r->table, o->label_else);
    if (o->label && r->label < 0 && !o->label_optional) RT_TRY(rt_table_require(r->table, o->label, &r->label));
    r->e->timed = r->time >= 0;
    r->e->all_rows_click = r->label < 0;
    return RT_OK;
}

static bool is_id(const rt_field *f) {
    return !f->missing && f->size > 0 && f->size <= RT_ID_BYTES && !memchr(f->bytes, 0, f->size);
}

static rt_status read_click(log_reader *r, const rt_field *f, uint64_t line, bool *click) {
    const rt_events_options *o = r->o;
    int n = o->labels && o->n_labels > 1 ? o->n_labels : 2;
    *click = true;
    if (r->label < 0) return RT_OK;
    int value = rt_label_parse(&f[r->label], o->labels && o->n_labels > 1 ? o->labels : NULL, n);
    if (value < 0) return bad(r, line, r->label, &f[r->label], "0 or 1, true or false, or the names of model.labels");
    *click = value == n - 1;
    return RT_OK;
}

static rt_status read_time(log_reader *r, const rt_field *f, uint64_t line, int64_t *time) {
    rt_join_time t;
    bool calendar = false;
    *time = (int64_t)r->e->rows;
    if (r->time < 0) return RT_OK;
    const rt_field *field = &f[r->time];
    if (field->missing || !rt_join_time_parse(field->bytes, field->size, &t, &calendar))
        return bad(r, line, r->time, field, "a number, or a date as 2019-11-15 10:22:32");
    if (r->time_known && calendar != r->calendar)
        return bad(r, line, r->time, field,
                   r->calendar ? "a date, as in the rows before" : "a number, as in the rows before");
    r->calendar = calendar;
    r->time_known = true;
    *time = t.whole;
    return RT_OK;
}

/* All of a row is looked at before any of it counts. */
static rt_status take_row(log_reader *r, const rt_field *f, uint64_t line) {
    const rt_events_options *o = r->o;
    rt_events *e = r->e;
    bool click;
    int64_t time;
    uint32_t user, item;
    if (!is_id(&f[r->user])) return bad(r, line, r->user, &f[r->user], "1 to 1024 bytes of text");
    if (!is_id(&f[r->item])) return bad(r, line, r->item, &f[r->item], "1 to 1024 bytes of text");
    RT_TRY(read_click(r, f, line, &click));
    RT_TRY(read_time(r, f, line, &time));
    e->rows++;
    if (!click) return RT_OK;
    if (o->grow_items)
        RT_TRY(rt_ids_add(o->items, f[r->item].bytes, f[r->item].size, &item));
    else
        item = rt_ids_find(o->items, f[r->item].bytes, f[r->item].size);
    if (item == RT_NO_ID) {
        e->unknown_items++;
        return RT_OK;
    }
    if (o->known_users)
        user = rt_ids_find(o->users, f[r->user].bytes, f[r->user].size);
    else
        RT_TRY(rt_ids_add(o->users, f[r->user].bytes, f[r->user].size, &user));
    if (user == RT_NO_ID) {
        e->unknown_users++;
        return RT_OK;
    }
    return rt_click_blocks_add(&r->blocks, (rt_click_row){time, user, item});
}

static rt_status read_rows(log_reader *r) {
    const rt_events_options *o = r->o;
    for (uint64_t i = 0;; i++) {
        const rt_field *fields;
        uint64_t line;
        if (i % ASK_EVERY == 0 && o->stop && o->stop(o->context, r->e->rows))
            return rt_fail(RT_ESTOPPED, "stopped while reading %s", rt_table_path(r->table));
        rt_status rc = rt_table_next(r->table, &fields, &line);
        if (rc == RT_OK && !fields) return RT_OK;
        if (rc == RT_OK) rc = take_row(r, fields, line);
        if (rc == RT_EDATA && o->skip_bad_rows) {
            r->e->bad_rows++;
            continue;
        }
        RT_TRY(rc);
    }
}

rt_status rt_events_read(const rt_events_options *options, rt_events *out) {
    rt_status rc;
    log_reader r = {.o = options, .e = out};
    *out = (rt_events){0};
    RT_GO(rt_table_open(options->path, options->format, options->quoting, &r.table));
    RT_GO(find_columns(&r));
    RT_GO(read_rows(&r));
    RT_GO(rt_events_arrange(&r.blocks, rt_ids_count(options->users), rt_ids_count(options->items), out));
done:
    rt_click_blocks_free(&r.blocks);
    rt_table_close(r.table);
    if (rc != RT_OK) rt_events_free(out);
    return rc;
}
