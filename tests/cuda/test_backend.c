/* The CUDA backend's host code over the fakes: opening and what it says where it cannot, memory, uploads and marks in
 * many orders of the device's work, every call that can fail failing once, no waiting inside a step. */
#include "../support/fakes/cublaslt.h"
#include "../support/fakes/fake.h"
#include "../support/kernel_check.h"
#include "sdpa.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 30, WORDS = 64, BYTES = WORDS * 4, MIB = 1 << 20 };

static rt_backend *open_with(rt_precision precision, int device) {
    rt_backend *be = NULL;
    rt_check_ok(rt_cuda_backend_open(&(rt_backend_options){.precision = precision, .device = device}, &be), "open");
    assert_non_null(be);
    return be;
}

static rt_backend *fresh(uint64_t seed) {
    fake_reset();
    fake_seed(seed);
    return open_with(RT_PRECISION_FP32, -1);
}

static void finish(rt_backend *be, const char *what) {
    char left[512];
    be->close(be);
    rt_check_ok(fake_check(what), what);
    if (fake_leaks(left, sizeof left)) fail_msg("%s: left behind: %s", what, left);
}

static void *memory(rt_backend *be, size_t bytes) {
    void *p;
    rt_check_ok(be->alloc(be, bytes, "a test's memory", &p), "alloc");
    return p;
}
static void *pinned(rt_backend *be, size_t bytes) {
    void *p;
    rt_check_ok(be->alloc_host(be, bytes, "a test's memory", &p), "alloc_host");
    return p;
}

static void must_say(const char *words) {
    if (!strstr(rt_error_get()->text, words)) fail_msg("\"%s\" does not say \"%s\"", rt_error_get()->text, words);
}

/* Fails with that status and says these words. */
static void fails(rt_status want, rt_status got, const char *words) {
    assert_int_equal(got, want);
    must_say(words);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void opens_and_tells_what_it_found(void **state) {
    (void)state;
    fake_reset();
    rt_backend *be = open_with(RT_PRECISION_BF16, -1);
    assert_int_equal(be->abi, rt_cuda_abi);
    assert_string_equal(be->name, "cuda");
    assert_int_equal(be->act, RT_BF16);
    assert_false(be->host_memory);
    assert_string_equal(be->description,
                        "GPU 0: Emulated GPU 0 (sm_90), 1.0 GiB, CUDA 13.0 (the driver's: 13.0), cuBLASLt 13.1.0");
    for (void **slot = (void **)&be->alloc; slot <= (void **)&be->close; slot++) assert_non_null(*slot);
    finish(be, "opening");
}

static void cannot_open(rt_status want, rt_precision precision, int device, const char *words) {
    rt_backend *be = (rt_backend *)1;
    fails(want, rt_cuda_backend_open(&(rt_backend_options){.precision = precision, .device = device}, &be), words);
    assert_null(be);
    rt_check_ok(fake_check(words), words);
    assert_int_equal(fake_leaks(NULL, 0), 0);
}

static void says_why_it_cannot(void **state) {
    (void)state;
    fake_reset();
    fake_device *device = fake_settings();
    const fake_device usual = *device;
    device->driver = 0;
    cannot_open(RT_EUNAVAILABLE, RT_PRECISION_FP32, 0, "no NVIDIA driver");
    device->driver = 12040;
    cannot_open(RT_EUNAVAILABLE, RT_PRECISION_FP32, 0, "CUDA up to 12.4, this build needs 13.0");
    *device = usual, device->devices = 0;
    cannot_open(RT_EUNAVAILABLE, RT_PRECISION_FP32, 0, "no NVIDIA GPU");
    device->devices = 2;
    cannot_open(RT_EUNAVAILABLE, RT_PRECISION_FP32, 2, "no GPU 2: 2 are visible");
    *device = usual, device->sm = 70;
    cannot_open(RT_EUNAVAILABLE, RT_PRECISION_FP32, 0,
                "Emulated GPU 0, is too old: it is of sm_70; accepted are sm_75");
    device->sm = 75;
    cannot_open(RT_ECONFIG, RT_PRECISION_BF16, 0, "run.precision = bf16: GPU 0, Emulated GPU 0 (sm_75)");
    cannot_open(RT_ECONFIG, RT_PRECISION_TF32, 0, "run.precision = tf32");
    finish(open_with(RT_PRECISION_FP32, 0), "fp32 on sm_75");
    device->sm = 80;
    finish(open_with(RT_PRECISION_BF16, 0), "bf16 on sm_80");
    finish(open_with(RT_PRECISION_TF32, 0), "tf32 on sm_80");
    device->sm = 120, device->driver = 13010;
    finish(open_with(RT_PRECISION_FP32, 0), "sm_120, a newer driver");
}

static void *from_another_thread(void *context) {
    rt_backend *be = context;
    float x = 3, y = 0;
    void *p = memory(be, 4);
    rt_check_ok(be->upload(be, p, &x, 4), "upload");
    rt_check_ok(be->write(be, p, &x, 4), "write");
    rt_check_ok(be->download(be, &y, p, 4), "download");
    be->release(be, p, 4);
    assert_true(y == 3);
    return NULL;
}

static void other_devices_and_threads(void **state) {
    (void)state;
    fake_reset();
    fake_settings()->devices = 3;
    rt_backend *second = open_with(RT_PRECISION_FP32, 2), *first = open_with(RT_PRECISION_FP32, 0);
    assert_non_null(strstr(second->description, "GPU 2"));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, from_another_thread, second), 0);
    pthread_join(thread, NULL);
    from_another_thread(first);
    first->close(first);
    finish(second, "threads");
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void memory_is_zeroed_and_moves(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        rt_backend *be = fresh(seed);
        uint32_t in[WORDS], out[WORDS], zeros[WORDS] = {0};
        uint32_t *a = memory(be, BYTES), *none = memory(be, 0), *h = pinned(be, BYTES), *h0 = pinned(be, 0);
        assert_int_equal((uintptr_t)a % 256, 0);
        assert_int_equal((uintptr_t)h % 256, 0);
        assert_true(none && h0);
        assert_memory_equal(h, zeros, BYTES);
        rt_check_ok(be->download(be, out, a, BYTES), "download");
        assert_memory_equal(out, zeros, BYTES);
        for (uint32_t i = 0; i < WORDS; i++) in[i] = 7 * i + (uint32_t)seed;
        rt_check_ok(be->upload(be, a, in, BYTES), "upload");
        memset(in, 0, BYTES); /* read by then */
        rt_check_ok(be->zero(be, a + 8, 16), "zero");
        rt_check_ok(be->download(be, out, a, BYTES), "download");
        for (uint32_t i = 0; i < WORDS; i++) assert_int_equal(out[i], i >= 8 && i < 12 ? 0 : 7 * i + (uint32_t)seed);
        rt_check_ok(be->upload(be, a, in, 0), "no bytes");
        rt_check_ok(be->zero(be, a, 0), "no bytes");
        be->release(be, a, BYTES), be->release(be, none, 0), be->release(be, NULL, 0);
        be->release_host(be, h, BYTES), be->release_host(be, h0, 0), be->release_host(be, NULL, 0);
        finish(be, "memory");
    }
}

static void out_of_memory_names_the_knobs(void **state) {
    (void)state;
    rt_backend *be = fresh(1);
    void *most, *p = (void *)1;
    fake_settings()->memory = 20 * MIB;
    most = memory(be, 16 * MIB);
    fails(RT_ENOMEM, be->alloc(be, 10 * MIB, "activations", &p),
          "no room for activations: 10.0 MiB wanted, 4.0 of 20.0 MiB free");
    assert_null(p);
    must_say("train.micro_batch_tokens");
    must_say("train.recompute");
    /* and goes on: the error was taken */
    rt_check_ok(be->write(be, most, "abcd", 4), "write");
    rt_check_ok(be->synchronize(be), "synchronize");
    fake_fail_call(1, cudaErrorUnknown);
    fails(RT_EINTERNAL, be->zero(be, most, 16), "unknown error (cudaErrorUnknown)");
    rt_check_ok(be->write(be, most, "abcd", 4), "an error that was told is not found again");
    rt_check_ok(be->synchronize(be), "synchronize");
    be->release(be, most, 16 * MIB);
    finish(be, "out of memory");
}

/* --- uploads, marks ----------------------------------------------------------------------------------------------- */

/* Batches through two slots, one ahead of the ops, as rt_feed does it; every batch is copied on by an op. True: all
 * arrived whole. With `fault` one call is left out. */
enum { NONE, NO_WAIT, NO_USE, EARLY_DONE, FAULTS };
enum { BATCHES = 12 };
static bool feeds(uint64_t seed, int fault) {
    rt_backend *be = fresh(seed);
    uint32_t *host[2], *device[2], *results = memory(be, BATCHES * BYTES), got[BATCHES * WORDS];
    bool right = true;
    for (int i = 0; i < 2; i++) host[i] = pinned(be, BYTES), device[i] = memory(be, BYTES);
    for (uint32_t n = 0; n < BATCHES; n++) {
        const int slot = n % 2;
        if (fault != NO_WAIT) rt_check_ok(be->upload_wait(be, slot), "upload_wait");
        for (uint32_t i = 0; i < WORDS; i++) host[slot][i] = 1000 * n + i;
        rt_check_ok(be->upload_start(be, slot, device[slot], host[slot], BYTES), "upload_start");
        if (fault != NO_USE) rt_check_ok(be->upload_use(be, slot), "upload_use");
        if (fault == EARLY_DONE) rt_check_ok(be->upload_done(be, slot), "upload_done");
        rt_check_ok(be->convert(be, results + n * WORDS, RT_F32, device[slot], RT_F32, WORDS), "an op");
        if (fault != EARLY_DONE) rt_check_ok(be->upload_done(be, slot), "upload_done");
    }
    rt_check_ok(be->download(be, got, results, sizeof got), "download");
    for (uint32_t n = 0; n < BATCHES; n++)
        for (uint32_t i = 0; i < WORDS; i++) right = right && got[n * WORDS + i] == 1000 * n + i;
    for (int i = 0; i < 2; i++) be->release_host(be, host[i], BYTES), be->release(be, device[i], BYTES);
    be->release(be, results, BATCHES * BYTES);
    finish(be, "feeding");
    return right;
}

static void batches_arrive_in_every_order(void **state) {
    (void)state;
    int wrong[FAULTS] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (int fault = 0; fault < FAULTS; fault++) wrong[fault] += !feeds(seed, fault);
    assert_int_equal(wrong[NONE], 0);
    assert_true(wrong[NO_WAIT] > 0);
    assert_true(wrong[NO_USE] > 0);
    assert_true(wrong[EARLY_DONE] > 0);
}

static void slots_and_marks_out_of_turn(void **state) {
    (void)state;
    rt_backend *be = fresh(1);
    void *host = pinned(be, 8), *device = memory(be, 8);
    rt_check_fails(RT_ESHAPE, be->upload_wait(be, RT_UPLOAD_SLOTS), "slot");
    rt_check_fails(RT_ESHAPE, be->upload_start(be, -1, device, host, 8), "slot");
    rt_check_fails(RT_ESHAPE, be->upload_done(be, 99), "slot");
    rt_check_fails(RT_ESHAPE, be->upload_use(be, 0), "nothing was uploaded");
    rt_check_fails(RT_ESHAPE, be->mark(be, RT_MARKS), "mark");
    rt_check_fails(RT_ESHAPE, be->wait(be, -1), "mark");
    rt_check_ok(be->upload_wait(be, 3), "nothing to wait for");
    rt_check_ok(be->wait(be, 3), "nothing to wait for");
    rt_check_ok(be->upload_start(be, 0, device, host, 8), "start");
    rt_check_ok(be->upload_start(be, 0, device, host, 8), "a batch that nobody used");
    rt_check_ok(be->upload_use(be, 0), "use");
    rt_check_fails(RT_ESHAPE, be->upload_start(be, 0, device, host, 8), "ops may still read it");
    rt_check_ok(be->upload_done(be, 0), "done");
    rt_check_ok(be->upload_start(be, 0, device, NULL, 0), "no bytes");
    be->release(be, device, 8), be->release_host(be, host, 8);
    finish(be, "out of turn");
}

/* A result is there after the wait, and not always before it; a mark set again waits for the later place. */
static void marks_wait_for_what_is_before(void **state) {
    (void)state;
    int early = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        rt_backend *be = fresh(seed);
        uint32_t *device = memory(be, 8), *host = pinned(be, 64);
        for (uint32_t n = 1; n <= 5; n++) {
            const uint32_t words[2] = {n, 10 * n};
            rt_check_ok(be->write(be, device, words, 8), "write");
            rt_check_ok(be->download_start(be, host + 2 * n, device, 8), "download_start");
            rt_check_ok(be->mark(be, 2), "mark");
        }
        early += host[10] == 5;
        rt_check_ok(be->wait(be, 2), "wait");
        for (uint32_t n = 1; n <= 5; n++) assert_true(host[2 * n] == n && host[2 * n + 1] == 10 * n);
        be->release(be, device, 8), be->release_host(be, host, 64);
        finish(be, "marks");
    }
    assert_true(early < SEEDS);
}

/* With a watch (of ranks) the host asks again and again instead of waiting inside CUDA; the watch may end it. */
static rt_status count_down(void *context) {
    int *left = context;
    return *left > 0 && --*left == 0 ? rt_fail(RT_EUNAVAILABLE, "a rank died") : RT_OK;
}
static void a_watch_ends_a_wait(void **state) {
    (void)state;
    int ended = 0;
    for (uint64_t seed = 1; seed < SEEDS; seed++) {
        rt_backend *be = fresh(seed);
        int left = -1;
        uint32_t *a = memory(be, 64), *host = pinned(be, 64), word = 0, back[16];
        be->while_waiting = count_down, be->waiting_context = &left;
        for (int round = 0; round < 2; round++) {
            const uint64_t waited = fake_count().stream_syncs + fake_count().event_syncs;
            for (word = 1; word <= 16; word++) rt_check_ok(be->write(be, a + word - 1, &word, 4), "write");
            left = round ? 1 : -1; /* putting work on a stream waits for nothing */
            rt_check_ok(be->download_start(be, host, a, 64), "download_start");
            rt_check_ok(be->mark(be, 0), "mark");
            const rt_status status = be->wait(be, 0);
            ended += status == RT_EUNAVAILABLE;
            if (status != RT_OK) fails(RT_EUNAVAILABLE, status, "a rank died");
            if (status == RT_OK) assert_int_equal(host[15], 16);
            left = -1;
            rt_check_ok(be->synchronize(be), "synchronize");
            assert_int_equal(fake_count().stream_syncs + fake_count().event_syncs, waited);
            rt_check_ok(be->download(be, back, a, 64), "download");
            assert_int_equal(back[15], 16);
        }
        be->release(be, a, 64), be->release_host(be, host, 64);
        finish(be, "a watch");
    }
    assert_true(ended > 0);
}

/* Small writes keep their place among the ops, and their values are the call's. */
static void writes_are_in_order(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        rt_backend *be = fresh(seed);
        float *a = memory(be, 64), *b = memory(be, 64 * 8), got[16 * 8];
        uint32_t words[16];
        for (uint32_t n = 0; n < 8; n++) {
            for (uint32_t i = 0; i < 16; i++) words[i] = 100 * n + i;
            rt_check_ok(be->write(be, a, words, 64), "write");
            rt_check_ok(be->convert(be, b + 16 * n, RT_F32, a, RT_F32, 16), "an op");
        }
        rt_check_fails(RT_ESHAPE, be->write(be, a, words, RT_WRITE_MAX + 4), "too long");
        rt_check_fails(RT_ESHAPE, be->write(be, a, words, 6), "no whole words");
        rt_check_ok(be->download(be, got, b, sizeof got), "download");
        for (uint32_t n = 0; n < 8; n++)
            for (uint32_t i = 0; i < 16; i++) assert_int_equal(((uint32_t *)got)[16 * n + i], 100 * n + i);
        be->release(be, a, 64), be->release(be, b, 64 * 8);
        finish(be, "writes");
    }
}

/* --- workspace ---------------------------------------------------------------------------------------------------- */

static const rt_dims small = {.max_tokens = 100,
                              .max_seqs = 4,
                              .max_len = 32,
                              .hidden = 64,
                              .heads = 2,
                              .ffn = 128,
                              .vocab = 50,
                              .max_positions = 32,
                              .type_vocab = 2,
                              .labels = 2,
                              .training = true};

static void refuses_model(rt_backend *be, rt_dims dims, const char *words) {
    const size_t bytes = be->workspace_bytes(be, &dims);
    void *block = memory(be, bytes);
    fails(RT_ECONFIG, be->set_workspace(be, &dims, block, bytes), words);
    must_say("run.device = cpu");
    be->release(be, block, bytes);
}

static void workspace_is_checked(void **state) {
    (void)state;
    fake_reset();
    fake_settings()->sm = 80;
    rt_backend *be = open_with(RT_PRECISION_FP32, -1);
    rt_dims dims = small;
    const size_t bytes = be->workspace_bytes(be, &dims);
    rt_dims bucket = small;
    bucket.max_tokens = 128;
    assert_int_equal(be->workspace_bytes(be, &bucket), bytes);
    unsigned char *block = memory(be, bytes + 256);
    rt_check_fails(RT_ESHAPE, be->set_workspace(be, &dims, block, bytes - 1), "too small");
    rt_check_fails(RT_ESHAPE, be->set_workspace(be, &dims, block + 16, bytes), "not aligned");
    rt_check_fails(RT_ESHAPE, be->set_workspace(be, &dims, NULL, bytes), "none");
    rt_check_ok(be->set_workspace(be, &dims, block, bytes), "workspace");
    rt_cuda_context *cuda = rt_cuda_of(be);
    assert_int_equal((uintptr_t)cuda->launch.workspace % 256, 0);
    assert_true((unsigned char *)cuda->launch.workspace >= block + cuda->gemm_bytes);
    assert_true((unsigned char *)cuda->launch.workspace + cuda->launch.workspace_bytes +
                    rt_cuda_linear_bytes(cuda, &bucket) <=
                block + bytes);
    be->release(be, block, bytes + 256);
    dims = small, dims.hidden = 60;
    refuses_model(be, dims, "a model of width 60");
    dims = small, dims.ffn = 130;
    refuses_model(be, dims, "feed-forward width 130");
    dims = small, dims.heads = 4;
    refuses_model(be, dims, "64 with 4 heads, 16 channels a head");
    dims = small, dims.max_len = 513;
    refuses_model(be, dims, "sequences of 513 tokens");
    finish(be, "workspace");
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

/* A life with every kind of call in it: the first that fails ends it. What is given back is not among the failures. */
typedef struct {
    rt_backend *be;
    void *workspace, *a, *b, *c, *packed, *host;
    size_t workspace_bytes, packed_bytes;
    rt_step_state *state;
    rt_adam_range *range;
} life;
enum { ROWS = 64, N = 64, K = 64, BLOCK = ROWS * N * 4 };

static rt_status live_start(life *l) {
    RT_TRY(rt_cuda_backend_open(&(rt_backend_options){.precision = RT_PRECISION_BF16, .device = -1}, &l->be));
    rt_backend *be = l->be;
    l->workspace_bytes = be->workspace_bytes(be, &small);
    RT_TRY(be->alloc(be, l->workspace_bytes, "workspace", &l->workspace));
    RT_TRY(be->set_workspace(be, &small, l->workspace, l->workspace_bytes));
    RT_TRY(be->alloc(be, BLOCK, "a", &l->a));
    RT_TRY(be->alloc(be, BLOCK, "b", &l->b));
    RT_TRY(be->alloc(be, BLOCK, "c", &l->c));
    l->packed_bytes = be->packed_bytes(be, N, K);
    RT_TRY(be->alloc(be, l->packed_bytes, "packed", &l->packed));
    RT_TRY(be->alloc(be, sizeof *l->state, "state", (void **)&l->state));
    RT_TRY(be->alloc(be, sizeof *l->range, "ranges", (void **)&l->range));
    RT_TRY(be->alloc_host(be, BLOCK, "host", &l->host));
    const rt_adam_range range = {.count = 64, .lr_scale = 1};
    RT_TRY(be->upload(be, l->range, &range, sizeof range));
    return be->pack(be, l->a, N, K, l->packed);
}

static rt_status live_step(life *l) {
    rt_backend *be = l->be;
    const rt_weight w = {.master = l->a, .packed = l->packed, .n = N, .k = K};
    const rt_weight head = {.master = l->a, .packed = l->packed, .n = 2, .k = K};
    const rt_step_state state = {.step = 1, .lr = 0.1f, .bias1 = 0.1f, .bias2 = 0.01f};
    RT_TRY(be->upload_wait(be, 0));
    RT_TRY(be->upload_start(be, 0, l->b, l->host, BLOCK));
    RT_TRY(be->upload_use(be, 0));
    RT_TRY(be->write(be, l->state, &state, sizeof state));
    RT_TRY(be->linear_forward(
        be, &(rt_linear_forward_args){
                .w = w, .bias = l->a, .act = RT_ACT_GELU, .x = l->b, .y = l->c, .y_dtype = RT_BF16, .rows = ROWS}));
    RT_TRY(be->linear_forward(
        be, &(rt_linear_forward_args){.w = head, .x = l->b, .y = l->c, .y_dtype = RT_F32, .rows = 8}));
    RT_TRY(be->linear_backward(be, &(rt_linear_backward_args){.w = w,
                                                              .x = l->b,
                                                              .dy = l->c,
                                                              .dy_dtype = RT_BF16,
                                                              .dx = (char *)l->b + BLOCK / 2,
                                                              .dw = l->a,
                                                              .db = l->a,
                                                              .rows = ROWS}));
    RT_TRY(be->upload_done(be, 0));
    RT_TRY(
        be->sum_squares(be, &(rt_sum_squares_args){.x = l->a, .n = 64, .partials = l->c, .total = &l->state->grad_sq}));
    RT_TRY(be->adamw(be, &(rt_adamw_args){.params = l->a,
                                          .grads = l->b,
                                          .m = l->c,
                                          .v = (float *)l->c + 64,
                                          .ranges = l->range,
                                          .n_ranges = 1,
                                          .beta1 = 0.9,
                                          .beta2 = 0.999,
                                          .epsilon = 1e-8f,
                                          .state = l->state}));
    RT_TRY(be->pack(be, l->a, N, K, l->packed));
    RT_TRY(be->convert(be, l->b, RT_F32, l->a, RT_F32, 16));
    RT_TRY(be->download_start(be, l->host, l->state, sizeof state));
    return be->mark(be, 0);
}

static rt_status live_end(life *l) {
    float back[16];
    RT_TRY(l->be->wait(l->be, 0));
    RT_TRY(l->be->zero(l->be, l->b, 64));
    RT_TRY(l->be->download(l->be, back, l->b, sizeof back));
    return l->be->synchronize(l->be);
}

static void live_close(life *l) {
    rt_backend *be = l->be;
    if (!be) return;
    be->release(be, l->workspace, l->workspace_bytes);
    be->release(be, l->a, BLOCK), be->release(be, l->b, BLOCK), be->release(be, l->c, BLOCK);
    be->release(be, l->packed, l->packed_bytes), be->release(be, l->state, sizeof *l->state);
    be->release(be, l->range, sizeof *l->range), be->release_host(be, l->host, BLOCK);
    be->close(be);
}

static rt_status live(life *l) {
    RT_TRY(live_start(l));
    for (int i = 0; i < 2; i++) {
        fake_forbid_stream_sync(true);
        const rt_status status = live_step(l);
        fake_forbid_stream_sync(false);
        RT_TRY(status);
    }
    return live_end(l);
}

static void begin_life(void) {
    fake_reset();
    fake_seed(4);
    fake_settings()->sm = 80; /* where cuBLASLt's workspace is small */
    *fake_cublaslt_settings() = (fake_cublaslt){.workspace_wanted = 4096};
}

static void every_failing_call_is_told(void **state) {
    (void)state;
    static const cudaError_t errors[] = {cudaErrorUnknown, cudaErrorIllegalAddress, cudaErrorMemoryAllocation};
    char left[512], what[64];
    begin_life();
    life l = {0};
    rt_check_ok(live(&l), "a life without failures");
    const uint64_t calls = fake_fail_call(0, cudaSuccess);
    live_close(&l);
    assert_true(calls > 100);
    for (uint64_t n = 1; n <= calls; n++) {
        const cudaError_t error = errors[n % 3];
        begin_life();
        fake_fail_call(n, error);
        l = (life){0};
        rt_error_clear();
        const rt_status status = live(&l);
        fake_fail_call(0, cudaSuccess);
        snprintf(what, sizeof what, "call %d of %d fails", (int)n, (int)calls);
        if (status == RT_OK) fail_msg("%s, and nobody notices", what);
        if (!rt_error_get()->text[0]) fail_msg("%s, and nothing is said", what);
        live_close(&l);
        if (!rt_error_get()->text[0]) fail_msg("%s: cleaning up lost the message", what);
        rt_check_ok(fake_check(what), what);
        if (fake_leaks(left, sizeof left)) fail_msg("%s: left behind: %s", what, left);
    }
}

static void a_broken_device_says_what_to_do(void **state) {
    (void)state;
    rt_backend *be = fresh(1);
    void *p = memory(be, 8);
    fake_break_device(cudaErrorIllegalAddress);
    fails(RT_EINTERNAL, be->write(be, p, "abcd", 4), "launch of write_kernel");
    fails(RT_EINTERNAL, be->synchronize(be), "an illegal memory access");
    must_say("compute-sanitizer");
    fake_break_device(cudaErrorECCUncorrectable);
    fails(RT_EINTERNAL, be->synchronize(be), "nvidia-smi -q");
    be->release(be, p, 8);
    must_say("nvidia-smi -q"); /* what cleans up says nothing */
    be->close(be);
    fake_reset();
}

/* Ten steps without waiting for the stream; the host waits for the mark of the step before alone. */
static void a_step_does_not_wait(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 6; seed++) {
        begin_life();
        fake_seed(seed);
        life l = {0};
        rt_check_ok(live_start(&l), "start");
        for (int i = 0; i < 10; i++) {
            const fake_counts before = fake_count();
            fake_forbid_stream_sync(true);
            rt_check_ok(live_step(&l), "step");
            fake_forbid_stream_sync(false);
            assert_int_equal(fake_count().stream_syncs, before.stream_syncs);
            assert_int_equal(fake_count().allocations, before.allocations);
        }
        rt_check_ok(live_end(&l), "end");
        live_close(&l);
        rt_check_ok(fake_check("steps"), "steps");
        assert_int_equal(fake_leaks(NULL, 0), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_tells_what_it_found),
        cmocka_unit_test(says_why_it_cannot),
        cmocka_unit_test(other_devices_and_threads),
        cmocka_unit_test(memory_is_zeroed_and_moves),
        cmocka_unit_test(out_of_memory_names_the_knobs),
        cmocka_unit_test(batches_arrive_in_every_order),
        cmocka_unit_test(slots_and_marks_out_of_turn),
        cmocka_unit_test(marks_wait_for_what_is_before),
        cmocka_unit_test(a_watch_ends_a_wait),
        cmocka_unit_test(writes_are_in_order),
        cmocka_unit_test(workspace_is_checked),
        cmocka_unit_test(every_failing_call_is_told),
        cmocka_unit_test(a_broken_device_says_what_to_do),
        cmocka_unit_test(a_step_does_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
