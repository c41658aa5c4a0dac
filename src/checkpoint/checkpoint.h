/* rectrain's own checkpoints: HDF5 files of a fixed form.
 *
 * Layout: attributes of / : "format" = "rectrain", "version" (int), "digest" (XXH3-128 of version, names, shapes and
 * checksums, hex), "seal" (u64: of every byte outside the datasets).
 *   /config.json /vocab.txt /tokenizer_config.json /config.ini    1-D uint8 datasets, the bytes of those files
 *   /model/<Hugging Face name>    f32, contiguous; attribute "xxh3" (u64)
 *   last.h5 and step-*.h5 besides: /adam_m/<name>, /adam_v/<name>, /state (1-D uint8: a JSON object)
 *
 * libhdf5 never writes the file that users see: metadata is made in a sparse in-memory range by our own driver, raw
 * data go from the caller's memory to the file by pwrite; temporary name, fsync, rename, fsync of the folder. Reading
 * checks the schema (link type, rank, dims, dtype, layout, no filters, no external storage, storage size) before any
 * H5Dread, never visits or iterates over unchecked links, and verifies every checksum.
 */
#ifndef RT_CHECKPOINT_CHECKPOINT_H
#define RT_CHECKPOINT_CHECKPOINT_H
#include "../base/digest.h"
#include "../base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *name; /* Hugging Face name, without the group */
    int rank;         /* 1 or 2 */
    int64_t shape[2];
    const float *data; /* host f32, dense */
} rt_tensor_view;

typedef struct {
    const char *bytes; /* NULL: absent */
    size_t size;
} rt_blob;

typedef struct {
    rt_blob config_json, vocab_txt, tokenizer_config_json, config_ini, state; /* state: only with moments */
    const rt_tensor_view *tensors;                                            /* /model */
    int n_tensors;
    const rt_tensor_view *m, *v; /* /adam_m, /adam_v; NULL: a checkpoint for serving */
    int n_moments;
} rt_checkpoint_contents;

/* Atomic and durable; same contents, same bytes. RT_EIO leaves an existing file as it was. */
rt_status rt_checkpoint_write(const char *path, const rt_checkpoint_contents *contents);

typedef struct rt_checkpoint rt_checkpoint;
/* Opens and checks the schema and blob checksums; tensor data are checked when read. RT_ENOINPUT, RT_EDATA, RT_EIO. */
rt_status rt_checkpoint_open(const char *path, rt_checkpoint **out);
void rt_checkpoint_close(rt_checkpoint *checkpoint);
/* Borrowed until close, with a NUL behind the last byte; bytes NULL where the file has none. */
rt_blob rt_checkpoint_config_json(const rt_checkpoint *c), rt_checkpoint_vocab(const rt_checkpoint *c),
    rt_checkpoint_tokenizer_config(const rt_checkpoint *c), rt_checkpoint_config_ini(const rt_checkpoint *c),
    rt_checkpoint_state(const rt_checkpoint *c);
int rt_checkpoint_tensor_count(const rt_checkpoint *c);
const char *rt_checkpoint_tensor_name(const rt_checkpoint *c, int i);
void rt_checkpoint_tensor_shape(const rt_checkpoint *c, int i, int *rank, int64_t shape[2]);
typedef enum { RT_SECTION_MODEL, RT_SECTION_ADAM_M, RT_SECTION_ADAM_V } rt_section;
/* Reads a tensor into out[count] (f32, host) and verifies its checksum. RT_EDATA: not there, another shape, altered. */
rt_status rt_checkpoint_read(rt_checkpoint *c, rt_section section, const char *name, int rank, const int64_t *shape,
                             float *out);
bool rt_checkpoint_has(const rt_checkpoint *c, rt_section section, const char *name);
/* Everything `verify` does: schema, every checksum, the digest over all. Counts what it checked. */
typedef struct {
    int tensors, moments;
    int64_t parameters;
    uint64_t bytes;
    char digest[33];
    bool resumable; /* has moments and state */
} rt_verify_summary;
rt_status rt_checkpoint_verify(const char *path, rt_verify_summary *out);

#endif
