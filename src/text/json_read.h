/* Strict reading of the small JSON files beside a model: loading with limits, and errors that name key and finding. */
#ifndef RT_TEXT_JSON_READ_H
#define RT_TEXT_JSON_READ_H
#include "../base/status.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define RT_JSON_MAX_BYTES ((size_t)32 << 20)

/* The file's root object; duplicate keys, NUL in strings, trailing data and depth over 2048 are RT_EDATA with the line.
 * `flags`: jansson's, besides JSON_REJECT_DUPLICATES. */
rt_status rt_json_load_object(const char *json, size_t size, const char *name, size_t flags, json_t **out);
/* "NAME: KEY is FOUND; accepted: ACCEPTED". `found` NULL means the key is not there. Returns code. */
rt_status rt_json_refuse(rt_status code, const char *name, const char *key, const json_t *found, const char *accepted);
/* object[key] as a bool; leaves *out where the key is missing (or null). RT_EDATA for anything else. */
rt_status rt_json_bool(const json_t *object, const char *key, const char *name, bool *out);
/* A token's text: a string, or an object with a string "content". Leaves out where missing or null. */
rt_status rt_json_token(const json_t *object, const char *key, const char *name, char *out, size_t capacity);

#endif
