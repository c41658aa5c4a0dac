/* Retrieval as training sees it: an encoder embeds the texts of queries and of all items of a catalogue, every query is
 * searched among all items, exactly, and its relevant items are looked for in the list. */
#ifndef RT_EVAL_CATALOGUE_H
#define RT_EVAL_CATALOGUE_H
#include "../comm/comm.h"
#include "../model/encoder.h"
#include "../retrieve/topk.h"
#include "retrieval.h"

/* Tokenised texts ([CLS] ... [SEP]) end to end: text i is ids[starts[i] .. starts[i + 1]). */
typedef struct {
    uint32_t n;
    const int32_t *ids;
    const uint64_t *starts; /* [n + 1] */
} rt_token_texts;

typedef struct {
    rt_token_texts queries, items;
    const uint32_t *relevant; /* items of query q: relevant[starts[q] .. starts[q + 1]), rising */
    const uint64_t *starts;   /* [queries.n + 1] */
} rt_catalogue;

typedef struct {
    int batch_tokens; /* eval.batch_tokens: fixes the cut, so results are bit-equal on any number of ranks */
    int max_seqs;
    int width; /* the first so many dimensions; 0: all */
    bool unit; /* cosine: vectors are scaled to length 1; else the dot product */
    void *context;
    bool (*stop)(void *);                                  /* asked between blocks; NULL: never */
    void (*progress)(void *, uint32_t done, uint32_t all); /* blocks of texts; NULL: silent */
} rt_catalogue_options;

/* `out` is filled on rank 0; not touched elsewhere. Dropout off. Texts are cut into blocks from their order, dealt to
 * the ranks whole and gathered in order; rank 0 searches. Memory there: the items' vectors [items.n, width] f32 and a
 * window of queries; elsewhere a block. RT_ESTOPPED on all ranks when stop() of one said so; RT_EINTERNAL for what
 * rt_retrieval_compute refuses, and for an empty text. */
rt_status rt_retrieve_evaluate(rt_encoder *encoder, const rt_catalogue *catalogue, rt_comm *comm,
                               const rt_catalogue_options *options, rt_retrieval_metrics *out);

#endif
