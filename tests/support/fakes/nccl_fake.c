/* An NCCL among processes of this machine, which meet in memory that rank 0 names in the unique id (a memfd, opened by
 * the others through /proc: nothing is left behind, however they end). Up to 8 ranks, 4 MiB an operation.
 *
 * An operation is put on the stream when the communicator has settled, not before (a host that does not ask whether it
 * has loses the operation). When the stream comes to it, it reads its input and overwrites the buffer that it will
 * write with NaN; when the others' input is there it adds in rank order, in fp32 (of bf16 each sum is rounded), and
 * writes. So who reads a sum too early reads NaN, who writes meanwhile is found, and input that is read too early is
 * the wrong one.
 *
 * Checked: device pointers, of the whole length; one device a rank; streams of that device; non-blocking communicators;
 * calls while the communicator is not settled; the same operations in the same order with the same counts, types and
 * roots on all ranks (else all get ncclInvalidUsage); whatever is called after abort or destroy, or before; destroyed
 * without being finalized. A rank that comes to nothing leaves the others waiting, as the real one does. */
#include "fake.h"
#include "nccl_knobs.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { RANKS = 8, RING = 4, SLOT = 4 << 20, GROUP = 64, ALIVE = 0x4e63636c };
static const uint64_t MAGIC = 0x66616b65204e434cull;

typedef enum { ALL_REDUCE = 1, REDUCE, BROADCAST } op_kind;

/* What an operation is, as every rank must have it. */
typedef struct {
    int32_t kind, type, redop, root;
    uint64_t count;
} meaning;

typedef struct {
    _Atomic int joined, device, finalized;
    _Atomic uint64_t given, done; /* operations: the number of the last whose input is here; of the last that ended */
    meaning says[RING];
} seat;

typedef struct {
    uint64_t magic, nonce;
    _Atomic int size, failed; /* an ncclResult_t for all */
    char why[256];
    seat seats[RANKS];
} table;

typedef struct {
    uint64_t magic, nonce;
    long pid;
    int fd;
} ticket;
_Static_assert(sizeof(ticket) <= NCCL_UNIQUE_ID_BYTES && sizeof(table) <= 65536, "fit");

static const size_t BYTES = 65536 + (size_t)RANKS * RING * SLOT;

typedef enum { STARTING, SETTLED, LAUNCHING, FINALIZING, FINALIZED } phase;

typedef struct {
    ncclComm_t comm;
    meaning is;
    size_t bytes;
    uint64_t number;
    const void *from;
    void *to;
    cudaStream_t stream;
    int late;
    bool given;
} work;

struct ncclComm {
    uint32_t alive;
    int rank, size, questions; /* until it settles */
    phase phase;
    _Atomic int failed; /* of this rank alone */
    _Atomic bool aborted;
    table *shared;
    uint64_t issued, random;
    _Atomic uint64_t done;
    work waiting[GROUP]; /* to be put on streams when it settles */
    int n_waiting;
    cudaStream_t last;
    pthread_t device; /* lets work go on while the host waits for other things */
    _Atomic bool stop;
};

static fake_nccl settings;
static bool settings_known;
static _Thread_local int depth;
static _Thread_local char words[300];
static int named_fd = -1;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

fake_nccl *fake_nccl_settings(void) {
    if (!settings_known) {
        settings.fail_call = number("FAKE_NCCL_FAIL"), settings.init_never = number("FAKE_NCCL_INIT_NEVER");
        settings.remote_error = number("FAKE_NCCL_REMOTE_ERROR"), settings.delay = (int)number("FAKE_NCCL_DELAY");
        settings.stall = number("FAKE_NCCL_STALL");
    }
    settings_known = true;
    return &settings;
}

static bool fails(const char *function) {
    fake_nccl *s = fake_nccl_settings();
    const bool fail = fake_call_fails(function) || (long)++s->calls == s->fail_call;
    if (fail) snprintf(words, sizeof words, "%s was told to fail", function);
    return fail;
}
#define CALL                                                                                                           \
    if (fails(__func__)) return fake_nccl_settings()->failure ? fake_nccl_settings()->failure : ncclSystemError
#define RULE(holds, result, ...)                                                                                       \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fake_report("NCCL: " __VA_ARGS__);                                                                         \
            snprintf(words, sizeof words, __VA_ARGS__);                                                                \
            return result;                                                                                             \
        }                                                                                                              \
    } while (0)
#define LIVING(c)                                                                                                      \
    RULE((c) && (c)->alive == ALIVE, ncclInvalidArgument, "%s: a communicator that is not there", __func__)

static uint32_t draw(ncclComm_t c, uint32_t below) {
    c->random ^= c->random << 13, c->random ^= c->random >> 7, c->random ^= c->random << 17;
    return (uint32_t)(c->random >> 33) % below;
}

static void *slot(ncclComm_t c, int rank, uint64_t n) {
    return (char *)c->shared + 65536 + ((size_t)rank * RING + n % RING) * SLOT;
}

static void fail_all(ncclComm_t c, const char *why) {
    int none = 0;
    fake_report("NCCL: %s", why);
    if (!atomic_load(&c->shared->failed)) snprintf(c->shared->why, sizeof c->shared->why, "%s", why);
    atomic_compare_exchange_strong(&c->shared->failed, &none, ncclInvalidUsage);
}

/* --- operations, in the stream's order ------------------------------------------------------------------------------
 */

static bool writes(const work *w) {
    return w->is.kind == ALL_REDUCE || (w->is.kind == REDUCE) == (w->is.root == w->comm->rank);
}
static bool reads(const work *w) {
    return w->is.kind != BROADCAST || w->is.root == w->comm->rank;
}

/* Whoever comes last sees all the others. */
static void compare(const work *w) {
    ncclComm_t c = w->comm;
    for (int q = 0; q < c->size; q++) {
        seat *other = &c->shared->seats[q];
        if (atomic_load(&other->given) < w->number) continue;
        const meaning *says = &other->says[w->number % RING];
        if (memcmp(says, &w->is, sizeof *says) == 0) continue;
        char why[200];
        snprintf(
            why, sizeof why,
            "operation %llu: rank %d has kind %d, %llu values, type %d, op %d, root %d; rank %d %d, %llu, %d, %d, %d",
            (unsigned long long)w->number, c->rank, w->is.kind, (unsigned long long)w->is.count, w->is.type,
            w->is.redop, w->is.root, q, says->kind, (unsigned long long)says->count, says->type, says->redop,
            says->root);
        fail_all(c, why);
    }
}

static void give(work *w) {
    ncclComm_t c = w->comm;
    seat *own = &c->shared->seats[c->rank];
    if (reads(w)) memcpy(slot(c, c->rank, w->number), w->from, w->bytes);
    own->says[w->number % RING] = w->is;
    atomic_store(&own->given, w->number);
    compare(w);
    if (writes(w)) memset(w->to, 0xFF, w->bytes);
    w->given = true;
}

static bool ready(void *context) {
    work *w = context;
    ncclComm_t c = w->comm;
    if (c->aborted) return true;
    if (settings.stall && w->number > (uint64_t)settings.stall) return false;
    if (c->failed || atomic_load(&c->shared->failed) || atomic_load(&c->done) + 1 != w->number) return false;
    if (!w->given && w->late-- > 0) return false;
    for (int q = 0; q < c->size && !w->given; q++) /* its slot is read by nobody any more */
        if (w->number > RING && atomic_load(&c->shared->seats[q].done) < w->number - RING) return false;
    if (!w->given) give(w);
    for (int q = 0; q < c->size; q++)
        if (writes(w) && (w->is.kind != BROADCAST || q == w->is.root) &&
            atomic_load(&c->shared->seats[q].given) < w->number)
            return false;
    compare(w); /* whoever came last may not have done so yet */
    return !atomic_load(&c->shared->failed);
}

/* Nothing but the NaN that give() wrote. */
static bool untouched(const work *w) {
    const unsigned char *p = w->to;
    for (size_t i = 0; i < w->bytes; i++)
        if (p[i] != 0xFF) return false;
    return true;
}

static void add_floats(const work *w, float *to) {
    for (uint64_t i = 0; i < w->is.count; i++) {
        float sum = ((const float *)slot(w->comm, 0, w->number))[i];
        for (int q = 1; q < w->comm->size; q++) sum += ((const float *)slot(w->comm, q, w->number))[i];
        to[i] = sum;
    }
}

static float widen(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
/* To the nearest, of two equally near ones the even one: what lies below bit 16 as a share of it decides. */
static uint16_t narrow(float x) {
    uint32_t bits, low;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return 0x7FFF;
    low = bits & 0xFFFF, bits >>= 16;
    return (uint16_t)(bits + (low > 0x8000 || (low == 0x8000 && (bits & 1))));
}
static void add_halves(const work *w, uint16_t *to) {
    for (uint64_t i = 0; i < w->is.count; i++) {
        uint16_t sum = ((const uint16_t *)slot(w->comm, 0, w->number))[i];
        for (int q = 1; q < w->comm->size; q++)
            sum = narrow(widen(sum) + widen(((const uint16_t *)slot(w->comm, q, w->number))[i]));
        to[i] = sum;
    }
}

static void finish(void *context) {
    work *w = context;
    ncclComm_t c = w->comm;
    if (c->aborted) return;
    if (writes(w) && !untouched(w))
        fake_report("NCCL: operation %llu: its buffer was written to while it was under way",
                    (unsigned long long)w->number);
    if (writes(w) && w->is.kind == BROADCAST) memcpy(w->to, slot(c, w->is.root, w->number), w->bytes);
    if (writes(w) && w->is.kind != BROADCAST && w->is.type == ncclFloat) add_floats(w, w->to);
    if (writes(w) && w->is.kind != BROADCAST && w->is.type == ncclBfloat16) add_halves(w, w->to);
    atomic_store(&c->done, w->number);
    atomic_store(&c->shared->seats[c->rank].done, w->number);
}

static void launch(ncclComm_t c) {
    for (int i = 0; i < c->n_waiting; i++) {
        work *w = malloc(sizeof *w);
        if (!w) abort();
        *w = c->waiting[i];
        w->number = ++c->issued;
        settings.operations++, settings.bytes += w->bytes;
        c->last = w->stream;
        fake_enqueue_when(w->stream, "a reduction", ready, finish, w);
    }
    c->n_waiting = 0;
    c->phase = SETTLED;
}

/* A host that calls no library for a while waits for other ranks, perhaps for what this device has yet to do. */
static void *go_on(void *context) {
    ncclComm_t c = context;
    uint64_t seen = 0;
    for (int quiet = 0; !c->stop;) {
        const uint64_t calls = fake_calls();
        quiet = calls == seen ? quiet + 1 : 0;
        seen = calls;
        if (quiet > 4) fake_advance();
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return NULL;
}

/* --- the functions --------------------------------------------------------------------------------------------------
 */

ncclResult_t ncclGetVersion(int *version) {
    CALL;
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    static const char *const said[] = {"no error",
                                       "unhandled cuda error",
                                       "unhandled system error",
                                       "internal error",
                                       "invalid argument",
                                       "invalid usage",
                                       "remote process exited or there was a network error",
                                       "NCCL operation in progress"};
    return (unsigned)result < sizeof said / sizeof *said ? said[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t comm) {
    if (comm && comm->alive != ALIVE) fake_report("NCCL: ncclGetLastError: a communicator that is not there");
    return words;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    CALL;
    struct timespec now;
    ticket t = {.magic = MAGIC, .pid = getpid(), .fd = memfd_create("fake-nccl", MFD_CLOEXEC)};
    RULE(t.fd >= 0 && ftruncate(t.fd, (off_t)BYTES) == 0, ncclSystemError, "no shared memory");
    clock_gettime(CLOCK_MONOTONIC, &now);
    t.nonce = (uint64_t)now.tv_nsec ^ (uint64_t)t.pid << 32;
    const uint64_t head[2] = {t.magic, t.nonce};
    RULE(pwrite(t.fd, head, sizeof head, 0) == (ssize_t)sizeof head, ncclSystemError, "no shared memory");
    memset(id, 0, sizeof *id);
    memcpy(id, &t, sizeof t);
    named_fd = t.fd;
    return ncclSuccess;
}

static ncclResult_t open_table(const ticket *t, table **out) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/fd/%d", t->pid, t->fd);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return ncclRemoteError; /* rank 0 is gone */
    table *shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED) return ncclSystemError;
    *out = shared;
    if (shared->magic == t->magic && shared->nonce == t->nonce) return ncclSuccess;
    munmap(shared, BYTES);
    return ncclRemoteError;
}

/* What ranks can see of each other when they meet. */
static ncclResult_t sit_down(ncclComm_t c, int device) {
    int none = 0, size = 0;
    seat *own = &c->shared->seats[c->rank];
    atomic_compare_exchange_strong(&c->shared->size, &size, c->size);
    RULE(!size || size == c->size, ncclInvalidUsage, "ranks of %d and of %d in one communicator", size, c->size);
    atomic_store(&own->device, device + 1); /* before it looks at the others': one of two sees the other's */
    for (int q = 0; q < c->size; q++) {
        if (q == c->rank || atomic_load(&c->shared->seats[q].device) != device + 1) continue;
        char why[120];
        snprintf(why, sizeof why, "Duplicate GPU detected : rank %d and rank %d both on CUDA device %d", c->rank, q,
                 device);
        fail_all(c, why);
    }
    RULE(atomic_compare_exchange_strong(&own->joined, &none, 1), ncclInvalidUsage, "rank %d comes twice", c->rank);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank, ncclConfig_t *config) {
    CALL;
    ticket t;
    int device = 0;
    *out = NULL;
    memcpy(&t, &id, sizeof t);
    RULE(t.magic == MAGIC, ncclInvalidArgument, "not a unique id");
    RULE(config && config->magic == 0xcafebeef && config->size == sizeof *config, ncclInvalidArgument,
         "a configuration that was not initialized");
    RULE(config->blocking == 0, ncclInvalidUsage, "a communicator that blocks cannot be given up");
    RULE(size >= 1 && size <= RANKS && rank >= 0 && rank < size, ncclInvalidArgument, "rank %d of %d", rank, size);
    RULE(depth == 0, ncclInvalidUsage, "a communicator made in a group");
    ncclComm_t c = calloc(1, sizeof *c);
    if (!c) return ncclSystemError;
    *c = (struct ncclComm){.alive = ALIVE, .rank = rank, .size = size, .random = t.nonce + (uint64_t)rank + 1};
    c->questions = (int)draw(c, 6);
    ncclResult_t result = cudaGetDevice(&device) == cudaSuccess ? open_table(&t, &c->shared) : ncclUnhandledCudaError;
    if (result == ncclSuccess) result = sit_down(c, device);
    if (result == ncclSuccess && pthread_create(&c->device, NULL, go_on, c) != 0) result = ncclSystemError;
    if (result != ncclSuccess) {
        if (c->shared) munmap(c->shared, BYTES);
        free(c);
        return result;
    }
    fake_made("an NCCL communicator", c);
    *out = c;
    return ncclInProgress;
}

static bool all(ncclComm_t c, bool finalized) {
    for (int q = 0; q < c->size; q++)
        if (!atomic_load(finalized ? &c->shared->seats[q].finalized : &c->shared->seats[q].joined)) return false;
    return true;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *state) {
    CALL;
    LIVING(c);
    const int shared = atomic_load(&c->shared->failed);
    if (shared) snprintf(words, sizeof words, "%s", c->shared->why);
    if (settings.remote_error && c->issued >= (uint64_t)settings.remote_error) c->failed = ncclRemoteError;
    *state = (ncclResult_t)(shared ? shared : c->failed);
    if (*state != ncclSuccess) return ncclSuccess;
    switch (c->phase) {
    case STARTING:
        if (!settings.init_never && all(c, false) && c->questions-- <= 0) c->phase = SETTLED;
        break;
    case LAUNCHING:
        if (c->questions-- <= 0) launch(c);
        break;
    case FINALIZING:
        fake_advance();
        if (atomic_load(&c->done) == c->issued) atomic_store(&c->shared->seats[c->rank].finalized, 1);
        if (all(c, true)) c->phase = FINALIZED;
        break;
    default:
        break;
    }
    *state = c->phase == SETTLED || c->phase == FINALIZED ? ncclSuccess : ncclInProgress;
    return ncclSuccess;
}

ncclResult_t ncclGroupStart(void) {
    CALL;
    depth++;
    return ncclSuccess;
}

static _Thread_local ncclComm_t grouped;

static ncclResult_t close_group(void) {
    ncclComm_t c = grouped;
    if (depth > 0 || !c) return ncclSuccess;
    grouped = NULL;
    c->phase = LAUNCHING;
    c->questions = (int)draw(c, 4);
    if (c->questions == 0) launch(c);
    return c->phase == SETTLED ? ncclSuccess : ncclInProgress;
}

ncclResult_t ncclGroupEnd(void) {
    CALL;
    RULE(depth > 0, ncclInvalidUsage, "ncclGroupEnd without a start");
    depth--;
    return close_group();
}

static ncclResult_t add(const char *what, ncclComm_t c, const void *from, void *to, meaning is, cudaStream_t stream) {
    RULE(c->phase == SETTLED, ncclInvalidArgument, "%s while the communicator is not settled", what);
    RULE(c->n_waiting < GROUP, ncclInvalidUsage, "more than %d operations in a group", GROUP);
    /* Sums of fp32 and bf16; copies of whatever. */
    const size_t size = is.type == ncclFloat                          ? 4
                        : is.type == ncclBfloat16                     ? 2
                        : is.kind == BROADCAST && is.type == ncclInt8 ? 1
                                                                      : 0;
    RULE(size && is.redop == ncclSum, ncclInvalidArgument, "%s: type %d, operation %d", what, is.type, is.redop);
    RULE(is.count > 0 && is.count <= SLOT / size, ncclInvalidArgument, "%s of %llu values", what,
         (unsigned long long)is.count);
    RULE(is.root >= 0 && is.root < c->size, ncclInvalidArgument, "%s: root %d of %d", what, is.root, c->size);
    const size_t bytes = is.count * size;
    work w = {.comm = c, .is = is, .bytes = bytes, .from = from, .to = to, .stream = stream};
    RULE(!reads(&w) || fake_is_device(from, bytes), ncclInvalidArgument, "%s: %p is no %zu bytes of this device", what,
         from, bytes);
    RULE(!writes(&w) || fake_is_device(to, bytes), ncclInvalidArgument, "%s: %p is no %zu bytes of this device", what,
         to, bytes);
    RULE(from == to || (const char *)from + bytes <= (const char *)to || (const char *)to + bytes <= (const char *)from,
         ncclInvalidArgument, "%s: input and output overlap", what);
    w.late = settings.delay > 0 ? (int)draw(c, (uint32_t)settings.delay + 1) : 0;
    c->waiting[c->n_waiting++] = w;
    RULE(!grouped || grouped == c, ncclInvalidUsage, "two communicators in one group");
    grouped = c;
    return close_group();
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c,
                           cudaStream_t stream) {
    CALL;
    LIVING(c);
    return add(__func__, c, from, to, (meaning){ALL_REDUCE, (int)type, (int)op, 0, count}, stream);
}
ncclResult_t ncclReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op, int root,
                        ncclComm_t c, cudaStream_t stream) {
    CALL;
    LIVING(c);
    return add(__func__, c, from, to, (meaning){REDUCE, (int)type, (int)op, root, count}, stream);
}
ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root, ncclComm_t c,
                           cudaStream_t stream) {
    CALL;
    LIVING(c);
    return add(__func__, c, from, to, (meaning){BROADCAST, (int)type, ncclSum, root, count}, stream);
}

ncclResult_t ncclCommFinalize(ncclComm_t c) {
    CALL;
    LIVING(c);
    RULE(c->phase == SETTLED, ncclInvalidArgument, "finalized while it is not settled");
    c->phase = FINALIZING;
    return ncclInProgress;
}

static void end(ncclComm_t c) {
    c->stop = true;
    pthread_join(c->device, NULL);
    munmap(c->shared, BYTES);
    if (c->rank == 0 && named_fd >= 0) close(named_fd), named_fd = -1;
    fake_gone("an NCCL communicator", c);
    c->alive = 0; /* never freed: whoever calls with it is to be seen */
}

ncclResult_t ncclCommDestroy(ncclComm_t c) {
    CALL;
    LIVING(c);
    RULE(c->phase == FINALIZED, ncclInvalidUsage, "destroyed without being finalized");
    end(c);
    return ncclSuccess;
}

/* What is under way ends with whatever it has. */
ncclResult_t ncclCommAbort(ncclComm_t c) {
    CALL;
    LIVING(c);
    c->aborted = true;
    settings.aborted++;
    while (fake_pending() && c->last) {
        const int before = fake_pending();
        fake_advance();
        if (fake_pending() == before) break;
    }
    end(c);
    return ncclSuccess;
}
