/* The CUDA backend: which GPU, opening and closing, the workspace, the table of slots. */
#include "gemm.h"
#include "sdpa.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OLDEST = 75,      /* Turing, 2018: what nvcc 13 still compiles for */
    OLDEST_BF16 = 80, /* Ampere, 2020: bf16 and TF32 units */
    LONGEST = 512,    /* tokens of a sequence that the attention kernels hold in shared memory */
    PART = 256,       /* the workspace's parts start on so many bytes */
    HEADS_MOST = 256, /* what the dropout counter can tell apart */
};

const uint32_t rt_cuda_abi = RT_KERNELS_ABI;

static size_t rounded_up(size_t bytes) {
    return (bytes + PART - 1) / PART * PART;
}

/* --- ops: the launchers of launch.h, linear.c and attention.c ------------------------------------------------------
 */

#define OPS(X)                                                                                                         \
    X(embed_forward, rt_embed_forward_args)                                                                            \
    X(embed_backward, rt_embed_backward_args)                                                                          \
    X(residual_norm_forward, rt_residual_norm_forward_args)                                                            \
    X(residual_norm_backward, rt_residual_norm_backward_args)                                                          \
    X(select_rows_forward, rt_rows_forward_args)                                                                       \
    X(select_rows_backward, rt_rows_backward_args)                                                                     \
    X(mean_rows_forward, rt_rows_forward_args)                                                                         \
    X(mean_rows_backward, rt_rows_backward_args)                                                                       \
    X(dropout, rt_dropout_args)                                                                                        \
    X(classify, rt_classify_args)                                                                                      \
    X(sum_squares, rt_sum_squares_args)                                                                                \
    X(adamw, rt_adamw_args)
#define LAYERS(X)                                                                                                      \
    X(linear_forward, rt_linear_forward_args)                                                                          \
    X(linear_backward, rt_linear_backward_args)                                                                        \
    X(attention_forward, rt_attention_forward_args)                                                                    \
    X(attention_backward, rt_attention_backward_args)

#define X(name, args)                                                                                                  \
    static rt_status name(rt_backend *backend, const args *a) {                                                        \
        rt_cuda_context *cuda = rt_cuda_of(backend);                                                                   \
        RT_TRY(rt_cuda_enter(cuda));                                                                                   \
        return rt_cuda_##name##_launch(&cuda->launch, a);                                                              \
    }
OPS(X)
#undef X
#define X(name, args)                                                                                                  \
    static rt_status name(rt_backend *backend, const args *a) {                                                        \
        RT_TRY(rt_cuda_enter(rt_cuda_of(backend)));                                                                    \
        return rt_cuda_##name(backend, a);                                                                             \
    }
LAYERS(X)
#undef X

static rt_status pack(rt_backend *backend, const float *master, int64_t n, int64_t k, void *packed) {
    RT_TRY(rt_cuda_enter(rt_cuda_of(backend)));
    return rt_cuda_pack(backend, master, n, k, packed);
}

static rt_status convert(rt_backend *backend, void *to, rt_dtype to_dtype, const void *from, rt_dtype from_dtype,
                         size_t n) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(rt_cuda_enter(cuda));
    return rt_cuda_convert_launch(&cuda->launch, to, to_dtype, from, from_dtype, n);
}

static rt_status convert_on(rt_backend *backend, void *stream, void *to, rt_dtype to_dtype, const void *from,
                            rt_dtype from_dtype, size_t n) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    rt_cuda_launch beside = cuda->launch;
    beside.stream = stream;
    RT_TRY(rt_cuda_enter(cuda));
    return rt_cuda_convert_launch(&beside, to, to_dtype, from, from_dtype, n);
}

static rt_status write_words(rt_backend *backend, void *to, const void *from_host, size_t bytes) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(rt_cuda_enter(cuda));
    return rt_cuda_write_launch(&cuda->launch, to, from_host, bytes);
}

/* --- workspace ---------------------------------------------------------------------------------------------------- */

/* An op may touch a whole bucket of rows. */
static rt_dims in_buckets(const rt_dims *dims) {
    rt_dims d = *dims;
    if (d.max_tokens > 0 && d.max_tokens <= INT32_MAX - 63) d.max_tokens = (d.max_tokens + 63) / 64 * 64;
    return d;
}

static size_t workspace_bytes(rt_backend *backend, const rt_dims *dims) {
    const rt_cuda_context *cuda = rt_cuda_of(backend);
    const rt_dims d = in_buckets(dims);
    return rounded_up(cuda->gemm_bytes) + rounded_up(rt_cuda_kernel_workspace(&d)) +
           rounded_up(rt_cuda_linear_bytes(cuda, &d));
}

/* What the kernels were written for. */
static rt_status check_model(const rt_dims *d) {
    static const char otherwise[] = "; run.device = cpu takes it";
    if (d->hidden < 8 || d->hidden % 8 || d->hidden > RT_CUDA_WIDTH_MAX || d->ffn < 8 || d->ffn % 8)
        return rt_fail(
            RT_ECONFIG,
            "a model of width %d and feed-forward width %d: the GPU's kernels take multiples of 8, the width up "
            "to %d%s",
            d->hidden, d->ffn, RT_CUDA_WIDTH_MAX, otherwise);
    const int head = d->heads > 0 && d->hidden % d->heads == 0 ? d->hidden / d->heads : 0;
    if ((head != 32 && head != 64 && head != 128) || d->heads > HEADS_MOST)
        return rt_fail(RT_ECONFIG,
                       "a model of width %d with %d heads, %d channels a head: the GPU's attention takes 32, 64 or 128 "
                       "channels and at most %d heads%s",
                       d->hidden, d->heads, head, HEADS_MOST, otherwise);
    if (d->max_len > LONGEST)
        return rt_fail(RT_ECONFIG, "sequences of %d tokens: the GPU's attention takes up to %d (data.max_length)%s",
                       d->max_len, LONGEST, otherwise);
    return RT_OK;
}

static rt_status set_workspace(rt_backend *backend, const rt_dims *dims, void *workspace, size_t bytes) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(check_model(dims));
    const size_t need = workspace_bytes(backend, dims);
    if (bytes < need || (!workspace && need) || (uintptr_t)workspace % PART)
        return rt_fail(RT_ESHAPE, "workspace: %zu bytes at %p; these sizes need %zu, aligned to %d", bytes, workspace,
                       need, PART);
    const rt_dims d = in_buckets(dims);
    cuda->dims = d;
    cuda->workspace = workspace;
    cuda->workspace_bytes = bytes;
    cuda->kernel_bytes = rounded_up(rt_cuda_kernel_workspace(&d));
    cuda->launch.workspace = cuda->workspace + rounded_up(cuda->gemm_bytes);
    cuda->launch.workspace_bytes = cuda->kernel_bytes;
    return RT_OK;
}

/* --- which GPU ---------------------------------------------------------------------------------------------------- */

typedef struct {
    int driver, runtime; /* 1000 x major + 10 x minor */
    struct cudaDeviceProp gpu;
} found;

static rt_status check_driver(found *f) {
    RT_CUDA(cudaDriverGetVersion(&f->driver));
    RT_CUDA(cudaRuntimeGetVersion(&f->runtime));
    const int driver = f->driver, runtime = f->runtime;
    if (driver == 0)
        return rt_fail(RT_EUNAVAILABLE,
                       "no NVIDIA driver on this machine (libcuda.so.1 is not there): install NVIDIA's "
                       "driver, in a container run with its devices (--gpus all), or use run.device = cpu");
    if (driver / 1000 < runtime / 1000)
        return rt_fail(
            RT_EUNAVAILABLE,
            "the NVIDIA driver is too old: it knows CUDA up to %d.%d, this build needs %d.0 or newer%s. Install a "
            "newer driver, or use run.device = cpu",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime / 1000 == 13 ? " (driver 580 or newer)" : "");
    return RT_OK;
}

static rt_status choose(rt_cuda_context *cuda, int wanted) {
    int n = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && n == 0)) {
        cudaGetLastError();
        return rt_fail(RT_EUNAVAILABLE,
                       "no NVIDIA GPU: the driver is there, but shows none (CUDA_VISIBLE_DEVICES hides "
                       "those that it does not list; nvidia-smi -L lists all)");
    }
    RT_TRY(rt_cuda_check(error, "counting the GPUs"));
    if (wanted >= n)
        return rt_fail(RT_EUNAVAILABLE, "no GPU %d: %d %s visible, numbered from 0 (CUDA_VISIBLE_DEVICES chooses)",
                       wanted, n, n == 1 ? "is" : "are");
    cuda->device = wanted < 0 ? 0 : wanted;
    return RT_OK;
}

static rt_status check_gpu(rt_cuda_context *cuda, const struct cudaDeviceProp *gpu, rt_precision precision) {
    cuda->architecture = 10 * gpu->major + gpu->minor;
    cuda->memory_total = gpu->totalGlobalMem;
    cuda->launch.processors = gpu->multiProcessorCount;
    if (cuda->architecture < OLDEST)
        return rt_fail(RT_EUNAVAILABLE,
                       "GPU %d, %s, is too old: it is of sm_%d; accepted are sm_%d (Turing, 2018) and newer. Use "
                       "run.device = cpu",
                       cuda->device, gpu->name, cuda->architecture, OLDEST);
    if (cuda->architecture < OLDEST_BF16 && precision != RT_PRECISION_FP32)
        return rt_fail(
            RT_ECONFIG,
            "run.precision = %s: GPU %d, %s (sm_%d), does not compute it; GPUs from sm_%d (Ampere, 2020) on do. "
            "Use fp32, or auto, which chooses",
            precision == RT_PRECISION_BF16 ? "bf16" : "tf32", cuda->device, gpu->name, cuda->architecture, OLDEST_BF16);
    return RT_OK;
}

/* One launch: is there code for this GPU in this build? */
static rt_status probe(rt_cuda_context *cuda) {
    static const uint32_t words[2] = {1, 2};
    void *memory = NULL;
    RT_TRY(rt_cuda_alloc(&cuda->api, sizeof words, "a first launch", &memory));
    rt_status rc = rt_cuda_write_launch(&cuda->launch, memory, words, sizeof words);
    if (rc == RT_OK) rc = rt_cuda_check(cudaStreamSynchronize(cuda->launch.stream), "a first launch");
    if (rc != RT_OK) {
        cudaGetLastError();
        rt_fail_context(rc, "GPU %d (sm_%d): this build may have no kernels for it (make CUDA_ARCH=%d builds them)",
                        cuda->device, cuda->architecture, cuda->architecture);
        rc = RT_EUNAVAILABLE;
    }
    const cudaError_t freed = cudaFree(memory);
    return rc == RT_OK ? rt_cuda_check(freed, "a first launch") : rc;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void close_cuda(rt_backend *backend) {
    if (!backend) return;
    rt_cuda_context *cuda = rt_cuda_of(backend);
    if (cuda->launch.stream) {
        if (!pthread_equal(cuda->user, pthread_self())) cudaSetDevice(cuda->device);
        if (cuda->copies) cudaStreamSynchronize(cuda->copies);
        cudaStreamSynchronize(cuda->launch.stream);
    }
    rt_cuda_sdpa_close(cuda->sdpa);
    rt_cuda_gemm_close(cuda->gemm);
    for (int i = 0; i < RT_UPLOAD_SLOTS; i++) {
        if (cuda->uploaded[i]) cudaEventDestroy(cuda->uploaded[i]);
        if (cuda->released[i]) cudaEventDestroy(cuda->released[i]);
    }
    for (int i = 0; i < RT_MARKS; i++)
        if (cuda->marks[i]) cudaEventDestroy(cuda->marks[i]);
    if (cuda->copies) cudaStreamDestroy(cuda->copies);
    if (cuda->launch.stream) cudaStreamDestroy(cuda->launch.stream);
    cudaGetLastError();
    free(cuda);
}

static rt_status open_streams(rt_cuda_context *cuda) {
    cudaStream_t stream;
    RT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cuda->launch.stream = cuda->api.stream = stream;
    RT_CUDA(cudaStreamCreateWithFlags(&cuda->copies, cudaStreamNonBlocking));
    for (int i = 0; i < RT_UPLOAD_SLOTS; i++) {
        RT_CUDA(cudaEventCreateWithFlags(&cuda->uploaded[i], cudaEventDisableTiming));
        RT_CUDA(cudaEventCreateWithFlags(&cuda->released[i], cudaEventDisableTiming));
    }
    for (int i = 0; i < RT_MARKS; i++) RT_CUDA(cudaEventCreateWithFlags(&cuda->marks[i], cudaEventDisableTiming));
    return RT_OK;
}

static void fill_table(rt_backend *api) {
    api->abi = RT_KERNELS_ABI;
    api->name = "cuda";
    api->host_memory = false;
    api->alloc = rt_cuda_alloc;
    api->release = rt_cuda_release;
    api->upload = rt_cuda_upload;
    api->download = rt_cuda_download;
    api->zero = rt_cuda_zero;
    api->convert = convert;
    api->convert_on = convert_on;
    api->synchronize = rt_cuda_synchronize;
    api->alloc_host = rt_cuda_alloc_host;
    api->release_host = rt_cuda_release_host;
    api->upload_wait = rt_cuda_upload_wait;
    api->upload_start = rt_cuda_upload_start;
    api->upload_use = rt_cuda_upload_use;
    api->upload_done = rt_cuda_upload_done;
    api->write = write_words;
    api->download_start = rt_cuda_download_start;
    api->mark = rt_cuda_mark;
    api->wait = rt_cuda_wait;
    api->workspace_bytes = workspace_bytes;
    api->set_workspace = set_workspace;
    api->packed_bytes = rt_cuda_packed_bytes;
    api->pack = pack;
#define X(name, args) api->name = name;
    OPS(X)
    LAYERS(X)
#undef X
    api->close = close_cuda;
}

static void describe(rt_cuda_context *cuda, const found *f) {
    char *to = cuda->api.description, library[64];
    rt_cuda_gemm_describe(cuda->gemm, library, sizeof library);
    library[strcspn(library, ":")] = 0; /* its name and version */
    snprintf(to, sizeof cuda->api.description,
             "GPU %d: %.48s (sm_%d), %.1f GiB, CUDA %d.%d (the driver's: %d.%d), %.40s", cuda->device, f->gpu.name,
             cuda->architecture, (double)cuda->memory_total / 1073741824.0, f->runtime / 1000, f->runtime % 1000 / 10,
             f->driver / 1000, f->driver % 1000 / 10, library);
}

rt_status rt_cuda_backend_open(const rt_backend_options *options, rt_backend **out) {
    rt_status rc = RT_OK;
    found f = {0};
    *out = NULL;
    rt_cuda_context *cuda = calloc(1, sizeof *cuda);
    if (!cuda) return rt_fail(RT_ENOMEM, "no memory for the CUDA backend (%zu bytes)", sizeof *cuda);
    cuda->api.precision = options->precision;
    cuda->api.act = options->precision == RT_PRECISION_BF16 ? RT_BF16 : RT_F32;
    cuda->launch.act = cuda->api.act;
    fill_table(&cuda->api);
    RT_GO(check_driver(&f));
    RT_GO(choose(cuda, options->device));
    RT_GO(rt_cuda_check(cudaGetDeviceProperties(&f.gpu, cuda->device), "asking for the GPU's properties"));
    RT_GO(check_gpu(cuda, &f.gpu, options->precision));
    RT_GO(rt_cuda_check(cudaSetDevice(cuda->device), "taking the GPU"));
    cuda->api.device = cuda->device;
    cuda->user = pthread_self();
    cuda->gemm_bytes = rt_cuda_gemm_workspace(cuda->architecture);
    RT_GO(open_streams(cuda));
    RT_GO(probe(cuda));
    RT_GO(rt_cuda_gemm_open(cuda, &cuda->gemm));
    describe(cuda, &f);
    *out = &cuda->api;
    cuda = NULL;
done:
    if (cuda) close_cuda(&cuda->api);
    return rc;
}
