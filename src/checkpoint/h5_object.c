/* Object headers, version 1, and the messages that datasets, groups and attributes of a checkpoint may have. */
#include "h5_parse.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_LIMIT ((uint64_t)1 << 20)
#define CHUNKS_LIMIT 16

enum {
    MESSAGE_NIL = 0x00,
    MESSAGE_DATASPACE = 0x01,
    MESSAGE_DATATYPE = 0x03,
    MESSAGE_FILL_OLD = 0x04,
    MESSAGE_FILL = 0x05,
    MESSAGE_LAYOUT = 0x08,
    MESSAGE_ATTRIBUTE = 0x0c,
    MESSAGE_TIME_OLD = 0x0e,
    MESSAGE_CONTINUATION = 0x10,
    MESSAGE_SYMBOLS = 0x11,
    MESSAGE_TIME = 0x12,
};

static const char *const message_names[] = {
    [0x02] = "link information of newer groups",  [0x06] = "links of newer groups", [0x07] = "external storage",
    [0x0a] = "group information of newer groups", [0x0b] = "filters (compression)", [0x0d] = "a comment",
    [0x0f] = "a table of shared messages",        [0x13] = "newer B-tree settings", [0x14] = "driver information",
    [0x15] = "newer attribute storage",           [0x16] = "a count of references",
};

typedef struct {
    rt_h5_parser *p;
    const char *what;
    rt_h5_object *object;
    bool space, type, layout, symbols;
    struct {
        uint64_t at, size;
    } chunks[CHUNKS_LIMIT];
    int n_chunks;
} header;

typedef struct {
    const unsigned char *b;
    size_t size;
    uint64_t at; /* of b[0] in the file */
} message;

const rt_h5_attribute *rt_h5_attribute_find(const rt_h5_object *object, const char *name) {
    for (int i = 0; i < object->n_attributes; i++)
        if (strcmp(object->attributes[i].name, name) == 0) return &object->attributes[i];
    return NULL;
}

static rt_status damaged(const header *h, const char *part) {
    return rt_h5_bad(h->p, "%s: its %s is damaged", h->what, part);
}

/* rank -1: not the simple dataspace of a checkpoint, which `out` then says. */
static rt_status read_space(const header *h, const message *m, int max_rank, int *rank, uint64_t dims[2]) {
    if (m->size < 8 || (m->b[0] != 1 && m->b[0] != 2)) return damaged(h, "dataspace");
    size_t start = m->b[0] == 1 ? 8 : 4;
    *rank = m->b[1];
    if (m->b[2] & 2) return damaged(h, "dataspace");
    if (m->b[0] == 2 && m->b[3] == 2) return rt_h5_bad(h->p, "%s has no elements (a null dataspace)", h->what);
    if (*rank > max_rank)
        return rt_h5_bad(h->p, "%s has %d dimensions, expected %s", h->what, *rank,
                         max_rank ? "1 or 2" : "none (one value)");
    if (m->size < start + 8 * (size_t)*rank * (m->b[2] & 1 ? 2 : 1)) return damaged(h, "dataspace");
    for (int i = 0; i < *rank; i++) {
        dims[i] = rt_h5_u64(m->b + start + 8 * (size_t)i);
        if ((m->b[2] & 1) && rt_h5_u64(m->b + start + 8 * (size_t)(*rank + i)) != dims[i])
            return rt_h5_bad(h->p, "%s may grow (its maximum differs from its size), expected fixed sizes", h->what);
    }
    return RT_OK;
}

static rt_h5_type match_type(const unsigned char *b, size_t size, unsigned *bytes) {
    static const struct {
        rt_h5_type type;
        unsigned n;
        unsigned char b[20];
    } known[] = {
        {RT_H5_U8, 12, {0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0}},
        {RT_H5_I32, 12, {0x10, 8, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0}},
        {RT_H5_U64, 12, {0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0}},
        {RT_H5_I64, 12, {0x10, 8, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0}},
        {RT_H5_U32, 12, {0x10, 0, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0}},
        {RT_H5_F32, 20, {0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0}},
    };
    *bytes = rt_h5_u32(b + 4);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (size >= known[i].n && memcmp(b, known[i].b, known[i].n) == 0) return known[i].type;
    if ((b[0] & 15) == 9 && (b[1] & 15) == 1 && *bytes == 16) return RT_H5_VLEN;
    return b[0] == 0x13 && b[1] < 0x20 && b[2] == 0 && b[3] == 0 ? RT_H5_STRING : RT_H5_OTHER;
}

static void describe_type(const unsigned char *b, char *out, size_t size) {
    static const char *const classes[] = {"whole numbers", "floating point numbers", "times",   "strings",
                                          "bit fields",    "opaque values",          "records", "references",
                                          "enumerations",  "variable-length values", "arrays"};
    unsigned class = b[0] & 15, bytes = rt_h5_u32(b + 4);
    const char *order = class <= 1 && (b[1] & 1) ? "big-endian " : "";
    snprintf(out, size, "%s%s of %u byte%s", order,
             class < sizeof classes / sizeof *classes ? classes[class] : "values of an unknown kind", bytes,
             bytes == 1 ? "" : "s");
}

static rt_status read_type(header *h, const message *m) {
    if (m->size < 8) return damaged(h, "datatype");
    h->object->type = match_type(m->b, m->size, &h->object->width);
    if (h->p->foreign) return RT_OK;
    if (h->object->type != RT_H5_U8 && h->object->type != RT_H5_F32) {
        char found[80];
        describe_type(m->b, found, sizeof found);
        return rt_h5_bad(h->p, "%s holds %s, expected little-endian 32-bit floating point numbers, or bytes", h->what,
                         found);
    }
    return RT_OK;
}

static rt_status read_layout(header *h, const message *m) {
    if (m->size < 2) return damaged(h, "layout");
    if (m->b[0] != 3)
        return rt_h5_bad(h->p, "%s is stored in layout version %d, expected 3 (contiguous)", h->what, m->b[0]);
    if (m->b[1] != 1)
        return rt_h5_bad(h->p, "%s is stored %s, expected contiguous", h->what,
                         m->b[1] == 0   ? "compact"
                         : m->b[1] == 2 ? "in chunks"
                                        : "as a virtual dataset");
    if (m->size < 18) return damaged(h, "layout");
    h->object->address = rt_h5_u64(m->b + 2);
    h->object->size = rt_h5_u64(m->b + 10);
    return RT_OK;
}

/* Parts of version 1 are padded to 8 bytes each; 2 and 3 are not; 3 has one more byte, the name's encoding. */
static rt_status read_attribute(header *h, const message *m) {
    rt_h5_object *o = h->object;
    if (m->size < 8 || m->b[0] < 1 || m->b[0] > 3 || m->b[1] != 0) return damaged(h, "attribute");
    size_t pad = m->b[0] == 1 ? 7 : 0, at = m->b[0] == 3 ? 9 : 8;
    size_t n_name = rt_h5_u16(m->b + 2), n_type = rt_h5_u16(m->b + 4), n_space = rt_h5_u16(m->b + 6);
    size_t type_at = at + ((n_name + pad) & ~pad), space_at = type_at + ((n_type + pad) & ~pad);
    size_t value_at = space_at + ((n_space + pad) & ~pad);
    if (value_at > m->size || n_name < 2 || n_type < 8) return damaged(h, "attribute");
    const char *name = (const char *)m->b + at;
    if (memchr(name, 0, n_name) != name + n_name - 1) return damaged(h, "attribute");
    if (n_name > sizeof o->attributes[0].name || o->n_attributes == RT_H5_ATTRIBUTES)
        return h->p->foreign ? RT_OK : rt_h5_bad(h->p, "%s has attributes that no checkpoint has", h->what);
    if (rt_h5_attribute_find(o, name)) return rt_h5_bad(h->p, "%s has two attributes of one name", h->what);
    rt_h5_attribute *a = &o->attributes[o->n_attributes];
    memset(a, 0, sizeof *a);
    memcpy(a->name, name, n_name);
    a->type = match_type(m->b + type_at, n_type, &a->size);
    int rank;
    uint64_t dims[2];
    message space = {m->b + space_at, n_space, 0};
    if (h->p->foreign && n_space > 1 && space.b[1] != 0) return RT_OK; /* a list */
    RT_TRY(read_space(h, &space, 0, &rank, dims));
    if (a->type == RT_H5_OTHER || (a->type >= RT_H5_I64 && !h->p->foreign) || a->size == 0 || a->size > sizeof a->value)
        return h->p->foreign ? RT_OK : rt_h5_bad(h->p, "%s has attributes that no checkpoint has", h->what);
    if (a->size > m->size - value_at) return damaged(h, "attribute");
    memcpy(a->value, m->b + value_at, a->size);
    a->at = m->at + value_at;
    o->n_attributes++;
    return RT_OK;
}

static rt_status once(header *h, bool *seen) {
    if (*seen) return rt_h5_bad(h->p, "%s is described twice", h->what);
    *seen = true;
    return RT_OK;
}

static rt_status add_chunk(header *h, uint64_t at, uint64_t size) {
    if (h->n_chunks == CHUNKS_LIMIT || size > CHUNK_LIMIT) return damaged(h, "header");
    h->chunks[h->n_chunks].at = at;
    h->chunks[h->n_chunks++].size = size;
    return RT_OK;
}

static rt_status read_message(header *h, unsigned kind, unsigned flags, const message *m) {
    RT_TRY(rt_h5_step(h->p));
    if (kind == MESSAGE_NIL) return RT_OK;
    if (flags & 2) return rt_h5_bad(h->p, "%s shares parts of its description, expected its own", h->what);
    switch (kind) {
    case MESSAGE_FILL_OLD:
    case MESSAGE_FILL:
    case MESSAGE_TIME_OLD:
    case MESSAGE_TIME:
        return RT_OK; /* say nothing about what is stored */
    case MESSAGE_DATASPACE:
        RT_TRY(once(h, &h->space));
        return read_space(h, m, 2, &h->object->rank, h->object->dims);
    case MESSAGE_DATATYPE:
        RT_TRY(once(h, &h->type));
        return read_type(h, m);
    case MESSAGE_LAYOUT:
        RT_TRY(once(h, &h->layout));
        return read_layout(h, m);
    case MESSAGE_ATTRIBUTE:
        return read_attribute(h, m);
    case MESSAGE_CONTINUATION:
        if (m->size < 16) return damaged(h, "header");
        return add_chunk(h, rt_h5_u64(m->b), rt_h5_u64(m->b + 8));
    case MESSAGE_SYMBOLS:
        RT_TRY(once(h, &h->symbols));
        if (m->size < 16) return damaged(h, "header");
        h->object->tree = rt_h5_u64(m->b);
        h->object->heap = rt_h5_u64(m->b + 8);
        return RT_OK;
    default:
        break;
    }
    const char *name = kind < sizeof message_names / sizeof *message_names ? message_names[kind] : NULL;
    return rt_h5_bad(h->p, "%s has %s, which %s has (HDF5 message 0x%02x)", h->what, name ? name : "a part",
                     h->p->foreign ? "no table of vectors" : "no checkpoint", kind);
}

static rt_status read_chunk(header *h, uint64_t at, uint64_t size, unsigned *n_messages) {
    rt_status rc = RT_OK;
    unsigned char *b = NULL;
    if (size > CHUNK_LIMIT || size > h->p->bytes->size) return damaged(h, "header");
    b = malloc((size_t)size + 1);
    if (!b) return rt_fail(RT_ENOMEM, "%s: out of memory", h->p->bytes->name);
    RT_GO(rt_h5_get(h->p, at, b, (size_t)size));
    for (size_t i = 0; i < size;) {
        if (size - i < 8 || rt_h5_u16(b + i + 2) > size - i - 8) {
            rc = damaged(h, "header");
            goto done;
        }
        message m = {b + i + 8, rt_h5_u16(b + i + 2), at + i + 8};
        ++*n_messages;
        RT_GO(read_message(h, rt_h5_u16(b + i), b[i + 4], &m));
        i += 8 + m.size;
    }
done:
    free(b);
    return rc;
}

static rt_status check_storage(const header *h) {
    const rt_h5_object *o = h->object;
    uint64_t bytes = o->width;
    if (o->rank < 1) return rt_h5_bad(h->p, "%s has no dimension, expected 1 or 2", h->what);
    for (int i = 0; i < o->rank; i++)
        if (__builtin_mul_overflow(bytes, o->dims[i], &bytes))
            return rt_h5_bad(h->p, "%s claims a size beyond all files", h->what);
    if (bytes != o->size)
        return rt_h5_bad(h->p, "%s claims %llu bytes and stores %llu", h->what, (unsigned long long)bytes,
                         (unsigned long long)o->size);
    if (bytes > 0 && (o->address > h->p->bytes->size || bytes > h->p->bytes->size - o->address))
        return rt_h5_bad(h->p, "%s lies beyond the end of the file (cut off or altered)", h->what);
    return RT_OK;
}

rt_status rt_h5_object_read(rt_h5_parser *p, uint64_t at, const char *what, rt_h5_object *out) {
    header h = {.p = p, .what = what, .object = out};
    unsigned char b[16];
    unsigned n_messages = 0;
    memset(out, 0, sizeof *out);
    RT_TRY(rt_h5_get(p, at, b, sizeof b));
    if (memcmp(b, "OHDR", 4) == 0)
        return rt_h5_bad(p, "%s has a header of a newer HDF5, expected libver \"earliest\"", what);
    if (b[0] != 1 || b[1] != 0) return damaged(&h, "header");
    if (rt_h5_u32(b + 4) != 1) return rt_h5_bad(p, "%s has %u names, expected 1", what, (unsigned)rt_h5_u32(b + 4));
    RT_TRY(add_chunk(&h, at + 16, rt_h5_u32(b + 8)));
    for (int i = 0; i < h.n_chunks; i++) RT_TRY(read_chunk(&h, h.chunks[i].at, h.chunks[i].size, &n_messages));
    if (n_messages != rt_h5_u16(b + 2)) return damaged(&h, "header");
    if (h.symbols && !h.space && !h.type && !h.layout) {
        out->kind = RT_H5_GROUP;
        return RT_OK;
    }
    if (h.symbols || !h.space || !h.type || !h.layout)
        return rt_h5_bad(p, "%s is neither a dataset nor a group of a checkpoint", what);
    out->kind = RT_H5_DATASET;
    return check_storage(&h);
}
