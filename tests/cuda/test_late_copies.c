/* Host files of the CUDA backend over the fakes: host memory given back while copies of it are under way, and threads
 * for which the device cannot be chosen. */
#include "../support/fakes/fake.h"
#include "../support/kernel_check.h"
#include "cuda.h"
#include <pthread.h>

enum { BYTES = 4096, SEEDS = 10 };

static rt_backend *fresh(uint64_t seed) {
    rt_backend *be = NULL;
    fake_reset();
    fake_seed(seed);
    rt_check_ok(rt_cuda_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32, .device = -1}, &be), "open");
    return be;
}
static void finish(rt_backend *be, const char *what) {
    char left[512];
    be->close(be);
    rt_check_ok(fake_check(what), what);
    if (fake_leaks(left, sizeof left)) fail_msg("%s: left behind: %s", what, left);
}

/* A copy of either stream is waited for. */
static void host_memory_outlives_its_copies(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < SEEDS; seed++) {
        rt_backend *be = fresh(seed);
        void *device, *up, *down;
        rt_check_ok(be->alloc(be, BYTES, "device memory", &device), "alloc");
        rt_check_ok(be->alloc_host(be, BYTES, "up", &up), "alloc_host");
        rt_check_ok(be->alloc_host(be, BYTES, "down", &down), "alloc_host");
        rt_check_ok(be->upload_start(be, 0, device, up, BYTES), "upload_start");
        be->release_host(be, up, BYTES);
        rt_check_ok(be->download_start(be, down, device, BYTES), "download_start");
        be->release_host(be, down, BYTES);
        be->release(be, device, BYTES);
        finish(be, "memory given back early");
    }
}

/* The first call of a thread chooses the device. Where that fails nothing goes on as if it had not; the thread's next
 * call tries again. */
typedef struct {
    rt_backend *be;
    void *device, *host;
    int calls, told;
} stranger;
static void *cannot_enter(void *context) {
    stranger *s = context;
    rt_backend *be = s->be;
    void *more;
#define FAILS(call) fake_fail_call(1, cudaErrorUnknown), s->calls++, s->told += (call) == RT_EINTERNAL
    FAILS(be->alloc(be, 16, "more", &more));
    FAILS(be->alloc_host(be, 16, "more", &more));
    FAILS(be->upload(be, s->device, s->host, 16));
    FAILS(be->download(be, s->host, s->device, 16));
    FAILS(be->download_start(be, s->host, s->device, 16));
    FAILS(be->zero(be, s->device, 16));
    FAILS(be->write(be, s->device, s->host, 16));
    FAILS(be->convert(be, s->device, RT_F32, s->host, RT_F32, 4));
    FAILS(be->upload_start(be, 0, s->device, s->host, 16));
    FAILS(be->upload_wait(be, 0));
    FAILS(be->upload_done(be, 0));
    FAILS(be->mark(be, 0));
    FAILS(be->wait(be, 0));
    FAILS(be->synchronize(be));
#undef FAILS
    fake_fail_call(0, cudaSuccess);
    return NULL;
}

static void a_thread_without_the_device_is_told(void **state) {
    (void)state;
    stranger s = {.be = fresh(0)};
    pthread_t thread;
    rt_check_ok(s.be->alloc(s.be, 16, "device memory", &s.device), "alloc");
    rt_check_ok(s.be->alloc_host(s.be, 16, "host memory", &s.host), "alloc_host");
    assert_int_equal(pthread_create(&thread, NULL, cannot_enter, &s), 0);
    pthread_join(thread, NULL);
    assert_int_equal(s.told, s.calls);
    s.be->release(s.be, s.device, 16), s.be->release_host(s.be, s.host, 16);
    finish(s.be, "a thread without the device");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_memory_outlives_its_copies),
        cmocka_unit_test(a_thread_without_the_device_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
