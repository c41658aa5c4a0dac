/* One optimizer step: rows, weights, micro-batches, gradients, norm, Adam. */
#include "../data/feed.h"
#include "coupled.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a step leaves behind, in memory that the device writes by itself. */
typedef struct {
    rt_step_state state;
    double losses[]; /* [max_micro] */
} readback;

struct rt_stepper {
    rt_train_job job;
    rt_feed *feed;
    rt_coupled *coupled; /* NULL: rows do not hang on each other */
    rt_plan plan;
    uint32_t *rows;
    float *scales;         /* of the micro-batch at hand; of a coupled step */
    rt_adam_range *all;    /* [n_all] of every trainable row, host memory */
    rt_adam_range *ranges; /* [n_ranges] those, or their parts, that this rank updates; backend memory */
    int n_all, n_ranges;
    int64_t first, end;   /* of the trainables: this rank's share */
    int64_t *norm_starts; /* [ranks + 1] blocks of the norm; NULL: this rank has all */
    readback *back;
    size_t back_bytes;
    bool under_way; /* a step was issued and its results are not read yet: */
    rt_step_result ahead;
    int n_losses;
};

static size_t ranges_bytes(const rt_stepper *s) {
    return (size_t)(s->n_ranges ? s->n_ranges : 1) * sizeof *s->ranges;
}

/* The part of a range in [first, end) of the trainables. */
static bool cut(const rt_adam_range *range, int64_t first, int64_t end, rt_adam_range *out) {
    int64_t low = range->train_off > first ? range->train_off : first, high = range->train_off + range->count;
    if (high > end) high = end;
    *out = *range;
    out->param_off += low - range->train_off;
    out->train_off = low;
    out->count = high - low;
    return low < high;
}

/* The word table's gradient is zero but for the words of a step, and it is the last to be done: what can be left out of
 * it is not waited for. */
static void make_sparse(rt_stepper *s) {
    const rt_param_table *t = s->job.encoder->model->table;
    for (int i = 0; i < t->n; i++) {
        const rt_param *p = &t->rows[i];
        if (p->train_off < 0 || !strstr(p->name, "word_embeddings")) continue;
        s->job.comm->sparse_from = p->train_off, s->job.comm->sparse_count = p->count;
    }
}

static rt_status make_share(rt_stepper *s) {
    const rt_comm *c = s->job.comm;
    enum { BLOCK = 1 << 16 };
    s->end = s->job.encoder->model->table->n_trainables;
    if (!c->shards) return RT_OK;
    s->norm_starts = calloc((size_t)c->size + 1, sizeof *s->norm_starts);
    if (!s->norm_starts) return rt_fail(RT_ENOMEM, "out of memory for the shards of %d ranks", c->size);
    for (int r = 0; r <= c->size; r++) s->norm_starts[r] = (c->shards[r] + BLOCK - 1) / BLOCK;
    s->first = c->shards[c->rank], s->end = c->shards[c->rank + 1];
    return RT_OK;
}

static rt_status make_ranges(rt_stepper *s) {
    const rt_param_table *t = s->job.encoder->model->table;
    rt_backend *be = s->job.encoder->model->be;
    RT_TRY(make_share(s));
    rt_adam_range *ranges = calloc((size_t)t->n, sizeof *ranges);
    s->all = calloc((size_t)t->n, sizeof *s->all);
    if (!ranges || !s->all) {
        free(ranges);
        return rt_fail(RT_ENOMEM, "out of memory for the optimizer's ranges");
    }
    for (int i = 0; i < t->n; i++) {
        const rt_param *p = &t->rows[i];
        if (p->train_off < 0) continue;
        double decay = p->decay ? s->job.settings.weight_decay : 0.0;
        s->all[s->n_all] = (rt_adam_range){.param_off = p->param_off,
                                           .train_off = p->train_off,
                                           .count = p->count,
                                           .lr_scale = p->lr_scale,
                                           .weight_decay = (float)decay};
        if (cut(&s->all[s->n_all++], s->first, s->end, &ranges[s->n_ranges])) s->n_ranges++;
    }
    rt_status rc = be->alloc(be, ranges_bytes(s), "the optimizer's ranges", (void **)&s->ranges);
    if (rc == RT_OK) rc = be->upload(be, s->ranges, ranges, (size_t)s->n_ranges * sizeof *ranges);
    free(ranges);
    return rc;
}

rt_status rt_stepper_new(const rt_train_job *job, rt_stepper **out) {
    rt_status rc = RT_OK;
    rt_backend *be = job->encoder->model->be;
    rt_stepper *s = calloc(1, sizeof *s);
    if (!s) return rt_fail(RT_ENOMEM, "out of memory for the training step");
    s->job = *job;
    size_t batch = (size_t)job->settings.batch_size;
    s->rows = calloc(batch, sizeof *s->rows);
    s->scales = calloc(batch, sizeof *s->scales);
    if (!s->rows || !s->scales) RT_GO(rt_fail(RT_ENOMEM, "out of memory for the training step"));
    s->back_bytes = sizeof *s->back + (size_t)job->objective->max_micro * sizeof(double);
    RT_GO(be->alloc_host(be, s->back_bytes, "a step's results", (void **)&s->back));
    RT_GO(make_ranges(s));
    make_sparse(s);
    if (job->objective->couple) RT_GO(rt_coupled_new(job, &s->coupled));
    RT_GO(rt_feed_new(be, job->encoder->sizes.train_tokens, job->settings.max_seqs, &s->feed));
    *out = s;
    return RT_OK;
done:
    rt_stepper_free(s);
    return rc;
}

void rt_stepper_free(rt_stepper *s) {
    if (!s) return;
    rt_backend *be = s->job.encoder->model->be;
    const rt_error why = *rt_error_get(); /* whoever frees has the error that matters */
    if (s->under_way && be->synchronize(be) != RT_OK) rt_error_set(&why);
    rt_coupled_free(s->coupled);
    rt_feed_free(s->feed);
    rt_plan_free(&s->plan);
    if (s->ranges) be->release(be, s->ranges, ranges_bytes(s));
    if (s->back) be->release_host(be, s->back, s->back_bytes);
    free(s->all);
    free(s->norm_starts);
    free(s->rows);
    free(s->scales);
    free(s);
}

/* w_i = row weight x class weight of its label. */
static double row_weight(const rt_stepper *s, uint32_t row) {
    const float *weights = rt_dataset_weights(s->job.data);
    const double *classes = s->job.settings.class_weights;
    const uint32_t record = row * (uint32_t)rt_dataset_sides(s->job.data);
    double w = weights ? (double)weights[record] : 1.0;
    return classes ? w * classes[rt_dataset_labels(s->job.data)[row]] : w;
}

static rt_status reduce_range(void *context, int64_t offset, int64_t count) {
    rt_stepper *s = context;
    rt_comm *comm = s->job.comm;
    if (comm->size == 1) return RT_OK;
    return comm->reduce_start(comm, s->job.encoder->model->grads, offset, count);
}

static rt_status send_micro(rt_stepper *s, int micro, const float *scales, const rt_batch **batch) {
    const rt_plan *plan = &s->plan;
    int start = plan->starts[micro], n = plan->starts[micro + 1] - start;
    rt_batch_buffer *buffer;
    RT_TRY(rt_feed_begin(s->feed, &buffer));
    RT_TRY(rt_batch_fill(buffer, s->job.data, plan->rows + start, n, scales, true));
    return rt_feed_send(s->feed, batch);
}

static rt_status run_micro(rt_stepper *s, int micro, double total_weight) {
    const rt_plan *plan = &s->plan;
    int start = plan->starts[micro], n = plan->starts[micro + 1] - start;
    bool last = micro == plan->n_micro - 1;
    rt_pass pass = {.training = true, .seed = s->job.settings.seed};
    const rt_batch *batch;
    rt_comm_note(s->job.comm, "computing gradients", s->job.state->step);
    for (int i = 0; i < n && !s->coupled; i++)
        s->scales[i] = (float)(row_weight(s, plan->rows[start + i]) / total_weight);
    RT_TRY(send_micro(s, micro, s->coupled ? NULL : s->scales, &batch));
    RT_TRY(s->job.objective->forward(s->job.objective, batch, &pass, micro));
    RT_TRY(s->job.objective->backward(s->job.objective, batch, &pass, micro > 0, last ? reduce_range : NULL, s));
    RT_TRY(rt_feed_end(s->feed));
    return s->job.comm->poll(s->job.comm);
}

/* Vectors of all texts of the step, then its loss. The first micro-batch comes last: backward begins with it. */
static rt_status couple(rt_stepper *s) {
    const rt_coupling *step = rt_coupled_place(s->coupled, &s->plan);
    rt_objective *o = s->job.objective;
    rt_pass pass = {.training = true, .seed = s->job.settings.seed};
    for (int micro = s->plan.n_micro - 1; micro >= 0; micro--) {
        const rt_batch *batch;
        rt_comm_note(s->job.comm, "computing vectors", s->job.state->step);
        RT_TRY(send_micro(s, micro, NULL, &batch));
        RT_TRY(o->embed(o, step, batch, &pass, micro));
        RT_TRY(rt_feed_end(s->feed));
    }
    rt_comm_note(s->job.comm, "exchanging vectors", s->job.state->step);
    RT_TRY(rt_coupled_exchange(s->coupled, &s->plan));
    return o->couple(o, step);
}

/* The step's number is needed by dropout, from the first op on; the rest by Adam, when the step before is known. */
static rt_status write_number(const rt_stepper *s) {
    rt_model *m = s->job.encoder->model;
    uint32_t step = (uint32_t)s->job.state->step;
    return m->be->write(m->be, &m->state->step, &step, sizeof step);
}

static rt_status write_rates(const rt_stepper *s, double lr) {
    const rt_train_settings *t = &s->job.settings;
    rt_model *m = s->job.encoder->model;
    double adam = (double)(s->job.state->adam_step + 1);
    const struct {
        float lr, bias1, bias2, clip_norm;
    } rates = {(float)lr, (float)(1.0 - pow(t->beta1, adam)), (float)(1.0 - pow(t->beta2, adam)), (float)t->clip_norm};
    _Static_assert(offsetof(rt_step_state, clip_norm) - offsetof(rt_step_state, lr) == 3 * sizeof(float),
                   "the four rates stand side by side");
    return m->be->write(m->be, &m->state->lr, &rates, sizeof rates);
}

/* The norm of the whole gradient. Of shards each rank sums its own blocks, and all add all of them in order. */
static rt_status norm(rt_stepper *s) {
    rt_model *m = s->job.encoder->model;
    rt_backend *be = m->be;
    rt_comm *c = s->job.comm;
    rt_sum_squares_args args = {
        .x = m->grads, .n = m->table->n_trainables, .partials = m->norm_partials, .total = &m->state->grad_sq};
    if (!c->shards) return be->sum_squares(be, &args);
    RT_TRY(be->sum_squares(be, &(rt_sum_squares_args){.x = m->grads + s->first,
                                                      .n = s->end - s->first,
                                                      .partials = m->norm_partials + s->norm_starts[c->rank]}));
    RT_TRY(c->all_gather(c, m->norm_partials, s->norm_starts, sizeof *m->norm_partials));
    args.x = NULL;
    return be->sum_squares(be, &args);
}

/* New parameters travel by way of the gradients' memory, which has their order and is free by now. */
static rt_status share_params(rt_stepper *s) {
    rt_model *m = s->job.encoder->model;
    rt_comm *c = s->job.comm;
    rt_adam_range part;
    if (!c->shards) return RT_OK;
    for (int i = 0; i < s->n_all; i++)
        if (cut(&s->all[i], s->first, s->end, &part))
            RT_TRY(m->be->convert(m->be, m->grads + part.train_off, RT_F32, m->params + part.param_off, RT_F32,
                                  (size_t)part.count));
    RT_TRY(c->all_gather(c, m->grads, c->shards, sizeof *m->grads));
    const int64_t others[2][2] = {{0, s->first}, {s->end, m->table->n_trainables}};
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < s->n_all; i++)
            if (cut(&s->all[i], others[side][0], others[side][1], &part))
                RT_TRY(m->be->convert(m->be, m->params + part.param_off, RT_F32, m->grads + part.train_off, RT_F32,
                                      (size_t)part.count));
    return RT_OK;
}

static rt_status update(rt_stepper *s, double lr) {
    rt_model *m = s->job.encoder->model;
    rt_backend *be = m->be;
    const rt_train_settings *t = &s->job.settings;
    const double *losses = s->job.objective->losses(s->job.objective);
    if (m->table->n_trainables) {
        RT_TRY(write_rates(s, lr));
        RT_TRY(norm(s));
        /* A loss that is not finite must not move the weights even where its gradient looks sane. Of several ranks all
         * must decide alike: there the gradient's sum alone decides. */
        RT_TRY(be->adamw(be, &(rt_adamw_args){.params = m->params,
                                              .grads = m->grads,
                                              .m = m->m,
                                              .v = m->v,
                                              .moment_off = m->moment_off,
                                              .ranges = s->ranges,
                                              .n_ranges = s->n_ranges,
                                              .beta1 = t->beta1,
                                              .beta2 = t->beta2,
                                              .epsilon = (float)t->epsilon,
                                              .losses = s->job.comm->size == 1 ? losses : NULL,
                                              .n_losses = s->plan.n_micro,
                                              .state = m->state}));
        RT_TRY(share_params(s));
        RT_TRY(rt_model_pack(m, true)); /* of a step that changed nothing: the same bytes again */
    }
    s->n_losses = s->plan.n_micro;
    RT_TRY(be->download_start(be, s->back->losses, losses, (size_t)s->n_losses * sizeof *losses));
    RT_TRY(be->download_start(be, &s->back->state, m->state, sizeof *m->state));
    return be->mark(be, 0);
}

rt_status rt_stepper_finish(rt_stepper *s, rt_step_result *r, bool *known) {
    rt_model *m = s->job.encoder->model;
    *known = s->under_way;
    if (!s->under_way) return RT_OK;
    s->under_way = false;
    *r = s->ahead;
    if (r->empty) return RT_OK;
    RT_TRY(m->be->wait(m->be, 0));
    for (int i = 0; i < s->n_losses; i++) r->loss += s->back->losses[i];
    RT_TRY(s->job.comm->sum_f64(s->job.comm, &r->loss, 1));
    if (!m->table->n_trainables) return RT_OK;
    r->skipped = r->nonfinite = s->back->state.skipped != 0;
    r->grad_norm = sqrt(s->back->state.grad_sq);
    if (!r->skipped) s->job.state->adam_step++;
    return RT_OK;
}

rt_status rt_stepper_start(rt_stepper *s, rt_step_result *before, bool *known) {
    rt_train_state *state = s->job.state;
    const rt_train_settings *t = &s->job.settings;
    const uint16_t *lengths = rt_dataset_lengths(s->job.data);
    uint32_t n_rows = rt_dataset_examples(s->job.data), per_epoch = rt_steps_per_epoch(n_rows, t->batch_size);
    rt_step_result r = {.step = state->step};
    int n = rt_step_rows(n_rows, t->seed, (uint32_t)(state->step / per_epoch), (uint32_t)(state->step % per_epoch),
                         t->batch_size, s->rows);
    double weight = 0;
    const int sides = rt_dataset_sides(s->job.data);
    for (int i = 0; i < n; i++) {
        weight += row_weight(s, s->rows[i]);
        for (int k = 0; k < sides; k++) r.tokens += lengths[(size_t)s->rows[i] * (size_t)sides + (size_t)k];
    }
    r.seqs = (uint64_t)n;
    r.lr = rt_schedule_lr(t->schedule, t->learning_rate, state->step, state->warmup_steps, state->total_steps);
    r.empty = !(weight > 0);
    if (!r.empty) {
        const uint32_t *records = s->rows;
        for (int i = 0; i < n && s->coupled; i++) s->scales[i] = (float)(row_weight(s, s->rows[i]) / weight);
        if (s->coupled) RT_TRY(rt_coupled_begin(s->coupled, s->rows, n, s->scales, &records));
        RT_TRY(rt_plan_step(&s->plan, records, n * sides, lengths, t->micro_tokens, t->max_seqs, s->job.comm->rank,
                            s->job.comm->size));
        if (s->plan.n_micro > s->job.objective->max_micro)
            return rt_fail(RT_EINTERNAL, "a step of %d micro-batches, but room for %d", s->plan.n_micro,
                           s->job.objective->max_micro);
        RT_TRY(write_number(s));
        if (s->coupled) RT_TRY(couple(s));
        for (int i = 0; i < s->plan.n_micro; i++) RT_TRY(run_micro(s, i, weight));
        rt_comm_note(s->job.comm, "adding up gradients", state->step);
        RT_TRY(s->job.comm->wait_all(s->job.comm));
    }
    RT_TRY(rt_stepper_finish(s, before, known));
    if (*known && before->nonfinite && t->stop_on_nonfinite) return RT_OK; /* this one was never taken */
    if (!r.empty) RT_TRY(update(s, r.lr));
    s->ahead = r;
    s->under_way = true;
    state->step++;
    return RT_OK;
}

rt_status rt_stepper_run(rt_stepper *s, rt_step_result *r) {
    bool known;
    RT_TRY(rt_stepper_start(s, r, &known));
    return rt_stepper_finish(s, r, &known);
}
