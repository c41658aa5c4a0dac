/* The per-thread error record. */
#include "status.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local rt_error rt_error_record;

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Makes `whole` of n bytes fit by leaving out its middle, at whole UTF-8 characters: an endless name or value stands
 * there, while what was wrong with it and what to do next stand at the end. */
static void fit(const char *whole, size_t n, char text[RT_ERROR_TEXT]) {
    enum { HEAD = 1500, TAIL = 2500 };
    size_t head = HEAD, tail = n - TAIL;
    while (head > HEAD - 4 && is_continuation(whole[head])) head--;
    while (tail < n && tail - (n - TAIL) < 4 && is_continuation(whole[tail])) tail++;
    snprintf(text, RT_ERROR_TEXT, "%.*s ... (%zu bytes left out) ... %s", (int)head, whole, tail - head, whole + tail);
}

__attribute__((format(printf, 2, 0))) static void write_text(char text[RT_ERROR_TEXT], const char *format,
                                                             va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(text, RT_ERROR_TEXT, format, args);
    if (n >= RT_ERROR_TEXT) {
        char *whole = malloc((size_t)n + 1);
        if (whole) {
            vsnprintf(whole, (size_t)n + 1, format, again);
            fit(whole, (size_t)n, text);
        }
        free(whole);
    }
    va_end(again);
    size_t size = strlen(text);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) size--;
    text[size] = 0;
}

rt_status rt_fail(rt_status status, const char *format, ...) {
    /* The arguments may point into the record itself, so the text is made aside. */
    char text[RT_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    write_text(text, format, args);
    va_end(args);
    rt_error_record.status = status;
    rt_error_record.trace[0] = 0;
    memcpy(rt_error_record.text, text, strlen(text) + 1);
    return status;
}

__attribute__((format(printf, 2, 3))) static void join(char text[RT_ERROR_TEXT], const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_text(text, format, args);
    va_end(args);
}

rt_status rt_fail_context(rt_status status, const char *format, ...) {
    char context[RT_ERROR_TEXT], text[RT_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    write_text(context, format, args);
    va_end(args);
    if (rt_error_record.status == RT_OK) rt_error_record.status = status;
    join(text, "%s: %s", context, rt_error_record.text);
    memcpy(rt_error_record.text, text, strlen(text) + 1);
    return rt_error_record.status;
}

rt_status rt_trace(rt_status status, const char *expr, const char *file, int line) {
    size_t n = strlen(rt_error_record.trace), room = sizeof rt_error_record.trace - n;
    if (room > 1) snprintf(rt_error_record.trace + n, room, "%s%.120s at %s:%d", n ? " <- " : "", expr, file, line);
    return status;
}

const rt_error *rt_error_get(void) {
    return &rt_error_record;
}

void rt_error_set(const rt_error *error) {
    if (error != &rt_error_record) rt_error_record = *error;
}

void rt_error_clear(void) {
    rt_error_record.status = RT_OK;
    rt_error_record.text[0] = 0;
    rt_error_record.trace[0] = 0;
}

int rt_exit_code(rt_status status) {
    switch (status) {
    case RT_ESHAPE:
        return RT_EINTERNAL;
    case RT_ENOMEM:
        return RT_EUNAVAILABLE;
    default:
        return (int)status;
    }
}
