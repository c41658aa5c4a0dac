/* The CUDA dropout masks in the emulator: bit-equal to the reference, to the committed vectors and to the CPU's. */
#include "emulated.h"
/* The ops' own tests */
#include "../kernels/test_dropout.c"
#undef main

/* The op's results beside the CPU's, bit for bit: x times 0 or the scale, rounded once. Many sequences, some empty, so
 * that the search for a token's sequence takes more than one round. */
static void results_equal_the_cpu(void **state) {
    (void)state;
    enum { MANY = 1100, SIZE = 8 };
    static int sizes[MANY];
    for (int i = 0; i < MANY; i++) sizes[i] = i % 7 == 3 ? 0 : 1 + i % 3;
    for (int precision = 0; precision < 2; precision++) {
        rt_dims dims = {
            .max_tokens = 4096, .max_seqs = MANY, .max_len = 64, .hidden = SIZE, .heads = 1, .training = true};
        rt_check *c = rt_check_open(case_precisions[precision], 5, &dims);
        rt_check *host = cpu_open(case_precisions[precision], &dims);
        rt_backend *be[2] = {rt_check_backend(c), cpu_backend(host)};
        rt_dtype act = be[0]->act;
        rt_batch batch = case_batch(c, sizes, MANY, 10, 2);
        rt_dropout drop = case_dropout(c, 0.3f, RT_SITE_POOLED);
        size_t n = (size_t)batch.n_tokens * SIZE;
        void *x = rt_check_normal(c, act, MANY * SIZE, 1, 1), *pooled[2], *z[2];
        for (int i = 0; i < 2; i++) {
            pooled[i] = rt_check_poison(c, act, MANY * SIZE), z[i] = filled(c, act, n, 1);
            rt_dropout_args d = {.batch = &batch, .x = x, .y = pooled[i], .dropout = drop, .hidden = SIZE};
            rt_check_ok(be[i]->dropout(be[i], &d), "dropout");
            rt_residual_norm_forward_args r = {.batch = &batch,
                                               .rows = RT_ROWS_TOKENS,
                                               .x = z[i],
                                               .residual = filled(c, act, n, 0),
                                               .gamma = filled(c, RT_F32, SIZE, 1),
                                               .beta = filled(c, RT_F32, SIZE, 0),
                                               .eps = 1e-12f,
                                               .dropout = drop,
                                               .y = rt_check_poison(c, act, n),
                                               .mean = rt_check_poison(c, RT_F32, (size_t)batch.n_tokens),
                                               .rstd = rt_check_poison(c, RT_F32, (size_t)batch.n_tokens),
                                               .hidden = SIZE};
            rt_check_ok(be[i]->residual_norm_forward(be[i], &r), "residual_norm");
        }
        rt_check_same("dropout", act, pooled[0], pooled[1], MANY * SIZE);
        rt_check_same("z", act, z[0], z[1], n);
        cpu_close(host);
        rt_check_close(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_equal_the_reference),
        cmocka_unit_test(masks_equal_the_vectors),
        cmocka_unit_test(threshold_is_kept),
        cmocka_unit_test(results_equal_the_cpu),
        cmocka_unit_test(edges),
    };
    return emulated_main(tests, COUNT(tests));
}
