#include "vocab.h"
#include "../base/text.h"
#include <stdlib.h>
#include <string.h>

void rt_vocab_free(rt_vocab *vocab) {
    if (!vocab) return;
    free(vocab->bytes);
    free(vocab->offset);
    free(vocab->edges);
    free(vocab->value);
    memset(vocab, 0, sizeof *vocab);
}

static rt_status out_of_memory(const char *name) {
    return rt_fail(RT_ENOMEM, "%s: no memory for the vocabulary", name);
}

/* White_Space of Unicode, for a vocabulary's lines alone: the tables of unicode.h call some of these controls. */
static bool is_white(uint32_t cp) {
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
           cp == 0x3000;
}

size_t rt_vocab_trimmed(const char *text, size_t size) {
    while (size) {
        size_t start = size - 1;
        while (start && size - start < 4 && ((unsigned char)text[start] & 0xC0) == 0x80) start--;
        unsigned cp;
        bool bad = false;
        int n = rt_utf8_decode((const unsigned char *)text + start, size - start, &cp, &bad);
        if (bad || (size_t)n != size - start || !is_white(cp)) break;
        size = start;
    }
    return size;
}

static bool grow_edges(rt_vocab *vocab) {
    size_t slots = vocab->slots ? vocab->slots * 2 : 1024;
    uint64_t *edges = calloc(slots, sizeof *edges);
    if (!edges) return false;
    for (size_t i = 0; i < vocab->slots; i++) {
        uint64_t edge = vocab->edges[i];
        if (!edge) continue;
        size_t at = rt_trie_slot(edge >> 28, slots);
        while (edges[at]) at = (at + 1) & (slots - 1);
        edges[at] = edge;
    }
    free(vocab->edges);
    vocab->edges = edges;
    vocab->slots = slots;
    return true;
}

static uint32_t new_node(rt_vocab *vocab) {
    if (vocab->n_nodes == vocab->node_capacity) {
        uint32_t capacity = vocab->node_capacity ? vocab->node_capacity * 2 : 1024;
        int32_t *value = realloc(vocab->value, capacity * sizeof *value);
        if (!value) return RT_TRIE_NONE;
        vocab->value = value;
        vocab->node_capacity = capacity;
    }
    vocab->value[vocab->n_nodes] = -1;
    return vocab->n_nodes++;
}

/* The child of `node`, made if it is not there; RT_TRIE_NONE without memory. */
static uint32_t add_child(rt_vocab *vocab, uint32_t node, unsigned char byte) {
    uint32_t child = rt_trie_child(vocab, node, byte);
    if (child) return child;
    if (vocab->n_edges * 2 >= vocab->slots && !grow_edges(vocab)) return RT_TRIE_NONE;
    child = new_node(vocab);
    if (!child) return RT_TRIE_NONE;
    uint64_t key = (uint64_t)node << 8 | byte;
    size_t at = rt_trie_slot(key, vocab->slots);
    while (vocab->edges[at]) at = (at + 1) & (vocab->slots - 1);
    vocab->edges[at] = key << 28 | child;
    vocab->n_edges++;
    return child;
}

static rt_status too_many_nodes(const char *name, int line) {
    return rt_fail(RT_EDATA,
                   "%s:%d: its tokens have more than %u different beginnings; a vocabulary has fewer: is this a "
                   "vocab.txt?",
                   name, line, RT_VOCAB_MAX_NODES);
}

/* Where a token starts in the trie: "##x" hangs x under the second root. "##" alone is a word like any other. */
static uint32_t root_of(const char **token, size_t *size) {
    if (*size <= 2 || (*token)[0] != '#' || (*token)[1] != '#') return RT_TRIE_START;
    *token += 2;
    *size -= 2;
    return RT_TRIE_CONTINUE;
}

static bool add_token(rt_vocab *vocab, const char *token, size_t size, int32_t id) {
    uint32_t node = root_of(&token, &size);
    for (size_t i = 0; i < size; i++)
        if (!(node = add_child(vocab, node, (unsigned char)token[i]))) return false;
    vocab->value[node] = id;
    return true;
}

int32_t rt_vocab_find(const rt_vocab *vocab, const char *token, size_t size) {
    uint32_t node = root_of(&token, &size);
    for (size_t i = 0; i < size; i++)
        if (!(node = rt_trie_child(vocab, node, (unsigned char)token[i]))) return -1;
    return vocab->value[node];
}

/* What makes bytes unfit to be a vocabulary, before anything is allocated. */
static rt_status check(const char *text, size_t size, const char *name, int *lines) {
    if (size > RT_VOCAB_MAX_BYTES)
        return rt_fail(RT_EDATA, "%s: %zu bytes; a vocabulary has at most %zu: is this a vocab.txt?", name, size,
                       RT_VOCAB_MAX_BYTES);
    if (size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        return rt_fail(RT_EDATA, "%s:1: a byte-order mark; save the file as UTF-8 without one", name);
    int line = 1;
    for (size_t i = 0; i < size;) {
        unsigned cp;
        bool bad = false;
        if (!text[i])
            return rt_fail(RT_EDATA, "%s:%d: a NUL byte; a vocab.txt is UTF-8 text, one token a line", name, line);
        int n = rt_utf8_decode((const unsigned char *)text + i, size - i, &cp, &bad);
        if (bad)
            return rt_fail(RT_EDATA, "%s:%d: byte 0x%02x is not UTF-8; a vocab.txt is UTF-8 text, one token a line",
                           name, line, (unsigned)(unsigned char)text[i]);
        i += (size_t)n;
        if (cp == '\n' && i < size && ++line > RT_VOCAB_MAX_LINES)
            return rt_fail(RT_EDATA, "%s: more than %d lines; a vocabulary has one token a line", name,
                           RT_VOCAB_MAX_LINES);
    }
    if (!size) return rt_fail(RT_EDATA, "%s: empty; a vocab.txt has one token a line", name);
    *lines = line;
    return RT_OK;
}

rt_status rt_vocab_parse(rt_vocab *vocab, const char *text, size_t size, const char *name) {
    int lines = 0;
    RT_TRY(check(text, size, name, &lines));
    vocab->bytes = malloc(size);
    vocab->offset = malloc(((size_t)lines + 1) * sizeof *vocab->offset);
    if (!vocab->bytes || !vocab->offset || !grow_edges(vocab)) return out_of_memory(name);
    while (vocab->n_nodes <= RT_TRIE_CONTINUE) /* number 0, never used, and the roots */
        if (!new_node(vocab) && vocab->n_nodes == 0) return out_of_memory(name);
    uint32_t used = 0;
    for (const char *p = text, *end = text + size; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        size_t n = rt_vocab_trimmed(p, (size_t)(stop - p));
        vocab->offset[vocab->size] = used;
        memcpy(vocab->bytes + used, p, n);
        if (vocab->n_nodes + n >= RT_VOCAB_MAX_NODES) return too_many_nodes(name, vocab->size + 1);
        if (!add_token(vocab, vocab->bytes + used, n, vocab->size)) return out_of_memory(name);
        used += (uint32_t)n;
        vocab->size++;
        p = stop + 1;
    }
    vocab->offset[vocab->size] = used;
    return RT_OK;
}
