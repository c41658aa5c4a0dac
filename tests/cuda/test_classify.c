/* The CUDA loss in the emulator: the CPU op's tests, then what is the GPU's own. */
#include "emulated.h"
/* The ops' own tests */
#include "../kernels/test_classify.c"
#undef main

static void empty_batch_and_wrong_values(void **state) {
    (void)state;
    classify_case k = open_case(2, 0, 1);
    rt_batch empty = case_batch(k.c, NULL, 0, 10, 2);
    k.a.batch = &empty;
    rt_check_ok(k.be->classify(k.be, &k.a), "empty");
    assert_true(*k.a.loss == 0);
    rt_check_untouched("probs", k.a.probs, k.n * 4);
    k.a.labels = 0;
    rt_check_fails(RT_ESHAPE, k.be->classify(k.be, &k.a), "no labels");
    k.a.labels = 2, k.a.smoothing = NAN;
    rt_check_fails(RT_ESHAPE, k.be->classify(k.be, &k.a), "smoothing");
    rt_check_close(k.c);
}

/* The device reads labels that the host cannot: one that is none makes the loss NaN, and touches nothing else. */
static void a_label_that_is_none_shows(void **state) {
    (void)state;
    for (int labels = 1; labels <= 3; labels++)
        for (int wrong = -1; wrong < 5; wrong += 5) {
            classify_case k = open_case(labels, 0.1f, 1);
            rt_batch batch = k.batch;
            int32_t *label = rt_check_copy(k.c, RT_F32, k.batch.labels, ROWS);
            label[20] = wrong, batch.labels = label, k.a.batch = &batch;
            rt_check_ok(k.be->classify(k.be, &k.a), "classify");
            assert_true(isnan(*k.a.loss));
            for (int b = 0; b < ROWS; b++) assert_int_equal(isnan(k.a.row_loss[b]) != 0, b == 20);
            rt_check_close(k.c);
        }
}

/* More rows than a block has threads: summed in row order, as fp64 sums are on the CPU. */
static void many_rows(void **state) {
    (void)state;
    enum { MANY = 600 };
    static int lengths[MANY];
    for (int i = 0; i < MANY; i++) lengths[i] = 1;
    double loss[2];
    for (int device = 0; device < 2; device++) {
        rt_check *c = device ? rt_check_open(RT_PRECISION_FP32, 2, NULL) : cpu_open(RT_PRECISION_FP32, NULL);
        rt_backend *be = device ? rt_check_backend(c) : cpu_backend(c);
        rt_batch batch = case_batch(c, lengths, MANY, 10, 3);
        rt_classify_args a = {.batch = &batch,
                              .logits = rt_check_normal(c, RT_F32, 3 * MANY, 5, 2),
                              .loss = &loss[device],
                              .dlogits = rt_check_poison(c, RT_F32, 3 * MANY),
                              .labels = 3,
                              .with_labels = true};
        rt_check_ok(be->classify(be, &a), "classify");
        if (device)
            rt_check_close(c);
        else
            cpu_close(c);
    }
    /* Terms may differ by an ulp of exp or log; their sum by MANY roundings. */
    assert_true(fabs(loss[0] - loss[1]) <= MANY * 0x1p-52 * fabs(loss[0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(differences_agree),
        cmocka_unit_test(agrees_by_hand),
        cmocka_unit_test(shows_what_is_not_finite),
        cmocka_unit_test(takes_labels_that_are_ruled_out),
        cmocka_unit_test(empty_batch_and_wrong_values),
        cmocka_unit_test(a_label_that_is_none_shows),
        cmocka_unit_test(many_rows),
    };
    return emulated_main(tests, COUNT(tests));
}
