/* The items that can be recommended: ids, texts, slices, and the columns that rules speak of. */
#ifndef RT_RECOMMEND_ITEM_TABLE_H
#define RT_RECOMMEND_ITEM_TABLE_H
#include "../base/text.h"
#include "rules.h"

enum { RT_CATALOGUE_TEXTS = 3, RT_TITLE_BYTES = 16 << 10, RT_HISTORY_BYTES = 64 << 10 };

typedef struct {
    const char *path;
    rt_table_format format;
    rt_quoting quoting;
    const char *id;                        /* column */
    const char *texts[RT_CATALOGUE_TEXTS]; /* columns or templates; NULL: none */
    const char *keys[RT_CATALOGUE_TEXTS];  /* what named each, for messages: "--item-text" */
    const char *title;                     /* likewise, for histories; cleaned as `rectrain join` cleans titles */
    bool title_optional; /* where the table lacks its column the first text, or the id, stands for it */
    const char *slice;   /* column; done without where the table lacks it */
    rt_ids *slice_names; /* borrowed; grows */
    rt_rules *rules;     /* borrowed, not bound yet; NULL: none */
    bool skip_bad_rows;
    bool (*stop)(void *context, uint64_t rows); /* NULL: never */
    void *context;
} rt_catalogue_options;

typedef struct {
    rt_ids *ids;
    uint32_t n;
    rt_text texts[RT_CATALOGUE_TEXTS + 1];  /* the last are titles */
    uint64_t *ends[RT_CATALOGUE_TEXTS + 1]; /* [n]; NULL: no such text */
    uint32_t *slices;                       /* [n] numbers of slice_names, RT_NO_ID: none; NULL without the column */
    uint64_t again, bad_rows;               /* rows of an id that was there already: the first counts; malformed ones */
    uint32_t room;
} rt_catalogue;

/* Memory: the texts, and 8 bytes an item and text beside the ids. RT_EDATA with file and line; RT_ENOINPUT; RT_ENOMEM;
 * RT_ESTOPPED. */
rt_status rt_catalogue_read(const rt_catalogue_options *options, rt_catalogue *out);
void rt_catalogue_free(rt_catalogue *catalogue);
/* Text t of an item; titles are text RT_CATALOGUE_TEXTS. Not NUL-terminated. */
const char *rt_catalogue_text(const rt_catalogue *catalogue, int t, uint32_t item, size_t *size);
/* The titles of the newest `most` of n items, oldest first, " ; " between them, as `rectrain join` writes a history:
 * items without a title are left out, and the oldest where it would be over RT_HISTORY_BYTES. Returns how many. */
uint32_t rt_catalogue_history(const rt_catalogue *catalogue, const uint32_t *items, uint32_t n, uint32_t most,
                              rt_text *out);

#endif
