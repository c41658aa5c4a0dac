#include "predictor.h"
#include "token_rows.h"
#include <stdlib.h>
#include <string.h>

struct rt_predictor {
    rt_predictor_options o;
    rt_tok_scratch *scratch;
    rt_tok_stats stats;
    rt_feed *feed;
    rt_token_rows rows;
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
    rt_token_rows_free(&p->rows);
    free(p->logits);
    free(p->part);
    free(p);
}

rt_status rt_predictor_add(rt_predictor *p, const char *a, size_t a_size, const char *b, size_t b_size) {
    int32_t *ids;
    int n = 0, split = 0;
    RT_TRY(rt_token_rows_room(&p->rows, p->o.encode.max_length, &ids));
    RT_TRY(rt_encode(p->o.tok, p->scratch, &p->o.encode, a, a_size, b, b_size, ids, &n, &split, &p->stats));
    rt_token_rows_push(&p->rows, n, split);
    return RT_OK;
}

uint32_t rt_predictor_rows(const rt_predictor *p) {
    return p->rows.n;
}

const rt_tok_stats *rt_predictor_stats(const rt_predictor *p) {
    return &p->stats;
}

static rt_status score_batch(void *context, const rt_batch *batch, const uint32_t *rows, int n) {
    rt_predictor *p = context;
    size_t width = (size_t)p->o.objective->labels;
    RT_TRY(p->o.objective->predict(p->o.objective, batch, p->part));
    for (int i = 0; i < n; i++)
        memcpy(p->logits + rows[i] * width, p->part + (size_t)i * width, width * sizeof *p->part);
    return RT_OK;
}

rt_status rt_predictor_run(rt_predictor *p, const float **logits) {
    if (p->rows.n > p->logits_capacity) {
        float *grown = realloc(p->logits, p->rows.n * (size_t)p->o.objective->labels * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory for logits");
        p->logits = grown;
        p->logits_capacity = p->rows.n;
    }
    RT_TRY(rt_token_rows_run(&p->rows, &(rt_token_run){.feed = p->feed,
                                                       .batch_tokens = p->o.batch_tokens,
                                                       .max_seqs = p->o.max_seqs,
                                                       .stop = p->o.stop,
                                                       .context = p,
                                                       .each = score_batch}));
    *logits = p->logits;
    rt_token_rows_clear(&p->rows);
    return RT_OK;
}
