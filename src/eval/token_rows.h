/* Tokenised rows, end to end, and their way through a model in packed batches of like length: what whoever scores or
 * embeds texts that come one by one shares. */
#ifndef RT_EVAL_TOKEN_ROWS_H
#define RT_EVAL_TOKEN_ROWS_H
#include "../data/feed.h"

/* Zero-initialise; grows as needed. */
typedef struct {
    int32_t *ids; /* of all rows, one after the other */
    size_t n_ids, ids_capacity;
    size_t *starts; /* [capacity] into ids */
    uint16_t *lengths, *splits;
    uint32_t n, capacity;
} rt_token_rows;

/* *ids: where the next row goes, with room for `longest` tokens; push then says how many came and where the second text
 * begins. RT_ENOMEM; RT_EDATA beyond 2^32 - 1 rows. */
rt_status rt_token_rows_room(rt_token_rows *rows, int longest, int32_t **ids);
void rt_token_rows_push(rt_token_rows *rows, int n, int split);
void rt_token_rows_clear(rt_token_rows *rows);
void rt_token_rows_free(rt_token_rows *rows);

typedef struct {
    rt_feed *feed;
    int batch_tokens, max_seqs;
    bool (*stop)(void); /* asked between batches; NULL: never */
    void *context;
    /* A batch, in backend memory, of these n rows; what it leaves there is read before it returns. */
    rt_status (*each)(void *context, const rt_batch *batch, const uint32_t *rows, int n);
} rt_token_run;
/* The cut hangs on the rows' lengths alone. RT_ESTOPPED when stop() said so. */
rt_status rt_token_rows_run(const rt_token_rows *rows, const rt_token_run *run);

#endif
