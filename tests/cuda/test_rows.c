/* The CUDA row ops in the emulator: the CPU ops' tests, and an empty batch. */
#include "emulated.h"
/* The ops' own tests */
#include "../kernels/test_rows.c"
#undef main

static void empty_batch_and_wrong_shapes(void **state) {
    (void)state;
    for (int seed = 0; seed < 2; seed++) { /* with an odd one a bucket of 64 rows without a token */
        rows_case r = open_case(RT_PRECISION_FP32, 8, 2);
        rt_check *c = rt_check_open(RT_PRECISION_FP32, seed, NULL);
        rt_backend *be = rt_check_backend(c);
        rt_batch empty = case_batch(c, lengths, 0, 10, 2);
        char nothing[4] = {0}, more[4] = {0};
        rt_rows_forward_args f = {.batch = &empty, .x = nothing, .y = more, .hidden = 8};
        rt_rows_backward_args b = {.batch = &empty, .dy = nothing, .dx = more, .hidden = 8};
        rt_check_ok(be->select_rows_forward(be, &f), "empty");
        rt_check_ok(be->mean_rows_forward(be, &f), "empty");
        rt_check_ok(be->select_rows_backward(be, &b), "empty");
        rt_check_ok(be->mean_rows_backward(be, &b), "empty");
        f.hidden = b.hidden = 12;
        rt_check_fails(RT_ESHAPE, be->select_rows_forward(be, &f), "width");
        rt_check_fails(RT_ESHAPE, be->mean_rows_forward(be, &f), "width");
        rt_check_fails(RT_ESHAPE, be->select_rows_backward(be, &b), "width");
        rt_check_fails(RT_ESHAPE, be->mean_rows_backward(be, &b), "width");
        rt_check_close(c);
        rt_check_close(r.c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(selects_exactly),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(empty_batch_and_wrong_shapes),
    };
    return emulated_main(tests, COUNT(tests));
}
