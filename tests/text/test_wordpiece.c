/* Pieces of single texts: the reference's ids, vocabularies good and bad, statistics, threads, digests. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/wordpiece_cases.h"
#include "text/tokenizer.h"

#define N_CASES (sizeof cases / sizeof *cases)

static rt_tokenizer *make(const char *vocab, const rt_tokenizer_options *options) {
    rt_tokenizer *tok = NULL;
    rt_status rc = rt_tokenizer_from_vocab(vocab, strlen(vocab), "vocab.txt", options, &tok);
    if (rc != RT_OK) print_error("%s\n", rt_error_get()->text);
    assert_int_equal(rc, RT_OK);
    return tok;
}

static rt_tokenizer_options options_of(size_t i) {
    rt_tokenizer_options o = rt_tokenizer_defaults();
    o.lowercase = cases[i].lower;
    o.strip_accents = cases[i].strip;
    o.split_cjk = cases[i].cjk;
    o.match_special = cases[i].match;
    return o;
}

/* One scratch serves all cases, so that a cache kept for another tokenizer would show. The text is copied to the heap
 * without a NUL, so that a sanitizer sees reads past its end. Returns the number of cases that differ. */
static int check_cases(rt_tok_scratch *scratch, rt_tokenizer *const *toks) {
    int wrong = 0;
    for (size_t i = 0; i < N_CASES; i++) {
        size_t n = 0;
        const int32_t *ids = NULL;
        char *text = malloc(cases[i].size ? (size_t)cases[i].size : 1);
        memcpy(text, cases[i].text, (size_t)cases[i].size);
        rt_status rc = rt_tokenize(toks[i], scratch, text, (size_t)cases[i].size, &ids, &n, NULL);
        bool same = rc == RT_OK && n == (size_t)cases[i].n && (!n || !memcmp(ids, cases[i].ids, n * sizeof *ids));
        if (!same) print_error("case %zu: \"%s\": %zu pieces, not %d\n", i, cases[i].text, n, cases[i].n);
        wrong += !same;
        free(text);
    }
    return wrong;
}

typedef struct {
    rt_tokenizer *of_case[N_CASES], *made[16];
    int n_made;
} fixture;

static fixture *fixture_new(void) {
    fixture *f = calloc(1, sizeof *f);
    for (size_t i = 0; i < N_CASES; i++) {
        rt_tokenizer_options o = options_of(i);
        bool new = i == 0 || memcmp(&cases[i].lower, &cases[i - 1].lower, 4 * sizeof(int)) != 0;
        if (new) f->made[f->n_made++] = make(case_vocab, &o);
        f->of_case[i] = f->made[f->n_made - 1];
    }
    return f;
}

static void fixture_free(fixture *f) {
    for (int i = 0; i < f->n_made; i++) rt_tokenizer_free(f->made[i]);
    free(f);
}

static void ids_are_the_references(void **state) {
    (void)state;
    fixture *f = fixture_new();
    rt_tok_scratch *scratch = rt_tok_scratch_new();
    assert_int_equal(f->n_made, 6);
    assert_int_equal(check_cases(scratch, f->of_case), 0);
    assert_int_equal(check_cases(scratch, f->of_case), 0); /* now from the cache */
    /* Texts of different tokenizers in turn. */
    int wrong = 0;
    for (size_t i = 0; i < N_CASES / 6; i++)
        for (size_t k = i; k < N_CASES; k += N_CASES / 6) {
            size_t n;
            const int32_t *ids;
            assert_int_equal(rt_tokenize(f->of_case[k], scratch, cases[k].text, (size_t)cases[k].size, &ids, &n, NULL),
                             0);
            wrong += n != (size_t)cases[k].n || (n && memcmp(ids, cases[k].ids, n * sizeof *ids) != 0);
        }
    assert_int_equal(wrong, 0);
    rt_tok_scratch_free(scratch);
    fixture_free(f);
}

static void *thread_main(void *argument) {
    rt_tok_scratch *scratch = rt_tok_scratch_new();
    intptr_t wrong = 0;
    for (int round = 0; round < 3; round++) wrong += check_cases(scratch, ((fixture *)argument)->of_case);
    rt_tok_scratch_free(scratch);
    return (void *)wrong;
}

static void threads_share_a_tokenizer(void **state) {
    (void)state;
    fixture *f = fixture_new();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, thread_main, f), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_int_equal((intptr_t)wrong, 0);
    }
    fixture_free(f);
}

/* "text" in pieces, joined by blanks. */
static void expect(const rt_tokenizer *tok, const char *text, size_t size, const char *pieces, rt_tok_stats *stats) {
    rt_tok_scratch *scratch = rt_tok_scratch_new();
    const int32_t *ids;
    size_t n;
    rt_text got = {0};
    rt_text_puts(&got, "");
    assert_int_equal(rt_tokenize(tok, scratch, text, size, &ids, &n, stats), RT_OK);
    for (size_t i = 0; i < n; i++) {
        size_t length = 0;
        const char *token = rt_tokenizer_token(tok, ids[i], &length);
        assert_non_null(token);
        if (i) rt_text_puts(&got, " ");
        rt_text_append(&got, token, length);
    }
    assert_string_equal(got.data ? got.data : "", pieces);
    rt_text_free(&got);
    rt_tok_scratch_free(scratch);
}
#define EXPECT(tok, text, pieces, stats) expect(tok, text, sizeof text - 1, pieces, stats)

#define SPECIALS "[PAD]\n[UNK]\n[CLS]\n[SEP]\n"

static void bad_bytes_vanish_and_are_counted(void **state) {
    (void)state;
    rt_tokenizer *tok = make(SPECIALS "ab\na\n##b\n##c\nc\n", NULL);
    rt_tok_stats s = {0};
    EXPECT(tok,
           "a\xff"
           "b",
           "ab", &s);
    assert_int_equal(s.invalid_utf8, 1);
    EXPECT(tok, "\xed\xa0\x80", "", &s); /* a surrogate: three bad bytes */
    assert_int_equal(s.invalid_utf8, 4);
    assert_int_equal(s.empty, 1);
    EXPECT(tok, "\xc0\x80 \xe0\x80\x80 \xf0\x80\x80\x80 \xf4\x90\x80\x80 \xf8", "", &s); /* overlong, above U+10FFFF */
    assert_int_equal(s.invalid_utf8, 4 + 2 + 3 + 4 + 4 + 1);
    EXPECT(tok, "c\xe2\x82", "c", &s); /* cut short */
    EXPECT(tok,
           "a\xef\xbf\xbd"
           "b",
           "ab", &s); /* a real U+FFFD is dropped and no bad byte */
    assert_int_equal(s.invalid_utf8, 20);
    assert_int_equal(s.texts, 5);
    rt_tokenizer_free(tok);
}

static void special_tokens_in_text_are_split_or_matched(void **state) {
    (void)state;
    static const char vocab[] = SPECIALS "[MASK]\n[\n]\nsep\nSEP\na\n<s>\n<\n>\ns\n";
    rt_tokenizer_options o = rt_tokenizer_defaults();
    rt_tok_stats s = {0};
    rt_tokenizer *tok = make(vocab, &o);
    EXPECT(tok, "a[SEP]a [sep]", "a [ sep ] a [ sep ]", &s);
    assert_int_equal(s.special_split, 1);
    assert_int_equal(s.tokens, 8);
    rt_tokenizer_free(tok);
    o.match_special = true;
    strcpy(o.mask, "<s>"); /* special tokens need not start alike */
    tok = make(vocab, &o);
    s = (rt_tok_stats){0};
    EXPECT(tok, "a[SEP]a<s>[[UNK]<s", "a [SEP] a <s> [ [UNK] < s", &s);
    assert_int_equal(s.special_split, 0);
    assert_int_equal(s.unknown, 1);
    rt_tokenizer_free(tok);
    o.unusual_special = true;
    assert_int_equal(rt_tokenizer_from_vocab(vocab, strlen(vocab), "v", &o, &tok), RT_ECONFIG);
    assert_null(tok);
}

static void words_beyond_the_limit_are_unknown(void **state) {
    (void)state;
    rt_tokenizer_options o = rt_tokenizer_defaults();
    o.max_word = 3;
    rt_tokenizer *tok = make(SPECIALS "a\n##a\n##\xc3\xa9\n", &o);
    rt_tok_stats s = {0};
    EXPECT(tok,
           "aaa aaaa a\xcc\x81"
           "aa \xc3\xa9\xc3\xa9",
           "a ##a ##a [UNK] a ##a ##a [UNK]", &s);
    assert_int_equal(s.unknown, 2);
    assert_int_equal(s.tokens, 8);
    rt_tokenizer_free(tok);
    o.max_word = 0;
    assert_int_equal(rt_tokenizer_from_vocab(SPECIALS, strlen(SPECIALS), "v", &o, &tok), RT_ECONFIG);
    o.max_word = 1 << 30;
    assert_int_equal(rt_tokenizer_from_vocab(SPECIALS, strlen(SPECIALS), "v", &o, &tok), RT_ECONFIG);
}

static void vocabulary_lines(void **state) {
    (void)state;
    /* CRLF, blanks at an end (U+3000 too), a duplicate, an empty line, no newline at the end. */
    static const char vocab[] = "[PAD]\r\n[UNK]\r\n[CLS] \t\n[SEP]\na\xe3\x80\x80\nb\na\n\n##c\nlast";
    rt_tokenizer *tok = make(vocab, NULL);
    assert_int_equal(rt_tokenizer_size(tok), 10);
    assert_int_equal(rt_tokenizer_id(tok, "a"), 6);
    assert_int_equal(rt_tokenizer_id(tok, "b"), 5);
    assert_int_equal(rt_tokenizer_id(tok, "##c"), 8);
    assert_int_equal(rt_tokenizer_id(tok, "last"), 9);
    assert_int_equal(rt_tokenizer_id(tok, "nothing"), -1);
    assert_int_equal(rt_tokenizer_pad(tok), 0);
    assert_int_equal(rt_tokenizer_unk(tok), 1);
    assert_int_equal(rt_tokenizer_cls(tok), 2);
    assert_int_equal(rt_tokenizer_sep(tok), 3);
    size_t size;
    assert_null(rt_tokenizer_token(tok, 10, &size));
    assert_null(rt_tokenizer_token(tok, -1, &size));
    assert_memory_equal(rt_tokenizer_token(tok, 4, &size), "a", 1); /* a duplicate keeps its line */
    assert_int_equal(size, 1);
    rt_text text = {0};
    rt_tokenizer_vocab_write(tok, &text);
    assert_string_equal(text.data, "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\na\n\n##c\nlast\n");
    rt_text_free(&text);
    rt_tokenizer_free(tok);
}

static void refused(const char *vocab, size_t size, const char *part) {
    rt_tokenizer *tok = NULL;
    assert_int_equal(rt_tokenizer_from_vocab(vocab, size, "vocab.txt", NULL, &tok), RT_EDATA);
    assert_null(tok);
    if (!strstr(rt_error_get()->text, part)) print_error("\"%s\" lacks \"%s\"\n", rt_error_get()->text, part);
    assert_non_null(strstr(rt_error_get()->text, part));
}

static void bad_vocabularies_are_refused(void **state) {
    (void)state;
    refused("", 0, "vocab.txt: empty");
    refused("\n", 1, "[UNK]");
    refused("[PAD]\n[UNK]\n[CLS]\n", 18, "\"[SEP]\" (sep_token)");
    refused("[PAD]\n[U\0NK]\n", 13, "vocab.txt:2: a NUL");
    refused("[PAD]\n[UNK]\n\xff\n", 14, "vocab.txt:3: byte 0xff");
    refused("\xef\xbb\xbf[PAD]\n", 9, "byte-order mark");
    size_t lines = ((size_t)1 << 21) + 1, bytes = ((size_t)16 << 20) + 1;
    char *many = malloc(bytes);
    memset(many, '\n', lines);
    refused(many, lines, "more than 2097152 lines");
    refused(many, bytes, "at most 16777216");
    /* One endless token, and tokens that share no beginning: the trie would take twenty times the file. */
    memset(many, 'a', bytes);
    refused(many, (size_t)1 << 21, "vocab.txt:1: its tokens have more than 2097152 different beginnings");
    uint32_t random = 1;
    for (size_t i = 0; i < bytes; i++) {
        random = random * 69069 + 12345;
        many[i] = i % 16 == 15 ? '\n' : (char)('a' + (random >> 24) % 26);
    }
    refused(many, bytes - 1, "different beginnings");
    free(many);
}

static void digest_tells_vocabulary_and_options(void **state) {
    (void)state;
    rt_tokenizer_options o[9];
    const char *vocabs[9];
    for (int i = 0; i < 9; i++) o[i] = rt_tokenizer_defaults(), vocabs[i] = SPECIALS "ab\nc\n";
    o[1].lowercase = false;
    o[2].strip_accents = 1;
    o[3].split_cjk = false;
    o[4].match_special = true;
    o[5].max_word = 99;
    strcpy(o[6].mask, "c");
    vocabs[7] = SPECIALS "a\nbc\n";
    vocabs[8] = SPECIALS "ab\nc\n\n";
    rt_digest128 digests[9];
    for (int i = 0; i < 9; i++) {
        rt_tokenizer *tok = make(vocabs[i], &o[i]), *again = make(vocabs[i], &o[i]);
        digests[i] = rt_tokenizer_digest(tok);
        rt_digest128 d = rt_tokenizer_digest(again);
        assert_true(d.high == digests[i].high && d.low == digests[i].low);
        for (int k = 0; k < i; k++) assert_true(digests[k].high != digests[i].high || digests[k].low != digests[i].low);
        rt_tokenizer_free(tok);
        rt_tokenizer_free(again);
    }
}

/* A scratch remembers words of one tokenizer alone. */
static void a_scratch_serves_two_vocabularies(void **state) {
    (void)state;
    rt_tokenizer *toks[2] = {make(SPECIALS "ab\n", NULL), make(SPECIALS "x\nab\n", NULL)};
    rt_tok_scratch *scratch = rt_tok_scratch_new();
    for (int i = 0; i < 4; i++) {
        const int32_t *ids;
        size_t n;
        assert_int_equal(rt_tokenize(toks[i % 2], scratch, "ab", 2, &ids, &n, NULL), RT_OK);
        assert_int_equal(n, 1);
        assert_int_equal(ids[0], 4 + i % 2);
    }
    rt_tok_scratch_free(scratch);
    rt_tokenizer_free(toks[0]);
    rt_tokenizer_free(toks[1]);
}

/* Half a million marks of two classes in turn: put in order without a square (a minute or more, were it one). */
static void long_runs_of_marks_are_ordered(void **state) {
    (void)state;
    rt_tokenizer *tok = make(SPECIALS "a\n", NULL);
    enum { N = 250000 };
    char *text = malloc(8 * N + 1);
    for (size_t i = 0; i < N; i++) memcpy(text + 8 * i, "\xf0\x9d\x85\xad\xf0\x9d\x85\xa5", 8); /* U+1D16D, U+1D165 */
    rt_tok_stats s = {0};
    expect(tok, text, 8 * N, "[UNK]", &s);
    free(text);
    rt_tokenizer_free(tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_the_references),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(bad_bytes_vanish_and_are_counted),
        cmocka_unit_test(special_tokens_in_text_are_split_or_matched),
        cmocka_unit_test(words_beyond_the_limit_are_unknown),
        cmocka_unit_test(vocabulary_lines),
        cmocka_unit_test(bad_vocabularies_are_refused),
        cmocka_unit_test(digest_tells_vocabulary_and_options),
        cmocka_unit_test(a_scratch_serves_two_vocabularies),
        cmocka_unit_test(long_runs_of_marks_are_ordered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
