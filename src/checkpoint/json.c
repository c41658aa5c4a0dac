#include "json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../base/text.h"

rt_status rt_json_object(const char *bytes, size_t size, const char *name, json_t **out) {
    json_error_t error;
    *out = NULL;
    size_t memory = rt_json_memory(bytes, size);
    if (memory > RT_JSON_MEMORY)
        return rt_fail(RT_EDATA,
                       "%s: so many keys and values that they would take %zu MiB of memory; at most %zu are accepted "
                       "here; fetch the file again",
                       name, memory >> 20, RT_JSON_MEMORY >> 20);
    *out = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        return rt_fail(RT_EDATA, "%s:%d: malformed JSON at column %d: %s; fetch the file again", name, error.line,
                       error.column, error.text);
    if (json_is_object(*out)) return RT_OK;
    char found[64];
    rt_json_describe(*out, found);
    json_decref(*out);
    *out = NULL;
    return rt_fail(RT_EDATA, "%s: found %s, expected a JSON object", name, found);
}

const char *rt_json_describe(const json_t *value, char out[64]) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return strcpy(out, "an object");
    case JSON_ARRAY:
        return strcpy(out, "a list");
    case JSON_STRING:
        snprintf(out, 64, "\"%.40s\"%s", json_string_value(value), json_string_length(value) > 40 ? "..." : "");
        return out;
    case JSON_INTEGER:
        snprintf(out, 64, "%lld", (long long)json_integer_value(value));
        return out;
    case JSON_REAL:
        snprintf(out, 64, "%.17g", json_real_value(value));
        return out;
    case JSON_TRUE:
        return strcpy(out, "true");
    case JSON_FALSE:
        return strcpy(out, "false");
    default:
        return strcpy(out, "null");
    }
}

rt_status rt_json_int(const json_t *object, const char *name, const char *key, int low, int high, int *out) {
    const json_t *value = json_object_get(object, key);
    char found[64];
    if (!value) return RT_OK;
    if (!json_is_integer(value) || json_integer_value(value) < low || json_integer_value(value) > high)
        return rt_fail(RT_EDATA, "%s: %s is %s, expected a whole number from %d to %d", name, key,
                       rt_json_describe(value, found), low, high);
    *out = (int)json_integer_value(value);
    return RT_OK;
}

rt_status rt_json_float(const json_t *object, const char *name, const char *key, bool or_null, float *out) {
    const json_t *value = json_object_get(object, key);
    char found[64];
    if (!value || (or_null && json_is_null(value))) return RT_OK;
    float number = json_is_number(value) ? (float)json_number_value(value) : 0.0f;
    if (!json_is_number(value) || !isfinite(number) || number < 0)
        return rt_fail(RT_EDATA, "%s: %s is %s, expected a number from 0 on%s", name, key,
                       rt_json_describe(value, found), or_null ? ", or null" : "");
    *out = number;
    return RT_OK;
}

rt_status rt_json_string(const json_t *object, const char *name, const char *key, const char **out) {
    const json_t *value = json_object_get(object, key);
    char found[64];
    *out = NULL;
    if (!value || json_is_null(value)) return RT_OK;
    if (!json_is_string(value))
        return rt_fail(RT_EDATA, "%s: %s is %s, expected a string", name, key, rt_json_describe(value, found));
    *out = json_string_value(value);
    return RT_OK;
}
