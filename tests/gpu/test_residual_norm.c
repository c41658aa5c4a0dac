/* Bias, dropout, residual and LayerNorm on a GPU: the CPU op's tests, wide rows, and results beside the CPU's. */
#include "../cuda/emulated.h"
/* The op's own tests */
#include "../kernels/test_residual_norm.c"
#undef main

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(differences_agree),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(takes_an_empty_batch),
    };
    return emulated_main(tests, COUNT(tests));
}
