/* An INI file as a list of entries. libini_config does the parsing; what it must not be shown (NUL, control bytes,
 * invalid UTF-8, a byte order mark, indented comments, endless keys) is refused or smoothed here first. */
#ifndef RT_CONFIG_INI_H
#define RT_CONFIG_INI_H
#include "../base/status.h"
#include <stddef.h>

#define RT_INI_MAX_BYTES (1u << 20)
#define RT_INI_MAX_LINES 20000
#define RT_INI_MAX_KEYS 2000 /* the parser looks keys up one by one */

typedef struct {
    char *section, *key, *value;
    int line;
} rt_ini_entry;

typedef struct {
    rt_ini_entry *entries; /* [n] in the order of lines */
    int n;
} rt_ini;

/* `status` is that of every fault of the content. A key given twice is a fault; a section may be opened twice. */
rt_status rt_ini_parse(const char *bytes, size_t size, const char *name, rt_status status, rt_ini *out);
void rt_ini_free(rt_ini *ini);

#endif
