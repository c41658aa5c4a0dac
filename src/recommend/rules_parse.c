/* The rules file. */
#include "../base/file.h"
#include "rules.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FORMS "must COLUMN = VALUE, must not COLUMN = VALUE (several with | between them), or at most N per COLUMN"

/* What is left of a line. */
typedef struct {
    const char *at, *stop;
    const char *path;
    int line;
} cursor;

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static void skip_blanks(cursor *c) {
    while (c->at < c->stop && is_blank(*c->at)) c->at++;
}

static rt_status bad(const cursor *c, const char *bytes, size_t size, const char *what) {
    rt_text shown = {0};
    rt_text_escaped(&shown, bytes, size, 80);
    rt_status rc = rt_fail(RT_EDATA, "%s:%d: \"%s\": %s", c->path, c->line, shown.data ? shown.data : "", what);
    rt_text_free(&shown);
    return rc;
}

/* The word at the cursor, and then a blank or the end. */
static bool take_word(cursor *c, const char *word) {
    size_t n = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->stop - c->at) < n || strncasecmp(c->at, word, n) != 0) return false;
    if (c->at + n < c->stop && !is_blank(c->at[n])) return false;
    c->at += n;
    return true;
}

/* A name or value: in quotes, or all up to one of `ends` (the line's end counts), blanks around it left out. */
static rt_status take_text(cursor *c, const char *ends, rt_text *out, bool *quoted) {
    rt_text_clear(out);
    skip_blanks(c);
    *quoted = c->at < c->stop && *c->at == '"';
    if (*quoted) {
        const char *open = c->at++;
        for (;; c->at++) {
            if (c->at == c->stop) return bad(c, open, (size_t)(c->stop - open), "the quote does not end");
            if (*c->at == '"') {
                if (c->at + 1 == c->stop || c->at[1] != '"') break;
                c->at++;
            }
            rt_text_append(out, c->at, 1);
        }
        c->at++;
        skip_blanks(c);
        return rt_text_status(out);
    }
    const char *from = c->at, *to;
    while (c->at < c->stop && !strchr(ends, *c->at)) c->at++;
    for (to = c->at; to > from && is_blank(to[-1]);) to--;
    if (to > from) rt_text_append(out, from, (size_t)(to - from));
    return rt_text_status(out);
}

static rt_status find_column(rt_rules *r, const cursor *c, const rt_text *name, int *column) {
    for (*column = 0; *column < r->n_columns; (*column)++)
        if (!strcmp(r->columns[*column].name, name->data)) return RT_OK;
    rt_rule_column *grown = realloc(r->columns, ((size_t)r->n_columns + 1) * sizeof *grown);
    if (!grown) return rt_fail(RT_ENOMEM, "out of memory for rules");
    r->columns = grown;
    rt_rule_column *fresh = &grown[r->n_columns];
    *fresh = (rt_rule_column){.name = rt_strdup(name->data), .line = c->line, .at = -1};
    if (!fresh->name) return rt_fail(RT_ENOMEM, "out of memory for rules");
    r->n_columns++;
    return rt_ids_new(&fresh->ids);
}

static rt_status add_value(rt_rule *rule, const rt_text *value) {
    size_t n = (size_t)rule->n_values + 1;
    char **names = realloc(rule->names, n * sizeof *names);
    if (names) rule->names = names;
    size_t *sizes = names ? realloc(rule->sizes, n * sizeof *sizes) : NULL;
    if (sizes) rule->sizes = sizes;
    char *name = sizes ? rt_strndup(value->data, value->size) : NULL;
    if (!name) return rt_fail(RT_ENOMEM, "out of memory for rules");
    rule->names[n - 1] = name;
    rule->sizes[n - 1] = value->size;
    rule->n_values++;
    return RT_OK;
}

static rt_status take_column(rt_rules *r, cursor *c, const char *ends, rt_text *text, int *column) {
    bool quoted;
    const char *from = c->at;
    RT_TRY(take_text(c, ends, text, &quoted));
    if (text->size == 0) return bad(c, from, (size_t)(c->stop - from), "a column's name is missing; accepted: " FORMS);
    return find_column(r, c, text, column);
}

static rt_status parse_must(rt_rules *r, cursor *c, rt_text *text, rt_rule *rule) {
    const char *from = c->at;
    rule->kind = take_word(c, "not") ? RT_RULE_MUST_NOT : RT_RULE_MUST;
    skip_blanks(c);
    if (c->at < c->stop && *c->at == '=' && rule->kind == RT_RULE_MUST_NOT) c->at = from, rule->kind = RT_RULE_MUST;
    RT_TRY(take_column(r, c, "=", text, &rule->column));
    if (c->at == c->stop || *c->at != '=')
        return bad(c, from, (size_t)(c->stop - from), "no = after the column; accepted: " FORMS);
    do {
        bool quoted;
        c->at++; /* = or | */
        const char *value = c->at;
        RT_TRY(take_text(c, "|", text, &quoted));
        if (text->size == 0)
            return bad(c, value, (size_t)(c->stop - value),
                       "a value is missing; an item without one is not meant by any");
        if (c->at < c->stop && *c->at != '|')
            return bad(c, value, (size_t)(c->stop - value), "only | and another value may follow a quoted value");
        RT_TRY(add_value(rule, text));
    } while (c->at < c->stop);
    return RT_OK;
}

static rt_status parse_at_most(rt_rules *r, cursor *c, rt_text *text, rt_rule *rule) {
    const char *from = c->at;
    uint64_t n = 0;
    rule->kind = RT_RULE_AT_MOST;
    skip_blanks(c);
    const char *digits = c->at;
    for (; c->at < c->stop && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (n <= RT_RULES_CAP) n = 10 * n + (uint64_t)(*c->at - '0');
    if (c->at == digits || n < 1 || n > RT_RULES_CAP)
        return bad(c, digits, (size_t)(c->stop - digits),
                   "at most takes a whole number from 1 to 1000000; accepted: " FORMS);
    rule->most = (uint32_t)n;
    if (!take_word(c, "per"))
        return bad(c, from, (size_t)(c->stop - from), "no \"per\" after the number; accepted: " FORMS);
    RT_TRY(take_column(r, c, "", text, &rule->column));
    if (c->at < c->stop) return bad(c, c->at, (size_t)(c->stop - c->at), "nothing may follow the column");
    return RT_OK;
}

static rt_status parse_rule(rt_rules *r, cursor *c, rt_text *text) {
    const char *from = c->at;
    if (r->n == RT_RULES_MOST) return rt_fail(RT_EDATA, "%s:%d: more than %d rules", c->path, c->line, RT_RULES_MOST);
    rt_rule *grown = realloc(r->rules, ((size_t)r->n + 1) * sizeof *grown);
    if (!grown) return rt_fail(RT_ENOMEM, "out of memory for rules");
    r->rules = grown;
    rt_rule *rule = &grown[r->n];
    *rule = (rt_rule){.line = c->line, .text = rt_strndup(c->at, (size_t)(c->stop - c->at))};
    if (!rule->text) return rt_fail(RT_ENOMEM, "out of memory for rules");
    r->n++; /* from here on rt_rules_free knows it */
    if (take_word(c, "must")) return parse_must(r, c, text, rule);
    if (take_word(c, "at") && take_word(c, "most")) return parse_at_most(r, c, text, rule);
    return bad(c, from, (size_t)(c->stop - from), "not a rule; accepted: " FORMS);
}

/* Where the line ends but for a comment, which begins with a # at its start or behind a blank, outside of quotes. */
static const char *without_comment(const char *at, const char *stop) {
    bool quoted = false;
    for (const char *p = at; p < stop; p++) {
        if (*p == '"') quoted = !quoted;
        if (*p == '#' && !quoted && (p == at || is_blank(p[-1]))) {
            stop = p;
            break;
        }
    }
    while (stop > at && (is_blank(stop[-1]) || stop[-1] == '\r')) stop--;
    return stop;
}

rt_status rt_rules_parse(const char *path, const char *bytes, size_t size, rt_rules **out) {
    rt_status rc = RT_OK;
    rt_text text = {0};
    rt_rules *r = calloc(1, sizeof *r);
    const char *at = bytes, *stop = bytes + size;
    *out = NULL;
    if (!r) return rt_fail(RT_ENOMEM, "out of memory for rules");
    r->path = rt_strdup(path);
    if (!r->path) RT_GO(rt_fail(RT_ENOMEM, "out of memory for rules"));
    if (size > RT_RULES_BYTES)
        RT_GO(rt_fail(RT_EDATA, "%s: %zu bytes of rules; at most %d are accepted", path, size, RT_RULES_BYTES));
    if (size >= 3 && !memcmp(at, "\xEF\xBB\xBF", 3)) at += 3;
    for (int line = 1; at < stop; line++) {
        const char *end = memchr(at, '\n', (size_t)(stop - at));
        if (!end) end = stop;
        if (memchr(at, 0, (size_t)(end - at))) RT_GO(rt_fail(RT_EDATA, "%s:%d: a NUL byte in a text", path, line));
        cursor c = {.at = at, .path = path, .line = line};
        c.stop = end;
        skip_blanks(&c);
        c.stop = without_comment(c.at, end);
        if (c.at < c.stop) RT_GO(parse_rule(r, &c, &text));
        at = end < stop ? end + 1 : stop;
    }
    if (r->n == 0) RT_GO(rt_fail(RT_EDATA, "%s: no rule in it; accepted: " FORMS, path));
    *out = r;
    r = NULL;
done:
    rt_text_free(&text);
    rt_rules_free(r);
    return rc;
}

rt_status rt_rules_read(const char *path, rt_rules **out) {
    char *bytes = NULL;
    size_t size;
    *out = NULL;
    RT_TRY(rt_file_read(path, RT_RULES_BYTES, &bytes, &size));
    rt_status rc = rt_rules_parse(path, bytes, size, out);
    free(bytes);
    return rc;
}
