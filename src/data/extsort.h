/* Sorting more records than memory holds: sorted runs in one temporary file without a name, merged while reading.
 *
 * A record is a key and a value, both bytes. Keys compare as bytes, the shorter first where one begins the other;
 * records with equal keys keep the order in which they were added. The file has no name from the moment it is made, so
 * it is gone with the process, however that ends. */
#ifndef RT_DATA_EXTSORT_H
#define RT_DATA_EXTSORT_H
#include "../base/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct rt_extsort rt_extsort;
typedef struct rt_extsort_reader rt_extsort_reader;

enum {
    RT_EXTSORT_LEAST_MEMORY = 1 << 20,
    RT_EXTSORT_MAX_RECORD = 1 << 18, /* key and value together */
};

typedef struct {
    const void *key, *value; /* valid until the reader's next record */
    size_t key_size, value_size;
} rt_extsort_record;

/* `memory` bytes are taken for records while adding (RT_EXTSORT_LEAST_MEMORY at least); `folder` is for the temporary
 * file, made when memory is full. RT_ENOMEM. */
rt_status rt_extsort_new(const char *folder, size_t memory, rt_extsort **out);
void rt_extsort_free(rt_extsort *sort);
/* RT_EIO when the file cannot be written; RT_EINTERNAL for a record beyond RT_EXTSORT_MAX_RECORD. */
rt_status rt_extsort_add(rt_extsort *sort, const void *key, size_t key_size, const void *value, size_t value_size);
/* No more records. Afterwards memory for adding is given back unless all records fitted into it; runs are merged until
 * one reader can hold a piece of each in `reader_memory` bytes. */
rt_status rt_extsort_finish(rt_extsort *sort, size_t reader_memory);
uint64_t rt_extsort_records(const rt_extsort *sort);
uint64_t rt_extsort_file_bytes(const rt_extsort *sort); /* written to the temporary file so far */
int rt_extsort_runs(const rt_extsort *sort);            /* in the file: 0 when memory was enough */

/* Reads all records in order. Several readers of one sort may be open, each with its own reader_memory. */
rt_status rt_extsort_open(const rt_extsort *sort, rt_extsort_reader **out);
/* At the end record->key is NULL. */
rt_status rt_extsort_next(rt_extsort_reader *reader, rt_extsort_record *record);
void rt_extsort_close(rt_extsort_reader *reader);

/* An unnamed temporary file in `folder`. RT_EIO with the folder's name and the reason. */
rt_status rt_unnamed_file(const char *folder, int *fd);

/* Numbers as key bytes that compare like the numbers. */
void rt_key_u64(unsigned char out[8], uint64_t value);
uint64_t rt_key_read_u64(const unsigned char in[8]);

#endif
