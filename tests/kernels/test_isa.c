/* Opening the CPU backend: levels, precisions, what it says of itself, memory. Levels are forced here by RECTRAIN_ISA,
 * so each case runs in a process of its own: oneDNN takes its cap only before its first use. */
#include "../../src/base/cpu.h"
#include "tests/support/kernel_check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child with RECTRAIN_ISA = level (NULL: unset): true if `body` returned true. */
static bool in_child(const char *level, bool (*body)(const void *), const void *argument) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (level)
            setenv("RECTRAIN_ISA", level, 1);
        else
            unsetenv("RECTRAIN_ISA");
        _exit(body(argument) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status == 0;
}

static rt_status open_with(rt_precision precision, int threads, rt_backend **be) {
    return rt_cpu_backend_open(&(rt_backend_options){.precision = precision, .threads = threads}, be);
}

static bool runs_at(const void *level) {
    rt_backend *be;
    char wanted[32];
    snprintf(wanted, sizeof wanted, "level %s,", (const char *)level);
    if (open_with(RT_PRECISION_FP32, 2, &be) != RT_OK) return false;
    /* A layer wide enough for oneDNN: 1 x 64 of ones, weights of ones. */
    float x[64], w[64 * 64], y[64];
    for (int i = 0; i < 64 * 64; i++) w[i] = 1, x[i % 64] = 1;
    const rt_dims dims = {.max_tokens = 1, .hidden = 64, .heads = 1, .ffn = 64, .max_seqs = 1, .max_len = 1};
    const size_t bytes = be->workspace_bytes(be, &dims);
    void *workspace = NULL;
    bool good =
        be->alloc(be, bytes, "workspace", &workspace) == RT_OK &&
        be->set_workspace(be, &dims, workspace, bytes) == RT_OK &&
        be->linear_forward(be, &(rt_linear_forward_args){.w = {w, NULL, 64, 64}, .x = x, .y = y, .rows = 1}) == RT_OK &&
        strstr(be->description, wanted);
    for (int i = 0; i < 64; i++) good = good && y[i] == 64;
    be->release(be, workspace, bytes);
    be->close(be);
    return good;
}

static void level(void **state) {
    const rt_isa isa = (rt_isa)(intptr_t)*state;
    rt_cpu cpu;
    rt_cpu_detect(&cpu);
    if (isa > cpu.isa) skip();
    assert_true(in_child(rt_isa_name(isa), runs_at, rt_isa_name(isa)));
}

static bool fails_with(const void *status) {
    rt_backend *be = (rt_backend *)&be;
    rt_status got = open_with(RT_PRECISION_FP32, 2, &be);
    return got == *(const rt_status *)status && be == NULL && strstr(rt_error_get()->text, "RECTRAIN_ISA") &&
           !rt_cpu_has_bf16();
}

static void unknown_level(void **state) {
    (void)state;
    const rt_status config = RT_ECONFIG, unavailable = RT_EUNAVAILABLE;
    assert_true(in_child("v9", fails_with, &config));
    assert_true(in_child("avx2", fails_with, &config));
    rt_cpu cpu;
    rt_cpu_detect(&cpu);
    if (cpu.isa < RT_ISA_V4) assert_true(in_child("v4", fails_with, &unavailable));
}

/* oneDNN runs at the highest level first, then a lower one is asked for. */
static bool too_late(const void *unused) {
    (void)unused;
    rt_backend *first, *second;
    rt_cpu cpu;
    rt_cpu_detect(&cpu);
    if (cpu.isa < RT_ISA_V3) return true; /* nothing lower that oneDNN can tell from it */
    if (!runs_at(rt_isa_name(cpu.isa)) || open_with(RT_PRECISION_FP32, 2, &first) != RT_OK) return false;
    setenv("RECTRAIN_ISA", "v2", 1);
    const bool refused = open_with(RT_PRECISION_FP32, 2, &second) == RT_EUNAVAILABLE && second == NULL &&
                         strstr(rt_error_get()->text, "oneDNN");
    unsetenv("RECTRAIN_ISA");
    const bool again = open_with(RT_PRECISION_BF16, 2, &second) == RT_OK;
    first->close(first);
    if (again) second->close(second);
    return refused && again;
}

static void second_backend(void **state) {
    (void)state;
    assert_true(in_child(NULL, too_late, NULL));
}

static bool says_what_it_is(const void *unused) {
    (void)unused;
    rt_backend *be;
    rt_cpu cpu;
    rt_cpu_detect(&cpu);
    if (open_with(RT_PRECISION_TF32, 2, &be) != RT_ECONFIG || be || !strstr(rt_error_get()->text, "tf32")) return false;
    if (open_with(RT_PRECISION_FP32, -1, &be) != RT_ECONFIG || be || !strstr(rt_error_get()->text, "threads"))
        return false;
    if (open_with(RT_PRECISION_FP32, 0, &be) != RT_OK) return false;
    bool good = be->abi == RT_KERNELS_ABI && strcmp(be->name, "cpu") == 0 && be->act == RT_F32 && be->host_memory &&
                be->precision == RT_PRECISION_FP32 && strstr(be->description, "fp32") &&
                be->packed_bytes(be, 16, 24) == 0;
    be->close(be);
    if (open_with(RT_PRECISION_BF16, 1, &be) != RT_OK) return false;
    good = good && be->act == RT_BF16 && be->precision == RT_PRECISION_BF16 && be->packed_bytes(be, 16, 24) == 768 &&
           strstr(be->description, "1 thread,") && strstr(be->description, rt_cpu_has_bf16() ? "in hardware" : "slow");
    /* Every slot is filled: the table ends with close. */
    for (void **slot = (void **)&be->alloc; slot <= (void **)&be->close; slot++) good = good && *slot;
    be->close(be);
    return good;
}

static void description(void **state) {
    (void)state;
    assert_true(in_child(NULL, says_what_it_is, NULL));
}

static bool keeps_memory(const void *unused) {
    (void)unused;
    rt_backend *be;
    if (open_with(RT_PRECISION_FP32, 2, &be) != RT_OK) return false;
    const size_t bytes = (3u << 20) + 5;
    void *a = NULL, *b = NULL;
    bool good = be->alloc(be, bytes, "a test", &a) == RT_OK && (uintptr_t)a % 256 == 0;
    for (size_t i = 0; good && i < bytes; i++) good = ((unsigned char *)a)[i] == 0;
    good = good && be->alloc(be, SIZE_MAX / 2, "far too much", &b) == RT_ENOMEM &&
           strstr(rt_error_get()->text, "far too much");
    char text[8] = "bytes", back[8] = "";
    good = good && be->upload(be, a, text, 8) == RT_OK && be->download(be, back, a, 8) == RT_OK &&
           strcmp(back, "bytes") == 0 && be->zero(be, a, 8) == RT_OK && ((char *)a)[0] == 0 &&
           be->synchronize(be) == RT_OK;
    const rt_dims dims = {.max_tokens = 64, .hidden = 64, .heads = 1, .ffn = 256, .max_seqs = 4, .max_len = 16};
    const size_t need = be->workspace_bytes(be, &dims);
    good = good && need > 0 && need <= bytes && be->set_workspace(be, &dims, a, need - 1) == RT_ESHAPE &&
           be->set_workspace(be, &dims, (char *)a + 8, need) == RT_ESHAPE &&
           be->set_workspace(be, &dims, NULL, need) == RT_ESHAPE && be->set_workspace(be, &dims, a, need) == RT_OK;
    be->release(be, a, bytes);
    be->release(be, NULL, 0);
    be->close(be);
    return good;
}

static void memory(void **state) {
    (void)state;
    assert_true(in_child(NULL, keeps_memory, NULL));
}

int main(void) {
    const struct CMUnitTest isa[] = {
        {"isa_generic", level, NULL, NULL, (void *)(intptr_t)RT_ISA_GENERIC},
        {"isa_v2", level, NULL, NULL, (void *)(intptr_t)RT_ISA_V2},
        {"isa_v3", level, NULL, NULL, (void *)(intptr_t)RT_ISA_V3},
        {"isa_v4", level, NULL, NULL, (void *)(intptr_t)RT_ISA_V4},
        cmocka_unit_test(unknown_level),
        cmocka_unit_test(second_backend),
        cmocka_unit_test(description),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(isa, NULL, NULL);
}
