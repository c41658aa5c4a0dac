/* The generator against the known answers of its authors, and the stream on top of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"

static void check(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1,
                  const uint32_t want[4]) {
    rt_philox4 got = rt_philox(c0, c1, c2, c3, k0, k1);
    for (int i = 0; i < 4; i++) assert_int_equal(got.v[i], want[i]);
}

/* Vectors for philox4x32-10 as published with Random123. */
static void known_answers(void **state) {
    (void)state;
    const uint32_t zero[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    const uint32_t ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    const uint32_t pi[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    const uint32_t f = 0xffffffff;
    check(0, 0, 0, 0, 0, 0, zero);
    check(f, f, f, f, f, f, ones);
    check(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, pi);
}

/* The stream is those same words in order, block after block. */
static void stream_is_the_counter(void **state) {
    (void)state;
    rt_rng rng = rt_rng_make(0x123456789abcdef0u, 0xFFF0, 42);
    for (uint32_t block = 0; block < 3; block++) {
        rt_philox4 want = rt_philox(block, 42, 0xFFF0u << 16, 0, 0x9abcdef0, 0x12345678);
        for (int i = 0; i < 4; i++) assert_int_equal(rt_rng_u32(&rng), want.v[i]);
    }
}

static void streams_differ(void **state) {
    (void)state;
    rt_rng a = rt_rng_make(1, 2, 3), b[] = {rt_rng_make(2, 2, 3), rt_rng_make(1, 3, 3), rt_rng_make(1, 2, 4)};
    uint32_t first = rt_rng_u32(&a);
    for (int i = 0; i < 3; i++) assert_int_not_equal(rt_rng_u32(&b[i]), first);
}

/* n draws of a uniform variable: the mean has a standard deviation of sqrt(1 / 12 / n), the second moment of
 * sqrt(4 / 45 / n); 5 sigma. The seed is fixed, so this passes always or never. */
static void unit_is_uniform(void **state) {
    (void)state;
    const int n = 1000000;
    rt_rng rng = rt_rng_make(7, 0, 0);
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        double u = rt_rng_unit(&rng);
        assert_true(u >= 0 && u < 1);
        sum += u, squares += u * u;
    }
    assert_true(fabs(sum / n - 0.5) < 5 * sqrt(1 / 12.0 / n));
    assert_true(fabs(squares / n - 1 / 3.0) < 5 * sqrt(4 / 45.0 / n));
}

/* Counts of a fair die: variance n p (1 - p); 5 sigma. A range near 2^32 shows the bias of a modulo at once. */
static void below_is_unbiased(void **state) {
    (void)state;
    const int n = 600000;
    int counts[6] = {0}, low = 0;
    rt_rng rng = rt_rng_make(8, 0, 0);
    for (int i = 0; i < n; i++) counts[rt_rng_below(&rng, 6)]++;
    for (int i = 0; i < 6; i++) assert_true(fabs(counts[i] - n / 6.0) < 5 * sqrt(n * 5 / 36.0));
    for (int i = 0; i < n; i++) low += rt_rng_below(&rng, 0xC0000000u) < 0x60000000u; /* half of the range */
    assert_true(fabs(low - n / 2.0) < 5 * sqrt(n / 4.0));
    assert_int_equal(rt_rng_below(&rng, 1), 0);
}

/* Mean: sigma 1 / sqrt(n); variance: sqrt(2 / n); fourth moment 3: sqrt(96 / n); 5 sigma. */
static void normal_moments(void **state) {
    (void)state;
    const int n = 400000;
    rt_rng rng = rt_rng_make(9, 0, 0);
    double m1 = 0, m2 = 0, m4 = 0;
    for (int i = 0; i < n; i++) {
        double x = rt_rng_normal(&rng);
        assert_true(isfinite(x));
        m1 += x, m2 += x * x, m4 += x * x * x * x;
    }
    assert_true(fabs(m1 / n) < 5 * sqrt(1.0 / n));
    assert_true(fabs(m2 / n - 1) < 5 * sqrt(2.0 / n));
    assert_true(fabs(m4 / n - 3) < 5 * sqrt(96.0 / n));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),   cmocka_unit_test(stream_is_the_counter), cmocka_unit_test(streams_differ),
        cmocka_unit_test(unit_is_uniform), cmocka_unit_test(below_is_unbiased),     cmocka_unit_test(normal_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
