/* One optimizer step: rows, weights, micro-batches, gradients, norm, Adam. */
#include "train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rt_stepper {
    rt_train_job job;
    rt_batch_buffer buffer;
    rt_plan plan;
    uint32_t *rows;
    float *scales;  /* of the micro-batch at hand */
    double *losses; /* [max_micro] */
    rt_adam_range *ranges;
    int n_ranges;
};

static rt_status make_ranges(rt_stepper *s) {
    const rt_param_table *t = s->job.encoder->model->table;
    s->ranges = calloc((size_t)t->n, sizeof *s->ranges);
    if (!s->ranges) return rt_fail(RT_ENOMEM, "out of memory for the optimizer's ranges");
    for (int i = 0; i < t->n; i++) {
        const rt_param *p = &t->rows[i];
        if (p->train_off < 0) continue;
        double decay = p->decay ? s->job.settings.weight_decay : 0.0;
        s->ranges[s->n_ranges++] = (rt_adam_range){.param_off = p->param_off,
                                                   .train_off = p->train_off,
                                                   .count = p->count,
                                                   .lr_scale = p->lr_scale,
                                                   .weight_decay = (float)decay};
    }
    return RT_OK;
}

rt_status rt_stepper_new(const rt_train_job *job, rt_stepper **out) {
    rt_status rc = RT_OK;
    rt_stepper *s = calloc(1, sizeof *s);
    if (!s) return rt_fail(RT_ENOMEM, "out of memory for the training step");
    s->job = *job;
    size_t batch = (size_t)job->settings.batch_size;
    s->rows = calloc(batch, sizeof *s->rows);
    s->scales = calloc(batch, sizeof *s->scales);
    s->losses = calloc((size_t)job->objective->max_micro, sizeof *s->losses);
    if (!s->rows || !s->scales || !s->losses) RT_GO(rt_fail(RT_ENOMEM, "out of memory for the training step"));
    RT_GO(make_ranges(s));
    RT_GO(rt_batch_buffer_new(job->encoder->sizes.train_tokens, job->settings.max_seqs, &s->buffer));
    *out = s;
    return RT_OK;
done:
    rt_stepper_free(s);
    return rc;
}

void rt_stepper_free(rt_stepper *s) {
    if (!s) return;
    rt_batch_buffer_free(&s->buffer);
    rt_plan_free(&s->plan);
    free(s->rows);
    free(s->scales);
    free(s->losses);
    free(s->ranges);
    free(s);
}

/* w_i = row weight x class weight of its label. */
static double row_weight(const rt_stepper *s, uint32_t row) {
    const float *weights = rt_dataset_weights(s->job.data);
    const double *classes = s->job.settings.class_weights;
    double w = weights ? (double)weights[row] : 1.0;
    return classes ? w * classes[rt_dataset_labels(s->job.data)[row]] : w;
}

static rt_status reduce_range(void *context, int64_t offset, int64_t count) {
    rt_stepper *s = context;
    rt_comm *comm = s->job.comm;
    if (comm->size == 1) return RT_OK;
    return comm->reduce_start(comm, s->job.encoder->model->grads, offset, count, RT_REDUCE_SUM);
}

static rt_status run_micro(rt_stepper *s, int micro, double total_weight) {
    const rt_plan *plan = &s->plan;
    int start = plan->starts[micro], n = plan->starts[micro + 1] - start;
    bool last = micro == plan->n_micro - 1;
    rt_pass pass = {.training = true, .seed = s->job.settings.seed};
    for (int i = 0; i < n; i++) s->scales[i] = (float)(row_weight(s, plan->rows[start + i]) / total_weight);
    RT_TRY(rt_batch_fill(&s->buffer, s->job.data, plan->rows + start, n, s->scales, true));
    RT_TRY(s->job.objective->forward(s->job.objective, &s->buffer.batch, &pass, micro));
    RT_TRY(s->job.objective->backward(s->job.objective, &s->buffer.batch, &pass, micro > 0, last ? reduce_range : NULL,
                                      s));
    return s->job.comm->poll(s->job.comm);
}

static void set_scalars(const rt_stepper *s, double lr) {
    const rt_train_settings *t = &s->job.settings;
    const rt_train_state *state = s->job.state;
    double adam = (double)(state->adam_step + 1);
    rt_step_state *scalars = s->job.encoder->model->state;
    *scalars = (rt_step_state){.step = (uint32_t)state->step,
                               .lr = (float)lr,
                               .bias1 = (float)(1.0 - pow(t->beta1, adam)),
                               .bias2 = (float)(1.0 - pow(t->beta2, adam)),
                               .clip_norm = (float)t->clip_norm};
}

static rt_status update(rt_stepper *s, rt_step_result *r) {
    rt_model *m = s->job.encoder->model;
    rt_backend *be = m->be;
    const rt_train_settings *t = &s->job.settings;
    if (!m->table->n_trainables) return RT_OK;
    RT_TRY(be->sum_squares(be, &(rt_sum_squares_args){.x = m->grads,
                                                      .n = m->table->n_trainables,
                                                      .partials = m->norm_partials,
                                                      .total = &m->state->grad_sq}));
    /* A loss that is not finite must not move the weights even where its gradient looks sane. */
    if (!isfinite(r->loss)) m->state->grad_sq = NAN;
    RT_TRY(be->adamw(be, &(rt_adamw_args){.params = m->params,
                                          .grads = m->grads,
                                          .m = m->m,
                                          .v = m->v,
                                          .ranges = s->ranges,
                                          .n_ranges = s->n_ranges,
                                          .beta1 = t->beta1,
                                          .beta2 = t->beta2,
                                          .epsilon = (float)t->epsilon,
                                          .state = m->state}));
    r->skipped = m->state->skipped != 0;
    r->nonfinite = r->skipped;
    r->grad_norm = sqrt(m->state->grad_sq);
    if (r->skipped) return RT_OK;
    s->job.state->adam_step++;
    return rt_model_pack(m, true);
}

rt_status rt_stepper_run(rt_stepper *s, rt_step_result *r) {
    rt_train_state *state = s->job.state;
    const rt_train_settings *t = &s->job.settings;
    const uint16_t *lengths = rt_dataset_lengths(s->job.data);
    uint32_t n_rows = rt_dataset_rows(s->job.data), per_epoch = rt_steps_per_epoch(n_rows, t->batch_size);
    memset(r, 0, sizeof *r);
    int n = rt_step_rows(n_rows, t->seed, (uint32_t)(state->step / per_epoch), (uint32_t)(state->step % per_epoch),
                         t->batch_size, s->rows);
    double weight = 0;
    for (int i = 0; i < n; i++) {
        weight += row_weight(s, s->rows[i]);
        r->tokens += lengths[s->rows[i]];
    }
    r->seqs = (uint64_t)n;
    r->lr = rt_schedule_lr(t->schedule, t->learning_rate, state->step, state->warmup_steps, state->total_steps);
    if (!(weight > 0)) {
        r->empty = true;
        state->step++;
        return RT_OK;
    }
    RT_TRY(rt_plan_step(&s->plan, s->rows, n, lengths, t->micro_tokens, t->max_seqs, s->job.comm->rank,
                        s->job.comm->size));
    if (s->plan.n_micro > s->job.objective->max_micro)
        return rt_fail(RT_EINTERNAL, "a step of %d micro-batches, but room for %d", s->plan.n_micro,
                       s->job.objective->max_micro);
    set_scalars(s, r->lr);
    for (int i = 0; i < s->plan.n_micro; i++) RT_TRY(run_micro(s, i, weight));
    RT_TRY(s->job.comm->wait_all(s->job.comm));
    RT_TRY(s->job.objective->losses(s->job.objective, s->plan.n_micro, s->losses));
    for (int i = 0; i < s->plan.n_micro; i++) r->loss += s->losses[i];
    RT_TRY(s->job.comm->sum_f64(s->job.comm, &r->loss, 1));
    RT_TRY(update(s, r));
    state->step++;
    return RT_OK;
}
