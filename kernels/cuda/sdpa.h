/* cuDNN's attention beside ours: forward, in evaluation, for long sequences. The library is not linked: it is looked
 * for by name when the first batch that it may take comes, so that a machine without it runs our kernels alone.
 * attention_cudnn.c knows the library, attention.c chooses. */
#ifndef RT_KERNELS_CUDA_SDPA_H
#define RT_KERNELS_CUDA_SDPA_H
#include "cuda.h"
#include "sdpa_lengths.h"

/* The longest sequence of a batch from which on cuDNN is asked. Below, blocks of 64 or 128 queries are mostly empty and
 * a pass that makes offsets costs more than it gains: an estimate, not a measurement. */
enum { RT_CUDA_SDPA_LENGTH = 256 };

/* What library a context uses: never NULL after it, but perhaps one that takes nothing; `describe` says why. lookup
 * gives the library's functions by name; NULL: those of libcudnn.so.9, as the system finds it. RT_ENOMEM. */
typedef void *(*rt_cuda_sdpa_lookup)(const char *function);
rt_status rt_cuda_sdpa_open(rt_cuda_context *cuda, rt_cuda_sdpa_lookup lookup);
void rt_cuda_sdpa_close(rt_cuda_sdpa *sdpa);
/* "cuDNN 9.19.0: 2 plans", or why there is none. */
void rt_cuda_sdpa_describe(const rt_cuda_sdpa *sdpa, char *to, size_t size);

/* Whether a call is of the kind that cuDNN may compute: a function of its shapes and options and of the device's
 * architecture alone. bf16 on sm_80 or later; no dropout; all tokens ask; no log-sum-exp wanted (evaluation: cuDNN's
 * statistics have another layout than ours); width of a head 32, 64 or 128; max_len at least RT_CUDA_SDPA_LENGTH. */
bool rt_cuda_sdpa_may(const rt_cuda_context *cuda, const rt_attention_forward_args *a);
/* *done false: the library is not there, knows no deterministic engine for these sizes or wants more workspace than
 * there is; nothing was put on the stream. RT_EINTERNAL: it failed while putting its work there. */
rt_status rt_cuda_sdpa_forward(rt_cuda_context *cuda, const rt_attention_forward_args *a, bool *done);

#endif
