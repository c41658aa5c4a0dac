/* Dropout masks: those of every op against a scalar reference and against committed vectors, bit for bit; their rate;
 * and that they differ wherever they must. Masks are read off the ops' results: inputs are ones, so an element is kept
 * where the result is not 0. */
#include "data/dropout_vectors.h"
#include "op_case.h"

enum { WIDTH = 312, SEQS = 6 };
static const int lengths[SEQS] = {1, 2, 17, 48, 16, 40};

/* A generator of our own is checked first: vectors of the Philox authors (Random123, kat_vectors). */
static void reference_is_philox(void **state) {
    (void)state;
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        ref_philox(known[i], (uint64_t)known[i][5] << 32 | known[i][4], out);
        assert_memory_equal(out, known[i] + 6, sizeof out);
    }
}

typedef struct {
    rt_check *c;
    rt_backend *be;
    rt_dtype act;
    rt_batch batch;
    size_t tokens;
} mask_case;

static mask_case open_case(rt_precision precision) {
    rt_dims dims = {.max_tokens = 1024,
                    .max_seqs = SEQS,
                    .max_len = 512,
                    .hidden = WIDTH,
                    .heads = 3,
                    .vocab = 10,
                    .max_positions = 512,
                    .type_vocab = 2,
                    .training = true};
    mask_case m = {.c = rt_check_open(precision, 2, &dims)};
    m.be = rt_check_backend(m.c), m.act = m.be->act;
    m.batch = case_batch(m.c, lengths, SEQS, 10, 2);
    m.tokens = (size_t)m.batch.n_tokens;
    return m;
}

static void *filled(rt_check *c, rt_dtype dtype, size_t n, double value) {
    double *x = rt_check_doubles(c, n);
    for (size_t i = 0; i < n; i++) x[i] = value;
    void *to = rt_check_poison(c, dtype, n);
    rt_check_round(dtype, to, x, n);
    return to;
}

/* Kept elements of the op's y = dropout(ones) on [B, width]. */
static void pooled_mask(mask_case *m, const rt_dropout *drop, int width, unsigned char *kept) {
    size_t n = (size_t)(m->batch.n_seqs * width);
    void *y = filled(m->c, m->act, n, 1);
    rt_dropout_args a = {.batch = &m->batch, .x = y, .y = y, .dropout = *drop, .hidden = width}; /* in place */
    rt_check_ok(m->be->dropout(m->be, &a), "dropout");
    for (size_t i = 0; i < n; i++) {
        double x = rt_check_get(m->act, y, i), want = 1 / (1 - (double)drop->p);
        kept[i] = x != 0;
        /* 1 / (1 - p) to the rounding of its fp32 form and of the dtype, and nothing else. */
        if (kept[i] && !(fabs(x - want) <= (rt_check_roundoff(m->act) + 0x1p-23) * want))
            fail_msg("kept element %zu is %.9g instead of %.9g", i, x, want);
    }
}

/* Kept channels of each token: embeddings with gamma 0 and beta 1 are dropout(ones). */
static void embedding_mask(mask_case *m, const rt_dropout *drop, unsigned char *kept) {
    size_t n = m->tokens * WIDTH;
    void *y = rt_check_poison(m->c, m->act, n);
    float *table = rt_check_normal(m->c, RT_F32, 512 * WIDTH, 1, 1);
    rt_embed_forward_args a = {.batch = &m->batch,
                               .word = table,
                               .position = table,
                               .type = table,
                               .gamma = filled(m->c, RT_F32, WIDTH, 0),
                               .beta = filled(m->c, RT_F32, WIDTH, 1),
                               .eps = 1e-12f,
                               .dropout = *drop,
                               .y = y,
                               .mean = rt_check_poison(m->c, RT_F32, m->tokens),
                               .rstd = rt_check_poison(m->c, RT_F32, m->tokens),
                               .hidden = WIDTH};
    rt_check_ok(m->be->embed_forward(m->be, &a), "embed_forward");
    for (size_t i = 0; i < n; i++) kept[i] = rt_check_get(m->act, y, i) != 0;
}

/* The same of residual + dropout(x + bias), with x = 1 and no residual: z is dropout(ones). */
static void residual_mask(mask_case *m, const rt_dropout *drop, unsigned char *kept) {
    size_t n = m->tokens * WIDTH;
    rt_residual_norm_forward_args a = {.batch = &m->batch,
                                       .rows = RT_ROWS_TOKENS,
                                       .x = filled(m->c, m->act, n, 1),
                                       .residual = filled(m->c, m->act, n, 0),
                                       .gamma = filled(m->c, RT_F32, WIDTH, 1),
                                       .beta = filled(m->c, RT_F32, WIDTH, 0),
                                       .eps = 1e-12f,
                                       .dropout = *drop,
                                       .y = rt_check_poison(m->c, m->act, n),
                                       .mean = rt_check_poison(m->c, RT_F32, m->tokens),
                                       .rstd = rt_check_poison(m->c, RT_F32, m->tokens),
                                       .hidden = WIDTH};
    rt_check_ok(m->be->residual_norm_forward(m->be, &a), "residual_norm_forward");
    for (size_t i = 0; i < n; i++) kept[i] = rt_check_get(m->act, a.x, i) != 0;
}

/* Kept keys of one sequence: kept[(head * length + query) * length + key]. Without queries and keys all probabilities
 * are equal; values are unit vectors, so channel d of the output tells of key 64 chunk + d. */
static void attention_mask(mask_case *m, const rt_batch *batch, const rt_dropout *drop, int heads,
                           unsigned char *kept) {
    int length = batch->n_tokens, width = heads * 64;
    size_t n = (size_t)(length * width);
    void *zeros = filled(m->c, m->act, n, 0);
    for (int chunk = 0; 64 * chunk < length; chunk++) {
        double *unit = rt_check_doubles(m->c, n);
        for (int h = 0; h < heads; h++)
            for (int key = 64 * chunk; key < 64 * chunk + 64 && key < length; key++)
                unit[key * width + h * 64 + key % 64] = 1;
        void *v = rt_check_poison(m->c, m->act, n), *out = rt_check_poison(m->c, m->act, n);
        rt_check_round(m->act, v, unit, n);
        rt_attention_forward_args a = {.batch = batch,
                                       .q = zeros,
                                       .k = zeros,
                                       .v = v,
                                       .q_stride = width,
                                       .k_stride = width,
                                       .v_stride = width,
                                       .out = out,
                                       .out_stride = width,
                                       .heads = heads,
                                       .head_dim = 64,
                                       .scale = 0.125f,
                                       .dropout = *drop};
        rt_check_ok(m->be->attention_forward(m->be, &a), "attention_forward");
        for (int h = 0; h < heads; h++)
            for (int query = 0; query < length; query++)
                for (int key = 64 * chunk; key < 64 * chunk + 64 && key < length; key++)
                    kept[(h * length + query) * length + key] =
                        rt_check_get(m->act, out, (size_t)(query * width + h * 64 + key % 64)) != 0;
    }
}

static void masks_equal_the_reference(void **state) {
    (void)state;
    static const float rates[] = {0.1f, 0.5f, 0.999f, 0x1p-32f, 1e-12f};
    for (size_t i = 0; i < 2 * COUNT(rates); i++) {
        mask_case m = open_case(case_precisions[i % 2]);
        rt_dropout drop = case_dropout(m.c, rates[i / 2], RT_SITE_POOLED);
        size_t n = m.tokens * WIDTH;
        unsigned char *pooled = rt_check_buffer(m.c, SEQS * WIDTH), *embedded = rt_check_buffer(m.c, n);
        unsigned char *residual = rt_check_buffer(m.c, n);
        pooled_mask(&m, &drop, WIDTH, pooled);
        embedding_mask(&m, &drop, embedded);
        residual_mask(&m, &drop, residual);
        for (int b = 0; b < SEQS; b++) {
            for (int ch = 0; ch < WIDTH; ch++)
                assert_int_equal(pooled[b * WIDTH + ch], ref_keep_hidden(&drop, m.batch.example_id[b], 0, ch));
            for (int t = m.batch.cu_seqlens[b]; t < m.batch.cu_seqlens[b + 1]; t++)
                for (int ch = 0; ch < WIDTH; ch++) {
                    int want = ref_keep_hidden(&drop, m.batch.example_id[b], t - m.batch.cu_seqlens[b], ch);
                    assert_int_equal(embedded[t * WIDTH + ch], want);
                    assert_int_equal(residual[t * WIDTH + ch], want);
                }
        }
        static const int sizes[] = {1, 15, 17, 48, 300};
        for (size_t s = 0; s < COUNT(sizes); s++) {
            rt_batch one = case_batch(m.c, &sizes[s], 1, 10, 2);
            unsigned char *kept = rt_check_buffer(m.c, (size_t)(3 * sizes[s] * sizes[s]));
            attention_mask(&m, &one, &drop, 3, kept);
            for (int h = 0; h < 3; h++)
                for (int query = 0; query < sizes[s]; query++)
                    for (int key = 0; key < sizes[s]; key++)
                        assert_int_equal(kept[(h * sizes[s] + query) * sizes[s] + key],
                                         ref_keep_attention(&drop, one.example_id[0], h, query, key));
        }
        rt_check_close(m.c);
    }
}

static void masks_equal_the_vectors(void **state) {
    (void)state;
    mask_case m = open_case(RT_PRECISION_FP32);
    rt_step_state *step = case_state(m.c, 0);
    uint32_t *example = (uint32_t *)m.batch.example_id;
    for (size_t i = 0; i < COUNT(hidden_vectors); i++) {
        const hidden_vector *v = &hidden_vectors[i];
        rt_dropout drop = {.p = v->p, .site = v->site, .view = v->view, .seed = v->seed, .state = step};
        unsigned char *kept = rt_check_buffer(m.c, m.tokens * WIDTH);
        step->step = v->step, example[3] = v->example; /* the sequence of 48 tokens */
        embedding_mask(&m, &drop, kept);
        for (int ch = 0; ch < 64; ch++) {
            int want = (int)(v->kept >> ch & 1);
            assert_int_equal(kept[(m.batch.cu_seqlens[3] + v->position) * WIDTH + ch], want);
            assert_int_equal(ref_keep_hidden(&drop, v->example, v->position, ch), want);
        }
    }
    int length = 128;
    rt_batch one = case_batch(m.c, &length, 1, 10, 2);
    for (size_t i = 0; i < COUNT(attention_vectors); i++) {
        const attention_vector *v = &attention_vectors[i];
        rt_dropout drop = {.p = v->p, .site = v->site, .view = v->view, .seed = v->seed, .state = step};
        unsigned char *kept = rt_check_buffer(m.c, 12 * 128 * 128);
        step->step = v->step, one.example_id = &v->example;
        attention_mask(&m, &one, &drop, 12, kept);
        for (int key = 0; key < 64; key++) {
            int want = (int)(v->kept >> key & 1);
            assert_int_equal(kept[(v->head * 128 + v->query) * 128 + v->first + key], want);
            assert_int_equal(ref_keep_attention(&drop, v->example, v->head, v->query, v->first + key), want);
        }
    }
    rt_check_close(m.c);
}

/* The number kept of n is binomial: within 4 standard deviations of n (1 - p). */
static void assert_rate(const char *what, const unsigned char *kept, size_t n, double p) {
    double count = 0;
    for (size_t i = 0; i < n; i++) count += kept[i];
    double deviation = sqrt((double)n * p * (1 - p));
    if (!(fabs(count - (double)n * (1 - p)) <= 4 * deviation))
        fail_msg("%s: kept %.0f of %zu at p = %g", what, count, n, p);
}

/* Two independent masks agree in p^2 + (1 - p)^2 of their places, again within 4 deviations. */
static void assert_independent(const char *what, const unsigned char *a, const unsigned char *b, size_t n, double p) {
    double same = 0, expected = p * p + (1 - p) * (1 - p);
    for (size_t i = 0; i < n; i++) same += a[i] == b[i];
    if (!(fabs(same - (double)n * expected) <= 4 * sqrt((double)n * expected * (1 - expected))))
        fail_msg("%s: %.0f of %zu places agree, expected %.0f", what, same, n, (double)n * expected);
}

static void rates_and_differences(void **state) {
    (void)state;
    mask_case m = open_case(RT_PRECISION_FP32);
    enum { CHANGES = 6 };
    static const char *const changes[CHANGES] = {"as it was", "step", "view", "site", "seed", "example"};
    size_t hidden = m.tokens * WIDTH, pairs = 3 * 128 * 128;
    unsigned char *channels[CHANGES], *keys[CHANGES];
    int length = 128;
    rt_batch one = case_batch(m.c, &length, 1, 10, 2);
    uint32_t *example = (uint32_t *)m.batch.example_id, *only = (uint32_t *)one.example_id;
    for (int i = 0; i < CHANGES; i++) {
        rt_dropout drop = case_dropout(m.c, 0.3f, 8);
        if (i == 1) ((rt_step_state *)drop.state)->step++;
        if (i == 2) drop.view++;
        if (i == 3) drop.site++;
        if (i == 4) drop.seed++;
        for (int b = 0; b < SEQS && i == 5; b++) example[b]++;
        if (i == 5) only[0]++;
        channels[i] = rt_check_buffer(m.c, hidden), keys[i] = rt_check_buffer(m.c, pairs);
        embedding_mask(&m, &drop, channels[i]);
        attention_mask(&m, &one, &drop, 3, keys[i]);
        assert_rate("hidden", channels[i], hidden, (double)drop.p);
        assert_rate("attention", keys[i], pairs, (double)drop.p);
        for (int k = 0; k < i; k++) {
            assert_independent(changes[i], channels[k], channels[i], hidden, (double)drop.p);
            assert_independent(changes[i], keys[k], keys[i], pairs, (double)drop.p);
        }
    }
    /* Heads, queries and positions. */
    double p = (double)0.3f;
    assert_independent("heads 0 and 1", keys[0], keys[0] + 128 * 128, 128 * 128, p);
    assert_independent("queries", keys[0], keys[0] + 128, 128 * 127, p);
    size_t at = (size_t)m.batch.cu_seqlens[3] * WIDTH;
    assert_independent("positions", channels[0] + at, channels[0] + at + WIDTH, 47 * WIDTH, p);
    assert_independent("channels", channels[0] + at, channels[0] + at + 4, 47 * WIDTH, p);
    rt_check_close(m.c);
}

/* keep iff word >= threshold: a p whose threshold is some channel's very word (a multiple of 256, so that p is exact in
 * fp32) keeps this channel, in every op. */
static void threshold_is_kept(void **state) {
    (void)state;
    mask_case m = open_case(RT_PRECISION_FP32);
    rt_dropout drop = case_dropout(m.c, 0.5f, 8);
    unsigned char *kept = rt_check_buffer(m.c, m.tokens * WIDTH), *keys = rt_check_buffer(m.c, 3 * 64 * 64);
    int length = 64, found = 0, pooled = 0;
    rt_batch one = case_batch(m.c, &length, 1, 10, 2);
    for (uint32_t example = 0; example < 40; example++)
        for (int t = 0; t < 48; t++)
            for (int i = 0; i < 64; i++) {
                bool attention = example % 2;
                uint32_t word[4], hidden[4] = {41, example, 8u << 16 | 3, (uint32_t)t << 16 | (uint32_t)(i / 4)};
                uint32_t heads[4] = {41, example, 8u << 16 | 3, 1u << 24 | (uint32_t)t << 12 | (uint32_t)(i / 4)};
                ref_philox(attention ? heads : hidden, drop.seed, word);
                if (word[i % 4] % 256 || (t > 0 && found > 20)) continue;
                drop.p = (float)word[i % 4] * 0x1p-32f, found++;
                if (attention) {
                    int key = 16 * (i / 16) + 2 * (i / 4 % 4) + (i % 4 & 1) + 8 * (i % 4 >> 1);
                    one.example_id = &example;
                    attention_mask(&m, &one, &drop, 3, keys);
                    assert_int_equal(keys[(64 + t) * 64 + key], 1);
                } else {
                    ((uint32_t *)m.batch.example_id)[3] = example, ((uint32_t *)m.batch.example_id)[0] = example;
                    embedding_mask(&m, &drop, kept);
                    assert_int_equal(kept[(m.batch.cu_seqlens[3] + t) * WIDTH + i], 1);
                    pooled_mask(&m, &drop, WIDTH, kept);
                    if (t == 0) pooled++, assert_int_equal(kept[i], 1);
                }
            }
    assert_true(found > 10 && pooled > 1);
    rt_check_close(m.c);
}

/* p = 0 is a copy, also where no step state is at hand; wrong arguments are refused. */
static void edges(void **state) {
    (void)state;
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        mask_case m = open_case(case_precisions[p]);
        size_t n = SEQS * WIDTH;
        void *x = rt_check_normal(m.c, m.act, n, 1, 1), *y = rt_check_poison(m.c, m.act, n);
        rt_dropout_args a = {.batch = &m.batch, .x = x, .y = y, .hidden = WIDTH};
        rt_check_ok(m.be->dropout(m.be, &a), "p = 0");
        rt_check_same("y", m.act, y, x, n);
        a.dropout.p = 0.1f;
        rt_check_fails(RT_ESHAPE, m.be->dropout(m.be, &a), "no step state");
        a.dropout = case_dropout(m.c, 1, 1);
        rt_check_fails(RT_ESHAPE, m.be->dropout(m.be, &a), "p = 1");
        a.dropout.p = 0.1f, a.hidden = 10;
        rt_check_fails(RT_ESHAPE, m.be->dropout(m.be, &a), "width 10");
        rt_batch empty = case_batch(m.c, NULL, 0, 10, 2);
        a.hidden = WIDTH, a.batch = &empty;
        rt_check_ok(m.be->dropout(m.be, &a), "empty");
        rt_check_close(m.c);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_philox),     cmocka_unit_test(masks_equal_the_reference),
        cmocka_unit_test(masks_equal_the_vectors), cmocka_unit_test(rates_and_differences),
        cmocka_unit_test(threshold_is_kept),       cmocka_unit_test(edges),
    };
    return rt_check_main(argc, argv, tests, COUNT(tests));
}
