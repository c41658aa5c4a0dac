#include "encoder.h"
#include <math.h>

static rt_status residual_norm(rt_encoder *e, const rt_batch *batch, const rt_pass *pass, rt_rows rows, int site,
                               int bias, rt_norm_rows norm, void *x, const void *residual, void *y, float *mean,
                               float *rstd) {
    rt_model *m = e->model;
    return m->be->residual_norm_forward(
        m->be, &(rt_residual_norm_forward_args){.batch = batch,
                                                .rows = rows,
                                                .x = x,
                                                .bias = rt_model_param(m, bias),
                                                .residual = residual,
                                                .gamma = rt_model_param(m, norm.ln_gamma),
                                                .beta = rt_model_param(m, norm.ln_beta),
                                                .eps = m->bert.layer_norm_eps,
                                                .dropout = rt_encoder_dropout(e, pass, m->bert.dropout, site),
                                                .y = y,
                                                .mean = mean,
                                                .rstd = rstd,
                                                .hidden = m->bert.hidden});
}

rt_status rt_encoder_layer_forward(rt_encoder *e, const rt_batch *batch, const rt_pass *pass, int l) {
    rt_model *m = e->model;
    rt_backend *be = m->be;
    const rt_layer_rows *r = &e->layers[l];
    rt_layer_acts *a = &e->last->layers[l];
    const int64_t h = m->bert.hidden;
    const bool first = e->first_rows && l == m->bert.layers - 1;
    const rt_rows which = first ? RT_ROWS_FIRST : RT_ROWS_TOKENS;
    const int64_t tokens = rt_encoder_token_rows(e, batch), rows = first ? batch->n_seqs : tokens;
    const size_t size = rt_dtype_size(be->act);
    const void *residual = a->x;
    rt_attention_forward_args attention = {
        .batch = batch,
        .queries = which,
        .out = a->ctx,
        .out_stride = h,
        .lse = a->lse,
        .heads = m->bert.heads,
        .head_dim = (int32_t)(h / m->bert.heads),
        .scale = 1.0f / sqrtf((float)(h / m->bert.heads)),
        .dropout = rt_encoder_dropout(e, pass, m->bert.attention_dropout, 8 * l + RT_SITE_ATTENTION_PROBS)};
    if (first) {
        RT_TRY(be->select_rows_forward(
            be, &(rt_rows_forward_args){.batch = batch, .x = a->x, .y = a->x_first, .hidden = h}));
        residual = a->x_first;
        RT_TRY(rt_linear_apply(
            m, &r->q,
            &(rt_linear_run){.x = a->x_first, .y = a->q_first, .y_dtype = be->act, .rows = rows, .with_bias = true}));
        RT_TRY(rt_linear_apply(
            m, &r->kv,
            &(rt_linear_run){.x = a->x, .y = a->qkv, .y_dtype = be->act, .rows = tokens, .with_bias = true}));
        attention.q = a->q_first, attention.q_stride = h;
        attention.k = a->qkv, attention.v = (const char *)a->qkv + (size_t)h * size;
        attention.k_stride = attention.v_stride = 2 * h;
    } else {
        RT_TRY(rt_linear_apply(
            m, &r->qkv,
            &(rt_linear_run){.x = a->x, .y = a->qkv, .y_dtype = be->act, .rows = tokens, .with_bias = true}));
        attention.q = a->qkv;
        attention.k = (const char *)a->qkv + (size_t)h * size;
        attention.v = (const char *)a->qkv + (size_t)(2 * h) * size;
        attention.q_stride = attention.k_stride = attention.v_stride = 3 * h;
    }
    RT_TRY(be->attention_forward(be, &attention));
    RT_TRY(
        rt_linear_apply(m, &r->attn_out, &(rt_linear_run){.x = a->ctx, .y = a->z1, .y_dtype = be->act, .rows = rows}));
    RT_TRY(residual_norm(e, batch, pass, which, 8 * l + RT_SITE_ATTENTION_OUTPUT, r->attn_out.bias, r->norm1, a->z1,
                         residual, a->y1, a->mean1, a->rstd1));
    RT_TRY(rt_linear_apply(m, &r->ffn_in,
                           &(rt_linear_run){.act = RT_ACT_GELU,
                                            .x = a->y1,
                                            .y = a->gelu,
                                            .y_dtype = be->act,
                                            .pre = pass->training ? a->pre : NULL,
                                            .rows = rows,
                                            .with_bias = true}));
    RT_TRY(
        rt_linear_apply(m, &r->ffn_out, &(rt_linear_run){.x = a->gelu, .y = a->z2, .y_dtype = be->act, .rows = rows}));
    return residual_norm(e, batch, pass, which, 8 * l + RT_SITE_FEED_FORWARD, r->ffn_out.bias, r->norm2, a->z2, a->y1,
                         a->y, a->mean2, a->rstd2);
}

static rt_status pool(rt_encoder *e, const rt_batch *batch, const rt_pass *pass) {
    rt_model *m = e->model;
    const void *x = e->last->layers[m->bert.layers - 1].y, *raw = e->last->pooled_raw;
    if (m->bert.pooling == RT_POOL_FIRST)
        raw = x;
    else if (e->has_pooler)
        RT_TRY(rt_linear_apply(m, &e->pooler,
                               &(rt_linear_run){.act = RT_ACT_TANH,
                                                .x = x,
                                                .y = e->last->pooled_raw,
                                                .y_dtype = m->be->act,
                                                .rows = batch->n_seqs,
                                                .with_bias = true}));
    else
        RT_TRY(m->be->mean_rows_forward(
            m->be,
            &(rt_rows_forward_args){.batch = batch, .x = x, .y = e->last->pooled_raw, .hidden = m->bert.hidden}));
    float p = m->bert.head_dropout < 0 ? m->bert.dropout : m->bert.head_dropout;
    return m->be->dropout(m->be, &(rt_dropout_args){.batch = batch,
                                                    .x = raw,
                                                    .y = e->last->pooled,
                                                    .dropout = rt_encoder_dropout(e, pass, p, RT_SITE_POOLED),
                                                    .hidden = m->bert.hidden});
}

rt_status rt_encoder_forward(rt_encoder *e, const rt_batch *batch, const rt_pass *pass) {
    rt_model *m = e->model;
    RT_TRY(rt_encoder_bind(e, batch, pass->training));
    RT_TRY(m->be->embed_forward(
        m->be, &(rt_embed_forward_args){.batch = batch,
                                        .word = rt_model_param(m, e->word),
                                        .position = rt_model_param(m, e->position),
                                        .type = rt_model_param(m, e->type),
                                        .gamma = rt_model_param(m, e->embed_norm.ln_gamma),
                                        .beta = rt_model_param(m, e->embed_norm.ln_beta),
                                        .eps = m->bert.layer_norm_eps,
                                        .dropout = rt_encoder_dropout(e, pass, m->bert.dropout, RT_SITE_EMBEDDINGS),
                                        .y = e->last->layers[0].x,
                                        .mean = e->last->embed_mean,
                                        .rstd = e->last->embed_rstd,
                                        .hidden = m->bert.hidden}));
    for (int l = 0; l < m->bert.layers; l++) RT_TRY(rt_encoder_layer_forward(e, batch, pass, l));
    return pool(e, batch, pass);
}
