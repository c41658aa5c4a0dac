/* The classifier's loss, probabilities and gradient against fp64, with labels smoothed or not, near and far logits. */
#include "op_case.h"

enum { ROWS = 37 };

typedef struct {
    rt_check *c;
    rt_backend *be;
    rt_batch batch;
    size_t n;
    float *logits;
    rt_classify_args a;
} classify_case;

static classify_case open_case(int labels, float smoothing, double deviation) {
    int lengths[ROWS];
    for (int i = 0; i < ROWS; i++) lengths[i] = 1 + i % 3;
    classify_case k = {.c = rt_check_open(RT_PRECISION_FP32, 2, NULL), .n = (size_t)(ROWS * labels)};
    k.be = rt_check_backend(k.c);
    k.batch = case_batch(k.c, lengths, ROWS, 10, labels);
    k.logits = rt_check_normal(k.c, RT_F32, k.n, 5, deviation);
    k.a = (rt_classify_args){.logits = k.logits,
                             .smoothing = smoothing,
                             .loss = rt_check_buffer(k.c, sizeof(double)),
                             .row_loss = rt_check_poison(k.c, RT_F32, ROWS),
                             .probs = rt_check_poison(k.c, RT_F32, k.n),
                             .dlogits = rt_check_poison(k.c, RT_F32, k.n),
                             .labels = labels,
                             .with_labels = true};
    return k;
}

static void check_case(int labels, float smoothing, double deviation) {
    classify_case k = open_case(labels, smoothing, deviation);
    k.a.batch = &k.batch;
    rt_check_ok(k.be->classify(k.be, &k.a), "classify");
    rt_check_guards(k.c, "classify");
    double *rows = rt_check_doubles(k.c, ROWS), *probs = rt_check_doubles(k.c, k.n), *grad = rt_check_doubles(k.c, k.n);
    float *prows = case_zeros(k.c, ROWS), *pprobs = case_zeros(k.c, k.n), *pgrad = case_zeros(k.c, k.n);
    double loss = 0;
    for (int b = 0; b < ROWS; b++) {
        size_t at = (size_t)(b * labels);
        float scale = k.batch.row_scale[b];
        rows[b] = exact_classify_row(k.logits + at, labels, k.batch.labels[b], smoothing, probs + at, grad + at);
        prows[b] = plain_classify_row(k.logits + at, labels, k.batch.labels[b], smoothing, pprobs + at, pgrad + at);
        for (int i = 0; i < labels; i++) grad[at + (size_t)i] *= (double)scale, pgrad[at + (size_t)i] *= scale;
        loss += (double)scale * rows[b];
    }
    case_check(k.c, "row_loss", RT_F32, k.a.row_loss, rows, prows, ROWS);
    case_check(k.c, "probs", RT_F32, k.a.probs, probs, pprobs, k.n);
    case_check(k.c, "dlogits", RT_F32, k.a.dlogits, grad, pgrad, k.n);
    /* Summed in fp64 from fp64 terms: both sums carry at most ROWS roundings of 2^-53. */
    if (!(fabs(*k.a.loss - loss) <= 2 * ROWS * 0x1p-53 * fabs(loss) + 1e-300))
        fail_msg("%d labels: loss %.17g, reference %.17g", labels, *k.a.loss, loss);

    /* Any result may be left out; without labels only probabilities come, and labels are not read. */
    rt_classify_args bare = k.a;
    float *again = rt_check_poison(k.c, RT_F32, k.n);
    rt_batch unlabelled = k.batch;
    unlabelled.labels = NULL, unlabelled.row_scale = NULL;
    bare.batch = &unlabelled, bare.loss = NULL, bare.row_loss = bare.dlogits = NULL, bare.probs = again;
    bare.with_labels = false;
    rt_check_ok(k.be->classify(k.be, &bare), "without labels");
    rt_check_same("probs", RT_F32, again, k.a.probs, k.n);
    bare = k.a, bare.row_loss = bare.probs = bare.dlogits = NULL;
    double only = *k.a.loss;
    rt_check_ok(k.be->classify(k.be, &bare), "loss alone");
    assert_true(*k.a.loss == only);
    rt_check_close(k.c);
}

static void agrees_with_fp64(void **state) {
    (void)state;
    static const int labels[] = {1, 2, 3, 17};
    static const float smoothing[] = {0, 0.1f, 1};
    static const double deviations[] = {1, 30, 5000};
    for (size_t i = 0; i < COUNT(labels); i++)
        for (size_t s = 0; s < COUNT(smoothing); s++)
            for (size_t d = 0; d < COUNT(deviations); d++) check_case(labels[i], smoothing[s], deviations[d]);
}

/* dlogits is the loss's derivative: central differences of the fp64 loss, whose logits move by exact powers of two. */
static void differences_agree(void **state) {
    (void)state;
    for (int labels = 1; labels <= 3; labels++) {
        classify_case k = open_case(labels, 0.2f, 2);
        k.a.batch = &k.batch;
        rt_check_ok(k.be->classify(k.be, &k.a), "classify");
        rt_classify_args a = k.a;
        a.row_loss = a.probs = a.dlogits = NULL;
        for (size_t i = 0; i < k.n; i++) {
            double loss[2], h = 0x1p-10;
            float keep = k.logits[i];
            for (int side = 0; side < 2; side++) {
                k.logits[i] = keep + (side ? 0x1p-10f : -0x1p-10f);
                if (side) h += (double)(k.logits[i] - keep) - 0x1p-10;
                rt_check_ok(k.be->classify(k.be, &a), "classify");
                loss[side] = *a.loss;
            }
            k.logits[i] = keep;
            /* |L'''| <= row_scale <= 2 / ROWS: h^2 / 6 of it; f32 steps are off by 2^-22 of h; dlogits rounds to f32.
             */
            double quotient = (loss[1] - loss[0]) / (2 * h), limit = 2.0 / ROWS * (h * h / 6 + 0x1p-10);
            if (!(fabs(quotient - (double)k.a.dlogits[i]) <= limit))
                fail_msg("%d labels, logit %zu: gradient %.9g, differences %.9g", labels, i, (double)k.a.dlogits[i],
                         quotient);
        }
        rt_check_close(k.c);
    }
}

/* Written out by hand: two labels, logits 0 and ln 3, so probabilities 1/4 and 3/4. */
static void agrees_by_hand(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 1, NULL);
    rt_backend *be = rt_check_backend(c);
    int length = 1;
    rt_batch batch = case_batch(c, &length, 1, 4, 2);
    float scale = 0.5f, logits[2] = {0, (float)log(3)}, row_loss, probs[2], dlogits[2];
    int32_t label = 1;
    double loss;
    batch.row_scale = &scale, batch.labels = &label;
    rt_classify_args a = {.batch = &batch,
                          .logits = logits,
                          .loss = &loss,
                          .row_loss = &row_loss,
                          .probs = probs,
                          .dlogits = dlogits,
                          .labels = 2,
                          .with_labels = true};
    rt_check_ok(be->classify(be, &a), "softmax");
    assert_true(fabs((double)row_loss - log(4.0 / 3)) < 1e-7 && fabs(loss - 0.5 * log(4.0 / 3)) < 1e-7);
    assert_true(fabs((double)probs[0] - 0.25) < 1e-7 && fabs((double)dlogits[1] + 0.125) < 1e-7);
    a.smoothing = 0.2f; /* targets 0.1 and 0.9 */
    rt_check_ok(be->classify(be, &a), "smoothed");
    assert_true(fabs((double)row_loss - (0.9 * log(4.0 / 3) + 0.1 * log(4.0))) < 1e-6);
    assert_true(fabs((double)dlogits[0] - 0.5 * 0.15) < 1e-7);
    a.labels = 1, logits[0] = logits[1], a.smoothing = 0; /* sigmoid(ln 3) = 3/4 */
    rt_check_ok(be->classify(be, &a), "sigmoid");
    assert_true(fabs((double)probs[0] - 0.75) < 1e-7 && fabs((double)row_loss - log(4.0 / 3)) < 1e-7);
    a.smoothing = 0.2f; /* target 0.9 */
    rt_check_ok(be->classify(be, &a), "sigmoid, smoothed");
    assert_true(fabs((double)dlogits[0] - 0.5 * (0.75 - 0.9)) < 1e-7);
    rt_check_close(c);
}

static void shows_what_is_not_finite(void **state) {
    (void)state;
    for (int labels = 1; labels <= 3; labels++)
        for (int kind = 0; kind < 2; kind++) {
            classify_case k = open_case(labels, 0, 1);
            k.a.batch = &k.batch;
            k.logits[5 * labels] = kind ? NAN : INFINITY;
            int32_t *label = rt_check_copy(k.c, RT_F32, k.batch.labels, ROWS);
            label[5] = 0, k.batch.labels = label; /* of one label: the wrong side, whose loss is infinite */
            rt_check_ok(k.be->classify(k.be, &k.a), "classify");
            for (int b = 0; b < ROWS; b++) assert_int_equal(b == 5, !isfinite(k.a.row_loss[b]));
            assert_false(isfinite(*k.a.loss));
            rt_check_close(k.c);
        }
}

/* A label ruled out by a logit of minus infinity costs nothing where another is right and nothing is smoothed. */
static void takes_labels_that_are_ruled_out(void **state) {
    (void)state;
    classify_case k = open_case(3, 0, 1);
    k.a.batch = &k.batch;
    for (int b = 0; b < ROWS; b++) k.logits[3 * b + (k.batch.labels[b] + 1) % 3] = -INFINITY;
    rt_check_ok(k.be->classify(k.be, &k.a), "classify");
    for (int b = 0; b < ROWS; b++) {
        assert_true(isfinite(k.a.row_loss[b]));
        assert_true(k.a.probs[3 * b + (k.batch.labels[b] + 1) % 3] == 0);
    }
    assert_true(isfinite(*k.a.loss));
    rt_check_close(k.c);
}

static void takes_an_empty_batch_and_refuses_wrong_values(void **state) {
    (void)state;
    classify_case k = open_case(2, 0, 1);
    rt_batch empty = case_batch(k.c, NULL, 0, 10, 2), wrong = k.batch;
    k.a.batch = &empty;
    rt_check_ok(k.be->classify(k.be, &k.a), "empty");
    assert_true(*k.a.loss == 0);
    rt_check_untouched("probs", k.a.probs, k.n * 4);
    int32_t *labels = rt_check_copy(k.c, RT_F32, k.batch.labels, ROWS);
    labels[36] = 2, wrong.labels = labels, k.a.batch = &wrong;
    rt_check_fails(RT_ESHAPE, k.be->classify(k.be, &k.a), "label 2 of two");
    labels[36] = -1;
    rt_check_fails(RT_ESHAPE, k.be->classify(k.be, &k.a), "label -1");
    labels[36] = 0, k.a.labels = 0;
    rt_check_fails(RT_ESHAPE, k.be->classify(k.be, &k.a), "no labels");
    k.a.labels = 2, k.a.smoothing = NAN;
    rt_check_fails(RT_ESHAPE, k.be->classify(k.be, &k.a), "smoothing");
    rt_check_close(k.c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(differences_agree),
        cmocka_unit_test(agrees_by_hand),
        cmocka_unit_test(shows_what_is_not_finite),
        cmocka_unit_test(takes_labels_that_are_ruled_out),
        cmocka_unit_test(takes_an_empty_batch_and_refuses_wrong_values),
    };
    return rt_check_main(argc, argv, tests, COUNT(tests));
}
