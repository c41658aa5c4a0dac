/* Settings of the loop from the configuration; the plan and the estimated time that stand before step 1. */
#include "../base/clock.h"
#include "run.h"
#include <math.h>
#include <string.h>

static rt_every every(rt_span span) {
    static const rt_every_unit units[] = {
        [RT_SPAN_STEPS] = RT_EVERY_STEPS, [RT_SPAN_EPOCHS] = RT_EVERY_EPOCHS, [RT_SPAN_MINUTES] = RT_EVERY_MINUTES};
    return (rt_every){span.value, units[span.unit]};
}

/* none, a list, or balanced: n / (K n_k), as scikit-learn. */
static rt_status resolve_class_weights(rt_run *run) {
    const rt_config_weights *w = &run->cfg->train.class_weights;
    rt_run_state *s = &run->state;
    int classes = run->setup.n_labels > 1 ? run->setup.n_labels : 2;
    s->n_class_weights = 0;
    if (w->kind == RT_WEIGHTS_NONE) return RT_OK;
    if (w->kind == RT_WEIGHTS_LIST) {
        if (w->n != classes)
            return rt_fail(RT_ECONFIG, "train.class_weights has %d values: expected %d, one a class", w->n, classes);
        memcpy(s->class_weights, w->values, (size_t)classes * sizeof *w->values);
        s->n_class_weights = classes;
        return RT_OK;
    }
    uint64_t counts[RT_MAX_LABELS] = {0};
    uint32_t n = rt_dataset_rows(run->train);
    const int32_t *labels = rt_dataset_labels(run->train);
    for (uint32_t i = 0; i < n; i++) counts[labels[i]]++;
    for (int k = 0; k < classes; k++)
        s->class_weights[k] = counts[k] ? (double)n / ((double)classes * (double)counts[k]) : 0.0;
    s->n_class_weights = classes;
    return RT_OK;
}

rt_status rt_run_settings(rt_run *run) {
    const rt_config *cfg = run->cfg;
    rt_run_state *s = &run->state;
    if (run->kind != RT_RUN_RESUME) {
        uint32_t per_epoch = rt_steps_per_epoch(rt_dataset_examples(run->train), cfg->train.batch_size);
        uint64_t total = (uint64_t)per_epoch * (uint64_t)cfg->train.epochs;
        if (cfg->train.max_steps >= 0 && (uint64_t)cfg->train.max_steps < total) total = (uint64_t)cfg->train.max_steps;
        if (total > UINT32_MAX)
            return rt_fail(RT_ECONFIG, "%llu steps; the limit is %u: fewer epochs, or a larger batch_size",
                           (unsigned long long)total, UINT32_MAX);
        s->train = (rt_train_state){.total_steps = total,
                                    .warmup_steps = rt_schedule_warmup_steps(cfg->schedule.warmup, total),
                                    .best_metric = NAN};
        RT_TRY(resolve_class_weights(run));
    }
    static const rt_schedule schedules[] = {[RT_CFG_SCHEDULE_CONSTANT] = RT_SCHEDULE_CONSTANT,
                                            [RT_CFG_SCHEDULE_LINEAR] = RT_SCHEDULE_LINEAR,
                                            [RT_CFG_SCHEDULE_COSINE] = RT_SCHEDULE_COSINE};
    run->settings =
        (rt_train_settings){.batch_size = cfg->train.batch_size,
                            .micro_tokens = run->setup.micro_tokens,
                            .max_seqs = cfg->train.batch_size * rt_setup_sides(cfg),
                            .seed = cfg->run.seed,
                            .learning_rate = cfg->optimizer.learning_rate,
                            .beta1 = cfg->optimizer.beta1,
                            .beta2 = cfg->optimizer.beta2,
                            .epsilon = cfg->optimizer.epsilon,
                            .weight_decay = cfg->optimizer.type == RT_CFG_ADAMW ? cfg->optimizer.weight_decay : 0.0,
                            .clip_norm = cfg->optimizer.clip_norm,
                            .schedule = schedules[cfg->schedule.type],
                            .class_weights = s->n_class_weights ? s->class_weights : NULL,
                            .stop_on_nonfinite = cfg->train.on_nonfinite == RT_CFG_BAD_STOP,
                            .patience = cfg->train.patience,
                            .ahead = !run->setup.be->host_memory,
                            .keep_best = cfg->checkpoint.keep_best,
                            .eval_every = every(cfg->eval.every),
                            .checkpoint_every = every(cfg->checkpoint.every),
                            .line_every = every(cfg->track.jsonl_every)};
    return RT_OK;
}

/* Multiply-adds of one token through the encoder, forward; backward is twice that. */
static double flops_per_token(const rt_bert *b, double length) {
    double h = b->hidden, layer = 2.0 * (4.0 * h * h + 2.0 * h * b->ffn) + 4.0 * h * length;
    return layer * b->layers;
}

/* GFLOP/s of this machine at this model's own widest product, from a few tens of milliseconds of it. */
static double probe_speed(rt_run *run) {
    rt_encoder *e = &run->setup.encoder;
    rt_model *m = &run->setup.model;
    int rows = e->sizes.train_tokens < 512 ? e->sizes.train_tokens : 512;
    rt_batch empty = {.n_tokens = rows, .bucket = rows};
    if (rt_encoder_bind(e, &empty, false) != RT_OK) return 0;
    const rt_linear *l = &e->layers[0].ffn_in;
    rt_linear_run r = {.x = e->eval.layers[0].x, .y = e->eval.layers[0].gelu, .y_dtype = m->be->act, .rows = rows};
    if (rt_linear_apply(m, l, &r) != RT_OK) return 0; /* warm-up: makes the primitive */
    if (m->be->synchronize(m->be) != RT_OK) return 0;
    double start = rt_clock_seconds(), elapsed = 0;
    int n = 0;
    while (n < 2 || (elapsed < 0.03 && n < 64)) {
        if (rt_linear_apply(m, l, &r) != RT_OK || m->be->synchronize(m->be) != RT_OK) return 0;
        n++;
        elapsed = rt_clock_seconds() - start;
    }
    return 2.0 * (double)l->n * (double)l->k * rows * n / elapsed;
}

/* Seconds of all that is left, from the probe: products run at about 85 % of it, all else takes a fifth on top, and
 * Adam moves 28 bytes a parameter at some 20 GB/s. */
static double estimate(rt_run *run) {
    const rt_bert *b = &run->setup.bert;
    double speed = probe_speed(run) * 0.85, tokens = 0, seconds = 0;
    if (!(speed > 0)) return NAN;
    const rt_data_stats *t = rt_dataset_stats(run->train);
    const rt_train_state *s = &run->state.train;
    uint64_t steps = s->total_steps - s->step;
    uint32_t per_epoch = rt_steps_per_epoch(rt_dataset_examples(run->train), run->cfg->train.batch_size);
    tokens = (double)t->tokens * (double)steps / per_epoch;
    seconds += tokens * 3.0 * flops_per_token(b, t->mean_len) / speed * 1.2;
    seconds += (double)steps * 28.0 * (double)rt_param_count(&run->setup.table, true) / 20e9;
    double evals = run->settings.eval_every.unit == RT_EVERY_EPOCHS && run->settings.eval_every.value > 0
                       ? (double)steps / per_epoch / run->settings.eval_every.value
                       : 1;
    if (run->dev)
        seconds += evals * (double)rt_dataset_stats(run->dev)->tokens *
                   flops_per_token(b, rt_dataset_stats(run->dev)->mean_len) / speed * 1.2;
    if (run->test)
        seconds += (double)rt_dataset_stats(run->test)->tokens *
                   flops_per_token(b, rt_dataset_stats(run->test)->mean_len) / speed * 1.2;
    return seconds;
}

static const char *frozen_text(const rt_config *cfg, char out[48]) {
    if (cfg->train.freeze.kind == RT_FREEZE_NONE) return "nothing frozen";
    if (cfg->train.freeze.kind == RT_FREEZE_EMBEDDINGS) return "embeddings frozen";
    snprintf(out, 48, "embeddings and first %d layers frozen", cfg->train.freeze.layers);
    return out;
}

rt_status rt_run_plan(rt_run *run) {
    rt_log *log = run->cli->log;
    const rt_setup *s = &run->setup;
    const rt_config *cfg = run->cfg;
    const rt_train_state *t = &run->state.train;
    char buffer[48], eta[32];
    rt_info(log,
            "model: %d layers x %d, %d heads, feed-forward %d, vocabulary %d, %s pooling, %d label%s; %.2f M "
            "parameters, %.2f M trained (%s)",
            s->bert.layers, s->bert.hidden, s->bert.heads, s->bert.ffn, s->bert.vocab, rt_pooling_name(s->bert.pooling),
            s->n_labels, s->n_labels == 1 ? "" : "s", (double)rt_param_count(&s->table, false) / 1e6,
            (double)rt_param_count(&s->table, true) / 1e6, frozen_text(cfg, buffer));
    rt_text memory = {0};
    rt_setup_memory_text(s, &memory);
    rt_info(log, "memory: %s", memory.data ? memory.data : "");
    rt_text_free(&memory);
    rt_info(log,
            "training: %llu steps of %d %s (%u an epoch), micro-batches of at most %d tokens, %s %g, %s "
            "schedule, %llu warm-up steps",
            (unsigned long long)t->total_steps, cfg->train.batch_size,
            rt_setup_gives_vectors(cfg) ? "pairs" : "sequences",
            rt_steps_per_epoch(rt_dataset_examples(run->train), cfg->train.batch_size), run->settings.micro_tokens,
            cfg->optimizer.type == RT_CFG_ADAMW ? "AdamW" : "Adam", cfg->optimizer.learning_rate,
            cfg->schedule.type == RT_CFG_SCHEDULE_LINEAR   ? "linear"
            : cfg->schedule.type == RT_CFG_SCHEDULE_COSINE ? "cosine"
                                                           : "constant",
            (unsigned long long)t->warmup_steps);
    for (int k = 0; k < run->state.n_class_weights; k++)
        rt_info(log, "class weight of %s: %g",
                s->n_labels > 1 ? s->labels[k]
                : k             ? "1"
                                : "0",
                run->state.class_weights[k]);
    double seconds = estimate(run);
    if (isfinite(seconds)) {
        rt_duration_text(seconds, eta);
        rt_info(log, "ETA: about %s%s", eta, t->step ? " for what is left" : "");
    }
    return RT_OK;
}
