/* Any bytes as vocabulary and text: no crash, and what comes out keeps the header's promises. The first byte chooses
 * options; then comes a vocabulary, where there are two parts (else one that is built in), then the text. */
#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"

static const char built_in[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##a\nb\n##b\nab\n##ab\n\xc3\xa9\n##\xc3\xa9\n.\n\xe6\x9d\xb1\n##\xe3\x80\xae\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    unsigned flags = fuzz_choice(&rest);
    fuzz_bytes part = fuzz_part(&rest);
    const char *text = (const char *)(rest.size ? rest.data : part.data);
    const char *vocab = rest.size ? (const char *)part.data : built_in;
    size_t n = rest.size ? rest.size : part.size, vocab_size = rest.size ? part.size : sizeof built_in - 1;
    rt_tokenizer_options o = rt_tokenizer_defaults();
    o.lowercase = flags & 1;
    o.strip_accents = (int)(flags >> 1 & 3) % 3 - 1;
    o.split_cjk = flags & 8;
    o.match_special = flags & 16;
    o.max_word = flags & 32 ? 3 : 100;
    rt_tokenizer *tok = NULL;
    if (rt_tokenizer_from_vocab(vocab, vocab_size, "fuzz", &o, &tok) != RT_OK) return 0;
    static rt_tok_scratch *scratch; /* one for all: what another tokenizer left in it must not show */
    if (!scratch) scratch = rt_tok_scratch_new();
    rt_tok_stats stats = {0};
    const int32_t *ids;
    size_t count = 0;
    if (rt_tokenize(tok, scratch, text, n, &ids, &count, &stats) == RT_OK) {
        fuzz_require(count <= 3 * n && stats.tokens == count && stats.unknown <= count);
        for (size_t i = 0; i < count; i++) fuzz_require(ids[i] >= 0 && ids[i] < rt_tokenizer_size(tok));
    }
    int32_t row[16];
    int length = 0, at = 0;
    rt_encode_options e = {
        .max_length = 3 + (int)(flags % 14), .truncation = (rt_truncation)(flags % 3), .left = flags & 64};
    size_t half = n / 2;
    if (rt_encode(tok, scratch, &e, text, half, text + half, n - half, row, &length, &at, NULL) == RT_OK)
        fuzz_require(length <= e.max_length && at >= 2 && at < length && row[length - 1] == rt_tokenizer_sep(tok));
    rt_tokenizer_free(tok);
    return 0;
}
