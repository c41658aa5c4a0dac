/* Times the CPU backend's ops at BERT's shapes, beside a probe of the processor's own peak. Nothing is judged.
 * Usage: bench_kernels [fp32|bf16] [threads] [rows...]; best of several runs, so that a busy machine disturbs less.
 * With one thread the clock is the thread's own processor time: other programs then hardly matter.
 */
#include <omp.h>
#include <rectrain/kernels.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static clockid_t clock_used = CLOCK_MONOTONIC;

static double seconds(void) {
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(rt_status status) {
    if (status == RT_OK) return;
    fprintf(stderr, "bench_kernels: %s\n", rt_error_get()->text);
    exit(rt_exit_code(status));
}

/* Ten independent chains of fused multiply-adds on eight lanes: GFLOP/s of all threads. */
#if defined(__x86_64__) && defined(__GNUC__)
typedef float lanes __attribute__((vector_size(32)));
__attribute__((target("avx2,fma"))) static double probe(int threads) {
    double best = 0;
    const long steps = 4000000;
    for (int run = 0; run < 5; run++) {
        double start = seconds();
#pragma omp parallel num_threads(threads)
        {
            lanes b = {0}, c = {0};
            b += 0.999f, c += 1e-3f;
            lanes a0 = b * 1, a1 = b * 2, a2 = b * 3, a3 = b * 4, a4 = b * 5, a5 = b * 6, a6 = b * 7, a7 = b * 8,
                  a8 = b * 9, a9 = b * 10;
            for (long step = 0; step < steps; step++) {
                a0 = a0 * b + c, a1 = a1 * b + c, a2 = a2 * b + c, a3 = a3 * b + c, a4 = a4 * b + c;
                a5 = a5 * b + c, a6 = a6 * b + c, a7 = a7 * b + c, a8 = a8 * b + c, a9 = a9 * b + c;
                __asm__ volatile("" : "+x"(a0), "+x"(a5));
            }
            a0 += a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9;
            __asm__ volatile("" : : "x"(a0));
        }
        double rate = 2.0 * 8 * 10 * (double)steps * threads / (seconds() - start) * 1e-9;
        if (rate > best) best = rate;
    }
    return best;
}
#else
static double probe(int threads) {
    (void)threads;
    return 0;
}
#endif

static void *fill(rt_backend *be, size_t elements, rt_dtype dtype) {
    void *block;
    must(be->alloc(be, elements * rt_dtype_size(dtype), "benchmark", &block));
    uint32_t state = 1;
    for (size_t i = 0; i < elements; i++) {
        state = state * 1664525u + 1013904223u;
        float x = (float)(int32_t)state * 0x1p-31f;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (dtype == RT_F32)
            ((float *)block)[i] = x;
        else
            ((rt_bf16 *)block)[i] = (rt_bf16)(bits >> 16);
    }
    return block;
}

/* Best seconds of one run: at least 3 runs and 0.3 s. */
#define BEST(result, call)                                                                                             \
    do {                                                                                                               \
        (result) = 1e9;                                                                                                \
        double total_ = 0;                                                                                             \
        for (int run_ = 0; run_ < 3 || total_ < 0.3; run_++) {                                                         \
            double start_ = seconds();                                                                                 \
            must(call);                                                                                                \
            double took_ = seconds() - start_;                                                                         \
            total_ += took_;                                                                                           \
            if (took_ < (result)) (result) = took_;                                                                    \
        }                                                                                                              \
    } while (0)

static void linear(rt_backend *be, int64_t rows, int64_t n, int64_t k, rt_activation act) {
    const size_t packed_bytes = be->packed_bytes(be, n, k);
    void *packed = NULL, *x = fill(be, (size_t)(rows * k), be->act), *y = fill(be, (size_t)(rows * n), be->act);
    void *pre = fill(be, (size_t)(rows * n), be->act), *dx = fill(be, (size_t)(rows * k), be->act);
    float *master = fill(be, (size_t)(n * k), RT_F32), *dw = fill(be, (size_t)(n * k), RT_F32);
    float *bias = fill(be, (size_t)n, RT_F32), *db = fill(be, (size_t)n, RT_F32);
    if (packed_bytes) must(be->alloc(be, packed_bytes, "benchmark", &packed));
    must(be->pack(be, master, n, k, packed));
    const rt_weight w = {master, packed, n, k};
    const double flops = 2.0 * (double)rows * (double)n * (double)k;
    double forward, input, add, weight, all;
    BEST(forward, be->linear_forward(be, &(rt_linear_forward_args){.w = w,
                                                                   .bias = bias,
                                                                   .act = act,
                                                                   .x = x,
                                                                   .y = y,
                                                                   .y_dtype = be->act,
                                                                   .rows = rows,
                                                                   .pre = act == RT_ACT_GELU ? pre : NULL}));
    rt_linear_backward_args b = {.w = w, .x = x, .dy = y, .dy_dtype = be->act, .dx = dx, .rows = rows, .saved = pre};
    BEST(input, be->linear_backward(be, &b));
    b.dx_add = dx;
    BEST(add, be->linear_backward(be, &b));
    b.dx = NULL, b.dx_add = NULL, b.dw = dw;
    BEST(weight, be->linear_backward(be, &b));
    b.dx = dx, b.dx_add = dx, b.db = db, b.act = act, b.accumulate = 1;
    BEST(all, be->linear_backward(be, &b));
    printf("  %5lld %5lld %5lld %-5s %8.0f %8.0f %8.0f %8.0f %8.0f\n", (long long)rows, (long long)n, (long long)k,
           act == RT_ACT_GELU ? "gelu" : "none", flops / forward * 1e-9, flops / input * 1e-9, flops / add * 1e-9,
           flops / weight * 1e-9, 2 * flops / all * 1e-9);
    fflush(stdout);
    be->release(be, packed, packed_bytes);
    be->release(be, x, (size_t)(rows * k) * rt_dtype_size(be->act));
    be->release(be, y, (size_t)(rows * n) * rt_dtype_size(be->act));
    be->release(be, pre, (size_t)(rows * n) * rt_dtype_size(be->act));
    be->release(be, dx, (size_t)(rows * k) * rt_dtype_size(be->act));
    be->release(be, master, (size_t)(n * k) * sizeof(float));
    be->release(be, dw, (size_t)(n * k) * sizeof(float));
    be->release(be, bias, (size_t)n * sizeof(float));
    be->release(be, db, (size_t)n * sizeof(float));
}

static void optimizer(rt_backend *be) {
    const int64_t n = 20 << 20;
    float *p = fill(be, (size_t)n, RT_F32), *g = fill(be, (size_t)n, RT_F32), *m = fill(be, (size_t)n, RT_F32);
    float *v;
    double *partials, total, adam, norm;
    must(be->alloc(be, (size_t)n * sizeof *v, "benchmark", (void **)&v));
    must(be->alloc(be, (size_t)(n >> 16) * sizeof *partials, "benchmark", (void **)&partials));
    const rt_adam_range range = {.count = n, .lr_scale = 1};
    rt_step_state state = {.lr = 1e-5f, .bias1 = 0.1f, .bias2 = 0.001f, .grad_sq = 1};
    BEST(adam, be->adamw(be, &(rt_adamw_args){.params = p,
                                              .grads = g,
                                              .m = m,
                                              .v = v,
                                              .ranges = &range,
                                              .n_ranges = 1,
                                              .beta1 = 0.9f,
                                              .beta2 = 0.999f,
                                              .epsilon = 1e-8f,
                                              .state = &state}));
    BEST(norm, be->sum_squares(be, &(rt_sum_squares_args){g, n, partials, &total}));
    printf("adamw        %6.1f GB/s (28 bytes a parameter), %.0f ms for 109.5 M parameters\n", 28e-9 * (double)n / adam,
           adam * 109.5e6 / (double)n * 1e3);
    printf("sum_squares  %6.1f GB/s\n", 4e-9 * (double)n / norm);
    be->release(be, p, (size_t)n * sizeof(float));
    be->release(be, g, (size_t)n * sizeof(float));
    be->release(be, m, (size_t)n * sizeof(float));
    be->release(be, v, (size_t)n * sizeof(float));
    be->release(be, partials, (size_t)(n >> 16) * sizeof *partials);
}

int main(int argc, char **argv) {
    rt_backend *be;
    rt_backend_options options = {.precision =
                                      argc > 1 && strcmp(argv[1], "bf16") == 0 ? RT_PRECISION_BF16 : RT_PRECISION_FP32,
                                  .threads = argc > 2 ? atoi(argv[2]) : 0};
    must(rt_cpu_backend_open(&options, &be));
    const rt_dims dims = {.max_tokens = 1 << 14,
                          .max_seqs = 64,
                          .max_len = 128,
                          .hidden = 768,
                          .heads = 12,
                          .ffn = 3072,
                          .vocab = 30522,
                          .max_positions = 512,
                          .type_vocab = 2,
                          .labels = 2,
                          .training = true};
    void *workspace;
    if (options.threads == 1) clock_used = CLOCK_THREAD_CPUTIME_ID;
    const size_t bytes = be->workspace_bytes(be, &dims);
    must(be->alloc(be, bytes, "workspace", &workspace));
    must(be->set_workspace(be, &dims, workspace, bytes));
    const int threads = options.threads ? options.threads : omp_get_max_threads();
    printf("%s\nworkspace %.1f MB; fp32 peak of AVX2 by a probe: %.0f GFLOP/s\n", be->description, 1e-6 * (double)bytes,
           probe(threads));
    printf(
        "linear, GFLOP/s:\n   rows     n     k act    forward       dx      dx+       dw  backward (with db, act)\n");
    static const int64_t shapes[][2] = {{2304, 768}, {768, 768}, {3072, 768}, {768, 3072},
                                        {1152, 384}, {384, 384}, {1536, 384}, {384, 1536}};
    for (int r = 3; r < (argc > 3 ? argc : 6); r++) {
        const int64_t rows = argc > 3 ? atoll(argv[r]) : (int64_t[]){128, 512, 2048}[r - 3];
        for (int s = 0; s < 8; s++)
            linear(be, rows, shapes[s][0], shapes[s][1], shapes[s][0] == 4 * shapes[s][1] ? RT_ACT_GELU : RT_ACT_NONE);
    }
    optimizer(be);
    printf("fp32 peak of AVX2 by a probe, again: %.0f GFLOP/s\n", probe(threads));
    be->release(be, workspace, bytes);
    be->close(be);
    return 0;
}
