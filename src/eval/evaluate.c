#include "evaluate.h"
#include "../data/feed.h"
#include "../data/sampler.h"
#include <stdlib.h>
#include <string.h>

int rt_eval_max_seqs(int batch_tokens) {
    int n = batch_tokens / 4;
    return n < 16 ? 16 : n;
}

rt_status rt_evaluate(rt_objective *objective, const rt_dataset *ds, rt_comm *comm, const rt_evaluate_options *options,
                      float *logits) {
    rt_status rc = RT_OK;
    uint32_t *order = NULL, *starts = NULL, n_batches = 0, n_rows = rt_dataset_rows(ds);
    const uint16_t *lengths = rt_dataset_lengths(ds);
    size_t width = (size_t)objective->labels;
    float *part = malloc((size_t)options->max_seqs * width * sizeof *part);
    rt_feed *feed = NULL;
    if (!part) RT_GO(rt_fail(RT_ENOMEM, "out of memory for logits"));
    if (!n_rows) goto done;
    int longest = rt_dataset_stats(ds)->max_len;
    RT_GO(rt_eval_cut(n_rows, lengths, options->batch_tokens, options->max_seqs, &order, &starts, &n_batches));
    RT_GO(rt_feed_new(objective->be, options->batch_tokens > longest ? options->batch_tokens : longest,
                      options->max_seqs, &feed));
    for (uint32_t b = (uint32_t)comm->rank; b < n_batches; b += (uint32_t)comm->size) {
        if (options->stop && options->stop(options->context))
            RT_GO(rt_fail(RT_ESTOPPED, "evaluation stopped by a signal"));
        int n = (int)(starts[b + 1] - starts[b]);
        const uint32_t *rows = order + starts[b];
        rt_batch_buffer *buffer;
        const rt_batch *batch;
        RT_GO(rt_feed_begin(feed, &buffer));
        RT_GO(rt_batch_fill(buffer, ds, rows, n, NULL, false));
        RT_GO(rt_feed_send(feed, &batch));
        RT_GO(objective->predict(objective, batch, part));
        RT_GO(rt_feed_end(feed));
        for (int i = 0; i < n; i++) memcpy(logits + rows[i] * width, part + (size_t)i * width, width * sizeof *part);
        if (options->progress) options->progress(options->context, b + 1, n_batches);
    }
done:
    rt_feed_free(feed);
    free(order);
    free(starts);
    free(part);
    return rc;
}
