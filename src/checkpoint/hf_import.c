#include "hf_import.h"
#include "../base/file.h"
#include "json.h"
#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX 4096

void rt_hf_weights_close(rt_hf_weights *w) {
    if (!w) return;
    for (int i = 0; i < w->n_files; i++) rt_safetensors_close(&w->files[i]);
    free(w->files);
    free(w->tensors);
    memset(w, 0, sizeof *w);
}

static int compare_tensors(const void *a, const void *b) {
    return strcmp(((const rt_hf_tensor *)a)->name, ((const rt_hf_tensor *)b)->name);
}

const rt_hf_tensor *rt_hf_find(const rt_hf_weights *w, const char *name) {
    rt_hf_tensor key = {.file = 0};
    if (strlen(name) >= sizeof key.name || !w->n) return NULL;
    strcpy(key.name, name);
    return bsearch(&key, w->tensors, (size_t)w->n, sizeof *w->tensors, compare_tensors);
}

const rt_st_tensor *rt_hf_info(const rt_hf_weights *w, const rt_hf_tensor *t) {
    return &w->files[t->file].tensors[t->index];
}

/* --- which files -------------------------------------------------------------------------------------------------- */

static bool has(const char *folder, const char *name) {
    char *path = rt_path_join(folder, name);
    bool there = path && rt_path_taken(path);
    free(path);
    return there;
}

static rt_status no_weights(const char *folder) {
    if (has(folder, "pytorch_model.bin"))
        return rt_fail(
            RT_ECONFIG,
            "%s: holds pytorch_model.bin and no model.safetensors; rectrain runs no pickles. Convert it once, "
            "where torch and safetensors are installed: "
            "python3 -c \"import torch, safetensors.torch as s; d = torch.load('%s/pytorch_model.bin', "
            "map_location='cpu', weights_only=True); s.save_file({k: v.clone().contiguous() for k, v in "
            "d.items()}, '%s/model.safetensors')\"",
            folder, folder, folder);
    static const char *const others[] = {"pytorch_model.bin.index.json", "tf_model.h5", "model.ckpt.index",
                                         "flax_model.msgpack"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (has(folder, others[i]))
            return rt_fail(RT_ECONFIG,
                           "%s: holds %s and no model.safetensors; load it with transformers and call "
                           "save_pretrained(folder), which writes model.safetensors",
                           folder, others[i]);
    return rt_fail(RT_ENOINPUT, "%s: neither model.safetensors nor model.safetensors.index.json; fetch the model again",
                   folder);
}

static rt_status open_shard(const char *folder, const char *name, rt_hf_weights *w) {
    rt_status rc;
    char *path = NULL;
    size_t n = strlen(name), m = strlen(".safetensors");
    if (strchr(name, '/') || name[0] == '.' || n <= m || strcmp(name + n - m, ".safetensors") != 0)
        return rt_fail(RT_EDATA,
                       "%s/model.safetensors.index.json: names the file \"%.100s\", expected NAME.safetensors", folder,
                       name);
    if (w->n_files == SHARDS_MAX)
        return rt_fail(RT_EDATA, "%s/model.safetensors.index.json: names over %d files", folder, SHARDS_MAX);
    path = rt_path_join(folder, name);
    rt_safetensors *grown = realloc(w->files, (size_t)(w->n_files + 1) * sizeof *grown);
    if (grown) w->files = grown;
    if (!path || !grown) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", folder);
        goto done;
    }
    RT_GO(rt_safetensors_open(path, &w->files[w->n_files]));
    w->n_files++;
done:
    free(path);
    return rc;
}

/* weight_map: {"tensor": "file"}; each file is opened once, and must hold the tensors that the map puts there. */
static rt_status open_shards(const char *folder, const char *index, json_t **map, rt_hf_weights *w) {
    rt_status rc;
    char *json = NULL;
    size_t size = 0;
    json_t *whole = NULL, *value;
    const char *key;
    RT_GO(rt_file_read(index, RT_VOCAB_LIMIT, &json, &size));
    RT_GO(rt_json_object(json, size, index, &whole));
    *map = json_incref(json_object_get(whole, "weight_map"));
    if (!json_is_object(*map)) {
        rc = rt_fail(RT_EDATA, "%s: no weight_map; fetch the model again", index);
        goto done;
    }
    json_object_foreach(*map, key, value) {
        const char *name = json_string_value(value);
        int i = 0;
        if (!name) {
            rc = rt_fail(RT_EDATA, "%s: the file of tensor \"%.100s\" is no string", index, key);
            goto done;
        }
        while (i < w->n_files && strcmp(rt_path_basename(w->files[i].path), name) != 0) i++;
        if (i == w->n_files) RT_GO(open_shard(folder, name, w));
    }
done:
    json_decref(whole);
    free(json);
    return rc;
}

/* Every tensor of the map must stand in its file. */
static rt_status check_map(const char *index, const json_t *map, const rt_hf_weights *w) {
    json_t *left = json_copy((json_t *)map);
    rt_status rc = RT_OK;
    if (!left) return rt_fail(RT_ENOMEM, "%s: out of memory", index);
    for (int f = 0; f < w->n_files; f++) {
        for (int i = 0; i < w->files[f].n; i++) {
            const char *place = json_string_value(json_object_get(left, w->files[f].tensors[i].name));
            if (place && strcmp(place, rt_path_basename(w->files[f].path)) == 0)
                json_object_del(left, w->files[f].tensors[i].name);
        }
    }
    if (json_object_size(left)) {
        const char *key = json_object_iter_key(json_object_iter(left));
        rc = rt_fail(RT_EDATA, "%s: tensor \"%.100s\" is not in %.100s, where the index puts it; fetch the model again",
                     index, key, json_string_value(json_object_get(left, key)));
    }
    json_decref(left);
    return rc;
}

static rt_status open_files(const char *folder, json_t **map, rt_hf_weights *w) {
    rt_status rc = RT_OK;
    char *index = NULL;
    if (has(folder, "model.safetensors")) return open_shard(folder, "model.safetensors", w);
    index = rt_path_join(folder, "model.safetensors.index.json");
    if (!index) return rt_fail(RT_ENOMEM, "%s: out of memory", folder);
    if (!rt_path_taken(index)) {
        rc = no_weights(folder);
        goto done;
    }
    RT_GO(open_shards(folder, index, map, w));
    RT_GO(check_map(index, *map, w));
done:
    free(index);
    return rc;
}

/* --- which tensors ------------------------------------------------------------------------------------------------ */

typedef struct {
    rt_text names;
    int n;
} name_list;

static void list_name(name_list *list, const char *name) {
    if (list->n++ < 24) {
        rt_text_puts(&list->names, list->n > 1 ? ", " : "");
        rt_text_escaped(&list->names, name, strlen(name), 120);
    }
}

static void log_names(rt_log *log, rt_log_level level, const char *folder, const char *what, name_list *list) {
    if (list->n > 24) rt_text_printf(&list->names, " and %d more", list->n - 24);
    if (list->n)
        rt_log_write(log, level, "%s: left out %s: %s", folder, what, list->names.data ? list->names.data : "");
    rt_text_free(&list->names);
}

static rt_status add_tensor(rt_hf_weights *w, const char *name, int file, int index) {
    rt_hf_tensor *t = &w->tensors[w->n++]; /* room for every tensor of every file */
    strcpy(t->name, name);
    t->file = file;
    t->index = index;
    return RT_OK;
}

static rt_status collect(const char *folder, const rt_config_json *config, const json_t *map, rt_log *log,
                         rt_hf_weights *w) {
    rt_status rc = RT_OK;
    name_list buffers = {0}, foreign = {0}, layers = {0};
    size_t total = 1;
    for (int f = 0; f < w->n_files; f++) total += (size_t)w->files[f].n;
    w->tensors = calloc(total, sizeof *w->tensors);
    if (!w->tensors) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", folder);
        goto done;
    }
    for (int f = 0; f < w->n_files; f++) {
        for (int i = 0; i < w->files[f].n; i++) {
            char name[RT_HF_NAME];
            const char *found = w->files[f].tensors[i].name;
            if (map && !rt_streq(json_string_value(json_object_get(map, found)), rt_path_basename(w->files[f].path)))
                continue; /* the index does not take it from here */
            rt_hf_kind kind = rt_hf_canonical(found, name);
            bool head = strncmp(name, "classifier.", 11) == 0;
            if (kind == RT_HF_BUFFER)
                list_name(&buffers, found);
            else if (kind == RT_HF_FOREIGN || (head && config->head == RT_HEAD_OTHER))
                list_name(&foreign, found);
            else if (rt_hf_layer(name) >= config->bert.layers)
                list_name(&layers, found);
            else
                RT_GO(add_tensor(w, name, f, i));
        }
    }
    qsort(w->tensors, (size_t)w->n, sizeof *w->tensors, compare_tensors);
    for (int i = 1; i < w->n; i++) {
        if (strcmp(w->tensors[i - 1].name, w->tensors[i].name) == 0) {
            rc = rt_fail(RT_EDATA, "%s: \"%.100s\" and \"%.100s\" are two spellings of one tensor; keep one", folder,
                         rt_hf_info(w, &w->tensors[i - 1])->name, rt_hf_info(w, &w->tensors[i])->name);
            goto done;
        }
    }
done:
    log_names(rc == RT_OK ? log : NULL, RT_LOG_VERBOSE, folder, "constants that every BERT computes", &buffers);
    log_names(rc == RT_OK ? log : NULL, RT_LOG_INFO, folder, "tensors of other tasks", &foreign);
    log_names(rc == RT_OK ? log : NULL, RT_LOG_WARN, folder, "layers beyond config.json's num_hidden_layers", &layers);
    return rc;
}

static void shape_text(int rank, const int64_t *shape, char out[64]) {
    if (rank == 1)
        snprintf(out, 64, "[%lld]", (long long)shape[0]);
    else if (rank == 2)
        snprintf(out, 64, "[%lld, %lld]", (long long)shape[0], (long long)shape[1]);
    else
        snprintf(out, 64, "of %d dimensions", rank);
}

static rt_status check_shape(const rt_hf_weights *w, const rt_hf_tensor *t, int rank, const int64_t *shape) {
    const rt_st_tensor *info = rt_hf_info(w, t);
    char found[64], wanted[64];
    if (info->rank == rank && info->shape[0] == shape[0] && (rank < 2 || info->shape[1] == shape[1])) return RT_OK;
    shape_text(info->rank, info->shape, found);
    shape_text(rank, shape, wanted);
    return rt_fail(RT_EDATA, "%s: tensor %s is %s, expected %s as its config.json says", w->files[t->file].path,
                   info->name, found, wanted);
}

static rt_status missing(const char *folder, const rt_hf_weights *w, const char *name) {
    name_list some = {0};
    for (int f = 0; f < w->n_files; f++)
        for (int i = 0; i < w->files[f].n && some.n < 4; i++) list_name(&some, w->files[f].tensors[i].name);
    rt_status rc =
        rt_fail(RT_EDATA,
                "%s: its weights lack %s (with or without \"bert.\"); they hold %s%s. Is config.json another "
                "model's?",
                folder, name, some.n ? some.names.data : "nothing", some.n ? ", ..." : "");
    rt_text_free(&some.names);
    return rc;
}

/* The head's rows; a head or pooler must be whole. */
static rt_status measure_parts(const char *folder, rt_hf_weights *w) {
    const rt_hf_tensor *weight = rt_hf_find(w, "classifier.weight"), *bias = rt_hf_find(w, "classifier.bias");
    const rt_hf_tensor *pool = rt_hf_find(w, "bert.pooler.dense.weight");
    if (weight) {
        int64_t rows = rt_hf_info(w, weight)->rank == 2 ? rt_hf_info(w, weight)->shape[0] : 0;
        if (rows < 1 || rows > RT_MAX_LABELS)
            return rt_fail(RT_EDATA, "%s: classifier.weight has %lld rows, expected 1 to %d labels", folder,
                           (long long)rows, RT_MAX_LABELS);
        w->labels = (int)rows;
    }
    if (bias && !weight) return missing(folder, w, "classifier.weight");
    w->pooler = pool != NULL || rt_hf_find(w, "bert.pooler.dense.bias") != NULL;
    return RT_OK;
}

static rt_status match(const char *folder, const rt_config_json *config, rt_hf_weights *w) {
    rt_status rc;
    rt_hf_row *rows = NULL;
    int n = 0;
    RT_GO(measure_parts(folder, w));
    RT_GO(rt_hf_rows(&config->bert, w->pooler, w->labels, &rows, &n));
    for (int i = 0; i < n; i++) {
        const rt_hf_tensor *t = rt_hf_find(w, rows[i].name);
        if (!t) {
            rc = missing(folder, w, rows[i].name);
            goto done;
        }
        RT_GO(check_shape(w, t, rows[i].rank, rows[i].shape));
        if (!rt_st_is_float(rt_hf_info(w, t))) {
            rc = rt_fail(RT_EDATA,
                         "%s: tensor %s has dtype %s, expected F32, F16 or BF16; save the model in one of these",
                         w->files[t->file].path, rt_hf_info(w, t)->name, rt_hf_info(w, t)->dtype);
            goto done;
        }
    }
    for (int i = 0; i < w->n; i++) {
        if (rt_hf_row_find(rows, n, w->tensors[i].name)) continue;
        rc =
            rt_fail(RT_ECONFIG,
                    "%s: tensor %.100s is no part of BERT as rectrain computes it; without it the scores would differ. "
                    "Merge or remove what was added to the model, and save it again",
                    w->files[w->tensors[i].file].path, rt_hf_info(w, &w->tensors[i])->name);
        goto done;
    }
done:
    free(rows);
    return rc;
}

rt_status rt_hf_weights_open(const char *folder, const rt_config_json *config, rt_log *log, rt_hf_weights *out) {
    rt_status rc;
    json_t *map = NULL;
    memset(out, 0, sizeof *out);
    RT_GO(open_files(folder, &map, out));
    RT_GO(collect(folder, config, map, log, out));
    RT_GO(match(folder, config, out));
done:
    json_decref(map);
    if (rc != RT_OK) rt_hf_weights_close(out);
    return rc;
}

rt_status rt_hf_read(const rt_hf_weights *w, const char *name, int rank, const int64_t *shape, float *out) {
    const rt_hf_tensor *t = rt_hf_find(w, name);
    if (!t) return rt_fail(RT_EDATA, "%s: no tensor %s; this model needs it", w->files[0].path, name);
    RT_TRY(check_shape(w, t, rank, shape));
    return rt_safetensors_read(&w->files[t->file], t->index, out);
}
