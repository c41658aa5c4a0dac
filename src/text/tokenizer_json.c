/* tokenizer.json and tokenizer_config.json, read: only what gives the ids that this tokenizer gives. */
#include "json_read.h"
#include "tokenizer.h"
#include "vocab.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONLY_WORDPIECE "WordPiece (bert-*, MiniLM, bge-*-v1.5, e5-*-v2); choose a model of that family"

typedef struct {
    const char *name;
    const json_t *vocab; /* token -> id */
    const char **by_id;  /* [n_ids]; NULL where no token has the id. Strings belong to the JSON tree */
    size_t n_ids, capacity;
    rt_tokenizer_options *options;
} reader;

/* object[key] must be an object whose "type" is `type`. */
static rt_status of_type(const reader *r, const json_t *root, const char *key, const char *type, const char *accepted,
                         const json_t **out) {
    const json_t *value = json_object_get(root, key);
    const char *found = json_string_value(json_object_get(value, "type"));
    if (!found || strcmp(found, type) != 0) return rt_json_refuse(RT_ECONFIG, r->name, key, value, accepted);
    *out = value;
    return RT_OK;
}

static rt_status read_normalizer(const reader *r, const json_t *root) {
    const json_t *n, *pre;
    bool clean = true;
    RT_TRY(of_type(r, root, "normalizer", "BertNormalizer", "an object of type \"BertNormalizer\"", &n));
    RT_TRY(of_type(r, root, "pre_tokenizer", "BertPreTokenizer", "an object of type \"BertPreTokenizer\"", &pre));
    RT_TRY(rt_json_bool(n, "clean_text", r->name, &clean));
    if (!clean)
        return rt_json_refuse(RT_ECONFIG, r->name, "normalizer.clean_text", json_object_get(n, "clean_text"), "true");
    r->options->lowercase = r->options->split_cjk = true;
    RT_TRY(rt_json_bool(n, "lowercase", r->name, &r->options->lowercase));
    RT_TRY(rt_json_bool(n, "handle_chinese_chars", r->name, &r->options->split_cjk));
    const json_t *strip = json_object_get(n, "strip_accents");
    if (strip && !json_is_null(strip) && !json_is_boolean(strip))
        return rt_json_refuse(RT_EDATA, r->name, "normalizer.strip_accents", strip, "null, true or false");
    r->options->strip_accents = json_is_boolean(strip) ? json_is_true(strip) : -1;
    return RT_OK;
}

static bool ids_up_to(reader *r, size_t n) {
    if (n > r->capacity) {
        size_t capacity = n + n / 2 + 64;
        const char **by_id = realloc(r->by_id, capacity * sizeof *by_id);
        if (!by_id) return false;
        memset(by_id + r->capacity, 0, (capacity - r->capacity) * sizeof *by_id);
        r->by_id = by_id;
        r->capacity = capacity;
    }
    if (n > r->n_ids) r->n_ids = n;
    return true;
}

/* "NAME: KEY: "TOKEN" WHAT". */
static rt_status refuse_token(rt_status code, const reader *r, const char *key, const char *token, const char *what) {
    rt_text shown = {0};
    rt_text_escaped(&shown, token, strlen(token), 64);
    rt_status rc = rt_fail(code, "%s: %s: \"%s\" %s", r->name, key, shown.data ? shown.data : "", what);
    rt_text_free(&shown);
    return rc;
}

/* Gives `token` its id. Ids may leave holes, but not so many that a small file makes a large table. */
static rt_status place(reader *r, const char *token, const json_t *id, const char *key) {
    size_t entries = json_object_size(r->vocab);
    json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
    char what[160];
    if (!json_is_integer(id)) return refuse_token(RT_EDATA, r, key, token, "has an id that is no integer");
    if (n < 0 || n >= RT_VOCAB_MAX_LINES || (size_t)n > 4 * entries + 65536) {
        snprintf(what, sizeof what, "has the id %lld; accepted: from 0, near the number of entries (%zu)", (long long)n,
                 entries);
        return refuse_token(RT_EDATA, r, key, token, what);
    }
    if (!ids_up_to(r, (size_t)n + 1))
        return rt_fail(RT_ENOMEM, "%s: no memory for a vocabulary of %zu", r->name, entries);
    if (r->by_id[n] && strcmp(r->by_id[n], token) != 0) {
        snprintf(what, sizeof what, "has the id %lld, which another token has; each token needs its own", (long long)n);
        return refuse_token(RT_EDATA, r, key, token, what);
    }
    r->by_id[n] = token;
    return RT_OK;
}

static rt_status read_model(reader *r, const json_t *root) {
    rt_tokenizer_options *o = r->options;
    const json_t *model, *value;
    RT_TRY(of_type(r, root, "model", "WordPiece", ONLY_WORDPIECE, &model));
    value = json_object_get(model, "continuing_subword_prefix");
    if (value && (!json_is_string(value) || strcmp(json_string_value(value), "##") != 0))
        return rt_json_refuse(RT_ECONFIG, r->name, "model.continuing_subword_prefix", value, "\"##\"");
    value = json_object_get(model, "max_input_chars_per_word");
    if (value && (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 100000))
        return rt_json_refuse(RT_ECONFIG, r->name, "model.max_input_chars_per_word", value,
                              "1 to 100000 (BERT has 100)");
    o->max_word = value ? (int)json_integer_value(value) : 100;
    if (!json_is_string(json_object_get(model, "unk_token")))
        return rt_json_refuse(RT_ECONFIG, r->name, "model.unk_token", json_object_get(model, "unk_token"),
                              "a token of the vocabulary, \"[UNK]\" as a rule");
    RT_TRY(rt_json_token(model, "unk_token", r->name, o->unk, sizeof o->unk));
    r->vocab = json_object_get(model, "vocab");
    size_t entries = json_object_size(r->vocab);
    if (!entries)
        return rt_json_refuse(RT_EDATA, r->name, "model.vocab", r->vocab,
                              "an object of tokens and their ids, one at least");
    const char *token;
    json_t *id;
    json_object_foreach((json_t *)r->vocab, token, id) RT_TRY(place(r, token, id, "model.vocab"));
    return RT_OK;
}

/* An id that stands elsewhere in the file must be the vocabulary's. */
static rt_status agrees(const reader *r, const char *token, const json_t *id, const char *key) {
    const json_t *in_vocab = json_object_get(r->vocab, token);
    json_int_t n = json_integer_value(id);
    if (json_is_integer(id) && in_vocab && json_integer_value(in_vocab) == n) return RT_OK;
    if (json_is_integer(id) && !in_vocab && n >= 0 && (size_t)n < r->n_ids && r->by_id[n] &&
        !strcmp(r->by_id[n], token))
        return RT_OK; /* an added token that the model's vocabulary lacks */
    char what[160];
    snprintf(what, sizeof what, "has the id %lld here and %lld in the vocabulary: ids must agree (-1: none)",
             json_is_integer(id) ? (long long)n : -1LL, in_vocab ? (long long)json_integer_value(in_vocab) : -1LL);
    return refuse_token(RT_EDATA, r, key, token, what);
}

/* Puts added tokens among the vocabulary's; afterwards every entry is known to be an object with a content. */
static rt_status place_added(reader *r, const json_t *list) {
    if (list && !json_is_null(list) && !json_is_array(list))
        return rt_json_refuse(RT_EDATA, r->name, "added_tokens", list, "an array");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i), *content = json_object_get(entry, "content");
        const json_t *id = json_object_get(entry, "id");
        if (!json_is_string(content) || !json_string_length(content))
            return rt_json_refuse(RT_EDATA, r->name, "an entry of added_tokens", entry,
                                  "an object with id and content");
        const char *token = json_string_value(content);
        if (!json_object_get(r->vocab, token)) {
            /* Hugging Face numbers such tokens from the vocabulary's size on, whatever the file says. */
            if (json_is_integer(id) && json_integer_value(id) < (json_int_t)json_object_size(r->vocab))
                return refuse_token(RT_EDATA, r, "added_tokens", token,
                                    "is not in model.vocab, but its id is below the vocabulary's size");
            RT_TRY(place(r, token, id, "added_tokens"));
        }
        RT_TRY(agrees(r, token, id, "added_tokens"));
    }
    return RT_OK;
}

/* Special tokens may be any number; only a tokenizer's five are matched or counted. Others are vocabulary, which is
 * what splitting makes of them. Tokens that are not special always match in Hugging Face, so they are refused. */
static rt_status check_added(const reader *r, const json_t *list) {
    rt_tokenizer_options *o = r->options;
    o->unusual_special = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i), *content = json_object_get(entry, "content");
        const char *token = json_string_value(content);
        bool special = false, odd = false;
        RT_TRY(rt_json_bool(entry, "special", r->name, &special));
        const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
            bool set = false;
            RT_TRY(rt_json_bool(entry, flags[f], r->name, &set));
            odd |= set;
        }
        bool ours = rt_streq(token, o->unk) || rt_streq(token, o->cls) || rt_streq(token, o->sep) ||
                    rt_streq(token, o->pad) || rt_streq(token, o->mask);
        if (!special && !ours)
            return rt_json_refuse(
                RT_ECONFIG, r->name, "added_tokens", content,
                "special tokens only (\"special\": true); words that were added to the vocabulary are not "
                "supported, as they match before WordPiece does");
        o->unusual_special |= odd || !ours;
    }
    return RT_OK;
}

/* One template must be `pattern`: C for cls, S for sep, A and B, each with its type digit. */
static rt_status match_template(const reader *r, const json_t *post, const char *key, const char *pattern,
                                const char *accepted, const char *special[2]) {
    const json_t *list = json_object_get(post, key);
    size_t n = strlen(pattern) / 2;
    bool good = json_array_size(list) == n;
    for (size_t i = 0; good && i < n; i++) {
        char kind = pattern[2 * i];
        bool text = kind == 'A' || kind == 'B';
        const json_t *piece = json_object_get(json_array_get(list, i), text ? "Sequence" : "SpecialToken");
        const char *id = json_string_value(json_object_get(piece, "id"));
        const json_t *type = json_object_get(piece, "type_id");
        good = id && json_is_integer(type) && json_integer_value(type) == pattern[2 * i + 1] - '0';
        if (!good) break;
        const char **name = &special[kind == 'S'];
        if (text)
            good = id[0] == kind && !id[1];
        else if (!*name)
            *name = id;
        else
            good = !strcmp(*name, id);
    }
    return good ? RT_OK : rt_json_refuse(RT_ECONFIG, r->name, key, list, accepted);
}

static rt_status read_template(const reader *r, const json_t *post, const char *special[2]) {
    RT_TRY(match_template(r, post, "single", "C0A0S0", "post_processor.single = [CLS]:0 $A:0 [SEP]:0", special));
    RT_TRY(match_template(r, post, "pair", "C0A0S0B1S1", "post_processor.pair = [CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
                          special));
    for (int i = 0; i < 2; i++) {
        const json_t *entry = json_object_get(json_object_get(post, "special_tokens"), special[i]);
        const json_t *ids = json_object_get(entry, "ids"), *tokens = json_object_get(entry, "tokens");
        const char *token = json_string_value(json_array_get(tokens, 0));
        if (json_array_size(ids) != 1 || json_array_size(tokens) != 1 || !token)
            return rt_json_refuse(RT_ECONFIG, r->name, "post_processor.special_tokens", entry,
                                  "one token and one id for each");
        special[i] = token;
        RT_TRY(agrees(r, token, json_array_get(ids, 0), "post_processor"));
    }
    return RT_OK;
}

static rt_status read_post_processor(const reader *r, const json_t *root) {
    static const char accepted[] = "TemplateProcessing or BertProcessing that makes [CLS] A [SEP] B [SEP]";
    const json_t *post = json_object_get(root, "post_processor");
    const char *type = json_string_value(json_object_get(post, "type"));
    const char *special[2] = {NULL, NULL}; /* cls, sep */
    if (rt_streq(type, "TemplateProcessing")) {
        RT_TRY(read_template(r, post, special));
    } else if (rt_streq(type, "BertProcessing")) {
        const char *const keys[] = {"cls", "sep"};
        for (int i = 0; i < 2; i++) {
            const json_t *pair = json_object_get(post, keys[i]);
            special[i] = json_string_value(json_array_get(pair, 0));
            if (json_array_size(pair) != 2 || !special[i])
                return rt_json_refuse(RT_EDATA, r->name, keys[i], pair, "an array of token and id");
            RT_TRY(agrees(r, special[i], json_array_get(pair, 1), "post_processor"));
        }
    } else {
        return rt_json_refuse(RT_ECONFIG, r->name, "post_processor", post, accepted);
    }
    char *to[2] = {r->options->cls, r->options->sep};
    for (int i = 0; i < 2; i++) {
        size_t size = strlen(special[i]);
        if (size == 0 || size >= sizeof r->options->cls)
            return rt_fail(RT_EDATA, "%s: post_processor: a special token of %zu bytes; accepted: 1 to %zu", r->name,
                           size, sizeof r->options->cls - 1);
        memcpy(to[i], special[i], size + 1);
    }
    return RT_OK;
}

/* A vocab.txt has a line an id. A hole is an empty line, and so is a token that a line cannot hold (it has a line
 * break, or white space at its end): no word of any text can be such a token, so the ids stay the same. */
static rt_status write_lines(const reader *r, rt_text *vocab) {
    for (size_t i = 0; i < r->n_ids; i++) {
        const char *token = r->by_id[i] ? r->by_id[i] : "";
        size_t size = strlen(token);
        if (!memchr(token, '\n', size) && rt_vocab_trimmed(token, size) == size) rt_text_append(vocab, token, size);
        rt_text_append(vocab, "\n", 1);
    }
    return rt_text_status(vocab);
}

rt_status rt_tokenizer_json_parse(const char *json, size_t size, const char *name, rt_text *vocab,
                                  rt_tokenizer_options *options) {
    rt_status rc = RT_EINTERNAL;
    json_t *root = NULL;
    reader r = {.name = name, .options = options};
    RT_GO(rt_json_load_object(json, size, name, 0, &root));
    RT_GO(read_model(&r, root));
    RT_GO(read_normalizer(&r, root));
    RT_GO(rt_json_token(json_object_get(root, "padding"), "pad_token", name, options->pad, sizeof options->pad));
    const json_t *added = json_object_get(root, "added_tokens");
    RT_GO(place_added(&r, added));
    RT_GO(read_post_processor(&r, root)); /* names cls and sep */
    RT_GO(check_added(&r, added));
    rt_text_clear(vocab);
    RT_GO(write_lines(&r, vocab));
done:
    free(r.by_id);
    json_decref(root);
    return rc;
}

rt_status rt_tokenizer_config_parse(const char *json, size_t size, const char *name, rt_tokenizer_options *options) {
    rt_status rc = RT_EINTERNAL;
    json_t *root = NULL;
    rt_tokenizer_options o = *options;
    /* As reals, since Hugging Face writes model_max_length = 1000000000000000019884624838656 where there is no limit.
     */
    RT_GO(rt_json_load_object(json, size, name, JSON_DECODE_INT_AS_REAL, &root));
    RT_GO(rt_json_bool(root, "do_lower_case", name, &o.lowercase));
    RT_GO(rt_json_bool(root, "tokenize_chinese_chars", name, &o.split_cjk));
    const json_t *strip = json_object_get(root, "strip_accents");
    if (strip && !json_is_null(strip) && !json_is_boolean(strip)) {
        rc = rt_json_refuse(RT_EDATA, name, "strip_accents", strip, "null, true or false");
        goto done;
    }
    if (strip) o.strip_accents = json_is_boolean(strip) ? json_is_true(strip) : -1;
    RT_GO(rt_json_token(root, "unk_token", name, o.unk, sizeof o.unk));
    RT_GO(rt_json_token(root, "cls_token", name, o.cls, sizeof o.cls));
    RT_GO(rt_json_token(root, "sep_token", name, o.sep, sizeof o.sep));
    RT_GO(rt_json_token(root, "pad_token", name, o.pad, sizeof o.pad));
    RT_GO(rt_json_token(root, "mask_token", name, o.mask, sizeof o.mask));
    *options = o;
done:
    json_decref(root);
    return rc;
}
