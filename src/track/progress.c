/* The live line of a long run. */
#include "../base/clock.h"
#include "track.h"
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define BEAT_SECONDS 1.0

struct rt_progress_line {
    FILE *stream;
    rt_log *log;
    bool terminal, shown, aside; /* aside: cleared for a log line, to come back below it */
    double every, last;          /* seconds; when a line was last drawn or logged */
    char *text;                  /* the newest; NULL between phases */
    double since;                /* when it came */
    pthread_mutex_t lock;        /* the log's hooks come from any thread */
    pthread_t beat;
    pthread_cond_t wake;
    bool beats, leave;
};

static int terminal_columns(FILE *stream) {
    struct winsize size;
    int fd = fileno(stream);
    return fd >= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* After ^Z and bg the terminal is the shell's: a line drawn there would stand in what the user types. */
static bool in_background(FILE *stream) {
    int fd = fileno(stream);
    pid_t group = fd >= 0 ? tcgetpgrp(fd) : -1;
    return group > 0 && group != getpgrp();
}

static void clear(rt_progress_line *line) {
    if (!line->shown) return;
    line->shown = false;
    if (in_background(line->stream)) return;
    fputs("\r\033[K", line->stream);
    fflush(line->stream);
}

/* One line of the terminal: a longer text would wrap, and "\r" goes back to the start of its last part only. */
static void draw(rt_progress_line *line, const char *text) {
    if (!text || in_background(line->stream)) return;
    rt_text out = {0};
    int columns = terminal_columns(line->stream) - 1;
    size_t n = strlen(text), end = 0;
    for (int used = 0; end < n && used < columns; used++) {
        unsigned cp;
        bool bad = false;
        int step = rt_utf8_decode((const unsigned char *)text + end, n - end, &cp, &bad);
        end += step > 0 ? (size_t)step : 1;
    }
    rt_text_puts(&out, "\r\033[K");
    rt_text_escaped(&out, text, end, end);
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
    line->aside = line->shown;
    clear(line);
    pthread_mutex_unlock(&line->lock);
}

static void after_log_line(void *context) {
    rt_progress_line *line = context;
    pthread_mutex_lock(&line->lock);
    if (line->aside) draw(line, line->text);
    line->aside = false;
    pthread_mutex_unlock(&line->lock);
}

/* CLOCK_MONOTONIC: rt_clock_seconds and the waits below must agree. */
static bool make_locks(rt_progress_line *line) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) return false;
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_mutex_init(&line->lock, NULL) == 0 && pthread_cond_init(&line->wake, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return ok;
}

rt_progress_line *rt_progress_line_new(FILE *stream, bool terminal, double every, rt_log *log) {
    rt_progress_line *line = calloc(1, sizeof *line);
    if (!line) return NULL;
    *line = (rt_progress_line){.stream = stream, .log = log, .terminal = terminal && stream, .every = every};
    if (!make_locks(line)) {
        free(line);
        return NULL;
    }
    /* A terminal shows the first text at once; a log gets its first line after `every` seconds. */
    line->last = line->terminal ? 0 : rt_clock_seconds();
    if (line->terminal) rt_log_set_hooks(log, before_log_line, after_log_line, line);
    return line;
}

static bool keep_text(rt_progress_line *line, const char *text, double now) {
    char *copy = rt_strdup(text);
    if (!copy) return false;
    free(line->text);
    line->text = copy;
    line->since = now;
    return true;
}

void rt_progress_line_update(rt_progress_line *line, const char *text) {
    if (!line) return;
    double now = rt_clock_seconds();
    pthread_mutex_lock(&line->lock);
    bool due = now - line->last >= (line->terminal ? REDRAW_SECONDS : line->every) || line->last == 0;
    if (due) line->last = now;
    if (keep_text(line, text, now) && line->terminal && due) draw(line, line->text);
    pthread_mutex_unlock(&line->lock);
    /* Outside the lock: the log has its own, and calls hooks under it. */
    if (due && !line->terminal) rt_info(line->log, "%s", text);
}

void rt_progress_line_phase(rt_progress_line *line, const char *text) {
    if (!line) return;
    pthread_mutex_lock(&line->lock);
    if (!rt_streq(line->text, text)) keep_text(line, text, rt_clock_seconds());
    pthread_mutex_unlock(&line->lock);
}

void rt_progress_line_end(rt_progress_line *line) {
    if (!line) return;
    pthread_mutex_lock(&line->lock);
    if (line->terminal) clear(line);
    free(line->text);
    line->text = NULL;
    /* A log's clock runs on: phases that are each shorter than `every` must not add up to silence. */
    if (line->terminal) line->last = 0;
    pthread_mutex_unlock(&line->lock);
}

/* --- the beat: says the last text again where nothing new comes -------------------------------------------------- */

/* What is due now, for the log; on a terminal it is drawn here. The caller frees. */
static char *one_beat(rt_progress_line *line) {
    double now = rt_clock_seconds(), seconds = now - line->since;
    rt_text text = {0};
    if (!line->text || seconds < BEAT_SECONDS || now - line->last < (line->terminal ? BEAT_SECONDS : line->every))
        return NULL;
    rt_text_printf(&text, "%s (%.0f s)", line->text, seconds);
    if (text.failed) rt_text_free(&text);
    line->last = now;
    if (!line->terminal) return text.data;
    draw(line, text.data);
    rt_text_free(&text);
    return NULL;
}

static void *beat(void *context) {
    rt_progress_line *line = context;
    pthread_mutex_lock(&line->lock);
    while (!line->leave) {
        struct timespec until;
        double next = rt_clock_seconds() + (line->every < BEAT_SECONDS && !line->terminal ? line->every : BEAT_SECONDS);
        until.tv_sec = (time_t)next;
        until.tv_nsec = (long)((next - (double)until.tv_sec) * 1e9);
        pthread_cond_timedwait(&line->wake, &line->lock, &until);
        if (line->leave) break;
        char *text = one_beat(line);
        if (!text) continue;
        pthread_mutex_unlock(&line->lock);
        rt_info(line->log, "%s", text);
        free(text);
        pthread_mutex_lock(&line->lock);
    }
    pthread_mutex_unlock(&line->lock);
    return NULL;
}

void rt_progress_line_beat(rt_progress_line *line) {
    sigset_t all, before;
    if (!line || line->beats) return;
    sigfillset(&all); /* signals are for the program's own threads */
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return;
    line->beats = pthread_create(&line->beat, NULL, beat, line) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void rt_progress_line_free(rt_progress_line *line) {
    if (!line) return;
    if (line->beats) {
        pthread_mutex_lock(&line->lock);
        line->leave = true;
        pthread_cond_signal(&line->wake);
        pthread_mutex_unlock(&line->lock);
        pthread_join(line->beat, NULL);
    }
    if (line->terminal) rt_log_set_hooks(line->log, NULL, NULL, NULL);
    rt_progress_line_end(line);
    pthread_cond_destroy(&line->wake);
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
