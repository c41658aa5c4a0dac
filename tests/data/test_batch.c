/* Packed micro-batches. */
#include "data/batch.h"
#include "tests/data/set.h"

static rt_tokenizer *tok;
static rt_dataset *ds;

static int set_up(void **state) {
    if (make_folder(state) != 0) return -1;
    tok = make_tokenizer("", false);
    /* Lengths 6, 4, 5, 8. */
    const char *files[] = {write_text("t.tsv", "a\tb\ty\nred shoe\tblue\t1\nred\t\t0\na\tb\t1\na b c\td d\t0\n")};
    rt_data_spec spec = make_spec(files, 1);
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    return 0;
}

static int tear_down(void **state) {
    rt_dataset_close(ds);
    rt_tokenizer_free(tok);
    return drop_folder(state);
}

static void a_batch_is_packed(void **state) {
    (void)state;
    rt_batch_buffer b;
    const uint32_t rows[] = {2, 0, 1};
    const float scales[] = {0.5f, 0.25f, 2};
    assert_int_equal(rt_batch_buffer_new(70, 5, &b), RT_OK);
    /* Poison: what must be written is written. */
    memset(b.memory, 0xEE, b.bytes);
    assert_int_equal(rt_batch_fill(&b, ds, rows, 3, scales, true), RT_OK);
    const int32_t ids[] = {CLS, W_A, SEP, W_B, SEP, CLS, W_RED, W_SHOE, SEP, W_BLUE, SEP, CLS, W_RED, SEP, SEP};
    const int32_t positions[] = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3};
    const int32_t types[] = {0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1};
    const int32_t cu[] = {0, 5, 11, 15, 15, 15};
    const float scale[] = {0.5f, 0.25f, 2, 0, 0};
    const int32_t labels[] = {1, 1, 0, 0, 0};
    const uint32_t example[] = {2, 0, 1, 0, 0};
    const int32_t sorted[] = {0, 5, 11, 2, 4, 8, 10, 13, 14, 1, 3, 6, 12, 9, 7};
    assert_int_equal(b.batch.n_tokens, 15);
    assert_int_equal(b.batch.bucket, 64);
    assert_int_equal(b.batch.n_seqs, 3);
    assert_int_equal(b.batch.capacity, 5);
    assert_int_equal(b.batch.max_len, 6);
    assert_memory_equal(b.batch.input_ids, ids, sizeof ids);
    assert_memory_equal(b.batch.positions, positions, sizeof positions);
    assert_memory_equal(b.batch.types, types, sizeof types);
    assert_memory_equal(b.batch.cu_seqlens, cu, sizeof cu);
    assert_memory_equal(b.batch.row_scale, scale, sizeof scale);
    assert_memory_equal(b.batch.labels, labels, sizeof labels);
    assert_memory_equal(b.batch.example_id, example, sizeof example);
    assert_memory_equal(b.batch.sorted_tokens, sorted, sizeof sorted);
    for (int t = 15; t < 64; t++) {
        assert_int_equal(b.batch.input_ids[t], 0);
        assert_int_equal(b.batch.positions[t], 0);
        assert_int_equal(b.batch.types[t], 0);
    }
    rt_batch_buffer_free(&b);
    rt_batch_buffer_free(NULL);
}

static void empty_and_unindexed_batches(void **state) {
    (void)state;
    rt_batch_buffer b;
    const uint32_t rows[] = {3};
    assert_int_equal(rt_batch_buffer_new(8, 1, &b), RT_OK);
    assert_int_equal(rt_batch_fill(&b, ds, rows, 0, NULL, true), RT_OK);
    assert_int_equal(b.batch.n_tokens, 0);
    assert_int_equal(b.batch.bucket, 0);
    assert_int_equal(b.batch.n_seqs, 0);
    assert_int_equal(b.batch.cu_seqlens[0], 0);
    assert_int_equal(b.batch.cu_seqlens[1], 0);
    assert_int_equal(rt_batch_fill(&b, ds, rows, 1, NULL, false), RT_OK);
    assert_null(b.batch.sorted_tokens);
    assert_int_equal(b.batch.n_tokens, 8);
    assert_true(b.batch.row_scale[0] == 0);
    assert_int_equal(rt_batch_fill(&b, ds, rows, 1, NULL, true), RT_OK);
    assert_non_null(b.batch.sorted_tokens);
    rt_batch_buffer_free(&b);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    rt_batch_buffer b;
    const uint32_t rows[] = {0, 1, 4};
    assert_int_equal(rt_batch_buffer_new(9, 2, &b), RT_OK);
    assert_int_equal(rt_batch_fill(&b, ds, rows, 1, NULL, true), RT_OK);
    assert_int_equal(rt_batch_fill(&b, ds, rows, 2, NULL, true), RT_EINTERNAL);
    assert_int_equal(rt_batch_fill(&b, ds, rows, 3, NULL, true), RT_EINTERNAL);
    assert_int_equal(rt_batch_fill(&b, ds, rows + 2, 1, NULL, true), RT_EINTERNAL);
    assert_int_equal(rt_batch_fill(&b, ds, rows, -1, NULL, true), RT_EINTERNAL);
    /* By hand the same. */
    const int32_t ids[] = {CLS, W_RED, SEP, W_D, SEP};
    rt_batch_begin(&b);
    assert_int_equal(rt_batch_add(&b, ids, 5, 3, 1, 0.5f, 7), RT_OK);
    assert_int_equal(rt_batch_add(&b, ids, 5, 3, 1, 0.5f, 8), RT_EINTERNAL);
    assert_int_equal(rt_batch_add(&b, ids, -1, 0, 1, 0.5f, 8), RT_EINTERNAL);
    assert_int_equal(rt_batch_add(&b, ids, 3, 3, 0, 0.25f, 9), RT_OK);
    assert_int_equal(rt_batch_add(&b, ids, 1, 1, 0, 0.25f, 9), RT_EINTERNAL);
    rt_batch_finish(&b, true);
    const int32_t types[] = {0, 0, 0, 1, 1, 0, 0, 0}, cu[] = {0, 5, 8}, sorted[] = {0, 5, 2, 4, 7, 3, 1, 6};
    const uint32_t examples[] = {7, 9};
    assert_int_equal(b.batch.n_tokens, 8);
    assert_int_equal(b.batch.max_len, 5);
    assert_memory_equal(b.batch.types, types, sizeof types);
    assert_memory_equal(b.batch.cu_seqlens, cu, sizeof cu);
    assert_memory_equal(b.batch.example_id, examples, sizeof examples);
    assert_memory_equal(b.batch.sorted_tokens, sorted, sizeof sorted);
    rt_batch_buffer_free(&b);
    assert_int_equal(rt_batch_buffer_new(0, 2, &b), RT_EINTERNAL);
    assert_int_equal(rt_batch_buffer_new(INT32_MAX, 2, &b), RT_EINTERNAL);
}

/* The index against the plain definition, over vocabularies that need one, two and (barely) more digits. */
static void the_index_is_sorted_and_stable(void **state) {
    (void)state;
    const int sizes[] = {4000, 5000, 70000};
    for (int v = 0; v < 3; v++) {
        rt_text vocab = {0}, rows = {0};
        rt_text_puts(&vocab, vocab_text);
        for (int i = 0; i < sizes[v]; i++) rt_text_printf(&vocab, "w%d\n", i);
        rt_text_puts(&rows, "a\ty\n");
        for (uint32_t i = 0; i < 40; i++) {
            for (uint32_t j = 0; j < 1 + i % 14; j++)
                rt_text_printf(&rows, "w%u ", (i * 977 + j * j * 7919) % (uint32_t)sizes[v]);
            rt_text_puts(&rows, "\t1\n");
        }
        rt_tokenizer_options options = rt_tokenizer_defaults();
        rt_tokenizer *wide;
        assert_int_equal(rt_tokenizer_from_vocab(vocab.data, vocab.size, "vocab.txt", &options, &wide), RT_OK);
        const char *files[] = {write_text("index.tsv", rows.data)};
        rt_data_spec spec = make_spec(files, 1);
        spec.text_b = NULL;
        rt_dataset *set;
        assert_int_equal(rt_dataset_open(&spec, wide, NULL, NULL, NULL, &set), RT_OK);
        uint32_t order[40];
        for (uint32_t i = 0; i < 40; i++) order[i] = i * 7 % 40;
        rt_batch_buffer b;
        assert_int_equal(rt_batch_buffer_new(1000, 40, &b), RT_OK);
        assert_int_equal(rt_batch_fill(&b, set, order, 40, NULL, true), RT_OK);
        unsigned char seen[1000] = {0};
        for (int i = 0; i < b.batch.n_tokens; i++) {
            int32_t t = b.batch.sorted_tokens[i];
            assert_true(t >= 0 && t < b.batch.n_tokens);
            assert_int_equal(seen[t]++, 0);
            if (i == 0) continue;
            int32_t before = b.batch.sorted_tokens[i - 1];
            assert_true(b.batch.input_ids[before] < b.batch.input_ids[t] ||
                        (b.batch.input_ids[before] == b.batch.input_ids[t] && before < t));
        }
        rt_batch_buffer_free(&b);
        rt_dataset_close(set);
        rt_tokenizer_free(wide);
        rt_text_free(&vocab);
        rt_text_free(&rows);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_packed),
        cmocka_unit_test(empty_and_unindexed_batches),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(the_index_is_sorted_and_stable),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
