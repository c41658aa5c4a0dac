/* The CUDA dropout masks in the emulator: bit-equal to the reference, to the committed vectors and to the CPU's. */
#include "emulated.h"
/* The ops' own tests */
#include "../kernels/test_dropout.c"
#undef main

/* Hidden masks of the three ops that draw them, at every rate of the CPU's own test. */
static void hidden_masks_equal_the_reference(void **state) {
    (void)state;
    static const float rates[] = {0.1f, 0.5f, 0.999f, 0x1p-32f, 1e-12f};
    for (size_t i = 0; i < 2 * COUNT(rates); i++) {
        mask_case m = open_case(case_precisions[i % 2]);
        rt_dropout drop = case_dropout(m.c, rates[i / 2], RT_SITE_POOLED);
        unsigned char *pooled = rt_check_buffer(m.c, SEQS * WIDTH);
        unsigned char *embedded = rt_check_buffer(m.c, m.tokens * WIDTH);
        unsigned char *residual = rt_check_buffer(m.c, m.tokens * WIDTH);
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
        rt_check_close(m.c);
    }
}

/* Attention's, of both kernels; sizes of every tile. And of one query a sequence: the same mask's row 0. */
static void attention_masks_equal_the_reference(void **state) {
    (void)state;
    static const float rates[] = {0.1f, 0x1p-32f, 0.5f, 0.999f};
    static const int sizes[] = {1, 15, 17, 48, 90, 150};
    for (size_t i = 0; i < COUNT(rates); i++) {
        mask_case m = open_case(case_precisions[i % 2]);
        rt_dropout drop = case_dropout(m.c, rates[i], 8 * 3 + RT_SITE_ATTENTION_PROBS);
        for (size_t s = 0; s < COUNT(sizes); s++) {
            const int n = sizes[s];
            rt_batch one = case_batch(m.c, &n, 1, 10, 2);
            unsigned char *kept = rt_check_buffer(m.c, (size_t)(3 * n * n));
            attention_mask(&m, &one, &drop, 3, kept);
            for (int h = 0; h < 3; h++)
                for (int query = 0; query < n; query++)
                    for (int key = 0; key < n; key++)
                        assert_int_equal(kept[(h * n + query) * n + key],
                                         ref_keep_attention(&drop, one.example_id[0], h, query, key));
        }
        enum { WIDE = 3 * 64, KEYS = 48 }; /* sequence 3; values are unit vectors, so channel d tells of key d */
        double *unit = rt_check_doubles(m.c, m.tokens * WIDE);
        for (int key = 0; key < KEYS; key++)
            for (int h = 0; h < 3; h++) unit[(m.batch.cu_seqlens[3] + key) * WIDE + h * 64 + key] = 1;
        void *v = rt_check_poison(m.c, m.act, m.tokens * WIDE), *zeros = filled(m.c, m.act, m.tokens * WIDE, 0);
        void *out = rt_check_poison(m.c, m.act, SEQS * WIDE);
        rt_check_round(m.act, v, unit, m.tokens * WIDE);
        rt_attention_forward_args a = {.batch = &m.batch,
                                       .queries = RT_ROWS_FIRST,
                                       .q = zeros,
                                       .k = zeros,
                                       .v = v,
                                       .q_stride = WIDE,
                                       .k_stride = WIDE,
                                       .v_stride = WIDE,
                                       .out = out,
                                       .out_stride = WIDE,
                                       .heads = 3,
                                       .head_dim = 64,
                                       .scale = 0.125f,
                                       .dropout = drop};
        rt_check_ok(m.be->attention_forward(m.be, &a), "attention_forward");
        for (int key = 0; key < KEYS; key++)
            for (int h = 0; h < 3; h++)
                assert_int_equal(rt_check_get(m.act, out, (size_t)(3 * WIDE + h * 64 + key)) != 0,
                                 ref_keep_attention(&drop, m.batch.example_id[3], h, 0, key));
        rt_check_close(m.c);
    }
}

/* The op's results beside the CPU's, bit for bit: x times 0 or the scale, rounded once. Many sequences, some empty, so
 * that the search for a token's sequence takes more than one round. */
static void results_equal_the_cpu(void **state) {
    (void)state;
    enum { MANY = 1100, SIZE = 8 };
    static int sizes[MANY];
    for (int i = 0; i < MANY; i++) sizes[i] = i % 7 == 3 ? 0 : 1 + i % 3;
    for (int precision = 0; precision < 2; precision++) {
        rt_dims dims = {
            .max_tokens = 4096, .max_seqs = MANY, .max_len = 64, .hidden = SIZE, .heads = 1, .training = true};
        rt_check *c = rt_check_open(case_precisions[precision], 5, &dims);
        rt_check *host = cpu_open(case_precisions[precision], &dims);
        rt_backend *be[2] = {rt_check_backend(c), cpu_backend(host)};
        rt_dtype act = be[0]->act;
        rt_batch batch = case_batch(c, sizes, MANY, 10, 2);
        rt_dropout drop = case_dropout(c, 0.3f, RT_SITE_POOLED);
        size_t n = (size_t)batch.n_tokens * SIZE;
        void *x = rt_check_normal(c, act, MANY * SIZE, 1, 1), *pooled[2], *z[2];
        for (int i = 0; i < 2; i++) {
            pooled[i] = rt_check_poison(c, act, MANY * SIZE), z[i] = filled(c, act, n, 1);
            rt_dropout_args d = {.batch = &batch, .x = x, .y = pooled[i], .dropout = drop, .hidden = SIZE};
            rt_check_ok(be[i]->dropout(be[i], &d), "dropout");
            rt_residual_norm_forward_args r = {.batch = &batch,
                                               .rows = RT_ROWS_TOKENS,
                                               .x = z[i],
                                               .residual = filled(c, act, n, 0),
                                               .gamma = filled(c, RT_F32, SIZE, 1),
                                               .beta = filled(c, RT_F32, SIZE, 0),
                                               .eps = 1e-12f,
                                               .dropout = drop,
                                               .y = rt_check_poison(c, act, n),
                                               .mean = rt_check_poison(c, RT_F32, (size_t)batch.n_tokens),
                                               .rstd = rt_check_poison(c, RT_F32, (size_t)batch.n_tokens),
                                               .hidden = SIZE};
            rt_check_ok(be[i]->residual_norm_forward(be[i], &r), "residual_norm");
        }
        rt_check_same("dropout", act, pooled[0], pooled[1], MANY * SIZE);
        rt_check_same("z", act, z[0], z[1], n);
        cpu_close(host);
        rt_check_close(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hidden_masks_equal_the_reference),
        cmocka_unit_test(attention_masks_equal_the_reference),
        cmocka_unit_test(masks_equal_the_vectors),
        cmocka_unit_test(threshold_is_kept),
        cmocka_unit_test(results_equal_the_cpu),
        cmocka_unit_test(edges),
    };
    return emulated_main(tests, COUNT(tests));
}
