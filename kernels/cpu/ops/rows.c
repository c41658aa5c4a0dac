/* One row a sequence out of one a token (the first, or the mean), back again, and dropout on such rows. */
#include "op.h"
#include "token_walk.h"

rt_status RT_OP(rt_cpu_select_rows_forward)(rt_backend *backend, const rt_rows_forward_args *a) {
    int64_t n = a->hidden;
    const rt_batch *batch = a->batch;
    RT_TRY(rt_check_hidden(batch, n, NULL, "select_rows_forward"));
#pragma omp parallel for num_threads(rt_cpu_of(backend)->threads) schedule(static)
    for (int b = 0; b < batch->n_seqs; b++) {
        rt_act *to = (rt_act *)a->y + b * n;
        if (batch->cu_seqlens[b + 1] == batch->cu_seqlens[b])
            memset(to, 0, (size_t)n * sizeof *to);
        else
            memcpy(to, (const rt_act *)a->x + batch->cu_seqlens[b] * n, (size_t)n * sizeof *to);
    }
    return RT_OK;
}

rt_status RT_OP(rt_cpu_mean_rows_forward)(rt_backend *backend, const rt_rows_forward_args *a) {
    enum { COLUMNS = 64 };
    int64_t n = a->hidden, pieces = (n + COLUMNS - 1) / COLUMNS;
    const rt_batch *batch = a->batch;
    RT_TRY(rt_check_hidden(batch, n, NULL, "mean_rows_forward"));
    /* Pieces of columns, whose sums stay in registers or nearly so; they also give many threads work on few rows. */
#pragma omp parallel for num_threads(rt_cpu_of(backend)->threads) schedule(static)
    for (int64_t item = 0; item < batch->n_seqs * pieces; item++) {
        int64_t b = item / pieces, c0 = item % pieces * COLUMNS, columns = n - c0 < COLUMNS ? n - c0 : COLUMNS;
        int64_t first = batch->cu_seqlens[b], end = batch->cu_seqlens[b + 1];
        float sum[COLUMNS] = {0}, length = end > first ? (float)(end - first) : 1.0f;
        for (int64_t row = first; row < end; row++) {
            const rt_act *from = (const rt_act *)a->x + row * n + c0;
#pragma omp simd
            for (int64_t c = 0; c < columns; c++) sum[c] += rt_load(from + c);
        }
        rt_act *to = (rt_act *)a->y + b * n + c0;
        for (int64_t c = 0; c < columns; c++) rt_store(to + c, sum[c] / length);
    }
    return RT_OK;
}

/* dx = dx_add + dy[sequence] / divisor in rows that take part, else dx_add alone. */
static void scatter_row(const rt_rows_backward_args *a, int64_t row, int sequence, bool takes_part, float divisor) {
    int64_t n = a->hidden;
    rt_act *dx = (rt_act *)a->dx + row * n;
    const rt_act *add = a->dx_add ? (const rt_act *)a->dx_add + row * n : NULL;
    const rt_act *dy = (const rt_act *)a->dy + sequence * n;
    if (!takes_part) {
        if (!add)
            memset(dx, 0, (size_t)n * sizeof *dx);
        else if (add != dx)
            memcpy(dx, add, (size_t)n * sizeof *dx);
    } else if (add) {
#pragma omp simd
        for (int64_t c = 0; c < n; c++) rt_store(dx + c, rt_load(dy + c) / divisor + rt_load(add + c));
    } else {
#pragma omp simd
        for (int64_t c = 0; c < n; c++) rt_store(dx + c, rt_load(dy + c) / divisor);
    }
}

static rt_status scatter(rt_backend *backend, const rt_rows_backward_args *a, bool mean, const char *op) {
    const rt_batch *batch = a->batch;
    RT_TRY(rt_check_hidden(batch, a->hidden, NULL, op));
#pragma omp parallel num_threads(rt_cpu_of(backend)->threads)
    {
        rt_span mine = rt_share(batch->n_tokens, 1);
        rt_walk walk = rt_walk_from(batch, RT_ROWS_TOKENS, mine.begin);
        for (int64_t row = mine.begin; row < mine.end; row++) {
            uint32_t example, position;
            rt_walk_to(&walk, row, &example, &position);
            const int32_t *border = batch->cu_seqlens + walk.sequence;
            scatter_row(a, row, walk.sequence, mean || position == 0, mean ? (float)(border[1] - border[0]) : 1.0f);
        }
    }
    return RT_OK;
}

rt_status RT_OP(rt_cpu_select_rows_backward)(rt_backend *backend, const rt_rows_backward_args *a) {
    return scatter(backend, a, false, "select_rows_backward");
}

rt_status RT_OP(rt_cpu_mean_rows_backward)(rt_backend *backend, const rt_rows_backward_args *a) {
    return scatter(backend, a, true, "mean_rows_backward");
}

rt_status RT_OP(rt_cpu_dropout)(rt_backend *backend, const rt_dropout_args *a) {
    enum { COLUMNS = 256 };
    const rt_batch *batch = a->batch;
    RT_TRY(rt_check_hidden(batch, a->hidden, &a->dropout, "dropout"));
    rt_mask mask = rt_mask_make(&a->dropout);
#pragma omp parallel for num_threads(rt_cpu_of(backend)->threads) schedule(static)
    for (int b = 0; b < batch->n_seqs; b++) {
        const rt_act *x = (const rt_act *)a->x + b * a->hidden;
        rt_act *y = (rt_act *)a->y + b * a->hidden;
        if (!mask.on) {
            if (x != y) memcpy(y, x, (size_t)a->hidden * sizeof *y);
            continue;
        }
        for (int64_t c0 = 0; c0 < a->hidden; c0 += COLUMNS) {
            uint32_t words[COLUMNS];
            int64_t columns = a->hidden - c0 < COLUMNS ? a->hidden - c0 : COLUMNS;
            rt_mask_words(words, &mask, batch->example_id[b], (uint32_t)(c0 / 4), (int)(columns / 4));
#pragma omp simd
            for (int64_t c = 0; c < columns; c++) {
                float factor = words[c] >= mask.threshold ? mask.scale : 0.0f;
                rt_store(y + c0 + c, rt_load(x + c0 + c) * factor);
            }
        }
    }
    return RT_OK;
}
