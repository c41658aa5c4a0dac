#include "vectors.h"
#include "../base/digest.h"
#include "../base/file.h"
#include "vectors_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct rt_vectors {
    char *path;
    rt_vectors_file file;
    rt_vectors_format format;
    rt_vectors_layout layout;
    uint32_t n;
    int width;
    uint64_t *lines; /* JSON lines: [n + 1] where each begins, blank ones before it */
    rt_id_list ids;
    uint32_t *slots; /* of a table of [mask + 1] rows + 1 by the hash of their ids; 0: free */
    uint64_t mask;
};

rt_status rt_vectors_get(const rt_vectors_file *file, uint64_t at, void *out, size_t size) {
    char *to = out;
    if (at > file->size || size > file->size - at)
        return rt_fail(RT_EDATA, "%s: cut off: it ends after %llu bytes", file->path, (unsigned long long)file->size);
    while (size > 0) {
        ssize_t n = pread(file->fd, to, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return rt_fail(RT_EIO, "%s: cannot be read: %s", file->path, strerror(errno));
        if (n == 0) return rt_fail(RT_EDATA, "%s: was cut off while it was read", file->path);
        to += n, at += (uint64_t)n, size -= (size_t)n;
    }
    return RT_OK;
}

/* --- ids ---------------------------------------------------------------------------------------------------------- */

const char *rt_vectors_id(const rt_vectors *v, uint32_t row, size_t *size) {
    uint64_t start = row ? v->ids.ends[row - 1] : 0;
    *size = (size_t)(v->ids.ends[row] - start);
    return v->ids.bytes.data + start;
}

/* Sets *slot to that of the id, or to the free one where it would go. */
static bool find_slot(const rt_vectors *v, const char *id, size_t size, uint64_t *slot) {
    for (*slot = rt_hash64(id, size) & v->mask; v->slots[*slot]; *slot = (*slot + 1) & v->mask) {
        size_t n;
        const char *other = rt_vectors_id(v, v->slots[*slot] - 1, &n);
        if (n == size && memcmp(other, id, n) == 0) return true;
    }
    return false;
}

int64_t rt_vectors_find(const rt_vectors *v, const char *id, size_t size) {
    uint64_t slot;
    return v->n && find_slot(v, id, size, &slot) ? (int64_t)v->slots[slot] - 1 : -1;
}

static rt_status index_ids(rt_vectors *v) {
    uint64_t n_slots = 16;
    while (n_slots < 2 * (uint64_t)v->n) n_slots *= 2;
    v->mask = n_slots - 1;
    v->slots = calloc(n_slots, sizeof *v->slots);
    if (!v->slots) return rt_fail(RT_ENOMEM, "%s: out of memory for %u ids", v->path, v->n);
    for (uint32_t row = 0; row < v->n; row++) {
        size_t size;
        uint64_t slot;
        const char *id = rt_vectors_id(v, row, &size);
        if (find_slot(v, id, size, &slot)) {
            rt_text shown = {0};
            rt_text_escaped(&shown, id, size, 100);
            rt_status rc = rt_fail(RT_EDATA, "%s: rows %u and %u both have the id \"%s\"", v->path, v->slots[slot] - 1,
                                   row, shown.data ? shown.data : "");
            rt_text_free(&shown);
            return rc;
        }
        v->slots[slot] = row + 1;
    }
    return RT_OK;
}

static rt_status number_rows(rt_vectors *v) {
    char text[16];
    for (uint32_t row = 0; row < v->n; row++) {
        int n = snprintf(text, sizeof text, "%u", row);
        RT_TRY(rt_id_list_add(&v->ids, text, (size_t)n));
    }
    return RT_OK;
}

static rt_status add_id(rt_vectors *v, const char *path, const char *id, size_t size) {
    const char *refused = rt_id_refused(id, size);
    if (refused) return rt_fail(RT_EDATA, "%s:%zu: an id that %s", path, v->ids.n + 1, refused);
    return rt_id_list_add(&v->ids, id, size);
}

/* One a line, as many as rows; the last line may lack its end. */
static rt_status ids_beside(rt_vectors *v) {
    rt_status rc = RT_OK;
    char *bytes = NULL;
    size_t size = 0;
    rt_text path = {0};
    rt_text_printf(&path, "%s.ids", v->path);
    RT_GO(rt_text_status(&path));
    if (!rt_path_taken(path.data)) {
        rc = number_rows(v);
        goto done;
    }
    RT_GO(rt_file_read(path.data, (size_t)v->n * (RT_VECTORS_MAX_ID + 2) + 1, &bytes, &size));
    for (size_t at = 0; at < size;) {
        const char *end = memchr(bytes + at, '\n', size - at);
        size_t n = end ? (size_t)(end - bytes) - at : size - at;
        if (v->ids.n == v->n)
            RT_GO(rt_fail(RT_EDATA, "%s: more ids than the %u vectors of %s", path.data, v->n, v->path));
        RT_GO(add_id(v, path.data, bytes + at, n && bytes[at + n - 1] == '\r' ? n - 1 : n));
        at += n + 1;
    }
    if (v->ids.n < v->n)
        RT_GO(rt_fail(RT_EDATA, "%s: %zu ids, and %s has %u vectors", path.data, v->ids.n, v->path, v->n));
done:
    free(bytes);
    rt_text_free(&path);
    return rc;
}

static rt_status add_whole(rt_vectors *v, const unsigned char *b) {
    const unsigned width = v->layout.ids_width;
    uint64_t value = 0;
    char text[24];
    for (unsigned i = 0; i < width; i++) value |= (uint64_t)b[i] << (8 * i);
    if (v->layout.ids_signed && width == 4) value = (uint64_t)(int64_t)(int32_t)value;
    int n = snprintf(text, sizeof text, v->layout.ids_signed ? "%lld" : "%llu", (long long)value);
    return rt_id_list_add(&v->ids, text, (size_t)n);
}

/* Fields of one size, a piece at a time. */
static rt_status ids_in_fields(rt_vectors *v) {
    rt_status rc = RT_OK;
    const size_t width = v->layout.ids_width, piece = width < 65536 ? 65536 / width : 1;
    unsigned char *b = malloc(piece * width);
    if (!b) return rt_fail(RT_ENOMEM, "%s: out of memory", v->path);
    for (uint64_t row = 0; row < v->n; row += piece) {
        size_t n = v->n - row < piece ? (size_t)(v->n - row) : piece;
        RT_GO(rt_vectors_get(&v->file, v->layout.ids_at + row * width, b, n * width));
        for (size_t i = 0; i < n; i++) {
            if (v->layout.ids == RT_IDS_WHOLE)
                RT_GO(add_whole(v, b + i * width));
            else
                RT_GO(add_id(v, v->path, (const char *)b + i * width, strnlen((const char *)b + i * width, width)));
        }
    }
done:
    free(b);
    return rc;
}

/* --- JSON lines --------------------------------------------------------------------------------------------------- */

typedef struct {
    rt_vectors *v;
    size_t capacity; /* of v->lines */
    uint64_t number; /* of the line, from 1 */
    rt_text id;
} line_reader;

static rt_status add_line(line_reader *r, char *line, size_t size, uint64_t at) {
    rt_vectors *v = r->v;
    int width = 0;
    r->number++;
    if (strspn(line, " \t\r") == size) return RT_OK;
    rt_text_clear(&r->id);
    rt_status rc = rt_vectors_parse_line(line, size, &r->id, NULL, 0, &width);
    if (rc != RT_OK) return rt_fail_context(rc, "%s:%llu", v->path, (unsigned long long)r->number);
    if (!v->width) v->width = width;
    if (width != v->width)
        return rt_fail(RT_EDATA, "%s:%llu: a vector of %d numbers, the first has %d", v->path,
                       (unsigned long long)r->number, width, v->width);
    const char *refused = rt_id_refused(r->id.data, r->id.size);
    if (refused) return rt_fail(RT_EDATA, "%s:%llu: an id that %s", v->path, (unsigned long long)r->number, refused);
    if (v->n == UINT32_MAX - 1) return rt_fail(RT_EDATA, "%s: more than 2^32 - 2 vectors", v->path);
    if ((size_t)v->n + 1 >= r->capacity) {
        size_t n = r->capacity ? 2 * r->capacity : 1024;
        uint64_t *grown = realloc(v->lines, n * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "%s: out of memory", v->path);
        v->lines = grown;
        r->capacity = n;
    }
    v->lines[v->n++] = at;
    v->lines[v->n] = at + size + 1;
    return rt_id_list_add(&v->ids, r->id.data, r->id.size);
}

static rt_status read_lines(rt_vectors *v) {
    enum { PIECE = 1 << 18 };
    rt_status rc = RT_OK;
    line_reader r = {.v = v};
    char *window = NULL;
    size_t held = 0, capacity = 0;
    uint64_t at = 0; /* of window[0] */
    while (at + held < v->file.size || held) {
        size_t more = v->file.size - at - held < PIECE ? (size_t)(v->file.size - at - held) : PIECE;
        if (held + more + 1 > capacity) {
            char *grown = realloc(window, held + more + 1);
            if (!grown) RT_GO(rt_fail(RT_ENOMEM, "%s: out of memory", v->path));
            window = grown;
            capacity = held + more + 1;
        }
        RT_GO(rt_vectors_get(&v->file, at + held, window + held, more));
        held += more;
        size_t start = 0;
        for (;;) {
            char *end = memchr(window + start, '\n', held - start);
            if (!end && (at + held < v->file.size || start == held)) break;
            size_t n = end ? (size_t)(end - window) - start : held - start;
            window[start + n] = '\0';
            RT_GO(add_line(&r, window + start, n, at + start));
            start += n + (end != NULL);
        }
        if (held - start > RT_VECTORS_MAX_LINE)
            RT_GO(rt_fail(RT_EDATA, "%s:%llu: a line of over %d bytes", v->path, (unsigned long long)r.number + 1,
                          RT_VECTORS_MAX_LINE));
        memmove(window, window + start, held - start);
        at += start;
        held -= start;
    }
done:
    free(window);
    rt_text_free(&r.id);
    return rc;
}

static rt_status read_line(const rt_vectors *v, uint32_t row, rt_text *line, rt_text *id, float *out) {
    size_t size = (size_t)(v->lines[row + 1] - v->lines[row]) - 1; /* what blank lines follow belongs to it */
    int width = 0;
    if (v->lines[row] + size > v->file.size) size = (size_t)(v->file.size - v->lines[row]);
    rt_text_clear(line);
    rt_text_clear(id);
    char *to = line->capacity > size ? line->data : NULL;
    if (!to) {
        to = realloc(line->data, size + 1);
        if (!to) return rt_fail(RT_ENOMEM, "%s: out of memory", v->path);
        *line = (rt_text){.data = to, .capacity = size + 1};
    }
    RT_TRY(rt_vectors_get(&v->file, v->lines[row], to, size));
    to[size] = '\0';
    char *end = memchr(to, '\n', size);
    if (end) *end = '\0', size = (size_t)(end - to);
    rt_status rc = rt_vectors_parse_line(to, size, id, out, v->width, &width);
    if (rc == RT_OK && width != v->width) rc = rt_fail(RT_EDATA, "it was altered while it was read");
    return rc == RT_OK ? RT_OK : rt_fail_context(rc, "%s: row %u", v->path, row);
}

/* --- opening and reading ------------------------------------------------------------------------------------------ */

/* What a beginning promises, against the size of the file. */
static rt_status check_layout(rt_vectors *v) {
    const rt_vectors_layout *l = &v->layout;
    uint64_t bytes = 0;
    if (l->width < 1 || l->width > RT_VECTORS_MAX_WIDTH)
        return rt_fail(RT_EDATA, "%s: vectors of %llu numbers, expected 1 to %d", v->path, (unsigned long long)l->width,
                       RT_VECTORS_MAX_WIDTH);
    if (l->n > UINT32_MAX - 1)
        return rt_fail(RT_EDATA, "%s: %llu vectors, expected at most 2^32 - 2", v->path, (unsigned long long)l->n);
    bytes = l->n * l->width * sizeof(float); /* below 2^49 */
    if (l->data_at > v->file.size || bytes > v->file.size - l->data_at)
        return rt_fail(RT_EDATA, "%s: cut off: %llu vectors of %llu take %llu bytes, and it has %llu", v->path,
                       (unsigned long long)l->n, (unsigned long long)l->width, (unsigned long long)(l->data_at + bytes),
                       (unsigned long long)v->file.size);
    if (l->tail != UINT64_MAX && v->file.size - l->data_at - bytes != l->tail)
        return rt_fail(RT_EDATA, "%s: %llu bytes stand behind its %llu vectors: damaged", v->path,
                       (unsigned long long)(v->file.size - l->data_at - bytes - l->tail), (unsigned long long)l->n);
    v->n = (uint32_t)l->n;
    v->width = (int)l->width;
    return RT_OK;
}

static rt_status open_file(rt_vectors *v) {
    struct stat st;
    v->file.fd = open(v->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (v->file.fd < 0) return rt_file_not_opened(v->path, errno);
    if (fstat(v->file.fd, &st) != 0) return rt_fail(RT_EIO, "%s: %s", v->path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return rt_fail(RT_EDATA, "%s: not a regular file, expected one of vectors", v->path);
    v->file.size = (uint64_t)st.st_size;
    return RT_OK;
}

static rt_status read_beginning(rt_vectors *v) {
    RT_TRY(rt_vectors_detect(&v->file, &v->format));
    switch (v->format) {
    case RT_VECTORS_H5:
        return rt_vectors_read_h5(&v->file, &v->layout, &v->ids);
    case RT_VECTORS_NPY:
        return rt_vectors_read_npy(&v->file, &v->layout);
    case RT_VECTORS_FBIN:
        return rt_vectors_read_fbin(&v->file, &v->layout);
    case RT_VECTORS_FAISS:
        return rt_vectors_read_faiss(&v->file, &v->layout);
    default:
        v->layout.ids = RT_IDS_READ;
        return read_lines(v);
    }
}

rt_status rt_vectors_open(const char *path, rt_vectors **out) {
    rt_status rc = RT_OK;
    rt_vectors *v = calloc(1, sizeof *v);
    *out = NULL;
    if (!v) return rt_fail(RT_ENOMEM, "%s: out of memory", path);
    v->file.fd = -1;
    v->path = rt_strdup(path);
    if (!v->path) RT_GO(rt_fail(RT_ENOMEM, "%s: out of memory", path));
    v->file.path = v->path;
    RT_GO(open_file(v));
    RT_GO(read_beginning(v));
    if (v->format != RT_VECTORS_JSONL) RT_GO(check_layout(v));
    if (v->layout.ids == RT_IDS_NONE) RT_GO(number_rows(v));
    if (v->layout.ids == RT_IDS_BESIDE) RT_GO(ids_beside(v));
    if (v->layout.ids == RT_IDS_TEXT || v->layout.ids == RT_IDS_WHOLE) RT_GO(ids_in_fields(v));
    RT_GO(rt_text_status(&v->ids.bytes));
    RT_GO(index_ids(v));
    *out = v;
    v = NULL;
done:
    rt_vectors_close(v);
    return rc;
}

void rt_vectors_close(rt_vectors *v) {
    if (!v) return;
    if (v->file.fd >= 0) close(v->file.fd);
    rt_id_list_free(&v->ids);
    free(v->slots);
    free(v->lines);
    free(v->path);
    free(v);
}

uint32_t rt_vectors_count(const rt_vectors *v) {
    return v->n;
}

int rt_vectors_width(const rt_vectors *v) {
    return v->width;
}

bool rt_vectors_are_unit(const rt_vectors *v) {
    return v->layout.unit;
}

const char *rt_vectors_path(const rt_vectors *v) {
    return v->path;
}

/* Looks at exponents, where neither NaN nor infinity can hide. */
static rt_status check_finite(const rt_vectors *v, const float *rows, uint32_t first, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, rows + i, sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u)
            return rt_fail(RT_EDATA, "%s: row %llu holds a value that is not finite", v->path,
                           (unsigned long long)(first + i / (size_t)v->width));
    }
    return RT_OK;
}

rt_status rt_vectors_read(const rt_vectors *v, uint32_t first, uint32_t n, float *out) {
    rt_status rc = RT_OK;
    rt_text line = {0}, id = {0};
    const size_t width = (size_t)v->width;
    if (first > v->n || n > v->n - first)
        return rt_fail(RT_EINTERNAL, "%s: rows %u to %llu of %u", v->path, first, (unsigned long long)first + n, v->n);
    if (v->format != RT_VECTORS_JSONL) {
        RT_TRY(rt_vectors_get(&v->file, v->layout.data_at + first * width * sizeof *out, out, n * width * sizeof *out));
        return check_finite(v, out, first, n * width);
    }
    for (uint32_t i = 0; i < n; i++) RT_GO(read_line(v, first + i, &line, &id, out + i * width));
    RT_GO(check_finite(v, out, first, n * width));
done:
    rt_text_free(&line);
    rt_text_free(&id);
    return rc;
}
