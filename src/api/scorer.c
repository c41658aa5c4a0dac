#include "scorer.h"
#include "../base/file.h"
#include "../checkpoint/source.h"
#include "../config/config.h"
#include "../eval/evaluate.h"
#include "../eval/metrics.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void rt_scorer_close(rt_scorer *s) {
    if (!s) return;
    if (s->objective) s->objective->close(s->objective);
    rt_encoder_free(&s->encoder);
    rt_model_free(&s->model);
    rt_param_table_free(&s->table);
    if (s->be) s->be->close(s->be);
    rt_tokenizer_free(s->tok);
    for (int i = 0; i < s->n_labels; i++) free(s->labels[i]);
    free(s->labels);
    *s = (rt_scorer){0};
}

static rt_status read_labels(rt_scorer *s, const rt_source *source) {
    int n = rt_source_label_count(source);
    if (!n)
        return rt_fail(RT_ECONFIG, "%s has no classification head, so it gives no scores; train it first",
                       rt_source_path(source));
    s->labels = calloc((size_t)n, sizeof *s->labels);
    if (!s->labels) return rt_fail(RT_ENOMEM, "out of memory for label names");
    for (; s->n_labels < n; s->n_labels++) {
        s->labels[s->n_labels] = rt_strdup(rt_source_label_name(source, s->n_labels));
        if (!s->labels[s->n_labels]) return rt_fail(RT_ENOMEM, "out of memory for label names");
    }
    s->bert.labels = n;
    return RT_OK;
}

/* How texts become rows: the vocabulary with the options it was trained under, and where rows are cut. */
static rt_status read_text(rt_scorer *s, const rt_source *source, const rt_config *cfg, int max_length) {
    static const rt_truncation truncations[] = {[RT_CFG_TRUNCATE_LONGEST_FIRST] = RT_TRUNCATE_LONGEST_FIRST,
                                                [RT_CFG_TRUNCATE_A] = RT_TRUNCATE_A,
                                                [RT_CFG_TRUNCATE_B] = RT_TRUNCATE_B};
    const char *path = rt_source_path(source);
    rt_blob vocab = rt_source_vocab(source);
    rt_tokenizer_options options = *rt_source_tokenizer_options(source);
    options.match_special = cfg->data.special_tokens == RT_CFG_SPECIAL_MATCH;
    if (!vocab.bytes) return rt_fail(RT_EDATA, "%s holds no vocabulary", path);
    RT_TRY(rt_tokenizer_from_vocab(vocab.bytes, vocab.size, path, &options, &s->tok));
    if (rt_tokenizer_size(s->tok) > s->bert.vocab)
        return rt_fail(RT_EDATA, "%s: the vocabulary has %d entries, but the model's word table %d rows", path,
                       rt_tokenizer_size(s->tok), s->bert.vocab);
    s->encode = (rt_encode_options){.max_length = max_length ? max_length : cfg->data.max_length,
                                    .truncation = truncations[cfg->data.truncation],
                                    .left = cfg->data.truncation_side == RT_CFG_SIDE_LEFT};
    if (s->encode.max_length < 3 || s->encode.max_length > s->bert.max_positions)
        return rt_fail(RT_ECONFIG, "%s: max_length = %d; the model has %d positions, so 3 to %d are accepted", path,
                       s->encode.max_length, s->bert.max_positions, s->bert.max_positions);
    s->batch_tokens = cfg->eval.batch_tokens;
    s->max_seqs = rt_eval_max_seqs(s->batch_tokens);
    return RT_OK;
}

static rt_status open_backend(rt_scorer *s, const rt_scorer_options *o) {
    rt_precision precision = o->precision;
    if (o->auto_precision) precision = rt_cpu_has_bf16() ? RT_PRECISION_BF16 : RT_PRECISION_FP32;
    return rt_cpu_backend_open(&(rt_backend_options){.precision = precision, .threads = o->threads, .device = -1},
                               &s->be);
}

static rt_status make_model(rt_scorer *s) {
    rt_freeze none = {.layer_decay = 1.0f, .n_layers = s->bert.layers};
    int longest = s->encode.max_length;
    rt_encoder_sizes sizes = {.eval_tokens = s->batch_tokens > longest ? s->batch_tokens : longest,
                              .eval_seqs = s->max_seqs,
                              .max_len = longest};
    RT_TRY(rt_objective_classify_new(&(rt_classify_options){.labels = s->n_labels, .max_micro = 1}, &s->objective));
    RT_TRY(rt_encoder_add_params(&s->table, &s->bert));
    RT_TRY(s->objective->add_params(s->objective, &s->table, &s->bert));
    RT_TRY(rt_param_table_finish(&s->table, &none));
    RT_TRY(rt_model_new(s->be, &s->bert, &s->table, false, &s->model));
    RT_TRY(rt_encoder_new(&s->model, &sizes, &s->encoder));
    return s->objective->bind(s->objective, &s->encoder);
}

/* A checkpoint to go on from holds the bias as it was trained on a part of the rows; best.h5 has the correction in it.
 */
static void correct_bias(const rt_source *source, const rt_config *cfg, const rt_param *p, float *values) {
    if (rt_source_state(source).size == 0 || cfg->data.negative_keep >= 1) return;
    if (strcmp(p->name, "classifier.bias") != 0) return;
    values[p->count - 1] = (float)(values[p->count - 1] + log(cfg->data.negative_keep));
}

static rt_status read_weights(rt_scorer *s, rt_source *source, const rt_config *cfg) {
    rt_status rc = RT_OK;
    int64_t largest = 0;
    for (int i = 0; i < s->table.n; i++)
        if (s->table.rows[i].count > largest) largest = s->table.rows[i].count;
    float *values = malloc((size_t)largest * sizeof *values);
    if (!values) return rt_fail(RT_ENOMEM, "out of memory to read weights");
    for (int i = 0; i < s->table.n; i++) {
        const rt_param *p = &s->table.rows[i];
        if (!rt_source_has(source, p->name))
            RT_GO(rt_fail(RT_ECONFIG, "%s has no %s: train it before it can score", rt_source_path(source), p->name));
        float *direct = rt_model_direct(&s->model, i, RT_BUFFER_PARAMS), *to = direct ? direct : values;
        RT_GO(rt_source_read(source, p->name, p->rank, p->shape, to));
        correct_bias(source, cfg, p, to);
        if (!direct) RT_GO(rt_model_put(&s->model, i, RT_BUFFER_PARAMS, to));
    }
    rc = rt_model_pack(&s->model, false);
done:
    free(values);
    return rc;
}

rt_status rt_scorer_open(const char *path, const rt_scorer_options *options, rt_scorer *s) {
    rt_status rc;
    rt_source *source = NULL;
    rt_config *cfg = NULL;
    rt_text name = {0};
    *s = (rt_scorer){0};
    RT_GO(rt_source_open_as("checkpoint", path, NULL, &source));
    rt_blob ini = rt_source_config_ini(source);
    rt_text_printf(&name, "%s:/config.ini", path);
    RT_GO(rt_text_status(&name));
    RT_GO(rt_config_from_ini_bytes(ini.bytes, ini.size, name.data, &cfg));
    s->bert = *rt_source_bert(source);
    RT_GO(read_labels(s, source));
    rc = rt_bert_check(&s->bert);
    if (rc != RT_OK) RT_GO(rt_fail_context(rc, "%s", path));
    RT_GO(read_text(s, source, cfg, options->max_length));
    RT_GO(open_backend(s, options));
    RT_GO(make_model(s));
    RT_GO(read_weights(s, source, cfg));
done:
    if (rc != RT_OK) rt_scorer_close(s);
    rt_text_free(&name);
    rt_config_free(cfg);
    rt_source_close(source);
    return rc;
}

rt_status rt_scorer_predictor(const rt_scorer *s, rt_predictor **out) {
    return rt_predictor_new(&(rt_predictor_options){.objective = s->objective,
                                                    .tok = s->tok,
                                                    .encode = s->encode,
                                                    .batch_tokens = s->batch_tokens,
                                                    .max_seqs = s->max_seqs},
                            out);
}

void rt_scorer_probabilities(const float *logits, int n, float *p) {
    if (n == 1) {
        double score;
        int32_t prediction;
        rt_scores(&(rt_scored){.n_rows = 1, .n_labels = 1, .logits = logits, .threshold = NAN}, &score, &prediction);
        p[0] = (float)score;
        return;
    }
    double top = -INFINITY, sum = 0;
    for (int k = 0; k < n; k++)
        if (logits[k] > top) top = logits[k];
    for (int k = 0; k < n; k++) sum += exp((double)logits[k] - top);
    for (int k = 0; k < n; k++) p[k] = (float)(exp((double)logits[k] - top) / sum);
}
