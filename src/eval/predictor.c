#include "predictor.h"
#include "../data/feed.h"
#include "../data/sampler.h"
#include <stdlib.h>
#include <string.h>

struct rt_predictor {
    rt_predictor_options o;
    rt_tok_scratch *scratch;
    rt_tok_stats stats;
    rt_feed *feed;
    int32_t *ids; /* of all rows, one after the other */
    size_t n_ids, ids_capacity;
    size_t *starts; /* [rows + 1] into ids */
    uint16_t *lengths, *splits;
    uint32_t rows, rows_capacity;
    float *logits, *part;
    size_t logits_capacity; /* rows */
};

rt_status rt_predictor_new(const rt_predictor_options *options, rt_predictor **out) {
    rt_status rc = RT_OK;
    rt_predictor *p = calloc(1, sizeof *p);
    if (!p) return rt_fail(RT_ENOMEM, "out of memory to predict");
    p->o = *options;
    p->scratch = rt_tok_scratch_new();
    p->part = malloc((size_t)options->max_seqs * (size_t)options->objective->labels * sizeof *p->part);
    if (!p->scratch || !p->part) RT_GO(rt_fail(RT_ENOMEM, "out of memory to predict"));
    int longest = options->encode.max_length;
    RT_GO(rt_feed_new(options->objective->be, options->batch_tokens > longest ? options->batch_tokens : longest,
                      options->max_seqs, &p->feed));
    *out = p;
    return RT_OK;
done:
    rt_predictor_free(p);
    return rc;
}

void rt_predictor_free(rt_predictor *p) {
    if (!p) return;
    rt_tok_scratch_free(p->scratch);
    rt_feed_free(p->feed);
    free(p->ids);
    free(p->starts);
    free(p->lengths);
    free(p->splits);
    free(p->logits);
    free(p->part);
    free(p);
}

/* Grows one array to hold n elements; keeps the old one on failure. */
static bool grow(void *array, size_t size, size_t n) {
    void *grown = realloc(*(void **)array, n * size);
    if (grown) *(void **)array = grown;
    return grown != NULL;
}

static rt_status make_room(rt_predictor *p) {
    if (p->rows + 1 >= p->rows_capacity) {
        uint32_t n = p->rows_capacity ? 2 * p->rows_capacity : 1024;
        if (!grow(&p->starts, sizeof *p->starts, (size_t)n + 1) || !grow(&p->lengths, sizeof *p->lengths, n) ||
            !grow(&p->splits, sizeof *p->splits, n))
            return rt_fail(RT_ENOMEM, "out of memory for %u rows", n);
        p->rows_capacity = n;
    }
    size_t need = p->n_ids + (size_t)p->o.encode.max_length;
    if (need > p->ids_capacity) {
        size_t n = 2 * need;
        if (!grow(&p->ids, sizeof *p->ids, n)) return rt_fail(RT_ENOMEM, "out of memory for %zu tokens", n);
        p->ids_capacity = n;
    }
    return RT_OK;
}

rt_status rt_predictor_add(rt_predictor *p, const char *a, size_t a_size, const char *b, size_t b_size) {
    int n = 0, split = 0;
    RT_TRY(make_room(p));
    RT_TRY(
        rt_encode(p->o.tok, p->scratch, &p->o.encode, a, a_size, b, b_size, p->ids + p->n_ids, &n, &split, &p->stats));
    p->starts[p->rows] = p->n_ids;
    p->lengths[p->rows] = (uint16_t)n;
    p->splits[p->rows] = (uint16_t)split;
    p->rows++;
    p->n_ids += (size_t)n;
    return RT_OK;
}

uint32_t rt_predictor_rows(const rt_predictor *p) {
    return p->rows;
}

const rt_tok_stats *rt_predictor_stats(const rt_predictor *p) {
    return &p->stats;
}

static rt_status score_batch(rt_predictor *p, const uint32_t *rows, int n) {
    size_t width = (size_t)p->o.objective->labels;
    rt_batch_buffer *buffer;
    const rt_batch *batch;
    RT_TRY(rt_feed_begin(p->feed, &buffer));
    rt_batch_begin(buffer);
    for (int i = 0; i < n; i++) {
        uint32_t r = rows[i];
        RT_TRY(rt_batch_add(buffer, p->ids + p->starts[r], p->lengths[r], p->splits[r], 0, 0.0f, r));
    }
    rt_batch_finish(buffer, false);
    RT_TRY(rt_feed_send(p->feed, &batch));
    RT_TRY(p->o.objective->predict(p->o.objective, batch, p->part));
    RT_TRY(rt_feed_end(p->feed));
    for (int i = 0; i < n; i++)
        memcpy(p->logits + rows[i] * width, p->part + (size_t)i * width, width * sizeof *p->part);
    return RT_OK;
}

rt_status rt_predictor_run(rt_predictor *p, const float **logits) {
    rt_status rc = RT_OK;
    uint32_t *order = NULL, *starts = NULL, n_batches = 0;
    if (p->rows > p->logits_capacity) {
        if (!grow(&p->logits, (size_t)p->o.objective->labels * sizeof(float), p->rows))
            RT_GO(rt_fail(RT_ENOMEM, "out of memory for logits"));
        p->logits_capacity = p->rows;
    }
    if (p->rows) RT_GO(rt_eval_cut(p->rows, p->lengths, p->o.batch_tokens, p->o.max_seqs, &order, &starts, &n_batches));
    for (uint32_t b = 0; b < n_batches; b++) {
        if (p->o.stop && p->o.stop()) RT_GO(rt_fail(RT_ESTOPPED, "stopped by a signal"));
        RT_GO(score_batch(p, order + starts[b], (int)(starts[b + 1] - starts[b])));
    }
    *logits = p->logits;
    p->rows = 0;
    p->n_ids = 0;
done:
    free(order);
    free(starts);
    return rc;
}
