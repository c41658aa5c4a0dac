/* What two data sets share. The smaller one goes into a hash set, the larger one streams past it; a part of all hashes
 * at a time, so that memory does not grow with the rows. */
#include "dataset_internal.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_SLOTS = 1 << 22, WINDOW = 8192 };

typedef struct {
    uint64_t *keys; /* 0: free */
    unsigned char *met;
    size_t slots, used;
    uint64_t rows;
    bool holds_all;       /* whatever the values are */
    uint64_t parts, part; /* which hashes are looked at */
} rt_hash_set;

static rt_status set_new(rt_hash_set *set, uint64_t rows, size_t most_slots) {
    set->parts = 1;
    set->rows = rows;
    set->slots = 64;
    while (set->slots < 2 * rows && set->slots < most_slots) set->slots *= 2;
    set->holds_all = set->slots >= 2 * rows;
    set->keys = malloc(set->slots * sizeof *set->keys);
    set->met = malloc(set->slots);
    if (!set->keys || !set->met) return rt_fail(RT_ENOMEM, "no memory to compare %llu rows", (unsigned long long)rows);
    return RT_OK;
}

static void set_free(rt_hash_set *set) {
    free(set->keys);
    free(set->met);
}

/* Of this part's hashes alone; 0 stands for no value. */
static bool looks_at(const rt_hash_set *set, uint64_t hash) {
    return hash && (hash & (set->parts - 1)) == set->part;
}

static size_t slot_of(const rt_hash_set *set, uint64_t hash) {
    size_t slot = (size_t)(hash >> 20) & (set->slots - 1);
    while (set->keys[slot] && set->keys[slot] != hash) slot = (slot + 1) & (set->slots - 1);
    return slot;
}

/* The next window of a section's values; *n = 0 at its end. */
static rt_status next_window(const rt_dataset *ds, rt_section_kind kind, uint64_t first, uint64_t *window, size_t *n) {
    uint64_t left = ds->header.rows - first;
    *n = left < WINDOW ? (size_t)left : WINDOW;
    return *n ? rt_section_read(ds, kind, first, *n, window) : RT_OK;
}

/* *full: more different values than there is room for. */
static rt_status set_fill(rt_hash_set *set, const rt_dataset *ds, rt_section_kind kind, bool *full) {
    uint64_t window[WINDOW];
    size_t n;
    set->used = 0;
    memset(set->keys, 0, set->slots * sizeof *set->keys);
    memset(set->met, 0, set->slots);
    *full = false;
    for (uint64_t first = 0; !*full; first += n) {
        RT_TRY(next_window(ds, kind, first, window, &n));
        if (!n) return RT_OK;
        for (size_t i = 0; i < n; i++) {
            if (!looks_at(set, window[i])) continue;
            size_t slot = slot_of(set, window[i]);
            set->used += !set->keys[slot];
            set->keys[slot] = window[i];
        }
        *full = !set->holds_all && set->used + WINDOW > set->slots / 10 * 9; /* always room for another window */
    }
    return RT_OK;
}

/* Rows whose value stands in the set, and how many of its values are met for the first time. `known`: only values that
 * were met before count. */
static rt_status pass(rt_hash_set *set, const rt_dataset *ds, rt_section_kind kind, bool known, uint64_t *rows,
                      uint64_t *values) {
    uint64_t window[WINDOW];
    size_t n;
    for (uint64_t first = 0;; first += n) {
        RT_TRY(next_window(ds, kind, first, window, &n));
        if (!n) return RT_OK;
        for (size_t i = 0; i < n; i++) {
            if (!looks_at(set, window[i])) continue;
            size_t slot = slot_of(set, window[i]);
            if (!set->keys[slot] || (known && !set->met[slot])) continue;
            *rows += 1;
            *values += !set->met[slot];
            set->met[slot] = 1;
        }
    }
}

/* Rows of b that stand in a too, and how many different values they have. */
static rt_status shared(const rt_dataset *a, const rt_dataset *b, rt_section_kind kind, size_t most_slots,
                        uint64_t *rows, uint64_t *values) {
    rt_hash_set set = {0};
    bool b_in_set = b->header.rows <= a->header.rows, full;
    uint64_t ignored = 0;
    *rows = *values = 0;
    if (!rt_section_has(a, kind) || !rt_section_has(b, kind)) return RT_OK;
    rt_status rc = set_new(&set, b_in_set ? b->header.rows : a->header.rows, most_slots);
    for (set.part = 0; rc == RT_OK && set.part < set.parts; set.part++) {
        rc = set_fill(&set, b_in_set ? b : a, kind, &full);
        if (rc == RT_OK && full) {
            /* Hashes share themselves out evenly, unless somebody made them not to. */
            if (set.parts > 16 * (set.rows / set.slots + 1))
                rc = rt_fail(RT_EDATA, "%s: hashes that do not tell values apart", b->name);
            set.parts *= 2;
            set.part = UINT64_MAX; /* from the first */
            *rows = *values = 0;
            continue;
        }
        if (rc == RT_OK && b_in_set) {
            rc = pass(&set, a, kind, false, &ignored, values);
            if (rc == RT_OK) rc = pass(&set, b, kind, true, rows, &ignored);
        } else if (rc == RT_OK) {
            rc = pass(&set, b, kind, false, rows, values);
        }
    }
    set_free(&set);
    return rc;
}

rt_status rt_dataset_overlap_within(const rt_dataset *ds, const rt_dataset *other, size_t most_slots,
                                    rt_data_overlap *out) {
    uint64_t ignored;
    *out = (rt_data_overlap){0};
    RT_TRY(shared(ds, other, RT_SECTION_TEXTS, most_slots, &out->rows, &ignored));
    RT_TRY(shared(ds, other, RT_SECTION_USERS, most_slots, &ignored, &out->users));
    RT_TRY(shared(ds, other, RT_SECTION_ITEMS, most_slots, &ignored, &out->items));
    out->has_users = rt_section_has(ds, RT_SECTION_USERS) && rt_section_has(other, RT_SECTION_USERS);
    out->has_items = rt_section_has(ds, RT_SECTION_ITEMS) && rt_section_has(other, RT_SECTION_ITEMS);
    return RT_OK;
}

rt_status rt_dataset_overlap(const rt_dataset *ds, const rt_dataset *other, rt_data_overlap *out) {
    return rt_dataset_overlap_within(ds, other, MOST_SLOTS, out);
}
