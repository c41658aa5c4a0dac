#include "tokenizer.h"
#include "tokenizer_impl.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

rt_tokenizer_options rt_tokenizer_defaults(void) {
    return (rt_tokenizer_options){.lowercase = true,
                                  .strip_accents = -1,
                                  .split_cjk = true,
                                  .max_word = 100,
                                  .unk = "[UNK]",
                                  .cls = "[CLS]",
                                  .sep = "[SEP]",
                                  .pad = "[PAD]",
                                  .mask = "[MASK]"};
}

static rt_status check_options(const rt_tokenizer_options *o, const char *name) {
    if (o->strip_accents < -1 || o->strip_accents > 1)
        return rt_fail(RT_ECONFIG, "%s: strip_accents = %d; accepted are -1 (as lowercase), 0 and 1", name,
                       o->strip_accents);
    if (o->max_word < 1 || o->max_word > RT_TOK_MAX_WORD)
        return rt_fail(RT_ECONFIG, "%s: longest word = %d code points; accepted are 1 to %d (BERT has 100)", name,
                       o->max_word, RT_TOK_MAX_WORD);
    if (o->match_special && o->unusual_special)
        return rt_fail(RT_ECONFIG,
                       "%s: its tokenizer.json sets lstrip, rstrip, single_word or normalized for a special token, so "
                       "special_tokens = match would not find the same ids; use special_tokens = split",
                       name);
    return RT_OK;
}

/* The id of one special token. A token that is not needed for classification (`needed` false) may be missing. */
static rt_status bind_special(rt_tokenizer *tok, const char *text, size_t capacity, const char *key, bool needed,
                              const char *name, int32_t *id) {
    size_t size = strnlen(text, capacity);
    if (size == 0 || size == capacity)
        return rt_fail(RT_ECONFIG, "%s: %s is %s; a special token has 1 to %zu bytes", name, key,
                       size ? "too long" : "empty", capacity - 1);
    *id = rt_vocab_find(&tok->vocab, text, size);
    if (*id < 0 && needed) {
        rt_text shown = {0};
        rt_text_escaped(&shown, text, size, 64);
        rt_status rc =
            rt_fail(RT_EDATA,
                    "%s: the special token \"%s\" (%s) is not among its %d tokens; a BERT vocabulary has [PAD], "
                    "[UNK], [CLS] and [SEP]: is this a WordPiece vocab.txt, and does tokenizer_config.json name "
                    "other special tokens?",
                    name, shown.data ? shown.data : "?", key, tok->vocab.size);
        rt_text_free(&shown);
        return rc;
    }
    if (*id < 0) return RT_OK;
    int at = tok->n_special;
    for (int i = 0; i < tok->n_special; i++)
        if (tok->special[i].id == *id) return RT_OK;
    while (at > 0 && tok->special[at - 1].size < size) {
        tok->special[at] = tok->special[at - 1];
        at--;
    }
    tok->special[at] = (rt_tok_special){text, size, *id};
    tok->n_special++;
    tok->special_first[(unsigned char)text[0]] = 1;
    return RT_OK;
}

static rt_status bind_specials(rt_tokenizer *tok, const char *name) {
    const rt_tokenizer_options *o = &tok->options;
    RT_TRY(bind_special(tok, o->unk, sizeof o->unk, "unk_token", true, name, &tok->unk));
    RT_TRY(bind_special(tok, o->cls, sizeof o->cls, "cls_token", true, name, &tok->cls));
    RT_TRY(bind_special(tok, o->sep, sizeof o->sep, "sep_token", true, name, &tok->sep));
    RT_TRY(bind_special(tok, o->pad, sizeof o->pad, "pad_token", true, name, &tok->pad));
    RT_TRY(bind_special(tok, o->mask, sizeof o->mask, "mask_token", false, name, &tok->mask));
    tok->special_lead = (unsigned char)tok->special[0].text[0];
    for (int i = 1; i < tok->n_special; i++)
        if ((unsigned char)tok->special[i].text[0] != tok->special_lead) tok->special_lead = -1;
    return RT_OK;
}

static void fill_ascii(rt_tokenizer *tok) {
    for (unsigned c = 0; c < 128; c++) {
        const rt_unicode_record *u = rt_unicode(c);
        if (u->flags & RT_UC_DROP)
            tok->ascii[c] = RT_ASCII_DROP;
        else if (u->flags & RT_UC_SPACE)
            tok->ascii[c] = RT_ASCII_SPACE;
        else if (u->flags & RT_UC_PUNCT)
            tok->ascii[c] = RT_ASCII_PUNCT;
        else
            tok->ascii[c] = (unsigned char)(tok->lower ? (int32_t)c + u->lower : (int32_t)c);
    }
}

static bool digest_of(const rt_tokenizer *tok, rt_digest128 *out) {
    const rt_tokenizer_options *o = &tok->options;
    rt_digest *d = rt_digest_new();
    if (!d) return false;
    rt_digest_u64(d, RT_TOKENIZER_VERSION);
    rt_digest_u64(d, o->lowercase);
    rt_digest_u64(d, (uint64_t)(int64_t)o->strip_accents);
    rt_digest_u64(d, o->split_cjk);
    rt_digest_u64(d, o->match_special);
    rt_digest_u64(d, (uint64_t)o->max_word);
    const char *special[] = {o->unk, o->cls, o->sep, o->pad, o->mask};
    for (int i = 0; i < RT_TOK_SPECIALS; i++) rt_digest_string(d, special[i]);
    rt_digest_u64(d, (uint64_t)tok->vocab.size);
    rt_digest_update(d, tok->vocab.offset, ((size_t)tok->vocab.size + 1) * sizeof *tok->vocab.offset);
    rt_digest_update(d, tok->vocab.bytes, tok->vocab.offset[tok->vocab.size]);
    *out = rt_digest_end(d);
    rt_digest_free(d);
    return true;
}

rt_status rt_tokenizer_from_vocab(const char *vocab, size_t size, const char *name, const rt_tokenizer_options *options,
                                  rt_tokenizer **out) {
    rt_status rc = RT_EINTERNAL;
    *out = NULL;
    rt_tokenizer *tok = calloc(1, sizeof *tok);
    if (!tok) return rt_fail(RT_ENOMEM, "%s: no memory for the tokenizer", name);
    tok->options = options ? *options : rt_tokenizer_defaults();
    tok->lower = tok->options.lowercase;
    tok->strip = tok->options.strip_accents < 0 ? tok->lower : tok->options.strip_accents != 0;
    RT_GO(check_options(&tok->options, name));
    RT_GO(rt_vocab_parse(&tok->vocab, vocab, size, name));
    RT_GO(bind_specials(tok, name));
    fill_ascii(tok);
    if (!digest_of(tok, &tok->digest)) {
        rc = rt_fail(RT_ENOMEM, "%s: no memory for the tokenizer's digest", name);
        goto done;
    }
    *out = tok;
    tok = NULL;
done:
    rt_tokenizer_free(tok);
    return rc;
}

void rt_tokenizer_free(rt_tokenizer *tok) {
    if (!tok) return;
    rt_vocab_free(&tok->vocab);
    free(tok);
}

int rt_tokenizer_size(const rt_tokenizer *tok) {
    return tok->vocab.size;
}

const char *rt_tokenizer_token(const rt_tokenizer *tok, int32_t id, size_t *size) {
    if (id < 0 || id >= tok->vocab.size) return NULL;
    *size = tok->vocab.offset[id + 1] - tok->vocab.offset[id];
    return tok->vocab.bytes + tok->vocab.offset[id];
}

int32_t rt_tokenizer_id(const rt_tokenizer *tok, const char *token) {
    return token ? rt_vocab_find(&tok->vocab, token, strlen(token)) : -1;
}

int32_t rt_tokenizer_cls(const rt_tokenizer *tok) {
    return tok->cls;
}
int32_t rt_tokenizer_sep(const rt_tokenizer *tok) {
    return tok->sep;
}
int32_t rt_tokenizer_unk(const rt_tokenizer *tok) {
    return tok->unk;
}
int32_t rt_tokenizer_pad(const rt_tokenizer *tok) {
    return tok->pad;
}
const rt_tokenizer_options *rt_tokenizer_get_options(const rt_tokenizer *tok) {
    return &tok->options;
}
rt_digest128 rt_tokenizer_digest(const rt_tokenizer *tok) {
    return tok->digest;
}

const char *rt_tok_find_special(const rt_tokenizer *tok, const char *p, size_t n, int *which) {
    for (const char *end = p + n; p < end; p++) {
        if (tok->special_lead >= 0) {
            p = memchr(p, tok->special_lead, (size_t)(end - p));
            if (!p) return NULL;
        } else if (!tok->special_first[(unsigned char)*p]) {
            continue;
        }
        for (int i = 0; i < tok->n_special; i++) { /* longest first */
            const rt_tok_special *s = &tok->special[i];
            if ((size_t)(end - p) < s->size || memcmp(p, s->text, s->size) != 0) continue;
            *which = i;
            return p;
        }
    }
    return NULL;
}
