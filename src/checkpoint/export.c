/* A folder that transformers, sentence-transformers and text-embeddings-inference load as it stands. */
#include "../base/file.h"
#include "hf_names.h"
#include "source.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const our_files[] = {
    "config.json", "model.safetensors",        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.txt",   "sentence_bert_config.json"};
#define N_OUR_FILES (sizeof our_files / sizeof *our_files)
/* Besides, where the folder is one for vectors; Normalize has no file of its own. */
static const char *const vector_files[] = {"1_Pooling/config.json", "modules.json"};
#define N_VECTOR_FILES (sizeof vector_files / sizeof *vector_files)

/* --- what cannot be served ---------------------------------------------------------------------------------------- */

static rt_status check_servable(const rt_source *source) {
    const rt_bert *b = rt_source_bert(source);
    const char *path = rt_source_path(source);
    if (b->labels > 0 && b->pooling == RT_POOL_MEAN)
        return rt_fail(
            RT_ECONFIG,
            "%s: a classifier with pooling = mean: servers load it as BertForSequenceClassification, which "
            "pools the first token, and would answer wrong scores without a word. Train with model.pooling = "
            "cls to export it, or score with rectrain predict",
            path);
    if (b->labels > 0 && !rt_source_has(source, "bert.pooler.dense.weight"))
        return rt_fail(RT_EDATA,
                       "%s: a classifier without bert.pooler.dense, which BertForSequenceClassification needs; "
                       "train it with model.pooling = cls first",
                       path);
    if (!rt_source_tokenizer(source))
        return rt_fail(RT_EDATA, "%s: no /vocab.txt, so no tokenizer to export; convert the model again", path);
    return RT_OK;
}

static bool is_ours(const char *name) {
    for (size_t i = 0; i < N_OUR_FILES; i++)
        if (strcmp(name, our_files[i]) == 0) return true;
    return false;
}

/* Weights of another layout beside ours would be loaded instead, or with them, and modules.json beside a classifier
 * would make it one for vectors; other files (README.md, samples) are no harm. A folder that holds things and no export
 * of ours is left alone. */
static rt_status check_folder(const char *folder, bool vectors) {
    rt_status rc = RT_OK;
    bool any = false, config = false;
    DIR *dir = opendir(folder);
    if (!dir) return rt_fail(RT_EIO, "%s: cannot be read: %s", folder, strerror(errno));
    for (struct dirent *entry; rc == RT_OK && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        any = true;
        config = config || strcmp(name, "config.json") == 0;
        size_t n = strlen(name);
        if (!vectors && strcmp(name, "modules.json") == 0)
            rc = rt_fail(RT_ECONFIG,
                         "%s: holds modules.json, by which sentence-transformers takes it for a model of vectors; name "
                         "a new folder",
                         folder);
        else if (!is_ours(name) && !strstr(name, ".tmp.") &&
                 (strstr(name, ".safetensors") || (n > 4 && strcmp(name + n - 4, ".bin") == 0)))
            rc = rt_fail(RT_ECONFIG,
                         "%s: holds %s, weights of another model, which would be mixed up with the export; "
                         "name a new folder",
                         folder, name);
    }
    closedir(dir);
    if (rc == RT_OK && any && !config)
        rc = rt_fail(RT_ECONFIG,
                     "%s: holds files and is no earlier export (no config.json); name a new or empty folder", folder);
    return rc;
}

/* --- model.safetensors -------------------------------------------------------------------------------------------- */

static void put_header(const rt_source *source, rt_text *header) {
    uint64_t at = 0;
    rt_text_puts(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = 0; i < rt_source_tensor_count(source); i++) {
        int rank;
        int64_t shape[2];
        const char *name = rt_source_tensor(source, i, &rank, shape);
        uint64_t size = (uint64_t)shape[0] * (uint64_t)shape[1] * sizeof(float);
        rt_text_puts(header, ",");
        rt_text_json_string(header, name, strlen(name));
        rt_text_printf(header, ":{\"dtype\":\"F32\",\"shape\":[%lld", (long long)shape[0]);
        if (rank == 2) rt_text_printf(header, ",%lld", (long long)shape[1]);
        rt_text_printf(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                       (unsigned long long)(at + size));
        at += size;
    }
    rt_text_puts(header, "}");
    while (header->size % 8) rt_text_puts(header, " ");
}

static rt_status put_tensors(rt_source *source, rt_atomic *file) {
    rt_status rc = RT_OK;
    float *data = NULL;
    size_t capacity = 0;
    for (int i = 0; i < rt_source_tensor_count(source); i++) {
        int rank;
        int64_t shape[2];
        const char *name = rt_source_tensor(source, i, &rank, shape);
        size_t size = (size_t)shape[0] * (size_t)shape[1] * sizeof *data;
        if (size > capacity) {
            free(data);
            data = malloc(size);
            capacity = data ? size : 0;
        }
        if (!data) {
            rc = rt_fail(RT_ENOMEM, "%s: out of memory for %s", rt_source_path(source), name);
            goto done;
        }
        RT_GO(rt_source_read(source, name, rank, shape, data));
        RT_GO(rt_atomic_write(file, data, size));
    }
done:
    free(data);
    return rc;
}

static rt_status write_weights(rt_source *source, const char *path) {
    rt_status rc;
    rt_text header = {0};
    rt_atomic file = {0};
    unsigned char size[8];
    put_header(source, &header);
    RT_GO(rt_text_status(&header));
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)header.size >> (8 * i));
    RT_GO(rt_atomic_begin(&file, path));
    RT_GO(rt_atomic_write(&file, size, sizeof size));
    RT_GO(rt_atomic_write(&file, header.data, header.size));
    RT_GO(put_tensors(source, &file));
    RT_GO(rt_atomic_commit(&file));
done:
    rt_atomic_abort(&file);
    rt_text_free(&header);
    return rc;
}

/* --- the others --------------------------------------------------------------------------------------------------- */

static rt_status make_config(const rt_source *source, rt_text *out) {
    rt_status rc;
    int n = rt_source_label_count(source);
    const char **labels = calloc((size_t)n + 1, sizeof *labels);
    if (!labels) return rt_fail(RT_ENOMEM, "out of memory for label names");
    for (int i = 0; i < n; i++) labels[i] = rt_source_label_name(source, i);
    rc = rt_config_json_write(rt_source_bert(source), labels, n, out);
    free(labels);
    return rc;
}

static rt_status write_text(const char *folder, const char *name, const rt_text *text) {
    char *path = rt_path_join(folder, name), *parent = path ? rt_path_dirname(path) : NULL;
    rt_status rc = parent ? rt_make_folders(parent) : rt_fail(RT_ENOMEM, "%s: out of memory", folder);
    if (rc == RT_OK) rc = rt_file_write_atomic(path, text->data, text->size);
    free(parent);
    free(path);
    return rc;
}

/* The switches are how sentence-transformers up to 5 and text-embeddings-inference read it, pooling_mode is how 6 does.
 */
static void put_pooling(const rt_bert *b, const char *pooling, rt_text *out) {
    const bool mean = strcmp(pooling, "mean") == 0;
    rt_text_printf(out,
                   "{\n  \"word_embedding_dimension\": %d,\n  \"pooling_mode\": \"%s\",\n"
                   "  \"pooling_mode_cls_token\": %s,\n  \"pooling_mode_mean_tokens\": %s,\n"
                   "  \"pooling_mode_max_tokens\": false,\n  \"pooling_mode_mean_sqrt_len_tokens\": false,\n"
                   "  \"include_prompt\": true\n}\n",
                   b->hidden, pooling, mean ? "false" : "true", mean ? "true" : "false");
}

static void put_modules(rt_text *out) {
    static const char *const modules[][2] = {
        {"", "Transformer"}, {"1_Pooling", "Pooling"}, {"2_Normalize", "Normalize"}};
    rt_text_puts(out, "[");
    for (int i = 0; i < 3; i++)
        rt_text_printf(out,
                       "%s\n  {\"idx\": %d, \"name\": \"%d\", \"path\": \"%s\", \"type\": "
                       "\"sentence_transformers.models.%s\"}",
                       i ? "," : "", i, i, modules[i][0], modules[i][1]);
    rt_text_puts(out, "\n]\n");
}

static rt_status write_vector_files(const rt_bert *b, const char *folder, const char *pooling) {
    rt_status rc = RT_OK;
    for (size_t i = 0; rc == RT_OK && i < N_VECTOR_FILES; i++) {
        rt_text text = {0};
        if (i == 0)
            put_pooling(b, pooling, &text);
        else
            put_modules(&text);
        rc = rt_text_status(&text);
        if (rc == RT_OK) rc = write_text(folder, vector_files[i], &text);
        rt_text_free(&text);
    }
    return rc;
}

static rt_status make_text(const rt_source *source, const char *name, int max_length, rt_text *out) {
    const rt_tokenizer *tokenizer = rt_source_tokenizer(source);
    if (strcmp(name, "config.json") == 0) return make_config(source, out);
    if (strcmp(name, "tokenizer.json") == 0) return rt_tokenizer_json_write(tokenizer, out);
    if (strcmp(name, "tokenizer_config.json") == 0) return rt_tokenizer_config_write(tokenizer, max_length, out);
    if (strcmp(name, "special_tokens_map.json") == 0) return rt_tokenizer_special_map_write(tokenizer, out);
    if (strcmp(name, "vocab.txt") == 0) {
        rt_blob vocab = rt_source_vocab(source);
        rt_text_append(out, vocab.bytes, vocab.size);
    } else {
        rt_text_printf(out, "{\"max_seq_length\": %d}\n", max_length);
    }
    return rt_text_status(out);
}

rt_status rt_export(rt_source *source, const char *folder, int max_length, rt_log *log) {
    return rt_export_vectors(source, folder, NULL, max_length, log);
}

rt_status rt_export_vectors(rt_source *source, const char *folder, const char *pooling, int max_length, rt_log *log) {
    rt_status rc;
    rt_text texts[N_OUR_FILES] = {{0}};
    char *weights = NULL;
    const rt_bert *b = rt_source_bert(source);
    if (max_length < 1 || max_length > b->max_positions)
        return rt_fail(RT_ECONFIG, "max_length = %d: expected 1 to %d, as many as the model has positions", max_length,
                       b->max_positions);
    RT_GO(check_servable(source));
    for (size_t i = 0; i < N_OUR_FILES; i++)
        if (strcmp(our_files[i], "model.safetensors") != 0)
            RT_GO(make_text(source, our_files[i], max_length, &texts[i]));
    RT_GO(rt_make_folders(folder));
    RT_GO(check_folder(folder, pooling != NULL));
    weights = rt_path_join(folder, "model.safetensors");
    if (!weights) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", folder);
        goto done;
    }
    RT_GO(write_weights(source, weights));
    if (pooling) RT_GO(write_vector_files(b, folder, pooling));
    /* config.json last: a folder without it is loaded by nobody. */
    for (size_t i = N_OUR_FILES; i-- > 0;)
        if (strcmp(our_files[i], "model.safetensors") != 0) RT_GO(write_text(folder, our_files[i], &texts[i]));
    rt_info(log, "%s: %d tensors as %s, %d label%s%s%s, texts of at most %d tokens", folder,
            rt_source_tensor_count(source), b->labels ? "BertForSequenceClassification" : "BertModel", b->labels,
            b->labels == 1 ? "" : "s", pooling ? ", pooling " : "", pooling ? pooling : "", max_length);
done:
    for (size_t i = 0; i < N_OUR_FILES; i++) rt_text_free(&texts[i]);
    free(weights);
    return rc;
}
