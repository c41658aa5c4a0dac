/* An objective: one way to learn, above the encoder. The loop knows objectives, not classifiers.
 *
 * Life: rt_objective_<name>_new -> add_params (while the table is built) -> bind (model and encoder made) -> for every
 * micro-batch forward, backward -> ... -> close. Errors are those of the ops.
 */
#ifndef RT_OBJECTIVE_OBJECTIVE_H
#define RT_OBJECTIVE_OBJECTIVE_H
#include "../model/encoder.h"

typedef struct rt_objective rt_objective;

struct rt_objective {
    const char *name;
    int labels;     /* K: columns of what predict returns */
    int max_micro;  /* loss slots: micro-batches a step may have */
    rt_backend *be; /* the encoder's, from bind on */

    /* Appends its rows after the encoder's; their depth is L + 1. */
    rt_status (*add_params)(rt_objective *, rt_param_table *, const rt_bert *);
    /* Finds its rows and takes its buffers for the encoder's dims. */
    rt_status (*bind)(rt_objective *, rt_encoder *);
    /* Runs encoder and head; the micro-batch's share of the loss goes to slot `micro` of the backend's loss array. */
    rt_status (*forward)(rt_objective *, const rt_batch *, const rt_pass *, int micro);
    /* Gradients of what forward left. range_done first for its own rows, then for the encoder's. */
    rt_status (*backward)(rt_objective *, const rt_batch *, const rt_pass *, int accumulate, rt_range_done,
                          void *context);
    /* Logits [n_seqs, K] f32 to host memory, dropout off. */
    rt_status (*predict)(rt_objective *, const rt_batch *, float *logits);
    /* The slots that forward fills, f64 [max_micro], in backend memory. */
    const double *(*losses)(const rt_objective *);
    void (*close)(rt_objective *);
};

typedef struct {
    int labels;      /* K >= 1 */
    float smoothing; /* label smoothing e */
    int max_micro;
} rt_classify_options;

/* Sequence classification: logits = pooled W^T + b; rows classifier.weight [K, H], classifier.bias [K]. K = 1 is binary
 * cross-entropy on one logit, K >= 2 softmax cross-entropy; see rt_classify_args. */
rt_status rt_objective_classify_new(const rt_classify_options *options, rt_objective **out);

#endif
