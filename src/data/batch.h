/* Host-side packed micro-batches (rt_batch in types.h), built from a data set into buffers made once. */
#ifndef RT_DATA_BATCH_H
#define RT_DATA_BATCH_H
#include "dataset.h"
#include <rectrain/types.h>

typedef struct {
    rt_batch batch; /* pointers into one block of memory */
    int max_tokens, max_seqs;
    void *memory;       /* the block where it is this struct's own, else NULL */
    size_t bytes;       /* of the block */
    size_t batch_bytes; /* of its first part, which holds the batch's arrays */
    int32_t *counts;    /* scratch of the index sort, [4096], then one index a token */
    int32_t max_id;     /* of the batch being made */
} rt_batch_buffer;

rt_status rt_batch_buffer_new(int max_tokens, int max_seqs, rt_batch_buffer *out);
void rt_batch_buffer_free(rt_batch_buffer *buffer);
/* The same over memory of the caller's: zeroed, aligned to 256 bytes, of this size. */
rt_status rt_batch_buffer_bytes(int max_tokens, int max_seqs, size_t *out);
void rt_batch_buffer_place(void *memory, int max_tokens, int max_seqs, rt_batch_buffer *out);
/* The batch with its arrays, which lie in a block at `from`, as they lie in a copy of the block at `to`. */
rt_batch rt_batch_at(const rt_batch *batch, const void *from, const void *to);
/* By hand, a sequence at a time: begin, add ..., finish. `ids` are copied (or already stand at their place); tokens
 * from `split` on have type 1. RT_EINTERNAL if it does not fit. */
void rt_batch_begin(rt_batch_buffer *buffer);
rt_status rt_batch_add(rt_batch_buffer *buffer, const int32_t *ids, int n, int split, int32_t label, float scale,
                       uint32_t example_id);
void rt_batch_finish(rt_batch_buffer *buffer, bool with_index);
/* Fills from rows[0..n): ids, positions, types, cu_seqlens (padded to max_seqs), labels (0 without), example_id = row,
 * row_scale[i] = scales ? scales[i] : 0, sorted_tokens when `with_index`. RT_EINTERNAL if it does not fit. */
rt_status rt_batch_fill(rt_batch_buffer *buffer, const rt_dataset *ds, const uint32_t *rows, int n, const float *scales,
                        bool with_index);

#endif
