/* The loop around steps: lines, evaluations, best model, early stopping, checkpoints, signals. */
#include "../base/clock.h"
#include "train.h"
#include <math.h>

typedef struct {
    rt_train_job *job;
    rt_stepper *stepper;
    uint32_t per_epoch;
    double seconds;                         /* of steps since the last line */
    double last_save, last_eval, last_line; /* clock, for spans in minutes */
    rt_step_result step;                    /* the last whose results are known */
} rt_loop;

static rt_status settle(rt_loop *l);

static bool clock_due(rt_every every, double *last) {
    if (every.unit != RT_EVERY_MINUTES || !(every.value > 0)) return false;
    double now = rt_clock_seconds();
    if (now - *last < every.value * 60) return false;
    *last = now;
    return true;
}

/* Clocks of ranks differ: what one rank's clock says holds for all. */
static rt_status due(const rt_loop *l, rt_every every, double *last, bool *out) {
    uint64_t step = l->job->state->step;
    uint32_t clock = clock_due(every, last);
    if (every.unit == RT_EVERY_MINUTES && every.value > 0) RT_TRY(l->job->comm->agree(l->job->comm, &clock));
    *out = rt_every_due(every, step - 1, step, l->per_epoch) || clock;
    return RT_OK;
}

static rt_status emit(rt_loop *l, bool line) {
    rt_train_state *s = l->job->state;
    rt_train_event event = {.line = line,
                            .step = s->step,
                            .total_steps = s->total_steps,
                            .epoch = (double)s->step / l->per_epoch,
                            .loss_known = s->loss_steps > 0,
                            .loss = s->loss_steps ? s->loss_sum / (double)s->loss_steps : 0.0,
                            .lr = l->step.lr,
                            .grad_norm = l->step.grad_norm,
                            .seqs = s->seqs,
                            .tokens = s->tokens,
                            .seconds = l->seconds};
    RT_TRY(l->job->hooks.on_event(l->job->hooks.context, &event));
    if (!line) return RT_OK;
    s->loss_sum = 0;
    s->loss_steps = s->seqs = s->tokens = 0;
    l->seconds = 0;
    return RT_OK;
}

static rt_status save(rt_loop *l, rt_save_kind kind) {
    RT_TRY(settle(l));
    l->last_save = rt_clock_seconds();
    return l->job->hooks.on_save(l->job->hooks.context, l->job->state, kind);
}

static rt_status stop_safely(rt_loop *l, bool saved) {
    if (!saved) RT_TRY(save(l, RT_SAVE_LAST));
    return rt_fail(RT_ESTOPPED, "stopped by a signal after step %llu; the same command goes on from there",
                   (unsigned long long)l->job->state->step);
}

static rt_status evaluate(rt_loop *l) {
    rt_train_state *s = l->job->state;
    double metric = NAN;
    bool higher = true;
    rt_status rc = l->job->hooks.on_eval(l->job->hooks.context, s, &metric, &higher);
    if (rc == RT_ESTOPPED) return stop_safely(l, false);
    if (rc != RT_OK) return rt_trace(rc, "on_eval", __FILE__, __LINE__);
    s->eval_due = false;
    bool better =
        !isnan(metric) && (isnan(s->best_metric) || (higher ? metric > s->best_metric : metric < s->best_metric));
    if (better) {
        s->best_metric = metric;
        s->best_step = s->step;
        s->stale_evals = 0;
        if (l->job->settings.keep_best) RT_TRY(l->job->hooks.on_save(l->job->hooks.context, s, RT_SAVE_BEST));
    } else {
        s->stale_evals++;
    }
    if (l->job->settings.patience > 0 && s->stale_evals >= (uint32_t)l->job->settings.patience) s->stopped_early = true;
    return RT_OK;
}

static rt_status stop_nonfinite(rt_loop *l) {
    rt_train_state *s = l->job->state;
    s->step = l->step.step; /* it changed nothing and may be tried again, with other settings */
    RT_TRY(save(l, RT_SAVE_LAST));
    return rt_fail(RT_EDATA,
                   "step %llu: loss %g, gradient norm %g: not finite. The weights before it are safe in last.h5. Start "
                   "anew (another run.name, or run.if_exists = overwrite) with a lower optimizer.learning_rate, with "
                   "optimizer.clip_norm, or with train.on_nonfinite = skip",
                   (unsigned long long)s->step, l->step.loss, l->step.grad_norm);
}

static rt_status account(rt_loop *l, const rt_step_result *r) {
    rt_train_state *s = l->job->state;
    l->step = *r;
    if (r->nonfinite && l->job->settings.stop_on_nonfinite) return stop_nonfinite(l);
    if (!r->nonfinite) { /* the loss of a skipped step must not poison the mean */
        s->loss_sum += r->loss;
        s->loss_steps++;
    }
    s->seqs += r->seqs;
    s->tokens += r->tokens;
    s->skipped_steps += r->skipped;
    s->empty_steps += r->empty;
    return RT_OK;
}

/* Waits for the step under way: before a line, an evaluation, a checkpoint or the end. */
static rt_status settle(rt_loop *l) {
    rt_step_result r;
    bool known;
    double start = rt_clock_seconds();
    RT_TRY(rt_stepper_finish(l->stepper, &r, &known));
    l->seconds += rt_clock_seconds() - start;
    return known ? account(l, &r) : RT_OK;
}

static rt_status one_step(rt_loop *l) {
    rt_step_result before;
    bool known;
    double start = rt_clock_seconds();
    RT_TRY(rt_stepper_start(l->stepper, &before, &known));
    l->seconds += rt_clock_seconds() - start;
    return known ? account(l, &before) : RT_OK;
}

enum { CLOCK = 1 << 16 }; /* beside RT_SIGNAL_* */

/* What may come after the line of a step: evaluation, checkpoints, signals. A run that was stopped while it evaluated
 * begins again here, so that it writes what an uninterrupted one would. Numbered files come before last.h5: where a
 * kill falls between the two, the resumed run writes the number again. */
static rt_status border(rt_loop *l) {
    rt_train_job *job = l->job;
    rt_train_state *s = job->state;
    bool saved = false;
    if (s->eval_due && job->hooks.on_eval) RT_TRY(evaluate(l));
    const rt_every every = job->settings.checkpoint_every;
    uint32_t signals = job->hooks.signals ? job->hooks.signals(job->hooks.context) : 0;
    if (clock_due(every, &l->last_save)) signals |= CLOCK;
    RT_TRY(job->comm->agree(job->comm, &signals));
    if (s->step < s->total_steps && (signals & CLOCK || rt_every_due(every, s->step - 1, s->step, l->per_epoch))) {
        RT_TRY(save(l, RT_SAVE_NUMBERED));
        RT_TRY(save(l, RT_SAVE_LAST));
        saved = true;
    }
    if (signals & RT_SIGNAL_STOP) return stop_safely(l, saved);
    if ((signals & RT_SIGNAL_SAVE) && !saved) RT_TRY(save(l, RT_SAVE_LAST));
    return RT_OK;
}

/* The evaluation that is due may be the one that ends the run early. */
static bool may_end(const rt_loop *l) {
    const rt_train_state *s = l->job->state;
    int patience = l->job->settings.patience;
    return s->eval_due && patience > 0 && s->stale_evals + 1 >= (uint32_t)patience;
}

/* A line that may be the last stands before the evaluation: which lines there are must not hang on where a run was
 * stopped and resumed. */
static rt_status after_step(rt_loop *l) {
    rt_train_job *job = l->job;
    rt_train_state *s = job->state;
    bool end = s->step >= s->total_steps;
    bool eval, line;
    RT_TRY(due(l, job->settings.eval_every, &l->last_eval, &eval));
    RT_TRY(due(l, job->settings.line_every, &l->last_line, &line));
    eval = job->hooks.on_eval && (end || eval);
    if (end || eval || line || !job->settings.ahead) RT_TRY(settle(l));
    if (eval) s->eval_due = true;
    RT_TRY(emit(l, line || end || may_end(l)));
    return border(l);
}

rt_status rt_train(rt_train_job *job) {
    rt_status rc = RT_OK;
    rt_train_state *s = job->state;
    rt_loop l = {.job = job, .per_epoch = rt_steps_per_epoch(rt_dataset_examples(job->data), job->settings.batch_size)};
    l.last_save = l.last_eval = l.last_line = rt_clock_seconds();
    RT_GO(rt_stepper_new(job, &l.stepper));
    if (s->eval_due) RT_GO(border(&l));
    while (s->step < s->total_steps && !s->stopped_early) {
        RT_GO(one_step(&l));
        RT_GO(after_step(&l));
    }
done:
    rt_stepper_free(l.stepper);
    return rc;
}
