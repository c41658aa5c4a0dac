#include "token_rows.h"
#include "../data/sampler.h"
#include <stdlib.h>

/* Grows one array to hold n elements; keeps the old one on failure. */
static bool grow(void *array, size_t size, size_t n) {
    void *grown = realloc(*(void **)array, n * size);
    if (grown) *(void **)array = grown;
    return grown != NULL;
}

rt_status rt_token_rows_room(rt_token_rows *r, int longest, int32_t **ids) {
    if (r->n == r->capacity) {
        if (r->capacity > UINT32_MAX / 2) return rt_fail(RT_EDATA, "%u rows at once: expected fewer", r->n);
        uint32_t n = r->capacity ? 2 * r->capacity : 1024;
        if (!grow(&r->starts, sizeof *r->starts, n) || !grow(&r->lengths, sizeof *r->lengths, n) ||
            !grow(&r->splits, sizeof *r->splits, n))
            return rt_fail(RT_ENOMEM, "out of memory for %u rows", n);
        r->capacity = n;
    }
    size_t need = r->n_ids + (size_t)longest;
    if (need > r->ids_capacity) {
        if (!grow(&r->ids, sizeof *r->ids, 2 * need)) return rt_fail(RT_ENOMEM, "out of memory for %zu tokens", need);
        r->ids_capacity = 2 * need;
    }
    *ids = r->ids + r->n_ids;
    return RT_OK;
}

void rt_token_rows_push(rt_token_rows *r, int n, int split) {
    r->starts[r->n] = r->n_ids;
    r->lengths[r->n] = (uint16_t)n;
    r->splits[r->n] = (uint16_t)split;
    r->n++;
    r->n_ids += (size_t)n;
}

void rt_token_rows_clear(rt_token_rows *r) {
    r->n = 0;
    r->n_ids = 0;
}

void rt_token_rows_free(rt_token_rows *r) {
    free(r->ids);
    free(r->starts);
    free(r->lengths);
    free(r->splits);
    *r = (rt_token_rows){0};
}

static rt_status run_batch(const rt_token_rows *r, const rt_token_run *run, const uint32_t *rows, int n) {
    rt_batch_buffer *buffer;
    const rt_batch *batch;
    RT_TRY(rt_feed_begin(run->feed, &buffer));
    rt_batch_begin(buffer);
    for (int i = 0; i < n; i++) {
        uint32_t row = rows[i];
        RT_TRY(rt_batch_add(buffer, r->ids + r->starts[row], r->lengths[row], r->splits[row], 0, 0.0f, row));
    }
    rt_batch_finish(buffer, false);
    RT_TRY(rt_feed_send(run->feed, &batch));
    RT_TRY(run->each(run->context, batch, rows, n));
    return rt_feed_end(run->feed);
}

rt_status rt_token_rows_run(const rt_token_rows *r, const rt_token_run *run) {
    rt_status rc = RT_OK;
    uint32_t *order = NULL, *starts = NULL, n_batches = 0;
    if (r->n) RT_GO(rt_eval_cut(r->n, r->lengths, run->batch_tokens, run->max_seqs, &order, &starts, &n_batches));
    for (uint32_t b = 0; b < n_batches; b++) {
        if (run->stop && run->stop()) RT_GO(rt_fail(RT_ESTOPPED, "stopped by a signal"));
        RT_GO(run_batch(r, run, order + starts[b], (int)(starts[b + 1] - starts[b])));
    }
done:
    free(order);
    free(starts);
    return rc;
}
