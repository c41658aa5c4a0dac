/* The watch: a thread in every rank tells rank 0 ten times per timeout what the rank is doing; rank 0's thread tells
 * all when one of them died, gave up, or stands still. Dead is a connection that closed without a goodbye; still is no
 * beat, or no progress of the main thread (rt_watch_note) outside of waiting for others, for `timeout`. */
#ifndef RT_COMM_WATCH_H
#define RT_COMM_WATCH_H
#include "comm.h"

typedef struct {
    int rank, size;
    const int *fds;           /* [size] rank 0: the connection to each, [0] unused; others: [0] the one to rank 0 */
    const char *const *hosts; /* [size] rank 0: where each runs, printable; others: NULL */
    double timeout;
    void (*give_up)(void *context); /* makes the main thread's waiting end: called once, in the watch's thread */
    void *context;
    void (*last_resort)(const rt_error *why);
    void (*waiting)(void *context, const char *for_whom); /* rank 0, in the watch's thread; see rt_comm_options */
    void *waiting_context;
} rt_watch_options;

/* Starts the thread. The connections stay the caller's, and open until rt_watch_close. */
rt_status rt_watch_open(const rt_watch_options *options, rt_watch **out);
void rt_watch_note(rt_watch *watch, const char *phase, uint64_t step);
void rt_watch_waiting(rt_watch *watch, bool waiting);
/* The status and message of who ended the run; RT_OK while all live. */
rt_status rt_watch_check(rt_watch *watch);
/* Tells the others that this rank ends, and why. */
void rt_watch_abort(rt_watch *watch, rt_status status, const char *why);
/* goodbye: the end is an orderly one. Joins the thread. */
void rt_watch_close(rt_watch *watch, bool goodbye);

#endif
