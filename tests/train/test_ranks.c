/* The same run on one rank and on several: the same rows in the same steps, the same masks, the same losses; evaluation
 * equal to the bit. The ranks are processes; their gradients go through the host plane, in rank order. */
#include "eval/evaluate.h"
#include "rig.h"
#include "tests/comm/ranks.h"

enum { STEPS = 40 };

/* What the test looks at, in shared memory. */
typedef struct {
    double losses[STEPS];
    uint64_t tokens;
    float logits[64];
    float params[262144];
} trace;
static trace *traces; /* [RANKS_MAX] */
static rig_options options;
static bool sharded;

static rt_status reduce(rt_comm *c, float *data, int64_t offset, int64_t count) {
    size_t *sizes = calloc((size_t)c->size, sizeof *sizes);
    float *all = NULL, *sum = data + offset;
    rt_status rc = c->gather(c, sum, (size_t)count * sizeof *sum, (void **)&all, sizes);
    for (int r = 1; rc == RT_OK && c->rank == 0 && r < c->size; r++)
        for (int64_t i = 0; i < count; i++) sum[i] += all[r * count + i];
    free(all);
    free(sizes);
    return rc == RT_OK ? c->bcast(c, sum, (size_t)count * sizeof *sum) : rc;
}

/* Through the host plane too: every rank's part, in rank order. */
static rt_status all_gather(rt_comm *c, void *data, const int64_t *starts, size_t size) {
    size_t *sizes = calloc((size_t)c->size, sizeof *sizes);
    void *all = NULL;
    rt_status rc = c->gather(c, (char *)data + (size_t)starts[c->rank] * size,
                             (size_t)(starts[c->rank + 1] - starts[c->rank]) * size, &all, sizes);
    if (rc == RT_OK && c->rank == 0) memcpy(data, all, (size_t)starts[c->size] * size);
    free(all);
    free(sizes);
    return rc == RT_OK ? c->bcast(c, data, (size_t)starts[c->size] * size) : rc;
}

static rt_status train(rank_world *w, int rank) {
    rig r;
    trace *t = &traces[rank];
    rt_comm *comm = NULL;
    size_t used = strlen(test_folder);
    snprintf(test_folder + used, sizeof test_folder - used, "/%d", rank); /* every rank its own files */
    if (mkdir(test_folder, 0700) != 0) return rt_fail(RT_EIO, "%s: %m", test_folder);
    rig_open(&r, &options);
    remove_tree(test_folder);
    if (w->size > 1) {
        RT_TRY(ranks_open(w, rank, &comm));
        comm->reduce_start = reduce;
        comm->all_gather = all_gather;
        r.job.comm->close(r.job.comm, RT_OK);
        r.job.comm = r.comm = comm;
    }
    if (sharded && w->size > 1) {
        RT_TRY(rt_comm_shard(comm, r.table.n_trainables));
        /* A moment that is another rank's is never looked at. */
        for (int64_t i = 0; i < r.table.n_trainables; i++)
            if (i < comm->shards[rank] || i >= comm->shards[rank + 1]) r.model.m[i] = r.model.v[i] = NAN;
    }
    for (int i = 0; i < STEPS; i++) {
        rt_step_result step = rig_step(&r);
        t->losses[i] = step.loss;
        t->tokens += step.tokens;
    }
    rt_evaluate_options eval = {.batch_tokens = 24, .max_seqs = 4};
    if (!options.pairs) RT_TRY(rt_evaluate(r.objective, r.data, r.comm, &eval, t->logits));
    if (r.table.n_params > 262144)
        return rt_fail(RT_EINTERNAL, "room for fewer than %lld parameters", (long long)r.table.n_params);
    memcpy(t->params, r.model.params, (size_t)r.table.n_params * sizeof(float));
    rig_close(&r);
    return RT_OK;
}

static void run(int size, const rig_options *o) {
    options = *o;
    rank_world *w = ranks_new(size, 60);
    memset(traces, 0, RANKS_MAX * sizeof *traces);
    ranks_run(w, train, 120);
    ranks_all_ok(w);
    ranks_free(w);
}

/* Sums in another order: 6e-8 a sum, and Adam carries it on; contract 5 allows 1e-5 over 100 steps. */
static void check(const rig_options *o) {
    trace *alone = malloc(sizeof *alone);
    run(1, o);
    *alone = traces[0];
    for (int size = 2; size <= 4; size++) {
        run(size, o);
        for (int r = 0; r < size; r++) {
            assert_int_equal(traces[r].tokens, alone->tokens);
            for (int i = 0; i < STEPS; i++) {
                double want = alone->losses[i], have = traces[r].losses[i];
                if (!(fabs(have - want) <= 1e-5 * fabs(want)))
                    fail_msg("%d ranks, rank %d, step %d: loss %.9g, alone %.9g", size, r, i, have, want);
            }
            /* All ranks hold one model. */
            assert_memory_equal(traces[r].params, traces[0].params, sizeof traces[0].params);
        }
    }
    free(alone);
}

static void same_run(void **state) {
    (void)state;
    rig_options o = {.rows = rig_rows,
                     .dropout = 0.1f,
                     .weights = true,
                     .settings = {.batch_size = 5, .micro_tokens = 24, .learning_rate = 1e-3}};
    check(&o);
    o.settings.batch_size = 2; /* fewer rows than ranks: some have none */
    check(&o);
    o.pooling = RT_POOL_MEAN, o.settings.batch_size = 7; /* and a last batch of three */
    o.settings.clip_norm = 0.5;
    check(&o);
}

/* Here sums are made in one order either way: a sharded optimizer gives the bits of one that is not. */
static void check_sharded(const rig_options *o) {
    trace *whole = malloc(sizeof *whole);
    for (int size = 2; size <= 4; size++) {
        sharded = false;
        run(size, o);
        *whole = traces[0];
        sharded = true;
        run(size, o);
        for (int r = 0; r < size; r++) {
            assert_memory_equal(traces[r].losses, whole->losses, sizeof whole->losses);
            assert_memory_equal(traces[r].params, whole->params, sizeof whole->params);
        }
    }
    sharded = false;
    free(whole);
}

static void same_run_sharded(void **state) {
    (void)state;
    rig_options o = {.rows = rig_rows,
                     .hidden = 96, /* some 150,000 trainables: three blocks of the norm */
                     .dropout = 0.1f,
                     .settings = {.batch_size = 5, .micro_tokens = 24, .learning_rate = 1e-3, .clip_norm = 0.5}};
    check_sharded(&o);
    o.freeze.layers = 1; /* fewer blocks than ranks */
    check_sharded(&o);
}

/* Rows that hang on each other, their texts on several ranks: every rank has all vectors. */
static void same_run_of_pairs(void **state) {
    (void)state;
    rig_options o = {.rows = rig_pairs,
                     .pairs = true,
                     .pooling = RT_POOL_MEAN,
                     .dropout = 0.1f,
                     .weights = true,
                     .contrastive = {.sides = 3, .symmetric = true, .mask_clicked = true},
                     .log_share = true,
                     .settings = {.batch_size = 5, .micro_tokens = 24, .learning_rate = 1e-3}};
    check(&o);
    o.contrastive.sides = 2, o.contrastive.symmetric = false;
    o.settings.batch_size = 1; /* two texts on up to four ranks */
    check(&o);
    o.settings.batch_size = 7;
    check_sharded(&o);
}

/* With a rate of 0 the checkpoint is one; its scores may not hang on the ranks by a bit. */
static void same_scores(void **state) {
    (void)state;
    rig_options o = {.rows = rig_rows, .settings = {.batch_size = 5}};
    run(1, &o);
    float alone[64];
    memcpy(alone, traces[0].logits, sizeof alone);
    assert_true(alone[0] != 0);
    for (int size = 2; size <= 4; size++) {
        run(size, &o);
        assert_memory_equal(traces[0].logits, alone, sizeof alone);
    }
}

static int open_traces(void **state) {
    traces = mmap(NULL, RANKS_MAX * sizeof *traces, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return traces == MAP_FAILED ? -1 : make_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_run),
        cmocka_unit_test(same_run_sharded),
        cmocka_unit_test(same_run_of_pairs),
        cmocka_unit_test(same_scores),
    };
    return cmocka_run_group_tests_name("ranks", tests, open_traces, drop_folder);
}
