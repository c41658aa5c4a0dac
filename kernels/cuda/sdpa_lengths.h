/* What cuDNN's attention wants beside q, k and v, made on the device from cu_seqlens (sdpa.cu): element offsets of the
 * sequences in q, k, v and out, which have rows of these strides; places beyond n_seqs repeat the total and have length
 * 0. Rows of out beyond the tokens become 0. */
#ifndef RT_KERNELS_CUDA_SDPA_LENGTHS_H
#define RT_KERNELS_CUDA_SDPA_LENGTHS_H
#include "launch.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const int32_t *cu_seqlens;
    int32_t n_seqs, places, bucket;
    int64_t strides[4];  /* q, k, v, out: elements */
    int64_t *offsets[4]; /* [places + 1] */
    int32_t *lengths;    /* [places] */
    void *out;           /* [bucket, width] bf16, out's stride */
    int64_t width;       /* a multiple of 8 */
} rt_cuda_sdpa_lengths_args;
rt_status rt_cuda_sdpa_lengths_launch(const rt_cuda_launch *l, const rt_cuda_sdpa_lengths_args *a);

#ifdef __cplusplus
}
#endif
#endif
