/* The CUDA backend from inside: what its host files (plain C) share. Kernels know nothing of it: they see launch.h.
 *
 * Streams. `launch.stream` runs the ops, one after the other; `copies` runs uploads, ordered against the ops by events
 * alone (memory.c). Nothing here waits for the device but synchronize, download, upload_wait and wait.
 *
 * Memory. All scratch is the one workspace that set_workspace gave, from its first byte: first cuBLASLt's own part
 * (gemm_bytes), then what kernels share, then the linear layer's. Ops run one after the other, so each may use all of
 * its part. Every part starts on 256 bytes. */
#ifndef RT_KERNELS_CUDA_H
#define RT_KERNELS_CUDA_H
#include "launch.h"
#include <cuda_runtime_api.h>
#include <pthread.h>

typedef struct rt_cuda_gemm rt_cuda_gemm; /* gemm.h */
typedef struct rt_cuda_sdpa rt_cuda_sdpa; /* sdpa.h: cuDNN's attention */

typedef struct {
    rt_backend api; /* first: a rt_backend pointer is a pointer to this */
    rt_cuda_launch launch;
    int device;       /* CUDA's ordinal */
    int architecture; /* 10 x major + minor of its compute capability: 75, 80, 90, ... */
    size_t memory_total;
    rt_dims dims; /* of set_workspace */
    unsigned char *workspace;
    size_t workspace_bytes, gemm_bytes, kernel_bytes;
    size_t linear_scratch; /* most bytes of rows that a linear layer does at once; 0: its own choice */
    rt_cuda_gemm *gemm;
    rt_cuda_sdpa *sdpa; /* NULL: our kernels alone */
    cudaStream_t copies;
    cudaEvent_t uploaded[RT_UPLOAD_SLOTS], released[RT_UPLOAD_SLOTS], marks[RT_MARKS];
    /* Bit i: slot i has been uploaded to; ops read it (use, no done yet); it has been released; mark i has been set. */
    unsigned was_uploaded, in_use, was_released, was_marked;
    pthread_t user; /* the thread whose current device is ours */
} rt_cuda_context;

static inline rt_cuda_context *rt_cuda_of(rt_backend *backend) {
    return (rt_cuda_context *)backend;
}

/* RT_OK, or the status of a CUDA error: RT_ENOMEM for memory, RT_EUNAVAILABLE for a missing device or an old driver,
 * else RT_EINTERNAL; the message says what was tried and CUDA's own words. Every call of the runtime goes through it.
 */
rt_status rt_cuda_check(cudaError_t error, const char *what);
#define RT_CUDA(call) RT_TRY(rt_cuda_check((call), #call))

/* memory.c: slots of the table. */
rt_status rt_cuda_alloc(rt_backend *backend, size_t bytes, const char *what, void **out);
void rt_cuda_release(rt_backend *backend, void *pointer, size_t bytes);
rt_status rt_cuda_alloc_host(rt_backend *backend, size_t bytes, const char *what, void **out);
void rt_cuda_release_host(rt_backend *backend, void *pointer, size_t bytes);
rt_status rt_cuda_upload(rt_backend *backend, void *to, const void *from_host, size_t bytes);
rt_status rt_cuda_download(rt_backend *backend, void *to_host, const void *from, size_t bytes);
rt_status rt_cuda_zero(rt_backend *backend, void *pointer, size_t bytes);
rt_status rt_cuda_upload_wait(rt_backend *backend, int slot);
rt_status rt_cuda_upload_start(rt_backend *backend, int slot, void *to, const void *from_host, size_t bytes);
rt_status rt_cuda_upload_use(rt_backend *backend, int slot);
rt_status rt_cuda_upload_done(rt_backend *backend, int slot);
rt_status rt_cuda_download_start(rt_backend *backend, void *to_host, const void *from, size_t bytes);
rt_status rt_cuda_mark(rt_backend *backend, int mark);
rt_status rt_cuda_wait(rt_backend *backend, int mark);
rt_status rt_cuda_synchronize(rt_backend *backend);
/* First in every slot: a thread's current device is its own, so a backend that changes threads sets it again. */
rt_status rt_cuda_enter(rt_cuda_context *cuda);

/* linear_products.c: slots of the table. */
rt_status rt_cuda_linear_forward(rt_backend *backend, const rt_linear_forward_args *a);
rt_status rt_cuda_linear_backward(rt_backend *backend, const rt_linear_backward_args *a);
size_t rt_cuda_packed_bytes(rt_backend *backend, int64_t n, int64_t k);
rt_status rt_cuda_pack(rt_backend *backend, const float *master, int64_t n, int64_t k, void *packed);
/* Bytes of scratch that the linear layers of these sizes need beside cuBLASLt's workspace and the kernels'. */
size_t rt_cuda_linear_bytes(const rt_cuda_context *cuda, const rt_dims *dims);

/* attention.c: slots of the table; they choose between our kernels and cuDNN. */
rt_status rt_cuda_attention_forward(rt_backend *backend, const rt_attention_forward_args *a);
rt_status rt_cuda_attention_backward(rt_backend *backend, const rt_attention_backward_args *a);

/* What rectrain-cuda.so exports, by backend_cuda.c and memory.c. RT_EUNAVAILABLE without a device, with an old driver
 * or an old GPU; RT_ECONFIG for a precision that the GPU does not compute. options->device: CUDA's ordinal; below 0:
 * the first. */
#define RT_CUDA_EXPORT __attribute__((visibility("default")))
RT_CUDA_EXPORT rt_status rt_cuda_backend_open(const rt_backend_options *options, rt_backend **out);
RT_CUDA_EXPORT extern const uint32_t rt_cuda_abi; /* RT_KERNELS_ABI of the plugin's build */
/* Bytes that alloc could give now, and all of the GPU's. */
RT_CUDA_EXPORT rt_status rt_cuda_memory(rt_backend *backend, size_t *left, size_t *total);

#endif
