/* The live line of a long run. */
#include "../base/clock.h"
#include "track.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1

struct rt_progress_line {
    FILE *stream;
    rt_log *log;
    bool terminal, shown;
    double every, last; /* seconds; when a line was last drawn or logged */
    char *text;
    pthread_mutex_t lock; /* the log's hooks come from any thread */
};

static int terminal_columns(FILE *stream) {
    struct winsize size;
    int fd = fileno(stream);
    return fd >= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

static void clear(rt_progress_line *line) {
    if (!line->shown) return;
    fputs("\r\033[K", line->stream);
    fflush(line->stream);
    line->shown = false;
}

/* One line of the terminal: a longer text would wrap, and "\r" goes back to the start of its last part only. */
static void draw(rt_progress_line *line) {
    if (!line->text) return;
    rt_text out = {0};
    int columns = terminal_columns(line->stream) - 1;
    size_t n = strlen(line->text), end = 0;
    for (int used = 0; end < n && used < columns; used++) {
        unsigned cp;
        bool bad = false;
        int step = rt_utf8_decode((const unsigned char *)line->text + end, n - end, &cp, &bad);
        end += step > 0 ? (size_t)step : 1;
    }
    rt_text_puts(&out, "\r\033[K");
    rt_text_escaped(&out, line->text, end, end);
    if (rt_text_status(&out) == RT_OK) {
        fwrite(out.data, 1, out.size, line->stream);
        fflush(line->stream);
        line->shown = true;
    }
    rt_text_free(&out);
}

static void before_log_line(void *context) {
    rt_progress_line *line = context;
    pthread_mutex_lock(&line->lock);
    clear(line);
    pthread_mutex_unlock(&line->lock);
}

static void after_log_line(void *context) {
    rt_progress_line *line = context;
    pthread_mutex_lock(&line->lock);
    draw(line);
    pthread_mutex_unlock(&line->lock);
}

rt_progress_line *rt_progress_line_new(FILE *stream, bool terminal, double every, rt_log *log) {
    rt_progress_line *line = calloc(1, sizeof *line);
    if (!line) return NULL;
    *line = (rt_progress_line){.stream = stream, .log = log, .terminal = terminal && stream, .every = every};
    if (pthread_mutex_init(&line->lock, NULL) != 0) {
        free(line);
        return NULL;
    }
    /* A terminal shows the first text at once; a log gets its first line after `every` seconds. */
    line->last = line->terminal ? 0 : rt_clock_seconds();
    if (line->terminal) rt_log_set_hooks(log, before_log_line, after_log_line, line);
    return line;
}

void rt_progress_line_update(rt_progress_line *line, const char *text) {
    if (!line) return;
    double now = rt_clock_seconds();
    pthread_mutex_lock(&line->lock);
    bool due = now - line->last >= (line->terminal ? REDRAW_SECONDS : line->every) || line->last == 0;
    if (due) line->last = now;
    if (line->terminal) {
        char *copy = rt_strdup(text);
        if (copy) {
            free(line->text);
            line->text = copy;
        }
        if (due) draw(line);
    }
    pthread_mutex_unlock(&line->lock);
    /* Outside the lock: the log has its own, and calls hooks under it. */
    if (due && !line->terminal) rt_info(line->log, "%s", text);
}

void rt_progress_line_end(rt_progress_line *line) {
    if (!line) return;
    pthread_mutex_lock(&line->lock);
    if (line->terminal) clear(line);
    free(line->text);
    line->text = NULL;
    line->last = line->terminal ? 0 : rt_clock_seconds();
    pthread_mutex_unlock(&line->lock);
}

void rt_progress_line_free(rt_progress_line *line) {
    if (!line) return;
    if (line->terminal) rt_log_set_hooks(line->log, NULL, NULL, NULL);
    rt_progress_line_end(line);
    pthread_mutex_destroy(&line->lock);
    free(line);
}

void rt_progress_bar(double share, int width, rt_text *out) {
    if (width < 0) width = 0;
    if (!(share > 0)) share = 0; /* NaN too */
    int full = share >= 1 ? width : (int)(share * width);
    rt_text_puts(out, "[");
    for (int i = 0; i < width; i++) rt_text_append(out, i < full ? "#" : ".", 1);
    rt_text_puts(out, "]");
}
