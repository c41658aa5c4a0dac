/* What a token cache hangs on, and the sidecars that spare a second start from hashing the files again. */
#include "../base/clock.h"
#include "dataset_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NS 1000000000ull

static uint64_t ns(struct timespec t) {
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static void state_of(const struct stat *st, rt_file_state *state) {
    *state = (rt_file_state){(uint64_t)st->st_size, ns(st->st_mtim), ns(st->st_ctim), (uint64_t)st->st_ino,
                             (uint64_t)st->st_dev};
}

rt_status rt_file_state_get(const char *path, rt_file_state *state, bool *regular) {
    struct stat st;
    *regular = false;
    *state = (rt_file_state){0};
    if (!strcmp(path, "-")) return RT_OK;
    if (stat(path, &st) != 0) return rt_file_not_opened(path, errno);
    *regular = S_ISREG(st.st_mode);
    state_of(&st, state);
    return RT_OK;
}

bool rt_file_state_same(const rt_file_state *a, const rt_file_state *b) {
    return a->size == b->size && a->mtime == b->mtime && a->ctime == b->ctime && a->inode == b->inode &&
           a->device == b->device;
}

static char *sidecar_path(const char *folder, const char *path) {
    char hex[33], name[48], *real = realpath(path, NULL);
    const char *full = real ? real : path;
    rt_digest_hex(rt_hash128(full, strlen(full)), hex);
    snprintf(name, sizeof name, "%s.digest", hex);
    free(real);
    return rt_path_join(folder, name);
}

/* A line of numbers, then its own hash, so that a damaged one is no answer. */
static void sidecar_line(const rt_file_state *s, uint64_t hashed_at, rt_digest128 digest, rt_text *line) {
    rt_text_printf(line, "rectrain 1 %llu %llu %llu %llu %llu %llu %016llx %016llx", (unsigned long long)s->size,
                   (unsigned long long)s->mtime, (unsigned long long)s->ctime, (unsigned long long)s->inode,
                   (unsigned long long)s->device, (unsigned long long)hashed_at, (unsigned long long)digest.high,
                   (unsigned long long)digest.low);
    if (line->data) rt_text_printf(line, " %016llx\n", (unsigned long long)rt_hash64(line->data, line->size));
}

/* True if the sidecar knows the digest of the file in this very state. A file that changed within the second before it
 * was hashed may have changed again since under the same time stamp: such a sidecar is no answer either. */
static bool sidecar_read(const char *sidecar, const rt_file_state *s, rt_digest128 *digest) {
    char *data = NULL;
    size_t size;
    unsigned long long hashed_at = 0, high = 0, low = 0;
    rt_text line = {0};
    bool good = false;
    if (!rt_file_exists(sidecar) || rt_file_read(sidecar, 4096, &data, &size) != RT_OK) goto done;
    if (sscanf(data, "rectrain 1 %*u %*u %*u %*u %*u %llu %16llx %16llx", &hashed_at, &high, &low) != 3) goto done;
    *digest = (rt_digest128){high, low};
    sidecar_line(s, hashed_at, *digest, &line);
    good = line.data && line.size == size && !memcmp(line.data, data, size) && s->ctime + NS <= hashed_at &&
           s->mtime + NS <= hashed_at;
done:
    rt_text_free(&line);
    free(data);
    return good;
}

static rt_status hash_file(const char *path, rt_file_state *state, uint64_t all, rt_progress progress, void *context,
                           rt_digest128 *digest) {
    enum { BLOCK = 1 << 20 };
    rt_status rc = RT_OK;
    rt_digest *d = rt_digest_new();
    unsigned char *block = malloc(BLOCK);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (!d || !block) {
        rc = rt_fail(RT_ENOMEM, "%s: no memory to hash it", path);
        goto done;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = rt_file_not_opened(path, errno);
        goto done;
    }
    state_of(&st, state);
    for (uint64_t n = 0;; n++) {
        ssize_t got = read(fd, block, BLOCK);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            rc = rt_fail(RT_EIO, "%s: reading failed: %s", path, strerror(errno));
            goto done;
        }
        if (got == 0) break;
        rt_digest_update(d, block, (size_t)got);
        if (progress && n % 64 == 0 && progress(context, 0, all, 0)) {
            rc = rt_fail(RT_ESTOPPED, "stopped while %s was being hashed", path);
            goto done;
        }
    }
    *digest = rt_digest_end(d);
done:
    if (fd >= 0) close(fd);
    free(block);
    rt_digest_free(d);
    return rc;
}

/* Replaced whole but not synced: a torn one is found out by its hash, and its loss costs time only. */
void rt_sidecar_write(const char *path, const void *bytes, size_t size) {
    char suffix[32];
    rt_text temporary = {0};
    snprintf(suffix, sizeof suffix, ".tmp.%ld", (long)getpid());
    rt_text_puts(&temporary, path);
    rt_text_puts(&temporary, suffix);
    if (temporary.failed) goto done;
    unlink(temporary.data);
    int fd = open(temporary.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) goto done;
    bool whole = write(fd, bytes, size) == (ssize_t)size;
    if (close(fd) != 0 || !whole || rename(temporary.data, path) != 0) unlink(temporary.data);
done:
    rt_text_free(&temporary);
}

static rt_status file_digest(const char *folder, const char *path, rt_file_state *state, uint64_t all,
                             rt_progress progress, void *context, rt_digest128 *digest) {
    char *sidecar = sidecar_path(folder, path);
    if (!sidecar) return rt_fail(RT_ENOMEM, "%s: no memory to name its digest", path);
    rt_status rc = RT_OK;
    if (!sidecar_read(sidecar, state, digest)) {
        uint64_t now = (uint64_t)(rt_clock_unix() * 1e9);
        rc = hash_file(path, state, all, progress, context, digest);
        rt_text line = {0};
        if (rc == RT_OK) {
            sidecar_line(state, now, *digest, &line);
            if (!line.failed && line.data) rt_sidecar_write(sidecar, line.data, line.size);
        }
        rt_text_free(&line);
    }
    free(sidecar);
    return rc;
}

void rt_data_columns(const rt_data_spec *spec, const char *names[RT_OPTIONAL_COLUMNS],
                     const char *keys[RT_OPTIONAL_COLUMNS]) {
    const char *const n[RT_OPTIONAL_COLUMNS] = {spec->group, spec->weight, spec->user, spec->item, spec->time};
    const char *const k[RT_OPTIONAL_COLUMNS] = {"data.group", "data.weight", "data.user", "data.item", "data.time"};
    for (int i = 0; i < RT_OPTIONAL_COLUMNS; i++) {
        names[i] = n[i] && *n[i] ? n[i] : NULL;
        keys[i] = k[i];
    }
}

/* With format AUTO the name decides too: what follows its first dot. */
static const char *ending(const char *path) {
    const char *dot = strchr(rt_path_basename(path), '.');
    return dot ? dot : "";
}

rt_status rt_dataset_key(const rt_data_spec *spec, const rt_tokenizer *tok, rt_progress progress, void *context,
                         rt_file_state *states, rt_digest128 *key) {
    rt_status rc = RT_OK;
    rt_digest *d = rt_digest_new();
    if (!d) return rt_fail(RT_ENOMEM, "no memory for the key of the token cache");
    uint64_t all = 0;
    for (int i = 0; i < spec->n_files; i++) all += states[i].size;
    rt_digest_string(d, RT_CACHE_MAGIC);
    rt_digest_u64(d, RT_CACHE_VERSION);
    rt_digest_u64(d, (uint64_t)spec->n_files);
    for (int i = 0; i < spec->n_files; i++) {
        rt_digest128 file;
        RT_GO(file_digest(spec->cache_folder, spec->files[i], &states[i], all, progress, context, &file));
        rt_digest_u64(d, file.high);
        rt_digest_u64(d, file.low);
        rt_digest_string(d, spec->format == RT_FORMAT_AUTO ? ending(spec->files[i]) : NULL);
    }
    rt_digest128 t = rt_tokenizer_digest(tok);
    rt_digest_u64(d, t.high);
    rt_digest_u64(d, t.low);
    rt_digest_u64(d, RT_TOKENIZER_VERSION);
    rt_digest_u64(d, (uint64_t)spec->format);
    rt_digest_u64(d, (uint64_t)spec->quoting);
    rt_digest_string(d, spec->text_a);
    rt_digest_string(d, spec->text_b && *spec->text_b ? spec->text_b : NULL);
    rt_digest_u64(d, spec->need_label);
    rt_digest_string(d, spec->need_label ? spec->label : NULL);
    if (spec->apart) {
        rt_digest_string(d, "apart");
        rt_digest_string(d, spec->label);
        for (int i = 0; i < spec->n_negatives; i++) rt_digest_string(d, spec->negatives[i]);
    }
    const char *names[RT_OPTIONAL_COLUMNS], *keys[RT_OPTIONAL_COLUMNS];
    rt_data_columns(spec, names, keys);
    for (int i = 0; i < RT_OPTIONAL_COLUMNS; i++) rt_digest_string(d, names[i]);
    rt_digest_u64(d, (uint64_t)spec->n_slices);
    for (int i = 0; i < spec->n_slices; i++) rt_digest_string(d, spec->slices[i]);
    bool samples = spec->negative_keep > 0 && spec->negative_keep < 1;
    uint64_t keep = 0;
    memcpy(&keep, &spec->negative_keep, sizeof keep);
    rt_digest_u64(d, samples ? keep : 0);
    rt_digest_u64(d, samples ? spec->seed : 0);
    rt_digest_u64(d, spec->raw_texts);
    rt_digest_u64(d, (uint64_t)spec->n_labels);
    for (int k = 0; k < spec->n_labels && spec->labels; k++) rt_digest_string(d, spec->labels[k]);
    rt_digest_u64(d, (uint64_t)spec->encode.max_length);
    rt_digest_u64(d, (uint64_t)spec->encode.truncation);
    rt_digest_u64(d, spec->encode.left);
    rt_digest_u64(d, spec->skip_bad_rows);
    *key = rt_digest_end(d);
done:
    rt_digest_free(d);
    return rc;
}
