#include "source.h"
#include "../base/file.h"
#include "config_json.h"
#include "hf_import.h"
#include "hf_sentence.h"
#include "hub_cache.h"
#include <stdlib.h>
#include <string.h>

struct rt_source {
    char *path;
    rt_checkpoint *checkpoint; /* NULL: a Hugging Face folder */
    rt_hf_weights weights;
    rt_config_json config;
    char *config_text; /* of a folder */
    size_t config_size;
    rt_text vocab; /* of a folder */
    rt_tokenizer_options options;
    rt_tokenizer *tokenizer;
};

/* --- what `base` names -------------------------------------------------------------------------------------------- */

/* A name that ends in .h5 is no model of the hub: such a file is made here. */
static rt_status not_there(const char *said, const char *base) {
    const char *name = rt_path_basename(base);
    size_t n = strlen(base);
    if (n > 200) return rt_fail(RT_ENOINPUT, "%s %s: no such file or folder", said, base); /* nor a name of the hub */
    if (n > 3 && strcmp(base + n - 3, ".h5") == 0) {
        if (strstr(base, "build/quickstart/"))
            return rt_fail(RT_ENOINPUT, "%s %s: no such file. Make it: make quickstart", said, base);
        return rt_fail(RT_ENOINPUT,
                       "%s %s: no such file. Training leaves best.h5 in the run's folder; of a Hugging Face folder "
                       "it is made by: rectrain convert --from HF_DIR --to %s",
                       said, base, base);
    }
    return rt_fail(RT_ENOINPUT,
                   "%s %s: no such file or folder, nor in the hub's cache. Get it: "
                   "tools/fetch_model.sh %s",
                   said, base, strchr(base, '/') == strrchr(base, '/') && base[0] != '/' ? base : name);
}

static rt_status locate(const char *said, const char *base, rt_log *log, char **path) {
    *path = NULL;
    if (!*base) return rt_fail(RT_ECONFIG, "%s is empty; expected a checkpoint, a folder or a model's name", said);
    if (rt_path_taken(base)) { /* a link that leads nowhere is told of when it is opened */
        *path = rt_strdup(base);
        return *path ? RT_OK : rt_fail(RT_ENOMEM, "%s: out of memory", base);
    }
    RT_TRY(rt_hub_find(base, path));
    if (!*path) return not_there(said, base);
    rt_info(log, "%s %s: taken from %s", said, base, *path);
    return RT_OK;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* The head's rows decide; what config.json says about labels must agree, and names them. */
static rt_status resolve_labels(const char *name, int rows, rt_config_json *config) {
    config->bert.labels = rows;
    if (rows == 0) {
        rt_labels_free(config->labels, config->n_labels);
        config->labels = NULL;
        config->n_labels = 0;
        return RT_OK;
    }
    if (!config->labels) {
        RT_TRY(rt_labels_numbered(rows, &config->labels));
        config->n_labels = rows;
    }
    if (config->n_labels != rows)
        return rt_fail(RT_EDATA, "%s: %d labels (id2label or num_labels), and classifier.weight has %d rows", name,
                       config->n_labels, rows);
    return RT_OK;
}

/* Ids index the embeddings, so a vocabulary may be smaller than these and never larger. */
static rt_status make_tokenizer(rt_source *s, const char *vocab, size_t size, const char *name) {
    RT_TRY(rt_tokenizer_from_vocab(vocab, size, name, &s->options, &s->tokenizer));
    if (rt_tokenizer_size(s->tokenizer) > s->config.bert.vocab)
        return rt_fail(RT_EDATA, "%s: %d tokens, and config.json's vocab_size is %d; one of them is another model's",
                       name, rt_tokenizer_size(s->tokenizer), s->config.bert.vocab);
    return RT_OK;
}

static rt_status open_checkpoint(rt_source *s) {
    rt_status rc;
    rt_text name = {0};
    rt_blob config, vocab, tokenizer;
    int rows = 0;
    RT_GO(rt_checkpoint_open(s->path, &s->checkpoint));
    config = rt_checkpoint_config_json(s->checkpoint);
    vocab = rt_checkpoint_vocab(s->checkpoint);
    tokenizer = rt_checkpoint_tokenizer_config(s->checkpoint);
    if (!config.bytes) {
        rc = rt_fail(RT_EDATA, "%s: no /config.json; make the checkpoint again (rectrain convert, or training)",
                     s->path);
        goto done;
    }
    rt_text_printf(&name, "%s: /config.json", s->path);
    RT_GO(rt_text_status(&name));
    RT_GO(rt_config_json_read(config.bytes, config.size, name.data, &s->config));
    for (int i = 0; i < rt_checkpoint_tensor_count(s->checkpoint); i++) {
        int rank;
        int64_t shape[2];
        if (strcmp(rt_checkpoint_tensor_name(s->checkpoint, i), "classifier.weight") != 0) continue;
        rt_checkpoint_tensor_shape(s->checkpoint, i, &rank, shape);
        rows = rank == 2 && shape[0] <= RT_MAX_LABELS ? (int)shape[0] : RT_MAX_LABELS + 1;
    }
    RT_GO(resolve_labels(name.data, rows, &s->config));
    s->options = rt_tokenizer_defaults();
    rt_text_clear(&name);
    rt_text_printf(&name, "%s: /tokenizer_config.json", s->path);
    if (tokenizer.bytes) RT_GO(rt_tokenizer_config_parse(tokenizer.bytes, tokenizer.size, name.data, &s->options));
    rt_text_clear(&name);
    rt_text_printf(&name, "%s: /vocab.txt", s->path);
    if (vocab.bytes) RT_GO(make_tokenizer(s, vocab.bytes, vocab.size, name.data));
    RT_GO(rt_text_status(&name));
done:
    rt_text_free(&name);
    return rc;
}

static rt_status open_folder(rt_source *s, rt_log *log) {
    rt_status rc;
    const char *pooling = NULL;
    char *path = rt_path_join(s->path, "config.json");
    if (!path) return rt_fail(RT_ENOMEM, "%s: out of memory", s->path);
    if (!rt_path_taken(path)) {
        rc = rt_fail(RT_ENOINPUT,
                     "%s: a folder without config.json, so no Hugging Face model; expected config.json, "
                     "model.safetensors and vocab.txt or tokenizer.json",
                     s->path);
        goto done;
    }
    RT_GO(rt_file_read(path, RT_JSON_LIMIT, &s->config_text, &s->config_size));
    RT_GO(rt_hf_sentence_pooling(s->path, log, &pooling));
    if (pooling) RT_GO(rt_hf_sentence_note(path, pooling, &s->config_text, &s->config_size));
    RT_GO(rt_config_json_read(s->config_text, s->config_size, path, &s->config));
    RT_GO(rt_hf_weights_open(s->path, &s->config, log, &s->weights));
    RT_GO(resolve_labels(path, s->weights.labels, &s->config));
    RT_GO(rt_hf_tokenizer(s->path, log, &s->vocab, &s->options));
    RT_GO(make_tokenizer(s, s->vocab.data, s->vocab.size, s->path));
done:
    free(path);
    return rc;
}

rt_status rt_source_open(const char *base, rt_log *log, rt_source **out) {
    return rt_source_open_as("model.base =", base, log, out);
}

rt_status rt_source_open_as(const char *said, const char *base, rt_log *log, rt_source **out) {
    rt_status rc;
    rt_source *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return rt_fail(RT_ENOMEM, "%s: out of memory", base);
    RT_GO(locate(said, base, log, &s->path));
    if (rt_is_folder(s->path))
        RT_GO(open_folder(s, log));
    else
        RT_GO(open_checkpoint(s));
    *out = s;
    s = NULL;
done:
    rt_source_close(s);
    return rc;
}

void rt_source_close(rt_source *s) {
    if (!s) return;
    rt_checkpoint_close(s->checkpoint);
    rt_hf_weights_close(&s->weights);
    rt_config_json_free(&s->config);
    rt_text_free(&s->vocab);
    rt_tokenizer_free(s->tokenizer);
    free(s->config_text);
    free(s->path);
    free(s);
}

/* --- what it holds ------------------------------------------------------------------------------------------------ */

const char *rt_source_path(const rt_source *s) {
    return s->path;
}
bool rt_source_is_checkpoint(const rt_source *s) {
    return s->checkpoint != NULL;
}
const rt_bert *rt_source_bert(const rt_source *s) {
    return &s->config.bert;
}
const char *rt_source_sentence_pooling(const rt_source *s) {
    return s->config.sentence_pooling;
}

int rt_source_label_count(const rt_source *s) {
    return s->config.n_labels;
}

const char *rt_source_label_name(const rt_source *s, int i) {
    return i >= 0 && i < s->config.n_labels ? s->config.labels[i] : NULL;
}

const rt_tokenizer_options *rt_source_tokenizer_options(const rt_source *s) {
    return &s->options;
}
const rt_tokenizer *rt_source_tokenizer(const rt_source *s) {
    return s->tokenizer;
}

rt_blob rt_source_vocab(const rt_source *s) {
    return s->checkpoint ? rt_checkpoint_vocab(s->checkpoint) : (rt_blob){s->vocab.data, s->vocab.size};
}

rt_blob rt_source_config_json(const rt_source *s) {
    return s->checkpoint ? rt_checkpoint_config_json(s->checkpoint) : (rt_blob){s->config_text, s->config_size};
}

rt_blob rt_source_config_ini(const rt_source *s) {
    return s->checkpoint ? rt_checkpoint_config_ini(s->checkpoint) : (rt_blob){0};
}

rt_blob rt_source_state(const rt_source *s) {
    return s->checkpoint ? rt_checkpoint_state(s->checkpoint) : (rt_blob){0};
}

bool rt_source_has(const rt_source *s, const char *name) {
    return s->checkpoint ? rt_checkpoint_has(s->checkpoint, RT_SECTION_MODEL, name)
                         : rt_hf_find(&s->weights, name) != NULL;
}

rt_status rt_source_read(rt_source *s, const char *name, int rank, const int64_t *shape, float *out) {
    if (s->checkpoint) return rt_checkpoint_read(s->checkpoint, RT_SECTION_MODEL, name, rank, shape, out);
    return rt_hf_read(&s->weights, name, rank, shape, out);
}

rt_status rt_source_read_moment(rt_source *s, rt_section section, const char *name, int rank, const int64_t *shape,
                                float *out) {
    if (s->checkpoint) return rt_checkpoint_read(s->checkpoint, section, name, rank, shape, out);
    return rt_fail(RT_EDATA, "%s: a Hugging Face folder, which holds no optimizer moments; resume from a last.h5",
                   s->path);
}

int rt_source_tensor_count(const rt_source *s) {
    return s->checkpoint ? rt_checkpoint_tensor_count(s->checkpoint) : s->weights.n;
}

const char *rt_source_tensor(const rt_source *s, int i, int *rank, int64_t shape[2]) {
    if (s->checkpoint) {
        rt_checkpoint_tensor_shape(s->checkpoint, i, rank, shape);
        return rt_checkpoint_tensor_name(s->checkpoint, i);
    }
    const rt_st_tensor *info = rt_hf_info(&s->weights, &s->weights.tensors[i]);
    *rank = info->rank;
    memcpy(shape, info->shape, sizeof info->shape);
    return s->weights.tensors[i].name;
}
