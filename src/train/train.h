/* The training loop: steps, schedule, guards, early stopping, when to evaluate and save. It knows no file format, no
 * tracker and no evaluator: cli/run.c fills the hooks. */
#ifndef RT_TRAIN_TRAIN_H
#define RT_TRAIN_TRAIN_H
#include "../comm/comm.h"
#include "../data/batch.h"
#include "../data/dataset.h"
#include "../data/pairs.h"
#include "../data/sampler.h"
#include "../objective/objective.h"

typedef enum { RT_EVERY_STEPS, RT_EVERY_EPOCHS, RT_EVERY_MINUTES } rt_every_unit;
typedef struct {
    double value; /* 0: never */
    rt_every_unit unit;
} rt_every;

typedef enum { RT_SCHEDULE_CONSTANT, RT_SCHEDULE_LINEAR, RT_SCHEDULE_COSINE } rt_schedule;

typedef struct {
    int batch_size;   /* rows of an optimizer step, over all ranks */
    int micro_tokens; /* tokens of a micro-batch; a longer single row stands alone */
    int max_seqs;     /* texts of a micro-batch */
    uint64_t seed;
    double learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm; /* weight_decay > 0: AdamW */
    rt_schedule schedule;
    const double *class_weights; /* [max(K, 2)] or NULL */
    bool stop_on_nonfinite;      /* else such a step is skipped and counted */
    int patience;                /* evaluations without improvement before the end; 0: none */
    bool ahead;     /* issue a step before the results of the one before are read: for a device; same numbers */
    bool keep_best; /* save the best by metric; else the caller keeps the last */
    rt_every eval_every, checkpoint_every, line_every;
} rt_train_settings;

/* All that a resumed run needs besides parameters and moments. Nothing here depends on the clock. */
typedef struct {
    uint64_t step;                      /* steps done; the next step's number */
    uint64_t adam_step;                 /* updates done */
    uint64_t total_steps, warmup_steps; /* frozen at the start */
    double loss_sum;                    /* since the last train line */
    uint64_t loss_steps, seqs, tokens;
    double best_metric; /* NaN: none yet */
    uint64_t best_step;
    uint32_t stale_evals; /* evaluations without improvement */
    bool eval_due, stopped_early;
    uint64_t skipped_steps; /* non-finite gradients */
    uint64_t empty_steps;   /* steps whose weights sum to 0 */
    uint32_t reports;       /* reports in report.txt */
} rt_train_state;

typedef struct {
    bool line; /* a train line is due: loss is the mean, seqs, tokens, seconds the sums since the last */
    uint64_t step, total_steps;
    double epoch;    /* epochs done, with a fraction */
    bool loss_known; /* false where every step since the last line was skipped */
    double loss, lr, grad_norm;
    uint64_t seqs, tokens;
    double seconds; /* wall time of steps alone */
} rt_train_event;

typedef enum { RT_SAVE_BEST, RT_SAVE_LAST, RT_SAVE_NUMBERED } rt_save_kind;
enum { RT_SIGNAL_STOP = 1, RT_SIGNAL_SAVE = 2 };

typedef struct {
    void *context;
    rt_status (*on_event)(void *, const rt_train_event *);
    /* NULL: no evaluation. *higher: larger is better. RT_ESTOPPED when a signal ended it: it will be run again whole.
     */
    rt_status (*on_eval)(void *, rt_train_state *, double *metric, bool *higher);
    rt_status (*on_save)(void *, const rt_train_state *, rt_save_kind);
    uint32_t (*signals)(void *); /* pending RT_SIGNAL_*; RT_SIGNAL_SAVE is taken by being read */
} rt_train_hooks;

typedef struct {
    const rt_dataset *data;
    const rt_pairs *pairs; /* of data, for an objective that couples its rows; else NULL */
    rt_objective *objective;
    rt_encoder *encoder;
    rt_comm *comm;
    rt_train_settings settings;
    rt_train_state *state;
    rt_train_hooks hooks;
} rt_train_job;

/* Steps from state->step on until total_steps, early stopping or a signal. A signal: saves last and returns
 * RT_ESTOPPED. A non-finite step with stop_on_nonfinite: saves last (its parameters are those before the step) and
 * returns RT_EDATA. The last step emits a train line, and so does one before an evaluation that may stop early. */
rt_status rt_train(rt_train_job *job);

/* Learning rate of step s (from 0), as Hugging Face's linear schedule with warm-up: the first step of a warm-up has 0.
 */
double rt_schedule_lr(rt_schedule schedule, double peak, uint64_t step, uint64_t warmup, uint64_t total);
/* warmup < 1: int(share x total) steps; else steps. */
uint64_t rt_schedule_warmup_steps(double warmup, uint64_t total);
/* Whether a boundary of `every` lies between steps a (exclusive) and b (inclusive); MINUTES is never due here. */
bool rt_every_due(rt_every every, uint64_t a, uint64_t b, uint32_t steps_per_epoch);

/* Optimizer steps. A device runs ahead of its host: start issues a step's forward and backward, then reads the results
 * of the step before (*known: there was one), then issues the update. finish reads those of the last step started.
 * Both count an update in state->adam_step when they learn that it was made; start advances state->step. Where the step
 * before was not finite and stop_on_nonfinite is set, the new step is dropped before it changes anything. */
typedef struct rt_stepper rt_stepper;
typedef struct {
    uint64_t step; /* its number, from 0 */
    double loss, lr, grad_norm;
    uint64_t seqs, tokens;
    bool skipped, empty, nonfinite;
} rt_step_result;
rt_status rt_stepper_new(const rt_train_job *job, rt_stepper **out);
rt_status rt_stepper_start(rt_stepper *stepper, rt_step_result *before, bool *known);
rt_status rt_stepper_finish(rt_stepper *stepper, rt_step_result *result, bool *known);
/* Both at once, for a stepper with nothing under way. */
rt_status rt_stepper_run(rt_stepper *stepper, rt_step_result *result);
void rt_stepper_free(rt_stepper *stepper);

#endif
