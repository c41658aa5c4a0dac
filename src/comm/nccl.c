/* One communicator, not blocking, so that it can be given up; every wait looks at NCCL's own error and at the watch.
 * libnccl is loaded by name when ranks are there to speak to: one GPU needs none. */
#include "nccl.h"
#include "../base/clock.h"
#include "watch.h"
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The functions that we use: result, name, arguments. */
#define FUNCTIONS(X)                                                                                                   \
    X(ncclResult_t, GetVersion, (int *))                                                                               \
    X(ncclResult_t, GetUniqueId, (ncclUniqueId *))                                                                     \
    X(ncclResult_t, CommInitRankConfig, (ncclComm_t *, int, ncclUniqueId, int, ncclConfig_t *))                        \
    X(ncclResult_t, CommFinalize, (ncclComm_t))                                                                        \
    X(ncclResult_t, CommDestroy, (ncclComm_t))                                                                         \
    X(ncclResult_t, CommAbort, (ncclComm_t))                                                                           \
    X(ncclResult_t, CommGetAsyncError, (ncclComm_t, ncclResult_t *))                                                   \
    X(const char *, GetErrorString, (ncclResult_t))                                                                    \
    X(const char *, GetLastError, (ncclComm_t))                                                                        \
    X(ncclResult_t, AllReduce, (const void *, void *, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t))  \
    X(ncclResult_t, Reduce,                                                                                            \
      (const void *, void *, size_t, ncclDataType_t, ncclRedOp_t, int, ncclComm_t, cudaStream_t))                      \
    X(ncclResult_t, Broadcast, (const void *, void *, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t))          \
    X(ncclResult_t, GroupStart, (void))                                                                                \
    X(ncclResult_t, GroupEnd, (void))

typedef struct {
#define X(result, name, args) result(*name) args;
    FUNCTIONS(X)
#undef X
} functions;

/* Gradients in bf16 go through one block of so many elements, in the order of the reductions' stream. */
enum { WIRE = 1 << 24 };

typedef struct {
    void *library;
    functions f;
    ncclComm_t comm;
    cudaStream_t stream;        /* of reductions */
    cudaEvent_t ready, reduced; /* a range is final on the ops' stream; all sums are there */
    rt_bf16 *wire;              /* [WIRE] in the device's memory; NULL: sums travel as they are */
    rt_backend *be;
    rt_comm *ranks;
    bool aborted;
    bool summing; /* `reduced` is yet to come, as far as was looked */
    double since; /* clock of the last wait_all */
} plane;

static rt_status cuda(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return RT_OK;
    cudaGetLastError(); /* told here: the next launch must not find it again */
    return rt_fail(RT_EINTERNAL, "%s: %s", what, cudaGetErrorString(error));
}

#ifdef RT_NCCL_IS_LINKED /* over the fakes */
static rt_status load(plane *p) {
#define X(result, name, args) p->f.name = nccl##name;
    FUNCTIONS(X)
#undef X
    return RT_OK;
}
#else
static rt_status load(plane *p) {
    p->library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!p->library)
        return rt_fail(RT_EUNAVAILABLE,
                       "several GPUs need NCCL: %s. Install it (Debian's or NVIDIA's libnccl2), or run one rank",
                       dlerror());
#define X(result, name, args)                                                                                          \
    *(void **)&p->f.name = dlsym(p->library, "nccl" #name);                                                            \
    if (!p->f.name)                                                                                                    \
        return rt_fail(RT_EUNAVAILABLE, "libnccl.so.2 has no nccl" #name ": version 2.14 or later is needed");
    FUNCTIONS(X)
#undef X
    return RT_OK;
}
#endif

static void give_up(plane *p) {
    if (p->aborted || !p->comm) return;
    p->aborted = true;
    p->f.CommAbort(p->comm); /* whatever it says, this rank is leaving */
}

/* With the error record as it is. */
static rt_status give_up_with(plane *p, rt_status rc) {
    const rt_error why = *rt_error_get();
    give_up(p);
    rt_error_set(&why);
    return rc;
}

/* A communicator that was given up is gone. */
static rt_status living(plane *p) {
    RT_TRY(rt_watch_check(p->ranks->watch));
    return p->aborted ? rt_fail(RT_EUNAVAILABLE, "NCCL: given up after an earlier failure") : RT_OK;
}

static rt_status failed(plane *p, ncclResult_t result, const char *what) {
    char words[256];
    const char *more = p->comm && !p->aborted ? p->f.GetLastError(p->comm) : "";
    snprintf(words, sizeof words, "%s%s%.150s", p->f.GetErrorString(result), more && *more ? ": " : "",
             more ? more : "");
    give_up(p);
    rt_status better = rt_watch_check(p->ranks->watch); /* a rank that died is the better explanation */
    return better != RT_OK ? better : rt_fail(RT_EUNAVAILABLE, "NCCL: %s: %s (NCCL_DEBUG=INFO says more)", what, words);
}

/* A rank that waits for NCCL, with a deadline of its own, is not to blame for standing still. */
static void awake(plane *p) {
    rt_watch_waiting(p->ranks->watch, true);
    rt_watch_waiting(p->ranks->watch, false);
}

/* Until the communicator is no longer busy with itself. */
static rt_status settle_within(plane *p, ncclResult_t result, const char *what, double seconds) {
    double deadline = rt_clock_seconds() + seconds;
    while (result == ncclSuccess || result == ncclInProgress) {
        ncclResult_t state = ncclSuccess;
        if (!p->comm) return RT_OK;
        ncclResult_t asked = p->f.CommGetAsyncError(p->comm, &state);
        if (asked != ncclSuccess) return failed(p, asked, what);
        if (state == ncclSuccess) return RT_OK;
        if (state != ncclInProgress) return failed(p, state, what);
        rt_status rc = rt_watch_check(p->ranks->watch);
        if (rc == RT_OK && rt_clock_seconds() > deadline)
            rc = rt_fail(RT_EUNAVAILABLE, "NCCL: %s took more than %.0f s (distributed.timeout)", what, seconds);
        if (rc != RT_OK) return give_up_with(p, rc);
        awake(p);
        usleep(100);
    }
    return failed(p, result, what);
}
static rt_status settle(plane *p, ncclResult_t result, const char *what) {
    return settle_within(p, result, what, p->ranks->timeout);
}

/* Sums that do not come: every rank may be waiting for a network that is gone. */
static rt_status look_at_sums(plane *p) {
    if (!p->summing) return RT_OK;
    const cudaError_t error = cudaEventQuery(p->reduced);
    if (error != cudaErrorNotReady) {
        p->summing = false;
        return cuda(error, "waiting for sums");
    }
    cudaGetLastError(); /* "not ready" is kept as an error too */
    awake(p);
    if (rt_clock_seconds() - p->since <= p->ranks->timeout) return RT_OK;
    return rt_fail(RT_EUNAVAILABLE, "NCCL: sums of gradients took more than %.0f s (distributed.timeout)",
                   p->ranks->timeout);
}

/* While the host waits for the device, which may wait for a rank that is no more. */
static rt_status look(void *context) {
    plane *p = context;
    ncclResult_t state = ncclSuccess;
    rt_status rc = living(p);
    if (rc == RT_OK) {
        ncclResult_t asked = p->f.CommGetAsyncError(p->comm, &state);
        if (asked != ncclSuccess || (state != ncclSuccess && state != ncclInProgress))
            return failed(p, asked != ncclSuccess ? asked : state, "a reduction");
        rc = look_at_sums(p);
    }
    return rc == RT_OK ? RT_OK : give_up_with(p, rc);
}

/* Ops issued so far come before what the reductions' stream does next. */
static rt_status follow(plane *p) {
    RT_TRY(cuda(cudaEventRecord(p->ready, p->be->stream), "recording that gradients are there"));
    return cuda(cudaStreamWaitEvent(p->stream, p->ready, 0), "waiting for gradients");
}

/* The elements [offset, offset + count) of the gradients, which lie at `from` as they travel: to all, or to the owner
 * of each part. */
static rt_status reduce(plane *p, void *from, int64_t offset, int64_t count) {
    const rt_comm *c = p->ranks;
    const ncclDataType_t type = p->wire ? ncclBfloat16 : ncclFloat;
    if (!c->shards)
        return settle(p, p->f.AllReduce(from, from, (size_t)count, type, ncclSum, p->comm, p->stream), "ncclAllReduce");
    RT_TRY(settle(p, p->f.GroupStart(), "ncclGroupStart"));
    ncclResult_t result = ncclSuccess;
    for (int r = 0; r < c->size && result == ncclSuccess; r++) {
        int64_t low, n = rt_comm_shard_part(c, r, offset, count, &low);
        void *part = (char *)from + (low - offset) * (int64_t)(p->wire ? sizeof *p->wire : sizeof(float));
        if (n > 0) result = p->f.Reduce(part, part, (size_t)n, type, ncclSum, r, p->comm, p->stream);
        if (result == ncclInProgress) result = ncclSuccess;
    }
    ncclResult_t ended = p->f.GroupEnd();
    if (result != ncclSuccess) return failed(p, result, "ncclReduce");
    return settle(p, ended, "ncclReduce");
}

/* Narrowed, summed, and what is this rank's widened again: all on the reductions' stream, which orders the wire's use.
 */
static rt_status reduce_narrow(plane *p, float *data, int64_t offset, int64_t count) {
    rt_comm *c = p->ranks;
    rt_backend *be = p->be;
    int64_t low = offset, n = count;
    RT_TRY(be->convert_on(be, p->stream, p->wire, RT_BF16, data + offset, RT_F32, (size_t)count));
    RT_TRY(reduce(p, p->wire, offset, count));
    if (c->shards) n = rt_comm_shard_part(c, c->rank, offset, count, &low);
    return n > 0 ? be->convert_on(be, p->stream, data + low, RT_F32, p->wire + (low - offset), RT_BF16, (size_t)n)
                 : RT_OK;
}

static rt_status reduce_start(rt_comm *c, float *data, int64_t offset, int64_t count) {
    plane *p = c->data;
    RT_TRY(living(p));
    RT_TRY(follow(p));
    if (!p->wire) return reduce(p, data + offset, offset, count);
    for (int64_t at = 0; at < count; at += WIRE)
        RT_TRY(reduce_narrow(p, data, offset + at, count - at < WIRE ? count - at : WIRE));
    return RT_OK;
}

/* NCCL advances by itself. */
static rt_status poll_plane(rt_comm *c) {
    return rt_watch_check(c->watch);
}

/* Ops issued from here on come after the sums; the host does not wait. */
static rt_status wait_all(rt_comm *c) {
    plane *p = c->data;
    RT_TRY(living(p));
    RT_TRY(cuda(cudaEventRecord(p->reduced, p->stream), "recording that sums are there"));
    RT_TRY(cuda(cudaStreamWaitEvent(p->be->stream, p->reduced, 0), "waiting for sums"));
    p->summing = true;
    p->since = rt_clock_seconds();
    return RT_OK;
}

static rt_status all_gather(rt_comm *c, void *data, const int64_t *starts, size_t size) {
    plane *p = c->data;
    RT_TRY(follow(p));
    RT_TRY(settle(p, p->f.GroupStart(), "ncclGroupStart"));
    ncclResult_t result = ncclSuccess;
    for (int r = 0; r < c->size && result == ncclSuccess; r++) {
        char *from = (char *)data + (size_t)starts[r] * size;
        size_t bytes = (size_t)(starts[r + 1] - starts[r]) * size;
        if (bytes) result = p->f.Broadcast(from, from, bytes, ncclInt8, r, p->comm, p->stream);
        if (result == ncclInProgress) result = ncclSuccess;
    }
    ncclResult_t ended = p->f.GroupEnd();
    if (result != ncclSuccess) return failed(p, result, "ncclBroadcast");
    RT_TRY(settle(p, ended, "ncclBroadcast"));
    return wait_all(c);
}

static void close_plane(rt_comm *c) {
    plane *p = c->data;
    const rt_error why = *rt_error_get(); /* of whoever closes */
    if (!p) return;
    if (p->be->while_waiting == look) p->be->while_waiting = NULL;
    if (p->comm && !p->aborted) {
        /* All ranks came to the end, so this takes a moment; whoever does not say so has nothing of ours. */
        double seconds = c->timeout < 5 ? c->timeout : 5;
        bool well = rt_watch_check(c->watch) == RT_OK &&
                    settle_within(p, p->f.CommFinalize(p->comm), "ncclCommFinalize", seconds) == RT_OK;
        if (well)
            p->f.CommDestroy(p->comm);
        else
            give_up(p);
        rt_error_set(&why);
    }
    /* What is left on it waits for this device alone: reductions have ended, or ended with the communicator. */
    if (p->stream && cudaStreamSynchronize(p->stream) != cudaSuccess) cudaGetLastError();
    p->be->release(p->be, p->wire, WIRE * sizeof *p->wire);
    if (p->ready) cudaEventDestroy(p->ready);
    if (p->reduced) cudaEventDestroy(p->reduced);
    if (p->stream) cudaStreamDestroy(p->stream);
    free(p); /* the library stays: it may have threads */
    c->data = NULL;
}

static rt_status start(plane *p) {
    rt_comm *c = p->ranks;
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    int version = 0;
    memset(&id, 0, sizeof id);
    RT_TRY(load(p));
    /* Read when the first communicator is made. */
    if (setenv("NCCL_NVLS_ENABLE", "0", 0) != 0) return rt_fail(RT_ENOMEM, "out of memory for the environment");
    RT_TRY(settle(p, p->f.GetVersion(&version), "ncclGetVersion"));
    char text[16];
    snprintf(text, sizeof text, "%d", version);
    RT_TRY(rt_comm_same(c, "version of NCCL", text));
    if (c->rank == 0) RT_TRY(settle(p, p->f.GetUniqueId(&id), "ncclGetUniqueId"));
    RT_TRY(c->bcast(c, &id, sizeof id));
    config.blocking = 0;
    RT_TRY(cuda(cudaSetDevice(p->be->device), "choosing the GPU"));
    RT_TRY(cuda(cudaStreamCreateWithFlags(&p->stream, cudaStreamNonBlocking), "a stream for reductions"));
    RT_TRY(cuda(cudaEventCreateWithFlags(&p->ready, cudaEventDisableTiming), "an event for reductions"));
    RT_TRY(cuda(cudaEventCreateWithFlags(&p->reduced, cudaEventDisableTiming), "an event for reductions"));
    if (c->narrow)
        RT_TRY(p->be->alloc(p->be, WIRE * sizeof *p->wire, "gradients that travel in bf16", (void **)&p->wire));
    ncclResult_t result = p->f.CommInitRankConfig(&p->comm, c->size, id, c->rank, &config);
    return settle(p, result, "starting NCCL");
}

rt_status rt_nccl_attach(rt_backend *be, rt_comm *c) {
    plane *p = calloc(1, sizeof *p);
    if (!p) return rt_fail(RT_ENOMEM, "out of memory for NCCL");
    p->be = be;
    p->ranks = c;
    c->data = p;
    c->close_data = close_plane;
    RT_TRY(start(p)); /* on failure the communicator's close clears up */
    c->reduce_start = reduce_start;
    c->poll = poll_plane;
    c->wait_all = wait_all;
    c->all_gather = all_gather;
    be->while_waiting = look;
    be->waiting_context = p;
    snprintf(c->name, sizeof c->name, "tcp + nccl%s", c->narrow ? ", bf16" : "");
    return RT_OK;
}
