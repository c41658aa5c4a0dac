/* y = LayerNorm(residual + dropout(x + bias)), row by row; a row passes through the cache once. */
#include "norm_row.h"
#include "op.h"
#include "token_walk.h"

/* Scratch: two rows for each thread, then partial sums of dbias, dgamma, dbeta for each block of rows. */
static inline int64_t row_floats(int64_t hidden) {
    return (hidden + 15) / 16 * 16;
}

size_t RT_OP(rt_cpu_need_residual_norm)(const rt_dims *dims, int threads) {
    int64_t rows = 2 * (int64_t)threads + (dims->training ? 3 * RT_BLOCKS_MAX : 0);
    return (size_t)(rows * row_floats(dims->hidden)) * sizeof(float);
}

static void forward_row(const rt_residual_norm_forward_args *a, const rt_mask *mask, int64_t row, uint32_t example,
                        uint32_t position, float *restrict z, float *restrict factor) {
    int64_t n = a->hidden;
    rt_act *x = (rt_act *)a->x + row * n, *y = (rt_act *)a->y + row * n;
    const rt_act *residual = (const rt_act *)a->residual + row * n;
    rt_load_row(z, x, n);
    if (a->bias) {
#pragma omp simd
        for (int64_t c = 0; c < n; c++) z[c] += a->bias[c];
    }
    if (mask->on) {
        rt_mask_hidden(factor, mask, example, position, n);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) z[c] *= factor[c];
    }
#pragma omp simd
    for (int64_t c = 0; c < n; c++) z[c] += rt_load(residual + c);
    float mean, rstd;
    rt_norm_statistics(z, n, a->eps, &mean, &rstd);
    rt_store_row(x, z, n);
    a->mean[row] = mean, a->rstd[row] = rstd;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) rt_store(y + c, a->gamma[c] * ((z[c] - mean) * rstd) + a->beta[c]);
}

rt_status RT_OP(rt_cpu_residual_norm_forward)(rt_backend *backend, const rt_residual_norm_forward_args *a) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    int64_t rows = rt_rows_of(a->batch, a->rows), floats = row_floats(a->hidden);
    void *scratch;
    RT_TRY(rt_check_hidden(a->batch, a->hidden, &a->dropout, "residual_norm_forward"));
    RT_TRY(rt_cpu_scratch(backend, (size_t)(2 * floats * cpu->threads) * sizeof(float), "residual_norm_forward",
                          &scratch));
    rt_mask mask = rt_mask_make(&a->dropout);
#pragma omp parallel num_threads(cpu->threads)
    {
        rt_span mine = rt_share(rows, 1);
        rt_walk walk = rt_walk_from(a->batch, a->rows, mine.begin);
        float *z = (float *)scratch + 2 * floats * omp_get_thread_num();
        for (int64_t row = mine.begin; row < mine.end; row++) {
            uint32_t example, position;
            rt_walk_to(&walk, row, &example, &position);
            forward_row(a, &mask, row, example, position, z, z + floats);
        }
    }
    return RT_OK;
}

/* z and g: scratch rows. sums: the block's dbias, dgamma, dbeta, `floats` apart. */
static void backward_row(const rt_residual_norm_backward_args *a, const rt_mask *mask, int64_t row, uint32_t example,
                         uint32_t position, float *restrict z, float *restrict g, float *restrict sums,
                         int64_t floats) {
    int64_t n = a->hidden;
    rt_act *dresidual = (rt_act *)a->dresidual + row * n, *dx = (rt_act *)a->dx + row * n;
    rt_load_row(z, (const rt_act *)a->z + row * n, n);
    rt_load_row(g, (const rt_act *)a->dy + row * n, n);
    rt_norm_backward(z, a->mean[row], a->rstd[row], a->gamma, g, n, g, sums + floats, sums + 2 * floats);
    rt_store_row(dresidual, g, n);
    if (mask->on) {
        rt_mask_hidden(z, mask, example, position, n);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) g[c] *= z[c];
    }
    rt_store_row(dx, g, n);
#pragma omp simd
    for (int64_t c = 0; c < n; c++) sums[c] += g[c];
}

rt_status RT_OP(rt_cpu_residual_norm_backward)(rt_backend *backend, const rt_residual_norm_backward_args *a) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    int64_t rows = rt_rows_of(a->batch, a->rows), floats = row_floats(a->hidden);
    int blocks = rt_row_blocks(rows);
    void *scratch;
    RT_TRY(rt_check_hidden(a->batch, a->hidden, &a->dropout, "residual_norm_backward"));
    RT_TRY(rt_cpu_scratch(backend, (size_t)(floats * (2 * cpu->threads + 3 * RT_BLOCKS_MAX)) * sizeof(float),
                          "residual_norm_backward", &scratch));
    rt_mask mask = rt_mask_make(&a->dropout);
    float *partials = (float *)scratch + 2 * floats * cpu->threads;
#pragma omp parallel for num_threads(cpu->threads) schedule(static)
    for (int block = 0; block < blocks; block++) {
        rt_span mine = rt_part(rows, blocks, block, 1);
        rt_walk walk = rt_walk_from(a->batch, a->rows, mine.begin);
        float *z = (float *)scratch + 2 * floats * omp_get_thread_num(), *sums = partials + 3 * floats * block;
        memset(sums, 0, (size_t)(3 * floats) * sizeof(float));
        for (int64_t row = mine.begin; row < mine.end; row++) {
            uint32_t example, position;
            rt_walk_to(&walk, row, &example, &position);
            backward_row(a, &mask, row, example, position, z, z + floats, sums, floats);
        }
    }
    float *to[3] = {a->dbias, a->dgamma, a->dbeta};
    for (int i = 0; i < 3; i++)
        if (to[i])
            rt_add_blocks(to[i], partials + i * floats, blocks, 3 * floats, a->hidden, a->accumulate, cpu->threads);
    return RT_OK;
}
