/* Slices: a small number for each value of a column of data.slice, and its name "column=value".
 *
 * The numbers are given in order of first appearance and stand in the token cache, so that no second pass over the file
 * is needed; which values are common enough to be told apart is decided when the slices are asked for. */
#ifndef RT_DATA_SLICES_H
#define RT_DATA_SLICES_H
#include "../base/text.h"
#include "dataset.h"

enum {
    RT_SLICE_COLUMNS = 16,
    RT_SLICE_VALUES = 4096,     /* that a column tells apart; a later one has this number */
    RT_SLICE_SHOWN = 100,       /* that metrics tell apart: the most frequent */
    RT_SLICE_VALUE_BYTES = 120, /* of a value in its name; values that begin alike are one */
};

/* One column's values while a file is read. Zero-initialise. */
typedef struct {
    uint64_t *hashes; /* [2 * RT_SLICE_VALUES], 0: free */
    uint16_t *numbers;
    uint32_t n;
    rt_text names; /* each with its NUL */
} rt_slice_map;

rt_status rt_slice_map_find(rt_slice_map *map, const char *column, const rt_field *value, uint16_t *number);
void rt_slice_map_free(rt_slice_map *map);

/* How many rows each slice of an open set has; memory does not grow with the rows. */
typedef struct {
    int n_columns, columns[RT_SLICE_COLUMNS]; /* those of data.slice that the file has */
    uint32_t n;
    char **names;            /* [n] as in rt_data_slices */
    uint64_t *rows, *clicks; /* [n] */
    uint32_t *slice_of;      /* [n_columns, RT_SLICE_VALUES + 1] the slice of each number */
} rt_slice_counts;

/* RT_ENOMEM, RT_EDATA, RT_EIO. Free it in any case. */
rt_status rt_dataset_slice_counts(const rt_dataset *ds, rt_slice_counts *out);
void rt_slice_counts_free(rt_slice_counts *counts);

#endif
