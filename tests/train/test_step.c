/* One optimizer step: what must not change its result does not, what must does. */
#include "rig.h"

/* Sums of some hundred fp32 terms in another order: 6e-8 each, twice a layer; contract 5 allows 1e-5 a tensor. */
#define TOLERANCE 1e-5

/* A rig after one step that moves nothing (learning rate 0): its gradients stand in the model. */
static rt_step_result gradients(rig *r, const rig_options *o) {
    rig_open(r, o);
    return rig_step(r);
}

static void same_loss(double a, double b) {
    if (!(fabs(a - b) <= TOLERANCE * fabs(b))) fail_msg("loss %.9g, expected %.9g", a, b);
}

static void compare(const rig_options *x, const rig_options *y) {
    rig a, b;
    rt_step_result ra = gradients(&a, x), rb = gradients(&b, y);
    same_loss(ra.loss, rb.loss);
    if (!(rb.grad_norm > 1e-3)) fail_msg("a gradient of norm %g shows nothing", rb.grad_norm);
    assert_true(fabs(ra.grad_norm - rb.grad_norm) <= TOLERANCE * rb.grad_norm);
    rig_same_gradients(&a, &b, TOLERANCE);
    rig_close(&a);
    rig_close(&b);
}

/* Micro-batches are a matter of memory: with weights and dropout (whose masks follow the example), cut by tokens, by
 * sequences, and a row at a time. */
static void micro_batches(void **state) {
    (void)state;
    for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++) {
        rig_options whole = {.rows = rig_rows, .weights = true, .dropout = 0.1f, .pooling = (rt_pooling)pooling};
        rig_options tokens = whole, seqs = whole, single = whole;
        tokens.settings.micro_tokens = 24;
        seqs.settings.max_seqs = 3;
        single.settings.micro_tokens = 1; /* every row is longer: each stands alone */
        compare(&tokens, &whole);
        compare(&seqs, &whole);
        compare(&single, &whole);
    }
}

/* A row of weight 3 is the same row three times. */
static void row_weights(void **state) {
    (void)state;
    const char *weighted = "w0 w1\tw2\t1\t1\nw3\tw4 w5\t0\t2\nw7 w8\tw10\t1\t3\nw9\tw9\t0\t0\n";
    const char *repeated = "w0 w1\tw2\t1\t1\nw3\tw4 w5\t0\t1\nw3\tw4 w5\t0\t1\n"
                           "w7 w8\tw10\t1\t1\nw7 w8\tw10\t1\t1\nw7 w8\tw10\t1\t1\n";
    for (int labels = 1; labels <= 3; labels++) {
        rig_options a = {.rows = weighted, .weights = true, .labels = labels}, b = {.rows = repeated, .labels = labels};
        compare(&a, &b);
        a.settings.micro_tokens = 12; /* W is of the whole step, not of a micro-batch */
        compare(&a, &b);
    }
}

static void class_weights(void **state) {
    (void)state;
    const double weights[] = {1, 3};
    const char *plain_rows = "w0 w1\tw2\t1\t1\nw3\tw4 w5\t0\t1\nw7\tw10\t0\t1\n";
    const char *repeated = "w0 w1\tw2\t1\t1\nw0 w1\tw2\t1\t1\nw0 w1\tw2\t1\t1\nw3\tw4 w5\t0\t1\nw7\tw10\t0\t1\n";
    for (int labels = 1; labels <= 2; labels++) {
        rig_options a = {.rows = plain_rows, .labels = labels}, b = {.rows = repeated, .labels = labels};
        a.settings.class_weights = weights;
        compare(&a, &b);
    }
    /* Row and class weights multiply. */
    rig_options a = {.rows = "w0\tw1\t1\t2\nw3\tw4\t0\t1\n", .weights = true};
    rig_options b = {.rows = "w0\tw1\t1\t6\nw3\tw4\t0\t1\n", .weights = true};
    a.settings.class_weights = weights;
    compare(&a, &b);
}

/* Steps 4 + 4 + 2 of an epoch of ten rows: the mean of each is over its own rows. */
static void short_last_batch(void **state) {
    (void)state;
    rig whole, parts;
    rt_step_result all = gradients(&whole, &(rig_options){.rows = rig_rows});
    rig_open(&parts, &(rig_options){.rows = rig_rows, .settings.batch_size = 4});
    double sum = 0;
    uint64_t tokens = 0;
    const uint64_t want[] = {4, 4, 2, 4, 4, 2};
    for (int i = 0; i < 6; i++) {
        rt_step_result r = rig_step(&parts);
        assert_int_equal(r.seqs, want[i]);
        tokens += r.tokens;
        if (i < 3) sum += r.loss * (double)r.seqs;
    }
    assert_int_equal(all.seqs, 10);
    assert_int_equal(tokens, 2 * all.tokens);
    same_loss(sum, 10 * all.loss);
    rig_close(&whole);
    rig_close(&parts);
}

static void batch_larger_than_data(void **state) {
    (void)state;
    rig r;
    rig_open(&r, &(rig_options){.rows = rig_rows, .settings = {.batch_size = 4000, .learning_rate = 1e-3}});
    for (int i = 0; i < 3; i++) assert_int_equal(rig_step(&r).seqs, 10);
    assert_int_equal(r.state.step, 3);
    rig_close(&r);
}

static void weights_of_zero(void **state) {
    (void)state;
    rig r;
    rig_options o = {.rows = "w0\tw1\t1\t0\nw3\tw4\t0\t0\n", .weights = true, .settings.learning_rate = 0.1};
    rig_open(&r, &o);
    float *before = rig_copy(r.model.params, r.table.n_params);
    rt_step_result result = rig_step(&r);
    assert_true(result.empty && !result.skipped && !result.nonfinite);
    assert_true(result.loss == 0);
    assert_int_equal(result.seqs, 2);
    assert_int_equal(r.state.step, 1);
    assert_int_equal(r.state.adam_step, 0);
    assert_memory_equal(before, r.model.params, (size_t)r.table.n_params * sizeof *before);
    free(before);
    rig_close(&r);
}

/* An infinite weight: the loss is not finite, and nothing moves, neither weights nor moments nor Adam's count. */
static void nonfinite_step(void **state) {
    (void)state;
    rig r;
    rig_open(&r, &(rig_options){.rows = rig_rows, .settings = {.learning_rate = 0.1, .clip_norm = 1}});
    assert_false(rig_step(&r).nonfinite);
    int row = rt_param_find(&r.table, "classifier.weight");
    rt_model_direct(&r.model, row, RT_BUFFER_PARAMS)[0] = INFINITY;
    ok(rt_model_pack(&r.model, false));
    float *params = rig_copy(r.model.params, r.table.n_params), *m = rig_copy(r.model.m, r.table.n_trainables);
    rt_step_result result = rig_step(&r);
    assert_true(result.nonfinite && result.skipped);
    assert_int_equal(r.state.step, 2);
    assert_int_equal(r.state.adam_step, 1);
    assert_memory_equal(params, r.model.params, (size_t)r.table.n_params * sizeof *params);
    assert_memory_equal(m, r.model.m, (size_t)r.table.n_trainables * sizeof *m);
    free(params);
    free(m);
    rig_close(&r);
}

/* One logit of infinity, label 0: the loss is infinite although every gradient is finite. */
static void infinite_loss_alone(void **state) {
    (void)state;
    rig r;
    rig_open(&r, &(rig_options){.rows = "w0\tw1\t0\t1\n", .labels = 1, .settings.learning_rate = 0.1});
    rt_model_direct(&r.model, rt_param_find(&r.table, "classifier.bias"), RT_BUFFER_PARAMS)[0] = INFINITY;
    float *params = rig_copy(r.model.params, r.table.n_params);
    rt_step_result result = rig_step(&r);
    assert_true(isfinite(rig_norm(r.model.grads, r.table.n_trainables)));
    assert_true(result.nonfinite && result.skipped);
    assert_memory_equal(params, r.model.params, (size_t)r.table.n_params * sizeof *params);
    free(params);
    rig_close(&r);
}

/* Adam's first moment after one step is (1 - beta1) x the clipped gradient. */
static void clipping(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        rig r;
        double clip = k ? 1e-2 : 1e6; /* below and above the norm */
        rig_open(&r, &(rig_options){.rows = rig_rows, .settings = {.learning_rate = 1e-3, .clip_norm = clip}});
        rt_step_result result = rig_step(&r);
        double scale = fmin(1, clip / (result.grad_norm + 1e-6));
        assert_true(k == 0 ? scale == 1 : scale < 0.5);
        double square = 0;
        for (int64_t i = 0; i < r.table.n_trainables; i++) {
            double want = 0.1 * scale * (double)r.model.grads[i];
            square += (double)r.model.grads[i] * r.model.grads[i];
            /* Three fp32 products and a scale rounded to fp32: at most four roundings of 6e-8. */
            if (!(fabs(r.model.m[i] - want) <= 4 * 6e-8 * fabs(want) + 1e-42))
                fail_msg("moment %lld: %g, expected %g", (long long)i, (double)r.model.m[i], want);
        }
        assert_true(fabs(sqrt(square) - result.grad_norm) <= 1e-12 * result.grad_norm); /* fp64 sums, another order */
        rig_close(&r);
    }
}

/* With and without decay from the same weights: matrices differ by lr wd p, all else by nothing. */
static void weight_decay(void **state) {
    (void)state;
    rig with, without;
    rig_options o = {.rows = rig_rows, .settings = {.learning_rate = 1e-2}};
    rig_open(&without, &o);
    o.settings.weight_decay = 0.5;
    rig_open(&with, &o);
    float *before = rig_copy(with.model.params, with.table.n_params);
    rig_step(&with);
    rig_step(&without);
    int matrices = 0;
    for (int i = 0; i < with.table.n; i++) {
        const rt_param *p = &with.table.rows[i];
        bool vector = strstr(p->name, ".bias") || strstr(p->name, "LayerNorm");
        const float *a = rt_model_param(&with.model, i), *b = rt_model_param(&without.model, i);
        const float *old = before + p->param_off;
        if (vector) {
            if (memcmp(a, b, (size_t)p->count * sizeof *a) != 0) fail_msg("%s was decayed", p->name);
            continue;
        }
        matrices++;
        for (int64_t k = 0; k < p->count; k++) {
            double want = -1e-2 * 0.5 * (double)old[k], size = fabs((double)old[k]) + 1e-2;
            if (!(fabs((double)a[k] - b[k] - want) <= 4 * 6e-8 * size)) /* four roundings of numbers of that size */
                fail_msg("%s[%lld]: decayed by %g, expected %g", p->name, (long long)k, (double)a[k] - b[k], want);
        }
    }
    assert_int_equal(matrices, 3 + 2 * 6 + 1 + 1); /* tables, six matrices a layer, pooler, head */
    free(before);
    rig_close(&with);
    rig_close(&without);
}

static void check_frozen(rt_freeze freeze, rt_pooling pooling) {
    rig frozen, whole;
    rig_options o = {.rows = rig_rows, .dropout = 0.1f, .pooling = pooling, .settings.learning_rate = 1e-2};
    rig_open(&whole, &o);
    o.freeze = freeze;
    rig_open(&frozen, &o);
    float *before = rig_copy(frozen.model.params, frozen.table.n_params);
    rt_step_result a = rig_step(&frozen), b = rig_step(&whole);
    assert_true(a.loss == b.loss);
    for (int i = 0; i < frozen.table.n; i++) {
        const rt_param *p = &frozen.table.rows[i];
        const float *grad = rt_model_grad(&frozen.model, i);
        assert_int_equal(grad != NULL, p->trainable);
        /* The same ops on the same numbers: not one bit differs. */
        if (grad && memcmp(grad, rt_model_grad(&whole.model, i), (size_t)p->count * sizeof *grad) != 0)
            fail_msg("%s: another gradient than without freezing", p->name);
    }
    for (int i = 0; i < 3; i++) rig_step(&frozen);
    int kept = 0;
    for (int i = 0; i < frozen.table.n; i++) {
        const rt_param *p = &frozen.table.rows[i];
        bool same = memcmp(rt_model_param(&frozen.model, i), before + p->param_off, (size_t)p->count * 4) == 0;
        if (same == p->trainable) fail_msg("%s is %s", p->name, p->trainable ? "not trained" : "not frozen");
        kept += same;
    }
    assert_int_equal(kept, 5 + 16 * freeze.layers);
    assert_true(frozen.model.bytes_train < whole.model.bytes_train);
    assert_int_equal(frozen.model.bytes_train, 12 * frozen.table.n_trainables);
    assert_true(frozen.table.n_trainables <=
                whole.table.n_trainables - rt_param_count(&whole.table, false) + rt_param_count(&frozen.table, true));
    assert_true(frozen.encoder.arena_bytes <= whole.encoder.arena_bytes);
    free(before);
    rig_close(&frozen);
    rig_close(&whole);
}

static void freezing(void **state) {
    (void)state;
    for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++)
        for (int layers = 0; layers <= 2; layers++)
            check_frozen((rt_freeze){.embeddings = true, .layers = layers}, (rt_pooling)pooling);
}

/* Adam's first update is lr x scale x the sign of the gradient, where this is far above epsilon. */
static void layer_decay(void **state) {
    (void)state;
    rig r;
    rig_options o = {.rows = rig_rows, .freeze.layer_decay = 0.5f, .settings = {.learning_rate = 1e-2}};
    rig_open(&r, &o);
    float *before = rig_copy(r.model.params, r.table.n_params);
    rig_step(&r);
    for (int i = 0; i < r.table.n; i++) {
        const rt_param *p = &r.table.rows[i];
        const float *now = rt_model_param(&r.model, i), *old = before + p->param_off;
        int layer = -1; /* embeddings */
        sscanf(p->name, "bert.encoder.layer.%d.", &layer);
        bool head = strncmp(p->name, "classifier", 10) == 0 || strncmp(p->name, "bert.pooler", 11) == 0;
        double want = head ? 1e-2 : 1e-2 * pow(0.5, 2 + 1 - layer), most = 0;
        if (strstr(p->name, "key.bias")) continue; /* its gradient is rounding, perhaps below epsilon */
        for (int64_t k = 0; k < p->count; k++) most = fmax(most, fabs((double)now[k] - old[k]));
        /* The step is a difference of numbers near 1, rounded at 6e-8, of 1e-3 and more: 1e-4. */
        if (!(fabs(most - want) <= 1e-3 * want)) fail_msg("%s moved by %g, expected %g", p->name, most, want);
    }
    free(before);
    rig_close(&r);
}

static float *train(uint64_t seed, int threads, rt_precision precision, int64_t *n) {
    rig r;
    rig_options o = {.rows = rig_rows,
                     .dropout = 0.1f,
                     .threads = threads,
                     .precision = precision,
                     .settings = {.batch_size = 4, .learning_rate = 1e-2, .seed = seed, .clip_norm = 1}};
    rig_open(&r, &o);
    for (int i = 0; i < 7; i++) rig_step(&r);
    float *out = rig_copy(r.model.params, *n = r.table.n_params);
    rig_close(&r);
    return out;
}

static void same_bytes(void **state) {
    (void)state;
    for (int precision = RT_PRECISION_FP32; precision <= RT_PRECISION_BF16; precision += 2) {
        int64_t n;
        float *first = train(5, 2, (rt_precision)precision, &n);
        for (int i = 0; i < 2; i++) {
            float *again = train(5, 2, (rt_precision)precision, &n);
            assert_memory_equal(first, again, (size_t)n * sizeof *first);
            free(again);
        }
        float *other = train(6, 2, (rt_precision)precision, &n);
        assert_memory_not_equal(first, other, (size_t)n * sizeof *first);
        free(first);
        free(other);
    }
}

static void check_recompute(rig_options o) {
    rig kept, again;
    o.layers = 4;
    rt_step_result want = gradients(&kept, &o);
    o.recompute = true;
    rt_step_result have = gradients(&again, &o);
    assert_true(want.grad_norm > 1e-3);
    assert_true(have.loss == want.loss && have.grad_norm == want.grad_norm);
    assert_memory_equal(again.model.grads, kept.model.grads, (size_t)kept.table.n_trainables * sizeof(float));
    assert_true(again.encoder.arena_bytes < kept.encoder.arena_bytes);
    rig_close(&kept);
    rig_close(&again);
}

/* Layers run again in backward give the same bits, masks included; frozen layers below share their buffers. */
static void recompute(void **state) {
    (void)state;
    for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++)
        for (int precision = RT_PRECISION_FP32; precision <= RT_PRECISION_BF16; precision += 2) {
            rig_options o = {.rows = rig_rows,
                             .dropout = 0.1f,
                             .pooling = (rt_pooling)pooling,
                             .precision = (rt_precision)precision,
                             .settings.micro_tokens = 30};
            check_recompute(o);
            o.freeze.embeddings = true;
            check_recompute(o);
            o.freeze.layers = 2;
            check_recompute(o);
            o.freeze.layers = 3;
            check_recompute(o);
        }
}

/* The rate of each step is the schedule's, the first of a warm-up 0: it moves nothing but the moments. */
static void warm_up(void **state) {
    (void)state;
    rig r;
    rig_options o = {.rows = rig_rows,
                     .settings = {.learning_rate = 1e-2, .schedule = RT_SCHEDULE_LINEAR},
                     .total_steps = 10,
                     .warmup_steps = 4};
    rig_open(&r, &o);
    float *before = rig_copy(r.model.params, r.table.n_params);
    assert_true(rig_step(&r).lr == 0);
    assert_memory_equal(before, r.model.params, (size_t)r.table.n_params * sizeof *before);
    assert_int_equal(r.state.adam_step, 1);
    assert_true(rig_step(&r).lr == 1e-2 * 0.25);
    assert_memory_not_equal(before, r.model.params, (size_t)r.table.n_params * sizeof *before);
    free(before);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro_batches),   cmocka_unit_test(row_weights),
        cmocka_unit_test(class_weights),   cmocka_unit_test(short_last_batch),
        cmocka_unit_test(weights_of_zero), cmocka_unit_test(batch_larger_than_data),
        cmocka_unit_test(nonfinite_step),  cmocka_unit_test(infinite_loss_alone),
        cmocka_unit_test(clipping),        cmocka_unit_test(weight_decay),
        cmocka_unit_test(freezing),        cmocka_unit_test(layer_decay),
        cmocka_unit_test(same_bytes),      cmocka_unit_test(warm_up),
        cmocka_unit_test(recompute),
    };
    return cmocka_run_group_tests_name("step", tests, make_folder, drop_folder);
}
