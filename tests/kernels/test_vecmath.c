/* The op files' elementary functions and dropout masks, as plain C (the vector forms go through the op tests). */
#include "kernels/cpu/ops/dropout_mask.h"
#include "kernels/cpu/ops/vecmath.h"
#include "tests/support/kernel_check.h"
#include <math.h>
#include <stdio.h>

static bool is_nan(float x) {
    return (rt_bits(x) & 0x7fffffffu) > 0x7f800000u;
}

/* Distance in units of the last place of `want` rounded to fp32. */
static double ulps(float got, double want) {
    const int exponent = want == 0 ? -126 : ilogb(want);
    return fabs((double)got - want) / ldexp(1, (exponent < -126 ? -126 : exponent) - 23);
}

static void exponential(void **state) {
    (void)state;
    double worst = 0;
    for (double x = -86.6; x < 88.7; x += 0.00037) {
        const float at = (float)x;
        worst = fmax(worst, ulps(rt_expf(at), exp((double)at)));
    }
    if (!(worst <= 1.0)) fail_msg("exp is off by %.3f ulp", worst);
    assert_true(rt_expf(0) == 1);
    assert_true(rt_expf(-87) == 0 && rt_expf(-1e30f) == 0 && rt_expf(-INFINITY) == 0);
    assert_true(isinf(rt_expf(88.8f)) && isinf(rt_expf(1e30f)) && isinf(rt_expf(INFINITY)));
    assert_true(is_nan(rt_expf(NAN)));
}

static void hyperbolic_tangent(void **state) {
    (void)state;
    double worst = 0;
    for (double x = -12; x < 12; x += 0.000071) {
        const float at = (float)x;
        worst = fmax(worst, ulps(rt_tanhf(at), tanh((double)at)));
    }
    for (double x = 1e-30; x < 1; x *= 1.01) worst = fmax(worst, ulps(rt_tanhf((float)x), tanh((double)(float)x)));
    if (!(worst <= 2.0)) fail_msg("tanh is off by %.3f ulp", worst);
    assert_true(rt_tanhf(INFINITY) == 1 && rt_tanhf(-INFINITY) == -1 && rt_tanhf(0) == 0);
    assert_true(is_nan(rt_tanhf(NAN)));
}

static void normal_distribution(void **state) {
    (void)state;
    for (double x = -13; x < 13; x += 0.000091) {
        const float at = (float)x;
        const double a = (double)at, want = 0.5 * erfc(-a / sqrt(2)), slope = exp(-0.5 * a * a) / sqrt(2 * M_PI);
        float cdf, density;
        rt_normal(at, &cdf, &density);
        if (!(fabs((double)cdf - want) <= 1e-7)) fail_msg("Phi(%.9g) = %.9g, not %.9g", a, (double)cdf, want);
        if (a < 0 && !(fabs((double)cdf / want - 1) <= 5e-7 * (1 + 0.5 * a * a)))
            fail_msg("tail Phi(%.9g) = %.9g, not %.9g", a, (double)cdf, want);
        if (!(fabs((double)density - slope) <= 1e-7))
            fail_msg("Phi'(%.9g) = %.9g, not %.9g", a, (double)density, slope);
    }
    assert_true(rt_gelu(0) == 0 && rt_gelu(20) == 20 && rt_gelu(-20) == 0 && is_nan(rt_gelu(NAN)));
    assert_true(rt_gelu_slope(20) == 1 && rt_gelu_slope(-20) == 0 && rt_gelu_slope(0) == 0.5f);
}

/* The masks' layout, word by word, from the generator itself. */
static void masks(void **state) {
    (void)state;
    const rt_step_state step = {.step = 5};
    const rt_dropout d = {.p = 0.1f, .site = 0xFF00, .view = 3, .seed = 0x0123456789ABCDEFu, .state = &step};
    const rt_mask mask = rt_mask_make(&d);
    assert_true(mask.on && mask.threshold == (uint32_t)((double)0.1f * 4294967296.0));
    float hidden[520], keys[528];
    rt_mask_hidden(hidden, &mask, 77, 9, 520);
    for (uint32_t c = 0; c < 520; c++) {
        const rt_philox4 w = rt_philox(5, 77, 0xFF000003u, 9u << 16 | c / 4, 0x89ABCDEFu, 0x01234567u);
        assert_true(hidden[c] == (w.v[c % 4] >= mask.threshold ? (float)(1 / (1 - (double)0.1f)) : 0));
    }
    rt_mask_attention(keys, &mask, 77, 2, 300, 515);
    static const uint32_t offset[4] = {0, 1, 8, 9};
    int kept = 0;
    for (uint32_t j = 0; j < 515 / 16; j++)
        for (uint32_t t = 0; t < 4; t++) {
            const rt_philox4 w =
                rt_philox(5, 77, 0xFF000003u, 2u << 24 | 300u << 12 | (4 * j + t), 0x89ABCDEFu, 0x01234567u);
            for (int n = 0; n < 4; n++) {
                const bool keep = w.v[n] >= mask.threshold;
                assert_int_equal(keys[16 * j + 2 * t + offset[n]] != 0, keep);
                kept += keep;
            }
        }
    assert_true(kept > 512 * 0.9 - 4 * sqrt(512 * 0.09) && kept < 512 * 0.9 + 4 * sqrt(512 * 0.09));
    assert_false(rt_mask_make(&(rt_dropout){.p = 0}).on);
    const rt_mask all = rt_mask_make(&(rt_dropout){.p = 1, .state = &step});
    assert_true(all.scale == 0);
}

int main(void) {
    const struct CMUnitTest vecmath[] = {
        cmocka_unit_test(exponential),
        cmocka_unit_test(hyperbolic_tangent),
        cmocka_unit_test(normal_distribution),
        cmocka_unit_test(masks),
    };
    return cmocka_run_group_tests(vecmath, NULL, NULL);
}
