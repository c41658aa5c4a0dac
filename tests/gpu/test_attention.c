/* Attention on a GPU: the CPU op's tests where they fit (heads of 32, 64, 128), every tile size of the kernels, both
 * kinds of queries, and the same bits again. */
#include "../cuda/emulated.h"
/* The op's own tests */
#include "../kernels/test_attention.c"
#undef main

/* max_len chooses the tile: 16, 32, 64 or 128 keys at once, or 64 at a time. */
static const attention_case gpu_cases[] = {
    {"one token, 64", {1, 1}, 2, 3, 64, RT_ROWS_TOKENS, 0.1f},
    {"titles, 32", {11, 16, 1, 15, 2, 9, 16, 16, 3, 8}, 10, 12, 32, RT_ROWS_TOKENS, 0.1f},
    {"titles, 64", {11, 16, 1, 15, 2, 9, 16, 16, 3, 8}, 10, 12, 64, RT_ROWS_TOKENS, 0.3f},
    {"titles, 128", {9, 16, 1}, 3, 3, 128, RT_ROWS_TOKENS, 0.1f},
    {"pairs, 32", {28, 32, 1, 17, 31, 16}, 6, 12, 32, RT_ROWS_TOKENS, 0.1f},
    {"pairs, 64", {28, 32, 1, 17, 31, 16}, 6, 12, 64, RT_ROWS_TOKENS, 0},
    {"pairs, 64, dropout", {28, 32, 1, 17, 31, 16}, 6, 12, 64, RT_ROWS_TOKENS, 0.1f},
    {"pairs, 128", {28, 32, 1, 17}, 4, 6, 128, RT_ROWS_TOKENS, 0.1f},
    {"longer, 32", {50, 64, 3, 33}, 4, 12, 32, RT_ROWS_TOKENS, 0.1f},
    {"longer, 64", {63, 64, 1, 33, 48}, 5, 12, 64, RT_ROWS_TOKENS, 0.1f},
    {"longer, 128", {50, 64, 3, 33}, 4, 2, 128, RT_ROWS_TOKENS, 0.1f},
    {"mixed, 32", {1, 2, 15, 16, 17, 48, 127, 128}, 8, 3, 32, RT_ROWS_TOKENS, 0.3f},
    {"mixed, 64", {1, 2, 15, 16, 17, 48, 127, 128, 11}, 9, 12, 64, RT_ROWS_TOKENS, 0},
    {"mixed, 64, dropout", {128, 1, 48, 17, 127, 2, 16, 15, 3}, 9, 12, 64, RT_ROWS_TOKENS, 0.1f},
    {"mixed, 128", {17, 48, 1, 65, 128, 100}, 6, 2, 128, RT_ROWS_TOKENS, 0.1f},
    {"long, 32", {200, 3, 512}, 3, 2, 32, RT_ROWS_TOKENS, 0.1f},
    {"long, 64", {512, 3, 300}, 3, 2, 64, RT_ROWS_TOKENS, 0.1f},
    {"long, 64, no dropout", {1, 129, 192}, 3, 2, 64, RT_ROWS_TOKENS, 0},
    {"long, 128", {512, 1, 129}, 3, 1, 128, RT_ROWS_TOKENS, 0.1f},
    {"first, 32", {512, 1, 2, 15, 16, 17, 48, 127, 128}, 9, 4, 32, RT_ROWS_FIRST, 0.1f},
    {"first, 64", {1, 2, 15, 16, 17, 48, 127, 128, 512}, 9, 2, 64, RT_ROWS_FIRST, 0},
    {"first, 64, dropout", {3, 0, 28, 512, 9}, 5, 3, 64, RT_ROWS_FIRST, 0.1f},
    {"first, 128", {40, 1, 0, 300}, 4, 3, 128, RT_ROWS_FIRST, 0.2f},
};

static void gpu_agrees_with_fp64(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(gpu_cases); i++)
        for (size_t p = 0; p < COUNT(case_precisions); p++) check_case(&gpu_cases[i], case_precisions[p]);
}

/* Blocks run in another order each time; no bit may hang on it. */
static void gpu_repeats_its_bits(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(gpu_cases); i++) {
        const attention_case *a = &gpu_cases[i];
        rt_dims dims = dims_for(a);
        rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, &dims);
        attention_data d = make(c, a, RT_BF16, 1);
        void *first[4] = {0};
        for (int round = 0; round < 5; round++) {
            run_both(c, &d, a->name);
            void *now[] = {d.args.f.out, d.args.dq, d.args.dk, d.args.dv};
            for (int t = 0; t < 4; t++) {
                const size_t n = (t < 2 ? d.rows : d.tokens) * d.stride;
                if (!round)
                    first[t] = rt_check_copy(c, RT_BF16, now[t], n);
                else
                    rt_check_same(a->name, RT_BF16, now[t], first[t], n);
            }
        }
        rt_check_close(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpu_agrees_with_fp64),       cmocka_unit_test(survives_large_scores),
        cmocka_unit_test(differences_agree),          cmocka_unit_test(is_deterministic),
        cmocka_unit_test(needs_no_lse_in_evaluation), cmocka_unit_test(gpu_repeats_its_bits),
    };
    return emulated_main(tests, COUNT(tests));
}
