/* Writing. Beside PATH stand, until the end, PATH.part (the file itself, its beginning still empty), PATH.part.ids
 * (ids, one a line) and PATH.part.state (how far both are good, by their lengths and digests). Rows and ids are made
 * durable before the state says so, and the state is replaced in one move: so a run that was killed at any moment is
 * gone on with from its last state, and what stands behind that is cut off. */
#include "../base/digest.h"
#include "../base/file.h"
#include "vectors_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STATE_ROWS = 4096,     /* a new state is due after so many rows, */
    STATE_BYTES = 1 << 22, /* or so many bytes of them */
    STATE_LIMIT = 1 << 12,
    PIECE = 1 << 16,
};

struct rt_vectors_writer {
    char *path, *ids_path, *state_path;
    rt_vectors_format format;
    int width;
    bool unit;
    char key[33];
    rt_atomic rows, ids;         /* the two parts; `rows` becomes PATH */
    uint64_t n, rows_at, ids_at; /* where the next ones go */
    uint64_t state_n, state_at;
    rt_digest *rows_digest, *ids_digest;
    rt_text text;
};

/* --- the state ---------------------------------------------------------------------------------------------------- */

static rt_status state_text(const rt_vectors_writer *w, rt_text *out) {
    char rows[33], ids[33];
    rt_digest_hex(rt_digest_end(w->rows_digest), rows);
    rt_digest_hex(rt_digest_end(w->ids_digest), ids);
    rt_text_printf(out,
                   "rectrain vectors, unfinished, 1\nkey %s\nformat %d\nwidth %d\nunit %d\nrows %llu\nend %llu\n"
                   "ids_end %llu\nrows_digest %s\nids_digest %s\n",
                   w->key, (int)w->format, w->width, (int)w->unit, (unsigned long long)w->n,
                   (unsigned long long)w->rows_at, (unsigned long long)w->ids_at, rows, ids);
    return rt_text_status(out);
}

static rt_status sync_part(const rt_atomic *part) {
    if (fdatasync(part->fd) == 0) return RT_OK;
    return rt_fail(RT_EIO, "%s: cannot be made durable (fsync): %s", part->temporary, strerror(errno));
}

static rt_status save_state(rt_vectors_writer *w) {
    rt_text text = {0};
    rt_status rc;
    RT_GO(sync_part(&w->rows));
    RT_GO(sync_part(&w->ids));
    RT_GO(state_text(w, &text));
    RT_GO(rt_file_write_atomic(w->state_path, text.data, text.size));
    w->state_n = w->n;
    w->state_at = w->rows_at;
done:
    rt_text_free(&text);
    return rc;
}

/* --- going on ----------------------------------------------------------------------------------------------------- */

/* Takes a part's bytes [from, to) into a digest; false: it has not so many. */
static bool digest_part(int fd, uint64_t from, uint64_t to, rt_digest *digest) {
    char piece[PIECE];
    while (from < to) {
        size_t size = to - from < sizeof piece ? (size_t)(to - from) : sizeof piece;
        ssize_t n = pread(fd, piece, size, (off_t)from);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        rt_digest_update(digest, piece, (size_t)n);
        from += (uint64_t)n;
    }
    return true;
}

/* The number behind a key of the state's text. */
static bool state_number(const char *state, const char *key, uint64_t *out) {
    const char *at = strstr(state, key);
    long long value;
    char digits[24] = {0};
    if (!at) return false;
    at += strlen(key);
    size_t n = strcspn(at, "\n");
    if (n >= sizeof digits) return false;
    memcpy(digits, at, n);
    if (!rt_parse_i64(digits, &value) || value < 0) return false;
    *out = (uint64_t)value;
    return true;
}

/* What the state says is true: of this run, and of the parts as they are. */
static bool state_holds(rt_vectors_writer *w, const char *state) {
    rt_text now = {0};
    uint64_t header = rt_vectors_header_size(w->format);
    bool good = state_number(state, "\nrows ", &w->n) && state_number(state, "\nend ", &w->rows_at) &&
                state_number(state, "\nids_end ", &w->ids_at) && w->n <= UINT32_MAX && w->rows_at >= header &&
                digest_part(w->rows.fd, header, w->rows_at, w->rows_digest) &&
                digest_part(w->ids.fd, 0, w->ids_at, w->ids_digest) && state_text(w, &now) == RT_OK &&
                strcmp(now.data, state) == 0;
    rt_text_free(&now);
    return good;
}

static rt_status new_digests(rt_vectors_writer *w) {
    rt_digest_free(w->rows_digest);
    rt_digest_free(w->ids_digest);
    w->rows_digest = rt_digest_new();
    w->ids_digest = rt_digest_new();
    return w->rows_digest && w->ids_digest ? RT_OK : rt_fail(RT_ENOMEM, "%s: out of memory", w->path);
}

/* Cuts both parts back to the state, or to nothing. */
static rt_status go_on(rt_vectors_writer *w) {
    char *state = NULL;
    size_t size = 0;
    bool good = rt_path_taken(w->state_path) && rt_file_read(w->state_path, STATE_LIMIT, &state, &size) == RT_OK &&
                state_holds(w, state);
    rt_error_clear();
    free(state);
    if (!good) {
        w->n = w->ids_at = 0;
        w->rows_at = rt_vectors_header_size(w->format);
        RT_TRY(new_digests(w));
        unlink(w->state_path);
    }
    w->state_n = w->n;
    w->state_at = w->rows_at;
    const rt_atomic *parts[] = {&w->rows, &w->ids};
    for (int i = 0; i < 2; i++)
        if (ftruncate(parts[i]->fd, (off_t)(i ? w->ids_at : w->rows_at)) != 0)
            return rt_fail(RT_EIO, "%s: cannot be written: %s", parts[i]->temporary, strerror(errno));
    return RT_OK;
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static char *with_end(const char *path, const char *end) {
    rt_text text = {0};
    rt_text_printf(&text, "%s%s", path, end);
    if (text.failed) rt_text_free(&text);
    return text.data;
}

rt_status rt_vectors_check_name(const char *path, rt_vectors_format *format) {
    struct stat st;
    if (*format == RT_VECTORS_AUTO) *format = rt_vectors_format_of(path);
    if (*format == RT_VECTORS_AUTO)
        return rt_fail(RT_EUSAGE,
                       "%s: its end tells no format; name it .h5, .npy, .fbin, .faiss or .jsonl, or say "
                       "which: %s",
                       path, rt_vectors_formats);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return rt_fail(RT_EUSAGE, "%s: %s; vectors go to a file with a name", path,
                       S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    return RT_OK;
}

/* An rt_atomic over a part that stays when the process ends. */
static rt_status open_part(const char *path, const char *part, rt_atomic *out) {
    *out = (rt_atomic){.fd = -1, .path = rt_strdup(path), .temporary = with_end(path, part)};
    if (!out->path || !out->temporary) return rt_fail(RT_ENOMEM, "%s: out of memory", path);
    out->fd = open(out->temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (out->fd < 0) return rt_fail(RT_EIO, "%s: cannot be written: %s", out->temporary, strerror(errno));
    out->open = true;
    /* The other process may have moved it to its place meanwhile: what is open then is a finished file. */
    struct stat mine, named;
    bool taken = flock(out->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (taken || fstat(out->fd, &mine) != 0 || stat(out->temporary, &named) != 0 || mine.st_ino != named.st_ino)
        return rt_fail(RT_ECONFIG, "%s: another rectrain process is writing it; wait for it, or name another file",
                       path);
    return RT_OK;
}

/* Closes a part, and leaves it where it is. */
static void leave_part(rt_atomic *part) {
    free(part->temporary);
    part->temporary = NULL;
    rt_atomic_abort(part);
}

static void free_writer(rt_vectors_writer *w) {
    if (!w) return;
    leave_part(&w->rows);
    leave_part(&w->ids);
    rt_digest_free(w->rows_digest);
    rt_digest_free(w->ids_digest);
    rt_text_free(&w->text);
    free(w->path);
    free(w->ids_path);
    free(w->state_path);
    free(w);
}

rt_status rt_vectors_create(const char *path, rt_vectors_format format, int width, bool unit, const char key[33],
                            rt_vectors_writer **out, uint64_t *done) {
    rt_status rc = RT_OK;
    rt_vectors_writer *w = NULL;
    *out = NULL;
    *done = 0;
    if (width < 1 || width > RT_VECTORS_MAX_WIDTH)
        return rt_fail(RT_ECONFIG, "%s: vectors of %d numbers, expected 1 to %d", path, width, RT_VECTORS_MAX_WIDTH);
    RT_TRY(rt_vectors_check_name(path, &format));
    w = calloc(1, sizeof *w);
    if (!w) return rt_fail(RT_ENOMEM, "%s: out of memory", path);
    w->format = format;
    w->width = width;
    w->unit = unit;
    w->rows.fd = w->ids.fd = -1;
    memcpy(w->key, key, sizeof w->key);
    w->key[32] = '\0';
    w->path = rt_strdup(path);
    w->ids_path = with_end(path, ".ids");
    w->state_path = with_end(path, ".part.state");
    if (!w->path || !w->ids_path || !w->state_path) RT_GO(rt_fail(RT_ENOMEM, "%s: out of memory", path));
    RT_GO(new_digests(w));
    RT_GO(open_part(path, ".part", &w->rows));
    RT_GO(open_part(path, ".part.ids", &w->ids));
    RT_GO(go_on(w));
    *done = w->n;
    *out = w;
    w = NULL;
done:
    free_writer(w);
    return rc;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static rt_status check_row(const rt_vectors_writer *w, const float *row, const char *id, size_t size, uint64_t number) {
    const char *refused = rt_id_refused(id, size);
    bool bad_text = false;
    unsigned code;
    if (refused) return rt_fail(RT_EDATA, "%s: the id of row %llu %s", w->path, (unsigned long long)number, refused);
    for (size_t i = 0; w->format == RT_VECTORS_JSONL && i < size && !bad_text;)
        i += (size_t)rt_utf8_decode((const unsigned char *)id + i, size - i, &code, &bad_text);
    if (bad_text)
        return rt_fail(RT_EDATA, "%s: the id of row %llu is no UTF-8, which JSON needs; another format keeps it",
                       w->path, (unsigned long long)number);
    for (int i = 0; i < w->width; i++) {
        uint32_t bits;
        memcpy(&bits, row + i, sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u)
            return rt_fail(RT_EDATA, "%s: the vector of row %llu (id \"%.*s\") holds a value that is not finite",
                           w->path, (unsigned long long)number, (int)(size < 100 ? size : 100), id);
    }
    return RT_OK;
}

static rt_status append_text(rt_vectors_writer *w, rt_atomic *part, uint64_t *at, rt_digest *digest) {
    RT_TRY(rt_text_status(&w->text));
    RT_TRY(rt_atomic_pwrite(part, w->text.data, w->text.size, *at));
    rt_digest_update(digest, w->text.data, w->text.size);
    *at += w->text.size;
    rt_text_clear(&w->text);
    return RT_OK;
}

static rt_status append_rows(rt_vectors_writer *w, const float *rows, const char *const *ids, const size_t *sizes,
                             uint32_t n) {
    const size_t width = (size_t)w->width, bytes = n * width * sizeof *rows;
    if (w->format == RT_VECTORS_JSONL) {
        for (uint32_t i = 0; i < n; i++) {
            rt_vectors_put_line(&w->text, ids[i], sizes[i], rows + i * width, w->width);
            if (w->text.size > PIECE) RT_TRY(append_text(w, &w->rows, &w->rows_at, w->rows_digest));
        }
        return w->text.size ? append_text(w, &w->rows, &w->rows_at, w->rows_digest) : RT_OK;
    }
    RT_TRY(rt_atomic_pwrite(&w->rows, rows, bytes, w->rows_at));
    rt_digest_update(w->rows_digest, rows, bytes);
    w->rows_at += bytes;
    return RT_OK;
}

rt_status rt_vectors_append(rt_vectors_writer *w, const float *rows, const char *const *ids, const size_t *sizes,
                            uint32_t n) {
    if (!n) return RT_OK;
    if (w->n + n > UINT32_MAX - 1) return rt_fail(RT_EDATA, "%s: more than 2^32 - 2 vectors", w->path);
    for (uint32_t i = 0; i < n; i++) RT_TRY(check_row(w, rows + i * (size_t)w->width, ids[i], sizes[i], w->n + i));
    RT_TRY(append_rows(w, rows, ids, sizes, n));
    for (uint32_t i = 0; i < n; i++) {
        rt_text_append(&w->text, ids[i], sizes[i]);
        rt_text_append(&w->text, "\n", 1);
    }
    RT_TRY(append_text(w, &w->ids, &w->ids_at, w->ids_digest));
    w->n += n;
    bool due = w->n - w->state_n >= STATE_ROWS || w->rows_at - w->state_at >= STATE_BYTES;
    return due ? save_state(w) : RT_OK;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

/* /ids of .h5: behind the rows, each in a field of the longest. */
static rt_status put_ids_fields(rt_vectors_writer *w, size_t longest) {
    rt_status rc = RT_OK;
    char *line = NULL;
    size_t capacity = 0;
    uint64_t at = w->rows_at;
    rt_text_clear(&w->text);
    FILE *f = fopen(w->ids.temporary, "rbe");
    if (!f) return rt_file_not_opened(w->ids.temporary, errno);
    for (uint64_t row = 0; row < w->n; row++) {
        static const char nothing[RT_VECTORS_MAX_ID] = {0};
        ssize_t n = getline(&line, &capacity, f);
        if (n < 2) RT_GO(rt_fail(RT_EIO, "%s: was altered while it was read", w->ids.temporary));
        rt_text_append(&w->text, line, (size_t)n - 1);
        rt_text_append(&w->text, nothing, longest - ((size_t)n - 1));
        if (w->text.size < PIECE && row + 1 < w->n) continue;
        RT_GO(rt_text_status(&w->text));
        RT_GO(rt_atomic_pwrite(&w->rows, w->text.data, w->text.size, at));
        at += w->text.size;
        rt_text_clear(&w->text);
    }
done:
    fclose(f);
    free(line);
    return rc;
}

/* PATH.ids is a copy, so that the parts stay whole until PATH itself is there. */
static rt_status put_ids_beside(rt_vectors_writer *w) {
    rt_status rc;
    rt_atomic beside = {0};
    char piece[PIECE];
    RT_GO(rt_atomic_begin(&beside, w->ids_path));
    for (uint64_t at = 0; at < w->ids_at;) {
        size_t size = w->ids_at - at < sizeof piece ? (size_t)(w->ids_at - at) : sizeof piece;
        ssize_t n = pread(w->ids.fd, piece, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) RT_GO(rt_fail(RT_EIO, "%s: cannot be read back", w->ids.temporary));
        RT_GO(rt_atomic_write(&beside, piece, (size_t)n));
        at += (uint64_t)n;
    }
    RT_GO(rt_atomic_commit(&beside));
done:
    rt_atomic_abort(&beside);
    return rc;
}

static rt_status finish(rt_vectors_writer *w) {
    unsigned char header[RT_VECTORS_HEADER_MAX];
    rt_status rc;
    size_t longest = 0;
    char *folder = rt_path_dirname(w->path);
    if (!folder) return rt_fail(RT_ENOMEM, "%s: out of memory", w->path);
    rc = rt_vectors_check_ids(w->ids.temporary, folder, w->path, w->n, &longest);
    free(folder);
    RT_TRY(rc);
    if (w->format == RT_VECTORS_H5 && w->n) RT_TRY(put_ids_fields(w, longest));
    rt_vectors_header(w->format, w->n, w->width, w->unit, longest, header);
    size_t size = rt_vectors_header_size(w->format);
    if (size) RT_TRY(rt_atomic_pwrite(&w->rows, header, size, 0));
    RT_TRY(sync_part(&w->rows));
    if (w->format != RT_VECTORS_H5 && w->format != RT_VECTORS_JSONL) RT_TRY(put_ids_beside(w));
    return RT_OK;
}

static void remove_parts(rt_vectors_writer *w) {
    if (w->state_path) unlink(w->state_path);
    if (w->ids.temporary) unlink(w->ids.temporary);
    if (w->rows.temporary) unlink(w->rows.temporary);
}

rt_status rt_vectors_commit(rt_vectors_writer *w) {
    rt_status rc = w->state_n == w->n && rt_path_taken(w->state_path) ? RT_OK : save_state(w);
    if (rc == RT_OK) rc = finish(w);
    if (rc == RT_OK) rc = rt_atomic_commit(&w->rows); /* PATH is there: the rest is to be thrown away */
    if (rc == RT_OK || rc == RT_EDATA) remove_parts(w);
    free_writer(w);
    return rc;
}

void rt_vectors_abort(rt_vectors_writer *w, bool keep) {
    if (!w) return;
    if (!keep)
        remove_parts(w);
    else if (w->n > w->state_n)
        (void)save_state(w); /* where that fails, the state before is still true */
    free_writer(w);
}
