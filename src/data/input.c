#include "input.h"
#include "../base/file.h"
#include "../base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { INPUT_BUFFER = 1 << 18 };

typedef enum { PLAIN, GZIP, ZSTD } packing;

struct rt_input {
    int fd;
    char *name;
    bool regular, end; /* end: the file has no more bytes */
    packing packing;
    bool mid_stream; /* inside a gzip member or a zstd frame */
    uint64_t consumed, size;
    unsigned char *buffer; /* packed bytes [INPUT_BUFFER] */
    size_t start, stop;
    z_stream z;
    bool z_open;
    ZSTD_DStream *zstd;
};

static rt_status fill(rt_input *in) {
    if (in->end) return RT_OK;
    memmove(in->buffer, in->buffer + in->start, in->stop - in->start);
    in->stop -= in->start;
    in->start = 0;
    ssize_t n;
    do n = read(in->fd, in->buffer + in->stop, INPUT_BUFFER - in->stop);
    while (n < 0 && errno == EINTR);
    if (n < 0) return rt_fail(RT_EIO, "%s: reading failed: %s", in->name, strerror(errno));
    if (n == 0) in->end = true;
    in->stop += (size_t)n;
    in->consumed += (uint64_t)n;
    return RT_OK;
}

static rt_status open_file(rt_input *in, const char *path) {
    struct stat st;
    if (!strcmp(path, "-")) {
        in->fd = STDIN_FILENO;
        if (fstat(in->fd, &st) != 0) return rt_fail(RT_ENOINPUT, "stdin is not open: %s", strerror(errno));
        if (S_ISDIR(st.st_mode)) return rt_fail(RT_EDATA, "stdin is a folder; a file or a pipe is expected");
    } else {
        if (stat(path, &st) != 0) return rt_file_not_opened(path, errno);
        if (S_ISDIR(st.st_mode))
            return rt_fail(RT_EDATA, "%s: a folder; name the files in it, or a glob such as %s/*.tsv", path, path);
        if (!S_ISREG(st.st_mode) && !(S_ISFIFO(st.st_mode) && rt_path_descriptor(path) >= 0))
            return rt_fail(RT_EDATA,
                           "%s: a named pipe, socket or device; a regular file is expected, or \"-\" to read stdin",
                           path);
        /* O_NONBLOCK: should the file become a pipe between stat and open, open must not wait for a writer. */
        in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (in->fd < 0) return rt_file_not_opened(path, errno);
        int flags = fcntl(in->fd, F_GETFL);
        if (fstat(in->fd, &st) != 0 || flags < 0 || fcntl(in->fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
            return rt_fail(RT_EIO, "%s: %s", path, strerror(errno));
    }
    in->regular = S_ISREG(st.st_mode);
    in->size = in->regular && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    return RT_OK;
}

/* The base-2 logarithm of the largest window that is taken: a frame's first bytes choose how much memory zstd asks for,
 * up to 128 MiB for a file of ten bytes. 32 MiB holds all that level 20 packs; more needs a file to match. */
static int window_log(const rt_input *in) {
    uint64_t most = 2 * (in->size < UINT32_MAX ? in->size : UINT32_MAX) + (60u << 20);
    int log = 25;
    while (log < 27 && (uint64_t)2 << log <= most) log++;
    return log;
}

static rt_status open_packing(rt_input *in) {
    /* A pipe hands over a few bytes at a time: the magic needs four. */
    while (!in->end && in->stop - in->start < 4) RT_TRY(fill(in));
    const unsigned char *magic = in->buffer + in->start;
    size_t n = in->stop - in->start;
    if (n >= 3 && magic[0] == 0x1F && magic[1] == 0x8B && magic[2] == 8) {
        in->packing = GZIP;
        if (inflateInit2(&in->z, 15 + 16) != Z_OK) return rt_fail(RT_ENOMEM, "%s: no memory to unpack gzip", in->name);
        in->z_open = true;
        in->mid_stream = true;
    } else if (n >= 4 && !memcmp(magic, "\x28\xB5\x2F\xFD", 4)) {
        in->packing = ZSTD;
        in->zstd = ZSTD_createDStream();
        if (!in->zstd || ZSTD_isError(ZSTD_initDStream(in->zstd)) ||
            ZSTD_isError(ZSTD_DCtx_setParameter(in->zstd, ZSTD_d_windowLogMax, window_log(in))))
            return rt_fail(RT_ENOMEM, "%s: no memory to unpack zstd", in->name);
    }
    return RT_OK;
}

rt_status rt_input_open(const char *path, rt_input **out) {
    *out = NULL;
    rt_status rc = RT_OK;
    rt_input *in = calloc(1, sizeof *in);
    if (!in) return rt_fail(RT_ENOMEM, "%s: no memory to open it", path);
    in->fd = -1;
    in->name = rt_strdup(strcmp(path, "-") ? path : "stdin");
    in->buffer = malloc(INPUT_BUFFER);
    if (!in->name || !in->buffer) {
        rc = rt_fail(RT_ENOMEM, "%s: no memory to open it", path);
        goto done;
    }
    RT_GO(open_file(in, path));
    RT_GO(open_packing(in));
    *out = in;
    in = NULL;
done:
    rt_input_close(in);
    return rc;
}

void rt_input_close(rt_input *in) {
    if (!in) return;
    if (in->fd > STDIN_FILENO) close(in->fd);
    if (in->z_open) inflateEnd(&in->z);
    ZSTD_freeDStream(in->zstd);
    free(in->buffer);
    free(in->name);
    free(in);
}

static rt_status damaged(const rt_input *in, const char *what) {
    return rt_fail(RT_EIO, "%s: damaged %s data near byte %llu: %s; fetch or pack the file again", in->name,
                   rt_input_packing(in), (unsigned long long)(in->consumed - (in->stop - in->start)), what);
}

/* After a gzip member: another one, zero padding, or the end. */
static rt_status next_member(rt_input *in) {
    for (;;) {
        while (in->start < in->stop && in->buffer[in->start] == 0) in->start++;
        if (in->start == in->stop && in->end) return RT_OK;
        if (in->stop - in->start >= 2) break;
        if (in->end) return damaged(in, "bytes after the end that are no gzip");
        RT_TRY(fill(in));
    }
    if (in->buffer[in->start] != 0x1F || in->buffer[in->start + 1] != 0x8B)
        return damaged(in, "bytes after the end that are no gzip");
    if (inflateReset(&in->z) != Z_OK) return damaged(in, "zlib cannot go on");
    in->mid_stream = true;
    return RT_OK;
}

static rt_status read_gzip(rt_input *in, unsigned char *bytes, size_t room, size_t *n) {
    if (room > UINT32_MAX) room = UINT32_MAX;
    while (*n == 0) {
        if (!in->mid_stream) {
            RT_TRY(next_member(in));
            if (!in->mid_stream) return RT_OK;
        }
        if (in->start == in->stop) RT_TRY(fill(in));
        in->z.next_in = in->buffer + in->start;
        in->z.avail_in = (unsigned)(in->stop - in->start);
        in->z.next_out = bytes;
        in->z.avail_out = (unsigned)room;
        int code = inflate(&in->z, Z_NO_FLUSH);
        in->start = in->stop - in->z.avail_in;
        *n = room - in->z.avail_out;
        if (code == Z_STREAM_END)
            in->mid_stream = false;
        else if (code == Z_BUF_ERROR && *n == 0 && in->end && in->start == in->stop)
            return damaged(in, "it ends in the middle");
        else if (code != Z_OK && code != Z_BUF_ERROR)
            return damaged(in, in->z.msg ? in->z.msg : "zlib cannot read it");
    }
    return RT_OK;
}

static rt_status read_zstd(rt_input *in, unsigned char *bytes, size_t room, size_t *n) {
    ZSTD_outBuffer to = {bytes, room, 0};
    while (to.pos == 0) {
        if (in->start == in->stop) RT_TRY(fill(in));
        bool dry = in->start == in->stop;
        if (dry && !in->mid_stream) break;
        ZSTD_inBuffer from = {in->buffer, in->stop, in->start};
        size_t left = ZSTD_decompressStream(in->zstd, &to, &from);
        if (ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
            return rt_fail(RT_EIO,
                           "%s: zstd data that take a window beyond %d MiB, too much for a file of this size; pack it "
                           "again with a level up to 20, or unpack it first",
                           in->name, 1 << (window_log(in) - 20));
        if (ZSTD_isError(left)) return damaged(in, ZSTD_getErrorName(left));
        in->start = from.pos;
        in->mid_stream = left != 0;
        if (dry && to.pos == 0 && in->mid_stream) return damaged(in, "it ends in the middle");
    }
    *n = to.pos;
    return RT_OK;
}

rt_status rt_input_read(rt_input *in, void *bytes, size_t room, size_t *n) {
    *n = 0;
    if (room == 0) return RT_OK;
    if (in->packing == GZIP) return read_gzip(in, bytes, room, n);
    if (in->packing == ZSTD) return read_zstd(in, bytes, room, n);
    if (in->start == in->stop) RT_TRY(fill(in));
    *n = in->stop - in->start < room ? in->stop - in->start : room;
    memcpy(bytes, in->buffer + in->start, *n);
    in->start += *n;
    return RT_OK;
}

const char *rt_input_name(const rt_input *in) {
    return in->name;
}
uint64_t rt_input_consumed(const rt_input *in) {
    return in->consumed;
}
uint64_t rt_input_size(const rt_input *in) {
    return in->size;
}
bool rt_input_is_regular(const rt_input *in) {
    return in->regular;
}

const char *rt_input_packing(const rt_input *in) {
    return in->packing == GZIP ? "gzip" : in->packing == ZSTD ? "zstd" : NULL;
}
