/* What the table's files share: the window over the stream, the fields of the row, one parser for each form. */
#ifndef RT_DATA_TABLE_INTERNAL_H
#define RT_DATA_TABLE_INTERNAL_H
#include "../base/text.h"
#include "input.h"
#include "table.h"
#include <jansson.h>

#define RT_ROW_LIMIT ((size_t)8 << 20)
#define RT_LINE_LIMIT ((uint64_t)256 << 20) /* what is skipped of a bad row's line before the file is given up */
#define RT_BLANK_LIMIT (1 << 20)         /* empty lines between two rows: a packed file of a kilobyte has a billion */
#define RT_ROW_MEMORY ((size_t)24 << 20) /* of a JSON row's values: see rt_json_memory */
#define RT_COLUMN_LIMIT (1 << 16)
#define RT_KEY_LIMIT 1024 /* bytes of a nested key: its work is done for each value below it */

/* A piece of text, still to be found: of the row's bytes, or of `built`, which moves while it grows. */
typedef struct {
    size_t offset, size;
} rt_span;

struct rt_table {
    rt_input *input;
    rt_table_format format;
    rt_quoting quoting; /* never AUTO once open */
    bool guessed;       /* the format's quoting was found in the rows, not told */
    char delimiter;
    char *buffer; /* window over the stream */
    size_t capacity, start, stop;
    bool end;      /* nothing more to read */
    uint64_t line; /* of buffer[start], from 1 */
    bool skipping; /* the window starts within a line whose row was refused */
    bool given_up; /* nothing more is read */
    int n_columns;
    char **columns;
    rt_field *fields;    /* [n_columns] */
    uint64_t suspicious; /* fields that look quoted where quoting is none */
    int32_t *slots;      /* column by the hash of its name: open addressing, -1 free */
    size_t n_slots;
    /* JSON lines alone */
    json_t *root;     /* of the last row: string fields point into it */
    rt_text built;    /* lists of this row */
    rt_span *pending; /* [n_columns] in `built` until the row is whole; size SIZE_MAX: none */
    rt_span *numbers; /* the row's numbers as they are written */
    size_t n_numbers, numbers_capacity, next_number;
};

/* One row's extent in the window: its bytes without the line's end, and all that it takes. */
typedef struct {
    size_t size, whole;
    uint64_t lines;     /* line breaks within `whole` */
    const char *broken; /* what is wrong with its quoting, or NULL */
    size_t broken_at;   /* byte of the row */
    bool unclosed;      /* broken because a quote is open at the end */
    bool cut;           /* broken, and its line goes on behind the window */
} rt_extent;

/* table.c. Reads on until the window holds more than `held` bytes from start on, or the stream has ended. */
rt_status rt_table_fill(rt_table *t, size_t held);
rt_status rt_table_add_column(rt_table *t, const char *name, size_t size);
int rt_table_find_bytes(const rt_table *t, const char *name, size_t size);
rt_status rt_table_row_extent(rt_table *t, rt_quoting quoting, rt_extent *extent);
void rt_table_consume(rt_table *t, const rt_extent *extent);
rt_status rt_table_count_blank(rt_table *t, uint64_t *blanks); /* RT_EDATA when they are too many */
/* table_delimited.c */
rt_status rt_delimited_open(rt_table *t, rt_quoting wanted);
rt_status rt_delimited_next(rt_table *t, const rt_field **fields, uint64_t *line);
/* table_jsonl.c */
rt_status rt_table_jsonl_open(rt_table *t);
rt_status rt_jsonl_next(rt_table *t, const rt_field **fields, uint64_t *line);
void rt_table_jsonl_close(rt_table *t);

#endif
