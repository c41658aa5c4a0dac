#include "encoder.h"
#include <math.h>

/* Gradient buffers of the walk down: `a` holds the gradient of the rows that leave a layer, `b` is the other [T, H]. */
typedef struct {
    void *a, *b;
} rt_grad_pair;

static rt_status residual_norm(rt_encoder *e, const rt_batch *batch, const rt_pass *pass, rt_rows rows, int site,
                               int bias, rt_norm_rows norm, const void *z, const float *mean, const float *rstd,
                               rt_grad_pair g, int accumulate) {
    rt_model *m = e->model;
    return m->be->residual_norm_backward(
        m->be, &(rt_residual_norm_backward_args){.batch = batch,
                                                 .rows = rows,
                                                 .z = z,
                                                 .mean = mean,
                                                 .rstd = rstd,
                                                 .gamma = rt_model_param(m, norm.ln_gamma),
                                                 .dropout = rt_encoder_dropout(e, pass, m->bert.dropout, site),
                                                 .dy = g.a,
                                                 .dresidual = g.a,
                                                 .dx = g.b,
                                                 .dbias = rt_model_grad(m, bias),
                                                 .dgamma = rt_model_grad(m, norm.ln_gamma),
                                                 .dbeta = rt_model_grad(m, norm.ln_beta),
                                                 .hidden = m->bert.hidden,
                                                 .accumulate = accumulate});
}

/* Gradients of q, k, v from that of ctx, then of the layer's input: g->a is the residual branch's on entry and the sum
 * on return; g->b is free. */
static rt_status attention_part(rt_encoder *e, const rt_batch *batch, const rt_pass *pass, int l, bool need_dx,
                                const void *dctx, rt_grad_pair *g, int accumulate) {
    rt_model *m = e->model;
    rt_backend *be = m->be;
    const rt_layer_rows *r = &e->layers[l];
    const rt_layer_acts *a = &e->last->layers[l];
    const int64_t h = m->bert.hidden, tokens = rt_encoder_token_rows(e, batch);
    const size_t size = rt_dtype_size(be->act), wide = (size_t)h * size;
    const bool first = e->first_rows && l == m->bert.layers - 1;
    char *dqkv = e->last->grad_qkv;
    rt_attention_backward_args args = {
        .f = {.batch = batch,
              .queries = first ? RT_ROWS_FIRST : RT_ROWS_TOKENS,
              .out = a->ctx,
              .out_stride = h,
              .lse = a->lse,
              .heads = m->bert.heads,
              .head_dim = (int32_t)(h / m->bert.heads),
              .scale = 1.0f / sqrtf((float)(h / m->bert.heads)),
              .dropout = rt_encoder_dropout(e, pass, m->bert.attention_dropout, 8 * l + RT_SITE_ATTENTION_PROBS)},
        .dout = dctx};
    if (!first) {
        args.f.q = a->qkv;
        args.f.k = (char *)a->qkv + wide;
        args.f.v = (char *)a->qkv + 2 * wide;
        args.dq = dqkv, args.dk = dqkv + wide, args.dv = dqkv + 2 * wide;
        args.f.q_stride = args.f.k_stride = args.f.v_stride = args.dq_stride = args.dk_stride = args.dv_stride = 3 * h;
        RT_TRY(be->attention_backward(be, &args));
        return rt_linear_grad(m, &r->qkv,
                              &(rt_linear_gradient){.x = a->x,
                                                    .dy = dqkv,
                                                    .dy_dtype = be->act,
                                                    .dx = need_dx ? g->a : NULL,
                                                    .dx_add = g->a,
                                                    .rows = tokens,
                                                    .with_bias = true,
                                                    .accumulate = accumulate});
    }
    char *dq = dqkv + (size_t)tokens * 2 * wide; /* behind dkv [T, 2H] */
    args.f.q = a->q_first;
    args.f.k = a->qkv;
    args.f.v = (char *)a->qkv + wide;
    args.dq = dq, args.dk = dqkv, args.dv = dqkv + wide;
    args.f.q_stride = args.dq_stride = h;
    args.f.k_stride = args.f.v_stride = args.dk_stride = args.dv_stride = 2 * h;
    RT_TRY(be->attention_backward(be, &args));
    RT_TRY(rt_linear_grad(m, &r->q,
                          &(rt_linear_gradient){.x = a->x_first,
                                                .dy = dq,
                                                .dy_dtype = be->act,
                                                .dx = need_dx ? g->a : NULL,
                                                .dx_add = g->a,
                                                .rows = batch->n_seqs,
                                                .with_bias = true,
                                                .accumulate = accumulate}));
    RT_TRY(rt_linear_grad(m, &r->kv,
                          &(rt_linear_gradient){.x = a->x,
                                                .dy = dqkv,
                                                .dy_dtype = be->act,
                                                .dx = need_dx ? g->b : NULL,
                                                .rows = tokens,
                                                .with_bias = true,
                                                .accumulate = accumulate}));
    if (!need_dx) return RT_OK;
    RT_TRY(be->select_rows_backward(
        be, &(rt_rows_backward_args){.batch = batch, .dy = g->a, .dx = g->b, .dx_add = g->b, .hidden = h}));
    *g = (rt_grad_pair){g->b, g->a};
    return RT_OK;
}

/* Who wants to know which gradients are done. */
typedef struct {
    rt_range_done done; /* NULL: nobody */
    void *context;
} listener;

static rt_status report(rt_encoder *e, int depth, const listener *to) {
    int64_t offset, count;
    if (!to->done) return RT_OK;
    rt_param_span(e->model->table, depth, depth, &offset, &count);
    return count ? to->done(to->context, offset, count) : RT_OK;
}

/* A layer's gradients are done in two parts: feed-forward with the norm behind it, attention with the norm behind that.
 * Two thirds of them need not wait for the rest. */
static rt_status report_half(rt_encoder *e, int l, bool attention, const listener *to) {
    const rt_param_table *table = e->model->table;
    const rt_param *gamma = &table->rows[e->layers[l].norm1.ln_gamma], *beta = &table->rows[e->layers[l].norm1.ln_beta];
    const int64_t middle = gamma->train_off < beta->train_off ? gamma->train_off : beta->train_off;
    int64_t offset, count;
    if (!to->done) return RT_OK;
    rt_param_span(table, l + 1, l + 1, &offset, &count);
    return attention ? to->done(to->context, middle, offset + count - middle)
                     : to->done(to->context, offset, middle - offset);
}

static rt_status layer_backward(rt_encoder *e, const rt_batch *batch, const rt_pass *pass, int l, bool need_dx,
                                rt_grad_pair *g, int accumulate, const listener *to) {
    rt_model *m = e->model;
    rt_backend *be = m->be;
    const rt_layer_rows *r = &e->layers[l];
    const rt_layer_acts *a = &e->last->layers[l];
    const bool first = e->first_rows && l == m->bert.layers - 1;
    const rt_rows which = first ? RT_ROWS_FIRST : RT_ROWS_TOKENS;
    const int64_t rows = first ? batch->n_seqs : rt_encoder_token_rows(e, batch);
    RT_TRY(residual_norm(e, batch, pass, which, 8 * l + RT_SITE_FEED_FORWARD, r->ffn_out.bias, r->norm2, a->z2,
                         a->mean2, a->rstd2, *g, accumulate));
    RT_TRY(rt_linear_grad(m, &r->ffn_out,
                          &(rt_linear_gradient){.x = a->gelu,
                                                .dy = g->b,
                                                .dy_dtype = be->act,
                                                .dx = e->last->grad_wide,
                                                .rows = rows,
                                                .accumulate = accumulate}));
    RT_TRY(rt_linear_grad(m, &r->ffn_in,
                          &(rt_linear_gradient){.act = RT_ACT_GELU,
                                                .x = a->y1,
                                                .saved = a->pre,
                                                .dy = e->last->grad_wide,
                                                .dy_dtype = be->act,
                                                .dx = g->a,
                                                .dx_add = g->a,
                                                .rows = rows,
                                                .with_bias = true,
                                                .accumulate = accumulate}));
    RT_TRY(report_half(e, l, false, to));
    RT_TRY(residual_norm(e, batch, pass, which, 8 * l + RT_SITE_ATTENTION_OUTPUT, r->attn_out.bias, r->norm1, a->z1,
                         a->mean1, a->rstd1, *g, accumulate));
    /* The gradient of ctx needs a third [T, H]: the wide buffer is free by now. */
    RT_TRY(rt_linear_grad(m, &r->attn_out,
                          &(rt_linear_gradient){.x = a->ctx,
                                                .dy = g->b,
                                                .dy_dtype = be->act,
                                                .dx = e->last->grad_wide,
                                                .rows = rows,
                                                .accumulate = accumulate}));
    RT_TRY(attention_part(e, batch, pass, l, need_dx, e->last->grad_wide, g, accumulate));
    return report_half(e, l, true, to);
}

rt_status rt_encoder_backward(rt_encoder *e, const rt_batch *batch, const rt_pass *pass, void *dpooled, int accumulate,
                              rt_range_done range_done, void *context) {
    rt_model *m = e->model;
    rt_backend *be = m->be;
    const int layers = m->bert.layers;
    const int64_t h = m->bert.hidden;
    const listener to = {range_done, context};
    rt_grad_pair g = {e->last->grad_a, e->last->grad_b};
    float p = m->bert.head_dropout < 0 ? m->bert.dropout : m->bert.head_dropout;
    const bool direct = m->bert.pooling == RT_POOL_FIRST; /* the pooled vectors are the last layer's own rows */
    RT_TRY(be->dropout(be, &(rt_dropout_args){.batch = batch,
                                              .x = dpooled,
                                              .y = direct ? g.a : dpooled,
                                              .dropout = rt_encoder_dropout(e, pass, p, RT_SITE_POOLED),
                                              .hidden = h}));
    bool below = e->first_trainable < layers;
    if (e->has_pooler)
        RT_TRY(rt_linear_grad(m, &e->pooler,
                              &(rt_linear_gradient){.act = RT_ACT_TANH,
                                                    .x = e->last->layers[layers - 1].y,
                                                    .saved = e->last->pooled_raw,
                                                    .dy = dpooled,
                                                    .dy_dtype = be->act,
                                                    .dx = below ? g.a : NULL,
                                                    .rows = batch->n_seqs,
                                                    .with_bias = true,
                                                    .accumulate = accumulate}));
    else if (below && !direct)
        RT_TRY(be->mean_rows_backward(be,
                                      &(rt_rows_backward_args){.batch = batch, .dy = dpooled, .dx = g.a, .hidden = h}));
    RT_TRY(report(e, layers + 1, &to));
    for (int l = layers - 1; l >= e->first_trainable; l--) {
        bool need_dx = l > e->first_trainable || e->embeddings_trainable;
        /* What forward left in the shared buffers is the last layer's. */
        if (e->sizes.recompute && l < layers - 1) RT_TRY(rt_encoder_layer_forward(e, batch, pass, l));
        RT_TRY(layer_backward(e, batch, pass, l, need_dx, &g, accumulate, &to));
    }
    if (!e->embeddings_trainable) return RT_OK;
    RT_TRY(be->embed_backward(
        be, &(rt_embed_backward_args){.batch = batch,
                                      .word = rt_model_param(m, e->word),
                                      .position = rt_model_param(m, e->position),
                                      .type = rt_model_param(m, e->type),
                                      .gamma = rt_model_param(m, e->embed_norm.ln_gamma),
                                      .mean = e->last->embed_mean,
                                      .rstd = e->last->embed_rstd,
                                      .dropout = rt_encoder_dropout(e, pass, m->bert.dropout, RT_SITE_EMBEDDINGS),
                                      .dy = g.a,
                                      .dword = rt_model_grad(m, e->word),
                                      .dposition = rt_model_grad(m, e->position),
                                      .dtype = rt_model_grad(m, e->type),
                                      .dgamma = rt_model_grad(m, e->embed_norm.ln_gamma),
                                      .dbeta = rt_model_grad(m, e->embed_norm.ln_beta),
                                      .vocab = m->bert.vocab,
                                      .max_positions = m->bert.max_positions,
                                      .type_vocab = m->bert.type_vocab,
                                      .hidden = h,
                                      .accumulate = accumulate}));
    return report(e, 0, &to);
}
