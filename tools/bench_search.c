/* How fast the exact search is, beside the product alone that it rests on: N items of WIDTH dimensions, of length 1, Q
 * queries, the K best, all in memory. The best of ROUNDS.
 *
 *   build/bench/bench_search [N [WIDTH [Q [K [ROUNDS]]]]]      (100000 384 1000 20 5) */
#include "base/arena.h"
#include "base/clock.h"
#include "retrieve/topk.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static float *vectors(uint32_t n, int width, uint64_t state) {
    float *v = malloc((size_t)n * (size_t)width * sizeof *v);
    if (!v) return NULL;
    for (size_t i = 0; i < (size_t)n * (size_t)width; i++) {
        float sum = -2; /* of four uniform numbers: about normal */
        for (int j = 0; j < 4; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f;
        }
        v[i] = sum;
    }
    rt_unit_rows(v, n, width);
    return v;
}

static rt_status search(rt_backend *be, const float *items, uint32_t n, const float *queries, uint32_t n_queries,
                        int width, int k, rt_hit *hits) {
    rt_topk *t = NULL;
    rt_status rc = RT_OK;
    RT_GO(rt_topk_new(
        &(rt_topk_options){
            .be = be, .sets_workspace = true, .width = width, .k = k, .n_queries = n_queries, .queries = queries},
        &t));
    RT_GO(rt_topk_add(t, items, 0, n));
    RT_GO(rt_topk_finish(t, hits));
done:
    rt_topk_free(t);
    return rc;
}

/* All products, and nothing done with them. */
static rt_status multiply(rt_backend *be, const float *items, uint32_t n, const float *queries, uint32_t n_queries,
                          int width, float *products) {
    const uint32_t block = 4096;
    for (uint32_t i = 0; i + block <= n; i += block)
        RT_TRY(be->linear_forward(
            be, &(rt_linear_forward_args){.w = {.master = items + (size_t)i * (size_t)width, .n = block, .k = width},
                                          .x = queries,
                                          .y = products,
                                          .y_dtype = RT_F32,
                                          .rows = n_queries < 1024 ? n_queries : 1024}));
    return RT_OK;
}

int main(int argc, char **argv) {
    const uint32_t n = argc > 1 ? (uint32_t)atoi(argv[1]) : 100000;
    const int width = argc > 2 ? atoi(argv[2]) : 384;
    const uint32_t n_queries = argc > 3 ? (uint32_t)atoi(argv[3]) : 1000;
    const int k = argc > 4 ? atoi(argv[4]) : 20, rounds = argc > 5 ? atoi(argv[5]) : 5;
    rt_backend *be = NULL;
    rt_status rc = rt_cpu_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32, .device = -1}, &be);
    float *items = vectors(n, width, 1), *queries = vectors(n_queries, width, 2);
    float *products = malloc((size_t)4096 * 1024 * sizeof *products);
    rt_hit *hits = malloc((size_t)n_queries * (size_t)k * sizeof *hits);
    const size_t before = rt_memory_resident();
    double searching = 1e9, multiplying = 1e9;
    if (rc == RT_OK && (!items || !queries || !products || !hits)) rc = rt_fail(RT_ENOMEM, "out of memory");
    for (int r = 0; r < rounds && rc == RT_OK; r++) {
        double start = rt_clock_seconds();
        RT_GO(search(be, items, n, queries, n_queries, width, k, hits));
        double seconds = rt_clock_seconds() - start;
        if (seconds < searching) searching = seconds;
        if (n < 4096) continue;
        start = rt_clock_seconds();
        RT_GO(multiply(be, items, n, queries, n_queries, width, products));
        seconds = (rt_clock_seconds() - start) * (n_queries < 1024 ? 1 : n_queries / 1024.0);
        if (seconds < multiplying) multiplying = seconds;
    }
    if (rc == RT_OK)
        printf(
            "%u items x %d, %u queries, top %d: %.4f s, %.0f queries/s, %.1f GFLOP/s; the product alone %.4f s; peak "
            "memory %.0f MiB more than the vectors\n",
            n, width, n_queries, k, searching, n_queries / searching, 2e-9 * n * (double)n_queries * width / searching,
            multiplying, (double)(rt_memory_peak() - before) / (1 << 20));
done:
    if (rc != RT_OK) fprintf(stderr, "bench_search: %s\n", rt_error_get()->text);
    if (be) be->close(be);
    free(items);
    free(queries);
    free(products);
    free(hits);
    return rc == RT_OK ? 0 : (int)rc;
}
