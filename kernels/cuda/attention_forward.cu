/* Attention's forward pass in bf16 on tensor cores (mma m16n8k16, fp32 sums), softmax in fp32 as the keys come by.
 *
 * attention_forward<D, KEYS, HEADS, STAGES>
 *   grid     (sequences x ceil(heads / HEADS) + 8 that zero rows beyond the tokens, blocks of KEYS queries)
 *   block    2 KEYS HEADS threads: for each of HEADS heads of one sequence KEYS / 16 warps, a warp sixteen queries.
 *            The heads have one length, so barriers are the block's. batch->max_len says which instance runs:
 *              up to 16 tokens <D, 16, 4, 1>, 32 <D, 32, 2, 1>, 64 <D, 64, 1, 1>, 128 <D, 128, 1, 1> (D <= 64):
 *              all keys of a head at once; else <D, 64, 1, 2>: tiles of 64 keys, the next one on its way (cp.async)
 *   shared   HEADS (1 + 2 STAGES) KEYS 2D bytes: queries (whence the output leaves too), keys, values. D = 64:
 *            24 KiB up to 64 tokens, 48 KiB at 128, 40 KiB beyond; D = 128: 48 and 80 KiB
 *   bytes    a token and head: reads q, k, v, writes out: 8 D, + 4 of lse. BERT-base: 6.2 KB a token. With more than
 *            one block of queries keys and values are read once a block, from the second-level cache
 *   work     a head of a sequence of S: 4 S^2 D FLOPs, S^2 exponentials, with dropout S^2 / 4 Philox calls (about
 *            100 integer instructions each); S rounded up to 16 each way. At 28 tokens: 14 FLOPs a byte
 *   holds    registers on sm_80 (sm_90), and the blocks of a multiprocessor, which the registers set:
 *              D = 32: 92, 108, 126, long 126 (91, 109, 116, 117): 4 blocks, 5 at 16 keys
 *              D = 64: 130, 137, 163, long 166 (130, 138, 157, 163): 3 blocks
 *              D = 128: 209, 184, 201, long 202 (211, 184, 201, 203): 2 blocks
 *              128 keys: 162 (168) at D = 32, 203 (214) at D = 64: 1 block of eight warps
 *   order    keys ascending by tiles, lanes of a row as a butterfly: fixed by length and instance */
#include "attention.cuh"

/* Blocks that a multiprocessor shall hold at once: as many as the registers allow without a spill. */
constexpr int forward_blocks(int D, int keys) {
    return keys == 128 ? 1 : D == 128 ? 2 : D == 64 ? 3 : 4;
}

/* A block has HEADS heads of a sequence, KEYS / 16 warps for each: a warp has sixteen queries, and goes through the
 * keys in tiles of KEYS; a lane has the rows g and g + 8 of it. */
template <int D, int KEYS, int HEADS, int STAGES>
static __global__ void __launch_bounds__(2 * KEYS * HEADS, forward_blocks(D, KEYS))
    attention_forward_kernel(attention_params a) {
    enum { TEAM = 2 * KEYS, TILE = KEYS * (D / 8) };
    constexpr bool HOLD = D <= 64 && KEYS >= 64; /* queries stay in registers: each meets four blocks of keys or more */
    RT_SHARED_DYNAMIC(rt_quad, tile);
    RT_SHARED_DYNAMIC(uint32_t, words);
    if (attention_is_tail(a)) {
        attention_zero_tail<rt_bf16>(a, a.out, a.out_stride, D);
        attention_zero_lse(a);
        return;
    }
    attention_place at = attention_place_of(a, HEADS);
    const int thread = (int)threadIdx.x % TEAM, team = (int)threadIdx.x / TEAM, row = thread / 32 * 16;
    const int g = thread % 32 / 4, t = thread % 4, q_tile = team * (1 + 2 * STAGES) * TILE;
    at.head += team;
    const bool idle = at.head >= a.heads; /* it only comes to the barriers */
    const int64_t shift = (int64_t)at.head * D;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on ? a.places.example_id[at.sequence] : 0;
    const rt_bf16 *keys = (const rt_bf16 *)a.k + at.first * a.k_stride + shift;
    const rt_bf16 *values = (const rt_bf16 *)a.v + at.first * a.v_stride + shift;
    const float unit = a.scale * 1.44269504f; /* scores in powers of two */

    for (int q0 = (int)blockIdx.y * KEYS; q0 < at.length; q0 += (int)gridDim.y * KEYS) {
        const int queries = idle ? 0 : rt_least(at.length - q0, KEYS);
        const rt_bf16 *from = (const rt_bf16 *)a.q + (at.first + q0) * a.q_stride + shift;
        float o[D / 8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
        uint32_t q[HOLD ? D / 16 : 1][4];
#pragma unroll
        for (int i = 0; i < D / 8; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) o[i][j] = 0;
        if (!idle) {
            const int live = rt_least(at.length, KEYS);
            tile_load<D>(tile, q_tile, from, a.q_stride, queries, thread, TEAM);
            tile_load<D>(tile, q_tile + TILE, keys, a.k_stride, live, thread, TEAM);
            tile_load<D>(tile, q_tile + 2 * TILE, values, a.v_stride, live, thread, TEAM);
        }
        rt_copy_commit();
        for (int k0 = 0, stage = 0; k0 < at.length; k0 += KEYS, stage ^= STAGES - 1) {
            const int live = rt_least(at.length - k0, KEYS), next = k0 + KEYS;
            const int k_tile = q_tile + (1 + 2 * stage) * TILE, v_tile = k_tile + TILE;
            if (STAGES > 1) {
                const int other = q_tile + (1 + 2 * (stage ^ (STAGES - 1))) * TILE;
                const int more = idle ? 0 : rt_least(at.length - next, KEYS);
                tile_load<D>(tile, other, keys + next * a.k_stride, a.k_stride, more, thread, TEAM);
                tile_load<D>(tile, other + TILE, values + next * a.v_stride, a.v_stride, more, thread, TEAM);
                rt_copy_commit();
            }
            rt_copy_wait<STAGES - 1>();
            __syncthreads();
            if (row < queries) {
                float s[KEYS / 16][2][4], most[2] = {-INFINITY, -INFINITY}, shrink[2];
                if constexpr (HOLD)
                    if (k0 == 0) tile_fragments<D>(q, tile, q_tile, row);
#pragma unroll
                for (int j = 0; j < KEYS / 16; j++)
                    if (16 * j < live) {
                        if constexpr (HOLD)
                            tile_scores<D>(s[j], q, tile, k_tile, 16 * j);
                        else
                            tile_scores_of<D>(s[j], tile, q_tile, row, k_tile, 16 * j);
#pragma unroll
                        for (int n = 0; n < 2; n++)
#pragma unroll
                            for (int i = 0; i < 4; i++) {
                                if (16 * j + 8 * n + 2 * t + i % 2 >= live) s[j][n][i] = -INFINITY;
                                most[i / 2] = fmaxf(most[i / 2], s[j][n][i]);
                            }
                    }
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    most[half] = fmaxf(most[half], __shfl_xor_sync(RT_FULL, most[half], 1));
                    most[half] = fmaxf(most[half], __shfl_xor_sync(RT_FULL, most[half], 2));
                    most[half] = fmaxf(most[half], top[half]);
                    shrink[half] = rt_exp2((top[half] - most[half]) * unit);
                    top[half] = most[half], sum[half] *= shrink[half];
                }
#pragma unroll
                for (int i = 0; i < D / 8; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++) o[i][j] *= shrink[j / 2];
#pragma unroll
                for (int j = 0; j < KEYS / 16; j++)
                    if (16 * j < live) {
                        uint32_t keep[2] = {15, 15}, p[4];
                        if (mask.on)
#pragma unroll
                            for (int half = 0; half < 2; half++)
                                keep[half] = attention_keep(mask, example, at.head, q0 + row + g + 8 * half,
                                                            (k0 / 16 + j) * 4 + t);
#pragma unroll
                        for (int n = 0; n < 2; n++)
#pragma unroll
                            for (int i = 0; i < 4; i++) {
                                const float x = rt_exp2(s[j][n][i] * unit - top[i / 2] * unit);
                                sum[i / 2] += x;
                                s[j][n][i] = keep[i / 2] >> (2 * n + i % 2) & 1 ? x : 0.0f;
                            }
                        tile_pack(p, s[j]);
                        tile_add<D>(o, p, tile, v_tile, 16 * j);
                    }
            }
            if (next < at.length) {
                __syncthreads(); /* before the tile is filled again */
                if (STAGES == 1) {
                    const int more = idle ? 0 : rt_least(at.length - next, KEYS);
                    tile_load<D>(tile, k_tile, keys + next * a.k_stride, a.k_stride, more, thread, TEAM);
                    tile_load<D>(tile, v_tile, values + next * a.v_stride, a.v_stride, more, thread, TEAM);
                    rt_copy_commit();
                }
            }
        }
        if (row < queries) {
            uint32_t packed[D / 8][2];
            float factor[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                sum[half] += __shfl_xor_sync(RT_FULL, sum[half], 1);
                sum[half] += __shfl_xor_sync(RT_FULL, sum[half], 2);
                factor[half] = (mask.on ? mask.scale : 1.0f) / sum[half];
                const int query = row + g + 8 * half;
                if (a.lse && t == 0 && query < queries)
                    a.lse[at.head * a.rows + at.first + q0 + query] = top[half] * a.scale + logf(sum[half]);
            }
            tile_round<D>(packed, o, factor[0], factor[1]);
            tile_store<D>(tile, words, q_tile, row, packed,
                          (rt_bf16 *)a.out + (at.first + q0 + row) * a.out_stride + shift, a.out_stride, queries - row);
        }
        rt_copy_wait<0>();
        if (q0 + (int)gridDim.y * KEYS < at.length) __syncthreads(); /* before the queries are loaded again */
    }
}

template <int D, int KEYS, int HEADS, int STAGES>
static rt_status launch(const rt_cuda_launch *l, attention_params p, int longest) {
    const size_t bytes = (size_t)HEADS * (1 + 2 * STAGES) * KEYS * D * sizeof(rt_bf16);
    const dim3 grid = attention_grid(&p, HEADS, (longest + KEYS - 1) / KEYS);
    RT_TRY(rt_allow_shared(attention_forward_kernel<D, KEYS, HEADS, STAGES>, bytes));
    return rt_launch((attention_forward_kernel<D, KEYS, HEADS, STAGES>), grid, dim3(2 * KEYS * HEADS), bytes, l->stream,
                     p);
}

template <int D> static rt_status launch_for(const rt_cuda_launch *l, const attention_params &p, int longest) {
    if (longest <= 16) return launch<D, 16, 4, 1>(l, p, longest);
    if (longest <= 32) return launch<D, 32, 2, 1>(l, p, longest);
    if (longest <= 64) return launch<D, 64, 1, 1>(l, p, longest);
    if constexpr (D <= 64)
        if (longest <= 128) return launch<D, 128, 1, 1>(l, p, longest);
    return launch<D, 64, 1, 2>(l, p, longest);
}

rt_status attention_forward_bf16(const rt_cuda_launch *l, attention_params p, int head_dim, int longest) {
    if (head_dim == 32) return launch_for<32>(l, p, longest);
    return head_dim == 64 ? launch_for<64>(l, p, longest) : launch_for<128>(l, p, longest);
}
