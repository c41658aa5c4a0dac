/* Tables of text with a header: TSV, CSV (RFC 4180) and JSON lines, read as a stream, columns by name.
 * Files may be larger than memory. */
#ifndef RT_DATA_TABLE_H
#define RT_DATA_TABLE_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { RT_FORMAT_AUTO, RT_FORMAT_TSV, RT_FORMAT_CSV, RT_FORMAT_JSONL } rt_table_format;
typedef enum { RT_QUOTING_AUTO, RT_QUOTING_NONE, RT_QUOTING_CSV } rt_quoting;

typedef struct {
    const char *bytes; /* not NUL-terminated; valid until the next row */
    size_t size;
    bool missing; /* JSON null or an absent key */
} rt_field;

typedef struct rt_table rt_table;

/* `path` "-" is stdin; gzip and zstd are unpacked. Format AUTO goes by the name, then by the first line. Quoting AUTO
 * is CSV's in CSV, and none in TSV unless the first rows are quoted the way pandas does it. JSON lines: nested keys are
 * joined by dots, lists by blanks, numbers stay as they are written; the columns are the keys of the first rows (at
 * most 1,000, within the first MiB). RT_ENOINPUT, RT_EDATA (no header, a duplicate column, over 65,536 columns, a
 * binary format recognised by magic, a device), RT_EIO. */
rt_status rt_table_open(const char *path, rt_table_format format, rt_quoting quoting, rt_table **out);
void rt_table_close(rt_table *table);
int rt_table_columns(const rt_table *table);
const char *rt_table_column_name(const rt_table *table, int column);
int rt_table_find(const rt_table *table, const char *name); /* -1: no such column */
/* RT_EDATA "FILE:1: no column "click"; found history, title, clicked; did you mean "clicked"?" */
rt_status rt_table_require(const rt_table *table, const char *name, int *column);
const char *rt_table_path(const rt_table *table); /* as in messages: "stdin" for "-" */
rt_table_format rt_table_get_format(const rt_table *table);
/* How quotes are read (never AUTO); *guessed (may be NULL): it was found in the first rows, not told. */
rt_quoting rt_table_get_quoting(const rt_table *table, bool *guessed);
/* Fields so far that look quoted as in CSV although quotes are read as they stand: worth a warning at the end. */
uint64_t rt_table_suspicious(const rt_table *table);
/* Bytes of the file read so far (packed, if it is), and its size, 0 for a pipe: for a progress line. */
uint64_t rt_table_position(const rt_table *table);
uint64_t rt_table_file_size(const rt_table *table);
/* The next row: *fields has rt_table_columns() entries; *line is the line it starts on (from 1). At the end *fields is
 * NULL. RT_EDATA for a bad row (wrong number of fields, broken quoting, malformed JSON, NUL byte, over 8 MiB), with
 * file, line, what was found and what is accepted; reading may go on with the next row after RT_EDATA (on_bad_row =
 * skip), but not after RT_EIO, which a damaged archive gives too. An empty line is skipped where the table has two
 * columns or more. */
rt_status rt_table_next(rt_table *table, const rt_field **fields, uint64_t *line);

#endif
