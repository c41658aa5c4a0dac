/* Writing a token cache, front to back, with the digest of each block. */
#include "dataset_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SPILL_BUFFER = 1 << 16, OUT_BUFFER = 32 * RT_CACHE_BLOCK };

static rt_status write_at(int fd, const char *name, const void *bytes, size_t size, uint64_t at) {
    const unsigned char *p = bytes;
    while (size > 0) {
        ssize_t n = pwrite(fd, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return rt_fail(RT_EIO,
                           "%s: writing the token cache failed: %s; data.cache can name a folder with more room", name,
                           strerror(n < 0 ? errno : ENOSPC));
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return RT_OK;
}

rt_status rt_cache_writer_open(rt_cache_writer *w, int fd, const char *name, const char *folder) {
    *w = (rt_cache_writer){.fd = fd, .name = name, .folder = folder, .at = RT_CACHE_BLOCK};
    for (int k = 0; k < RT_SECTIONS; k++) w->spills[k].fd = -1;
    w->buffer = malloc(OUT_BUFFER);
    return w->buffer ? RT_OK : rt_fail(RT_ENOMEM, "no memory to write %s", name);
}

void rt_cache_writer_close(rt_cache_writer *w) {
    free(w->buffer);
    free(w->digests);
    w->buffer = NULL;
    w->digests = NULL;
    for (int k = 0; k < RT_SECTIONS; k++) {
        if (w->spills[k].fd >= 0) close(w->spills[k].fd);
        free(w->spills[k].buffer);
        w->spills[k] = (rt_spill){.fd = -1};
    }
}

/* Whole blocks of the buffer leave it. */
static rt_status flush(rt_cache_writer *w) {
    size_t blocks = w->used / RT_CACHE_BLOCK;
    if (w->n_digests + blocks > w->digests_capacity) {
        size_t capacity = w->digests_capacity ? w->digests_capacity * 2 : 1024;
        uint64_t *grown = realloc(w->digests, capacity * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "no memory to write %s", w->name);
        w->digests = grown;
        w->digests_capacity = capacity;
    }
    for (size_t i = 0; i < blocks; i++)
        w->digests[w->n_digests++] = rt_hash64(w->buffer + i * RT_CACHE_BLOCK, RT_CACHE_BLOCK);
    RT_TRY(write_at(w->fd, w->name, w->buffer, blocks * RT_CACHE_BLOCK, w->at));
    w->at += blocks * RT_CACHE_BLOCK;
    w->used -= blocks * RT_CACHE_BLOCK;
    memmove(w->buffer, w->buffer + blocks * RT_CACHE_BLOCK, w->used);
    return RT_OK;
}

static rt_status emit(rt_cache_writer *w, const void *bytes, size_t size) {
    const unsigned char *p = bytes;
    while (size > 0) {
        size_t n = OUT_BUFFER - w->used < size ? OUT_BUFFER - w->used : size;
        memcpy(w->buffer + w->used, p, n);
        w->used += n;
        p += n;
        size -= n;
        if (w->used == OUT_BUFFER) RT_TRY(flush(w));
    }
    return RT_OK;
}

/* Zeros up to the next block. */
static rt_status end_section(rt_cache_writer *w) {
    size_t over = w->used % RT_CACHE_BLOCK;
    if (over) {
        memset(w->buffer + w->used, 0, RT_CACHE_BLOCK - over);
        w->used += RT_CACHE_BLOCK - over;
    }
    return flush(w);
}

/* A file without a name, beside the cache, so that a kill leaves nothing. */
static int nameless(const char *folder) {
    if (!folder) return memfd_create("rectrain", MFD_CLOEXEC);
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    char *path = rt_path_join(folder, "spill.XXXXXX");
    fd = path ? mkostemp(path, O_CLOEXEC) : -1;
    if (fd >= 0) unlink(path);
    free(path);
    return fd;
}

static rt_status spill(rt_cache_writer *w, rt_spill *s, const void *bytes, size_t size) {
    if (s->fd < 0) s->fd = nameless(w->folder);
    if (s->fd < 0) return rt_fail(RT_EIO, "%s: no temporary file beside the token cache: %s", w->name, strerror(errno));
    RT_TRY(write_at(s->fd, w->name, bytes, size, s->bytes));
    s->bytes += size;
    return RT_OK;
}

rt_status rt_cache_write(rt_cache_writer *w, rt_section_kind kind, const void *bytes, size_t size) {
    if (kind == RT_SECTION_IDS) {
        w->ids_bytes += size;
        return emit(w, bytes, size);
    }
    rt_spill *s = &w->spills[kind];
    if (!s->buffer && !(s->buffer = malloc(SPILL_BUFFER))) return rt_fail(RT_ENOMEM, "no memory to write %s", w->name);
    if (s->used + size > SPILL_BUFFER) {
        RT_TRY(spill(w, s, s->buffer, s->used));
        s->used = 0;
    }
    if (size > SPILL_BUFFER) return spill(w, s, bytes, size);
    memcpy(s->buffer + s->used, bytes, size);
    s->used += size;
    return RT_OK;
}

/* A waiting section takes its place. */
static rt_status place(rt_cache_writer *w, rt_spill *s, unsigned char *block) {
    for (uint64_t at = 0; at < s->bytes;) {
        size_t want = s->bytes - at < SPILL_BUFFER ? (size_t)(s->bytes - at) : SPILL_BUFFER;
        ssize_t n = pread(s->fd, block, want, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return rt_fail(RT_EIO, "%s: reading back failed: %s", w->name, n < 0 ? strerror(errno) : "it is cut off");
        RT_TRY(emit(w, block, (size_t)n));
        at += (uint64_t)n;
    }
    RT_TRY(emit(w, s->buffer, s->used));
    return end_section(w);
}

rt_status rt_cache_writer_finish(rt_cache_writer *w, rt_cache_header *h) {
    _Static_assert(sizeof(rt_cache_header) <= RT_CACHE_BLOCK, "the header is one block");
    unsigned char *block = calloc(1, SPILL_BUFFER);
    if (!block) return rt_fail(RT_ENOMEM, "no memory to write %s", w->name);
    rt_status rc = RT_OK;
    rt_cache_layout layout;
    h->section_bytes[RT_SECTION_IDS] = w->ids_bytes;
    RT_GO(end_section(w));
    for (int k = RT_SECTION_IDS + 1; k < RT_SECTIONS; k++) {
        h->section_bytes[k] = w->spills[k].bytes + w->spills[k].used;
        RT_GO(place(w, &w->spills[k], block));
    }
    if (!rt_cache_lay_out(h, &layout) || layout.at[RT_SECTIONS] != w->at || layout.blocks != w->n_digests) {
        rc = rt_fail(RT_EINTERNAL, "%s: the sections of the token cache do not lie where they should", w->name);
        goto done;
    }
    memcpy(h->magic, RT_CACHE_MAGIC, sizeof h->magic);
    h->version = RT_CACHE_VERSION;
    h->endian = RT_CACHE_ENDIAN;
    h->file_bytes = layout.file_bytes;
    h->digests = rt_hash128(w->digests, w->n_digests * sizeof *w->digests);
    h->content = rt_cache_content(h, &layout, w->digests);
    h->self = rt_cache_self(h);
    RT_GO(write_at(w->fd, w->name, w->digests, w->n_digests * sizeof *w->digests, w->at));
    if (ftruncate(w->fd, (off_t)h->file_bytes) != 0) {
        rc = rt_fail(RT_EIO, "%s: writing the token cache failed: %s", w->name, strerror(errno));
        goto done;
    }
    memset(block, 0, RT_CACHE_BLOCK);
    memcpy(block, h, sizeof *h);
    RT_GO(write_at(w->fd, w->name, block, RT_CACHE_BLOCK, 0));
done:
    free(block);
    return rc;
}
