/* The optimizer's pass over all trainable parameters, and the norm of their gradient.
 *
 * block_squares: a half-warp a block of 2^16 elements, sixteen fp64 sums side by side, as on the CPU: the same bits.
 *   grid     ceil(blocks / 2) blocks of 32 threads; 32 loads a thread under way, so 4 KB a warp
 *   bytes    4 an element, read once; 8 a block written
 * add_squares: one block of 32 threads adds the blocks' sums in order: a chain of fp64 additions, about 10 microseconds
 *   for BERT-base's 1,671 blocks (an estimate).
 * adamw: eight blocks of 256 threads a multiprocessor, which deal chunks of 4,096 elements of the ranges among them;
 * factors of a range are computed once a block. Everything that changes from step to step is read from device memory.
 *   shared   12 KB
 *   bytes    28 an element: reads p, g, m, v, writes p, m, v, sixteen at a time where the range's offsets allow it
 *   work     about 14 FLOPs, a root and a division an element */
#include "common.cuh"

enum { SQUARES_BLOCK = 1 << 16, SQUARES_LANES = 16, SQUARES_AHEAD = 32 };

static __global__ void __launch_bounds__(32, 1) block_squares_kernel(const float *x, int64_t n, double *partials) {
    const int64_t block = 2 * (int64_t)blockIdx.x + threadIdx.x / 16, first = block * SQUARES_BLOCK;
    const int lane = (int)threadIdx.x % 16;
    int64_t count = n - first;
    if (count > SQUARES_BLOCK) count = SQUARES_BLOCK;
    double sum = 0;
    for (int64_t i = lane; i < count; i += SQUARES_LANES * SQUARES_AHEAD) {
        float v[SQUARES_AHEAD];
#pragma unroll
        for (int j = 0; j < SQUARES_AHEAD; j++) {
            const int64_t at = i + SQUARES_LANES * j;
            v[j] = at < count ? x[first + at] : 0.0f;
        }
        /* A square of floats is exact in fp64, so adding it rounds once, fused or not; adding 0 changes nothing. */
#pragma unroll
        for (int j = 0; j < SQUARES_AHEAD; j++) sum += (double)v[j] * (double)v[j];
    }
    double total = 0;
    for (int j = 0; j < SQUARES_LANES; j++) total += __shfl_sync(RT_FULL, sum, j, 16);
    if (lane == 0 && count > 0) partials[block] = total;
}

static __global__ void __launch_bounds__(32, 1)
    add_squares_kernel(const double *partials, int64_t blocks, double *total) {
    double sum = 0;
    for (int64_t first = 0; first < blocks; first += 32) {
        const int64_t at = first + threadIdx.x;
        const double mine = at < blocks ? partials[at] : 0;
        for (int j = 0; j < 32; j++) {
            const double next = __shfl_sync(RT_FULL, mine, j);
            if (first + j < blocks) sum += next;
        }
    }
    if (threadIdx.x == 0) *total = sum;
}

extern "C" rt_status rt_cuda_sum_squares_launch(const rt_cuda_launch *l, const rt_sum_squares_args *a) {
    if (a->n < 0) return rt_fail(RT_ESHAPE, "sum_squares: %lld elements", (long long)a->n);
    const int64_t blocks = (a->n + SQUARES_BLOCK - 1) / SQUARES_BLOCK;
    if (blocks > 0 && a->x)
        RT_TRY(rt_launch(block_squares_kernel, dim3((unsigned)((blocks + 1) / 2)), dim3(32), 0, l->stream, a->x, a->n,
                         a->partials));
    if (!a->total) return RT_OK;
    return rt_launch(add_squares_kernel, dim3(1), dim3(32), 0, l->stream, (const double *)a->partials, blocks,
                     a->total);
}

enum { ADAM_CHUNK = 4096, ADAM_THREADS = 256, ADAM_RANGES = 1024 };

struct adam_params {
    float *p;
    const float *g;
    float *m, *v;
    int64_t moment_off;
    const rt_adam_range *ranges;
    int32_t n_ranges;
    double beta1, beta2;
    float epsilon;
    const double *losses;
    int32_t n_losses;
    rt_step_state *state;
};
struct adam_factors {
    float fresh1, beta2, fresh2, epsilon, root, clip; /* fresh = 1 - beta; root = 1 / sqrt(bias2) */
    float keep, step;                                 /* of a range: 1 - lr wd, lr / bias1 */
};

static __device__ __forceinline__ void adam_one(const adam_factors &f, float grad, float &p, float &m, float &v) {
    const float g = grad * f.clip;
    m = m + (g - m) * f.fresh1;
    v = v * f.beta2 + g * g * f.fresh2;
    p = p * f.keep - f.step * (m / (sqrtf(v) * f.root + f.epsilon));
}

/* Elements [from, to) of a range. Four at a time where every address then is a multiple of 16 bytes. */
static __device__ void adam_span(const adam_params &a, const adam_factors &f, const rt_adam_range &r, int64_t from,
                                 int64_t to) {
    const int64_t moments = r.train_off - a.moment_off;
    float *p = a.p + r.param_off, *m = a.m + moments, *v = a.v + moments;
    const float *g = a.g + r.train_off;
    const bool wide = r.param_off % 4 == 0 && r.train_off % 4 == 0 && moments % 4 == 0;
    const int64_t end = wide ? from + (to - from) / 4 * 4 : from;
    for (int64_t i = from + 4 * (int64_t)threadIdx.x; i < end; i += 4 * ADAM_THREADS) {
        const rt_quad grad = rt_load16(g + i);
        rt_quad weight = rt_load16(p + i), mean = rt_load16(m + i), square = rt_load16(v + i);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float pj = rt_float_of(weight.w[j]), mj = rt_float_of(mean.w[j]), vj = rt_float_of(square.w[j]);
            adam_one(f, rt_float_of(grad.w[j]), pj, mj, vj);
            weight.w[j] = rt_bits_of(pj), mean.w[j] = rt_bits_of(mj), square.w[j] = rt_bits_of(vj);
        }
        rt_store16(p + i, weight), rt_store16(m + i, mean), rt_store16(v + i, square);
    }
    for (int64_t i = end + threadIdx.x; i < to; i += ADAM_THREADS) adam_one(f, g[i], p[i], m[i], v[i]);
}

/* By the bits, so that no flag can let a NaN pass. */
static __device__ __forceinline__ bool is_finite(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits >> 52 & 0x7ff) != 0x7ff;
}

/* counts[i] becomes the sum of counts[0 .. i]. By one warp. */
template <typename ARRAY> static __device__ __forceinline__ void add_up(ARRAY &counts, int32_t n) {
    const int32_t lane = (int32_t)threadIdx.x;
    int32_t before = 0;
    for (int32_t first = 0; first < n; first += 32) {
        int32_t sum = first + lane < n ? (int32_t)counts[first + lane] : 0;
#pragma unroll
        for (int by = 1; by < 32; by *= 2) {
            const int32_t other = __shfl_up_sync(RT_FULL, sum, (unsigned)by);
            if (lane >= by) sum += other;
        }
        if (first + lane < n) counts[first + lane] = before + sum;
        before += __shfl_sync(RT_FULL, sum, 31);
    }
}

static __global__ void __launch_bounds__(ADAM_THREADS, 1) adamw_kernel(adam_params a) {
    RT_SHARED(int32_t, ends, ADAM_RANGES); /* chunks in the ranges up to and with this one */
    RT_SHARED(float, keeps, ADAM_RANGES);
    RT_SHARED(float, steps, ADAM_RANGES);
    const double grad_sq = a.state->grad_sq;
    bool finite = is_finite(grad_sq);
    for (int32_t i = 0; i < a.n_losses; i++) finite = finite && is_finite(a.losses[i]);
    if (blockIdx.x == 0 && threadIdx.x == 0) a.state->skipped = finite ? 0 : 1;
    if (!finite) return;
    adam_factors f;
    const double clip = (double)a.state->clip_norm / (sqrt(grad_sq) + 1e-6);
    f.fresh1 = (float)(1.0 - a.beta1), f.beta2 = (float)a.beta2, f.fresh2 = (float)(1.0 - a.beta2);
    f.epsilon = a.epsilon, f.root = (float)(1.0 / sqrt((double)a.state->bias2));
    f.clip = a.state->clip_norm > 0 && clip < 1 ? (float)clip : 1.0f;
    for (int32_t base = 0; base < a.n_ranges; base += ADAM_RANGES) {
        const int32_t n = a.n_ranges - base < ADAM_RANGES ? a.n_ranges - base : ADAM_RANGES;
        __syncthreads(); /* the ranges before these have been read by all */
        for (int32_t i = (int32_t)threadIdx.x; i < n; i += ADAM_THREADS) {
            const rt_adam_range r = a.ranges[base + i];
            const double lr = (double)a.state->lr * (double)r.lr_scale;
            ends[i] = r.count > 0 ? (int32_t)((r.count + ADAM_CHUNK - 1) / ADAM_CHUNK) : 0;
            keeps[i] = (float)(1.0 - lr * (double)r.weight_decay);
            steps[i] = (float)(lr / (double)a.state->bias1);
        }
        __syncthreads();
        if (threadIdx.x < 32) add_up(ends, n);
        __syncthreads();
        const int32_t chunks = ends[n - 1];
        for (int32_t chunk = (int32_t)blockIdx.x; chunk < chunks; chunk += (int32_t)gridDim.x) {
            int32_t low = 0, high = n - 1; /* the first range whose end lies beyond the chunk */
            while (low < high) {
                const int32_t middle = (low + high) / 2;
                if (ends[middle] > chunk)
                    high = middle;
                else
                    low = middle + 1;
            }
            const rt_adam_range r = a.ranges[base + low];
            const int32_t before = low > 0 ? (int32_t)ends[low - 1] : 0;
            const int64_t from = (int64_t)(chunk - before) * ADAM_CHUNK;
            f.keep = keeps[low], f.step = steps[low];
            adam_span(a, f, r, from, r.count - from < ADAM_CHUNK ? r.count : from + ADAM_CHUNK);
        }
    }
}

extern "C" rt_status rt_cuda_adamw_launch(const rt_cuda_launch *l, const rt_adamw_args *a) {
    if (a->n_ranges < 0 || a->moment_off < 0)
        return rt_fail(RT_ESHAPE, "adamw: %d ranges, moments from %lld on", a->n_ranges, (long long)a->moment_off);
    RT_CHECK_ALIGNED("adamw", a->params, a->grads, a->m, a->v);
    adam_params p = {a->params,   a->grads, a->m,     a->v,       a->moment_off, a->ranges,
                     a->n_ranges, a->beta1, a->beta2, a->epsilon, a->losses,     a->losses ? a->n_losses : 0,
                     a->state};
    return rt_launch(adamw_kernel, dim3((unsigned)(l->processors > 0 ? 8 * l->processors : 8)), dim3(ADAM_THREADS), 0,
                     l->stream, p);
}
