/* Everything that scoring with a checkpoint needs, put together without a command line: tokenizer, backend, model,
 * head. */
#ifndef RT_API_SCORER_H
#define RT_API_SCORER_H
#include "../eval/predictor.h"
#include "../objective/objective.h"

typedef struct {
    int threads; /* 0: all that the process may use */
    rt_precision precision;
    bool auto_precision; /* bf16 where the processor multiplies it, else fp32 */
    int max_length;      /* 0: the checkpoint's data.max_length */
} rt_scorer_options;

typedef struct {
    rt_tokenizer *tok;
    rt_encode_options encode;
    int batch_tokens, max_seqs;
    rt_bert bert;
    char **labels; /* [n_labels] in order of values */
    int n_labels;
    rt_backend *be;
    rt_param_table table;
    rt_model model;
    rt_encoder encoder;
    rt_objective *objective;
} rt_scorer;

/* Opens a checkpoint, a Hugging Face folder or a name in the hub's cache. All of it must run on the thread that will
 * score. On failure *out is empty. */
rt_status rt_scorer_open(const char *path, const rt_scorer_options *options, rt_scorer *out);
void rt_scorer_close(rt_scorer *scorer);
/* One for each thread that adds rows; made, run and freed on the scorer's thread. */
rt_status rt_scorer_predictor(const rt_scorer *scorer, rt_predictor **out);

/* p[K] of logits[K]: softmax, or the sigmoid for one label, as `rectrain predict` prints them. */
void rt_scorer_probabilities(const float *logits, int n_labels, float *p);
/* Rows that are cut into batches together; what a row shares a batch with may show in its last bit. */
enum { RT_SCORER_WINDOW = 8192 };

#endif
