#include "dataset.h"
#include "../base/clock.h"
#include "dataset_read.h"
#include "extsort.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void rt_dataset_close(rt_dataset *ds) {
    if (!ds) return;
    if (ds->fd >= 0) close(ds->fd);
    free(ds->name);
    free(ds->folder);
    free(ds->digests);
    free(ds->lengths);
    free(ds->labels);
    free(ds->weights);
    free(ds->groups);
    free(ds->starts);
    free(ds);
}

/* What both ways need to be told, whatever the files hold. */
static rt_status check_spec(const rt_data_spec *spec) {
    if (spec->n_files < 1) return rt_fail(RT_ECONFIG, "no data file is given; a file, a list or a glob is expected");
    if (spec->encode.max_length < 3 || spec->encode.max_length > UINT16_MAX)
        return rt_fail(RT_ECONFIG, "data.max_length = %d: 3 to %d are accepted", spec->encode.max_length, UINT16_MAX);
    if (spec->n_slices > RT_SLICE_COLUMNS)
        return rt_fail(RT_ECONFIG, "data.slice names %d columns; at most %d are accepted", spec->n_slices,
                       RT_SLICE_COLUMNS);
    if (spec->n_negatives < 0 || spec->n_negatives > RT_MOST_NEGATIVES)
        return rt_fail(RT_ECONFIG, "contrastive.negatives names %d columns; at most %d are accepted", spec->n_negatives,
                       RT_MOST_NEGATIVES);
    if (spec->n_labels > UINT16_MAX)
        return rt_fail(RT_ECONFIG, "model.labels: %d names; at most %d are accepted", spec->n_labels, UINT16_MAX);
    return RT_OK;
}

/* The cache that is there, if it is whole; *out NULL if it is missing, or damaged, which is said. */
static rt_status try_cache(const char *path, const rt_digest128 *key, const rt_data_spec *spec, const rt_tokenizer *tok,
                           rt_log *log, rt_dataset **out) {
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno != ENOENT) rt_warn(log, "%s: cannot be opened (%s); tokenising anew", path, strerror(errno));
        return RT_OK;
    }
    rt_status rc = rt_cache_open(fd, path, key, spec, tok, RT_CACHE_EAGER, out);
    struct stat st;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) unlink(path); /* a pipe or a device is no place for a new one */
    close(fd);
    if (rc == RT_EDATA || rc == RT_EIO) {
        rt_warn(log, "damaged token cache, made anew: %s", rt_error_get()->text);
        rt_error_clear();
        return RT_OK;
    }
    if (rc == RT_OK) {
        (*out)->stats.from_cache = true;
        rt_warn_dropped(spec, (*out)->header.dropped, NULL, log);
    }
    return rc;
}

static rt_status check_rows_found(const rt_data_spec *spec, const rt_cache_header *h, rt_log *log) {
    if (h->bad_rows > 0)
        rt_warn(log, "%s: %llu bad rows were skipped (data.on_bad_row = skip), %llu rows remain", spec->files[0],
                (unsigned long long)h->bad_rows, (unsigned long long)h->rows);
    if (h->rows == 0 && (spec->need_label || spec->apart))
        return rt_fail(RT_EDATA, "%s: no rows below the header%s",
                       strcmp(spec->files[0], "-") ? spec->files[0] : "stdin",
                       h->left_out   ? " that were clicked"
                       : h->bad_rows ? " but bad ones"
                                     : "");
    return RT_OK;
}

/* A file that changed while it was read would leave a cache under a key that is not its own. */
static rt_status check_unchanged(const rt_data_spec *spec, const rt_file_state *states) {
    for (int i = 0; i < spec->n_files; i++) {
        rt_file_state now;
        bool regular;
        RT_TRY(rt_file_state_get(spec->files[i], &now, &regular));
        if (!rt_file_state_same(&now, &states[i]))
            return rt_fail(RT_EDATA, "%s: changed while it was being read; start again when it is complete",
                           spec->files[i]);
    }
    return RT_OK;
}

static rt_status make(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                      void *context, int fd, const char *name, const char *folder, rt_digest128 key) {
    rt_cache_writer w;
    rt_cache_header h = {.key = key};
    rt_status rc = RT_OK;
    RT_GO(rt_cache_writer_open(&w, fd, name, folder));
    RT_GO(rt_dataset_build(spec, tok, log, progress, context, &w, &h));
    RT_GO(check_rows_found(spec, &h, log));
    RT_GO(rt_cache_writer_finish(&w, &h));
done:
    rt_cache_writer_close(&w);
    return rc;
}

static rt_status make_in_memory(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                                void *context, rt_dataset **out) {
    const char *name = "tokens in memory";
    const char *folder = spec->scratch_folder;
    int fd = -1;
    if (folder)
        RT_TRY(rt_unnamed_file(folder, &fd));
    else if ((fd = memfd_create("rectrain-tokens", MFD_CLOEXEC)) < 0)
        return rt_fail(RT_EUNAVAILABLE, "%s: %s", name, strerror(errno));
    rt_status rc = make(spec, tok, log, progress, context, fd, name, folder, (rt_digest128){0});
    if (rc == RT_OK) rc = rt_cache_open(fd, name, NULL, spec, tok, 0, out);
    close(fd);
    return rc;
}

static rt_status make_cache(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                            void *context, const char *path, rt_digest128 key, const rt_file_state *states,
                            rt_dataset **out) {
    rt_atomic file = {0};
    rt_status rc = rt_atomic_begin(&file, path);
    if (rc != RT_OK) {
        rt_warn(log, "%s; going on with the tokens in memory", rt_error_get()->text);
        rt_error_clear();
        return make_in_memory(spec, tok, log, progress, context, out);
    }
    RT_GO(make(spec, tok, log, progress, context, file.fd, path, spec->cache_folder, key));
    RT_GO(check_unchanged(spec, states));
    /* Opened before it gets its name: whoever replaces or removes the file after that takes nothing from us. */
    RT_GO(rt_cache_open(file.fd, path, &key, spec, tok, 0, out));
    RT_GO(rt_atomic_commit(&file));
done:
    if (rc != RT_OK) {
        rt_dataset_close(*out);
        *out = NULL;
    }
    rt_atomic_abort(&file);
    return rc;
}

static char *cache_path(const char *folder, rt_digest128 key) {
    char hex[33], name[48];
    rt_digest_hex(key, hex);
    snprintf(name, sizeof name, "%s.tokens", hex);
    return rt_path_join(folder, name);
}

static rt_status open_cached(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                             void *context, rt_file_state *states, rt_dataset **out) {
    rt_digest128 key;
    if (rt_make_folders(spec->cache_folder) != RT_OK) {
        rt_warn(log, "%s; going on with the tokens in memory", rt_error_get()->text);
        rt_error_clear();
        return make_in_memory(spec, tok, log, progress, context, out);
    }
    RT_TRY(rt_dataset_key(spec, tok, progress, context, states, &key));
    char *path = cache_path(spec->cache_folder, key);
    if (!path) return rt_fail(RT_ENOMEM, "no memory for the token cache's name");
    rt_status rc = try_cache(path, &key, spec, tok, log, out);
    if (rc == RT_OK && !*out) rc = make_cache(spec, tok, log, progress, context, path, key, states, out);
    if (rc == RT_OK) (*out)->folder = rt_strdup(spec->cache_folder); /* without memory for it nothing is kept there */
    free(path);
    return rc;
}

rt_status rt_dataset_open(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                          void *context, rt_dataset **out) {
    *out = NULL;
    double start = rt_clock_seconds();
    RT_TRY(check_spec(spec));
    rt_status rc = RT_OK;
    rt_file_state *states = calloc((size_t)spec->n_files, sizeof *states);
    if (!states) return rt_fail(RT_ENOMEM, "no memory for %d file names", spec->n_files);
    bool cached = spec->cache_folder && *spec->cache_folder;
    for (int i = 0; i < spec->n_files; i++) {
        bool regular;
        RT_GO(rt_file_state_get(spec->files[i], &states[i], &regular));
        cached = cached && regular;
    }
    rc = cached ? open_cached(spec, tok, log, progress, context, states, out)
                : make_in_memory(spec, tok, log, progress, context, out);
    if (rc == RT_OK) (*out)->stats.seconds = rt_clock_seconds() - start;
done:
    free(states);
    return rc;
}

int rt_dataset_sides(const rt_dataset *ds) {
    return ds->sides;
}
uint32_t rt_dataset_examples(const rt_dataset *ds) {
    return (uint32_t)(ds->header.rows / (uint64_t)ds->sides);
}
rt_status rt_dataset_hashes(const rt_dataset *ds, rt_dataset_hash which, uint32_t first, uint32_t n, uint64_t *out) {
    static const rt_section_kind kinds[] = {RT_SECTION_TEXTS, RT_SECTION_USERS, RT_SECTION_ITEMS};
    memset(out, 0, (size_t)n * sizeof *out);
    return rt_section_has(ds, kinds[which]) ? rt_section_read(ds, kinds[which], first, n, out) : RT_OK;
}
const rt_data_stats *rt_dataset_stats(const rt_dataset *ds) {
    return &ds->stats;
}
uint32_t rt_dataset_rows(const rt_dataset *ds) {
    return (uint32_t)ds->header.rows;
}
const int32_t *rt_dataset_labels(const rt_dataset *ds) {
    return ds->labels;
}
const float *rt_dataset_weights(const rt_dataset *ds) {
    return ds->weights;
}
const uint16_t *rt_dataset_lengths(const rt_dataset *ds) {
    return ds->lengths;
}
const uint32_t *rt_dataset_groups(const rt_dataset *ds) {
    return ds->groups;
}
bool rt_dataset_has_groups(const rt_dataset *ds) {
    return rt_section_has(ds, RT_SECTION_GROUPS);
}
uint32_t rt_dataset_group_count(const rt_dataset *ds) {
    return ds->header.n_groups;
}
rt_digest128 rt_dataset_digest(const rt_dataset *ds) {
    return ds->header.content;
}
uint32_t rt_dataset_one_class_groups(const rt_dataset *ds) {
    return ds->header.one_class_groups;
}
