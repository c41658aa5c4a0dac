/* Matrix products by cuBLASLt. One file (gemm_cublaslt.c) knows the library. */
#ifndef RT_KERNELS_CUDA_GEMM_H
#define RT_KERNELS_CUDA_GEMM_H
#include "cuda.h"

/* c [m, n] = (or +=) op(a) op(b) (+ bias), row-major and dense: op(a) is [m, k], op(b) is [k, n]; a transposed operand
 * stands in memory as [k, m] or [n, k]. Accumulated in fp32; RT_PRECISION_TF32 rounds fp32 operands to TF32.
 * Pointers: aligned to 16 bytes at least, to 256 for the fastest kernels. k = 0: the product is 0. */
typedef struct {
    int64_t m, n, k;
    const void *a, *b;
    bool a_transposed, b_transposed;
    rt_dtype in;       /* of a and b */
    rt_dtype out;      /* of c: f32, or bf16 where in is bf16 */
    const float *bias; /* [n], added to every row; NULL: none; not with accumulate, and only where the library's
                          epilogue is exact: f32 results. A bf16 result's bias would have to be bf16 itself */
    void *c;
    bool accumulate;
    const void *addend; /* with accumulate: [m, n] of `out`, what the product is added to; NULL: c itself */
} rt_cuda_gemm_args;

/* The library's workspace: 32 MiB from sm_90 on, 4 MiB below. */
size_t rt_cuda_gemm_workspace(int architecture);
rt_status rt_cuda_gemm_open(const rt_cuda_context *cuda, rt_cuda_gemm **out);
void rt_cuda_gemm_close(rt_cuda_gemm *gemm);
/* The library's first answer for a shape is kept: the same shape always runs the same algorithm. RT_ESHAPE for
 * arguments that break the above; RT_EUNAVAILABLE where the library knows no algorithm; RT_ENOMEM; RT_EINTERNAL. */
rt_status rt_cuda_gemm_run(rt_cuda_context *cuda, const rt_cuda_gemm_args *args);
/* "cuBLASLt 13.1.0: 12 shapes kept, 12 asked for": the table's state for the log. */
void rt_cuda_gemm_describe(const rt_cuda_gemm *gemm, char *to, size_t size);

#endif
