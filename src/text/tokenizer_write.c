/* The files that serving systems load, written from a tokenizer. */
#include "tokenizer_impl.h"
#include <string.h>

static const char *json_bool(bool value) {
    return value ? "true" : "false";
}

static void put_string(rt_text *out, const char *s) {
    rt_text_json_string(out, s, strlen(s));
}

static const char *strip_text(const rt_tokenizer *tok) {
    int strip = tok->options.strip_accents;
    return strip < 0 ? "null" : json_bool(strip);
}

/* Special tokens in order of their ids, as Hugging Face lists them. */
static void put_added(const rt_tokenizer *tok, rt_text *out) {
    int32_t last = -1;
    for (int n = 0; n < tok->n_special; n++) {
        const rt_tok_special *next = NULL;
        for (int i = 0; i < tok->n_special; i++)
            if (tok->special[i].id > last && (!next || tok->special[i].id < next->id)) next = &tok->special[i];
        if (!next) return;
        last = next->id;
        rt_text_printf(out, "%s\n    {\"id\": %d, \"content\": ", n ? "," : "", (int)next->id);
        rt_text_json_string(out, next->text, next->size);
        rt_text_puts(out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                          "\"special\": true}");
    }
}

static void put_piece(rt_text *out, const char *kind, const char *id, int type) {
    rt_text_printf(out, "\n      {\"%s\": {\"id\": ", kind);
    put_string(out, id);
    rt_text_printf(out, ", \"type_id\": %d}}", type);
}

static void put_template_token(rt_text *out, const char *token, int32_t id) {
    rt_text_puts(out, "\n      ");
    put_string(out, token);
    rt_text_puts(out, ": {\"id\": ");
    put_string(out, token);
    rt_text_printf(out, ", \"ids\": [%d], \"tokens\": [", (int)id);
    put_string(out, token);
    rt_text_puts(out, "]}");
}

static void put_post_processor(const rt_tokenizer *tok, rt_text *out) {
    const rt_tokenizer_options *o = &tok->options;
    rt_text_puts(out, "  \"post_processor\": {\n    \"type\": \"TemplateProcessing\",\n    \"single\": [");
    for (int pair = 0; pair < 2; pair++) {
        if (pair) rt_text_puts(out, "\n    ],\n    \"pair\": [");
        put_piece(out, "SpecialToken", o->cls, 0);
        rt_text_puts(out, ",");
        put_piece(out, "Sequence", "A", 0);
        rt_text_puts(out, ",");
        put_piece(out, "SpecialToken", o->sep, 0);
        if (!pair) continue;
        rt_text_puts(out, ",");
        put_piece(out, "Sequence", "B", 1);
        rt_text_puts(out, ",");
        put_piece(out, "SpecialToken", o->sep, 1);
    }
    rt_text_puts(out, "\n    ],\n    \"special_tokens\": {");
    put_template_token(out, o->cls, tok->cls);
    if (tok->sep != tok->cls) {
        rt_text_puts(out, ",");
        put_template_token(out, o->sep, tok->sep);
    }
    rt_text_puts(out, "\n    }\n  },\n");
}

/* Of duplicates only the id that counts is written: the others can never be an answer. */
static void put_vocab(const rt_tokenizer *tok, rt_text *out) {
    bool first = true;
    for (int32_t id = 0; id < tok->vocab.size; id++) {
        size_t size = 0;
        const char *token = rt_tokenizer_token(tok, id, &size);
        if (rt_vocab_find(&tok->vocab, token, size) != id) continue;
        rt_text_puts(out, first ? "\n      " : ",\n      ");
        rt_text_json_string(out, token, size);
        rt_text_printf(out, ": %d", (int)id);
        first = false;
    }
}

rt_status rt_tokenizer_json_write(const rt_tokenizer *tok, rt_text *out) {
    const rt_tokenizer_options *o = &tok->options;
    rt_text_puts(out,
                 "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [");
    put_added(tok, out);
    rt_text_printf(out,
                   "\n  ],\n  \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, "
                   "\"handle_chinese_chars\": %s, \"strip_accents\": %s, \"lowercase\": %s},\n",
                   json_bool(o->split_cjk), strip_text(tok), json_bool(o->lowercase));
    rt_text_puts(out, "  \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},\n");
    put_post_processor(tok, out);
    rt_text_puts(out, "  \"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true},\n"
                      "  \"model\": {\n    \"type\": \"WordPiece\",\n    \"unk_token\": ");
    put_string(out, o->unk);
    rt_text_printf(out,
                   ",\n    \"continuing_subword_prefix\": \"##\",\n    \"max_input_chars_per_word\": %d,\n"
                   "    \"vocab\": {",
                   o->max_word);
    put_vocab(tok, out);
    rt_text_puts(out, "\n    }\n  }\n}\n");
    return rt_text_status(out);
}

/* The five names; a mask token that the vocabulary lacks is left out, or readers would append it to the vocabulary. */
static void put_names(const rt_tokenizer *tok, rt_text *out) {
    const rt_tokenizer_options *o = &tok->options;
    const char *const keys[] = {"unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
    const char *const names[] = {o->unk, o->sep, o->pad, o->cls, tok->mask >= 0 ? o->mask : NULL};
    for (int i = 0; i < RT_TOK_SPECIALS; i++) {
        rt_text_printf(out, "%s  \"%s\": ", i ? ",\n" : "", keys[i]);
        if (names[i])
            put_string(out, names[i]);
        else
            rt_text_puts(out, "null");
    }
    rt_text_puts(out, "\n}\n");
}

rt_status rt_tokenizer_config_write(const rt_tokenizer *tok, int max_length, rt_text *out) {
    const rt_tokenizer_options *o = &tok->options;
    rt_text_printf(out,
                   "{\n  \"tokenizer_class\": \"BertTokenizer\",\n  \"do_lower_case\": %s,\n  \"strip_accents\": %s,\n"
                   "  \"tokenize_chinese_chars\": %s,\n  \"model_max_length\": %d,\n",
                   json_bool(o->lowercase), strip_text(tok), json_bool(o->split_cjk), max_length);
    put_names(tok, out);
    return rt_text_status(out);
}

rt_status rt_tokenizer_special_map_write(const rt_tokenizer *tok, rt_text *out) {
    rt_text_puts(out, "{\n");
    put_names(tok, out);
    return rt_text_status(out);
}

void rt_tokenizer_vocab_write(const rt_tokenizer *tok, rt_text *out) {
    for (int32_t id = 0; id < tok->vocab.size; id++) {
        size_t size = 0;
        const char *token = rt_tokenizer_token(tok, id, &size);
        rt_text_append(out, token, size);
        rt_text_append(out, "\n", 1);
    }
}
