/* Vectors with ids: what `rectrain embed` writes, and `search` and `recommend` read.
 *
 * Files (all little endian, f32, rows end to end):
 *   .h5     /train [n, width] f32, as ann-benchmarks reads it (root attributes type "dense", distance "angular" where
 *           the rows are of length 1, else "euclidean", dimension, point_type "float"); /ids
 *   .npy    NumPy 1.0 [n, width]     .fbin   u32 n, u32 width, rows     .faiss  Faiss IndexFlatIP ("IxFI")
 *           ids beside these three, in PATH.ids, one a line
 *   .jsonl  {"id": ..., "vector": [...]} a line; for vector databases
 * Files are hostile: every size is checked against the file before memory is taken. Nothing is mapped. */
#ifndef RT_RETRIEVE_VECTORS_H
#define RT_RETRIEVE_VECTORS_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    RT_VECTORS_AUTO, /* by the name's end; reading always goes by the first bytes */
    RT_VECTORS_H5,
    RT_VECTORS_NPY,
    RT_VECTORS_FBIN,
    RT_VECTORS_FAISS,
    RT_VECTORS_JSONL
} rt_vectors_format;

enum { RT_VECTORS_MAX_WIDTH = 1 << 15 };

typedef struct rt_vectors rt_vectors;

/* Ids and header are read, rows when they are asked for. RT_ENOINPUT; RT_EDATA with what is wrong: not such a file, cut
 * off, a value that is not finite when it is read, an id twice. Without ids (no /ids, no PATH.ids) row numbers are. */
rt_status rt_vectors_open(const char *path, rt_vectors **out);
void rt_vectors_close(rt_vectors *v);
uint32_t rt_vectors_count(const rt_vectors *v); /* at most 2^32 - 1 */
int rt_vectors_width(const rt_vectors *v);
bool rt_vectors_are_unit(const rt_vectors *v); /* rows have length 1, says the file */
const char *rt_vectors_path(const rt_vectors *v);
/* The id of a row: *size bytes, not NUL-terminated, valid until close. */
const char *rt_vectors_id(const rt_vectors *v, uint32_t row, size_t *size);
/* The row of an id; -1: none. */
int64_t rt_vectors_find(const rt_vectors *v, const char *id, size_t size);
/* Rows first .. first + n - 1 into out [n, width]. RT_EDATA: not finite, or the file was cut off meanwhile. Any thread.
 */
rt_status rt_vectors_read(const rt_vectors *v, uint32_t first, uint32_t n, float *out);

/* *format AUTO becomes that of the name's end. RT_EUSAGE: the end tells none, or the name is a folder's or device's. */
rt_status rt_vectors_check_name(const char *path, rt_vectors_format *format);

typedef struct rt_vectors_writer rt_vectors_writer;
/* Rows are appended as they come; memory stays flat but for nothing: ids go to disk too. The final file appears under
 * its name on commit alone. `key` is the digest of all that the vectors hang on (checkpoint, data, options): rows that
 * an interrupted run with the same key left beside PATH are kept: *done of them, and the caller goes on after those;
 * those of another key are thrown away. The bytes are those of a run that was not interrupted.
 * unit: the rows have length 1. RT_EUSAGE as rt_vectors_check_name; RT_ECONFIG: another
 * process is writing it. */
rt_status rt_vectors_create(const char *path, rt_vectors_format format, int width, bool unit, const char key[33],
                            rt_vectors_writer **out, uint64_t *done);
/* ids[i] of sizes[i] bytes: not empty, no line break, no NUL, at most 1,024 bytes (RT_EDATA). Twice the same id:
 * RT_EDATA on commit, naming it. */
rt_status rt_vectors_append(rt_vectors_writer *w, const float *rows, const char *const *ids, const size_t *sizes,
                            uint32_t n);
/* Durable, atomic. Frees the writer in any case. */
rt_status rt_vectors_commit(rt_vectors_writer *w);
/* Frees; keep: what was appended stays beside PATH for the next run, else it is removed. NULL: nothing. */
void rt_vectors_abort(rt_vectors_writer *w, bool keep);

#endif
