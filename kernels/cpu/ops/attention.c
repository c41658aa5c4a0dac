/* Attention forward. A thread takes one head of one sequence: keys and values are copied once into floats laid out for
 * the products, then tiles of query rows go through scores, softmax, dropout and values. The division by the softmax's
 * sum is done on the output, which is shorter than a row of scores. */
#include "attention.h"

size_t RT_OP(rt_cpu_need_attention)(const rt_dims *dims, int threads) {
    int64_t dim = dims->heads > 0 ? dims->hidden / dims->heads : 0;
    return (size_t)rt_attention_floats(dims->max_len, dim, dims->training) * sizeof(float) * (size_t)threads;
}

/* The greatest of n numbers, n a multiple of RT_LANES. NaN loses, and then shows in whatever is made of the row. (As a
 * simd reduction it would need -ffinite-math-only with some compilers.) */
static inline float greatest(const float *p, int64_t n) {
    rt_vector most = *(const rt_vector_at *)p;
    for (int64_t j = RT_LANES; j < n; j += RT_LANES) {
        rt_vector next = *(const rt_vector_at *)(p + j);
        rt_vector_bits more = next > most;
        most = (rt_vector)((more & (rt_vector_bits)next) | (~more & (rt_vector_bits)most));
    }
    float top = most[0];
    for (int i = 1; i < RT_LANES; i++) top = most[i] > top ? most[i] : top;
    return top;
}

/* One row of scores becomes e^(scale s - its maximum), with 0 in the columns beyond the keys up to whole vectors. Gives
 * the row's maximum and sum. */
static inline void softmax_row(float *p, int64_t keys, int64_t padded, float scale, float *top, float *sum) {
    for (int64_t j = keys; j < padded; j++) p[j] = -INFINITY;
    float most = greatest(p, padded) * scale, total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < padded; j++) {
        p[j] = rt_expf(p[j] * scale - most);
        total += p[j];
    }
    *top = most, *sum = total;
}

static void forward_head(const rt_attention_forward_args *f, const rt_mask *mask, rt_attention_head at,
                         float *scratch) {
    int64_t dim = f->head_dim, width = rt_lanes_up(dim), keys = at.length, padded = rt_lanes_up(keys);
    int64_t tile = rt_attention_tile_rows(padded), shift = at.head * dim;
    if (tile > at.queries) tile = at.queries;
    rt_carver carver = {scratch};
    float *key = rt_carve(&carver, rt_panel_up(keys) * dim), *value = rt_carve(&carver, keys * rt_panel_up(dim));
    float *p = rt_carve(&carver, tile * padded), *q = rt_carve(&carver, tile * width);
    float *o = rt_carve(&carver, tile * width), *inverse = rt_carve(&carver, tile);
    float *factor = rt_carve(&carver, padded + 16);
    rt_pack_turned(key, (const rt_act *)f->k + at.first * f->k_stride + shift, f->k_stride, keys, dim);
    rt_pack_straight(value, (const rt_act *)f->v + at.first * f->v_stride + shift, f->v_stride, keys, dim);
    for (int64_t i0 = 0; i0 < at.queries; i0 += tile) {
        int64_t rows = at.queries - i0 < tile ? at.queries - i0 : tile, row0 = at.query + i0;
        rt_act *out = (rt_act *)f->out + row0 * f->out_stride + shift;
        rt_pack_rows(q, (const rt_act *)f->q + row0 * f->q_stride + shift, f->q_stride, rows, dim, width);
        rt_multiply(&(rt_product){.m = rows,
                                  .n = padded,
                                  .depth = dim,
                                  .a = q,
                                  .a_row = width,
                                  .a_column = 1,
                                  .b = key,
                                  .b_row = RT_PANEL,
                                  .b_panel = dim * RT_PANEL,
                                  .c = p,
                                  .c_row = padded});
        for (int64_t i = 0; i < rows; i++) {
            float top, sum;
            softmax_row(p + i * padded, keys, padded, f->scale, &top, &sum);
            inverse[i] = 1.0f / sum;
            if (f->lse) f->lse[at.head * at.rows + row0 + i] = top + logf(sum);
            if (!mask->on) continue;
            rt_attention_factors(factor, mask, f->batch->example_id[at.sequence], (uint32_t)at.head, (uint32_t)(i0 + i),
                                 keys);
#pragma omp simd
            for (int64_t j = 0; j < keys; j++) p[i * padded + j] *= factor[j];
        }
        bool direct = !RT_OP_BF16 && width == dim; /* the product can write the output itself */
        rt_multiply(&(rt_product){.m = rows,
                                  .n = width,
                                  .depth = keys,
                                  .a = p,
                                  .a_row = padded,
                                  .a_column = 1,
                                  .b = value,
                                  .b_row = RT_PANEL,
                                  .b_panel = keys * RT_PANEL,
                                  .c = direct ? (float *)(void *)out : o,
                                  .c_row = direct ? f->out_stride : width,
                                  .row_scale = inverse});
        for (int64_t i = 0; i < rows && !direct; i++) rt_store_row(out + i * f->out_stride, o + i * width, dim);
    }
}

/* Only with one query a sequence can a sequence without tokens own a row. */
static void empty_head(const rt_attention_forward_args *f, rt_attention_head at) {
    for (int64_t i = 0; i < at.queries; i++) {
        rt_act *out = (rt_act *)f->out + (at.query + i) * f->out_stride + at.head * f->head_dim;
        for (int64_t d = 0; d < f->head_dim; d++) rt_store(out + d, 0.0f);
        if (f->lse) f->lse[at.head * at.rows + at.query + i] = 0;
    }
}

rt_status RT_OP(rt_cpu_attention_forward)(rt_backend *backend, const rt_attention_forward_args *f) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    int64_t longest;
    void *scratch;
    RT_TRY(rt_attention_check(f, "attention_forward", &longest));
    int64_t floats = rt_attention_floats(longest, f->head_dim, false);
    int64_t pairs = (int64_t)f->batch->n_seqs * f->heads;
    RT_TRY(
        rt_cpu_scratch(backend, (size_t)floats * sizeof(float) * (size_t)cpu->threads, "attention_forward", &scratch));
    rt_mask mask = rt_mask_make(&f->dropout);
    int chunk = rt_attention_chunk(pairs, cpu->threads);
#pragma omp parallel for num_threads(cpu->threads) schedule(dynamic, chunk)
    for (int64_t pair = 0; pair < pairs; pair++) {
        rt_attention_head at = rt_attention_at(f, pair);
        if (at.length)
            forward_head(f, &mask, at, (float *)scratch + floats * omp_get_thread_num());
        else
            empty_head(f, at);
    }
    return RT_OK;
}
