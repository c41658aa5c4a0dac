/* The data plane over MPI: nonblocking reductions that advance whenever a rank starts another or polls. */
#include "mpi.h"
#include "../base/clock.h"
#include "bf16.h"
#include "watch.h"
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One transfer moves at most so many elements: MPI counts in int. Those of bf16 go through wires, memory of this
 * file's, of which there are a few: the next transfer takes the wire of the first that is done. */
enum { PIECE = 1 << 26, WIRE = 1 << 22, WIRES = 8 };

/* All transfers of a step, in the order in which every rank has them. */
typedef struct {
    void *data;   /* where it comes from and goes to: fp32 sums, bytes that are spread */
    rt_bf16 *way; /* a wire, or NULL: data itself */
    int n, rank;  /* elements or bytes; whose: -1: all ranks' */
    bool spread;  /* from that rank to all; else summed */
    MPI_Request request;
} transfer;

typedef struct {
    transfer *queue;
    int n, begun, done, capacity; /* done <= begun <= n */
    rt_bf16 *wires;               /* [WIRES][WIRE], or NULL: sums travel as they are */
    MPI_Op add;                   /* of bf16 */
    int own;
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

/* Adds in fp32 and rounds once. */
static void add_bf16(void *in, void *inout, int *n, MPI_Datatype *type) {
    const rt_bf16 *from = in;
    rt_bf16 *to = inout;
    (void)type;
    for (int i = 0; i < *n; i++) to[i] = rt_bf16_from(rt_bf16_to(to[i]) + rt_bf16_to(from[i]));
}

static rt_status put(plane *p, const transfer *t) {
    if (p->n == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 64;
        transfer *grown = realloc(p->queue, (size_t)capacity * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory for %d transfers", capacity);
        p->queue = grown, p->capacity = capacity;
    }
    p->queue[p->n++] = *t;
    return RT_OK;
}

static rt_status begin(plane *p, transfer *t) {
    const MPI_Datatype type = p->wires ? MPI_UINT16_T : MPI_FLOAT;
    const MPI_Op op = p->wires ? p->add : MPI_SUM;
    const bool mine = t->rank == p->own;
    void *from = t->data;
    if (t->spread) return check(MPI_Ibcast(from, t->n, MPI_BYTE, t->rank, MPI_COMM_WORLD, &t->request), "MPI_Ibcast");
    if (p->wires) {
        from = t->way = p->wires + (size_t)(p->begun % WIRES) * WIRE;
        for (int i = 0; i < t->n; i++) t->way[i] = rt_bf16_from(((const float *)t->data)[i]);
    }
    if (t->rank < 0)
        return check(MPI_Iallreduce(MPI_IN_PLACE, from, t->n, type, op, MPI_COMM_WORLD, &t->request), "MPI_Iallreduce");
    return check(MPI_Ireduce(mine ? MPI_IN_PLACE : from, mine ? from : NULL, t->n, type, op, t->rank, MPI_COMM_WORLD,
                             &t->request),
                 "MPI_Ireduce");
}

static void finish_transfer(const plane *p, const transfer *t) {
    float *to = t->data;
    if (t->spread || !t->way || (t->rank >= 0 && t->rank != p->own)) return;
    for (int i = 0; i < t->n; i++) to[i] = rt_bf16_to(t->way[i]);
}

/* Begins what may begin and ends what has come, in their order. */
static rt_status advance(plane *p) {
    for (;;) {
        while (p->begun < p->n && (!p->wires || p->begun - p->done < WIRES)) {
            RT_TRY(begin(p, &p->queue[p->begun]));
            p->begun++;
        }
        if (p->done == p->begun) break;
        int flag = 0;
        RT_TRY(check(MPI_Test(&p->queue[p->done].request, &flag, MPI_STATUS_IGNORE), "MPI_Test"));
        if (!flag) return RT_OK;
        finish_transfer(p, &p->queue[p->done++]);
    }
    p->n = p->begun = p->done = 0;
    return RT_OK;
}

static rt_status poll_plane(rt_comm *c) {
    return advance(c->data);
}

/* To `owner` alone, or to all (-1). */
static rt_status reduce_pieces(plane *p, float *data, int64_t count, int owner) {
    const int most = p->wires ? WIRE : PIECE;
    for (int64_t at = 0; at < count; at += most)
        RT_TRY(
            put(p, &(transfer){.data = data + at, .n = count - at < most ? (int)(count - at) : most, .rank = owner}));
    return RT_OK;
}

static rt_status reduce_start(rt_comm *c, float *data, int64_t offset, int64_t count) {
    if (!c->shards) RT_TRY(reduce_pieces(c->data, data + offset, count, -1));
    for (int r = 0; c->shards && r < c->size; r++) {
        int64_t from, n = rt_comm_shard_part(c, r, offset, count, &from);
        if (n > 0) RT_TRY(reduce_pieces(c->data, data + from, n, r));
    }
    return poll_plane(c);
}

static rt_status wait_all(rt_comm *c) {
    plane *p = c->data;
    rt_status rc = RT_OK;
    rt_watch_waiting(c->watch, true);
    const double patience = rt_clock_seconds() + 1; /* MPI moves bytes while it is asked: who sleeps slows them down */
    while (rc == RT_OK) {
        rc = advance(p);
        if (rc != RT_OK || !p->n) break;
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
    for (int r = 0; r < c->size; r++) {
        const int64_t end = starts[r + 1] * (int64_t)size;
        for (int64_t at = starts[r] * (int64_t)size; at < end; at += PIECE)
            RT_TRY(put(c->data, &(transfer){.data = (char *)data + at,
                                            .n = end - at < PIECE ? (int)(end - at) : PIECE,
                                            .rank = r,
                                            .spread = true}));
    }
    return wait_all(c);
}

static void close_plane(rt_comm *c) {
    plane *p = c->data;
    if (!p) return;
    if (p->add) MPI_Op_free(&p->add);
    free(p->queue);
    free(p->wires);
    free(p);
    c->data = NULL;
}

static rt_status attach(rt_comm *c) {
    plane *p = calloc(1, sizeof *p);
    if (!p) return rt_fail(RT_ENOMEM, "out of memory for transfers");
    c->data = p;
    c->close_data = close_plane;
    p->own = c->rank;
    if (c->narrow) {
        p->wires = malloc((size_t)WIRES * WIRE * sizeof *p->wires);
        if (!p->wires) return rt_fail(RT_ENOMEM, "out of memory for gradients in bf16");
        RT_TRY(check(MPI_Op_create(add_bf16, 1, &p->add), "MPI_Op_create"));
    }
    c->reduce_start = reduce_start;
    c->poll = poll_plane;
    c->wait_all = wait_all;
    c->all_gather = all_gather;
    snprintf(c->name, sizeof c->name, "tcp + mpi%s", c->narrow ? ", bf16" : "");
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
