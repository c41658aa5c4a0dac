/* THE contract between the model and a backend: one table of functions, one argument struct an op.
 *
 * Rules for every op:
 * - All pointers are backend memory (host memory for the CPU). Activations and activation gradients have the backend's
 *   dtype `act` unless the field says f32; they are row-major and dense unless a stride (in elements) is given.
 * - Parameters, parameter gradients, moments, statistics, logits and losses are f32; inside, ops compute in f32 and
 *   round once at the end.
 * - Parameter gradients take `accumulate`: 0 stores (first micro-batch), 1 adds. Activation gradients overwrite; an
 *   optional addend dx_add may alias dx.
 * - dx = NULL or dw = NULL (or a NULL bias gradient) skips that half.
 * - A CPU op touches n_tokens rows; a GPU op may touch batch->bucket rows. Rows beyond n_tokens are finite and
 *   unspecified in activations and exactly zero in activation gradients (written so by classify / select_rows /
 *   mean_rows / attention / residual_norm backward).
 * - No allocation and no host synchronisation. Asynchronous on the backend's stream (the CPU backend is done on
 * return).
 * - Every reduction has a fixed order: the same inputs and threads give the same bytes.
 * - Returns RT_ESHAPE (with a message) for sizes or alignments that break the contract, RT_EUNAVAILABLE / RT_EINTERNAL
 *   for a library's failure.
 * - A batch with n_tokens = 0 is legal everywhere: parameter gradients are then zeroed (accumulate 0) or left (1).
 *
 * Life: open -> alloc the buffers -> set_workspace for the largest sizes that will come -> pack the weights -> ops ->
 * release, close. A backend is used by one thread at a time and runs threads of its own inside; every slot of its table
 * is filled. Argument structs and the pointers in them are read during the call alone and stay the caller's. For
 * example, with x [rows, k], y [rows, n], w [n, k] and its packed form in memory of the backend:
 *
 *     rt_weight weight = {.master = w, .packed = packed, .n = n, .k = k};
 *     RT_TRY(be->pack(be, w, n, k, packed));
 *     RT_TRY(be->linear_forward(be, &(rt_linear_forward_args){
 *         .w = weight, .act = RT_ACT_GELU, .x = x, .y = y, .y_dtype = be->act, .rows = rows}));
 */
#ifndef RECTRAIN_KERNELS_H
#define RECTRAIN_KERNELS_H
#include "../../src/base/status.h"
#include "types.h"

#define RT_KERNELS_ABI 4u

typedef struct rt_backend rt_backend;

/* A matrix weight [n, k], row-major like torch's nn.Linear. Only linear_* and pack read it. */
typedef struct {
    const float *master; /* f32 */
    const void *packed;  /* the backend's private form (packed_bytes(n, k)); NULL if that is 0 */
    int64_t n, k;
} rt_weight;

/* y[rows, n] = act(x[rows, k] w^T + bias). Devlin et al. 2018; GELU by erf. k and n multiples of 8, except n for f32 y.
 */
typedef struct {
    rt_weight w;
    const float *bias; /* [n] or NULL */
    rt_activation act;
    const void *x;    /* [rows, k] act dtype */
    void *y;          /* [rows, n] */
    rt_dtype y_dtype; /* the backend's dtype, or f32 (logits) */
    void *pre;        /* [rows, n], y's dtype: the pre-activation, kept when not NULL (GELU's backward needs it) */
    int64_t rows;
} rt_linear_forward_args;

/* dz = dy act'(.); dx = dz w (+ dx_add); dw = or += dz^T x; db = or += column sums of dz. dy is scratch: it becomes dz.
 */
typedef struct {
    rt_weight w;
    rt_activation act;
    const void *x;      /* [rows, k] the forward's input; needed for dw */
    const void *saved;  /* GELU: pre; TANH: the forward's y; NONE: unused */
    void *dy;           /* [rows, n] of dy_dtype */
    rt_dtype dy_dtype;  /* the backend's dtype, or f32 (dlogits) */
    void *dx;           /* [rows, k] act dtype, or NULL */
    const void *dx_add; /* [rows, k] or NULL; may alias dx */
    float *dw;          /* [n, k] or NULL */
    float *db;          /* [n] or NULL */
    int accumulate;
    int64_t rows;
} rt_linear_backward_args;

/* y[T, H] = dropout(LayerNorm(word[id] + position[pos] + type[ty])). */
typedef struct {
    const rt_batch *batch;
    const float *word, *position, *type; /* [V, H], [P, H], [types, H] */
    const float *gamma, *beta;           /* [H] */
    float eps;
    rt_dropout dropout;
    void *y;            /* [T, H] act */
    float *mean, *rstd; /* [T]; saved */
    int64_t hidden;
} rt_embed_forward_args;

/* The sum before the norm is recomputed from the tables. Rows of the word table are summed in the order of
 * batch->sorted_tokens; `accumulate` 0 zeroes all rows first. */
typedef struct {
    const rt_batch *batch;
    const float *word, *position, *type, *gamma;
    const float *mean, *rstd;
    rt_dropout dropout;
    void *dy;                         /* [T, H] act; scratch: becomes the gradient of the sum */
    float *dword, *dposition, *dtype; /* whole tables; each may be NULL */
    float *dgamma, *dbeta;            /* [H]; may be NULL */
    int64_t vocab, max_positions, type_vocab, hidden;
    int accumulate;
} rt_embed_backward_args;

/* Packed self-attention, softmax(scale q k^T) v per sequence and head, dropout on the probabilities. Vaswani et al.
 * 2017. head_dim: a multiple of 8. At most 256 heads and 4,096 tokens a sequence, what the dropout counter can tell
 * apart. Backward computes the probabilities again from lse; no S x S block is kept. */
typedef struct {
    const rt_batch *batch;
    rt_rows queries;       /* TOKENS: q, out have T rows; FIRST: B rows, query = position 0 of each sequence */
    const void *q, *k, *v; /* head h of row r starts at ptr + r * stride + h * head_dim */
    int64_t q_stride, k_stride, v_stride; /* elements */
    void *out;                            /* [T or B, H], stride out_stride */
    int64_t out_stride;
    float *lse; /* [A, T or B] log-sum-exp of the scaled scores; saved; NULL in evaluation */
    int32_t heads, head_dim;
    float scale; /* 1 / sqrt(head_dim) */
    rt_dropout dropout;
} rt_attention_forward_args;

typedef struct {
    rt_attention_forward_args f; /* as in forward, with out and lse filled */
    const void *dout;            /* [T or B, H], stride f.out_stride */
    void *dq, *dk, *dv;          /* overwritten; strides below; dk, dv always have T rows */
    int64_t dq_stride, dk_stride, dv_stride;
} rt_attention_backward_args;

/* z = residual + dropout(x + bias); y = gamma (z - mean) rstd + beta. Two-pass variance. z is saved over x. */
typedef struct {
    const rt_batch *batch;
    rt_rows rows;         /* how rows map to (example, position): TOKENS, or FIRST (position 0) */
    void *x;              /* [rows, H]; becomes z */
    const float *bias;    /* [H] of the linear before; NULL: none */
    const void *residual; /* [rows, H] */
    const float *gamma, *beta;
    float eps;
    rt_dropout dropout;
    void *y;            /* [rows, H]; may alias residual, not x */
    float *mean, *rstd; /* [rows]; saved */
    int64_t hidden;
} rt_residual_norm_forward_args;

typedef struct {
    const rt_batch *batch;
    rt_rows rows;
    const void *z; /* saved by forward */
    const float *mean, *rstd, *gamma;
    rt_dropout dropout;
    const void *dy;                /* [rows, H] */
    void *dresidual;               /* [rows, H] gradient of z; may alias dy */
    void *dx;                      /* [rows, H] the same through dropout; must not alias dresidual */
    float *dbias, *dgamma, *dbeta; /* [H]; each may be NULL */
    int64_t hidden;
    int accumulate;
} rt_residual_norm_backward_args;

/* y[b] = x[first token of b]; or the mean over the tokens of b. Empty sequences give 0. */
typedef struct {
    const rt_batch *batch;
    const void *x; /* [T, H] */
    void *y;       /* [B, H] */
    int64_t hidden;
} rt_rows_forward_args;

/* dx[T, H] = scatter of dy[B, H] (mean: dy / S on every token), + dx_add. All rows of dx are written. */
typedef struct {
    const rt_batch *batch;
    const void *dy;
    void *dx;
    const void *dx_add; /* [T, H] or NULL; may alias dx */
    int64_t hidden;
} rt_rows_backward_args;

/* y = dropout(x) on [B, H], position 0. Forward and backward are the same map. y may alias x. */
typedef struct {
    const rt_batch *batch;
    const void *x;
    void *y;
    rt_dropout dropout;
    int64_t hidden;
} rt_dropout_args;

/* K >= 2: softmax cross-entropy; K = 1: binary cross-entropy with logits. Label smoothing e: l_i = (1 - e) l(y_i) + e
 * mean_k l(k); for one label the target is y (1 - e) + e / 2. */
typedef struct {
    const rt_batch *batch;
    const float *logits; /* [B, K] */
    float smoothing;
    double *loss;     /* += is not wanted: overwritten with sum_i row_scale_i l_i, f64, summed in row order; or NULL */
    float *row_loss;  /* [B] l_i without scale; or NULL */
    float *probs;     /* [B, K] (K = 1: the sigmoid); or NULL */
    float *dlogits;   /* [B, K] gradient of the loss; or NULL */
    int32_t labels;   /* K */
    bool with_labels; /* false: only probs are wanted; batch->labels is not read */
} rt_classify_args;

/* state->grad_sq (or *total) = sum of squares of x. Fixed blocks of 2^16 elements, each summed in f64, then the blocks
 * in order: the same norm for any threads, ranks or sharding. */
typedef struct {
    const float *x; /* NULL: the blocks' sums are there already and only added */
    int64_t n;
    double *partials; /* [ceil(n / 2^16)] */
    double *total;    /* f64, backend memory; NULL: only the blocks' sums are wanted */
} rt_sum_squares_args;

typedef struct {
    int64_t param_off, train_off, count; /* elements */
    float lr_scale, weight_decay;        /* weight_decay 0: none for this range */
} rt_adam_range;

/* Adam in torch's form over all ranges in one pass: p *= 1 - lr wd; m, v updated; p -= lr (m / bias1) / (sqrt(v) /
 * sqrt(bias2) + eps), lr = state->lr x lr_scale, gradient x min(1, clip / (norm + 1e-6)). A non-finite grad_sq, or a
 * non-finite one among the losses, changes nothing and sets state->skipped. */
typedef struct {
    float *params;      /* by param_off */
    const float *grads; /* by train_off, as are m, v */
    float *m, *v;
    int64_t moment_off; /* what m and v begin with: a rank that keeps a share of the moments; a multiple of 4 */
    const rt_adam_range *ranges; /* [n_ranges] backend memory */
    int32_t n_ranges;
    double beta1, beta2; /* double: 1 - 0.999f is 1.3e-5 off, and torch computes it in double */
    float epsilon;
    const double *losses; /* [n_losses] of the step's micro-batches, backend memory; or NULL */
    int32_t n_losses;
    rt_step_state *state; /* backend memory */
} rt_adamw_args;

enum { RT_UPLOAD_SLOTS = 4, RT_MARKS = 4, RT_WRITE_MAX = 64 };

struct rt_backend {
    uint32_t abi;     /* RT_KERNELS_ABI */
    const char *name; /* "cpu", "cuda" */
    rt_precision precision;
    rt_dtype act;     /* dtype of activations */
    bool host_memory; /* backend memory is host memory (the CPU): callers may read and write it directly */
    void *stream;     /* the ops' order as the device knows it (cudaStream_t); NULL where memory is the host's */
    int device;       /* its ordinal; 0 on the CPU */
    /* Set by whoever must not be waited out (ranks, of which one may have died): called again and again while the host
     * waits for the device; a failure ends the wait. NULL: nobody. */
    rt_status (*while_waiting)(void *context);
    void *waiting_context;
    char description[192]; /* for the log's first line: device, instruction level, why this precision */

    /* Memory. alloc gives zeroed memory, aligned to 256 bytes; RT_ENOMEM names `what`. */
    rt_status (*alloc)(rt_backend *, size_t bytes, const char *what, void **out);
    void (*release)(rt_backend *, void *pointer, size_t bytes);
    rt_status (*upload)(rt_backend *, void *to, const void *from_host, size_t bytes);
    rt_status (*download)(rt_backend *, void *to_host, const void *from, size_t bytes);
    rt_status (*zero)(rt_backend *, void *pointer, size_t bytes);
    rt_status (*convert)(rt_backend *, void *to, rt_dtype to_dtype, const void *from, rt_dtype from_dtype, size_t n);
    /* The same in the order of another stream of the device, for transfers beside the ops; where memory is the host's
     * there is one order, and this is convert. */
    rt_status (*convert_on)(rt_backend *, void *stream, void *to, rt_dtype to_dtype, const void *from,
                            rt_dtype from_dtype, size_t n);
    rt_status (*synchronize)(rt_backend *);

    /* What a step needs to run ahead of its host. The CPU backend does each at once.
     * Host memory that a device copies from and to by itself (pinned); zeroed, aligned to 256 bytes. */
    rt_status (*alloc_host)(rt_backend *, size_t bytes, const char *what, void **out);
    void (*release_host)(rt_backend *, void *pointer, size_t bytes);
    /* Uploads beside the ops, on a stream of their own. A slot (0 .. RT_UPLOAD_SLOTS - 1) is one block of host memory
     * (from alloc_host) and its twin on the device. In this order, again and again:
     *   upload_wait   the host waits until the slot's last upload has been read from host memory: it may be refilled
     *   upload_start  copies, after the ops that were issued before the slot's last upload_done
     *   upload_use    ops issued from here on see the copy
     *   upload_done   ops issued up to here are its last readers */
    rt_status (*upload_wait)(rt_backend *, int slot);
    rt_status (*upload_start)(rt_backend *, int slot, void *to, const void *from_host, size_t bytes);
    rt_status (*upload_use)(rt_backend *, int slot);
    rt_status (*upload_done)(rt_backend *, int slot);
    /* In the ops' order: at most RT_WRITE_MAX bytes (a multiple of 4), taken from the host at the call. */
    rt_status (*write)(rt_backend *, void *to, const void *from_host, size_t bytes);
    /* In the ops' order, into memory of alloc_host; there once a later mark has been waited for. */
    rt_status (*download_start)(rt_backend *, void *to_host, const void *from, size_t bytes);
    /* mark: a place in the ops' order; wait: the host waits until all before the mark's last place is done. */
    rt_status (*mark)(rt_backend *, int mark);
    rt_status (*wait)(rt_backend *, int mark);

    /* Scratch that the ops need for these sizes, and the block that holds it. Must be given before the first op. */
    size_t (*workspace_bytes)(rt_backend *, const rt_dims *);
    rt_status (*set_workspace)(rt_backend *, const rt_dims *, void *workspace, size_t bytes);
    /* Private weight form; 0: none wanted. pack is called after load, after Adam and after an all-gather. */
    size_t (*packed_bytes)(rt_backend *, int64_t n, int64_t k);
    rt_status (*pack)(rt_backend *, const float *master, int64_t n, int64_t k, void *packed);

    rt_status (*linear_forward)(rt_backend *, const rt_linear_forward_args *);
    rt_status (*linear_backward)(rt_backend *, const rt_linear_backward_args *);
    rt_status (*embed_forward)(rt_backend *, const rt_embed_forward_args *);
    rt_status (*embed_backward)(rt_backend *, const rt_embed_backward_args *);
    rt_status (*attention_forward)(rt_backend *, const rt_attention_forward_args *);
    rt_status (*attention_backward)(rt_backend *, const rt_attention_backward_args *);
    rt_status (*residual_norm_forward)(rt_backend *, const rt_residual_norm_forward_args *);
    rt_status (*residual_norm_backward)(rt_backend *, const rt_residual_norm_backward_args *);
    rt_status (*select_rows_forward)(rt_backend *, const rt_rows_forward_args *);
    rt_status (*select_rows_backward)(rt_backend *, const rt_rows_backward_args *);
    rt_status (*mean_rows_forward)(rt_backend *, const rt_rows_forward_args *);
    rt_status (*mean_rows_backward)(rt_backend *, const rt_rows_backward_args *);
    rt_status (*dropout)(rt_backend *, const rt_dropout_args *);
    rt_status (*classify)(rt_backend *, const rt_classify_args *);
    rt_status (*sum_squares)(rt_backend *, const rt_sum_squares_args *);
    rt_status (*adamw)(rt_backend *, const rt_adamw_args *);
    void (*close)(rt_backend *);
};

typedef struct {
    rt_precision precision; /* resolved: never "auto" */
    int threads;            /* 0: all cores this process may use */
    int device;             /* GPU ordinal; -1: by local rank */
} rt_backend_options;

/* The CPU backend, always there. RECTRAIN_ISA caps the instruction level (oneDNN too). Precision tf32 is refused (78).
 */
rt_status rt_cpu_backend_open(const rt_backend_options *options, rt_backend **out);
/* True where the CPU computes bf16 products in hardware (AVX512_BF16, AMX): what precision = auto asks. */
bool rt_cpu_has_bf16(void);

#endif
