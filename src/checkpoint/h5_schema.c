#include "h5_schema.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_LIMIT 20000000L                 /* objects, names and messages of one file */
#define DESCRIPTION_LIMIT ((uint64_t)1 << 26) /* bytes that belong to no dataset */

const char *const rt_blob_names[RT_BLOB_COUNT] = {"config.json", "vocab.txt", "tokenizer_config.json", "config.ini",
                                                  "state"};
const char *const rt_section_names[RT_SECTIONS] = {"model", "adam_m", "adam_v"};

void rt_h5_schema_free(rt_h5_schema *schema) {
    if (!schema) return;
    for (int s = 0; s < RT_SECTIONS; s++) free(schema->sections[s].rows);
    free(schema->extents);
    memset(schema, 0, sizeof *schema);
}

static int compare_name(const void *key, const void *row) {
    return strcmp(key, ((const rt_h5_tensor *)row)->name);
}

const rt_h5_tensor *rt_h5_schema_find(const rt_h5_schema *schema, rt_section section, const char *name) {
    if (!schema->sections[section].n) return NULL;
    return bsearch(name, schema->sections[section].rows, (size_t)schema->sections[section].n, sizeof(rt_h5_tensor),
                   compare_name);
}

/* --- attributes --------------------------------------------------------------------------------------------------- */

static rt_status read_root_attributes(rt_h5_parser *p, const rt_h5_object *root, rt_h5_schema *out) {
    const rt_h5_attribute *format = rt_h5_attribute_find(root, "format"),
                          *version = rt_h5_attribute_find(root, "version"),
                          *digest = rt_h5_attribute_find(root, "digest"), *seal = rt_h5_attribute_find(root, "seal");
    size_t n = strlen(RT_CHECKPOINT_FORMAT);
    if (!format || format->type != RT_H5_STRING || format->size < n || format->size > n + 1 ||
        memcmp(format->value, RT_CHECKPOINT_FORMAT, n) != 0 || (format->size > n && format->value[n] != 0))
        return rt_h5_bad(p,
                         "an HDF5 file, but no checkpoint of rectrain (its root lacks the attribute format = \"%s\")",
                         RT_CHECKPOINT_FORMAT);
    if (!version || version->type != RT_H5_I32) return rt_h5_bad(p, "it lacks the attribute version");
    if (rt_h5_u32(version->value) != RT_CHECKPOINT_VERSION)
        return rt_h5_bad(p, "a checkpoint of version %d, this rectrain reads version %d",
                         (int)rt_h5_u32(version->value), RT_CHECKPOINT_VERSION);
    if (!digest || digest->type != RT_H5_STRING || digest->size < 32 || digest->size > 33)
        return rt_h5_bad(p, "it lacks the attribute digest");
    memcpy(out->digest, digest->value, 32);
    out->digest_at = digest->at;
    if (seal && seal->type != RT_H5_U64) return rt_h5_bad(p, "its attribute seal is damaged");
    if (root->n_attributes != 3 + (seal != NULL)) return rt_h5_bad(p, "its root has attributes that no checkpoint has");
    if (seal) {
        out->sealed = true;
        out->seal = rt_h5_u64(seal->value);
        out->seal_at = seal->at;
    }
    return RT_OK;
}

static rt_status read_checksum(rt_h5_parser *p, const rt_h5_object *o, const char *what, uint64_t *out) {
    const rt_h5_attribute *a = rt_h5_attribute_find(o, "xxh3");
    if (!a || a->type != RT_H5_U64) return rt_h5_bad(p, "%s lacks its checksum (attribute xxh3)", what);
    if (o->n_attributes != 1) return rt_h5_bad(p, "%s has attributes that no checkpoint has", what);
    *out = rt_h5_u64(a->value);
    return RT_OK;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

static rt_status read_tensor(rt_h5_parser *p, const rt_h5_link *link, const char *section, rt_h5_tensor *row) {
    char what[RT_H5_NAME_MAX + 16];
    rt_h5_object o;
    snprintf(what, sizeof what, "/%s/%s", section, link->name);
    RT_TRY(rt_h5_object_read(p, link->header, what, &o));
    if (o.kind != RT_H5_DATASET) return rt_h5_bad(p, "%s is a group, expected a tensor", what);
    if (o.type != RT_H5_F32)
        return rt_h5_bad(p, "%s holds bytes, expected little-endian 32-bit floating point numbers", what);
    if (o.size == 0) return rt_h5_bad(p, "%s is empty", what);
    row->rank = o.rank;
    for (int i = 0; i < 2; i++) row->shape[i] = i < o.rank ? (int64_t)o.dims[i] : 1; /* size fits the file */
    row->at = o.address;
    row->size = o.size;
    snprintf(row->name, sizeof row->name, "%s", link->name);
    return read_checksum(p, &o, what, &row->xxh3);
}

static rt_status read_section(rt_h5_parser *p, int s, const rt_h5_object *group, rt_h5_schema *out) {
    rt_status rc;
    rt_h5_links links = {0};
    char what[16];
    snprintf(what, sizeof what, "/%s", rt_section_names[s]);
    if (group->kind != RT_H5_GROUP || group->n_attributes)
        return rt_h5_bad(p, "%s is not the plain group of a checkpoint", what);
    RT_GO(rt_h5_group_read(p, group, what, &links));
    out->sections[s].present = true;
    out->sections[s].rows = calloc((size_t)links.n + 1, sizeof(rt_h5_tensor));
    if (!out->sections[s].rows) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", p->bytes->name);
        goto done;
    }
    for (int i = 0; i < links.n; i++) {
        RT_GO(read_tensor(p, &links.links[i], rt_section_names[s], &out->sections[s].rows[i]));
        out->sections[s].n = i + 1;
    }
done:
    rt_h5_links_free(&links);
    return rc;
}

static rt_status read_blob(rt_h5_parser *p, int b, const rt_h5_object *o, rt_h5_schema *out) {
    const char *what = rt_blob_names[b];
    if (o->kind != RT_H5_DATASET || o->type != RT_H5_U8 || o->rank != 1)
        return rt_h5_bad(p, "/%s is not a row of bytes", what);
    out->blobs[b] = (rt_h5_blob){.present = true, .at = o->address, .size = o->size};
    return read_checksum(p, o, what, &out->blobs[b].xxh3);
}

static rt_status read_member(rt_h5_parser *p, const rt_h5_link *link, rt_h5_schema *out) {
    char what[RT_H5_NAME_MAX + 2];
    rt_h5_object o;
    snprintf(what, sizeof what, "/%s", link->name);
    for (int s = 0; s < RT_SECTIONS; s++) {
        if (strcmp(link->name, rt_section_names[s]) != 0) continue;
        RT_TRY(rt_h5_object_read(p, link->header, what, &o));
        return read_section(p, s, &o, out);
    }
    for (int b = 0; b < RT_BLOB_COUNT; b++) {
        if (strcmp(link->name, rt_blob_names[b]) != 0) continue;
        RT_TRY(rt_h5_object_read(p, link->header, what, &o));
        return read_blob(p, b, &o, out);
    }
    return rt_h5_bad(p, "it holds %s, which no checkpoint has", what);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static rt_status check_moments(rt_h5_parser *p, const rt_h5_schema *s) {
    bool m = s->sections[RT_SECTION_ADAM_M].present, v = s->sections[RT_SECTION_ADAM_V].present;
    if (!s->sections[RT_SECTION_MODEL].present) return rt_h5_bad(p, "it lacks /model");
    if (m != v || m != s->blobs[RT_BLOB_STATE].present)
        return rt_h5_bad(p, "/adam_m, /adam_v and /state come together or not at all");
    if (s->sections[RT_SECTION_ADAM_M].n != s->sections[RT_SECTION_ADAM_V].n)
        return rt_h5_bad(p, "/adam_m and /adam_v hold different tensors");
    for (int i = 0; i < s->sections[RT_SECTION_ADAM_M].n; i++) {
        const rt_h5_tensor *a = &s->sections[RT_SECTION_ADAM_M].rows[i], *b = &s->sections[RT_SECTION_ADAM_V].rows[i];
        const rt_h5_tensor *w = rt_h5_schema_find(s, RT_SECTION_MODEL, a->name);
        if (strcmp(a->name, b->name) != 0) return rt_h5_bad(p, "/adam_m and /adam_v hold different tensors");
        if (!w) return rt_h5_bad(p, "/adam_m/%s has no weights in /model", a->name);
        if (a->rank != w->rank || b->rank != w->rank || memcmp(a->shape, w->shape, sizeof a->shape) != 0 ||
            memcmp(b->shape, w->shape, sizeof b->shape) != 0)
            return rt_h5_bad(p, "/adam_m, /adam_v and /model disagree on the shape of %s", a->name);
    }
    return RT_OK;
}

static int compare_extent(const void *a, const void *b) {
    uint64_t x = ((const rt_h5_extent *)a)->at, y = ((const rt_h5_extent *)b)->at;
    return x < y ? -1 : x > y;
}

static rt_status collect_extents(rt_h5_parser *p, rt_h5_schema *s) {
    size_t n = RT_BLOB_COUNT;
    uint64_t held = 0;
    for (int i = 0; i < RT_SECTIONS; i++) n += (size_t)s->sections[i].n;
    s->extents = calloc(n, sizeof *s->extents);
    if (!s->extents) return rt_fail(RT_ENOMEM, "%s: out of memory", p->bytes->name);
    for (int i = 0; i < RT_SECTIONS; i++)
        for (int j = 0; j < s->sections[i].n; j++)
            s->extents[s->n_extents++] = (rt_h5_extent){s->sections[i].rows[j].at, s->sections[i].rows[j].size};
    for (int i = 0; i < RT_BLOB_COUNT; i++)
        if (s->blobs[i].size) s->extents[s->n_extents++] = (rt_h5_extent){s->blobs[i].at, s->blobs[i].size};
    qsort(s->extents, (size_t)s->n_extents, sizeof *s->extents, compare_extent);
    for (int i = 0; i < s->n_extents; i++) {
        held += s->extents[i].size;
        if (i && s->extents[i - 1].at + s->extents[i - 1].size > s->extents[i].at)
            return rt_h5_bad(p, "two of its datasets overlap");
    }
    if (p->bytes->size - held > DESCRIPTION_LIMIT)
        return rt_h5_bad(p, "%llu of its bytes belong to no dataset", (unsigned long long)(p->bytes->size - held));
    return RT_OK;
}

rt_status rt_h5_schema_digest(const rt_h5_schema *schema, char out[33]) {
    rt_digest *d = rt_digest_new();
    if (!d) return rt_fail(RT_ENOMEM, "out of memory for a digest");
    rt_digest_string(d, "rectrain checkpoint");
    rt_digest_u64(d, RT_CHECKPOINT_VERSION);
    rt_digest_u64(d, schema->sealed); /* so that a seal cannot be lost unnoticed */
    for (int i = 0; i < RT_BLOB_COUNT; i++) {
        rt_digest_string(d, rt_blob_names[i]);
        rt_digest_u64(d, schema->blobs[i].present);
        rt_digest_u64(d, schema->blobs[i].size);
        rt_digest_u64(d, schema->blobs[i].present ? schema->blobs[i].xxh3 : 0);
    }
    for (int s = 0; s < RT_SECTIONS; s++) {
        rt_digest_string(d, rt_section_names[s]);
        rt_digest_u64(d, (uint64_t)schema->sections[s].n);
        for (int i = 0; i < schema->sections[s].n; i++) {
            const rt_h5_tensor *row = &schema->sections[s].rows[i];
            rt_digest_string(d, row->name);
            rt_digest_u64(d, (uint64_t)row->rank);
            rt_digest_u64(d, (uint64_t)row->shape[0]);
            rt_digest_u64(d, (uint64_t)row->shape[1]);
            rt_digest_u64(d, row->xxh3);
        }
    }
    rt_digest_hex(rt_digest_end(d), out);
    rt_digest_free(d);
    return RT_OK;
}

rt_status rt_h5_schema_seal(const rt_h5_bytes *bytes, const rt_h5_schema *schema, uint64_t *out) {
    enum { PIECE = 1 << 16 };
    rt_status rc = RT_OK;
    unsigned char *piece = malloc(PIECE);
    rt_digest *d = rt_digest_new();
    uint64_t at = 0;
    if (!piece || !d) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", bytes->name);
        goto done;
    }
    for (int i = 0; i <= schema->n_extents; i++) {
        uint64_t end = i < schema->n_extents ? schema->extents[i].at : bytes->size;
        while (at < end) {
            size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
            RT_GO(bytes->read(bytes->context, at, piece, n));
            for (int k = 0; k < 8; k++)
                if (schema->seal_at + k >= at && schema->seal_at + k < at + n) piece[schema->seal_at + k - at] = 0;
            rt_digest_update(d, piece, n);
            at += n;
        }
        if (i < schema->n_extents) at = end + schema->extents[i].size;
    }
    *out = rt_digest_end(d).low;
done:
    free(piece);
    rt_digest_free(d);
    return rc;
}

static rt_status check_sums(rt_h5_parser *p, const rt_h5_schema *s) {
    char digest[33];
    uint64_t seal;
    RT_TRY(rt_h5_schema_digest(s, digest));
    if (memcmp(digest, s->digest, 32) != 0)
        return rt_h5_bad(p, "its digest does not match what it lists (altered since it was written)");
    if (!s->sealed) return RT_OK; /* made by another program that kept to the schema */
    RT_TRY(rt_h5_schema_seal(p->bytes, s, &seal));
    if (seal != s->seal) return rt_h5_bad(p, "its description does not match its seal (altered since it was written)");
    return RT_OK;
}

rt_status rt_h5_schema_read(const rt_h5_bytes *bytes, bool trust, rt_h5_schema *out) {
    rt_status rc;
    rt_h5_parser p = {.bytes = bytes, .budget = STEPS_LIMIT};
    rt_h5_object root;
    rt_h5_links links = {0};
    uint64_t at;
    memset(out, 0, sizeof *out);
    RT_GO(rt_h5_superblock(&p, &at));
    RT_GO(rt_h5_object_read(&p, at, "/", &root));
    if (root.kind != RT_H5_GROUP) {
        rc = rt_h5_bad(&p, "its root is no group");
        goto done;
    }
    RT_GO(read_root_attributes(&p, &root, out));
    RT_GO(rt_h5_group_read(&p, &root, "/", &links));
    for (int i = 0; i < links.n; i++) RT_GO(read_member(&p, &links.links[i], out));
    RT_GO(check_moments(&p, out));
    RT_GO(collect_extents(&p, out));
    if (!trust) RT_GO(check_sums(&p, out));
done:
    rt_h5_links_free(&links);
    if (rc != RT_OK) rt_h5_schema_free(out);
    return rc;
}
