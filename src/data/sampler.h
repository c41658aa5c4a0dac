/* Which rows make which step: the order of an epoch, the cut of a step into micro-batches, the shares of ranks.
 * Everything here is a pure function of (rows, seed, epoch, step, ...): nothing to save, O(1) to resume, and no memory
 * for the rows of a set: a step takes what its batch_size takes, some microseconds of it for each row, whether there
 * are ten rows or four thousand million. Only rt_eval_cut has memory a row: 4 bytes, and 4 a batch. */
#ifndef RT_DATA_SAMPLER_H
#define RT_DATA_SAMPLER_H
#include "../base/status.h"
#include <stdint.h>

/* Feistel permutation of 0..n-1 keyed by (seed, epoch); i-th element. n >= 1. */
uint32_t rt_permute(uint32_t n, uint64_t seed, uint32_t epoch, uint32_t i);

/* The rows of step `step_in_epoch` of an epoch: batch_size consecutive elements of the permuted order; the last step of
 * an epoch may be short. Writes rows[batch_size], returns their number. */
int rt_step_rows(uint32_t n_rows, uint64_t seed, uint32_t epoch, uint32_t step_in_epoch, int batch_size,
                 uint32_t *rows);
uint32_t rt_steps_per_epoch(uint32_t n_rows, int batch_size);

/* Zero-initialise; grows to the largest step it meets, then allocates no more. */
typedef struct {
    int n_micro;                  /* micro-batches, the same on every rank; some may be empty */
    int *starts;                  /* [n_micro + 1] into rows */
    uint32_t *rows;               /* this rank's rows, micro-batch after micro-batch */
    int capacity;                 /* rows the arrays have room for */
    uint64_t *order;              /* scratch [capacity]: the rows of the step, longest first */
    struct rt_plan_share *shares; /* scratch [n_ranks] */
    int share_capacity;
} rt_plan;

/* Deals rows to ranks longest first to the emptiest (ties: lower rank, earlier row), then cuts this rank's share into
 * micro-batches of at most micro_tokens tokens (a longer single row stands alone) and max_seqs sequences. Every rank
 * computes every rank's count, so all agree on n_micro. `lengths` is indexed by row number. RT_EINTERNAL for a rank,
 * a size or a count that cannot be, RT_ENOMEM. */
rt_status rt_plan_step(rt_plan *plan, const uint32_t *rows, int n_rows, const uint16_t *lengths, int micro_tokens,
                       int max_seqs, int rank, int n_ranks);
/* Rows of the step that a rank has. */
int rt_plan_count(const rt_plan *plan, int rank);
void rt_plan_free(rt_plan *plan);

/* Evaluation: rows in order of length within windows, cut once by batch_tokens, independent of ranks. Fills
 * *order [n_rows] (a permutation of rows) and *starts [n_batches + 1]; caller frees both. */
rt_status rt_eval_cut(uint32_t n_rows, const uint16_t *lengths, int batch_tokens, int max_seqs, uint32_t **order,
                      uint32_t **starts, uint32_t *n_batches);

#endif
