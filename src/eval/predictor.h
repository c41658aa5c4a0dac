/* Scores texts that come one by one: rows are added, tokenised at once, and scored together in packed batches of like
 * length. Used by predict, by export --check and by whoever serves. */
#ifndef RT_EVAL_PREDICTOR_H
#define RT_EVAL_PREDICTOR_H
#include "../data/dataset.h"
#include "../objective/objective.h"

typedef struct rt_predictor rt_predictor;

typedef struct {
    rt_objective *objective; /* borrowed, bound to an encoder with room for batch_tokens and max_seqs */
    const rt_tokenizer *tok; /* borrowed */
    rt_encode_options encode;
    int batch_tokens, max_seqs;
    bool (*stop)(void); /* asked between batches; NULL: never */
} rt_predictor_options;

rt_status rt_predictor_new(const rt_predictor_options *options, rt_predictor **out);
void rt_predictor_free(rt_predictor *p);
/* Adds a row; b NULL: a single text. */
rt_status rt_predictor_add(rt_predictor *p, const char *a, size_t a_size, const char *b, size_t b_size);
uint32_t rt_predictor_rows(const rt_predictor *p);
/* Scores all rows added since the last run: *logits [rows, K], in the order of adding, owned by p and valid until its
 * next use. RT_ESTOPPED when stop() said so. */
rt_status rt_predictor_run(rt_predictor *p, const float **logits);
const rt_tok_stats *rt_predictor_stats(const rt_predictor *p);

#endif
