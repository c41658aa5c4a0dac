/* The data plane over MPI: nonblocking reductions that advance whenever a rank starts another or polls. */
#include "mpi.h"
#include "../base/clock.h"
#include "bf16.h"
#include "watch.h"
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One transfer moves at most so many elements: MPI counts in int. What is not sent from where it lies (gradients in
 * bf16, and those of which most are zero) goes by wires, memory of this file's. WIRES transfers are under way at once:
 * the next takes the wire of the first that is done. */
enum { PIECE = 1 << 26, WIRE = 1 << 20, WIRES = 8 };
/* What is mostly zero is looked at in blocks of so many elements, and not worth a look below so many blocks. */
enum { BLOCK = 64, BLOCKS_LEAST = 16 };

typedef enum { SUM, SPREAD, MASK, PACKED } transfer_kind;

/* All transfers of a step, in the order in which every rank has them. */
typedef struct {
    transfer_kind kind;
    int n, rank; /* SUM: elements, of the rank that gets them, -1: all; SPREAD: bytes, of the rank that has them */
    void *data;
    int64_t first; /* PACKED: place in `blocks` of the first block; n of elements */
    void *wire;    /* NULL: it goes from data to data */
    MPI_Request request;
} transfer;

typedef struct {
    transfer *queue;
    int n, begun, done, capacity; /* done <= begun <= n */
    char *wires;                  /* [WIRES][WIRE] floats, of which bf16 takes half */
    bool narrow;
    MPI_Op add; /* of bf16 */
    int own;
    /* Of the sparse elements: which blocks are not zero on some rank, as bits and as a list. */
    float *sparse;
    int64_t n_sparse, n_blocks, room; /* room: blocks that both arrays hold */
    uint64_t *mask;
    int32_t *blocks;
    bool looking; /* a mask is under way: what follows it hangs on it */
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

static void to_wire(const plane *p, void *wire, int64_t at, const float *from, int64_t n) {
    if (!p->narrow) {
        memcpy((float *)wire + at, from, (size_t)n * sizeof *from);
        return;
    }
    rt_bf16 *to = (rt_bf16 *)wire + at;
    for (int64_t i = 0; i < n; i++) to[i] = rt_bf16_from(from[i]);
}

static void from_wire(const plane *p, float *to, const void *wire, int64_t at, int64_t n) {
    if (!p->narrow) {
        memcpy(to, (const float *)wire + at, (size_t)n * sizeof *to);
        return;
    }
    const rt_bf16 *from = (const rt_bf16 *)wire + at;
    for (int64_t i = 0; i < n; i++) to[i] = rt_bf16_to(from[i]);
}

/* The last block may be short. */
static int64_t block_size(const plane *p, int64_t block) {
    return p->n_sparse - block * BLOCK < BLOCK ? p->n_sparse - block * BLOCK : BLOCK;
}

static void move_blocks(const plane *p, const transfer *t, bool out) {
    for (int64_t at = 0, i = t->first; at < t->n; i++) {
        const int64_t n = block_size(p, p->blocks[i]);
        float *block = p->sparse + (int64_t)p->blocks[i] * BLOCK;
        if (out)
            to_wire(p, t->wire, at, block, n);
        else
            from_wire(p, block, t->wire, at, n);
        at += n;
    }
}

static void look_at_blocks(plane *p) {
    memset(p->mask, 0, (size_t)(p->n_blocks + 63) / 64 * sizeof *p->mask);
    for (int64_t i = 0; i < p->n_blocks; i++) {
        const float *block = p->sparse + i * BLOCK;
        uint32_t any = 0;
        for (int64_t k = 0, n = block_size(p, i); k < n; k++) {
            uint32_t bits;
            memcpy(&bits, block + k, sizeof bits);
            any |= bits;
        }
        if (any) p->mask[i / 64] |= 1ull << i % 64;
    }
}

static rt_status begin(plane *p, transfer *t) {
    const MPI_Datatype type = p->narrow ? MPI_UINT16_T : MPI_FLOAT;
    const MPI_Op op = p->narrow ? p->add : MPI_SUM;
    const bool mine = t->rank == p->own;
    void *from = t->data;
    if (t->kind == SPREAD)
        return check(MPI_Ibcast(from, t->n, MPI_BYTE, t->rank, MPI_COMM_WORLD, &t->request), "MPI_Ibcast");
    if (t->kind == MASK) {
        look_at_blocks(p);
        return check(MPI_Iallreduce(MPI_IN_PLACE, p->mask, t->n, MPI_UINT64_T, MPI_BOR, MPI_COMM_WORLD, &t->request),
                     "MPI_Iallreduce");
    }
    if (p->narrow || t->kind == PACKED)
        from = t->wire = p->wires + (size_t)(p->begun % WIRES) * WIRE * (p->narrow ? sizeof(rt_bf16) : sizeof(float));
    if (t->kind == PACKED)
        move_blocks(p, t, true);
    else if (p->narrow)
        to_wire(p, from, 0, t->data, t->n);
    if (t->rank < 0)
        return check(MPI_Iallreduce(MPI_IN_PLACE, from, t->n, type, op, MPI_COMM_WORLD, &t->request), "MPI_Iallreduce");
    return check(MPI_Ireduce(mine ? MPI_IN_PLACE : from, mine ? from : NULL, t->n, type, op, t->rank, MPI_COMM_WORLD,
                             &t->request),
                 "MPI_Ireduce");
}

/* To `owner` alone, or to all (-1). */
static rt_status reduce_pieces(plane *p, float *data, int64_t count, int owner) {
    const int most = p->narrow ? WIRE : PIECE;
    for (int64_t at = 0; at < count; at += most)
        RT_TRY(put(
            p, &(transfer){
                   .kind = SUM, .data = data + at, .n = count - at < most ? (int)(count - at) : most, .rank = owner}));
    return RT_OK;
}

/* The mask is the same on every rank by now, and so is what follows from it. */
static rt_status reduce_blocks(plane *p) {
    int64_t n = 0;
    p->looking = false;
    for (int64_t i = 0; i < p->n_blocks; i++)
        if (p->mask[i / 64] >> i % 64 & 1) p->blocks[n++] = (int32_t)i;
    if (2 * n > p->n_blocks) return reduce_pieces(p, p->sparse, p->n_sparse, -1);
    for (int64_t first = 0; first < n; first += WIRE / BLOCK) {
        const int64_t last = first + WIRE / BLOCK < n ? first + WIRE / BLOCK : n;
        const int64_t size = (last - first - 1) * BLOCK + block_size(p, p->blocks[last - 1]);
        RT_TRY(put(p, &(transfer){.kind = PACKED, .first = first, .n = (int)size, .rank = -1}));
    }
    return RT_OK;
}

static rt_status finish_transfer(plane *p, const transfer *t) {
    if (t->kind == MASK) return reduce_blocks(p);
    if (t->kind == PACKED) move_blocks(p, t, false);
    if (t->kind == SUM && t->wire && (t->rank < 0 || t->rank == p->own)) from_wire(p, t->data, t->wire, 0, t->n);
    return RT_OK;
}

/* Begins what may begin and ends what has come, in their order. */
static rt_status advance(plane *p) {
    for (;;) {
        while (p->begun < p->n && p->begun - p->done < WIRES) {
            RT_TRY(begin(p, &p->queue[p->begun]));
            p->begun++;
        }
        if (p->done == p->begun) break;
        int flag = 0;
        RT_TRY(check(MPI_Test(&p->queue[p->done].request, &flag, MPI_STATUS_IGNORE), "MPI_Test"));
        if (!flag) return RT_OK;
        const transfer ended = p->queue[p->done++];
        RT_TRY(finish_transfer(p, &ended));
    }
    p->n = p->begun = p->done = 0;
    return RT_OK;
}

static rt_status poll_plane(rt_comm *c) {
    return advance(c->data);
}

/* Which blocks are to be sent is asked of all ranks; transfers that hang on the answer stand in the queue when it is
 * there. */
static rt_status reduce_sparse(plane *p, float *data, int64_t count) {
    const int64_t n_blocks = (count + BLOCK - 1) / BLOCK;
    if (n_blocks < BLOCKS_LEAST || n_blocks > INT32_MAX) return reduce_pieces(p, data, count, -1);
    if (n_blocks > p->room) { /* once: it is the same table in every step */
        free(p->mask);
        free(p->blocks);
        p->room = 0;
        p->mask = malloc((size_t)(n_blocks + 63) / 64 * sizeof *p->mask);
        p->blocks = malloc((size_t)n_blocks * sizeof *p->blocks);
        if (!p->mask || !p->blocks) return rt_fail(RT_ENOMEM, "out of memory for a list of gradients");
        p->room = n_blocks;
    }
    p->sparse = data, p->n_sparse = count, p->n_blocks = n_blocks;
    p->looking = true;
    return put(p, &(transfer){.kind = MASK, .n = (int)((n_blocks + 63) / 64)});
}

static rt_status wait_all(rt_comm *c);

static rt_status reduce_start(rt_comm *c, float *data, int64_t offset, int64_t count) {
    plane *p = c->data;
    const int64_t end = offset + count, sparse_end = c->sparse_from + c->sparse_count;
    int64_t low = c->sparse_from > offset ? c->sparse_from : offset, high = sparse_end < end ? sparse_end : end;
    if (p->looking) RT_TRY(wait_all(c)); /* or ranks would have what comes now before the answer or after it */
    for (int r = 0; c->shards && r < c->size; r++) {
        int64_t from, n = rt_comm_shard_part(c, r, offset, count, &from);
        if (n > 0) RT_TRY(reduce_pieces(p, data + from, n, r));
    }
    if (c->shards) return advance(p);
    if (high <= low) low = high = end;
    RT_TRY(reduce_pieces(p, data + offset, low - offset, -1));
    RT_TRY(reduce_pieces(p, data + high, end - high, -1));
    if (high > low) RT_TRY(reduce_sparse(p, data + low, high - low));
    return advance(p);
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
    if (((plane *)c->data)->looking) RT_TRY(wait_all(c));
    for (int r = 0; r < c->size; r++) {
        const int64_t end = starts[r + 1] * (int64_t)size;
        for (int64_t at = starts[r] * (int64_t)size; at < end; at += PIECE)
            RT_TRY(put(c->data, &(transfer){.kind = SPREAD,
                                            .data = (char *)data + at,
                                            .n = end - at < PIECE ? (int)(end - at) : PIECE,
                                            .rank = r}));
    }
    return wait_all(c);
}

static void close_plane(rt_comm *c) {
    plane *p = c->data;
    if (!p) return;
    if (p->add) MPI_Op_free(&p->add);
    free(p->queue);
    free(p->wires);
    free(p->mask);
    free(p->blocks);
    free(p);
    c->data = NULL;
}

static rt_status attach(rt_comm *c) {
    plane *p = calloc(1, sizeof *p);
    if (!p) return rt_fail(RT_ENOMEM, "out of memory for transfers");
    c->data = p;
    c->close_data = close_plane;
    p->own = c->rank;
    p->narrow = c->narrow;
    p->wires = malloc((size_t)WIRES * WIRE * (c->narrow ? sizeof(rt_bf16) : sizeof(float)));
    if (!p->wires) return rt_fail(RT_ENOMEM, "out of memory for transfers");
    if (c->narrow) RT_TRY(check(MPI_Op_create(add_bf16, 1, &p->add), "MPI_Op_create"));
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
