/* JSON lines of vectors: written plainly; read by a scanner of their own, for a line may hold 32,768 numbers, and a
 * general reader takes forty times their memory. */
#include "vectors_internal.h"
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 64 };

void rt_vectors_put_line(rt_text *out, const char *id, size_t id_size, const float *row, int width) {
    rt_text_puts(out, "{\"id\": ");
    rt_text_json_string(out, id, id_size);
    rt_text_puts(out, ", \"vector\": [");
    for (int i = 0; i < width; i++) {
        if (i) rt_text_puts(out, ", ");
        rt_text_float(out, row[i]);
    }
    rt_text_puts(out, "]}\n");
}

typedef struct {
    const char *start, *at; /* NUL-terminated */
} scanner;

static rt_status bad(const scanner *s, const char *wanted) {
    rt_text found = {0};
    rt_text_escaped(&found, s->at, strnlen(s->at, 20), 20);
    rt_status rc = rt_fail(RT_EDATA, "byte %zu: expected %s, found \"%s\"", (size_t)(s->at - s->start) + 1, wanted,
                           found.data ? found.data : "");
    rt_text_free(&found);
    return rc;
}

static char skip_blanks(scanner *s) {
    while (*s->at == ' ' || *s->at == '\t' || *s->at == '\r') s->at++;
    return *s->at;
}

static int hex4(const char *p) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i], digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* \uXXXX, and its second half where it is one of a pair. */
static rt_status take_code(scanner *s, rt_text *out) {
    int code = hex4(s->at + 1);
    char utf8[4];
    if (code < 0) return bad(s, "four hexadecimal digits after \\u");
    s->at += 5;
    if (code >= 0xd800 && code < 0xdc00) {
        int low = s->at[0] == '\\' && s->at[1] == 'u' ? hex4(s->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff) return bad(s, "the second half of a pair of \\u");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        s->at += 6;
    } else if (code >= 0xdc00 && code <= 0xdfff) {
        return bad(s, "no second half of a pair of \\u without its first");
    }
    if (out) rt_text_append(out, utf8, (size_t)rt_utf8_encode((unsigned)code, utf8));
    return RT_OK;
}

/* A string's text is appended to `out` (may be NULL). */
static rt_status take_string(scanner *s, rt_text *out) {
    static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (*s->at != '"') return bad(s, "a string");
    s->at++;
    while (*s->at != '"') {
        const char *run = s->at;
        while (*s->at != '"' && *s->at != '\\' && (unsigned char)*s->at >= 0x20) s->at++;
        if (out) rt_text_append(out, run, (size_t)(s->at - run));
        if (*s->at == '"') break;
        if (*s->at != '\\') return bad(s, "the end of a string");
        s->at++;
        if (*s->at == 'u') {
            RT_TRY(take_code(s, out));
            continue;
        }
        const char *e = *s->at ? strchr(escapes, *s->at) : NULL;
        if (!e) return bad(s, "an escape that JSON knows");
        if (out) rt_text_append(out, &meant[e - escapes], 1);
        s->at++;
    }
    s->at++;
    return RT_OK;
}

/* The bytes of a number by JSON's grammar. */
static rt_status take_number(scanner *s) {
    const char *p = s->at;
    if (*p == '-') p++;
    if (*p == '0')
        p++;
    else if (*p >= '1' && *p <= '9')
        while (*p >= '0' && *p <= '9') p++;
    else
        return bad(s, "a number");
    if (*p == '.') {
        if (*++p < '0' || *p > '9') return bad(s, "a number");
        while (*p >= '0' && *p <= '9') p++;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') p++;
        if (*p < '0' || *p > '9') return bad(s, "a number");
        while (*p >= '0' && *p <= '9') p++;
    }
    s->at = p;
    return RT_OK;
}

static rt_status skip_value(scanner *s, int depth);

/* From the opening bracket on. */
static rt_status skip_inside(scanner *s, int depth) {
    char close = *s->at++ == '{' ? '}' : ']';
    if (depth == DEPTH) return bad(s, "fewer than 64 values within each other");
    if (skip_blanks(s) == close) {
        s->at++;
        return RT_OK;
    }
    for (;;) {
        if (close == '}') {
            skip_blanks(s);
            RT_TRY(take_string(s, NULL));
            if (skip_blanks(s) != ':') return bad(s, "a colon");
            s->at++;
        }
        RT_TRY(skip_value(s, depth + 1));
        char next = skip_blanks(s);
        if (next != ',' && next != close) return bad(s, "a comma");
        s->at++;
        if (next == close) return RT_OK;
    }
}

static rt_status skip_value(scanner *s, int depth) {
    static const char *const words[] = {"true", "false", "null"};
    char c = skip_blanks(s);
    if (c == '"') return take_string(s, NULL);
    if (c == '{' || c == '[') return skip_inside(s, depth);
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if (strncmp(s->at, words[i], n) != 0) continue;
        s->at += n;
        return RT_OK;
    }
    return take_number(s);
}

static rt_status take_vector(scanner *s, float *row, int capacity, int *width) {
    if (skip_blanks(s) != '[') return bad(s, "a list of numbers");
    s->at++;
    for (*width = 0;;) {
        skip_blanks(s);
        const char *start = s->at;
        RT_TRY(take_number(s));
        if (*width == RT_VECTORS_MAX_WIDTH) return rt_fail(RT_EDATA, "a vector of over %d numbers", *width);
        if (row && *width < capacity) row[*width] = strtof(start, NULL);
        ++*width;
        char next = skip_blanks(s);
        if (next != ',' && next != ']') return bad(s, "a comma");
        s->at++;
        if (next == ']') return RT_OK;
    }
}

static rt_status take_id(scanner *s, rt_text *id) {
    const char *start;
    if (skip_blanks(s) == '"') return take_string(s, id);
    start = s->at;
    RT_TRY(take_number(s));
    rt_text_append(id, start, (size_t)(s->at - start));
    return RT_OK;
}

rt_status rt_vectors_parse_line(const char *line, size_t size, rt_text *id, float *row, int capacity, int *width) {
    scanner s = {line, line};
    bool has_id = false, has_vector = false;
    if (strlen(line) != size) return rt_fail(RT_EDATA, "byte %zu: a NUL byte", strlen(line) + 1);
    if (skip_blanks(&s) != '{') return bad(&s, "{\"id\": ..., \"vector\": [...]}");
    s.at++;
    for (bool more = true; more;) {
        rt_text key = {0};
        skip_blanks(&s);
        rt_status rc = take_string(&s, &key);
        const bool is_id = rc == RT_OK && rt_streq(key.data, "id"),
                   is_vector = rc == RT_OK && rt_streq(key.data, "vector");
        rt_text_free(&key);
        RT_TRY(rc);
        if (skip_blanks(&s) != ':') return bad(&s, "a colon");
        s.at++;
        if ((is_id && has_id) || (is_vector && has_vector))
            return rt_fail(RT_EDATA, "two \"%s\" in one line", is_id ? "id" : "vector");
        has_id = has_id || is_id;
        has_vector = has_vector || is_vector;
        RT_TRY(is_id ? take_id(&s, id) : is_vector ? take_vector(&s, row, capacity, width) : skip_value(&s, 0));
        char next = skip_blanks(&s);
        if (next != ',' && next != '}') return bad(&s, "a comma");
        s.at++;
        more = next == ',';
    }
    if (skip_blanks(&s)) return bad(&s, "the end of the line");
    if (!has_id || !has_vector) return rt_fail(RT_EDATA, "a line without \"%s\"", has_id ? "vector" : "id");
    return rt_text_status(id);
}
