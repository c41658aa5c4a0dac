/* An INI file as a list of entries. */
#include "ini.h"
#include "../base/text.h"
#include <errno.h>
#include <ini_configobj.h>
#include <ini_valueobj.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void rt_ini_free(rt_ini *ini) {
    if (!ini) return;
    for (int i = 0; i < ini->n; i++) {
        free(ini->entries[i].section);
        free(ini->entries[i].key);
        free(ini->entries[i].value);
    }
    free(ini->entries);
    *ini = (rt_ini){0};
}

typedef struct {
    const char *name;
    rt_status status;
} reader;

static rt_status refuse_line(const reader *r, int line, const char *text, size_t size, const char *why) {
    rt_text shown = {0};
    rt_text_escaped(&shown, text, size, 120);
    rt_status rc = rt_fail(r->status, "%s:%d: %s: %s", r->name, line, shown.data ? shown.data : "", why);
    rt_text_free(&shown);
    return rc;
}

static bool is_word(const char *s, size_t n) {
    if (n == 0 || n > 100) return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                  c == '.';
        if (!ok) return false;
    }
    return true;
}

static size_t trim(const char **s, size_t n) {
    while (n && (**s == ' ' || **s == '\t')) (*s)++, n--;
    while (n && ((*s)[n - 1] == ' ' || (*s)[n - 1] == '\t')) n--;
    return n;
}

/* Control bytes and invalid UTF-8 have no place in a configuration, in comments neither. */
static rt_status check_bytes(const reader *r, int line, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned code = 0;
        bool bad = false;
        int used = rt_utf8_decode((const unsigned char *)s + i, n - i, &code, &bad);
        if (bad) return refuse_line(r, line, s, n, "invalid UTF-8; save the file as UTF-8 text");
        if ((code < 0x20 && code != '\t') || code == 0x7f)
            return refuse_line(r, line, s, n, "a control byte; a configuration is plain text");
        i += (size_t)(used > 0 ? used : 1);
    }
    return RT_OK;
}

/* Checks one line and hands its smoothed form on. A comment becomes an empty line: the parser knows none that is
 * indented. *keys counts the keys; -1 before the first section. */
static rt_status smooth_line(const reader *r, int line, const char *s, size_t n, int *keys, rt_text *out) {
    if (n && s[n - 1] == '\r') n--;
    RT_TRY(check_bytes(r, line, s, n));
    n = trim(&s, n);
    if (n == 0 || *s == '#' || *s == ';') return RT_OK;
    if (*s == '[') {
        if (s[n - 1] != ']')
            return refuse_line(r, line, s, n, "expected [section] alone on its line; a comment has a line of its own");
        const char *name = s + 1;
        size_t length = trim(&name, n - 2);
        if (!is_word(name, length)) return refuse_line(r, line, s, n, "expected a section's name between the brackets");
        if (*keys < 0) *keys = 0;
        rt_text_puts(out, "[");
        rt_text_append(out, name, length);
        rt_text_puts(out, "]");
        return RT_OK;
    }
    const char *equal = memchr(s, '=', n), *key = s;
    if (!equal)
        return refuse_line(r, line, s, n, "expected key = value, [section], or a comment that begins with # or ;");
    size_t length = trim(&key, (size_t)(equal - s));
    if (!is_word(key, length))
        return refuse_line(r, line, s, n, "expected a key of letters, digits and _ before the =");
    if (*keys < 0) return refuse_line(r, line, s, n, "a key before the first [section]");
    if (++*keys > RT_INI_MAX_KEYS)
        return rt_fail(r->status, "%s:%d: more than %d keys; this is no configuration", r->name, line, RT_INI_MAX_KEYS);
    rt_text_append(out, s, n);
    return RT_OK;
}

static rt_status smooth(const reader *r, const char *bytes, size_t size, rt_text *out) {
    int line = 0, keys = -1;
    if (size > RT_INI_MAX_BYTES)
        return rt_fail(r->status, "%s: %zu bytes; a configuration has at most %u", r->name, size, RT_INI_MAX_BYTES);
    if (size >= 3 && !memcmp(bytes, "\xEF\xBB\xBF", 3)) bytes += 3, size -= 3;
    for (size_t at = 0; at < size;) {
        const char *s = bytes + at, *end = memchr(s, '\n', size - at);
        size_t n = end ? (size_t)(end - s) : size - at;
        if (++line > RT_INI_MAX_LINES)
            return rt_fail(r->status, "%s: more than %d lines; this is no configuration", r->name, RT_INI_MAX_LINES);
        RT_TRY(smooth_line(r, line, s, n, &keys, out));
        rt_text_puts(out, "\n");
        at += n + (end != NULL);
    }
    return rt_text_status(out);
}

/* What the parser still had to say, though every line was checked before. */
static rt_status parser_errors(const reader *r, struct ini_cfgobj *config, int code) {
    char **errors = NULL;
    rt_status rc;
    if (ini_config_error_count(config) && ini_config_get_errors(config, &errors) == 0 && errors && errors[0])
        rc = rt_fail(r->status, "%s: %s", r->name, errors[0]);
    else
        rc = rt_fail(r->status, "%s: cannot parse: %s", r->name, strerror(code));
    if (errors) ini_config_free_errors(errors);
    return rc;
}

static rt_status push(rt_ini *ini, const char *section, const char *key, const char *value, int line) {
    if ((ini->n & (ini->n - 1)) == 0) {
        rt_ini_entry *grown = realloc(ini->entries, (size_t)(ini->n ? 2 * ini->n : 1) * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "configuration: out of memory");
        ini->entries = grown;
    }
    rt_ini_entry *e = &ini->entries[ini->n++];
    *e = (rt_ini_entry){rt_strdup(section), rt_strdup(key), rt_strdup(value ? value : ""), line};
    return e->section && e->key && e->value ? RT_OK : rt_fail(RT_ENOMEM, "configuration: out of memory");
}

/* Every value of one key; the library gives them in the order of lines. */
static rt_status take_key(const reader *r, struct ini_cfgobj *config, const char *section, const char *key,
                          rt_ini *out) {
    struct value_obj *value = NULL;
    int first = 0;
    if (ini_get_config_valueobj(section, key, config, INI_GET_FIRST_VALUE, &value) != 0) value = NULL;
    while (value) {
        const char *text = NULL;
        uint32_t line = 0;
        value_get_concatenated(value, &text);
        value_get_line(value, &line);
        if (first)
            return rt_fail(r->status, "%s:%u: %s.%s stands already in line %d; keep one of them", r->name, line,
                           section, key, first);
        first = (int)line;
        RT_TRY(push(out, section, key, text, (int)line));
        struct value_obj *next = NULL;
        if (ini_get_config_valueobj(section, key, config, INI_GET_NEXT_VALUE, &next) != 0) break;
        value = next;
    }
    return RT_OK;
}

static rt_status take_all(const reader *r, struct ini_cfgobj *config, rt_ini *out) {
    int n_sections = 0, error = 0;
    rt_status rc = RT_OK;
    char **sections = ini_get_section_list(config, &n_sections, &error);
    for (int i = 0; i < n_sections && rc == RT_OK; i++) {
        int n_keys = 0;
        char **keys = ini_get_attribute_list(config, sections[i], &n_keys, &error);
        for (int j = 0; j < n_keys && rc == RT_OK; j++) rc = take_key(r, config, sections[i], keys[j], out);
        if (keys) ini_free_attribute_list(keys);
    }
    if (sections) ini_free_section_list(sections);
    return rc;
}

static int by_line(const void *a, const void *b) {
    int x = ((const rt_ini_entry *)a)->line, y = ((const rt_ini_entry *)b)->line;
    return (x > y) - (x < y);
}

rt_status rt_ini_parse(const char *bytes, size_t size, const char *name, rt_status status, rt_ini *out) {
    reader r = {name, status};
    rt_text clean = {0};
    struct ini_cfgfile *file = NULL;
    struct ini_cfgobj *config = NULL;
    rt_status rc;
    *out = (rt_ini){0};
    RT_GO(smooth(&r, bytes, size, &clean));
    if (clean.size == 0) goto done;
    int code = ini_config_create(&config);
    if (code == 0) code = ini_config_file_from_mem(clean.data, (uint32_t)clean.size, &file);
    if (code != 0) {
        rc = rt_fail(code == ENOMEM ? RT_ENOMEM : status, "%s: cannot parse: %s", name, strerror(code));
        goto done;
    }
    code = ini_config_parse(file, INI_STOP_ON_NONE, INI_MV1S_ALLOW | INI_MV2S_ALLOW | INI_MS_MERGE,
                            INI_PARSE_NOWRAP | INI_PARSE_NO_C_COMMENTS, config);
    if (code != 0) {
        rc = parser_errors(&r, config, code);
        goto done;
    }
    RT_GO(take_all(&r, config, out));
    if (out->n) qsort(out->entries, (size_t)out->n, sizeof *out->entries, by_line);
done:
    if (rc != RT_OK) rt_ini_free(out);
    ini_config_destroy(config);
    ini_config_file_destroy(file);
    rt_text_free(&clean);
    return rc;
}
