#include "template.h"
#include <stdlib.h>
#include <string.h>

/* A literal piece, or a column. */
typedef struct {
    char *text; /* the literal's bytes, or the column's name */
    size_t size;
    bool is_column;
    int column;
} rt_piece;

struct rt_template {
    rt_piece *pieces;
    int n, capacity;
};

static rt_status add_piece(rt_template *t, const char *text, size_t size, bool is_column) {
    if (t->n == t->capacity) {
        int capacity = t->capacity ? t->capacity * 2 : 8;
        rt_piece *pieces = realloc(t->pieces, (size_t)capacity * sizeof *pieces);
        if (!pieces) return rt_fail(RT_ENOMEM, "no memory for a text template");
        t->pieces = pieces;
        t->capacity = capacity;
    }
    char *copy = rt_strndup(text, size);
    if (!copy) return rt_fail(RT_ENOMEM, "no memory for a text template");
    t->pieces[t->n++] = (rt_piece){copy, size, is_column, -1};
    return RT_OK;
}

static rt_status bad_brace(const char *key, const char *text, const char *at, const char *what) {
    return rt_fail(
        RT_ECONFIG,
        "%s = %s: character %d: %s; a template names columns in braces, \"{brand} {title}\", and doubles a brace "
        "that is meant as such, {{ or }}",
        key, text, (int)(at - text) + 1, what);
}

static rt_status parse(rt_template *t, const char *text, const char *key) {
    rt_status rc = RT_OK;
    rt_text literal = {0};
    for (const char *p = text; *p && rc == RT_OK;) {
        if ((p[0] == '{' || p[0] == '}') && p[1] == p[0]) {
            rt_text_append(&literal, p, 1);
            p += 2;
        } else if (*p == '}') {
            rc = bad_brace(key, text, p, "\"}\" without a \"{\" before it");
        } else if (*p == '{') {
            const char *end = p + 1 + strcspn(p + 1, "{}");
            if (*end != '}') {
                rc = bad_brace(key, text, p, "\"{\" that is never closed");
            } else if (end == p + 1) {
                rc = bad_brace(key, text, p, "no column's name between the braces");
            } else {
                if (literal.size > 0) rc = add_piece(t, literal.data, literal.size, false);
                rt_text_clear(&literal);
                if (rc == RT_OK) rc = add_piece(t, p + 1, (size_t)(end - p - 1), true);
                p = end + 1;
            }
        } else {
            rt_text_append(&literal, p++, 1);
        }
    }
    if (rc == RT_OK) rc = rt_text_status(&literal);
    if (rc == RT_OK && literal.size > 0) rc = add_piece(t, literal.data, literal.size, false);
    rt_text_free(&literal);
    return rc;
}

rt_status rt_template_parse(const char *text, const char *key, rt_template **out) {
    *out = NULL;
    if (!text || !*text)
        return rt_fail(RT_ECONFIG,
                       "%s is empty; a column's name, or a template such as \"{brand} {title}\", is expected", key);
    rt_template *t = calloc(1, sizeof *t);
    if (!t) return rt_fail(RT_ENOMEM, "no memory for a text template");
    rt_status rc = strpbrk(text, "{}") ? parse(t, text, key) : add_piece(t, text, strlen(text), true);
    bool any = false;
    for (int i = 0; i < t->n; i++) any = any || t->pieces[i].is_column;
    if (rc == RT_OK && !any)
        rc = rt_fail(RT_ECONFIG, "%s = %s: no column in it; write {column} where its text belongs", key, text);
    if (rc != RT_OK) {
        rt_template_free(t);
        return rc;
    }
    *out = t;
    return RT_OK;
}

rt_status rt_template_bind(rt_template *t, const rt_table *table) {
    for (int i = 0; i < t->n; i++)
        if (t->pieces[i].is_column) RT_TRY(rt_table_require(table, t->pieces[i].text, &t->pieces[i].column));
    return RT_OK;
}

void rt_template_render(const rt_template *t, const rt_field *fields, rt_text *scratch, const char **bytes,
                        size_t *size) {
    if (t->n == 1) {
        *bytes = fields[t->pieces[0].column].bytes;
        *size = fields[t->pieces[0].column].size;
        return;
    }
    rt_text_clear(scratch);
    for (int i = 0; i < t->n; i++) {
        const rt_piece *p = &t->pieces[i];
        if (p->is_column)
            rt_text_append(scratch, fields[p->column].bytes, fields[p->column].size);
        else
            rt_text_append(scratch, p->text, p->size);
    }
    *bytes = scratch->data ? scratch->data : "";
    *size = scratch->size;
}

void rt_template_free(rt_template *t) {
    if (!t) return;
    for (int i = 0; i < t->n; i++) free(t->pieces[i].text);
    free(t->pieces);
    free(t);
}
