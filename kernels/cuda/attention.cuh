/* Attention over packed short sequences: what its kernels share. With s = scale q k, p = softmax(s), m = mask /
 * (1 - dropout), per sequence and head:
 *   out = (p m) v     lse = log sum e^s
 *   dv = (p m)^T dout     dp = m (dout v^T)     ds = p (dp - delta), delta = sum_j p_j dp_j     dq, dk = scale ds k,
 * ds^T q
 *
 * Tiles in shared memory are rows of D bf16 in pieces of 16 bytes; a piece's place in its row is turned by the row's
 * number, so that the eight rows of one ldmatrix, and the eight rows that a warp's lanes write, lie in eight different
 * groups of banks. */
#ifndef RT_CUDA_ATTENTION_CUH
#define RT_CUDA_ATTENTION_CUH
#include "common.cuh"

enum {
    RT_ATTENTION_MOST = 512, /* tokens of a sequence */
    RT_ATTENTION_SHORT = 64, /* up to here one tile has all keys, for every head size */
    RT_ATTENTION_TAILS = 8   /* blocks that zero the rows beyond the tokens */
};

/* As a kernel takes it. Row r of head h of a tensor begins at pointer + r * stride + h * D. */
struct attention_params {
    rt_places places;
    rt_mask_args mask;
    const void *q, *k, *v, *dout;
    void *out, *dq, *dk, *dv;
    int64_t q_stride, k_stride, v_stride, out_stride, dq_stride, dk_stride, dv_stride;
    float *lse;             /* [heads, rows] or NULL */
    int64_t rows, bucket;   /* of q, out and lse; of k and v */
    int32_t heads, sharing; /* sharing: blocks that a sequence's heads are dealt to */
    float scale;
};

static __device__ __forceinline__ int rt_least(int a, int b) {
    return a < b ? a : b;
}

/* --- a block's place: sequence, heads -------------------------------------------------------------------------------
 */

struct attention_place {
    int64_t first; /* token of the sequence */
    int32_t length, head, sequence;
};

/* Blocks 0 .. n_seqs * sharing - 1 of grid.x have a sequence and HEADS heads of it; those after zero rows. */
static __device__ __forceinline__ attention_place attention_place_of(const attention_params &a, int heads) {
    attention_place at;
    at.sequence = (int32_t)blockIdx.x / a.sharing;
    at.head = (int32_t)blockIdx.x % a.sharing * heads;
    at.first = a.places.cu_seqlens[at.sequence];
    at.length = a.places.cu_seqlens[at.sequence + 1] - (int32_t)at.first;
    return at;
}
static __device__ __forceinline__ bool attention_is_tail(const attention_params &a) {
    return (int32_t)blockIdx.x >= a.places.n_seqs * a.sharing;
}

/* Zeroes rows beyond the tokens; the tail blocks of grid.y = 0 share them. */
template <typename T>
static __device__ __forceinline__ void attention_zero_tail(const attention_params &a, void *to, int64_t stride, int D) {
    const int64_t tokens = rt_token_count(a.places), octets = (int64_t)a.heads * D / 8;
    const int64_t part = (int64_t)blockIdx.x - (int64_t)a.places.n_seqs * a.sharing, all = (a.bucket - tokens) * octets;
    if (blockIdx.y > 0) return;
    for (int64_t i = part * blockDim.x + threadIdx.x; i < all; i += (int64_t)RT_ATTENTION_TAILS * blockDim.x)
        rt_store8((T *)to + (tokens + i / octets) * stride + i % octets * 8, rt_zero8());
}
static __device__ __forceinline__ void attention_zero_lse(const attention_params &a) {
    const int64_t tokens = rt_token_count(a.places), beyond = a.bucket - tokens;
    const int64_t part = (int64_t)blockIdx.x - (int64_t)a.places.n_seqs * a.sharing, all = beyond * a.heads;
    if (blockIdx.y > 0 || !a.lse) return;
    for (int64_t i = part * blockDim.x + threadIdx.x; i < all; i += (int64_t)RT_ATTENTION_TAILS * blockDim.x)
        a.lse[i / beyond * a.rows + tokens + i % beyond] = 0;
}

/* --- the mask: group 4j + t of a query holds keys 16j + 2t + {0, 1, 8, 9} -------------------------------------------
 */

/* Bit n: the group's member n is kept. */
static __device__ __forceinline__ uint32_t attention_keep(const rt_mask &mask, uint32_t example, int head, int query,
                                                          int group) {
    uint32_t w[4], keep = 0;
    rt_mask_words(w, mask, example, (uint32_t)head << 24 | (uint32_t)query << 12 | (uint32_t)group);
#pragma unroll
    for (int n = 0; n < 4; n++) keep |= (uint32_t)(w[n] >= mask.threshold) << n;
    return keep;
}

/* The same for sixteen keys of one 16 x 16 tile held by columns: this lane has keys g and g + 8 (of the sixteen that
 * begin at 16 j) and queries query + 8n + 2t + {0, 1}. Each call's four words belong to two lanes, g and g ^ 1, which
 * ask for one query each and trade. Bit 4n + 2 half + e: query 8n + 2t + e and key g + 8 half are kept. */
static __device__ __forceinline__ uint32_t attention_keep_turned(const rt_mask &mask, uint32_t example, int head,
                                                                 int query, int j) {
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4, odd = g % 2;
    uint32_t mine = 0, keep = 0;
#pragma unroll
    for (int n = 0; n < 2; n++)
        mine |= attention_keep(mask, example, head, query + 8 * n + 2 * t + odd, 4 * j + g / 2) << 4 * n;
    const uint32_t other = __shfl_xor_sync(RT_FULL, mine, 4);
    const uint32_t even_query = odd ? other : mine, odd_query = odd ? mine : other;
#pragma unroll
    for (int i = 0; i < 4; i++) /* i = 2n + half: members odd and 2 + odd of a group are keys g and g + 8 */
        keep |= ((even_query >> (2 * i + odd) & 1) | (odd_query >> (2 * i + odd) & 1) << 1) << 2 * i;
    return keep;
}

/* --- tiles of bf16 for tensor cores (g = lane / 4, t = lane % 4; layouts in device.cuh) ------------------------------
 */

/* Rows are counted from a multiple of 16, `row`; r is 0 .. 15 within. */
template <int D> static __device__ __forceinline__ int tile_at(int row, int r, int piece) {
    return row * (D / 8) + (r * (D / 8) + (piece ^ (D == 32 ? r >> 1 & 3 : r & 7)));
}
/* Where this lane's row of an ldmatrix lies, in columns 16 step ..: two steps differ in one exclusive or. */
template <int D> static __device__ __forceinline__ int tile_lane_a(int row, int step) {
    const int lane = (int)threadIdx.x % 32;
    return row * (D / 8) + (tile_at<D>(0, lane % 16, lane / 16) ^ 2 * step);
}
template <int D> static __device__ __forceinline__ int tile_lane_b(int row, int step) {
    const int lane = (int)threadIdx.x % 32;
    return row * (D / 8) + (tile_at<D>(0, lane % 8 + lane / 16 * 8, lane / 8 % 2) ^ 2 * step);
}

/* Starts the copies of rows 0 .. live - 1, with zeros up to a multiple of 16, by `threads` threads. */
template <int D, typename S>
static __device__ __forceinline__ void tile_load(const S &tile, int base, const rt_bf16 *from, int64_t stride, int live,
                                                 int thread, int threads) {
    const int piece = thread % (D / 8), rows = threads / (D / 8), end = (live + 15) / 16 * 16;
#pragma unroll 1
    for (int row = thread / (D / 8); row < end; row += rows)
        rt_copy_async16_or_zero(&tile[base + tile_at<D>(row & ~15, row & 15, piece)], from + row * stride + 8 * piece,
                                row < live);
}

/* The A fragment of rows row .. row + 15, columns 16 step .. */
template <int D, typename S>
static __device__ __forceinline__ void tile_a(uint32_t (&r)[4], const S &tile, int base, int row, int step) {
    rt_ldmatrix4(r, &tile[base + tile_lane_a<D>(row, step)]);
}
template <int D, typename S>
static __device__ __forceinline__ void tile_fragments(uint32_t (&r)[D / 16][4], const S &tile, int base, int row) {
#pragma unroll
    for (int step = 0; step < D / 16; step++) tile_a<D>(r[step], tile, base, row, step);
}

/* c[n] = a . tile[row + 8n .. row + 8n + 7]^T for n = 0, 1: sixteen queries by sixteen keys. */
template <int D, typename S>
static __device__ __forceinline__ void tile_scores(float (&c)[2][4], const uint32_t (&a)[D / 16][4], const S &tile,
                                                   int base, int row) {
#pragma unroll
    for (int i = 0; i < 4; i++) c[0][i] = c[1][i] = 0;
#pragma unroll
    for (int step = 0; step < D / 16; step++) {
        uint32_t b[4];
        rt_ldmatrix4(b, &tile[base + tile_lane_b<D>(row, step)]);
        rt_mma_bf16(c[0], a[step], b);
        rt_mma_bf16(c[1], a[step], b + 2);
    }
}
/* The same with a's fragments taken from shared memory as they are needed: fewer registers (and of 128 channels not all
 * addresses at once). */
template <int D, typename S>
static __device__ __forceinline__ void tile_scores_of(float (&c)[2][4], const S &tile, int a_base, int a_row, int base,
                                                      int row) {
#pragma unroll
    for (int i = 0; i < 4; i++) c[0][i] = c[1][i] = 0;
#pragma unroll 4
    for (int step = 0; step < D / 16; step++) {
        uint32_t a[4], b[4];
        tile_a<D>(a, tile, a_base, a_row, step);
        rt_ldmatrix4(b, &tile[base + tile_lane_b<D>(row, step)]);
        rt_mma_bf16(c[0], a, b);
        rt_mma_bf16(c[1], a, b + 2);
    }
}

/* c += a . tile[row .. row + 15]: sixteen rows by D columns. */
template <int D, typename S>
static __device__ __forceinline__ void tile_add(float (&c)[D / 8][4], const uint32_t (&a)[4], const S &tile, int base,
                                                int row) {
#pragma unroll
    for (int step = 0; step < D / 16; step++) {
        uint32_t b[4];
        rt_ldmatrix4_turned(b, &tile[base + tile_lane_a<D>(row, step)]);
        rt_mma_bf16(c[2 * step], a, b);
        rt_mma_bf16(c[2 * step + 1], a, b + 2);
    }
}

/* Two neighbouring tiles of sums become an A fragment of sixteen columns. */
static __device__ __forceinline__ void tile_pack(uint32_t (&a)[4], const float (&c)[2][4]) {
#pragma unroll
    for (int n = 0; n < 2; n++) {
        a[2 * n] = rt_pack_bf16(c[n][0], c[n][1]);
        a[2 * n + 1] = rt_pack_bf16(c[n][2], c[n][3]);
    }
}

/* Sixteen rows of sums, already packed (two registers for eight columns), go through rows row .. of the tile, which
 * are this warp's alone, and leave in pieces of 16 bytes: rows below `live`, to + r * stride. `words` is the tile as
 * 32-bit words. */
template <int D, typename S, typename W>
static __device__ __forceinline__ void tile_store(const S &tile, const W &words, int base, int row,
                                                  const uint32_t (&c)[D / 8][2], rt_bf16 *to, int64_t stride,
                                                  int live) {
    const int lane = (int)threadIdx.x % 32;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < D / 8; i++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            words[4 * (base + tile_at<D>(row + 8 * half, lane / 4, i)) + lane % 4] = c[i][half];
    __syncwarp();
    const int piece = lane % (D / 8);
#pragma unroll 1
    for (int r = lane / (D / 8); r < rt_least(live, 16); r += 32 / (D / 8))
        rt_store16(to + r * stride + 8 * piece, tile[base + tile_at<D>(row, r, piece)]);
}
template <int D>
static __device__ __forceinline__ void tile_round(uint32_t (&to)[D / 8][2], const float (&c)[D / 8][4], float low,
                                                  float high) {
#pragma unroll
    for (int i = 0; i < D / 8; i++) {
        to[i][0] = rt_pack_bf16(c[i][0] * low, c[i][1] * low);
        to[i][1] = rt_pack_bf16(c[i][2] * high, c[i][3] * high);
    }
}

/* --- launches: one function a family, for attention_launch.cu---------------------------------------------------------
 */

rt_status attention_forward_bf16(const rt_cuda_launch *l, attention_params p, int head_dim, int longest);
rt_status attention_backward_bf16(const rt_cuda_launch *l, attention_params p, int head_dim, int longest);
rt_status attention_forward_plain(const rt_cuda_launch *l, attention_params p, int head_dim, int longest);
rt_status attention_backward_plain(const rt_cuda_launch *l, attention_params p, int head_dim, int longest);
rt_status attention_forward_first(const rt_cuda_launch *l, attention_params p, int head_dim);
rt_status attention_backward_first(const rt_cuda_launch *l, attention_params p, int head_dim);

/* Blocks of grid.x where a block has `heads` heads of a sequence. */
static inline dim3 attention_grid(attention_params *p, int heads, int64_t parts) {
    p->sharing = (p->heads + heads - 1) / heads;
    return dim3((unsigned)((int64_t)p->places.n_seqs * p->sharing + RT_ATTENTION_TAILS),
                (unsigned)(parts < 1 ? 1 : parts));
}

#endif
