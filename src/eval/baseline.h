/* What a text model reaches before it has seen a click: the yardstick beside a trained model's metrics. */
#ifndef RT_EVAL_BASELINE_H
#define RT_EVAL_BASELINE_H
#include "../data/dataset.h"
#include "../model/encoder.h"

/* scores [rows of ds] = cosine of the mean-pooled vectors of text_a and text_b, each encoded as a text of its own:
 * [CLS] A [SEP] and [CLS] B [SEP]; 0 for a row of one text. `encoder` must pool by the mean (RT_ECONFIG) and have room
 * for evaluation batches of batch_tokens and max_seqs; each text must fit (RT_EINTERNAL). `stop` is
 * asked between batches (NULL: never): RT_ESTOPPED. Rank rows by it with rt_auc(); it is no probability. */
rt_status rt_baseline_cosine(rt_encoder *encoder, const rt_dataset *ds, int batch_tokens, int max_seqs,
                             bool (*stop)(void), double *scores);

#endif
