/* Whole training steps of a tiny model on the CUDA backend, over the emulator and the fakes, beside the CPU's: losses
 * and gradient norms of every step, in fp32 and bf16, with several micro-batches, clipping, freezing, recompute,
 * dropout, one label and three, both poolings. Nothing waits for the device inside a step but for the results of the
 * step before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "../support/fakes/cublaslt.h"
#include "../support/fakes/fake.h"
#include <cmocka.h>
#include <rectrain/kernels.h>

/* The rig opens what stands here. */
static bool on_cuda;
rt_status rt_cuda_backend_open(const rt_backend_options *options, rt_backend **out);
static rt_status either_backend_open(const rt_backend_options *options, rt_backend **out) {
    const rt_backend_options cuda = {.precision = options->precision, .device = -1};
    return on_cuda ? rt_cuda_backend_open(&cuda, out) : rt_cpu_backend_open(options, out);
}
#define rt_cpu_backend_open either_backend_open
#include "tests/train/rig.h"

enum { STEPS_MOST = 20 };

typedef struct {
    double loss[STEPS_MOST], norm[STEPS_MOST];
} course;

/* Rows and rates that every case shares. Labels 0 and 1 suit one label, two and three. Heads of 32 channels are the
 * narrowest that the GPU takes. */
static rig_options usual(void) {
    return (rig_options){.rows = rig_rows,
                         .hidden = 64,
                         .plain_init = true,
                         .weights = true,
                         .settings = {.batch_size = 8, .micro_tokens = 32, .learning_rate = 1e-3}};
}

/* The very same start on every backend and in every precision: what the CPU drew, eight times BertConfig's range. */
static void same_start(rig *r, const rig_options *o) {
    rig_options plain = *o;
    plain.precision = RT_PRECISION_FP32;
    rig first;
    const bool was = on_cuda;
    on_cuda = false;
    rig_open(&first, &plain);
    on_cuda = was;
    for (int i = 0; i < r->table.n; i++) {
        const rt_param *p = &r->table.rows[i];
        float *values = rig_copy(rt_model_direct(&first.model, i, RT_BUFFER_PARAMS), p->count);
        for (int64_t k = 0; p->init == RT_INIT_NORMAL && k < p->count; k++) values[k] *= 8;
        ok(rt_model_put(&r->model, i, RT_BUFFER_PARAMS, values));
        free(values);
    }
    ok(rt_model_pack(&r->model, false));
    rig_close(&first);
}

static void train(rig *r, int steps, course *c) {
    rt_step_result before;
    bool known = false;
    int n = 0;
    ok(rt_stepper_new(&r->job, &r->stepper));
    /* Rows that hang on each other meet on the host, in the middle of their step. */
    fake_forbid_stream_sync(on_cuda && !r->job.pairs);
    for (int i = 0; i <= steps; i++) {
        ok(i < steps ? rt_stepper_start(r->stepper, &before, &known) : rt_stepper_finish(r->stepper, &before, &known));
        if (!known) continue;
        assert_false(before.nonfinite);
        c->loss[n] = before.loss, c->norm[n++] = before.grad_norm;
    }
    fake_forbid_stream_sync(false);
    assert_int_equal(n, steps);
}

static course on_cpu(const rig_options *o, rt_precision precision, int steps) {
    rig_options options = *o;
    course c = {0};
    rig r;
    on_cuda = false;
    options.precision = precision;
    rig_open(&r, &options);
    same_start(&r, &options);
    train(&r, steps, &c);
    rig_close(&r);
    return c;
}

static course on_gpu(const rig_options *o, rt_precision precision, int steps, uint64_t seed) {
    rig_options options = *o;
    course c = {0};
    char left[512];
    rig r;
    fake_reset();
    fake_seed(seed);
    fake_settings()->sm = 80; /* where cuBLASLt's workspace is small */
    *fake_cublaslt_settings() = (fake_cublaslt){.workspace_wanted = 4096};
    on_cuda = true;
    options.precision = precision;
    rig_open(&r, &options);
    same_start(&r, &options);
    train(&r, steps, &c);
    rig_close(&r);
    on_cuda = false;
    if (fake_check("training") != RT_OK) fail_msg("%s", rt_error_get()->text);
    if (fake_leaks(left, sizeof left)) fail_msg("left behind: %s", left);
    return c;
}

/* Two courses in fp32 on different devices, or in different pieces. Sums in another order round by 2^-24 each time,
 * through two layers: a few 1e-7 of a loss at first. Then Adam steps: an element whose gradient is itself rounding (the
 * attention's key bias, rows of words that hardly matter) moves by up to the learning rate either way, and what such
 * elements add to a loss is small as their gradients are. 1e-5 of a loss has held for 20 steps; a norm is made of the
 * gradients, which pass the layers twice and are the differences of larger numbers: ten times as much. */
static void same_course(const course *a, const course *b, int steps) {
    for (int i = 0; i < steps; i++) {
        const double loss = fabs(a->loss[i] / b->loss[i] - 1), norm = fabs(a->norm[i] / b->norm[i] - 1);
        if (!(loss <= 1e-5)) fail_msg("step %d: losses %.9g and %.9g are %.3g apart", i, a->loss[i], b->loss[i], loss);
        if (!(norm <= 1e-4)) fail_msg("step %d: norms %.9g and %.9g are %.3g apart", i, a->norm[i], b->norm[i], norm);
    }
}

/* The CPU's course; and the device's order changes no bit. */
static void fp32_is_the_cpus(const rig_options *o, int steps) {
    const course want = on_cpu(o, RT_PRECISION_FP32, steps), got = on_gpu(o, RT_PRECISION_FP32, steps, 11);
    same_course(&got, &want, steps);
    assert_true(want.loss[steps - 1] != want.loss[0]);
    const course again = on_gpu(o, RT_PRECISION_FP32, steps, 0);
    assert_memory_equal(&again, &got, sizeof got);
}

/* bf16 on both: each is some distance from fp32, by roundings that are not the same (the CPU rounds after other ops).
 * The project's rule: at most twice the distance of a plain implementation in the same precision, here the CPU's; the
 * root of the mean square over the steps, for single steps are near or far by chance; and four roundings of bf16 (2^-9
 * each) on top, for the CPU's course is one sample of its kind. */
static double distance(const course *a, const course *b, int steps, bool norms) {
    double sum = 0;
    for (int i = 0; i < steps; i++) {
        const double d = norms ? a->norm[i] / b->norm[i] - 1 : a->loss[i] / b->loss[i] - 1;
        sum += d * d;
    }
    return sqrt(sum / steps);
}
static void bf16_is_as_near_as_the_cpus(const rig_options *o, int steps) {
    const course exact = on_cpu(o, RT_PRECISION_FP32, steps), cpu = on_cpu(o, RT_PRECISION_BF16, steps),
                 got = on_gpu(o, RT_PRECISION_BF16, steps, 12);
    for (int norms = 0; norms < 2; norms++) {
        const double mine = distance(&got, &exact, steps, norms), plain = distance(&cpu, &exact, steps, norms);
        if (!(mine <= 2 * plain + 4.0 / 512))
            fail_msg("%s: %.3g from fp32, the CPU's bf16 %.3g", norms ? "norms" : "losses", mine, plain);
    }
    const course again = on_gpu(o, RT_PRECISION_BF16, steps, 13);
    assert_memory_equal(&again, &got, sizeof got);
}

static void twenty_steps_in_fp32(void **state) {
    (void)state;
    rig_options o = usual();
    fp32_is_the_cpus(&o, 20);
}

static void twenty_steps_in_bf16(void **state) {
    (void)state;
    rig_options o = usual();
    bf16_is_as_near_as_the_cpus(&o, 20);
}

/* Dropout's masks are the CPU's bits, so the losses are too. */
static void dropout_and_clipping(void **state) {
    (void)state;
    rig_options o = usual();
    o.dropout = 0.2f;
    o.settings.clip_norm = 0.5;
    o.settings.weight_decay = 0.01;
    o.settings.learning_rate = 2e-4; /* Adam carries rounding on: the less it moves, the less of that */
    const course want = on_cpu(&o, RT_PRECISION_FP32, 8), got = on_gpu(&o, RT_PRECISION_FP32, 8, 21);
    same_course(&got, &want, 8);
}

static void frozen_layers(void **state) {
    (void)state;
    rig_options o = usual();
    o.freeze = (rt_freeze){.embeddings = true, .layers = 1, .layer_decay = 0.9f};
    fp32_is_the_cpus(&o, 6);
}

static void one_label_and_mean_pooling(void **state) {
    (void)state;
    rig_options o = usual();
    o.labels = 1, o.pooling = RT_POOL_MEAN;
    fp32_is_the_cpus(&o, 6);
}

static void three_labels(void **state) {
    (void)state;
    rig_options o = usual();
    o.labels = 3;
    fp32_is_the_cpus(&o, 6);
}

/* Layers run again in backward give the same bits, in both precisions. */
static void recompute_is_bit_equal(void **state) {
    (void)state;
    for (int p = 0; p < 2; p++) {
        const rt_precision precision = p ? RT_PRECISION_BF16 : RT_PRECISION_FP32;
        rig_options o = usual();
        o.dropout = 0.1f;
        const course kept = on_gpu(&o, precision, 5, 31);
        o.recompute = true;
        const course again = on_gpu(&o, precision, 5, 32);
        assert_memory_equal(&again, &kept, sizeof kept);
    }
}

/* However a step is cut into micro-batches, and in one piece. */
static void micro_batches_add_up(void **state) {
    (void)state;
    rig_options o = usual();
    const course cut = on_gpu(&o, RT_PRECISION_FP32, 4, 41);
    o.settings.micro_tokens = 1024;
    const course whole = on_gpu(&o, RT_PRECISION_FP32, 4, 42);
    same_course(&cut, &whole, 4);
}

/* Vectors, their loss and their gradients: products on the device, softmax on the host. */
static void pairs(void **state) {
    (void)state;
    rig_options o = usual();
    o.rows = rig_pairs, o.pairs = true, o.pooling = RT_POOL_FIRST;
    o.settings.batch_size = 9; /* all of them: a row alone has nothing to be told from */
    o.contrastive = (rt_contrastive_options){.sides = 3, .scale = 5, .symmetric = true, .mask_clicked = true};
    o.log_share = true;
    fp32_is_the_cpus(&o, 3);
    o.contrastive.block_scores = 48;
    o.pooling = RT_POOL_MEAN, o.dropout = 0.1f;
    fp32_is_the_cpus(&o, 2);
    bf16_is_as_near_as_the_cpus(&o, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_steps_in_fp32),
        cmocka_unit_test(twenty_steps_in_bf16),
        cmocka_unit_test(dropout_and_clipping),
        cmocka_unit_test(frozen_layers),
        cmocka_unit_test(one_label_and_mean_pooling),
        cmocka_unit_test(three_labels),
        cmocka_unit_test(recompute_is_bit_equal),
        cmocka_unit_test(micro_batches_add_up),
        cmocka_unit_test(pairs),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
