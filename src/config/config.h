/* The configuration: INI file, environment and flags resolved into one typed struct.
 *
 * Every option stands once, in the table of options.h; parsing, --set, `rectrain config`, the comments of written files
 * and the man page come from there. Precedence: flags (--set section.key=value), then RECTRAIN_SECTION_KEY, then the
 * file, then what a checkpoint stored, then defaults; each value remembers where it came from.
 *
 * Unset: strings NULL, lists n = 0, doubles NaN, whole numbers -1 (where -1 is not in the range). A struct rt_config is
 * read-only after loading; a caller that must pin a value (run.name in tests) uses --set strings.
 */
#ifndef RT_CONFIG_CONFIG_H
#define RT_CONFIG_CONFIG_H
#include "../base/digest.h"
#include "../base/log.h"
#include "../base/status.h"
#include "../base/text.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char **items; /* [n] */
    int n;        /* 0: unset or empty */
} rt_config_list;

typedef enum { RT_SPAN_STEPS, RT_SPAN_EPOCHS, RT_SPAN_MINUTES } rt_span_unit;
typedef struct {
    double value; /* 0: never (where the option allows it) */
    rt_span_unit unit;
} rt_span;

typedef enum { RT_DEVICE_AUTO, RT_DEVICE_CPU, RT_DEVICE_CUDA } rt_config_device;
typedef enum {
    RT_CFG_PRECISION_AUTO,
    RT_CFG_PRECISION_FP32,
    RT_CFG_PRECISION_TF32,
    RT_CFG_PRECISION_BF16
} rt_config_precision;
typedef enum { RT_IF_EXISTS_RESUME, RT_IF_EXISTS_REFUSE, RT_IF_EXISTS_OVERWRITE } rt_config_if_exists;
typedef enum { RT_CFG_INIT_BASE, RT_CFG_INIT_RANDOM } rt_config_init;
typedef enum { RT_CFG_POOLING_CLS, RT_CFG_POOLING_MEAN } rt_config_pooling;
typedef enum { RT_CFG_FORMAT_AUTO, RT_CFG_FORMAT_TSV, RT_CFG_FORMAT_CSV, RT_CFG_FORMAT_JSONL } rt_config_format;
typedef enum { RT_CFG_QUOTING_AUTO, RT_CFG_QUOTING_NONE, RT_CFG_QUOTING_CSV } rt_config_quoting;
typedef enum { RT_CFG_TRUNCATE_LONGEST_FIRST, RT_CFG_TRUNCATE_A, RT_CFG_TRUNCATE_B } rt_config_truncation;
typedef enum { RT_CFG_SIDE_RIGHT, RT_CFG_SIDE_LEFT } rt_config_side;
typedef enum { RT_CFG_SPECIAL_SPLIT, RT_CFG_SPECIAL_MATCH } rt_config_special_tokens;
typedef enum { RT_CFG_BAD_STOP, RT_CFG_BAD_SKIP } rt_config_on_bad; /* on_bad_row, on_nonfinite */
typedef enum { RT_CFG_OBJECTIVE_CLASSIFY, RT_CFG_OBJECTIVE_CONTRASTIVE } rt_config_objective;
typedef enum { RT_FREEZE_NONE, RT_FREEZE_EMBEDDINGS, RT_FREEZE_LAYERS } rt_freeze_kind;
typedef struct {
    rt_freeze_kind kind;
    int layers; /* RT_FREEZE_LAYERS: the embeddings and this many first layers; else 0 */
} rt_config_freeze;
typedef enum { RT_WEIGHTS_NONE, RT_WEIGHTS_BALANCED, RT_WEIGHTS_LIST } rt_weights_kind;
typedef struct {
    rt_weights_kind kind;
    double *values; /* [n], RT_WEIGHTS_LIST alone: one a label, two for a one-label model */
    int n;
} rt_config_weights;
typedef enum { RT_CFG_ADAM, RT_CFG_ADAMW } rt_config_optimizer;
typedef enum { RT_CFG_SCHEDULE_CONSTANT, RT_CFG_SCHEDULE_LINEAR, RT_CFG_SCHEDULE_COSINE } rt_config_schedule;
typedef enum { RT_CFG_TEST_BEST, RT_CFG_TEST_LAST } rt_config_test_with;
typedef enum { RT_CFG_USR1_STOP, RT_CFG_USR1_SAVE } rt_config_on_usr1;
typedef enum { RT_CFG_SHARD_AUTO, RT_CFG_SHARD_NO, RT_CFG_SHARD_YES } rt_config_shard;
typedef enum { RT_CFG_REDUCE_FP32, RT_CFG_REDUCE_BF16 } rt_config_reduce;

typedef struct rt_config_origins rt_config_origins;

typedef struct rt_config {
    struct {
        char *name;   /* never NULL: the config file's stem, "run" without a file */
        char *output; /* never NULL: "runs" */
        uint64_t seed;
        rt_config_device device;
        rt_config_precision precision;
        int threads; /* 0: all that the process may use */
        bool deterministic;
        rt_config_if_exists if_exists;
    } run;
    struct {
        char *base; /* NULL: none (init = random, or a command that takes --checkpoint) */
        rt_config_init init;
        char *vocab;
        bool cased;
        int hidden, layers, heads, ffn; /* init = random; BertConfig's 768, 12, 12, 3072 */
        rt_config_list labels;          /* default 0, 1 */
        rt_config_pooling pooling;
        double dropout, attention_dropout, head_dropout; /* NaN: config.json's (init = random: 0.1) */
    } model;
    struct {
        rt_config_list train, dev, test; /* files: expanded, globs resolved */
        rt_config_format format;
        rt_config_quoting quoting;
        char *text_a, *text_b;             /* text_b NULL: single texts */
        char *label, *group;               /* NULL: none (set empty); default "label", "group" */
        char *weight, *user, *item, *time; /* NULL: none */
        rt_config_list keep, slice;
        int max_length;
        rt_config_truncation truncation;
        rt_config_side truncation_side;
        rt_config_special_tokens special_tokens;
        rt_config_on_bad on_bad_row;
        double negative_keep; /* (0, 1] */
        char *cache;          /* NULL: the run's folder + "/cache"; "none": keep no token cache */
    } data;
    struct {
        rt_config_objective objective;
        int epochs, batch_size;
        int micro_batch_tokens; /* 0: auto */
        int64_t max_steps;      /* -1: unset, epochs decide */
        rt_config_freeze freeze;
        rt_config_weights class_weights;
        double label_smoothing;
        int patience; /* 0: none */
        rt_config_on_bad on_nonfinite;
        bool recompute;
    } train;
    struct {
        double scale;
        bool symmetric, mask_clicked, log_frequency;
        rt_config_list negatives; /* columns or templates */
        rt_config_list items;     /* files of the catalogue: expanded */
        char *item_text;          /* NULL: data.text_b */
    } contrastive;
    struct {
        rt_config_optimizer type;
        double learning_rate, beta1, beta2, epsilon, weight_decay;
        double clip_norm;   /* 0: none */
        double layer_decay; /* 1: none */
    } optimizer;
    struct {
        rt_config_schedule type;
        double warmup; /* below 1 a share of all steps, else whole steps */
    } schedule;
    struct {
        rt_span every;
        char *metric;     /* never NULL */
        double threshold; /* NaN: arg max */
        int batch_tokens;
        rt_config_test_with test_with;
    } eval;
    struct {
        rt_span every;  /* 0: only at the end */
        int keep;       /* numbered files step-*.h5 kept; 0: none are written */
        bool keep_best; /* best.h5 follows eval.metric; else it holds the last step's weights */
        rt_config_on_usr1 on_usr1;
    } checkpoint;
    struct {
        rt_span jsonl_every;
        bool tensorboard;
    } track;
    struct {
        double timeout; /* seconds */
        rt_config_shard shard_optimizer;
        rt_config_reduce reduce_dtype;
    } distributed;

    char *path;                 /* the config file that was taken, NULL without one */
    rt_config_origins *origins; /* private: where each value came from */
} rt_config;

typedef struct {
    const char *path;        /* --config; NULL: none. Looked for as written below */
    const char *const *sets; /* [n_sets] "section.key=value" */
    int n_sets;
    const char *const *environment; /* "NAME=value", NULL-terminated, as environ; NULL: none */
    const char *program; /* path of the running binary, for the configs folder beside it; NULL: not looked for */
    const char *stored;  /* /config.ini of a checkpoint, below all but defaults; NULL: none */
    size_t stored_size;
    const char *stored_name; /* for messages: "best.h5:/config.ini" */
} rt_config_request;

/* Resolves a request. `path` is looked for as given, with ".ini", then in the folders of RECTRAIN_CONFIG_PATH (colons
 * between them), then in the install's configs folder and the checkout's (../share/rectrain/configs, ../configs, beside
 * the binary); the log says which was taken. An unknown RECTRAIN_* variable only warns.
 * RT_ECONFIG "FILE:LINE: section.key = found: expected ...", RT_ENOINPUT (no such file, a glob without a match),
 * RT_EUSAGE (a --set that is not section.key=value), RT_EDATA (bad stored keys), RT_EIO. *out is NULL on failure. */
rt_status rt_config_load(const rt_config_request *request, rt_log *log, rt_config **out);
/* The defaults alone, with a checkpoint's /config.ini over them. RT_EDATA. */
rt_status rt_config_from_ini_bytes(const char *ini, size_t size, const char *name, rt_config **out);
void rt_config_free(rt_config *cfg);

/* What training needs and no other command: a base (or init = random with its sizes and vocab), data.train. RT_ECONFIG.
 */
rt_status rt_config_check_training(const rt_config *cfg);

/* "section.key" was set by a flag, variable, file or checkpoint (not a default). false for an unknown name. */
bool rt_config_is_set(const rt_config *cfg, const char *name);
/* Where a value came from, for messages: "default", "shop.ini:12", "--set", "RECTRAIN_RUN_SEED",
 * "best.h5:/config.ini:3". Valid as long as cfg. "" for an unknown name. */
const char *rt_config_origin(const rt_config *cfg, const char *name);

enum { RT_CLASS_MEANING = 1, RT_CLASS_MACHINE = 2, RT_CLASS_PLACE = 4, RT_CLASS_COLUMNS = 8, RT_CLASS_ALL = 15 };
typedef struct {
    unsigned classes; /* options of any of these; RT_CLASS_COLUMNS: those that describe columns, whatever their class */
    bool comments;    /* each key's help above it */
    bool origins;     /* each key's origin above it */
    bool unset_as_comments; /* unset options as "# key =" lines; else left out */
    bool relative;          /* paths as they are, default places as comments: a file to start one's own from */
} rt_config_write_options;
/* A config file that reads back to the same values: paths absolute, every key of the classes. Checkpoints take
 * { RT_CLASS_MEANING | RT_CLASS_COLUMNS }: no path, no time, same values same bytes. */
rt_status rt_config_write(const rt_config *cfg, const rt_config_write_options *options, rt_text *out);

/* Digest of the options of class meaning that differ from their defaults: an option added later leaves it as it was. */
rt_digest128 rt_config_meaning_digest(const rt_config *cfg);
/* Names the meaning options in which cfg and a stored config.ini differ: "train.batch_size = 32 (stored: 16); ...".
 * *out stays empty if they agree. RT_EDATA for a stored file that does not parse. */
rt_status rt_config_meaning_differences(const rt_config *cfg, const char *stored, size_t size, const char *name,
                                        rt_text *out);

#endif
