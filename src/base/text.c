/* Growing text, numbers that read back to themselves, JSON strings. */
#include "text.h"
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rt_text_free(rt_text *text) {
    if (!text) return;
    free(text->data);
    *text = (rt_text){0};
}

void rt_text_clear(rt_text *text) {
    text->size = 0;
    text->failed = false;
    if (text->data) text->data[0] = 0;
}

/* Room for `more` bytes and the final NUL. */
static bool rt_text_reserve(rt_text *text, size_t more) {
    if (text->failed) return false;
    if (more > SIZE_MAX / 2 - 1 - text->size) {
        text->failed = true;
        return false;
    }
    size_t need = text->size + more + 1;
    if (need <= text->capacity) return true;
    size_t capacity = text->capacity + text->capacity / 2;
    if (capacity < need) capacity = need;
    if (capacity < 64) capacity = 64;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void rt_text_append(rt_text *text, const char *bytes, size_t size) {
    if (!rt_text_reserve(text, size)) return;
    if (size > 0) memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = 0;
}

void rt_text_puts(rt_text *text, const char *s) {
    rt_text_append(text, s, strlen(s));
}

void rt_text_printf(rt_text *text, const char *format, ...) {
    char small[256];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    if (n < 0) {
        text->failed = true;
    } else if ((size_t)n < sizeof small) {
        rt_text_append(text, small, (size_t)n);
    } else if (rt_text_reserve(text, (size_t)n)) {
        vsnprintf(text->data + text->size, (size_t)n + 1, format, again);
        text->size += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

rt_status rt_text_status(const rt_text *text) {
    return text->failed ? rt_fail(RT_ENOMEM, "no memory for a text of more than %zu bytes", text->capacity) : RT_OK;
}

/* printf writes the locale's decimal point; the program never calls setlocale(), but a host of the library may. */
static void rt_text_number(rt_text *text, char *number) {
    for (char *c = number; *c; c++)
        if (*c == ',') *c = '.';
    rt_text_puts(text, number);
}

/* %g writes 10 as 1e+01, because one digit is enough to read it back; whole numbers are easier on the eye as they are.
 */
static bool is_plain_whole(double value) {
    return fabs(value) < 1e15 && value == floor(value);
}

void rt_text_float(rt_text *text, float value) {
    char number[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(number, sizeof number, "%.*g", digits, (double)value);
        if (!isfinite(value) || strtof(number, NULL) == value) break;
    }
    if (is_plain_whole((double)value)) snprintf(number, sizeof number, "%.0f", (double)value);
    rt_text_number(text, number);
}

void rt_text_double(rt_text *text, double value) {
    char number[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(number, sizeof number, "%.*g", digits, value);
        if (!isfinite(value) || strtod(number, NULL) == value) break;
    }
    if (is_plain_whole(value)) snprintf(number, sizeof number, "%.0f", value);
    rt_text_number(text, number);
}

void rt_text_json_string(rt_text *text, const char *bytes, size_t size) {
    rt_text_append(text, "\"", 1);
    for (size_t at = 0; at < size;) {
        /* The longest run that needs no escape goes in one piece. */
        size_t end = at;
        while (end < size && (unsigned char)bytes[end] >= 0x20 && (unsigned char)bytes[end] < 0x7F &&
               bytes[end] != '"' && bytes[end] != '\\')
            end++;
        rt_text_append(text, bytes + at, end - at);
        at = end;
        if (at == size) break;
        unsigned code_point;
        bool bad = false;
        char utf8[4];
        int n = rt_utf8_decode((const unsigned char *)bytes + at, size - at, &code_point, &bad);
        switch (code_point) {
        case '"':
            rt_text_append(text, "\\\"", 2);
            break;
        case '\\':
            rt_text_append(text, "\\\\", 2);
            break;
        case '\n':
            rt_text_append(text, "\\n", 2);
            break;
        case '\r':
            rt_text_append(text, "\\r", 2);
            break;
        case '\t':
            rt_text_append(text, "\\t", 2);
            break;
        default:
            if (code_point < 0x20 || code_point == 0x7F)
                rt_text_printf(text, "\\u%04x", code_point);
            else
                rt_text_append(text, utf8, (size_t)rt_utf8_encode(code_point, utf8));
        }
        at += (size_t)n;
    }
    rt_text_append(text, "\"", 1);
}

/* C0 and C1 controls, and the characters that reorder or hide what stands beside them. */
static bool rt_acts_on_terminal(unsigned c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x2069) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB);
}

void rt_text_escaped(rt_text *text, const char *bytes, size_t size, size_t limit) {
    size_t at = 0;
    while (at < size) {
        unsigned code_point;
        bool bad = false;
        int n = rt_utf8_decode((const unsigned char *)bytes + at, size - at, &code_point, &bad);
        if (at + (size_t)n > limit) break;
        if (bad)
            rt_text_printf(text, "\\x%02x", (unsigned char)bytes[at]);
        else if (code_point == '\t')
            rt_text_append(text, "\\t", 2);
        else if (code_point == '\n')
            rt_text_append(text, "\\n", 2);
        else if (code_point == '\r')
            rt_text_append(text, "\\r", 2);
        else if (rt_acts_on_terminal(code_point))
            rt_text_printf(text, code_point < 0x100 ? "\\x%02x" : "\\u%04x", code_point);
        else
            rt_text_append(text, bytes + at, (size_t)n);
        at += (size_t)n;
    }
    if (at < size) rt_text_printf(text, "... (%zu bytes more)", size - at);
}
