/* Rows of a packed batch: checks of its sequences, and which (example, position) a row is. */
#ifndef RT_OPS_TOKEN_WALK_H
#define RT_OPS_TOKEN_WALK_H
#include "op.h"

static inline rt_status rt_check_sequences(const rt_batch *batch, const char *op) {
    if (batch->n_tokens < 0 || batch->n_seqs < 0)
        return rt_fail(RT_ESHAPE, "%s: a batch of %d sequences and %d tokens", op, batch->n_seqs, batch->n_tokens);
    for (int b = 0; b < batch->n_seqs; b++)
        if (batch->cu_seqlens[b] < 0 || batch->cu_seqlens[b + 1] < batch->cu_seqlens[b])
            return rt_fail(RT_ESHAPE, "%s: sequence %d of the batch owns tokens %d to %d", op, b, batch->cu_seqlens[b],
                           batch->cu_seqlens[b + 1]);
    if (batch->n_seqs && (batch->cu_seqlens[0] != 0 || batch->cu_seqlens[batch->n_seqs] != batch->n_tokens))
        return rt_fail(RT_ESHAPE, "%s: sequences own tokens %d to %d of a batch that has %d", op, batch->cu_seqlens[0],
                       batch->cu_seqlens[batch->n_seqs], batch->n_tokens);
    if (!batch->n_seqs && batch->n_tokens)
        return rt_fail(RT_ESHAPE, "%s: %d tokens in no sequence", op, batch->n_tokens);
    return RT_OK;
}

/* For ops with hidden dropout: a channel group has the counter's low 16 bits, the position the high ones. */
static inline rt_status rt_check_hidden(const rt_batch *batch, int64_t hidden, const rt_dropout *dropout,
                                        const char *op) {
    if (hidden < 8 || hidden % 8 || hidden > 4 * 65536)
        return rt_fail(RT_ESHAPE, "%s: width %lld; a multiple of 8 up to 262144 is needed", op, (long long)hidden);
    if (dropout && (dropout->p < 0 || !(dropout->p < 1) || (dropout->p > 0 && !dropout->state)))
        return rt_fail(RT_ESHAPE, "%s: dropout %g%s; 0 <= p < 1 is needed, and a step state if p > 0", op,
                       (double)dropout->p, dropout->state ? "" : " without a step state");
    return rt_check_sequences(batch, op);
}

static inline int64_t rt_rows_of(const rt_batch *batch, rt_rows rows) {
    return rows == RT_ROWS_FIRST ? batch->n_seqs : batch->n_tokens;
}

/* Walks along rows in order; `sequence` is that of the row last asked for. Starts anywhere. */
typedef struct {
    const rt_batch *batch;
    rt_rows rows;
    int sequence;
} rt_walk;

static inline rt_walk rt_walk_from(const rt_batch *batch, rt_rows rows, int64_t row) {
    int low = 0, high = rows == RT_ROWS_FIRST ? 0 : batch->n_seqs; /* the last sequence that starts at or before row */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (batch->cu_seqlens[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return (rt_walk){batch, rows, low};
}

/* Rows must be asked for in ascending order. */
static inline void rt_walk_to(rt_walk *walk, int64_t row, uint32_t *example, uint32_t *position) {
    if (walk->rows == RT_ROWS_FIRST) {
        walk->sequence = (int)row, *position = 0;
    } else {
        while (row >= walk->batch->cu_seqlens[walk->sequence + 1]) walk->sequence++;
        *position = (uint32_t)(row - walk->batch->cu_seqlens[walk->sequence]);
    }
    *example = walk->batch->example_id[walk->sequence];
}

#endif
