/* One option's value: text to field and back. */
#include "value.h"
#include "../base/file.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FIELD(type, option, cfg) ((type *)(void *)((char *)(cfg) + (option)->offset))
#define CONST_FIELD(type, option, cfg) ((const type *)(const void *)((const char *)(cfg) + (option)->offset))

void rt_list_free(rt_config_list *list) {
    if (!list) return;
    for (int i = 0; i < list->n; i++) free(list->items[i]);
    free(list->items);
    *list = (rt_config_list){0};
}

bool rt_list_push(rt_config_list *list, const char *item) {
    char **grown = realloc(list->items, ((size_t)list->n + 1) * sizeof *grown);
    if (!grown) return false;
    list->items = grown;
    grown[list->n] = rt_strdup(item);
    if (!grown[list->n]) return false;
    list->n++;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* One item from *at into `item`; *at moves to the comma or the end. */
static bool take_item(const char **at, rt_text *item) {
    const char *p = *at;
    rt_text_clear(item);
    while (is_blank(*p)) p++;
    if (*p == '"') {
        for (p++;; p++) {
            if (!*p) return false;
            if (*p == '"' && p[1] != '"') break;
            if (*p == '"') p++;
            rt_text_append(item, p, 1);
        }
        for (p++; is_blank(*p);) p++;
        if (*p && *p != ',') return false;
    } else {
        const char *start = p;
        while (*p && *p != ',' && *p != '"') p++;
        if (*p == '"') return false;
        const char *end = p;
        while (end > start && is_blank(end[-1])) end--;
        rt_text_append(item, start, (size_t)(end - start));
    }
    *at = p;
    return item->data && item->size > 0;
}

bool rt_list_split(const char *text, rt_config_list *out) {
    rt_config_list list = {0};
    rt_text item = {0};
    bool ok = false;
    for (const char *p = text;; p++) {
        if (!take_item(&p, &item) || item.failed || list.n >= 100000 || !rt_list_push(&list, item.data)) goto done;
        if (!*p) break;
    }
    *out = list;
    list = (rt_config_list){0};
    ok = true;
done:
    rt_list_free(&list);
    rt_text_free(&item);
    return ok;
}

void rt_value_clear(const rt_option *o, rt_config *cfg) {
    switch (o->type) {
    case RT_OPTION_BOOL:
        *FIELD(bool, o, cfg) = false;
        break;
    case RT_OPTION_INT:
        *FIELD(int, o, cfg) = -1;
        break;
    case RT_OPTION_INT64:
        *FIELD(int64_t, o, cfg) = -1;
        break;
    case RT_OPTION_UINT64:
        *FIELD(uint64_t, o, cfg) = 0;
        break;
    case RT_OPTION_DOUBLE:
    case RT_OPTION_WARMUP:
        *FIELD(double, o, cfg) = NAN;
        break;
    case RT_OPTION_STRING:
    case RT_OPTION_NAME:
    case RT_OPTION_CHOICE:
    case RT_OPTION_PATH:
    case RT_OPTION_BASE:
        *FIELD(char *, o, cfg) = NULL;
        break;
    case RT_OPTION_FILES:
    case RT_OPTION_LIST:
        *FIELD(rt_config_list, o, cfg) = (rt_config_list){0};
        break;
    case RT_OPTION_ENUM:
        *FIELD(int, o, cfg) = 0;
        break;
    case RT_OPTION_SPAN:
        *FIELD(rt_span, o, cfg) = (rt_span){0};
        break;
    case RT_OPTION_FREEZE:
        *FIELD(rt_config_freeze, o, cfg) = (rt_config_freeze){0};
        break;
    case RT_OPTION_WEIGHTS:
        *FIELD(rt_config_weights, o, cfg) = (rt_config_weights){0};
        break;
    }
}

void rt_value_free(const rt_option *o, rt_config *cfg) {
    switch (o->type) {
    case RT_OPTION_STRING:
    case RT_OPTION_NAME:
    case RT_OPTION_CHOICE:
    case RT_OPTION_PATH:
    case RT_OPTION_BASE:
        free(*FIELD(char *, o, cfg));
        break;
    case RT_OPTION_FILES:
    case RT_OPTION_LIST:
        rt_list_free(FIELD(rt_config_list, o, cfg));
        break;
    case RT_OPTION_WEIGHTS:
        free(FIELD(rt_config_weights, o, cfg)->values);
        break;
    default:
        break;
    }
    rt_value_clear(o, cfg);
}

static rt_status bad(const rt_option *o, const char *text, const rt_value_source *source) {
    rt_text shown = {0}, expected = {0};
    rt_text_escaped(&shown, text, strlen(text), 200);
    rt_option_expected(o, &expected);
    rt_option_near_value(o, text, &expected);
    rt_status rc = rt_fail(source->status, "%s = %s: expected %s", source->label, shown.data ? shown.data : "",
                           expected.data ? expected.data : "another value");
    rt_text_free(&shown);
    rt_text_free(&expected);
    return rc;
}

static rt_status no_memory(const rt_value_source *source) {
    return rt_fail(RT_ENOMEM, "%s: out of memory", source->label);
}

static bool in_range(const rt_option *o, double v) {
    return (o->above_low ? v > o->low : v >= o->low) && (o->below_high ? v < o->high : v <= o->high);
}

static bool parse_bool(const char *text, bool *out) {
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    for (int i = 0; i < 4; i++) {
        if (!strcasecmp(text, yes[i])) return *out = true, true;
        if (!strcasecmp(text, no[i])) return *out = false, true;
    }
    return false;
}

static bool parse_whole(const rt_option *o, const char *text, long long *out) {
    if (o->word && !strcasecmp(text, o->word)) return *out = (long long)o->word_value, true;
    return rt_parse_i64(text, out) && in_range(o, (double)*out);
}

static bool parse_u64(const char *text, uint64_t *out) {
    uint64_t v = 0;
    if (!*text) return false;
    for (const char *p = text; *p; p++) {
        if (!isdigit((unsigned char)*p)) return false;
        unsigned digit = (unsigned)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    return *out = v, true;
}

static int find_name(const char *const *names, const char *text) {
    for (int i = 0; names[i]; i++)
        if (!strcasecmp(names[i], text)) return i;
    return -1;
}

/* "500 steps": a number, blanks, a word. `number` holds 64. */
static bool split_unit(const char *text, char number[64], const char **unit) {
    size_t n = strcspn(text, " \t");
    if (n == 0 || n >= 64) return false;
    memcpy(number, text, n);
    number[n] = 0;
    *unit = text + n + strspn(text + n, " \t");
    return true;
}

static bool parse_span(const char *text, rt_span *out) {
    static const struct {
        const char *word;
        rt_span_unit unit;
    } units[] = {{"", RT_SPAN_STEPS},          {"step", RT_SPAN_STEPS},    {"steps", RT_SPAN_STEPS},
                 {"epoch", RT_SPAN_EPOCHS},    {"epochs", RT_SPAN_EPOCHS}, {"minute", RT_SPAN_MINUTES},
                 {"minutes", RT_SPAN_MINUTES}, {"min", RT_SPAN_MINUTES}};
    char number[64];
    const char *unit;
    double v;
    if (!split_unit(text, number, &unit) || !rt_parse_f64(number, &v) || v < 0 || v > 1e12) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(unit, units[i].word) != 0) continue;
        if (units[i].unit == RT_SPAN_STEPS && v != floor(v)) return false;
        *out = (rt_span){v, units[i].unit};
        return true;
    }
    return false;
}

static bool parse_warmup(const rt_option *o, const char *text, double *out) {
    char number[64];
    const char *unit;
    double v;
    if (!split_unit(text, number, &unit) || !rt_parse_f64(number, &v) || !in_range(o, v)) return false;
    bool steps = !strcasecmp(unit, "step") || !strcasecmp(unit, "steps");
    if ((*unit && !steps) || (v >= 1 && v != floor(v)) || (steps && v > 0 && v < 1)) return false;
    return *out = v, true;
}

static bool parse_freeze(const char *text, rt_config_freeze *out) {
    char number[64];
    const char *unit;
    long long n;
    if (!strcasecmp(text, "none")) return *out = (rt_config_freeze){RT_FREEZE_NONE, 0}, true;
    if (!strcasecmp(text, "embeddings")) return *out = (rt_config_freeze){RT_FREEZE_EMBEDDINGS, 0}, true;
    if (!split_unit(text, number, &unit) || !rt_parse_i64(number, &n) || n < 0 || n > 256) return false;
    if (strcasecmp(unit, "layer") != 0 && strcasecmp(unit, "layers") != 0) return false;
    *out = n == 0 ? (rt_config_freeze){RT_FREEZE_EMBEDDINGS, 0} : (rt_config_freeze){RT_FREEZE_LAYERS, (int)n};
    return true;
}

static rt_status parse_weights(const rt_option *o, const char *text, const rt_value_source *source,
                               rt_config_weights *out) {
    rt_config_weights w = {.kind = RT_WEIGHTS_LIST};
    rt_config_list list = {0};
    if (!strcasecmp(text, "none") || !strcasecmp(text, "balanced")) {
        w.kind = !strcasecmp(text, "none") ? RT_WEIGHTS_NONE : RT_WEIGHTS_BALANCED;
        return *out = w, RT_OK;
    }
    rt_status rc = RT_OK;
    if (!rt_list_split(text, &list) || list.n > 1024) {
        rc = bad(o, text, source);
        goto done;
    }
    w.n = list.n;
    w.values = calloc((size_t)list.n, sizeof *w.values);
    if (!w.values) {
        rc = no_memory(source);
        goto done;
    }
    double sum = 0;
    for (int i = 0; i < list.n && rc == RT_OK; i++) {
        if (!rt_parse_f64(list.items[i], &w.values[i]) || w.values[i] < 0 || w.values[i] > 1e9)
            rc = bad(o, text, source);
        else
            sum += w.values[i];
    }
    if (rc == RT_OK && !(sum > 0)) rc = bad(o, text, source);
    if (rc != RT_OK) goto done;
    *out = w;
    w.values = NULL;
done:
    free(w.values);
    rt_list_free(&list);
    return rc;
}

static bool is_file_name(const char *text) {
    return strlen(text) <= 200 && !strchr(text, '/') && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static rt_status parse_text(const rt_option *o, const char *text, const rt_value_source *source, char **out) {
    rt_status rc = RT_OK;
    if (o->type == RT_OPTION_NAME && !is_file_name(text)) return bad(o, text, source);
    if (o->type == RT_OPTION_CHOICE) {
        int i = find_name(o->names, text);
        if (i < 0) return bad(o, text, source);
        text = o->names[i];
    }
    if (o->type == RT_OPTION_PATH && !rt_streq(text, o->word))
        rc = rt_config_path(text, source->base, out);
    else if (o->type == RT_OPTION_BASE)
        rc = rt_config_base(text, source->base, out);
    else if (!(*out = rt_strdup(text)))
        rc = no_memory(source);
    return rc == RT_ECONFIG ? rt_fail_context(rc, "%s = %s", source->label, text) : rc;
}

static rt_status parse_list(const rt_option *o, const char *text, const rt_value_source *source, rt_config_list *out) {
    rt_config_list list = {0};
    rt_status rc = RT_OK;
    if (!rt_list_split(text, &list)) return bad(o, text, source);
    for (int i = 0; i < list.n && o->type == RT_OPTION_FILES; i++) {
        char *path = NULL;
        rc = rt_config_path(list.items[i], source->base, &path);
        if (rc != RT_OK) {
            rc = rt_fail_context(rc, "%s = %s", source->label, list.items[i]);
            goto done;
        }
        free(list.items[i]);
        list.items[i] = path;
    }
    *out = list;
    list = (rt_config_list){0};
done:
    rt_list_free(&list);
    return rc;
}

/* Puts a parsed field in the place of the old one; the temporary has the layout of rt_config, so that one switch does.
 */
static rt_status parse_into(const rt_option *o, const char *text, const rt_value_source *source, rt_config *fresh) {
    long long whole = 0;
    bool ok = true;
    switch (o->type) {
    case RT_OPTION_BOOL:
        ok = parse_bool(text, FIELD(bool, o, fresh));
        break;
    case RT_OPTION_INT:
        ok = parse_whole(o, text, &whole);
        *FIELD(int, o, fresh) = (int)whole;
        break;
    case RT_OPTION_INT64:
        ok = parse_whole(o, text, &whole);
        *FIELD(int64_t, o, fresh) = whole;
        break;
    case RT_OPTION_UINT64:
        ok = parse_u64(text, FIELD(uint64_t, o, fresh));
        break;
    case RT_OPTION_DOUBLE:
        ok = rt_parse_f64(text, FIELD(double, o, fresh)) && in_range(o, *FIELD(double, o, fresh));
        break;
    case RT_OPTION_WARMUP:
        ok = parse_warmup(o, text, FIELD(double, o, fresh));
        break;
    case RT_OPTION_ENUM:
        *FIELD(int, o, fresh) = find_name(o->names, text);
        ok = *FIELD(int, o, fresh) >= 0;
        break;
    case RT_OPTION_SPAN:
        ok = parse_span(text, FIELD(rt_span, o, fresh));
        break;
    case RT_OPTION_FREEZE:
        ok = parse_freeze(text, FIELD(rt_config_freeze, o, fresh));
        break;
    case RT_OPTION_STRING:
    case RT_OPTION_NAME:
    case RT_OPTION_CHOICE:
    case RT_OPTION_PATH:
    case RT_OPTION_BASE:
        return parse_text(o, text, source, FIELD(char *, o, fresh));
    case RT_OPTION_FILES:
    case RT_OPTION_LIST:
        return parse_list(o, text, source, FIELD(rt_config_list, o, fresh));
    case RT_OPTION_WEIGHTS:
        return parse_weights(o, text, source, FIELD(rt_config_weights, o, fresh));
    }
    return ok ? RT_OK : bad(o, text, source);
}

static size_t field_size(const rt_option *o) {
    switch (o->type) {
    case RT_OPTION_BOOL:
        return sizeof(bool);
    case RT_OPTION_INT:
    case RT_OPTION_ENUM:
        return sizeof(int);
    case RT_OPTION_INT64:
        return sizeof(int64_t);
    case RT_OPTION_UINT64:
        return sizeof(uint64_t);
    case RT_OPTION_DOUBLE:
    case RT_OPTION_WARMUP:
        return sizeof(double);
    case RT_OPTION_FILES:
    case RT_OPTION_LIST:
        return sizeof(rt_config_list);
    case RT_OPTION_SPAN:
        return sizeof(rt_span);
    case RT_OPTION_FREEZE:
        return sizeof(rt_config_freeze);
    case RT_OPTION_WEIGHTS:
        return sizeof(rt_config_weights);
    default:
        return sizeof(char *);
    }
}
_Static_assert(sizeof(rt_config_device) == sizeof(int), "enums of the configuration are read as int");

rt_status rt_value_parse(const rt_option *o, const char *text, const rt_value_source *source, rt_config *cfg) {
    size_t size = strlen(text);
    while (size > 0 && is_blank(text[size - 1])) size--;
    size_t skip = strspn(text, " \t");
    char *trimmed = skip >= size ? rt_strdup("") : rt_strndup(text + skip, size - skip);
    if (!trimmed) return no_memory(source);

    rt_config fresh; /* one field of it is used */
    rt_value_clear(o, &fresh);
    rt_status rc = RT_OK;
    for (const char *p = trimmed; *p && rc == RT_OK; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) rc = bad(o, trimmed, source);
    if (rc != RT_OK) goto done;
    if (*trimmed)
        rc = parse_into(o, trimmed, source, &fresh);
    else if (o->initial && o->type != RT_OPTION_STRING)
        rc = bad(o, trimmed, source);
    if (rc != RT_OK) goto done;
    rt_value_free(o, cfg);
    memcpy((char *)cfg + o->offset, (const char *)&fresh + o->offset, field_size(o));
done:
    free(trimmed);
    return rc;
}

/* --- back to text ------------------------------------------------------------------------------------------------- */

static bool looks_like_path(const char *s) {
    size_t n = strlen(s);
    return *s == '/' || *s == '.' || (n > 3 && !strcmp(s + n - 3, ".h5")) || rt_file_exists(s) || rt_is_folder(s);
}

static void put_path(const char *path, bool absolute, rt_text *out) {
    char folder[4096];
    if (absolute && *path != '/' && getcwd(folder, sizeof folder))
        rt_text_printf(out, "%s/", strcmp(folder, "/") ? folder : "");
    rt_text_puts(out, path);
}

static void put_item(const char *item, rt_text *out) {
    size_t n = strlen(item);
    if (n && !strpbrk(item, ",\"") && !is_blank(item[0]) && !is_blank(item[n - 1])) {
        rt_text_puts(out, item);
        return;
    }
    rt_text_puts(out, "\"");
    for (const char *p = item; *p; p++) rt_text_append(out, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    rt_text_puts(out, "\"");
}

static void put_list(const rt_config_list *list, bool absolute, rt_text *out) {
    rt_text path = {0};
    for (int i = 0; i < list->n; i++) {
        rt_text_clear(&path);
        put_path(list->items[i], absolute, &path);
        if (i) rt_text_puts(out, ", ");
        put_item(path.data ? path.data : "", out);
    }
    rt_text_free(&path);
}

static void put_span(const rt_span *span, rt_text *out) {
    static const char *const one[] = {"step", "epoch", "minute"};
    rt_text_double(out, span->value);
    rt_text_printf(out, " %s%s", one[span->unit], span->value == 1 ? "" : "s");
}

static void put_whole(const rt_option *o, long long value, rt_text *out) {
    if (o->word && (double)value == o->word_value)
        rt_text_puts(out, o->word);
    else
        rt_text_printf(out, "%lld", value);
}

bool rt_value_format(const rt_option *o, const rt_config *cfg, bool absolute, rt_text *out) {
    const char *s;
    switch (o->type) {
    case RT_OPTION_BOOL:
        rt_text_puts(out, *CONST_FIELD(bool, o, cfg) ? "yes" : "no");
        return true;
    case RT_OPTION_INT:
        if (*CONST_FIELD(int, o, cfg) == -1) return false;
        put_whole(o, *CONST_FIELD(int, o, cfg), out);
        return true;
    case RT_OPTION_INT64:
        if (*CONST_FIELD(int64_t, o, cfg) == -1) return false;
        put_whole(o, *CONST_FIELD(int64_t, o, cfg), out);
        return true;
    case RT_OPTION_UINT64:
        rt_text_printf(out, "%llu", (unsigned long long)*CONST_FIELD(uint64_t, o, cfg));
        return true;
    case RT_OPTION_DOUBLE:
    case RT_OPTION_WARMUP:
        if (isnan(*CONST_FIELD(double, o, cfg))) return false;
        rt_text_double(out, *CONST_FIELD(double, o, cfg));
        return true;
    case RT_OPTION_ENUM:
        rt_text_puts(out, o->names[*CONST_FIELD(int, o, cfg)]);
        return true;
    case RT_OPTION_STRING:
    case RT_OPTION_NAME:
    case RT_OPTION_CHOICE:
    case RT_OPTION_PATH:
    case RT_OPTION_BASE:
        s = *CONST_FIELD(char *, o, cfg);
        if (!s) return o->initial != NULL; /* set to nothing, on purpose */
        if (o->type == RT_OPTION_PATH && !rt_streq(s, o->word))
            put_path(s, absolute, out);
        else if (o->type == RT_OPTION_BASE && looks_like_path(s))
            put_path(s, absolute, out);
        else
            rt_text_puts(out, s);
        return true;
    case RT_OPTION_FILES:
    case RT_OPTION_LIST:
        if (CONST_FIELD(rt_config_list, o, cfg)->n == 0) return false;
        put_list(CONST_FIELD(rt_config_list, o, cfg), absolute && o->type == RT_OPTION_FILES, out);
        return true;
    case RT_OPTION_SPAN:
        put_span(CONST_FIELD(rt_span, o, cfg), out);
        return true;
    case RT_OPTION_FREEZE: {
        const rt_config_freeze *f = CONST_FIELD(rt_config_freeze, o, cfg);
        if (f->kind == RT_FREEZE_LAYERS)
            rt_text_printf(out, "%d layer%s", f->layers, f->layers == 1 ? "" : "s");
        else
            rt_text_puts(out, f->kind == RT_FREEZE_NONE ? "none" : "embeddings");
        return true;
    }
    case RT_OPTION_WEIGHTS: {
        const rt_config_weights *w = CONST_FIELD(rt_config_weights, o, cfg);
        if (w->kind != RT_WEIGHTS_LIST) rt_text_puts(out, w->kind == RT_WEIGHTS_NONE ? "none" : "balanced");
        for (int i = 0; i < w->n; i++) {
            if (i) rt_text_puts(out, ", ");
            rt_text_double(out, w->values[i]);
        }
        return true;
    }
    }
    return false;
}
