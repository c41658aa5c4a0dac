/* The contrastive objective against sentence-transformers in fp64 (golden files): vectors, loss, every gradient, ten
 * Adam steps; in one micro-batch and in many, whose gradients must be the same; fp32 and bf16. Negative tests show that
 * wrong conventions are seen. */
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
/* Contract 5: relative L2 error of a tensor in fp32. torch's own fp32 is up to 2e-6 away on these models. */
#define FP32_TOLERANCE 1e-5

enum { SIDES_MOST = 4, TEXTS_MOST = 64, MICRO_TEXTS = 64 };

typedef struct {
    const char *file, *variant;
    rt_precision precision;
    int micro_texts;      /* texts of a micro-batch; 0: all */
    int64_t block_scores; /* 0: all */
    /* What a negative test gets wrong. */
    double scale; /* 0: the file's */
    bool not_symmetric, not_masked, no_share, plain_weights, nothing_missing;
    float stretch; /* one vector is so many times too long; 0: none */
    int shift;     /* of the warm-up */
} setting;

/* A micro-batch and the memory of its arrays. */
typedef struct {
    rt_batch batch;
    int32_t *ids, *positions, *types, *sorted, cu[TEXTS_MOST + 1], labels[TEXTS_MOST];
    uint32_t example[TEXTS_MOST];
    float scale[TEXTS_MOST];
} micro_batch;

typedef struct {
    setting s;
    rt_golden g;
    char prefix[64]; /* "variant/" */
    int rows, sides, texts;
    const int32_t *lengths, *ids;
    int offsets[TEXTS_MOST + 1];
    rt_bert bert;
    rt_param_table table;
    rt_backend *be;
    rt_model model;
    rt_encoder encoder;
    rt_objective *objective;
    micro_batch micro[MICRO_TEXTS];
    int starts[MICRO_TEXTS + 1], places[TEXTS_MOST];
    float weights[TEXTS_MOST];
    uint64_t users[TEXTS_MOST], items[TEXTS_MOST], hashes[TEXTS_MOST];
    unsigned char missing[TEXTS_MOST];
    rt_coupling step;
    rt_pass pass;
} contrast_case;

static void ok(rt_status s) {
    if (s != RT_OK) fail_msg("%s", rt_error_get()->text);
}

static const int32_t *sort_ids; /* qsort has no context */

static int by_id(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_ids[x] != sort_ids[y]) return sort_ids[x] < sort_ids[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static void fill_micro(contrast_case *c, int m) {
    micro_batch *b = &c->micro[m];
    const int *places = c->places + c->starts[m], n = c->starts[m + 1] - c->starts[m];
    int tokens = 0, longest = 0, t = 0;
    for (int i = 0; i < n; i++) {
        tokens += c->lengths[places[i]];
        b->cu[i + 1] = tokens;
        b->example[i] = (uint32_t)places[i];
        b->scale[i] = 0; /* a coupled row's weight is in rt_coupling */
        if (c->lengths[places[i]] > longest) longest = c->lengths[places[i]];
    }
    size_t bucket = (size_t)(tokens + 63) / 64 * 64;
    b->ids = calloc(bucket, sizeof *b->ids);
    b->positions = calloc(bucket, sizeof *b->positions);
    b->types = calloc(bucket, sizeof *b->types);
    b->sorted = calloc(bucket, sizeof *b->sorted);
    assert_true(b->ids && b->positions && b->types && b->sorted);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c->lengths[places[i]]; k++, t++) {
            b->ids[t] = c->ids[c->offsets[places[i]] + k];
            b->positions[t] = k;
            b->sorted[t] = t;
        }
    sort_ids = b->ids;
    qsort(b->sorted, (size_t)tokens, sizeof *b->sorted, by_id);
    b->batch = (rt_batch){.input_ids = b->ids,
                          .positions = b->positions,
                          .types = b->types,
                          .cu_seqlens = b->cu,
                          .row_scale = b->scale,
                          .labels = b->labels,
                          .example_id = b->example,
                          .sorted_tokens = b->sorted,
                          .n_tokens = tokens,
                          .bucket = (int)bucket,
                          .n_seqs = n,
                          .capacity = n,
                          .max_len = longest};
}

/* Texts that are there, dealt to micro-batches in an order that is not that of their places. */
static void make_batches(contrast_case *c) {
    int n = 0, most = c->s.micro_texts ? c->s.micro_texts : TEXTS_MOST;
    for (int i = 0; i < c->texts; i++) {
        int place = (i * 5 + 3) % c->texts; /* 5 divides neither 14 nor 28 */
        if (!c->missing[place]) c->places[n++] = place;
    }
    c->step.n_micro = (n + most - 1) / most;
    assert_true(c->step.n_micro <= MICRO_TEXTS);
    for (int m = 0; m < c->step.n_micro; m++) {
        c->starts[m + 1] = (m + 1) * most < n ? (m + 1) * most : n;
        fill_micro(c, m);
    }
}

static void make_step(contrast_case *c, const int32_t *kinds) {
    const float *weights = rt_golden_floats(&c->g, "", "weights", c->rows);
    const int32_t *items = rt_golden_ints(&c->g, "items", c->rows), *users = rt_golden_ints(&c->g, "users", c->rows);
    const int32_t *missing = rt_golden_ints(&c->g, "missing", (int64_t)2 * c->rows);
    bool weighted = kinds[4] && !c->s.plain_weights;
    double sum = 0;
    for (int i = 0; i < c->rows; i++) {
        sum += weighted ? (double)weights[i] : 1;
        c->users[i] = (uint64_t)users[i] * 1000003u;
        c->items[i] = (uint64_t)items[i] + 77;
    }
    for (int i = 0; i < c->rows; i++) c->weights[i] = (float)((weighted ? (double)weights[i] : 1) / sum);
    for (int i = 0; i < c->texts; i++) {
        c->hashes[i] = 14695981039346656037u;
        for (int k = 0; k < c->lengths[i]; k++)
            c->hashes[i] = (c->hashes[i] ^ (uint64_t)c->ids[c->offsets[i] + k]) * 1099511628211u;
        c->missing[i] = i >= 2 * c->rows && kinds[5] && !c->s.nothing_missing && missing[i - 2 * c->rows];
    }
    c->step =
        (rt_coupling){.rows = c->rows,
                      .sides = c->sides,
                      .starts = c->starts,
                      .places = c->places,
                      .weights = c->weights,
                      .users = c->users,
                      .items = c->items,
                      .texts = c->hashes,
                      .missing = c->missing,
                      .log_share = kinds[3] && !c->s.no_share ? rt_golden_floats(&c->g, "", "log_q", c->rows) : NULL,
                      .leads = true};
    make_batches(c);
}

static void open_case(contrast_case *c, const setting *s) {
    char path[128], name[80];
    memset(c, 0, sizeof *c);
    c->s = *s;
    snprintf(path, sizeof path, DATA "%s.golden", s->file);
    snprintf(c->prefix, sizeof c->prefix, "%s/", s->variant);
    snprintf(name, sizeof name, "%s/kinds", s->variant);
    c->g = rt_golden_load(path);
    const int32_t *z = rt_golden_ints(&c->g, "config", 9), *pairs = rt_golden_ints(&c->g, "pairs", 2);
    const int32_t *kinds = rt_golden_ints(&c->g, name, 6);
    const float *r = rt_golden_floats(&c->g, "", "rates", 2);
    c->rows = pairs[0];
    c->sides = 2 + (kinds[1] ? pairs[1] : 0);
    c->texts = c->rows * c->sides;
    assert_true(c->sides <= SIDES_MOST && c->texts <= TEXTS_MOST);
    c->lengths = rt_golden_ints(&c->g, "lengths", (int64_t)c->rows * (2 + pairs[1]));
    c->ids = rt_golden_ints(&c->g, "ids", -1);
    int tokens = 0;
    for (int i = 0; i < c->texts; i++) c->offsets[i + 1] = tokens += c->lengths[i];
    make_step(c, kinds);

    c->bert = rt_bert_default();
    c->bert.hidden = z[0], c->bert.layers = z[1], c->bert.heads = z[2], c->bert.ffn = z[3], c->bert.vocab = z[4];
    c->bert.max_positions = z[5], c->bert.type_vocab = z[6], c->bert.labels = 0;
    c->bert.pooling = z[8] ? RT_POOL_MEAN : RT_POOL_FIRST;
    c->bert.layer_norm_eps = r[0];
    c->bert.dropout = c->bert.attention_dropout = c->bert.head_dropout = 0;
    rt_contrastive_options options = {.max_rows = c->rows,
                                      .sides = c->sides,
                                      .max_micro = c->step.n_micro,
                                      .scale = s->scale > 0 ? s->scale : (double)r[1],
                                      .symmetric = kinds[0] && !s->not_symmetric,
                                      .mask_clicked = kinds[2] && !s->not_masked,
                                      .block_scores = s->block_scores};
    rt_encoder_sizes sizes = {.train_tokens = (tokens + 63) / 64 * 64, .train_seqs = c->texts, .max_len = z[5]};
    sizes.eval_tokens = sizes.train_tokens, sizes.eval_seqs = sizes.train_seqs;
    ok(rt_cpu_backend_open(&(rt_backend_options){.precision = s->precision, .threads = 2}, &c->be));
    ok(rt_objective_contrastive_new(&options, &c->objective));
    rt_contrastive_sizes(&options, &sizes.head_rows, &sizes.head_width);
    ok(rt_encoder_add_params(&c->table, &c->bert));
    ok(c->objective->add_params(c->objective, &c->table, &c->bert));
    ok(rt_param_table_finish(&c->table, NULL));
    ok(rt_model_new(c->be, &c->bert, &c->table, true, &c->model));
    ok(rt_encoder_new(&c->model, &sizes, &c->encoder));
    ok(c->objective->bind(c->objective, &c->encoder));
    for (int i = 0; i < c->table.n; i++)
        ok(rt_model_put(&c->model, i, RT_BUFFER_PARAMS,
                        rt_golden_floats(&c->g, "param/", c->table.rows[i].name, c->table.rows[i].count)));
    ok(rt_model_pack(&c->model, false));
    c->pass = (rt_pass){.training = true};
}

static void close_case(contrast_case *c) {
    c->objective->close(c->objective);
    rt_encoder_free(&c->encoder);
    rt_model_free(&c->model);
    rt_param_table_free(&c->table);
    c->be->close(c->be);
    rt_golden_free(&c->g);
    for (int m = 0; m < c->step.n_micro; m++) {
        free(c->micro[m].ids);
        free(c->micro[m].positions);
        free(c->micro[m].types);
        free(c->micro[m].sorted);
    }
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

/* Embedded last to first, coupled, then forward and backward; the loss. */
static double run_step(contrast_case *c) {
    rt_objective *o = c->objective;
    double loss;
    int width;
    for (int m = c->step.n_micro - 1; m >= 0; m--) ok(o->embed(o, &c->step, &c->micro[m].batch, &c->pass, m));
    for (int i = 0; i < c->bert.hidden && c->s.stretch > 0; i++) o->vectors(o, &width)[i] *= c->s.stretch;
    ok(o->couple(o, &c->step));
    for (int m = 0; m < c->step.n_micro; m++) {
        ok(o->forward(o, &c->micro[m].batch, &c->pass, m));
        ok(o->backward(o, &c->micro[m].batch, &c->pass, m > 0, NULL, NULL));
    }
    ok(c->be->download(c->be, &loss, o->losses(o), sizeof loss));
    return loss;
}

/* Worst relative error of a gradient, and rms of them all; key.bias, whose true gradient is 0, apart. In bf16 as
 * multiples of the error of torch's autocast. */
static double worst_gradient(contrast_case *c, bool against_bf16, double *rms, const char **where) {
    double worst = 0, squares = 0;
    int n = 0;
    char want[80], bf16[80];
    snprintf(want, sizeof want, "%sgrad/", c->prefix);
    snprintf(bf16, sizeof bf16, "%sbf16/", c->prefix);
    for (int i = 0; i < c->table.n; i++) {
        const rt_param *p = &c->table.rows[i];
        if (is_key_bias(p->name)) continue;
        double e = relative(rt_model_grad(&c->model, i), rt_golden_floats(&c->g, want, p->name, p->count), p->count);
        if (against_bf16) e /= (double)rt_golden_floats(&c->g, bf16, p->name, 1)[0];
        if (!(e <= worst)) worst = e, *where = p->name;
        squares += e * e;
        n++;
    }
    if (rms) *rms = sqrt(squares / n);
    return worst;
}

static double golden_loss(const contrast_case *c) {
    return rt_golden_floats(&c->g, c->prefix, "loss", 1)[0];
}

static void check_key_bias(contrast_case *c) {
    for (int i = 0; i < c->table.n; i++) {
        if (!is_key_bias(c->table.rows[i].name)) continue;
        char weight[112];
        snprintf(weight, sizeof weight, "%s", c->table.rows[i].name);
        strcpy(strstr(weight, "key.bias"), "key.weight");
        int w = rt_param_find(&c->table, weight);
        assert_true(norm(rt_model_grad(&c->model, i), c->table.rows[i].count) <=
                    1e-6 * norm(rt_model_grad(&c->model, w), c->table.rows[w].count));
    }
}

static void check_vectors(contrast_case *c) {
    int width, h = c->bert.hidden;
    const float *have = c->objective->vectors(c->objective, &width);
    const float *want = rt_golden_find(&c->g, "", "vectors")->data;
    assert_int_equal(width, h);
    for (int i = 0; i < c->texts; i++) {
        if (c->missing[i]) continue;
        double e = relative(have + (size_t)i * (size_t)h, want + (size_t)i * (size_t)h, h);
        if (!(e <= FP32_TOLERANCE)) fail_msg("vector of text %d: relative error %.3g", i, e);
    }
}

static void check_fp32(const setting *s) {
    contrast_case c;
    const char *where = "";
    open_case(&c, s);
    double loss = run_step(&c), want = golden_loss(&c);
    if (!(fabs(loss - want) <= FP32_TOLERANCE * fabs(want)))
        fail_msg("%s, %s: loss %.9g, expected %.9g", s->file, s->variant, loss, want);
    check_vectors(&c);
    double worst = worst_gradient(&c, false, NULL, &where);
    if (!(worst <= FP32_TOLERANCE))
        fail_msg("%s, %s: gradient of %s: relative error %.3g", s->file, s->variant, where, worst);
    check_key_bias(&c);
    print_message("%s, %s, %d micro-batches: worst gradient error %.2e (%s)\n", s->file, s->variant, c.step.n_micro,
                  worst, where);
    close_case(&c);
}

static const char *const variants[] = {"plain",  "symmetric",        "negatives", "symmetric-negatives",
                                       "masked", "masked-symmetric", "logq",      "all"};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static void fp32_mean(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++) check_fp32(&(setting){.file = "contrastive-mean", .variant = variants[i]});
}

static void fp32_first_token(void **state) {
    (void)state;
    check_fp32(&(setting){.file = "contrastive-cls", .variant = "plain"});
    check_fp32(&(setting){.file = "contrastive-cls", .variant = "all"});
}

/* GradCache: micro-batches of a few texts, of one, and scores that are never there all at once. */
static void fp32_cached(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++) {
        check_fp32(&(setting){.file = "contrastive-mean", .variant = variants[i], .micro_texts = 5});
        check_fp32(&(setting){.file = "contrastive-mean", .variant = variants[i], .micro_texts = 1});
        check_fp32(&(setting){.file = "contrastive-mean", .variant = variants[i], .block_scores = 1});
        check_fp32(
            &(setting){.file = "contrastive-mean", .variant = variants[i], .micro_texts = 3, .block_scores = 60});
    }
    check_fp32(&(setting){.file = "contrastive-cls", .variant = "all", .micro_texts = 2, .block_scores = 1});
}

/* The same step whole and in parts, beside each other. */
static void cached_equals_whole(void **state) {
    (void)state;
    for (int v = 0; v < VARIANTS; v++) {
        contrast_case whole, parts;
        open_case(&whole, &(setting){.file = "contrastive-mean", .variant = variants[v]});
        open_case(&parts, &(setting){.file = "contrastive-mean", .variant = variants[v], .micro_texts = 2});
        double a = run_step(&whole), b = run_step(&parts);
        assert_int_equal(whole.step.n_micro, 1);
        assert_true(parts.step.n_micro > 6);
        assert_true(fabs(a - b) <= FP32_TOLERANCE * fabs(a));
        for (int i = 0; i < whole.table.n; i++) {
            const rt_param *p = &whole.table.rows[i];
            if (is_key_bias(p->name)) continue;
            double e = relative(rt_model_grad(&parts.model, i), rt_model_grad(&whole.model, i), p->count);
            if (!(e <= FP32_TOLERANCE)) fail_msg("%s: gradient of %s: %.3g apart", variants[v], p->name, e);
        }
        close_case(&whole);
        close_case(&parts);
    }
}

/* At most twice the error of torch's own bf16 autocast, both against fp64 (contract 5): over all tensors in the mean of
 * squares. One tensor's error is one draw beside the rms of eight of torch's, and some have sixteen elements: up to 3.
 */
static void bf16_errors(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS + 2; i++) {
        contrast_case c;
        bool mean = i < VARIANTS;
        setting s = {.file = mean ? "contrastive-mean" : "contrastive-cls",
                     .variant = variants[mean            ? i
                                         : i == VARIANTS ? 0
                                                         : VARIANTS - 1],
                     .precision = RT_PRECISION_BF16,
                     .micro_texts = i % 2 ? 5 : 0};
        const char *where = "";
        open_case(&c, &s);
        run_step(&c);
        double rms, worst = worst_gradient(&c, true, &rms, &where);
        print_message("%s, %s: gradient error %.2f of torch's autocast, at worst %.2f (%s)\n", s.file, s.variant, rms,
                      worst, where);
        if (!(rms <= 2.0)) fail_msg("%s, %s: %.2f times the error of torch's autocast", s.file, s.variant, rms);
        if (!(worst <= 3.0))
            fail_msg("%s, %s: gradient of %s: %.2f times the error of torch's autocast", s.file, s.variant, where,
                     worst);
        close_case(&c);
    }
}

/* Ten Adam steps. Returns the worst relative error of a parameter, key.bias apart. */
static double ten_steps(const setting *s, double *loss_error) {
    contrast_case c;
    double worst = 0;
    char after[80];
    open_case(&c, s);
    const float *losses = rt_golden_floats(&c.g, c.prefix, "losses", 10);
    rt_adam_range *ranges = calloc((size_t)c.table.n, sizeof *ranges);
    assert_non_null(ranges);
    for (int i = 0; i < c.table.n; i++)
        ranges[i] = (rt_adam_range){.param_off = c.table.rows[i].param_off,
                                    .train_off = c.table.rows[i].train_off,
                                    .count = c.table.rows[i].count,
                                    .lr_scale = 1};
    *loss_error = 0;
    for (int k = 0; k < 10; k++) {
        double e = fabs(run_step(&c) - (double)losses[k]) / (double)losses[0];
        if (!(e <= *loss_error)) *loss_error = e;
        c.model.state->lr = (float)rt_schedule_lr(RT_SCHEDULE_LINEAR, 1e-3, (uint64_t)(k + s->shift), 3, 12);
        c.model.state->bias1 = (float)(1 - pow(0.9, k + 1));
        c.model.state->bias2 = (float)(1 - pow(0.999, k + 1));
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
    snprintf(after, sizeof after, "%safter/", c.prefix);
    for (int i = 0; i < c.table.n; i++) {
        const rt_param *p = &c.table.rows[i];
        if (is_key_bias(p->name)) continue;
        double e = relative(rt_model_param(&c.model, i), rt_golden_floats(&c.g, after, p->name, p->count), p->count);
        if (!(e <= worst)) worst = e;
    }
    free(ranges);
    close_case(&c);
    return worst;
}

static void adam_steps(void **state) {
    (void)state;
    const setting cases[] = {{.file = "contrastive-mean", .variant = "plain"},
                             {.file = "contrastive-mean", .variant = "all"},
                             {.file = "contrastive-mean", .variant = "all", .micro_texts = 4, .block_scores = 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double loss_error, e = ten_steps(&cases[i], &loss_error);
        print_message("%s: after ten steps: parameters %.2e, losses %.2e\n", cases[i].variant, e, loss_error);
        if (!(e <= FP32_TOLERANCE))
            fail_msg("%s: parameters after ten steps: relative error %.3g", cases[i].variant, e);
        if (!(loss_error <= FP32_TOLERANCE))
            fail_msg("%s: losses of ten steps: relative error %.3g", cases[i].variant, loss_error);
    }
    double loss_error;
    assert_true(ten_steps(&(setting){.file = "contrastive-mean", .variant = "plain", .shift = 1}, &loss_error) >
                10 * FP32_TOLERANCE);
    assert_true(loss_error > 10 * FP32_TOLERANCE);
}

/* Negative tests: what is wrong must be seen, by loss and by gradients. */
static void wrong_conventions_are_seen(void **state) {
    (void)state;
    const setting cases[] = {
        {.file = "contrastive-mean", .variant = "plain", .scale = 20.01},
        {.file = "contrastive-mean", .variant = "plain", .stretch = 1.1f},
        {.file = "contrastive-mean", .variant = "symmetric", .not_symmetric = true},
        {.file = "contrastive-mean", .variant = "masked", .not_masked = true},
        {.file = "contrastive-mean", .variant = "masked-symmetric", .not_masked = true},
        {.file = "contrastive-mean", .variant = "logq", .no_share = true},
        {.file = "contrastive-mean", .variant = "all", .plain_weights = true},
        {.file = "contrastive-mean", .variant = "all", .nothing_missing = true},
        {.file = "contrastive-cls", .variant = "all", .no_share = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        contrast_case c;
        const char *where = "";
        open_case(&c, &cases[i]);
        double loss = run_step(&c), want = golden_loss(&c);
        if (!(fabs(loss - want) > 10 * FP32_TOLERANCE * fabs(want)))
            fail_msg("case %zu is not seen by the loss: %.9g, %.9g", i, loss, want);
        if (!(worst_gradient(&c, false, NULL, &where) > 10 * FP32_TOLERANCE))
            fail_msg("case %zu is not seen by the gradients", i);
        close_case(&c);
    }
}

/* A pooler has no place above vectors. */
static void pooler_is_refused(void **state) {
    (void)state;
    rt_objective *o;
    rt_param_table table = {0};
    rt_bert bert = rt_bert_default();
    bert.pooling = RT_POOL_CLS;
    ok(rt_objective_contrastive_new(&(rt_contrastive_options){.max_rows = 2, .sides = 2, .scale = 20}, &o));
    assert_int_equal(o->add_params(o, &table, &bert), RT_EINTERNAL);
    o->close(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp32_mean),         cmocka_unit_test(fp32_first_token),
        cmocka_unit_test(fp32_cached),       cmocka_unit_test(cached_equals_whole),
        cmocka_unit_test(bf16_errors),       cmocka_unit_test(adam_steps),
        cmocka_unit_test(pooler_is_refused), cmocka_unit_test(wrong_conventions_are_seen),
    };
    return cmocka_run_group_tests_name("contrastive", tests, NULL, NULL);
}
