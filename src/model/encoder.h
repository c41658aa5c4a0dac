/* The transformer encoder and BERT's pooling over packed micro-batches: forward, backward, and the memory both need.
 *
 * The way of a batch (T tokens, B sequences, H hidden, F feed-forward, L layers):
 *   embed                    x0 [T, H]
 *   layer l: q k v  [T, 3H] -> attention ctx [T, H] -> output linear -> residual_norm y1 [T, H]
 *            -> linear + GELU [T, F] -> linear -> residual_norm x(l+1) [T, H]
 *   pooling = cls: in the last layer K and V run on all T rows and everything else on the B first rows, so x(L) is
 *            [B, H]; then the pooler, tanh(x W^T + b) [B, H].
 *   pooling = mean: x(L) is [T, H]; the mean over each sequence [B, H].
 *   pooling = first: as cls, but x(L) [B, H] itself is pooled; there is no pooler.
 *   dropout at site RT_SITE_POOLED, then the objective's head.
 * Backward walks the same way down and reports each finished range of trainables, in the order of train_off.
 */
#ifndef RT_MODEL_ENCODER_H
#define RT_MODEL_ENCODER_H
#include "../base/arena.h"
#include "model.h"

typedef struct {
    int ln_gamma, ln_beta; /* table rows */
} rt_norm_rows;

typedef struct {
    int q_weight, q_bias; /* rows of query, key, value follow each other */
    rt_linear qkv;        /* all three on all rows ... */
    rt_linear q, kv;      /* ... or, in a last layer that computes first rows only, apart */
    rt_linear attn_out, ffn_in, ffn_out;
    rt_norm_rows norm1, norm2;
} rt_layer_rows;

/* Activations that a layer's backward reads. [R] is T, or B in a first-rows last layer. */
typedef struct {
    void *x;                              /* [T, H] input: the output of the layer below */
    void *x_first;                        /* [B, H] in a first-rows layer */
    void *qkv;                            /* [T, 3H]; first-rows: kv [T, 2H] */
    void *q_first;                        /* [B, H] */
    void *ctx, *z1, *y1, *z2;             /* [R, H] */
    void *pre, *gelu;                     /* [R, F] */
    void *y;                              /* [R, H] output */
    float *lse;                           /* [A, R] */
    float *mean1, *rstd1, *mean2, *rstd2; /* [R] */
} rt_layer_acts;

/* All activations of one kind of pass. */
typedef struct {
    rt_layer_acts *layers; /* [L] */
    float *embed_mean, *embed_rstd;
    void *pooled_raw, *pooled;                    /* [B, H] before and after dropout */
    void *grad_a, *grad_b, *grad_wide, *grad_qkv; /* [T, H], [T, H], [T, F], [T, 3H] + [B, H]; training alone */
    int max_tokens, max_seqs;
} rt_acts;

/* Sizes of the largest micro-batches; train_tokens 0: no training. */
typedef struct {
    int train_tokens, train_seqs, eval_tokens, eval_seqs, max_len;
    int head_rows, head_width; /* the objective's largest product beyond a row a sequence and bert.labels; 0: none */
    bool recompute; /* keep each layer's input alone and run the layer again in backward: the same bits, less memory */
} rt_encoder_sizes;

typedef struct rt_encoder {
    rt_model *model;
    rt_encoder_sizes sizes;
    bool training;       /* train_tokens > 0 */
    bool first_rows;     /* the last layer runs on the first rows only (pooling = cls, first) */
    int first_trainable; /* lowest layer whose backward must run; L when none */
    bool embeddings_trainable;
    int word, position, type; /* table rows */
    rt_norm_rows embed_norm;
    rt_layer_rows *layers; /* [L] */
    rt_linear pooler;      /* with pooling = cls alone */
    bool has_pooler;

    rt_acts train, eval; /* the same memory, cut in two ways: a pass of one kind ends the other's activations */
    rt_acts *last;       /* of the last forward */
    void *arena_memory, *workspace;
    size_t arena_bytes, workspace_bytes;
} rt_encoder;

/* Appends the encoder's rows (and BERT's pooler with pooling = cls) in forward order, under their Hugging Face names.
 */
rt_status rt_encoder_add_params(rt_param_table *table, const rt_bert *bert);
/* Binds rows and layers of a model, registers its linears and takes activations and workspace for `sizes`. */
rt_status rt_encoder_new(rt_model *model, const rt_encoder_sizes *sizes, rt_encoder *out);
void rt_encoder_free(rt_encoder *encoder);
/* Bytes of activations and of the backend's workspace for these sizes: what rt_encoder_new will take. */
rt_status rt_encoder_measure(rt_model *model, const rt_encoder_sizes *sizes, size_t *activations, size_t *workspace);

/* How one pass is run. */
typedef struct {
    bool training; /* dropout on, activations kept */
    uint64_t seed; /* of dropout */
    uint16_t view; /* which pass over the same examples within a step */
} rt_pass;

/* A range [offset, offset + count) of the trainables is final. */
typedef rt_status (*rt_range_done)(void *context, int64_t offset, int64_t count);

/* Leaves the pooled vectors, dropout applied, in encoder->last->pooled [B, H] (backend memory, dtype act). */
rt_status rt_encoder_forward(rt_encoder *encoder, const rt_batch *batch, const rt_pass *pass);
/* From the gradient of the pooled vectors [B, H] (overwritten) down to the embeddings. accumulate: 0 stores parameter
 * gradients, 1 adds. range_done is called where not NULL (the last micro-batch), also for a batch without rows. */
rt_status rt_encoder_backward(rt_encoder *encoder, const rt_batch *batch, const rt_pass *pass, void *dpooled,
                              int accumulate, rt_range_done range_done, void *context);
/* Buffer [B, H] that an objective may fill with the gradient of the pooled vectors. */
void *rt_encoder_dpooled(rt_encoder *encoder);
/* x(L) of the last forward: [T, H], or [B, H] with first_rows. */
const void *rt_encoder_hidden(const rt_encoder *encoder);
/* The range of trainables of depth in [low, high] is one span: its offset and count (0 when all frozen). */
void rt_param_span(const rt_param_table *table, int low, int high, int64_t *offset, int64_t *count);

/* Shared by forward and backward: bind cuts the memory for this batch and makes it the last. */
rt_status rt_encoder_bind(rt_encoder *encoder, const rt_batch *batch, bool training);
/* Rows of a tensor that has one a token: on a device all of the bucket, so that few shapes come up. */
int64_t rt_encoder_token_rows(const rt_encoder *encoder, const rt_batch *batch);
rt_status rt_encoder_layer_forward(rt_encoder *encoder, const rt_batch *batch, const rt_pass *pass, int layer);
rt_dropout rt_encoder_dropout(const rt_encoder *encoder, const rt_pass *pass, float p, int site);

#endif
