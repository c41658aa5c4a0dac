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
    float params[65536];
} trace;
static trace *traces; /* [RANKS_MAX] */
static rig_options options;

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
        r.job.comm->close(r.job.comm, RT_OK);
        r.job.comm = r.comm = comm;
    }
    for (int i = 0; i < STEPS; i++) {
        rt_step_result step = rig_step(&r);
        t->losses[i] = step.loss;
        t->tokens += step.tokens;
    }
    rt_evaluate_options eval = {.batch_tokens = 24, .max_seqs = 4};
    RT_TRY(rt_evaluate(r.objective, r.data, r.comm, &eval, t->logits));
    if (r.table.n_params > 65536)
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
        cmocka_unit_test(same_scores),
    };
    return cmocka_run_group_tests_name("ranks", tests, open_traces, drop_folder);
}
