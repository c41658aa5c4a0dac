/* The linear layer on the GPU: which products, in which order, with what around them.
 *
 * Forward. In fp32 the product goes where the result will be, with the library's bias where nothing else follows, else
 * with one fused pass over it (bias, activation, the pre-activation kept). In bf16 with a bias or an activation the
 * product goes to fp32 scratch first: the pass then sees it unrounded and rounds once. Scratch holds 32 MiB of rows, so
 * a large layer is done in chunks of rows: what a chunk adds to the traffic, 8 bytes an element of y, stays in a large
 * GPU's second-level cache.
 *
 * Backward. One pass makes dz of dy, in place, and the bias gradient with fixed partials; then dx, adding dx_add on the
 * way (the product's beta), and dw, stored or added in fp32.
 *
 * Weights: fp32 reads the master, bf16 a plain copy (pack). A layer with fp32 results and at most RT_CUDA_NARROW_MAX
 * outputs has kernels of its own and reads the master always. */
#include "gemm.h"
#include "narrow.h"

enum { PART = 256 };

static size_t scratch_most(const rt_cuda_context *cuda) {
    return cuda->linear_scratch ? cuda->linear_scratch : (size_t)32 << 20;
}

static size_t rounded_up(size_t bytes) {
    return (bytes + PART - 1) / PART * PART;
}

/* Chunks of like size, a multiple of 64 rows, whose `row_bytes` fit the scratch: 64 rows always do. */
static int64_t chunk_rows(const rt_cuda_context *cuda, int64_t rows, size_t row_bytes) {
    int64_t most = (int64_t)(scratch_most(cuda) / row_bytes) / 64 * 64;
    if (most < 64) most = 64;
    const int64_t chunks = (rows + most - 1) / most;
    return chunks ? ((rows + chunks - 1) / chunks + 63) / 64 * 64 : 64;
}

/* Most scratch that a layer of n outputs may take, for any number of rows up to `rows`. */
static size_t layer_bytes(const rt_cuda_context *cuda, int64_t rows, int64_t n, int64_t k, bool head) {
    if (n < 1 || rows < 1) return 0;
    if (head && n <= RT_CUDA_NARROW_MAX) return (size_t)rt_cuda_narrow_partials_most(rows, n, k) * sizeof(float);
    if (cuda->api.act == RT_F32) return 0;
    const size_t row = (size_t)n * sizeof(float), all = (size_t)(rows + 63) / 64 * 64 * row, least = 64 * row;
    const size_t most = scratch_most(cuda) > least ? scratch_most(cuda) : least;
    return all < most ? all : most;
}

size_t rt_cuda_linear_bytes(const rt_cuda_context *cuda, const rt_dims *d) {
    const int64_t rows = d->max_tokens > d->max_seqs ? d->max_tokens : d->max_seqs, bucket = (rows + 63) / 64 * 64;
    const int64_t widths[] = {3 * (int64_t)d->hidden, d->ffn, d->labels};
    const int64_t wide = d->ffn > d->hidden ? d->ffn : d->hidden;
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        const size_t plain = layer_bytes(cuda, bucket, widths[i], wide, false);
        if (plain > most) most = plain;
    }
    for (int64_t n = 1; n <= RT_CUDA_NARROW_MAX && n <= d->labels; n++) {
        const size_t head = layer_bytes(cuda, bucket, n, wide, true);
        if (head > most) most = head;
    }
    return rounded_up(most);
}

/* The linear layer's part of the workspace. */
static rt_status scratch(const rt_cuda_context *cuda, size_t bytes, const char *op, void **out) {
    const size_t before = rounded_up(cuda->gemm_bytes) + rounded_up(cuda->kernel_bytes);
    if (!cuda->workspace || before > cuda->workspace_bytes || bytes > cuda->workspace_bytes - before)
        return rt_fail(
            RT_ESHAPE,
            "%s: needs %zu bytes of workspace behind %zu; there are %zu: set_workspace was for smaller sizes", op,
            bytes, before, cuda->workspace_bytes);
    *out = cuda->workspace + before;
    return RT_OK;
}

static rt_status check(const rt_cuda_context *cuda, const char *op, const rt_weight *w, int64_t rows, rt_activation act,
                       rt_dtype y_dtype) {
    if (rows < 0 || rows > INT32_MAX || w->n < 1 || w->k < 1 || w->n > INT32_MAX || w->k > INT32_MAX)
        return rt_fail(RT_ESHAPE, "%s: %lld rows, weight [%lld, %lld]", op, (long long)rows, (long long)w->n,
                       (long long)w->k);
    if (w->k % 8 || (y_dtype != RT_F32 && w->n % 8))
        return rt_fail(RT_ESHAPE,
                       "%s: weight [%lld, %lld]: n and k must be multiples of 8 (n of an fp32 result need not)", op,
                       (long long)w->n, (long long)w->k);
    if (y_dtype != RT_F32 && y_dtype != cuda->api.act)
        return rt_fail(RT_ESHAPE, "%s: a bf16 result on an fp32 backend", op);
    if (act != RT_ACT_NONE && act != RT_ACT_GELU && act != RT_ACT_TANH)
        return rt_fail(RT_ESHAPE, "%s: unknown activation %d", op, (int)act);
    if (!w->master || (cuda->api.act == RT_BF16 && !w->packed))
        return rt_fail(RT_ESHAPE, "%s: the weight [%lld, %lld] has no %s", op, (long long)w->n, (long long)w->k,
                       w->master ? "packed form" : "master");
    return RT_OK;
}

static const void *weight_of(const rt_cuda_context *cuda, const rt_weight *w) {
    return cuda->api.act == RT_BF16 ? w->packed : w->master;
}

static const void *at(const void *p, rt_dtype dtype, int64_t element) {
    return p ? (const char *)p + (size_t)element * rt_dtype_size(dtype) : NULL;
}

static void *out_at(void *p, rt_dtype dtype, int64_t element) {
    return p ? (char *)p + (size_t)element * rt_dtype_size(dtype) : NULL;
}

static bool is_narrow(const rt_weight *w, rt_dtype y_dtype) {
    return y_dtype == RT_F32 && w->n <= RT_CUDA_NARROW_MAX;
}

rt_status rt_cuda_linear_forward(rt_backend *backend, const rt_linear_forward_args *a) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    const int64_t n = a->w.n, k = a->w.k;
    const rt_dtype act = backend->act;
    RT_TRY(check(cuda, "linear_forward", &a->w, a->rows, a->act, a->y_dtype));
    if (a->rows == 0) return RT_OK;
    if (!a->x || !a->y) return rt_fail(RT_ESHAPE, "linear_forward: x or y is NULL");
    if (is_narrow(&a->w, a->y_dtype)) return rt_cuda_narrow_forward_launch(&cuda->launch, a);
    const bool f32 = a->y_dtype == RT_F32;
    const bool plain = a->act == RT_ACT_NONE && !a->pre && (f32 || !a->bias);
    int64_t step = a->rows;
    void *product = NULL;
    if (!plain && !f32) {
        step = chunk_rows(cuda, a->rows, (size_t)n * sizeof(float));
        if (step > a->rows) step = a->rows;
        RT_TRY(scratch(cuda, (size_t)(step * n) * sizeof(float), "linear_forward", &product));
    }
    for (int64_t r = 0; r < a->rows; r += step) {
        const int64_t rows = a->rows - r < step ? a->rows - r : step;
        void *y = out_at(a->y, a->y_dtype, r * n), *pre = out_at(a->pre, a->y_dtype, r * n);
        void *z = plain ? y : product ? product : pre ? pre : y;
        RT_TRY(rt_cuda_gemm_run(cuda, &(rt_cuda_gemm_args){.m = rows,
                                                           .n = n,
                                                           .k = k,
                                                           .a = at(a->x, act, r * k),
                                                           .b = weight_of(cuda, &a->w),
                                                           .b_transposed = true,
                                                           .in = act,
                                                           .out = plain ? a->y_dtype : RT_F32,
                                                           .bias = plain ? a->bias : NULL,
                                                           .c = z}));
        if (plain) continue;
        RT_TRY(rt_cuda_epilogue_forward_launch(&cuda->launch, &(rt_cuda_epilogue_args){.z = z,
                                                                                       .z_dtype = RT_F32,
                                                                                       .bias = a->bias,
                                                                                       .act = a->act,
                                                                                       .y = y,
                                                                                       .y_dtype = a->y_dtype,
                                                                                       .pre = pre,
                                                                                       .rows = rows,
                                                                                       .n = n}));
    }
    return RT_OK;
}

static rt_status zero(const rt_cuda_context *cuda, float *p, int64_t n) {
    if (p) RT_CUDA(cudaMemsetAsync(p, 0, (size_t)n * sizeof *p, cuda->launch.stream));
    return RT_OK;
}

/* dx of some rows, from dz in the backend's dtype. */
static rt_status input_gradient(rt_cuda_context *cuda, const rt_linear_backward_args *a, const void *dz, int64_t first,
                                int64_t rows) {
    const rt_dtype act = cuda->api.act;
    const int64_t k = a->w.k;
    return rt_cuda_gemm_run(cuda, &(rt_cuda_gemm_args){.m = rows,
                                                       .n = k,
                                                       .k = a->w.n,
                                                       .a = dz,
                                                       .b = weight_of(cuda, &a->w),
                                                       .in = act,
                                                       .out = act,
                                                       .c = out_at(a->dx, act, first * k),
                                                       .accumulate = a->dx_add != NULL,
                                                       .addend = at(a->dx_add, act, first * k)});
}

static rt_status weight_gradient(rt_cuda_context *cuda, const rt_linear_backward_args *a, const void *dz, int64_t first,
                                 int64_t rows, bool accumulate) {
    const rt_dtype act = cuda->api.act;
    return rt_cuda_gemm_run(cuda, &(rt_cuda_gemm_args){.m = a->w.n,
                                                       .n = a->w.k,
                                                       .k = rows,
                                                       .a = dz,
                                                       .a_transposed = true,
                                                       .b = at(a->x, act, first * a->w.k),
                                                       .in = act,
                                                       .out = RT_F32,
                                                       .c = a->dw,
                                                       .accumulate = accumulate});
}

rt_status rt_cuda_linear_backward(rt_backend *backend, const rt_linear_backward_args *a) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    const int64_t n = a->w.n, k = a->w.k;
    const rt_dtype act = backend->act;
    RT_TRY(check(cuda, "linear_backward", &a->w, a->rows, a->act, a->dy_dtype));
    if (a->rows == 0) {
        if (!a->accumulate) {
            RT_TRY(zero(cuda, a->dw, n * k));
            RT_TRY(zero(cuda, a->db, n));
        }
        return RT_OK;
    }
    if (!a->dy || (a->dw && !a->x) || (a->act != RT_ACT_NONE && !a->saved))
        return rt_fail(RT_ESHAPE, "linear_backward: %s is NULL", !a->dy ? "dy" : a->dw && !a->x ? "x" : "saved");
    RT_TRY(
        rt_cuda_epilogue_backward_launch(&cuda->launch, &(rt_cuda_epilogue_backward_args){.act = a->act,
                                                                                          .saved = a->saved,
                                                                                          .dy = a->dy,
                                                                                          .dy_dtype = a->dy_dtype,
                                                                                          .db = a->db,
                                                                                          .accumulate = a->accumulate,
                                                                                          .rows = a->rows,
                                                                                          .n = n}));
    if (is_narrow(&a->w, a->dy_dtype)) {
        void *partials = NULL;
        const size_t bytes = (size_t)rt_cuda_narrow_partials(a->rows, n, k) * sizeof(float);
        if (a->dw) RT_TRY(scratch(cuda, bytes, "linear_backward", &partials));
        return rt_cuda_narrow_backward_launch(&cuda->launch, a, partials);
    }
    if (a->dy_dtype == act) {
        if (a->dx) RT_TRY(input_gradient(cuda, a, a->dy, 0, a->rows));
        return a->dw ? weight_gradient(cuda, a, a->dy, 0, a->rows, a->accumulate) : RT_OK;
    }
    /* fp32 gradients of a bf16 layer: rounded to bf16 beside, a chunk at a time; dy itself stays as it is. */
    if (!a->dx && !a->dw) return RT_OK;
    int64_t step = chunk_rows(cuda, a->rows, (size_t)n * sizeof(float));
    void *dz = NULL;
    if (step > a->rows) step = a->rows;
    RT_TRY(scratch(cuda, (size_t)(step * n) * rt_dtype_size(act), "linear_backward", &dz));
    for (int64_t r = 0; r < a->rows; r += step) {
        const int64_t rows = a->rows - r < step ? a->rows - r : step;
        RT_TRY(rt_cuda_convert_launch(&cuda->launch, dz, act, at(a->dy, a->dy_dtype, r * n), a->dy_dtype,
                                      (size_t)(rows * n)));
        if (a->dx) RT_TRY(input_gradient(cuda, a, dz, r, rows));
        if (a->dw) RT_TRY(weight_gradient(cuda, a, dz, r, rows, a->accumulate || r > 0));
    }
    return RT_OK;
}

/* bf16 keeps its weights as plain bf16, which all products read; fp32 reads the master as it is. */
size_t rt_cuda_packed_bytes(rt_backend *backend, int64_t n, int64_t k) {
    return backend->act == RT_BF16 ? (size_t)n * (size_t)k * sizeof(rt_bf16) : 0;
}

rt_status rt_cuda_pack(rt_backend *backend, const float *master, int64_t n, int64_t k, void *packed) {
    const rt_cuda_context *cuda = rt_cuda_of(backend);
    if (n < 0 || k < 0) return rt_fail(RT_ESHAPE, "pack: weight [%lld, %lld]", (long long)n, (long long)k);
    if (backend->act == RT_F32) return RT_OK;
    return rt_cuda_convert_launch(&cuda->launch, packed, RT_BF16, master, RT_F32, (size_t)n * (size_t)k);
}
