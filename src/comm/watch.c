#include "watch.h"
#include "../base/clock.h"
#include "wire.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BEAT = 1, GOODBYE, ABORT, VERDICT }; /* kinds of frames */
/* Waits of rank 0 that are told; of how many ranks by name. */
static const double WAITING_SECONDS = 1;
enum { NAMED = 3 };

typedef struct {
    uint64_t ticks, step;
    uint32_t waiting;
    char phase[48];
} beat;

typedef struct {
    int32_t status;
    char text[1024];
} verdict;

typedef struct {
    beat last;
    double heard, moved; /* clock of the last beat; of the last progress, or of waiting for others */
    double ticked;       /* of the last progress alone */
    bool gone;           /* said goodbye */
} peer;

struct rt_watch {
    rt_watch_options o;
    double period,
        limit; /* between beats; what is too long: short of the timeout, so that the culprit is named in time */
    pthread_t thread;
    pthread_mutex_t lock; /* over what follows */
    beat mine;
    rt_error error; /* status RT_OK: none */
    double failed_at;
    bool stop, goodbye, seen;
    verdict ending; /* to be told to the others; status RT_OK: nothing */
    int wake[2];
    peer *peers; /* rank 0's thread alone */
};

static double soon(const rt_watch *w) {
    return rt_clock_seconds() + w->period;
}

/* The first failure counts. */
static void fail(rt_watch *w, const verdict *v) {
    bool first;
    pthread_mutex_lock(&w->lock);
    first = w->error.status == RT_OK;
    if (first) {
        w->error.status = (rt_status)v->status;
        snprintf(w->error.text, sizeof w->error.text, "%s", v->text);
        w->failed_at = rt_clock_seconds();
    }
    pthread_mutex_unlock(&w->lock);
    if (first) w->o.give_up(w->o.context);
}

static bool failed(rt_watch *w) {
    pthread_mutex_lock(&w->lock);
    bool yes = w->error.status != RT_OK;
    pthread_mutex_unlock(&w->lock);
    return yes;
}

/* --- rank 0: hears all ------------------------------------------------------------------------------------------ */

static void tell_all(rt_watch *w, const verdict *v) {
    for (int r = 1; r < w->o.size; r++)
        if (!w->peers[r].gone && rt_wire_send(w->o.fds[r], VERDICT, v, sizeof *v, soon(w)) != RT_OK) rt_error_clear();
    fail(w, v);
}

static void blame(rt_watch *w, int r, const char *what) {
    const beat *b = &w->peers[r].last;
    verdict v = {.status = RT_EUNAVAILABLE};
    snprintf(
        v.text, sizeof v.text,
        "rank %d on %s %s; last heard of at step %llu, %s. The last checkpoint is whole: start the same command again",
        r, w->o.hosts[r], what, (unsigned long long)b->step, b->phase[0] ? b->phase : "starting");
    tell_all(w, &v);
}

static void note(peer *p, const beat *b, double now) {
    if (b->ticks != p->last.ticks) p->ticked = now;
    if (b->ticks != p->last.ticks || b->waiting || p->last.waiting) p->moved = now;
    p->last = *b;
}

static void take_beat(rt_watch *w, int r, double now) {
    peer *p = &w->peers[r];
    beat b;
    if (rt_wire_read(w->o.fds[r], BEAT, &b, sizeof b, soon(w)) != RT_OK) {
        rt_error_clear();
        blame(w, r, "sent what cannot be understood");
        p->gone = true;
        return;
    }
    b.phase[sizeof b.phase - 1] = 0;
    for (char *c = b.phase; *c; c++)
        if (*c < 0x20 || *c > 0x7e) *c = '?';
    note(p, &b, now);
    p->heard = now;
}

/* What a rank that ends says of itself is passed on with its own status. */
static void pass_on(rt_watch *w, int r, int32_t status, const char *text) {
    verdict v = {.status = status};
    snprintf(v.text, sizeof v.text, "rank %d on %s ended: %.900s", r, w->o.hosts[r], text);
    tell_all(w, &v);
}

static void take_abort(rt_watch *w, int r) {
    verdict said;
    if (rt_wire_read(w->o.fds[r], ABORT, &said, sizeof said, soon(w)) != RT_OK || said.status == RT_OK) {
        rt_error_clear();
        return blame(w, r, "ended");
    }
    said.text[sizeof said.text - 1] = 0;
    w->peers[r].gone = true;
    pass_on(w, r, said.status, said.text);
}

/* One frame of one rank: its kind is looked at first. */
static void hear(rt_watch *w, int r, double now) {
    uint32_t head[2];
    ssize_t n = recv(w->o.fds[r], head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    if (n == (ssize_t)sizeof head && head[1] == BEAT) return take_beat(w, r, now);
    if (n == (ssize_t)sizeof head && head[1] == ABORT) return take_abort(w, r);
    if (n == (ssize_t)sizeof head && head[1] == GOODBYE) {
        w->peers[r].gone = true;
        return;
    }
    if (n > 0) return; /* the rest of the header comes */
    if (failed(w)) {
        w->peers[r].gone = true;
        return;
    }
    blame(w, r, "died");
    w->peers[r].gone = true;
}

static void look_for_still(rt_watch *w, double now) {
    for (int r = 1; r < w->o.size && !failed(w); r++) {
        const peer *p = &w->peers[r];
        char what[64];
        if (p->gone) continue;
        double since = now - (now - p->heard > w->limit ? p->heard : p->moved);
        if (since <= w->limit) continue;
        snprintf(what, sizeof what, "has not %s for %.0f s", now - p->heard > w->limit ? "answered" : "moved", since);
        blame(w, r, what);
    }
}

/* Rank 0 itself is watched by its own thread. */
static void look_at_self(rt_watch *w, double now) {
    peer *own = &w->peers[0];
    pthread_mutex_lock(&w->lock);
    beat mine = w->mine;
    pthread_mutex_unlock(&w->lock);
    note(own, &mine, now);
    if (now - own->moved > w->limit && !failed(w)) {
        char what[64];
        snprintf(what, sizeof what, "has not moved for %.0f s", now - own->moved);
        blame(w, 0, what);
    }
}

/* Every rank waits for another: a mistake of ours, but no reason to hang. */
static void look_for_deadlock(rt_watch *w, double now) {
    verdict v = {.status = RT_EINTERNAL};
    size_t used = 0;
    for (int r = 0; r < w->o.size; r++) {
        const peer *p = &w->peers[r];
        if (p->gone || !p->last.waiting || now - p->ticked <= w->limit) return;
        if (used < sizeof v.text)
            used += (size_t)snprintf(v.text + used, sizeof v.text - used, "%srank %d at step %llu, %s",
                                     r ? "; " : "the ranks wait for each other: ", r, (unsigned long long)p->last.step,
                                     p->last.phase[0] ? p->last.phase : "starting");
    }
    if (!failed(w)) tell_all(w, &v);
}

/* Whom rank 0 waits for: all that do not wait themselves. */
static void tell_waiting(rt_watch *w, double now) {
    const peer *own = &w->peers[0];
    char text[512] = "";
    size_t used = 0;
    int n = 0;
    if (!w->o.waiting || !own->last.waiting || now - own->ticked < WAITING_SECONDS) return;
    for (int r = 1; r < w->o.size; r++) {
        const peer *p = &w->peers[r];
        if (p->gone || p->last.waiting || n++ >= NAMED) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%srank %d on %s (%s)", used ? ", " : "waiting for ",
                                 r, w->o.hosts[r], p->last.phase[0] ? p->last.phase : "starting");
    }
    if (n > NAMED) snprintf(text + used, sizeof text - used, " and %d more", n - NAMED);
    if (n) w->o.waiting(w->o.waiting_context, text);
}

static void round_of_zero(rt_watch *w) {
    struct pollfd *p = calloc((size_t)w->o.size, sizeof *p);
    if (!p) return;
    p[0] = (struct pollfd){.fd = w->wake[0], .events = POLLIN};
    for (int r = 1; r < w->o.size; r++)
        p[r] = (struct pollfd){.fd = w->peers[r].gone ? -1 : w->o.fds[r], .events = POLLIN};
    int n = poll(p, (nfds_t)w->o.size, (int)(w->period * 1000) + 1);
    double now = rt_clock_seconds();
    for (int r = 1; n > 0 && r < w->o.size; r++)
        if (p[r].revents) hear(w, r, now);
    free(p);
    look_for_still(w, now);
    look_at_self(w, now);
    look_for_deadlock(w, now);
    tell_waiting(w, now);
}

/* --- the others: tell rank 0 ------------------------------------------------------------------------------------ */

static void lost_zero(rt_watch *w, const char *how) {
    verdict v = {.status = RT_EUNAVAILABLE};
    snprintf(v.text, sizeof v.text,
             "rank 0 %s; this is rank %d, at step %llu. The last checkpoint is whole: start the same command again",
             how, w->o.rank, (unsigned long long)w->mine.step);
    fail(w, &v);
}

static void round_of_other(rt_watch *w) {
    pthread_mutex_lock(&w->lock);
    beat mine = w->mine;
    pthread_mutex_unlock(&w->lock);
    if (failed(w)) {
        poll(NULL, 0, (int)(w->period * 1000) + 1);
        return;
    }
    if (rt_wire_send(w->o.fds[0], BEAT, &mine, sizeof mine, rt_clock_seconds() + w->o.timeout) != RT_OK) {
        rt_error_clear();
        return lost_zero(w, "does not take messages");
    }
    struct pollfd p[2] = {{.fd = w->wake[0], .events = POLLIN}, {.fd = w->o.fds[0], .events = POLLIN}};
    if (poll(p, 2, (int)(w->period * 1000) + 1) <= 0 || !p[1].revents) return;
    verdict v;
    if (rt_wire_read(w->o.fds[0], VERDICT, &v, sizeof v, soon(w)) != RT_OK) {
        rt_error_clear();
        pthread_mutex_lock(&w->lock);
        bool ending = w->stop;
        pthread_mutex_unlock(&w->lock);
        if (!ending) lost_zero(w, "died");
        return;
    }
    v.text[sizeof v.text - 1] = 0;
    fail(w, &v);
}

/* --- the thread ------------------------------------------------------------------------------------------------- */

static void send_abort(rt_watch *w) {
    pthread_mutex_lock(&w->lock);
    verdict why = w->ending;
    w->ending.status = RT_OK;
    pthread_mutex_unlock(&w->lock);
    if (why.status == RT_OK) return;
    if (w->o.rank == 0)
        pass_on(w, 0, why.status, why.text);
    else if (rt_wire_send(w->o.fds[0], ABORT, &why, sizeof why, soon(w)) != RT_OK)
        rt_error_clear();
}

static void *run(void *context) {
    rt_watch *w = context;
    for (;;) {
        rt_error why = {0};
        pthread_mutex_lock(&w->lock);
        bool stop = w->stop,
             late = w->error.status != RT_OK && !w->seen && rt_clock_seconds() - w->failed_at > w->o.timeout;
        if (late) why = w->error;
        pthread_mutex_unlock(&w->lock);
        send_abort(w);
        if (stop) break;
        if (late && w->o.last_resort) w->o.last_resort(&why);
        if (w->o.rank)
            round_of_other(w);
        else
            round_of_zero(w);
    }
    pthread_mutex_lock(&w->lock);
    bool goodbye = w->goodbye;
    pthread_mutex_unlock(&w->lock);
    if (goodbye && w->o.rank && rt_wire_send(w->o.fds[0], GOODBYE, NULL, 0, soon(w)) != RT_OK) rt_error_clear();
    return NULL;
}

rt_status rt_watch_open(const rt_watch_options *options, rt_watch **out) {
    rt_watch *w = calloc(1, sizeof *w);
    rt_status rc = RT_OK;
    if (!w) return rt_fail(RT_ENOMEM, "out of memory for the watch over ranks");
    w->o = *options;
    w->limit = 0.7 * options->timeout;
    w->period = options->timeout / 10;
    if (w->period > 2) w->period = 2;
    w->wake[0] = w->wake[1] = -1;
    pthread_mutex_init(&w->lock, NULL);
    w->peers = calloc((size_t)options->size, sizeof *w->peers);
    if (!w->peers) RT_GO(rt_fail(RT_ENOMEM, "out of memory for the watch over %d ranks", options->size));
    double now = rt_clock_seconds();
    for (int r = 0; r < options->size; r++) w->peers[r].heard = w->peers[r].moved = w->peers[r].ticked = now;
    if (pipe2(w->wake, O_CLOEXEC) != 0) RT_GO(rt_fail(RT_EIO, "a pipe for the watch over ranks: %m"));
    if (pthread_create(&w->thread, NULL, run, w) != 0)
        RT_GO(rt_fail(RT_EUNAVAILABLE, "no thread for the watch over ranks"));
    *out = w;
    return RT_OK;
done:
    if (w->wake[0] >= 0) close(w->wake[0]), close(w->wake[1]);
    pthread_mutex_destroy(&w->lock);
    free(w->peers);
    free(w);
    return rc;
}

static void wake(rt_watch *w) {
    if (write(w->wake[1], "", 1) < 0) return; /* full: it is awake already */
}

void rt_watch_note(rt_watch *w, const char *phase, uint64_t step) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->mine.ticks++;
    w->mine.step = step;
    snprintf(w->mine.phase, sizeof w->mine.phase, "%s", phase);
    pthread_mutex_unlock(&w->lock);
}

void rt_watch_waiting(rt_watch *w, bool waiting) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->mine.waiting = waiting;
    w->mine.ticks++;
    pthread_mutex_unlock(&w->lock);
}

rt_status rt_watch_check(rt_watch *w) {
    rt_status rc = RT_OK;
    if (!w) return RT_OK;
    pthread_mutex_lock(&w->lock);
    if (w->error.status != RT_OK) {
        w->seen = true;
        rt_error_set(&w->error);
        rc = w->error.status;
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

void rt_watch_abort(rt_watch *w, rt_status status, const char *why) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->ending.status = (int32_t)status;
    snprintf(w->ending.text, sizeof w->ending.text, "%s", why);
    pthread_mutex_unlock(&w->lock);
    wake(w);
}

void rt_watch_close(rt_watch *w, bool goodbye) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    w->goodbye = goodbye;
    pthread_mutex_unlock(&w->lock);
    wake(w);
    pthread_join(w->thread, NULL);
    close(w->wake[0]);
    close(w->wake[1]);
    pthread_mutex_destroy(&w->lock);
    free(w->peers);
    free(w);
}
