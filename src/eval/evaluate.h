/* Running a model over a data set: batches cut once from row order, logits gathered in row order. */
#ifndef RT_EVAL_EVALUATE_H
#define RT_EVAL_EVALUATE_H
#include "../comm/comm.h"
#include "../data/dataset.h"
#include "../objective/objective.h"

typedef struct {
    int batch_tokens; /* eval.batch_tokens: fixes the cut, so results are bit-equal on any number of ranks */
    int max_seqs;
    void *context;
    bool (*stop)(void *);                                  /* asked between batches; NULL: never */
    void (*progress)(void *, uint32_t done, uint32_t all); /* batches; NULL: silent */
} rt_evaluate_options;

/* logits [rows, K] f32, overwritten on rank 0; not touched elsewhere. RT_ESTOPPED on all ranks when stop() of one said
 * so. */
rt_status rt_evaluate(rt_objective *objective, const rt_dataset *ds, rt_comm *comm, const rt_evaluate_options *options,
                      float *logits);
/* The sequences a batch of that many tokens may hold: the shortest row has 2 tokens, but few do. */
int rt_eval_max_seqs(int batch_tokens);

#endif
