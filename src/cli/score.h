/* Logits and metrics of a labelled data set, for the reports of a run and for `rectrain eval`. */
#ifndef RT_CLI_SCORE_H
#define RT_CLI_SCORE_H
#include "../eval/metrics.h"
#include "setup.h"

/* Evaluates ds as the configuration says and fills *metrics, which belongs to the caller, as *slices does: the metrics
 * borrow its names. progress (batches done, of
 * all) may be NULL. RT_ESTOPPED after a signal. */
rt_status rt_cli_score(rt_setup *s, const rt_dataset *ds, void *context,
                       void (*progress)(void *context, uint32_t done, uint32_t all), rt_data_slices *slices,
                       rt_metrics *metrics);

#endif
