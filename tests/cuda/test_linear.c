/* The linear layer on the GPU, over the emulator and the fake of cuBLASLt: the CPU op's own tests, and what is the
 * GPU's own: rows of a bucket, chunks, the workspace, failures of the library. The "threads" that a test asks for are
 * the seed of the order in which streams and kernels run. */
#include "host_case.h"
#include "narrow.h"

typedef struct {
    rt_backend api; /* first */
    rt_check *c;
    rt_cuda_context *cuda;
} device_backend;
static device_backend *opened;

/* --- arguments in device memory -------------------------------------------------------------------------------------
 */

enum { IN = 1, OUT = 2, BINDINGS = 12 };
typedef struct {
    struct {
        const void *host;
        void *device;
        size_t bytes;
        int mode;
    } list[BINDINGS];
    int count;
} call;

/* Pointers that are one stay one. */
static void *bind(call *k, const void *host, rt_dtype dtype, int64_t n, int mode) {
    int i = 0;
    if (!host) return NULL;
    while (i < k->count && k->list[i].host != host) i++;
    if (i == k->count) {
        assert_true(k->count++ < BINDINGS);
        k->list[i].host = host, k->list[i].bytes = (size_t)n * rt_dtype_size(dtype), k->list[i].mode = 0;
        k->list[i].device = host_device(NULL, k->list[i].bytes);
    }
    k->list[i].mode |= mode;
    if (mode & IN) memcpy(k->list[i].device, host, k->list[i].bytes);
    return k->list[i].device;
}

static rt_status end(call *k, rt_status status, const char *op) {
    host_wait(opened->cuda, op);
    for (int i = 0; i < k->count; i++) {
        if (status == RT_OK && k->list[i].mode & OUT)
            memcpy((void *)(uintptr_t)k->list[i].host, k->list[i].device, k->list[i].bytes);
        if (!(k->list[i].mode & OUT) && memcmp(k->list[i].host, k->list[i].device, k->list[i].bytes) != 0)
            fail_msg("%s: wrote to an input (buffer %d)", op, i);
        cudaFree(k->list[i].device);
    }
    return status;
}

static rt_weight weight(call *k, rt_weight w) {
    w.master = bind(k, w.master, RT_F32, w.n * w.k, IN), w.packed = bind(k, w.packed, RT_BF16, w.n * w.k, IN);
    return w;
}

static rt_status forward_on_device(rt_backend *b, const rt_linear_forward_args *args) {
    (void)b;
    rt_linear_forward_args a = *args;
    call k = {.count = 0};
    a.w = weight(&k, a.w), a.bias = bind(&k, a.bias, RT_F32, a.w.n, IN);
    a.x = bind(&k, a.x, opened->api.act, a.rows * a.w.k, IN);
    a.y = bind(&k, a.y, a.y_dtype, a.rows * a.w.n, OUT), a.pre = bind(&k, a.pre, a.y_dtype, a.rows * a.w.n, OUT);
    return end(&k, rt_cuda_linear_forward(&opened->cuda->api, &a), "linear_forward");
}

static rt_status backward_on_device(rt_backend *b, const rt_linear_backward_args *args) {
    (void)b;
    rt_linear_backward_args a = *args;
    call k = {.count = 0};
    const int sum = OUT | (a.accumulate ? IN : 0);
    const int64_t in = a.rows * a.w.k, out = a.rows * a.w.n;
    a.w = weight(&k, a.w), a.x = bind(&k, a.x, opened->api.act, in, IN);
    a.saved = bind(&k, a.saved, a.dy_dtype, out, IN), a.dy = bind(&k, a.dy, a.dy_dtype, out, IN | OUT);
    a.dx_add = bind(&k, a.dx_add, opened->api.act, in, IN), a.dx = bind(&k, a.dx, opened->api.act, in, OUT);
    a.dw = bind(&k, a.dw, RT_F32, a.w.n * a.w.k, sum), a.db = bind(&k, a.db, RT_F32, a.w.n, sum);
    return end(&k, rt_cuda_linear_backward(&opened->cuda->api, &a), "linear_backward");
}

static size_t packed_bytes(rt_backend *b, int64_t n, int64_t k) {
    (void)b;
    return rt_cuda_packed_bytes(&opened->cuda->api, n, k);
}

static rt_status pack_on_device(rt_backend *b, const float *master, int64_t n, int64_t w, void *packed) {
    (void)b;
    call k = {.count = 0};
    const float *from = bind(&k, master, RT_F32, n * w, IN);
    void *to = bind(&k, packed, RT_BF16, n * w, OUT);
    return end(&k, rt_cuda_pack(&opened->cuda->api, from, n, w, to), "pack");
}

static rt_check *device_open(rt_precision precision, int threads, const rt_dims *sizes) {
    device_backend *d = calloc(1, sizeof *d);
    assert_non_null(d);
    assert_null(opened);
    d->c = rt_check_open(RT_PRECISION_FP32, 1, NULL);
    d->cuda = host_open(precision, sizes, (uint64_t)threads);
    d->api = (rt_backend){.precision = precision,
                          .act = d->cuda->api.act,
                          .packed_bytes = packed_bytes,
                          .pack = pack_on_device,
                          .linear_forward = forward_on_device,
                          .linear_backward = backward_on_device};
    opened = d;
    return d->c;
}
static rt_backend *device_of(rt_check *c) {
    assert_true(opened && opened->c == c);
    return &opened->api;
}
static void device_close(rt_check *c) {
    assert_true(opened && opened->c == c);
    host_close(opened->cuda);
    free(opened);
    opened = NULL;
    rt_check_close(c);
}

#define rt_check_open device_open
#define rt_check_backend device_of
#define rt_check_close device_close
#define main main_of_the_cpu
#include "../kernels/test_linear.c"
#undef main

/* --- the GPU's own --------------------------------------------------------------------------------------------------
 */

/* A bucket's rows: those beyond the tokens are finite in x and zero in dy, and change neither gradient; results of the
 * others are those without them. */
static void rows_of_a_bucket_change_nothing(void **state) {
    (void)state;
    enum { ROWS = 37, BUCKET = 64, N = 80, K = 40 };
    for (int p = 0; p < 2; p++) {
        rt_check *c = rt_check_open(precisions[p], 3, &dims);
        layer l = layer_make(c, BUCKET, N, K, false, true);
        const size_t size = rt_dtype_size(l.act);
        void *dy = rt_check_normal(c, l.act, BUCKET * N, 4, 1), *pre = rt_check_normal(c, l.act, BUCKET * N, 5, 1);
        memset((char *)dy + ROWS * N * size, 0, (BUCKET - ROWS) * N * size);
        float *dw[2], *db[2];
        void *y[2], *dx[2];
        for (int i = 0; i < 2; i++) {
            const int64_t rows = i ? BUCKET : ROWS;
            void *dz = rt_check_copy(c, l.act, dy, BUCKET * N);
            dw[i] = rt_check_poison(c, RT_F32, N * K), db[i] = rt_check_poison(c, RT_F32, N);
            dx[i] = rt_check_poison(c, l.act, BUCKET * K), y[i] = rt_check_poison(c, l.act, BUCKET * N);
            rt_linear_forward_args f = {
                .w = l.w, .bias = l.bias, .act = RT_ACT_GELU, .x = l.x, .y = y[i], .y_dtype = l.act, .rows = rows};
            rt_check_ok(l.be->linear_forward(l.be, &f), "forward");
            rt_linear_backward_args b = {.w = l.w,
                                         .act = RT_ACT_GELU,
                                         .x = l.x,
                                         .saved = pre,
                                         .dy = dz,
                                         .dy_dtype = l.act,
                                         .dx = dx[i],
                                         .dw = dw[i],
                                         .db = db[i],
                                         .rows = rows};
            rt_check_ok(l.be->linear_backward(l.be, &b), "backward");
        }
        rt_check_same("y", l.act, y[0], y[1], ROWS * N);
        rt_check_same("dx", l.act, dx[0], dx[1], ROWS * K);
        for (size_t i = ROWS * K; i < BUCKET * K; i++) assert_true(rt_check_get(l.act, dx[1], i) == 0);
        double *want = rt_check_widen(c, RT_F32, dw[0], N * K), *sums = rt_check_widen(c, RT_F32, db[0], N);
        rt_check_close_to("dw", RT_F32, dw[1], want, N * K, rt_check_limit(RT_F32, ROWS));
        rt_check_close_to("db", RT_F32, db[1], sums, N, rt_check_limit(RT_F32, ROWS));
        rt_check_close(c);
    }
}

/* Chunks of 64 rows give what one of all rows gives: each row is a sum of its own. dw of fp32 dy is added over chunks.
 */
static void chunks_of_rows_give_the_same(void **state) {
    (void)state;
    enum { ROWS = 200, K = 40 };
    for (int f32 = 0; f32 < 2; f32++) {
        const int64_t n = f32 ? 37 : 80;
        void *y[2], *dx[2], *pre[2];
        float *dw[2];
        rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, &dims);
        layer l = layer_make(c, ROWS, n, K, f32, true);
        const rt_dtype dtype = f32 ? RT_F32 : RT_BF16;
        void *dy = rt_check_normal(c, dtype, (size_t)(ROWS * n), 4, 1);
        for (int i = 0; i < 2; i++) {
            opened->cuda->linear_scratch = i ? 1 : 0;
            const uint64_t before = fake_cublaslt_settings()->multiplied;
            y[i] = rt_check_poison(c, dtype, (size_t)(ROWS * n)), dx[i] = rt_check_poison(c, RT_BF16, ROWS * K);
            dw[i] = rt_check_poison(c, RT_F32, (size_t)n * K);
            pre[i] = rt_check_poison(c, dtype, (size_t)(ROWS * n));
            rt_linear_forward_args f = {.w = l.w,
                                        .bias = l.bias,
                                        .act = RT_ACT_GELU,
                                        .x = l.x,
                                        .y = y[i],
                                        .y_dtype = dtype,
                                        .pre = pre[i],
                                        .rows = ROWS};
            rt_check_ok(l.be->linear_forward(l.be, &f), "forward");
            rt_linear_backward_args b = {.w = l.w,
                                         .x = l.x,
                                         .dy = rt_check_copy(c, dtype, dy, (size_t)(ROWS * n)),
                                         .dy_dtype = dtype,
                                         .dx = dx[i],
                                         .dw = dw[i],
                                         .rows = ROWS};
            rt_check_ok(l.be->linear_backward(l.be, &b), "backward");
            /* Forward chunks where there is fp32 scratch, backward where dy is rounded. */
            assert_int_equal(fake_cublaslt_settings()->multiplied - before, i == 0 ? 3 : f32 ? 1 + 2 * 4 : 4 + 2);
        }
        rt_check_same("y", dtype, y[0], y[1], (size_t)(ROWS * n));
        rt_check_same("pre", dtype, pre[0], pre[1], (size_t)(ROWS * n));
        rt_check_same("dx", RT_BF16, dx[0], dx[1], ROWS * K);
        rt_check_close_to("dw", RT_F32, dw[1], rt_check_widen(c, RT_F32, dw[0], (size_t)n * K), (size_t)n * K,
                          rt_check_limit(RT_F32, ROWS));
        rt_check_close(c);
    }
}

static void scratch_is_what_was_asked_for(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, &dims);
    layer l = layer_make(c, 64, 80, 40, false, true);
    void *y = rt_check_poison(c, RT_BF16, 64 * 80);
    rt_linear_forward_args f = {.w = l.w, .act = RT_ACT_TANH, .x = l.x, .y = y, .y_dtype = RT_BF16, .rows = 64};
    const size_t bytes = opened->cuda->workspace_bytes;
    opened->cuda->workspace_bytes = HOST_GEMM_BYTES + (opened->cuda->kernel_bytes + 255) / 256 * 256 + 64 * 80 * 4 - 1;
    rt_check_fails(RT_ESHAPE, l.be->linear_forward(l.be, &f), "a small workspace");
    opened->cuda->workspace_bytes++;
    rt_check_ok(l.be->linear_forward(l.be, &f), "just enough");
    opened->cuda->workspace_bytes = bytes;
    /* No size up to the ones asked for needs more than was said; sizes in between may need more than their neighbours.
     */
    for (int64_t k = 8; k <= 2048; k += 8)
        for (int64_t n = 1; n <= RT_CUDA_NARROW_MAX; n += 5)
            for (int64_t rows = 1; rows < 3000; rows += 171) {
                rt_dims d = {.max_tokens = (int32_t)rows, .hidden = (int32_t)k, .ffn = 2048, .labels = (int32_t)n};
                if (rt_cuda_linear_bytes(opened->cuda, &d) < (size_t)rt_cuda_narrow_partials(rows, n, k) * 4)
                    fail_msg("%d rows, [%d, %d]", (int)rows, (int)n, (int)k);
            }
    rt_check_close(c);
}

/* Every call of the library that can fail fails once: a status and a sentence, nothing left behind, and the layer works
 * afterwards. */
static void failures_of_the_library_are_told(void **state) {
    (void)state;
    int failed = 0;
    for (uint64_t at = 1;; at++) {
        rt_check *c = rt_check_open(RT_PRECISION_FP32, 0, &dims);
        layer l = layer_make(c, 16, 80, 40, false, true);
        call k = {.count = 0};
        void *x = bind(&k, l.x, RT_F32, 16 * 40, IN), *y = host_device(NULL, 16 * 80 * 4);
        rt_linear_forward_args f = {.w = weight(&k, l.w),
                                    .bias = bind(&k, l.bias, RT_F32, 80, IN),
                                    .x = x,
                                    .y = y,
                                    .y_dtype = RT_F32,
                                    .rows = 16};
        fake_cublaslt_settings()->failure = at % 2 ? CUBLAS_STATUS_ALLOC_FAILED : CUBLAS_STATUS_INTERNAL_ERROR;
        fake_fail_call(at, cudaErrorUnknown);
        rt_status status = rt_cuda_linear_forward(&opened->cuda->api, &f);
        fake_fail_call(0, cudaSuccess);
        if (status != RT_OK) {
            failed++;
            assert_int_equal(status, at % 2 ? RT_ENOMEM : RT_EINTERNAL);
            if (!strstr(rt_error_get()->text, "product [16, 40] x [40, 80, transposed]") ||
                !strstr(rt_error_get()->text, "cuBLASLt says"))
                fail_msg("call %d: %s", (int)at, rt_error_get()->text);
            rt_check_ok(rt_cuda_linear_forward(&opened->cuda->api, &f), "again");
        }
        cudaFree(y);
        end(&k, RT_OK, "linear_forward");
        rt_check_close(c);
        if (status == RT_OK) break;
    }
    assert_true(failed >= 12);
    rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, &dims);
    layer l = layer_make(c, 16, 80, 40, false, true);
    void *y = rt_check_poison(c, RT_BF16, 16 * 80);
    rt_linear_forward_args f = {.w = l.w, .bias = l.bias, .x = l.x, .y = y, .y_dtype = RT_BF16, .rows = 16};
    fake_cublaslt_settings()->knows_nothing = true;
    rt_check_fails(RT_EUNAVAILABLE, l.be->linear_forward(l.be, &f), "nothing known");
    rt_check_close(c);
}

static void wrong_arguments_are_refused(void **state) {
    (void)state;
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    layer l = layer_make(c, 16, 80, 40, false, true);
    void *y = rt_check_poison(c, RT_F32, 16 * 80);
    const rt_linear_forward_args good = {.w = l.w, .x = l.x, .y = y, .y_dtype = RT_F32, .rows = 16};
    rt_linear_forward_args f;
#define REFUSED(change)                                                                                                \
    f = good;                                                                                                          \
    change;                                                                                                            \
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_forward(&opened->cuda->api, &f), #change)
    REFUSED(f.w.k = 36);
    REFUSED(f.w.k = 0);
    REFUSED(f.w.n = 0);
    REFUSED(f.rows = (int64_t)1 << 31);
    REFUSED(f.rows = -1);
    REFUSED(f.y_dtype = RT_BF16);
    REFUSED(f.act = (rt_activation)3);
    REFUSED(f.w.master = NULL);
    REFUSED(f.x = NULL);
    REFUSED(f.y = NULL);
    REFUSED(f.x = (const char *)l.x + 4);
    rt_linear_backward_args b = {.w = l.w, .act = RT_ACT_GELU, .dy = y, .dy_dtype = RT_F32, .rows = 16};
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_backward(&opened->cuda->api, &b), "saved is NULL");
    b.act = RT_ACT_NONE, b.dw = y;
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_backward(&opened->cuda->api, &b), "x is NULL");
    b.dy = NULL;
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_backward(&opened->cuda->api, &b), "dy is NULL");
    b = (rt_linear_backward_args){.w = l.w, .dy = y, .dy_dtype = RT_F32, .rows = -1};
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_backward(&opened->cuda->api, &b), "-1 rows");
    b.rows = 16, b.w.k = 36;
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_backward(&opened->cuda->api, &b), "a width of 36");
    b.w = l.w, b.dy_dtype = RT_BF16;
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_backward(&opened->cuda->api, &b), "a bf16 gradient in fp32");
    rt_check_ok(fake_check("refused"), "nothing reached the library");
    rt_check_close(c);
    c = rt_check_open(RT_PRECISION_BF16, 2, &dims);
    l = layer_make(c, 8, 40, 40, false, false);
    f = (rt_linear_forward_args){.w = l.w, .x = l.x, .y = l.x, .y_dtype = RT_BF16, .rows = 8};
    f.w.n = 39;
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_forward(&opened->cuda->api, &f), "39 bf16 outputs");
    f.w = l.w, f.w.packed = NULL;
    rt_check_fails(RT_ESHAPE, rt_cuda_linear_forward(&opened->cuda->api, &f), "no packed form");
    rt_check_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward),
        cmocka_unit_test(backward),
        cmocka_unit_test(differences),
        cmocka_unit_test(activations),
        cmocka_unit_test(threads),
        cmocka_unit_test(rows_of_a_bucket_change_nothing),
        cmocka_unit_test(chunks_of_rows_give_the_same),
        cmocka_unit_test(scratch_is_what_was_asked_for),
        cmocka_unit_test(failures_of_the_library_are_told),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
