/* Any bytes as a vocab.txt: every line is found again, and what is written reads back to the same tokenizer. */
#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

/* Of lines that are alike the last id counts. */
static void check_lines(const char *text, size_t size) {
    rt_vocab vocab = {0};
    rt_status rc = rt_vocab_parse(&vocab, text, size, "fuzz");
    if (rc != RT_OK) fuzz_refused(rc);
    for (int32_t id = 0; rc == RT_OK && id < vocab.size; id++) {
        const char *token = vocab.bytes + vocab.offset[id];
        size_t n = vocab.offset[id + 1] - vocab.offset[id];
        int32_t found = rt_vocab_find(&vocab, token, n);
        fuzz_require(found >= id && found < vocab.size);
        fuzz_require(vocab.offset[found + 1] - vocab.offset[found] == n &&
                     memcmp(vocab.bytes + vocab.offset[found], token, n) == 0);
    }
    rt_vocab_free(&vocab);
}

static void check_tokenizer(const char *text, size_t size) {
    rt_tokenizer *tok = NULL, *again = NULL;
    rt_text written = {0};
    rt_status rc = rt_tokenizer_from_vocab(text, size, "fuzz", NULL, &tok);
    if (rc != RT_OK) {
        fuzz_refused(rc);
        return;
    }
    rt_tokenizer_vocab_write(tok, &written);
    fuzz_require(rt_tokenizer_from_vocab(written.data, written.size, "again", NULL, &again) == RT_OK);
    rt_digest128 a = rt_tokenizer_digest(tok), b = rt_tokenizer_digest(again);
    fuzz_require(a.high == b.high && a.low == b.low);
    fuzz_require(rt_tokenizer_cls(tok) >= 0 && rt_tokenizer_cls(tok) < rt_tokenizer_size(tok));
    fuzz_require(!rt_tokenizer_token(tok, rt_tokenizer_size(tok), &size) && !rt_tokenizer_token(tok, -1, &size));
    rt_text_free(&written);
    rt_tokenizer_free(again);
    rt_tokenizer_free(tok);
}

/* As it is, and behind the special tokens that a tokenizer needs. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_string(data, size);
    rt_text with = {0};
    check_lines(text, size);
    check_tokenizer(text, size);
    rt_text_puts(&with, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    rt_text_append(&with, text, size);
    check_tokenizer(with.data, with.size);
    rt_text_free(&with);
    free(text);
    return 0;
}
