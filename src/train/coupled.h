/* The step of an objective that couples its rows: what it is told of them, and vectors between ranks. */
#ifndef RT_TRAIN_COUPLED_H
#define RT_TRAIN_COUPLED_H
#include "train.h"

typedef struct rt_coupled rt_coupled;

rt_status rt_coupled_new(const rt_train_job *job, rt_coupled **out);
void rt_coupled_free(rt_coupled *c);
/* The rows of a step, pairs of job->pairs, and w_i / W of each: *records [n * sides] are their texts in the data set.
 */
rt_status rt_coupled_begin(rt_coupled *c, const uint32_t *rows, int n, const float *weights, const uint32_t **records);
/* This rank's micro-batches of those records. Valid, as is what it points to, until the next begin. */
const rt_coupling *rt_coupled_place(rt_coupled *c, const rt_plan *plan);
/* Every rank gets the vectors of all. */
rt_status rt_coupled_exchange(rt_coupled *c, const rt_plan *plan);

#endif
