/* One option's value: text to field and back. */
#ifndef RT_CONFIG_VALUE_H
#define RT_CONFIG_VALUE_H
#include "options.h"

typedef struct {
    const char *label; /* what the message begins with: "shop.ini:12: train.batch_size" */
    const char *base;  /* folder that relative paths start from; NULL: the current one */
    rt_status status;  /* of a bad value: RT_ECONFIG, or RT_EDATA for what a checkpoint stored */
} rt_value_source;

/* Parses `text` (trimmed here) into its field of cfg and frees what stood there. An empty text unsets where that is
 * allowed. On failure the field is as it was. Globs stay patterns until rt_config_expand_globs. */
rt_status rt_value_parse(const rt_option *option, const char *text, const rt_value_source *source, rt_config *cfg);
/* Sets a field of zeroed memory to "unset", whatever the default. */
void rt_value_clear(const rt_option *option, rt_config *cfg);
void rt_value_free(const rt_option *option, rt_config *cfg);
/* The canonical text, which parses back to the same value; absolute: paths that are relative get the current folder in
 * front. Appends to out; false (and nothing) if the option is unset. */
bool rt_value_format(const rt_option *option, const rt_config *cfg, bool absolute, rt_text *out);

/* Splits "a, "b, c", d" at commas; *items and each item are the caller's. false: an empty item or a stray quote. */
bool rt_list_split(const char *text, rt_config_list *out);
void rt_list_free(rt_config_list *list);
bool rt_list_push(rt_config_list *list, const char *item); /* a copy; false when out of memory */

/* paths.c */
/* rt_path_expand, then "a/.." inside collapsed where a is a real folder, so that messages read well. */
rt_status rt_config_path(const char *text, const char *base, char **out);
/* Every pattern of a list becomes the files it names, sorted; a name without wildcards stays. RT_ENOINPUT. */
rt_status rt_config_expand_globs(const char *label, rt_config_list *list);
/* model.base: a path if it looks like one or is there below `base`, else the name itself. */
rt_status rt_config_base(const char *text, const char *base, char **out);
/* Finds --config NAME as config.h says. *out: the path taken. */
rt_status rt_config_search(const char *name, const char *folders, const char *program, char **out);

#endif
