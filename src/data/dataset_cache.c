#include "dataset_internal.h"
#include "slices.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPILL_BUFFER = 1 << 16, COPY_BUFFER = 1 << 20, WINDOW = 8 << 20, WINDOW_ROWS = 1 << 18 };

/* Up to here all ids are hashed when the cache is opened; beyond, an id that has gone bad reads as [UNK]. */
#define HASHED_IDS ((uint64_t)512 << 20)

const unsigned char rt_section_width[RT_SECTIONS] = {0, 8, 2, 2, 4, 4, 4, 8, 8, 8, 8, 2, 1};
const char *const rt_cache_section_name[RT_SECTIONS] = {"ids",     "offsets", "lengths",    "splits", "labels",
                                                        "weights", "groups",  "texts",      "users",  "items",
                                                        "times",   "slices",  "slice names"};

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
    *w = (rt_cache_writer){.fd = fd, .name = name, .folder = folder};
    for (int k = 0; k < RT_SECTIONS; k++) w->spills[k].fd = -1;
    w->ids_digest = rt_digest_new();
    return w->ids_digest ? RT_OK : rt_fail(RT_ENOMEM, "no memory to write %s", name);
}

void rt_cache_writer_close(rt_cache_writer *w) {
    rt_digest_free(w->ids_digest);
    w->ids_digest = NULL;
    for (int k = 0; k < RT_SECTIONS; k++) {
        if (w->spills[k].fd >= 0) close(w->spills[k].fd);
        free(w->spills[k].buffer);
        w->spills[k] = (rt_spill){.fd = -1};
    }
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
        RT_TRY(write_at(w->fd, w->name, bytes, size, RT_CACHE_HEADER + w->ids_bytes));
        rt_digest_update(w->ids_digest, bytes, size);
        w->ids_bytes += size;
        return RT_OK;
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

/* Copies a waiting section to its place. */
static rt_status place(rt_cache_writer *w, rt_spill *s, unsigned char *block, rt_section *section) {
    rt_status rc = RT_OK;
    rt_digest *d = rt_digest_new();
    if (!d) return rt_fail(RT_ENOMEM, "no memory to write %s", w->name);
    section->bytes = s->bytes + s->used;
    for (uint64_t at = 0; at < s->bytes;) {
        size_t want = s->bytes - at < COPY_BUFFER ? (size_t)(s->bytes - at) : COPY_BUFFER;
        ssize_t n = pread(s->fd, block, want, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            rc = rt_fail(RT_EIO, "%s: reading back failed: %s", w->name, n < 0 ? strerror(errno) : "it is cut off");
            goto done;
        }
        rt_digest_update(d, block, (size_t)n);
        RT_GO(write_at(w->fd, w->name, block, (size_t)n, section->offset + at));
        at += (uint64_t)n;
    }
    rt_digest_update(d, s->buffer, s->used);
    RT_GO(write_at(w->fd, w->name, s->buffer, s->used, section->offset + s->bytes));
    section->digest = rt_digest_end(d);
done:
    rt_digest_free(d);
    return rc;
}

/* Of all that changes what a run computes: not of hashes for the data check, nor of counts. */
static rt_digest128 content_digest(const rt_cache_header *h) {
    struct {
        uint64_t rows;
        rt_digest128 sections[6];
    } all = {.rows = h->rows};
    const rt_section_kind kinds[6] = {RT_SECTION_IDS,    RT_SECTION_LENGTHS, RT_SECTION_SPLITS,
                                      RT_SECTION_LABELS, RT_SECTION_WEIGHTS, RT_SECTION_GROUPS};
    for (int i = 0; i < 6; i++) all.sections[i] = h->sections[kinds[i]].digest;
    return rt_hash128(&all, sizeof all);
}

static rt_digest128 header_digest(const rt_cache_header *h) {
    return rt_hash128(h, offsetof(rt_cache_header, self));
}

static uint64_t align256(uint64_t n) {
    return (n + 255) & ~(uint64_t)255;
}

rt_status rt_cache_writer_finish(rt_cache_writer *w, rt_cache_header *h) {
    _Static_assert(sizeof(rt_cache_header) <= RT_CACHE_HEADER, "the header is one page");
    unsigned char *block = calloc(1, COPY_BUFFER);
    if (!block) return rt_fail(RT_ENOMEM, "no memory to write %s", w->name);
    rt_status rc = RT_OK;
    h->sections[RT_SECTION_IDS] = (rt_section){RT_CACHE_HEADER, w->ids_bytes, rt_digest_end(w->ids_digest)};
    uint64_t at = RT_CACHE_HEADER + w->ids_bytes;
    for (int k = RT_SECTION_IDS + 1; k < RT_SECTIONS; k++) {
        at = align256(at);
        h->sections[k] = (rt_section){.offset = at};
        RT_GO(place(w, &w->spills[k], block, &h->sections[k]));
        at += h->sections[k].bytes;
    }
    memcpy(h->magic, RT_CACHE_MAGIC, sizeof h->magic);
    h->version = RT_CACHE_VERSION;
    h->endian = RT_CACHE_ENDIAN;
    h->file_bytes = align256(at);
    h->content = content_digest(h);
    h->self = header_digest(h);
    if (ftruncate(w->fd, (off_t)h->file_bytes) != 0) {
        rc = rt_fail(RT_EIO, "%s: writing the token cache failed: %s", w->name, strerror(errno));
        goto done;
    }
    memset(block, 0, RT_CACHE_HEADER);
    memcpy(block, h, sizeof *h);
    RT_GO(write_at(w->fd, w->name, block, RT_CACHE_HEADER, 0));
done:
    free(block);
    return rc;
}

static bool same(rt_digest128 a, rt_digest128 b) {
    return a.high == b.high && a.low == b.low;
}

/* Pages that were looked at need not stay: they would count as ours, and a large cache must not fill the memory. They
 * come back from the page cache when they are read again. */
static void let_go(const rt_dataset *ds, uint64_t from, uint64_t to) {
    const uint64_t page = 4096;
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (from < to) madvise(ds->map + from, (size_t)(to - from), MADV_DONTNEED);
}

/* 1 as it should be, 0 not, -1 no memory. */
static int section_fits(const rt_dataset *ds, const rt_section *s) {
    rt_digest *d = rt_digest_new();
    if (!d) return -1;
    for (uint64_t at = 0; at < s->bytes; at += WINDOW) {
        uint64_t n = s->bytes - at < WINDOW ? s->bytes - at : WINDOW;
        rt_digest_update(d, ds->map + s->offset + at, (size_t)n);
        if (s->bytes > WINDOW) let_go(ds, s->offset + at, s->offset + at + n);
    }
    rt_digest128 found = rt_digest_end(d);
    rt_digest_free(d);
    return same(found, s->digest);
}

static rt_status wrong(const char *name, const char *what) {
    return rt_fail(RT_EDATA, "%s: %s", name, what);
}

/* Bounds, sizes and hashes: after this every pointer into the file is safe to follow. */
static rt_status check_sections(rt_dataset *ds, const char *name) {
    const rt_cache_header *h = &ds->header;
    if (h->rows > UINT32_MAX || (h->id_bytes != 2 && h->id_bytes != 4) || h->n_slices > RT_SLICE_COLUMNS)
        return wrong(name, "impossible counts");
    uint64_t end = RT_CACHE_HEADER;
    for (int k = 0; k < RT_SECTIONS; k++) {
        const rt_section *s = &h->sections[k];
        uint64_t width = rt_section_width[k] ? rt_section_width[k] : h->id_bytes;
        uint64_t n = k == RT_SECTION_IDS ? h->tokens : k == RT_SECTION_OFFSETS ? h->rows + 1 : h->rows;
        if (k == RT_SECTION_SLICES) n *= h->n_slices;
        if (k == RT_SECTION_SLICE_NAMES) n = s->bytes;
        bool optional = k >= RT_SECTION_LABELS && k != RT_SECTION_TEXTS;
        char what[96];
        snprintf(what, sizeof what, "section %s lies outside the file", rt_cache_section_name[k]);
        if (s->offset < end || s->offset % 256 || s->offset > ds->map_bytes || s->bytes > ds->map_bytes - s->offset)
            return wrong(name, what);
        snprintf(what, sizeof what, "section %s has the wrong size", rt_cache_section_name[k]);
        if (n > UINT64_MAX / width || (s->bytes != n * width && !(optional && s->bytes == 0))) return wrong(name, what);
        snprintf(what, sizeof what, "section %s does not fit its checksum", rt_cache_section_name[k]);
        ds->at[k] = s->bytes > 0 ? ds->map + s->offset : NULL;
        bool hashed = k != RT_SECTION_IDS || s->bytes <= HASHED_IDS;
        int fits = hashed ? section_fits(ds, s) : 1;
        if (fits < 0) return rt_fail(RT_ENOMEM, "%s: no memory to check it", name);
        if (!fits) return wrong(name, what);
        end = s->offset + s->bytes;
    }
    return RT_OK;
}

/* Values that would lead astray although their checksum is right. */
static rt_status check_rows(const rt_dataset *ds, const rt_data_spec *spec, const char *name) {
    const rt_cache_header *h = &ds->header;
    const uint64_t *offsets = ds->at[RT_SECTION_OFFSETS];
    const uint16_t *lengths = ds->at[RT_SECTION_LENGTHS];
    const uint16_t *splits = ds->at[RT_SECTION_SPLITS];
    const int32_t *labels = ds->at[RT_SECTION_LABELS];
    const float *weights = ds->at[RT_SECTION_WEIGHTS];
    const uint32_t *groups = ds->at[RT_SECTION_GROUPS];
    const int values = spec->n_labels > 2 ? spec->n_labels : 2;
    uint64_t at = 0;
    uint32_t longest = 0, seen_groups = 0;
    if (h->rows > 0 && (spec->need_label != (labels != NULL)))
        return wrong(name, "labels do not fit what is asked for");
    for (uint64_t r = 0; r < h->rows; r++) {
        if (offsets[r] != at || lengths[r] < 2 || lengths[r] > spec->encode.max_length || splits[r] > lengths[r])
            return wrong(name, "impossible lengths");
        at += lengths[r];
        if (lengths[r] > longest) longest = lengths[r];
        if (labels && (labels[r] < 0 || labels[r] >= values)) return wrong(name, "impossible labels");
        if (weights) {
            uint32_t bits;
            memcpy(&bits, &weights[r], sizeof bits);
            if (bits >= 0x7F800000u) return wrong(name, "impossible weights"); /* negative, infinite or NaN */
        }
        if (groups && groups[r] > seen_groups) return wrong(name, "impossible groups");
        seen_groups += groups && groups[r] == seen_groups;
        if ((r + 1) % WINDOW_ROWS == 0)
            for (int k = RT_SECTION_OFFSETS; k <= RT_SECTION_GROUPS; k++)
                if (ds->at[k]) let_go(ds, h->sections[k].offset, h->sections[k].offset + (r + 1) * rt_section_width[k]);
    }
    if (offsets[h->rows] != at || at != h->tokens || longest != h->max_len || seen_groups != h->n_groups ||
        h->one_class_groups > h->n_groups)
        return wrong(name, "counts that do not fit the rows");
    return RT_OK;
}

/* Every number has a name, and every name ends. */
static rt_status check_slices(const rt_dataset *ds, const rt_data_spec *spec, const char *name) {
    const rt_cache_header *h = &ds->header;
    const uint16_t *slices = ds->at[RT_SECTION_SLICES];
    const char *names = ds->at[RT_SECTION_SLICE_NAMES];
    uint64_t wanted = 0, found = 0;
    if (h->n_slices != (uint32_t)spec->n_slices || (h->rows > 0 && h->n_slices > 0 && !slices))
        return wrong(name, "slices do not fit what is asked for");
    for (uint32_t c = 0; c < h->n_slices; c++) {
        if (h->slice_values[c] > RT_SLICE_VALUES) return wrong(name, "impossible slices");
        wanted += h->slice_values[c];
    }
    for (uint64_t i = 0; i < h->sections[RT_SECTION_SLICE_NAMES].bytes && names; i++) found += !names[i];
    if (found != wanted || (names && names[h->sections[RT_SECTION_SLICE_NAMES].bytes - 1]))
        return wrong(name, "slices whose names do not fit");
    for (uint64_t r = 0; r < h->rows; r++)
        for (uint32_t c = 0; c < h->n_slices; c++) {
            uint16_t v = slices[r * h->n_slices + c];
            if (v >= h->slice_values[c] && v != RT_SLICE_VALUES) return wrong(name, "impossible slices");
        }
    return RT_OK;
}

static void fill_stats(rt_dataset *ds) {
    const rt_cache_header *h = &ds->header;
    double rows = h->rows ? (double)h->rows : 1;
    ds->stats = (rt_data_stats){.rows = h->rows,
                                .bad_rows = h->bad_rows,
                                .tokens = h->tokens,
                                .truncated = h->truncated,
                                .empty_a = h->empty_a,
                                .empty_b = h->empty_b,
                                .special_split = h->special_split,
                                .invalid_utf8 = h->invalid_utf8,
                                .unknown = h->unknown,
                                .left_out = h->left_out,
                                .label_counts = {h->label_counts[0], h->label_counts[1]},
                                .max_len = (int)h->max_len,
                                .mean_len = (double)h->tokens / rows,
                                .click_rate = (double)h->label_counts[1] / rows};
}

rt_status rt_cache_map(int fd, const char *name, const rt_digest128 *key, const rt_data_spec *spec,
                       const rt_tokenizer *tok, rt_dataset **out) {
    *out = NULL;
    rt_status rc = RT_OK;
    struct stat st;
    rt_dataset *ds = calloc(1, sizeof *ds);
    if (!ds) return rt_fail(RT_ENOMEM, "%s: no memory to map it", name);
    if (fstat(fd, &st) != 0) {
        rc = rt_fail(RT_EIO, "%s: %s", name, strerror(errno));
        goto done;
    }
    if (!S_ISREG(st.st_mode) || st.st_size < RT_CACHE_HEADER) {
        rc = wrong(name, "cut off");
        goto done;
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        rc = rt_fail(RT_EIO, "%s: cannot be mapped: %s", name, strerror(errno));
        goto done;
    }
    ds->map = map;
    ds->map_bytes = (size_t)st.st_size;
    memcpy(&ds->header, ds->map, sizeof ds->header);
    ds->vocab = (uint32_t)rt_tokenizer_size(tok);
    ds->unknown_id = rt_tokenizer_unk(tok);
    const rt_cache_header *h = &ds->header;
    if (memcmp(h->magic, RT_CACHE_MAGIC, sizeof h->magic))
        rc = wrong(name, "no token cache");
    else if (h->version != RT_CACHE_VERSION || h->endian != RT_CACHE_ENDIAN)
        rc = wrong(name, "of another version");
    else if (!same(header_digest(h), h->self))
        rc = wrong(name, "its header does not fit its checksum");
    else if (h->file_bytes != ds->map_bytes)
        rc = wrong(name, "cut off, or grown");
    else if (key && !same(*key, h->key))
        rc = wrong(name, "of another key");
    else if (!same(content_digest(h), h->content))
        rc = wrong(name, "its content digest does not fit");
    if (rc != RT_OK) goto done;
    RT_GO(check_sections(ds, name));
    RT_GO(check_rows(ds, spec, name));
    RT_GO(check_slices(ds, spec, name));
    fill_stats(ds);
    *out = ds;
    ds = NULL;
done:
    rt_dataset_close(ds);
    return rc;
}
