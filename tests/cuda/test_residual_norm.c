/* The CUDA residual_norm in the emulator: the CPU op's tests, then what is the GPU's own. */
#include "emulated.h"
/* The ops' own tests */
#include "../kernels/test_residual_norm.c"
#undef main
#include "launch.h"

/* Rows that a whole block holds (above 1,024 channels), and the widest that fits. */
static void takes_wide_rows(void **state) {
    (void)state;
    static const norm_case wide[] = {
        {"1032 wide", {3, 1, 9}, 3, 1032, RT_ROWS_TOKENS, 0.1f, true},
        {"2056 wide", {2, 5}, 2, 2056, RT_ROWS_TOKENS, 0.1f, true},
        {"8192 wide", {2, 3}, 2, 8192, RT_ROWS_FIRST, 0.1f, false},
    };
    for (size_t i = 0; i < COUNT(wide); i++)
        for (size_t p = 0; p < COUNT(case_precisions); p++) check_case(&wide[i], case_precisions[p]);
}

/* Beside the CPU's own results, with the same masks and the same sums but for their order. Values lie at 20 with a
 * deviation near 1, so a mean is off by 20 x 2^-24 of a deviation where the order of its sum differs; and then each
 * side rounds to the dtype. Twice that for either side. */
static void agrees_with_the_cpu(void **state) {
    (void)state;
    norm_case a = {"cpu", {48, 1, 17, 30}, 4, 384, RT_ROWS_TOKENS, 0.1f, true};
    rt_dims dims = dims_for(&a);
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        rt_check *c = rt_check_open(case_precisions[p], 3, &dims), *host = cpu_open(case_precisions[p], &dims);
        rt_dtype act = rt_check_backend(c)->act;
        norm_data mine = make(c, &a, act), theirs = make(host, &a, act);
        run_both(c, &mine, "emulated");
        theirs.f.batch = theirs.b.batch = &theirs.batch;
        rt_check_ok(cpu_backend(host)->residual_norm_forward(cpu_backend(host), &theirs.f), "cpu");
        rt_check_ok(cpu_backend(host)->residual_norm_backward(cpu_backend(host), &theirs.b), "cpu");
        const void *got[] = {mine.f.x, mine.f.y, mine.b.dx, mine.b.dresidual};
        const void *want[] = {theirs.f.x, theirs.f.y, theirs.b.dx, theirs.b.dresidual};
        for (int i = 0; i < 4; i++)
            rt_check_close_to("a tensor", act, got[i], rt_check_widen(c, act, want[i], mine.n), mine.n,
                              4 * (rt_check_roundoff(act) + 20 * 0x1p-24));
        for (size_t i = 0; i < mine.n; i++) /* a dropped element is exactly 0 on both, or on neither */
            assert_int_equal(rt_check_get(act, mine.b.dx, i) == 0, rt_check_get(act, theirs.b.dx, i) == 0);
        cpu_close(host);
        rt_check_close(c);
    }
}

static void refuses_wrong_shapes(void **state) {
    (void)state;
    norm_case a = {"shapes", {3, 2}, 2, 16, RT_ROWS_TOKENS, 0.1f, true};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    norm_data d = make(c, &a, RT_F32);
    d.f.batch = d.b.batch = &d.batch;
    const rt_cuda_launch l = {.act = RT_F32}; /* what is refused is refused before anything is touched */
    rt_residual_norm_forward_args f = d.f;
    f.hidden = 12;
    rt_check_fails(RT_ESHAPE, rt_cuda_residual_norm_forward_launch(&l, &f), "width 12");
    f.hidden = 8200;
    rt_check_fails(RT_ESHAPE, rt_cuda_residual_norm_forward_launch(&l, &f), "width 8200");
    f = d.f, f.dropout.p = 1;
    rt_check_fails(RT_ESHAPE, rt_cuda_residual_norm_forward_launch(&l, &f), "dropout 1");
    f = d.f, f.x = (char *)f.x + 4;
    rt_check_fails(RT_ESHAPE, rt_cuda_residual_norm_forward_launch(&l, &f), "alignment");
    rt_batch wrong = d.batch;
    wrong.bucket = 4, f = d.f, f.batch = &wrong;
    rt_check_fails(RT_ESHAPE, rt_cuda_residual_norm_forward_launch(&l, &f), "bucket below the tokens");
    rt_residual_norm_backward_args b = d.b;
    b.hidden = 0;
    rt_check_fails(RT_ESHAPE, rt_cuda_residual_norm_backward_launch(&l, &b), "width 0");
    b = d.b;
    rt_check_fails(RT_ESHAPE, rt_cuda_residual_norm_backward_launch(&l, &b), "no workspace");
    rt_check_untouched("y", d.f.y, d.n * 4);
    rt_check_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),     cmocka_unit_test(differences_agree),
        cmocka_unit_test(is_deterministic),     cmocka_unit_test(takes_an_empty_batch),
        cmocka_unit_test(takes_wide_rows),      cmocka_unit_test(agrees_with_the_cpu),
        cmocka_unit_test(refuses_wrong_shapes),
    };
    return emulated_main(tests, COUNT(tests));
}
