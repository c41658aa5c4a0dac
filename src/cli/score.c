#include "score.h"
#include "signals.h"
#include <stdlib.h>

static bool wants_stop(void *context) {
    (void)context;
    return rt_signals_stop();
}

rt_status rt_cli_score(rt_setup *s, const rt_dataset *ds, void *context,
                       void (*progress)(void *context, uint32_t done, uint32_t all), rt_data_slices *slices,
                       rt_metrics *metrics) {
    uint32_t n = rt_dataset_rows(ds);
    rt_evaluate_options options = {.batch_tokens = s->cfg->eval.batch_tokens,
                                   .max_seqs = s->eval_max_seqs,
                                   .context = context,
                                   .stop = wants_stop,
                                   .progress = progress};
    if (s->comm->rank) return rt_evaluate(s->objective, ds, s->comm, &options, NULL);
    float *logits = calloc((size_t)n * (size_t)s->n_labels + 1, sizeof *logits);
    if (!logits) return rt_fail(RT_ENOMEM, "out of memory for %u rows of logits", n);
    rt_status rc = rt_dataset_slices(ds, slices);
    if (rc == RT_OK) rc = rt_evaluate(s->objective, ds, s->comm, &options, logits);
    for (size_t i = 0; rc == RT_OK && s->logit_shift != 0.0 && i < n; i++) {
        float *last = &logits[(i + 1) * (size_t)s->n_labels - 1];
        *last = (float)(*last + s->logit_shift);
    }
    if (rc == RT_OK)
        rc = rt_metrics_compute(&(rt_scored){.n_rows = n,
                                             .n_labels = s->n_labels,
                                             .logits = logits,
                                             .labels = rt_dataset_labels(ds),
                                             .weights = rt_dataset_weights(ds),
                                             .groups = rt_dataset_groups(ds),
                                             .n_groups = rt_dataset_group_count(ds),
                                             .slices = slices->n_columns ? slices->of_row : NULL,
                                             .n_slice_columns = slices->n_columns,
                                             .slice_names = (const char *const *)slices->names,
                                             .n_slices = slices->n,
                                             .label_names = s->labels,
                                             .threshold = s->cfg->eval.threshold},
                                metrics);
    free(logits);
    return rc;
}
