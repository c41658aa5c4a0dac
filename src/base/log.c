/* The log. One lock a log; a line is made aside and written with one call, so lines of threads never mix. */
#include "log.h"
#include "text.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct rt_log {
    rt_log_options options;
    FILE *file;
    void (*before)(void *);
    void (*after)(void *);
    void *context;
    char prefix[128];
    pthread_mutex_t lock;
};

rt_log *rt_log_open(const rt_log_options *options) {
    rt_log *log = calloc(1, sizeof *log);
    if (!log) return NULL;
    log->options = *options;
    if (pthread_mutex_init(&log->lock, NULL) != 0) {
        free(log);
        return NULL;
    }
    return log;
}

void rt_log_close(rt_log *log) {
    if (!log) return;
    pthread_mutex_destroy(&log->lock);
    free(log);
}

void rt_log_tee(rt_log *log, FILE *file) {
    if (!log) return;
    pthread_mutex_lock(&log->lock);
    log->file = file;
    pthread_mutex_unlock(&log->lock);
}

void rt_log_rank(rt_log *log, const char *prefix, rt_log_level threshold) {
    if (!log) return;
    pthread_mutex_lock(&log->lock);
    snprintf(log->prefix, sizeof log->prefix, "%s", prefix);
    log->options.threshold = threshold;
    pthread_mutex_unlock(&log->lock);
}

void rt_log_set_hooks(rt_log *log, void (*before)(void *), void (*after)(void *), void *context) {
    if (!log) return;
    pthread_mutex_lock(&log->lock);
    log->before = before;
    log->after = after;
    log->context = context;
    pthread_mutex_unlock(&log->lock);
}

/* One line, whatever it holds: a newline within comes from a name or a value, and what follows it would pass for a line
 * of the log. */
static void rt_log_escape(rt_text *line, const char *message) {
    size_t n = strlen(message);
    while (n > 0 && message[n - 1] == '\n') n--;
    rt_text_escaped(line, message, n, (size_t)-1);
}

void rt_log_write(rt_log *log, rt_log_level level, const char *format, ...) {
    static const char *const words[] = {"error: ", "warning: ", "", ""};
    static const char *const colors[] = {"\033[31m", "\033[33m", "", "\033[2m"};
    if (!log) return;
    rt_text message = {0}, line = {0};
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *raw = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (raw) vsnprintf(raw, (size_t)n + 1, format, args);
    va_end(args);
    if (!raw) return;
    rt_log_escape(&message, raw);
    free(raw);

    pthread_mutex_lock(&log->lock);
    if (log->options.stream && level <= log->options.threshold && message.data) {
        bool color = log->options.color && colors[level][0];
        rt_text_puts(&line, color ? colors[level] : "");
        rt_text_puts(&line, log->prefix);
        rt_text_puts(&line, words[level]);
        rt_text_append(&line, message.data, message.size);
        rt_text_puts(&line, color ? "\033[0m\n" : "\n");
        if (log->before) log->before(log->context);
        fwrite(line.data, 1, line.size, log->options.stream);
        fflush(log->options.stream);
        if (log->after) log->after(log->context);
    }
    if (log->file) {
        char stamp[32] = "";
        time_t now = time(NULL);
        struct tm tm;
        if (localtime_r(&now, &tm)) strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S ", &tm);
        rt_text_clear(&line);
        rt_text_puts(&line, stamp);
        rt_text_puts(&line, words[level]);
        rt_text_append(&line, message.data ? message.data : "", message.size);
        rt_text_append(&line, "\n", 1);
        if (!line.failed) {
            fwrite(line.data, 1, line.size, log->file);
            fflush(log->file);
        }
    }
    pthread_mutex_unlock(&log->lock);
    rt_text_free(&message);
    rt_text_free(&line);
}
