#include "setup.h"
#include "../base/cpu.h"
#include "../base/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void rt_setup_close(rt_setup *s) {
    if (!s) return;
    if (s->comm) s->comm->close(s->comm, s->ended); /* first: transfers are of what is freed below */
    if (s->objective) s->objective->close(s->objective);
    rt_encoder_free(&s->encoder);
    rt_model_free(&s->model);
    rt_param_table_free(&s->table);
    if (s->be) s->be->close(s->be);
    rt_source_close(s->source);
    rt_tokenizer_free(s->tok);
    free(s->vocab);
    for (int i = 0; i < s->n_labels; i++) free((char *)s->labels[i]);
    free(s->labels);
    *s = (rt_setup){0};
}

static rt_status copy_labels(rt_setup *s, int n, const char *(*name)(const void *, int), const void *from) {
    s->labels = calloc((size_t)(n ? n : 1), sizeof *s->labels);
    if (!s->labels) return rt_fail(RT_ENOMEM, "out of memory for label names");
    for (s->n_labels = 0; s->n_labels < n; s->n_labels++) {
        s->labels[s->n_labels] = rt_strdup(name(from, s->n_labels));
        if (!s->labels[s->n_labels]) return rt_fail(RT_ENOMEM, "out of memory for label names");
    }
    return RT_OK;
}

static const char *config_label(const void *cfg, int i) {
    return ((const rt_config *)cfg)->model.labels.items[i];
}

static const char *source_label(const void *source, int i) {
    return rt_source_label_name(source, i);
}

static rt_status random_base(rt_setup *s, rt_tokenizer_options *options) {
    const rt_config *cfg = s->cfg;
    if (!cfg->model.vocab) return rt_fail(RT_ECONFIG, "model.init = random needs model.vocab, the path of a vocab.txt");
    RT_TRY(rt_file_read(cfg->model.vocab, (size_t)1 << 28, &s->vocab, &s->vocab_size));
    *options = rt_tokenizer_defaults();
    options->lowercase = !cfg->model.cased;
    s->bert = rt_bert_default();
    s->bert.hidden = cfg->model.hidden;
    s->bert.layers = cfg->model.layers;
    s->bert.heads = cfg->model.heads;
    s->bert.ffn = cfg->model.ffn;
    return RT_OK;
}

static rt_status source_base(rt_setup *s, const char *base, rt_tokenizer_options *options) {
    RT_TRY(rt_source_open_as(s->cli->checkpoint ? "--checkpoint" : "model.base =", base, s->cli->log, &s->source));
    s->bert = *rt_source_bert(s->source);
    *options = *rt_source_tokenizer_options(s->source);
    rt_blob vocab = rt_source_vocab(s->source);
    s->vocab = rt_strndup(vocab.bytes, vocab.size);
    s->vocab_size = vocab.size;
    return s->vocab ? RT_OK : rt_fail(RT_ENOMEM, "out of memory for the vocabulary");
}

/* An encoder that gives the first token's vectors would lose by a mean that nobody asked for. */
static rt_status pool_for_vectors(rt_setup *s, const char *base) {
    const char *told = s->source ? rt_source_sentence_pooling(s->source) : NULL;
    const bool first = s->source && (s->bert.pooling == RT_POOL_FIRST || (told && strcmp(told, "cls") == 0));
    if (first && !rt_config_is_set(s->cfg, "model.pooling"))
        return rt_fail(RT_ECONFIG,
                       "%s pools by the first token; set model.pooling = cls to go on so (or mean to change it)", base);
    s->bert.pooling = s->cfg->model.pooling == RT_CFG_POOLING_MEAN ? RT_POOL_MEAN : RT_POOL_FIRST;
    s->bert.head_dropout = 0;
    return RT_OK;
}

static void override_rate(double wanted, float *rate) {
    if (!isnan(wanted)) *rate = (float)wanted;
}

rt_status rt_setup_base(rt_setup *s, const char *base, bool training) {
    const rt_config *cfg = s->cfg;
    rt_tokenizer_options options;
    const char *name = base ? base : cfg->model.vocab;
    RT_TRY(base ? source_base(s, base, &options) : random_base(s, &options));
    options.match_special = cfg->data.special_tokens == RT_CFG_SPECIAL_MATCH;
    RT_TRY(rt_tokenizer_from_vocab(s->vocab, s->vocab_size, name, &options, &s->tok));
    if (!base) s->bert.vocab = rt_tokenizer_size(s->tok);
    if (rt_tokenizer_size(s->tok) > s->bert.vocab)
        return rt_fail(RT_EDATA, "%s: the vocabulary has %d entries, but the model's word table %d rows", name,
                       rt_tokenizer_size(s->tok), s->bert.vocab);
    bool own = training || !s->source;
    if (own) {
        if (!s->source || rt_config_is_set(cfg, "model.pooling") || !rt_source_is_checkpoint(s->source))
            s->bert.pooling = cfg->model.pooling == RT_CFG_POOLING_MEAN ? RT_POOL_MEAN : RT_POOL_CLS;
        override_rate(cfg->model.dropout, &s->bert.dropout);
        override_rate(cfg->model.attention_dropout, &s->bert.attention_dropout);
        override_rate(cfg->model.head_dropout, &s->bert.head_dropout);
        if (rt_setup_gives_vectors(cfg)) RT_TRY(pool_for_vectors(s, base));
        RT_TRY(copy_labels(s, rt_setup_gives_vectors(cfg) ? 0 : cfg->model.labels.n, config_label, cfg));
    } else {
        RT_TRY(copy_labels(s, rt_source_label_count(s->source), source_label, s->source));
        if (!s->n_labels && rt_setup_gives_vectors(cfg))
            return rt_fail(RT_ECONFIG,
                           "%s was trained for vectors (train.objective = contrastive) and has no labels to predict; "
                           "rectrain embed, search and recommend take it",
                           base);
        if (!s->n_labels)
            return rt_fail(RT_ECONFIG,
                           "%s has no classification head: it was only converted. Train it first: rectrain --config "
                           "FILE --set model.base=%s",
                           base, base);
    }
    s->bert.labels = s->n_labels;
    rt_status rc = rt_bert_check(&s->bert);
    if (rc != RT_OK) return rt_fail_context(rc, "%s", base ? base : "model");
    if (cfg->data.max_length > s->bert.max_positions)
        return rt_fail(RT_ECONFIG, "data.max_length = %d: the model has %d positions (max_position_embeddings)",
                       cfg->data.max_length, s->bert.max_positions);
    return RT_OK;
}

static int round_up(int64_t n, int to) {
    return (int)((n + to - 1) / to * to);
}

static rt_contrastive_options contrastive_options(const rt_config *cfg) {
    const int sides = rt_setup_sides(cfg);
    return (rt_contrastive_options){.max_rows = cfg->train.batch_size,
                                    .sides = sides,
                                    .max_micro = cfg->train.batch_size * sides,
                                    .scale = cfg->contrastive.scale,
                                    .symmetric = cfg->contrastive.symmetric,
                                    .mask_clicked = cfg->contrastive.mask_clicked};
}

static rt_status new_objective(rt_setup *s) {
    const rt_config *cfg = s->cfg;
    if (rt_setup_gives_vectors(cfg)) {
        const rt_contrastive_options options = contrastive_options(cfg);
        return rt_objective_contrastive_new(&options, &s->objective);
    }
    return rt_objective_classify_new(&(rt_classify_options){.labels = s->n_labels,
                                                            .smoothing = (float)cfg->train.label_smoothing,
                                                            .max_micro = cfg->train.batch_size},
                                     &s->objective);
}

rt_status rt_setup_model(rt_setup *s, bool training, int longest, int64_t largest_step_tokens, int micro_tokens) {
    const rt_config *cfg = s->cfg;
    RT_TRY(new_objective(s));
    RT_TRY(rt_encoder_add_params(&s->table, &s->bert));
    RT_TRY(s->objective->add_params(s->objective, &s->table, &s->bert));
    rt_freeze freeze = {.embeddings = cfg->train.freeze.kind == RT_FREEZE_EMBEDDINGS,
                        .layers = cfg->train.freeze.kind == RT_FREEZE_LAYERS ? cfg->train.freeze.layers : 0,
                        .layer_decay = (float)cfg->optimizer.layer_decay,
                        .n_layers = s->bert.layers};
    if (freeze.layers > s->bert.layers)
        return rt_fail(RT_ECONFIG, "train.freeze = %d layers: the model has %d", freeze.layers, s->bert.layers);
    if (cfg->train.freeze.kind == RT_FREEZE_LAYERS) freeze.embeddings = true;
    RT_TRY(rt_param_table_finish(&s->table, &freeze));
    /* auto: on GPUs, whose memory is scarce; between processors one reduction to all is quicker than one to the owners
     * and the parameters back. */
    bool shard = cfg->distributed.shard_optimizer == RT_CFG_SHARD_YES ||
                 (cfg->distributed.shard_optimizer == RT_CFG_SHARD_AUTO && !s->be->host_memory);
    if (training && s->comm->size > 1 && shard) {
        RT_TRY(rt_comm_shard(s->comm, s->table.n_trainables));
        const int64_t *own = s->comm->shards + s->comm->rank;
        RT_TRY(rt_model_new_share(s->be, &s->bert, &s->table, own[0], own[1] - own[0], &s->model));
    } else {
        RT_TRY(rt_model_new(s->be, &s->bert, &s->table, training, &s->model));
    }
    if (longest <= 0) longest = cfg->data.max_length;
    int eval_tokens = cfg->eval.batch_tokens > longest ? cfg->eval.batch_tokens : longest;
    s->eval_max_seqs = rt_eval_max_seqs(cfg->eval.batch_tokens);
    rt_encoder_sizes sizes = {.eval_tokens = eval_tokens,
                              .eval_seqs = s->eval_max_seqs,
                              .max_len = longest,
                              .recompute = cfg->train.recompute};
    if (training) {
        sizes.train_tokens = 1024, sizes.train_seqs = 32;
        size_t activations, workspace;
        RT_TRY(rt_encoder_measure(&s->model, &sizes, &activations, &workspace));
        s->bytes_activations_per_1000 = activations / 1024 * 1000;
        s->micro_tokens = micro_tokens > 0 ? micro_tokens : rt_setup_auto_tokens(s);
        int64_t tokens = s->micro_tokens > longest ? s->micro_tokens : longest;
        if (largest_step_tokens > 0 && largest_step_tokens < tokens) tokens = largest_step_tokens;
        sizes.train_tokens = round_up(tokens, 64);
        sizes.train_seqs = cfg->train.batch_size * rt_setup_sides(cfg);
        if (rt_setup_gives_vectors(cfg)) {
            const rt_contrastive_options options = contrastive_options(cfg);
            rt_contrastive_sizes(&options, &sizes.head_rows, &sizes.head_width);
        }
    }
    RT_TRY(rt_encoder_measure(&s->model, &sizes, &s->bytes_activations, &s->bytes_workspace));
    RT_TRY(rt_encoder_new(&s->model, &sizes, &s->encoder));
    return s->objective->bind(s->objective, &s->encoder);
}

/* Reads one tensor of the source into a row's buffer. */
static rt_status read_row(rt_setup *s, rt_source *source, int row, rt_buffer buffer) {
    const rt_param *p = &s->table.rows[row];
    float *direct = rt_model_direct(&s->model, row, buffer);
    float *to = direct ? direct : malloc((size_t)p->count * sizeof *to);
    if (!to) return rt_fail(RT_ENOMEM, "out of memory to read %s", p->name);
    rt_status rc = buffer == RT_BUFFER_PARAMS
                       ? rt_source_read(source, p->name, p->rank, p->shape, to)
                       : rt_source_read_moment(source, buffer == RT_BUFFER_M ? RT_SECTION_ADAM_M : RT_SECTION_ADAM_V,
                                               p->name, p->rank, p->shape, to);
    if (rc == RT_OK && !direct) rc = rt_model_put(&s->model, row, buffer, to);
    if (!direct) free(to);
    return rc;
}

static bool is_head(const char *name) {
    return strncmp(name, "classifier.", 11) == 0;
}

static bool is_pooler(const char *name) {
    return strncmp(name, "bert.pooler.", 12) == 0;
}

rt_status rt_setup_weights(rt_setup *s, bool training, bool resume) {
    rt_text fresh = {0};
    rt_status rc = RT_OK;
    bool head_fits = s->source && rt_source_label_count(s->source) == s->n_labels;
    for (int i = 0; i < s->table.n; i++) {
        const rt_param *p = &s->table.rows[i];
        bool there = s->source && rt_source_has(s->source, p->name) && (!is_head(p->name) || head_fits);
        if (there) {
            RT_GO(read_row(s, s->source, i, RT_BUFFER_PARAMS));
            if (resume && p->trainable) {
                RT_GO(read_row(s, s->source, i, RT_BUFFER_M));
                RT_GO(read_row(s, s->source, i, RT_BUFFER_V));
            }
            continue;
        }
        if (s->source && (resume || !(is_head(p->name) || is_pooler(p->name))))
            RT_GO(rt_fail(RT_EDATA, "%s: tensor %s is missing", rt_source_path(s->source), p->name));
        if (!training)
            RT_GO(rt_fail(RT_ECONFIG, "%s has no %s: train it before it can score",
                          s->source ? rt_source_path(s->source) : "the model", p->name));
        RT_GO(rt_model_init_row(&s->model, i, s->cfg->run.seed));
        if (s->source) rt_text_printf(&fresh, "%s%s", fresh.size ? ", " : "", p->name);
    }
    if (fresh.size)
        rt_info(s->cli->log, "not in %s, so initialised from run.seed = %llu: %s", rt_source_path(s->source),
                (unsigned long long)s->cfg->run.seed, fresh.data);
    if (!s->source) rt_warn(s->cli->log, "model.init = random: nothing is pretrained; expect to need much data");
    RT_GO(rt_model_pack(&s->model, false));
    rt_source_close(s->source);
    s->source = NULL;
done:
    rt_text_free(&fresh);
    return rc;
}

rt_status rt_setup_encoder(rt_setup *s, int batch_tokens) {
    rt_freeze none = {.layer_decay = 1.0f, .n_layers = s->bert.layers};
    RT_TRY(rt_encoder_add_params(&s->table, &s->bert));
    RT_TRY(rt_param_table_finish(&s->table, &none));
    RT_TRY(rt_model_new(s->be, &s->bert, &s->table, false, &s->model));
    s->eval_max_seqs = rt_eval_max_seqs(batch_tokens);
    rt_encoder_sizes sizes = {
        .eval_tokens = batch_tokens, .eval_seqs = s->eval_max_seqs, .max_len = s->cfg->data.max_length};
    RT_TRY(rt_encoder_measure(&s->model, &sizes, &s->bytes_activations, &s->bytes_workspace));
    RT_TRY(rt_encoder_new(&s->model, &sizes, &s->encoder));
    for (int i = 0; i < s->table.n; i++) RT_TRY(read_row(s, s->source, i, RT_BUFFER_PARAMS));
    RT_TRY(rt_model_pack(&s->model, false));
    rt_source_close(s->source);
    s->source = NULL;
    return RT_OK;
}

rt_status rt_setup_reload(rt_setup *s, const char *path) {
    rt_source *source = NULL;
    RT_TRY(rt_source_open(path, s->cli->log, &source));
    rt_status rc = RT_OK;
    for (int i = 0; rc == RT_OK && i < s->table.n; i++) rc = read_row(s, source, i, RT_BUFFER_PARAMS);
    rt_source_close(source);
    return rc == RT_OK ? rt_model_pack(&s->model, false) : rc;
}

const char rt_setup_bias[] = "classifier.bias";

double rt_setup_correction(const rt_config *cfg) {
    return cfg->data.negative_keep < 1 ? log(cfg->data.negative_keep) : 0.0;
}

/* A checkpoint to go on from holds the bias as it was trained; best.h5 has the correction in it. */
static rt_status correct_bias(rt_setup *s) {
    float bias[RT_MAX_LABELS];
    double correction = rt_setup_correction(s->cfg);
    if (correction == 0.0) return RT_OK;
    for (int i = 0; i < s->table.n; i++) {
        if (strcmp(s->table.rows[i].name, rt_setup_bias) != 0) continue;
        RT_TRY(rt_model_get(&s->model, i, RT_BUFFER_PARAMS, bias));
        bias[s->n_labels - 1] = (float)(bias[s->n_labels - 1] + correction);
        RT_TRY(rt_model_put(&s->model, i, RT_BUFFER_PARAMS, bias));
    }
    return rt_model_pack(&s->model, false);
}

rt_data_spec rt_setup_spec(const rt_setup *s, const char *const *files, int n_files, bool need_label,
                           const char *cache_folder) {
    const rt_config *cfg = s->cfg;
    static const rt_table_format formats[] = {[RT_CFG_FORMAT_AUTO] = RT_FORMAT_AUTO,
                                              [RT_CFG_FORMAT_TSV] = RT_FORMAT_TSV,
                                              [RT_CFG_FORMAT_CSV] = RT_FORMAT_CSV,
                                              [RT_CFG_FORMAT_JSONL] = RT_FORMAT_JSONL};
    static const rt_quoting quotings[] = {[RT_CFG_QUOTING_AUTO] = RT_QUOTING_AUTO,
                                          [RT_CFG_QUOTING_NONE] = RT_QUOTING_NONE,
                                          [RT_CFG_QUOTING_CSV] = RT_QUOTING_CSV};
    static const rt_truncation truncations[] = {[RT_CFG_TRUNCATE_LONGEST_FIRST] = RT_TRUNCATE_LONGEST_FIRST,
                                                [RT_CFG_TRUNCATE_A] = RT_TRUNCATE_A,
                                                [RT_CFG_TRUNCATE_B] = RT_TRUNCATE_B};
    return (rt_data_spec){.files = files,
                          .n_files = n_files,
                          .format = formats[cfg->data.format],
                          .quoting = quotings[cfg->data.quoting],
                          .text_a = cfg->data.text_a,
                          .text_b = cfg->data.text_b,
                          .label = need_label ? cfg->data.label : NULL,
                          .group = need_label ? cfg->data.group : NULL,
                          .weight = need_label ? cfg->data.weight : NULL,
                          .user = cfg->data.user,
                          .item = cfg->data.item,
                          .time = cfg->data.time,
                          .slices = (const char *const *)cfg->data.slice.items,
                          .n_slices = need_label ? cfg->data.slice.n : 0,
                          .labels = s->labels,
                          .n_labels = s->n_labels,
                          .group_by_default = !rt_config_is_set(cfg, "data.group"),
                          .need_label = need_label,
                          .encode = {.max_length = cfg->data.max_length,
                                     .truncation = truncations[cfg->data.truncation],
                                     .left = cfg->data.truncation_side == RT_CFG_SIDE_LEFT},
                          .skip_bad_rows = cfg->data.on_bad_row == RT_CFG_BAD_SKIP,
                          .threads = cfg->run.threads,
                          .cache_folder = cache_folder};
}

rt_status rt_setup_scoring(rt_setup *s, rt_config **cfg) {
    rt_source *source = NULL;
    rt_text name = {0};
    RT_TRY(rt_source_open_as("--checkpoint", s->cli->checkpoint, s->cli->log, &source));
    rt_blob ini = rt_source_config_ini(source);
    rt_text_printf(&name, "%s:/config.ini", s->cli->checkpoint);
    rt_status rc = rt_cli_config(s->cli, ini.bytes, ini.size, name.data, cfg);
    rt_text_free(&name);
    bool resumable = rt_source_state(source).size > 0;
    rt_source_close(source);
    RT_TRY(rc);
    s->cfg = *cfg;
    RT_TRY(rt_setup_base(s, s->cli->checkpoint, false));
    RT_TRY(rt_setup_backend(s));
    RT_TRY(rt_setup_model(s, false, 0, 0, 0));
    RT_TRY(rt_setup_weights(s, false, false));
    return resumable ? correct_bias(s) : RT_OK;
}

rt_status rt_setup_predictor(rt_setup *s, bool (*stop)(void), rt_predictor **out) {
    rt_data_spec spec = rt_setup_spec(s, NULL, 0, false, NULL);
    return rt_predictor_new(&(rt_predictor_options){.objective = s->objective,
                                                    .tok = s->tok,
                                                    .encode = spec.encode,
                                                    .batch_tokens = s->cfg->eval.batch_tokens,
                                                    .max_seqs = s->eval_max_seqs,
                                                    .stop = stop},
                            out);
}
