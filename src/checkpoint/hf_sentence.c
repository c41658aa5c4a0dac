#include "hf_sentence.h"
#include "../base/file.h"
#include "hf_import.h"
#include "json.h"
#include <stdlib.h>
#include <string.h>

/* *out NULL: the folder has no such file. */
static rt_status read_json(const char *folder, const char *name, bool list, json_t **out) {
    rt_status rc = RT_OK;
    char *bytes = NULL, *path = rt_path_join(folder, name);
    size_t size = 0;
    *out = NULL;
    if (!path) return rt_fail(RT_ENOMEM, "%s: out of memory", folder);
    if (!rt_path_taken(path)) goto done;
    RT_GO(rt_file_read(path, RT_JSON_LIMIT, &bytes, &size));
    if (rt_json_memory(bytes, size) > RT_JSON_MEMORY)
        RT_GO(rt_fail(RT_EDATA, "%s: holds more values than any such file", path));
    *out = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
    if (!(list ? json_is_array(*out) : json_is_object(*out))) {
        json_decref(*out);
        *out = NULL;
        rc = rt_fail(RT_EDATA, "%s: no JSON %s; fetch the model again", path, list ? "list" : "object");
    }
done:
    free(bytes);
    free(path);
    return rc;
}

/* What stands behind the last dot of a module's type is its class. */
static rt_status check_modules(const char *folder, rt_log *log) {
    json_t *modules = NULL, *module;
    size_t i;
    RT_TRY(read_json(folder, "modules.json", true, &modules));
    json_array_foreach(modules, i, module) {
        const char *type = json_string_value(json_object_get(module, "type"));
        const char *class = type && strrchr(type, '.') ? strrchr(type, '.') + 1 : type;
        if (class && strcmp(class, "Transformer") != 0 && strcmp(class, "Pooling") != 0 &&
            strcmp(class, "Normalize") != 0)
            rt_warn(log,
                    "%s/modules.json: the module %.60s is left out; vectors will differ from those of "
                    "sentence-transformers",
                    folder, class);
    }
    json_decref(modules);
    return RT_OK;
}

/* "pooling_mode": "mean", or one of the switches "pooling_mode_*" is on. */
static const char *mode_of(const json_t *pooling) {
    static const char *const both[] = {"cls", "mean"};
    static const char *const switches[] = {"pooling_mode_cls_token", "pooling_mode_mean_tokens"};
    const char *said = json_string_value(json_object_get(pooling, "pooling_mode")), *found = NULL, *key;
    json_t *value;
    for (int i = 0; said && i < 2; i++)
        if (strcmp(said, both[i]) == 0) return both[i];
    if (said) return NULL;
    json_object_foreach((json_t *)pooling, key, value) {
        if (strncmp(key, "pooling_mode_", 13) != 0 || !json_is_true(value)) continue;
        if (found) return NULL; /* two of them end to end */
        for (int i = 0; i < 2; i++)
            if (strcmp(key, switches[i]) == 0) found = both[i];
        if (!found) return NULL;
    }
    return found;
}

rt_status rt_hf_sentence_pooling(const char *folder, rt_log *log, const char **out) {
    json_t *pooling = NULL;
    *out = NULL;
    RT_TRY(read_json(folder, "1_Pooling/config.json", false, &pooling));
    if (!pooling) return RT_OK;
    *out = mode_of(pooling);
    json_decref(pooling);
    if (!*out)
        rt_warn(log, "%s/1_Pooling/config.json: asks for another pooling than cls or mean, which rectrain has not",
                folder);
    return check_modules(folder, log);
}

rt_status rt_hf_sentence_note(const char *name, const char *pooling, char **json, size_t *size) {
    rt_status rc = RT_OK;
    json_t *config = NULL, *ours;
    char *text = NULL;
    RT_GO(rt_json_object(*json, *size, name, &config));
    ours = json_object_get(config, "rectrain");
    if (!json_is_object(ours)) {
        ours = json_object();
        if (json_object_set_new(config, "rectrain", ours) != 0) ours = NULL;
    }
    if (ours && json_object_set_new(ours, "sentence_pooling", json_string(pooling)) == 0)
        text = json_dumps(config, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    if (!text) RT_GO(rt_fail(RT_ENOMEM, "%s: out of memory", name));
    free(*json);
    *json = text;
    *size = strlen(text);
done:
    json_decref(config);
    return rc;
}
