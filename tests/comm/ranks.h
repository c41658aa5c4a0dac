/* Ranks of a test: forked processes that run one function each and leave what they found in shared memory. */
#ifndef TEST_COMM_RANKS_H
#define TEST_COMM_RANKS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include "base/clock.h"
#include "comm/comm.h"
#include "comm/wire.h"
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS_MAX = 8 };

typedef struct {
    rt_status status; /* of the body */
    char error[RT_ERROR_TEXT];
    double seconds; /* from when the culprit was made to the body's end; set by bodies that care */
    double value[8];
} rank_result;

typedef struct {
    int size, port, listener;
    double timeout;
    const char *token[RANKS_MAX]; /* NULL: the usual one */
    volatile double started;      /* shared clock of the fault */
    rank_result rank[RANKS_MAX];
    pid_t pid[RANKS_MAX];
    int wait_status[RANKS_MAX];
} rank_world;

typedef rt_status (*rank_body)(rank_world *w, int rank);

static inline rank_world *ranks_new(int size, double timeout) {
    rank_world *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(w != MAP_FAILED);
    w->size = size, w->timeout = timeout;
    assert_int_equal(rt_wire_listen("127.0.0.1", 0, 16, &w->listener, &w->port), RT_OK);
    return w;
}

static inline rt_launch ranks_launch(const rank_world *w, int rank) {
    rt_launch l = {.launcher = RT_LAUNCH_TORCHRUN, .name = "test", .rank = rank, .size = w->size, .port = w->port};
    strcpy(l.address, "127.0.0.1");
    snprintf(l.token, sizeof l.token, "%s", w->token[rank] ? w->token[rank] : "one run");
    return l;
}

static inline rt_status ranks_open(rank_world *w, int rank, rt_comm **c) {
    rt_launch l = ranks_launch(w, rank);
    return rt_comm_tcp(&l, &(rt_comm_options){.timeout = w->timeout, .listener = rank ? -1 : w->listener}, c);
}

/* Starts rank r; its body's result is kept. A body may also never return. */
static inline void ranks_start(rank_world *w, int r, rank_body body) {
    w->rank[r].status = RT_EINTERNAL;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) {
        w->pid[r] = pid;
        return;
    }
    if (r) close(w->listener);
    rt_status rc = body(w, r);
    w->rank[r].status = rc;
    if (rc != RT_OK) snprintf(w->rank[r].error, sizeof w->rank[r].error, "%s", rt_error_get()->text);
    w->rank[r].seconds = rt_clock_seconds() - w->started;
    _exit(0);
}

/* Waits for rank r at most `seconds`; kills it then, and fails. */
static inline void ranks_wait(rank_world *w, int r, double seconds) {
    double until = rt_clock_seconds() + seconds;
    while (waitpid(w->pid[r], &w->wait_status[r], WNOHANG) == 0) {
        if (rt_clock_seconds() > until) {
            kill(w->pid[r], SIGKILL);
            waitpid(w->pid[r], &w->wait_status[r], 0);
            fail_msg("rank %d did not end in %.0f s", r, seconds);
        }
        usleep(2000);
    }
}

static inline void ranks_run(rank_world *w, rank_body body, double seconds) {
    for (int r = 0; r < w->size; r++) ranks_start(w, r, body);
    close(w->listener);
    for (int r = 0; r < w->size; r++) ranks_wait(w, r, seconds);
}

static inline void ranks_all_ok(const rank_world *w) {
    for (int r = 0; r < w->size; r++)
        if (w->rank[r].status != RT_OK) fail_msg("rank %d: %s", r, w->rank[r].error);
}

static inline void ranks_free(rank_world *w) {
    munmap(w, sizeof *w);
}

#endif
