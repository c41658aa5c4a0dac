/* JSON objects from files that may be hostile: jansson, with duplicate keys refused and sentences for errors. */
#ifndef RT_CHECKPOINT_JSON_H
#define RT_CHECKPOINT_JSON_H
#include "../base/status.h"
#include <jansson.h>
#include <stdbool.h>

/* The object in `bytes`; `name` is for messages ("config.json"). RT_EDATA naming line and column. json_decref it. */
rt_status rt_json_object(const char *bytes, size_t size, const char *name, json_t **out);
/* Each leaves *out as it is where the key is absent. RT_EDATA naming key, what was found and what is accepted. */
rt_status rt_json_int(const json_t *object, const char *name, const char *key, int low, int high, int *out);
rt_status rt_json_float(const json_t *object, const char *name, const char *key, bool or_null, float *out);
/* *out: borrowed from the object; NULL where absent or null. */
rt_status rt_json_string(const json_t *object, const char *name, const char *key, const char **out);
/* "a string", "null", "the number 3.5" ... in a buffer of the caller. */
const char *rt_json_describe(const json_t *value, char out[64]);

#endif
