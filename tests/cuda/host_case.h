/* What tests of the backend's host files share: a context over the fakes and the emulator, without the table. Device
 * memory is host memory of the exact size, NaN when new; it may be looked at after host_wait. */
#ifndef RT_TEST_HOST_CASE_H
#define RT_TEST_HOST_CASE_H
#include "../support/fakes/cublaslt.h"
#include "../support/fakes/fake.h"
#include "../support/kernel_check.h"
#include "gemm.h"
#include <stdlib.h>
#include <string.h>

enum { HOST_GEMM_BYTES = 4096 }; /* the fake asks for all that it gets, and spoils it */

static inline rt_cuda_context *host_open(rt_precision precision, const rt_dims *dims, uint64_t seed) {
    rt_cuda_context *cuda = calloc(1, sizeof *cuda);
    cudaStream_t stream = NULL;
    void *workspace = NULL;
    assert_non_null(cuda);
    fake_reset();
    fake_seed(seed);
    *fake_cublaslt_settings() = (fake_cublaslt){.workspace_wanted = HOST_GEMM_BYTES};
    cuda->api.precision = precision, cuda->api.act = precision == RT_PRECISION_BF16 ? RT_BF16 : RT_F32;
    cuda->architecture = 90;
    rt_dims more = *dims;
    more.max_tokens += 64, more.max_seqs += 2;
    cuda->gemm_bytes = HOST_GEMM_BYTES, cuda->kernel_bytes = rt_cuda_kernel_workspace(&more);
    cuda->workspace_bytes =
        HOST_GEMM_BYTES + (cuda->kernel_bytes + 255) / 256 * 256 + rt_cuda_linear_bytes(cuda, &more);
    assert_int_equal(cudaMalloc(&workspace, cuda->workspace_bytes), cudaSuccess);
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    cuda->workspace = workspace;
    cuda->launch = (rt_cuda_launch){.stream = stream,
                                    .act = cuda->api.act,
                                    .workspace = cuda->workspace + HOST_GEMM_BYTES,
                                    .workspace_bytes = cuda->kernel_bytes,
                                    .processors = 2};
    rt_check_ok(rt_cuda_gemm_open(cuda, &cuda->gemm), "gemm_open");
    return cuda;
}

/* Waits; everything that broke a rule fails the test. */
static inline void host_wait(rt_cuda_context *cuda, const char *what) {
    assert_int_equal(cudaStreamSynchronize(cuda->launch.stream), cudaSuccess);
    rt_check_ok(fake_check(what), what);
}

static inline void host_close(rt_cuda_context *cuda) {
    char left[512] = "";
    host_wait(cuda, "at the end");
    rt_cuda_gemm_close(cuda->gemm);
    cudaFree(cuda->workspace), cudaStreamDestroy(cuda->launch.stream);
    free(cuda);
    rt_check_ok(fake_check("closing"), "closing");
    if (fake_leaks(left, sizeof left)) fail_msg("left behind: %s", left);
}

/* Device memory of the exact size, with the host's content; NaN where that is NULL. */
static inline void *host_device(const void *from, size_t bytes) {
    void *to = NULL;
    assert_int_equal(cudaMalloc(&to, bytes ? bytes : 16), cudaSuccess);
    if (from) memcpy(to, from, bytes);
    return to;
}

#endif
