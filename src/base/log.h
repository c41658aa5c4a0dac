/* The log: lines for people on stderr (and, in a run, in log.txt). Results go to stdout and never here.
 * A NULL log is allowed everywhere and discards. Thread-safe. Bytes that a terminal would act on are written escaped.
 */
#ifndef RT_BASE_LOG_H
#define RT_BASE_LOG_H
#include <stdbool.h>
#include <stdio.h>

typedef enum { RT_LOG_ERROR, RT_LOG_WARN, RT_LOG_INFO, RT_LOG_VERBOSE } rt_log_level;
typedef struct rt_log rt_log;

typedef struct {
    FILE *stream;           /* usually stderr; not owned */
    rt_log_level threshold; /* lines above it are dropped on the stream (the file gets all up to VERBOSE) */
    bool color;
} rt_log_options;

rt_log *rt_log_open(const rt_log_options *options); /* NULL when out of memory */
void rt_log_close(rt_log *log);
/* Also append every line, with its time, to `file` (not owned; NULL ends it). */
void rt_log_tee(rt_log *log, FILE *file);
/* From now on every line begins with `prefix` ("rank 3 on node7: "; at most 127 bytes), and lines above the threshold
 * are dropped from the stream: only rank 0 says what goes well. */
void rt_log_rank(rt_log *log, const char *prefix, rt_log_level threshold);
/* Called before and after a line is written, so that a live progress line can be cleared and redrawn. */
void rt_log_set_hooks(rt_log *log, void (*before)(void *), void (*after)(void *), void *context);
/* One line; the newline is added, and those within are escaped. */
void rt_log_write(rt_log *log, rt_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define rt_error_log(log, ...) rt_log_write(log, RT_LOG_ERROR, __VA_ARGS__)
#define rt_warn(log, ...) rt_log_write(log, RT_LOG_WARN, __VA_ARGS__)
#define rt_info(log, ...) rt_log_write(log, RT_LOG_INFO, __VA_ARGS__)
#define rt_verbose(log, ...) rt_log_write(log, RT_LOG_VERBOSE, __VA_ARGS__)

#endif
