/* An objective: one way to learn, above the encoder. The loop knows objectives, not classifiers.
 *
 * Life: rt_objective_<name>_new -> add_params (while the table is built) -> bind (model and encoder made) -> for every
 * micro-batch forward, backward -> ... -> close. Errors are those of the ops.
 *
 * Where the loss of a row hangs on the other rows of its step, `couple` is not NULL, and a step goes: embed for every
 * micro-batch of this rank, the last one first; the vectors of other ranks are filled in; couple; then forward and
 * backward as ever. Gao et al. 2021 (GradCache): each text is run forward twice, but for micro-batch 0, whose
 * activations are still there; dropout draws the same masks again by itself.
 */
#ifndef RT_OBJECTIVE_OBJECTIVE_H
#define RT_OBJECTIVE_OBJECTIVE_H
#include "../model/encoder.h"

typedef struct rt_objective rt_objective;

/* What a coupled objective is told of a step; arrays are the caller's, on the host. A row is a pair and has `sides`
 * texts: text_a, text_b, negatives. Text `side` of row r is at place side * rows + r. */
typedef struct {
    int rows, sides, n_micro;
    const int *starts;             /* [n_micro + 1] this rank's micro-batches: micro-batch m has ... */
    const int *places;             /* ... the texts at places[starts[m]] .. places[starts[m + 1] - 1], in this order */
    const float *weights;          /* [rows] w_i / W */
    const uint64_t *users, *items; /* [rows] equal where they are the same */
    const uint64_t *texts;         /* [sides, rows] likewise */
    const unsigned char *missing;  /* [sides, rows] 1: there is no such text */
    const float *log_share;        /* [rows] or NULL */
    bool leads;                    /* the loss is counted here: one rank of all */
} rt_coupling;

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
    /* The vectors of micro-batch `micro` to their places. NULL, as are the next two, where rows do not hang on each
     * other. */
    rt_status (*embed)(rt_objective *, const rt_coupling *, const rt_batch *, const rt_pass *, int micro);
    /* [sides * rows, *width] f32, host memory, by place: where embed writes and couple reads. */
    float *(*vectors)(rt_objective *, int *width);
    /* All vectors are there: the loss of the whole step goes to slot 0 (0 where !leads), their gradients stay inside.
     */
    rt_status (*couple)(rt_objective *, const rt_coupling *);
    /* Logits [n_seqs, K] f32 to host memory, dropout off. NULL: this objective gives vectors (rt_encoder). */
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

typedef struct {
    int max_rows, sides; /* of a step */
    int max_micro;
    double scale; /* of the cosines */
    bool symmetric, mask_clicked;
    int64_t block_scores; /* scores that are there at a time; 0: 2^24 */
} rt_contrastive_options;

/* Vectors of the two texts of a clicked pair that lie close: contrast.h has the formula. No parameters of its own; the
 * encoder pools by RT_POOL_MEAN or RT_POOL_FIRST. Products of scores are the backend's; softmax runs on the host. */
rt_status rt_objective_contrastive_new(const rt_contrastive_options *options, rt_objective **out);
/* What its products ask of the backend's workspace (rt_encoder_sizes.head_rows, head_width). */
void rt_contrastive_sizes(const rt_contrastive_options *options, int *head_rows, int *head_width);

#endif
