/* The tokenizer of a Hugging Face folder. Today's transformers writes tokenizer.json alone, older ones vocab.txt too;
 * where both are there they must agree, since servers read the one and this program trains with the other. */
#include "../base/file.h"
#include "hf_import.h"
#include "json.h"
#include <stdlib.h>
#include <string.h>

/* *data NULL where the file is not there. */
static rt_status read_optional(const char *folder, const char *name, size_t limit, char **path, char **data,
                               size_t *size) {
    *data = NULL;
    *size = 0;
    *path = rt_path_join(folder, name);
    if (!*path) return rt_fail(RT_ENOMEM, "%s: out of memory", folder);
    return rt_path_taken(*path) ? rt_file_read(*path, limit, data, size) : RT_OK;
}

static rt_status no_vocabulary(const char *folder) {
    static const char *const others[] = {"vocab.json", "merges.txt", "sentencepiece.bpe.model", "tokenizer.model",
                                         "spiece.model"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *path = rt_path_join(folder, others[i]);
        bool there = path && rt_path_taken(path);
        free(path);
        if (there)
            return rt_fail(RT_ECONFIG,
                           "%s: its tokenizer is in %s; rectrain takes WordPiece (vocab.txt or "
                           "tokenizer.json)",
                           folder, others[i]);
    }
    return rt_fail(RT_ENOINPUT, "%s: neither vocab.txt nor tokenizer.json; fetch the model again", folder);
}

/* tokenizer.json may know tokens behind the end of vocab.txt (added ones); then it is the one to take. */
static rt_status compare(const char *folder, const rt_tokenizer *text, const rt_tokenizer *json) {
    int n = rt_tokenizer_size(text), m = rt_tokenizer_size(json);
    for (int id = 0; id < n; id++) {
        size_t a = 0, b = 0;
        const char *x = rt_tokenizer_token(text, id, &a), *y = id < m ? rt_tokenizer_token(json, id, &b) : NULL;
        if (x && y && a == b && memcmp(x, y, a) == 0) continue;
        if (!x && !y) continue;
        return rt_fail(
            RT_EDATA,
            "%s: vocab.txt and tokenizer.json disagree at id %d (\"%.*s\" and \"%.*s\"); remove the one that "
            "is not the model's",
            folder, id, x ? (int)(a < 60 ? a : 60) : 0, x ? x : "", y ? (int)(b < 60 ? b : 60) : 0, y ? y : "");
    }
    return RT_OK;
}

static rt_status agree(const char *folder, const char *lines, size_t size, const rt_text *vocab,
                       const rt_tokenizer_options *options, const char *text_name, const char *json_name) {
    rt_status rc;
    rt_tokenizer *text = NULL, *json = NULL;
    RT_GO(rt_tokenizer_from_vocab(vocab->data, vocab->size, json_name, options, &json));
    RT_GO(rt_tokenizer_from_vocab(lines, size, text_name, options, &text));
    RT_GO(compare(folder, text, json));
done:
    rt_tokenizer_free(text);
    rt_tokenizer_free(json);
    return rc;
}

static void warn_changed(rt_log *log, const char *folder, const rt_tokenizer_options *a,
                         const rt_tokenizer_options *b) {
    if (a->lowercase != b->lowercase || a->strip_accents != b->strip_accents || a->split_cjk != b->split_cjk)
        rt_warn(log,
                "%s: tokenizer_config.json and tokenizer.json disagree on casing, accents or Chinese; the first is "
                "taken, as transformers does (do_lower_case = %s)",
                folder, b->lowercase ? "true" : "false");
}

/* Does tokenizer_config.json say that transformers builds its own BertTokenizer, whatever tokenizer.json holds? */
static bool says_bert(const char *config, size_t size, const char *name) {
    json_t *object = NULL;
    const char *class = NULL;
    bool bert = config && rt_json_object(config, size, name, &object) == RT_OK &&
                rt_json_string(object, name, "tokenizer_class", &class) == RT_OK && class &&
                (strcmp(class, "BertTokenizer") == 0 || strcmp(class, "BertTokenizerFast") == 0);
    json_decref(object);
    return bert;
}

/* A tokenizer.json that is no BertTokenizer's may stand beside a vocab.txt that is: transformers then goes by the class
 * that tokenizer_config.json names, and so does import. */
static rt_status read_json(rt_log *log, const char *json, size_t size, const char *name, bool may_leave, rt_text *vocab,
                           rt_tokenizer_options *options, bool *taken) {
    rt_status rc = rt_tokenizer_json_parse(json, size, name, vocab, options);
    *taken = rc == RT_OK;
    if (rc != RT_ECONFIG || !may_leave) return rc;
    rt_warn(log, "%s; vocab.txt and tokenizer_config.json (BertTokenizer) are taken instead, as transformers does",
            rt_error_get()->text);
    rt_error_clear();
    rt_text_clear(vocab);
    *options = rt_tokenizer_defaults();
    return RT_OK;
}

rt_status rt_hf_tokenizer(const char *folder, rt_log *log, rt_text *vocab, rt_tokenizer_options *options) {
    rt_status rc;
    char *lines = NULL, *json = NULL, *config = NULL, *lines_path = NULL, *json_path = NULL, *config_path = NULL;
    size_t n_lines = 0, n_json = 0, n_config = 0;
    bool taken = false; /* tokenizer.json */
    *options = rt_tokenizer_defaults();
    RT_GO(read_optional(folder, "vocab.txt", RT_VOCAB_LIMIT, &lines_path, &lines, &n_lines));
    RT_GO(read_optional(folder, "tokenizer.json", RT_VOCAB_LIMIT, &json_path, &json, &n_json));
    RT_GO(read_optional(folder, "tokenizer_config.json", RT_JSON_LIMIT, &config_path, &config, &n_config));
    if (!lines && !json) {
        rc = no_vocabulary(folder);
        goto done;
    }
    if (json)
        RT_GO(read_json(log, json, n_json, json_path, lines && says_bert(config, n_config, config_path), vocab, options,
                        &taken));
    if (config) {
        rt_tokenizer_options before = *options;
        RT_GO(rt_tokenizer_config_parse(config, n_config, config_path, options));
        if (taken) warn_changed(log, folder, &before, options);
    }
    if (taken && lines) RT_GO(agree(folder, lines, n_lines, vocab, options, lines_path, json_path));
    if (!taken) rt_text_append(vocab, lines, n_lines);
    RT_GO(rt_text_status(vocab));
done:
    free(lines);
    free(json);
    free(config);
    free(lines_path);
    free(json_path);
    free(config_path);
    return rc;
}
