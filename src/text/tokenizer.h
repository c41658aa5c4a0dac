/* WordPiece exactly as Hugging Face's fast BertTokenizer does it (ids equal for every input), only faster.
 * A tokenizer is immutable after creation and may be used by any number of threads, each with its own rt_tok_scratch.
 */
#ifndef RT_TEXT_TOKENIZER_H
#define RT_TEXT_TOKENIZER_H
#include "../base/digest.h"
#include "../base/status.h"
#include "../base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_TOKENIZER_VERSION 1 /* raised when ids may change for any input; part of the cache key */

typedef struct rt_tokenizer rt_tokenizer;
typedef struct rt_tok_scratch rt_tok_scratch;

typedef struct {
    bool lowercase;       /* do_lower_case */
    int strip_accents;    /* -1: null, as lowercase; 0; 1 */
    bool split_cjk;       /* tokenize_chinese_chars / handle_chinese_chars */
    bool match_special;   /* special tokens in raw text match as one id (Hugging Face); false: split them and count */
    int max_word;         /* code points of the longest word that is not [UNK]: 100 */
    bool unusual_special; /* a tokenizer.json gave special tokens lstrip, rstrip, single_word or normalized: then
                           * match_special is refused (RT_ECONFIG), as it would not find Hugging Face's ids */
    char unk[64], cls[64], sep[64], pad[64], mask[64]; /* "[UNK]", ... */
} rt_tokenizer_options;

rt_tokenizer_options rt_tokenizer_defaults(void); /* uncased, split special tokens */

/* From the bytes of a vocab.txt (one token a line, as vocab.h reads it). `name` is for error messages.
 * RT_EDATA: no lines, a special token missing, over 2^24 lines, a NUL byte. */
rt_status rt_tokenizer_from_vocab(const char *vocab, size_t size, const char *name, const rt_tokenizer_options *options,
                                  rt_tokenizer **out);
/* From a tokenizer.json: fills *vocab (as a vocab.txt) and *options from its model, normalizer and added tokens; the
 * caller then calls rt_tokenizer_from_vocab. Fields that the file does not tell (match_special; mask, and pad where its
 * padding is null) stay as they are: start from rt_tokenizer_defaults(). RT_EDATA for malformed JSON; RT_ECONFIG for
 * BPE, Unigram, another prefix than "##", another normalizer or pre-tokenizer, naming what was found. */
rt_status rt_tokenizer_json_parse(const char *json, size_t size, const char *name, rt_text *vocab,
                                  rt_tokenizer_options *options);
/* Fills options from a tokenizer_config.json (do_lower_case, strip_accents, tokenize_chinese_chars, *_token); keys that
 * are not there leave options as they are. */
rt_status rt_tokenizer_config_parse(const char *json, size_t size, const char *name, rt_tokenizer_options *options);
/* The three files that serving systems want, from a tokenizer: padding and truncation null in tokenizer.json. */
rt_status rt_tokenizer_json_write(const rt_tokenizer *tok, rt_text *out);
rt_status rt_tokenizer_config_write(const rt_tokenizer *tok, int max_length, rt_text *out);
rt_status rt_tokenizer_special_map_write(const rt_tokenizer *tok, rt_text *out);
void rt_tokenizer_vocab_write(const rt_tokenizer *tok, rt_text *out); /* vocab.txt */
void rt_tokenizer_free(rt_tokenizer *tok);

int rt_tokenizer_size(const rt_tokenizer *tok); /* entries: highest id + 1 */
const char *rt_tokenizer_token(const rt_tokenizer *tok, int32_t id,
                               size_t *size);                        /* NULL out of range; not NUL-terminated */
int32_t rt_tokenizer_id(const rt_tokenizer *tok, const char *token); /* -1: not in the vocabulary */
int32_t rt_tokenizer_cls(const rt_tokenizer *tok), rt_tokenizer_sep(const rt_tokenizer *tok),
    rt_tokenizer_unk(const rt_tokenizer *tok), rt_tokenizer_pad(const rt_tokenizer *tok);
const rt_tokenizer_options *rt_tokenizer_get_options(const rt_tokenizer *tok);
/* Digest of vocabulary, options and RT_TOKENIZER_VERSION. */
rt_digest128 rt_tokenizer_digest(const rt_tokenizer *tok);

typedef struct {
    uint64_t texts, empty;    /* empty: no token left (white space only counts too) */
    uint64_t truncated;       /* rows that lost tokens */
    uint64_t special_split;   /* special tokens found in raw text and split */
    uint64_t invalid_utf8;    /* bad bytes */
    uint64_t unknown, tokens; /* [UNK]s, and all pieces, before truncation */
} rt_tok_stats;

rt_tok_scratch *rt_tok_scratch_new(void); /* NULL when out of memory; grows as needed, one a thread */
void rt_tok_scratch_free(rt_tok_scratch *scratch);

typedef enum { RT_TRUNCATE_LONGEST_FIRST, RT_TRUNCATE_A, RT_TRUNCATE_B } rt_truncation;
typedef struct {
    int max_length; /* [CLS] and [SEP] counted; at least 3 */
    rt_truncation truncation;
    bool left; /* truncation_side = left: drop from the start */
} rt_encode_options;

/* The bare pieces of one text, no special tokens, no truncation: ids[0..*n) point into scratch until its next use. */
rt_status rt_tokenize(const rt_tokenizer *tok, rt_tok_scratch *scratch, const char *text, size_t size,
                      const int32_t **ids, size_t *n, rt_tok_stats *stats);
/* [CLS] A [SEP] (b == NULL) or [CLS] A [SEP] B [SEP] into ids[max_length]; *n ids; *split: index of B's first token
 * (types are 0 before, 1 from there on; *split = *n for a single). Truncates as Hugging Face's fast tokenizer. */
rt_status rt_encode(const rt_tokenizer *tok, rt_tok_scratch *scratch, const rt_encode_options *options, const char *a,
                    size_t a_size, const char *b, size_t b_size, int32_t *ids, int *n, int *split, rt_tok_stats *stats);
/* The lengths left of (na, nb) tokens for a budget without special tokens: HF fast's longest_first, or one side only.
 */
void rt_truncate_pair(rt_truncation truncation, int budget, int na, int nb, int *keep_a, int *keep_b);

#endif
