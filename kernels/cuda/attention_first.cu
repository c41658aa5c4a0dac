/* Attention of one query a sequence (the first token), both types: a kernel of bandwidth, every key and value read
 * once.
 *
 * attention_forward_first<T, D>, attention_backward_first<T, D>
 *   grid     ceil(sequences x heads / 4) (backward: + 8 that zero rows of dk and dv beyond the tokens), blocks of 128
 *            threads: a warp a (sequence, head); neighbouring warps have neighbouring heads, whose rows are neighbours
 *   shared   none
 *   bytes    a key and head: forward k, v: 2 D sizeof(T); backward k, v, dk, dv: 4 D sizeof(T); all by 16 bytes
 *   work     forward 4 D FLOPs a key and head, backward 10 D; one Philox call for four keys (by D / 8 lanes alike)
 *   holds    D / 8 lanes a row of eight channels each, four keys of one dropout group at a time. Registers on sm_80
 *            (sm_90), blocks of a multiprocessor: forward 88 to 92 (92 to 95): 5, backward 101 to 103 (111 to 113): 4
 *   order    softmax as the keys come by, per team of lanes; teams join as a butterfly: fixed by the length.
 *            delta = sum dout out */
#include "attention.cuh"

enum { THREADS = 128, UNITS = THREADS / 32 };

/* Of a warp's 32 lanes D / 8 have a row together, eight channels each, and LANES such teams go through the dropout
 * groups: team i takes the four keys of group i, i + TEAMS, ... */
template <int D> struct first_shape {
    enum { LANES = D / 8, TEAMS = 32 / LANES };
};

struct first_place {
    int64_t first;
    int32_t length, head, sequence;
    bool lives; /* false: more warps than (sequence, head) pairs */
};
static __device__ __forceinline__ first_place first_place_of(const attention_params &a) {
    const int64_t unit = (int64_t)blockIdx.x * UNITS + threadIdx.x / 32;
    first_place at = {0, 0, (int32_t)(unit % a.heads), (int32_t)(unit / a.heads), unit / a.heads < a.places.n_seqs};
    if (at.lives) {
        at.first = a.places.cu_seqlens[at.sequence];
        at.length = a.places.cu_seqlens[at.sequence + 1] - (int32_t)at.first;
    }
    return at;
}

static __device__ __forceinline__ int first_key(int group, int n) {
    return group / 4 * 16 + group % 4 * 2 + n % 2 + n / 2 * 8;
}
static __device__ __forceinline__ float dot8(const rt_octet &a, const rt_octet &b) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += a.v[i] * b.v[i];
    return sum;
}
template <int D> static __device__ __forceinline__ float team_sum(float x) {
#pragma unroll
    for (int lanes = first_shape<D>::LANES / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(RT_FULL, x, lanes);
    return x;
}
/* The sum over the teams of what each lane has; every team gets the same bits. */
template <int D> static __device__ __forceinline__ float across_teams(float x) {
#pragma unroll
    for (int lanes = first_shape<D>::LANES; lanes < 32; lanes *= 2) x += __shfl_xor_sync(RT_FULL, x, lanes);
    return x;
}

template <typename T, int D>
static __global__ void __launch_bounds__(THREADS, 1) attention_forward_first_kernel(attention_params a) {
    enum { LANES = first_shape<D>::LANES, TEAMS = first_shape<D>::TEAMS };
    const first_place at = first_place_of(a);
    const int lane = (int)threadIdx.x % 32, team = lane / LANES;
    const int64_t shift = (int64_t)at.head * D + lane % LANES * 8;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on && at.length ? a.places.example_id[at.sequence] : 0;
    rt_octet q = rt_zero8(), o = rt_zero8();
    float top = -INFINITY, sum = 0;
    if (at.length) q = rt_load8((const T *)a.q + at.sequence * a.q_stride + shift);
    for (int step = 0; 16 * (step * TEAMS / 4) < at.length; step++) {
        const int group = step * TEAMS + team;
        float s[4], most = top;
        rt_octet v[4];
        uint32_t keep = 15;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const int key = first_key(group, n);
            s[n] = 0, v[n] = rt_zero8();
            if (key < at.length) {
                const int64_t row = at.first + key;
                s[n] = dot8(q, rt_load8((const T *)a.k + row * a.k_stride + shift));
                v[n] = rt_load8((const T *)a.v + row * a.v_stride + shift);
            }
        }
        if (mask.on) keep = attention_keep(mask, example, at.head, 0, group);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            s[n] = team_sum<D>(s[n]) * a.scale;
            if (first_key(group, n) >= at.length) s[n] = -INFINITY;
            most = fmaxf(most, s[n]);
        }
        /* A team without any key yet keeps -infinity, and must not make it a NaN. */
        const float base = most == -INFINITY ? 0.0f : most, shrink = expf(top - base);
        top = most, sum *= shrink;
#pragma unroll
        for (int i = 0; i < 8; i++) o.v[i] *= shrink;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const float p = expf(s[n] - base);
            sum += p;
#pragma unroll
            for (int i = 0; i < 8; i++) o.v[i] += (keep >> n & 1 ? p : 0.0f) * v[n].v[i];
        }
    }
    float most = top;
#pragma unroll
    for (int lanes = LANES; lanes < 32; lanes *= 2) most = fmaxf(most, __shfl_xor_sync(RT_FULL, most, lanes));
    const float shrink = expf(top - (most == -INFINITY ? 0.0f : most));
    sum = across_teams<D>(sum * shrink);
    const float factor = (mask.on ? mask.scale : 1.0f) / sum;
#pragma unroll
    for (int i = 0; i < 8; i++) o.v[i] = across_teams<D>(o.v[i] * shrink) * factor;
    if (!at.lives || team > 0) return;
    rt_store8((T *)a.out + at.sequence * a.out_stride + shift, at.length ? o : rt_zero8());
    if (a.lse && lane == 0) a.lse[at.head * a.rows + at.sequence] = at.length ? most + logf(sum) : 0.0f;
}

template <typename T, int D>
static __global__ void __launch_bounds__(THREADS, 1) attention_backward_first_kernel(attention_params a) {
    enum { LANES = first_shape<D>::LANES, TEAMS = first_shape<D>::TEAMS };
    const int units = (int)(((int64_t)a.places.n_seqs * a.heads + UNITS - 1) / UNITS);
    if ((int)blockIdx.x >= units) { /* rows of dk and dv beyond the tokens */
        const int64_t tokens = rt_token_count(a.places), octets = (int64_t)a.heads * D / 8;
        for (int64_t i = ((int64_t)blockIdx.x - units) * THREADS + threadIdx.x; i < (a.bucket - tokens) * octets;
             i += (int64_t)RT_ATTENTION_TAILS * THREADS) {
            rt_store8((T *)a.dk + (tokens + i / octets) * a.dk_stride + i % octets * 8, rt_zero8());
            rt_store8((T *)a.dv + (tokens + i / octets) * a.dv_stride + i % octets * 8, rt_zero8());
        }
        return;
    }
    const first_place at = first_place_of(a);
    const int lane = (int)threadIdx.x % 32, team = lane / LANES;
    const int64_t shift = (int64_t)at.head * D + lane % LANES * 8;
    const rt_mask mask = rt_mask_begin(a.mask);
    const uint32_t example = mask.on && at.length ? a.places.example_id[at.sequence] : 0;
    const float factor = mask.on ? mask.scale : 1.0f;
    rt_octet q = rt_zero8(), dout = rt_zero8(), dq = rt_zero8();
    float lse = 0, delta = 0;
    if (at.length) {
        q = rt_load8((const T *)a.q + at.sequence * a.q_stride + shift);
        dout = rt_load8((const T *)a.dout + at.sequence * a.out_stride + shift);
        delta = dot8(dout, rt_load8((const T *)a.out + at.sequence * a.out_stride + shift));
        lse = a.lse[at.head * a.rows + at.sequence];
    }
    delta = team_sum<D>(delta);
    for (int step = 0; 16 * (step * TEAMS / 4) < at.length; step++) {
        const int group = step * TEAMS + team;
        float s[4], g[4];
        rt_octet k[4];
        uint32_t keep = 15;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const int key = first_key(group, n);
            s[n] = g[n] = 0, k[n] = rt_zero8();
            if (key < at.length) {
                const int64_t row = at.first + key;
                k[n] = rt_load8((const T *)a.k + row * a.k_stride + shift);
                s[n] = dot8(q, k[n]), g[n] = dot8(dout, rt_load8((const T *)a.v + row * a.v_stride + shift));
            }
        }
        if (mask.on) keep = attention_keep(mask, example, at.head, 0, group);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const int key = first_key(group, n);
            const float p = expf(team_sum<D>(s[n]) * a.scale - lse), m = keep >> n & 1 ? factor : 0.0f;
            const float ds = p * (team_sum<D>(g[n]) * m - delta) * a.scale;
            rt_octet dk, dv;
            if (key >= at.length) continue;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                dq.v[i] += ds * k[n].v[i];
                dk.v[i] = ds * q.v[i], dv.v[i] = p * m * dout.v[i];
            }
            const int64_t row = at.first + key;
            rt_store8((T *)a.dk + row * a.dk_stride + shift, dk);
            rt_store8((T *)a.dv + row * a.dv_stride + shift, dv);
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) dq.v[i] = across_teams<D>(dq.v[i]);
    if (at.lives && team == 0) rt_store8((T *)a.dq + at.sequence * a.dq_stride + shift, dq);
}

#define RT_BY_HEAD(l, head_dim, CALL)                                                                                  \
    do {                                                                                                               \
        if ((l)->act == RT_BF16) {                                                                                     \
            if (head_dim == 32) CALL(rt_bf16, 32);                                                                     \
            if (head_dim == 64) CALL(rt_bf16, 64);                                                                     \
            CALL(rt_bf16, 128);                                                                                        \
        }                                                                                                              \
        if (head_dim == 32) CALL(float, 32);                                                                           \
        if (head_dim == 64) CALL(float, 64);                                                                           \
        CALL(float, 128);                                                                                              \
    } while (0)

rt_status attention_forward_first(const rt_cuda_launch *l, attention_params p, int head_dim) {
    const dim3 grid((unsigned)(((int64_t)p.places.n_seqs * p.heads + UNITS - 1) / UNITS));
    if (p.places.n_seqs == 0) return RT_OK;
#define CALL(T, D) return rt_launch((attention_forward_first_kernel<T, D>), grid, dim3(THREADS), 0, l->stream, p)
    RT_BY_HEAD(l, head_dim, CALL);
#undef CALL
}
rt_status attention_backward_first(const rt_cuda_launch *l, attention_params p, int head_dim) {
    const dim3 grid((unsigned)(((int64_t)p.places.n_seqs * p.heads + UNITS - 1) / UNITS + RT_ATTENTION_TAILS));
#define CALL(T, D) return rt_launch((attention_backward_first_kernel<T, D>), grid, dim3(THREADS), 0, l->stream, p)
    RT_BY_HEAD(l, head_dim, CALL);
#undef CALL
}
