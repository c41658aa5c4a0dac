/* What the tokenizer's own files share. */
#ifndef RT_TEXT_TOKENIZER_IMPL_H
#define RT_TEXT_TOKENIZER_IMPL_H
#include "tokenizer.h"
#include "vocab.h"

#define RT_TOK_SPECIALS 5
#define RT_TOK_MAX_WORD 100000     /* highest max_word: bounds a scratch's word buffer */
#define RT_TOK_MAX_TEXT (1u << 30) /* bytes of one text: piece counts fit an int */
#define RT_TOK_CACHE 8192          /* cached words of a scratch, a power of two */
#define RT_TOK_CACHE_WORD 24       /* bytes of the longest cached word */
#define RT_TOK_CACHE_PIECES 8

/* Values of rt_tokenizer.ascii below the first character that belongs to a word. */
enum { RT_ASCII_DROP = 0, RT_ASCII_SPACE = 1, RT_ASCII_PUNCT = 2, RT_ASCII_WORD = 3 };

typedef struct {
    const char *text; /* in the tokenizer's options */
    size_t size;
    int32_t id;
} rt_tok_special;

struct rt_tokenizer {
    rt_tokenizer_options options;
    rt_vocab vocab;
    int32_t unk, cls, sep, pad, mask;        /* mask: -1 where the vocabulary has none */
    rt_tok_special special[RT_TOK_SPECIALS]; /* distinct, longest first */
    int n_special;
    unsigned char special_first[256]; /* 1: some special token starts with this byte */
    int special_lead;                 /* the one byte that starts them all, or -1 */
    bool strip, lower;                /* strip_accents resolved */
    unsigned char ascii[128];         /* the normalised character, or a value below RT_ASCII_WORD */
    rt_digest128 digest;
};

typedef struct {
    uint64_t word[RT_TOK_CACHE_WORD / 8]; /* zero-padded */
    uint8_t size, n, unknown;             /* size 0: free */
    int32_t ids[RT_TOK_CACHE_PIECES];
} rt_tok_entry; /* one cache line */

/* A non-starter that survives strip_accents, waiting to be put in canonical order. */
typedef struct {
    uint32_t cp;
    uint8_t ccc;
} rt_tok_mark;

struct rt_tok_scratch {
    rt_tok_entry *cache;
    rt_digest128 owner; /* the tokenizer that filled the cache */
    bool owned;
    int32_t *ids;
    size_t n_ids, capacity;
    unsigned char *word; /* the word being read, normalised; room for RT_TOK_CACHE_WORD bytes of padding */
    size_t word_size, word_limit, word_capacity; /* word_limit: bytes of max_word code points */
    size_t word_points;
    rt_tok_mark *marks;
    size_t n_marks, mark_capacity;
    bool out_of_memory;
};

/* Appends the pieces of a text to scratch->ids. rt_tok_begin once before. */
rt_status rt_tok_begin(const rt_tokenizer *tok, rt_tok_scratch *scratch);
rt_status rt_tok_append(const rt_tokenizer *tok, rt_tok_scratch *scratch, const char *text, size_t size,
                        rt_tok_stats *stats);
/* The first special token in p[0..n), or NULL; *which is its number. */
const char *rt_tok_find_special(const rt_tokenizer *tok, const char *p, size_t n, int *which);

#endif
