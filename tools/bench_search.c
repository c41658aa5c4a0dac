/* How fast the exact search is, all in memory, beside the product alone that it rests on: the best of ROUNDS. Vectors
 * are made here, of length 1, or come from files of vectors (tools/compare_search.py).
 *
 *   build/bench/bench_search [N [WIDTH [QUERIES [K [ROUNDS]]]]]      (100000 384 1000 20 5)
 *   build/bench/bench_search --files ITEMS QUERIES K ROUNDS */
#include "base/arena.h"
#include "base/clock.h"
#include "retrieve/topk.h"
#include "retrieve/vectors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096, ROWS = 1024 }; /* of the product alone */

typedef struct {
    rt_backend *be;
    uint32_t n, n_queries;
    int width, k;
    float *items, *queries, *products;
    rt_hit *hits;
} bench;

static rt_status make(uint32_t n, int width, uint64_t state, float **out) {
    float *v = malloc((size_t)n * (size_t)width * sizeof *v);
    if (!v) return rt_fail(RT_ENOMEM, "out of memory for %u vectors", n);
    for (size_t i = 0; i < (size_t)n * (size_t)width; i++) {
        float sum = -2; /* of four uniform numbers: about normal */
        for (int j = 0; j < 4; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f;
        }
        v[i] = sum;
    }
    rt_unit_rows(v, n, width);
    *out = v;
    return RT_OK;
}

static rt_status load(const char *path, uint32_t *n, int *width, float **out) {
    rt_vectors *v = NULL;
    rt_status rc;
    RT_GO(rt_vectors_open(path, &v));
    *n = rt_vectors_count(v);
    if (*width && *width != rt_vectors_width(v)) RT_GO(rt_fail(RT_EDATA, "%s: another width", path));
    *width = rt_vectors_width(v);
    *out = malloc((size_t)*n * (size_t)*width * sizeof **out);
    if (!*out) RT_GO(rt_fail(RT_ENOMEM, "%s: out of memory", path));
    RT_GO(rt_vectors_read(v, 0, *n, *out));
done:
    rt_vectors_close(v);
    return rc;
}

static rt_status search(const bench *b) {
    rt_topk *t = NULL;
    rt_status rc;
    RT_GO(rt_topk_new(&(rt_topk_options){.be = b->be,
                                         .sets_workspace = true,
                                         .width = b->width,
                                         .k = b->k,
                                         .n_queries = b->n_queries,
                                         .queries = b->queries},
                      &t));
    RT_GO(rt_topk_add(t, b->items, 0, b->n));
    RT_GO(rt_topk_finish(t, b->hits));
done:
    rt_topk_free(t);
    return rc;
}

/* The products of at most ROWS queries, and nothing done with them. */
static rt_status multiply(const bench *b) {
    for (uint32_t i = 0; i + BLOCK <= b->n; i += BLOCK)
        RT_TRY(b->be->linear_forward(
            b->be, &(rt_linear_forward_args){
                       .w = {.master = b->items + (size_t)i * (size_t)b->width, .n = BLOCK, .k = b->width},
                       .x = b->queries,
                       .y = b->products,
                       .y_dtype = RT_F32,
                       .rows = b->n_queries < ROWS ? b->n_queries : ROWS}));
    return RT_OK;
}

static rt_status run(bench *b, int rounds) {
    const double shares = b->n_queries < ROWS ? 1 : (double)b->n_queries / ROWS;
    double searching = 1e9, multiplying = 1e9;
    b->products = malloc(sizeof *b->products * BLOCK * ROWS);
    b->hits = malloc((size_t)b->n_queries * (size_t)b->k * sizeof *b->hits);
    if (!b->products || !b->hits) return rt_fail(RT_ENOMEM, "out of memory");
    memset(b->products, 0, sizeof *b->products * BLOCK * ROWS);
    const size_t before = rt_memory_resident();
    for (int r = 0; r < rounds; r++) {
        double start = rt_clock_seconds();
        RT_TRY(search(b));
        double seconds = rt_clock_seconds() - start;
        if (seconds < searching) searching = seconds;
        if (b->width % 8) continue;
        start = rt_clock_seconds();
        RT_TRY(multiply(b));
        seconds = (rt_clock_seconds() - start) * shares;
        if (seconds < multiplying) multiplying = seconds;
    }
    const size_t peak = rt_memory_peak();
    printf("%u items x %d, %u queries, top %d: %.4f s, %.0f queries/s, %.1f GFLOP/s; the product alone %.4f s; peak "
           "memory %.0f MiB more than before\n",
           b->n, b->width, b->n_queries, b->k, searching, b->n_queries / searching,
           2e-9 * b->n * (double)b->n_queries * b->width / searching, multiplying,
           peak > before ? (double)(peak - before) / (1 << 20) : 0.0);
    return RT_OK;
}

int main(int argc, char **argv) {
    bench b = {.n = argc > 1 ? (uint32_t)atoi(argv[1]) : 100000,
               .width = argc > 2 ? atoi(argv[2]) : 384,
               .n_queries = argc > 3 ? (uint32_t)atoi(argv[3]) : 1000,
               .k = argc > 4 ? atoi(argv[4]) : 20};
    const int rounds = argc > 5 ? atoi(argv[5]) : 5;
    rt_status rc;
    RT_GO(rt_cpu_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32, .device = -1}, &b.be));
    if (argc == 6 && !strcmp(argv[1], "--files")) {
        b.width = 0;
        RT_GO(load(argv[2], &b.n, &b.width, &b.items));
        RT_GO(load(argv[3], &b.n_queries, &b.width, &b.queries));
    } else {
        RT_GO(make(b.n, b.width, 1, &b.items));
        RT_GO(make(b.n_queries, b.width, 2, &b.queries));
    }
    rc = run(&b, rounds);
done:
    if (rc != RT_OK) fprintf(stderr, "bench_search: %s\n", rt_error_get()->text);
    if (b.be) b.be->close(b.be);
    free(b.items);
    free(b.queries);
    free(b.products);
    free(b.hits);
    return rc == RT_OK ? 0 : (int)rc;
}
