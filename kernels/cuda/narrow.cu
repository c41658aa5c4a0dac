/* Linear layers with at most 32 outputs and fp32 results: a classifier's head. A GEMM library would fill tiles of 64 or
 * 128 columns with one or two.
 *
 * narrow_forward<T>: 256 threads, a warp a row of x; four outputs at a time, a lane eight channels of every 256. bytes:
 *   reads rows k sizeof(T) (again from L1 for every four outputs) and the weight n k 4 from L2 for every row, writes
 *   rows n 4. FLOPs 2 rows n k.
 * narrow_dx<T>: 256 threads, eight channels of a row a thread. bytes: writes rows k sizeof(T), with an addend reads as
 *   much; the weight from L2. FLOPs 2 rows n k.
 * narrow_dw<T>: grid (ceil(k / 256), ceil(n / 4), slabs), 256 threads: eight warps deal the slab's rows, a lane has
 * eight channels of four outputs. bytes: reads rows k sizeof(T) for every four outputs; partials 4 n k a slab. Shared
 * 8,448 bytes. rt_cuda_add_partials_launch sums the slabs. FLOPs 2 rows n k. The order of every sum hangs on rows, n
 * and k alone. */
#include "common.cuh"
#include "narrow.h"

enum { WARPS = 8, TILE = 4, PITCH = 33 * 8 };

struct narrow_forward_params {
    const void *x;
    const float *w, *bias;
    float *y;
    int64_t rows, n, k;
};

template <typename T> static __global__ void __launch_bounds__(256, 1) narrow_forward_kernel(narrow_forward_params a) {
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int lane = (int)threadIdx.x % 32;
    if (row >= a.rows) return; /* a whole warp; the block has no barrier */
    const T *x = (const T *)a.x + row * a.k;
    for (int64_t first = 0; first < a.n; first += TILE) {
        float sums[TILE] = {0, 0, 0, 0};
        for (int64_t c = 8 * lane; c < a.k; c += 256) {
            const rt_octet from = rt_load8(x + c);
#pragma unroll
            for (int i = 0; i < TILE; i++) {
                if (first + i >= a.n) continue;
                const rt_octet w = rt_load8(a.w + (first + i) * a.k + c);
#pragma unroll
                for (int e = 0; e < 8; e++) sums[i] += from.v[e] * w.v[e];
            }
        }
#pragma unroll
        for (int i = 0; i < TILE; i++) {
            const float sum = rt_warp_sum(sums[i]);
            const int64_t j = first + i;
            if (lane == 0 && j < a.n) a.y[row * a.n + j] = a.bias ? sum + a.bias[j] : sum;
        }
    }
}

struct narrow_dx_params {
    const float *dz, *w;
    const void *add;
    void *dx;
    int64_t rows, n, k;
};

template <typename T> static __global__ void __launch_bounds__(256, 1) narrow_dx_kernel(narrow_dx_params a) {
    const int64_t unit = (int64_t)blockIdx.x * 256 + threadIdx.x, units = a.k / 8;
    if (unit >= a.rows * units) return;
    const int64_t row = unit / units, c = 8 * (unit % units);
    rt_octet sum = a.add ? rt_load8((const T *)a.add + row * a.k + c) : rt_zero8();
    for (int64_t j = 0; j < a.n; j++) {
        const float d = a.dz[row * a.n + j];
        const rt_octet w = rt_load8(a.w + j * a.k + c);
#pragma unroll
        for (int e = 0; e < 8; e++) sum.v[e] += d * w.v[e];
    }
    rt_store8((T *)a.dx + row * a.k + c, sum);
}

struct narrow_dw_params {
    const float *dz;
    const void *x;
    float *partials; /* [gridDim.z, n, k] */
    int64_t rows, n, k;
};

template <typename T> static __global__ void __launch_bounds__(256, 1) narrow_dw_kernel(narrow_dw_params a) {
    RT_SHARED(float, tile, WARPS *PITCH);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int64_t c = 256 * (int64_t)blockIdx.x + 8 * lane, first = TILE * (int64_t)blockIdx.y;
    rt_octet sums[TILE] = {rt_zero8(), rt_zero8(), rt_zero8(), rt_zero8()};
    for (int64_t row = (int64_t)blockIdx.z * WARPS + warp; row < a.rows && c < a.k; row += (int64_t)gridDim.z * WARPS) {
        const rt_octet x = rt_load8((const T *)a.x + row * a.k + c);
#pragma unroll
        for (int i = 0; i < TILE; i++) {
            const float d = first + i < a.n ? a.dz[row * a.n + first + i] : 0.0f;
#pragma unroll
            for (int e = 0; e < 8; e++) sums[i].v[e] += d * x.v[e];
        }
    }
    const int64_t to = 256 * (int64_t)blockIdx.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < TILE; i++) {
#pragma unroll
        for (int e = 0; e < 8; e++) tile[warp * PITCH + e * 33 + lane] = sums[i].v[e];
        __syncthreads();
        float sum = 0;
        for (int w = 0; w < WARPS; w++) sum += tile[w * PITCH + (int)threadIdx.x % 8 * 33 + (int)threadIdx.x / 8];
        if (to < a.k && first + i < a.n) a.partials[((int64_t)blockIdx.z * a.n + first + i) * a.k + to] = sum;
        __syncthreads();
    }
}

static rt_status check_narrow(const char *op, int64_t rows, const rt_weight *w, const void *x, const void *dx,
                              const void *add) {
    if (rows < 0 || rows > INT32_MAX || w->n < 1 || w->n > RT_CUDA_NARROW_MAX || w->k < 8 || w->k % 8)
        return rt_fail(RT_ESHAPE,
                       "%s: %lld rows, weight [%lld, %lld]; expected at most %d outputs of a width divisible by 8", op,
                       (long long)rows, (long long)w->n, (long long)w->k, (int)RT_CUDA_NARROW_MAX);
    RT_CHECK_ALIGNED(op, x, w->master, dx, add);
    return RT_OK;
}

extern "C" rt_status rt_cuda_narrow_forward_launch(const rt_cuda_launch *l, const rt_linear_forward_args *a) {
    RT_TRY(check_narrow("narrow_forward", a->rows, &a->w, a->x, NULL, NULL));
    if (a->rows == 0) return RT_OK;
    const bool plain = a->act == RT_ACT_NONE && !a->pre;
    float *z = (float *)(a->pre ? a->pre : a->y);
    narrow_forward_params p = {a->x, a->w.master, plain ? a->bias : NULL, z, a->rows, a->w.n, a->w.k};
    const dim3 grid((unsigned)((a->rows + WARPS - 1) / WARPS));
#define CALL(T) RT_TRY(rt_launch(narrow_forward_kernel<T>, grid, dim3(256), 0, l->stream, p))
    RT_BY_TYPE(l, CALL);
#undef CALL
    if (plain) return RT_OK;
    rt_cuda_epilogue_args e = {z, RT_F32, a->bias, a->act, a->y, RT_F32, a->pre, a->rows, a->w.n};
    return rt_cuda_epilogue_forward_launch(l, &e);
}

/* Slabs of at least 32 rows that together fill the card twice where there are rows enough. */
static int slabs_of(int64_t rows, int64_t n, int64_t k) {
    const int64_t columns = (k + 255) / 256 * ((n + TILE - 1) / TILE), wanted = (2 * 132 + columns - 1) / columns;
    const int64_t most = (rows + 31) / 32;
    return (int)(wanted < most ? wanted : most);
}

extern "C" int64_t rt_cuda_narrow_partials(int64_t rows, int64_t n, int64_t k) {
    return slabs_of(rows, n, k) * n * k;
}

/* slabs k <= (264 / columns + 1) k, and k <= 256 of columns' blocks: not more than 264 x 256 / tiles + k. */
extern "C" int64_t rt_cuda_narrow_partials_most(int64_t rows, int64_t n, int64_t k) {
    const int64_t tiles = (n + TILE - 1) / TILE, by_rows = (rows + 31) / 32 * k, by_blocks = 2 * 132 * 256 / tiles + k;
    return (by_rows < by_blocks ? by_rows : by_blocks) * n;
}

extern "C" rt_status rt_cuda_narrow_backward_launch(const rt_cuda_launch *l, const rt_linear_backward_args *a,
                                                    float *partials) {
    const int64_t n = a->w.n, k = a->w.k;
    RT_TRY(check_narrow("narrow_backward", a->rows, &a->w, a->dw ? a->x : NULL, a->dx, a->dx_add));
    if (a->dx && a->rows > 0) {
        narrow_dx_params p = {(const float *)a->dy, a->w.master, a->dx_add, a->dx, a->rows, n, k};
        const dim3 grid((unsigned)((a->rows * (k / 8) + 255) / 256));
#define CALL(T) RT_TRY(rt_launch(narrow_dx_kernel<T>, grid, dim3(256), 0, l->stream, p))
        RT_BY_TYPE(l, CALL);
#undef CALL
    }
    if (!a->dw) return RT_OK;
    const int slabs = slabs_of(a->rows, n, k);
    if (slabs > 0) {
        narrow_dw_params p = {(const float *)a->dy, a->x, partials, a->rows, n, k};
        const dim3 grid((unsigned)((k + 255) / 256), (unsigned)((n + TILE - 1) / TILE), (unsigned)slabs);
#define CALL(T) RT_TRY(rt_launch(narrow_dw_kernel<T>, grid, dim3(256), 0, l->stream, p))
        RT_BY_TYPE(l, CALL);
#undef CALL
    }
    rt_cuda_partials_args add = {partials, {a->dw, NULL, NULL}, 1, slabs, a->accumulate, n * k};
    return rt_cuda_add_partials_launch(l, &add);
}
