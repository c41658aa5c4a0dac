/* A Hugging Face folder's tokenizer: any bytes as tokenizer_config.json, vocab.txt and tokenizer.json, in this order.
 * What is taken is written as tokenizer_config.json and reads back to the same options. */
#include "checkpoint/hf_import.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

static void require_same(const rt_tokenizer_options *a, const rt_tokenizer_options *b) {
    fuzz_require(a->lowercase == b->lowercase && a->strip_accents == b->strip_accents && a->split_cjk == b->split_cjk);
    fuzz_require(!strcmp(a->unk, b->unk) && !strcmp(a->cls, b->cls) && !strcmp(a->sep, b->sep));
    fuzz_require(!strcmp(a->pad, b->pad) && !strcmp(a->mask, b->mask));
}

static void round_trip(const rt_tokenizer *tok) {
    rt_tokenizer_options back = rt_tokenizer_defaults();
    rt_text json = {0};
    fuzz_require(rt_tokenizer_config_write(tok, 128, &json) == RT_OK);
    fuzz_require(rt_tokenizer_config_parse(json.data, json.size, "again", &back) == RT_OK);
    require_same(rt_tokenizer_get_options(tok), &back);
    rt_text_clear(&json);
    fuzz_require(rt_tokenizer_special_map_write(tok, &json) == RT_OK);
    rt_text_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"tokenizer_config.json", "vocab.txt", "tokenizer.json"};
    const char *folder = fuzz_folder();
    fuzz_bytes rest = {data, size};
    rt_tokenizer_options options;
    rt_tokenizer *tok = NULL;
    rt_text vocab = {0};
    for (int i = 0; i < 3; i++) {
        fuzz_bytes part = fuzz_part(&rest);
        fuzz_write(folder, names[i], part.data, part.size);
    }
    rt_status rc = rt_hf_tokenizer(folder, NULL, &vocab, &options);
    if (rc == RT_OK) rc = rt_tokenizer_from_vocab(vocab.data, vocab.size, "fuzz", &options, &tok);
    if (rc == RT_OK)
        round_trip(tok);
    else
        fuzz_refused(rc);
    rt_tokenizer_free(tok);
    rt_text_free(&vocab);
    return 0;
}
