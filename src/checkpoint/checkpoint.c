/* Opening and reading. Everything is read with pread, never mapped: a file that shrinks while it is open gives an
 * error, not a signal, and tensors go straight to where they are wanted. */
#include "checkpoint.h"
#include "h5_schema.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/file.h"
#include "../base/text.h"

#define BLOB_LIMIT ((uint64_t)1 << 28)
#define VERIFY_PIECE ((size_t)1 << 20)

struct rt_checkpoint {
    int fd;
    char *path;
    rt_h5_bytes bytes;
    rt_h5_schema schema;
    char *blobs[RT_BLOB_COUNT]; /* NUL-terminated copies */
};

static rt_status read_at(void *context, uint64_t at, void *out, size_t size) {
    const rt_checkpoint *c = context;
    char *to = out;
    while (size > 0) {
        ssize_t n = pread(c->fd, to, size < (1u << 30) ? size : 1u << 30, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return rt_fail(RT_EIO, "%s: cannot read at byte %llu: %s", c->path, (unsigned long long)at,
                           strerror(errno));
        if (n == 0)
            return rt_fail(RT_EDATA, "%s: it was cut off at byte %llu while being read", c->path,
                           (unsigned long long)at);
        to += n, at += (uint64_t)n, size -= (size_t)n;
    }
    return RT_OK;
}

static rt_status open_file(rt_checkpoint *c) {
    struct stat st;
    c->fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (c->fd < 0 && (errno == ENOENT || errno == ENOTDIR) && !rt_path_taken(c->path))
        return rt_fail(RT_ENOINPUT, "%s: no such file; expected a checkpoint written by rectrain (.h5)", c->path);
    if (c->fd < 0) return rt_file_not_opened(c->path, errno);
    if (fstat(c->fd, &st) != 0) return rt_fail(RT_EIO, "%s: cannot stat: %s", c->path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return rt_fail(
            RT_EDATA,
            "%s: a folder, expected a checkpoint file. A Hugging Face folder becomes one by: rectrain convert "
            "--from %s --to FILE.h5",
            c->path, c->path);
    if (!S_ISREG(st.st_mode)) return rt_fail(RT_EDATA, "%s: not a regular file, expected a checkpoint", c->path);
    c->bytes = (rt_h5_bytes){.read = read_at, .context = c, .size = (uint64_t)st.st_size, .name = c->path};
    return RT_OK;
}

static rt_status altered(const rt_checkpoint *c, const char *section, const char *name) {
    return rt_fail(RT_EDATA,
                   "%s: /%s%s%s does not match its checksum: damaged on disk or altered. Take another copy, or make it "
                   "again (rectrain convert, or training)",
                   c->path, section, *section ? "/" : "", name);
}

static rt_status load_blob(rt_checkpoint *c, int b) {
    const rt_h5_blob *blob = &c->schema.blobs[b];
    if (!blob->present) return RT_OK;
    if (blob->size > BLOB_LIMIT)
        return rt_fail(RT_EDATA, "%s: /%s has %llu bytes, expected at most %llu", c->path, rt_blob_names[b],
                       (unsigned long long)blob->size, (unsigned long long)BLOB_LIMIT);
    c->blobs[b] = malloc((size_t)blob->size + 1);
    if (!c->blobs[b]) return rt_fail(RT_ENOMEM, "%s: out of memory for /%s", c->path, rt_blob_names[b]);
    if (blob->size) RT_TRY(read_at(c, blob->at, c->blobs[b], (size_t)blob->size));
    c->blobs[b][blob->size] = '\0';
    if (rt_hash64(c->blobs[b], (size_t)blob->size) != blob->xxh3) return altered(c, "", rt_blob_names[b]);
    return RT_OK;
}

rt_status rt_checkpoint_open(const char *path, rt_checkpoint **out) {
    rt_status rc;
    rt_checkpoint *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c) c->fd = -1, c->path = rt_strdup(path);
    if (!c || !c->path) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    RT_GO(open_file(c));
    RT_GO(rt_h5_schema_read(&c->bytes, false, &c->schema));
    for (int b = 0; b < RT_BLOB_COUNT; b++) RT_GO(load_blob(c, b));
    *out = c;
    c = NULL;
done:
    rt_checkpoint_close(c);
    return rc;
}

void rt_checkpoint_close(rt_checkpoint *c) {
    if (!c) return;
    for (int b = 0; b < RT_BLOB_COUNT; b++) free(c->blobs[b]);
    rt_h5_schema_free(&c->schema);
    if (c->fd >= 0) close(c->fd);
    free(c->path);
    free(c);
}

static rt_blob blob(const rt_checkpoint *c, int b) {
    return (rt_blob){c->blobs[b], c->blobs[b] ? (size_t)c->schema.blobs[b].size : 0};
}

rt_blob rt_checkpoint_config_json(const rt_checkpoint *c) {
    return blob(c, RT_BLOB_CONFIG_JSON);
}
rt_blob rt_checkpoint_vocab(const rt_checkpoint *c) {
    return blob(c, RT_BLOB_VOCAB);
}
rt_blob rt_checkpoint_tokenizer_config(const rt_checkpoint *c) {
    return blob(c, RT_BLOB_TOKENIZER_CONFIG);
}
rt_blob rt_checkpoint_config_ini(const rt_checkpoint *c) {
    return blob(c, RT_BLOB_CONFIG_INI);
}
rt_blob rt_checkpoint_state(const rt_checkpoint *c) {
    return blob(c, RT_BLOB_STATE);
}

int rt_checkpoint_tensor_count(const rt_checkpoint *c) {
    return c->schema.sections[RT_SECTION_MODEL].n;
}

const char *rt_checkpoint_tensor_name(const rt_checkpoint *c, int i) {
    return c->schema.sections[RT_SECTION_MODEL].rows[i].name;
}

void rt_checkpoint_tensor_shape(const rt_checkpoint *c, int i, int *rank, int64_t shape[2]) {
    const rt_h5_tensor *row = &c->schema.sections[RT_SECTION_MODEL].rows[i];
    *rank = row->rank;
    memcpy(shape, row->shape, sizeof row->shape);
}

bool rt_checkpoint_has(const rt_checkpoint *c, rt_section section, const char *name) {
    return rt_h5_schema_find(&c->schema, section, name) != NULL;
}

static void shape_text(int rank, const int64_t *shape, char out[64]) {
    if (rank == 1)
        snprintf(out, 64, "[%lld]", (long long)shape[0]);
    else
        snprintf(out, 64, "[%lld, %lld]", (long long)shape[0], (long long)shape[1]);
}

rt_status rt_checkpoint_read(rt_checkpoint *c, rt_section section, const char *name, int rank, const int64_t *shape,
                             float *out) {
    const char *group = rt_section_names[section];
    const rt_h5_tensor *row = rt_h5_schema_find(&c->schema, section, name);
    if (!row) return rt_fail(RT_EDATA, "%s: no tensor /%s/%s; this model needs it", c->path, group, name);
    if (row->rank != rank || row->shape[0] != shape[0] || (rank > 1 && row->shape[1] != shape[1])) {
        char found[64], wanted[64];
        shape_text(row->rank, row->shape, found);
        shape_text(rank, shape, wanted);
        return rt_fail(RT_EDATA, "%s: /%s/%s is %s, expected %s as its config.json says", c->path, group, name, found,
                       wanted);
    }
    RT_TRY(read_at(c, row->at, out, (size_t)row->size));
    if (rt_hash64(out, (size_t)row->size) != row->xxh3) return altered(c, group, name);
    return RT_OK;
}

/* Checks one tensor in bounded memory. Beyond 240 bytes XXH3-64 is by its definition the low half of XXH3-128, which is
 * what a digest streams. */
static rt_status verify_tensor(rt_checkpoint *c, int section, const rt_h5_tensor *row, unsigned char *piece) {
    rt_status rc = RT_OK;
    rt_digest *d = NULL;
    uint64_t sum, at = 0;
    size_t n = row->size < VERIFY_PIECE ? (size_t)row->size : VERIFY_PIECE;
    RT_GO(read_at(c, row->at, piece, n));
    if (n == row->size) {
        sum = rt_hash64(piece, n);
    } else {
        d = rt_digest_new();
        if (!d) {
            rc = rt_fail(RT_ENOMEM, "%s: out of memory", c->path);
            goto done;
        }
        for (;;) {
            rt_digest_update(d, piece, n);
            at += n;
            if (at == row->size) break;
            n = row->size - at < VERIFY_PIECE ? (size_t)(row->size - at) : VERIFY_PIECE;
            RT_GO(read_at(c, row->at + at, piece, n));
        }
        sum = rt_digest_end(d).low;
    }
    if (sum != row->xxh3) rc = altered(c, rt_section_names[section], row->name);
done:
    rt_digest_free(d);
    return rc;
}

rt_status rt_checkpoint_verify(const char *path, rt_verify_summary *out) {
    rt_status rc;
    rt_checkpoint *c = NULL;
    unsigned char *piece = NULL;
    memset(out, 0, sizeof *out);
    RT_GO(rt_checkpoint_open(path, &c));
    piece = malloc(VERIFY_PIECE);
    if (!piece) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    for (int s = 0; s < RT_SECTIONS; s++) {
        for (int i = 0; i < c->schema.sections[s].n; i++) {
            const rt_h5_tensor *row = &c->schema.sections[s].rows[i];
            RT_GO(verify_tensor(c, s, row, piece));
            if (s == RT_SECTION_MODEL) out->parameters += (int64_t)(row->size / sizeof(float));
        }
    }
    out->tensors = c->schema.sections[RT_SECTION_MODEL].n;
    out->moments = c->schema.sections[RT_SECTION_ADAM_M].n + c->schema.sections[RT_SECTION_ADAM_V].n;
    out->bytes = c->bytes.size;
    memcpy(out->digest, c->schema.digest, sizeof out->digest);
    out->resumable = c->schema.blobs[RT_BLOB_STATE].present;
done:
    free(piece);
    rt_checkpoint_close(c);
    return rc;
}
