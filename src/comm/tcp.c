/* The host plane: a star of TCP connections around rank 0. Every collective has a number, so that ranks which are out
 * of step are told rather than fed each other's bytes. */
#include "../base/clock.h"
#include "comm.h"
#include "watch.h"
#include "wire.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    rt_comm base;
    int *fds, *watch_fds; /* [size], -1 where there is none */
    char (*hosts)[64];    /* [size], rank 0 alone */
    const char **host_list;
    uint32_t number; /* of the next collective */
} tcp;

static tcp *of(rt_comm *c) {
    return (tcp *)c;
}

/* A rank may wait as long as others work: who died or stands still is the watch's to find. */
static const double PATIENTLY = 1e18;

/* In the watch's thread: whoever waits in a read sees its connection end. */
static void give_up(void *context) {
    tcp *t = context;
    for (int r = 0; r < t->base.size; r++)
        if (t->fds[r] >= 0) shutdown(t->fds[r], SHUT_RDWR);
}

/* The watch knows better who is to blame than a read that failed. It may need a moment to learn it. */
static rt_status verdict(rt_comm *c, rt_status rc) {
    if (rc == RT_OK) return RT_OK;
    rt_error own = *rt_error_get();
    double until = rt_clock_seconds() + 0.5 * c->timeout;
    while (rc == RT_EIO && rt_clock_seconds() < until) {
        rt_status better = rt_watch_check(c->watch);
        if (better != RT_OK) return better;
        usleep(10000);
    }
    rt_status better = rt_watch_check(c->watch);
    if (better != RT_OK) return better;
    rt_error_set(&own);
    return rc == RT_EIO ? RT_EUNAVAILABLE : rc;
}

/* Blocks of all ranks to rank 0, one after the other. */
static rt_status collect(tcp *t, uint32_t kind, const void *bytes, size_t size, void **all, size_t *sizes) {
    rt_comm *c = &t->base;
    if (c->rank) return rt_wire_send(t->fds[0], kind, bytes, size, PATIENTLY);
    size_t used = size;
    char *joined = malloc(size ? size : 1);
    if (!joined) return rt_fail(RT_ENOMEM, "out of memory for what %d ranks send", c->size);
    if (size) memcpy(joined, bytes, size);
    sizes[0] = size;
    rt_status rc = RT_OK;
    for (int r = 1; r < c->size && rc == RT_OK; r++) {
        rc = rt_wire_next(t->fds[r], kind, &sizes[r], PATIENTLY);
        if (rc != RT_OK) break;
        char *grown = realloc(joined, used + sizes[r] + 1);
        if (!grown) {
            rc = rt_fail(RT_ENOMEM, "out of memory for %zu bytes of rank %d", sizes[r], r);
            break;
        }
        joined = grown;
        rc = rt_wire_read(t->fds[r], kind, joined + used, sizes[r], PATIENTLY);
        used += sizes[r];
    }
    if (rc != RT_OK) {
        free(joined);
        return rc;
    }
    *all = joined;
    return RT_OK;
}

static rt_status spread(tcp *t, uint32_t kind, void *bytes, size_t size) {
    rt_comm *c = &t->base;
    if (c->rank) return rt_wire_read(t->fds[0], kind, bytes, size, PATIENTLY);
    for (int r = 1; r < c->size; r++) RT_TRY(rt_wire_send(t->fds[r], kind, bytes, size, PATIENTLY));
    return RT_OK;
}

/* --- collectives ------------------------------------------------------------------------------------------------ */

static rt_status start(rt_comm *c, uint32_t *kind) {
    RT_TRY(rt_watch_check(c->watch));
    *kind = 16 + of(c)->number++ % 0x7fffffffu;
    rt_watch_waiting(c->watch, true);
    return RT_OK;
}

static rt_status finish(rt_comm *c, rt_status rc) {
    rt_watch_waiting(c->watch, false);
    return verdict(c, rc);
}

static rt_status gather(rt_comm *c, const void *bytes, size_t size, void **all, size_t *sizes) {
    uint32_t kind;
    *all = NULL;
    RT_TRY(start(c, &kind));
    return finish(c, collect(of(c), kind, bytes, size, all, sizes));
}

static rt_status bcast(rt_comm *c, void *bytes, size_t size) {
    uint32_t kind;
    RT_TRY(start(c, &kind));
    return finish(c, spread(of(c), kind, bytes, size));
}

/* Rank 0 gathers n values of `width` bytes of every rank, folds them in rank order, and sends the result to all. */
static rt_status fold(rt_comm *c, void *values, size_t size, void (*add)(void *sum, const void *next, size_t size)) {
    size_t *sizes = calloc((size_t)c->size, sizeof *sizes);
    void *all = NULL;
    if (!sizes) return rt_fail(RT_ENOMEM, "out of memory for %d ranks", c->size);
    rt_status rc = gather(c, values, size, &all, sizes);
    for (int r = 1; rc == RT_OK && c->rank == 0 && r < c->size; r++) {
        if (sizes[r] != size)
            rc = rt_fail(RT_EINTERNAL, "rank %d sent %zu bytes where %zu were due", r, sizes[r], size);
        else
            add(values, (const char *)all + (size_t)r * size, size);
    }
    free(all);
    free(sizes);
    return rc == RT_OK ? bcast(c, values, size) : rc;
}

static void add_flags(void *sum, const void *next, size_t size) {
    uint32_t a, b;
    memcpy(&a, sum, size);
    memcpy(&b, next, size);
    a |= b;
    memcpy(sum, &a, size);
}

static void add_f64(void *sum, const void *next, size_t size) {
    double *a = sum;
    for (size_t i = 0; i < size / sizeof *a; i++) {
        double b;
        memcpy(&b, (const char *)next + i * sizeof b, sizeof b);
        a[i] += b;
    }
}

static rt_status agree(rt_comm *c, uint32_t *flags) {
    return fold(c, flags, sizeof *flags, add_flags);
}

static rt_status sum_f64(rt_comm *c, double *values, int n) {
    return fold(c, values, (size_t)n * sizeof *values, add_f64);
}

static rt_status barrier(rt_comm *c) {
    uint32_t nothing = 0;
    return agree(c, &nothing);
}

static rt_status no_data_plane(rt_comm *c, float *data, int64_t offset, int64_t count) {
    (void)data, (void)offset, (void)count;
    return rt_fail(RT_EINTERNAL, "%s: no data plane is attached", c->name);
}

static rt_status no_gather(rt_comm *c, void *data, const int64_t *starts, size_t size) {
    (void)starts, (void)size;
    return no_data_plane(c, data, 0, 0);
}

static rt_status nothing(rt_comm *c) {
    return rt_watch_check(c->watch);
}

static void abort_tcp(rt_comm *c, rt_status status, const char *why) {
    rt_watch_abort(c->watch, status, why);
}

static void close_tcp(rt_comm *c, rt_status how) {
    tcp *t = of(c);
    if (how == RT_OK && c->watch && barrier(c) != RT_OK) how = RT_EUNAVAILABLE, rt_error_clear();
    if (c->close_data) c->close_data(c);
    rt_watch_close(c->watch, how == RT_OK);
    for (int r = 0; r < c->size; r++) {
        if (t->fds && t->fds[r] >= 0) close(t->fds[r]);
        if (t->watch_fds && t->watch_fds[r] >= 0) close(t->watch_fds[r]);
    }
    free(t->fds);
    free(t->watch_fds);
    free(t->hosts);
    free(t->host_list);
    free(c->shards);
    free(t);
}

/* --- the meeting ------------------------------------------------------------------------------------------------ */

static rt_hello hello_of(const rt_launch *l, uint32_t channel) {
    rt_hello h = {.version = RT_WIRE_VERSION, .channel = channel, .rank = (uint32_t)l->rank, .size = (uint32_t)l->size};
    snprintf(h.token, sizeof h.token, "%s", l->token);
    if (gethostname(h.host, sizeof h.host - 1) != 0 || !h.host[0]) strcpy(h.host, "unknown");
    return h;
}

static rt_status missing(const tcp *t, rt_status rc, int strangers, double timeout) {
    char who[160] = "";
    int n = 0;
    if (rc != RT_EUNAVAILABLE) return rc;
    for (int r = 1; r < t->base.size; r++)
        if ((t->fds[r] < 0 || t->watch_fds[r] < 0) && n++ < 8) {
            size_t used = strlen(who);
            snprintf(who + used, sizeof who - used, "%s%d", used ? ", " : "", r);
        }
    return rt_fail(RT_EUNAVAILABLE,
                   "of %d ranks, %d did not come within %.0f s (distributed.timeout): rank %s%s; %d connection%s of "
                   "strangers refused. Do all nodes run the same command, and can they reach rank 0?",
                   t->base.size, n, timeout, who, n > 8 ? ", ..." : "", strangers, strangers == 1 ? "" : "s");
}

static rt_status receive_all(tcp *t, const rt_launch *l, const rt_comm_options *o) {
    int strangers = 0, port, listener = o->listener;
    double until = rt_clock_seconds() + o->timeout;
    rt_hello mine = hello_of(l, RT_CHANNEL_HOST);
    rt_status rc = RT_OK;
    snprintf(t->hosts[0], sizeof t->hosts[0], "%s", mine.host);
    if (listener < 0) RT_TRY(rt_wire_resolve(l->address, until, o->stop, o->await, o->context));
    if (listener < 0) RT_TRY(rt_wire_listen(l->address, l->port, 2 * l->size, &listener, &port));
    for (int n = 0; rc == RT_OK && n < 2 * (l->size - 1);) {
        rt_hello h;
        int fd;
        rc = rt_wire_accept(listener, &mine, until, o->stop, &strangers, &h, &fd);
        if (rc != RT_OK) {
            rc = missing(t, rc, strangers, o->timeout);
            break;
        }
        int *slot = h.channel == RT_CHANNEL_HOST ? &t->fds[h.rank] : &t->watch_fds[h.rank];
        if (*slot >= 0) {
            close(fd);
            rc = rt_fail(RT_ECONFIG, "two processes say they are rank %u, the second on %s", h.rank, h.host);
            break;
        }
        *slot = fd;
        snprintf(t->hosts[h.rank], sizeof t->hosts[h.rank], "%s", h.host);
        n++;
    }
    close(listener);
    return rc;
}

static rt_status join(tcp *t, const rt_launch *l, const rt_comm_options *o) {
    double until = rt_clock_seconds() + o->timeout;
    rt_hello host = hello_of(l, RT_CHANNEL_HOST), watch = hello_of(l, RT_CHANNEL_WATCH);
    RT_TRY(rt_wire_connect(l->address, l->port, &host, until, o->stop, &t->fds[0]));
    return rt_wire_connect(l->address, l->port, &watch, until, o->stop, &t->watch_fds[0]);
}

rt_status rt_comm_tcp(const rt_launch *l, const rt_comm_options *o, rt_comm **out) {
    rt_status rc = RT_OK;
    size_t n = (size_t)l->size;
    tcp *t = calloc(1, sizeof *t);
    if (!t) return rt_fail(RT_ENOMEM, "out of memory for the communicator");
    t->base = (rt_comm){.rank = l->rank,
                        .size = l->size,
                        .local_rank = l->local_rank,
                        .local_size = l->local_size,
                        .name = "tcp",
                        .timeout = o->timeout,
                        .reduce_start = no_data_plane,
                        .poll = nothing,
                        .wait_all = nothing,
                        .all_gather = no_gather,
                        .agree = agree,
                        .sum_f64 = sum_f64,
                        .gather = gather,
                        .bcast = bcast,
                        .barrier = barrier,
                        .abort = abort_tcp,
                        .close = close_tcp};
    t->fds = malloc(n * sizeof *t->fds);
    t->watch_fds = malloc(n * sizeof *t->watch_fds);
    t->hosts = calloc(n, sizeof *t->hosts);
    t->host_list = calloc(n, sizeof *t->host_list);
    if (!t->fds || !t->watch_fds || !t->hosts || !t->host_list)
        RT_GO(rt_fail(RT_ENOMEM, "out of memory for %d ranks", l->size));
    for (int r = 0; r < l->size; r++) t->fds[r] = t->watch_fds[r] = -1, t->host_list[r] = t->hosts[r];
    RT_GO(l->rank ? join(t, l, o) : receive_all(t, l, o));
    RT_GO(rt_watch_open(&(rt_watch_options){.rank = l->rank,
                                            .size = l->size,
                                            .fds = t->watch_fds,
                                            .hosts = t->host_list,
                                            .timeout = o->timeout,
                                            .give_up = give_up,
                                            .context = t,
                                            .last_resort = o->last_resort,
                                            .waiting = o->waiting,
                                            .waiting_context = o->context},
                        &t->base.watch));
    *out = &t->base;
    return RT_OK;
done:
    if (t->fds && t->watch_fds && t->hosts && t->host_list) {
        close_tcp(&t->base, rc);
    } else {
        free(t->fds);
        free(t->watch_fds);
        free(t->hosts);
        free(t->host_list);
        free(t);
    }
    return rc;
}
