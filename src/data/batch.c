#include "batch.h"
#include <stdlib.h>
#include <string.h>

enum { RADIX_BITS = 12, RADIX = 1 << RADIX_BITS };

static size_t round64(size_t n) {
    return (n + 63) & ~(size_t)63;
}

/* Takes n 4-byte words, rounded up so that the next block starts on 256 bytes; with base NULL it only counts. */
static void *take(unsigned char *base, size_t *used, size_t n) {
    void *block = base ? base + *used : NULL;
    *used += round64(n) * 4;
    return block;
}

static size_t bind(rt_batch_buffer *b, unsigned char *base) {
    size_t used = 0, tokens = round64((size_t)b->max_tokens), seqs = (size_t)b->max_seqs;
    b->batch.input_ids = take(base, &used, tokens);
    b->batch.positions = take(base, &used, tokens);
    b->batch.types = take(base, &used, tokens);
    b->batch.sorted_tokens = take(base, &used, tokens);
    b->batch.cu_seqlens = take(base, &used, seqs + 1);
    b->batch.row_scale = take(base, &used, seqs);
    b->batch.labels = take(base, &used, seqs);
    b->batch.example_id = take(base, &used, seqs);
    b->batch_bytes = used;
    b->counts = take(base, &used, RADIX + tokens);
    return used;
}

static rt_status check_sizes(int max_tokens, int max_seqs) {
    if (max_tokens < 1 || max_seqs < 1 || max_tokens > INT32_MAX - 64 || max_seqs > INT32_MAX - 64)
        return rt_fail(RT_EINTERNAL, "a batch of %d tokens and %d sequences", max_tokens, max_seqs);
    return RT_OK;
}

rt_status rt_batch_buffer_bytes(int max_tokens, int max_seqs, size_t *out) {
    rt_batch_buffer b = {.max_tokens = max_tokens, .max_seqs = max_seqs};
    RT_TRY(check_sizes(max_tokens, max_seqs));
    *out = bind(&b, NULL);
    return RT_OK;
}

void rt_batch_buffer_place(void *memory, int max_tokens, int max_seqs, rt_batch_buffer *out) {
    *out = (rt_batch_buffer){.max_tokens = max_tokens, .max_seqs = max_seqs};
    out->bytes = bind(out, memory);
    out->batch.capacity = max_seqs;
}

rt_status rt_batch_buffer_new(int max_tokens, int max_seqs, rt_batch_buffer *out) {
    void *memory;
    size_t bytes;
    *out = (rt_batch_buffer){0};
    RT_TRY(rt_batch_buffer_bytes(max_tokens, max_seqs, &bytes));
    if (posix_memalign(&memory, 256, bytes) != 0)
        return rt_fail(RT_ENOMEM, "no memory for a batch of %d tokens: %zu bytes", max_tokens, bytes);
    memset(memory, 0, bytes);
    rt_batch_buffer_place(memory, max_tokens, max_seqs, out);
    out->memory = memory;
    return RT_OK;
}

rt_batch rt_batch_at(const rt_batch *batch, const void *from, const void *to) {
    rt_batch moved = *batch;
#define MOVE(field)                                                                                                    \
    if (batch->field) moved.field = (const void *)((const char *)to + ((const char *)batch->field - (const char *)from))
    MOVE(input_ids);
    MOVE(positions);
    MOVE(types);
    MOVE(cu_seqlens);
    MOVE(row_scale);
    MOVE(labels);
    MOVE(example_id);
    MOVE(sorted_tokens);
#undef MOVE
    return moved;
}

void rt_batch_buffer_free(rt_batch_buffer *buffer) {
    if (!buffer) return;
    free(buffer->memory);
    *buffer = (rt_batch_buffer){0};
}

/* Token indices ordered by (id, index): a stable radix sort from the low digit, so O(T) whatever the vocabulary. */
static void sort_tokens(rt_batch_buffer *b, int32_t n, int32_t max_id) {
    const int32_t *ids = b->batch.input_ids;
    int32_t *counts = b->counts, *from = b->counts + RADIX, *to = (int32_t *)b->batch.sorted_tokens;
    int passes = 1;
    while (passes < 3 && (uint32_t)max_id >> (passes * RADIX_BITS)) passes++;
    /* The passes swap two arrays; begin where the last one ends in sorted_tokens. */
    if (passes % 2 == 0) {
        int32_t *swap = from;
        from = to;
        to = swap;
    }
    for (int32_t t = 0; t < n; t++) from[t] = t;
    for (int pass = 0; pass < passes; pass++) {
        int shift = pass * RADIX_BITS;
        memset(counts, 0, RADIX * sizeof *counts);
        for (int32_t t = 0; t < n; t++) counts[(uint32_t)ids[t] >> shift & (RADIX - 1)]++;
        int32_t at = 0;
        for (int digit = 0; digit < RADIX; digit++) {
            int32_t c = counts[digit];
            counts[digit] = at;
            at += c;
        }
        for (int32_t i = 0; i < n; i++) to[counts[(uint32_t)ids[from[i]] >> shift & (RADIX - 1)]++] = from[i];
        int32_t *swap = from;
        from = to;
        to = swap;
    }
}

/* The struct shows its arrays read-only to the ops; the memory is ours. */
static int32_t *writable(const int32_t *array) {
    return (int32_t *)array;
}

void rt_batch_begin(rt_batch_buffer *buffer) {
    rt_batch *batch = &buffer->batch;
    batch->n_tokens = batch->n_seqs = batch->max_len = 0;
    buffer->max_id = 0;
    writable(batch->cu_seqlens)[0] = 0;
}

rt_status rt_batch_add(rt_batch_buffer *buffer, const int32_t *ids, int n, int split, int32_t label, float scale,
                       uint32_t example_id) {
    rt_batch *batch = &buffer->batch;
    int32_t at = batch->n_tokens, b = batch->n_seqs, *to = writable(batch->input_ids) + at;
    if (n < 0 || b >= buffer->max_seqs || n > buffer->max_tokens - at)
        return rt_fail(RT_EINTERNAL,
                       "a sequence of %d tokens does not fit a batch with %d of %d tokens and %d of %d sequences", n,
                       at, buffer->max_tokens, b, buffer->max_seqs);
    if (ids != to) memcpy(to, ids, (size_t)n * sizeof *to);
    for (int32_t t = 0; t < n; t++) {
        writable(batch->positions)[at + t] = t;
        writable(batch->types)[at + t] = t >= split;
        if (to[t] > buffer->max_id) buffer->max_id = to[t];
    }
    writable(batch->cu_seqlens)[b + 1] = at + n;
    writable(batch->labels)[b] = label;
    ((float *)batch->row_scale)[b] = scale;
    ((uint32_t *)batch->example_id)[b] = example_id;
    batch->n_tokens = at + n;
    batch->n_seqs = b + 1;
    if (n > batch->max_len) batch->max_len = n;
    return RT_OK;
}

void rt_batch_finish(rt_batch_buffer *buffer, bool with_index) {
    rt_batch *batch = &buffer->batch;
    int32_t n = batch->n_seqs, at = batch->n_tokens, bucket = (int32_t)round64((size_t)at);
    for (int i = n; i < buffer->max_seqs; i++) {
        writable(batch->cu_seqlens)[i + 1] = at;
        writable(batch->labels)[i] = 0;
        ((float *)batch->row_scale)[i] = 0;
        ((uint32_t *)batch->example_id)[i] = 0;
    }
    for (int32_t t = at; t < bucket; t++)
        writable(batch->input_ids)[t] = writable(batch->positions)[t] = writable(batch->types)[t] = 0;
    batch->bucket = bucket;
    batch->capacity = buffer->max_seqs;
    batch->sorted_tokens = (const int32_t *)((unsigned char *)batch->types + round64((size_t)buffer->max_tokens) * 4);
    if (with_index)
        sort_tokens(buffer, at, buffer->max_id);
    else
        batch->sorted_tokens = NULL;
}

rt_status rt_batch_fill(rt_batch_buffer *buffer, const rt_dataset *ds, const uint32_t *rows, int n, const float *scales,
                        bool with_index) {
    const uint16_t *lengths = rt_dataset_lengths(ds);
    const int32_t *labels = rt_dataset_labels(ds);
    const uint32_t n_rows = rt_dataset_rows(ds);
    if (n < 0 || n > buffer->max_seqs)
        return rt_fail(RT_EINTERNAL, "%d sequences do not fit a batch of %d", n, buffer->max_seqs);
    rt_batch_begin(buffer);
    for (int i = 0; i < n; i++) {
        int split = 0;
        if (rows[i] >= n_rows) return rt_fail(RT_EINTERNAL, "row %u of a data set of %u rows", rows[i], n_rows);
        int length = lengths[rows[i]];
        int32_t *to = writable(buffer->batch.input_ids) + buffer->batch.n_tokens;
        if (length <= buffer->max_tokens - buffer->batch.n_tokens) RT_TRY(rt_dataset_tokens(ds, rows[i], to, &split));
        RT_TRY(rt_batch_add(buffer, to, length, split, labels ? labels[rows[i]] : 0, scales ? scales[i] : 0, rows[i]));
    }
    rt_batch_finish(buffer, with_index);
    return RT_OK;
}
