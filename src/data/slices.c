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

/* Rows of one number of a column, and those of them with a click. */
typedef struct {
    uint64_t rows, clicks;
    uint32_t number;
} value_count;

/* The most frequent first, then the one that was met first. */
static int by_rows(const void *a, const void *b) {
    const value_count *x = a, *y = b;
    if (x->rows != y->rows) return x->rows < y->rows ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

void rt_slice_counts_free(rt_slice_counts *s) {
    if (!s) return;
    for (uint32_t i = 0; s->names && i < s->n; i++) free(s->names[i]);
    free(s->names);
    free(s->rows);
    free(s->clicks);
    free(s->slice_of);
    *s = (rt_slice_counts){0};
}

/* --- from the cache ----------------------------------------------------------------------------------------------- */

enum { NUMBERS = RT_SLICE_VALUES + 1, WINDOW_VALUES = 1 << 14 };

/* All names, and that each number has one. */
static rt_status read_names(const rt_dataset *ds, char **out) {
    const rt_cache_header *h = &ds->header;
    size_t size = (size_t)h->section_bytes[RT_SECTION_SLICE_NAMES], wanted = 0, found = 0;
    char *names = malloc(size + 1);
    *out = NULL;
    if (!names) return rt_fail(RT_ENOMEM, "no memory for the names of slices");
    rt_status rc = rt_section_read(ds, RT_SECTION_SLICE_NAMES, 0, size, names);
    for (uint32_t c = 0; c < h->n_slices; c++) wanted += h->slice_values[c];
    for (size_t i = 0; i < size && rc == RT_OK; i++) found += !names[i];
    if (rc == RT_OK && (found != wanted || (size > 0 && names[size - 1])))
        rc = rt_fail(RT_EDATA, "%s: slices whose names do not fit", ds->name);
    if (rc != RT_OK) {
        free(names);
        return rc;
    }
    *out = names;
    return RT_OK;
}

/* Rows first .. first + *n - 1 of all columns. */
static rt_status read_numbers(const rt_dataset *ds, uint64_t first, uint64_t *n, uint16_t *numbers) {
    const rt_cache_header *h = &ds->header;
    const size_t columns = h->n_slices;
    *n = WINDOW_VALUES / columns;
    if (*n > h->rows - first) *n = h->rows - first;
    RT_TRY(rt_section_read(ds, RT_SECTION_SLICES, first * columns, (size_t)*n * columns, numbers));
    for (size_t i = 0; i < (size_t)*n * columns; i++)
        if (numbers[i] >= h->slice_values[i % columns] && numbers[i] != RT_SLICE_VALUES)
            return rt_fail(RT_EDATA, "%s: impossible slices", ds->name);
    return RT_OK;
}

static rt_status count_numbers(const rt_dataset *ds, value_count *counts) {
    const size_t columns = ds->header.n_slices;
    uint16_t *numbers = malloc(WINDOW_VALUES * sizeof *numbers);
    if (!numbers) return rt_fail(RT_ENOMEM, "no memory to count slices");
    rt_status rc = RT_OK;
    for (size_t i = 0; i < columns * NUMBERS; i++) counts[i] = (value_count){.number = (uint32_t)(i % NUMBERS)};
    for (uint64_t first = 0, n; first < ds->header.rows; first += n) {
        RT_GO(read_numbers(ds, first, &n, numbers));
        for (uint64_t r = 0; r < n; r++)
            for (size_t c = 0; c < columns; c++) {
                value_count *count = &counts[c * NUMBERS + numbers[r * columns + c]];
                count->rows++;
                count->clicks += ds->labels && ds->labels[first + r] > 0;
            }
    }
done:
    free(numbers);
    return rc;
}

static rt_status add_slice(rt_slice_counts *out, const char *name, size_t size) {
    out->names[out->n] = rt_strndup(name, size);
    if (!out->names[out->n]) return rt_fail(RT_ENOMEM, "no memory for the names of slices");
    out->n++;
    return RT_OK;
}

/* Gives a slice to each number of a column: the most frequent have one of their own. `names`: of its n values. */
static rt_status share_out(value_count *counts, uint32_t n, const char *names, rt_slice_counts *out) {
    uint32_t *slice_of = out->slice_of + (size_t)out->n_columns * NUMBERS,
             shown = n < RT_SLICE_SHOWN ? n : RT_SLICE_SHOWN;
    const char *at[RT_SLICE_VALUES];
    bool other = shown < n || counts[RT_SLICE_VALUES].rows > 0;
    const char *column = names;
    for (uint32_t v = 0; v < n; v++, names += strlen(names) + 1) at[v] = names;
    qsort(counts, n, sizeof *counts, by_rows);
    for (uint32_t i = 0; i < shown; i++) {
        slice_of[counts[i].number] = out->n;
        RT_TRY(add_slice(out, at[counts[i].number], strlen(at[counts[i].number])));
    }
    if (other) {
        rt_text name = {0};
        for (uint32_t i = shown; i < n; i++) slice_of[counts[i].number] = out->n;
        slice_of[RT_SLICE_VALUES] = out->n;
        rt_text_printf(&name, "%.*s=(other)", (int)strcspn(column, "="), column);
        rt_status rc = rt_text_status(&name);
        if (rc == RT_OK) rc = add_slice(out, name.data, name.size);
        rt_text_free(&name);
        RT_TRY(rc);
    }
    for (uint32_t i = 0; i < NUMBERS; i++) {
        out->rows[slice_of[counts[i].number]] += counts[i].rows;
        out->clicks[slice_of[counts[i].number]] += counts[i].clicks;
    }
    out->n_columns++;
    return RT_OK;
}

rt_status rt_dataset_slice_counts(const rt_dataset *ds, rt_slice_counts *out) {
    *out = (rt_slice_counts){0};
    const rt_cache_header *h = &ds->header;
    const size_t columns = h->n_slices;
    if (!columns) return RT_OK;
    rt_status rc = RT_OK;
    char *names = NULL;
    value_count *counts = malloc(columns * NUMBERS * sizeof *counts);
    out->names = calloc(columns * (RT_SLICE_SHOWN + 1), sizeof *out->names);
    out->rows = calloc(columns * (RT_SLICE_SHOWN + 1), sizeof *out->rows);
    out->clicks = calloc(columns * (RT_SLICE_SHOWN + 1), sizeof *out->clicks);
    out->slice_of = calloc(columns * NUMBERS, sizeof *out->slice_of);
    if (!counts || !out->names || !out->rows || !out->clicks || !out->slice_of) {
        rc = rt_fail(RT_ENOMEM, "no memory for slices");
        goto done;
    }
    RT_GO(read_names(ds, &names));
    RT_GO(count_numbers(ds, counts));
    const char *of_column = names;
    for (uint32_t c = 0; c < columns; c++) {
        if (!h->slice_values[c]) continue; /* a column that the file lacks */
        out->columns[out->n_columns] = (int)c;
        RT_GO(share_out(counts + c * NUMBERS, h->slice_values[c], of_column, out));
        for (uint32_t v = 0; v < h->slice_values[c]; v++) of_column += strlen(of_column) + 1;
    }
done:
    free(counts);
    free(names);
    if (rc != RT_OK) rt_slice_counts_free(out);
    return rc;
}

rt_status rt_dataset_slices(const rt_dataset *ds, rt_data_slices *out) {
    *out = (rt_data_slices){0};
    const uint64_t rows = ds->header.rows;
    const size_t columns = ds->header.n_slices;
    rt_slice_counts counts;
    uint16_t *numbers = NULL;
    RT_TRY(rt_dataset_slice_counts(ds, &counts));
    rt_status rc = RT_OK;
    if (!counts.n_columns) goto done;
    out->n_columns = counts.n_columns;
    out->of_row = malloc((size_t)counts.n_columns * (size_t)rows * sizeof *out->of_row + 1);
    numbers = malloc(WINDOW_VALUES * sizeof *numbers);
    if (!out->of_row || !numbers) {
        rc = rt_fail(RT_ENOMEM, "no memory for the slices of %llu rows", (unsigned long long)rows);
        goto done;
    }
    for (uint64_t first = 0, n; first < rows; first += n) {
        RT_GO(read_numbers(ds, first, &n, numbers));
        for (int i = 0; i < counts.n_columns; i++) {
            const uint32_t *slice_of = counts.slice_of + (size_t)i * NUMBERS;
            for (uint64_t r = 0; r < n; r++)
                out->of_row[(uint64_t)i * rows + first + r] =
                    slice_of[numbers[r * columns + (size_t)counts.columns[i]]];
        }
    }
    out->names = counts.names, counts.names = NULL;
    out->n = counts.n;
done:
    free(numbers);
    rt_slice_counts_free(&counts);
    if (rc != RT_OK) rt_data_slices_free(out);
    return rc;
}
