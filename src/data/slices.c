#include "slices.h"
#include "../base/digest.h"
#include "dataset_internal.h"
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 * RT_SLICE_VALUES };

/* The part of a value that names it: no NUL, no half character at its end. */
static size_t shown_size(const rt_field *value) {
    if (value->missing) return 0;
    size_t size = value->size < RT_SLICE_VALUE_BYTES ? value->size : RT_SLICE_VALUE_BYTES;
    const char *nul = size ? memchr(value->bytes, 0, size) : NULL;
    if (nul) return (size_t)(nul - value->bytes);
    while (size > 0 && size < value->size && ((unsigned char)value->bytes[size] & 0xC0) == 0x80) size--;
    return size;
}

rt_status rt_slice_map_find(rt_slice_map *map, const char *column, const rt_field *value, uint16_t *number) {
    if (!map->hashes) {
        map->hashes = calloc(SLOTS, sizeof *map->hashes);
        map->numbers = calloc(SLOTS, sizeof *map->numbers);
        if (!map->hashes || !map->numbers) return rt_fail(RT_ENOMEM, "no memory for the values of %s", column);
    }
    size_t size = shown_size(value);
    uint64_t hash = rt_hash64(size ? value->bytes : "", size);
    if (!hash) hash = 1;
    size_t slot = (size_t)hash & (SLOTS - 1);
    while (map->hashes[slot] && map->hashes[slot] != hash) slot = (slot + 1) & (SLOTS - 1);
    *number = map->hashes[slot] ? map->numbers[slot] : RT_SLICE_VALUES;
    if (map->hashes[slot] || map->n == RT_SLICE_VALUES) return RT_OK;
    rt_text_puts(&map->names, column);
    rt_text_puts(&map->names, "=");
    if (size) rt_text_append(&map->names, value->bytes, size);
    rt_text_append(&map->names, "", 1);
    map->hashes[slot] = hash;
    *number = map->numbers[slot] = (uint16_t)map->n++;
    return rt_text_status(&map->names);
}

void rt_slice_map_free(rt_slice_map *map) {
    free(map->hashes);
    free(map->numbers);
    rt_text_free(&map->names);
    *map = (rt_slice_map){0};
}

void rt_data_slices_free(rt_data_slices *s) {
    if (!s) return;
    for (uint32_t i = 0; s->names && i < s->n; i++) free(s->names[i]);
    free(s->names);
    free(s->of_row);
    *s = (rt_data_slices){0};
}

typedef struct {
    uint64_t rows;
    uint32_t number;
} value_count;

/* The most frequent first, then the one that was met first. */
static int by_rows(const void *a, const void *b) {
    const value_count *x = a, *y = b;
    if (x->rows != y->rows) return x->rows < y->rows ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static rt_status add_name(rt_data_slices *out, const char *name, size_t size) {
    out->names[out->n] = rt_strndup(name, size);
    if (!out->names[out->n]) return rt_fail(RT_ENOMEM, "no memory for the names of slices");
    out->n++;
    return RT_OK;
}

/* `names`: those of this column's n values, one after the other. */
static rt_status take_column(const rt_dataset *ds, int column, uint32_t n, const char *names, rt_data_slices *out) {
    const uint16_t *numbers = (const uint16_t *)ds->at[RT_SECTION_SLICES] + column;
    const size_t stride = ds->header.n_slices, rows = (size_t)ds->header.rows;
    uint32_t *to = out->of_row + (size_t)out->n_columns * rows, first = out->n;
    rt_status rc = RT_OK;
    value_count *counts = calloc(RT_SLICE_VALUES + 1, sizeof *counts);
    uint32_t *slice_of = calloc(RT_SLICE_VALUES + 1, sizeof *slice_of);
    const char **at = calloc(RT_SLICE_VALUES, sizeof *at);
    if (!counts || !slice_of || !at) {
        rc = rt_fail(RT_ENOMEM, "no memory for %u slices", n);
        goto done;
    }
    for (uint32_t v = 0; v < n; v++, names += strlen(names) + 1) at[v] = names;
    for (uint32_t v = 0; v <= RT_SLICE_VALUES; v++) counts[v].number = v;
    for (size_t r = 0; r < rows; r++) counts[numbers[r * stride]].rows++;
    uint64_t beyond = counts[RT_SLICE_VALUES].rows;
    qsort(counts, n, sizeof *counts, by_rows);
    uint32_t shown = n < RT_SLICE_SHOWN ? n : RT_SLICE_SHOWN;
    for (uint32_t i = 0; i < shown; i++) {
        const char *name = at[counts[i].number];
        slice_of[counts[i].number] = out->n;
        RT_GO(add_name(out, name, strlen(name)));
    }
    if (shown < n || beyond > 0) {
        rt_text other = {0};
        rt_text_printf(&other, "%.*s=(other)", (int)strcspn(at[0], "="), at[0]);
        for (uint32_t i = shown; i < n; i++) slice_of[counts[i].number] = out->n;
        slice_of[RT_SLICE_VALUES] = out->n;
        rc = rt_text_status(&other);
        if (rc == RT_OK) rc = add_name(out, other.data, other.size);
        rt_text_free(&other);
        if (rc != RT_OK) goto done;
    }
    for (size_t r = 0; r < rows; r++) to[r] = slice_of[numbers[r * stride]];
    if (out->n > first) out->n_columns++;
done:
    free(counts);
    free(slice_of);
    free(at);
    return rc;
}

rt_status rt_dataset_slices(const rt_dataset *ds, rt_data_slices *out) {
    *out = (rt_data_slices){0};
    const rt_cache_header *h = &ds->header;
    const char *names = ds->at[RT_SECTION_SLICE_NAMES];
    if (!h->n_slices || !ds->at[RT_SECTION_SLICES] || !names) return RT_OK;
    rt_status rc = RT_OK;
    out->of_row = malloc((size_t)h->n_slices * (size_t)h->rows * sizeof *out->of_row);
    out->names = calloc((size_t)h->n_slices * (RT_SLICE_SHOWN + 1), sizeof *out->names);
    if (!out->of_row || !out->names) {
        rc = rt_fail(RT_ENOMEM, "no memory for the slices of %llu rows", (unsigned long long)h->rows);
        goto done;
    }
    for (uint32_t c = 0; c < h->n_slices; c++) {
        if (!h->slice_values[c]) continue; /* a column that the file lacks */
        RT_GO(take_column(ds, (int)c, h->slice_values[c], names, out));
        for (uint32_t v = 0; v < h->slice_values[c]; v++) names += strlen(names) + 1;
    }
done:
    if (rc != RT_OK) rt_data_slices_free(out);
    return rc;
}
