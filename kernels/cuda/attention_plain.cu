/* Attention in fp32 with plain FMA: what fp32 and tf32 run, on every card. Tiles of 32 queries by 32 keys, scores and
 * their gradients in registers, weights through shared memory.
 *
 *   grid     (sequences x heads + 8 that zero rows beyond the tokens, ceil(max_len / 32)), blocks of 128 threads
 *   forward  a block owns 32 queries. Shared 3 x 32 (4D + 16) + 4,608 bytes: 30 KiB at D = 64, 54 KiB at D = 128.
 *            Bytes a token and head: 16 D + 4, keys and values once more for each further block of queries.
 *            4 S^2 D FLOPs
 *   queries  (dq) a block owns 32. Shared 4 x 32 (4D + 16) + 4,608 bytes: 38.5 KiB, 70.5 KiB. 6 S^2 D FLOPs
 *   keys     (dk, dv) a block owns 32. Shared 4,608 bytes more. 8 S^2 D FLOPs. Together backward reads q, k, v, dout,
 *            out twice and writes 12 D bytes a token and head; delta = sum dout out
 *   holds    registers on sm_80 (sm_90 within 2), blocks of a multiprocessor: D = 32: 142, 146, 150: 3 blocks;
 *            D = 64: 142, 156, 158: 3; D = 128: 168, 178, 194: 2, forward on sm_90 3
 *   order    tiles ascending, inside them in order: fixed by the length */
#include "attention.cuh"

/* Tiles are 32 rows of D floats in pieces of four, one piece of padding a row: eight rows that a warp reads lie in
 * different banks. Of a block's 128 threads, thread (y, x) with x = 0 .. 7 has queries y and y + 16 and the keys
 * 16 (x / 4) + 2 (x % 4) + {0, 1, 8, 9}: one group of the dropout mask. */
enum { SIDE = 32, THREADS = 128, WEIGHTS = SIDE / 4 + 1 }; /* WEIGHTS: pieces of a row of 32 weights, with padding */

template <int D> struct plain_shape {
    enum {
        PITCH = D / 4 + 1,
        TILE = SIDE * PITCH,
        EACH = D / SIDE
    }; /* EACH: pieces of an output row that a thread has */
};

static __device__ __forceinline__ int key_of(int x, int n) {
    return 16 * (x / 4) + 2 * (x % 4) + n % 2 + n / 2 * 8;
}
static __device__ __forceinline__ float dot4(const rt_quad &a, const rt_quad &b, float sum) {
#pragma unroll
    for (int i = 0; i < 4; i++) sum += rt_float_of(a.w[i]) * rt_float_of(b.w[i]);
    return sum;
}

/* Starts the copies of 32 rows; those from `live` on become zero. */
template <int D, typename S>
static __device__ __forceinline__ void plain_load(const S &tile, int base, const float *from, int64_t stride,
                                                  int live) {
    for (int i = (int)threadIdx.x; i < SIDE * (D / 4); i += THREADS) {
        const int row = i / (D / 4), piece = i % (D / 4);
        rt_copy_async16_or_zero(&tile[base + row * plain_shape<D>::PITCH + piece],
                                from + (int64_t)row * stride + 4 * piece, row < live);
    }
}

/* c[half][n] = row y + 16 half of tile a times row key_of(x, n) of tile b. */
template <int D, typename S>
static __device__ __forceinline__ void plain_scores(float (&c)[2][4], const S &tile, int a, int b, int y, int x) {
    enum { PITCH = plain_shape<D>::PITCH };
#pragma unroll
    for (int n = 0; n < 4; n++) c[0][n] = c[1][n] = 0;
#pragma unroll 4
    for (int piece = 0; piece < D / 4; piece++) {
        const rt_quad low = tile[a + y * PITCH + piece], high = tile[a + (y + 16) * PITCH + piece];
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const rt_quad other = tile[b + key_of(x, n) * PITCH + piece];
            c[0][n] = dot4(low, other, c[0][n]), c[1][n] = dot4(high, other, c[1][n]);
        }
    }
}

/* c += weights . tile: this thread's rows y, y + 16 and pieces x + 8 i, over the first `live` rows of the tile (and at
 * most three beyond, whose weights are 0). */
template <int D, typename S>
static __device__ __forceinline__ void plain_add(float (&c)[2][4 * plain_shape<D>::EACH], const S &tile, int weights,
                                                 int base, int live, int y, int x) {
    enum { PITCH = plain_shape<D>::PITCH, EACH = plain_shape<D>::EACH };
#pragma unroll 1
    for (int k = 0; k < live; k += 4) {
        const rt_quad low = tile[weights + y * WEIGHTS + k / 4], high = tile[weights + (y + 16) * WEIGHTS + k / 4];
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                const rt_quad v = tile[base + (k + n) * PITCH + x + 8 * i];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    c[0][4 * i + j] += rt_float_of(low.w[n]) * rt_float_of(v.w[j]);
                    c[1][4 * i + j] += rt_float_of(high.w[n]) * rt_float_of(v.w[j]);
                }
            }
    }
}
template <int D>
static __device__ __forceinline__ void plain_store(float *to, int64_t stride, int live, int y, int x,
                                                   const float (&c)[2][4 * plain_shape<D>::EACH], float low,
                                                   float high) {
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
        for (int i = 0; i < plain_shape<D>::EACH; i++) {
            const float factor = half ? high : low;
            rt_quad q;
#pragma unroll
            for (int j = 0; j < 4; j++) q.w[j] = rt_bits_of(c[half][4 * i + j] * factor);
            if (y + 16 * half < live) rt_store16(to + (y + 16 * half) * stride + 4 * (x + 8 * i), q);
        }
}

/* Over the eight lanes that have a row together. */
static __device__ __forceinline__ float row_sum(float v) {
#pragma unroll
    for (int lanes = 4; lanes > 0; lanes /= 2) v += __shfl_xor_sync(RT_FULL, v, lanes);
    return v;
}
static __device__ __forceinline__ float row_most(float v) {
#pragma unroll
    for (int lanes = 4; lanes > 0; lanes /= 2) v = fmaxf(v, __shfl_xor_sync(RT_FULL, v, lanes));
    return v;
}

template <int D>
static __global__ void __launch_bounds__(THREADS, 1) attention_forward_plain_kernel(attention_params a) {
    enum { TILE = plain_shape<D>::TILE, K_TILE = TILE, V_TILE = 2 * TILE, P_TILE = 3 * TILE };
    RT_SHARED_DYNAMIC(rt_quad, tile);
    RT_SHARED_DYNAMIC(float, floats);
    if (attention_is_tail(a)) {
        attention_zero_tail<float>(a, a.out, a.out_stride, D);
        attention_zero_lse(a);
        return;
    }
    const attention_place at = attention_place_of(a, 1);
    const int y = (int)threadIdx.x / 8, x = (int)threadIdx.x % 8;
    const int64_t shift = (int64_t)at.head * D;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on ? a.places.example_id[at.sequence] : 0;
    const float *keys = (const float *)a.k + at.first * a.k_stride + shift;
    const float *values = (const float *)a.v + at.first * a.v_stride + shift;
    for (int q0 = (int)blockIdx.y * SIDE; q0 < at.length; q0 += (int)gridDim.y * SIDE) {
        const int queries = rt_least(at.length - q0, SIDE);
        float o[2][4 * plain_shape<D>::EACH], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
#pragma unroll
        for (int i = 0; i < 4 * plain_shape<D>::EACH; i++) o[0][i] = o[1][i] = 0;
        plain_load<D>(tile, 0, (const float *)a.q + (at.first + q0) * a.q_stride + shift, a.q_stride, queries);
        for (int k0 = 0; k0 < at.length; k0 += SIDE) {
            const int live = rt_least(at.length - k0, SIDE);
            float s[2][4];
            plain_load<D>(tile, K_TILE, keys + k0 * a.k_stride, a.k_stride, live);
            plain_load<D>(tile, V_TILE, values + k0 * a.v_stride, a.v_stride, live);
            rt_copy_commit();
            rt_copy_wait<0>();
            __syncthreads();
            plain_scores<D>(s, tile, 0, K_TILE, y, x);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = y + 16 * half;
                uint32_t keep = 15;
                float most = top[half], part = 0;
                if (mask.on) keep = attention_keep(mask, example, at.head, q0 + row, k0 / 4 + x);
#pragma unroll
                for (int n = 0; n < 4; n++) {
                    s[half][n] = key_of(x, n) < live ? s[half][n] * a.scale : -INFINITY;
                    most = fmaxf(most, s[half][n]);
                }
                most = row_most(most);
                const float shrink = expf(top[half] - most);
                top[half] = most;
#pragma unroll
                for (int n = 0; n < 4; n++) {
                    const float p = expf(s[half][n] - most);
                    part += p;
                    floats[4 * (P_TILE + row * WEIGHTS) + key_of(x, n)] = keep >> n & 1 ? p : 0.0f;
                }
                sum[half] = sum[half] * shrink + row_sum(part);
#pragma unroll
                for (int i = 0; i < 4 * plain_shape<D>::EACH; i++) o[half][i] *= shrink;
            }
            __syncwarp(); /* a row's weights come from its own eight lanes */
            plain_add<D>(o, tile, P_TILE, V_TILE, live, y, x);
            __syncthreads();
        }
#pragma unroll
        for (int half = 0; half < 2; half++)
            if (a.lse && x == 0 && y + 16 * half < queries)
                a.lse[at.head * a.rows + at.first + q0 + y + 16 * half] = top[half] + logf(sum[half]);
        const float factor = mask.on ? mask.scale : 1.0f;
        plain_store<D>((float *)a.out + (at.first + q0) * a.out_stride + shift, a.out_stride, queries, y, x, o,
                       factor / sum[0], factor / sum[1]);
    }
}

/* delta = sum of dout out, and lse, of queries y and y + 16 from q0 on: dout from its tile, out from memory. A query
 * beyond the sequence has lse = infinity: its probabilities are 0. */
template <int D, typename S>
static __device__ __forceinline__ void plain_saved(float (&lse)[2], float (&delta)[2], const attention_params &a,
                                                   const attention_place &at, const S &tile, int dout_tile, int q0,
                                                   int y, int x) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = y + 16 * half;
        const int64_t query = at.first + q0 + row;
        float sum = 0;
        lse[half] = INFINITY;
        if (q0 + row < at.length) {
            const float *out = (const float *)a.out + query * a.out_stride + (int64_t)at.head * D;
            for (int i = 0; i < plain_shape<D>::EACH; i++) {
                const rt_quad dout = tile[dout_tile + row * plain_shape<D>::PITCH + x + 8 * i];
                sum = dot4(dout, rt_load16(out + 4 * (x + 8 * i)), sum);
            }
            lse[half] = a.lse[at.head * a.rows + query];
        }
        delta[half] = row_sum(sum);
    }
}

/* This thread's p m and scale ds. */
template <int D, typename S>
static __device__ __forceinline__ void
plain_gradient(float (&p)[2][4], float (&ds)[2][4], const attention_params &a, const S &tile, int q_tile, int k_tile,
               int v_tile, int dout_tile, const float (&lse)[2], const float (&delta)[2], const rt_mask &mask,
               uint32_t example, int head, int q0, int k0, int live, int y, int x) {
    plain_scores<D>(p, tile, q_tile, k_tile, y, x);
    plain_scores<D>(ds, tile, dout_tile, v_tile, y, x);
    const float factor = mask.on ? mask.scale : 1.0f;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t keep = 15;
        if (mask.on) keep = attention_keep(mask, example, head, q0 + y + 16 * half, k0 / 4 + x);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const float m = keep >> n & 1 ? factor : 0.0f;
            const float e = key_of(x, n) < live ? expf(p[half][n] * a.scale - lse[half]) : 0.0f;
            ds[half][n] = e * (ds[half][n] * m - delta[half]) * a.scale;
            p[half][n] = e * m;
        }
    }
}

template <int D>
static __global__ void __launch_bounds__(THREADS, 1) attention_backward_plain_queries_kernel(attention_params a) {
    enum { TILE = plain_shape<D>::TILE, DOUT = TILE, K_TILE = 2 * TILE, V_TILE = 3 * TILE, DS = 4 * TILE };
    RT_SHARED_DYNAMIC(rt_quad, tile);
    RT_SHARED_DYNAMIC(float, floats);
    if (attention_is_tail(a)) {
        attention_zero_tail<float>(a, a.dq, a.dq_stride, D);
        return;
    }
    const attention_place at = attention_place_of(a, 1);
    const int y = (int)threadIdx.x / 8, x = (int)threadIdx.x % 8;
    const int64_t shift = (int64_t)at.head * D;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on ? a.places.example_id[at.sequence] : 0;
    for (int q0 = (int)blockIdx.y * SIDE; q0 < at.length; q0 += (int)gridDim.y * SIDE) {
        const int queries = rt_least(at.length - q0, SIDE);
        const int64_t first = at.first + q0;
        float dq[2][4 * plain_shape<D>::EACH], lse[2], delta[2], p[2][4], ds[2][4];
#pragma unroll
        for (int i = 0; i < 4 * plain_shape<D>::EACH; i++) dq[0][i] = dq[1][i] = 0;
        plain_load<D>(tile, 0, (const float *)a.q + first * a.q_stride + shift, a.q_stride, queries);
        plain_load<D>(tile, DOUT, (const float *)a.dout + first * a.out_stride + shift, a.out_stride, queries);
        for (int k0 = 0; k0 < at.length; k0 += SIDE) {
            const int live = rt_least(at.length - k0, SIDE);
            const int64_t key = at.first + k0;
            plain_load<D>(tile, K_TILE, (const float *)a.k + key * a.k_stride + shift, a.k_stride, live);
            plain_load<D>(tile, V_TILE, (const float *)a.v + key * a.v_stride + shift, a.v_stride, live);
            rt_copy_commit();
            rt_copy_wait<0>();
            __syncthreads();
            if (k0 == 0) plain_saved<D>(lse, delta, a, at, tile, DOUT, q0, y, x);
            plain_gradient<D>(p, ds, a, tile, 0, K_TILE, V_TILE, DOUT, lse, delta, mask, example, at.head, q0, k0, live,
                              y, x);
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int n = 0; n < 4; n++) floats[4 * (DS + (y + 16 * half) * WEIGHTS) + key_of(x, n)] = ds[half][n];
            __syncwarp();
            plain_add<D>(dq, tile, DS, K_TILE, live, y, x);
            __syncthreads();
        }
        plain_store<D>((float *)a.dq + first * a.dq_stride + shift, a.dq_stride, queries, y, x, dq, 1.0f, 1.0f);
    }
}

template <int D>
static __global__ void __launch_bounds__(THREADS, 1) attention_backward_plain_keys_kernel(attention_params a) {
    enum { TILE = plain_shape<D>::TILE, V_TILE = TILE, Q_TILE = 2 * TILE, DOUT = 3 * TILE, P = 4 * TILE };
    enum { DS = P + SIDE * WEIGHTS };
    RT_SHARED_DYNAMIC(rt_quad, tile);
    RT_SHARED_DYNAMIC(float, floats);
    if (attention_is_tail(a)) {
        attention_zero_tail<float>(a, a.dk, a.dk_stride, D);
        attention_zero_tail<float>(a, a.dv, a.dv_stride, D);
        return;
    }
    const attention_place at = attention_place_of(a, 1);
    const int y = (int)threadIdx.x / 8, x = (int)threadIdx.x % 8;
    const int64_t shift = (int64_t)at.head * D;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on ? a.places.example_id[at.sequence] : 0;
    for (int k0 = (int)blockIdx.y * SIDE; k0 < at.length; k0 += (int)gridDim.y * SIDE) {
        const int keys = rt_least(at.length - k0, SIDE);
        const int64_t first = at.first + k0;
        float dk[2][4 * plain_shape<D>::EACH], dv[2][4 * plain_shape<D>::EACH], lse[2], delta[2], p[2][4], ds[2][4];
#pragma unroll
        for (int i = 0; i < 4 * plain_shape<D>::EACH; i++) dk[0][i] = dk[1][i] = dv[0][i] = dv[1][i] = 0;
        plain_load<D>(tile, 0, (const float *)a.k + first * a.k_stride + shift, a.k_stride, keys);
        plain_load<D>(tile, V_TILE, (const float *)a.v + first * a.v_stride + shift, a.v_stride, keys);
        for (int q0 = 0; q0 < at.length; q0 += SIDE) {
            const int live = rt_least(at.length - q0, SIDE);
            const int64_t query = at.first + q0;
            plain_load<D>(tile, Q_TILE, (const float *)a.q + query * a.q_stride + shift, a.q_stride, live);
            plain_load<D>(tile, DOUT, (const float *)a.dout + query * a.out_stride + shift, a.out_stride, live);
            rt_copy_commit();
            rt_copy_wait<0>();
            __syncthreads();
            plain_saved<D>(lse, delta, a, at, tile, DOUT, q0, y, x);
            plain_gradient<D>(p, ds, a, tile, Q_TILE, 0, V_TILE, DOUT, lse, delta, mask, example, at.head, q0, k0, keys,
                              y, x);
            /* Turned: a row of weights is a key, which other warps will ask for. */
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int n = 0; n < 4; n++) {
                    const int place = 4 * key_of(x, n) * WEIGHTS + y + 16 * half;
                    floats[4 * P + place] = p[half][n], floats[4 * DS + place] = ds[half][n];
                }
            __syncthreads();
            plain_add<D>(dv, tile, P, DOUT, live, y, x);
            plain_add<D>(dk, tile, DS, Q_TILE, live, y, x);
            __syncthreads();
        }
        plain_store<D>((float *)a.dk + first * a.dk_stride + shift, a.dk_stride, keys, y, x, dk, 1.0f, 1.0f);
        plain_store<D>((float *)a.dv + first * a.dv_stride + shift, a.dv_stride, keys, y, x, dv, 1.0f, 1.0f);
    }
}

template <int D> static rt_status forward(const rt_cuda_launch *l, attention_params p, int longest) {
    const size_t bytes = (3 * plain_shape<D>::TILE + SIDE * WEIGHTS) * sizeof(rt_quad);
    const dim3 grid = attention_grid(&p, 1, (longest + SIDE - 1) / SIDE);
    RT_TRY(rt_allow_shared(attention_forward_plain_kernel<D>, bytes));
    return rt_launch(attention_forward_plain_kernel<D>, grid, dim3(THREADS), bytes, l->stream, p);
}
template <int D> static rt_status backward(const rt_cuda_launch *l, attention_params p, int longest) {
    const size_t bytes = (4 * plain_shape<D>::TILE + SIDE * WEIGHTS) * sizeof(rt_quad);
    const size_t more = bytes + SIDE * WEIGHTS * sizeof(rt_quad);
    const dim3 grid = attention_grid(&p, 1, (longest + SIDE - 1) / SIDE);
    RT_TRY(rt_allow_shared(attention_backward_plain_queries_kernel<D>, bytes));
    RT_TRY(rt_launch(attention_backward_plain_queries_kernel<D>, grid, dim3(THREADS), bytes, l->stream, p));
    RT_TRY(rt_allow_shared(attention_backward_plain_keys_kernel<D>, more));
    return rt_launch(attention_backward_plain_keys_kernel<D>, grid, dim3(THREADS), more, l->stream, p);
}

rt_status attention_forward_plain(const rt_cuda_launch *l, attention_params p, int head_dim, int longest) {
    if (head_dim == 32) return forward<32>(l, p, longest);
    return head_dim == 64 ? forward<64>(l, p, longest) : forward<128>(l, p, longest);
}
rt_status attention_backward_plain(const rt_cuda_launch *l, attention_params p, int head_dim, int longest) {
    if (head_dim == 32) return backward<32>(l, p, longest);
    return head_dim == 64 ? backward<64>(l, p, longest) : backward<128>(l, p, longest);
}
