/* What no single value can get wrong alone. */
#include "origins.h"
#include <math.h>
#include <string.h>

/* Names the option with its origin: "shop.ini:12: optimizer.weight_decay". */
#define AT "%s: "

static rt_status check_labels(const rt_config *cfg) {
    const rt_config_list *labels = &cfg->model.labels;
    const char *origin = rt_config_origin(cfg, "model.labels");
    if (labels->n > 1024)
        return rt_fail(RT_ECONFIG, AT "model.labels: %d names; at most 1024 labels", origin, labels->n);
    for (int i = 0; i < labels->n; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(labels->items[i], labels->items[j]))
                return rt_fail(RT_ECONFIG,
                               AT "model.labels: \"%s\" stands there twice; each label needs a name of its own", origin,
                               labels->items[i]);
    return RT_OK;
}

static rt_status check_data(const rt_config *cfg) {
    if (cfg->data.text_b && !cfg->data.text_a)
        return rt_fail(RT_ECONFIG,
                       AT "data.text_a is empty, but data.text_b = %s; a single text belongs in data.text_a",
                       rt_config_origin(cfg, "data.text_a"), cfg->data.text_b);
    if (!cfg->data.text_a)
        return rt_fail(RT_ECONFIG, AT "data.text_a is empty; name the column of the text",
                       rt_config_origin(cfg, "data.text_a"));
    if (cfg->data.truncation == RT_CFG_TRUNCATE_B && !cfg->data.text_b)
        return rt_fail(RT_ECONFIG,
                       AT "data.truncation = text_b, but there is no data.text_b; set longest_first or text_a",
                       rt_config_origin(cfg, "data.truncation"));
    return RT_OK;
}

static rt_status check_metric(const rt_config *cfg) {
    const char *metric = cfg->eval.metric;
    if (cfg->train.objective == RT_CFG_OBJECTIVE_CONTRASTIVE) return RT_OK;
    bool grouped = !strncmp(metric, "gauc", 4) || !strncmp(metric, "mrr", 3) || !strncmp(metric, "ndcg", 4);
    if (grouped && !cfg->data.group)
        return rt_fail(RT_ECONFIG,
                       AT "eval.metric = %s needs groups; set data.group to the column that tells which rows "
                          "were shown together, or choose another metric",
                       rt_config_origin(cfg, "eval.metric"), metric);
    return RT_OK;
}

rt_status rt_config_check(const rt_config *cfg) {
    RT_TRY(check_labels(cfg));
    RT_TRY(check_data(cfg));
    RT_TRY(check_metric(cfg));
    if (cfg->optimizer.type == RT_CFG_ADAM && cfg->optimizer.weight_decay > 0)
        return rt_fail(RT_ECONFIG,
                       AT "optimizer.weight_decay = %g with optimizer.type = adam; adam has no decay: set "
                          "optimizer.type = adamw, or optimizer.weight_decay = 0",
                       rt_config_origin(cfg, "optimizer.weight_decay"), cfg->optimizer.weight_decay);
    if (cfg->run.precision == RT_CFG_PRECISION_TF32 && cfg->run.device == RT_DEVICE_CPU)
        return rt_fail(RT_ECONFIG, AT "run.precision = tf32 needs a GPU, but run.device = cpu; set fp32, bf16 or auto",
                       rt_config_origin(cfg, "run.precision"));
    if (cfg->model.init == RT_CFG_INIT_RANDOM && cfg->model.base)
        return rt_fail(RT_ECONFIG,
                       AT "model.base = %s, but model.init = random takes no pretrained weights; drop one of them",
                       rt_config_origin(cfg, "model.base"), cfg->model.base);
    return RT_OK;
}

static rt_status check_random(const rt_config *cfg) {
    int hidden = cfg->model.hidden, heads = cfg->model.heads;
    if (!cfg->model.vocab)
        return rt_fail(RT_ECONFIG, "model.init = random needs model.vocab: a vocab.txt, one token a line");
    if (hidden % heads != 0 || (hidden / heads) % 8 != 0)
        return rt_fail(RT_ECONFIG,
                       AT "model.hidden = %d with model.heads = %d: expected a multiple of the heads whose "
                          "share for each head is a multiple of 8",
                       rt_config_origin(cfg, "model.hidden"), hidden, heads);
    if (cfg->model.ffn % 8 != 0)
        return rt_fail(RT_ECONFIG, AT "model.ffn = %d: expected a multiple of 8", rt_config_origin(cfg, "model.ffn"),
                       cfg->model.ffn);
    if (cfg->train.freeze.kind == RT_FREEZE_LAYERS && cfg->train.freeze.layers > cfg->model.layers)
        return rt_fail(RT_ECONFIG, AT "train.freeze = %d layers, but model.layers = %d",
                       rt_config_origin(cfg, "train.freeze"), cfg->train.freeze.layers, cfg->model.layers);
    return RT_OK;
}

/* What speaks of labels has no meaning for vectors; to pass over it would be to change what was asked for. */
static rt_status check_contrastive(const rt_config *cfg) {
    const struct {
        bool set;
        const char *name;
    } foreign[] = {{cfg->train.class_weights.kind != RT_WEIGHTS_NONE, "train.class_weights"},
                   {cfg->train.label_smoothing > 0, "train.label_smoothing"},
                   {cfg->data.negative_keep < 1, "data.negative_keep"},
                   {!isnan(cfg->eval.threshold), "eval.threshold"},
                   {cfg->data.slice.n > 0, "data.slice"}};
    if (cfg->train.objective != RT_CFG_OBJECTIVE_CONTRASTIVE) return RT_OK;
    if (!cfg->data.text_b)
        return rt_fail(RT_ECONFIG,
                       AT "train.objective = contrastive learns from pairs; set data.text_b to the text of the item",
                       rt_config_origin(cfg, "train.objective"));
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (foreign[i].set)
            return rt_fail(RT_ECONFIG, AT "%s has no meaning with train.objective = contrastive; leave it out",
                           rt_config_origin(cfg, foreign[i].name), foreign[i].name);
    return RT_OK;
}

rt_status rt_config_check_training(const rt_config *cfg) {
    RT_TRY(check_contrastive(cfg));
    const char *file = cfg->path ? cfg->path : "configuration";
    if (cfg->data.negative_keep < 1 && cfg->model.labels.n > 2)
        return rt_fail(RT_ECONFIG,
                       AT
                       "data.negative_keep = %g with %d labels; scores can be corrected for one or two: leave it at 1",
                       rt_config_origin(cfg, "data.negative_keep"), cfg->data.negative_keep, cfg->model.labels.n);
    if (cfg->model.init == RT_CFG_INIT_RANDOM)
        RT_TRY(check_random(cfg));
    else if (!cfg->model.base)
        return rt_fail(RT_ECONFIG,
                       "%s: model.base is not set: expected a rectrain .h5, a Hugging Face folder, or a model's "
                       "name in the hub's cache (or model.init = random)",
                       file);
    if (cfg->data.train.n == 0)
        return rt_fail(RT_ECONFIG, "%s: data.train is not set: expected files or globs of the rows to train on", file);
    int wanted = cfg->model.labels.n == 1 ? 2 : cfg->model.labels.n;
    if (cfg->train.class_weights.kind == RT_WEIGHTS_LIST && cfg->train.class_weights.n != wanted &&
        rt_config_is_set(cfg, "model.labels"))
        return rt_fail(RT_ECONFIG, AT "train.class_weights: %d numbers, but there are %d labels",
                       rt_config_origin(cfg, "train.class_weights"), cfg->train.class_weights.n, wanted);
    return RT_OK;
}
