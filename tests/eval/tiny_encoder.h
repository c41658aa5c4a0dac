/* A tokenizer of a dozen words and a random encoder, far from linear, so that a wrong batch shows; and a text run
 * through it alone, the plain way. */
#ifndef RT_TESTS_TINY_ENCODER_H
#define RT_TESTS_TINY_ENCODER_H
#include "data/dataset.h"
#include "model/encoder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { HIDDEN = 16, TOKENS = 24, SEQS = 6, LONGEST = 16 };

static const char tiny_vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\nblue\nlamp\ntent\nfor\nthe\nwoods\n";

typedef struct {
    rt_tokenizer *tok;
    rt_backend *be;
    rt_param_table table;
    rt_model model;
    rt_encoder encoder;
} tiny;

static inline void tiny_make(tiny *t, rt_precision precision, rt_pooling pooling) {
    memset(t, 0, sizeof *t);
    rt_tokenizer_options options = rt_tokenizer_defaults();
    assert_int_equal(rt_tokenizer_from_vocab(tiny_vocab, strlen(tiny_vocab), "vocab", &options, &t->tok), RT_OK);
    assert_int_equal(rt_cpu_backend_open(&(rt_backend_options){.precision = precision, .threads = 1}, &t->be), RT_OK);
    rt_bert bert = rt_bert_default();
    bert.hidden = HIDDEN, bert.layers = 2, bert.heads = 2, bert.ffn = 32;
    bert.vocab = rt_tokenizer_size(t->tok), bert.max_positions = 32, bert.pooling = pooling;
    bert.initializer_range = 0.5f;
    assert_int_equal(rt_encoder_add_params(&t->table, &bert), RT_OK);
    assert_int_equal(rt_param_table_finish(&t->table, &(rt_freeze){.layer_decay = 1, .n_layers = bert.layers}), RT_OK);
    assert_int_equal(rt_model_new(t->be, &bert, &t->table, false, &t->model), RT_OK);
    for (int row = 0; row < t->table.n; row++) assert_int_equal(rt_model_init_row(&t->model, row, 7), RT_OK);
    rt_encoder_sizes sizes = {.eval_tokens = TOKENS, .eval_seqs = SEQS, .max_len = LONGEST};
    assert_int_equal(rt_encoder_new(&t->model, &sizes, &t->encoder), RT_OK);
    assert_int_equal(rt_model_pack(&t->model, false), RT_OK);
}

static inline void tiny_free(tiny *t) {
    rt_encoder_free(&t->encoder);
    rt_model_free(&t->model);
    rt_param_table_free(&t->table);
    t->be->close(t->be);
    rt_tokenizer_free(t->tok);
}

/* The pooled vector of one text, in f32. */
static inline void tiny_embed(tiny *t, const char *text, float vector[HIDDEN]) {
    _Alignas(256) int32_t ids[64] = {0}, positions[64] = {0}, types[64] = {0}, cu[64] = {0}, labels[64] = {0};
    _Alignas(256) float scale[64] = {0};
    _Alignas(256) uint32_t example[64] = {0};
    rt_tok_scratch *scratch = rt_tok_scratch_new();
    rt_tok_stats stats = {0};
    int n, split;
    assert_int_equal(rt_encode(t->tok, scratch, &(rt_encode_options){.max_length = LONGEST}, text, strlen(text), NULL,
                               0, ids, &n, &split, &stats),
                     RT_OK);
    rt_tok_scratch_free(scratch);
    for (int i = 0; i < n; i++) positions[i] = i;
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
    unsigned char raw[HIDDEN * sizeof(float)];
    assert_int_equal(rt_encoder_forward(&t->encoder, &batch, &(rt_pass){0}), RT_OK);
    assert_int_equal(t->be->download(t->be, raw, t->encoder.last->pooled, HIDDEN * rt_dtype_size(t->be->act)), RT_OK);
    for (int k = 0; k < HIDDEN; k++) {
        uint32_t bits = 0;
        if (t->be->act == RT_F32)
            memcpy(&bits, raw + 4 * k, 4);
        else
            memcpy((char *)&bits + 2, raw + 2 * k, 2);
        memcpy(&vector[k], &bits, 4);
    }
}

#endif
