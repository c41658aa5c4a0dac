#include "item_table.h"
#include "../data/join_internal.h"
#include "../data/template.h"
#include <stdlib.h>
#include <string.h>

enum { ASK_EVERY = 4096, TITLE = RT_CATALOGUE_TEXTS };

_Static_assert((int)RT_TITLE_BYTES == (int)RT_JOIN_TITLE_BYTES && (int)RT_HISTORY_BYTES == (int)RT_JOIN_HISTORY_BYTES,
               "histories are those of the join");

typedef struct {
    const rt_catalogue_options *o;
    rt_catalogue *c;
    rt_table *table;
    rt_template *templates[RT_CATALOGUE_TEXTS + 1];
    int id, slice;
    rt_text scratch;
} item_reader;

void rt_catalogue_free(rt_catalogue *c) {
    if (!c) return;
    rt_ids_free(c->ids);
    for (int t = 0; t <= TITLE; t++) {
        rt_text_free(&c->texts[t]);
        free(c->ends[t]);
    }
    free(c->slices);
    *c = (rt_catalogue){0};
}

const char *rt_catalogue_text(const rt_catalogue *c, int t, uint32_t item, size_t *size) {
    *size = 0;
    if (!c->ends[t] || item >= c->n) return "";
    uint64_t from = item ? c->ends[t][item - 1] : 0;
    *size = (size_t)(c->ends[t][item] - from);
    return c->texts[t].data ? c->texts[t].data + from : "";
}

uint32_t rt_catalogue_history(const rt_catalogue *c, const uint32_t *items, uint32_t n, uint32_t most, rt_text *out) {
    size_t all = 0, size;
    uint32_t from = n, titles = 0;
    rt_text_clear(out);
    for (; from > 0 && n - from < most; from--) {
        rt_catalogue_text(c, TITLE, items[from - 1], &size);
        all += size + 3;
        if (all > RT_HISTORY_BYTES) break;
    }
    for (uint32_t i = from; i < n; i++) {
        const char *title = rt_catalogue_text(c, TITLE, items[i], &size);
        if (size == 0) continue;
        if (titles++ > 0) rt_text_puts(out, " ; ");
        rt_text_append(out, title, size);
    }
    return titles;
}

static rt_status bind(item_reader *r, int t, const char *text, const char *key) {
    if (!text) return RT_OK;
    rt_status rc = rt_template_parse(text, key, &r->templates[t]);
    if (rc == RT_ECONFIG) return rt_fail(RT_EUSAGE, "%s", rt_error_get()->text);
    RT_TRY(rc);
    rc = rt_template_bind(r->templates[t], r->table);
    return rc == RT_OK ? RT_OK
                       : rt_fail(rc, "%s (%s names a column, or a template of several)", rt_error_get()->text, key);
}

static rt_status bind_title(item_reader *r) {
    const rt_catalogue_options *o = r->o;
    const char *title = o->title, *key = "--title";
    if (title && o->title_optional && rt_table_find(r->table, title) < 0) {
        title = o->id;
        for (int t = RT_CATALOGUE_TEXTS; t-- > 0;)
            if (o->texts[t]) title = o->texts[t], key = o->keys[t];
    }
    return bind(r, TITLE, title, key);
}

static rt_status make_room(rt_catalogue *c, const item_reader *r) {
    if (c->n < c->room) return RT_OK;
    uint32_t room = c->room ? 2 * c->room : 1024;
    for (int t = 0; t <= TITLE; t++) {
        if (!r->templates[t]) continue;
        uint64_t *grown = realloc(c->ends[t], room * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory for %u items", room);
        c->ends[t] = grown;
    }
    if (r->slice >= 0) {
        uint32_t *grown = realloc(c->slices, room * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory for %u items", room);
        c->slices = grown;
    }
    c->room = room;
    return RT_OK;
}

static rt_status bad_id(const item_reader *r, uint64_t line, const rt_field *f) {
    rt_text shown = {0};
    if (!f->missing) rt_text_escaped(&shown, f->bytes, f->size, 80);
    rt_status rc =
        rt_fail(RT_EDATA, "%s:%llu: an item's id \"%s\"; accepted: 1 to %d bytes of text", rt_table_path(r->table),
                (unsigned long long)line, shown.data ? shown.data : "", RT_ID_BYTES);
    rt_text_free(&shown);
    return rc;
}

static rt_status take_item(item_reader *r, const rt_field *f, uint64_t line) {
    rt_catalogue *c = r->c;
    const rt_field *id = &f[r->id];
    uint32_t number;
    if (id->missing || !id->size || id->size > RT_ID_BYTES || memchr(id->bytes, 0, id->size))
        return bad_id(r, line, id);
    RT_TRY(make_room(c, r));
    RT_TRY(rt_ids_add(c->ids, id->bytes, id->size, &number));
    if (number < c->n) {
        c->again++;
        return RT_OK;
    }
    for (int t = 0; t <= TITLE; t++) {
        const char *bytes = NULL;
        size_t size = 0;
        if (!r->templates[t]) continue;
        rt_template_render(r->templates[t], f, &r->scratch, &bytes, &size);
        if (t == TITLE)
            rt_join_clean(&c->texts[t], bytes ? bytes : "", bytes ? size : 0, RT_TITLE_BYTES);
        else if (bytes)
            rt_text_append(&c->texts[t], bytes, size);
        RT_TRY(rt_text_status(&c->texts[t]));
        c->ends[t][number] = c->texts[t].size;
    }
    if (r->slice >= 0) {
        const rt_field *s = &f[r->slice];
        c->slices[number] = RT_NO_ID;
        if (!s->missing && s->size && s->size <= RT_ID_BYTES)
            RT_TRY(rt_ids_add(r->o->slice_names, s->bytes, s->size, &c->slices[number]));
    }
    if (r->o->rules) RT_TRY(rt_rules_add_item(r->o->rules, f));
    c->n++;
    return RT_OK;
}

static rt_status read_items(item_reader *r) {
    const rt_catalogue_options *o = r->o;
    for (uint64_t i = 0;; i++) {
        const rt_field *fields;
        uint64_t line;
        if (i % ASK_EVERY == 0 && o->stop && o->stop(o->context, i))
            return rt_fail(RT_ESTOPPED, "stopped while reading %s", rt_table_path(r->table));
        rt_status rc = rt_table_next(r->table, &fields, &line);
        if (rc == RT_OK && !fields) return RT_OK;
        if (rc == RT_OK) rc = take_item(r, fields, line);
        if (rc == RT_EDATA && o->skip_bad_rows) {
            r->c->bad_rows++;
            continue;
        }
        RT_TRY(rc);
    }
}

rt_status rt_catalogue_read(const rt_catalogue_options *o, rt_catalogue *out) {
    rt_status rc;
    item_reader r = {.o = o, .c = out, .slice = -1};
    *out = (rt_catalogue){0};
    RT_GO(rt_ids_new(&out->ids));
    RT_GO(rt_table_open(o->path, o->format, o->quoting, &r.table));
    RT_GO(rt_table_require(r.table, o->id, &r.id));
    for (int t = 0; t < RT_CATALOGUE_TEXTS; t++) RT_GO(bind(&r, t, o->texts[t], o->keys[t]));
    RT_GO(bind_title(&r));
    if (o->slice) r.slice = rt_table_find(r.table, o->slice);
    if (o->rules) RT_GO(rt_rules_bind(o->rules, r.table));
    RT_GO(read_items(&r));
    if (out->n == 0) RT_GO(rt_fail(RT_EDATA, "%s: no items in it", rt_table_path(r.table)));
done:
    for (int t = 0; t <= TITLE; t++) rt_template_free(r.templates[t]);
    rt_text_free(&r.scratch);
    rt_table_close(r.table);
    if (rc != RT_OK) rt_catalogue_free(out);
    return rc;
}
