/* Status codes and the error record.
 *
 * Every function that can fail returns an rt_status. Codes that a user can meet have the value of the program's exit
 * code, so src/cli maps them by rt_exit_code() alone. A failing function calls rt_fail() once, where it knows file,
 * line or key, what was found and what would be accepted; callers hand the status up (RT_TRY) and may add context with
 * rt_fail_context(). The record is per thread, like errno: the one piece of state outside a context.
 * Libraries return; only src/cli exits.
 */
#ifndef RT_BASE_STATUS_H
#define RT_BASE_STATUS_H

typedef enum {
    RT_OK = 0,
    RT_EINTERNAL = 1,     /* a bug of ours */
    RT_EUSAGE = 2,        /* wrong command line */
    RT_EDATA = 65,        /* bad content of a file */
    RT_ENOINPUT = 66,     /* a file or folder that is not there */
    RT_EUNAVAILABLE = 69, /* device, library or memory not to be had */
    RT_EIO = 74,          /* the system failed a read or write */
    RT_ESTOPPED = 75,     /* stopped by a signal; state is safe on disk where there was any */
    RT_ECONFIG = 78,      /* bad configuration */
    RT_ESHAPE = 100,      /* op arguments that break their contract; exits as 1 */
    RT_ENOMEM = 101,      /* out of memory; exits as 69 */
} rt_status;

#define RT_ERROR_TEXT 4096

typedef struct {
    rt_status status;
    char text[RT_ERROR_TEXT]; /* one sentence or several, no newline at the end; an endless one lacks its middle */
    char trace[1024];         /* "expr at file:line <- ..." for -v */
} rt_error;

/* Records the message for this thread, clears the trace, returns `status`. */
rt_status rt_fail(rt_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prefixes the recorded message with "context: "; returns the recorded status unchanged. */
rt_status rt_fail_context(rt_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends one hop to the trace; returns `status`. Called by RT_TRY. */
rt_status rt_trace(rt_status status, const char *expr, const char *file, int line);
/* This thread's record; valid until its next rt_fail. To carry an error between threads copy it and rt_error_set it. */
const rt_error *rt_error_get(void);
void rt_error_set(const rt_error *error);
void rt_error_clear(void);
int rt_exit_code(rt_status status);

#define RT_TRY(e)                                                                                                      \
    do {                                                                                                               \
        rt_status rt_s_ = (e);                                                                                         \
        if (rt_s_ != RT_OK) return rt_trace(rt_s_, #e, __FILE__, __LINE__);                                            \
    } while (0)
/* The same with one way out: needs `rt_status rc` and a label `done`. */
#define RT_GO(e)                                                                                                       \
    do {                                                                                                               \
        rc = (e);                                                                                                      \
        if (rc != RT_OK) {                                                                                             \
            rt_trace(rc, #e, __FILE__, __LINE__);                                                                      \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

#endif
