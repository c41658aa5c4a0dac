/* Learning rates against the formulas of Hugging Face's schedules, written out here a second time; spans. */
#include "tests/data/files.h"
#include "train/train.h"
#include <math.h>

/* transformers: get_linear_schedule_with_warmup's lambda, in doubles. */
static double linear(double step, double warmup, double total) {
    if (step < warmup) return step / fmax(1, warmup);
    return fmax(0, (total - step) / fmax(1, total - warmup));
}

/* transformers: get_cosine_schedule_with_warmup's, half a wave. */
static double cosine(double step, double warmup, double total) {
    if (step < warmup) return step / fmax(1, warmup);
    double progress = (step - warmup) / fmax(1, total - warmup);
    return fmax(0, 0.5 * (1 + cos(M_PI * 0.5 * 2 * progress)));
}

static void near(double a, double b) {
    /* The same few operations in doubles, perhaps in another order: a few units of the last place. */
    if (!(fabs(a - b) <= 1e-15 * 8)) fail_msg("%.17g is not %.17g", a, b);
}

static void formulas(void **state) {
    (void)state;
    const uint64_t totals[] = {1, 2, 7, 100, 1000}, warmups[] = {0, 1, 3, 10, 100};
    for (int t = 0; t < 5; t++)
        for (int w = 0; w < 5; w++) {
            uint64_t total = totals[t], warmup = warmups[w] > total ? total : warmups[w];
            for (uint64_t s = 0; s < total; s++) {
                near(rt_schedule_lr(RT_SCHEDULE_LINEAR, 1, s, warmup, total),
                     linear((double)s, (double)warmup, (double)total));
                near(rt_schedule_lr(RT_SCHEDULE_COSINE, 1, s, warmup, total),
                     cosine((double)s, (double)warmup, (double)total));
                near(rt_schedule_lr(RT_SCHEDULE_CONSTANT, 1, s, warmup, total),
                     s < warmup ? (double)s / (double)warmup : 1);
            }
        }
}

static void landmarks(void **state) {
    (void)state;
    for (int k = RT_SCHEDULE_CONSTANT; k <= RT_SCHEDULE_COSINE; k++) {
        assert_true(rt_schedule_lr((rt_schedule)k, 2e-5, 0, 10, 100) == 0); /* the first step of a warm-up */
        assert_true(rt_schedule_lr((rt_schedule)k, 2e-5, 5, 10, 100) == 1e-5);
        assert_true(rt_schedule_lr((rt_schedule)k, 2e-5, 10, 10, 100) == 2e-5);
        assert_true(rt_schedule_lr((rt_schedule)k, 2e-5, 0, 0, 100) == 2e-5); /* no warm-up: the first step counts */
    }
    assert_true(rt_schedule_lr(RT_SCHEDULE_LINEAR, 1, 99, 0, 100) > 0);
    assert_true(rt_schedule_lr(RT_SCHEDULE_LINEAR, 1, 100, 0, 100) == 0);
    assert_true(rt_schedule_lr(RT_SCHEDULE_LINEAR, 1, 500, 0, 100) == 0);
    assert_true(rt_schedule_lr(RT_SCHEDULE_COSINE, 1, 500, 0, 100) == 0);
    near(rt_schedule_lr(RT_SCHEDULE_COSINE, 1, 55, 10, 100), 0.5);
}

static void warmup_steps(void **state) {
    (void)state;
    assert_int_equal(rt_schedule_warmup_steps(0, 100), 0);
    assert_int_equal(rt_schedule_warmup_steps(0.1, 100), 10);
    assert_int_equal(rt_schedule_warmup_steps(0.1, 109), 10); /* int(): cut, not rounded */
    assert_int_equal(rt_schedule_warmup_steps(0.1, 5), 0);
    assert_int_equal(rt_schedule_warmup_steps(0.06, 1234), 74);
    assert_int_equal(rt_schedule_warmup_steps(0.999, 10), 9);
    assert_int_equal(rt_schedule_warmup_steps(1, 100), 1); /* from 1 on: steps */
    assert_int_equal(rt_schedule_warmup_steps(250, 100), 250);
}

static void spans(void **state) {
    (void)state;
    rt_every never = {0, RT_EVERY_STEPS}, three = {3, RT_EVERY_STEPS}, epoch = {1, RT_EVERY_EPOCHS};
    rt_every half = {0.5, RT_EVERY_EPOCHS}, odd = {2.5, RT_EVERY_STEPS}, minutes = {1, RT_EVERY_MINUTES};
    rt_every tiny = {0.001, RT_EVERY_EPOCHS};
    int n_three = 0, n_epoch = 0, n_half = 0, n_odd = 0, n_tiny = 0;
    for (uint64_t b = 1; b <= 30; b++) {
        assert_false(rt_every_due(never, b - 1, b, 10));
        assert_false(rt_every_due(minutes, b - 1, b, 10)); /* the clock's business */
        assert_int_equal(rt_every_due(three, b - 1, b, 10), b % 3 == 0);
        assert_int_equal(rt_every_due(epoch, b - 1, b, 10), b % 10 == 0);
        assert_int_equal(rt_every_due(half, b - 1, b, 10), b % 5 == 0);
        n_three += rt_every_due(three, b - 1, b, 10);
        n_epoch += rt_every_due(epoch, b - 1, b, 7); /* an epoch of 7 steps */
        n_half += rt_every_due(half, b - 1, b, 7);   /* 3.5 steps: every boundary once */
        n_odd += rt_every_due(odd, b - 1, b, 10);
        n_tiny += rt_every_due(tiny, b - 1, b, 10); /* no finer than a step */
    }
    assert_int_equal(n_three, 10);
    assert_int_equal(n_epoch, 4);
    assert_int_equal(n_half, 8);
    assert_int_equal(n_odd, 12);
    assert_int_equal(n_tiny, 30);
    assert_true(rt_every_due(three, 4, 11, 10)); /* several steps at once */
    assert_false(rt_every_due(three, 6, 8, 10));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formulas),
        cmocka_unit_test(landmarks),
        cmocka_unit_test(warmup_steps),
        cmocka_unit_test(spans),
    };
    return cmocka_run_group_tests_name("schedule", tests, make_folder, drop_folder);
}
