/* tokenizer.json and its companions, read, written and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/tokenizer.h"

#define ADDED(id, content, special)                                                                                    \
    "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"              \
    "\"normalized\":false,\"special\":" special "}"
#define TEMPLATE                                                                                                       \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},"                \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],"                \
    "\"pair\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"       \
    "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},"                 \
    "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],\"special_tokens\":{"                                        \
    "\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[2],\"tokens\":[\"[CLS]\"]},"                                                 \
    "\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[3],\"tokens\":[\"[SEP]\"]}}}"

/* A good file; tests replace parts of it. */
static const char good[] =
    "{\"version\":\"1.0\",\"truncation\":{\"max_length\":128},\"padding\":null,"
    "\"added_tokens\":[" ADDED("0", "[PAD]", "true") "," ADDED("1", "[UNK]", "true") "," ADDED(
        "2", "[CLS]",
        "true") "],"
                "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
                "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                "\"post_processor\":" TEMPLATE ",\"decoder\":null,"
                "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
                "\"max_input_chars_per_word\":100,\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"a\":4,"
                "\"##b\":5}}}";

/* `text` with the first `from` replaced by `to`; `from` must be there. Caller frees. */
static char *changed(const char *text, const char *from, const char *to) {
    const char *at = strstr(text, from);
    if (!at) print_error("no \"%s\"\n", from);
    assert_non_null(at);
    size_t before = (size_t)(at - text);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    memcpy(out, text, before);
    strcpy(out + before, to);
    strcat(out, at + strlen(from));
    return out;
}

static rt_status parse(const char *json, rt_text *vocab, rt_tokenizer_options *options) {
    *options = rt_tokenizer_defaults();
    return rt_tokenizer_json_parse(json, strlen(json), "tokenizer.json", vocab, options);
}

static void accepted(const char *json, const char *want, rt_tokenizer_options *options) {
    rt_text vocab = {0};
    rt_status rc = parse(json, &vocab, options);
    if (rc != RT_OK) print_error("%s\n", rt_error_get()->text);
    assert_int_equal(rc, RT_OK);
    assert_string_equal(vocab.data, want);
    rt_text_free(&vocab);
}

#define GOOD_VOCAB "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n"

static void a_good_file_gives_vocabulary_and_options(void **state) {
    (void)state;
    rt_tokenizer_options o;
    accepted(good, GOOD_VOCAB, &o);
    assert_true(o.lowercase && o.split_cjk && !o.unusual_special);
    assert_int_equal(o.strip_accents, -1);
    assert_int_equal(o.max_word, 100);
    char *json = changed(good, "\"lowercase\":true", "\"lowercase\":false");
    char *more = changed(json, "\"strip_accents\":null", "\"strip_accents\":true");
    char *most = changed(more, "\"handle_chinese_chars\":true", "\"handle_chinese_chars\":false");
    accepted(most, GOOD_VOCAB, &o);
    assert_true(!o.lowercase && !o.split_cjk && o.strip_accents == 1);
    free(json), free(more), free(most);
}

static void variants_that_keep_the_ids_are_taken(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *vocab;
        bool unusual;
    } variants[] = {
        {TEMPLATE, "{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}", GOOD_VOCAB, false},
        {"\"##b\":5", "\"##b\":7", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n\n\n##b\n", false}, /* holes */
        {"\"a\":4", "\"a\\u2028\":4", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n\n##b\n", false},   /* no line can hold it */
        {"\"a\":4", "\"a\\nb\":4", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n\n##b\n", false},
        {"\"continuing_subword_prefix\":\"##\",", "", GOOD_VOCAB, false},
        {ADDED("2", "[CLS]", "true"), ADDED("6", "[Q]", "true"), GOOD_VOCAB "[Q]\n", true}, /* one more special */
        {"\"rstrip\":false", "\"rstrip\":true", GOOD_VOCAB, true},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        char *json = changed(good, variants[i].from, variants[i].to);
        rt_tokenizer_options o;
        accepted(json, variants[i].vocab, &o);
        assert_int_equal(o.unusual_special, variants[i].unusual);
        free(json);
    }
}

static void what_would_change_the_ids_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        rt_status status;
        const char *part; /* of the message */
    } bad[] = {
        {"\"WordPiece\"", "\"BPE\"", RT_ECONFIG, "model is an object of type \"BPE\""},
        {"\"WordPiece\"", "\"Unigram\"", RT_ECONFIG, "Unigram"},
        {"\"##\"", "\"@@\"", RT_ECONFIG, "model.continuing_subword_prefix is \"@@\""},
        {"\"BertNormalizer\"", "\"NFKC\"", RT_ECONFIG, "NFKC"},
        {"\"clean_text\":true", "\"clean_text\":false", RT_ECONFIG, "clean_text is false"},
        {"\"BertPreTokenizer\"", "\"Whitespace\"", RT_ECONFIG, "Whitespace"},
        {TEMPLATE, "null", RT_ECONFIG, "post_processor is null"},
        {TEMPLATE, "{\"type\":\"RobertaProcessing\"}", RT_ECONFIG, "RobertaProcessing"},
        {"{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}", "{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}", RT_ECONFIG,
         "pair"},
        {"\"ids\":[2]", "\"ids\":[1]", RT_EDATA, "\"[CLS]\" has the id 1 here and 2"},
        {"\"lowercase\":true", "\"lowercase\":1", RT_EDATA, "lowercase is 1"},
        {"\"strip_accents\":null", "\"strip_accents\":\"no\"", RT_EDATA, "strip_accents is \"no\""},
        {"100,", "0,", RT_ECONFIG, "max_input_chars_per_word is 0"},
        {"100,", "2147483648,", RT_ECONFIG, "max_input_chars_per_word is 2147483648"},
        {"\"a\":4", "\"a\":3", RT_EDATA, "\"a\" has the id 3, which another token has"},
        {"\"a\":4", "\"a\":-4", RT_EDATA, "-4"},
        {"\"a\":4", "\"a\":16000000", RT_EDATA, "16000000"}, /* a small file that would make a large table */
        {"\"a\":4", "\"a\":4.0", RT_EDATA, "no integer"},
        {"\"a\":4", "\"a\":\"4\"", RT_EDATA, "no integer"},
        {"\"a\":4", "\"a\":4,\"a\":5", RT_EDATA, "tokenizer.json:1"}, /* a duplicate key */
        {"\"a\":4", "\"\\u0000\":4", RT_EDATA, "tokenizer.json:1"},
        {"\"a\":4", "\"\xff\":4", RT_EDATA, "tokenizer.json:1"},
        {"{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"a\":4,\"##b\":5}", "[]", RT_EDATA,
         "model.vocab is an array"},
        {"{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"a\":4,\"##b\":5}", "{}", RT_EDATA, "model.vocab"},
        {"\"id\":1", "\"id\":9", RT_EDATA, "\"[UNK]\" has the id 9 here and 1"},
        {ADDED("2", "[CLS]", "true"), ADDED("2", "word", "false"), RT_EDATA, "\"word\""},
        {ADDED("2", "[CLS]", "true"), ADDED("6", "word", "false"), RT_ECONFIG, "added_tokens is \"word\""},
        {ADDED("2", "[CLS]", "true"), "7", RT_EDATA, "added_tokens is 7"},
        {"\"unk_token\":\"[UNK]\"", "\"unk_token\":null", RT_ECONFIG, "unk_token is null"},
        {"}}}", "}}", RT_EDATA, "tokenizer.json:"},
        {"{\"version\"", "[{\"version\"", RT_EDATA, "tokenizer.json:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *json = changed(good, bad[i].from, bad[i].to);
        rt_text vocab = {0};
        rt_tokenizer_options o;
        rt_status rc = parse(json, &vocab, &o);
        if (rc != bad[i].status || !strstr(rt_error_get()->text, bad[i].part))
            print_error("%s -> %s: %d \"%s\"\n", bad[i].from, bad[i].to, (int)rc, rc ? rt_error_get()->text : "");
        assert_int_equal(rc, bad[i].status);
        assert_non_null(strstr(rt_error_get()->text, bad[i].part));
        assert_non_null(strstr(rt_error_get()->text, "tokenizer.json"));
        rt_text_free(&vocab);
        free(json);
    }
}

/* Every prefix of a good file, and a nest that would exhaust a stack: refused, never a crash. */
static void broken_files_are_refused(void **state) {
    (void)state;
    rt_tokenizer_options o;
    for (size_t n = 0; n < sizeof good - 1; n++) {
        rt_text vocab = {0};
        o = rt_tokenizer_defaults();
        assert_int_equal(rt_tokenizer_json_parse(good, n, "tokenizer.json", &vocab, &o), RT_EDATA);
        rt_text_free(&vocab);
    }
    size_t deep = 1000000;
    char *nest = malloc(deep + 1);
    memset(nest, '[', deep);
    nest[deep] = 0;
    rt_text vocab = {0};
    assert_int_equal(parse(nest, &vocab, &o), RT_EDATA);
    rt_text_free(&vocab);
    free(nest);
    assert_int_equal(parse("[]", &vocab, &o), RT_EDATA);
    assert_non_null(strstr(rt_error_get()->text, "not a JSON object"));
}

static void config_parse(const char *json, rt_status want, rt_tokenizer_options *o) {
    *o = rt_tokenizer_defaults();
    rt_status rc = rt_tokenizer_config_parse(json, strlen(json), "tokenizer_config.json", o);
    if (rc != want) print_error("%s: %s\n", json, rc ? rt_error_get()->text : "accepted");
    assert_int_equal(rc, want);
}

static void tokenizer_config_sets_what_it_names(void **state) {
    (void)state;
    rt_tokenizer_options o;
    config_parse("{}", RT_OK, &o);
    assert_true(o.lowercase && o.split_cjk && o.strip_accents == -1);
    config_parse(
        "{\"do_lower_case\":false,\"strip_accents\":true,\"tokenize_chinese_chars\":false,\"unk_token\":\"<u>\","
        "\"cls_token\":{\"content\":\"<c>\",\"lstrip\":false},\"mask_token\":null,"
        "\"model_max_length\":1000000000000000019884624838656}",
        RT_OK, &o);
    assert_true(!o.lowercase && !o.split_cjk && o.strip_accents == 1);
    assert_string_equal(o.unk, "<u>");
    assert_string_equal(o.cls, "<c>");
    assert_string_equal(o.mask, "[MASK]");
    config_parse("{\"do_lower_case\":\"yes\"}", RT_EDATA, &o);
    assert_non_null(strstr(rt_error_get()->text, "tokenizer_config.json: do_lower_case is \"yes\""));
    config_parse("{\"strip_accents\":0}", RT_EDATA, &o);
    config_parse("{\"sep_token\":7}", RT_EDATA, &o);
    config_parse("{\"sep_token\":\"\"}", RT_EDATA, &o);
    config_parse(
        "{\"do_lower_case\":false,\"sep_token\":\"0123456789012345678901234567890123456789012345678901234567890123"
        "\"}",
        RT_EDATA, &o);
    assert_true(o.lowercase); /* a refused file changes nothing */
    config_parse("", RT_EDATA, &o);
}

/* What is written reads back to a tokenizer of the same digest. */
static void files_survive_a_round_trip(void **state) {
    (void)state;
    static const char lines[] =
        "<pad>\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\"quote\\\n##b\n\xe6\x9d\xb1\n\x7f\x01\n\xf0\x9f\x98\x80\n";
    for (int variant = 0; variant < 12; variant++) {
        rt_tokenizer_options o = rt_tokenizer_defaults(), back = rt_tokenizer_defaults();
        o.lowercase = variant & 1;
        o.split_cjk = variant & 2;
        o.strip_accents = variant / 4 - 1;
        o.max_word = 50 + variant;
        strcpy(o.pad, "<pad>");
        rt_tokenizer *tok = NULL, *again = NULL;
        rt_text json = {0}, config = {0}, map = {0}, vocab = {0};
        assert_int_equal(rt_tokenizer_from_vocab(lines, strlen(lines), "vocab.txt", &o, &tok), RT_OK);
        assert_int_equal(rt_tokenizer_json_write(tok, &json), RT_OK);
        assert_int_equal(rt_tokenizer_config_write(tok, 128, &config), RT_OK);
        assert_int_equal(rt_tokenizer_special_map_write(tok, &map), RT_OK);
        assert_non_null(strstr(json.data, "\"truncation\": null"));
        assert_non_null(strstr(json.data, "\"padding\": null"));
        assert_non_null(strstr(config.data, "\"model_max_length\": 128"));
        /* pad's name stands in tokenizer_config.json alone, so it goes first, as in a folder that is imported. */
        assert_int_equal(rt_tokenizer_config_parse(config.data, config.size, "tokenizer_config.json", &back), RT_OK);
        assert_int_equal(back.strip_accents, o.strip_accents);
        assert_int_equal(rt_tokenizer_json_parse(json.data, json.size, "tokenizer.json", &vocab, &back), RT_OK);
        assert_false(back.unusual_special);
        assert_int_equal(rt_tokenizer_from_vocab(vocab.data, vocab.size, "tokenizer.json", &back, &again), RT_OK);
        rt_digest128 x = rt_tokenizer_digest(tok), y = rt_tokenizer_digest(again);
        assert_true(x.high == y.high && x.low == y.low);
        back = rt_tokenizer_defaults();
        assert_int_equal(rt_tokenizer_config_parse(map.data, map.size, "special_tokens_map.json", &back), RT_OK);
        assert_string_equal(back.pad, "<pad>");
        rt_text_free(&json), rt_text_free(&config), rt_text_free(&map), rt_text_free(&vocab);
        rt_tokenizer_free(tok), rt_tokenizer_free(again);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_gives_vocabulary_and_options),
        cmocka_unit_test(variants_that_keep_the_ids_are_taken),
        cmocka_unit_test(what_would_change_the_ids_is_refused),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(tokenizer_config_sets_what_it_names),
        cmocka_unit_test(files_survive_a_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
