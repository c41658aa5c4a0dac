/* Vectors of texts that come one by one: rows are added, tokenised at once, and run together in packed batches of like
 * length. Used by embed, search, recommend and by the evaluation of a contrastive run. */
#ifndef RT_EVAL_EMBEDDER_H
#define RT_EVAL_EMBEDDER_H
#include "../data/dataset.h"
#include "../model/encoder.h"

typedef struct rt_embedder rt_embedder;

typedef struct {
    rt_encoder
        *encoder; /* borrowed; its pooled vectors [B, H] are what comes out; room for batch_tokens and max_seqs */
    const rt_tokenizer *tok; /* borrowed; used by rt_embedder_add alone */
    rt_encode_options encode;
    int batch_tokens, max_seqs;
    int width;          /* the first so many dimensions; 0: all. Cut before the length is made 1 */
    bool unit;          /* scale each vector to length 1 (one of zeros stays as it is) */
    bool (*stop)(void); /* asked between batches; NULL: never */
} rt_embedder_options;

/* RT_ECONFIG: more dimensions than the model has. RT_EINTERNAL: an encoder without room for these batches. */
rt_status rt_embedder_new(const rt_embedder_options *options, rt_embedder **out);
void rt_embedder_free(rt_embedder *e);
int rt_embedder_width(const rt_embedder *e);
/* A text, or one that is tokenised already ([CLS] ... [SEP]; at most the encoder's max_len tokens: RT_EINTERNAL). */
rt_status rt_embedder_add(rt_embedder *e, const char *text, size_t size);
rt_status rt_embedder_add_ids(rt_embedder *e, const int32_t *ids, int n);
uint32_t rt_embedder_rows(const rt_embedder *e);
const rt_tok_stats *rt_embedder_stats(const rt_embedder *e);
/* Vectors of all rows added since the last run: *vectors [rows, width] f32, in the order of adding, owned by e and
 * valid until its next use. RT_ESTOPPED when stop() said so. */
rt_status rt_embedder_run(rt_embedder *e, const float **vectors);

#endif
