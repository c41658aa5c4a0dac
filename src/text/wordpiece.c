/* One pass from raw bytes to pieces: decode, clean, normalise, split, look up. A word gathers in scratch->word; at its
 * end a direct-mapped cache answers for the common ones and the trie for the rest. Nothing is allocated once the
 * buffers have grown. */
#include "tokenizer_impl.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

rt_tok_scratch *rt_tok_scratch_new(void) {
    rt_tok_scratch *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    if (posix_memalign((void **)&s->cache, 64, RT_TOK_CACHE * sizeof *s->cache) != 0) {
        free(s);
        return NULL;
    }
    return s;
}

void rt_tok_scratch_free(rt_tok_scratch *s) {
    if (!s) return;
    free(s->cache);
    free(s->ids);
    free(s->word);
    free(s->marks);
    free(s);
}

static bool room_for(rt_tok_scratch *s, size_t n) {
    if (s->capacity - s->n_ids >= n) return true;
    size_t capacity = s->capacity ? s->capacity : 1024;
    while (capacity - s->n_ids < n) capacity *= 2;
    int32_t *ids = realloc(s->ids, capacity * sizeof *ids);
    if (!ids) {
        s->out_of_memory = true;
        return false;
    }
    s->ids = ids;
    s->capacity = capacity;
    return true;
}

rt_status rt_tok_begin(const rt_tokenizer *tok, rt_tok_scratch *s) {
    bool same = s->owned && s->owner.high == tok->digest.high && s->owner.low == tok->digest.low;
    if (!same) {
        memset(s->cache, 0, RT_TOK_CACHE * sizeof *s->cache);
        s->owner = tok->digest;
        s->owned = true;
    }
    size_t limit = 4 * (size_t)tok->options.max_word;
    size_t capacity = limit + RT_TOK_CACHE_WORD;
    if (s->word_capacity < capacity) {
        unsigned char *word = realloc(s->word, capacity);
        if (!word) return rt_fail(RT_ENOMEM, "no memory for a word of %d code points", tok->options.max_word);
        s->word = word;
        s->word_capacity = capacity;
    }
    s->word_limit = limit;
    s->n_ids = s->n_marks = s->word_size = s->word_points = 0;
    s->out_of_memory = false;
    /* So that ids are never NULL, not even for texts without a piece. */
    if (!room_for(s, 1)) return rt_fail(RT_ENOMEM, "no memory for the pieces of a text");
    memset(s->word, 0, RT_TOK_CACHE_WORD);
    return RT_OK;
}

/* The pieces of a word, longest first; [UNK] alone if any part of it is in no piece. Returns their number. */
static size_t pieces_of(const rt_tokenizer *tok, const unsigned char *word, size_t size, int32_t *ids, bool *unknown) {
    const rt_vocab *vocab = &tok->vocab;
    uint32_t root = RT_TRIE_START;
    size_t n = 0, start = 0;
    *unknown = false;
    while (start < size) {
        int32_t best = -1;
        size_t stop = start;
        uint32_t node = root;
        for (size_t i = start; i < size; i++) {
            node = rt_trie_child(vocab, node, word[i]);
            if (!node) break;
            if (vocab->value[node] >= 0) best = vocab->value[node], stop = i + 1;
        }
        if (best < 0) {
            *unknown = true;
            ids[0] = tok->unk;
            return 1;
        }
        ids[n++] = best;
        start = stop;
        root = RT_TRIE_CONTINUE;
    }
    return n;
}

static void end_word(const rt_tokenizer *tok, rt_tok_scratch *s, rt_tok_stats *stats) {
    size_t size = s->word_size, points = s->word_points;
    if (!points) return;
    s->word_size = s->word_points = 0;
    bool unknown = false;
    size_t n = 1;
    if (points > (size_t)tok->options.max_word) {
        if (!room_for(s, 1)) return;
        s->ids[s->n_ids] = tok->unk;
        unknown = true;
    } else if (size > RT_TOK_CACHE_WORD) {
        if (!room_for(s, size)) return;
        n = pieces_of(tok, s->word, size, s->ids + s->n_ids, &unknown);
    } else {
        uint64_t w[3];
        memcpy(w, s->word, sizeof w);
        uint64_t h = w[0] * 0x9E3779B97F4A7C15u ^ (w[1] + size) * 0xC2B2AE3D27D4EB4Fu ^ w[2] * 0x165667B19E3779F9u;
        rt_tok_entry *e = &s->cache[(h ^ h >> 29) * 0x9E3779B97F4A7C15u >> 32 & (RT_TOK_CACHE - 1)];
        if (!room_for(s, RT_TOK_CACHE_WORD)) return;
        int32_t *ids = s->ids + s->n_ids;
        if (e->size == size && e->word[0] == w[0] && e->word[1] == w[1] && e->word[2] == w[2]) {
            n = e->n;
            unknown = e->unknown;
            memcpy(ids, e->ids, sizeof e->ids);
        } else {
            n = pieces_of(tok, s->word, size, ids, &unknown);
            if (n <= RT_TOK_CACHE_PIECES) {
                memcpy(e->word, w, sizeof w);
                e->size = (uint8_t)size;
                e->n = (uint8_t)n;
                e->unknown = unknown;
                memcpy(e->ids, ids, n * sizeof *ids);
            }
        }
    }
    memset(s->word, 0, RT_TOK_CACHE_WORD);
    s->n_ids += n;
    stats->unknown += unknown;
}

/* Adds one normalised code point to the word. What goes beyond max_word is counted and not kept: the word is [UNK]. */
static inline void put_bytes(rt_tok_scratch *s, const unsigned char *bytes, size_t n) {
    s->word_points++;
    if (s->word_size + n > s->word_limit) return;
    for (size_t i = 0; i < n; i++) s->word[s->word_size + i] = bytes[i];
    s->word_size += n;
}

/* A code point that normalisation has left, through the pre-tokenizer. */
static void put_point(const rt_tokenizer *tok, rt_tok_scratch *s, uint32_t cp, rt_tok_stats *stats) {
    uint8_t flags = rt_unicode(cp)->flags;
    if (flags & (RT_UC_SPACE | RT_UC_PUNCT)) end_word(tok, s, stats);
    if (flags & RT_UC_SPACE) return;
    char bytes[4];
    int n = rt_utf8_encode(cp, bytes);
    put_bytes(s, (const unsigned char *)bytes, (size_t)n);
    if (flags & RT_UC_PUNCT) end_word(tok, s, stats);
}

static void put_lowered(const rt_tokenizer *tok, rt_tok_scratch *s, uint32_t cp, rt_tok_stats *stats) {
    const rt_unicode_record *u = rt_unicode(cp);
    if (!tok->lower) {
        put_point(tok, s, cp, stats);
    } else if (u->flags & RT_UC_LOWER_SEQ) {
        const uint32_t *sequence = rt_unicode_sequences + u->lower;
        for (uint32_t i = 1; i <= sequence[0]; i++) put_point(tok, s, sequence[i], stats);
    } else {
        put_point(tok, s, (uint32_t)((int32_t)cp + u->lower), stats);
    }
}

/* Ends a run of non-starters: out they go in order of their classes, equal ones as they came. One pass a class, so
 * that a long run costs no square. */
static void flush_marks(const rt_tokenizer *tok, rt_tok_scratch *s, rt_tok_stats *stats) {
    size_t n = s->n_marks;
    s->n_marks = 0;
    for (unsigned done = 0; n;) {
        unsigned next = 256;
        for (size_t i = 0; i < n; i++)
            if (s->marks[i].ccc > done && s->marks[i].ccc < next) next = s->marks[i].ccc;
        if (next == 256) return;
        for (size_t i = 0; i < n; i++)
            if (s->marks[i].ccc == next) put_lowered(tok, s, s->marks[i].cp, stats);
        done = next;
    }
}

/* One point of a decomposition: accents vanish (those of class 0 still end a run), other marks wait for their order. */
static void put_stripped(const rt_tokenizer *tok, rt_tok_scratch *s, uint32_t cp, rt_tok_stats *stats) {
    const rt_unicode_record *u = rt_unicode(cp);
    if (!u->ccc) {
        if (s->n_marks) flush_marks(tok, s, stats);
        if (!(u->flags & RT_UC_MN)) put_lowered(tok, s, cp, stats);
        return;
    }
    if (u->flags & RT_UC_MN) return;
    if (s->n_marks == s->mark_capacity) {
        size_t capacity = s->mark_capacity ? s->mark_capacity * 2 : 64;
        rt_tok_mark *marks = realloc(s->marks, capacity * sizeof *marks);
        if (!marks) {
            s->out_of_memory = true;
            return;
        }
        s->marks = marks;
        s->mark_capacity = capacity;
    }
    s->marks[s->n_marks++] = (rt_tok_mark){cp, u->ccc};
}

static void put_decomposed(const rt_tokenizer *tok, rt_tok_scratch *s, uint32_t cp, const rt_unicode_record *u,
                           rt_tok_stats *stats) {
    if (u->flags & RT_UC_HANGUL) {
        uint32_t i = cp - 0xAC00;
        put_stripped(tok, s, 0x1100 + i / 588, stats);
        put_stripped(tok, s, 0x1161 + i % 588 / 28, stats);
        if (i % 28) put_stripped(tok, s, 0x11A7 + i % 28, stats);
    } else if (u->nfd) {
        const uint32_t *sequence = rt_unicode_sequences + u->nfd;
        for (uint32_t i = 1; i <= sequence[0]; i++) put_stripped(tok, s, sequence[i], stats);
    } else {
        put_stripped(tok, s, cp, stats);
    }
}

/* A code point with a property: cleaning, CJK, accents, case, in the reference's order. */
static void put_special(const rt_tokenizer *tok, rt_tok_scratch *s, uint32_t cp, const rt_unicode_record *u,
                        rt_tok_stats *stats) {
    if (u->flags & RT_UC_DROP) return;
    bool alone = (u->flags & RT_UC_CJK) && tok->options.split_cjk;
    if (alone || (u->flags & RT_UC_SPACE)) {
        if (s->n_marks) flush_marks(tok, s, stats);
        end_word(tok, s, stats);
        if (!alone) return;
    }
    if (tok->strip)
        put_decomposed(tok, s, cp, u, stats);
    else
        put_lowered(tok, s, cp, stats);
    if (alone) {
        if (s->n_marks) flush_marks(tok, s, stats);
        end_word(tok, s, stats);
    }
}

/* Strict decoding of a multi-byte sequence (no surrogates, no overlong forms, nothing above U+10FFFF): its length, or
 * 0. */
static inline size_t decode(const unsigned char *p, size_t n, uint32_t *cp) {
    unsigned c = p[0];
    if (c < 0xC2 || c > 0xF4) return 0;
    if (c < 0xE0) {
        if (n < 2 || (p[1] & 0xC0) != 0x80) return 0;
        *cp = (c & 0x1F) << 6 | (p[1] & 0x3F);
        return 2;
    }
    if (c < 0xF0) {
        if (n < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80) return 0;
        *cp = (c & 0xF) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
        return *cp < 0x800 || (*cp >= 0xD800 && *cp < 0xE000) ? 0 : 3;
    }
    if (n < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80) return 0;
    *cp = (c & 7) << 18 | (uint32_t)(p[1] & 0x3F) << 12 | (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
    return *cp < 0x10000 || *cp > 0x10FFFF ? 0 : 4;
}

/* Text without special tokens, up to its end. */
static void append_plain(const rt_tokenizer *tok, rt_tok_scratch *s, const char *text, size_t size,
                         rt_tok_stats *stats) {
    const unsigned char *p = (const unsigned char *)text, *end = p + size;
    while (p < end) {
        if (*p >= 0x80) {
            uint32_t cp;
            size_t n = decode(p, (size_t)(end - p), &cp);
            if (!n) {
                stats->invalid_utf8++;
                p++;
                continue;
            }
            unsigned number = rt_unicode_number(cp);
            if (number == 0) {
                if (s->n_marks) flush_marks(tok, s, stats);
                put_bytes(s, p, n);
            } else {
                put_special(tok, s, cp, &rt_unicode_records[number], stats);
            }
            p += n;
            continue;
        }
        unsigned char c = tok->ascii[*p];
        if (c == RT_ASCII_DROP) {
            p++;
            continue;
        }
        if (s->n_marks) flush_marks(tok, s, stats);
        if (c >= RT_ASCII_WORD) {
            const unsigned char *start = p;
            unsigned char *to = s->word + s->word_size, *limit = s->word + s->word_limit;
            do {
                if (to < limit) *to++ = c;
            } while (++p < end && *p < 0x80 && (c = tok->ascii[*p]) >= RT_ASCII_WORD);
            s->word_size = (size_t)(to - s->word);
            s->word_points += (size_t)(p - start);
            continue;
        }
        end_word(tok, s, stats);
        if (c == RT_ASCII_PUNCT) {
            put_bytes(s, p, 1);
            end_word(tok, s, stats);
        }
        p++;
    }
    if (s->n_marks) flush_marks(tok, s, stats);
    end_word(tok, s, stats);
}

rt_status rt_tok_append(const rt_tokenizer *tok, rt_tok_scratch *s, const char *text, size_t size,
                        rt_tok_stats *stats) {
    if (size > RT_TOK_MAX_TEXT)
        return rt_fail(RT_EDATA, "a text of %zu bytes; the longest that is taken has %u", size, RT_TOK_MAX_TEXT);
    if (!size) { /* NULL will do for an empty text */
        stats->texts++;
        stats->empty++;
        return RT_OK;
    }
    size_t before = s->n_ids;
    const char *p = text, *end = text + size;
    while (p < end) {
        int which = 0;
        const char *at = rt_tok_find_special(tok, p, (size_t)(end - p), &which);
        if (!at) break;
        const char *after = at + tok->special[which].size;
        if (tok->options.match_special) {
            append_plain(tok, s, p, (size_t)(at - p), stats);
            if (room_for(s, 1)) s->ids[s->n_ids++] = tok->special[which].id;
            stats->unknown += tok->special[which].id == tok->unk;
            text = after;
        } else {
            stats->special_split++;
        }
        p = after;
    }
    append_plain(tok, s, text, (size_t)(end - text), stats);
    if (s->out_of_memory) return rt_fail(RT_ENOMEM, "no memory for the pieces of a text of %zu bytes", size);
    stats->texts++;
    stats->empty += s->n_ids == before;
    stats->tokens += s->n_ids - before;
    return RT_OK;
}

rt_status rt_tokenize(const rt_tokenizer *tok, rt_tok_scratch *scratch, const char *text, size_t size,
                      const int32_t **ids, size_t *n, rt_tok_stats *stats) {
    rt_tok_stats ignored = {0};
    RT_TRY(rt_tok_begin(tok, scratch));
    RT_TRY(rt_tok_append(tok, scratch, text, size, stats ? stats : &ignored));
    *ids = scratch->ids;
    *n = scratch->n_ids;
    return RT_OK;
}
