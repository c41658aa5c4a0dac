/* config.json: what of it rectrain needs, what it refuses, and how it writes one. */
#include "config_json.h"
#include "../base/text.h"
#include "json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rt_labels_free(char **labels, int n) {
    for (int i = 0; labels && i < n; i++) free(labels[i]);
    free(labels);
}

rt_status rt_labels_numbered(int n, char ***out) {
    char **labels = calloc((size_t)n + 1, sizeof *labels);
    *out = NULL;
    for (int i = 0; labels && i < n; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        labels[i] = rt_strdup(number);
        if (!labels[i]) {
            rt_labels_free(labels, i);
            labels = NULL;
        }
    }
    if (!labels) return rt_fail(RT_ENOMEM, "out of memory for label names");
    *out = labels;
    return RT_OK;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static rt_status refuse_value(const json_t *config, const char *name, const char *key, const char *accepted,
                              const char *why) {
    const char *value;
    RT_TRY(rt_json_string(config, name, key, &value));
    if (!value || strcmp(value, accepted) == 0) return RT_OK;
    return rt_fail(RT_ECONFIG, "%s: %s %.80s; rectrain takes %s alone%s", name, key, value, accepted, why);
}

static rt_status refuse_true(const json_t *config, const char *name, const char *key) {
    if (!json_is_true(json_object_get(config, key))) return RT_OK;
    return rt_fail(RT_ECONFIG, "%s: %s is true; rectrain takes encoders alone (false, or no such key)", name, key);
}

static rt_status check_kind(const json_t *config, const char *name) {
    const char *type;
    RT_TRY(rt_json_string(config, name, "model_type", &type));
    if (!type)
        return rt_fail(
            RT_ECONFIG,
            "%s: no model_type; rectrain takes bert with WordPiece (bert-*, MiniLM, bge-*-v1.5, e5-*-v2). If "
            "this is one, add \"model_type\": \"bert\"",
            name);
    if (strcmp(type, "bert") != 0)
        return rt_fail(RT_ECONFIG,
                       "%s: model_type %.80s; rectrain takes bert with WordPiece (bert-*, MiniLM, bge-*-v1.5, e5-*-v2)",
                       name, type);
    RT_TRY(
        refuse_value(config, name, "position_embedding_type", "absolute", " (relative positions change every score)"));
    RT_TRY(refuse_value(config, name, "hidden_act", "gelu", " (the exact form, by erf)"));
    RT_TRY(refuse_true(config, name, "is_decoder"));
    RT_TRY(refuse_true(config, name, "add_cross_attention"));
    if (json_is_object(json_object_get(config, "quantization_config")))
        return rt_fail(RT_ECONFIG, "%s: quantization_config; rectrain takes plain weights in F32, F16 or BF16", name);
    return RT_OK;
}

static rt_status read_sizes(const json_t *c, const char *name, rt_bert *b) {
    const int most = (1 << 24) - 1;
    *b = rt_bert_default();
    b->vocab = 30522; /* BertConfig's, where the key is absent */
    RT_TRY(rt_json_int(c, name, "hidden_size", 1, most, &b->hidden));
    RT_TRY(rt_json_int(c, name, "num_hidden_layers", 1, most, &b->layers));
    RT_TRY(rt_json_int(c, name, "num_attention_heads", 1, most, &b->heads));
    RT_TRY(rt_json_int(c, name, "intermediate_size", 1, most, &b->ffn));
    RT_TRY(rt_json_int(c, name, "vocab_size", 1, most, &b->vocab));
    RT_TRY(rt_json_int(c, name, "max_position_embeddings", 1, most, &b->max_positions));
    RT_TRY(rt_json_int(c, name, "type_vocab_size", 1, most, &b->type_vocab));
    RT_TRY(rt_json_float(c, name, "layer_norm_eps", false, &b->layer_norm_eps));
    RT_TRY(rt_json_float(c, name, "initializer_range", false, &b->initializer_range));
    RT_TRY(rt_json_float(c, name, "hidden_dropout_prob", false, &b->dropout));
    RT_TRY(rt_json_float(c, name, "attention_probs_dropout_prob", false, &b->attention_dropout));
    return rt_json_float(c, name, "classifier_dropout", true, &b->head_dropout);
}

static rt_status read_pooling(const json_t *config, const char *name, rt_bert *b) {
    const json_t *ours = json_object_get(config, "rectrain");
    const char *pooling = NULL;
    if (ours && !json_is_object(ours)) return rt_fail(RT_EDATA, "%s: \"rectrain\" is no object", name);
    if (ours) RT_TRY(rt_json_string(ours, name, "pooling", &pooling));
    for (rt_pooling p = RT_POOL_CLS; pooling && p <= RT_POOL_FIRST; p++)
        if (strcmp(pooling, rt_pooling_name(p)) == 0) return b->pooling = p, RT_OK;
    return !pooling ? RT_OK
                    : rt_fail(RT_EDATA, "%s: rectrain.pooling is \"%.80s\", expected \"cls\", \"mean\" or \"first\"",
                              name, pooling);
}

/* What a sentence-transformers folder said, kept beside; training does not ask for it. */
static rt_status read_sentence_pooling(const json_t *config, const char *name, const char **out) {
    const json_t *ours = json_object_get(config, "rectrain");
    const char *pooling = NULL;
    *out = NULL;
    if (ours) RT_TRY(rt_json_string(ours, name, "sentence_pooling", &pooling));
    if (!pooling) return RT_OK;
    if (strcmp(pooling, "cls") != 0 && strcmp(pooling, "mean") != 0)
        return rt_fail(RT_EDATA, "%s: rectrain.sentence_pooling is \"%.80s\", expected \"cls\" or \"mean\"", name,
                       pooling);
    *out = *pooling == 'c' ? "cls" : "mean";
    return RT_OK;
}

/* id2label: {"0": "no", "1": "yes"}: keys 0 to n - 1, each once, in any order. */
static rt_status read_id2label(const json_t *map, const char *name, char ***labels, int *n) {
    int count = (int)json_object_size(map);
    char **names = NULL, found[64];
    const char *key;
    json_t *value;
    rt_status rc = RT_OK;
    if (count < 1 || count > RT_MAX_LABELS)
        return rt_fail(RT_EDATA, "%s: id2label has %d entries, expected 1 to %d", name, count, RT_MAX_LABELS);
    names = calloc((size_t)count + 1, sizeof *names);
    if (!names) return rt_fail(RT_ENOMEM, "%s: out of memory", name);
    json_object_foreach((json_t *)map, key, value) {
        long long i = -1;
        if (!rt_parse_i64(key, &i) || i < 0 || i >= count || names[i]) {
            rc = rt_fail(RT_EDATA, "%s: id2label has the key \"%.40s\", expected \"0\" to \"%d\", each once", name, key,
                         count - 1);
            goto done;
        }
        if (!json_is_string(value) && !json_is_integer(value)) {
            rc = rt_fail(RT_EDATA, "%s: id2label[\"%lld\"] is %s, expected a string", name, i,
                         rt_json_describe(value, found));
            goto done;
        }
        names[i] = rt_strdup(json_is_string(value) ? json_string_value(value) : rt_json_describe(value, found));
        if (!names[i]) {
            rc = rt_fail(RT_ENOMEM, "%s: out of memory", name);
            goto done;
        }
    }
    *labels = names;
    *n = count;
    names = NULL;
done:
    rt_labels_free(names, count);
    return rc;
}

static rt_status read_labels(const json_t *config, const char *name, char ***labels, int *n) {
    const json_t *map = json_object_get(config, "id2label");
    int count = 0;
    char found[64];
    RT_TRY(rt_json_int(config, name, "num_labels", 1, RT_MAX_LABELS, &count));
    if (map && !json_is_null(map)) {
        if (!json_is_object(map))
            return rt_fail(RT_EDATA, "%s: id2label is %s, expected an object", name, rt_json_describe(map, found));
        RT_TRY(read_id2label(map, name, labels, n));
        if (count && count != *n)
            return rt_fail(RT_EDATA, "%s: num_labels is %d, and id2label has %d entries", name, count, *n);
        return RT_OK;
    }
    if (count) RT_TRY(rt_labels_numbered(count, labels));
    *n = count;
    return RT_OK;
}

static rt_head read_head(const json_t *config) {
    const json_t *list = json_object_get(config, "architectures");
    rt_head head = RT_HEAD_UNSAID;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *value = json_string_value(json_array_get(list, i)), *end = "ForSequenceClassification";
        if (!value) continue;
        size_t n = strlen(value), m = strlen(end);
        if (n >= m && strcmp(value + n - m, end) == 0) return RT_HEAD_CLASSIFIER;
        head = RT_HEAD_OTHER;
    }
    return head;
}

rt_status rt_config_json_read(const char *json, size_t size, const char *name, rt_config_json *out) {
    rt_status rc;
    json_t *config = NULL;
    memset(out, 0, sizeof *out);
    RT_GO(rt_json_object(json, size, name, &config));
    RT_GO(check_kind(config, name));
    RT_GO(read_sizes(config, name, &out->bert));
    RT_GO(read_pooling(config, name, &out->bert));
    RT_GO(read_sentence_pooling(config, name, &out->sentence_pooling));
    RT_GO(read_labels(config, name, &out->labels, &out->n_labels));
    out->head = read_head(config);
    rc = rt_bert_check(&out->bert);
    if (rc != RT_OK) rt_fail_context(rc, "%s", name);
done:
    json_decref(config);
    if (rc != RT_OK) rt_config_json_free(out);
    return rc;
}

void rt_config_json_free(rt_config_json *config) {
    if (!config) return;
    rt_labels_free(config->labels, config->n_labels);
    memset(config, 0, sizeof *config);
}

rt_status rt_config_json_parse(const char *json, size_t size, const char *name, rt_bert *bert, char ***labels,
                               int *n_labels) {
    rt_config_json c;
    *labels = NULL;
    *n_labels = 0;
    RT_TRY(rt_config_json_read(json, size, name, &c));
    *bert = c.bert;
    if (c.head == RT_HEAD_CLASSIFIER) {
        if (!c.labels) { /* transformers' default where neither id2label nor num_labels stands */
            RT_TRY(rt_labels_numbered(2, &c.labels));
            c.n_labels = 2;
        }
        bert->labels = c.n_labels;
    }
    *labels = c.labels;
    *n_labels = c.n_labels;
    return RT_OK;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void put_float(rt_text *t, const char *key, float value) {
    rt_text_printf(t, "  \"%s\": ", key);
    rt_text_float(t, value);
    rt_text_puts(t, ",\n");
}

static void put_labels(rt_text *t, const char *const *labels, int n) {
    rt_text_puts(t, "  \"id2label\": {\n");
    for (int i = 0; i < n; i++) {
        rt_text_printf(t, "    \"%d\": ", i);
        rt_text_json_string(t, labels[i], strlen(labels[i]));
        rt_text_puts(t, i + 1 < n ? ",\n" : "\n");
    }
    rt_text_puts(t, "  },\n  \"label2id\": {\n");
    for (int i = 0; i < n; i++) {
        rt_text_puts(t, "    ");
        rt_text_json_string(t, labels[i], strlen(labels[i]));
        rt_text_printf(t, ": %d%s", i, i + 1 < n ? ",\n" : "\n");
    }
    rt_text_printf(t, "  },\n  \"num_labels\": %d,\n", n);
}

rt_status rt_config_json_write(const rt_bert *b, const char *const *labels, int n_labels, rt_text *out) {
    if (n_labels != b->labels)
        return rt_fail(RT_EINTERNAL, "config.json: %d label names for %d labels", n_labels, b->labels);
    for (int i = 0; i < n_labels; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(labels[i], labels[j]) == 0)
                return rt_fail(RT_ECONFIG, "the label \"%s\" stands twice, at %d and %d; give each label its own name",
                               labels[i], j, i);
    rt_text_printf(out, "{\n  \"architectures\": [\n    \"%s\"\n  ],\n",
                   n_labels ? "BertForSequenceClassification" : "BertModel");
    put_float(out, "attention_probs_dropout_prob", b->attention_dropout);
    if (b->head_dropout < 0)
        rt_text_puts(out, "  \"classifier_dropout\": null,\n");
    else
        put_float(out, "classifier_dropout", b->head_dropout);
    rt_text_puts(out, "  \"hidden_act\": \"gelu\",\n");
    put_float(out, "hidden_dropout_prob", b->dropout);
    rt_text_printf(out, "  \"hidden_size\": %d,\n", b->hidden);
    if (n_labels) put_labels(out, labels, n_labels);
    put_float(out, "initializer_range", b->initializer_range);
    rt_text_printf(out, "  \"intermediate_size\": %d,\n", b->ffn);
    put_float(out, "layer_norm_eps", b->layer_norm_eps);
    rt_text_printf(
        out,
        "  \"max_position_embeddings\": %d,\n  \"model_type\": \"bert\",\n  \"num_attention_heads\": %d,\n"
        "  \"num_hidden_layers\": %d,\n  \"pad_token_id\": 0,\n  \"position_embedding_type\": \"absolute\",\n",
        b->max_positions, b->heads, b->layers);
    rt_text_printf(out,
                   "  \"rectrain\": {\n    \"pooling\": \"%s\"\n  },\n  \"torch_dtype\": \"float32\",\n"
                   "  \"type_vocab_size\": %d,\n  \"use_cache\": true,\n  \"vocab_size\": %d\n}\n",
                   rt_pooling_name(b->pooling), b->type_vocab, b->vocab);
    return rt_text_status(out);
}
