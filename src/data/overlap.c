/* What two data sets share. The smaller one goes into a hash set, the larger one streams past it. */
#include "dataset_internal.h"
#include <stdlib.h>

typedef struct {
    uint64_t *keys; /* 0: free */
    unsigned char *met;
    size_t slots;
} rt_hash_set;

static rt_status set_new(rt_hash_set *set, const uint64_t *hashes, uint64_t n) {
    set->slots = 64;
    while (set->slots < 2 * n) set->slots *= 2;
    set->keys = calloc(set->slots, sizeof *set->keys);
    set->met = calloc(set->slots, 1);
    if (!set->keys || !set->met) return rt_fail(RT_ENOMEM, "no memory to compare %llu rows", (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++) {
        if (!hashes[i]) continue;
        size_t slot = (size_t)hashes[i] & (set->slots - 1);
        while (set->keys[slot] && set->keys[slot] != hashes[i]) slot = (slot + 1) & (set->slots - 1);
        set->keys[slot] = hashes[i];
    }
    return RT_OK;
}

static void set_free(rt_hash_set *set) {
    free(set->keys);
    free(set->met);
}

/* The slot of a hash, or NULL. */
static unsigned char *set_find(const rt_hash_set *set, uint64_t hash) {
    if (!hash) return NULL;
    size_t slot = (size_t)hash & (set->slots - 1);
    while (set->keys[slot] && set->keys[slot] != hash) slot = (slot + 1) & (set->slots - 1);
    return set->keys[slot] ? &set->met[slot] : NULL;
}

/* Rows of b that stand in a too, and how many different values they have. */
static rt_status shared(const uint64_t *a, uint64_t na, const uint64_t *b, uint64_t nb, uint64_t *rows,
                        uint64_t *values) {
    rt_hash_set set = {0};
    bool b_in_set = nb <= na;
    const uint64_t *large = b_in_set ? a : b;
    uint64_t n_large = b_in_set ? na : nb;
    *rows = *values = 0;
    rt_status rc = set_new(&set, b_in_set ? b : a, b_in_set ? nb : na);
    if (rc != RT_OK) goto done;
    for (uint64_t i = 0; i < n_large; i++) {
        unsigned char *met = set_find(&set, large[i]);
        if (!met) continue;
        *values += !*met;
        *met = 1;
        *rows += !b_in_set;
    }
    for (uint64_t i = 0; i < nb && b_in_set; i++) {
        const unsigned char *met = set_find(&set, b[i]);
        *rows += met && *met;
    }
done:
    set_free(&set);
    return rc;
}

rt_status rt_dataset_overlap(const rt_dataset *ds, const rt_dataset *other, rt_data_overlap *out) {
    *out = (rt_data_overlap){0};
    const uint64_t *a[3], *b[3], na = ds->header.rows, nb = other->header.rows;
    const rt_section_kind kinds[3] = {RT_SECTION_TEXTS, RT_SECTION_USERS, RT_SECTION_ITEMS};
    uint64_t rows[3] = {0}, values[3] = {0};
    for (int k = 0; k < 3; k++) {
        a[k] = (const uint64_t *)ds->at[kinds[k]];
        b[k] = (const uint64_t *)other->at[kinds[k]];
        if (a[k] && b[k]) RT_TRY(shared(a[k], na, b[k], nb, &rows[k], &values[k]));
    }
    out->rows = rows[0];
    out->has_users = a[1] && b[1];
    out->has_items = a[2] && b[2];
    out->users = values[1];
    out->items = values[2];
    return RT_OK;
}
