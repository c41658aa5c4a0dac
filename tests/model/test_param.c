/* The parameter table: names, shapes, where blocks lie in both kinds of buffers, freezing, rates, initial values. */
#include "model/encoder.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ok(rt_status s) {
    if (s != RT_OK) fail_msg("%s", rt_error_get()->text);
}

/* Sizes that are no multiples of a block, so that padding shows. */
static rt_bert small(rt_pooling pooling) {
    rt_bert b = rt_bert_default();
    b.hidden = 40, b.layers = 3, b.heads = 5, b.ffn = 72, b.vocab = 101, b.max_positions = 17;
    b.pooling = pooling;
    return b;
}

static rt_param_table make(rt_pooling pooling, const rt_freeze *freeze) {
    rt_param_table t = {0};
    rt_bert b = small(pooling);
    ok(rt_encoder_add_params(&t, &b));
    ok(rt_param_table_finish(&t, freeze));
    return t;
}

static void names_and_shapes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t rows, columns;
    } embeddings[] = {{"word_embeddings.weight", 101, 40},
                      {"position_embeddings.weight", 17, 40},
                      {"token_type_embeddings.weight", 2, 40},
                      {"LayerNorm.weight", 40, 0},
                      {"LayerNorm.bias", 40, 0}},
      layer[] = {{"attention.self.query.weight", 40, 40},
                 {"attention.self.key.weight", 40, 40},
                 {"attention.self.value.weight", 40, 40},
                 {"attention.self.query.bias", 40, 0},
                 {"attention.self.key.bias", 40, 0},
                 {"attention.self.value.bias", 40, 0},
                 {"attention.output.dense.weight", 40, 40},
                 {"attention.output.dense.bias", 40, 0},
                 {"attention.output.LayerNorm.weight", 40, 0},
                 {"attention.output.LayerNorm.bias", 40, 0},
                 {"intermediate.dense.weight", 72, 40},
                 {"intermediate.dense.bias", 72, 0},
                 {"output.dense.weight", 40, 72},
                 {"output.dense.bias", 40, 0},
                 {"output.LayerNorm.weight", 40, 0},
                 {"output.LayerNorm.bias", 40, 0}};
    rt_param_table t = make(RT_POOL_CLS, NULL);
    assert_int_equal(t.n, 5 + 3 * 16 + 2);
    for (int i = 0; i < t.n - 2; i++) {
        const rt_param *p = &t.rows[i];
        int k = i < 5 ? i : (i - 5) % 16;
        char name[96];
        snprintf(name, sizeof name, "bert.embeddings.%s", i < 5 ? embeddings[k].name : "");
        if (i >= 5) snprintf(name, sizeof name, "bert.encoder.layer.%d.%s", (i - 5) / 16, layer[k].name);
        int64_t rows = i < 5 ? embeddings[k].rows : layer[k].rows;
        int64_t columns = i < 5 ? embeddings[k].columns : layer[k].columns;
        assert_string_equal(p->name, name);
        assert_int_equal(p->rank, columns ? 2 : 1);
        assert_int_equal(p->shape[0], rows);
        assert_int_equal(p->shape[1], columns ? columns : 1);
        assert_int_equal(p->count, rows * (columns ? columns : 1));
        assert_int_equal(p->decay, columns > 0); /* matrices and tables, never biases or norms */
        assert_int_equal(p->matrix, columns > 0 && i >= 5);
        assert_int_equal(p->depth, i < 5 ? 0 : 1 + (i - 5) / 16);
    }
    assert_string_equal(t.rows[t.n - 2].name, "bert.pooler.dense.weight");
    assert_int_equal(t.rows[t.n - 2].depth, 4);
    assert_int_equal(rt_param_find(&t, "bert.pooler.dense.bias"), t.n - 1);
    assert_int_equal(rt_param_find(&t, "bert.pooler.dense"), -1);
    rt_param_table_free(&t);
    t = make(RT_POOL_MEAN, NULL); /* no pooler where the mean is taken */
    assert_int_equal(t.n, 5 + 3 * 16);
    rt_param_table_free(&t);
}

/* Every element of both buffers belongs to one row at most; blocks start on 256 bytes; query, key and value are one. */
static void check_layout(const rt_param_table *t) {
    char *params = calloc(1, (size_t)t->n_params), *trainables = calloc(1, (size_t)t->n_trainables + 1);
    int64_t before = -1, all = 0, trained = 0;
    for (int i = 0; i < t->n; i++) {
        const rt_param *p = &t->rows[i];
        assert_true(p->param_off >= 0 && p->param_off + p->count <= t->n_params);
        assert_true(p->param_off > before); /* forward order */
        before = p->param_off;
        bool joined = i > 0 && p->group > 0 && t->rows[i - 1].group == p->group;
        if (joined)
            assert_int_equal(p->param_off, t->rows[i - 1].param_off + t->rows[i - 1].count);
        else
            assert_int_equal(p->param_off % 64, 0);
        for (int64_t k = 0; k < p->count; k++) assert_int_equal(params[p->param_off + k]++, 0);
        all += p->count;
        assert_int_equal(p->train_off >= 0, p->trainable);
        if (!p->trainable) continue;
        assert_true(p->train_off + p->count <= t->n_trainables);
        if (joined)
            assert_int_equal(p->train_off, t->rows[i - 1].train_off + t->rows[i - 1].count);
        else
            assert_int_equal(p->train_off % 64, 0);
        for (int64_t k = 0; k < p->count; k++) assert_int_equal(trainables[p->train_off + k]++, 0);
        trained += p->count;
        for (int j = 0; j < i; j++) /* backward order: what is done first lies first, blocks apart */
            if (t->rows[j].trainable && (!p->group || t->rows[j].group != p->group))
                assert_true(t->rows[j].train_off > p->train_off);
    }
    assert_int_equal(rt_param_count(t, false), all);
    assert_int_equal(rt_param_count(t, true), trained);
    assert_int_equal(t->n_params % 64, 0);
    free(params);
    free(trainables);
}

static void layout(void **state) {
    (void)state;
    for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++) {
        rt_param_table t = make((rt_pooling)pooling, NULL);
        check_layout(&t);
        int64_t h = 40, f = 72, embeddings = (101 + 17 + 2) * h + 2 * h;
        int64_t layer = 4 * (h * h + h) + (f * h + f) + (h * f + h) + 4 * h;
        int64_t pooler = pooling == RT_POOL_CLS ? h * h + h : 0;
        assert_int_equal(rt_param_count(&t, false), embeddings + 3 * layer + pooler);
        rt_param_table_free(&t);
    }
}

static void freezing(void **state) {
    (void)state;
    int64_t whole = 0;
    for (int layers = -1; layers <= 3; layers++) { /* -1: nothing, 0: the embeddings */
        rt_freeze freeze = {
            .embeddings = layers >= 0, .layers = layers > 0 ? layers : 0, .layer_decay = 1, .n_layers = 3};
        rt_param_table t = make(RT_POOL_CLS, &freeze);
        check_layout(&t);
        for (int i = 0; i < t.n; i++) assert_int_equal(t.rows[i].trainable, t.rows[i].depth > layers);
        if (layers < 0) whole = t.n_trainables;
        assert_true(layers < 0 || t.n_trainables < whole);
        /* a span of depths is one range, and the ranges from the top down are the whole buffer */
        int64_t at = 0;
        for (int depth = 4; depth >= 0; depth--) {
            int64_t offset, count;
            rt_param_span(&t, depth, depth, &offset, &count);
            assert_int_equal(count > 0, depth > layers);
            if (!count) continue;
            assert_int_equal(offset, at);
            at += count;
        }
        assert_int_equal(at, t.n_trainables);
        rt_param_table_free(&t);
    }
    rt_freeze implied = {.layers = 1, .layer_decay = 1, .n_layers = 3}; /* first layers imply the embeddings */
    rt_param_table t = make(RT_POOL_CLS, &implied);
    assert_false(t.rows[0].trainable);
    rt_param_table_free(&t);
}

/* ELECTRA: the rate falls by d a layer from the top; pooler and head have it whole. */
static void layer_rates(void **state) {
    (void)state;
    rt_freeze freeze = {.layer_decay = 0.8f, .n_layers = 3};
    rt_param_table t = make(RT_POOL_CLS, &freeze);
    static const double want[] = {0.32768, 0.4096, 0.512, 0.64, 1}; /* 0.8^5, ^4, ^3, ^2 */
    for (int i = 0; i < t.n; i++)
        assert_true(fabs((double)t.rows[i].lr_scale - want[t.rows[i].depth]) < 4 * 6e-8); /* fp32 powers */
    rt_param_table_free(&t);
}

static void initial_values(void **state) {
    (void)state;
    enum { N = 400 * 250 };
    rt_param row = {.init = RT_INIT_NORMAL, .count = N};
    float *a = malloc(N * sizeof *a), *b = malloc(N * sizeof *b);
    strcpy(row.name, "a");
    rt_param_init(&row, 7, 0.02f, a);
    rt_param_init(&row, 7, 0.02f, b);
    assert_memory_equal(a, b, N * sizeof *a);
    double sum = 0, square = 0, fourth = 0, together = 0;
    strcpy(row.name, "b");
    rt_param_init(&row, 7, 0.02f, b);
    for (int i = 0; i < N; i++) {
        double z = (double)a[i] / 0.02;
        sum += z, square += z * z, fourth += z * z * z * z, together += z * (double)b[i] / 0.02;
        assert_true(fabs(z) < 6); /* 24-bit uniforms end at 5.9 */
    }
    /* Five standard deviations of the mean of z, z^2 (variance 2), z^4 (variance 96), and of z z' of two rows. */
    double s = 5 / sqrt(N);
    assert_true(fabs(sum / N) < s);
    assert_true(fabs(square / N - 1) < s * sqrt(2));
    assert_true(fabs(fourth / N - 3) < s * sqrt(96));
    assert_true(fabs(together / N) < s);
    rt_param_init(&row, 8, 0.02f, a);
    assert_memory_not_equal(a, b, N * sizeof *a);
    /* A count that is no multiple of four writes nothing beyond, and the same numbers. */
    row.count = 7;
    a[7] = 42;
    rt_param_init(&row, 7, 0.02f, a);
    assert_memory_equal(a, b, 7 * sizeof *a);
    assert_true(a[7] == 42);
    row.init = RT_INIT_ONE;
    rt_param_init(&row, 7, 0.02f, a);
    for (int i = 0; i < 7; i++) assert_true(a[i] == 1);
    row.init = RT_INIT_ZERO;
    rt_param_init(&row, 7, 0.02f, a);
    for (int i = 0; i < 7; i++) assert_true(a[i] == 0);
    free(a);
    free(b);
}

static void refuse(rt_bert b, const char *word) {
    assert_int_equal(rt_bert_check(&b), RT_ECONFIG);
    if (!strstr(rt_error_get()->text, word)) fail_msg("no %s in: %s", word, rt_error_get()->text);
}

static void impossible_models(void **state) {
    (void)state;
    rt_bert good = small(RT_POOL_CLS), b;
    ok(rt_bert_check(&good));
#define WITH(change, word) (b = good, b.change, refuse(b, word))
    WITH(hidden = 0, "hidden_size");
    WITH(hidden = -40, "hidden_size");
    WITH(hidden = 1 << 20, "hidden_size");
    WITH(heads = 3, "not divisible by num_attention_heads");
    WITH(heads = 10, "head size"); /* 4 a head */
    WITH(heads = 0, "num_attention_heads");
    WITH(layers = 0, "num_hidden_layers");
    WITH(layers = 1 << 30, "num_hidden_layers");
    WITH(ffn = 73, "intermediate_size");
    WITH(vocab = 0, "vocab_size");
    WITH(vocab = 1 << 24, "vocab_size");
    WITH(max_positions = 2, "max_position_embeddings");
    WITH(type_vocab = 0, "type_vocab_size");
    WITH(labels = RT_MAX_LABELS + 1, "num_labels");
    WITH(dropout = 1, "hidden_dropout_prob");
    WITH(dropout = NAN, "hidden_dropout_prob");
    WITH(attention_dropout = -0.1f, "attention_probs_dropout_prob");
    WITH(head_dropout = NAN, "classifier_dropout");
    WITH(head_dropout = 2, "classifier_dropout");
    WITH(layer_norm_eps = 0, "layer_norm_eps");
    WITH(layer_norm_eps = NAN, "layer_norm_eps");
    WITH(initializer_range = INFINITY, "initializer_range");
#undef WITH
    good.head_dropout = -1; /* null */
    ok(rt_bert_check(&good));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_shapes), cmocka_unit_test(layout),         cmocka_unit_test(freezing),
        cmocka_unit_test(layer_rates),      cmocka_unit_test(initial_values), cmocka_unit_test(impossible_models),
    };
    return cmocka_run_group_tests_name("param", tests, NULL, NULL);
}
