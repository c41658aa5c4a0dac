/* The model against Hugging Face in fp64 (golden files): logits, loss, every gradient, ten Adam steps; fp32 and bf16;
 * with dropout, whose masks the golden maker drew by its own Philox. Negative tests show that wrong conventions are
 * seen. */
#include "../support/golden.h"
#include <math.h>
#include <objective/objective.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <train/train.h>

#include <cmocka.h>

#define DATA "tests/integration/data/"
/* Contract 5: relative L2 error of a tensor in fp32. fp32 rounds at 6e-8; sums over a few hundred terms, twice a layer,
 * reach some 1e-6. */
#define FP32_TOLERANCE 1e-5

typedef struct {
    rt_golden g;
    rt_bert bert;
    rt_param_table table;
    rt_backend *be;
    rt_model model;
    rt_encoder encoder;
    rt_objective *objective;
    rt_batch batch;
    int32_t *positions, *cu, *sorted;
    rt_pass pass;
    const int32_t *sizes;
    const float *rates;
} rt_case;

static void ok(rt_status s) {
    if (s != RT_OK) fail_msg("%s", rt_error_get()->text);
}

static const int32_t *sort_ids; /* qsort has no context */

static int by_id(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_ids[x] != sort_ids[y]) return sort_ids[x] < sort_ids[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static void make_batch(rt_case *c) {
    const rt_golden_record *lengths = rt_golden_find(&c->g, "", "lengths");
    const int32_t *len = lengths->data;
    int n = (int)lengths->count, t = 0;
    c->cu = calloc((size_t)n + 1, sizeof *c->cu);
    for (int b = 0; b < n; b++) c->cu[b + 1] = c->cu[b] + len[b];
    int tokens = c->cu[n], bucket = (tokens + 63) / 64 * 64;
    c->positions = calloc((size_t)bucket, sizeof *c->positions);
    c->sorted = calloc((size_t)bucket, sizeof *c->sorted);
    const int32_t *ids = rt_golden_ints(&c->g, "ids", tokens);
    for (int b = 0; b < n; b++)
        for (int i = 0; i < len[b]; i++) c->positions[t++] = i;
    for (int i = 0; i < tokens; i++) c->sorted[i] = i;
    sort_ids = ids;
    qsort(c->sorted, (size_t)tokens, sizeof *c->sorted, by_id);
    int longest = 0;
    for (int b = 0; b < n; b++)
        if (len[b] > longest) longest = len[b];
    c->batch = (rt_batch){.input_ids = ids,
                          .positions = c->positions,
                          .types = rt_golden_ints(&c->g, "types", tokens),
                          .cu_seqlens = c->cu,
                          .row_scale = rt_golden_floats(&c->g, "", "scale", n),
                          .labels = rt_golden_ints(&c->g, "labels", n),
                          .example_id = (const uint32_t *)rt_golden_ints(&c->g, "examples", n),
                          .sorted_tokens = c->sorted,
                          .n_tokens = tokens,
                          .bucket = bucket,
                          .n_seqs = n,
                          .capacity = n,
                          .max_len = longest};
}

static void open_case(rt_case *c, const char *name, rt_precision precision, float eps) {
    char path[128];
    memset(c, 0, sizeof *c);
    snprintf(path, sizeof path, DATA "%s.golden", name);
    c->g = rt_golden_load(path);
    const int32_t *z = c->sizes = rt_golden_ints(&c->g, "config", 9);
    const float *r = c->rates = rt_golden_floats(&c->g, "", "rates", 5);
    c->bert = rt_bert_default();
    c->bert.hidden = z[0], c->bert.layers = z[1], c->bert.heads = z[2], c->bert.ffn = z[3], c->bert.vocab = z[4];
    c->bert.max_positions = z[5], c->bert.type_vocab = z[6], c->bert.labels = z[7];
    c->bert.pooling = z[8] ? RT_POOL_MEAN : RT_POOL_CLS;
    c->bert.layer_norm_eps = eps > 0 ? eps : r[0];
    c->bert.dropout = r[1], c->bert.attention_dropout = r[2], c->bert.head_dropout = r[3];
    ok(rt_cpu_backend_open(&(rt_backend_options){.precision = precision, .threads = 2}, &c->be));
    ok(rt_objective_classify_new(&(rt_classify_options){.labels = z[7], .smoothing = r[4], .max_micro = 1},
                                 &c->objective));
    ok(rt_encoder_add_params(&c->table, &c->bert));
    ok(c->objective->add_params(c->objective, &c->table, &c->bert));
    ok(rt_param_table_finish(&c->table, NULL));
    ok(rt_model_new(c->be, &c->bert, &c->table, true, &c->model));
    make_batch(c);
    rt_encoder_sizes sizes = {.train_tokens = c->batch.bucket,
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
    *c->model.state = (rt_step_state){.step = (uint32_t)rt_golden_ints(&c->g, "step", 1)[0]};
}

static void close_case(rt_case *c) {
    c->objective->close(c->objective);
    rt_encoder_free(&c->encoder);
    rt_model_free(&c->model);
    rt_param_table_free(&c->table);
    c->be->close(c->be);
    rt_golden_free(&c->g);
    free(c->positions);
    free(c->cu);
    free(c->sorted);
}

/* |a - b| / |b|; NaN counts as infinite. */
static double relative(const float *a, const float *b, int64_t n) {
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), s += (double)b[i] * b[i];
    double r = s > 0 ? sqrt(d / s) : sqrt(d);
    return isfinite(r) ? r : INFINITY;
}

static double norm(const float *a, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (double)a[i] * a[i];
    return sqrt(s);
}

static bool is_key_bias(const char *name) {
    return strstr(name, "self.key.bias") != NULL;
}

/* Worst relative error of a gradient against records of a prefix; key.bias (true gradient 0) apart. */
static double worst_gradient(rt_case *c, const char *prefix, bool against_bf16, const char **where) {
    double worst = 0;
    for (int i = 0; i < c->table.n; i++) {
        const rt_param *p = &c->table.rows[i];
        const float *grad = rt_model_grad(&c->model, i);
        if (is_key_bias(p->name)) continue;
        double e = relative(grad, rt_golden_floats(&c->g, prefix, p->name, p->count), p->count);
        if (against_bf16) e /= (double)rt_golden_floats(&c->g, "bf16/", p->name, 1)[0];
        if (!(e <= worst)) worst = e, *where = p->name;
    }
    return worst;
}

static double step_loss(rt_case *c) {
    double loss;
    ok(c->objective->forward(c->objective, &c->batch, &c->pass, 0));
    ok(c->objective->backward(c->objective, &c->batch, &c->pass, 0, NULL, NULL));
    ok(c->be->download(c->be, &loss, c->objective->losses(c->objective), sizeof loss));
    return loss;
}

static void check_fp32(const char *name) {
    rt_case c;
    const char *where = "";
    open_case(&c, name, RT_PRECISION_FP32, 0);
    bool dropout = c.rates[1] > 0;
    double loss = step_loss(&c), want = rt_golden_floats(&c.g, "", "loss", 1)[0];
    if (!(fabs(loss - want) <= FP32_TOLERANCE * fabs(want))) fail_msg("%s: loss %.9g, expected %.9g", name, loss, want);
    double worst = worst_gradient(&c, "grad/", false, &where);
    if (!(worst <= FP32_TOLERANCE)) fail_msg("%s: gradient of %s: relative error %.3g", name, where, worst);
    for (int i = 0; i < c.table.n; i++) {
        if (!is_key_bias(c.table.rows[i].name)) continue;
        char weight[112];
        snprintf(weight, sizeof weight, "%s", c.table.rows[i].name);
        strcpy(strstr(weight, "key.bias"), "key.weight");
        int w = rt_param_find(&c.table, weight);
        assert_true(norm(rt_model_grad(&c.model, i), c.table.rows[i].count) <=
                    1e-6 * norm(rt_model_grad(&c.model, w), c.table.rows[w].count));
    }
    if (!dropout) {
        float *logits = calloc((size_t)(c.batch.n_seqs * c.bert.labels), sizeof *logits);
        ok(c.objective->predict(c.objective, &c.batch, logits));
        int64_t n = (int64_t)c.batch.n_seqs * c.bert.labels;
        double e = relative(logits, rt_golden_floats(&c.g, "", "logits", n), n);
        if (!(e <= FP32_TOLERANCE)) fail_msg("%s: logits: relative error %.3g", name, e);
        free(logits);
    }
    print_message("%s: worst gradient error %.2e (%s)\n", name, worst, where);
    close_case(&c);
}

static void fp32_pairs_cls(void **s) {
    (void)s, check_fp32("pair-cls-2");
}
static void fp32_singles_mean_one_label(void **s) {
    (void)s, check_fp32("single-mean-1");
}
static void fp32_pairs_mean_three_labels_smoothed(void **s) {
    (void)s, check_fp32("pair-mean-3");
}
static void fp32_singles_cls_one_label_smoothed(void **s) {
    (void)s, check_fp32("single-cls-1");
}
static void fp32_lengths_1_to_512(void **s) {
    (void)s, check_fp32("long-cls-2");
}
static void fp32_dropout_cls(void **s) {
    (void)s, check_fp32("dropout-cls-2");
}
static void fp32_dropout_mean(void **s) {
    (void)s, check_fp32("dropout-mean-1");
}

/* At most twice the error of torch's own bf16 autocast on the same tensor, both against fp64 (contract 5). */
static void check_bf16(const char *name) {
    rt_case c;
    const char *where = "";
    open_case(&c, name, RT_PRECISION_BF16, 0);
    step_loss(&c);
    double worst = worst_gradient(&c, "grad/", true, &where);
    print_message("%s: worst gradient error %.2f of torch's autocast (%s)\n", name, worst, where);
    if (!(worst <= 2.0)) fail_msg("%s: gradient of %s: %.2f times the error of torch's autocast", name, where, worst);
    close_case(&c);
}

static void bf16_pairs_cls(void **s) {
    (void)s, check_bf16("pair-cls-2");
}
static void bf16_singles_mean(void **s) {
    (void)s, check_bf16("single-mean-1");
}
static void bf16_pairs_mean(void **s) {
    (void)s, check_bf16("pair-mean-3");
}
static void bf16_lengths(void **s) {
    (void)s, check_bf16("long-cls-2");
}

/* Ten Adam steps; `shift` moves the warm-up by a step (negative test). Returns the worst relative error of a
 * parameter's movement, key.bias apart. */
static double ten_steps(const char *name, int shift, double *loss_error) {
    rt_case c;
    double worst = 0;
    open_case(&c, name, RT_PRECISION_FP32, 0);
    const float *losses = rt_golden_floats(&c.g, "", "losses", 10);
    rt_adam_range *ranges = calloc((size_t)c.table.n, sizeof *ranges);
    for (int i = 0; i < c.table.n; i++)
        ranges[i] = (rt_adam_range){.param_off = c.table.rows[i].param_off,
                                    .train_off = c.table.rows[i].train_off,
                                    .count = c.table.rows[i].count,
                                    .lr_scale = 1};
    *loss_error = 0;
    for (int s = 0; s < 10; s++) {
        double e = fabs(step_loss(&c) - (double)losses[s]) / (double)losses[0]; /* the loss falls towards 0 */
        if (!(e <= *loss_error)) *loss_error = e;
        c.model.state->lr = (float)rt_schedule_lr(RT_SCHEDULE_LINEAR, 1e-3, (uint64_t)(s + shift), 3, 12);
        c.model.state->bias1 = (float)(1 - pow(0.9, s + 1));
        c.model.state->bias2 = (float)(1 - pow(0.999, s + 1));
        ok(c.be->sum_squares(c.be, &(rt_sum_squares_args){.x = c.model.grads,
                                                          .n = c.table.n_trainables,
                                                          .partials = c.model.norm_partials,
                                                          .total = &c.model.state->grad_sq}));
        ok(c.be->adamw(c.be, &(rt_adamw_args){.params = c.model.params,
                                              .grads = c.model.grads,
                                              .m = c.model.m,
                                              .v = c.model.v,
                                              .ranges = ranges,
                                              .n_ranges = c.table.n,
                                              .beta1 = 0.9,
                                              .beta2 = 0.999,
                                              .epsilon = 1e-8f,
                                              .state = c.model.state}));
        ok(rt_model_pack(&c.model, true));
    }
    for (int i = 0; i < c.table.n; i++) {
        const rt_param *p = &c.table.rows[i];
        if (is_key_bias(p->name)) continue;
        double e = relative(rt_model_param(&c.model, i), rt_golden_floats(&c.g, "after/", p->name, p->count), p->count);
        if (!(e <= worst)) worst = e;
    }
    free(ranges);
    close_case(&c);
    return worst;
}

static void adam_steps(void **state) {
    (void)state;
    const char *names[] = {"steps-cls-2", "single-mean-1"};
    for (int i = 0; i < 2; i++) {
        double loss_error, e = ten_steps(names[i], 0, &loss_error);
        print_message("%s: after ten steps: parameters %.2e, losses %.2e\n", names[i], e, loss_error);
        if (!(e <= FP32_TOLERANCE)) fail_msg("%s: parameters after ten steps: relative error %.3g", names[i], e);
        if (!(loss_error <= FP32_TOLERANCE))
            fail_msg("%s: losses of ten steps: relative error %.3g", names[i], loss_error);
    }
}

/* Negative tests: what is wrong must be seen by the same comparison. */
static void tanh_gelu_is_seen(void **state) {
    (void)state;
    rt_case c;
    const char *where = "";
    open_case(&c, "pair-cls-2", RT_PRECISION_FP32, 0);
    step_loss(&c);
    assert_true(worst_gradient(&c, "tanh/", false, &where) > 10 * FP32_TOLERANCE);
    close_case(&c);
}

static void wrong_epsilon_is_seen(void **state) {
    (void)state;
    rt_case c;
    const char *where = "";
    open_case(&c, "pair-cls-2", RT_PRECISION_FP32, 1e-5f);
    step_loss(&c);
    assert_true(worst_gradient(&c, "grad/", false, &where) > FP32_TOLERANCE);
    close_case(&c);
}

static void shifted_warmup_is_seen(void **state) {
    (void)state;
    double loss_error;
    assert_true(ten_steps("steps-cls-2", 1, &loss_error) > 10 * FP32_TOLERANCE);
    assert_true(loss_error > 10 * FP32_TOLERANCE);
}

static void wrong_row_scale_is_seen(void **state) {
    (void)state;
    rt_case c;
    const char *where = "";
    open_case(&c, "pair-cls-2", RT_PRECISION_FP32, 0);
    float *scale = calloc((size_t)c.batch.n_seqs, sizeof *scale);
    for (int i = 0; i < c.batch.n_seqs; i++) scale[i] = 1.0f / (float)c.batch.n_seqs; /* a plain mean */
    c.batch.row_scale = scale;
    step_loss(&c);
    assert_true(worst_gradient(&c, "grad/", false, &where) > 10 * FP32_TOLERANCE);
    free(scale);
    close_case(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_pairs_cls),
        cmocka_unit_test(fp32_singles_mean_one_label),
        cmocka_unit_test(fp32_pairs_mean_three_labels_smoothed),
        cmocka_unit_test(fp32_singles_cls_one_label_smoothed),
        cmocka_unit_test(fp32_lengths_1_to_512),
        cmocka_unit_test(fp32_dropout_cls),
        cmocka_unit_test(fp32_dropout_mean),
        cmocka_unit_test(bf16_pairs_cls),
        cmocka_unit_test(bf16_singles_mean),
        cmocka_unit_test(bf16_pairs_mean),
        cmocka_unit_test(bf16_lengths),
        cmocka_unit_test(adam_steps),
        cmocka_unit_test(tanh_gelu_is_seen),
        cmocka_unit_test(wrong_epsilon_is_seen),
        cmocka_unit_test(shifted_warmup_is_seen),
        cmocka_unit_test(wrong_row_scale_is_seen),
    };
    return cmocka_run_group_tests_name("parity", tests, NULL, NULL);
}
