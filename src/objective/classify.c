#include "objective.h"
#include <stdlib.h>

typedef struct {
    rt_objective base;
    rt_classify_options options;
    rt_encoder *encoder;
    rt_linear head;
    float *logits, *dlogits; /* [B, K] */
    double *losses;          /* [max_micro] */
    size_t logits_bytes;
} rt_classify;

static rt_status add_params(rt_objective *o, rt_param_table *table, const rt_bert *bert) {
    int depth = bert->layers + 1;
    int weight = rt_param_add(table, "classifier.weight", o->labels, bert->hidden, RT_INIT_NORMAL, true, depth, 0);
    if (weight < 0 || rt_param_add(table, "classifier.bias", o->labels, 0, RT_INIT_ZERO, false, depth, 0) < 0)
        return rt_fail(RT_ENOMEM, "out of memory for the parameter table");
    table->rows[weight].matrix = true;
    return RT_OK;
}

static rt_status bind(rt_objective *o, rt_encoder *encoder) {
    rt_classify *c = (rt_classify *)o;
    rt_model *m = encoder->model;
    c->encoder = encoder;
    o->be = m->be;
    int row = rt_param_find(m->table, "classifier.weight");
    if (row < 0) return rt_fail(RT_EINTERNAL, "parameter table has no row classifier.weight");
    c->head = (rt_linear){.weight = row, .bias = row + 1, .n = o->labels, .k = m->bert.hidden};
    RT_TRY(rt_model_register(m, &c->head));
    c->logits_bytes = (size_t)(encoder->sizes.train_seqs > encoder->sizes.eval_seqs ? encoder->sizes.train_seqs
                                                                                    : encoder->sizes.eval_seqs) *
                      (size_t)o->labels * sizeof(float);
    RT_TRY(m->be->alloc(m->be, c->logits_bytes, "logits", (void **)&c->logits));
    if (!encoder->training) return RT_OK;
    RT_TRY(m->be->alloc(m->be, c->logits_bytes, "gradients of logits", (void **)&c->dlogits));
    return m->be->alloc(m->be, (size_t)o->max_micro * sizeof(double), "losses", (void **)&c->losses);
}

static rt_status head_forward(rt_classify *c, const rt_batch *batch, const rt_pass *pass) {
    RT_TRY(rt_encoder_forward(c->encoder, batch, pass));
    return rt_linear_apply(c->encoder->model, &c->head,
                           &(rt_linear_run){.x = c->encoder->last->pooled,
                                            .y = c->logits,
                                            .y_dtype = RT_F32,
                                            .rows = batch->n_seqs,
                                            .with_bias = true});
}

static rt_status forward(rt_objective *o, const rt_batch *batch, const rt_pass *pass, int micro) {
    rt_classify *c = (rt_classify *)o;
    rt_backend *be = c->encoder->model->be;
    if (micro >= o->max_micro) return rt_fail(RT_EINTERNAL, "micro-batch %d of at most %d", micro, o->max_micro);
    RT_TRY(head_forward(c, batch, pass));
    return be->classify(be, &(rt_classify_args){.batch = batch,
                                                .logits = c->logits,
                                                .smoothing = c->options.smoothing,
                                                .loss = c->losses + micro,
                                                .dlogits = c->dlogits,
                                                .labels = o->labels,
                                                .with_labels = true});
}

static rt_status backward(rt_objective *o, const rt_batch *batch, const rt_pass *pass, int accumulate,
                          rt_range_done range_done, void *context) {
    rt_classify *c = (rt_classify *)o;
    rt_model *m = c->encoder->model;
    void *dpooled = rt_encoder_dpooled(c->encoder);
    RT_TRY(rt_linear_grad(m, &c->head,
                          &(rt_linear_gradient){.x = c->encoder->last->pooled,
                                                .dy = c->dlogits,
                                                .dy_dtype = RT_F32,
                                                .dx = dpooled,
                                                .rows = batch->n_seqs,
                                                .with_bias = true,
                                                .accumulate = accumulate}));
    /* The head's rows and the pooler's have one depth: the encoder reports both once the pooler is done. */
    return rt_encoder_backward(c->encoder, batch, pass, dpooled, accumulate, range_done, context);
}

static rt_status predict(rt_objective *o, const rt_batch *batch, float *logits) {
    rt_classify *c = (rt_classify *)o;
    rt_backend *be = c->encoder->model->be;
    RT_TRY(head_forward(c, batch, &(rt_pass){.training = false}));
    return be->download(be, logits, c->logits, (size_t)batch->n_seqs * (size_t)o->labels * sizeof(float));
}

static const double *losses(const rt_objective *o) {
    return ((const rt_classify *)o)->losses;
}

static void close_classify(rt_objective *o) {
    rt_classify *c = (rt_classify *)o;
    if (c->encoder) {
        rt_backend *be = c->encoder->model->be;
        if (c->logits) be->release(be, c->logits, c->logits_bytes);
        if (c->dlogits) be->release(be, c->dlogits, c->logits_bytes);
        if (c->losses) be->release(be, c->losses, (size_t)o->max_micro * sizeof(double));
    }
    free(c);
}

rt_status rt_objective_classify_new(const rt_classify_options *options, rt_objective **out) {
    if (options->labels < 1 || options->labels > RT_MAX_LABELS)
        return rt_fail(RT_ECONFIG, "model.labels: %d labels; expected 1 to %d", options->labels, RT_MAX_LABELS);
    rt_classify *c = calloc(1, sizeof *c);
    if (!c) return rt_fail(RT_ENOMEM, "out of memory for the objective");
    c->options = *options;
    c->base = (rt_objective){.name = "classify",
                             .labels = options->labels,
                             .max_micro = options->max_micro > 0 ? options->max_micro : 1,
                             .add_params = add_params,
                             .bind = bind,
                             .forward = forward,
                             .backward = backward,
                             .predict = predict,
                             .losses = losses,
                             .close = close_classify};
    *out = &c->base;
    return RT_OK;
}
