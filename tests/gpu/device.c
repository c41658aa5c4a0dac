/* The ops' tests on a real GPU: tests/cuda/emulated.c over the plugin's own table. Each call's arguments are copied
 * into device memory of the exact size, all that nobody filled is NaN, a guard zone stands behind each; afterwards the
 * zones, the inputs and the rows beyond the batch are looked at. The workspace is NaN too. Linear layers are added
 * here: in the emulator they have host code of their own and tests beside it. */
#include "device.h"
static void linear_slots(rt_backend *api);
#include "../cuda/emulated.c"
#include <stdio.h>

enum { GUARD = 256, PRECISIONS = 3 };

/* --- the GPU, opened once a precision ------------------------------------------------------------------------------
 */

static rt_backend *gpus[PRECISIONS];

/* One workspace a precision, NaN when it is new, then whatever the call before left there. */
static struct {
    void *at;
    size_t bytes;
} spaces[PRECISIONS];

static int place_of_precision(rt_precision precision) {
    return precision == RT_PRECISION_FP32 ? 0 : precision == RT_PRECISION_BF16 ? 1 : 2;
}

rt_status device_backend(rt_precision precision, rt_backend **out) {
    const int place = place_of_precision(precision);
    typedef rt_status (*opener)(const rt_backend_options *, rt_backend **);
    if (!gpus[place]) {
        static const rt_plugin_spec spec = {"rectrain-cuda.so", "rt_cuda_abi", RT_KERNELS_ABI, "rt_cuda_backend_open"};
        rt_plugin_entry entry;
        RT_TRY(rt_plugin_open(&spec, &entry, NULL));
        RT_TRY(((opener)entry)(&(rt_backend_options){.precision = precision, .device = -1}, &gpus[place]));
    }
    *out = gpus[place];
    return RT_OK;
}

int device_main(const char *group, const struct CMUnitTest *tests, size_t n) {
    rt_backend *be = NULL;
    if (device_backend(RT_PRECISION_FP32, &be) == RT_EUNAVAILABLE) {
        printf("# skipped: no GPU: %s\n1..%zu\n", rt_error_get()->text, n);
        for (size_t i = 0; i < n; i++) printf("ok %zu # SKIP %s\n", i + 1, tests[i].name);
        return getenv("RECTRAIN_GPU_REQUIRED") ? 69 : 0;
    }
    if (!be) {
        fprintf(stderr, "%s\n", rt_error_get()->text);
        return 1;
    }
    printf("# %s\n", be->description);
    fflush(stdout);
    const int failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (spaces[i].at) gpus[i]->release(gpus[i], spaces[i].at, spaces[i].bytes);
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++)
        if (gpus[i]) gpus[i]->close(gpus[i]);
    return failed;
}

/* --- memory ---------------------------------------------------------------------------------------------------------
 */

void *device_alloc(const device_place *place, size_t bytes, void **image) {
    void *device = NULL;
    *image = malloc(bytes + GUARD);
    assert_non_null(*image);
    memset(*image, 0xFF, bytes + GUARD);
    rt_check_ok(place->be->alloc(place->be, bytes + GUARD, "a test", &device), "alloc");
    rt_check_ok(place->be->upload(place->be, device, *image, bytes + GUARD), "upload");
    return device;
}

void device_free(const device_place *place, void *device, void *image, size_t bytes) {
    place->be->release(place->be, device, bytes + GUARD);
    free(image);
}

void device_write(const device_place *place, void *device, const void *image, size_t bytes) {
    rt_check_ok(place->be->upload(place->be, device, image, bytes + GUARD), "upload");
}

void device_read(const device_place *place, const void *device, void *image, size_t bytes, const char *op) {
    rt_check_ok(place->be->download(place->be, image, device, bytes + GUARD), op);
    for (size_t i = 0; i < GUARD; i++)
        if (((unsigned char *)image)[bytes + i] != 0xFF) fail_msg("%s: wrote %zu bytes behind a buffer", op, i + 1);
}

/* Sizes that the backend takes for a model: the ops alone take more kinds of width than its attention does. */
static rt_dims as_a_model(const rt_dims *dims) {
    rt_dims d = *dims;
    const int head = d.heads > 0 && d.hidden % d.heads == 0 ? d.hidden / d.heads : 0;
    d.max_tokens += 64, d.max_seqs += 2;
    if (head != 32 && head != 64 && head != 128) {
        d.hidden = (d.hidden + 31) / 32 * 32;
        d.hidden = d.hidden ? d.hidden : 32;
        d.heads = d.hidden / 32;
    }
    d.ffn = d.ffn < 8 ? 8 : (d.ffn + 7) / 8 * 8;
    d.max_len = d.max_len > 512 ? 512 : d.max_len;
    return d;
}

void device_open(device_place *place, rt_precision precision, const rt_dims *dims) {
    const int i = place_of_precision(precision);
    rt_check_ok(device_backend(precision, &place->be), "opening the GPU");
    static const rt_dims least = {.max_tokens = 64, .max_seqs = 8, .max_len = 64, .labels = 2, .training = true};
    const rt_dims d = as_a_model(dims ? dims : &least);
    const size_t need = place->be->workspace_bytes(place->be, &d);
    if (need > spaces[i].bytes) {
        void *image = malloc(need);
        assert_non_null(image);
        memset(image, 0xFF, need);
        if (spaces[i].at) place->be->release(place->be, spaces[i].at, spaces[i].bytes);
        rt_check_ok(place->be->alloc(place->be, need, "workspace", &spaces[i].at), "workspace");
        rt_check_ok(place->be->upload(place->be, spaces[i].at, image, need), "workspace");
        spaces[i].bytes = need;
        free(image);
    }
    rt_check_ok(place->be->set_workspace(place->be, &d, spaces[i].at, spaces[i].bytes), "workspace");
}

void device_close(device_place *place) {
    rt_check_ok(place->be->synchronize(place->be), "at the end");
}

/* --- linear layers ---------------------------------------------------------------------------------------------------
 */

static rt_weight weight_of(call *k, rt_weight w) {
    w.master = parameter(k, w.master, w.n * w.k, IN);
    w.packed = bind(k, w.packed, RT_BF16, w.n * w.k, w.n * w.k, IN);
    return w;
}

/* [rows, n], no rows beyond: a linear layer takes all that it is told to. */
static void *matrix(call *k, const void *host, rt_dtype dtype, int64_t rows, int64_t n, int mode) {
    return bind(k, host, dtype, rows * n, rows * n, mode);
}

static rt_status linear_forward(rt_backend *backend, const rt_linear_forward_args *args) {
    rt_linear_forward_args a = *args;
    call k = begin(backend, "linear_forward", NULL);
    const int64_t n = a.w.n;
    a.w = weight_of(&k, a.w), a.bias = parameter(&k, a.bias, n, IN);
    a.x = matrix(&k, a.x, backend->act, a.rows, a.w.k, IN);
    a.y = matrix(&k, a.y, a.y_dtype, a.rows, n, OUT), a.pre = matrix(&k, a.pre, a.y_dtype, a.rows, n, OUT);
    return RUN(&k, linear_forward, &a);
}

static rt_status linear_backward(rt_backend *backend, const rt_linear_backward_args *args) {
    rt_linear_backward_args a = *args;
    call k = begin(backend, "linear_backward", NULL);
    const int64_t n = a.w.n, width = a.w.k;
    const int sum = OUT | (a.accumulate ? IN : 0);
    a.w = weight_of(&k, a.w);
    a.x = matrix(&k, a.x, backend->act, a.rows, width, IN);
    a.saved = matrix(&k, a.saved, a.dy_dtype, a.rows, n, IN);
    a.dy = matrix(&k, a.dy, a.dy_dtype, a.rows, n, IN | OUT);
    a.dx_add = matrix(&k, a.dx_add, backend->act, a.rows, width, IN);
    a.dx = matrix(&k, a.dx, backend->act, a.rows, width, OUT);
    a.dw = parameter(&k, a.dw, n * width, sum), a.db = parameter(&k, a.db, n, sum);
    return RUN(&k, linear_backward, &a);
}

static size_t packed_bytes(rt_backend *backend, int64_t n, int64_t k) {
    rt_backend *be = ((emulated *)backend)->place.be;
    return be->packed_bytes(be, n, k);
}

static rt_status pack(rt_backend *backend, const float *master, int64_t n, int64_t width, void *packed) {
    call k = begin(backend, "pack", NULL);
    rt_backend *be = k.e->place.be;
    const float *from = parameter(&k, master, n * width, IN);
    void *to = bind(&k, packed, RT_BF16, n * width, n * width, OUT);
    ready(&k);
    return end(&k, be->pack(be, from, n, width, to));
}

static void linear_slots(rt_backend *api) {
    api->linear_forward = linear_forward, api->linear_backward = linear_backward;
    api->packed_bytes = packed_bytes, api->pack = pack;
}
