/* What kernels share, written in nothing but C++ and device.cuh: eight channels at a time, dropout's words, sums over a
 * row, places in a packed batch, checks before a launch. */
#ifndef RT_CUDA_COMMON_CUH
#define RT_CUDA_COMMON_CUH
#include "launch.h"
#include <device.cuh>

#define RT_FULL 0xffffffffu

/* --- eight neighbouring channels: one access of 16 bytes in bf16, two in fp32 ------------------------------------- */

struct rt_octet {
    float v[8];
};

static __device__ __forceinline__ rt_octet rt_load8(const float *from) {
    rt_quad a = rt_load16(from), b = rt_load16(from + 4);
    rt_octet o;
#pragma unroll
    for (int i = 0; i < 4; i++) o.v[i] = rt_float_of(a.w[i]), o.v[4 + i] = rt_float_of(b.w[i]);
    return o;
}
static __device__ __forceinline__ rt_octet rt_load8(const rt_bf16 *from) {
    rt_quad a = rt_load16(from);
    rt_octet o;
#pragma unroll
    for (int i = 0; i < 4; i++)
        o.v[2 * i] = rt_float_of(a.w[i] << 16), o.v[2 * i + 1] = rt_float_of(a.w[i] & 0xffff0000u);
    return o;
}
static __device__ __forceinline__ void rt_store8(float *to, const rt_octet &o) {
    rt_quad a, b;
#pragma unroll
    for (int i = 0; i < 4; i++) a.w[i] = rt_bits_of(o.v[i]), b.w[i] = rt_bits_of(o.v[4 + i]);
    rt_store16(to, a);
    rt_store16(to + 4, b);
}
static __device__ __forceinline__ void rt_store8(rt_bf16 *to, const rt_octet &o) {
    rt_quad a;
#pragma unroll
    for (int i = 0; i < 4; i++) a.w[i] = rt_pack_bf16(o.v[2 * i], o.v[2 * i + 1]);
    rt_store16(to, a);
}
static __device__ __forceinline__ rt_octet rt_zero8() {
    rt_octet o;
#pragma unroll
    for (int i = 0; i < 8; i++) o.v[i] = 0;
    return o;
}

static __device__ __forceinline__ float rt_load1(const float *from) {
    return *from;
}
static __device__ __forceinline__ float rt_load1(const rt_bf16 *from) {
    return rt_float_of((uint32_t)*from << 16);
}
static __device__ __forceinline__ void rt_store1(float *to, float x) {
    *to = x;
}
static __device__ __forceinline__ void rt_store1(rt_bf16 *to, float x) {
    *to = (rt_bf16)rt_pack_bf16(x, 0.0f);
}

/* --- dropout (contract: rt_dropout in types.h) -------------------------------------------------------------------- */

/* What the host knows; the step is read on the device, so that a captured launch replays for every step. */
struct rt_mask_args {
    uint32_t key0, key1, site_view, threshold;
    float scale;
    const rt_step_state *state; /* NULL: no dropout */
};
struct rt_mask {
    uint32_t key0, key1, step, site_view, threshold;
    float scale;
    bool on;
};

static inline rt_mask_args rt_mask_of(const rt_dropout *d) {
    double p = (double)d->p;
    rt_mask_args m = {(uint32_t)d->seed,
                      (uint32_t)(d->seed >> 32),
                      (uint32_t)d->site << 16 | d->view,
                      (uint32_t)(p * 4294967296.0),
                      (float)(1.0 / (1.0 - p)),
                      d->p > 0 ? d->state : NULL};
    return m;
}

static __device__ __forceinline__ rt_mask rt_mask_begin(const rt_mask_args &a) {
    rt_mask m = {a.key0, a.key1, a.state ? a.state->step : 0, a.site_view, a.threshold, a.scale, a.state != NULL};
    return m;
}

/* Philox4x32-10, Salmon et al. 2011. */
static __device__ __forceinline__ void rt_mask_words(uint32_t w[4], const rt_mask &m, uint32_t example, uint32_t c3) {
    uint32_t c0 = m.step, c1 = example, c2 = m.site_view, k0 = m.key0, k1 = m.key1;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        uint32_t high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        uint32_t high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    w[0] = c0, w[1] = c1, w[2] = c2, w[3] = c3;
}

/* Eight channels from `channel` on, of the token at `position` of `example`: times 0 or the scale. */
static __device__ __forceinline__ void rt_mask_apply8(rt_octet &o, const rt_mask &m, uint32_t example,
                                                      uint32_t position, int64_t channel) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t w[4];
        rt_mask_words(w, m, example, position << 16 | ((uint32_t)(channel / 4) + (uint32_t)half));
#pragma unroll
        for (int i = 0; i < 4; i++) o.v[4 * half + i] *= w[i] >= m.threshold ? m.scale : 0.0f;
    }
}

/* --- sums ----------------------------------------------------------------------------------------------------------
 */

/* Every lane gets the same bits: at each step both partners add the same two numbers. */
static __device__ __forceinline__ float rt_warp_sum(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(RT_FULL, x, lanes);
    return x;
}

/* The sums of a and b over a row that WARPS warps hold together; WARPS > 1: the whole block, which must arrive. */
template <int WARPS> static __device__ __forceinline__ void rt_row_sums(float &a, float &b) {
    a = rt_warp_sum(a), b = rt_warp_sum(b);
    if (WARPS > 1) {
        RT_SHARED(float, parts, 2 * WARPS);
        int warp = (int)threadIdx.x / 32;
        if (threadIdx.x % 32 == 0) parts[2 * warp] = a, parts[2 * warp + 1] = b;
        __syncthreads();
        a = b = 0;
        for (int w = 0; w < WARPS; w++) a += parts[2 * w], b += parts[2 * w + 1];
        __syncthreads();
    }
}
template <int WARPS> static __device__ __forceinline__ float rt_row_sum(float a) {
    float nothing = 0;
    if (WARPS == 1) return rt_warp_sum(a);
    rt_row_sums<WARPS>(a, nothing);
    return a;
}

/* --- places in a packed batch --------------------------------------------------------------------------------------
 */

/* The device's part of a batch. */
struct rt_places {
    const int32_t *cu_seqlens;
    const uint32_t *example_id;
    int32_t n_seqs;
    bool first; /* rows are first tokens of sequences */
};
static inline rt_places rt_places_of(const rt_batch *batch, rt_rows rows) {
    rt_places p = {batch->cu_seqlens, batch->example_id, batch->n_seqs, rows == RT_ROWS_FIRST};
    return p;
}
static inline int64_t rt_rows_of(const rt_batch *batch, rt_rows rows) {
    return rows == RT_ROWS_FIRST ? batch->n_seqs : batch->bucket;
}

static __device__ __forceinline__ int32_t rt_token_count(const rt_places &p) {
    return p.n_seqs > 0 ? p.cu_seqlens[p.n_seqs] : 0;
}

/* The sequence of a token: the last that begins at or before it. All lanes of a warp ask for the same row; each round
 * leaves a thirty-second of the range. */
static __device__ __forceinline__ int32_t rt_sequence_of(const rt_places &p, int64_t row) {
    int32_t low = 0, high = p.n_seqs;
    while (high - low > 1) {
        int32_t step = (high - low + 31) / 32, mine = low + (int32_t)(threadIdx.x % 32) * step;
        uint32_t before = __ballot_sync(RT_FULL, mine < high && p.cu_seqlens[mine] <= row);
        low += (__popc(before) - 1) * step;
        if (high > low + step) high = low + step;
    }
    return low;
}

/* False for rows that hold no token. The example and position are found where `wanted` only. */
static __device__ __forceinline__ bool rt_place(const rt_places &p, int64_t row, int32_t tokens, bool wanted,
                                                uint32_t &example, uint32_t &position) {
    example = position = 0;
    if (p.first) {
        if (p.cu_seqlens[row + 1] == p.cu_seqlens[row]) return false;
        if (wanted) example = p.example_id[row];
        return true;
    }
    if (row >= tokens) return false;
    if (wanted) {
        int32_t sequence = rt_sequence_of(p, row);
        example = p.example_id[sequence], position = (uint32_t)(row - p.cu_seqlens[sequence]);
    }
    return true;
}

/* --- rows in registers: N octets a thread, WARPS warps a row --------------------------------------------------------
 */

/* Calls CALL(N, WARPS) for a width: up to 1,024 a warp holds a row, beyond a block of eight warps. */
#define RT_BY_WIDTH(width, CALL)                                                                                       \
    do {                                                                                                               \
        int64_t octets_ = (width) / 8;                                                                                 \
        if (octets_ <= 32)                                                                                             \
            CALL(1, 1);                                                                                                \
        else if (octets_ <= 64)                                                                                        \
            CALL(2, 1);                                                                                                \
        else if (octets_ <= 96)                                                                                        \
            CALL(3, 1);                                                                                                \
        else if (octets_ <= 128)                                                                                       \
            CALL(4, 1);                                                                                                \
        else if (octets_ <= 256)                                                                                       \
            CALL(1, 8);                                                                                                \
        else                                                                                                           \
            CALL(4, 8);                                                                                                \
    } while (0)

template <int WARPS> struct rt_row_shape {
    enum { THREADS = WARPS == 1 ? 128 : 32 * WARPS, ROWS = WARPS == 1 ? 4 : 1 }; /* of a block */
};
#define RT_BY_TYPE(l, CALL)                                                                                            \
    do {                                                                                                               \
        if ((l)->act == RT_BF16)                                                                                       \
            CALL(rt_bf16);                                                                                             \
        else                                                                                                           \
            CALL(float);                                                                                               \
    } while (0)

/* Blocks of a kernel that sums over rows: each leaves one partial, so their number may depend on the rows alone.
 * Sixteen rows a block at least, and no more blocks than two on each of 132 processors. */
enum { RT_PARTIAL_BLOCKS_MAX = 264 };
static inline int rt_partial_blocks(int64_t rows) {
    int64_t blocks = (rows + 15) / 16;
    return blocks > RT_PARTIAL_BLOCKS_MAX ? RT_PARTIAL_BLOCKS_MAX : (int)blocks;
}

/* Leaves the block's sums, COUNT of them for each column, at to[i * width + column]. Warps are added in order. */
template <int COUNT, int N, int WARPS>
static __device__ __forceinline__ void rt_leave_partials(float *to, int64_t width, const rt_octet (&sums)[COUNT][N]) {
    if (WARPS > 1) {
        for (int i = 0; i < COUNT; i++)
#pragma unroll
            for (int k = 0; k < N; k++) {
                int64_t column = 8 * ((int64_t)threadIdx.x + 32 * WARPS * k);
                if (column < width) rt_store8(to + i * width + column, sums[i][k]);
            }
        return;
    }
    enum { ROWS = rt_row_shape<1>::ROWS, PITCH = 33 * 8 }; /* 33: lanes that read beside one another hit other banks */
    RT_SHARED(float, tile, ROWS *PITCH);
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < COUNT; i++)
#pragma unroll
        for (int k = 0; k < N; k++) {
#pragma unroll
            for (int j = 0; j < 8; j++) tile[warp * PITCH + j * 33 + lane] = sums[i][k].v[j];
            __syncthreads();
            for (int c = (int)threadIdx.x; c < 256; c += rt_row_shape<1>::THREADS) {
                float sum = 0;
                for (int w = 0; w < ROWS; w++) sum += tile[w * PITCH + c % 8 * 33 + c / 8];
                if (256 * k + c < width) to[i * width + 256 * k + c] = sum;
            }
            __syncthreads();
        }
}

/* --- checks, on the host --------------------------------------------------------------------------------------------
 */

static inline bool rt_aligned16(const void *p) {
    return (uintptr_t)p % 16 == 0;
}

static inline rt_status rt_check_rows(const rt_batch *batch, int64_t width, const rt_dropout *dropout, const char *op) {
    if (width < 8 || width % 8 || width > RT_CUDA_WIDTH_MAX)
        return rt_fail(RT_ESHAPE, "%s: width %lld; a multiple of 8 up to %d is needed", op, (long long)width,
                       (int)RT_CUDA_WIDTH_MAX);
    if (dropout && (dropout->p < 0 || !(dropout->p < 1) || (dropout->p > 0 && !dropout->state)))
        return rt_fail(RT_ESHAPE, "%s: dropout %g%s; 0 <= p < 1 is needed, and a step state if p > 0", op,
                       (double)dropout->p, dropout->state ? "" : " without a step state");
    if (batch->n_tokens < 0 || batch->n_seqs < 0 || batch->bucket < batch->n_tokens || batch->n_seqs > batch->capacity)
        return rt_fail(RT_ESHAPE, "%s: a batch of %d tokens in a bucket of %d, %d sequences with room for %d", op,
                       batch->n_tokens, batch->bucket, batch->n_seqs, batch->capacity);
    if (!batch->n_seqs && batch->n_tokens)
        return rt_fail(RT_ESHAPE, "%s: %d tokens in no sequence", op, batch->n_tokens);
    return RT_OK;
}

static inline rt_status rt_check_aligned(const void *const *pointers, int count, const char *op) {
    for (int i = 0; i < count; i++)
        if (!rt_aligned16(pointers[i]))
            return rt_fail(RT_ESHAPE, "%s: pointer %d of its arguments, %p, is not aligned to 16 bytes", op, i,
                           pointers[i]);
    return RT_OK;
}
#define RT_CHECK_ALIGNED(op, ...)                                                                                      \
    do {                                                                                                               \
        const void *const pointers_[] = {__VA_ARGS__};                                                                 \
        RT_TRY(rt_check_aligned(pointers_, (int)(sizeof pointers_ / sizeof *pointers_), op));                          \
    } while (0)

static inline rt_status rt_check_workspace(const rt_cuda_launch *l, int64_t floats, const char *op) {
    size_t bytes = (size_t)floats * sizeof(float);
    if (bytes <= l->workspace_bytes && rt_aligned16(l->workspace)) return RT_OK;
    return rt_fail(RT_ESHAPE, "%s: needs %zu bytes of workspace, aligned to 16; there are %zu", op, bytes,
                   l->workspace_bytes);
}

#endif
