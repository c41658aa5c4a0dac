/* The CPU backend from inside: what its host files and its ops share.
 *
 * Files directly in kernels/cpu/ are compiled once. Files in kernels/cpu/ops/ are compiled once for each instruction
 * level and activation dtype, with -DRT_ISA_NAME=generic|v2|v3|v4 -DRT_BF16=0|1; their functions carry both in their
 * names (RT_OP in ops/op.h), and dispatch.c puts one set into the backend's table. So an ops file holds nothing but
 * static functions and RT_OP(...) ones. Adding an op: one line in RT_CPU_OPS or RT_CPU_PARTS below.
 *
 * Scratch: ops run one after the other, so all share the one workspace from its first byte; its size is the largest of
 * the needs in RT_CPU_NEEDS. A need is computed from rt_dims by the op's own file, beside the code that uses it.
 */
#ifndef RT_KERNELS_CPU_H
#define RT_KERNELS_CPU_H
#include "../../src/base/cpu.h"
#include "../../src/base/status.h"
#include <rectrain/kernels.h>

/* Entries of the backend's table that are ops files' functions: rt_status f(rt_backend *, const ARGS *). */
#define RT_CPU_OPS(X)                                                                                                  \
    X(embed_forward, rt_embed_forward_args)                                                                            \
    X(embed_backward, rt_embed_backward_args)                                                                          \
    X(attention_forward, rt_attention_forward_args)                                                                    \
    X(attention_backward, rt_attention_backward_args)                                                                  \
    X(residual_norm_forward, rt_residual_norm_forward_args)                                                            \
    X(residual_norm_backward, rt_residual_norm_backward_args)                                                          \
    X(select_rows_forward, rt_rows_forward_args)                                                                       \
    X(select_rows_backward, rt_rows_backward_args)                                                                     \
    X(mean_rows_forward, rt_rows_forward_args)                                                                         \
    X(mean_rows_backward, rt_rows_backward_args)                                                                       \
    X(dropout, rt_dropout_args)                                                                                        \
    X(classify, rt_classify_args)                                                                                      \
    X(sum_squares, rt_sum_squares_args)                                                                                \
    X(adamw, rt_adamw_args)

/* Scratch in bytes of an op family: size_t RT_OP(rt_cpu_need_NAME)(const rt_dims *, int threads). */
#define RT_CPU_NEEDS(X)                                                                                                \
    X(embed)                                                                                                           \
    X(attention)                                                                                                       \
    X(residual_norm)

typedef struct rt_cpu_context rt_cpu_context;

/* A reduction over rows cuts them into this many blocks, whatever the threads (ops/op.h). */
enum { RT_BLOCKS_MAX = 64, RT_BLOCK_ROWS_MIN = 32 };

static inline int rt_row_blocks(int64_t rows) {
    int64_t blocks = (rows + RT_BLOCK_ROWS_MIN - 1) / RT_BLOCK_ROWS_MIN;
    return blocks > RT_BLOCKS_MAX ? RT_BLOCKS_MAX : (int)blocks;
}

/* fp32 results of at most so many columns are computed by plain loops (ops/linear_narrow.c). */
enum { RT_NARROW_MAX = 32 };

/* What the linear layer's host file needs besides GEMMs (ops/linear_epilogue.c, ops/convert.c, ops/linear_narrow.c).
 * `f32` says that y, pre, dy, saved are f32 whatever the backend's dtype. */
typedef struct {
    const float *z;    /* [rows, n] the product; may be y or pre itself when these are f32 */
    const float *bias; /* [n] or NULL */
    rt_activation act;
    void *y;   /* [rows, n] act(z + bias) */
    void *pre; /* [rows, n] z + bias, or NULL */
    bool f32;
    int64_t rows, n;
} rt_cpu_epilogue_args;

typedef struct {
    rt_activation act;
    const void *saved;
    void *dy;  /* [rows, n]: becomes dz */
    float *db; /* [n] or NULL */
    int accumulate;
    bool f32;
    int64_t rows, n;
    float *partials; /* scratch: rt_row_blocks(rows) x n floats, when db is wanted */
} rt_cpu_epilogue_backward_args;

/* Functions of ops files that only host files call: result, name, arguments. */
#define RT_CPU_PARTS(X)                                                                                                \
    X(void, epilogue_forward, (rt_cpu_context *, const rt_cpu_epilogue_args *))                                        \
    X(void, epilogue_backward, (rt_cpu_context *, const rt_cpu_epilogue_backward_args *))                              \
    X(void, narrow_forward, (rt_cpu_context *, const rt_linear_forward_args *))                                        \
    X(void, narrow_backward, (rt_cpu_context *, const rt_linear_backward_args *, float *))                             \
    X(void, convert, (rt_cpu_context *, void *, rt_dtype, const void *, rt_dtype, int64_t))

typedef struct {
#define X(name, args) rt_status (*name)(rt_backend *, const args *);
    RT_CPU_OPS(X)
#undef X
#define X(name) size_t (*need_##name)(const rt_dims *, int);
    RT_CPU_NEEDS(X)
#undef X
#define X(result, name, args) result(*name) args;
    RT_CPU_PARTS(X)
#undef X
} rt_cpu_ops;

/* The set for a level and a dtype; NULL for one that this build does not have. */
const rt_cpu_ops *rt_cpu_ops_find(rt_isa isa, rt_dtype act);

typedef struct rt_gemm rt_gemm; /* gemm.h */

struct rt_cpu_context {
    rt_backend api; /* first: a rt_backend pointer is a pointer to this */
    rt_cpu_ops ops;
    rt_isa isa;
    int threads;
    bool native_bf16; /* oneDNN multiplies bf16 in hardware at the chosen level */
    rt_dims dims;
    unsigned char *workspace;
    size_t workspace_bytes;
    rt_gemm *gemm;
};

static inline rt_cpu_context *rt_cpu_of(rt_backend *backend) {
    return (rt_cpu_context *)backend;
}

/* The workspace, if it holds `bytes`; else RT_ESHAPE naming `op` and both sizes. *out is aligned to 256 bytes. The
 * content is what the op before left. */
rt_status rt_cpu_scratch(rt_backend *backend, size_t bytes, const char *op, void **out);

/* linear.c */
rt_status rt_cpu_linear_forward(rt_backend *backend, const rt_linear_forward_args *a);
rt_status rt_cpu_linear_backward(rt_backend *backend, const rt_linear_backward_args *a);
size_t rt_cpu_need_linear(const rt_cpu_context *cpu, const rt_dims *dims);
size_t rt_cpu_packed_bytes(rt_backend *backend, int64_t n, int64_t k);
rt_status rt_cpu_pack(rt_backend *backend, const float *master, int64_t n, int64_t k, void *packed);

#endif
