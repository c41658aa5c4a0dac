/* The superblock and groups: B-tree version 1, symbol table nodes, local heap. */
#include "h5_parse.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_LIMIT ((uint64_t)1 << 24) /* names of a group: 16 MB */
#define LINKS_LIMIT 65536
#define TREE_DEPTH 8

rt_status rt_h5_bad(const rt_h5_parser *p, const char *format, ...) {
    char detail[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    return rt_fail(RT_EDATA, "%s: %s; %s", p->bytes->name, detail,
                   p->advice ? p->advice
                             : "rectrain reads checkpoints that it wrote itself, unaltered. Take another copy, or make "
                               "it again (rectrain convert --from FOLDER --to FILE.h5, or training)");
}

rt_status rt_h5_get(rt_h5_parser *p, uint64_t at, void *out, size_t size) {
    if (at > p->bytes->size || size > p->bytes->size - at)
        return rt_h5_bad(p, "it points to %zu bytes at %llu, and ends at %llu (cut off or altered)", size,
                         (unsigned long long)at, (unsigned long long)p->bytes->size);
    return p->bytes->read(p->bytes->context, at, out, size);
}

rt_status rt_h5_step(rt_h5_parser *p) {
    if (p->budget-- > 0) return RT_OK;
    return rt_h5_bad(p, "its description goes on without end");
}

rt_status rt_h5_superblock(rt_h5_parser *p, uint64_t *root) {
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char b[96] = {0};
    uint64_t size = p->bytes->size;
    if (size >= 8) RT_TRY(rt_h5_get(p, 0, b, 8));
    if (size < 8 || memcmp(b, signature, 8) != 0)
        return rt_fail(
            RT_EDATA,
            "%s: not an HDF5 file (%llu bytes, without HDF5's first eight); expected a checkpoint written by "
            "rectrain. A Hugging Face folder becomes one by: rectrain convert --from FOLDER --to FILE.h5",
            p->bytes->name, (unsigned long long)size);
    if (size < sizeof b) return rt_h5_bad(p, "it ends after %llu bytes (cut off)", (unsigned long long)size);
    RT_TRY(rt_h5_get(p, 0, b, sizeof b));
    if (b[8] != 0)
        return rt_h5_bad(p, "an HDF5 file with superblock version %d, expected 0 (libver \"earliest\")", b[8]);
    if (b[9] != 0 || b[10] != 0 || b[12] != 0 || b[13] != 8 || b[14] != 8)
        return rt_h5_bad(p, "its superblock is unusual");
    uint64_t base = rt_h5_u64(b + 24), end = rt_h5_u64(b + 40), driver = rt_h5_u64(b + 48);
    if (base != 0) return rt_h5_bad(p, "it has a user block of %llu bytes, expected none", (unsigned long long)base);
    if (driver != RT_H5_NOWHERE) return rt_h5_bad(p, "it asks for a file driver of its own");
    if (end != size)
        return rt_h5_bad(p, "it says that it has %llu bytes, and has %llu (%s)", (unsigned long long)end,
                         (unsigned long long)size, size < end ? "cut off" : "altered");
    *root = rt_h5_u64(b + 64);
    return RT_OK;
}

/* The heap that holds a group's names; *out is NUL-terminated behind *size bytes, owned by the caller. */
static rt_status heap_read(rt_h5_parser *p, uint64_t at, const char *what, char **out, size_t *size) {
    unsigned char b[32];
    rt_status rc = RT_OK;
    char *names = NULL;
    RT_TRY(rt_h5_get(p, at, b, sizeof b));
    if (memcmp(b, "HEAP", 4) != 0 || b[4] != 0) return rt_h5_bad(p, "the names of %s are damaged", what);
    uint64_t n = rt_h5_u64(b + 8);
    if (n > HEAP_LIMIT || n > p->bytes->size)
        return rt_h5_bad(p, "%s claims %llu bytes of names", what, (unsigned long long)n);
    names = malloc((size_t)n + 1);
    if (!names) return rt_fail(RT_ENOMEM, "%s: out of memory", p->bytes->name);
    RT_GO(rt_h5_get(p, rt_h5_u64(b + 24), names, (size_t)n));
    names[n] = '\0';
    *out = names, *size = (size_t)n;
    names = NULL;
done:
    free(names);
    return rc;
}

bool rt_h5_name_ok(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > RT_H5_NAME_MAX) return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] >= 127 || name[i] == '/') return false;
    return true;
}

typedef struct {
    const char *what, *names; /* of the group */
    size_t names_size;
    rt_h5_links *links;
} walk;

static rt_status add_link(rt_h5_parser *p, walk *w, const unsigned char entry[40]) {
    uint64_t offset = rt_h5_u64(entry);
    uint32_t cache = rt_h5_u32(entry + 16);
    RT_TRY(rt_h5_step(p));
    if (cache == 2) return rt_h5_bad(p, "%s holds a symbolic link, expected hard links alone", w->what);
    if (cache > 1) return rt_h5_bad(p, "%s holds a link of unknown kind %u", w->what, (unsigned)cache);
    if (offset >= w->names_size) return rt_h5_bad(p, "a name in %s lies outside its table", w->what);
    const char *name = w->names + offset; /* the table ends in a NUL of ours */
    if (!rt_h5_name_ok(name))
        return rt_h5_bad(p, "%s holds a name that is empty, over %d bytes or has unusual characters", w->what,
                         RT_H5_NAME_MAX);
    rt_h5_links *links = w->links;
    if (links->n > 0 && strcmp(links->links[links->n - 1].name, name) >= 0)
        return rt_h5_bad(p, "the names in %s are out of order at %s", w->what, name);
    if (links->n == links->capacity) {
        if (links->n >= LINKS_LIMIT) return rt_h5_bad(p, "%s holds over %d members", w->what, LINKS_LIMIT);
        int capacity = links->capacity ? 2 * links->capacity : 32;
        rt_h5_link *grown = realloc(links->links, (size_t)capacity * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "%s: out of memory", p->bytes->name);
        links->links = grown;
        links->capacity = capacity;
    }
    rt_h5_link *link = &links->links[links->n++];
    snprintf(link->name, sizeof link->name, "%s", name);
    link->header = rt_h5_u64(entry + 8);
    return RT_OK;
}

static rt_status symbols_read(rt_h5_parser *p, walk *w, uint64_t at) {
    unsigned char b[8], entry[40];
    RT_TRY(rt_h5_get(p, at, b, sizeof b));
    if (memcmp(b, "SNOD", 4) != 0 || b[4] != 1) return rt_h5_bad(p, "a list of members of %s is damaged", w->what);
    int n = rt_h5_u16(b + 6);
    if (n == 0) return rt_h5_bad(p, "a list of members of %s is empty", w->what);
    for (int i = 0; i < n; i++) {
        RT_TRY(rt_h5_get(p, at + 8 + 40 * (uint64_t)i, entry, sizeof entry));
        RT_TRY(add_link(p, w, entry));
    }
    return RT_OK;
}

/* Nodes are walked left to right; levels fall by one and names must rise, so a loop in the tree cannot last. */
static rt_status tree_read(rt_h5_parser *p, walk *w, uint64_t at, int level) {
    unsigned char b[24], child[8];
    RT_TRY(rt_h5_step(p));
    RT_TRY(rt_h5_get(p, at, b, sizeof b));
    if (memcmp(b, "TREE", 4) != 0 || b[4] != 0) return rt_h5_bad(p, "the index of %s is damaged", w->what);
    bool root = level < 0;
    if (root) level = b[5];
    int n = rt_h5_u16(b + 6);
    if (b[5] != level || level > TREE_DEPTH || (n == 0 && !(root && level == 0)))
        return rt_h5_bad(p, "the index of %s is damaged", w->what);
    for (int i = 0; i < n; i++) {
        RT_TRY(rt_h5_get(p, at + 24 + 8 + 16 * (uint64_t)i, child, sizeof child));
        if (level == 0)
            RT_TRY(symbols_read(p, w, rt_h5_u64(child)));
        else
            RT_TRY(tree_read(p, w, rt_h5_u64(child), level - 1));
    }
    return RT_OK;
}

rt_status rt_h5_group_read(rt_h5_parser *p, const rt_h5_object *group, const char *what, rt_h5_links *out) {
    char *names = NULL;
    rt_status rc = RT_OK;
    walk w = {.what = what, .links = out};
    memset(out, 0, sizeof *out);
    RT_GO(heap_read(p, group->heap, what, &names, &w.names_size));
    w.names = names;
    RT_GO(tree_read(p, &w, group->tree, -1));
done:
    free(names);
    if (rc != RT_OK) rt_h5_links_free(out);
    return rc;
}

void rt_h5_links_free(rt_h5_links *links) {
    if (!links) return;
    free(links->links);
    memset(links, 0, sizeof *links);
}
