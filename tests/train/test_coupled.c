/* Steps whose rows hang on each other: cut into micro-batches, blocks and sides they are the same; gradients against
 * differences; and pairs that training tells apart. */
#include "rig.h"

/* Sums of some hundred fp32 terms in another order: 6e-8 each, twice a layer; contract 5 allows 1e-5 a tensor. */
#define TOLERANCE 1e-5

static rt_step_result gradients(rig *r, const rig_options *o) {
    rig_open(r, o);
    return rig_step(r);
}

static void compare(const rig_options *x, const rig_options *y) {
    rig a, b;
    rt_step_result ra = gradients(&a, x), rb = gradients(&b, y);
    if (!(fabs(ra.loss - rb.loss) <= TOLERANCE * rb.loss)) fail_msg("loss %.9g, expected %.9g", ra.loss, rb.loss);
    if (!(rb.grad_norm > 1e-3)) fail_msg("a gradient of norm %g shows nothing", rb.grad_norm);
    assert_int_equal(ra.seqs, rb.seqs);
    assert_int_equal(ra.tokens, rb.tokens);
    rig_same_gradients(&a, &b, TOLERANCE);
    rig_close(&a);
    rig_close(&b);
}

static rig_options options(int sides, rt_pooling pooling) {
    return (rig_options){.rows = rig_pairs,
                         .pairs = true,
                         .weights = true,
                         .pooling = pooling,
                         .contrastive = {.sides = sides, .symmetric = sides == 3, .mask_clicked = true},
                         .log_share = sides == 3};
}

/* GradCache: texts are run twice where they do not fit at once, with dropout's masks drawn again. */
static void micro_batches(void **state) {
    (void)state;
    for (int sides = 2; sides <= 3; sides++)
        for (int pooling = RT_POOL_MEAN; pooling <= RT_POOL_FIRST; pooling++) {
            rig_options whole = options(sides, (rt_pooling)pooling);
            whole.dropout = 0.1f;
            rig_options tokens = whole, texts = whole, single = whole, recomputed = whole;
            tokens.settings.micro_tokens = 24;
            texts.settings.max_seqs = 3;
            single.settings.micro_tokens = 1;
            recomputed.recompute = true, recomputed.settings.micro_tokens = 24;
            compare(&tokens, &whole);
            compare(&texts, &whole);
            compare(&single, &whole);
            compare(&recomputed, &whole);
        }
}

/* Scores that do not fit at once are computed in blocks of rows, down to one. */
static void blocks(void **state) {
    (void)state;
    for (int sides = 2; sides <= 3; sides++) {
        rig_options whole = options(sides, RT_POOL_MEAN), cut = whole;
        cut.contrastive.block_scores = 64 * (sides - 1) * 4;
        compare(&cut, &whole);
        cut.contrastive.block_scores = 1;
        compare(&cut, &whole);
    }
}

/* Each text has masks of its own: with a text on both sides of a row, dropout makes two vectors of it. */
static void masks_of_sides(void **state) {
    (void)state;
    rig_options o = options(2, RT_POOL_MEAN);
    o.rows = "w1 w2 w3\tw1 w2 w3\t1\t1\tu1\ti1\t\nw4 w5\tw4 w5\t1\t1\tu2\ti2\t\n";
    for (int i = 0; i < 2; i++) {
        rig r;
        o.dropout = i ? 0.3f : 0.0f;
        rig_open(&r, &o);
        rig_step(&r);
        int width;
        const float *v = r.objective->vectors(r.objective, &width);
        assert_int_equal(memcmp(v, v + 2 * width, (size_t)width * sizeof *v) != 0, i); /* row 0: places 0 and 2 */
        rig_close(&r);
    }
}

/* Bits above rounding of the loss: 6e-8 x 2 through some 20 operations. */
static void differences(void **state) {
    (void)state;
    for (int sides = 2; sides <= 3; sides++)
        for (int pooling = RT_POOL_MEAN; pooling <= RT_POOL_FIRST; pooling++) {
            rig_options o = options(sides, (rt_pooling)pooling);
            o.contrastive.scale = 5; /* not so steep that the third derivative is what differences see */
            rig r;
            rig_open(&r, &o);
            rig_step(&r);
            const float *gradient = rig_copy(r.model.grads, r.table.n_trainables);
            for (int i = 0; i < r.table.n; i += 3) {
                const rt_param *p = &r.table.rows[i];
                float *values = rt_model_direct(&r.model, i, RT_BUFFER_PARAMS);
                const float *g = gradient + p->train_off;
                double size = rig_norm(g, p->count);
                if (size < 1e-4) continue;
                /* Along the gradient itself: the derivative is its length. */
                float *was = rig_copy(values, p->count);
                double loss[2];
                const double h = 2e-2;
                for (int side = 0; side < 2; side++) {
                    for (int64_t k = 0; k < p->count; k++)
                        values[k] = was[k] + (float)((side ? h : -h) * (double)g[k] / size);
                    ok(rt_model_pack(&r.model, false));
                    loss[side] = rig_step(&r).loss;
                }
                memcpy(values, was, (size_t)p->count * sizeof *values);
                double slope = (loss[1] - loss[0]) / (2 * h);
                if (!(fabs(slope - size) <= 0.01 * size + 1e-4))
                    fail_msg("%s: slope %.6g, gradient %.6g", p->name, slope, size);
                free(was);
            }
            free((void *)gradient);
            rig_close(&r);
        }
}

/* Masks, weights, shares and negatives each change the loss. */
static void everything_counts(void **state) {
    (void)state;
    rig_options all = options(3, RT_POOL_MEAN);
    for (int without = 0; without < 5; without++) {
        rig_options o = all;
        if (without == 0) o.contrastive.mask_clicked = false;
        if (without == 1) o.weights = false;
        if (without == 2) o.log_share = false;
        if (without == 3) o.contrastive.sides = 2;
        if (without == 4) o.contrastive.symmetric = false;
        rig a, b;
        double x = gradients(&a, &o).loss, y = gradients(&b, &all).loss;
        if (!(fabs(x - y) > 1e-3 * y)) fail_msg("variant %d: loss %.9g with and without", without, y);
        rig_close(&a);
        rig_close(&b);
    }
}

/* A negative that a row has not is no text at all. */
static void missing_negatives(void **state) {
    (void)state;
    rig_options with = options(3, RT_POOL_MEAN), without = options(2, RT_POOL_MEAN);
    with.rows = without.rows = "w0 w1\tw2\t1\t1\tu0\ti0\t\nw3\tw4 w5\t1\t2\tu1\ti1\t\nw7 w8\tw10\t1\t3\tu2\ti2\t\n";
    with.contrastive.symmetric = with.log_share = false;
    rig a, b;
    double x = gradients(&a, &with).loss, y = gradients(&b, &without).loss;
    if (!(fabs(x - y) <= TOLERANCE * y)) fail_msg("loss %.9g, without the column %.9g", x, y);
    rig_same_gradients(&a, &b, TOLERANCE);
    rig_close(&a);
    rig_close(&b);
}

/* Words of a row's two texts have nothing in common but what training finds. */
static void learns(void **state) {
    (void)state;
    for (int precision = RT_PRECISION_FP32; precision <= RT_PRECISION_BF16; precision += RT_PRECISION_BF16) {
        rig_options o = options(2, RT_POOL_MEAN);
        o.precision = (rt_precision)precision;
        o.settings.learning_rate = 3e-3, o.settings.micro_tokens = 24;
        rig r;
        rig_open(&r, &o);
        const double first = rig_step(&r).loss;
        double last = first;
        for (int i = 0; i < 60; i++) last = rig_step(&r).loss;
        if (!(last < 0.1 * first)) fail_msg("loss %.4g after 60 steps, %.4g at first", last, first);
        rig_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro_batches),     cmocka_unit_test(blocks),
        cmocka_unit_test(masks_of_sides),    cmocka_unit_test(differences),
        cmocka_unit_test(everything_counts), cmocka_unit_test(learns),
        cmocka_unit_test(missing_negatives),
    };
    return cmocka_run_group_tests_name("coupled", tests, make_folder, drop_folder);
}
