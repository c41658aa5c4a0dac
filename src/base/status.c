/* The per-thread error record. */
#include "status.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local rt_error rt_error_record;

/* Cuts a message that vsnprintf truncated at a whole UTF-8 character and drops newlines at the end. */
static void rt_error_tidy(char *text, size_t capacity) {
    size_t n = strnlen(text, capacity - 1);
    if (n == capacity - 1) {
        size_t start = n;
        while (start > 0 && n - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
        if (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0xC0) {
            unsigned char lead = (unsigned char)text[start - 1];
            size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
            if (start - 1 + length > n) n = start - 1;
        }
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) n--;
    text[n] = 0;
}

rt_status rt_fail(rt_status status, const char *format, ...) {
    /* The arguments may point into the record itself, so the text is made aside. */
    char text[RT_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    rt_error_tidy(text, sizeof text);
    rt_error_record.status = status;
    rt_error_record.trace[0] = 0;
    memcpy(rt_error_record.text, text, strlen(text) + 1);
    return status;
}

rt_status rt_fail_context(rt_status status, const char *format, ...) {
    char context[RT_ERROR_TEXT], text[RT_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    if (rt_error_record.status == RT_OK) rt_error_record.status = status;
    const char *old = rt_error_record.text;
    size_t n = strnlen(context, sizeof context - 3), room = sizeof text - n - 3;
    size_t m = strnlen(old, room);
    memcpy(text, context, n);
    memcpy(text + n, ": ", 2);
    memcpy(text + n + 2, old, m);
    text[n + 2 + m] = 0;
    rt_error_tidy(text, sizeof text);
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
