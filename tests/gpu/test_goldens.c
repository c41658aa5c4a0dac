/* The model on a GPU against Hugging Face in fp64 (the golden files of tests/integration/data, from the folder that the
 * program runs in): loss, logits, every gradient, ten Adam steps; fp32 and bf16; with dropout. Limits are those of
 * tests/integration/test_parity.c: fp32 within 1e-5 relatively, bf16 at most twice as far off as torch's autocast. */
#include "device.h"
#include "tests/support/golden.h"
#include <math.h>
#include <objective/objective.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <train/train.h>

#define DATA "tests/integration/data/"
#define FP32_TOLERANCE 1e-5
#define BF16_TOLERANCE 2.0

enum { MEMORY = 16 };

typedef struct {
    rt_golden g;
    rt_bert bert;
    rt_param_table table;
    rt_backend *be;
    rt_model model;
    rt_encoder encoder;
    rt_objective *objective;
    rt_batch batch;
    rt_pass pass;
    rt_step_state step;
    struct {
        void *at;
        size_t bytes;
    } memory[MEMORY];
    int n_memory;
} golden_case;

static void ok(rt_status s) {
    if (s != RT_OK) fail_msg("%s", rt_error_get()->text);
}

/* `room` words on the device, the first n of them the host's, the others 0. */
static void *words(golden_case *c, const void *host, int64_t n, int64_t room) {
    assert_true(c->n_memory < MEMORY && n <= room);
    void *to = NULL;
    ok(c->be->alloc(c->be, (size_t)room * 4, "a batch", &to));
    ok(c->be->upload(c->be, to, host, (size_t)n * 4));
    c->memory[c->n_memory].at = to, c->memory[c->n_memory++].bytes = (size_t)room * 4;
    return to;
}

static const int32_t *sort_ids; /* qsort has no context */
static int by_id(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_ids[x] != sort_ids[y]) return sort_ids[x] < sort_ids[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static void make_batch(golden_case *c) {
    const rt_golden_record *lengths = rt_golden_find(&c->g, "", "lengths");
    const int32_t *len = lengths->data;
    const int n = (int)lengths->count;
    int tokens = 0, longest = 0;
    int32_t *cu = calloc((size_t)n + 1, sizeof *cu);
    for (int b = 0; b < n; b++) {
        cu[b + 1] = tokens += len[b];
        longest = len[b] > longest ? len[b] : longest;
    }
    const int bucket = (tokens + 63) / 64 * 64;
    int32_t *positions = calloc((size_t)tokens, sizeof *positions), *sorted = calloc((size_t)tokens, sizeof *sorted);
    for (int b = 0; b < n; b++)
        for (int i = 0; i < len[b]; i++) positions[cu[b] + i] = i;
    for (int i = 0; i < tokens; i++) sorted[i] = i;
    sort_ids = rt_golden_ints(&c->g, "ids", tokens);
    qsort(sorted, (size_t)tokens, sizeof *sorted, by_id);
    c->batch = (rt_batch){.input_ids = words(c, sort_ids, tokens, bucket),
                          .positions = words(c, positions, tokens, bucket),
                          .types = words(c, rt_golden_ints(&c->g, "types", tokens), tokens, bucket),
                          .cu_seqlens = words(c, cu, n + 1, n + 1),
                          .row_scale = words(c, rt_golden_floats(&c->g, "", "scale", n), n, n),
                          .labels = words(c, rt_golden_ints(&c->g, "labels", n), n, n),
                          .example_id = words(c, rt_golden_ints(&c->g, "examples", n), n, n),
                          .sorted_tokens = words(c, sorted, tokens, bucket),
                          .n_tokens = tokens,
                          .bucket = bucket,
                          .n_seqs = n,
                          .capacity = n,
                          .max_len = longest};
    free(cu), free(positions), free(sorted);
}

static void open_case(golden_case *c, const char *name, rt_precision precision) {
    char path[128];
    memset(c, 0, sizeof *c);
    snprintf(path, sizeof path, DATA "%s.golden", name);
    c->g = rt_golden_load(path);
    const int32_t *z = rt_golden_ints(&c->g, "config", 9);
    const float *r = rt_golden_floats(&c->g, "", "rates", 5);
    c->bert = rt_bert_default();
    c->bert.hidden = z[0], c->bert.layers = z[1], c->bert.heads = z[2], c->bert.ffn = z[3], c->bert.vocab = z[4];
    c->bert.max_positions = z[5], c->bert.type_vocab = z[6], c->bert.labels = z[7];
    c->bert.pooling = z[8] ? RT_POOL_MEAN : RT_POOL_CLS;
    c->bert.layer_norm_eps = r[0];
    c->bert.dropout = r[1], c->bert.attention_dropout = r[2], c->bert.head_dropout = r[3];
    ok(device_backend(precision, &c->be));
    ok(rt_objective_classify_new(&(rt_classify_options){.labels = z[7], .smoothing = r[4], .max_micro = 1},
                                 &c->objective));
    ok(rt_encoder_add_params(&c->table, &c->bert));
    ok(c->objective->add_params(c->objective, &c->table, &c->bert));
    ok(rt_param_table_finish(&c->table, NULL));
    ok(rt_model_new(c->be, &c->bert, &c->table, true, &c->model));
    make_batch(c);
    const rt_encoder_sizes sizes = {.train_tokens = c->batch.bucket,
                                    .train_seqs = c->batch.n_seqs,
                                    .eval_tokens = c->batch.bucket,
                                    .eval_seqs = c->batch.n_seqs,
                                    .max_len = c->batch.max_len};
    ok(rt_encoder_new(&c->model, &sizes, &c->encoder));
    ok(c->objective->bind(c->objective, &c->encoder));
    for (int i = 0; i < c->table.n; i++)
        ok(rt_model_put(&c->model, i, RT_BUFFER_PARAMS,
                        rt_golden_floats(&c->g, "param/", c->table.rows[i].name, c->table.rows[i].count)));
    ok(rt_model_pack(&c->model, false));
    const uint32_t *seed = (const uint32_t *)rt_golden_ints(&c->g, "seed", 2);
    c->pass = (rt_pass){.training = true, .seed = seed[0] | (uint64_t)seed[1] << 32};
    c->step = (rt_step_state){.step = (uint32_t)rt_golden_ints(&c->g, "step", 1)[0]};
    ok(c->be->upload(c->be, c->model.state, &c->step, sizeof c->step));
}

static void close_case(golden_case *c) {
    ok(c->be->synchronize(c->be));
    c->objective->close(c->objective);
    rt_encoder_free(&c->encoder);
    rt_model_free(&c->model);
    rt_param_table_free(&c->table);
    for (int i = 0; i < c->n_memory; i++) c->be->release(c->be, c->memory[i].at, c->memory[i].bytes);
    rt_golden_free(&c->g);
}

/* |a - b| / |b|; NaN counts as infinite. */
static double relative(const float *a, const float *b, int64_t n) {
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), s += (double)b[i] * b[i];
    const double r = s > 0 ? sqrt(d / s) : sqrt(d);
    return isfinite(r) ? r : INFINITY;
}

/* The true gradient of a key's bias is 0: what comes out is rounding. */
static bool is_key_bias(const char *name) {
    return strstr(name, "self.key.bias") != NULL;
}

/* Worst relative error of a buffer's rows against records of a prefix; in units of torch's bf16 error, if wanted. */
static double worst(golden_case *c, rt_buffer buffer, const char *prefix, bool against_bf16, const char **where) {
    double most = 0;
    for (int i = 0; i < c->table.n; i++) {
        const rt_param *p = &c->table.rows[i];
        if (is_key_bias(p->name)) continue;
        float *values = malloc((size_t)p->count * sizeof *values);
        assert_non_null(values);
        ok(rt_model_get(&c->model, i, buffer, values));
        double e = relative(values, rt_golden_floats(&c->g, prefix, p->name, p->count), p->count);
        if (against_bf16) e /= (double)rt_golden_floats(&c->g, "bf16/", p->name, 1)[0];
        if (!(e <= most)) most = e, *where = p->name;
        free(values);
    }
    return most;
}

static double step_loss(golden_case *c) {
    double loss;
    ok(c->objective->forward(c->objective, &c->batch, &c->pass, 0));
    ok(c->objective->backward(c->objective, &c->batch, &c->pass, 0, NULL, NULL));
    ok(c->be->download(c->be, &loss, c->objective->losses(c->objective), sizeof loss));
    return loss;
}

static void gradients_in_fp32(void **state) {
    (void)state;
    static const char *const names[] = {"pair-cls-2", "single-mean-1", "pair-mean-3",   "single-cls-1",
                                        "long-cls-2", "dropout-cls-2", "dropout-mean-1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        golden_case c;
        const char *where = "";
        open_case(&c, names[i], RT_PRECISION_FP32);
        const double loss = step_loss(&c), want = rt_golden_floats(&c.g, "", "loss", 1)[0];
        if (!(fabs(loss - want) <= FP32_TOLERANCE * fabs(want)))
            fail_msg("%s: loss %.9g, expected %.9g", names[i], loss, want);
        const double e = worst(&c, RT_BUFFER_GRADS, "grad/", false, &where);
        print_message("%s: fp32: loss %.1e, worst gradient %.2e (%s)\n", names[i], fabs(loss / want - 1), e, where);
        if (!(e <= FP32_TOLERANCE)) fail_msg("%s: gradient of %s: relative error %.3g", names[i], where, e);
        if (c.bert.dropout == 0) {
            const int64_t n = (int64_t)c.batch.n_seqs * c.bert.labels;
            float *logits = calloc((size_t)n, sizeof *logits);
            ok(c.objective->predict(c.objective, &c.batch, logits));
            const double off = relative(logits, rt_golden_floats(&c.g, "", "logits", n), n);
            if (!(off <= FP32_TOLERANCE)) fail_msg("%s: logits: relative error %.3g", names[i], off);
            free(logits);
        }
        close_case(&c);
    }
}

static void gradients_in_bf16(void **state) {
    (void)state;
    static const char *const names[] = {"pair-cls-2", "single-mean-1", "pair-mean-3", "long-cls-2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        golden_case c;
        const char *where = "";
        open_case(&c, names[i], RT_PRECISION_BF16);
        step_loss(&c);
        const double e = worst(&c, RT_BUFFER_GRADS, "grad/", true, &where);
        print_message("%s: bf16: worst gradient %.2f of torch's autocast (%s)\n", names[i], e, where);
        if (!(e <= BF16_TOLERANCE)) fail_msg("%s: gradient of %s: %.2f of torch's autocast", names[i], where, e);
        close_case(&c);
    }
}

/* `shift` moves the warm-up by a step: what is wrong must be seen by the same comparison. */
static double ten_steps(const char *name, int shift, double *loss_error) {
    golden_case c;
    const char *where = "";
    open_case(&c, name, RT_PRECISION_FP32);
    const float *losses = rt_golden_floats(&c.g, "", "losses", 10);
    rt_adam_range *ranges = calloc((size_t)c.table.n, sizeof *ranges);
    for (int i = 0; i < c.table.n; i++)
        ranges[i] = (rt_adam_range){.param_off = c.table.rows[i].param_off,
                                    .train_off = c.table.rows[i].train_off,
                                    .count = c.table.rows[i].count,
                                    .lr_scale = 1};
    const int64_t table_words = (int64_t)((size_t)c.table.n * sizeof *ranges / 4);
    const rt_adam_range *on_device = words(&c, ranges, table_words, table_words);
    *loss_error = 0;
    for (int s = 0; s < 10; s++) {
        const double e = fabs(step_loss(&c) - (double)losses[s]) / (double)losses[0]; /* the loss falls towards 0 */
        if (!(e <= *loss_error)) *loss_error = e;
        c.step.lr = (float)rt_schedule_lr(RT_SCHEDULE_LINEAR, 1e-3, (uint64_t)(s + shift), 3, 12);
        c.step.bias1 = (float)(1 - pow(0.9, s + 1)), c.step.bias2 = (float)(1 - pow(0.999, s + 1));
        ok(c.be->upload(c.be, c.model.state, &c.step, sizeof c.step));
        ok(c.be->sum_squares(c.be, &(rt_sum_squares_args){.x = c.model.grads,
                                                          .n = c.table.n_trainables,
                                                          .partials = c.model.norm_partials,
                                                          .total = &c.model.state->grad_sq}));
        ok(c.be->adamw(c.be, &(rt_adamw_args){.params = c.model.params,
                                              .grads = c.model.grads,
                                              .m = c.model.m,
                                              .v = c.model.v,
                                              .ranges = on_device,
                                              .n_ranges = c.table.n,
                                              .beta1 = 0.9,
                                              .beta2 = 0.999,
                                              .epsilon = 1e-8f,
                                              .state = c.model.state}));
        ok(rt_model_pack(&c.model, true));
    }
    const double most = worst(&c, RT_BUFFER_PARAMS, "after/", false, &where);
    free(ranges);
    close_case(&c);
    return most;
}

static void adam_steps(void **state) {
    (void)state;
    const char *names[] = {"steps-cls-2", "single-mean-1"};
    for (int i = 0; i < 2; i++) {
        double loss_error;
        const double e = ten_steps(names[i], 0, &loss_error);
        print_message("%s: after ten steps: parameters %.2e, losses %.2e\n", names[i], e, loss_error);
        if (!(e <= FP32_TOLERANCE)) fail_msg("%s: parameters after ten steps: relative error %.3g", names[i], e);
        if (!(loss_error <= FP32_TOLERANCE)) fail_msg("%s: losses of ten steps: %.3g off", names[i], loss_error);
    }
}

static void shifted_warmup_is_seen(void **state) {
    (void)state;
    double loss_error;
    assert_true(ten_steps("steps-cls-2", 1, &loss_error) > 10 * FP32_TOLERANCE);
    assert_true(loss_error > 10 * FP32_TOLERANCE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_in_fp32),
        cmocka_unit_test(gradients_in_bf16),
        cmocka_unit_test(adam_steps),
        cmocka_unit_test(shifted_warmup_is_seen),
    };
    return device_main("goldens", tests, sizeof tests / sizeof *tests);
}
