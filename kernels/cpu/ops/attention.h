/* What attention's forward and backward share: the checks of their arguments, one head of one sequence, one thread's
 * scratch. */
#ifndef RT_OPS_ATTENTION_H
#define RT_OPS_ATTENTION_H
#include "attention_mask.h"
#include "attention_product.h"
#include "token_walk.h"
#include <math.h>

/* The dropout counter has 12 bits for the query and 8 for the head. */
enum { RT_ATTENTION_LENGTH_MAX = 4096, RT_ATTENTION_HEADS_MAX = 256, RT_ATTENTION_TILE_FLOATS = 8192 };

/* Query rows that are worked on together: what lets a tile of scores stay in the first-level cache, and whole blocks of
 * rt_multiply. A longer sequence only makes the tile thinner, so scratch is linear in the length. */
static inline int64_t rt_attention_tile_rows(int64_t keys) {
    int64_t rows = RT_ATTENTION_TILE_FLOATS / keys / RT_BLOCK_ROWS * RT_BLOCK_ROWS;
    if (rows < 24) rows = 24;
    return rows > 96 ? 96 : rows;
}

/* Floats of one thread's scratch for sequences of up to `length` tokens; never less for a longer one. */
static inline int64_t rt_attention_floats(int64_t length, int64_t dim, bool training) {
    int64_t keys = rt_panel_up(length), width = rt_panel_up(dim), tile = length < 96 ? length : 96;
    int64_t scores = tile * keys, most = keys > RT_ATTENTION_TILE_FLOATS / 24 ? 24 * keys : RT_ATTENTION_TILE_FLOATS;
    if (scores > most) scores = most;
    int64_t floats = keys * dim + length * width + scores + 2 * tile * width + tile + keys + 16;
    if (training) floats = 2 * keys * dim + 3 * length * width + 2 * scores + 3 * tile * width + keys + 16;
    return (floats + tile + 11 * 16 + 63) / 64 * 64; /* each piece starts on a cache line, and so does each thread */
}

typedef struct {
    float *next;
} rt_carver;

static inline float *rt_carve(rt_carver *carver, int64_t floats) {
    float *piece = carver->next;
    carver->next += (floats + 15) / 16 * 16;
    return piece;
}

/* One head of one sequence. */
typedef struct {
    int64_t first, length;  /* its tokens */
    int64_t query, queries; /* its first row in q, out and lse, and how many */
    int64_t rows;           /* of q, out and lse, for all sequences */
    int sequence, head;
} rt_attention_head;

static inline rt_attention_head rt_attention_at(const rt_attention_forward_args *f, int64_t pair) {
    const rt_batch *batch = f->batch;
    int b = (int)(pair / f->heads);
    int64_t first = batch->cu_seqlens[b], length = batch->cu_seqlens[b + 1] - first;
    bool one = f->queries == RT_ROWS_FIRST;
    return (rt_attention_head){.first = first,
                               .length = length,
                               .query = one ? b : first,
                               .queries = one ? 1 : length,
                               .rows = one ? batch->n_seqs : batch->n_tokens,
                               .sequence = b,
                               .head = (int)(pair % f->heads)};
}

/* Pairs (sequence, head) that a thread takes at a time. Threads take them as they come: a pair writes only what is its
 * own, so who computes it does not show in the result. */
static inline int rt_attention_chunk(int64_t pairs, int threads) {
    int64_t chunk = pairs / (8 * (int64_t)threads);
    return chunk < 1 ? 1 : chunk > 64 ? 64 : (int)chunk;
}

/* Also finds the longest sequence. */
static inline rt_status rt_attention_check(const rt_attention_forward_args *f, const char *op, int64_t *longest) {
    const rt_batch *batch = f->batch;
    *longest = 0;
    if (f->heads < 1 || f->heads > RT_ATTENTION_HEADS_MAX)
        return rt_fail(RT_ESHAPE, "%s: %d heads; 1 to %d are possible", op, f->heads, RT_ATTENTION_HEADS_MAX);
    if (f->head_dim < 8 || f->head_dim % 8)
        return rt_fail(RT_ESHAPE, "%s: heads of width %d; a multiple of 8 is needed", op, f->head_dim);
    int64_t width = (int64_t)f->heads * f->head_dim;
    if (f->q_stride < width || f->k_stride < width || f->v_stride < width || f->out_stride < width)
        return rt_fail(RT_ESHAPE,
                       "%s: row strides q %lld, k %lld, v %lld, out %lld; at least heads x width = %lld each", op,
                       (long long)f->q_stride, (long long)f->k_stride, (long long)f->v_stride, (long long)f->out_stride,
                       (long long)width);
    if (f->dropout.p < 0 || !(f->dropout.p < 1) || (f->dropout.p > 0 && !f->dropout.state))
        return rt_fail(RT_ESHAPE, "%s: dropout %g%s; 0 <= p < 1 is needed, and a step state if p > 0", op,
                       (double)f->dropout.p, f->dropout.state ? "" : " without a step state");
    if (!(f->scale > 0)) return rt_fail(RT_ESHAPE, "%s: scale %g; a positive one is needed", op, (double)f->scale);
    RT_TRY(rt_check_sequences(batch, op));
    for (int b = 0; b < batch->n_seqs; b++) {
        int64_t length = batch->cu_seqlens[b + 1] - batch->cu_seqlens[b];
        if (length > *longest) *longest = length;
    }
    if (*longest > RT_ATTENTION_LENGTH_MAX)
        return rt_fail(RT_ESHAPE, "%s: a sequence of %lld tokens; at most %d are possible", op, (long long)*longest,
                       RT_ATTENTION_LENGTH_MAX);
    return RT_OK;
}

#endif
