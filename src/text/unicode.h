/* What the reference tokenizer does with each code point, as frozen tables (tools/make_unicode_tables.py).
 * Not a Unicode library: categories, case and decomposition come from different Unicode versions on purpose. */
#ifndef RT_TEXT_UNICODE_H
#define RT_TEXT_UNICODE_H
#include <stdint.h>

enum {
    RT_UC_DROP = 1,       /* removed by cleaning: Cc, Cf, Cn, Co of 2016, U+FFFD */
    RT_UC_SPACE = 2,      /* ends a word */
    RT_UC_CJK = 4,        /* stands alone where split_cjk is set */
    RT_UC_PUNCT = 8,      /* stands alone */
    RT_UC_MN = 16,        /* non-spacing mark: dropped by strip_accents */
    RT_UC_HANGUL = 32,    /* decomposed by arithmetic */
    RT_UC_LOWER_SEQ = 64, /* lower is an offset into rt_unicode_sequences, not a delta */
};

typedef struct {
    int32_t lower; /* lower case = code point + lower, unless RT_UC_LOWER_SEQ */
    uint16_t
        nfd; /* offset of the full canonical decomposition in rt_unicode_sequences (a count, then points); 0: itself */
    uint8_t flags;
    uint8_t ccc; /* canonical combining class; 1 for every dropped mark that is no starter */
} rt_unicode_record;

#define RT_UNICODE_BLOCK 7 /* bits of a code point within a block */

extern const uint16_t rt_unicode_index[];
extern const uint16_t rt_unicode_blocks[];
extern const rt_unicode_record rt_unicode_records[]; /* number 0: nothing happens to the code point */
extern const uint32_t rt_unicode_sequences[];

/* Number of a code point's record; cp <= 0x10FFFF. */
static inline unsigned rt_unicode_number(uint32_t cp) {
    unsigned block = rt_unicode_index[cp >> RT_UNICODE_BLOCK];
    return rt_unicode_blocks[(block << RT_UNICODE_BLOCK) | (cp & ((1u << RT_UNICODE_BLOCK) - 1))];
}

static inline const rt_unicode_record *rt_unicode(uint32_t cp) {
    return &rt_unicode_records[rt_unicode_number(cp)];
}

#endif
