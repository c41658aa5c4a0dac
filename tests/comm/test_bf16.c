/* fp32 to bf16 and back: by hand, and every bf16 comes back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include "comm/bf16.h"
#include <cmocka.h>
#include <math.h>

static void by_hand(void **state) {
    (void)state;
    static const struct {
        float from;
        rt_bf16 to;
    } known[] = {
        {1.0f, 0x3F80},          {-2.5f, 0xC020},         {0x1.01p0f, 0x3F80},  {0x1.03p0f, 0x3F82},
        {0x1.010002p0f, 0x3F81}, {0x1.00fffep0f, 0x3F80}, {-0x1.03p0f, 0xBF82}, {0x1.fffffep127f, 0x7F80},
        {0x1.fep127f, 0x7F7F},   {-0.0f, 0x8000},         {0x1p-149f, 0x0000},  {0x1p-133f, 0x0001},
        {INFINITY, 0x7F80},      {-INFINITY, 0xFF80},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(rt_bf16_from(known[i].from), known[i].to);
}

static void there_and_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float x = rt_bf16_to((rt_bf16)h);
        if (isnan(x))
            assert_true(isnan(rt_bf16_to(rt_bf16_from(x))));
        else
            assert_int_equal(rt_bf16_from(x), h);
    }
    /* A NaN whose bits all lie in the lower half. */
    const uint32_t low = 0x7F800001u;
    float x;
    memcpy(&x, &low, sizeof x);
    assert_true(isnan(rt_bf16_to(rt_bf16_from(x))));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(there_and_back)};
    return cmocka_run_group_tests_name("bf16", tests, NULL, NULL);
}
