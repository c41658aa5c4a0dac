/* y = dropout(LayerNorm(word + position + type)), and the gradients of the three tables. */
#include "norm_row.h"
#include "op.h"
#include "token_walk.h"

/* Scratch: three rows for each thread, then partial sums of dgamma and dbeta for each block of rows. */
static inline int64_t row_floats(int64_t hidden) {
    return (hidden + 15) / 16 * 16;
}

size_t RT_OP(rt_cpu_need_embed)(const rt_dims *dims, int threads) {
    int64_t rows = 3 * (int64_t)threads + (dims->training ? 2 * RT_BLOCKS_MAX : 0);
    return (size_t)(rows * row_floats(dims->hidden)) * sizeof(float);
}

static inline void add_tables(float *restrict sum, const rt_batch *batch, const float *word, const float *position,
                              const float *type, int64_t token, int64_t n) {
    word += batch->input_ids[token] * n, position += batch->positions[token] * n, type += batch->types[token] * n;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) sum[c] = word[c] + position[c] + type[c];
}

static void forward_token(const rt_embed_forward_args *a, const rt_mask *mask, int64_t token, uint32_t example,
                          uint32_t position, float *restrict sum, float *restrict factor) {
    int64_t n = a->hidden;
    float mean, rstd;
    add_tables(sum, a->batch, a->word, a->position, a->type, token, n);
    rt_norm_statistics(sum, n, a->eps, &mean, &rstd);
    a->mean[token] = mean, a->rstd[token] = rstd;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) sum[c] = a->gamma[c] * ((sum[c] - mean) * rstd) + a->beta[c];
    if (mask->on) {
        rt_mask_hidden(factor, mask, example, position, n);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) sum[c] *= factor[c];
    }
    rt_store_row((rt_act *)a->y + token * n, sum, n);
}

rt_status RT_OP(rt_cpu_embed_forward)(rt_backend *backend, const rt_embed_forward_args *a) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    int64_t floats = row_floats(a->hidden);
    void *scratch;
    RT_TRY(rt_check_hidden(a->batch, a->hidden, &a->dropout, "embed_forward"));
    RT_TRY(rt_cpu_scratch(backend, (size_t)(3 * floats * cpu->threads) * sizeof(float), "embed_forward", &scratch));
    rt_mask mask = rt_mask_make(&a->dropout);
#pragma omp parallel num_threads(cpu->threads)
    {
        rt_span mine = rt_share(a->batch->n_tokens, 1);
        rt_walk walk = rt_walk_from(a->batch, RT_ROWS_TOKENS, mine.begin);
        float *sum = (float *)scratch + 3 * floats * omp_get_thread_num();
        for (int64_t token = mine.begin; token < mine.end; token++) {
            uint32_t example, position;
            rt_walk_to(&walk, token, &example, &position);
            forward_token(a, &mask, token, example, position, sum, sum + floats);
        }
    }
    return RT_OK;
}

/* dy of one token becomes the gradient of the sum. */
static void backward_token(const rt_embed_backward_args *a, const rt_mask *mask, int64_t token, uint32_t example,
                           uint32_t position, float *restrict sum, float *restrict g, float *restrict factor,
                           float *restrict dgamma, float *restrict dbeta) {
    int64_t n = a->hidden;
    rt_act *dy = (rt_act *)a->dy + token * n;
    add_tables(sum, a->batch, a->word, a->position, a->type, token, n);
    rt_load_row(g, dy, n);
    if (mask->on) {
        rt_mask_hidden(factor, mask, example, position, n);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) g[c] *= factor[c];
    }
    rt_norm_backward(sum, a->mean[token], a->rstd[token], a->gamma, g, n, g, dgamma, dbeta);
    rt_store_row(dy, g, n);
}

static inline void add_row(float *restrict to, const rt_act *restrict from, int64_t n) {
#pragma omp simd
    for (int64_t c = 0; c < n; c++) to[c] += rt_load(from + c);
}

static void zero_table(float *table, int64_t n, int threads) {
#pragma omp parallel num_threads(threads)
    {
        rt_span mine = rt_share(n, 1024);
        memset(table + mine.begin, 0, (size_t)(mine.end - mine.begin) * sizeof(float));
    }
}

/* The first place at or after i where a new word begins. */
static inline int64_t word_border(const rt_batch *batch, int64_t i) {
    const int32_t *ids = batch->input_ids, *sorted = batch->sorted_tokens;
    while (i > 0 && i < batch->n_tokens && ids[sorted[i]] == ids[sorted[i - 1]]) i++;
    return i;
}

/* Threads share the sorted tokens, cut where words begin: so each row has one writer, who adds its tokens in order. */
static void add_words(const rt_embed_backward_args *a, int threads) {
    const int32_t *sorted = a->batch->sorted_tokens;
    int64_t n = a->hidden;
#pragma omp parallel num_threads(threads)
    {
        rt_span mine = rt_share(a->batch->n_tokens, 1);
        int64_t end = word_border(a->batch, mine.end);
        for (int64_t i = word_border(a->batch, mine.begin); i < end; i++)
            add_row(a->dword + a->batch->input_ids[sorted[i]] * n, (const rt_act *)a->dy + sorted[i] * n, n);
    }
}

/* A position's row is summed over the sequences in order. */
static void add_positions(const rt_embed_backward_args *a, int64_t longest, int threads) {
    const rt_batch *batch = a->batch;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int64_t position = 0; position < longest; position++)
        for (int b = 0; b < batch->n_seqs; b++) {
            int64_t token = batch->cu_seqlens[b] + position;
            if (token < batch->cu_seqlens[b + 1])
                add_row(a->dposition + position * a->hidden, (const rt_act *)a->dy + token * a->hidden, a->hidden);
        }
}

/* Few rows with very many tokens each: threads share the columns. Stretches of one type, of at most 64 tokens, are
 * summed apart first, which keeps long sums exact. */
static void add_types(const rt_embed_backward_args *a, int threads) {
    enum { COLUMNS = 64, STRETCH = 64 };
    const int32_t *types = a->batch->types;
    int64_t total = a->batch->n_tokens, n = a->hidden;
#pragma omp parallel num_threads(threads)
    {
        rt_span mine = rt_share(n, 16);
        for (int64_t c0 = mine.begin; c0 < mine.end; c0 += COLUMNS) {
            int64_t columns = mine.end - c0 < COLUMNS ? mine.end - c0 : COLUMNS;
            for (int64_t token = 0, end; token < total; token = end) {
                float sum[COLUMNS] = {0};
                for (end = token; end < total && end < token + STRETCH && types[end] == types[token]; end++)
                    add_row(sum, (const rt_act *)a->dy + end * n + c0, columns);
                float *to = a->dtype + types[token] * n + c0;
                for (int64_t c = 0; c < columns; c++) to[c] += sum[c];
            }
        }
    }
}

static rt_status check_ids(const rt_embed_backward_args *a, int64_t longest) {
    const rt_batch *batch = a->batch;
    if (longest > a->max_positions)
        return rt_fail(RT_ESHAPE, "embed_backward: a sequence of %lld tokens, but %lld rows of positions",
                       (long long)longest, (long long)a->max_positions);
    for (int64_t t = 0; t < batch->n_tokens; t++) {
        int64_t id = batch->input_ids[t], position = batch->positions[t], type = batch->types[t];
        if (id < 0 || id >= a->vocab || position < 0 || position >= a->max_positions || type < 0 ||
            type >= a->type_vocab)
            return rt_fail(RT_ESHAPE,
                           "embed_backward: token %lld has id %lld, position %lld, type %lld; the tables have %lld, "
                           "%lld, %lld rows",
                           (long long)t, (long long)id, (long long)position, (long long)type, (long long)a->vocab,
                           (long long)a->max_positions, (long long)a->type_vocab);
        int64_t sorted = batch->sorted_tokens ? batch->sorted_tokens[t] : 0;
        if (sorted < 0 || sorted >= batch->n_tokens)
            return rt_fail(RT_ESHAPE, "embed_backward: sorted_tokens[%lld] is %lld, of %d tokens", (long long)t,
                           (long long)sorted, batch->n_tokens);
    }
    if (a->dword && !batch->sorted_tokens && batch->n_tokens)
        return rt_fail(RT_ESHAPE, "embed_backward: the word table's gradient needs the batch's sorted_tokens");
    return RT_OK;
}

rt_status RT_OP(rt_cpu_embed_backward)(rt_backend *backend, const rt_embed_backward_args *a) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    const rt_batch *batch = a->batch;
    int64_t rows = batch->n_tokens, floats = row_floats(a->hidden), longest = 0;
    int blocks = rt_row_blocks(rows), threads = cpu->threads;
    void *scratch;
    RT_TRY(rt_check_hidden(batch, a->hidden, &a->dropout, "embed_backward"));
    for (int b = 0; b < batch->n_seqs; b++) {
        int64_t length = batch->cu_seqlens[b + 1] - batch->cu_seqlens[b];
        if (length > longest) longest = length;
    }
    RT_TRY(check_ids(a, longest));
    RT_TRY(rt_cpu_scratch(backend, (size_t)(floats * (3 * threads + 2 * RT_BLOCKS_MAX)) * sizeof(float),
                          "embed_backward", &scratch));
    rt_mask mask = rt_mask_make(&a->dropout);
    float *partials = (float *)scratch + 3 * floats * threads;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int block = 0; block < blocks; block++) {
        rt_span mine = rt_part(rows, blocks, block, 1);
        rt_walk walk = rt_walk_from(batch, RT_ROWS_TOKENS, mine.begin);
        float *sum = (float *)scratch + 3 * floats * omp_get_thread_num(), *sums = partials + 2 * floats * block;
        memset(sums, 0, (size_t)(2 * floats) * sizeof(float));
        for (int64_t token = mine.begin; token < mine.end; token++) {
            uint32_t example, position;
            rt_walk_to(&walk, token, &example, &position);
            backward_token(a, &mask, token, example, position, sum, sum + floats, sum + 2 * floats, sums,
                           sums + floats);
        }
    }
    if (a->dgamma) rt_add_blocks(a->dgamma, partials, blocks, 2 * floats, a->hidden, a->accumulate, threads);
    if (a->dbeta) rt_add_blocks(a->dbeta, partials + floats, blocks, 2 * floats, a->hidden, a->accumulate, threads);
    if (!a->accumulate) {
        if (a->dword) zero_table(a->dword, a->vocab * a->hidden, threads);
        if (a->dposition) zero_table(a->dposition, a->max_positions * a->hidden, threads);
        if (a->dtype) zero_table(a->dtype, a->type_vocab * a->hidden, threads);
    }
    if (a->dword) add_words(a, threads);
    if (a->dposition) add_positions(a, longest, threads);
    if (a->dtype) add_types(a, threads);
    return RT_OK;
}
