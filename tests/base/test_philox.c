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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
