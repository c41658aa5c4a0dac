/* The one table of options: what a config file, --set and RECTRAIN_SECTION_KEY may say, and everything that is said
 * about it. Parsing, range checks, defaults, help, `rectrain config`, the comments of written files, the man page and
 * completions all read these rows; an option exists by having one. */
#ifndef RT_CONFIG_OPTIONS_H
#define RT_CONFIG_OPTIONS_H
#include "config.h"
#include <stddef.h>

typedef enum {
    RT_OPTION_BOOL,    /* bool */
    RT_OPTION_INT,     /* int */
    RT_OPTION_INT64,   /* int64_t */
    RT_OPTION_UINT64,  /* uint64_t, the whole range */
    RT_OPTION_DOUBLE,  /* double */
    RT_OPTION_STRING,  /* char * */
    RT_OPTION_NAME,    /* char *: a file name without folders */
    RT_OPTION_CHOICE,  /* char *: one of `names` */
    RT_OPTION_PATH,    /* char *: expanded */
    RT_OPTION_BASE,    /* char *: a path, or a name in the hub's cache */
    RT_OPTION_FILES,   /* rt_config_list of paths and globs */
    RT_OPTION_LIST,    /* rt_config_list */
    RT_OPTION_ENUM,    /* an enum whose values count `names` from 0 */
    RT_OPTION_SPAN,    /* rt_span */
    RT_OPTION_WARMUP,  /* double: a share below 1, or whole steps */
    RT_OPTION_FREEZE,  /* rt_config_freeze */
    RT_OPTION_WEIGHTS, /* rt_config_weights */
} rt_option_type;

typedef struct {
    const char *section, *key;
    rt_option_type type;
    unsigned classes; /* exactly one of meaning, machine, place; RT_CLASS_COLUMNS besides */
    size_t offset;    /* into struct rt_config */
    double low, high; /* numbers: the closed range, but for the two flags below */
    bool above_low, below_high;
    const char *word; /* numbers: a word that means `word_value` ("auto"); paths: kept as it is ("none") */
    double word_value;
    const char *initial;      /* the default as it would be written; NULL: unset */
    const char *const *names; /* ENUM, CHOICE: NULL-terminated */
    const char *help;         /* one sentence or two; shown above the key */
} rt_option;

const rt_option *rt_options(int *n);
/* By "section" and "key"; NULL: no such option. */
const rt_option *rt_option_find(const char *section, const char *key);
/* "train.batch_size"; the form of messages. out holds 64. */
void rt_option_name(const rt_option *option, char out[64]);
/* "RECTRAIN_TRAIN_BATCH_SIZE" */
void rt_option_variable(const rt_option *option, char out[80]);
/* What a value may be, for messages and help: "a whole number from 1 to 65536". */
void rt_option_expected(const rt_option *option, rt_text *out);
/* "; did you mean train.batch_size?", or "", for a key that does not exist; knows the Trainer's names. `section` may be
 * NULL (a bare key). */
void rt_option_hint(const char *section, const char *key, rt_text *out);
/* The same with the line to write, as `value` stands for the key: in an INI file, or (flag) after --set. */
void rt_option_hint_value(const char *section, const char *key, const char *value, bool flag, rt_text *out);
/* Only where the key is known for certain: ours in another section or spelling, or another trainer's. */
bool rt_option_hint_known(const char *section, const char *key, const char *value, bool flag, rt_text *out);
/* "; did you mean cosine?" for a value that is none of the option's names, or "". */
void rt_option_near_value(const rt_option *option, const char *text, rt_text *out);
/* The same for a section. */
void rt_option_section_hint(const char *section, rt_text *out);
bool rt_option_section_exists(const char *section);
/* "run", "model", ... in the order of the table; NULL beyond. */
const char *rt_option_section_name(int i);
/* What a section is about, one sentence. */
const char *rt_option_section_help(const char *section);

#endif
