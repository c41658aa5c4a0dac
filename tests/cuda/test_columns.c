/* What surrounds a linear layer's products on the GPU, in the emulator: bias, GELU, tanh, their derivatives, column
 * sums, against fp64. */
#include "../kernels/op_case.h"
#include "../support/cuemu/cuemu.h"
#include "launch.h"

static double activate(rt_activation act, double x) {
    return act == RT_ACT_GELU ? 0.5 * x * erfc(-x / sqrt(2)) : act == RT_ACT_TANH ? tanh(x) : x;
}
static double slope(rt_activation act, double saved) {
    if (act == RT_ACT_GELU)
        return 0.5 * erfc(-saved / sqrt(2)) + saved * exp(-saved * saved / 2) / sqrt(2 * 3.14159265358979323846);
    return act == RT_ACT_TANH ? 1 - saved * saved : 1;
}
/* The same in fp32, as plainly as the C library allows. */
static float plain_activate(rt_activation act, float x) {
    return act == RT_ACT_GELU ? 0.5f * x * erfcf(-x * 0.707106781f) : act == RT_ACT_TANH ? tanhf(x) : x;
}
static float plain_slope(rt_activation act, float saved) {
    if (act == RT_ACT_GELU)
        return 0.5f * erfcf(-saved * 0.707106781f) + saved * expf(-saved * saved / 2) * 0.398942280f;
    return act == RT_ACT_TANH ? 1.0f - saved * saved : 1.0f;
}

/* Device memory of the exact size, with the host's content. */
static void *device(const void *host, rt_dtype dtype, size_t n) {
    if (!host) return NULL;
    void *to = cuemu_alloc(n * rt_dtype_size(dtype));
    memcpy(to, host, n * rt_dtype_size(dtype));
    return to;
}

static rt_cuda_launch launch_for(int64_t rows, int64_t n, rt_dtype act) {
    rt_dims dims = {.max_tokens = (int32_t)rows, .hidden = 8, .ffn = (int32_t)n, .training = true};
    rt_cuda_launch l = {.act = act, .processors = 1, .workspace_bytes = rt_cuda_kernel_workspace(&dims)};
    l.workspace = cuemu_alloc(l.workspace_bytes);
    return l;
}

static void check_forward(rt_activation act, rt_dtype z_dtype, rt_dtype y_dtype, size_t rows, size_t n, bool full) {
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 1, NULL);
    rt_cuda_launch l = launch_for((int64_t)rows, (int64_t)n, y_dtype);
    const size_t all = rows * n;
    void *z = rt_check_normal(c, z_dtype, all, 1, 1.5);
    float *bias = full ? rt_check_normal(c, RT_F32, n, 2, 0.5) : NULL;
    void *dz = device(z, z_dtype, all), *dbias = device(bias, RT_F32, n);
    /* Where the types agree the result may lie over the product. */
    void *pre = full ? cuemu_alloc(all * rt_dtype_size(y_dtype)) : NULL;
    void *y = z_dtype == y_dtype && !full ? dz : cuemu_alloc(all * rt_dtype_size(y_dtype));
    rt_cuda_epilogue_args a = {.z = dz,
                               .z_dtype = z_dtype,
                               .bias = dbias,
                               .act = act,
                               .y = y,
                               .y_dtype = y_dtype,
                               .pre = pre,
                               .rows = (int64_t)rows,
                               .n = (int64_t)n};
    rt_check_ok(rt_cuda_epilogue_forward_launch(&l, &a), "epilogue_forward");
    rt_check_ok(cuemu_check_guards("epilogue_forward"), "guards");
    double *want = rt_check_doubles(c, all), *want_pre = rt_check_doubles(c, all);
    float *plain = case_zeros(c, all), *plain_pre = case_zeros(c, all);
    for (size_t i = 0; i < all; i++) {
        const double x = rt_check_get(z_dtype, z, i), b = full ? (double)bias[i % n] : 0;
        want_pre[i] = x + b, want[i] = activate(act, x + b);
        plain_pre[i] = (float)x + (float)b, plain[i] = plain_activate(act, plain_pre[i]);
    }
    case_check(c, "y", y_dtype, y, want, plain, all);
    if (pre) case_check(c, "pre", y_dtype, pre, want_pre, plain_pre, all);
    if (y != dz) cuemu_free(y);
    cuemu_free(dz), cuemu_free(dbias), cuemu_free(pre), cuemu_free(l.workspace);
    rt_check_close(c);
}

static void check_backward(rt_activation act, rt_dtype dtype, size_t rows, size_t n) {
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 1, NULL);
    rt_cuda_launch l = launch_for((int64_t)rows, (int64_t)n, dtype);
    const size_t all = rows * n;
    void *dy = rt_check_normal(c, dtype, all, 3, 1),
         *saved = rt_check_normal(c, dtype, all, 4, act == RT_ACT_TANH ? 0.3 : 1.5);
    float *db = rt_check_normal(c, RT_F32, n, 5, 1);
    double *want = rt_check_doubles(c, all), *sums = rt_check_doubles(c, n);
    float *plain = case_zeros(c, all), *plain_sums = case_zeros(c, n);
    for (size_t i = 0; i < all; i++) {
        const double g = rt_check_get(dtype, dy, i), s = rt_check_get(dtype, saved, i);
        want[i] = g * slope(act, s), plain[i] = (float)g * plain_slope(act, (float)s);
        sums[i % n] += want[i], plain_sums[i % n] += plain[i];
    }
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        void *d_dy = device(dy, dtype, all), *d_saved = device(saved, dtype, all), *d_db = device(db, RT_F32, n);
        rt_cuda_epilogue_backward_args a = {.act = act,
                                            .saved = d_saved,
                                            .dy = d_dy,
                                            .dy_dtype = dtype,
                                            .db = d_db,
                                            .accumulate = accumulate,
                                            .rows = (int64_t)rows,
                                            .n = (int64_t)n};
        rt_check_ok(rt_cuda_epilogue_backward_launch(&l, &a), "epilogue_backward");
        rt_check_ok(cuemu_check_guards("epilogue_backward"), "guards");
        case_check(c, "dz", dtype, d_dy, want, plain, all);
        for (size_t i = 0; i < n && accumulate; i++) sums[i] += (double)db[i], plain_sums[i] += db[i];
        case_check(c, "db", RT_F32, d_db, sums, plain_sums, n);
        cuemu_free(d_dy), cuemu_free(d_saved), cuemu_free(d_db);
    }
    cuemu_free(l.workspace);
    rt_check_close(c);
}

static const rt_activation acts[] = {RT_ACT_NONE, RT_ACT_GELU, RT_ACT_TANH};
static const size_t widths[] = {1, 2, 3, 8, 17, 24, 264, 768}, heights[] = {0, 1, 37, 300};

static void forward_agrees_with_fp64(void **state) {
    (void)state;
    static const rt_dtype from[] = {RT_F32, RT_F32, RT_BF16}, to[] = {RT_F32, RT_BF16, RT_BF16};
    for (size_t w = 0; w < COUNT(widths); w++)
        for (size_t h = 0; h < COUNT(heights); h++)
            for (size_t t = 0; t < 3; t++) {
                cuemu_seed(w + h + t);
                check_forward(acts[(w + h + t) % 3], from[t], to[t], heights[h], widths[w], (w + h) % 2 == 0);
                if (h == 2) check_forward(RT_ACT_GELU, from[t], to[t], heights[h], widths[w], true);
            }
}

static void backward_agrees_with_fp64(void **state) {
    (void)state;
    for (size_t w = 0; w < COUNT(widths); w++)
        for (size_t h = 0; h < COUNT(heights); h++)
            for (int bf16 = 0; bf16 < 2; bf16++) {
                cuemu_seed(w + h);
                check_backward(acts[(w + h) % 3], bf16 ? RT_BF16 : RT_F32, heights[h], widths[w]);
                if (h == 2) check_backward(RT_ACT_GELU, bf16 ? RT_BF16 : RT_F32, heights[h], widths[w]);
            }
}

/* Ends of the range: GELU is 0 far to the left and x far to the right; NaN stays. */
static void gelu_at_its_ends(void **state) {
    (void)state;
    float x[8] = {-100, -40, -14, -0.0f, 40, 100, NAN, 3.0e38f};
    rt_cuda_launch l = launch_for(1, 8, RT_F32);
    float *z = device(x, RT_F32, 8);
    rt_cuda_epilogue_args a = {.z = z, .act = RT_ACT_GELU, .y = z, .rows = 1, .n = 8};
    rt_check_ok(rt_cuda_epilogue_forward_launch(&l, &a), "gelu");
    assert_true(z[0] == 0 && z[1] == 0 && fabsf(z[2]) < 1e-30f && z[3] == 0 && z[4] == 40 && z[5] == 100);
    assert_true(isnan(z[6]) && z[7] == 3.0e38f);
    cuemu_free(z), cuemu_free(l.workspace);
}

static void order_changes_no_bit_and_wrong_arguments_are_refused(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 1, NULL);
    rt_cuda_launch l = launch_for(500, 264, RT_BF16);
    void *dy = rt_check_normal(c, RT_BF16, 500 * 264, 3, 1), *saved = rt_check_normal(c, RT_BF16, 500 * 264, 4, 1);
    float first[264];
    for (unsigned seed = 0; seed < 4; seed++) {
        cuemu_seed(seed);
        void *d = device(dy, RT_BF16, 500 * 264), *s = device(saved, RT_BF16, 500 * 264);
        float *db = cuemu_alloc(264 * sizeof *db);
        rt_cuda_epilogue_backward_args a = {
            .act = RT_ACT_GELU, .saved = s, .dy = d, .dy_dtype = RT_BF16, .db = db, .rows = 500, .n = 264};
        rt_check_ok(rt_cuda_epilogue_backward_launch(&l, &a), "epilogue_backward");
        if (seed == 0) memcpy(first, db, sizeof first);
        rt_check_same("db", RT_F32, db, first, 264);
        rt_cuda_launch small = l;
        small.workspace_bytes = 264 * 4;
        rt_check_fails(RT_ESHAPE, rt_cuda_epilogue_backward_launch(&small, &a), "workspace");
        a.saved = NULL;
        rt_check_fails(RT_ESHAPE, rt_cuda_epilogue_backward_launch(&l, &a), "saved");
        rt_cuda_epilogue_args f = {.z = d, .z_dtype = RT_BF16, .y = db, .y_dtype = RT_F32, .rows = 1, .n = 8};
        rt_check_fails(RT_ESHAPE, rt_cuda_epilogue_forward_launch(&l, &f), "bf16 to fp32");
        f.y_dtype = RT_BF16, f.act = (rt_activation)3;
        rt_check_fails(RT_ESHAPE, rt_cuda_epilogue_forward_launch(&l, &f), "activation 3");
        f.act = RT_ACT_NONE, f.y = (char *)db + 2;
        rt_check_fails(RT_ESHAPE, rt_cuda_epilogue_forward_launch(&l, &f), "alignment");
        rt_cuda_column_sums_args sums = {.x = d, .to = db, .rows = 3, .n = 12};
        rt_check_fails(RT_ESHAPE, rt_cuda_column_sums_launch(&l, &sums), "12 columns");
        sums.rows = 500, sums.n = 264;
        rt_check_fails(RT_ESHAPE, rt_cuda_column_sums_launch(&small, &sums), "workspace of sums");
        cuemu_free(d), cuemu_free(s), cuemu_free(db);
    }
    cuemu_free(l.workspace);
    rt_check_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_agrees_with_fp64),
        cmocka_unit_test(backward_agrees_with_fp64),
        cmocka_unit_test(gelu_at_its_ends),
        cmocka_unit_test(order_changes_no_bit_and_wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
