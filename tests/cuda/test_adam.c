/* The CUDA optimizer, norm and conversion in the emulator: the CPU ops' tests, then what is the GPU's own. */
#include "emulated.h"
/* The ops' own tests */
#include "../kernels/test_adam.c"
#undef main

/* More ranges than a block keeps at once, some of them empty, long ones beside short ones; every element is updated
 * once, as the CPU does it but for the rounding of fused products: two units in the last place of a step. */
static void many_ranges(void **state) {
    (void)state;
    enum { RANGES = 1500, LONG = 9000 };
    static rt_adam_range table[RANGES];
    int64_t at = 0;
    for (int i = 0; i < RANGES; i++) {
        int64_t count = i == 700 || i == 1400 ? LONG : i % 11;
        table[i] = (rt_adam_range){at, at, count, 1 + 0.001f * (float)(i % 100), i % 2 ? 0.01f : 0};
        at += count + (i % 3 ? 0 : 4 - at % 4);
    }
    const size_t n = (size_t)at;
    for (int seed = 0; seed < 3; seed++) {
        rt_check *c = rt_check_open(RT_PRECISION_FP32, seed, NULL), *host = cpu_open(RT_PRECISION_FP32, NULL);
        rt_backend *be[2] = {rt_check_backend(c), cpu_backend(host)};
        float *p[2], *m[2], *v[2], *g = rt_check_normal(c, RT_F32, n, 4, 0.01);
        for (int i = 0; i < 2; i++) {
            p[i] = rt_check_normal(c, RT_F32, n, 1, 1), m[i] = rt_check_normal(c, RT_F32, n, 2, 0.01);
            v[i] = rt_check_normal(c, RT_F32, n, 3, 1e-4);
            for (size_t j = 0; j < n; j++) v[i][j] = fabsf(v[i][j]);
            rt_step_state s = {.lr = 1e-3f, .bias1 = 0.5f, .bias2 = 0.1f, .clip_norm = 1, .grad_sq = 4, .skipped = 5};
            rt_check_ok(be[i]->adamw(be[i], &(rt_adamw_args){.params = p[i],
                                                             .grads = g,
                                                             .m = m[i],
                                                             .v = v[i],
                                                             .ranges = table,
                                                             .n_ranges = RANGES,
                                                             .beta1 = 0.9,
                                                             .beta2 = 0.999,
                                                             .epsilon = 1e-8f,
                                                             .state = &s}),
                        "adamw");
            assert_int_equal(s.skipped, 0);
        }
        for (size_t j = 0; j < n; j++) {
            /* m and v are sums of two products, each rounded; the step is at most lr / bias1 times a few. */
            assert_true(fabs((double)m[0][j] - (double)m[1][j]) <= 0x1p-22 * (fabs((double)m[1][j]) + 0.02));
            assert_true(fabs((double)v[0][j] - (double)v[1][j]) <= 0x1p-22 * fabs((double)v[1][j]));
            assert_true(fabs((double)p[0][j] - (double)p[1][j]) <= 0x1p-22 * (fabs((double)p[1][j]) + 0.1));
        }
        cpu_close(host);
        rt_check_close(c);
    }
}

static void nothing_to_do(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, NULL);
    rt_backend *be = rt_check_backend(c);
    rt_step_state s = {.lr = 1, .bias1 = 1, .bias2 = 1, .skipped = 1};
    rt_check_ok(be->adamw(be, &(rt_adamw_args){.state = &s}), "adamw of nothing");
    assert_int_equal(s.skipped, 0);
    rt_check_fails(RT_ESHAPE, be->adamw(be, &(rt_adamw_args){.n_ranges = -1, .state = &s}), "-1 ranges");
    rt_check_close(c);
}

/* Rounding to nearest even, all of it; a NaN stays one. Lengths around eight, and a pointer that is not aligned. */
static void conversions(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, NULL);
    rt_backend *be = rt_check_backend(c);
    enum { ALL = 65536 };
    rt_bf16 *narrow = rt_check_poison(c, RT_BF16, ALL), *back = rt_check_poison(c, RT_BF16, ALL);
    uint32_t *bits = rt_check_buffer(c, ALL * sizeof *bits);
    for (int i = 0; i < ALL; i++) narrow[i] = (rt_bf16)i;
    rt_check_ok(be->convert(be, bits, RT_F32, narrow, RT_BF16, ALL), "widen");
    for (uint32_t i = 0; i < ALL; i++) assert_int_equal(bits[i], i << 16);
    const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    for (int l = 0; l < 6; l++) {
        for (uint32_t i = 0; i < ALL; i++) bits[i] = i << 16 | low[l];
        rt_check_ok(be->convert(be, back, RT_BF16, bits, RT_F32, ALL), "narrow");
        for (uint32_t i = 0; i < ALL; i++) {
            const bool nan = (i & 0x7fff) > 0x7f80 || ((i & 0x7fff) == 0x7f80 && low[l]);
            if (nan)
                assert_true((back[i] & 0x7fff) > 0x7f80);
            else
                assert_int_equal(back[i], i + (low[l] > 0x8000 || (low[l] == 0x8000 && (i & 1))));
        }
    }
    for (size_t n = 0; n < 35; n++) {
        float from[40], to[40] = {0};
        for (int i = 0; i < 40; i++) from[i] = (float)(i + 1);
        rt_check_ok(be->convert(be, to, RT_F32, from, RT_F32, n), "copy");
        for (size_t i = 0; i < 40; i++) assert_true(to[i] == (i < n ? from[i] : 0));
    }
    rt_check_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(many_ranges),
        cmocka_unit_test(sum_squares),
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(conversions),
        cmocka_unit_test(share_of_moments),
    };
    return emulated_main(tests, sizeof tests / sizeof *tests);
}
