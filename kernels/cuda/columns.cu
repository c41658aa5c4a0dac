/* Sums over rows with fixed partials, and what surrounds a linear layer's products: bias and activation after the
 * forward one, the activation's derivative and the bias gradient before the backward ones.
 *
 * epilogue_forward<Z, Y, WIDE>: blocks of 256 threads, eight elements a thread (one without WIDE, where n is no
 * multiple of 8). bytes an element: reads sizeof(Z), writes sizeof(Y), twice with pre. GELU: about 45 instructions.
 * epilogue_backward<T, WIDE>: grid (ceil(n / 256), slabs), 256 threads: eight warps deal the slab's rows, a lane has
 * eight columns. bytes an element: reads dy and saved, writes dz: 3 sizeof(T); partials 4 n a slab. Shared 8,448 bytes.
 * column_sums<T>: the same shape without the activation: sizeof(T) an element.
 * add_partials: grid (ceil(n / 32), outputs), 256 threads: eight rows of threads deal the partials, 32 columns a block.
 * The order of every sum hangs on the numbers of rows and columns alone. */
#include "common.cuh"

/* The normal distribution: Phi(x) within 1e-7 absolutely and 5e-7 (1 + x^2 / 2) relatively in the lower tail, and its
 * derivative; the same polynomials as the CPU's (kernels/cpu/ops/vecmath.h), so that both give the same GELU. */
static __device__ __forceinline__ void normal(float x, float &cdf, float &density) {
    const float a = fabsf(x), s = x * x, e = expf(-0.5f * s);
    density = 0.398942280f * e;
    float near = -7.51269181e-6f;
    near = near * s + 1.13106224e-4f;
    near = near * s - 1.18595955e-3f;
    near = near * s + 9.97316651e-3f;
    near = near * s - 6.64903298e-2f;
    near = near * s + 3.98942292e-1f;
    near = near * x + 0.5f;
    const float t = 1.0f / (1.0f + 0.35f * a);
    float far = -2.91150156e-2f;
    far = far * t + 1.43818408e-1f;
    far = far * t - 2.55391002e-1f;
    far = far * t + 1.58796564e-1f;
    far = far * t - 2.28434242e-2f;
    far = far * t + 1.05392143e-1f;
    far = far * t + 1.19863085e-1f;
    far = far * t + 1.39857560e-1f;
    far = far * t + 1.39621660e-1f;
    far = far * t * e;
    far = x < 0 ? far : 1.0f - far;
    cdf = a < 1.0f ? near : far;
}

static __device__ __forceinline__ float activate(rt_activation act, float x) {
    float cdf, density;
    if (act == RT_ACT_NONE) return x;
    if (act == RT_ACT_TANH) return tanhf(x);
    normal(x, cdf, density);
    return x * cdf;
}

static __device__ __forceinline__ float slope(rt_activation act, float saved) {
    float cdf, density;
    if (act == RT_ACT_NONE) return 1.0f;
    if (act == RT_ACT_TANH) return 1.0f - saved * saved;
    normal(saved, cdf, density);
    return cdf + saved * density;
}

struct epilogue_params {
    const void *z;
    const float *bias;
    void *y, *pre;
    rt_activation act;
    int64_t rows, n;
};

template <typename Z, typename Y, bool WIDE>
static __global__ void __launch_bounds__(256, 1) epilogue_forward_kernel(epilogue_params a) {
    const int64_t all = a.rows * a.n, unit = WIDE ? 8 : 1;
    const int64_t i = unit * ((int64_t)blockIdx.x * 256 + threadIdx.x);
    if (i >= all) return;
    const int64_t c = i % a.n;
    if (!WIDE) {
        float v = rt_load1((const Z *)a.z + i) + (a.bias ? a.bias[c] : 0.0f);
        if (a.pre) rt_store1((Y *)a.pre + i, v);
        rt_store1((Y *)a.y + i, activate(a.act, v));
        return;
    }
    rt_octet v = rt_load8((const Z *)a.z + i);
    if (a.bias) {
        const rt_octet bias = rt_load8(a.bias + c);
#pragma unroll
        for (int j = 0; j < 8; j++) v.v[j] += bias.v[j];
    }
    if (a.pre) rt_store8((Y *)a.pre + i, v);
#pragma unroll
    for (int j = 0; j < 8; j++) v.v[j] = activate(a.act, v.v[j]);
    rt_store8((Y *)a.y + i, v);
}

/* A lane's eight columns from c on; without WIDE those below n, one by one, and 0 for the others. */
template <bool WIDE, typename T>
static __device__ __forceinline__ rt_octet load_columns(const T *row, int64_t c, int64_t n) {
    rt_octet o;
    if constexpr (WIDE)
        o = rt_load8(row + c);
    else
#pragma unroll
        for (int j = 0; j < 8; j++) o.v[j] = c + j < n ? rt_load1(row + c + j) : 0.0f;
    return o;
}
template <bool WIDE, typename T>
static __device__ __forceinline__ void store_columns(T *row, int64_t c, int64_t n, const rt_octet &o) {
    if constexpr (WIDE)
        rt_store8(row + c, o);
    else
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (c + j < n) rt_store1(row + c + j, o.v[j]);
}

enum { WARPS = 8, PITCH = 33 * 8 };

/* Adds the warps' sums in order and leaves them at to[c]. The whole block arrives. */
static __device__ __forceinline__ void leave_columns(float *to, int64_t n, const rt_octet &sums) {
    RT_SHARED(float, tile, WARPS *PITCH);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < 8; j++) tile[warp * PITCH + j * 33 + lane] = sums.v[j];
    __syncthreads();
    const int64_t c = 256 * (int64_t)blockIdx.x + threadIdx.x;
    float sum = 0;
    for (int w = 0; w < WARPS; w++) sum += tile[w * PITCH + (int)threadIdx.x % 8 * 33 + (int)threadIdx.x / 8];
    if (c < n) to[c] = sum;
}

struct epilogue_backward_params {
    void *dy;
    const void *saved;
    float *partials; /* [gridDim.y, n], or NULL */
    rt_activation act;
    int64_t rows, n;
};

template <typename T, bool WIDE>
static __global__ void __launch_bounds__(256, 1) epilogue_backward_kernel(epilogue_backward_params a) {
    const int64_t c = 256 * (int64_t)blockIdx.x + 8 * (int64_t)(threadIdx.x % 32);
    rt_octet sums = rt_zero8();
    for (int64_t row = (int64_t)blockIdx.y * WARPS + threadIdx.x / 32; row < a.rows && c < a.n;
         row += (int64_t)gridDim.y * WARPS) {
        T *dy = (T *)a.dy + row * a.n;
        rt_octet g = load_columns<WIDE>(dy, c, a.n);
        if (a.act != RT_ACT_NONE) {
            const rt_octet saved = load_columns<WIDE>((const T *)a.saved + row * a.n, c, a.n);
#pragma unroll
            for (int j = 0; j < 8; j++) g.v[j] *= slope(a.act, saved.v[j]);
            store_columns<WIDE>(dy, c, a.n, g);
        }
#pragma unroll
        for (int j = 0; j < 8; j++) sums.v[j] += g.v[j];
    }
    if (a.partials) leave_columns(a.partials + (int64_t)blockIdx.y * a.n, a.n, sums);
}

struct sums_params {
    const void *x;
    const int32_t *which, *cu_seqlens;
    int32_t value, n_seqs;
    float *partials;
    int64_t rows, n;
};

template <typename T> static __global__ void __launch_bounds__(256, 1) column_sums_kernel(sums_params a) {
    const int64_t c = 256 * (int64_t)blockIdx.x + 8 * (int64_t)(threadIdx.x % 32);
    int64_t rows = a.rows;
    if (a.cu_seqlens) {
        const int64_t tokens = a.n_seqs > 0 ? a.cu_seqlens[a.n_seqs] : 0;
        if (tokens < rows) rows = tokens;
    }
    rt_octet sums = rt_zero8();
    for (int64_t row = (int64_t)blockIdx.y * WARPS + threadIdx.x / 32; row < rows && c < a.n;
         row += (int64_t)gridDim.y * WARPS) {
        if (a.which && a.which[row] != a.value) continue;
        const rt_octet x = rt_load8((const T *)a.x + row * a.n + c);
#pragma unroll
        for (int j = 0; j < 8; j++) sums.v[j] += x.v[j];
    }
    leave_columns(a.partials + (int64_t)blockIdx.y * a.n, a.n, sums);
}

static __global__ void __launch_bounds__(256, 1) add_partials_kernel(rt_cuda_partials_args a) {
    RT_SHARED(float, parts, 8 * 32);
    const int part = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, output = (int)blockIdx.y;
    const int64_t c = 32 * (int64_t)blockIdx.x + lane;
    float sum = 0;
    for (int b = part; b < a.blocks && c < a.n; b += 8) sum += a.partials[((int64_t)b * a.outputs + output) * a.n + c];
    parts[part * 32 + lane] = sum;
    __syncthreads();
    if (part > 0 || c >= a.n) return;
    sum = 0;
    for (int p = 0; p < 8; p++) sum += parts[p * 32 + lane];
    float *to = output == 0 ? a.to[0] : output == 1 ? a.to[1] : a.to[2];
    if (to) to[c] = a.accumulate ? to[c] + sum : sum;
}

extern "C" rt_status rt_cuda_add_partials_launch(const rt_cuda_launch *l, const rt_cuda_partials_args *a) {
    if (a->n == 0) return RT_OK;
    return rt_launch(add_partials_kernel, dim3((unsigned)((a->n + 31) / 32), (unsigned)a->outputs), dim3(256), 0,
                     l->stream, *a);
}

/* Slabs of rows, each of at least 32, that together fill the card twice where there are rows enough. */
static int slabs_of(int64_t rows, int64_t n) {
    const int64_t columns = (n + 255) / 256, wanted = (2 * 132 + columns - 1) / columns, most = (rows + 31) / 32;
    return (int)(wanted < most ? wanted : most);
}

static rt_status add_slabs(const rt_cuda_launch *l, int slabs, float *to, int accumulate, int64_t n) {
    rt_cuda_partials_args add = {(const float *)l->workspace, {to, NULL, NULL}, 1, slabs, accumulate, n};
    return rt_cuda_add_partials_launch(l, &add);
}

extern "C" rt_status rt_cuda_column_sums_launch(const rt_cuda_launch *l, const rt_cuda_column_sums_args *a) {
    const int slabs = slabs_of(a->rows, a->n);
    if (a->n % 8) return rt_fail(RT_ESHAPE, "column_sums: %lld columns; a multiple of 8 is needed", (long long)a->n);
    RT_CHECK_ALIGNED("column_sums", a->x, a->to);
    RT_TRY(rt_check_workspace(l, slabs * a->n, "column_sums"));
    sums_params p = {a->x, a->which, a->cu_seqlens, a->value, a->n_seqs, (float *)l->workspace, a->rows, a->n};
    const dim3 grid((unsigned)((a->n + 255) / 256), (unsigned)slabs);
    if (slabs > 0) {
#define CALL(T) RT_TRY(rt_launch(column_sums_kernel<T>, grid, dim3(256), 0, l->stream, p))
        RT_BY_TYPE(l, CALL);
#undef CALL
    }
    return add_slabs(l, slabs, a->to, a->accumulate, a->n);
}

static rt_status check_linear(const char *op, int64_t rows, int64_t n, rt_activation act) {
    if (rows < 0 || n < 1 || n > INT32_MAX)
        return rt_fail(RT_ESHAPE, "%s: %lld rows of %lld columns", op, (long long)rows, (long long)n);
    if (act != RT_ACT_NONE && act != RT_ACT_GELU && act != RT_ACT_TANH)
        return rt_fail(RT_ESHAPE, "%s: unknown activation %d", op, (int)act);
    return RT_OK;
}

extern "C" rt_status rt_cuda_epilogue_forward_launch(const rt_cuda_launch *l, const rt_cuda_epilogue_args *a) {
    RT_TRY(check_linear("epilogue_forward", a->rows, a->n, a->act));
    if (a->z_dtype != RT_F32 && a->z_dtype != a->y_dtype)
        return rt_fail(RT_ESHAPE, "epilogue_forward: a bf16 product and an fp32 result");
    const bool wide = a->n % 8 == 0;
    if (wide) RT_CHECK_ALIGNED("epilogue_forward", a->z, a->bias, a->y, a->pre);
    if (a->rows == 0) return RT_OK;
    epilogue_params p = {a->z, a->bias, a->y, a->pre, a->act, a->rows, a->n};
    const dim3 grid((unsigned)((a->rows * a->n / (wide ? 8 : 1) + 255) / 256));
#define CALL(Z, Y)                                                                                                     \
    return wide ? rt_launch((epilogue_forward_kernel<Z, Y, true>), grid, dim3(256), 0, l->stream, p)                   \
                : rt_launch((epilogue_forward_kernel<Z, Y, false>), grid, dim3(256), 0, l->stream, p)
    if (a->y_dtype == RT_F32) CALL(float, float);
    if (a->z_dtype == RT_F32) CALL(float, rt_bf16);
    CALL(rt_bf16, rt_bf16);
#undef CALL
}

extern "C" rt_status rt_cuda_epilogue_backward_launch(const rt_cuda_launch *l,
                                                      const rt_cuda_epilogue_backward_args *a) {
    RT_TRY(check_linear("epilogue_backward", a->rows, a->n, a->act));
    if (a->act != RT_ACT_NONE && !a->saved && a->rows) return rt_fail(RT_ESHAPE, "epilogue_backward: saved is NULL");
    if (a->act == RT_ACT_NONE && !a->db) return RT_OK;
    const bool wide = a->n % 8 == 0;
    if (wide) RT_CHECK_ALIGNED("epilogue_backward", a->dy, a->saved);
    const int slabs = slabs_of(a->rows, a->n);
    if (a->db) RT_TRY(rt_check_workspace(l, slabs * a->n, "epilogue_backward"));
    epilogue_backward_params p = {a->dy, a->saved, a->db ? (float *)l->workspace : NULL, a->act, a->rows, a->n};
    const dim3 grid((unsigned)((a->n + 255) / 256), (unsigned)slabs);
    if (slabs > 0) {
#define CALL(T)                                                                                                        \
    RT_TRY(wide ? rt_launch((epilogue_backward_kernel<T, true>), grid, dim3(256), 0, l->stream, p)                     \
                : rt_launch((epilogue_backward_kernel<T, false>), grid, dim3(256), 0, l->stream, p))
        if (a->dy_dtype == RT_BF16)
            CALL(rt_bf16);
        else
            CALL(float);
#undef CALL
    }
    return a->db ? add_slabs(l, slabs, a->db, a->accumulate, a->n) : RT_OK;
}

/* The most floats of partials: three sums over row blocks, or one over slabs of the widest layer. */
extern "C" size_t rt_cuda_kernel_workspace(const rt_dims *d) {
    const int64_t rows = d->max_tokens > d->max_seqs ? d->max_tokens : d->max_seqs, bucket = (rows + 63) / 64 * 64;
    int64_t floats = 3 * (int64_t)rt_partial_blocks(bucket) * d->hidden;
    const int64_t widths[] = {d->hidden, 3 * (int64_t)d->hidden, d->ffn, d->labels};
    for (int64_t n : widths) {
        const int64_t slabs = n > 0 ? (int64_t)slabs_of(bucket, n) * n : 0;
        if (slabs > floats) floats = slabs;
    }
    return (size_t)floats * sizeof(float);
}
