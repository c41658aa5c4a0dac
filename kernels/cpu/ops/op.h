/* What every op file uses, and includes first: names, activations as floats, dropout masks, fixed partitions.
 *
 * Compiled for each RT_ISA_NAME and RT_BF16 (see ../cpu.h) with -O3 -fopenmp -fno-math-errno -fno-trapping-math
 * -ffp-contract=fast and never with -ffast-math: NaN and infinity keep their meaning, sums keep their order. A sum is
 * vectorised only where `#pragma omp simd reduction(+ : s)` says so; its order then depends on the instruction level,
 * never on the number of threads.
 */
#ifndef RT_OPS_OP_H
#define RT_OPS_OP_H
#ifndef RT_ISA_NAME
#define RT_ISA_NAME generic /* for editors and linters; the build always says */
#endif
#if defined(RT_BF16) && RT_BF16
#define RT_OP_BF16 1
#else
#define RT_OP_BF16 0
#endif
#undef RT_BF16 /* types.h has a constant of this name */
#include "../cpu.h"
#include "dropout_mask.h"
#include "vecmath.h"
#include <omp.h>

#if RT_OP_BF16
#define RT_DTYPE_NAME bf16
typedef rt_bf16 rt_act;
static inline float rt_load(const rt_act *p) {
    return rt_widen(*p);
}
static inline void rt_store(rt_act *p, float x) {
    *p = rt_narrow(x);
}
#else
#define RT_DTYPE_NAME f32
typedef float rt_act;
static inline float rt_load(const rt_act *p) {
    return *p;
}
static inline void rt_store(rt_act *p, float x) {
    *p = x;
}
#endif

/* RT_OP(rt_cpu_adamw) is rt_cpu_adamw_v3_f32 and the like. */
#define RT_OP_PASTE_(name, isa, dtype) name##_##isa##_##dtype
#define RT_OP_PASTE(name, isa, dtype) RT_OP_PASTE_(name, isa, dtype)
#define RT_OP(name) RT_OP_PASTE(name, RT_ISA_NAME, RT_DTYPE_NAME)

/* Declared for this variant, so that a definition with another signature does not compile. */
#define X(name, args) rt_status RT_OP(rt_cpu_##name)(rt_backend *, const args *);
RT_CPU_OPS(X)
#undef X
#define X(name) size_t RT_OP(rt_cpu_need_##name)(const rt_dims *, int);
RT_CPU_NEEDS(X)
#undef X
#define X(result, name, args) result RT_OP(rt_cpu_##name) args;
RT_CPU_PARTS(X)
#undef X

/* Rows of activations to floats and back. */
static inline void rt_load_row(float *restrict to, const rt_act *restrict from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] = rt_load(from + i);
}

static inline void rt_store_row(rt_act *restrict to, const float *restrict from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) rt_store(to + i, from[i]);
}

/* Partitions. Every parallel region says num_threads(cpu->threads) and gives each thread fixed work, either by
 * schedule(static) or by rt_share; so the same threads give the same bytes.
 *
 * A reduction over rows into [columns] (bias gradients, LayerNorm's) does not depend on the threads at all: rows are
 * cut into rt_row_blocks(rows) blocks, each block sums its rows in order into its own row of partials (parallel over
 * blocks), then the blocks are added in order (parallel over columns): rt_add_blocks. */
typedef struct {
    int64_t begin, end;
} rt_span;

/* Part `part` of n items cut into `parts` spans whose borders are multiples of `unit`. */
static inline rt_span rt_part(int64_t n, int64_t parts, int64_t part, int64_t unit) {
    int64_t units = (n + unit - 1) / unit;
    int64_t begin = units * part / parts * unit, end = units * (part + 1) / parts * unit;
    return (rt_span){begin < n ? begin : n, end < n ? end : n};
}

/* The calling thread's part, inside a parallel region. */
static inline rt_span rt_share(int64_t n, int64_t unit) {
    return rt_part(n, omp_get_num_threads(), omp_get_thread_num(), unit);
}

/* to[i] = or += the sum over b of partials[b * stride + i], i < n. Call outside parallel regions. blocks may be 0. */
static inline void rt_add_blocks(float *to, const float *partials, int blocks, int64_t stride, int64_t n,
                                 int accumulate, int threads) {
#pragma omp parallel num_threads(threads)
    {
        rt_span mine = rt_share(n, 16);
        for (int64_t i = mine.begin; i < mine.end && !accumulate; i++) to[i] = 0;
        for (int b = 0; b < blocks; b++) {
            const float *from = partials + b * stride;
#pragma omp simd
            for (int64_t i = mine.begin; i < mine.end; i++) to[i] += from[i];
        }
    }
}

#endif
