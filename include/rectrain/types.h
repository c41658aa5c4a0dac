/* Types that every backend and every module above it share. Shape letters, here and in all comments:
 *   T tokens of a micro-batch   B its sequences   H hidden width   A heads   D = H / A   F feed-forward width
 *   L layers   K labels   V vocabulary   S length of one sequence
 */
#ifndef RECTRAIN_TYPES_H
#define RECTRAIN_TYPES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { RT_F32 = 0, RT_BF16 = 1 } rt_dtype;
typedef uint16_t rt_bf16; /* bits of a bfloat16 */
static inline size_t rt_dtype_size(rt_dtype t) {
    return t == RT_BF16 ? 2 : 4;
}

typedef enum { RT_PRECISION_FP32 = 0, RT_PRECISION_TF32 = 1, RT_PRECISION_BF16 = 2 } rt_precision;

typedef enum { RT_ACT_NONE = 0, RT_ACT_GELU = 1 /* erf form */, RT_ACT_TANH = 2 } rt_activation;

/* Which rows a tensor of activations has: one for each token, or one (the first token's) for each sequence. */
typedef enum { RT_ROWS_TOKENS = 0, RT_ROWS_FIRST = 1 } rt_rows;

/* A packed micro-batch. No padding between sequences: sequence b owns tokens cu_seqlens[b] .. cu_seqlens[b + 1] - 1,
 * and token t of it has positions[t] = t - cu_seqlens[b]. Pointers are backend memory, owned by the data module. */
typedef struct {
    const int32_t *input_ids, *positions, *types; /* [bucket]; rows beyond n_tokens hold 0 */
    const int32_t *cu_seqlens;    /* [capacity + 1]; beyond n_seqs the total repeats (empty sequences) */
    const float *row_scale;       /* [capacity] w_i / W; 0 beyond n_seqs */
    const int32_t *labels;        /* [capacity] 0 .. K-1 (K = 1: 0 or 1) */
    const uint32_t *example_id;   /* [capacity] the row's index in its data set */
    const int32_t *sorted_tokens; /* [n_tokens] token indices ordered by (input_ids[t], t); may be NULL in evaluation */
    int32_t n_tokens;             /* T */
    int32_t bucket;               /* T rounded up to 64: a GPU op may touch this many rows */
    int32_t n_seqs;               /* B; 0 is a legal empty micro-batch */
    int32_t capacity;             /* sequences the arrays have room for */
    int32_t max_len;              /* longest sequence */
} rt_batch;

/* Scalars of one optimizer step, in backend memory so that a captured step can be replayed. Written by the host before
 * the step, except where said. */
typedef struct {
    uint32_t step;      /* global step from 0: the dropout counter's c0 */
    float lr;           /* learning rate of this step, before a row's lr_scale */
    float bias1, bias2; /* 1 - beta1^t, 1 - beta2^t; t = Adam's own step, from 1 */
    float clip_norm;    /* 0: none */
    uint32_t skipped;   /* out: adamw sets 1 when grad_sq was not finite, else 0 */
    double grad_sq;     /* written by sum_squares: squared L2 norm of the whole gradient, before clipping */
} rt_step_state;

/* Dropout at one site. Contract: Philox4x32-10 with key (seed low, seed high) and counter
 *   c0 = state->step, c1 = example id, c2 = site << 16 | view,
 *   c3 = position << 16 | group (hidden; group g = channels 4g .. 4g+3)
 *      | head << 24 | query << 12 | group (attention; group 4j + t = keys 16j + 2t + {0, 1, 8, 9}).
 * Word n of the four decides member n of the group: keep iff word >= floor(p 2^32); kept values scale by 1 / (1 - p).
 * p = 0 switches it off (evaluation). */
typedef struct {
    float p;
    uint16_t site, view;
    uint64_t seed;
    const rt_step_state *state; /* backend memory; may be NULL when p = 0 */
} rt_dropout;

enum {
    RT_SITE_ATTENTION_PROBS = 0, /* + 8 x layer */
    RT_SITE_ATTENTION_OUTPUT = 1,
    RT_SITE_FEED_FORWARD = 2,
    RT_SITE_EMBEDDINGS = 0xFF00,
    RT_SITE_POOLED = 0xFF01,
    RT_SITE_OBJECTIVE = 0xFF10, /* objectives and adapters from here */
    RT_SITE_INIT = 0xFFF0,      /* initialisation */
    RT_SITE_SHUFFLE = 0xFFF1,
};

/* The largest sizes a backend will meet; it answers with the workspace it needs. */
typedef struct {
    int32_t max_tokens, max_seqs, max_len;
    int32_t hidden, heads, ffn, vocab, max_positions, type_vocab, labels;
    bool training;
} rt_dims;

#endif
