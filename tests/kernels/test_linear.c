/* The linear layer against fp64, in both precisions, at every instruction level. */
#include "tests/support/kernel_check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows are walked in chunks of 1024 in fp32, 512 in bf16: 1100 rows take two or three. n up to 32 in fp32 takes plain
 * loops, 40 takes a GEMM. */
static const rt_dims dims = {.max_tokens = 1200,
                             .max_seqs = 16,
                             .hidden = 40,
                             .heads = 1,
                             .ffn = 80,
                             .labels = 40,
                             .max_len = 16,
                             .training = true};

typedef struct {
    int64_t rows, n, k;
    rt_activation act;
    bool f32, bias, pre;
} forward_case;

typedef struct {
    rt_check *c;
    rt_backend *be;
    rt_dtype act;
    rt_weight w;
    double *weight; /* as the op reads it */
    float *bias;
    void *x;
} layer;

static bool is_narrow(int64_t n, bool f32) {
    return f32 && n <= 32;
}

static layer layer_make(rt_check *c, int64_t rows, int64_t n, int64_t k, bool f32_y, bool bias) {
    layer l = {.c = c, .be = rt_check_backend(c)};
    const bool bf16 = l.be->act == RT_BF16, narrow = is_narrow(n, f32_y || !bf16);
    l.act = l.be->act;
    size_t packed_bytes = l.be->packed_bytes(l.be, n, k);
    void *packed = packed_bytes ? rt_check_buffer(c, packed_bytes) : NULL;
    float *master = rt_check_normal(c, RT_F32, (size_t)(n * k), 1, 1 / sqrt((double)k));
    rt_check_ok(l.be->pack(l.be, master, n, k, packed), "pack");
    l.w = (rt_weight){.master = master, .packed = packed, .n = n, .k = k};
    l.weight = rt_check_widen(c, RT_F32, master, (size_t)(n * k));
    if (bf16 && !narrow) {
        assert_int_equal(packed_bytes, n * k * 2);
        rt_bf16 *rounded = rt_check_poison(c, RT_BF16, (size_t)(n * k));
        rt_check_round(RT_BF16, rounded, l.weight, (size_t)(n * k));
        rt_check_same("packed weight", RT_BF16, packed, rounded, (size_t)(n * k));
        l.weight = rt_check_widen(c, RT_BF16, rounded, (size_t)(n * k));
    }
    l.bias = bias ? rt_check_normal(c, RT_F32, (size_t)n, 2, 1) : NULL;
    l.x = rt_check_normal(c, l.act, (size_t)(rows * k), 3, 1);
    return l;
}

static double gelu(double x) {
    return 0.5 * x * erfc(-x / sqrt(2));
}
static double gelu_slope(double x) {
    return 0.5 * erfc(-x / sqrt(2)) + x * exp(-0.5 * x * x) / sqrt(2 * M_PI);
}
static double activate(rt_activation act, double x) {
    return act == RT_ACT_GELU ? gelu(x) : act == RT_ACT_TANH ? tanh(x) : x;
}

/* z[rows, n] = x w^T + bias */
static void reference_product(double *z, const double *x, const double *w, const float *bias, int64_t rows, int64_t n,
                              int64_t k) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < n; j++) {
            double sum = bias ? bias[j] : 0;
            for (int64_t i = 0; i < k; i++) sum += x[r * k + i] * w[j * k + i];
            z[r * n + j] = sum;
        }
}

static void check_forward(rt_precision precision, forward_case f) {
    rt_check *c = rt_check_open(precision, 2, &dims);
    layer l = layer_make(c, f.rows, f.n, f.k, f.f32, f.bias);
    const rt_dtype y_dtype = f.f32 ? RT_F32 : l.act;
    const size_t count = (size_t)(f.rows * f.n);
    void *y = rt_check_poison(c, y_dtype, count), *pre = f.pre ? rt_check_poison(c, y_dtype, count) : NULL;
    rt_linear_forward_args args = {
        .w = l.w, .bias = l.bias, .act = f.act, .x = l.x, .y = y, .y_dtype = y_dtype, .pre = pre, .rows = f.rows};
    rt_check_ok(l.be->linear_forward(l.be, &args), "linear_forward");
    char what[128];
    snprintf(what, sizeof what, "forward %s rows %d n %d k %d act %d f32 %d bias %d pre %d",
             l.act == RT_BF16 ? "bf16" : "fp32", (int)f.rows, (int)f.n, (int)f.k, (int)f.act, f.f32, f.bias, f.pre);
    rt_check_guards(c, what);
    double *z = rt_check_doubles(c, count), *want = rt_check_doubles(c, count);
    reference_product(z, rt_check_widen(c, l.act, l.x, (size_t)(f.rows * f.k)), l.weight, l.bias, f.rows, f.n, f.k);
    for (size_t i = 0; i < count; i++) want[i] = activate(f.act, z[i]);
    if (pre) rt_check_close_to(what, y_dtype, pre, z, count, rt_check_limit(y_dtype, f.k));
    rt_check_close_to(what, y_dtype, y, want, count, rt_check_limit(y_dtype, f.k));
    /* The same bytes again. */
    void *first = rt_check_copy(c, y_dtype, y, count);
    rt_check_ok(l.be->linear_forward(l.be, &args), "linear_forward");
    rt_check_same(what, y_dtype, y, first, count);
    rt_check_close(c);
}

static const rt_precision precisions[] = {RT_PRECISION_FP32, RT_PRECISION_BF16};
static const int64_t row_counts[] = {0, 1, 7, 63, 64, 65, 1100};

static void forward(void **state) {
    (void)state;
    for (int p = 0; p < 2; p++) {
        for (size_t r = 0; r < 7; r++) {
            const int64_t rows = row_counts[r];
            check_forward(precisions[p], (forward_case){rows, 80, 40, RT_ACT_GELU, false, true, true});
            check_forward(precisions[p], (forward_case){rows, 120, 40, RT_ACT_NONE, false, true, false});
            check_forward(precisions[p], (forward_case){rows, 40, 80, RT_ACT_NONE, false, false, false});
        }
        check_forward(precisions[p], (forward_case){16, 40, 40, RT_ACT_TANH, false, true, false});
        check_forward(precisions[p], (forward_case){65, 80, 40, RT_ACT_GELU, false, true, false});
        check_forward(precisions[p], (forward_case){65, 80, 40, RT_ACT_GELU, false, false, true});
        check_forward(precisions[p], (forward_case){65, 40, 40, RT_ACT_NONE, false, true, true});
        check_forward(precisions[p], (forward_case){9, 8, 8, RT_ACT_GELU, false, true, true});
        for (int64_t n = 1; n <= 3; n++) {
            check_forward(precisions[p], (forward_case){16, n, 40, RT_ACT_NONE, true, true, false});
            check_forward(precisions[p], (forward_case){63, n, 80, RT_ACT_GELU, true, true, true});
        }
        check_forward(precisions[p], (forward_case){0, 2, 40, RT_ACT_NONE, true, true, false});
        check_forward(precisions[p], (forward_case){16, 37, 40, RT_ACT_NONE, true, true, false});
        check_forward(precisions[p], (forward_case){16, 37, 40, RT_ACT_TANH, true, true, true});
    }
}

typedef enum { ADD_NONE, ADD_ALIAS, ADD_OTHER } addend;
typedef struct {
    int64_t rows, n, k;
    rt_activation act;
    bool f32, dx, dw, db;
    addend add;
    int accumulate;
} backward_case;

static void check_backward(rt_precision precision, backward_case b) {
    rt_check *c = rt_check_open(precision, 2, &dims);
    layer l = layer_make(c, b.rows, b.n, b.k, b.f32, false);
    const rt_dtype dy_dtype = b.f32 ? RT_F32 : l.act;
    const size_t out = (size_t)(b.rows * b.n), in = (size_t)(b.rows * b.k), weights = (size_t)(b.n * b.k);
    char what[160];
    snprintf(what, sizeof what, "backward %s rows %d n %d k %d act %d f32 %d dx %d dw %d db %d add %d accumulate %d",
             l.act == RT_BF16 ? "bf16" : "fp32", (int)b.rows, (int)b.n, (int)b.k, (int)b.act, b.f32, b.dx, b.dw, b.db,
             (int)b.add, b.accumulate);
    void *dy = rt_check_normal(c, dy_dtype, out, 4, 1), *dy_before = rt_check_copy(c, dy_dtype, dy, out);
    void *saved = rt_check_normal(c, dy_dtype, out, 5, b.act == RT_ACT_TANH ? 0.3 : 1.5);
    void *add = rt_check_normal(c, l.act, in, 6, 1), *dx = rt_check_poison(c, l.act, in);
    if (b.add == ADD_ALIAS) dx = rt_check_copy(c, l.act, add, in);
    float *dw = rt_check_poison(c, RT_F32, weights), *db = rt_check_poison(c, RT_F32, (size_t)b.n);
    float *dw_before = rt_check_normal(c, RT_F32, weights, 7, 1),
          *db_before = rt_check_normal(c, RT_F32, (size_t)b.n, 8, 1);
    if (b.accumulate) {
        memcpy(dw, dw_before, weights * sizeof *dw);
        memcpy(db, db_before, (size_t)b.n * sizeof *db);
    }
    rt_linear_backward_args args = {.w = l.w,
                                    .act = b.act,
                                    .x = b.dw ? l.x : NULL,
                                    .saved = b.act == RT_ACT_NONE ? NULL : saved,
                                    .dy = dy,
                                    .dy_dtype = dy_dtype,
                                    .dx = b.dx ? dx : NULL,
                                    .dx_add = b.add == ADD_NONE    ? NULL
                                              : b.add == ADD_ALIAS ? dx
                                                                   : add,
                                    .dw = b.dw ? dw : NULL,
                                    .db = b.db ? db : NULL,
                                    .accumulate = b.accumulate,
                                    .rows = b.rows};
    rt_check_ok(l.be->linear_backward(l.be, &args), what);
    rt_check_guards(c, what);

    /* dz first; dx and dw are then judged by the dz that the op left, so that their limits need not cover its rounding.
     */
    double *dz = rt_check_widen(c, dy_dtype, dy_before, out), *s = rt_check_widen(c, dy_dtype, saved, out);
    for (size_t i = 0; i < out && b.act != RT_ACT_NONE; i++)
        dz[i] *= b.act == RT_ACT_GELU ? gelu_slope(s[i]) : 1 - s[i] * s[i];
    rt_check_close_to(what, dy_dtype, dy, dz, out, rt_check_limit(dy_dtype, 4));
    const bool has_dz = b.dx || b.dw;
    double *left = rt_check_widen(c, dy_dtype, dy, out), *x = rt_check_widen(c, l.act, l.x, in);
    /* fp32 gradients of a bf16 layer with many outputs are rounded to bf16 before the products. */
    const double rounding = b.f32 && l.act == RT_BF16 && !is_narrow(b.n, true) ? 2 * 0x1p-9 : 0;
    double *want_dx = rt_check_doubles(c, in), *want_dw = rt_check_doubles(c, weights);
    double *want_db = rt_check_doubles(c, (size_t)b.n);
    for (size_t i = 0; i < in && b.add != ADD_NONE; i++) want_dx[i] = rt_check_get(l.act, add, i);
    for (size_t i = 0; i < weights && b.accumulate; i++) want_dw[i] = dw_before[i];
    for (int64_t j = 0; j < b.n && b.accumulate; j++) want_db[j] = db_before[j];
    for (int64_t r = 0; r < b.rows && has_dz; r++)
        for (int64_t j = 0; j < b.n; j++)
            for (int64_t i = 0; i < b.k; i++) {
                want_dx[r * b.k + i] += left[r * b.n + j] * l.weight[j * b.k + i];
                want_dw[j * b.k + i] += left[r * b.n + j] * x[r * b.k + i];
            }
    for (int64_t r = 0; r < b.rows; r++)
        for (int64_t j = 0; j < b.n; j++) want_db[j] += dz[r * b.n + j];
    if (b.dx)
        rt_check_close_to(what, l.act, dx, want_dx, in, rt_check_limit(l.act, b.n) + rounding);
    else if (b.add != ADD_ALIAS)
        rt_check_untouched(what, dx, in * rt_dtype_size(l.act));
    if (b.dw)
        rt_check_close_to(what, RT_F32, dw, want_dw, weights, rt_check_limit(RT_F32, b.rows) + rounding);
    else if (!b.accumulate)
        rt_check_untouched(what, dw, weights * sizeof *dw);
    if (b.db)
        rt_check_close_to(what, RT_F32, db, want_db, (size_t)b.n, rt_check_limit(RT_F32, b.rows));
    else if (!b.accumulate)
        rt_check_untouched(what, db, (size_t)b.n * sizeof *db);

    /* The same bytes again. */
    void *dx_first = rt_check_copy(c, l.act, dx, in);
    float *dw_first = rt_check_copy(c, RT_F32, dw, weights), *db_first = rt_check_copy(c, RT_F32, db, (size_t)b.n);
    memcpy(dy, dy_before, out * rt_dtype_size(dy_dtype));
    if (b.add == ADD_ALIAS) memcpy(dx, add, in * rt_dtype_size(l.act));
    if (b.accumulate) {
        memcpy(dw, dw_before, weights * sizeof *dw);
        memcpy(db, db_before, (size_t)b.n * sizeof *db);
    }
    rt_check_ok(l.be->linear_backward(l.be, &args), what);
    rt_check_same(what, l.act, dx, dx_first, in);
    rt_check_same(what, RT_F32, dw, dw_first, weights);
    rt_check_same(what, RT_F32, db, db_first, (size_t)b.n);
    rt_check_close(c);
}

static void backward(void **state) {
    (void)state;
    for (int p = 0; p < 2; p++) {
        for (size_t r = 0; r < 7; r++) {
            const int64_t rows = row_counts[r];
            const int odd = (int)(r % 2);
            check_backward(precisions[p], (backward_case){rows, 80, 40, RT_ACT_GELU, false, true, true, true,
                                                          odd ? ADD_ALIAS : ADD_NONE, !odd});
            check_backward(precisions[p], (backward_case){rows, 40, 80, RT_ACT_NONE, false, true, true, odd,
                                                          odd ? ADD_OTHER : ADD_ALIAS, odd});
            check_backward(precisions[p], (backward_case){rows, 2, 40, RT_ACT_NONE, true, true, true, true,
                                                          odd ? ADD_ALIAS : ADD_OTHER, odd});
        }
        for (int half = 0; half < 8; half++) /* every combination of NULL results */
            for (int f32 = 0; f32 < 2; f32++)
                check_backward(precisions[p], (backward_case){65, f32 ? 3 : 80, 40, RT_ACT_GELU, f32, half & 1,
                                                              half & 2, half & 4, half & 1 ? ADD_ALIAS : ADD_NONE, 0});
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            check_backward(precisions[p],
                           (backward_case){16, 40, 40, RT_ACT_TANH, false, true, true, true, ADD_NONE, accumulate});
            check_backward(precisions[p],
                           (backward_case){1100, 120, 40, RT_ACT_NONE, false, true, true, true, ADD_ALIAS, accumulate});
            check_backward(precisions[p],
                           (backward_case){16, 1, 80, RT_ACT_TANH, true, true, true, true, ADD_OTHER, accumulate});
            check_backward(precisions[p],
                           (backward_case){1100, 37, 40, RT_ACT_GELU, true, true, true, true, ADD_ALIAS, accumulate});
        }
    }
}

/* Loss = sum of g y, differentiated by central differences of the fp64 reference forward: the formulas themselves,
 * apart from the reference that the other tests use. h = 1e-5: the error is about h^2 + 2^-53 / h, 1e-10. */
static double loss(const double *x, const double *w, const float *bias, const double *g, rt_activation act,
                   int64_t rows, int64_t n, int64_t k) {
    double sum = 0, z[8 * 8];
    reference_product(z, x, w, bias, rows, n, k);
    for (int64_t i = 0; i < rows * n; i++) sum += g[i] * activate(act, z[i]);
    return sum;
}

static void differences(void **state) {
    (void)state;
    enum { ROWS = 5, N = 8, K = 8 };
    for (rt_activation act = RT_ACT_NONE; act <= RT_ACT_TANH; act++)
        for (int f32 = 0; f32 < 2; f32++) {
            rt_check *c =
                rt_check_open(f32 ? RT_PRECISION_BF16 : RT_PRECISION_FP32, 2, &dims); /* bf16: fp32 in the head */
            layer l = layer_make(c, ROWS, N, K, true, true);
            float *y = rt_check_poison(c, RT_F32, ROWS * N), *pre = rt_check_poison(c, RT_F32, ROWS * N);
            rt_check_ok(l.be->linear_forward(l.be, &(rt_linear_forward_args){.w = l.w,
                                                                             .bias = l.bias,
                                                                             .act = act,
                                                                             .x = l.x,
                                                                             .y = y,
                                                                             .y_dtype = RT_F32,
                                                                             .pre = pre,
                                                                             .rows = ROWS}),
                        "forward");
            float *dy = rt_check_normal(c, RT_F32, ROWS * N, 9, 1);
            double *g = rt_check_widen(c, RT_F32, dy, ROWS * N), *x = rt_check_widen(c, l.act, l.x, ROWS * K);
            void *dx = rt_check_poison(c, l.act, ROWS * K);
            float *dw = rt_check_poison(c, RT_F32, N * K), *db = rt_check_poison(c, RT_F32, N);
            rt_check_ok(l.be->linear_backward(l.be, &(rt_linear_backward_args){.w = l.w,
                                                                               .act = act,
                                                                               .x = l.x,
                                                                               .saved = act == RT_ACT_TANH ? y : pre,
                                                                               .dy = dy,
                                                                               .dy_dtype = RT_F32,
                                                                               .dx = dx,
                                                                               .dw = dw,
                                                                               .db = db,
                                                                               .rows = ROWS}),
                        "backward");
            const double h = 1e-5;
            double want_dx[ROWS * K], want_dw[N * K];
            for (int i = 0; i < ROWS * K; i++) {
                const double at = x[i];
                x[i] = at + h;
                want_dx[i] = loss(x, l.weight, l.bias, g, act, ROWS, N, K);
                x[i] = at - h;
                want_dx[i] = (want_dx[i] - loss(x, l.weight, l.bias, g, act, ROWS, N, K)) / (2 * h);
                x[i] = at;
            }
            for (int i = 0; i < N * K; i++) {
                const double at = l.weight[i];
                l.weight[i] = at + h;
                want_dw[i] = loss(x, l.weight, l.bias, g, act, ROWS, N, K);
                l.weight[i] = at - h;
                want_dw[i] = (want_dw[i] - loss(x, l.weight, l.bias, g, act, ROWS, N, K)) / (2 * h);
                l.weight[i] = at;
            }
            rt_check_close_to("dx by differences", l.act, dx, want_dx, ROWS * K, rt_check_limit(l.act, N) + 1e-8);
            rt_check_close_to("dw by differences", RT_F32, dw, want_dw, N * K, rt_check_limit(RT_F32, ROWS) + 1e-8);
            rt_check_close(c);
        }
}

/* Activations over their whole range, through an identity weight: pre is then x exactly. GELU: 1e-7 of Phi times |x|,
 * and rounding; the two-branch tanh 2 ulp. A tanh-form GELU would be off by 4e-4. */
static void activations(void **state) {
    (void)state;
    enum { N = 40, ROWS = 1200 };
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    float *w = rt_check_poison(c, RT_F32, N * N), *x = rt_check_poison(c, RT_F32, ROWS * N);
    for (int i = 0; i < N * N; i++) w[i] = i / N == i % N;
    for (int i = 0; i < ROWS * N; i++) x[i] = (float)(-16 + 32.0 * i / (ROWS * N));
    float *y = rt_check_poison(c, RT_F32, ROWS * N), *pre = rt_check_poison(c, RT_F32, ROWS * N);
    for (rt_activation act = RT_ACT_GELU; act <= RT_ACT_TANH; act++) {
        rt_check_ok(
            be->linear_forward(
                be,
                &(rt_linear_forward_args){
                    .w = {w, NULL, N, N}, .act = act, .x = x, .y = y, .y_dtype = RT_F32, .pre = pre, .rows = ROWS}),
            "forward");
        rt_check_same("pre through an identity", RT_F32, pre, x, ROWS * N);
        double worst_tanh_form = 0;
        for (int i = 0; i < ROWS * N; i++) {
            const double v = x[i], want = activate(act, v), error = fabs(y[i] - want);
            const double limit = act == RT_ACT_GELU ? 2e-7 * fabs(v) : 2 * 0x1p-23 * fabs(want);
            if (!(error <= limit + 1e-37)) fail_msg("act %d of %.9g: %.9g, reference %.9g", (int)act, v, y[i], want);
            const double other = 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
            worst_tanh_form = fmax(worst_tanh_form, fabs(y[i] - other));
        }
        if (act == RT_ACT_GELU) assert_true(worst_tanh_form > 3e-4);
    }
    float *dy = rt_check_poison(c, RT_F32, ROWS * N);
    for (int i = 0; i < ROWS * N; i++) dy[i] = 1;
    rt_check_ok(
        be->linear_backward(
            be,
            &(rt_linear_backward_args){
                .w = {w, NULL, N, N}, .act = RT_ACT_GELU, .saved = x, .dy = dy, .dy_dtype = RT_F32, .rows = ROWS}),
        "backward");
    for (int i = 0; i < ROWS * N; i++)
        if (!(fabs(dy[i] - gelu_slope(x[i])) <= 4e-7)) fail_msg("slope at %.9g: %.9g", x[i], dy[i]);
    /* NaN must not be swallowed by clamps. */
    for (int i = 0; i < N; i++) x[i] = i ? 0 : NAN;
    for (rt_activation act = RT_ACT_NONE; act <= RT_ACT_TANH; act++) {
        rt_check_ok(
            be->linear_forward(
                be,
                &(rt_linear_forward_args){
                    .w = {w, NULL, N, N}, .act = act, .x = x, .y = y, .y_dtype = RT_F32, .pre = pre, .rows = 1}),
            "forward");
        uint32_t bits;
        memcpy(&bits, y, sizeof bits);
        assert_true((bits & 0x7fffffff) > 0x7f800000);
    }
    rt_check_close(c);
}

/* One thread or three: sums over rows do not depend on them (bias gradients), results stay within the same limits. */
static void threads(void **state) {
    (void)state;
    float db[3][80];
    for (int t = 0; t < 3; t++) {
        rt_check *c = rt_check_open(RT_PRECISION_FP32, 1 + t, &dims);
        layer l = layer_make(c, 200, 80, 40, false, false);
        void *dy = rt_check_normal(c, RT_F32, 200 * 80, 4, 1);
        rt_check_ok(
            l.be->linear_backward(
                l.be, &(rt_linear_backward_args){.w = l.w, .dy = dy, .dy_dtype = RT_F32, .db = db[t], .rows = 200}),
            "backward");
        rt_check_same("db", RT_F32, db[t], db[0], 80);
        rt_check_close(c);
    }
}

static void refusals(void **state) {
    (void)state;
    for (int p = 0; p < 2; p++) {
        rt_check *c = rt_check_open(precisions[p], 2, &dims);
        layer l = layer_make(c, 8, 40, 40, false, true);
        void *y = rt_check_poison(c, l.act, 8 * 40);
        const rt_linear_forward_args good = {.w = l.w, .bias = l.bias, .x = l.x, .y = y, .y_dtype = l.act, .rows = 8};
        rt_linear_forward_args f = good;
        f.rows = -1;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "negative rows");
        f = good, f.w.k = 41;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "k 41");
        f = good, f.w.k = 0;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "k 0");
        f = good, f.w.n = 0;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "n 0");
        f = good, f.act = (rt_activation)9;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "activation 9");
        f = good, f.x = NULL;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "no x");
        f = good, f.w.master = NULL;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "no master");
        f = good, f.w.n = 1 << 20, f.rows = 1 << 20;
        rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "more than the workspace was made for");
        if (p == 0) {
            f = good, f.y_dtype = RT_BF16;
            rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "bf16 y on fp32");
        } else {
            f = good, f.w.packed = NULL;
            rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "no packed form");
            f = good, f.w.n = 39;
            rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "n 39");
        }
        const rt_linear_backward_args fine = {.w = l.w, .x = l.x, .dy = y, .dy_dtype = l.act, .rows = 8};
        rt_linear_backward_args b = fine;
        b.dy = NULL;
        rt_check_fails(RT_ESHAPE, l.be->linear_backward(l.be, &b), "no dy");
        b = fine, b.act = RT_ACT_GELU;
        rt_check_fails(RT_ESHAPE, l.be->linear_backward(l.be, &b), "no saved");
        float dw[40 * 40];
        b = fine, b.x = NULL, b.dw = dw;
        rt_check_fails(RT_ESHAPE, l.be->linear_backward(l.be, &b), "no x");
        rt_check_untouched("y of refused calls", y, 8 * 40 * rt_dtype_size(l.act));
        rt_check_close(c);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest linear[] = {
        cmocka_unit_test(forward),     cmocka_unit_test(backward), cmocka_unit_test(differences),
        cmocka_unit_test(activations), cmocka_unit_test(threads),  cmocka_unit_test(refusals),
    };
    return rt_check_main(argc, argv, linear, sizeof linear / sizeof linear[0]);
}
