/* Products by cuBLASLt over the fake: every form against fp64, the table of answers, failures, and faults planted in
 * calls of the library, each of which the fake must notice. */
#include "host_case.h"
#include <math.h>
#include <stdio.h>

static const rt_dims dims = {.max_tokens = 512, .max_seqs = 8, .hidden = 64, .heads = 1, .ffn = 128, .labels = 2};

typedef struct {
    int64_t m, n, k;
    bool a_transposed, b_transposed, accumulate, addend, bias;
    rt_dtype in, out;
} form;

static double element(const void *p, rt_dtype dtype, bool transposed, int64_t rows, int64_t cols, int64_t r,
                      int64_t c) {
    return rt_check_get(dtype, p, (size_t)(transposed ? c * rows + r : r * cols + c));
}

/* Relative error of one form. */
static double error_of(rt_precision precision, const form *f, uint64_t seed) {
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 1, NULL);
    rt_cuda_context *cuda = host_open(precision, &dims, seed);
    const size_t a_n = (size_t)(f->m * f->k), b_n = (size_t)(f->k * f->n), c_n = (size_t)(f->m * f->n);
    const size_t in = rt_dtype_size(f->in), out = rt_dtype_size(f->out);
    void *a = rt_check_normal(c, f->in, a_n, 1, 1), *b = rt_check_normal(c, f->in, b_n, 2, 1);
    void *before = rt_check_normal(c, f->out, c_n, 3, 1);
    float *bias = rt_check_normal(c, RT_F32, (size_t)f->n, 4, 1);
    void *d_a = host_device(a, a_n * in), *d_b = host_device(b, b_n * in),
         *d_bias = host_device(bias, (size_t)f->n * 4);
    void *d_add = host_device(before, c_n * out);
    void *d_c = host_device(f->accumulate && !f->addend ? before : NULL, c_n * out);
    rt_cuda_gemm_args g = {.m = f->m,
                           .n = f->n,
                           .k = f->k,
                           .a = d_a,
                           .b = d_b,
                           .a_transposed = f->a_transposed,
                           .b_transposed = f->b_transposed,
                           .in = f->in,
                           .out = f->out,
                           .bias = f->bias ? d_bias : NULL,
                           .c = d_c,
                           .accumulate = f->accumulate,
                           .addend = f->addend ? d_add : NULL};
    rt_check_ok(rt_cuda_gemm_run(cuda, &g), "gemm_run");
    host_wait(cuda, "a product");
    double *want = rt_check_doubles(c, c_n);
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t j = 0; j < f->n; j++) {
            double sum = f->bias         ? (double)bias[j]
                         : f->accumulate ? rt_check_get(f->out, before, (size_t)(i * f->n + j))
                                         : 0;
            for (int64_t l = 0; l < f->k; l++)
                sum += element(a, f->in, f->a_transposed, f->m, f->k, i, l) *
                       element(b, f->in, f->b_transposed, f->k, f->n, l, j);
            want[i * f->n + j] = sum;
        }
    const double error = rt_check_error(f->out, d_c, want, c_n);
    assert_memory_equal(d_a, a, a_n * in);
    assert_memory_equal(d_b, b, b_n * in);
    assert_memory_equal(d_add, before, c_n * out);
    cudaFree(d_a), cudaFree(d_b), cudaFree(d_c), cudaFree(d_add), cudaFree(d_bias);
    host_close(cuda);
    rt_check_close(c);
    return error;
}

static void every_form_agrees_with_fp64(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{1, 8, 8}, {7, 16, 40}, {64, 24, 128}, {33, 72, 16}, {8, 8, 1}};
    for (int i = 0; i < 5 * 64; i++) {
        form f = {.m = sizes[i / 64][0],
                  .n = sizes[i / 64][1],
                  .k = sizes[i / 64][2],
                  .a_transposed = i & 1,
                  .b_transposed = i & 2,
                  .accumulate = i & 4,
                  .addend = (i & 12) == 12,
                  .in = i & 16 ? RT_BF16 : RT_F32,
                  .out = (i & 48) == 48 ? RT_BF16 : RT_F32};
        f.bias = !f.accumulate && i & 8 && f.out == RT_F32;
        const double error = error_of(f.in == RT_BF16 ? RT_PRECISION_BF16 : RT_PRECISION_FP32, &f, (uint64_t)(i % 3));
        if (!(error <= rt_check_limit(f.out, f.k))) fail_msg("form %d: error %g", i, error);
    }
}

/* TF32 rounds both operands to 11 bits of significand: 2^-12 each relative, independent, so sqrt(2) 2^-12 over the
 * square root of 3 of the products' norm; twice that is the limit, a tenth of it what fp32 cannot reach. */
static void tf32_rounds_its_operands_and_fp32_does_not(void **state) {
    (void)state;
    const form f = {.m = 32, .n = 64, .k = 64, .b_transposed = true, .in = RT_F32, .out = RT_F32};
    const double unit = sqrt(2.0 / 3) * 0x1p-12, rounded = error_of(RT_PRECISION_TF32, &f, 1);
    const double plain = error_of(RT_PRECISION_FP32, &f, 1);
    if (!(rounded > 0.1 * unit && rounded <= 2 * unit && plain <= rt_check_limit(RT_F32, 64)))
        fail_msg("tf32 %g, fp32 %g", rounded, plain);
}

static void empty_sizes(void **state) {
    (void)state;
    rt_cuda_context *cuda = host_open(RT_PRECISION_FP32, &dims, 1);
    float ones[64];
    for (int i = 0; i < 64; i++) ones[i] = (float)i;
    float *c = host_device(ones, sizeof ones), *add = host_device(ones, sizeof ones);
    rt_cuda_gemm_args g = {.m = 8, .n = 8, .k = 0, .c = c, .accumulate = true};
    rt_check_ok(rt_cuda_gemm_run(cuda, &g), "k = 0, added");
    host_wait(cuda, "k = 0, added");
    assert_memory_equal(c, ones, sizeof ones);
    g.accumulate = false;
    rt_check_ok(rt_cuda_gemm_run(cuda, &g), "k = 0, stored");
    host_wait(cuda, "k = 0, stored");
    for (int i = 0; i < 64; i++) assert_true(c[i] == 0);
    g.accumulate = true, g.addend = add;
    rt_check_ok(rt_cuda_gemm_run(cuda, &g), "k = 0, an addend");
    host_wait(cuda, "k = 0, an addend");
    assert_memory_equal(c, ones, sizeof ones);
    g = (rt_cuda_gemm_args){.m = 0, .n = 8, .k = 8};
    rt_check_ok(rt_cuda_gemm_run(cuda, &g), "m = 0");
    g = (rt_cuda_gemm_args){.m = 8, .n = 0, .k = 8};
    rt_check_ok(rt_cuda_gemm_run(cuda, &g), "n = 0");
    assert_int_equal(fake_cublaslt_settings()->multiplied, 0);
    cudaFree(c), cudaFree(add);
    host_close(cuda);
}

/* --- the table of answers -------------------------------------------------------------------------------------------
 */

typedef struct {
    rt_cuda_context *cuda;
    float *a, *b, *c, *bias;
} buffers;

static buffers buffers_open(uint64_t seed) {
    buffers x = {.cuda = host_open(RT_PRECISION_FP32, &dims, seed)};
    x.a = host_device(NULL, 1 << 20), x.b = host_device(NULL, 1 << 16), x.c = host_device(NULL, 1 << 20);
    x.bias = host_device(NULL, 1024);
    return x;
}
static void buffers_close(buffers *x) {
    cudaFree(x->a), cudaFree(x->b), cudaFree(x->c), cudaFree(x->bias);
    host_close(x->cuda);
}
static rt_cuda_gemm_args usual(const buffers *x) {
    return (rt_cuda_gemm_args){.m = 16, .n = 24, .k = 32, .a = x->a, .b = x->b, .b_transposed = true, .c = x->c};
}

static void answers_are_kept_by_shape(void **state) {
    (void)state;
    buffers x = buffers_open(0);
    uint64_t asked = 0;
    char text[128];
#define ASKED(expected, change)                                                                                        \
    do {                                                                                                               \
        rt_cuda_gemm_args g = usual(&x);                                                                               \
        change;                                                                                                        \
        rt_check_ok(rt_cuda_gemm_run(x.cuda, &g), #change);                                                            \
        asked += (expected);                                                                                           \
        if (fake_cublaslt_settings()->asked != asked)                                                                  \
            fail_msg("%s: asked %d", #change, (int)fake_cublaslt_settings()->asked);                                   \
    } while (0)
    ASKED(1, );
    ASKED(0, );
    ASKED(0, g.accumulate = true); /* the library does not look at beta */
    ASKED(0, g.accumulate = true; g.addend = x.a + 131072);
    ASKED(1, g.m = 17);
    ASKED(1, g.n = 32);
    ASKED(1, g.k = 24);
    ASKED(1, g.b_transposed = false);
    ASKED(1, g.a_transposed = true);
    ASKED(1, g.bias = x.bias);
    ASKED(0, g.bias = x.bias + 64);
    ASKED(1, g.bias = x.bias + 4); /* aligned to 16 bytes */
    ASKED(1, g.a = x.a + 4);
    ASKED(0, g.a = x.a + 12);
    ASKED(1, g.a = x.a + 8);
    ASKED(1, g.b = x.b + 4);
    ASKED(1, g.c = x.c + 4);
    ASKED(1, g.accumulate = true; g.addend = x.a + 131072 + 4);
    ASKED(0, );
    rt_cuda_gemm_describe(x.cuda->gemm, text, sizeof text);
    assert_string_equal(text, "cuBLASLt 13.1.0: 13 shapes kept, 13 asked for");
    rt_check_ok(fake_check("kept"), "kept");
    buffers_close(&x);
}

/* More shapes than there are places: old ones give way, what comes again is asked for again, nothing is left behind. */
static void the_table_is_bounded(void **state) {
    (void)state;
    enum { SHAPES = 4600 };
    buffers x = buffers_open(0);
    char text[128];
    unsigned long long kept = 0, asked = 0;
    for (int m = 1; m <= SHAPES; m++) {
        rt_cuda_gemm_args g = usual(&x);
        g.m = m, g.n = 8, g.k = 8;
        rt_check_ok(rt_cuda_gemm_run(x.cuda, &g), "many shapes");
        rt_check_ok(rt_cuda_gemm_run(x.cuda, &g), "again at once");
        assert_int_equal(fake_cublaslt_settings()->asked, m);
    }
    rt_cuda_gemm_describe(x.cuda->gemm, text, sizeof text);
    assert_int_equal(sscanf(text, "cuBLASLt 13.1.0: %llu shapes kept, %llu asked for", &kept, &asked), 2);
    assert_true(kept > 3000 && kept <= 4096);
    assert_int_equal(asked, SHAPES);
    rt_check_ok(fake_check("bounded"), "bounded");
    buffers_close(&x);
}

/* --- failures -------------------------------------------------------------------------------------------------------
 */

static void what_the_library_does_not_know(void **state) {
    (void)state;
    buffers x = buffers_open(1);
    rt_cuda_gemm_args g = usual(&x);
    for (int by_count = 0; by_count < 2; by_count++) {
        fake_cublaslt_settings()->knows_nothing = true;
        fake_cublaslt_settings()->says_so_by_count = by_count;
        assert_int_equal(rt_cuda_gemm_run(x.cuda, &g), RT_EUNAVAILABLE);
        if (!strstr(rt_error_get()->text, "product [16, 32] x [32, 24, transposed], fp32 to fp32: no algorithm") ||
            !strstr(rt_error_get()->text, "not supported (15)"))
            fail_msg("%s", rt_error_get()->text);
        fake_cublaslt_settings()->knows_nothing = false;
        fake_cublaslt_settings()->needs_split = true;
        g.m += 1;
        rt_check_ok(rt_cuda_gemm_run(x.cuda, &g), "without split sums");
        fake_cublaslt_settings()->needs_split = false;
        g.m -= 1;
    }
    buffers_close(&x);
}

static void every_call_that_fails_is_told(void **state) {
    (void)state;
    int failed = 0;
    rt_status status = RT_EINTERNAL;
    for (uint64_t at = 1; status != RT_OK; at++) {
        buffers x = buffers_open(0);
        rt_cuda_gemm_args g = usual(&x);
        g.bias = x.bias;
        static const cublasStatus_t kinds[] = {CUBLAS_STATUS_ALLOC_FAILED, CUBLAS_STATUS_EXECUTION_FAILED,
                                               CUBLAS_STATUS_ARCH_MISMATCH};
        static const rt_status wanted[] = {RT_ENOMEM, RT_EINTERNAL, RT_EUNAVAILABLE};
        fake_cublaslt_settings()->failure = kinds[at % 3];
        fake_fail_call(at, cudaErrorUnknown);
        status = rt_cuda_gemm_run(x.cuda, &g);
        fake_fail_call(0, cudaSuccess);
        if (status != RT_OK) {
            failed++;
            assert_int_equal(status, wanted[at % 3]);
            if (!strstr(rt_error_get()->text, "[16, 32] x [32, 24, transposed], fp32 to fp32 with bias"))
                fail_msg("%s", rt_error_get()->text);
            rt_check_ok(rt_cuda_gemm_run(x.cuda, &g), "again");
        }
        buffers_close(&x);
    }
    assert_true(failed >= 15);
    rt_cuda_context *cuda = host_open(RT_PRECISION_FP32, &dims, 0);
    rt_cuda_gemm *second = NULL;
    fake_fail_call(1, cudaErrorUnknown);
    rt_check_fails(RT_EINTERNAL, rt_cuda_gemm_open(cuda, &second), "a handle");
    assert_null(second);
    rt_cuda_gemm_close(NULL);
    host_close(cuda);
}

static void wrong_arguments_are_refused(void **state) {
    (void)state;
    buffers x = buffers_open(1);
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        rt_cuda_gemm_args g = usual(&x);                                                                               \
        change;                                                                                                        \
        rt_check_fails(RT_ESHAPE, rt_cuda_gemm_run(x.cuda, &g), #change);                                              \
    } while (0)
    REFUSED(g.m = -1);
    REFUSED(g.n = (int64_t)1 << 31);
    REFUSED(g.out = RT_BF16);
    REFUSED(g.in = RT_BF16; g.out = RT_BF16; g.bias = x.bias);
    REFUSED(g.accumulate = true; g.bias = x.bias);
    REFUSED(g.addend = x.a);
    REFUSED(g.a = NULL);
    REFUSED(g.b = x.b + 1);
    REFUSED(g.c = x.c + 2);
    REFUSED(g.bias = x.bias + 1);
    REFUSED(g.accumulate = true; g.addend = x.a + 1);
    REFUSED(g.k = 0; g.bias = x.bias);
    x.cuda->workspace += 16;
    REFUSED(g.m = 16);
    x.cuda->workspace -= 16;
    rt_check_ok(fake_check("refused"), "nothing reached the library");
    buffers_close(&x);
}

/* --- what the fake notices ------------------------------------------------------------------------------------------
 */

typedef struct {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulAlgo_t algo;
    uint32_t aligned;
} raw;

/* y [16, 24] = x [16, 32] w [24, 32]^T: the library's A is w, its B is x. */
static raw raw_open(uint64_t a_rows, int64_t a_ld, cublasOperation_t op_a, uint64_t m, uint32_t aligned,
                    uint32_t schemes) {
    raw r = {.aligned = aligned};
    const uint64_t workspace = HOST_GEMM_BYTES;
    cublasLtMatmulHeuristicResult_t result = {.workspaceSize = 0};
    int found = 0;
    cublasLtCreate(&r.handle);
    cublasLtMatmulDescCreate(&r.op, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatmulDescSetAttribute(r.op, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a);
    cublasLtMatrixLayoutCreate(&r.a, CUDA_R_32F, a_rows, 24 * 32 / a_rows, a_ld);
    cublasLtMatrixLayoutCreate(&r.b, CUDA_R_32F, 32, 16, 32);
    cublasLtMatrixLayoutCreate(&r.c, CUDA_R_32F, m, 24 * 16 / m, (int64_t)m);
    cublasLtMatmulPreferenceCreate(&r.preference);
    cublasLtMatmulPreferenceSetAttribute(r.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, 8);
    cublasLtMatmulPreferenceSetAttribute(r.preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, 4);
    cublasLtMatmulPreferenceSetAttribute(r.preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &aligned, 4);
    cublasLtMatmulAlgoGetHeuristic(r.handle, r.op, r.a, r.b, r.c, r.c, r.preference, 1, &result, &found);
    r.algo = result.algo;
    return r;
}
static void raw_close(raw *r) {
    cublasLtMatmulPreferenceDestroy(r->preference), cublasLtMatmulDescDestroy(r->op);
    cublasLtMatrixLayoutDestroy(r->a), cublasLtMatrixLayoutDestroy(r->b), cublasLtMatrixLayoutDestroy(r->c);
    cublasLtDestroy(r->handle);
}
static cublasStatus_t raw_run(const raw *r, const buffers *x, const float *a, float *d, const float *alpha,
                              void *workspace, size_t bytes) {
    static const float zero = 0;
    return cublasLtMatmul(r->handle, r->op, alpha, a, r->a, x->a, r->b, &zero, d, r->c, d, r->c, &r->algo, workspace,
                          bytes, x->cuda->launch.stream);
}

static void noticed(const char *words) {
    const rt_status status = fake_check("planted");
    if (status == RT_OK || !strstr(rt_error_get()->text, words))
        fail_msg("not noticed: %s (%s)", words, status == RT_OK ? "nothing" : rt_error_get()->text);
}

static void planted_faults_are_noticed(void **state) {
    (void)state;
    static const float one = 1;
    buffers x = buffers_open(1);
    void *workspace = x.cuda->workspace;
    raw r = raw_open(32, 32, CUBLAS_OP_T, 24, 256, 2);
    rt_check_ok(fake_check("right"), "right");
    assert_int_equal(raw_run(&r, &x, x.b, x.c, &one, workspace, HOST_GEMM_BYTES), CUBLAS_STATUS_SUCCESS);
    rt_check_ok(fake_check("right"), "right");
#define NOTICED(words, call)                                                                                           \
    assert_int_not_equal(call, CUBLAS_STATUS_SUCCESS);                                                                 \
    noticed(words)
    NOTICED("A at", raw_run(&r, &x, x.b + 4, x.c, &one, workspace, HOST_GEMM_BYTES)); /* 256 bytes were promised */
    NOTICED("are not the device's", raw_run(&r, &x, x.b + (1 << 14) - 64, x.c, &one, workspace, HOST_GEMM_BYTES));
    NOTICED("D lies over B", raw_run(&r, &x, x.b, x.a, &one, workspace, HOST_GEMM_BYTES));
    NOTICED("on the host", raw_run(&r, &x, x.b, x.c, x.bias, workspace, HOST_GEMM_BYTES));
    NOTICED("a workspace of 256 bytes", raw_run(&r, &x, x.b, x.c, &one, workspace, 256));
    NOTICED("not aligned to 256 bytes", raw_run(&r, &x, x.b, x.c, &one, (char *)workspace + 16, HOST_GEMM_BYTES));
    NOTICED("lies over C", raw_run(&r, &x, x.b, x.c, &one, x.c, HOST_GEMM_BYTES));
    const cublasLtMatmulAlgo_t kept = r.algo;
    r.algo.data[3] ^= 1;
    NOTICED("nobody made", raw_run(&r, &x, x.b, x.c, &one, workspace, HOST_GEMM_BYTES));
    r.algo = kept;
    raw_close(&r);
    rt_check_ok(fake_check("closed"), "closed");
    r = raw_open(24, 24, CUBLAS_OP_N, 24, 256, 2);
    rt_check_ok(fake_check("another layout"), "another layout");
    r.algo = kept;
    NOTICED("of another shape", raw_run(&r, &x, x.b, x.c, &one, workspace, HOST_GEMM_BYTES));
    raw_close(&r);
    static const struct {
        uint64_t a_rows;
        int64_t a_ld;
        cublasOperation_t op_a;
        uint64_t m;
        uint32_t schemes;
        const char *words;
    } wrong[] = {
        {32, 32, CUBLAS_OP_T, 16, 2, "C is [16, 24]"},       /* m and n swapped */
        {32, 32, CUBLAS_OP_N, 24, 2, "op(A) is [32, 24]"},   /* not transposed */
        {32, 24, CUBLAS_OP_T, 24, 2, "leading dimension"},   /* n in k's place */
        {32, 32, CUBLAS_OP_T, 24, 7, "reduction schemes 7"}, /* as the library would */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        r = raw_open(wrong[i].a_rows, wrong[i].a_ld, wrong[i].op_a, wrong[i].m, 256, wrong[i].schemes);
        noticed(wrong[i].words);
        raw_close(&r);
    }
    /* Leaks are counted. */
    char left[512] = "";
    const int before = fake_leaks(NULL, 0);
    cublasLtMatrixLayout_t forgotten;
    cublasLtMatrixLayoutCreate(&forgotten, CUDA_R_32F, 8, 8, 8);
    assert_int_equal(fake_leaks(left, sizeof left), before + 1);
    assert_non_null(strstr(left, "layout"));
    cublasLtMatrixLayoutDestroy(forgotten);
    buffers_close(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_agrees_with_fp64),
        cmocka_unit_test(tf32_rounds_its_operands_and_fp32_does_not),
        cmocka_unit_test(empty_sizes),
        cmocka_unit_test(answers_are_kept_by_shape),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(what_the_library_does_not_know),
        cmocka_unit_test(every_call_that_fails_is_told),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(planted_faults_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
