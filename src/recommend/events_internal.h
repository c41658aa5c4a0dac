/* Clicks as they come from the file, in blocks: an array that doubled would take three times its size at its worst. */
#ifndef RT_RECOMMEND_EVENTS_INTERNAL_H
#define RT_RECOMMEND_EVENTS_INTERNAL_H
#include "events.h"

enum { RT_CLICK_BLOCK = 1 << 16 };

typedef struct {
    int64_t time;
    uint32_t user, item;
} rt_click_row;

typedef struct {
    rt_click_row **blocks; /* [n_blocks] of RT_CLICK_BLOCK rows each */
    size_t n_blocks, capacity;
    uint64_t n;
} rt_click_blocks;

static inline const rt_click_row *rt_click_block_at(const rt_click_blocks *b, uint64_t i) {
    return &b->blocks[i / RT_CLICK_BLOCK][i % RT_CLICK_BLOCK];
}

rt_status rt_click_blocks_add(rt_click_blocks *blocks, rt_click_row row);
void rt_click_blocks_free(rt_click_blocks *blocks);
/* Fills histories and matrices; the blocks are freed on the way. */
rt_status rt_events_arrange(rt_click_blocks *blocks, uint32_t n_users, uint32_t n_items, rt_events *events);

#endif
