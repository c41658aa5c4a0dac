/* Matrix products by oneDNN; gemm.c is the one file that knows it. */
#ifndef RT_KERNELS_GEMM_H
#define RT_KERNELS_GEMM_H
#include "cpu.h"

/* c[m, n] = or += a b + bias. Row-major, dense. fp32 inside whatever the dtypes, rounded once. */
typedef struct {
    int64_t m, n, k;
    const void *a, *b;
    bool a_transposed; /* a is stored [k, m] instead of [m, k] */
    bool b_transposed; /* b is stored [n, k] instead of [k, n] */
    rt_dtype in, out;  /* of a and b, of c; bf16 only where rt_gemm_native_bf16 */
    const float *bias; /* [n] or NULL */
    void *c;
    bool accumulate;
} rt_gemm_args;

/* One for each backend. `cap` keeps oneDNN at `isa`; it must come before oneDNN's first use in this process, so a
 * second backend with another cap is RT_EUNAVAILABLE. Sets the OpenMP thread count of the calling thread, here and in
 * every run: oneDNN takes it from there. */
rt_status rt_gemm_open(rt_isa isa, bool cap, int threads, rt_gemm **out);
void rt_gemm_close(rt_gemm *gemm);
/* m, n, k >= 1. The first product of a shape makes a primitive (0.05 to 4 ms); up to 1024 are kept. */
rt_status rt_gemm_run(rt_gemm *gemm, const rt_gemm_args *args);
/* "oneDNN 2.6.3", for the log. */
void rt_gemm_describe(const rt_gemm *gemm, char *to, size_t size);

#endif
