/* Vectors of texts run together, against each run alone. */
#include "eval/embedder.h"
#include "tiny_encoder.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Lengths of all kinds; an empty text, one that is cut, two that are the same. */
static const char *const texts[] = {"red lamp",
                                    "",
                                    "the blue tent for the woods",
                                    "tent",
                                    "red lamp",
                                    "woods woods woods woods woods woods woods woods woods woods woods woods woods "
                                    "woods woods woods woods woods woods woods",
                                    "lamp",
                                    "unheard of",
                                    "blue blue",
                                    "for the woods"};
enum { N = sizeof texts / sizeof texts[0] };

static rt_embedder_options options_of(tiny *t) {
    return (rt_embedder_options){.encoder = &t->encoder,
                                 .tok = t->tok,
                                 .encode = {.max_length = LONGEST},
                                 .batch_tokens = TOKENS,
                                 .max_seqs = SEQS};
}

/* Other batches sum in another order: some hundred roundings of 2^-24 in fp32. In bf16 every op's result is rounded to
 * 2^-9, about forty of them in a row over two layers; all errors at once would be 40 x 2^-9. */
static double limit_of(rt_precision precision) {
    return precision == RT_PRECISION_FP32 ? 200 * 0x1p-24 : 40 * 0x1p-9;
}

static void check(tiny *t, const rt_embedder_options *o, const float *got, int width, double limit) {
    for (int i = 0; i < N; i++) {
        float alone[HIDDEN];
        double squares = 0, length = 0, error = 0, size = 0;
        tiny_embed(t, texts[i], alone);
        for (int k = 0; k < width; k++) squares += (double)alone[k] * alone[k];
        double scale = o->unit ? 1 / sqrt(squares) : 1;
        for (int k = 0; k < width; k++) {
            double want = alone[k] * scale, value = got[i * width + k];
            error += (value - want) * (value - want);
            size += want * want;
            length += value * value;
        }
        if (!(sqrt(error) <= limit * sqrt(size))) fail_msg("text %d: off by %g of %g", i, sqrt(error), sqrt(size));
        /* Each number was rounded to 2^-24 of itself, and the sum is fp64. */
        if (o->unit && !(fabs(sqrt(length) - 1) < 2 * 0x1p-24)) fail_msg("text %d: of length %.9f", i, sqrt(length));
    }
}

static void test_vectors(void **state) {
    (void)state;
    const rt_precision precisions[] = {RT_PRECISION_FP32, RT_PRECISION_BF16};
    for (int p = 0; p < 2; p++) {
        tiny t;
        tiny_make(&t, precisions[p], RT_POOL_MEAN);
        for (int what = 0; what < 4; what++) {
            rt_embedder *e;
            const float *vectors;
            rt_embedder_options o = options_of(&t);
            o.unit = what & 1;
            o.width = what & 2 ? 5 : 0;
            assert_int_equal(rt_embedder_new(&o, &e), RT_OK);
            const int width = o.width ? o.width : HIDDEN;
            assert_int_equal(rt_embedder_width(e), width);
            for (int turn = 0; turn < 2; turn++) { /* a second run of it gives the same bits */
                static float first[N * HIDDEN];
                for (int i = 0; i < N; i++) assert_int_equal(rt_embedder_add(e, texts[i], strlen(texts[i])), RT_OK);
                assert_int_equal(rt_embedder_rows(e), N);
                assert_int_equal(rt_embedder_run(e, &vectors), RT_OK);
                assert_int_equal(rt_embedder_rows(e), 0);
                check(&t, &o, vectors, width, limit_of(precisions[p]));
                if (turn) assert_memory_equal(first, vectors, (size_t)(N * width) * sizeof *first);
                memcpy(first, vectors, (size_t)(N * width) * sizeof *first);
            }
            const rt_tok_stats *stats = rt_embedder_stats(e);
            assert_true(stats->texts == 2 * N && stats->truncated == 2 && stats->empty == 2);
            rt_embedder_free(e);
        }
        tiny_free(&t);
    }
}

/* Tokens that are there already give what their text gives. */
static void test_ids(void **state) {
    (void)state;
    tiny t;
    rt_embedder *e;
    const float *vectors;
    tiny_make(&t, RT_PRECISION_FP32, RT_POOL_MEAN);
    rt_embedder_options o = options_of(&t);
    assert_int_equal(rt_embedder_new(&o, &e), RT_OK);
    const int32_t ids[] = {rt_tokenizer_cls(t.tok), rt_tokenizer_id(t.tok, "blue"), rt_tokenizer_id(t.tok, "tent"),
                           rt_tokenizer_sep(t.tok)};
    float first[HIDDEN];
    assert_int_equal(rt_embedder_add_ids(e, ids, 4), RT_OK);
    assert_int_equal(rt_embedder_run(e, &vectors), RT_OK);
    memcpy(first, vectors, sizeof first);
    assert_int_equal(rt_embedder_add(e, "blue tent", 9), RT_OK);
    assert_int_equal(rt_embedder_run(e, &vectors), RT_OK);
    assert_memory_equal(first, vectors, sizeof first);
    int32_t many[LONGEST + 1] = {0};
    assert_int_equal(rt_embedder_add_ids(e, many, LONGEST + 1), RT_EINTERNAL);
    assert_int_equal(rt_embedder_add_ids(e, many, 0), RT_EINTERNAL);
    assert_int_equal(rt_embedder_run(e, &vectors), RT_OK); /* nothing to do */
    rt_embedder_free(e);
    tiny_free(&t);
}

static int batches_left;
static bool stop_later(void) {
    return batches_left-- <= 0;
}

static void test_stop_and_refusals(void **state) {
    (void)state;
    tiny t;
    rt_embedder *e = NULL;
    const float *vectors;
    tiny_make(&t, RT_PRECISION_FP32, RT_POOL_MEAN);
    rt_embedder_options o = options_of(&t);
    o.stop = stop_later;
    assert_int_equal(rt_embedder_new(&o, &e), RT_OK);
    for (int i = 0; i < N; i++) assert_int_equal(rt_embedder_add(e, texts[i], strlen(texts[i])), RT_OK);
    batches_left = 1;
    assert_int_equal(rt_embedder_run(e, &vectors), RT_ESTOPPED);
    batches_left = 100; /* the texts are still there */
    assert_int_equal(rt_embedder_rows(e), N);
    assert_int_equal(rt_embedder_run(e, &vectors), RT_OK);
    check(&t, &o, vectors, HIDDEN, limit_of(RT_PRECISION_FP32));
    rt_embedder_free(e);
    o.width = HIDDEN + 1;
    assert_int_equal(rt_embedder_new(&o, &e), RT_ECONFIG);
    o.width = 0;
    o.batch_tokens = TOKENS + 1;
    assert_int_equal(rt_embedder_new(&o, &e), RT_EINTERNAL);
    o.batch_tokens = TOKENS;
    o.encode.max_length = TOKENS + 1;
    assert_int_equal(rt_embedder_new(&o, &e), RT_EINTERNAL);
    rt_embedder_free(NULL);
    tiny_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_ids),
                                       cmocka_unit_test(test_stop_and_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
