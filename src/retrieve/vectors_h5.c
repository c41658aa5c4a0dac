/* The HDF5 form: /train [n, width] f32 and /ids. Reading is that of checkpoints (src/checkpoint/h5_parse.h). Writing
 * puts the few structures of such a file together itself, in one block of a fixed size before the rows, so that rows
 * can be written before anyone knows how many there will be; libhdf5 would choose the places. The structures are those
 * of the HDF5 File Format Specification, version 3, sections II.A (superblock 0), III.A.1, III.B to III.E, IV.A. */
#include "../checkpoint/h5_parse.h"
#include "vectors_internal.h"
#include <stdio.h>
#include <string.h>

#define ADVICE "expected what rectrain embed or h5py's create_dataset(\"train\", data=float32 array) writes"
#define STEPS_LIMIT 100000L

/* --- writing ------------------------------------------------------------------------------------------------------ */

enum { HEAP_AT = 4096, HEAP_SIZE = 4096, LEAF_K = 4, NODE_K = 16 };

typedef struct {
    unsigned char *base;
    size_t at;      /* of the next structure */
    size_t heap_at; /* of the next string */
    unsigned heap_objects;
} writer;

static void put(writer *w, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) w->base[w->at++] = (unsigned char)(value >> (8 * i));
}

static void put_bytes(writer *w, const void *bytes, size_t size) {
    memcpy(w->base + w->at, bytes, size);
    w->at += size;
}

static void align(writer *w) {
    w->at = (w->at + 7) & ~(size_t)7; /* the block was zeroed */
}

/* A message of an object header; its size is filled in by message_end. */
static size_t message_begin(writer *w, unsigned kind) {
    size_t start = w->at;
    put(w, kind, 2);
    put(w, 0, 6);
    return start;
}

static void message_end(writer *w, size_t start) {
    align(w);
    size_t end = w->at, size = end - start - 8;
    w->at = start + 2;
    put(w, size, 2);
    w->at = end;
}

/* Version 1: how many messages, and how many bytes they take, is filled in by object_end. */
static size_t object_begin(writer *w) {
    align(w);
    size_t start = w->at;
    put(w, 1, 2);
    put(w, 0, 2);
    put(w, 1, 4); /* one name */
    put(w, 0, 8);
    return start;
}

static void object_end(writer *w, size_t start, unsigned n_messages) {
    size_t end = w->at;
    w->at = start + 2;
    put(w, n_messages, 2);
    w->at = start + 8;
    put(w, end - start - 16, 4);
    w->at = end;
}

static void put_space(writer *w, int rank, const uint64_t *dims) {
    put(w, 1, 1);
    put(w, (uint64_t)rank, 1);
    put(w, 0, 6);
    for (int i = 0; i < rank; i++) put(w, dims[i], 8);
}

static void put_type_f32(writer *w) {
    static const unsigned char type[20] = {0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0};
    put_bytes(w, type, sizeof type);
}

/* UTF-8, filled up with NUL. */
static void put_type_text(writer *w, size_t size) {
    put(w, 0x13, 1);
    put(w, 0x11, 1);
    put(w, 0, 2);
    put(w, size, 4);
}

enum { TYPE_WHOLE = 12, TYPE_VLEN = 20 };

static void put_type_whole(writer *w) {
    static const unsigned char type[TYPE_WHOLE] = {0x10, 8, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0};
    put_bytes(w, type, sizeof type);
}

/* Of a length of its own: what h5py gives back as str, and not as bytes. */
static void put_type_vlen(writer *w) {
    static const unsigned char type[TYPE_VLEN] = {0x19, 1, 1, 0, 16, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0};
    put_bytes(w, type, sizeof type);
}

static void attribute_begin(writer *w, const char *name, size_t type_size) {
    put(w, 1, 2);
    put(w, strlen(name) + 1, 2);
    put(w, type_size, 2);
    put(w, 8, 2);
    put_bytes(w, name, strlen(name) + 1);
    align(w);
}

static void put_whole_attribute(writer *w, const char *name, uint64_t value) {
    size_t m = message_begin(w, 0x0c);
    attribute_begin(w, name, TYPE_WHOLE);
    put_type_whole(w);
    align(w);
    put_space(w, 0, NULL);
    put(w, value, 8);
    message_end(w, m);
}

/* The string stands in the global heap. */
static void put_text_attribute(writer *w, const char *name, const char *value) {
    size_t n = strlen(value), m = message_begin(w, 0x0c);
    attribute_begin(w, name, TYPE_VLEN);
    put_type_vlen(w);
    align(w);
    put_space(w, 0, NULL);
    put(w, n, 4);
    put(w, HEAP_AT, 8);
    put(w, ++w->heap_objects, 4);
    message_end(w, m);
    writer heap = {.base = w->base, .at = w->heap_at};
    put(&heap, w->heap_objects, 2);
    put(&heap, 0, 6);
    put(&heap, n, 8);
    put_bytes(&heap, value, n);
    align(&heap);
    w->heap_at = heap.at;
}

static void heap_begin(writer *w) {
    writer heap = {.base = w->base, .at = HEAP_AT};
    put_bytes(&heap, "GCOL", 4);
    put(&heap, 1, 4);
    put(&heap, HEAP_SIZE, 8);
    w->heap_at = heap.at;
}

/* What is left is object 0. */
static void heap_end(writer *w) {
    writer heap = {.base = w->base, .at = w->heap_at};
    put(&heap, 0, 8);
    put(&heap, HEAP_AT + HEAP_SIZE - w->heap_at, 8);
}

/* A dataset's header; element: the size of a string, or 0 for f32. */
static uint64_t put_dataset(writer *w, int rank, const uint64_t *dims, size_t element, uint64_t address) {
    uint64_t bytes = element ? element : sizeof(float);
    size_t o = object_begin(w), m = message_begin(w, 0x01);
    put_space(w, rank, dims);
    message_end(w, m);
    m = message_begin(w, 0x03);
    if (element)
        put_type_text(w, element);
    else
        put_type_f32(w);
    message_end(w, m);
    m = message_begin(w, 0x05); /* fill value: version 2, allocated late, written if set, zero */
    put(w, 0x01020202, 4);
    put(w, 0, 4);
    message_end(w, m);
    m = message_begin(w, 0x08);
    for (int i = 0; i < rank; i++) bytes *= dims[i];
    put(w, 3, 1);
    put(w, 1, 1);
    put(w, bytes ? address : RT_H5_NOWHERE, 8);
    put(w, bytes, 8);
    message_end(w, m);
    object_end(w, o, 4);
    return o;
}

static void put_superblock(writer *w, uint64_t end, uint64_t root, uint64_t tree, uint64_t heap) {
    static const unsigned char first[24] = {0x89, 'H', 'D', 'F', '\r',   '\n', 0x1a,   '\n', 0, 0, 0, 0,
                                            0,    8,   8,   0,   LEAF_K, 0,    NODE_K, 0,    0, 0, 0, 0};
    w->at = 0;
    put_bytes(w, first, sizeof first);
    put(w, 0, 8); /* base */
    put(w, RT_H5_NOWHERE, 8);
    put(w, end, 8);
    put(w, RT_H5_NOWHERE, 8);
    put(w, 0, 8); /* the root's entry: no name, its header, its tree and heap at hand */
    put(w, root, 8);
    put(w, 1, 8);
    put(w, tree, 8);
    put(w, heap, 8);
}

/* Members of the root group, in the order of their names. */
static void put_group(writer *w, const uint64_t headers[2], uint64_t *tree, uint64_t *heap) {
    enum { NAMES = 24 }; /* "" and two names, each in eight bytes */
    align(w);
    *heap = w->at;
    put_bytes(w, "HEAP", 4);
    put(w, 0, 4);
    put(w, NAMES, 8);
    put(w, 1, 8); /* no free block */
    put(w, *heap + 32, 8);
    put(w, 0, 8);
    put_bytes(w, "ids\0\0\0\0", 8);
    put_bytes(w, "train\0\0", 8);
    uint64_t symbols = w->at;
    put_bytes(w, "SNOD", 4);
    put(w, 1, 2);
    put(w, 2, 2);
    for (int i = 0; i < 2; i++) {
        put(w, 8 + 8 * (uint64_t)i, 8);
        put(w, headers[i], 8);
        put(w, 0, 8);
        put(w, 0, 8);
        put(w, 0, 8);
    }
    w->at = symbols + 8 + 2 * LEAF_K * 40;
    *tree = w->at;
    put_bytes(w, "TREE", 4);
    put(w, 0, 2);
    put(w, 1, 2);
    put(w, RT_H5_NOWHERE, 8);
    put(w, RT_H5_NOWHERE, 8);
    put(w, 0, 8);
    put(w, symbols, 8);
    put(w, 16, 8);
    w->at = *tree + 24 + 8 * (2 * NODE_K + 1) + 8 * (2 * NODE_K);
}

void rt_vectors_header_h5(uint64_t n, int width, bool unit, size_t id_width, unsigned char out[RT_VECTORS_HEADER_MAX]) {
    writer w = {.base = out, .at = 96};
    const uint64_t train[2] = {n, (uint64_t)width}, rows = n * (uint64_t)width * sizeof(float);
    uint64_t headers[2], tree, heap;
    memset(out, 0, RT_VECTORS_HEADER_MAX);
    heap_begin(&w);
    headers[0] = put_dataset(&w, 1, &n, id_width ? id_width : 1, RT_VECTORS_HEADER_MAX + rows);
    headers[1] = put_dataset(&w, 2, train, 0, RT_VECTORS_HEADER_MAX);
    put_group(&w, headers, &tree, &heap);
    size_t root = object_begin(&w), m = message_begin(&w, 0x11);
    put(&w, tree, 8);
    put(&w, heap, 8);
    message_end(&w, m);
    put_text_attribute(&w, "type", "dense");
    put_text_attribute(&w, "distance", unit ? "angular" : "euclidean");
    put_whole_attribute(&w, "dimension", (uint64_t)width);
    put_text_attribute(&w, "point_type", "float");
    put_whole_attribute(&w, "normalized", unit);
    object_end(&w, root, 6);
    heap_end(&w);
    put_superblock(&w, RT_VECTORS_HEADER_MAX + rows + n * (id_width ? id_width : 1), root, tree, heap);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static rt_status read_bytes(void *context, uint64_t at, void *out, size_t size) {
    return rt_vectors_get(context, at, out, size);
}

static rt_status read_train(rt_h5_parser *p, uint64_t header, rt_vectors_layout *out) {
    rt_h5_object o;
    RT_TRY(rt_h5_object_read(p, header, "/train", &o));
    if (o.kind != RT_H5_DATASET || o.rank != 2)
        return rt_h5_bad(p, "/train is no table of two dimensions [vectors, width]");
    if (o.type != RT_H5_F32) return rt_h5_bad(p, "/train holds other numbers than little-endian 32-bit floating point");
    out->n = o.dims[0];
    out->width = o.dims[1];
    out->data_at = o.size ? o.address : 0;
    return RT_OK;
}

/* Each field is a length, and the place of the bytes in the global heap. */
static rt_status read_own_lengths(rt_h5_parser *p, const rt_h5_object *o, rt_id_list *ids) {
    rt_h5_heap heap = {0};
    rt_status rc = RT_OK;
    unsigned char b[16];
    for (uint64_t i = 0; i < o->dims[0]; i++) {
        const char *bytes = "";
        size_t size = 0;
        RT_GO(rt_h5_get(p, o->address + i * sizeof b, b, sizeof b));
        uint32_t length = rt_h5_u32(b);
        if (length) RT_GO(rt_h5_heap_get(p, &heap, rt_h5_u64(b + 4), rt_h5_u32(b + 12), &bytes, &size));
        if (length > size) RT_GO(rt_h5_bad(p, "a string of /ids is cut off"));
        const char *refused = rt_id_refused(bytes, length);
        if (refused) RT_GO(rt_h5_bad(p, "the id of row %llu %s", (unsigned long long)i, refused));
        RT_GO(rt_id_list_add(ids, bytes, length));
    }
done:
    rt_h5_heap_free(&heap);
    return rc;
}

static rt_status read_ids(rt_h5_parser *p, uint64_t header, rt_vectors_layout *out, rt_id_list *ids) {
    rt_h5_object o;
    RT_TRY(rt_h5_object_read(p, header, "/ids", &o));
    if (o.kind != RT_H5_DATASET || o.rank != 1) return rt_h5_bad(p, "/ids is no list of one dimension");
    if (o.dims[0] != out->n)
        return rt_h5_bad(p, "/ids holds %llu ids, /train %llu vectors", (unsigned long long)o.dims[0],
                         (unsigned long long)out->n);
    out->ids_at = o.address;
    out->ids_width = o.width;
    switch (o.type) {
    case RT_H5_STRING:
        if (o.width < 1 || o.width > 65536) return rt_h5_bad(p, "/ids holds strings of %u bytes", o.width);
        out->ids = RT_IDS_TEXT;
        return RT_OK;
    case RT_H5_U8:
    case RT_H5_U32:
    case RT_H5_U64:
    case RT_H5_I32:
    case RT_H5_I64:
        out->ids = RT_IDS_WHOLE;
        out->ids_signed = o.type == RT_H5_I32 || o.type == RT_H5_I64;
        return RT_OK;
    case RT_H5_VLEN:
        out->ids = RT_IDS_READ;
        return read_own_lengths(p, &o, ids);
    default:
        return rt_h5_bad(p, "/ids holds neither strings nor little-endian whole numbers");
    }
}

rt_status rt_vectors_read_h5(const rt_vectors_file *file, rt_vectors_layout *out, rt_id_list *ids) {
    rt_h5_bytes bytes = {read_bytes, (void *)file, file->size, file->path};
    rt_h5_parser p = {.bytes = &bytes, .budget = STEPS_LIMIT, .advice = ADVICE, .foreign = true};
    rt_status rc;
    rt_h5_object root;
    rt_h5_links links = {0};
    uint64_t at = 0, train = 0, own = 0;
    *out = (rt_vectors_layout){.ids = RT_IDS_NONE};
    RT_GO(rt_h5_superblock(&p, &at));
    RT_GO(rt_h5_object_read(&p, at, "/", &root));
    if (root.kind != RT_H5_GROUP) RT_GO(rt_h5_bad(&p, "its root is no group"));
    RT_GO(rt_h5_group_read(&p, &root, "/", &links));
    for (int i = 0; i < links.n; i++) {
        if (strcmp(links.links[i].name, "train") == 0) train = links.links[i].header;
        if (strcmp(links.links[i].name, "ids") == 0) own = links.links[i].header;
    }
    if (rt_h5_attribute_find(&root, "format"))
        RT_GO(rt_fail(RT_EDATA, "%s: a checkpoint, expected vectors; rectrain embed makes them of texts", file->path));
    if (!train) RT_GO(rt_h5_bad(&p, "an HDF5 file without /train"));
    RT_GO(read_train(&p, train, out));
    const rt_h5_attribute *unit = rt_h5_attribute_find(&root, "normalized");
    out->unit = unit && unit->type == RT_H5_I64 && rt_h5_u64(unit->value) == 1;
    if (own) RT_GO(read_ids(&p, own, out, ids));
    out->tail = UINT64_MAX; /* whatever stands behind the rows */
done:
    rt_h5_links_free(&links);
    return rc;
}
