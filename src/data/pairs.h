/* What makes two pairs of a step the same for the contrastive objective: their texts, users and items, by hash. */
#ifndef RT_DATA_PAIRS_H
#define RT_DATA_PAIRS_H
#include "dataset.h"

/* Memory: 8 bytes a record, 16 a pair, and with shares 4 a pair. */
typedef struct {
    uint32_t n; /* pairs: rt_dataset_examples */
    int sides;
    uint64_t *texts;  /* [n, sides] of the tokens */
    uint64_t *users;  /* [n] of data.user's value; of text_a where it has none */
    uint64_t *items;  /* [n] of data.item's value; of text_b where it has none */
    float *log_share; /* [n] ln(pairs of this item / pairs); NULL where it was not asked for */
} rt_pairs;

/* Of a data set with texts apart. RT_ENOMEM, RT_EDATA, RT_EIO. Free it in any case. */
rt_status rt_pairs_new(const rt_dataset *ds, bool log_share, rt_pairs *out);
void rt_pairs_free(rt_pairs *pairs);

#endif
