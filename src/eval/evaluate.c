#include "evaluate.h"
#include "../data/feed.h"
#include "../data/sampler.h"
#include <stdlib.h>
#include <string.h>

int rt_eval_max_seqs(int batch_tokens) {
    int n = batch_tokens / 4;
    return n < 16 ? 16 : n;
}

typedef struct {
    rt_objective *objective;
    const rt_dataset *ds;
    rt_comm *comm;
    const rt_evaluate_options *options;
    rt_feed *feed;
    uint32_t *order, *starts, n_batches; /* of rt_eval_cut */
    size_t width;                        /* K */
    float *part;                         /* a batch's logits */
    float *logits;                       /* rank 0: of all rows */
    float *own;                          /* other ranks: of their batches, one after the other */
    size_t own_rows;
} evaluation;

static int rows_in(const evaluation *e, uint32_t batch) {
    return (int)(e->starts[batch + 1] - e->starts[batch]);
}

static void place(evaluation *e, uint32_t batch, const float *from) {
    const uint32_t *rows = e->order + e->starts[batch];
    for (int i = 0; i < rows_in(e, batch); i++)
        memcpy(e->logits + rows[i] * e->width, from + (size_t)i * e->width, e->width * sizeof *from);
}

static rt_status score(evaluation *e, uint32_t batch) {
    rt_batch_buffer *buffer;
    const rt_batch *sent;
    int n = rows_in(e, batch);
    RT_TRY(rt_feed_begin(e->feed, &buffer));
    RT_TRY(rt_batch_fill(buffer, e->ds, e->order + e->starts[batch], n, NULL, false));
    RT_TRY(rt_feed_send(e->feed, &sent));
    RT_TRY(e->objective->predict(e->objective, sent, e->part));
    RT_TRY(rt_feed_end(e->feed));
    if (e->comm->rank == 0) {
        place(e, batch, e->part);
    } else {
        memcpy(e->own + e->own_rows * e->width, e->part, (size_t)n * e->width * sizeof *e->part);
        e->own_rows += (size_t)n;
    }
    return RT_OK;
}

/* The stop of one rank stops all, at the same batch. */
static rt_status stopped(const evaluation *e) {
    uint32_t stop = e->options->stop && e->options->stop(e->options->context);
    RT_TRY(e->comm->agree(e->comm, &stop));
    return stop ? rt_fail(RT_ESTOPPED, "evaluation stopped by a signal") : RT_OK;
}

/* Rank r scored the batches r, r + size, ...: its logits come in their order. */
static rt_status gather(evaluation *e) {
    rt_comm *c = e->comm;
    size_t sizes_bytes = (size_t)c->size * sizeof(size_t), *sizes = malloc(sizes_bytes);
    char *all = NULL, *at;
    if (!sizes) return rt_fail(RT_ENOMEM, "out of memory for %d ranks", c->size);
    rt_status rc = c->gather(c, e->own, e->own_rows * e->width * sizeof *e->own, (void **)&all, sizes);
    if (rc != RT_OK || c->rank) goto done;
    at = all;
    for (int r = 1; r < c->size && rc == RT_OK; r++) {
        size_t rows = 0, used = 0;
        for (uint32_t b = (uint32_t)r; b < e->n_batches; b += (uint32_t)c->size) rows += (size_t)rows_in(e, b);
        if (sizes[r] != rows * e->width * sizeof(float)) {
            rc = rt_fail(RT_EINTERNAL, "rank %d sent %zu bytes of logits where %zu were due", r, sizes[r],
                         rows * e->width * sizeof(float));
            break;
        }
        for (uint32_t b = (uint32_t)r; b < e->n_batches; b += (uint32_t)c->size) {
            size_t bytes = (size_t)rows_in(e, b) * e->width * sizeof(float);
            memcpy(e->part, at + used, bytes);
            place(e, b, e->part);
            used += bytes;
        }
        at += sizes[r];
    }
done:
    free(all);
    free(sizes);
    return rc;
}

static rt_status score_all(evaluation *e) {
    uint32_t size = (uint32_t)e->comm->size, rank = (uint32_t)e->comm->rank;
    if (rank) {
        size_t rows = 0;
        for (uint32_t b = rank; b < e->n_batches; b += size) rows += (size_t)rows_in(e, b);
        e->own = malloc((rows ? rows : 1) * e->width * sizeof *e->own);
        if (!e->own) return rt_fail(RT_ENOMEM, "out of memory for the logits of %zu rows", rows);
    }
    for (uint32_t b = 0; b < e->n_batches; b += size) {
        RT_TRY(stopped(e));
        rt_comm_note(e->comm, "evaluating", b);
        if (b + rank < e->n_batches) RT_TRY(score(e, b + rank));
        uint32_t done = b + size < e->n_batches ? b + size : e->n_batches;
        if (e->options->progress) e->options->progress(e->options->context, done, e->n_batches);
    }
    return size > 1 ? gather(e) : RT_OK;
}

rt_status rt_evaluate(rt_objective *objective, const rt_dataset *ds, rt_comm *comm, const rt_evaluate_options *options,
                      float *logits) {
    rt_status rc = RT_OK;
    evaluation e = {.objective = objective,
                    .ds = ds,
                    .comm = comm,
                    .options = options,
                    .width = (size_t)objective->labels,
                    .logits = logits};
    uint32_t n_rows = rt_dataset_rows(ds);
    int longest = rt_dataset_stats(ds)->max_len;
    if (!n_rows) return RT_OK;
    e.part = malloc((size_t)options->max_seqs * e.width * sizeof *e.part);
    if (!e.part) RT_GO(rt_fail(RT_ENOMEM, "out of memory for logits"));
    RT_GO(rt_eval_cut(n_rows, rt_dataset_lengths(ds), options->batch_tokens, options->max_seqs, &e.order, &e.starts,
                      &e.n_batches));
    RT_GO(rt_feed_new(objective->be, options->batch_tokens > longest ? options->batch_tokens : longest,
                      options->max_seqs, &e.feed));
    RT_GO(score_all(&e));
done:
    rt_feed_free(e.feed);
    free(e.order);
    free(e.starts);
    free(e.part);
    free(e.own);
    return rc;
}
