/* The data plane over MPI: nonblocking reductions that advance whenever a rank starts another or polls. */
#include "mpi.h"
#include "../base/clock.h"
#include "watch.h"
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One reduction takes at most so many elements: MPI counts in int, and transfers that begin early end early. */
enum { PIECE = 1 << 26 };

typedef struct {
    MPI_Request *requests;
    int n, capacity;
} plane;

static rt_status check(int code, const char *what) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (code == MPI_SUCCESS) return RT_OK;
    MPI_Error_string(code, text, &length);
    return rt_fail(RT_EUNAVAILABLE, "MPI: %s: %s", what, text);
}

static rt_status init(const rt_launch *l) {
    int have = 0, size = 0, rank = 0;
    RT_TRY(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &have), "MPI_Init_thread"));
    RT_TRY(check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
    RT_TRY(check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size"));
    RT_TRY(check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank"));
    if (size != l->size || rank != l->rank)
        return rt_fail(
            RT_ECONFIG,
            "%s started rank %d of %d, but MPI sees rank %d of %d; under Slurm use: srun --mpi=pmix rectrain "
            "...",
            l->name, l->rank, l->size, rank, size);
    return RT_OK;
}

static rt_status bcast(void *bytes, int size) {
    return check(MPI_Bcast(bytes, size, MPI_BYTE, 0, MPI_COMM_WORLD), "MPI_Bcast");
}

static rt_status room(plane *p) {
    if (p->n < p->capacity) return RT_OK;
    int capacity = p->capacity ? 2 * p->capacity : 64;
    MPI_Request *grown = realloc(p->requests, (size_t)capacity * sizeof(*grown));
    if (!grown) return rt_fail(RT_ENOMEM, "out of memory for %d transfers", capacity);
    p->requests = grown, p->capacity = capacity;
    return RT_OK;
}

static rt_status test(plane *p, bool *done) {
    int flag = 1;
    if (p->n) RT_TRY(check(MPI_Testall(p->n, p->requests, &flag, MPI_STATUSES_IGNORE), "MPI_Testall"));
    if (flag) p->n = 0;
    *done = flag;
    return RT_OK;
}

static rt_status poll_plane(rt_comm *c) {
    bool done;
    return test(c->data, &done);
}

/* To `owner` alone, or to all (-1). */
static rt_status reduce_piece(rt_comm *c, float *data, int64_t count, int owner) {
    plane *p = c->data;
    for (int64_t at = 0; at < count; at += PIECE) {
        float *from = data + at;
        int n = count - at < PIECE ? (int)(count - at) : PIECE;
        RT_TRY(room(p));
        MPI_Request *request = &p->requests[p->n];
        if (owner < 0)
            RT_TRY(check(MPI_Iallreduce(MPI_IN_PLACE, from, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, request),
                         "MPI_Iallreduce"));
        else
            RT_TRY(check(MPI_Ireduce(owner == c->rank ? MPI_IN_PLACE : from, owner == c->rank ? from : NULL, n,
                                     MPI_FLOAT, MPI_SUM, owner, MPI_COMM_WORLD, request),
                         "MPI_Ireduce"));
        p->n++;
    }
    return RT_OK;
}

static rt_status reduce_start(rt_comm *c, float *data, int64_t offset, int64_t count) {
    if (!c->shards) {
        RT_TRY(reduce_piece(c, data + offset, count, -1));
        return poll_plane(c);
    }
    for (int r = 0; r < c->size; r++) {
        int64_t from, n = rt_comm_shard_part(c, r, offset, count, &from);
        if (n > 0) RT_TRY(reduce_piece(c, data + from, n, r));
    }
    return poll_plane(c);
}

static rt_status wait_all(rt_comm *c) {
    plane *p = c->data;
    rt_status rc = RT_OK;
    bool done = false;
    rt_watch_waiting(c->watch, true);
    const double patience = rt_clock_seconds() + 1; /* MPI moves bytes while it is asked: who sleeps slows them down */
    while (rc == RT_OK && !done) {
        rc = test(p, &done);
        if (rc != RT_OK || done) break;
        rc = rt_watch_check(c->watch); /* knows of ranks that died or stand still */
        if (rt_clock_seconds() < patience)
            sched_yield();
        else
            usleep(50);
    }
    rt_watch_waiting(c->watch, false);
    return rc;
}

static rt_status all_gather(rt_comm *c, void *data, const int64_t *starts, size_t size) {
    plane *p = c->data;
    for (int r = 0; r < c->size; r++) {
        const int64_t end = starts[r + 1] * (int64_t)size;
        for (int64_t at = starts[r] * (int64_t)size; at < end; at += PIECE) {
            RT_TRY(room(p));
            RT_TRY(check(MPI_Ibcast((char *)data + at, end - at < PIECE ? (int)(end - at) : PIECE, MPI_BYTE, r,
                                    MPI_COMM_WORLD, &p->requests[p->n]),
                         "MPI_Ibcast"));
            p->n++;
        }
    }
    return wait_all(c);
}

static void close_plane(rt_comm *c) {
    plane *p = c->data;
    if (p) free(p->requests);
    free(p);
    c->data = NULL;
}

static rt_status attach(rt_comm *c) {
    plane *p = calloc(1, sizeof *p);
    if (!p) return rt_fail(RT_ENOMEM, "out of memory for transfers");
    c->data = p;
    c->reduce_start = reduce_start;
    c->poll = poll_plane;
    c->wait_all = wait_all;
    c->all_gather = all_gather;
    c->close_data = close_plane;
    snprintf(c->name, sizeof c->name, "tcp + mpi");
    return RT_OK;
}

static void finish(bool in_order) {
    int initialised = 0, finalised = 0;
    MPI_Initialized(&initialised);
    MPI_Finalized(&finalised);
    if (in_order && initialised && !finalised) MPI_Finalize();
}

static const char *version(void) {
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    if (!text[0]) MPI_Get_library_version(text, &length);
    for (char *c = text; *c; c++)
        if (*c == ',' || *c == '\n') *c = 0; /* the name and the number; not who built it */
    return text;
}

const uint32_t rt_mpi_abi = RT_MPI_ABI;

const rt_mpi_plugin_table *rt_mpi_plugin(void) {
    static const rt_mpi_plugin_table table = {init, bcast, attach, finish, version};
    return &table;
}
