/* The CUDA backend's kernels as its host code (plain C) sees them: one launcher an op, with the argument structs of
 * kernels.h. A launcher checks sizes and alignment, launches on the stream and checks the launch; it never allocates,
 * never waits and never reads device memory. Pointers in the structs are device memory; the batch struct itself, with
 * its counts, is the host's.
 *
 * Rows. An op on tokens works on batch->bucket rows; how many of them are tokens it reads on the device, at
 * cu_seqlens[n_seqs]. Rows beyond: activations are written as zero, gradients as exactly zero. An op on sequences works
 * on n_seqs rows; an empty sequence's row is zero. So a captured step replays for any batch of its bucket when the host
 * sets n_seqs to the capacity. Every array then needs room for bucket or capacity rows.
 *
 * Errors: RT_ESHAPE for arguments that break the contract (with a sentence), RT_EINTERNAL for a launch that failed.
 * What only the device knows (token ids, labels) is not checked; a label that is none makes the loss NaN. */
#ifndef RT_KERNELS_LAUNCH_H
#define RT_KERNELS_LAUNCH_H
#ifdef __cplusplus
extern "C" {
#endif
#include <rectrain/kernels.h>

/* The widest row that a row kernel holds in registers. */
enum { RT_CUDA_WIDTH_MAX = 8192 };

typedef struct {
    void *stream; /* cudaStream_t */
    rt_dtype act; /* of activations */
    void *workspace;
    size_t workspace_bytes; /* at least rt_cuda_kernel_workspace() */
    int processors;         /* multiprocessors of the device: sizes grids of kernels that deal work among blocks */
} rt_cuda_launch;

/* Scratch for any of these launches with sizes up to these. Kernels run one after the other and share it. */
size_t rt_cuda_kernel_workspace(const rt_dims *dims);

rt_status rt_cuda_embed_forward_launch(const rt_cuda_launch *l, const rt_embed_forward_args *a);
rt_status rt_cuda_embed_backward_launch(const rt_cuda_launch *l, const rt_embed_backward_args *a);
rt_status rt_cuda_residual_norm_forward_launch(const rt_cuda_launch *l, const rt_residual_norm_forward_args *a);
rt_status rt_cuda_residual_norm_backward_launch(const rt_cuda_launch *l, const rt_residual_norm_backward_args *a);
rt_status rt_cuda_attention_forward_launch(const rt_cuda_launch *l, const rt_attention_forward_args *a);
rt_status rt_cuda_attention_backward_launch(const rt_cuda_launch *l, const rt_attention_backward_args *a);
rt_status rt_cuda_select_rows_forward_launch(const rt_cuda_launch *l, const rt_rows_forward_args *a);
rt_status rt_cuda_select_rows_backward_launch(const rt_cuda_launch *l, const rt_rows_backward_args *a);
rt_status rt_cuda_mean_rows_forward_launch(const rt_cuda_launch *l, const rt_rows_forward_args *a);
rt_status rt_cuda_mean_rows_backward_launch(const rt_cuda_launch *l, const rt_rows_backward_args *a);
rt_status rt_cuda_dropout_launch(const rt_cuda_launch *l, const rt_dropout_args *a);
rt_status rt_cuda_classify_launch(const rt_cuda_launch *l, const rt_classify_args *a);
rt_status rt_cuda_sum_squares_launch(const rt_cuda_launch *l, const rt_sum_squares_args *a);
/* a->ranges is device memory too; a range with a count below 1 is passed over. */
rt_status rt_cuda_adamw_launch(const rt_cuda_launch *l, const rt_adamw_args *a);
rt_status rt_cuda_convert_launch(const rt_cuda_launch *l, void *to, rt_dtype to_dtype, const void *from,
                                 rt_dtype from_dtype, size_t n);
/* At most RT_WRITE_MAX bytes, a multiple of 4, travel as the kernel's argument: no copy, no waiting. */
rt_status rt_cuda_write_launch(const rt_cuda_launch *l, void *to, const void *from_host, size_t bytes);

/* What surrounds a linear layer's products. */
typedef struct {
    const void *z; /* [rows, n] the product, f32 or y's dtype; may be pre, or y, where the dtypes are the same */
    rt_dtype z_dtype;
    const float *bias; /* [n] or NULL */
    rt_activation act;
    void *y; /* [rows, n] act(z + bias) */
    rt_dtype y_dtype;
    void *pre; /* [rows, n] of y_dtype: z + bias, or NULL */
    int64_t rows, n;
} rt_cuda_epilogue_args;

typedef struct {
    rt_activation act;
    const void *saved; /* GELU: pre; TANH: y; NONE: unused. [rows, n] of dy_dtype */
    void *dy;          /* [rows, n]: becomes dz = dy act'(saved) */
    rt_dtype dy_dtype;
    float *db; /* [n] = or += column sums of dz, before it is rounded; or NULL */
    int accumulate;
    int64_t rows, n;
} rt_cuda_epilogue_backward_args;

rt_status rt_cuda_epilogue_forward_launch(const rt_cuda_launch *l, const rt_cuda_epilogue_args *a);
rt_status rt_cuda_epilogue_backward_launch(const rt_cuda_launch *l, const rt_cuda_epilogue_backward_args *a);

/* to[c] = or += the sum of x[r, c] over rows r (where which is not NULL: of those with which[r] == value), r below
 * cu_seqlens[n_seqs] if cu_seqlens is not NULL. x has l->act. */
typedef struct {
    const void *x; /* [rows, n] */
    const int32_t *which, *cu_seqlens;
    int32_t value, n_seqs;
    float *to; /* [n] */
    int accumulate;
    int64_t rows, n;
} rt_cuda_column_sums_args;
rt_status rt_cuda_column_sums_launch(const rt_cuda_launch *l, const rt_cuda_column_sums_args *a);

/* to[i][c] = or += the sum over b of partials[(b * outputs + i) * n + c], in the order of b's residues modulo 8; to[i]
 * may be NULL; blocks may be 0. */
enum { RT_CUDA_OUTPUTS_MAX = 3 };
typedef struct {
    const float *partials;
    float *to[RT_CUDA_OUTPUTS_MAX];
    int outputs, blocks, accumulate;
    int64_t n;
} rt_cuda_partials_args;
rt_status rt_cuda_add_partials_launch(const rt_cuda_launch *l, const rt_cuda_partials_args *a);

#ifdef __cplusplus
}
#endif
#endif
