/* The linear layer on a GPU, through cuBLASLt itself: the CPU op's tests but for those of its own limits. */
#include "../cuda/emulated.h"
/* The op's own tests */
#include "../kernels/test_linear.c"
#undef main

/* The sizes of BERT-base: the library's answers for them are others than for small ones. fp64 sums are taken of some
 * columns and rows only; twice the same bits of all. */
static void sizes_of_a_model(void **state) {
    (void)state;
    enum { ROWS = 1100 };
    static const int64_t sizes[][2] = {{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}};
    const rt_dims big = {.max_tokens = ROWS,
                         .max_seqs = 8,
                         .max_len = 512,
                         .hidden = 768,
                         .heads = 12,
                         .ffn = 3072,
                         .labels = 2,
                         .training = true};
    for (int p = 0; p < 2; p++)
        for (int s = 0; s < 4; s++) {
            const int64_t n = sizes[s][0], k = sizes[s][1];
            rt_check *c = rt_check_open(precisions[p], 2, &big);
            layer l = layer_make(c, ROWS, n, k, false, true);
            const size_t out = (size_t)(ROWS * n), in = (size_t)(ROWS * k);
            void *y[2], *dx[2];
            float *dw[2];
            const double *x = rt_check_widen(c, l.act, l.x, in);
            void *dy = rt_check_normal(c, l.act, out, 4, 1);
            const double *dz = rt_check_widen(c, l.act, dy, out);
            for (int i = 0; i < 2; i++) {
                y[i] = rt_check_poison(c, l.act, out), dx[i] = rt_check_poison(c, l.act, in);
                dw[i] = rt_check_poison(c, RT_F32, (size_t)(n * k));
                rt_check_ok(l.be->linear_forward(
                                l.be,
                                &(rt_linear_forward_args){
                                    .w = l.w, .bias = l.bias, .x = l.x, .y = y[i], .y_dtype = l.act, .rows = ROWS}),
                            "linear_forward");
                rt_check_ok(
                    l.be->linear_backward(
                        l.be,
                        &(rt_linear_backward_args){
                            .w = l.w, .x = l.x, .dy = dy, .dy_dtype = l.act, .dx = dx[i], .dw = dw[i], .rows = ROWS}),
                    "linear_backward");
            }
            rt_check_same("y", l.act, y[0], y[1], out);
            rt_check_same("dx", l.act, dx[0], dx[1], in);
            rt_check_same("dw", RT_F32, dw[0], dw[1], (size_t)(n * k));
            enum { SOME = 64 };
            double want[3][SOME], got[3][SOME];
            for (int64_t i = 0; i < SOME; i++) {
                const int64_t r = i * 17 % ROWS, j = i * 37 % n, q = i * 53 % k;
                want[0][i] = l.bias[j], want[1][i] = want[2][i] = 0;
                for (int64_t m = 0; m < k; m++) want[0][i] += x[r * k + m] * l.weight[j * k + m];
                for (int64_t m = 0; m < n; m++) want[1][i] += dz[r * n + m] * l.weight[m * k + q];
                for (int64_t m = 0; m < ROWS; m++) want[2][i] += dz[m * n + j] * x[m * k + q];
                got[0][i] = rt_check_get(l.act, y[0], (size_t)(r * n + j));
                got[1][i] = rt_check_get(l.act, dx[0], (size_t)(r * k + q)), got[2][i] = dw[0][j * k + q];
            }
            const int64_t terms[] = {k, n, ROWS};
            for (int i = 0; i < 3; i++) {
                double difference = 0, norm = 0;
                for (int m = 0; m < SOME; m++) {
                    difference += (got[i][m] - want[i][m]) * (got[i][m] - want[i][m]);
                    norm += want[i][m] * want[i][m];
                }
                const double limit = rt_check_limit(i < 2 ? l.act : RT_F32, terms[i]);
                if (!(sqrt(difference / norm) <= limit))
                    fail_msg("%s of %d x %d in %s: error %.3g, limit %.3g", i ? i == 1 ? "dx" : "dw" : "y", (int)n,
                             (int)k, p ? "bf16" : "fp32", sqrt(difference / norm), limit);
            }
            rt_check_close(c);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward),     cmocka_unit_test(backward), cmocka_unit_test(differences),
        cmocka_unit_test(activations), cmocka_unit_test(threads),  cmocka_unit_test(sizes_of_a_model),
    };
    return emulated_main(tests, sizeof tests / sizeof *tests);
}
