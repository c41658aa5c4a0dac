/* A strict reader of the subset of HDF5 that checkpoints are written in: superblock 0, groups as symbol tables, object
 * headers 1, contiguous datasets, small scalar attributes. Every byte is bounds-checked and every loop has a budget;
 * whatever else HDF5 knows (links other than hard ones, filters, chunks, external or virtual storage, newer headers) is
 * refused by name. So no byte of a hostile file ever reaches libhdf5, and no code is loaded for one. Tables of vectors,
 * which other programs write too, are read in the same way (`foreign`).
 */
#ifndef RT_CHECKPOINT_H5_PARSE_H
#define RT_CHECKPOINT_H5_PARSE_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_H5_NAME_MAX 200       /* bytes of a link's name */
#define RT_H5_NOWHERE UINT64_MAX /* HDF5's undefined address */

/* Where bytes come from: a file, or an image in memory. `read` is only called inside [0, size). */
typedef struct {
    rt_status (*read)(void *context, uint64_t at, void *out, size_t size);
    void *context;
    uint64_t size;
    const char *name; /* for messages */
} rt_h5_bytes;

typedef struct {
    const rt_h5_bytes *bytes;
    long budget;        /* steps left before the file is called hostile */
    const char *advice; /* behind every refusal; NULL: that of a checkpoint */
    bool foreign; /* others write such files: datasets may hold anything, and unknown attributes are passed over */
} rt_h5_parser;

/* From RT_H5_I64 on: in foreign files alone. RT_H5_VLEN is a string of its own length, in the global heap. */
typedef enum {
    RT_H5_OTHER,
    RT_H5_U8,
    RT_H5_I32,
    RT_H5_U64,
    RT_H5_F32,
    RT_H5_STRING,
    RT_H5_I64,
    RT_H5_U32,
    RT_H5_VLEN
} rt_h5_type;
typedef enum { RT_H5_GROUP, RT_H5_DATASET } rt_h5_kind;

#define RT_H5_ATTRIBUTES 8
typedef struct {
    char name[16];
    rt_h5_type type;
    unsigned size; /* bytes of the value */
    unsigned char value[64];
    uint64_t at; /* where the value stands in the file */
} rt_h5_attribute;

typedef struct {
    rt_h5_kind kind;
    uint64_t tree, heap; /* groups */
    rt_h5_type type;     /* datasets ... */
    unsigned width;      /* bytes of an element */
    int rank;
    uint64_t dims[2];
    uint64_t address, size; /* bytes [address, address + size) of the file; size 0: none, address undefined */
    int n_attributes;
    rt_h5_attribute attributes[RT_H5_ATTRIBUTES];
} rt_h5_object;

typedef struct {
    char name[RT_H5_NAME_MAX + 1];
    uint64_t header;
} rt_h5_link;

typedef struct {
    rt_h5_link *links; /* strictly sorted by name */
    int n, capacity;
} rt_h5_links;

/* Says RT_EDATA with the file's name in front and the way out behind. */
rt_status rt_h5_bad(const rt_h5_parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Bounds-checked; RT_EDATA beyond the end. */
rt_status rt_h5_get(rt_h5_parser *p, uint64_t at, void *out, size_t size);
/* One step of the budget. */
rt_status rt_h5_step(rt_h5_parser *p);
/* Checks the superblock; gives the address of the root group's header. */
rt_status rt_h5_superblock(rt_h5_parser *p, uint64_t *root);
/* Checks one object header; `what` is its path, for messages. */
rt_status rt_h5_object_read(rt_h5_parser *p, uint64_t at, const char *what, rt_h5_object *out);
/* The members of a group, all hard links. Free with rt_h5_links_free. */
rt_status rt_h5_group_read(rt_h5_parser *p, const rt_h5_object *group, const char *what, rt_h5_links *out);
/* A collection of the global heap, kept until another one is asked for. Zero-initialise; free at the end. */
typedef struct {
    uint64_t at; /* of `bytes` in the file */
    unsigned char *bytes;
    size_t size;
    uint32_t *places; /* [n] of object i in bytes; 0: none */
    uint32_t n;
    uint64_t read; /* bytes of all that were asked for, over 3 x the file's the file is called hostile */
} rt_h5_heap;
/* Object `index` of the collection at `at`, valid until the heap's next use. */
rt_status rt_h5_heap_get(rt_h5_parser *p, rt_h5_heap *heap, uint64_t at, uint32_t index, const char **bytes,
                         size_t *size);
void rt_h5_heap_free(rt_h5_heap *heap);
/* Names that a checkpoint may hold: 1 to RT_H5_NAME_MAX printable ASCII characters without blank and slash. */
bool rt_h5_name_ok(const char *name);
void rt_h5_links_free(rt_h5_links *links);
const rt_h5_attribute *rt_h5_attribute_find(const rt_h5_object *object, const char *name);

static inline uint16_t rt_h5_u16(const unsigned char *b) {
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t rt_h5_u32(const unsigned char *b) {
    return rt_h5_u16(b) | (uint32_t)rt_h5_u16(b + 2) << 16;
}
static inline uint64_t rt_h5_u64(const unsigned char *b) {
    return rt_h5_u32(b) | (uint64_t)rt_h5_u32(b + 4) << 32;
}

#endif
