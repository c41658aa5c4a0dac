/* Several GPUs: the host code of NCCL over the emulator and the fakes, a process a GPU. Whole steps give the CPU's
 * losses on 1, 2 and 4 GPUs, whatever order the devices work in; an event that is missing gives other numbers; a rank
 * that dies, stands still or never starts ends the others in time, by name; every call that fails is told in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "../support/fakes/cublaslt.h"
#include "../support/fakes/fake.h"
#include "../support/fakes/nccl_knobs.h"
#include "comm/nccl.h"
#include <cmocka.h>
#include <rectrain/kernels.h>

/* The rig opens what stands here: the GPU of this rank, or the CPU. */
static int gpu = -1;
rt_status rt_cuda_backend_open(const rt_backend_options *options, rt_backend **out);
static rt_status either_backend_open(const rt_backend_options *options, rt_backend **out) {
    const rt_backend_options cuda = {.precision = options->precision, .device = gpu};
    return gpu >= 0 ? rt_cuda_backend_open(&cuda, out) : rt_cpu_backend_open(options, out);
}
#define rt_cpu_backend_open either_backend_open
#include "tests/comm/planes.h"
#include "tests/comm/ranks.h"
#include "tests/train/rig.h"

enum { STEPS_MOST = 20 };
/* Ranks share two processors with who knows what: generous where nothing hangs, short where something does. */
static const double PATIENCE = 120, SHORT = 5;

typedef struct {
    double loss[STEPS_MOST], norm[STEPS_MOST];
    int steps;
} course;

/* What the ranks of a case have, and what they leave in shared memory. */
static struct {
    rig_options rig;
    int steps;
    uint64_t seed;
    unsigned dropped;
    int delay, culprit, failing_call;
    bool narrow;
    void (*crime)(void);
} task;
typedef struct {
    course course;
    uint64_t aborted, calls;
    bool reached;
    char broken[200]; /* a rule of the fakes', or what is left behind */
} trace;
static trace *traces;

static float *first_params[64]; /* of each tensor, as the CPU draws them */

static rig_options usual(void) {
    return (rig_options){.rows = rig_rows,
                         .hidden = 64,
                         .plain_init = true,
                         .weights = true,
                         .settings = {.batch_size = 8, .micro_tokens = 32, .learning_rate = 1e-3, .clip_norm = 1}};
}

/* --- a training of a rank ----------------------------------------------------------------------------------------- */

static rt_status run_steps(rig *r, int steps, int rank, course *c) {
    rt_step_result before;
    bool known = false;
    RT_TRY(rt_stepper_new(&r->job, &r->stepper));
    fake_forbid_stream_sync(gpu >= 0);
    for (int i = 0; i <= steps; i++) {
        if (task.crime && rank == task.culprit && i == steps / 2) task.crime();
        RT_TRY(i < steps ? rt_stepper_start(r->stepper, &before, &known)
                         : rt_stepper_finish(r->stepper, &before, &known));
        if (!known) continue;
        c->loss[c->steps] = before.nonfinite ? NAN : before.loss, c->norm[c->steps++] = before.grad_norm;
    }
    return RT_OK;
}

static rt_status same_start(rig *r) {
    for (int i = 0; i < r->table.n; i++) RT_TRY(rt_model_put(&r->model, i, RT_BUFFER_PARAMS, first_params[i]));
    return rt_model_pack(&r->model, false);
}

static course on_cpu(const rig_options *o, int steps) {
    course c = {0};
    rig r;
    rig_open(&r, o);
    for (int i = 0; i < r.table.n; i++) {
        const rt_param *p = &r.table.rows[i];
        first_params[i] = rig_copy(rt_model_direct(&r.model, i, RT_BUFFER_PARAMS), p->count);
        for (int64_t k = 0; p->init == RT_INIT_NORMAL && k < p->count; k++) first_params[i][k] *= 8;
    }
    ok(same_start(&r));
    ok(run_steps(&r, steps, RANKS_MAX, &c)); /* no rank, so no crime */
    rig_close(&r);
    return c;
}
static void forget_start(void) {
    for (int i = 0; i < 64; i++) free(first_params[i]), first_params[i] = NULL;
}

static void open_device(const rank_world *w, int rank) {
    fake_reset();
    fake_seed(task.seed ? task.seed + 7u * (uint64_t)rank : 0);
    fake_settings()->devices = w->size;
    fake_settings()->sm = 80; /* where cuBLASLt's workspace is small */
    *fake_cublaslt_settings() = (fake_cublaslt){.workspace_wanted = 4096};
    fake_nccl_settings()->delay = rank == w->size - 1 ? task.delay : 0;
    fake_drop_waits(task.dropped);
    gpu = rank;
}

/* Ends as the program does: tells the others, closes the ranks' communicator first. */
static rt_status close_ranks(rt_comm *comm, int rank, rt_status rc) {
    const rt_error why = *rt_error_get();
    if (!comm) return rc;
    if (rc != RT_OK) comm->abort(comm, rc, why.text);
    comm->close(comm, rc);
    traces[rank].aborted = fake_nccl_settings()->aborted;
    traces[rank].calls = fake_nccl_settings()->calls;
    if (rc != RT_OK && strcmp(rt_error_get()->text, why.text) != 0)
        return rt_fail(RT_EINTERNAL, "closing lost the words: %s", why.text);
    return rc;
}

/* Failed or not: nobody waited blindly, nothing is left. */
static rt_status nothing_broken(int rank, rt_status rc, const rt_error *why) {
    char left[512];
    rt_status rules = fake_check("the fakes");
    if (rules == RT_OK && fake_leaks(left, sizeof left)) rules = rt_fail(RT_EINTERNAL, "left behind: %s", left);
    if (rules != RT_OK) snprintf(traces[rank].broken, sizeof traces[rank].broken, "%.199s", rt_error_get()->text);
    if (rc == RT_OK) return rules;
    rt_error_set(why);
    return rc;
}

static rt_status train(rank_world *w, int rank) {
    rig r;
    rt_comm *comm = NULL;
    size_t used = strlen(test_folder);
    snprintf(test_folder + used, sizeof test_folder - used, "/%d", rank); /* every rank its own files */
    if (mkdir(test_folder, 0700) != 0) return rt_fail(RT_EIO, "%s: %m", test_folder);
    open_device(w, rank);
    rig_open(&r, &task.rig);
    remove_tree(test_folder);
    rt_status rc = same_start(&r);
    if (rc == RT_OK && w->size > 1) rc = ranks_open(w, rank, &comm);
    if (rc == RT_OK && comm) rc = rt_nccl_attach(r.be, comm);
    if (comm) r.job.comm = comm;
    if (rc == RT_OK) rc = run_steps(&r, task.steps, rank, &traces[rank].course);
    fake_forbid_stream_sync(false);
    if (rc != RT_OK) { /* as the loop does */
        rt_stepper_free(r.stepper);
        r.stepper = NULL;
    }
    rc = close_ranks(comm, rank, rc);
    const rt_error why = *rt_error_get();
    rig_close(&r);
    return nothing_broken(rank, rc, &why);
}

static rank_world *start_ranks(int size, rank_body body, double timeout) {
    rank_world *w = ranks_new(size, timeout);
    memset(traces, 0, RANKS_MAX * sizeof *traces);
    ranks_run(w, body, 2 * PATIENCE);
    return w;
}

/* --- the same run ------------------------------------------------------------------------------------------------- */

/* test_training.c says why so much. Sums over ranks add one rounding more, of the same kind. */
static bool same_course(const course *a, const course *b, int steps, char *why, size_t size) {
    for (int i = 0; i < steps; i++) {
        const double loss = fabs(a->loss[i] / b->loss[i] - 1), norm = fabs(a->norm[i] / b->norm[i] - 1);
        snprintf(why, size, "step %d: losses %.9g and %.9g, norms %.9g and %.9g", i, a->loss[i], b->loss[i], a->norm[i],
                 b->norm[i]);
        if (!(loss <= 1e-5) || !(norm <= 1e-4)) return false;
    }
    return true;
}

static void train_on(int size, const course *want) {
    char why[256];
    rank_world *w = start_ranks(size, train, PATIENCE);
    ranks_all_ok(w);
    for (int r = 0; r < size; r++) {
        assert_int_equal(traces[r].course.steps, task.steps);
        if (!same_course(&traces[r].course, want, task.steps, why, sizeof why))
            fail_msg("rank %d of %d: %s", r, size, why);
        assert_memory_equal(&traces[r].course, &traces[0].course, sizeof traces[0].course);
    }
    ranks_free(w);
}

static void same_losses(void **state) {
    (void)state;
    task.rig = usual(), task.steps = 20;
    const course want = on_cpu(&task.rig, task.steps);
    assert_true(want.norm[0] > 1); /* so that clipping counts */
    for (int size = 1; size <= 4; size *= 2) {
        task.seed = 10u + (uint64_t)size;
        train_on(size, &want);
    }
    forget_start();
}

/* Sums are in rank order: neither the device's order nor a rank that is late changes a bit. */
static void order_changes_nothing(void **state) {
    (void)state;
    task.rig = usual(), task.steps = 5, task.seed = 0;
    task.rig.freeze = (rt_freeze){.embeddings = true, .layers = 1, .layer_decay = 0.9f};
    task.rig.dropout = 0.2f;
    const course want = on_cpu(&task.rig, task.steps);
    train_on(2, &want);
    const course first = traces[0].course;
    for (task.seed = 31; task.seed < 34; task.seed++) {
        task.delay = 40;
        train_on(2, &want);
        assert_memory_equal(&traces[0].course, &first, sizeof first);
    }
    forget_start();
}

/* Without the events that order reductions against ops the numbers are wrong, or the fakes see it. */
static void a_missing_event_is_seen(void **state) {
    (void)state;
    char why[256];
    task.rig = usual(), task.steps = 4;
    const course want = on_cpu(&task.rig, task.steps);
    for (task.dropped = FAKE_DROP_BEFORE; task.dropped <= FAKE_DROP_AFTER; task.dropped++) {
        for (task.seed = 51; task.seed < 53; task.seed++) {
            rank_world *w = start_ranks(2, train, PATIENCE);
            bool seen = false;
            for (int r = 0; r < 2; r++)
                seen |=
                    w->rank[r].status != RT_OK || !same_course(&traces[r].course, &want, task.steps, why, sizeof why);
            if (!seen) fail_msg("nobody missed the event (%u, seed %llu)", task.dropped, (unsigned long long)task.seed);
            ranks_free(w);
        }
    }
    forget_start();
}

/* --- faults ------------------------------------------------------------------------------------------------------- */

static void die(void) {
    kill(getpid(), SIGKILL);
}
static void stand_still(void) {
    for (;;) pause();
}

/* `who` did it: all others end in time, name it, and give NCCL up. */
static void others_name(int size, int who, const char *name) {
    task.rig = usual(), task.steps = 8, task.seed = 61, task.culprit = who;
    on_cpu(&task.rig, 1);
    rank_world *w = ranks_new(size, SHORT);
    memset(traces, 0, RANKS_MAX * sizeof *traces);
    for (int r = 0; r < size; r++) ranks_start(w, r, train);
    close(w->listener);
    for (int r = 0; r < size; r++)
        if (r != who) ranks_wait(w, r, PATIENCE);
    kill(w->pid[who], SIGKILL);
    ranks_wait(w, who, PATIENCE);
    for (int r = 0; r < size; r++) {
        if (r == who) continue;
        if (w->rank[r].status != RT_EUNAVAILABLE || !strstr(w->rank[r].error, name))
            fail_msg("rank %d: status %d, %s", r, w->rank[r].status, w->rank[r].error);
        assert_int_equal(traces[r].aborted, 1);
        assert_string_equal(traces[r].broken, "");
    }
    ranks_free(w);
    forget_start();
}

static void a_rank_dies(void **state) {
    (void)state;
    task.crime = die;
    others_name(3, 1, "rank 1 on ");
    others_name(2, 0, "rank 0 died");
}

static void a_rank_stands_still(void **state) {
    (void)state;
    task.crime = stand_still;
    others_name(3, 2, "rank 2 on ");
}

/* --- the data plane alone ----------------------------------------------------------------------------------------- */

static rt_status put(void *be, float *memory, const float *values) {
    return ((rt_backend *)be)->upload(be, memory, values, PLANES_N * sizeof *values);
}
static rt_status get(void *be, float *values, const float *memory) {
    return ((rt_backend *)be)->download(be, values, memory, PLANES_N * sizeof *values);
}

/* tests/comm/planes.h on the GPU of every rank. */
static rt_status planes(rank_world *w, int rank) {
    rt_backend *be = NULL;
    rt_comm *comm = NULL;
    planes_memory m = {.put = put, .get = get};
    rt_status rc = RT_OK;
    open_device(w, rank);
    if (rank == task.culprit) fake_nccl_settings()->fail_call = task.failing_call;
    RT_TRY(either_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32}, &be));
    m.context = be;
    RT_GO(be->alloc(be, PLANES_N * sizeof(float), "values", (void **)&m.memory));
    RT_GO(ranks_open(w, rank, &comm));
    comm->narrow = task.narrow;
    RT_GO(rt_nccl_attach(be, comm));
    RT_GO(planes_check(comm, &m));
    traces[rank].reached = true;
done:
    rc = close_ranks(comm, rank, rc);
    const rt_error why = *rt_error_get();
    be->release(be, m.memory, PLANES_N * sizeof(float));
    be->close(be);
    return nothing_broken(rank, rc, &why);
}

static void shares_and_ranges(void **state) {
    (void)state;
    for (task.seed = 70; task.seed < 76; task.seed++) {
        task.culprit = -1, task.delay = 5, task.narrow = task.seed >= 73;
        rank_world *w = start_ranks(2 + (int)(task.seed % 2), planes, PATIENCE);
        ranks_all_ok(w);
        ranks_free(w);
    }
}

/* Whichever call of NCCL fails on a rank: a sentence, the other ranks say who, nobody hangs. */
static void every_call_that_fails(void **state) {
    (void)state;
    bool failed = true;
    task.culprit = 1, task.seed = 81;
    for (task.failing_call = 1; failed && task.failing_call < 200; task.failing_call += task.failing_call < 8 ? 1 : 5) {
        rank_world *w = start_ranks(2, planes, PATIENCE);
        failed = w->rank[1].status != RT_OK;
        /* While it closes, after all is done, a rank may lose a call: nobody is harmed. */
        if (!failed) assert_true(traces[1].calls < (uint64_t)task.failing_call || traces[1].reached);
        if (failed && !strstr(w->rank[1].error, "NCCL: ")) fail_msg("call %d: %s", task.failing_call, w->rank[1].error);
        if (failed && !traces[0].reached && !strstr(w->rank[0].error, "rank 1 on "))
            fail_msg("call %d: rank 0: %s", task.failing_call, w->rank[0].error);
        for (int r = 0; r < 2; r++)
            if (traces[r].broken[0]) fail_msg("call %d: rank %d: %s", task.failing_call, r, traces[r].broken);
        ranks_free(w);
    }
    assert_true(task.failing_call > 20);
}

static rt_status never_settles(rank_world *w, int rank) {
    fake_nccl_settings()->init_never = true;
    return planes(w, rank);
}
static rt_status remote_error(rank_world *w, int rank) {
    fake_nccl_settings()->remote_error = rank == 1 ? 2 : 0;
    return planes(w, rank);
}
/* The network is gone, and no rank is to blame: none of them stands still. */
static rt_status sums_never_come(rank_world *w, int rank) {
    fake_nccl_settings()->stall = 2;
    return planes(w, rank);
}
/* Both ranks on one GPU. */
static rt_status one_gpu(rank_world *w, int rank) {
    rt_backend *be = NULL;
    rt_comm *comm = NULL;
    open_device(w, rank);
    gpu = 0;
    RT_TRY(either_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32}, &be));
    rt_status rc = ranks_open(w, rank, &comm);
    if (rc == RT_OK) rc = rt_nccl_attach(be, comm);
    return close_ranks(comm, rank, rc);
}
/* Ranks that do not agree on what they add. */
static rt_status other_counts(rank_world *w, int rank) {
    rt_backend *be = NULL;
    rt_comm *comm = NULL;
    void *memory = NULL;
    open_device(w, rank);
    RT_TRY(either_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32}, &be));
    RT_TRY(be->alloc(be, 4096, "values", &memory));
    rt_status rc = ranks_open(w, rank, &comm);
    if (rc == RT_OK) rc = rt_nccl_attach(be, comm);
    if (rc == RT_OK) rc = comm->reduce_start(comm, memory, 0, 100 + rank);
    if (rc == RT_OK) rc = comm->wait_all(comm);
    if (rc == RT_OK) rc = be->synchronize(be);
    return close_ranks(comm, rank, rc);
}

static void expect_words(rank_body body, double timeout, const char *words) {
    task.seed = 91, task.culprit = -1;
    rank_world *w = start_ranks(2, body, timeout);
    bool said = false;
    for (int r = 0; r < 2; r++) {
        if (w->rank[r].status != RT_EUNAVAILABLE) fail_msg("rank %d: %d, %s", r, w->rank[r].status, w->rank[r].error);
        said |= strstr(w->rank[r].error, words) != NULL;
    }
    if (!said) fail_msg("%s\n%s", w->rank[0].error, w->rank[1].error);
    ranks_free(w);
}

static void failures_in_words(void **state) {
    (void)state;
    expect_words(never_settles, 2, "NCCL: starting NCCL took more than 2 s (distributed.timeout)");
    expect_words(remote_error, PATIENCE, "NCCL: ncclAllReduce: remote process exited or there was a network error");
    expect_words(sums_never_come, 2, "NCCL: sums of gradients took more than 2 s (distributed.timeout)");
    expect_words(one_gpu, PATIENCE, "NCCL: starting NCCL: invalid usage: Duplicate GPU detected");
    expect_words(other_counts, PATIENCE, "NCCL: a reduction: invalid usage: operation 1: ");
}

/* --- what a share takes ------------------------------------------------------------------------------------------- */

/* Bytes of the device that are taken, as the fake counts them. */
static int64_t taken(void) {
    char list[4096];
    int64_t bytes = 0;
    fake_leaks(list, sizeof list);
    for (const char *p = list; (p = strstr(p, "device memory of ")) != NULL;) {
        p += strlen("device memory of ");
        bytes += strtoll(p, NULL, 10);
    }
    return bytes;
}

/* Of both moments a rank has its own share's, and no more. */
static void moments_of_a_share(void **state) {
    (void)state;
    rig r;
    rt_comm ranks = {.size = 3};
    int64_t whole = 0;
    task.rig = usual();
    task.rig.hidden = 96; /* three blocks of the norm */
    gpu = -1;
    rig_open(&r, &task.rig);
    ok(rt_comm_shard(&ranks, r.table.n_trainables));
    for (int rank = -1; rank < ranks.size; rank++) {
        rt_backend *be = NULL;
        rt_model model = {0};
        fake_reset();
        gpu = 0;
        ok(either_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32}, &be));
        const int64_t before = taken(), *own = ranks.shards + rank;
        if (rank < 0)
            ok(rt_model_new(be, &r.bert, &r.table, true, &model));
        else
            ok(rt_model_new_share(be, &r.bert, &r.table, own[0], own[1] - own[0], &model));
        const int64_t bytes = taken() - before;
        if (rank < 0) whole = bytes;
        /* Blocks of memory begin at 256 bytes: two moments, so twice that at most. */
        const int64_t want = rank < 0 ? whole : whole - 8 * (r.table.n_trainables - (own[1] - own[0]));
        if (llabs(bytes - want) > 512)
            fail_msg("rank %d: %lld bytes, want %lld", rank, (long long)bytes, (long long)want);
        if (rank >= 0) assert_true(own[1] - own[0] < r.table.n_trainables / 2);
        rt_model_free(&model);
        be->close(be);
    }
    free(ranks.shards);
    gpu = -1;
    rig_close(&r);
    ok(fake_check("the end"));
}

/* --- the fake's own rules ----------------------------------------------------------------------------------------- */

static bool reported(const char *words) {
    return fake_check("rule") != RT_OK && strstr(rt_error_get()->text, words);
}

static ncclComm_t settled(bool wait) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    ncclComm_t c = NULL;
    ncclResult_t said = ncclInProgress;
    config.blocking = 0;
    assert_int_equal(ncclGetUniqueId(&id), ncclSuccess);
    assert_int_equal(ncclCommInitRankConfig(&c, 1, id, 0, &config), ncclInProgress);
    while (wait && said == ncclInProgress) assert_int_equal(ncclCommGetAsyncError(c, &said), ncclSuccess);
    return c;
}

static void the_fake_is_strict(void **state) {
    (void)state;
    cudaStream_t stream;
    void *memory;
    float host[4] = {0};
    ncclResult_t said;
    fake_reset();
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaMalloc(&memory, 400), cudaSuccess);
    ncclComm_t c = settled(false);
    while (ncclCommGetAsyncError(c, &said) == ncclSuccess && said == ncclInProgress) {
        assert_int_equal(ncclAllReduce(memory, memory, 100, ncclFloat, ncclSum, c, stream), ncclInvalidArgument);
        assert_true(reported("ncclAllReduce while the communicator is not settled"));
    }
    assert_int_equal(ncclAllReduce(host, host, 4, ncclFloat, ncclSum, c, stream), ncclInvalidArgument);
    assert_true(reported("bytes of this device"));
    assert_int_equal(ncclAllReduce(memory, memory, 101, ncclFloat, ncclSum, c, stream), ncclInvalidArgument);
    assert_true(reported("bytes of this device"));
    assert_int_equal(ncclReduce(memory, memory, 100, ncclFloat, ncclSum, 1, c, stream), ncclInvalidArgument);
    assert_true(reported("root 1 of 1"));
    assert_int_equal(ncclGroupEnd(), ncclInvalidUsage);
    assert_true(reported("without a start"));
    assert_int_equal(ncclCommDestroy(c), ncclInvalidUsage);
    assert_true(reported("without being finalized"));
    assert_int_equal(ncclCommAbort(c), ncclSuccess);
    assert_int_equal(ncclCommGetAsyncError(c, &said), ncclInvalidArgument);
    assert_true(reported("a communicator that is not there"));
    /* Who writes to a buffer that is being added up. */
    c = settled(true);
    said = ncclAllReduce(memory, memory, 100, ncclFloat, ncclSum, c, stream);
    while (said == ncclInProgress) assert_int_equal(ncclCommGetAsyncError(c, &said), ncclSuccess);
    assert_int_equal(ncclCommAbort(c), ncclSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    assert_int_equal(cudaFree(memory), cudaSuccess);
    ok(fake_check("the end"));
    assert_int_equal(fake_leaks(NULL, 0), 0);
}

static int fresh(void **state) {
    (void)state;
    memset(&task, 0, sizeof task);
    task.culprit = -1;
    return 0;
}

static int open_traces(void **state) {
    traces = mmap(NULL, RANKS_MAX * sizeof *traces, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return traces == MAP_FAILED ? -1 : make_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(same_losses, fresh),
        cmocka_unit_test_setup(order_changes_nothing, fresh),
        cmocka_unit_test_setup(a_missing_event_is_seen, fresh),
        cmocka_unit_test_setup(shares_and_ranges, fresh),
        cmocka_unit_test_setup(a_rank_dies, fresh),
        cmocka_unit_test_setup(a_rank_stands_still, fresh),
        cmocka_unit_test_setup(every_call_that_fails, fresh),
        cmocka_unit_test_setup(failures_in_words, fresh),
        cmocka_unit_test_setup(moments_of_a_share, fresh),
        cmocka_unit_test_setup(the_fake_is_strict, fresh),
    };
    return cmocka_run_group_tests_name("nccl", tests, open_traces, drop_folder);
}
