/* One row a sequence out of one a token (the first, or the mean), back again, and dropout on such rows.
 *
 * All: blocks of 128 threads, a warp a row of the result, eight channels a lane and step.
 *   select_rows, dropout  grid ceil(B / 4): reads and writes H sizeof(T) a row
 *   mean_rows             grid (B, ceil(H / 256)), blocks of one warp: a sequence's rows are added in order; reads
 *                         T H sizeof(T)
 *   scatter_rows          grid ceil(bucket / 4): writes every row of dx once, reads dx_add where given, dy from cache
 */
#include "common.cuh"

struct rows_params {
    rt_places places;
    rt_mask_args mask;
    const void *x, *add;
    void *y;
    int64_t rows, width;
    bool mean;
};

template <typename T> static __global__ void __launch_bounds__(128, 1) select_rows_kernel(rows_params a) {
    const int64_t b = 4 * (int64_t)blockIdx.x + threadIdx.x / 32;
    if (b >= a.rows) return;
    const int64_t first = a.places.cu_seqlens[b];
    const bool empty = a.places.cu_seqlens[b + 1] == first;
    for (int64_t c = 8 * (int64_t)(threadIdx.x % 32); c < a.width; c += 256)
        rt_store8((T *)a.y + b * a.width + c, empty ? rt_zero8() : rt_load8((const T *)a.x + first * a.width + c));
}

template <typename T> static __global__ void __launch_bounds__(32, 1) mean_rows_kernel(rows_params a) {
    enum { AHEAD = 4 };
    const int64_t b = blockIdx.x, c = 256 * (int64_t)blockIdx.y + 8 * (int64_t)threadIdx.x;
    const int64_t first = a.places.cu_seqlens[b], end = a.places.cu_seqlens[b + 1];
    if (c >= a.width) return;
    rt_octet sum = rt_zero8();
    for (int64_t row = first; row < end; row += AHEAD) {
        rt_octet x[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            x[j] = row + j < end ? rt_load8((const T *)a.x + (row + j) * a.width + c) : rt_zero8();
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
#pragma unroll
            for (int i = 0; i < 8; i++) sum.v[i] += x[j].v[i];
    }
    const float length = end > first ? (float)(end - first) : 1.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) sum.v[i] /= length;
    rt_store8((T *)a.y + b * a.width + c, sum);
}

template <typename T> static __global__ void __launch_bounds__(128, 1) scatter_rows_kernel(rows_params a) {
    const int64_t row = 4 * (int64_t)blockIdx.x + threadIdx.x / 32;
    if (row >= a.rows) return;
    const bool lives = row < rt_token_count(a.places);
    const int64_t b = lives ? rt_sequence_of(a.places, row) : 0;
    const int64_t first = lives ? a.places.cu_seqlens[b] : 0;
    const float divisor = lives && a.mean ? (float)(a.places.cu_seqlens[b + 1] - first) : 1.0f;
    const bool takes_part = lives && (a.mean || row == first);
    for (int64_t c = 8 * (int64_t)(threadIdx.x % 32); c < a.width; c += 256) {
        rt_octet dx = lives && a.add ? rt_load8((const T *)a.add + row * a.width + c) : rt_zero8();
        if (takes_part) {
            const rt_octet dy = rt_load8((const T *)a.x + b * a.width + c);
#pragma unroll
            for (int i = 0; i < 8; i++) dx.v[i] = a.add ? dy.v[i] / divisor + dx.v[i] : dy.v[i] / divisor;
        }
        rt_store8((T *)a.y + row * a.width + c, dx);
    }
}

template <typename T> static __global__ void __launch_bounds__(128, 1) dropout_kernel(rows_params a) {
    const int64_t b = 4 * (int64_t)blockIdx.x + threadIdx.x / 32;
    const rt_mask mask = rt_mask_begin(a.mask);
    if (b >= a.rows) return;
    for (int64_t c = 8 * (int64_t)(threadIdx.x % 32); c < a.width; c += 256) {
        rt_octet x = rt_load8((const T *)a.x + b * a.width + c);
        if (mask.on) rt_mask_apply8(x, mask, a.places.example_id[b], 0, c);
        rt_store8((T *)a.y + b * a.width + c, x);
    }
}

static dim3 four_rows(int64_t rows) {
    return dim3((unsigned)((rows + 3) / 4));
}

static rt_status forward(const rt_cuda_launch *l, const rt_rows_forward_args *a, bool mean, const char *op) {
    RT_TRY(rt_check_rows(a->batch, a->hidden, NULL, op));
    RT_CHECK_ALIGNED(op, a->x, a->y);
    rows_params p = {rt_places_of(a->batch, RT_ROWS_FIRST), {}, a->x, NULL, a->y, a->batch->n_seqs, a->hidden, mean};
    if (p.rows == 0) return RT_OK;
    const dim3 grid((unsigned)p.rows, (unsigned)((a->hidden + 255) / 256));
#define CALL(T)                                                                                                        \
    return mean ? rt_launch(mean_rows_kernel<T>, grid, dim3(32), 0, l->stream, p)                                      \
                : rt_launch(select_rows_kernel<T>, four_rows(p.rows), dim3(128), 0, l->stream, p)
    RT_BY_TYPE(l, CALL);
#undef CALL
}

static rt_status backward(const rt_cuda_launch *l, const rt_rows_backward_args *a, bool mean, const char *op) {
    RT_TRY(rt_check_rows(a->batch, a->hidden, NULL, op));
    RT_CHECK_ALIGNED(op, a->dy, a->dx, a->dx_add);
    rows_params p = {
        rt_places_of(a->batch, RT_ROWS_TOKENS), {}, a->dy, a->dx_add, a->dx, a->batch->bucket, a->hidden, mean};
    if (p.rows == 0) return RT_OK;
#define CALL(T) return rt_launch(scatter_rows_kernel<T>, four_rows(p.rows), dim3(128), 0, l->stream, p)
    RT_BY_TYPE(l, CALL);
#undef CALL
}

extern "C" rt_status rt_cuda_select_rows_forward_launch(const rt_cuda_launch *l, const rt_rows_forward_args *a) {
    return forward(l, a, false, "select_rows_forward");
}
extern "C" rt_status rt_cuda_mean_rows_forward_launch(const rt_cuda_launch *l, const rt_rows_forward_args *a) {
    return forward(l, a, true, "mean_rows_forward");
}
extern "C" rt_status rt_cuda_select_rows_backward_launch(const rt_cuda_launch *l, const rt_rows_backward_args *a) {
    return backward(l, a, false, "select_rows_backward");
}
extern "C" rt_status rt_cuda_mean_rows_backward_launch(const rt_cuda_launch *l, const rt_rows_backward_args *a) {
    return backward(l, a, true, "mean_rows_backward");
}

extern "C" rt_status rt_cuda_dropout_launch(const rt_cuda_launch *l, const rt_dropout_args *a) {
    RT_TRY(rt_check_rows(a->batch, a->hidden, &a->dropout, "dropout"));
    RT_CHECK_ALIGNED("dropout", a->x, a->y);
    rows_params p = {rt_places_of(a->batch, RT_ROWS_FIRST),
                     rt_mask_of(&a->dropout),
                     a->x,
                     NULL,
                     a->y,
                     a->batch->n_seqs,
                     a->hidden,
                     false};
    if (p.rows == 0) return RT_OK;
#define CALL(T) return rt_launch(dropout_kernel<T>, four_rows(p.rows), dim3(128), 0, l->stream, p)
    RT_BY_TYPE(l, CALL);
#undef CALL
}
