/* The tensors of a BERT under the names that rectrain keeps, and how other spellings become these. */
#ifndef RT_CHECKPOINT_HF_NAMES_H
#define RT_CHECKPOINT_HF_NAMES_H
#include "../model/bert.h"
#include <stdbool.h>
#include <stdint.h>

#define RT_HF_NAME 128

typedef struct {
    char name[RT_HF_NAME]; /* "bert.encoder.layer.0.attention.self.query.weight" */
    int rank;
    int64_t shape[2]; /* shape[1] is 1 where rank is 1 */
} rt_hf_row;

typedef enum {
    RT_HF_KEEP,
    RT_HF_BUFFER,  /* position_ids, token_type_ids: constants that every BERT computes */
    RT_HF_FOREIGN, /* heads of other tasks: "cls.predictions.bias", "qa_outputs.weight" */
} rt_hf_kind;

/* "encoder.layer.0.output.LayerNorm.gamma" -> "bert.encoder.layer.0.output.LayerNorm.weight". */
rt_hf_kind rt_hf_canonical(const char *name, char out[RT_HF_NAME]);
/* All rows of `bert` sorted by name: encoder, pooler and a head of `labels` rows where wanted. free() it. */
rt_status rt_hf_rows(const rt_bert *bert, bool pooler, int labels, rt_hf_row **rows, int *n);
const rt_hf_row *rt_hf_row_find(const rt_hf_row *rows, int n, const char *name);
/* The layer in "bert.encoder.layer.7.output.dense.bias", -1 for other names. */
int rt_hf_layer(const char *name);

#endif
