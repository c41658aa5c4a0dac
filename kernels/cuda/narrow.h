/* Linear layers with few outputs and fp32 results: a classifier's head on [B, H]. Their rows of y have no alignment
 * that a GEMM library likes, and no work that it could speed up. */
#ifndef RT_KERNELS_CUDA_NARROW_H
#define RT_KERNELS_CUDA_NARROW_H
#include "launch.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { RT_CUDA_NARROW_MAX = 32 }; /* outputs; the same bound as the CPU's */

/* Both read the f32 master weight in every precision; y, pre, dy, saved are f32. k is a multiple of 8. */
rt_status rt_cuda_narrow_forward_launch(const rt_cuda_launch *l, const rt_linear_forward_args *a);
/* The halves behind rt_cuda_epilogue_backward_launch, which has made dy into dz and summed db: dx (+ dx_add), dw.
 * partials: scratch of rt_cuda_narrow_partials(rows, n, k) floats for dw. */
rt_status rt_cuda_narrow_backward_launch(const rt_cuda_launch *l, const rt_linear_backward_args *a, float *partials);
int64_t rt_cuda_narrow_partials(int64_t rows, int64_t n, int64_t k);
/* At least that, for n outputs and any sizes up to these. */
int64_t rt_cuda_narrow_partials_most(int64_t rows, int64_t n, int64_t k);

#ifdef __cplusplus
}
#endif
#endif
