/* Attention: ours, or cuDNN's where that may be the better one (sdpa.h says where). The choice hangs on shapes, options
 * and device alone, never on time, so that the same batch takes the same way again. Backward is always ours: cuDNN's
 * has no dropout of our kind, no deterministic mode for packed sequences on every card, and wants its own statistics.
 */
#include "sdpa.h"

rt_status rt_cuda_attention_forward(rt_backend *backend, const rt_attention_forward_args *a) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    bool done = false;
    if (rt_cuda_sdpa_may(cuda, a)) {
        if (!cuda->sdpa) RT_TRY(rt_cuda_sdpa_open(cuda, NULL));
        RT_TRY(rt_cuda_sdpa_forward(cuda, a, &done));
    }
    return done ? RT_OK : rt_cuda_attention_forward_launch(&cuda->launch, a);
}

rt_status rt_cuda_attention_backward(rt_backend *backend, const rt_attention_backward_args *a) {
    return rt_cuda_attention_backward_launch(&rt_cuda_of(backend)->launch, a);
}
