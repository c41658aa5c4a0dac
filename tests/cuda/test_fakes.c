/* The fake CUDA runtime finds what a GPU would answer with wrong data on a bad day: each test below does a thing wrong,
 * for many orders of the work, and must see it. */
#include "../support/fakes/fake.h"
#include "../support/kernel_check.h"
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 40, WORDS = 64 };
#define GOOD(call) assert_int_equal((call), cudaSuccess)

typedef struct {
    cudaStream_t ops, copies;
    cudaEvent_t event;
    uint32_t *device, *pinned, host[WORDS];
} bench;

static void bench_open(bench *b, uint64_t seed) {
    fake_reset();
    fake_seed(seed);
    GOOD(cudaStreamCreateWithFlags(&b->ops, cudaStreamNonBlocking));
    GOOD(cudaStreamCreateWithFlags(&b->copies, cudaStreamNonBlocking));
    GOOD(cudaEventCreateWithFlags(&b->event, cudaEventDisableTiming));
    GOOD(cudaMalloc((void **)&b->device, sizeof b->host));
    GOOD(cudaHostAlloc((void **)&b->pinned, sizeof b->host, cudaHostAllocDefault));
    for (uint32_t i = 0; i < WORDS; i++) b->pinned[i] = i, b->host[i] = 0;
}

static void bench_close(bench *b) {
    cudaStreamSynchronize(b->copies), cudaStreamSynchronize(b->ops);
    GOOD(cudaFree(b->device));
    GOOD(cudaFreeHost(b->pinned));
    GOOD(cudaEventDestroy(b->event));
    GOOD(cudaStreamDestroy(b->ops));
    GOOD(cudaStreamDestroy(b->copies));
    assert_int_equal(fake_leaks(NULL, 0), 0);
}

/* Doubles the words: a library's work. */
typedef struct {
    uint32_t *at;
} doubling;
static void twice(void *context) {
    uint32_t *at = ((doubling *)context)->at;
    for (int i = 0; i < WORDS; i++) at[i] *= 2;
}
static void enqueue_twice(bench *b) {
    doubling *d = malloc(sizeof *d);
    assert_non_null(d);
    d->at = b->device;
    fake_enqueue(b->ops, "twice", twice, d);
}

static bool is_doubled(const uint32_t *at, uint32_t first) {
    for (uint32_t i = 0; i < WORDS; i++)
        if (at[i] != 2 * (i + first)) return false;
    return true;
}

/* Upload on one stream, work on another, back: with `fault` one thing is left out. True: the result is right. */
enum { NONE, NO_EVENT, REFILL, NO_WAIT, FAULTS };
static bool round_trip(uint64_t seed, int fault) {
    bench b;
    bench_open(&b, seed);
    uint32_t *back;
    GOOD(cudaHostAlloc((void **)&back, sizeof b.host, cudaHostAllocDefault));
    memset(back, 0, sizeof b.host);
    GOOD(cudaMemcpyAsync(b.device, b.pinned, sizeof b.host, cudaMemcpyHostToDevice, b.copies));
    if (fault == REFILL) b.pinned[7] = 1000;
    GOOD(cudaEventRecord(b.event, b.copies));
    if (fault != NO_EVENT) GOOD(cudaStreamWaitEvent(b.ops, b.event, 0));
    enqueue_twice(&b);
    GOOD(cudaMemcpyAsync(back, b.device, sizeof b.host, cudaMemcpyDeviceToHost, b.ops));
    if (fault != NO_WAIT) GOOD(cudaStreamSynchronize(b.ops));
    const bool right = is_doubled(back, 0);
    rt_check_ok(fake_check("round trip"), "round trip");
    GOOD(cudaStreamSynchronize(b.ops));
    GOOD(cudaFreeHost(back));
    bench_close(&b);
    return right;
}

static void orders_show_what_is_missing(void **state) {
    (void)state;
    int wrong[FAULTS] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (int fault = 0; fault < FAULTS; fault++) wrong[fault] += !round_trip(seed, fault);
    assert_int_equal(wrong[NONE], 0);
    assert_true(wrong[NO_EVENT] > SEEDS / 4);
    assert_true(wrong[REFILL] > SEEDS / 4);
    assert_true(wrong[NO_WAIT] > SEEDS / 4);
}

/* Pageable memory is read at the call, and is filled when the call returns. */
static void pageable_memory_is_staged(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bench b;
        bench_open(&b, seed);
        for (uint32_t i = 0; i < WORDS; i++) b.host[i] = i + 5;
        GOOD(cudaMemcpyAsync(b.device, b.host, sizeof b.host, cudaMemcpyHostToDevice, b.ops));
        memset(b.host, 0, sizeof b.host);
        enqueue_twice(&b);
        GOOD(cudaMemcpyAsync(b.host, b.device, sizeof b.host, cudaMemcpyDeviceToHost, b.ops));
        assert_true(is_doubled(b.host, 5));
        bench_close(&b);
        rt_check_ok(fake_check("staged"), "staged");
    }
}

static void must_report(const char *words) {
    const rt_status status = fake_check("rules");
    if (status == RT_OK) fail_msg("not reported: %s", words);
    if (!strstr(rt_error_get()->text, words)) fail_msg("reported \"%s\", not \"%s\"", rt_error_get()->text, words);
}

static void broken_rules_are_reported(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 3);
    cudaEvent_t never;
    GOOD(cudaEventCreateWithFlags(&never, cudaEventDisableTiming));
    assert_int_equal(cudaStreamWaitEvent(b.ops, never, 0), cudaErrorInvalidValue);
    must_report("never recorded");
    assert_int_equal(cudaEventSynchronize(never), cudaErrorInvalidValue);
    must_report("never recorded");
    GOOD(cudaEventDestroy(never));
    assert_int_equal(cudaEventRecord(never, b.ops), cudaErrorInvalidValue);
    must_report("not there");
    assert_int_equal(cudaMemcpyAsync(b.host, b.pinned, 4, cudaMemcpyHostToDevice, b.ops), cudaErrorInvalidValue);
    must_report("not in one allocation");
    assert_int_equal(cudaMemcpyAsync(b.device, b.device, 4, cudaMemcpyHostToDevice, b.ops), cudaErrorInvalidValue);
    must_report("pinned");
    assert_int_equal(cudaMemcpyAsync(b.device, b.pinned, sizeof b.host + 4, cudaMemcpyHostToDevice, b.ops),
                     cudaErrorInvalidValue);
    must_report("not in one allocation");
    assert_int_equal(cudaMemsetAsync(b.pinned, 0, 4, b.ops), cudaErrorInvalidValue);
    must_report("not in one allocation");
    assert_int_equal(cudaMemsetAsync(b.device, 0, 4, NULL), cudaErrorInvalidValue);
    must_report("default stream");
    assert_int_equal(cudaFree(b.pinned), cudaErrorInvalidValue);
    must_report("no device memory");
    assert_int_equal(cudaFree(b.host), cudaErrorInvalidValue);
    must_report("no device memory");
    cudaGetLastError();
    fake_forbid_sync(true);
    GOOD(cudaMemsetAsync(b.device, 0, 4, b.ops));
    rt_check_ok(fake_check("no wait yet"), "no wait yet");
    GOOD(cudaStreamSynchronize(b.ops));
    must_report("in a step");
    GOOD(cudaMemcpyAsync(b.host, b.device, 4, cudaMemcpyDeviceToHost, b.ops));
    must_report("pageable");
    fake_forbid_sync(false);
    GOOD(cudaStreamSynchronize(b.ops));
    bench_close(&b);
    rt_check_ok(fake_check("the rest"), "the rest");
}

static void what_is_left_is_reported(void **state) {
    (void)state;
    char list[256];
    cudaStream_t stream;
    void *device, *pinned;
    fake_reset();
    fake_seed(5);
    GOOD(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    GOOD(cudaMalloc(&device, 64));
    GOOD(cudaHostAlloc(&pinned, 64, cudaHostAllocDefault));
    assert_int_equal(fake_leaks(list, sizeof list), 3);
    assert_non_null(strstr(list, "pinned memory of 64 bytes"));
    for (int i = 0; i < 20; i++) GOOD(cudaMemcpyAsync(device, pinned, 64, cudaMemcpyHostToDevice, stream));
    assert_true(fake_pending() > 0);
    GOOD(cudaFreeHost(pinned));
    must_report("under way");
    for (int i = 0; i < 20; i++) GOOD(cudaMemsetAsync(device, 0, 64, stream));
    GOOD(cudaStreamDestroy(stream));
    must_report("left to be done");
    GOOD(cudaFree(device));
    assert_int_equal(fake_leaks(NULL, 0), 0);
}

static void devices_are_kept_apart(void **state) {
    (void)state;
    bench b;
    void *other;
    fake_reset();
    bench_open(&b, 1);
    fake_settings()->devices = 2;
    GOOD(cudaSetDevice(1));
    assert_int_equal(cudaMemsetAsync(b.device, 0, 4, b.ops), cudaErrorInvalidValue);
    must_report("a stream of device 0");
    GOOD(cudaMalloc(&other, 64));
    GOOD(cudaSetDevice(0));
    cudaGetLastError();
    assert_int_equal(cudaMemsetAsync(other, 0, 4, b.ops), cudaErrorInvalidValue);
    must_report("device 0");
    assert_int_equal(cudaSetDevice(2), cudaErrorInvalidDevice);
    GOOD(cudaFree(other));
    bench_close(&b);
}

static void failures_come_when_asked_for(void **state) {
    (void)state;
    bench b;
    void *more = NULL;
    bench_open(&b, 2);
    fake_fail_call(2, cudaErrorUnknown);
    GOOD(cudaMemsetAsync(b.device, 0, 4, b.ops));
    assert_int_equal(cudaMemsetAsync(b.device, 0, 4, b.ops), cudaErrorUnknown);
    GOOD(cudaMemsetAsync(b.device, 0, 4, b.ops));
    assert_int_equal(cudaPeekAtLastError(), cudaErrorUnknown);
    assert_int_equal(cudaGetLastError(), cudaErrorUnknown);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    fake_settings()->memory = 1024;
    assert_int_equal(cudaMalloc(&more, 1024), cudaErrorMemoryAllocation);
    bench_close(&b);
    bench_open(&b, 2);
    fake_break_device(cudaErrorIllegalAddress);
    assert_int_equal(cudaMemsetAsync(b.device, 0, 4, b.ops), cudaErrorIllegalAddress);
    assert_int_equal(cudaStreamSynchronize(b.ops), cudaErrorIllegalAddress);
    fake_reset();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_show_what_is_missing), cmocka_unit_test(pageable_memory_is_staged),
        cmocka_unit_test(broken_rules_are_reported),   cmocka_unit_test(what_is_left_is_reported),
        cmocka_unit_test(devices_are_kept_apart),      cmocka_unit_test(failures_come_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
