/* A data set's file: a header, then sections, then the digests of all blocks between the header and them. Everything
 * starts on a block of 4,096 bytes, what is left of a section's last block is zeros. Native byte order; another one is
 * another version.
 *
 *   ids      uint16 (int32 where the vocabulary needs it), rows end to end: the split of a row, then its ids
 *            [rows + tokens]
 *   lengths  uint16      labels  uint16      weights  float      groups  uint32      [rows]
 *   texts, users, items  uint64 hashes of the row's tokens (raw_texts: bytes) and values; users, items: 0 for an empty
 *            value   [rows]
 *   times    int64, seconds or the plain number, INT64_MIN for what is no time   [rows]
 *   slices   uint16, the number of each column's value   [rows, n_slices]
 *   slice names  "column=value" and a NUL for each value of the first column, then of the second, ...
 *   digests  uint64 XXH3 of each block   [blocks]
 *
 * A section that the data set lacks has no bytes.
 *
 * Nothing of the file is mapped: what is read is read by pread, and each block is held against its digest every time it
 * is read. So a file that is altered, cut off or failing while it is in use gives an error and no signal, and a cache
 * of any size opens in the time that the arrays of rows take. */
#ifndef RT_DATA_DATASET_INTERNAL_H
#define RT_DATA_DATASET_INTERNAL_H
#include "../base/file.h"
#include "dataset.h"

#define RT_CACHE_MAGIC "RTTOKENS"
#define RT_CACHE_VERSION 3
#define RT_CACHE_BLOCK 4096 /* of the header too */
#define RT_CACHE_ENDIAN 0x01020304u
/* A file up to here is checked whole when it is opened, and made anew if it does not fit; of a larger one what a start
 * needs is checked then, the rest as it is read. */
#define RT_CACHE_EAGER ((uint64_t)64 << 20)

typedef enum {
    RT_SECTION_IDS,
    RT_SECTION_LENGTHS,
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
    uint64_t section_bytes[RT_SECTIONS];
    rt_digest128 digests; /* of the blocks' digests */
    rt_digest128 content; /* of what matters to a run */
    rt_digest128 self;    /* of this header up to here */
} rt_cache_header;

/* Where each section starts; [RT_SECTIONS]: the blocks' digests. */
typedef struct {
    uint64_t at[RT_SECTIONS + 1], file_bytes;
    uint64_t blocks; /* between the header and the digests */
} rt_cache_layout;

/* A width of 0 at run time: ids have 2 or 4 bytes. */
extern const unsigned char rt_section_width[RT_SECTIONS];
extern const char *const rt_cache_section_name[RT_SECTIONS];
/* False: a size that overflows. */
bool rt_cache_lay_out(const rt_cache_header *header, rt_cache_layout *out);
rt_digest128 rt_cache_content(const rt_cache_header *header, const rt_cache_layout *layout, const uint64_t *digests);
rt_digest128 rt_cache_self(const rt_cache_header *header);

/* Rows between two known places of the ids: what lies between is summed up from the lengths. */
enum { RT_START_EVERY = 64 };

/* Memory of an open set: 2 bytes a row for the length, 1/8 for its place, and, where there is such a column, 4 each for
 * label, weight and group; and 8 bytes for each block of the file. */
struct rt_dataset {
    int fd;
    char *name;
    char *folder; /* where findings about it may be kept; NULL: nowhere */
    rt_cache_header header;
    rt_cache_layout layout;
    uint64_t *digests; /* [layout.blocks] */
    uint16_t *lengths;
    int32_t *labels; /* NULL without, as the next two */
    float *weights;
    uint32_t *groups;
    uint64_t *starts; /* [rows / RT_START_EVERY + 1] where the ids section has row 0, 64, ... */
    uint32_t vocab;
    int32_t unknown_id; /* what an id outside the vocabulary reads as */
    rt_data_stats stats;
    int sides;          /* of rt_data_spec.apart; else 1 */
    bool (*stop)(void); /* NULL: never; true ends what looks through the sections */
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

/* Small files beside the cache, for what can be found again: written without a sync, under a temporary name; a failure
 * is no matter. The caller's bytes tell a torn one. */
void rt_sidecar_write(const char *path, const void *bytes, size_t size);

/* dataset_cache.c */
/* Opens fd, of which it keeps a copy, and checks what is said at RT_CACHE_EAGER; `eager`: up to how many bytes all is
 * checked. RT_EDATA with what is wrong: then it must be made anew. key NULL: any. */
rt_status rt_cache_open(int fd, const char *name, const rt_digest128 *key, const rt_data_spec *spec,
                        const rt_tokenizer *tok, uint64_t eager, rt_dataset **out);
bool rt_section_has(const rt_dataset *ds, rt_section_kind kind);
/* Reads values first .. first + n - 1, held against their digests. RT_EDATA: altered or cut off. */
rt_status rt_section_read(const rt_dataset *ds, rt_section_kind kind, uint64_t first, size_t n, void *out);

/* dataset_write.c */
typedef struct {
    int fd;
    uint64_t bytes;        /* written to fd so far */
    unsigned char *buffer; /* what is not yet */
    size_t used;
} rt_spill;

/* Writes a cache front to back: ids as they come; the other sections, whose place hangs on the number of rows, wait in
 * files without a name and follow at the end. Memory stays flat but for 8 bytes a block. */
typedef struct {
    int fd;                    /* of the cache: the caller's */
    const char *name, *folder; /* folder NULL: everything in memory */
    unsigned char *buffer;     /* of whole blocks on their way out */
    size_t used;
    uint64_t at; /* in the file, of the buffer */
    uint64_t *digests;
    size_t n_digests, digests_capacity;
    uint64_t ids_bytes;
    rt_spill spills[RT_SECTIONS];
} rt_cache_writer;

rt_status rt_cache_writer_open(rt_cache_writer *w, int fd, const char *name, const char *folder);
rt_status rt_cache_write(rt_cache_writer *w, rt_section_kind kind, const void *bytes, size_t size);
/* Puts the sections together and writes the header, whose counts the caller has filled. */
rt_status rt_cache_writer_finish(rt_cache_writer *w, rt_cache_header *header);
void rt_cache_writer_close(rt_cache_writer *w);

/* overlap.c: as rt_dataset_overlap, with tables of at most so many slots, a power of two and at least 2^15. */
rt_status rt_dataset_overlap_within(const rt_dataset *ds, const rt_dataset *other, size_t most_slots,
                                    rt_data_overlap *out);

/* dataset_build.c: reads and encodes all rows into `w` and fills the header's counts. */
rt_status rt_dataset_build(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                           void *context, rt_cache_writer *w, rt_cache_header *header);

#endif
