/* The CUDA kernels in the emulator behind the CPU backend's table, so that the very tests of the ops (tests/kernels)
 * run against them: a program includes this, then the test's source, and has a main of its own.
 *
 * Every call copies its arguments into device memory of the exact size, with more rows than there are tokens (all that
 * is beyond is NaN), launches, looks at the rows beyond (finite in activations, zero in gradients) and at the guard
 * zones, and copies the results back. The number of "threads" that a test asks for is the seed of the emulator's order;
 * with an odd one the batch is given as a captured step would: n_seqs is the capacity. The bucket is one size larger
 * than it must be.
 */
#ifndef RT_TESTS_CUDA_EMULATED_H
#define RT_TESTS_CUDA_EMULATED_H
#include "../support/kernel_check.h"

rt_check *emulated_open(rt_precision precision, int threads, const rt_dims *dims);
rt_backend *emulated_backend(rt_check *c);
void emulated_close(rt_check *c);

/* Runs the tests in this process: the emulator has no instruction levels. On a GPU's machine (tests/gpu) over the
 * plugin; where there is no GPU every test is skipped, and says so. */
#ifdef RT_ON_GPU
int device_main(const char *group, const struct CMUnitTest *tests, size_t n);
#define emulated_main(tests, n) device_main(#tests, (tests), (n))
#else
#define emulated_main(tests, n) _cmocka_run_group_tests(#tests, (tests), (n), NULL, NULL)
#endif

#ifndef RT_EMULATED_ITSELF
/* The CPU backend, to compare with. */
static inline rt_check *cpu_open(rt_precision precision, const rt_dims *dims) {
    return rt_check_open(precision, 1, dims);
}
static inline rt_backend *cpu_backend(rt_check *c) {
    return rt_check_backend(c);
}
static inline void cpu_close(rt_check *c) {
    rt_check_close(c);
}
#define rt_check_open emulated_open
#define rt_check_backend emulated_backend
#define rt_check_close emulated_close
#define main main_of_the_cpu
#endif
#endif
