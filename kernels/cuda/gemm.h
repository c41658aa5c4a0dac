/* Matrix products by cuBLASLt. One file (gemm_cublaslt.c) knows the library. */
#ifndef RT_KERNELS_CUDA_GEMM_H
#define RT_KERNELS_CUDA_GEMM_H
#include "cuda.h"

/* c [m, n] = (or +=) op(a) op(b) (+ bias), row-major and dense: op(a) is [m, k], op(b) is [k, n]; a transposed operand
 * stands in memory as [k, m] or [n, k]. Accumulated in fp32; RT_PRECISION_TF32 rounds fp32 operands to TF32. */
typedef struct {
    int64_t m, n, k;
    const void *a, *b;
    bool a_transposed, b_transposed;
    rt_dtype in;       /* of a and b */
    rt_dtype out;      /* of c */
    const float *bias; /* [n], added to every row; NULL: none; not with accumulate. Only where the library's epilogue
                          is exact: fp32 results, or one rounding to bf16 after the bias */
    void *c;
    bool accumulate;
} rt_cuda_gemm_args;

/* The library's workspace: 32 MiB from sm_90 on, 4 MiB below. */
size_t rt_cuda_gemm_workspace(int architecture);
rt_status rt_cuda_gemm_open(const rt_cuda_context *cuda, rt_cuda_gemm **out);
void rt_cuda_gemm_close(rt_cuda_gemm *gemm);
/* The library's first answer for a shape is kept: the same shape always runs the same algorithm. */
rt_status rt_cuda_gemm_run(rt_cuda_context *cuda, const rt_cuda_gemm_args *args);
void rt_cuda_gemm_describe(const rt_cuda_gemm *gemm, char *to, size_t size);

#endif
