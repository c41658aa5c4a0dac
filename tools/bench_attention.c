/* Times attention of one layer on the CPU backend, forward and backward: build/bench_attention [sequences length heads
 * width [threads]]. Built by hand:
 *   gcc -O2 -fopenmp -Iinclude tools/bench_attention.c build/mod/kernels.a build/mod/base.a <libraries> */
#include <math.h>
#include <rectrain/kernels.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *block(rt_backend *be, size_t bytes) {
    void *p = NULL;
    if (be->alloc(be, bytes, "the benchmark", &p) != RT_OK) exit(69);
    return p;
}

int main(int argc, char **argv) {
    int n[5] = {16, 48, 12, 64, 0};
    for (int i = 1; i < argc && i <= 5; i++) n[i - 1] = atoi(argv[i]);
    int sequences = n[0], length = n[1], heads = n[2], dim = n[3], tokens = sequences * length, width = heads * dim;
    if (sequences < 1 || length < 1 || heads < 1 || dim < 8) return 2;
    for (int precision = 0; precision < 2; precision++) {
        rt_backend_options options = {precision ? RT_PRECISION_BF16 : RT_PRECISION_FP32, n[4], -1};
        rt_backend *be;
        if (rt_cpu_backend_open(&options, &be) != RT_OK) {
            fprintf(stderr, "%s\n", rt_error_get()->text);
            return 1;
        }
        rt_dims dims = {.max_tokens = tokens,
                        .max_seqs = sequences,
                        .max_len = length,
                        .hidden = width,
                        .heads = heads,
                        .training = true};
        size_t bytes = be->workspace_bytes(be, &dims), cells = (size_t)tokens * (size_t)width;
        if (be->set_workspace(be, &dims, block(be, bytes), bytes) != RT_OK) return 1;
        int32_t *cu = block(be, (size_t)(sequences + 1) * 4);
        uint32_t *examples = block(be, (size_t)sequences * 4);
        float *noise = malloc(3 * cells * sizeof *noise);
        if (!noise) return 69;
        for (size_t i = 0; i < 3 * cells; i++) noise[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        for (int b = 0; b < sequences; b++) cu[b + 1] = cu[b] + length, examples[b] = (uint32_t)b;
        size_t size = rt_dtype_size(be->act);
        char *qkv = block(be, 3 * cells * size), *dqkv = block(be, 3 * cells * size), *dout = block(be, cells * size);
        be->convert(be, qkv, be->act, noise, RT_F32, 3 * cells);
        be->convert(be, dout, be->act, noise, RT_F32, cells);
        rt_step_state *state = block(be, sizeof *state);
        rt_batch batch = {.cu_seqlens = cu,
                          .example_id = examples,
                          .n_tokens = tokens,
                          .bucket = tokens,
                          .n_seqs = sequences,
                          .capacity = sequences,
                          .max_len = length};
        rt_attention_backward_args a = {.f = {.batch = &batch,
                                              .q = qkv,
                                              .k = qkv + (size_t)width * size,
                                              .v = qkv + 2 * (size_t)width * size,
                                              .q_stride = 3 * width,
                                              .k_stride = 3 * width,
                                              .v_stride = 3 * width,
                                              .out = block(be, cells * size),
                                              .out_stride = width,
                                              .lse = block(be, (size_t)(heads * tokens) * 4),
                                              .heads = heads,
                                              .head_dim = dim,
                                              .scale = 1.0f / sqrtf((float)dim)},
                                        .dout = dout,
                                        .dq = dqkv,
                                        .dk = dqkv + (size_t)width * size,
                                        .dv = dqkv + 2 * (size_t)width * size,
                                        .dq_stride = 3 * width,
                                        .dk_stride = 3 * width,
                                        .dv_stride = 3 * width};
        double products = 4.0 * tokens * length * width;
        for (int dropout = 0; dropout < 2; dropout++) {
            a.f.dropout = (rt_dropout){.p = dropout ? 0.1f : 0, .state = state};
            double best[2] = {1e9, 1e9};
            for (int round = 0; round < 30; round++) {
                double t0 = now();
                if (be->attention_forward(be, &a.f) != RT_OK) return 1;
                double t1 = now();
                if (be->attention_backward(be, &a) != RT_OK) return 1;
                double t2 = now();
                if (t1 - t0 < best[0]) best[0] = t1 - t0;
                if (t2 - t1 < best[1]) best[1] = t2 - t1;
            }
            printf("%s  %d x %d tokens, %d heads of %d, dropout %.1f: forward %.3f ms (%.1f GFLOP/s), backward %.3f ms "
                   "(%.1f GFLOP/s)\n",
                   precision ? "bf16" : "fp32", sequences, length, heads, dim, (double)a.f.dropout.p, 1e3 * best[0],
                   1e-9 * products / best[0], 1e3 * best[1], 2.5e-9 * products / best[1]);
        }
        be->close(be);
        free(noise);
    }
    return 0;
}
