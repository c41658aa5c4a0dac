/* Rows of a model's input, and the reference's truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/tokenizer.h"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\nd\ne\nf\nu\nv\nw\nx\ny\nz\n";
enum { CLS = 2, SEP = 3, A0 = 4, B0 = 10 }; /* a to f are 4 to 9, u to z 10 to 15 */

typedef struct {
    rt_tokenizer *tok;
    rt_tok_scratch *scratch;
} context;

static int setup(void **state) {
    context *c = calloc(1, sizeof *c);
    if (rt_tokenizer_from_vocab(vocab, strlen(vocab), "vocab.txt", NULL, &c->tok) != RT_OK) return -1;
    c->scratch = rt_tok_scratch_new();
    *state = c;
    return 0;
}

static int teardown(void **state) {
    context *c = *state;
    rt_tokenizer_free(c->tok);
    rt_tok_scratch_free(c->scratch);
    free(c);
    return 0;
}

/* Encodes and compares with `want`, "C" and "S" for [CLS] and [SEP], "|" before B's first token. */
static void expect(context *c, rt_encode_options o, const char *a, const char *b, const char *want,
                   rt_tok_stats *stats) {
    int32_t ids[64];
    int n = -1, split = -1;
    char got[80];
    int at = 0;
    assert_true(o.max_length < 60);
    for (int i = 0; i < 64; i++) ids[i] = -7;
    assert_int_equal(rt_encode(c->tok, c->scratch, &o, a, strlen(a), b, b ? strlen(b) : 0, ids, &n, &split, stats),
                     RT_OK);
    assert_true(n <= o.max_length);
    assert_int_equal(ids[o.max_length], -7);
    for (int i = 0; i < n; i++) {
        if (i == split) got[at++] = '|';
        got[at++] = ids[i] == CLS ? 'C' : ids[i] == SEP ? 'S' : *rt_tokenizer_token(c->tok, ids[i], &(size_t){0});
    }
    got[at] = 0;
    assert_string_equal(got, want);
    if (!b) assert_int_equal(split, n);
}

static void rows_have_their_special_tokens(void **state) {
    rt_encode_options o = {.max_length = 32};
    rt_tok_stats s = {0};
    expect(*state, o, "", "", "CS|S", NULL); /* the scratch's first use */
    expect(*state, o, "a b c", NULL, "CabcS", &s);
    expect(*state, o, "a b c", "x y", "CabcS|xyS", &s);
    expect(*state, o, "a", "", "CaS|S", &s);
    expect(*state, o, "", "x", "CS|xS", &s);
    expect(*state, o, "", "", "CS|S", &s);
    expect(*state, o, " \t", NULL, "CS", &s);
    assert_int_equal(s.texts, 10);
    assert_int_equal(s.empty, 5);
    assert_int_equal(s.truncated, 0);
    assert_int_equal(s.tokens, 10);
}

static void rows_are_cut_to_max_length(void **state) {
    rt_encode_options o = {.max_length = 8}; /* five pieces: two and three */
    rt_tok_stats s = {0};
    expect(*state, o, "a b c d e f", "u v w x y z", "CabS|uvwS", &s);
    expect(*state, o, "a b c d e f", "u v w x y", "CabcS|uvS", &s);
    expect(*state, o, "a b c d e f", "u", "CabcdS|uS", &s);
    expect(*state, o, "a b", "u v w x", "CabS|uvwS", &s);
    assert_int_equal(s.truncated, 4);
    expect(*state, o, "a b", "u v w", "CabS|uvwS", &s);
    expect(*state, o, "a b c d e f", NULL, "CabcdefS", &s);
    assert_int_equal(s.truncated, 4);
    o.max_length = 7;
    expect(*state, o, "a b c d e f", NULL, "CabcdeS", &s);
    o.left = true;
    expect(*state, o, "a b c d e f", NULL, "CbcdefS", &s);
    expect(*state, o, "a b c d e f", "u v w", "CefS|vwS", &s);
    assert_int_equal(s.truncated, 7);
    assert_int_equal(s.tokens, 12 + 11 + 7 + 6 + 5 + 6 + 6 + 6 + 9);
    o = (rt_encode_options){.max_length = 8, .truncation = RT_TRUNCATE_A};
    expect(*state, o, "a b c d e f", "u v w", "CabS|uvwS", &s);
    expect(*state, o, "a b", "u v w x y z", "CS|uvwxyS", &s); /* A alone cannot pay: B pays the rest */
    o.truncation = RT_TRUNCATE_B;
    expect(*state, o, "a b c", "u v w", "CabcS|uvS", &s);
    expect(*state, o, "a b c d e f", "u", "CabcdeS|S", &s);
    o = (rt_encode_options){.max_length = 3};
    expect(*state, o, "a b", "u", "CS|S", &s);
    expect(*state, o, "a b", NULL, "CaS", &s);
    context *c = *state;
    int n, split;
    int32_t ids[4];
    o.max_length = 2;
    assert_int_equal(rt_encode(c->tok, c->scratch, &o, "a", 1, NULL, 0, ids, &n, &split, NULL), RT_ECONFIG);
}

#define TABLE_DIGEST 0x29A69C2E7DF135DBu

/* FNV-1a, 64 bits. */
static uint64_t fold(uint64_t h, int byte) {
    return (h ^ (uint64_t)byte) * 0x100000001B3u;
}

/* The whole table for these budgets, folded; the value is that of tables made by truncating with the reference itself
 * (PyPI tokenizers, strategies longest_first, both directions, texts of 0 to 140 tokens). */
static void longest_first_is_the_references(void **state) {
    (void)state;
    static const int budgets[] = {126, 125, 77};
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++)
        for (int na = 0; na <= 140; na++)
            for (int nb = 0; nb <= 140; nb++) {
                int a = -1, b = -1;
                rt_truncate_pair(RT_TRUNCATE_LONGEST_FIRST, budgets[i], na, nb, &a, &b);
                h = fold(fold(h, a), b);
            }
    if (h != TABLE_DIGEST) print_error("digest %016llx\n", (unsigned long long)h);
    assert_true(h == TABLE_DIGEST);
}

/* What holds for every strategy, far beyond the table too. */
static void truncation_keeps_its_promises(void **state) {
    (void)state;
    static const int lengths[] = {0, 1, 2, 3, 124, 125, 126, 511, 4096, 1 << 30, INT32_MAX};
    enum { N = sizeof lengths / sizeof *lengths };
    for (int strategy = 0; strategy < 3; strategy++)
        for (int i = 0; i < N * N * N; i++) {
            int budget = lengths[i / N / N], na = lengths[i / N % N], nb = lengths[i % N], a, b;
            rt_truncate_pair((rt_truncation)strategy, budget, na, nb, &a, &b);
            assert_true(a >= 0 && b >= 0 && a <= na && b <= nb);
            long long total = (long long)na + nb;
            assert_int_equal((long long)a + b, total < budget ? total : budget);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_their_special_tokens),
        cmocka_unit_test(rows_are_cut_to_max_length),
        cmocka_unit_test(longest_first_is_the_references),
        cmocka_unit_test(truncation_keeps_its_promises),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
