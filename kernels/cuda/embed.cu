/* y = dropout(LayerNorm(word[id] + position[pos] + type[ty])), and the gradients of the three tables. No atomics: every
 * element has one writer, who adds in a fixed order.
 *
 * embed_forward<T, N, WARPS>
 *   grid     ceil(bucket / 4) blocks of 128 threads, a warp a row (width up to 1,024); or a block of 256 a row
 *   bytes    a row: 12 H of tables (position and type from the second-level cache), writes H sizeof(T) + 8
 *   work     about 11 H FLOPs, H / 4 Philox calls with dropout
 *
 * embed_backward<T, N, WARPS>: dy becomes the gradient of the sum, in place
 *   grid     rt_partial_blocks(bucket) blocks, rows dealt in turn; shared 4,224 bytes
 *   bytes    a row: 12 H of tables, reads and writes H sizeof(T); partials 8 H a block
 *
 * embed_words<T>: grid (tokens, ceil(H / 256)), blocks of one warp, eight channels a lane. The warp at place i of the
 *   sorted index works if a new word begins there, and adds the word's rows in the index's order, eight loads under way
 *   at a time. bytes: reads T H sizeof(T) once, writes 4 H for each word that occurs. The longest run sets the time:
 *   about 0.1 microseconds a row of it (estimated from latency), beside everything else.
 * embed_positions<T>: grid (longest sequence, ceil(H / 256)), blocks of one warp, which adds its position's rows over
 *   the sequences in order. bytes: T H sizeof(T), writes 4 H a position.
 * Types: column sums of the rows of one type (columns.cu), once for each: T H sizeof(T) a type. */
#include "common.cuh"

struct embed_tables {
    const int32_t *ids, *positions, *types;
    const float *word, *position, *type;
};

static __device__ __forceinline__ rt_octet add_tables(const embed_tables &t, int64_t row, int64_t c, int64_t width) {
    rt_octet sum = rt_load8(t.word + (int64_t)t.ids[row] * width + c);
    const rt_octet position = rt_load8(t.position + (int64_t)t.positions[row] * width + c);
    const rt_octet type = rt_load8(t.type + (int64_t)t.types[row] * width + c);
#pragma unroll
    for (int i = 0; i < 8; i++) sum.v[i] = sum.v[i] + position.v[i] + type.v[i];
    return sum;
}

struct embed_forward_params {
    rt_places places;
    rt_mask_args mask;
    embed_tables tables;
    const float *gamma, *beta;
    void *y;
    float *mean, *rstd;
    float eps;
    int64_t rows, width;
};

template <typename T, int N, int WARPS>
static __global__ void __launch_bounds__(rt_row_shape<WARPS>::THREADS, 1) embed_forward_kernel(embed_forward_params a) {
    enum { ROWS = rt_row_shape<WARPS>::ROWS };
    const int thread = WARPS == 1 ? (int)threadIdx.x % 32 : (int)threadIdx.x, warp = (int)threadIdx.x / 32;
    const int32_t tokens = rt_token_count(a.places);
    const rt_mask mask = rt_mask_begin(a.mask);
    for (int64_t row = (int64_t)blockIdx.x * ROWS + (WARPS == 1 ? warp : 0); row < a.rows;
         row += (int64_t)gridDim.x * ROWS) {
        uint32_t example, position;
        const bool lives = rt_place(a.places, row, tokens, mask.on, example, position);
        rt_octet z[N];
        float sum = 0;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const int64_t c = 8 * (int64_t)(thread + 32 * WARPS * k);
            z[k] = rt_zero8();
            if (c >= a.width || !lives) continue;
            z[k] = add_tables(a.tables, row, c, a.width);
#pragma unroll
            for (int i = 0; i < 8; i++) sum += z[k].v[i];
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
            if (lives) {
                const rt_octet gamma = rt_load8(a.gamma + c), beta = rt_load8(a.beta + c);
#pragma unroll
                for (int i = 0; i < 8; i++) z[k].v[i] = gamma.v[i] * ((z[k].v[i] - mean) * rstd) + beta.v[i];
                if (mask.on) rt_mask_apply8(z[k], mask, example, position, c);
            }
            rt_store8((T *)a.y + row * a.width + c, z[k]);
        }
    }
}

struct embed_backward_params {
    rt_places places;
    rt_mask_args mask;
    embed_tables tables;
    const float *mean, *rstd, *gamma;
    void *dy;
    float *partials; /* [gridDim.x, 2, width]: dgamma, dbeta; NULL: none wanted */
    int64_t rows, width;
};

template <typename T, int N, int WARPS>
static __global__ void __launch_bounds__(rt_row_shape<WARPS>::THREADS, 1)
    embed_backward_kernel(embed_backward_params a) {
    enum { ROWS = rt_row_shape<WARPS>::ROWS };
    const int thread = WARPS == 1 ? (int)threadIdx.x % 32 : (int)threadIdx.x, warp = (int)threadIdx.x / 32;
    const int32_t tokens = rt_token_count(a.places);
    const rt_mask mask = rt_mask_begin(a.mask);
    rt_octet sums[2][N];
#pragma unroll
    for (int k = 0; k < N; k++) sums[0][k] = sums[1][k] = rt_zero8();
    for (int64_t row = (int64_t)blockIdx.x * ROWS + (WARPS == 1 ? warp : 0); row < a.rows;
         row += (int64_t)gridDim.x * ROWS) {
        uint32_t example, position;
        const bool lives = rt_place(a.places, row, tokens, mask.on, example, position);
        const float mean = lives ? a.mean[row] : 0.0f, rstd = lives ? a.rstd[row] : 0.0f;
        T *dy = (T *)a.dy + row * a.width;
        rt_octet x[N], g[N];
        float along = 0, across = 0;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const int64_t c = 8 * (int64_t)(thread + 32 * WARPS * k);
            x[k] = g[k] = rt_zero8();
            if (c >= a.width || !lives) continue;
            x[k] = add_tables(a.tables, row, c, a.width), g[k] = rt_load8(dy + c);
            if (mask.on) rt_mask_apply8(g[k], mask, example, position, c);
            const rt_octet gamma = rt_load8(a.gamma + c);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                x[k].v[i] = (x[k].v[i] - mean) * rstd;
                sums[0][k].v[i] += g[k].v[i] * x[k].v[i], sums[1][k].v[i] += g[k].v[i];
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
            rt_store8(dy + c, g[k]);
        }
    }
    if (a.partials) rt_leave_partials<2, N, WARPS>(a.partials + (int64_t)blockIdx.x * 2 * a.width, a.width, sums);
}

/* Rows of dy, eight loads under way at a time, added in order. next(i): the i-th row, or below 0 for none. */
enum { AHEAD = 8 };

struct words_params {
    rt_places places;
    const int32_t *sorted, *ids;
    const void *dy;
    float *table;
    int64_t width;
};

template <typename T> static __global__ void __launch_bounds__(32, 1) embed_words_kernel(words_params a) {
    const int64_t first = blockIdx.x, c = 256 * (int64_t)blockIdx.y + 8 * (int64_t)threadIdx.x;
    const int32_t tokens = rt_token_count(a.places);
    if (first >= tokens || c >= a.width) return;
    const int32_t id = a.ids[a.sorted[first]];
    if (first > 0 && a.ids[a.sorted[first - 1]] == id) return;
    rt_octet sum = rt_load8(a.table + (int64_t)id * a.width + c);
    bool more = true;
    for (int64_t i = first; more; i += AHEAD) {
        rt_octet row[AHEAD];
        bool mine[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            const int32_t token = i + j < tokens ? a.sorted[i + j] : 0;
            mine[j] = i + j < tokens && a.ids[token] == id;
            row[j] = mine[j] ? rt_load8((const T *)a.dy + (int64_t)token * a.width + c) : rt_zero8();
        }
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            if (mine[j])
#pragma unroll
                for (int k = 0; k < 8; k++) sum.v[k] += row[j].v[k];
        more = mine[AHEAD - 1];
    }
    rt_store8(a.table + (int64_t)id * a.width + c, sum);
}

struct positions_params {
    rt_places places;
    const void *dy;
    float *table;
    int64_t width;
};

template <typename T> static __global__ void __launch_bounds__(32, 1) embed_positions_kernel(positions_params a) {
    const int64_t position = blockIdx.x, c = 256 * (int64_t)blockIdx.y + 8 * (int64_t)threadIdx.x;
    if (c >= a.width) return;
    float *to = a.table + position * a.width + c;
    rt_octet sum = rt_load8(to);
    for (int32_t b = 0; b < a.places.n_seqs; b += AHEAD) {
        rt_octet row[AHEAD];
        bool mine[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            const bool there = b + j < a.places.n_seqs;
            const int64_t token = there ? a.places.cu_seqlens[b + j] + position : 0;
            mine[j] = there && token < a.places.cu_seqlens[b + j + 1];
            row[j] = mine[j] ? rt_load8((const T *)a.dy + token * a.width + c) : rt_zero8();
        }
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            if (mine[j])
#pragma unroll
                for (int k = 0; k < 8; k++) sum.v[k] += row[j].v[k];
    }
    rt_store8(to, sum);
}

template <typename T, int N, int WARPS>
static rt_status launch_forward(const rt_cuda_launch *l, const embed_forward_params &p) {
    enum { ROWS = rt_row_shape<WARPS>::ROWS, THREADS = rt_row_shape<WARPS>::THREADS };
    return rt_launch((embed_forward_kernel<T, N, WARPS>), dim3((unsigned)((p.rows + ROWS - 1) / ROWS)), dim3(THREADS),
                     0, l->stream, p);
}
template <typename T, int N, int WARPS>
static rt_status launch_backward(const rt_cuda_launch *l, const embed_backward_params &p) {
    return rt_launch((embed_backward_kernel<T, N, WARPS>), dim3((unsigned)rt_partial_blocks(p.rows)),
                     dim3(rt_row_shape<WARPS>::THREADS), 0, l->stream, p);
}
template <typename T> static rt_status forward_of(const rt_cuda_launch *l, const embed_forward_params &p) {
#define CALL(n, warps) return launch_forward<T, n, warps>(l, p)
    RT_BY_WIDTH(p.width, CALL);
#undef CALL
}

/* The rows, then the tables: each reads what the rows left in dy. */
template <typename T>
static rt_status backward_of(const rt_cuda_launch *l, const rt_embed_backward_args *a, const embed_backward_params &p) {
    const rt_batch *batch = a->batch;
    const unsigned slices = (unsigned)((a->hidden + 255) / 256);
#define CALL(n, warps) RT_TRY((launch_backward<T, n, warps>(l, p)))
    RT_BY_WIDTH(p.width, CALL);
#undef CALL
    if (a->dword) {
        words_params w = {p.places, batch->sorted_tokens, batch->input_ids, a->dy, a->dword, a->hidden};
        RT_TRY(rt_launch(embed_words_kernel<T>, dim3((unsigned)p.rows, slices), dim3(32), 0, l->stream, w));
    }
    if (a->dposition && batch->max_len > 0) {
        positions_params w = {p.places, a->dy, a->dposition, a->hidden};
        RT_TRY(rt_launch(embed_positions_kernel<T>, dim3((unsigned)batch->max_len, slices), dim3(32), 0, l->stream, w));
    }
    return RT_OK;
}

extern "C" rt_status rt_cuda_embed_forward_launch(const rt_cuda_launch *l, const rt_embed_forward_args *a) {
    RT_TRY(rt_check_rows(a->batch, a->hidden, &a->dropout, "embed_forward"));
    RT_CHECK_ALIGNED("embed_forward", a->word, a->position, a->type, a->gamma, a->beta, a->y);
    embed_forward_params p = {
        rt_places_of(a->batch, RT_ROWS_TOKENS),
        rt_mask_of(&a->dropout),
        {a->batch->input_ids, a->batch->positions, a->batch->types, a->word, a->position, a->type},
        a->gamma,
        a->beta,
        a->y,
        a->mean,
        a->rstd,
        a->eps,
        a->batch->bucket,
        a->hidden};
    if (p.rows == 0) return RT_OK;
#define CALL(T) return forward_of<T>(l, p)
    RT_BY_TYPE(l, CALL);
#undef CALL
}

static rt_status zero_tables(const rt_cuda_launch *l, const rt_embed_backward_args *a) {
    const size_t row = (size_t)a->hidden * sizeof(float);
    if (a->accumulate) return RT_OK;
    if (a->dword) RT_TRY(rt_zero_async(a->dword, (size_t)a->vocab * row, l->stream));
    if (a->dposition) RT_TRY(rt_zero_async(a->dposition, (size_t)a->max_positions * row, l->stream));
    return RT_OK;
}

extern "C" rt_status rt_cuda_embed_backward_launch(const rt_cuda_launch *l, const rt_embed_backward_args *a) {
    const rt_batch *batch = a->batch;
    RT_TRY(rt_check_rows(batch, a->hidden, &a->dropout, "embed_backward"));
    RT_CHECK_ALIGNED("embed_backward", a->word, a->position, a->type, a->gamma, a->dy, a->dword, a->dposition,
                     a->dtype);
    if (batch->max_len > a->max_positions)
        return rt_fail(RT_ESHAPE, "embed_backward: a sequence of %d tokens, but %lld rows of positions", batch->max_len,
                       (long long)a->max_positions);
    if (a->dword && !batch->sorted_tokens && batch->n_tokens)
        return rt_fail(RT_ESHAPE, "embed_backward: the word table's gradient needs the batch's sorted_tokens");
    const int blocks = rt_partial_blocks(batch->bucket);
    const bool sums = a->dgamma || a->dbeta;
    if (sums) RT_TRY(rt_check_workspace(l, 2 * (int64_t)blocks * a->hidden, "embed_backward"));
    embed_backward_params p = {rt_places_of(batch, RT_ROWS_TOKENS),
                               rt_mask_of(&a->dropout),
                               {batch->input_ids, batch->positions, batch->types, a->word, a->position, a->type},
                               a->mean,
                               a->rstd,
                               a->gamma,
                               a->dy,
                               sums ? (float *)l->workspace : NULL,
                               batch->bucket,
                               a->hidden};
    RT_TRY(zero_tables(l, a));
    if (p.rows > 0) {
#define CALL(T) RT_TRY(backward_of<T>(l, a, p))
        RT_BY_TYPE(l, CALL);
#undef CALL
    }
    if (sums) {
        rt_cuda_partials_args add = {p.partials, {a->dgamma, a->dbeta, NULL}, 2, blocks, a->accumulate, a->hidden};
        RT_TRY(rt_cuda_add_partials_launch(l, &add));
    }
    for (int32_t type = 0; a->dtype && type < a->type_vocab; type++) {
        rt_cuda_column_sums_args add = {a->dy,         batch->types,  batch->cu_seqlens,
                                        type,          batch->n_seqs, a->dtype + type * a->hidden,
                                        a->accumulate, p.rows,        a->hidden};
        RT_TRY(rt_cuda_column_sums_launch(l, &add));
    }
    return RT_OK;
}
