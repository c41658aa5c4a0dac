/* Attention's backward pass in bf16 on tensor cores (mma m16n8k16, fp32 sums). No atomics: every gradient has one
 * owner. Scores and probabilities are made again from lse, once by rows (a warp has sixteen queries: dq) and once by
 * columns (a warp has sixteen keys: dk, dv); so p and ds are operands of the next product where they stand, in
 * registers, and no S x S block lies even in shared memory. Seven products instead of five: at these lengths the bytes
 * decide.
 *
 * attention_backward<D, KEYS, HEADS>: all keys and queries of a head in one block, up to 64 tokens, 128 for D <= 64
 *   grid     sequences x ceil(heads / HEADS) + 8 that zero rows beyond the tokens
 *   block    2 KEYS HEADS threads: KEYS / 16 warps for each of HEADS heads of one sequence (16 keys: 4 heads, 32: 2)
 *   shared   HEADS 4 KEYS 2D bytes of q, k, v, dout (and gradients on their way out), D = 128: HEADS 5 KEYS 2D; and
 *            8 HEADS KEYS of lse and delta. D = 64: 32 KiB up to 64 tokens, 64 KiB at 128; D = 128: 80 KiB
 *   bytes    a token and head: reads q, k, v, dout, writes dq, dk, dv: 14 D, + 4 of lse. BERT-base: 10.8 KB a token.
 *            delta = sum p dp: out is not read
 *   work     a head of a sequence of S: 14 S^2 D FLOPs, 2 S^2 exponentials, with dropout S^2 / 2 Philox calls;
 *            S rounded up to 16
 *   holds    registers on sm_80 (sm_90), and the blocks of a multiprocessor, which the registers set:
 *              D = 32: 119, 123, 139 (122, 128, 145): 4 blocks, 3 at 64 keys
 *              D = 64: 165, 165, 168 (168 each): 3 blocks
 *              D = 128: 218, 222, 248 (224, 223, 246): 2 blocks
 *              128 keys: 175 (214) at D = 32, 195 (220) at D = 64: 1 block of eight warps
 *
 * attention_backward_queries<D>, attention_backward_keys<D>: longer sequences, 64 queries or 64 keys a block against
 * all others in tiles of 64, the next tile on its way
 *   grid     (sequences x heads + 8, ceil(max_len / 64)), blocks of 128 threads
 *   shared   6 x 64 x 2D bytes: 48 KiB at D = 64, 96 KiB at D = 128 (of 99 that every card has), and 0.5 (queries) or
 *            1 KiB (keys) of lse and delta
 *   bytes    a token and head: q, k, v, dout, out read twice from memory (delta = sum dout out), more often from the
 *            second-level cache; 6 D written
 *   work     queries 6 S^2 D, keys 8 S^2 D FLOPs; each S^2 exponentials and S^2 / 4 Philox calls
 *   holds    the same; queries: D = 32: 118 (119): 4 blocks, D = 64: 156 (154): 3; keys: D = 32: 133 (141): 3,
 *            D = 64: 168 (168): 3; D = 128: 168 (168) and 248 (245): 1 block on sm_80 (shared memory), 2 on sm_90
 *   order    keys (queries) ascending by sixteens: fixed by the length */
#include "attention.cuh"

/* One query row's numbers in shared memory: scores turn into probabilities as 2^(unit s - lse). */
static __device__ __forceinline__ float saved_lse(const attention_params &a, int head, int64_t row) {
    return a.lse[head * a.rows + row] * 1.44269504f;
}

/* By rows: this warp's sixteen queries against keys row .. row + 15 of the tiles: p and m dp. A key beyond `live` gets
 * 0. HOLD: queries and dout are in fragments; else they are read from rows q_row .. of their tiles again. */
template <int D, bool HOLD, typename S>
static __device__ __forceinline__ void
row_block(float (&p)[2][4], float (&g)[2][4], const attention_params &a, const uint32_t (&q)[HOLD ? D / 16 : 1][4],
          const uint32_t (&dout)[HOLD ? D / 16 : 1][4], const S &tile, int q_tile, int dout_tile, int q_row, int k_tile,
          int v_tile, int row, int live, const float (&lse)[2], const rt_mask &mask, uint32_t example, int head,
          int query, int key) {
    const int lane = (int)threadIdx.x % 32, t = lane % 4;
    const float unit = a.scale * 1.44269504f;
    uint32_t keep[2] = {15, 15};
    if constexpr (HOLD) {
        tile_scores<D>(p, q, tile, k_tile, row);
        tile_scores<D>(g, dout, tile, v_tile, row);
    } else {
        tile_scores_of<D>(p, tile, q_tile, q_row, k_tile, row);
        tile_scores_of<D>(g, tile, dout_tile, q_row, v_tile, row);
    }
    if (mask.on)
#pragma unroll
        for (int half = 0; half < 2; half++)
            keep[half] = attention_keep(mask, example, head, query + lane / 4 + 8 * half, key / 16 * 4 + t);
    const float factor = mask.on ? mask.scale : 1.0f;
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool lives = row + 8 * n + 2 * t + i % 2 < live;
            p[n][i] = lives ? rt_exp2(p[n][i] * unit - lse[i / 2]) : 0.0f;
            g[n][i] = lives && keep[i / 2] >> (2 * n + i % 2) & 1 ? g[n][i] * factor : 0.0f;
        }
}

/* By columns: sixteen keys against queries row .. row + 15, of which lse and delta lie in `saved` from `at` on (delta
 * COUNT further). dv and dk grow. Queries beyond the sequence have lse = infinity, so p = 0, and zeros in their rows.
 */
template <int D, int COUNT, typename S, typename F>
static __device__ __forceinline__ void
column_block(float (&dk)[D / 8][4], float (&dv)[D / 8][4], const attention_params &a, const float (&s)[2][4],
             const float (&g)[2][4], const S &tile, int q_tile, int dout_tile, int row, F &saved, int at,
             const rt_mask &mask, uint32_t example, int head, int query, int key) {
    const int t = (int)threadIdx.x % 4;
    const float unit = a.scale * 1.44269504f, factor = mask.on ? mask.scale : 1.0f;
    const uint32_t keep = mask.on ? attention_keep_turned(mask, example, head, query, key / 16) : 255;
    float p[2][4], ds[2][4];
    uint32_t left[4];
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int i = at + row + 8 * n + 2 * t + e;
            const float lse = saved[i], delta = saved[COUNT + i];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float x = rt_exp2(s[n][2 * half + e] * unit - lse);
                const float m = keep >> (4 * n + 2 * half + e) & 1 ? factor : 0.0f;
                p[n][2 * half + e] = x * m;
                ds[n][2 * half + e] = x * (g[n][2 * half + e] * m - delta);
            }
        }
    tile_pack(left, p);
    tile_add<D>(dv, left, tile, dout_tile, row);
    tile_pack(left, ds);
    tile_add<D>(dk, left, tile, q_tile, row);
}

/* q, k, v, dout; with 128 channels one more, through which dq leaves before dk and dv need its registers. */
template <int D> struct backward_shape {
    enum { TILES = D == 128 ? 5 : 4 };
};

/* All keys and queries of HEADS heads at once, KEYS / 16 warps a head: first each warp has sixteen queries and makes
 * dq, then sixteen keys and makes dk and dv. */
template <int D, int KEYS, int HEADS>
static __global__ void __launch_bounds__(2 * KEYS * HEADS, KEYS == 128 ? 1
                                                           : D == 128  ? 2
                                                                       : 3)
    attention_backward_kernel(attention_params a) {
    enum { TEAM = 2 * KEYS, TILE = KEYS * (D / 8), ALL = HEADS * KEYS, TILES = backward_shape<D>::TILES };
    constexpr bool HOLD = D <= 64 && KEYS >= 64; /* queries stay in registers: each meets four blocks of keys or more */
    RT_SHARED_DYNAMIC(rt_quad, tile);
    RT_SHARED_DYNAMIC(uint32_t, words);
    RT_SHARED(float, saved, 2 * ALL); /* of each query: lse in powers of two, delta */
    if (attention_is_tail(a)) {
        attention_zero_tail<rt_bf16>(a, a.dq, a.dq_stride, D);
        attention_zero_tail<rt_bf16>(a, a.dk, a.dk_stride, D);
        attention_zero_tail<rt_bf16>(a, a.dv, a.dv_stride, D);
        return;
    }
    attention_place at = attention_place_of(a, HEADS);
    const int thread = (int)threadIdx.x % TEAM, team = (int)threadIdx.x / TEAM, row = thread / 32 * 16;
    const int g = thread % 32 / 4, t = thread % 4;
    const int q_tile = team * TILES * TILE, k_tile = q_tile + TILE, v_tile = k_tile + TILE, dout_tile = v_tile + TILE;
    at.head += team;
    const int live = at.head < a.heads ? rt_least(at.length, KEYS) : 0;
    const int64_t shift = (int64_t)at.head * D;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on ? a.places.example_id[at.sequence] : 0;
    uint32_t packed[D / 8][2];
    if (at.length == 0) return;

    tile_load<D>(tile, q_tile, (const rt_bf16 *)a.q + at.first * a.q_stride + shift, a.q_stride, live, thread, TEAM);
    tile_load<D>(tile, k_tile, (const rt_bf16 *)a.k + at.first * a.k_stride + shift, a.k_stride, live, thread, TEAM);
    tile_load<D>(tile, v_tile, (const rt_bf16 *)a.v + at.first * a.v_stride + shift, a.v_stride, live, thread, TEAM);
    tile_load<D>(tile, dout_tile, (const rt_bf16 *)a.dout + at.first * a.out_stride + shift, a.out_stride, live, thread,
                 TEAM);
    rt_copy_commit();
    for (int i = thread; i < KEYS; i += TEAM)
        saved[team * KEYS + i] = i < live ? saved_lse(a, at.head, at.first + i) : INFINITY;
    rt_copy_wait<0>();
    __syncthreads();
    if (row < live) {
        float p[KEYS / 16][2][4], grad[KEYS / 16][2][4], dq[D / 8][4], delta[2] = {0, 0};
        const float lse[2] = {saved[team * KEYS + row + g], saved[team * KEYS + row + g + 8]};
        uint32_t q[HOLD ? D / 16 : 1][4], dout[HOLD ? D / 16 : 1][4], ds[4];
        if constexpr (HOLD) {
            tile_fragments<D>(q, tile, q_tile, row);
            tile_fragments<D>(dout, tile, dout_tile, row);
        }
#pragma unroll
        for (int j = 0; j < KEYS / 16; j++)
            if (16 * j < live) {
                row_block<D, HOLD>(p[j], grad[j], a, q, dout, tile, q_tile, dout_tile, row, k_tile, v_tile, 16 * j,
                                   live, lse, mask, example, at.head, row, 16 * j);
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) delta[i / 2] += p[j][n][i] * grad[j][n][i];
            }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            delta[half] += __shfl_xor_sync(RT_FULL, delta[half], 1);
            delta[half] += __shfl_xor_sync(RT_FULL, delta[half], 2);
            if (t == 0) saved[ALL + team * KEYS + row + g + 8 * half] = delta[half];
        }
#pragma unroll
        for (int i = 0; i < D / 8; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) dq[i][j] = 0;
#pragma unroll
        for (int j = 0; j < KEYS / 16; j++)
            if (16 * j < live) {
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) p[j][n][i] *= grad[j][n][i] - delta[i / 2];
                tile_pack(ds, p[j]);
                tile_add<D>(dq, ds, tile, k_tile, 16 * j);
            }
        tile_round<D>(packed, dq, a.scale, a.scale);
        if (D == 128)
            tile_store<D>(tile, words, q_tile + 4 * TILE, row, packed,
                          (rt_bf16 *)a.dq + (at.first + row) * a.dq_stride + shift, a.dq_stride, live - row);
    }
    __syncthreads(); /* every delta is there; rows of k and v are read by their own warp alone from here on */
    if (row < live) {
        float dk[D / 8][4], dv[D / 8][4], s[2][4], grad[2][4];
#pragma unroll
        for (int i = 0; i < D / 8; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) dk[i][j] = dv[i][j] = 0;
        for (int query = 0; query < live; query += 16) {
            tile_scores_of<D>(s, tile, k_tile, row, q_tile, query);
            tile_scores_of<D>(grad, tile, v_tile, row, dout_tile, query);
            column_block<D, ALL>(dk, dv, a, s, grad, tile, q_tile, dout_tile, query, saved, team * KEYS, mask, example,
                                 at.head, query, row);
        }
        const int64_t first = at.first + row;
        if (D < 128)
            tile_store<D>(tile, words, k_tile, row, packed, (rt_bf16 *)a.dq + first * a.dq_stride + shift, a.dq_stride,
                          live - row);
        tile_round<D>(packed, dk, a.scale, a.scale);
        tile_store<D>(tile, words, k_tile, row, packed, (rt_bf16 *)a.dk + first * a.dk_stride + shift, a.dk_stride,
                      live - row);
        tile_round<D>(packed, dv, 1.0f, 1.0f);
        tile_store<D>(tile, words, v_tile, row, packed, (rt_bf16 *)a.dv + first * a.dv_stride + shift, a.dv_stride,
                      live - row);
    }
}

/* --- sequences of more keys than a block holds: dq by blocks of queries, dk and dv by blocks of keys ----------------
 */

enum { LONG = 64, THREADS = 128 };

/* lse and delta = sum of dout out (equal to sum p dp, and there before any key is seen) of LONG queries from q0 on: row
 * by row, D / 8 lanes a row with 16 bytes of each. */
template <int D, typename F>
static __device__ __forceinline__ void load_saved(F &saved, int to, const attention_params &a,
                                                  const attention_place &at, int q0) {
    enum { LANES = D / 8, ROWS = THREADS / LANES };
#pragma unroll 1
    for (int i = (int)threadIdx.x / LANES; i < LONG; i += ROWS) {
        const int piece = (int)threadIdx.x % LANES;
        const bool lives = q0 + i < at.length;
        float delta = 0;
        if (lives) {
            const int64_t from = (at.first + q0 + i) * a.out_stride + (int64_t)at.head * D + 8 * piece;
            const rt_octet o = rt_load8((const rt_bf16 *)a.out + from), d = rt_load8((const rt_bf16 *)a.dout + from);
#pragma unroll
            for (int j = 0; j < 8; j++) delta += o.v[j] * d.v[j];
        }
#pragma unroll
        for (int lanes = LANES / 2; lanes > 0; lanes /= 2) delta += __shfl_xor_sync(RT_FULL, delta, lanes);
        if (piece == 0) {
            saved[to + i] = lives ? saved_lse(a, at.head, at.first + q0 + i) : INFINITY;
            saved[to + LONG + i] = delta;
        }
    }
}

template <int D>
static __global__ void __launch_bounds__(THREADS, D == 128  ? 2
                                                  : D == 64 ? 3
                                                            : 4) attention_backward_queries_kernel(attention_params a) {
    enum { TILE = LONG * (D / 8) };
    constexpr bool HOLD = D <= 64;
    RT_SHARED_DYNAMIC(rt_quad, tile);
    RT_SHARED_DYNAMIC(uint32_t, words);
    RT_SHARED(float, saved, 2 * LONG);
    if (attention_is_tail(a)) {
        attention_zero_tail<rt_bf16>(a, a.dq, a.dq_stride, D);
        return;
    }
    const attention_place at = attention_place_of(a, 1);
    const int thread = (int)threadIdx.x, row = thread / 32 * 16, g = thread % 32 / 4, dout_tile = TILE;
    const int64_t shift = (int64_t)at.head * D;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on ? a.places.example_id[at.sequence] : 0;
    const rt_bf16 *keys = (const rt_bf16 *)a.k + at.first * a.k_stride + shift;
    const rt_bf16 *values = (const rt_bf16 *)a.v + at.first * a.v_stride + shift;

    for (int q0 = (int)blockIdx.y * LONG; q0 < at.length; q0 += (int)gridDim.y * LONG) {
        const int queries = rt_least(at.length - q0, LONG);
        const int64_t first = at.first + q0;
        float dq[D / 8][4], lse[2], delta[2];
        uint32_t q[HOLD ? D / 16 : 1][4], dout[HOLD ? D / 16 : 1][4], packed[D / 8][2];
#pragma unroll
        for (int i = 0; i < D / 8; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) dq[i][j] = 0;
        tile_load<D>(tile, 0, (const rt_bf16 *)a.q + first * a.q_stride + shift, a.q_stride, queries, thread, THREADS);
        tile_load<D>(tile, dout_tile, (const rt_bf16 *)a.dout + first * a.out_stride + shift, a.out_stride, queries,
                     thread, THREADS);
        tile_load<D>(tile, 2 * TILE, keys, a.k_stride, rt_least(at.length, LONG), thread, THREADS);
        tile_load<D>(tile, 3 * TILE, values, a.v_stride, rt_least(at.length, LONG), thread, THREADS);
        rt_copy_commit();
        load_saved<D>(saved, 0, a, at, q0);
        for (int k0 = 0, stage = 0; k0 < at.length; k0 += LONG, stage ^= 1) {
            const int live = rt_least(at.length - k0, LONG), next = k0 + LONG, more = rt_least(at.length - next, LONG);
            const int k_tile = (2 + 2 * stage) * TILE, v_tile = k_tile + TILE, other = (4 - 2 * stage) * TILE;
            tile_load<D>(tile, other, keys + next * a.k_stride, a.k_stride, more, thread, THREADS);
            tile_load<D>(tile, other + TILE, values + next * a.v_stride, a.v_stride, more, thread, THREADS);
            rt_copy_commit();
            rt_copy_wait<1>();
            __syncthreads();
            if (row < queries) {
                if (k0 == 0) {
                    if constexpr (HOLD) {
                        tile_fragments<D>(q, tile, 0, row);
                        tile_fragments<D>(dout, tile, dout_tile, row);
                    }
                    for (int half = 0; half < 2; half++)
                        lse[half] = saved[row + g + 8 * half], delta[half] = saved[LONG + row + g + 8 * half];
                }
#pragma unroll 1
                for (int j = 0; 16 * j < live; j++) {
                    float p[2][4], grad[2][4];
                    uint32_t ds[4];
                    row_block<D, HOLD>(p, grad, a, q, dout, tile, 0, dout_tile, row, k_tile, v_tile, 16 * j, live, lse,
                                       mask, example, at.head, q0 + row, k0 + 16 * j);
#pragma unroll
                    for (int n = 0; n < 2; n++)
#pragma unroll
                        for (int i = 0; i < 4; i++) p[n][i] *= grad[n][i] - delta[i / 2];
                    tile_pack(ds, p);
                    tile_add<D>(dq, ds, tile, k_tile, 16 * j);
                }
            }
            __syncthreads(); /* before a tile is filled again */
        }
        rt_copy_wait<0>();
        if (row < queries) {
            tile_round<D>(packed, dq, a.scale, a.scale);
            tile_store<D>(tile, words, 0, row, packed, (rt_bf16 *)a.dq + (first + row) * a.dq_stride + shift,
                          a.dq_stride, queries - row);
        }
        __syncthreads();
    }
}

template <int D>
static __global__ void __launch_bounds__(THREADS, D == 128 ? 2 : 3) attention_backward_keys_kernel(attention_params a) {
    enum { TILE = LONG * (D / 8) };
    RT_SHARED_DYNAMIC(rt_quad, tile);
    RT_SHARED_DYNAMIC(uint32_t, words);
    RT_SHARED(float, saved, 4 * LONG); /* of two tiles of queries */
    if (attention_is_tail(a)) {
        attention_zero_tail<rt_bf16>(a, a.dk, a.dk_stride, D);
        attention_zero_tail<rt_bf16>(a, a.dv, a.dv_stride, D);
        return;
    }
    const attention_place at = attention_place_of(a, 1);
    const int thread = (int)threadIdx.x, row = thread / 32 * 16, v_tile = TILE;
    const int64_t shift = (int64_t)at.head * D;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on ? a.places.example_id[at.sequence] : 0;
    const rt_bf16 *queries = (const rt_bf16 *)a.q + at.first * a.q_stride + shift;
    const rt_bf16 *douts = (const rt_bf16 *)a.dout + at.first * a.out_stride + shift;

    for (int k0 = (int)blockIdx.y * LONG; k0 < at.length; k0 += (int)gridDim.y * LONG) {
        const int keys = rt_least(at.length - k0, LONG);
        const int64_t first = at.first + k0;
        float dk[D / 8][4], dv[D / 8][4];
        uint32_t packed[D / 8][2];
#pragma unroll
        for (int i = 0; i < D / 8; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) dk[i][j] = dv[i][j] = 0;
        tile_load<D>(tile, 0, (const rt_bf16 *)a.k + first * a.k_stride + shift, a.k_stride, keys, thread, THREADS);
        tile_load<D>(tile, v_tile, (const rt_bf16 *)a.v + first * a.v_stride + shift, a.v_stride, keys, thread,
                     THREADS);
        tile_load<D>(tile, 2 * TILE, queries, a.q_stride, rt_least(at.length, LONG), thread, THREADS);
        tile_load<D>(tile, 3 * TILE, douts, a.out_stride, rt_least(at.length, LONG), thread, THREADS);
        rt_copy_commit();
        load_saved<D>(saved, 0, a, at, 0);
        for (int q0 = 0, stage = 0; q0 < at.length; q0 += LONG, stage ^= 1) {
            const int live = rt_least(at.length - q0, LONG), next = q0 + LONG, more = rt_least(at.length - next, LONG);
            const int q_tile = (2 + 2 * stage) * TILE, dout_tile = q_tile + TILE, other = (4 - 2 * stage) * TILE;
            tile_load<D>(tile, other, queries + next * a.q_stride, a.q_stride, more, thread, THREADS);
            tile_load<D>(tile, other + TILE, douts + next * a.out_stride, a.out_stride, more, thread, THREADS);
            rt_copy_commit();
            rt_copy_wait<1>();
            __syncthreads();
            if (next < at.length) load_saved<D>(saved, 2 * LONG * (1 - stage), a, at, next);
            if (row < keys)
#pragma unroll 1
                for (int query = 0; query < live; query += 16) {
                    float s[2][4], grad[2][4];
                    tile_scores_of<D>(s, tile, 0, row, q_tile, query);
                    tile_scores_of<D>(grad, tile, v_tile, row, dout_tile, query);
                    column_block<D, LONG>(dk, dv, a, s, grad, tile, q_tile, dout_tile, query, saved, 2 * LONG * stage,
                                          mask, example, at.head, q0 + query, k0 + row);
                }
            __syncthreads(); /* before a tile is filled again */
        }
        rt_copy_wait<0>();
        if (row < keys) {
            tile_round<D>(packed, dk, a.scale, a.scale);
            tile_store<D>(tile, words, 0, row, packed, (rt_bf16 *)a.dk + (first + row) * a.dk_stride + shift,
                          a.dk_stride, keys - row);
            tile_round<D>(packed, dv, 1.0f, 1.0f);
            tile_store<D>(tile, words, v_tile, row, packed, (rt_bf16 *)a.dv + (first + row) * a.dv_stride + shift,
                          a.dv_stride, keys - row);
        }
        __syncthreads();
    }
}

template <int D, int KEYS, int HEADS> static rt_status launch(const rt_cuda_launch *l, attention_params p) {
    const size_t bytes = (size_t)HEADS * backward_shape<D>::TILES * KEYS * D * sizeof(rt_bf16);
    const dim3 grid = attention_grid(&p, HEADS, 1);
    RT_TRY(rt_allow_shared(attention_backward_kernel<D, KEYS, HEADS>, bytes));
    return rt_launch((attention_backward_kernel<D, KEYS, HEADS>), grid, dim3(2 * KEYS * HEADS), bytes, l->stream, p);
}

template <int D> static rt_status launch_long(const rt_cuda_launch *l, attention_params p, int longest) {
    const size_t bytes = (size_t)6 * LONG * D * sizeof(rt_bf16);
    const dim3 grid = attention_grid(&p, 1, (longest + LONG - 1) / LONG);
    RT_TRY(rt_allow_shared(attention_backward_queries_kernel<D>, bytes));
    RT_TRY(rt_launch(attention_backward_queries_kernel<D>, grid, dim3(THREADS), bytes, l->stream, p));
    RT_TRY(rt_allow_shared(attention_backward_keys_kernel<D>, bytes));
    return rt_launch(attention_backward_keys_kernel<D>, grid, dim3(THREADS), bytes, l->stream, p);
}

template <int D> static rt_status launch_for(const rt_cuda_launch *l, const attention_params &p, int longest) {
    if (longest <= 16) return launch<D, 16, 4>(l, p);
    if (longest <= 32) return launch<D, 32, 2>(l, p);
    if (longest <= 64) return launch<D, 64, 1>(l, p);
    if constexpr (D <= 64)
        if (longest <= 128) return launch<D, 128, 1>(l, p);
    return launch_long<D>(l, p, longest);
}

rt_status attention_backward_bf16(const rt_cuda_launch *l, attention_params p, int head_dim, int longest) {
    if (head_dim == 32) return launch_for<32>(l, p, longest);
    return head_dim == 64 ? launch_for<64>(l, p, longest) : launch_for<128>(l, p, longest);
}
