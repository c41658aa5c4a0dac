/* Adam, the gradient's norm, and conversion, against fp64. */
#include "tests/support/kernel_check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 5000, GAP = 3 };

typedef struct {
    float beta1, beta2, epsilon, lr, clip;
    int steps;
} recipe;

/* Torch's form in fp64: decay, moments, step. */
static void reference_step(double *p, const double *g, double *m, double *v, size_t n, recipe r, int t, double lr,
                           double decay, double clip) {
    const double b1 = (double)r.beta1, b2 = (double)r.beta2, c1 = 1 - pow(b1, t), c2 = 1 - pow(b2, t);
    for (size_t i = 0; i < n; i++) {
        const double grad = g[i] * clip;
        p[i] *= 1 - lr * decay;
        m[i] = b1 * m[i] + (1 - b1) * grad;
        v[i] = b2 * v[i] + (1 - b2) * grad * grad;
        p[i] -= lr * (m[i] / c1) / (sqrt(v[i]) / sqrt(c2) + (double)r.epsilon);
    }
}

/* Three ranges: not in the order of the parameters, with gaps that must stay as they are, of awkward lengths. */
static const rt_adam_range ranges[] = {
    {.param_off = 3000, .train_off = 0, .count = 1937, .lr_scale = 1, .weight_decay = 0.01f},
    {.param_off = 0, .train_off = 1937 + GAP, .count = 1, .lr_scale = 0.5f, .weight_decay = 0},
    {.param_off = 7, .train_off = 1941 + GAP, .count = 2900, .lr_scale = 0.8f, .weight_decay = 0.1f},
};

static void check_adam(recipe r, int threads) {
    rt_check *c = rt_check_open(RT_PRECISION_FP32, threads, NULL);
    rt_backend *be = rt_check_backend(c);
    float *p = rt_check_normal(c, RT_F32, N, 1, 1), *m = rt_check_poison(c, RT_F32, N),
          *v = rt_check_poison(c, RT_F32, N);
    float *g = rt_check_poison(c, RT_F32, N);
    const double *start = rt_check_widen(c, RT_F32, p, N);
    double *want_p = rt_check_widen(c, RT_F32, p, N), *want_m = rt_check_doubles(c, N),
           *want_v = rt_check_doubles(c, N);
    for (int i = 0; i < 3; i++) {
        memset(m + ranges[i].train_off, 0, (size_t)ranges[i].count * sizeof *m);
        memset(v + ranges[i].train_off, 0, (size_t)ranges[i].count * sizeof *v);
    }
    for (int t = 1; t <= r.steps; t++) {
        double norm = 0;
        for (int i = 0; i < 3; i++) {
            float *fresh = rt_check_normal(c, RT_F32, (size_t)ranges[i].count, (uint32_t)(10 * t + i), 0.01);
            memcpy(g + ranges[i].train_off, fresh, (size_t)ranges[i].count * sizeof *g);
            for (int64_t j = 0; j < ranges[i].count; j++) norm += (double)fresh[j] * (double)fresh[j];
        }
        rt_step_state state = {.lr = r.lr,
                               .bias1 = (float)(1 - pow((double)r.beta1, t)),
                               .bias2 = (float)(1 - pow((double)r.beta2, t)),
                               .clip_norm = r.clip,
                               .skipped = 7,
                               .grad_sq = norm};
        rt_check_ok(be->adamw(be, &(rt_adamw_args){.params = p,
                                                   .grads = g,
                                                   .m = m,
                                                   .v = v,
                                                   .ranges = ranges,
                                                   .n_ranges = 3,
                                                   .beta1 = r.beta1,
                                                   .beta2 = r.beta2,
                                                   .epsilon = r.epsilon,
                                                   .state = &state}),
                    "adamw");
        assert_int_equal(state.skipped, 0);
        const double scale = r.clip > 0 ? fmin(1, (double)r.clip / (sqrt(norm) + 1e-6)) : 1;
        const double *grad = rt_check_widen(c, RT_F32, g, N);
        for (int i = 0; i < 3; i++)
            reference_step(want_p + ranges[i].param_off, grad + ranges[i].train_off, want_m + ranges[i].train_off,
                           want_v + ranges[i].train_off, (size_t)ranges[i].count, r, t,
                           (double)r.lr * (double)ranges[i].lr_scale, (double)ranges[i].weight_decay, scale);
    }
    for (int i = 0; i < 3; i++) {
        const size_t n = (size_t)ranges[i].count;
        const int64_t t = ranges[i].train_off, at = ranges[i].param_off;
        /* Each step rounds a moment about three times by 2^-24, and errors of T steps add like sqrt(T) at most. The
         * change of p has six roundings more (three factors, root, quotient, product), beside the rounding of p itself.
         */
        const double limit = 2 * 3 * 0x1p-24 * sqrt(r.steps);
        rt_check_close_to("m", RT_F32, m + t, want_m + t, n, limit);
        rt_check_close_to("v", RT_F32, v + t, want_v + t, n, limit);
        double change_error = 0, change = 0, size = 0;
        for (size_t j = 0; j < n; j++) {
            const double got = (double)p[at + (int64_t)j] - start[at + (int64_t)j];
            const double want = want_p[at + (int64_t)j] - start[at + (int64_t)j];
            change_error += (got - want) * (got - want);
            change += want * want;
            size += want_p[at + (int64_t)j] * want_p[at + (int64_t)j];
        }
        assert_true(sqrt(change_error) <=
                    (limit + 2 * 6 * 0x1p-24) * sqrt(change) + 2 * 0x1p-24 * sqrt(r.steps * size));
    }
    /* Between the ranges nothing was written. */
    const float *untouched = rt_check_normal(c, RT_F32, N, 1, 1);
    rt_check_same("p between ranges", RT_F32, p + 1, untouched + 1, 6);
    rt_check_untouched("m between ranges", m + 1937, GAP * sizeof *m);
    rt_check_untouched("v between ranges", v + 1937, GAP * sizeof *v);
    rt_check_close(c);
}

static void adam(void **state) {
    (void)state;
    check_adam((recipe){0.9f, 0.999f, 1e-8f, 2e-5f, 0, 10}, 2);
    check_adam((recipe){0.9f, 0.999f, 1e-8f, 1e-2f, 0, 10}, 1);
    check_adam((recipe){0.9f, 0.98f, 1e-6f, 1e-3f, 0.1f, 5}, 3); /* clipped: the norm is about 0.7 */
    check_adam((recipe){0.9f, 0.999f, 1e-8f, 1e-3f, 100, 5}, 2); /* not reached */
    check_adam((recipe){0.9f, 0.999f, 1e-8f, 0, 0, 2}, 2);       /* lr 0: the first step of a warm-up */
}

static void not_finite(void **state) {
    (void)state;
    const double bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 8; i++) { /* the norm's square, or one of the losses */
        rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, NULL);
        rt_backend *be = rt_check_backend(c);
        const double losses[3] = {0.5, i < 4 ? 0.5 : bad[i - 4], 0.5};
        float *p = rt_check_normal(c, RT_F32, N, 1, 1), *before = rt_check_copy(c, RT_F32, p, N);
        float *g = rt_check_normal(c, RT_F32, N, 2, 1), *m = rt_check_normal(c, RT_F32, N, 3, 1);
        float *v = rt_check_copy(c, RT_F32, m, N), *moments = rt_check_copy(c, RT_F32, m, N);
        rt_step_state s = {.lr = 1, .bias1 = 1, .bias2 = 1, .grad_sq = i < 4 ? bad[i] : 1};
        rt_check_ok(be->adamw(be, &(rt_adamw_args){.params = p,
                                                   .grads = g,
                                                   .m = m,
                                                   .v = v,
                                                   .ranges = ranges,
                                                   .n_ranges = 3,
                                                   .beta1 = 0.9f,
                                                   .beta2 = 0.999f,
                                                   .epsilon = 1e-8f,
                                                   .losses = losses,
                                                   .n_losses = 3,
                                                   .state = &s}),
                    "adamw");
        assert_int_equal(s.skipped, 1);
        rt_check_same("p", RT_F32, p, before, N);
        rt_check_same("m", RT_F32, m, moments, N);
        rt_check_same("v", RT_F32, v, moments, N);
        rt_check_close(c);
    }
}

/* A rank that keeps the moments of elements [cut, N) alone changes these as a rank with all of them does. */
static void share_of_moments(void **state) {
    (void)state;
    enum { CUT = N / 2 / 4 * 4 };
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, NULL);
    rt_backend *be = rt_check_backend(c);
    float *g = rt_check_normal(c, RT_F32, N, 2, 1), *p = rt_check_normal(c, RT_F32, N, 1, 1);
    float *m = rt_check_normal(c, RT_F32, N, 3, 1), *v = rt_check_copy(c, RT_F32, m, N);
    for (size_t i = 0; i < N; i++) v[i] = fabsf(v[i]);
    float *p2 = rt_check_copy(c, RT_F32, p, N), *m2 = rt_check_copy(c, RT_F32, m + CUT, N - CUT);
    float *v2 = rt_check_copy(c, RT_F32, v + CUT, N - CUT);
    const rt_adam_range range = {.param_off = CUT, .train_off = CUT, .count = N - CUT, .lr_scale = 1};
    rt_step_state s = {.lr = 1e-3f, .bias1 = 0.1f, .bias2 = 0.001f, .grad_sq = 1};
    rt_adamw_args a = {.params = p,
                       .grads = g,
                       .m = m,
                       .v = v,
                       .ranges = &range,
                       .n_ranges = 1,
                       .beta1 = 0.9,
                       .beta2 = 0.999,
                       .epsilon = 1e-8f,
                       .state = &s};
    rt_check_ok(be->adamw(be, &a), "all moments");
    a.params = p2, a.m = m2, a.v = v2, a.moment_off = CUT;
    rt_check_ok(be->adamw(be, &a), "a share of them");
    rt_check_same("p", RT_F32, p2, p, N);
    rt_check_same("m", RT_F32, m2, m + CUT, N - CUT);
    rt_check_same("v", RT_F32, v2, v + CUT, N - CUT);
    rt_check_close(c);
}

static void no_ranges(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, NULL);
    rt_backend *be = rt_check_backend(c);
    rt_step_state s = {.lr = 1, .bias1 = 1, .bias2 = 1, .skipped = 1};
    rt_check_ok(be->adamw(be, &(rt_adamw_args){.state = &s}), "adamw of nothing");
    assert_int_equal(s.skipped, 0);
    const rt_adam_range bad = {.count = -1};
    rt_check_fails(RT_ESHAPE, be->adamw(be, &(rt_adamw_args){.ranges = &bad, .n_ranges = 1, .state = &s}), "count -1");
    rt_check_close(c);
}

/* The fixed order, by hand: in blocks of 2^16, sixteen sums side by side, squares exact in fp64: equal to the bit. */
static double norm_by_hand(const float *x, size_t n) {
    double total = 0;
    for (size_t b = 0; b < n; b += 65536) {
        double lane[16] = {0}, sum = 0;
        for (size_t i = b; i < n && i < b + 65536; i++) lane[(i - b) % 16] += (double)x[i] * (double)x[i];
        for (int j = 0; j < 16; j++) sum += lane[j];
        total += sum;
    }
    return total;
}

static void sum_squares(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 15, 16, 17, 65535, 65536, 65537, 200001};
    for (int i = 0; i < 9; i++)
        for (int threads = 1; threads <= 3; threads++) {
            rt_check *c = rt_check_open(RT_PRECISION_FP32, threads, NULL);
            rt_backend *be = rt_check_backend(c);
            float *x = rt_check_normal(c, RT_F32, sizes[i], 5, 1);
            double *partials = rt_check_buffer(c, (sizes[i] + 65535) / 65536 * sizeof(double)), total = NAN;
            rt_check_ok(be->sum_squares(be, &(rt_sum_squares_args){x, (int64_t)sizes[i], partials, &total}), "norm");
            const double want = norm_by_hand(x, sizes[i]);
            assert_memory_equal(&total, &want, sizeof total);
            /* In two shares, as ranks have them, and then added: the same bits. */
            const size_t cut = sizes[i] > 65536 ? 65536 : 0;
            double *again = rt_check_buffer(c, (sizes[i] + 65535) / 65536 * sizeof(double));
            rt_check_ok(be->sum_squares(be, &(rt_sum_squares_args){x, (int64_t)cut, again, NULL}), "a share");
            rt_check_ok(be->sum_squares(
                            be, &(rt_sum_squares_args){x + cut, (int64_t)(sizes[i] - cut), again + (cut > 0), NULL}),
                        "the other share");
            total = NAN;
            rt_check_ok(be->sum_squares(be, &(rt_sum_squares_args){NULL, (int64_t)sizes[i], again, &total}), "both");
            assert_memory_equal(&total, &want, sizeof total);
            rt_check_close(c);
        }
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, NULL);
    rt_backend *be = rt_check_backend(c);
    float x[20] = {1, 2, [7] = NAN};
    double partial, total = 0;
    rt_check_ok(be->sum_squares(be, &(rt_sum_squares_args){x, 20, &partial, &total}), "norm of a NaN");
    assert_true(isnan(total));
    x[7] = INFINITY;
    rt_check_ok(be->sum_squares(be, &(rt_sum_squares_args){x, 20, &partial, &total}), "norm of infinity");
    assert_true(isinf(total));
    rt_check_fails(RT_ESHAPE, be->sum_squares(be, &(rt_sum_squares_args){x, -1, &partial, &total}), "-1 elements");
    rt_check_close(c);
}

/* Every bf16 to fp32 and back is itself (NaN made quiet); every rounding case of fp32 against rounding in fp64. */
static void convert(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, NULL);
    rt_backend *be = rt_check_backend(c);
    enum { ALL = 65536 };
    rt_bf16 *narrow = rt_check_poison(c, RT_BF16, ALL), *back = rt_check_poison(c, RT_BF16, ALL);
    uint32_t *bits = rt_check_buffer(c, ALL * sizeof *bits);
    for (int i = 0; i < ALL; i++) narrow[i] = (rt_bf16)i;
    rt_check_ok(be->convert(be, bits, RT_F32, narrow, RT_BF16, ALL), "widen");
    for (uint32_t i = 0; i < ALL; i++) assert_int_equal(bits[i], i << 16);
    rt_check_ok(be->convert(be, back, RT_BF16, bits, RT_F32, ALL), "narrow");
    for (uint32_t i = 0; i < ALL; i++) assert_int_equal(back[i], (i & 0x7fff) > 0x7f80 ? i | 0x40 : i);
    const uint32_t low[] = {1, 0x7fff, 0x8000, 0x8001, 0xffff};
    for (int l = 0; l < 5; l++) {
        for (uint32_t i = 0; i < ALL; i++) bits[i] = i << 16 | low[l];
        rt_check_ok(be->convert(be, back, RT_BF16, bits, RT_F32, ALL), "narrow");
        for (uint32_t i = 0; i < ALL; i++) {
            const uint32_t up = low[l] > 0x8000 || (low[l] == 0x8000 && (i & 1));
            const uint32_t want =
                (i & 0x7fff) >= 0x7f80 ? i | 0x40 : i + up; /* with low bits set, exponent 255 is NaN */
            assert_int_equal(back[i], want);
        }
    }
    float odd[33], copy[33];
    for (int i = 0; i < 33; i++) odd[i] = (float)i;
    rt_check_ok(be->convert(be, copy, RT_F32, odd, RT_F32, 33), "copy");
    assert_memory_equal(odd, copy, sizeof odd);
    rt_check_ok(be->convert(be, NULL, RT_F32, NULL, RT_BF16, 0), "nothing");
    rt_check_close(c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest optimizer[] = {
        cmocka_unit_test(adam),        cmocka_unit_test(not_finite), cmocka_unit_test(no_ranges),
        cmocka_unit_test(sum_squares), cmocka_unit_test(convert),    cmocka_unit_test(share_of_moments),
    };
    return rt_check_main(argc, argv, optimizer, sizeof optimizer / sizeof optimizer[0]);
}
