/* What a checkpoint holds, read from any source of bytes and checked whole before a single tensor is touched. */
#ifndef RT_CHECKPOINT_H5_SCHEMA_H
#define RT_CHECKPOINT_H5_SCHEMA_H
#include "checkpoint.h"
#include "h5_parse.h"

#define RT_CHECKPOINT_FORMAT "rectrain"
#define RT_CHECKPOINT_VERSION 1
#define RT_SECTIONS 3

typedef enum {
    RT_BLOB_CONFIG_JSON,
    RT_BLOB_VOCAB,
    RT_BLOB_TOKENIZER_CONFIG,
    RT_BLOB_CONFIG_INI,
    RT_BLOB_STATE,
    RT_BLOB_COUNT
} rt_blob_kind;
extern const char *const rt_blob_names[RT_BLOB_COUNT];  /* "config.json" ... */
extern const char *const rt_section_names[RT_SECTIONS]; /* "model", "adam_m", "adam_v", as rt_section */

typedef struct {
    char name[RT_H5_NAME_MAX + 1];
    int rank;
    int64_t shape[2];
    uint64_t at, size, xxh3; /* bytes [at, at + size) and their checksum */
} rt_h5_tensor;

typedef struct {
    bool present;
    uint64_t at, size, xxh3;
} rt_h5_blob;

typedef struct {
    uint64_t at, size;
} rt_h5_extent;

typedef struct {
    rt_h5_blob blobs[RT_BLOB_COUNT];
    struct {
        bool present;
        rt_h5_tensor *rows; /* sorted by name */
        int n;
    } sections[RT_SECTIONS];
    rt_h5_extent *extents; /* of all data, sorted, disjoint */
    int n_extents;
    char digest[33]; /* as stored */
    uint64_t digest_at;
    bool sealed;
    uint64_t seal, seal_at;
} rt_h5_schema;

/* `trust` skips digest and seal: for the writer, which is about to fill them in. */
rt_status rt_h5_schema_read(const rt_h5_bytes *bytes, bool trust, rt_h5_schema *out);
void rt_h5_schema_free(rt_h5_schema *schema);
const rt_h5_tensor *rt_h5_schema_find(const rt_h5_schema *schema, rt_section section, const char *name);
/* XXH3-128 of version, names, shapes and checksums: the digest over all, independent of where libhdf5 puts things. */
rt_status rt_h5_schema_digest(const rt_h5_schema *schema, char out[33]);
/* Low half of XXH3-128 of every byte that belongs to no dataset, the seal's own eight counted as zero: with the
 * checksums, no byte of the file can change unnoticed. */
rt_status rt_h5_schema_seal(const rt_h5_bytes *bytes, const rt_h5_schema *schema, uint64_t *out);

#endif
