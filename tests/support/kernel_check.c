#include "kernel_check.h"
#include "../../src/base/cpu.h"
#include "../../src/base/philox.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUARD = 256, GUARD_BYTE = 0xA5, POISON_BYTE = 0xFF };

typedef struct guarded {
    struct guarded *next;
    unsigned char *block; /* GUARD bytes, data, GUARD bytes */
    size_t bytes;
} guarded;

struct rt_check {
    rt_backend *backend;
    guarded *buffers;
};

rt_check *rt_check_open(rt_precision precision, int threads, const rt_dims *dims) {
    rt_check *c = calloc(1, sizeof *c);
    assert_non_null(c);
    rt_backend_options options = {.precision = precision, .threads = threads, .device = -1};
    rt_check_ok(rt_cpu_backend_open(&options, &c->backend), "rt_cpu_backend_open");
    if (dims) {
        size_t bytes = c->backend->workspace_bytes(c->backend, dims);
        rt_check_ok(c->backend->set_workspace(c->backend, dims, rt_check_buffer(c, bytes), bytes), "set_workspace");
    }
    return c;
}

rt_backend *rt_check_backend(rt_check *c) {
    return c->backend;
}

void rt_check_guards(rt_check *c, const char *where) {
    for (guarded *g = c->buffers; g; g = g->next)
        for (size_t i = 0; i < GUARD; i++) {
            if (g->block[i] != GUARD_BYTE) fail_msg("%s: wrote %zu bytes before a buffer", where, GUARD - i);
            if (g->block[GUARD + g->bytes + i] != GUARD_BYTE)
                fail_msg("%s: wrote %zu bytes beyond a buffer of %zu", where, i, g->bytes);
        }
}

void rt_check_close(rt_check *c) {
    rt_check_guards(c, "at the end of the test");
    if (c->backend) c->backend->close(c->backend);
    while (c->buffers) {
        guarded *g = c->buffers;
        c->buffers = g->next;
        free(g->block);
        free(g);
    }
    free(c);
}

void *rt_check_buffer(rt_check *c, size_t bytes) {
    guarded *g = calloc(1, sizeof *g);
    assert_non_null(g);
    g->bytes = bytes;
    size_t whole = (bytes + 2 * GUARD + 255) / 256 * 256;
    g->block = aligned_alloc(256, whole);
    assert_non_null(g->block);
    memset(g->block, GUARD_BYTE, whole);
    memset(g->block + GUARD, POISON_BYTE, bytes);
    g->next = c->buffers;
    c->buffers = g;
    return g->block + GUARD;
}

void *rt_check_poison(rt_check *c, rt_dtype dtype, size_t n) {
    return rt_check_buffer(c, n * rt_dtype_size(dtype));
}

double rt_check_get(rt_dtype dtype, const void *from, size_t i) {
    if (dtype == RT_F32) return ((const float *)from)[i];
    uint32_t u = (uint32_t)((const rt_bf16 *)from)[i] << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Rounds in fp64 by hand, so that it shares nothing with the code under test: to a multiple of 2^(exponent - 8). */
static rt_bf16 round_to_bf16(double x) {
    if (x == 0 || !isfinite(x)) {
        float f = (float)x;
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        return (rt_bf16)(isnan(x) ? 0x7FC0 : u >> 16);
    }
    int exponent;
    frexp(x, &exponent);
    double unit = ldexp(1.0, exponent - 8);
    float f = (float)(nearbyint(x / unit) * unit);
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (rt_bf16)(u >> 16);
}

void rt_check_round(rt_dtype dtype, void *to, const double *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (dtype == RT_F32)
            ((float *)to)[i] = (float)from[i];
        else
            ((rt_bf16 *)to)[i] = round_to_bf16(from[i]);
}

void *rt_check_normal(rt_check *c, rt_dtype dtype, size_t n, uint32_t seed, double deviation) {
    void *to = rt_check_poison(c, dtype, n);
    rt_rng rng = rt_rng_make(0x5EED, seed, 0);
    for (size_t i = 0; i < n; i++) {
        double x = deviation * rt_rng_normal(&rng);
        rt_check_round(dtype, (char *)to + i * rt_dtype_size(dtype), &x, 1);
    }
    return to;
}

void *rt_check_copy(rt_check *c, rt_dtype dtype, const void *from, size_t n) {
    void *to = rt_check_poison(c, dtype, n);
    memcpy(to, from, n * rt_dtype_size(dtype));
    return to;
}

double *rt_check_doubles(rt_check *c, size_t n) {
    double *to = rt_check_buffer(c, n * sizeof *to);
    memset(to, 0, n * sizeof *to);
    return to;
}

double *rt_check_widen(rt_check *c, rt_dtype dtype, const void *from, size_t n) {
    double *to = rt_check_buffer(c, n * sizeof *to);
    for (size_t i = 0; i < n; i++) to[i] = rt_check_get(dtype, from, i);
    return to;
}

double rt_check_error(rt_dtype dtype, const void *got, const double *want, size_t n) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double g = rt_check_get(dtype, got, i);
        if (!isfinite(g) || !isfinite(want[i])) return INFINITY;
        error += (g - want[i]) * (g - want[i]);
        norm += want[i] * want[i];
    }
    return error == 0 ? 0 : norm == 0 ? INFINITY : sqrt(error / norm);
}

double rt_check_max_error(rt_dtype dtype, const void *got, const double *want, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double g = rt_check_get(dtype, got, i);
        if (!isfinite(g) || !isfinite(want[i])) return INFINITY;
        worst = fmax(worst, fabs(g - want[i]));
    }
    return worst;
}

void rt_check_close_to(const char *what, rt_dtype dtype, const void *got, const double *want, size_t n, double limit) {
    double error = rt_check_error(dtype, got, want, n);
    if (error <= limit) return;
    size_t worst = 0;
    double distance = -1;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(rt_check_get(dtype, got, i) - want[i]);
        if (!isfinite(d)) d = INFINITY;
        if (d > distance) distance = d, worst = i;
    }
    fail_msg("%s: relative error %.3g, allowed %.3g; worst at %zu of %zu: %.9g, reference %.9g", what, error, limit,
             worst, n, n ? rt_check_get(dtype, got, worst) : 0, n ? want[worst] : 0);
}

void rt_check_same(const char *what, rt_dtype dtype, const void *a, const void *b, size_t n) {
    size_t size = rt_dtype_size(dtype);
    for (size_t i = 0; i < n; i++)
        if (memcmp((const char *)a + i * size, (const char *)b + i * size, size) != 0)
            fail_msg("%s: element %zu of %zu differs: %.9g and %.9g", what, i, n, rt_check_get(dtype, a, i),
                     rt_check_get(dtype, b, i));
}

void rt_check_untouched(const char *what, const void *buffer, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)buffer)[i] != POISON_BYTE)
            fail_msg("%s: byte %zu of %zu was written", what, i, bytes);
}

void rt_check_ok(rt_status status, const char *what) {
    if (status != RT_OK) fail_msg("%s: status %d: %s", what, (int)status, rt_error_get()->text);
}

void rt_check_fails(rt_status want, rt_status got, const char *what) {
    if (got != want) fail_msg("%s: status %d instead of %d", what, (int)got, (int)want);
    if (!rt_error_get()->text[0]) fail_msg("%s: status %d without a message", what, (int)got);
    rt_error_clear();
}

double rt_check_roundoff(rt_dtype dtype) {
    return dtype == RT_BF16 ? 0x1p-9 : 0x1p-24;
}

double rt_check_limit(rt_dtype dtype, int64_t terms) {
    return 2 * (rt_check_roundoff(dtype) + 0x1p-24 * sqrt((double)terms));
}

/* --- one process for every instruction level ------------------------------------------------------------------- */

static char *program;

static void run_level(void **state) {
    rt_isa isa = (rt_isa)(intptr_t)*state;
    rt_cpu cpu;
    rt_cpu_detect(&cpu);
    if (isa > cpu.isa) skip();
    int out[2];
    assert_int_equal(pipe(out), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("RECTRAIN_ISA", rt_isa_name(isa), 1);
        unsetenv("CMOCKA_MESSAGE_OUTPUT");
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        execl("/proc/self/exe", program, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    char line[512];
    FILE *lines = fdopen(out[0], "r");
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines)) /* cmocka's own lines would be taken for results: only what went wrong */
        if (!strstr(line, "[ RUN") && !strstr(line, "[       OK") && !strstr(line, "[====="))
            print_message("| %s", line);
    fclose(lines);
    int status = -1;
    waitpid(child, &status, 0);
    if (status != 0) fail_msg("level %s: wait status %d", rt_isa_name(isa), status);
}

int rt_check_run(int argc, char **argv, const char *group, const struct CMUnitTest *tests, size_t n) {
    if (getenv("RECTRAIN_ISA")) return _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    program = argc > 0 ? argv[0] : (char *)"test";
    struct CMUnitTest levels[RT_ISA_COUNT];
    char names[RT_ISA_COUNT][16];
    for (int i = 0; i < RT_ISA_COUNT; i++) {
        snprintf(names[i], sizeof names[i], "isa_%s", rt_isa_name((rt_isa)i));
        levels[i] = (struct CMUnitTest){names[i], run_level, NULL, NULL, (void *)(intptr_t)i};
    }
    return _cmocka_run_group_tests(group, levels, RT_ISA_COUNT, NULL, NULL);
}
