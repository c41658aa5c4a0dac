#include "json_read.h"
#include "../base/text.h"
#include <string.h>

rt_status rt_json_load_object(const char *json, size_t size, const char *name, size_t flags, json_t **out) {
    *out = NULL;
    if (size > RT_JSON_MAX_BYTES)
        return rt_fail(RT_EDATA, "%s: %zu bytes; at most %zu are read", name, size, RT_JSON_MAX_BYTES);
    size_t memory = rt_json_memory(json ? json : "", size);
    if (memory > RT_JSON_MEMORY)
        return rt_fail(RT_EDATA,
                       "%s: so many keys and values that they would take %zu MiB of memory; at most %zu are accepted "
                       "here; fetch the file again",
                       name, memory >> 20, RT_JSON_MEMORY >> 20);
    json_error_t error;
    json_t *root = json_loadb(json ? json : "", size, JSON_REJECT_DUPLICATES | flags, &error);
    if (!root) {
        rt_text shown = {0};
        rt_text_escaped(&shown, error.text, strlen(error.text), 160);
        rt_status rc = rt_fail(RT_EDATA, "%s:%d: not the JSON that is expected: %s (column %d); fetch the file again",
                               name, error.line, shown.data ? shown.data : "?", error.column);
        rt_text_free(&shown);
        return rc;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return rt_fail(RT_EDATA, "%s: not a JSON object at the top; fetch the file again", name);
    }
    *out = root;
    return RT_OK;
}

static void describe(rt_text *to, const json_t *found) {
    const json_t *type;
    switch (found ? json_typeof(found) : JSON_NULL) {
    case JSON_OBJECT:
        type = json_object_get(found, "type");
        rt_text_puts(to, "an object");
        if (json_is_string(type)) {
            rt_text_puts(to, " of type ");
            describe(to, type);
        }
        break;
    case JSON_ARRAY:
        rt_text_printf(to, "an array of %zu", json_array_size(found));
        break;
    case JSON_STRING:
        rt_text_puts(to, "\"");
        rt_text_escaped(to, json_string_value(found), json_string_length(found), 64);
        rt_text_puts(to, "\"");
        break;
    case JSON_INTEGER:
        rt_text_printf(to, "%lld", (long long)json_integer_value(found));
        break;
    case JSON_REAL:
        rt_text_printf(to, "%g", json_real_value(found));
        break;
    case JSON_TRUE:
        rt_text_puts(to, "true");
        break;
    case JSON_FALSE:
        rt_text_puts(to, "false");
        break;
    case JSON_NULL:
        rt_text_puts(to, found ? "null" : "missing");
        break;
    }
}

rt_status rt_json_refuse(rt_status code, const char *name, const char *key, const json_t *found, const char *accepted) {
    rt_text shown = {0};
    describe(&shown, found);
    rt_status rc = rt_fail(code, "%s: %s is %s; accepted: %s", name, key, shown.data ? shown.data : "?", accepted);
    rt_text_free(&shown);
    return rc;
}

rt_status rt_json_bool(const json_t *object, const char *key, const char *name, bool *out) {
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return RT_OK;
    if (!json_is_boolean(value)) return rt_json_refuse(RT_EDATA, name, key, value, "true or false");
    *out = json_is_true(value);
    return RT_OK;
}

rt_status rt_json_token(const json_t *object, const char *key, const char *name, char *out, size_t capacity) {
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return RT_OK;
    const json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(text))
        return rt_json_refuse(RT_EDATA, name, key, value, "a string, or an object with a string \"content\"");
    size_t size = json_string_length(text);
    if (size == 0 || size >= capacity)
        return rt_fail(RT_EDATA, "%s: %s has %zu bytes; accepted: 1 to %zu", name, key, size, capacity - 1);
    memcpy(out, json_string_value(text), size + 1);
    return RT_OK;
}
