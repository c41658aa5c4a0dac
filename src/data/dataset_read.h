/* The reading half of making a data set: rows of all files, in order, checked, copied into chunks. */
#ifndef RT_DATA_DATASET_READ_H
#define RT_DATA_DATASET_READ_H
#include "../base/text.h"
#include "dataset_internal.h"
#include "slices.h"
#include "template.h"

enum { RT_DROPPABLE_COLUMNS = RT_OPTIONAL_COLUMNS + RT_SLICE_COLUMNS };
enum { RT_CHUNK_ROWS = 1024, RT_CHUNK_TEXT = 1 << 19 };

/* Rows on their way: texts as they were read, then their ids. */
typedef struct {
    int n;
    rt_text text; /* a, b, a, b, ... end to end */
    uint32_t a_size[RT_CHUNK_ROWS], b_size[RT_CHUNK_ROWS];
    int32_t labels[RT_CHUNK_ROWS];
    float weights[RT_CHUNK_ROWS];
    uint32_t groups[RT_CHUNK_ROWS];
    uint64_t users[RT_CHUNK_ROWS], items[RT_CHUNK_ROWS];
    int64_t times[RT_CHUNK_ROWS];
    uint16_t slices[RT_CHUNK_ROWS * RT_SLICE_COLUMNS]; /* [n, spec->n_slices] */
} rt_rows_in;

/* Group values (by hash) to numbers in order of appearance, and which classes each has seen. */
typedef struct {
    uint64_t *hashes; /* 0: free */
    uint32_t *numbers;
    size_t slots;
    uint32_t n;
    unsigned char *classes; /* [n] bit 0: a row of label 0; bit 1: of another */
    size_t classes_capacity;
} rt_group_map;

typedef struct {
    const rt_data_spec *spec;
    rt_log *log;
    rt_template *texts[2 + RT_MOST_NEGATIVES]; /* text_a, text_b, then those of `negatives` */
    int n_texts;                               /* 1: single texts */
    rt_text scratch;
    int file; /* the one that is open, or the next */
    rt_table *table;
    int label, columns[RT_OPTIONAL_COLUMNS], slice_columns[RT_SLICE_COLUMNS]; /* -1: none */
    rt_slice_map slices[RT_SLICE_COLUMNS];
    uint32_t dropped;
    char *near[RT_DROPPABLE_COLUMNS]; /* a name of the first file that lacks it, which may be meant, or NULL */
    uint64_t rows, bad_rows, label_counts[2], left_out;
    bool time_known, calendar;
    uint64_t bytes_before, all_bytes; /* of finished files, of all */
    rt_group_map groups;
} rt_reader;

/* Opens every file once to see that the columns are there; the optional ones that any file lacks are dropped. */
rt_status rt_reader_open(rt_reader *r, const rt_data_spec *spec, rt_log *log);
void rt_reader_close(rt_reader *r);
/* Fills the chunk; n = 0 at the end of the last file. */
rt_status rt_reader_next(rt_reader *r, rt_rows_in *chunk);
uint64_t rt_reader_position(const rt_reader *r);
uint32_t rt_group_map_one_class(const rt_group_map *map);
/* "FILE: no column ..." for each bit; also for a cache that was made without them, which knows no
 * near names (NULL). */
void rt_warn_dropped(const rt_data_spec *spec, uint32_t dropped, char *const *near, rt_log *log);

#endif
