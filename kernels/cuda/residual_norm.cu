/* y = LayerNorm(residual + dropout(x + bias)) and its gradients, one pass over each tensor.
 *
 * residual_norm_forward<T, N, WARPS>
 *   grid     ceil(rows / 4) blocks of 128 threads, a warp a row (width up to 1,024); or a block of 256 a row
 *   shared   none (64 bytes for wide rows)
 *   holds    the row in 8 N registers a thread: mean and variance are two passes over registers
 *   bytes    a row: reads x, residual; writes z (over x), y: 4 H sizeof(T), + 8; bias, gamma, beta (12 H) once a block
 *            from the second-level cache. BERT-base in bf16: 6.1 KB a row
 *   work     about 12 H FLOPs, and with dropout H / 4 Philox calls (about 100 integer instructions each)
 *
 * residual_norm_backward<T, N, WARPS>
 *   grid     rt_partial_blocks(rows) blocks, each takes every gridDim-th group of rows
 *   shared   4,224 bytes: warps' sums are added before they leave the block
 *   holds    z and dy, and three column sums: 40 N registers
 *   bytes    a row: reads z, dy; writes dresidual, dx: 4 H sizeof(T), + 8; partials 12 H a block, read once more
 *   work     about 20 H FLOPs, the mask recomputed
 *   order    a column's sum: rows of a warp ascending, warps, then blocks (columns.cu): fixed by rows alone */
#include "common.cuh"

struct norm_forward_params {
    rt_places places;
    rt_mask_args mask;
    void *x;
    const float *bias;
    const void *residual;
    const float *gamma, *beta;
    void *y;
    float *mean, *rstd;
    float eps;
    int64_t rows, width;
};

template <typename T, int N, int WARPS>
static __global__ void __launch_bounds__(rt_row_shape<WARPS>::THREADS, 1)
    residual_norm_forward_kernel(norm_forward_params a) {
    enum { ROWS = rt_row_shape<WARPS>::ROWS };
    const int thread = WARPS == 1 ? (int)threadIdx.x % 32 : (int)threadIdx.x, warp = (int)threadIdx.x / 32;
    const int32_t tokens = rt_token_count(a.places);
    const rt_mask mask = rt_mask_begin(a.mask);
    for (int64_t row = (int64_t)blockIdx.x * ROWS + (WARPS == 1 ? warp : 0); row < a.rows;
         row += (int64_t)gridDim.x * ROWS) {
        uint32_t example, position;
        const bool lives = rt_place(a.places, row, tokens, mask.on, example, position);
        T *x = (T *)a.x + row * a.width, *y = (T *)a.y + row * a.width;
        const T *residual = (const T *)a.residual + row * a.width;
        rt_octet z[N];
        float sum = 0;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const int64_t c = 8 * (int64_t)(thread + 32 * WARPS * k);
            z[k] = rt_zero8();
            if (c >= a.width || !lives) continue;
            z[k] = rt_load8(x + c);
            if (a.bias) {
                const rt_octet bias = rt_load8(a.bias + c);
#pragma unroll
                for (int i = 0; i < 8; i++) z[k].v[i] += bias.v[i];
            }
            if (mask.on) rt_mask_apply8(z[k], mask, example, position, c);
            const rt_octet other = rt_load8(residual + c);
#pragma unroll
            for (int i = 0; i < 8; i++) z[k].v[i] += other.v[i], sum += z[k].v[i];
        }
        const float mean = rt_row_sum<WARPS>(sum) / (float)a.width;
        float square = 0;
#pragma unroll
        for (int k = 0; k < N; k++)
            if (8 * (int64_t)(thread + 32 * WARPS * k) < a.width)
#pragma unroll
                for (int i = 0; i < 8; i++) square += (z[k].v[i] - mean) * (z[k].v[i] - mean);
        const float variance = rt_row_sum<WARPS>(square) / (float)a.width;
        const float rstd = lives ? 1.0f / sqrtf(variance + a.eps) : 0.0f;
        if (thread == 0) a.mean[row] = mean, a.rstd[row] = rstd;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const int64_t c = 8 * (int64_t)(thread + 32 * WARPS * k);
            if (c >= a.width) continue;
            rt_store8(x + c, z[k]);
            if (lives) {
                const rt_octet gamma = rt_load8(a.gamma + c), beta = rt_load8(a.beta + c);
#pragma unroll
                for (int i = 0; i < 8; i++) z[k].v[i] = gamma.v[i] * ((z[k].v[i] - mean) * rstd) + beta.v[i];
            }
            rt_store8(y + c, z[k]);
        }
    }
}

struct norm_backward_params {
    rt_places places;
    rt_mask_args mask;
    const void *z, *dy;
    const float *mean, *rstd, *gamma;
    void *dresidual, *dx;
    float *partials; /* [gridDim.x, 3, width]: dbias, dgamma, dbeta; NULL: none wanted */
    int64_t rows, width;
};

template <typename T, int N, int WARPS>
static __global__ void __launch_bounds__(rt_row_shape<WARPS>::THREADS, 1)
    residual_norm_backward_kernel(norm_backward_params a) {
    enum { ROWS = rt_row_shape<WARPS>::ROWS };
    const int thread = WARPS == 1 ? (int)threadIdx.x % 32 : (int)threadIdx.x, warp = (int)threadIdx.x / 32;
    const int32_t tokens = rt_token_count(a.places);
    const rt_mask mask = rt_mask_begin(a.mask);
    rt_octet sums[3][N];
#pragma unroll
    for (int i = 0; i < 3; i++)
#pragma unroll
        for (int k = 0; k < N; k++) sums[i][k] = rt_zero8();
    for (int64_t row = (int64_t)blockIdx.x * ROWS + (WARPS == 1 ? warp : 0); row < a.rows;
         row += (int64_t)gridDim.x * ROWS) {
        uint32_t example, position;
        const bool lives = rt_place(a.places, row, tokens, mask.on, example, position);
        const float mean = lives ? a.mean[row] : 0.0f, rstd = lives ? a.rstd[row] : 0.0f;
        rt_octet x[N], g[N]; /* the normalised row; gamma dy, then dz */
        float along = 0, across = 0;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const int64_t c = 8 * (int64_t)(thread + 32 * WARPS * k);
            x[k] = g[k] = rt_zero8();
            if (c >= a.width || !lives) continue;
            x[k] = rt_load8((const T *)a.z + row * a.width + c), g[k] = rt_load8((const T *)a.dy + row * a.width + c);
            const rt_octet gamma = rt_load8(a.gamma + c);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                x[k].v[i] = (x[k].v[i] - mean) * rstd;
                sums[1][k].v[i] += g[k].v[i] * x[k].v[i], sums[2][k].v[i] += g[k].v[i];
                g[k].v[i] *= gamma.v[i];
                along += g[k].v[i], across += g[k].v[i] * x[k].v[i];
            }
        }
        rt_row_sums<WARPS>(along, across);
        along /= (float)a.width, across /= (float)a.width;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const int64_t c = 8 * (int64_t)(thread + 32 * WARPS * k);
            if (c >= a.width) continue;
#pragma unroll
            for (int i = 0; i < 8; i++) g[k].v[i] = rstd * (g[k].v[i] - along - x[k].v[i] * across);
            if (!lives) g[k] = rt_zero8();
            rt_store8((T *)a.dresidual + row * a.width + c, g[k]);
            if (mask.on && lives) rt_mask_apply8(g[k], mask, example, position, c);
            rt_store8((T *)a.dx + row * a.width + c, g[k]);
#pragma unroll
            for (int i = 0; i < 8; i++) sums[0][k].v[i] += g[k].v[i];
        }
    }
    if (a.partials) rt_leave_partials<3, N, WARPS>(a.partials + (int64_t)blockIdx.x * 3 * a.width, a.width, sums);
}

template <typename T, int N, int WARPS>
static rt_status launch_forward(const rt_cuda_launch *l, const norm_forward_params &p) {
    enum { ROWS = rt_row_shape<WARPS>::ROWS, THREADS = rt_row_shape<WARPS>::THREADS };
    return rt_launch((residual_norm_forward_kernel<T, N, WARPS>), dim3((unsigned)((p.rows + ROWS - 1) / ROWS)),
                     dim3(THREADS), 0, l->stream, p);
}
template <typename T, int N, int WARPS>
static rt_status launch_backward(const rt_cuda_launch *l, const norm_backward_params &p) {
    return rt_launch((residual_norm_backward_kernel<T, N, WARPS>), dim3((unsigned)rt_partial_blocks(p.rows)),
                     dim3(rt_row_shape<WARPS>::THREADS), 0, l->stream, p);
}
template <typename T> static rt_status forward_of(const rt_cuda_launch *l, const norm_forward_params &p) {
#define CALL(n, warps) return launch_forward<T, n, warps>(l, p)
    RT_BY_WIDTH(p.width, CALL);
#undef CALL
}
template <typename T> static rt_status backward_of(const rt_cuda_launch *l, const norm_backward_params &p) {
#define CALL(n, warps) return launch_backward<T, n, warps>(l, p)
    RT_BY_WIDTH(p.width, CALL);
#undef CALL
}

extern "C" rt_status rt_cuda_residual_norm_forward_launch(const rt_cuda_launch *l,
                                                          const rt_residual_norm_forward_args *a) {
    RT_TRY(rt_check_rows(a->batch, a->hidden, &a->dropout, "residual_norm_forward"));
    RT_CHECK_ALIGNED("residual_norm_forward", a->x, a->bias, a->residual, a->gamma, a->beta, a->y);
    norm_forward_params p = {rt_places_of(a->batch, a->rows),
                             rt_mask_of(&a->dropout),
                             a->x,
                             a->bias,
                             a->residual,
                             a->gamma,
                             a->beta,
                             a->y,
                             a->mean,
                             a->rstd,
                             a->eps,
                             rt_rows_of(a->batch, a->rows),
                             a->hidden};
    if (p.rows == 0) return RT_OK;
#define CALL(T) return forward_of<T>(l, p)
    RT_BY_TYPE(l, CALL);
#undef CALL
}

extern "C" rt_status rt_cuda_residual_norm_backward_launch(const rt_cuda_launch *l,
                                                           const rt_residual_norm_backward_args *a) {
    RT_TRY(rt_check_rows(a->batch, a->hidden, &a->dropout, "residual_norm_backward"));
    RT_CHECK_ALIGNED("residual_norm_backward", a->z, a->gamma, a->dy, a->dresidual, a->dx);
    const int64_t rows = rt_rows_of(a->batch, a->rows);
    const int blocks = rt_partial_blocks(rows);
    const bool sums = a->dbias || a->dgamma || a->dbeta;
    if (sums) RT_TRY(rt_check_workspace(l, 3 * (int64_t)blocks * a->hidden, "residual_norm_backward"));
    norm_backward_params p = {rt_places_of(a->batch, a->rows),
                              rt_mask_of(&a->dropout),
                              a->z,
                              a->dy,
                              a->mean,
                              a->rstd,
                              a->gamma,
                              a->dresidual,
                              a->dx,
                              sums ? (float *)l->workspace : NULL,
                              rows,
                              a->hidden};
    if (rows > 0) {
#define CALL(T) RT_TRY(backward_of<T>(l, p))
        RT_BY_TYPE(l, CALL);
#undef CALL
    }
    if (!sums) return RT_OK;
    rt_cuda_partials_args add = {p.partials, {a->dbias, a->dgamma, a->dbeta}, 3, blocks, a->accumulate, a->hidden};
    return rt_cuda_add_partials_launch(l, &add);
}
