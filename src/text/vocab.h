/* A WordPiece vocabulary: the lines of a vocab.txt, and a byte trie that finds the longest piece in one walk. */
#ifndef RT_TEXT_VOCAB_H
#define RT_TEXT_VOCAB_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_VOCAB_MAX_LINES (1 << 21)
#define RT_VOCAB_MAX_BYTES ((size_t)16 << 20) /* the largest WordPiece of all languages has 5 MB */
#define RT_VOCAB_MAX_NODES (1u << 21)         /* of the trie: bounds its memory at 56 MiB, whatever the file holds */

enum { RT_TRIE_NONE = 0, RT_TRIE_START = 1, RT_TRIE_CONTINUE = 2 }; /* the two roots; no node has number 0 */

typedef struct {
    int size;         /* lines */
    char *bytes;      /* all tokens, one after another */
    uint32_t *offset; /* [size + 1] into bytes */
    /* Edges by open addressing: parent << 36 | byte << 28 | child; 0 is an empty slot. */
    uint64_t *edges;
    size_t slots, n_edges; /* slots: a power of two */
    int32_t *value;        /* [n_nodes] id of the token that ends here, or -1 */
    uint32_t n_nodes, node_capacity;
} rt_vocab;

/* Lines end in LF; white space at a line's end is trimmed (Unicode's White_Space); of duplicates the last id counts.
 * RT_EDATA: no line, too many, too large, a NUL byte, invalid UTF-8, a byte-order mark. Zero *vocab first. */
rt_status rt_vocab_parse(rt_vocab *vocab, const char *text, size_t size, const char *name);
void rt_vocab_free(rt_vocab *vocab);
/* Id of a whole token, "##" included; -1: none. */
int32_t rt_vocab_find(const rt_vocab *vocab, const char *token, size_t size);
/* Bytes of `text` less the white space at its end. */
size_t rt_vocab_trimmed(const char *text, size_t size);

static inline size_t rt_trie_slot(uint64_t key, size_t slots) {
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 32) & (slots - 1);
}

static inline uint32_t rt_trie_child(const rt_vocab *vocab, uint32_t node, unsigned char byte) {
    uint64_t key = (uint64_t)node << 8 | byte;
    for (size_t i = rt_trie_slot(key, vocab->slots);; i = (i + 1) & (vocab->slots - 1)) {
        uint64_t edge = vocab->edges[i];
        if (edge >> 28 == key) return (uint32_t)edge & 0xFFFFFFFu;
        if (!edge) return RT_TRIE_NONE;
    }
}

#endif
