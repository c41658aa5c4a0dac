#include "example_cosine.h"
#include "../base/file.h"
#include "../eval/baseline.h"
#include "../eval/metrics.h"
#include <stdlib.h>

/* Room for two texts of the longest row: they share its tokens, and the second has a [CLS] of its own. */
static int batch_tokens(const rt_config *cfg) {
    return cfg->eval.batch_tokens > cfg->data.max_length ? cfg->eval.batch_tokens : cfg->data.max_length + 1;
}

rt_status rt_example_encoder(rt_cli *cli, const rt_config *cfg, rt_setup *s) {
    s->cli = cli;
    s->cfg = cfg;
    RT_TRY(rt_setup_base(s, cli->checkpoint, true)); /* as training would: a checkpoint needs no head */
    RT_TRY(rt_setup_backend(s));
    s->bert.pooling = RT_POOL_MEAN;
    return rt_setup_encoder(s, batch_tokens(cfg));
}

rt_status rt_example_cosine(rt_setup *s, const char *folder, double *auc) {
    rt_dataset *test = NULL;
    double *scores = NULL;
    char *path = rt_path_join(folder, "test.tsv");
    rt_status rc;
    if (!path) return rt_fail(RT_ENOMEM, "out of memory");
    const char *file = path;
    rt_data_spec spec = rt_setup_spec(s, &file, 1, true, NULL);
    /* The shop's own columns: what the configuration says of columns is about other files. */
    spec.format = RT_FORMAT_TSV;
    spec.text_a = "query";
    spec.text_b = "title";
    spec.label = "click";
    spec.group = spec.weight = spec.user = spec.item = spec.time = NULL;
    RT_GO(rt_dataset_open(&spec, s->tok, s->cli->log, NULL, NULL, &test));
    uint32_t n = rt_dataset_rows(test);
    scores = calloc((size_t)n + 1, sizeof *scores);
    if (!scores) RT_GO(rt_fail(RT_ENOMEM, "out of memory for %u scores", n));
    RT_GO(rt_baseline_cosine(&s->encoder, test, batch_tokens(s->cfg), s->eval_max_seqs, NULL, scores));
    *auc = rt_auc(rt_dataset_labels(test), scores, NULL, n);
done:
    free(scores);
    rt_dataset_close(test);
    free(path);
    return rc;
}
