/* The untrained cosine: packed pairs against each text run through the encoder alone. */
#include "base/file.h"
#include "eval/baseline.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { HIDDEN = 16, TOKENS = 24, SEQS = 6 };

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nblue\nlamp\ntent\nfor\nthe\nwoods\n";
/* The third row has an empty text_b, the fourth two equal texts; the fifth and sixth share text_a. */
static const char *const texts[][2] = {{"red lamp", "lamp for the woods"},
                                       {"tent", "blue"},
                                       {"red", ""},
                                       {"the blue tent", "the blue tent"},
                                       {"woods woods woods", "red blue red blue"},
                                       {"woods woods woods", "tent"},
                                       {"woods woods", "tent"}};
enum { ROWS = sizeof texts / sizeof texts[0] };

typedef struct {
    char folder[64], path[128];
    rt_tokenizer *tok;
    rt_dataset *ds;
    rt_backend *be;
    rt_param_table table;
    rt_model model;
    rt_encoder encoder;
} fixture;

static void make(fixture *f, rt_pooling pooling) {
    memset(f, 0, sizeof *f);
    strcpy(f->folder, "/tmp/rt-baseline-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/rows.tsv", f->folder);
    rt_text tsv = {0};
    rt_text_puts(&tsv, "a\tb\tlabel\n");
    for (int i = 0; i < ROWS; i++) rt_text_printf(&tsv, "%s\t%s\t%d\n", texts[i][0], texts[i][1], i % 2);
    assert_int_equal(rt_file_write_atomic(f->path, tsv.data, tsv.size), RT_OK);
    rt_text_free(&tsv);
    rt_tokenizer_options options = rt_tokenizer_defaults();
    assert_int_equal(rt_tokenizer_from_vocab(vocab, strlen(vocab), "vocab", &options, &f->tok), RT_OK);
    const char *files[] = {f->path}, *labels[] = {"0", "1"};
    rt_data_spec spec = {.files = files,
                         .n_files = 1,
                         .text_a = "a",
                         .text_b = "b",
                         .label = "label",
                         .labels = labels,
                         .n_labels = 2,
                         .need_label = true,
                         .encode = {.max_length = 16},
                         .threads = 1};
    assert_int_equal(rt_dataset_open(&spec, f->tok, NULL, NULL, NULL, &f->ds), RT_OK);
    assert_int_equal(rt_dataset_rows(f->ds), ROWS);

    assert_int_equal(rt_cpu_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32, .threads = 1}, &f->be),
                     RT_OK);
    rt_bert bert = rt_bert_default();
    bert.hidden = HIDDEN, bert.layers = 2, bert.heads = 2, bert.ffn = 32;
    bert.vocab = rt_tokenizer_size(f->tok), bert.max_positions = 32, bert.pooling = pooling;
    bert.initializer_range = 0.5f; /* far from linear, so that a wrong batch would show */
    assert_int_equal(rt_encoder_add_params(&f->table, &bert), RT_OK);
    assert_int_equal(rt_param_table_finish(&f->table, &(rt_freeze){.layer_decay = 1, .n_layers = bert.layers}), RT_OK);
    assert_int_equal(rt_model_new(f->be, &bert, &f->table, false, &f->model), RT_OK);
    for (int row = 0; row < f->table.n; row++) assert_int_equal(rt_model_init_row(&f->model, row, 7), RT_OK);
    rt_encoder_sizes sizes = {.eval_tokens = TOKENS, .eval_seqs = SEQS, .max_len = 16};
    assert_int_equal(rt_encoder_new(&f->model, &sizes, &f->encoder), RT_OK);
    assert_int_equal(rt_model_pack(&f->model, false), RT_OK);
}

static void unmake(fixture *f) {
    rt_encoder_free(&f->encoder);
    rt_model_free(&f->model);
    rt_param_table_free(&f->table);
    f->be->close(f->be);
    rt_dataset_close(f->ds);
    rt_tokenizer_free(f->tok);
    unlink(f->path);
    rmdir(f->folder);
}

static void embed_alone(fixture *f, const char *text, float *vector) {
    _Alignas(256) int32_t ids[64] = {0}, positions[64] = {0}, types[64] = {0}, cu[64] = {0}, labels[64] = {0};
    _Alignas(256) float scale[64] = {0};
    _Alignas(256) uint32_t example[64] = {0};
    rt_tok_scratch *scratch = rt_tok_scratch_new();
    rt_tok_stats stats = {0};
    int n, split;
    assert_int_equal(rt_encode(f->tok, scratch, &(rt_encode_options){.max_length = 16}, text, strlen(text), NULL, 0,
                               ids, &n, &split, &stats),
                     RT_OK);
    rt_tok_scratch_free(scratch);
    for (int t = 0; t < n; t++) positions[t] = t;
    for (int s = 1; s <= SEQS; s++) cu[s] = n;
    rt_batch batch = {.input_ids = ids,
                      .positions = positions,
                      .types = types,
                      .cu_seqlens = cu,
                      .row_scale = scale,
                      .labels = labels,
                      .example_id = example,
                      .n_tokens = n,
                      .bucket = 64,
                      .n_seqs = 1,
                      .capacity = SEQS,
                      .max_len = n};
    assert_int_equal(rt_encoder_forward(&f->encoder, &batch, &(rt_pass){0}), RT_OK);
    assert_int_equal(f->be->download(f->be, vector, f->encoder.last->pooled, HIDDEN * sizeof *vector), RT_OK);
}

static void test_cosine(void **state) {
    (void)state;
    fixture f;
    double scores[ROWS];
    make(&f, RT_POOL_MEAN);
    assert_int_equal(rt_baseline_cosine(&f.encoder, f.ds, TOKENS, SEQS, NULL, scores), RT_OK);
    for (int i = 0; i < ROWS; i++) {
        float a[HIDDEN], b[HIDDEN];
        double ab = 0, aa = 0, bb = 0;
        embed_alone(&f, texts[i][0], a);
        embed_alone(&f, texts[i][1], b);
        for (int k = 0; k < HIDDEN; k++)
            ab += (double)a[k] * b[k], aa += (double)a[k] * a[k], bb += (double)b[k] * b[k];
        /* The same fp32 operations on the same numbers, perhaps summed in another order where rows are blocked:
         * products of 32 terms, two layers, so some hundred roundings of 2^-24. */
        if (!(fabs(scores[i] - ab / sqrt(aa * bb)) < 200 * 0x1p-24))
            fail_msg("row %d: %g, not %g", i, scores[i], ab / sqrt(aa * bb));
    }
    assert_true(scores[3] > 1 - 200 * 0x1p-24 && scores[0] < 0.999 && scores[0] != scores[1]);
    unmake(&f);
}

static bool stop_now(void) {
    return true;
}

static void test_refusals(void **state) {
    (void)state;
    fixture f;
    double scores[ROWS];
    make(&f, RT_POOL_MEAN);
    assert_int_equal(rt_baseline_cosine(&f.encoder, f.ds, TOKENS, SEQS, stop_now, scores), RT_ESTOPPED);
    assert_int_equal(rt_baseline_cosine(&f.encoder, f.ds, 8, SEQS, NULL, scores), RT_EINTERNAL);
    unmake(&f);
    make(&f, RT_POOL_CLS);
    assert_int_equal(rt_baseline_cosine(&f.encoder, f.ds, TOKENS, SEQS, NULL, scores), RT_ECONFIG);
    unmake(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cosine), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
