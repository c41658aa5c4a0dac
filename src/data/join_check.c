/* What the splits share, and pairs that were seen with both labels: hashes of users, items, titles and pairs, sorted.
 */
#include "join_internal.h"
#include <string.h>

enum { KIND_USER, KIND_ITEM, KIND_TITLE, KIND_PAIR, KINDS, KEY = 17 };

static rt_status note(rt_joining *j, int kind, rt_digest128 hash, rt_join_split split, int click) {
    unsigned char key[KEY] = {(unsigned char)kind}, value[2] = {(unsigned char)split, (unsigned char)click};
    rt_key_u64(key + 1, hash.high);
    rt_key_u64(key + 9, hash.low);
    return rt_extsort_add(j->hashes, key, sizeof key, value, sizeof value);
}

rt_status rt_join_note_row(rt_joining *j, rt_join_split split, int click, const char *user, size_t user_size,
                           rt_digest128 pair) {
    if (user_size > 0) RT_TRY(note(j, KIND_USER, rt_hash128(user, user_size), split, 0));
    return note(j, KIND_PAIR, pair, split, click);
}

rt_status rt_join_note_item(rt_joining *j, rt_join_split split, uint32_t item) {
    rt_join_item it = rt_join_items_get(j->items, item);
    RT_TRY(note(j, KIND_ITEM, (rt_digest128){0, item}, split, 0));
    return note(j, KIND_TITLE, rt_hash128(it.title, it.title_size), split, 0);
}

typedef struct {
    unsigned char key[KEY];
    bool any;
    unsigned splits;    /* bits */
    uint64_t labels[2]; /* rows */
} same;

static void count_same(rt_join_summary *s, const same *g) {
    static const unsigned both[3] = {1u << RT_SPLIT_TRAIN | 1u << RT_SPLIT_DEV,
                                     1u << RT_SPLIT_TRAIN | 1u << RT_SPLIT_TEST,
                                     1u << RT_SPLIT_DEV | 1u << RT_SPLIT_TEST};
    uint64_t *const shared[KINDS] = {s->shared_users, s->shared_items, s->shared_titles, s->shared_pairs};
    if (!g->any) return;
    for (int i = 0; i < 3; i++) shared[g->key[0]][i] += (g->splits & both[i]) == both[i];
    if (g->key[0] == KIND_PAIR && g->labels[0] > 0 && g->labels[1] > 0) {
        s->contradictory_pairs++;
        s->contradictory_rows += g->labels[0] + g->labels[1];
    }
}

rt_status rt_join_check(rt_joining *j) {
    rt_status rc;
    rt_extsort_reader *reader = NULL;
    rt_extsort_record r;
    same g = {0};
    RT_GO(rt_extsort_finish(j->hashes, j->read_memory));
    RT_GO(rt_extsort_open(j->hashes, &reader));
    for (;;) {
        RT_GO(rt_extsort_next(reader, &r));
        if (!g.any || !r.key || memcmp(g.key, r.key, KEY) != 0) {
            count_same(j->s, &g);
            if (!r.key) break;
            g = (same){.any = true};
            memcpy(g.key, r.key, KEY);
        }
        const unsigned char *value = r.value;
        g.splits |= 1u << value[0];
        g.labels[value[1]]++;
    }
    j->s->temporary_bytes += rt_extsort_file_bytes(j->hashes);
    j->s->runs += rt_extsort_runs(j->hashes);
done:
    rt_extsort_close(reader);
    return rc;
}
