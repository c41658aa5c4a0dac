/* Puts the parts of a command together: configuration -> tokenizer, backend, model, objective, data. */
#ifndef RT_CLI_SETUP_H
#define RT_CLI_SETUP_H
#include "../base/plugin.h"
#include "../base/text.h"
#include "../checkpoint/source.h"
#include "../comm/comm.h"
#include "../data/dataset.h"
#include "../eval/evaluate.h"
#include "../eval/predictor.h"
#include "../objective/objective.h"
#include "cli.h"

typedef struct {
    rt_cli *cli;
    const rt_config *cfg; /* borrowed */
    rt_source *source;    /* NULL with init = random, and once weights are loaded */
    char *vocab;          /* vocab.txt bytes */
    size_t vocab_size;
    rt_tokenizer *tok;
    rt_bert bert;
    const char **labels; /* [n_labels] names in order of values; each owned */
    int n_labels;
    rt_precision precision;
    rt_backend *be;
    rt_param_table table;
    rt_model model;
    rt_encoder encoder;
    rt_objective *objective;
    rt_comm *comm;
    rt_launch launch; /* of a training run; size 0: one process */
    rt_status ended;  /* how the run ended: the other ranks are told on close */
    size_t bytes_activations_per_1000, bytes_activations, bytes_workspace;
    int micro_tokens; /* resolved */
    int eval_max_seqs;
    double logit_shift; /* what the last label's logits lack in evaluation: ln(data.negative_keep) while training */
} rt_setup;

/* train.objective = contrastive: vectors instead of labels. */
static inline bool rt_setup_gives_vectors(const rt_config *cfg) {
    return cfg->train.objective == RT_CFG_OBJECTIVE_CONTRASTIVE;
}
/* Texts of a row that such a run embeds: text_a, text_b, negatives. */
static inline int rt_setup_sides(const rt_config *cfg) {
    return rt_setup_gives_vectors(cfg) ? 2 + cfg->contrastive.negatives.n : 1;
}

/* Everything is released by rt_setup_close, from any state. */
void rt_setup_close(rt_setup *s);

/* Opens `base` (a checkpoint, a Hugging Face folder, a name) or, for NULL, model.init = random; fills bert, labels,
 * vocabulary, tokenizer. `training`: the config's labels, pooling and dropouts win over the base's. */
rt_status rt_setup_base(rt_setup *s, const char *base, bool training);
/* setup_backend.c: run.device, run.precision, run.threads; logs what was chosen and why. */
rt_status rt_setup_backend(rt_setup *s);
/* The CUDA backend through its plugin: RT_EUNAVAILABLE or RT_ECONFIG with a sentence. *plugin (may be NULL): the
 * plugin's path or NULL; the caller frees it. */
rt_status rt_setup_open_cuda(const rt_backend_options *options, rt_backend **out, char **plugin);
extern const rt_plugin_spec rt_setup_cuda_plugin;
/* setup_memory.c: train.micro_batch_tokens = auto, once a model and its activations are measured; and what everything
 * takes of the device's memory, in words. */
int rt_setup_auto_tokens(const rt_setup *s);
void rt_setup_memory_text(const rt_setup *s, rt_text *out);
/* Parameter table and memory; sizes from the data at hand (longest row of all sets, tokens of the largest step).
 * longest 0: evaluation alone, with data.max_length. */
rt_status rt_setup_model(rt_setup *s, bool training, int longest, int64_t largest_step_tokens, int micro_tokens);
/* The encoder alone, for vectors: no head, no training, weights from the source, which it closes. Evaluation batches of
 * batch_tokens and eval_max_seqs. */
rt_status rt_setup_encoder(rt_setup *s, int batch_tokens);
/* Weights from the source (and moments where `resume`), initialised rows named in the log. Evaluation refuses a missing
 * head or pooler (RT_ECONFIG). Closes the source. */
rt_status rt_setup_weights(rt_setup *s, bool training, bool resume);
/* Of rows of label 0 a share w = data.negative_keep was trained on, so the odds of a click came out 1 / w too large:
 * the last label's logit is to be raised by ln(w), which for p is q = p / (p + (1 - p) / w). 0 where w is 1. */
double rt_setup_correction(const rt_config *cfg);
extern const char rt_setup_bias[]; /* the parameter whose last element takes it */
/* Reads the parameters of a checkpoint of this very model over the current ones. */
rt_status rt_setup_reload(rt_setup *s, const char *path);

/* What the config says of data, for these files. Strings are borrowed from cfg and setup. */
rt_data_spec rt_setup_spec(const rt_setup *s, const char *const *files, int n_files, bool need_label,
                           const char *cache_folder);

/* All of the above for a command that scores with cli->checkpoint: its own configuration below flags and environment.
 * *cfg belongs to the caller, after the setup. */
rt_status rt_setup_scoring(rt_setup *s, rt_config **cfg);
rt_status rt_setup_predictor(rt_setup *s, bool (*stop)(void), rt_predictor **out);

#endif
