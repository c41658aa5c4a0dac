/* The optimizer's pass over all trainable parameters, and the norm of their gradient. */
#include "op.h"
#include <math.h>
#include <stdbool.h>

enum { BLOCK = 1 << 16, LANES = 16 };

/* Sixteen sums side by side whatever the vectors' width, and squares of floats are exact in fp64: so a block's sum is
 * the same at every instruction level. */
static double block_sum(const float *x, int64_t n) {
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++) lane[j] += (double)x[i] * (double)x[i];
    for (int j = 0; j < LANES; j++) sum += lane[j];
    return sum;
}

rt_status RT_OP(rt_cpu_sum_squares)(rt_backend *backend, const rt_sum_squares_args *a) {
    if (a->n < 0) return rt_fail(RT_ESHAPE, "sum_squares: %lld elements", (long long)a->n);
    const int64_t blocks = (a->n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(rt_cpu_of(backend)->threads)
    for (int64_t b = 0; b < (a->x ? blocks : 0); b++)
        a->partials[b] = block_sum(a->x + b * BLOCK, a->n - b * BLOCK < BLOCK ? a->n - b * BLOCK : BLOCK);
    if (!a->total) return RT_OK;
    double total = 0;
    for (int64_t b = 0; b < blocks; b++) total += a->partials[b];
    *a->total = total;
    return RT_OK;
}

typedef struct {
    float fresh1, beta2, fresh2, epsilon; /* fresh = 1 - beta */
    float keep;                           /* 1 - lr wd */
    float step;                           /* lr / bias1 */
    float root;                           /* 1 / sqrt(bias2) */
    float clip;
} factors;

static void update(float *restrict p, const float *restrict grad, float *restrict m, float *restrict v, int64_t n,
                   factors f) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float g = grad[i] * f.clip;
        float mean = m[i] + (g - m[i]) * f.fresh1;
        float square = v[i] * f.beta2 + g * g * f.fresh2;
        m[i] = mean, v[i] = square;
        p[i] = p[i] * f.keep - f.step * (mean / (sqrtf(square) * f.root + f.epsilon));
    }
}

/* By the bits, so that no compiler flag can let a NaN pass. */
static bool is_finite(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits >> 52 & 0x7ff) != 0x7ff;
}

rt_status RT_OP(rt_cpu_adamw)(rt_backend *backend, const rt_adamw_args *a) {
    rt_step_state *state = a->state;
    int64_t total = 0;
    for (int i = 0; i < a->n_ranges; i++) {
        if (a->ranges[i].count < 0 || a->ranges[i].param_off < 0 || a->ranges[i].train_off < a->moment_off)
            return rt_fail(RT_ESHAPE, "adamw: range %d has count %lld, offsets %lld and %lld", i,
                           (long long)a->ranges[i].count, (long long)a->ranges[i].param_off,
                           (long long)a->ranges[i].train_off);
        total += a->ranges[i].count;
    }
    state->skipped = !is_finite(state->grad_sq);
    for (int i = 0; a->losses && i < a->n_losses; i++)
        if (!is_finite(a->losses[i])) state->skipped = 1;
    if (state->skipped) return RT_OK;
    const double norm = sqrt(state->grad_sq), clip = (double)state->clip_norm / (norm + 1e-6);
    const factors common = {.fresh1 = (float)(1.0 - a->beta1),
                            .beta2 = (float)a->beta2,
                            .fresh2 = (float)(1.0 - a->beta2),
                            .epsilon = a->epsilon,
                            .root = (float)(1.0 / sqrt((double)state->bias2)),
                            .clip = state->clip_norm > 0 && clip < 1 ? (float)clip : 1.0f};
    /* Each element is its own: how they are dealt to the threads changes no bit. */
#pragma omp parallel num_threads(rt_cpu_of(backend)->threads)
    {
        const rt_span mine = rt_share(total, 64);
        int64_t start = 0; /* of range i, counted over all ranges */
        for (int i = 0; i < a->n_ranges && start < mine.end; i++) {
            const rt_adam_range *range = &a->ranges[i];
            int64_t from = mine.begin - start, to = mine.end - start;
            from = from < 0 ? 0 : from;
            to = to > range->count ? range->count : to;
            start += range->count;
            if (from >= to) continue;
            const double lr = (double)state->lr * (double)range->lr_scale;
            factors f = common;
            f.keep = (float)(1.0 - lr * (double)range->weight_decay);
            f.step = (float)(lr / (double)state->bias1);
            const int64_t t = range->train_off + from, mine_at = t - a->moment_off;
            update(a->params + range->param_off + from, a->grads + t, a->m + mine_at, a->v + mine_at, to - from, f);
        }
    }
    return RT_OK;
}
