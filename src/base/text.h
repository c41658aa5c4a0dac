/* Text buffers and small string helpers. */
#ifndef RT_BASE_TEXT_H
#define RT_BASE_TEXT_H
#include "status.h"
#include <stdbool.h>
#include <stddef.h>

/* A growing byte string, always NUL-terminated once used. Zero-initialise; rt_text_free at the end. Appending never
 * fails loudly in the middle: on lack of memory `failed` is set and further appends are ignored; rt_text_status()
 * tells. */
typedef struct {
    char *data;
    size_t size, capacity;
    bool failed;
} rt_text;

void rt_text_free(rt_text *text);
void rt_text_clear(rt_text *text);
void rt_text_append(rt_text *text, const char *bytes, size_t size);
void rt_text_puts(rt_text *text, const char *s);
void rt_text_printf(rt_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
rt_status rt_text_status(const rt_text *text); /* RT_ENOMEM after a failed append */
/* Shortest decimal form that reads back to the same float / double ("%.9g" at worst); "nan", "inf" as printf. */
void rt_text_float(rt_text *text, float value);
void rt_text_double(rt_text *text, double value);
/* A JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void rt_text_json_string(rt_text *text, const char *bytes, size_t size);
/* About the memory that jansson takes for the values of this JSON, without their text: a file of `{},{},...` takes
 * seventy times its size, so whoever reads one from outside looks here first. RT_JSON_MEMORY is what all allow; the
 * tokenizer.json of a vocabulary of 500,000 takes 62 MiB. */
#define RT_JSON_MEMORY ((size_t)64 << 20)
size_t rt_json_memory(const char *bytes, size_t size);
/* `bytes` with control characters, invalid UTF-8 and (over `limit` bytes) the rest made visible: for error messages. */
void rt_text_escaped(rt_text *text, const char *bytes, size_t size, size_t limit);

/* Optimal-string-alignment edit distance, case-insensitive, for "did you mean". */
int rt_edit_distance(const char *a, const char *b);
/* The nearest of n names within a third of the length, or NULL. */
const char *rt_did_you_mean(const char *found, const char *const *names, int n);
char *rt_strdup(const char *s); /* NULL when out of memory */
char *rt_strndup(const char *s, size_t n);
bool rt_streq(const char *a, const char *b); /* NULL-safe */
/* Strict numbers: the whole string, no blanks, no overflow, no NaN/inf. */
bool rt_parse_i64(const char *s, long long *out);
bool rt_parse_f64(const char *s, double *out);
/* Decode one code point at s[0..n): returns its length; an invalid byte yields U+FFFD, length 1 and *bad set. */
int rt_utf8_decode(const unsigned char *s, size_t n, unsigned *code_point, bool *bad);
int rt_utf8_encode(unsigned code_point, char out[4]);

#endif
