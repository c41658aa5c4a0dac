/* A data set's file: a header of one page, then sections. Native byte order; another one is another version.
 *
 *   ids      uint16 (int32 where the vocabulary needs it), all rows end to end    [tokens]
 *   offsets  uint64, row r's ids are offsets[r] .. offsets[r + 1] - 1             [rows + 1]
 *   lengths, splits  uint16      labels  int32     weights  float     groups  uint32      [rows]
 *   texts, users, items  uint64 hashes of the row's tokens (raw_texts: bytes) and values; users, items: 0 for an empty
 *            value   [rows]
 *   times    int64, seconds or the plain number, INT64_MIN for what is no time   [rows]
 *   slices   uint16, the number of each column's value   [rows, n_slices]
 *   slice names  "column=value" and a NUL for each value of the first column, then of the second, ...
 *
 * A section that the data set lacks has no bytes. Sections start on 256 bytes. */
#ifndef RT_DATA_DATASET_INTERNAL_H
#define RT_DATA_DATASET_INTERNAL_H
#include "../base/file.h"
#include "dataset.h"

#define RT_CACHE_MAGIC "RTTOKENS"
#define RT_CACHE_VERSION 2
#define RT_CACHE_HEADER 4096
#define RT_CACHE_ENDIAN 0x01020304u

typedef enum {
    RT_SECTION_IDS,
    RT_SECTION_OFFSETS,
    RT_SECTION_LENGTHS,
    RT_SECTION_SPLITS,
    RT_SECTION_LABELS,
    RT_SECTION_WEIGHTS,
    RT_SECTION_GROUPS,
    RT_SECTION_TEXTS,
    RT_SECTION_USERS,
    RT_SECTION_ITEMS,
    RT_SECTION_TIMES,
    RT_SECTION_SLICES,
    RT_SECTION_SLICE_NAMES,
    RT_SECTIONS
} rt_section_kind;

typedef struct {
    uint64_t offset, bytes;
    rt_digest128 digest;
} rt_section;

/* Optional columns: bits of `dropped`, in the order of rt_data_columns. */
enum { RT_OPTIONAL_COLUMNS = 5 }; /* from that bit on: columns of data.slice */

typedef struct {
    char magic[8];
    uint32_t version, endian;
    rt_digest128 key;
    uint64_t file_bytes, rows, tokens;
    uint64_t bad_rows, truncated, empty_a, empty_b, special_split, invalid_utf8, unknown, label_counts[2], left_out;
    uint32_t id_bytes; /* 2 or 4 */
    uint32_t max_len, n_groups, one_class_groups;
    uint32_t dropped;  /* optional columns that a file lacks */
    uint32_t calendar; /* times are dates: seconds since 1970 */
    uint32_t n_slices;
    uint32_t slice_values[16], reserved;
    rt_section sections[RT_SECTIONS];
    rt_digest128 content; /* of what matters to a run */
    rt_digest128 self;    /* of this header up to here */
} rt_cache_header;

/* A width of 0 at run time: ids have 2 or 4 bytes. */
extern const unsigned char rt_section_width[RT_SECTIONS];
extern const char *const rt_cache_section_name[RT_SECTIONS];

struct rt_dataset {
    unsigned char *map; /* the whole file, read-only */
    size_t map_bytes;
    rt_cache_header header;      /* a copy: checked once, used for ever */
    const void *at[RT_SECTIONS]; /* NULL without */
    uint32_t vocab;
    int32_t unknown_id; /* what an id outside the vocabulary reads as */
    rt_data_stats stats;
};

/* dataset_key.c */
typedef struct {
    uint64_t size, mtime, ctime, inode, device; /* times in ns */
} rt_file_state;
rt_status rt_file_state_get(const char *path, rt_file_state *state, bool *regular);
bool rt_file_state_same(const rt_file_state *a, const rt_file_state *b);
/* The cache's key: the files' bytes, the vocabulary, and all options that change ids or rows. states[n_files] are those
 * of the files as they were hashed. */
rt_status rt_dataset_key(const rt_data_spec *spec, const rt_tokenizer *tok, rt_progress progress, void *context,
                         rt_file_state *states, rt_digest128 *key);
/* Name and key ("data.group") of each optional column, in the order of `dropped`. */
void rt_data_columns(const rt_data_spec *spec, const char *names[RT_OPTIONAL_COLUMNS],
                     const char *keys[RT_OPTIONAL_COLUMNS]);

/* dataset_cache.c */
/* Maps fd (not closed) and checks all of it. RT_EDATA with what is wrong: then it must be made anew. key NULL: any. */
rt_status rt_cache_map(int fd, const char *name, const rt_digest128 *key, const rt_data_spec *spec,
                       const rt_tokenizer *tok, rt_dataset **out);

typedef struct {
    int fd;
    uint64_t bytes;        /* written to fd so far */
    unsigned char *buffer; /* what is not yet */
    size_t used;
} rt_spill;

/* Writes a cache front to back: ids as they come; the other sections, whose place hangs on the number of rows, wait in
 * files without a name and follow at the end. Memory stays flat. */
typedef struct {
    int fd;                    /* of the cache: the caller's */
    const char *name, *folder; /* folder NULL: everything in memory */
    uint64_t ids_bytes;
    rt_digest *ids_digest;
    rt_spill spills[RT_SECTIONS];
} rt_cache_writer;

rt_status rt_cache_writer_open(rt_cache_writer *w, int fd, const char *name, const char *folder);
rt_status rt_cache_write(rt_cache_writer *w, rt_section_kind kind, const void *bytes, size_t size);
/* Puts the sections together and writes the header, whose counts the caller has filled. */
rt_status rt_cache_writer_finish(rt_cache_writer *w, rt_cache_header *header);
void rt_cache_writer_close(rt_cache_writer *w);

/* dataset_build.c: reads and encodes all rows into `w` and fills the header's counts. */
rt_status rt_dataset_build(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                           void *context, rt_cache_writer *w, rt_cache_header *header);

#endif
