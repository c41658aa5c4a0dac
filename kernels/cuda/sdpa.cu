/* What cuDNN's attention wants beside q, k and v.
 *
 * sdpa_lengths: 32 blocks of 256 threads that walk over everything: element offsets and lengths of the sequences, and
 * the rows of out beyond the tokens, set to 0. bytes: reads cu_seqlens, writes 36 a place, and the dead rows. */
#include "common.cuh"
#include "sdpa_lengths.h"

enum { BLOCKS = 32, THREADS = 256 };

static __global__ void __launch_bounds__(THREADS, 1) sdpa_lengths_kernel(rt_cuda_sdpa_lengths_args a) {
    const int64_t first = (int64_t)blockIdx.x * THREADS + threadIdx.x, step = (int64_t)BLOCKS * THREADS;
    const int32_t tokens = a.n_seqs > 0 ? a.cu_seqlens[a.n_seqs] : 0;
    for (int64_t b = first; b <= a.places; b += step) {
        const int32_t at = b < a.n_seqs ? a.cu_seqlens[b] : tokens;
        a.offsets[0][b] = at * a.strides[0], a.offsets[1][b] = at * a.strides[1];
        a.offsets[2][b] = at * a.strides[2], a.offsets[3][b] = at * a.strides[3];
        if (b < a.places) a.lengths[b] = b < a.n_seqs ? a.cu_seqlens[b + 1] - at : 0;
    }
    const int64_t units = a.width / 8, dead = a.bucket > tokens ? a.bucket - tokens : 0;
    for (int64_t u = first; u < dead * units; u += step)
        rt_store8((rt_bf16 *)a.out + (tokens + u / units) * a.strides[3] + 8 * (u % units), rt_zero8());
}

extern "C" rt_status rt_cuda_sdpa_lengths_launch(const rt_cuda_launch *l, const rt_cuda_sdpa_lengths_args *a) {
    if (a->width % 8 || a->strides[3] % 8 || a->places < a->n_seqs || a->n_seqs < 0)
        return rt_fail(RT_ESHAPE, "sdpa_lengths: %d places for %d sequences, width %lld, stride %lld", a->places,
                       a->n_seqs, (long long)a->width, (long long)a->strides[3]);
    RT_CHECK_ALIGNED("sdpa_lengths", a->out);
    return rt_launch(sdpa_lengths_kernel, dim3(BLOCKS), dim3(THREADS), 0, l->stream, *a);
}
