/* Any bytes as tokenizer.json and tokenizer_config.json. What is accepted must survive being written and read again.
 * Inputs that begin with 'p' are patched into a good file (two bytes of place, one of how many go, what comes instead),
 * since random bytes seldom are JSON. */
#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"

static const char built_in[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n";

/* Writes a tokenizer's file and reads it back: the digest must not change. */
static void round_trip(const rt_tokenizer *tok, const rt_tokenizer_options *options) {
    rt_text json = {0}, vocab = {0};
    rt_tokenizer_options back = *options;
    rt_tokenizer *again = NULL;
    if (rt_tokenizer_json_write(tok, &json) != RT_OK) abort();
    if (rt_tokenizer_json_parse(json.data, json.size, "again", &vocab, &back) != RT_OK) abort();
    back.unusual_special = options->unusual_special;
    if (rt_tokenizer_from_vocab(vocab.data, vocab.size, "again", &back, &again) != RT_OK) abort();
    if (rt_tokenizer_size(again) != rt_tokenizer_size(tok) || rt_tokenizer_cls(again) != rt_tokenizer_cls(tok)) abort();
    rt_text_free(&json);
    rt_text_free(&vocab);
    rt_tokenizer_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rt_tokenizer_options o = rt_tokenizer_defaults();
    rt_tokenizer *tok = NULL;
    rt_text json = {0}, vocab = {0};
    if (size > 4 && data[0] == 'p') {
        if (rt_tokenizer_from_vocab(built_in, sizeof built_in - 1, "built in", NULL, &tok) != RT_OK) abort();
        if (rt_tokenizer_json_write(tok, &json) != RT_OK) abort();
        size_t at = (size_t)(data[1] | data[2] << 8) % json.size, n = size - 4, cut = data[3];
        rt_text patched = {0};
        rt_text_append(&patched, json.data, at);
        rt_text_append(&patched, (const char *)data + 4, n);
        if (at + cut < json.size) rt_text_append(&patched, json.data + at + cut, json.size - at - cut);
        rt_text_free(&json);
        json = patched;
        rt_tokenizer_free(tok);
        tok = NULL;
    } else {
        rt_text_append(&json, (const char *)data, size);
        rt_tokenizer_config_parse(json.data ? json.data : "", json.size, "fuzz", &o);
        o = rt_tokenizer_defaults();
    }
    if (rt_tokenizer_json_parse(json.data ? json.data : "", json.size, "fuzz", &vocab, &o) == RT_OK &&
        rt_tokenizer_from_vocab(vocab.data, vocab.size, "fuzz", &o, &tok) == RT_OK)
        round_trip(tok, &o);
    rt_tokenizer_free(tok);
    rt_text_free(&json);
    rt_text_free(&vocab);
    return 0;
}
