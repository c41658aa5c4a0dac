/* Attention backward, head by head as in forward. Probabilities come back from scores and the saved log-sum-exp. A tile
 * holds whole rows, so delta = sum_j p_j dp_j is summed as it stands (Dao et al. 2022 take the equal sum of dout out,
 * which in bf16 carries the rounding of out). With s = scale q k, p = softmax(s), m = mask / (1 - dropout):
 *   dv = (p m)^T dout   dp = m (dout v^T)   ds = p (dp - delta)   dq = scale ds k   dk = scale ds^T q */
#include "attention.h"

/* Row i of a tile: scores become p m, products dout v become scale ds. */
static inline void gradient_row(float *p, float *g, const float *factor, int64_t keys, int64_t padded, float scale,
                                float lse) {
    for (int64_t j = keys; j < padded; j++) p[j] = -INFINITY;
    float delta = 0;
    if (factor) {
#pragma omp simd reduction(+ : delta)
        for (int64_t j = 0; j < padded; j++) {
            p[j] = rt_expf(p[j] * scale - lse);
            g[j] *= factor[j];
            delta += p[j] * g[j];
        }
#pragma omp simd
        for (int64_t j = 0; j < padded; j++) {
            g[j] = p[j] * (g[j] - delta) * scale;
            p[j] *= factor[j];
        }
    } else {
#pragma omp simd reduction(+ : delta)
        for (int64_t j = 0; j < padded; j++) {
            p[j] = rt_expf(p[j] * scale - lse);
            delta += p[j] * g[j];
        }
#pragma omp simd
        for (int64_t j = 0; j < padded; j++) g[j] = p[j] * (g[j] - delta) * scale;
    }
}

static void backward_head(const rt_attention_backward_args *a, const rt_mask *mask, rt_attention_head at,
                          float *scratch) {
    const rt_attention_forward_args *f = &a->f;
    int64_t dim = f->head_dim, width = rt_lanes_up(dim), keys = at.length, padded = rt_lanes_up(keys);
    int64_t tile = rt_attention_tile_rows(padded), shift = at.head * dim;
    if (tile > at.queries) tile = at.queries;
    rt_carver carver = {scratch};
    float *key_turned = rt_carve(&carver, rt_panel_up(keys) * dim);
    float *value_turned = rt_carve(&carver, rt_panel_up(keys) * dim);
    float *key = rt_carve(&carver, keys * rt_panel_up(dim));
    float *dk = rt_carve(&carver, keys * width), *dv = rt_carve(&carver, keys * width);
    float *p = rt_carve(&carver, tile * padded), *g = rt_carve(&carver, tile * padded);
    float *q = rt_carve(&carver, tile * width), *dout = rt_carve(&carver, tile * width);
    float *dq = rt_carve(&carver, tile * width), *factor = rt_carve(&carver, padded + 16);
    const rt_act *k_from = (const rt_act *)f->k + at.first * f->k_stride + shift;
    rt_pack_turned(key_turned, k_from, f->k_stride, keys, dim);
    rt_pack_turned(value_turned, (const rt_act *)f->v + at.first * f->v_stride + shift, f->v_stride, keys, dim);
    rt_pack_straight(key, k_from, f->k_stride, keys, dim);
    for (int64_t j = keys; j < padded + 16; j++) factor[j] = 0;
    for (int64_t i0 = 0; i0 < at.queries; i0 += tile) {
        int64_t rows = at.queries - i0 < tile ? at.queries - i0 : tile, row0 = at.query + i0;
        rt_pack_rows(q, (const rt_act *)f->q + row0 * f->q_stride + shift, f->q_stride, rows, dim, width);
        rt_pack_rows(dout, (const rt_act *)a->dout + row0 * f->out_stride + shift, f->out_stride, rows, dim, width);
        rt_product scores = {.m = rows,
                             .n = padded,
                             .depth = dim,
                             .a = q,
                             .a_row = width,
                             .a_column = 1,
                             .b = key_turned,
                             .b_row = RT_PANEL,
                             .b_panel = dim * RT_PANEL,
                             .c = p,
                             .c_row = padded};
        rt_multiply(&scores);
        scores.a = dout, scores.b = value_turned, scores.c = g;
        rt_multiply(&scores);
        for (int64_t i = 0; i < rows; i++) {
            if (mask->on)
                rt_attention_factors(factor, mask, f->batch->example_id[at.sequence], (uint32_t)at.head,
                                     (uint32_t)(i0 + i), keys);
            gradient_row(p + i * padded, g + i * padded, mask->on ? factor : NULL, keys, padded, f->scale,
                         f->lse[at.head * at.rows + row0 + i]);
        }
        rt_product to_keys = {.m = keys,
                              .n = width,
                              .depth = rows,
                              .a = p,
                              .a_row = 1,
                              .a_column = padded,
                              .b = dout,
                              .b_row = width,
                              .b_panel = RT_PANEL,
                              .c = dv,
                              .c_row = width,
                              .add = i0 > 0};
        rt_multiply(&to_keys);
        to_keys.a = g, to_keys.b = q, to_keys.c = dk;
        rt_multiply(&to_keys);
        rt_multiply(&(rt_product){.m = rows,
                                  .n = width,
                                  .depth = keys,
                                  .a = g,
                                  .a_row = padded,
                                  .a_column = 1,
                                  .b = key,
                                  .b_row = RT_PANEL,
                                  .b_panel = keys * RT_PANEL,
                                  .c = dq,
                                  .c_row = width});
        for (int64_t i = 0; i < rows; i++)
            rt_store_row((rt_act *)a->dq + (row0 + i) * a->dq_stride + shift, dq + i * width, dim);
    }
    for (int64_t j = 0; j < keys; j++) {
        rt_store_row((rt_act *)a->dk + (at.first + j) * a->dk_stride + shift, dk + j * width, dim);
        rt_store_row((rt_act *)a->dv + (at.first + j) * a->dv_stride + shift, dv + j * width, dim);
    }
}

rt_status RT_OP(rt_cpu_attention_backward)(rt_backend *backend, const rt_attention_backward_args *a) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    const rt_attention_forward_args *f = &a->f;
    int64_t longest, width = (int64_t)f->heads * f->head_dim;
    void *scratch;
    RT_TRY(rt_attention_check(f, "attention_backward", &longest));
    if (a->dq_stride < width || a->dk_stride < width || a->dv_stride < width)
        return rt_fail(RT_ESHAPE, "attention_backward: row strides dq %lld, dk %lld, dv %lld; at least %lld each",
                       (long long)a->dq_stride, (long long)a->dk_stride, (long long)a->dv_stride, (long long)width);
    if (f->batch->n_seqs && !f->lse)
        return rt_fail(RT_ESHAPE, "attention_backward: no log-sum-exp; the forward pass must save it");
    int64_t floats = rt_attention_floats(longest, f->head_dim, true);
    int64_t pairs = (int64_t)f->batch->n_seqs * f->heads;
    RT_TRY(
        rt_cpu_scratch(backend, (size_t)floats * sizeof(float) * (size_t)cpu->threads, "attention_backward", &scratch));
    rt_mask mask = rt_mask_make(&f->dropout);
    int chunk = rt_attention_chunk(pairs, cpu->threads);
#pragma omp parallel for num_threads(cpu->threads) schedule(dynamic, chunk)
    for (int64_t pair = 0; pair < pairs; pair++) {
        rt_attention_head at = rt_attention_at(f, pair);
        if (at.length) {
            backward_head(a, &mask, at, (float *)scratch + floats * omp_get_thread_num());
            continue;
        }
        for (int64_t i = 0; i < at.queries; i++) /* one query a sequence, and none of its keys there */
            for (int64_t d = 0; d < f->head_dim; d++)
                rt_store((rt_act *)a->dq + (at.query + i) * a->dq_stride + at.head * f->head_dim + d, 0.0f);
    }
    return RT_OK;
}
