/* The CUDA embeddings in the emulator: the CPU op's tests, then what is the GPU's own. */
#include "emulated.h"
/* The ops' own tests */
#include "../kernels/test_embed.c"
#undef main

static void takes_wide_rows(void **state) {
    (void)state;
    static const embed_case wide[] = {{"1032 wide", {3, 1, 9}, 3, 1032, 12, 0.1f}, {"2056 wide", {4}, 1, 2056, 3, 0}};
    for (size_t i = 0; i < COUNT(wide); i++)
        for (size_t p = 0; p < COUNT(case_precisions); p++) check_case(&wide[i], case_precisions[p]);
}

/* In fp32 the CPU adds a word's rows, and a position's, in the same order; only what they add differs, by the order of
 * the sums over a row. */
static void agrees_with_the_cpu(void **state) {
    (void)state;
    embed_case a = {"cpu", {48, 1, 17, 30}, 4, 384, 20, 0.1f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 3, &dims), *host = cpu_open(RT_PRECISION_FP32, &dims);
    embed_data mine = make(c, &a, RT_F32), theirs = make(host, &a, RT_F32);
    run_both(c, &mine, "emulated");
    theirs.f.batch = theirs.b.batch = &theirs.batch;
    rt_check_ok(cpu_backend(host)->embed_forward(cpu_backend(host), &theirs.f), "cpu");
    rt_check_ok(cpu_backend(host)->embed_backward(cpu_backend(host), &theirs.b), "cpu");
    const float *got[] = {mine.f.y, mine.b.dy, mine.b.dword, mine.b.dposition, mine.b.dtype};
    const float *want[] = {theirs.f.y, theirs.b.dy, theirs.b.dword, theirs.b.dposition, theirs.b.dtype};
    const size_t sizes[] = {mine.n, mine.n, 20 * 384, POSITIONS * 384, TYPES * 384};
    for (int i = 0; i < 5; i++)
        rt_check_close_to("a tensor", RT_F32, got[i], rt_check_widen(c, RT_F32, want[i], sizes[i]), sizes[i],
                          rt_check_limit(RT_F32, 96)); /* the most rows of one sum */
    for (size_t i = 0; i < mine.n; i++) assert_int_equal(got[0][i] == 0, want[0][i] == 0);
    cpu_close(host);
    rt_check_close(c);
}

static void refuses_what_the_host_can_see(void **state) {
    (void)state;
    embed_case a = {"shapes", {30, 5}, 2, 16, 9, 0.1f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    embed_data d = make(c, &a, RT_F32);
    d.f.batch = &d.batch;
    rt_embed_forward_args f = d.f;
    f.hidden = 20;
    rt_check_fails(RT_ESHAPE, be->embed_forward(be, &f), "width");
    REFUSES(x.hidden = 12);
    REFUSES(x.max_positions = 29);
    REFUSES(x.dropout.p = -0.1f);
    REFUSES(batch.sorted_tokens = NULL);
    rt_check_untouched("dword", d.b.dword, 9 * 16 * 4);
    rt_check_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(differences_agree),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(takes_an_empty_batch),
        cmocka_unit_test(takes_wide_rows),
        cmocka_unit_test(agrees_with_the_cpu),
        cmocka_unit_test(refuses_what_the_host_can_see),
    };
    return emulated_main(tests, COUNT(tests));
}
