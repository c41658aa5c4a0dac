/* Writing. libhdf5 describes the file into an image in memory; our own reader then finds in it where data go, so that
 * what could not be read back is never written; data go from the caller's memory to the file with pwrite. */
#include "../base/file.h"
#include "h5_image.h"
#include "h5_schema.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *path;
    const rt_checkpoint_contents *contents;
    rt_blob blobs[RT_BLOB_COUNT];
    const rt_tensor_view *sections[RT_SECTIONS];
    int counts[RT_SECTIONS];
    bool resumable;
    uint64_t *sums[RT_SECTIONS]; /* XXH3 of each tensor */
} writer;

static bool same_shape(const rt_tensor_view *a, const rt_tensor_view *b) {
    return a->rank == b->rank && a->shape[0] == b->shape[0] && (a->rank == 1 || a->shape[1] == b->shape[1]);
}

static size_t tensor_bytes(const rt_tensor_view *t) {
    return (size_t)t->shape[0] * (size_t)(t->rank == 2 ? t->shape[1] : 1) * sizeof(float);
}

static rt_status check_view(const writer *w, const rt_tensor_view *t) {
    int64_t n = 0;
    if (!t->name || !rt_h5_name_ok(t->name))
        return rt_fail(RT_EINTERNAL, "%s: tensor name \"%s\" cannot be stored", w->path, t->name ? t->name : "");
    if ((t->rank != 1 && t->rank != 2) || t->shape[0] < 1 || (t->rank == 2 && t->shape[1] < 1) || !t->data ||
        __builtin_mul_overflow(t->shape[0], t->rank == 2 ? t->shape[1] : 1, &n) || n > INT64_C(1) << 40)
        return rt_fail(RT_EINTERNAL, "%s: tensor %s cannot be stored: rank %d, shape [%lld, %lld]", w->path, t->name,
                       t->rank, (long long)t->shape[0], (long long)t->shape[1]);
    return RT_OK;
}

static rt_status check_contents(const writer *w) {
    const rt_checkpoint_contents *c = w->contents;
    if (c->n_tensors < 1 || c->n_moments < 0 || (c->n_moments > 0 && (!c->m || !c->v)) ||
        w->resumable != (c->m != NULL && c->v != NULL) || (c->m != NULL) != (c->v != NULL))
        return rt_fail(RT_EINTERNAL, "%s: a checkpoint needs tensors, and both moments and state or none", w->path);
    for (int s = 0; s < RT_SECTIONS; s++)
        for (int i = 0; i < w->counts[s]; i++) RT_TRY(check_view(w, &w->sections[s][i]));
    for (int i = 0; i < w->counts[RT_SECTION_ADAM_M]; i++)
        if (strcmp(c->m[i].name, c->v[i].name) != 0 || !same_shape(&c->m[i], &c->v[i]))
            return rt_fail(RT_EINTERNAL, "%s: moments %s and %s differ", w->path, c->m[i].name, c->v[i].name);
    return RT_OK;
}

static rt_status hash_tensors(writer *w) {
    for (int s = 0; s < RT_SECTIONS; s++) {
        w->sums[s] = calloc((size_t)w->counts[s] + 1, sizeof *w->sums[s]);
        if (!w->sums[s]) return rt_fail(RT_ENOMEM, "%s: out of memory", w->path);
#pragma omp parallel for schedule(dynamic)
        for (int i = 0; i < w->counts[s]; i++)
            w->sums[s][i] = rt_hash64(w->sections[s][i].data, tensor_bytes(&w->sections[s][i]));
    }
    return RT_OK;
}

/* --- libhdf5's part ----------------------------------------------------------------------------------------------- */

typedef struct {
    hid_t driver, access, create, file, dataset, scalar, text;
} handles;

static int put_attribute(hid_t object, const handles *h, const char *name, hid_t file_type, hid_t type,
                         const void *value) {
    hid_t a = H5Acreate2(object, name, file_type, h->scalar, H5P_DEFAULT, H5P_DEFAULT);
    if (a < 0) return -1;
    int failed = H5Awrite(a, type, value) < 0;
    return H5Aclose(a) < 0 || failed ? -1 : 0;
}

static int put_dataset(hid_t group, const handles *h, const char *name, hid_t type, int rank, const hsize_t *dims,
                       uint64_t sum) {
    int rc = -1;
    hid_t d = -1, space = H5Screate_simple(rank, dims, NULL);
    if (space < 0) return -1;
    d = H5Dcreate2(group, name, type, space, H5P_DEFAULT, h->dataset, H5P_DEFAULT);
    if (d >= 0 && put_attribute(d, h, "xxh3", H5T_STD_U64LE, H5T_NATIVE_UINT64, &sum) == 0) rc = 0;
    if (d >= 0 && H5Dclose(d) < 0) rc = -1;
    if (H5Sclose(space) < 0) rc = -1;
    return rc;
}

static int put_section(const writer *w, const handles *h, int s) {
    int rc = 0;
    hid_t plain = H5Pcreate(H5P_GROUP_CREATE), group = -1;
    if (plain < 0) return -1;
    if (H5Pset_obj_track_times(plain, 0) >= 0)
        group = H5Gcreate2(h->file, rt_section_names[s], H5P_DEFAULT, plain, H5P_DEFAULT);
    if (group < 0) rc = -1;
    for (int i = 0; rc == 0 && i < w->counts[s]; i++) {
        const rt_tensor_view *t = &w->sections[s][i];
        hsize_t dims[2] = {(hsize_t)t->shape[0], t->rank == 2 ? (hsize_t)t->shape[1] : 1};
        rc = put_dataset(group, h, t->name, H5T_IEEE_F32LE, t->rank, dims, w->sums[s][i]);
    }
    if (group >= 0 && H5Gclose(group) < 0) rc = -1;
    if (H5Pclose(plain) < 0) rc = -1;
    return rc;
}

/* Room for all headers in one block (a dataset takes about 500 bytes with its names and index), so that opening reads
 * one place of the disk. */
static hsize_t description_bytes(const writer *w) {
    hsize_t n = RT_BLOB_COUNT + 8;
    for (int s = 0; s < RT_SECTIONS; s++) n += (hsize_t)w->counts[s];
    return n * 512;
}

static int open_handles(const writer *w, rt_h5_image *image, handles *h) {
    if (rt_h5_driver_new(image, &h->driver, &h->access) != RT_OK) return -1;
    if (H5Pset_libver_bounds(h->access, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST) < 0 ||
        H5Pset_meta_block_size(h->access, description_bytes(w)) < 0)
        return -1;
    h->create = H5Pcreate(H5P_FILE_CREATE);
    if (h->create < 0 || H5Pset_obj_track_times(h->create, 0) < 0) return -1;
    h->file = H5Fcreate("rectrain-image", H5F_ACC_TRUNC, h->create, h->access);
    h->dataset = H5Pcreate(H5P_DATASET_CREATE);
    h->scalar = H5Screate(H5S_SCALAR);
    h->text = H5Tcopy(H5T_C_S1);
    if (h->file < 0 || h->dataset < 0 || h->scalar < 0 || h->text < 0) return -1;
    if (H5Pset_layout(h->dataset, H5D_CONTIGUOUS) < 0 || H5Pset_alloc_time(h->dataset, H5D_ALLOC_TIME_EARLY) < 0 ||
        H5Pset_fill_time(h->dataset, H5D_FILL_TIME_NEVER) < 0 || H5Pset_obj_track_times(h->dataset, 0) < 0)
        return -1;
    return 0;
}

static int put_root(const handles *h) {
    int version = RT_CHECKPOINT_VERSION;
    uint64_t seal = 0;
    char zeros[33] = "00000000000000000000000000000000"; /* the real digest is put here once places are known */
    if (H5Tset_size(h->text, strlen(RT_CHECKPOINT_FORMAT)) < 0 || H5Tset_strpad(h->text, H5T_STR_NULLPAD) < 0 ||
        put_attribute(h->file, h, "format", h->text, h->text, RT_CHECKPOINT_FORMAT) < 0 ||
        put_attribute(h->file, h, "version", H5T_STD_I32LE, H5T_NATIVE_INT, &version) < 0 ||
        H5Tset_size(h->text, 32) < 0 || put_attribute(h->file, h, "digest", h->text, h->text, zeros) < 0 ||
        put_attribute(h->file, h, "seal", H5T_STD_U64LE, H5T_NATIVE_UINT64, &seal) < 0)
        return -1;
    return 0;
}

static int close_handles(handles *h) {
    int rc = 0;
    if (h->text >= 0 && H5Tclose(h->text) < 0) rc = -1;
    if (h->scalar >= 0 && H5Sclose(h->scalar) < 0) rc = -1;
    if (h->dataset >= 0 && H5Pclose(h->dataset) < 0) rc = -1;
    if (h->create >= 0 && H5Pclose(h->create) < 0) rc = -1;
    if (h->file >= 0 && H5Fclose(h->file) < 0) rc = -1;
    rt_h5_driver_done(h->driver, h->access);
    return rc;
}

/* libhdf5 is one instance a process and not thread-safe as Debian builds it; its state, not ours, needs the lock. */
static pthread_mutex_t hdf5_lock = PTHREAD_MUTEX_INITIALIZER;

static rt_status describe(const writer *w, rt_h5_image *image) {
    handles h = {-1, -1, -1, -1, -1, -1, -1};
    H5E_auto2_t old = NULL;
    void *old_context = NULL;
    int failed;
    /* Without memory for its own beginning libhdf5 ends in SIGSEGV: it looks for its error stack, which it could not
     * make. What it takes for a file of metadata is less than this. */
    void *room = malloc((size_t)8 << 20);
    free(room);
    if (!room) return rt_fail(RT_ENOMEM, "%s: no memory to write it", w->path);
    pthread_mutex_lock(&hdf5_lock);
    failed = H5open() < 0;
    H5Eget_auto2(H5E_DEFAULT, &old, &old_context);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* errors come back as codes, never as prints */
    H5PLset_loading_state(0);              /* no code named by HDF5_PLUGIN_PATH */
    failed = failed || open_handles(w, image, &h) < 0 || put_root(&h) < 0;
    for (int b = 0; !failed && b < RT_BLOB_COUNT; b++) {
        hsize_t size = w->blobs[b].size;
        if (w->blobs[b].bytes)
            failed = put_dataset(h.file, &h, rt_blob_names[b], H5T_STD_U8LE, 1, &size,
                                 rt_hash64(w->blobs[b].bytes, w->blobs[b].size)) < 0;
    }
    for (int s = 0; !failed && s < RT_SECTIONS; s++)
        if (s == RT_SECTION_MODEL || w->resumable) failed = put_section(w, &h, s) < 0;
    failed = close_handles(&h) < 0 || failed;
    H5Eset_auto2(H5E_DEFAULT, old, old_context);
    pthread_mutex_unlock(&hdf5_lock);
    if (failed)
        return rt_fail(RT_EUNAVAILABLE,
                       "%s: libhdf5 could not describe the checkpoint (out of memory, or two tensors "
                       "of one name)",
                       w->path);
    return RT_OK;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

static rt_status read_image(void *context, uint64_t at, void *out, size_t size) {
    rt_h5_image_read(context, at, out, size);
    return RT_OK;
}

/* Fills digest and seal into the description, and checks that it says what was meant. */
static rt_status finish_description(const writer *w, rt_h5_image *image, rt_h5_schema *schema) {
    rt_h5_bytes bytes = {read_image, image, image->end, w->path};
    rt_h5_schema again = {0};
    char digest[33];
    uint64_t seal;
    unsigned char b[8];
    RT_TRY(rt_h5_schema_read(&bytes, true, schema));
    for (int s = 0; s < RT_SECTIONS; s++)
        if (schema->sections[s].n != w->counts[s])
            return rt_fail(RT_EINTERNAL, "%s: the description lost tensors", w->path);
    RT_TRY(rt_h5_schema_digest(schema, digest));
    RT_TRY(rt_h5_image_write(image, schema->digest_at, digest, 32));
    RT_TRY(rt_h5_schema_seal(&bytes, schema, &seal));
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)(seal >> (8 * i));
    RT_TRY(rt_h5_image_write(image, schema->seal_at, b, sizeof b));
    rt_status rc = rt_h5_schema_read(&bytes, false, &again);
    rt_h5_schema_free(&again);
    return rc;
}

static rt_status put_description(rt_atomic *file, const rt_h5_image *image, uint64_t at, uint64_t end) {
    unsigned char piece[1 << 14];
    while (at < end) {
        size_t n = end - at < sizeof piece ? (size_t)(end - at) : sizeof piece;
        rt_h5_image_read(image, at, piece, n);
        RT_TRY(rt_atomic_pwrite(file, piece, n, at));
        at += n;
    }
    return RT_OK;
}

static rt_status put_data(const writer *w, rt_atomic *file, const rt_h5_schema *schema) {
    for (int b = 0; b < RT_BLOB_COUNT; b++)
        if (w->blobs[b].size) RT_TRY(rt_atomic_pwrite(file, w->blobs[b].bytes, w->blobs[b].size, schema->blobs[b].at));
    for (int s = 0; s < RT_SECTIONS; s++) {
        for (int i = 0; i < w->counts[s]; i++) {
            const rt_tensor_view *t = &w->sections[s][i];
            const rt_h5_tensor *row = rt_h5_schema_find(schema, (rt_section)s, t->name);
            if (!row || row->size != tensor_bytes(t))
                return rt_fail(RT_EINTERNAL, "%s: the description lost %s", w->path, t->name);
            RT_TRY(rt_atomic_pwrite(file, t->data, tensor_bytes(t), row->at));
        }
    }
    return RT_OK;
}

static rt_status put_file(const writer *w, const rt_h5_image *image, const rt_h5_schema *schema) {
    rt_status rc;
    rt_atomic file = {0};
    uint64_t at = 0;
    RT_GO(rt_atomic_begin(&file, w->path));
    for (int i = 0; i <= schema->n_extents; i++) {
        uint64_t end = i < schema->n_extents ? schema->extents[i].at : image->end;
        RT_GO(put_description(&file, image, at, end));
        if (i < schema->n_extents) at = end + schema->extents[i].size;
    }
    RT_GO(put_data(w, &file, schema));
    RT_GO(rt_atomic_commit(&file));
done:
    rt_atomic_abort(&file);
    return rc;
}

rt_status rt_checkpoint_write(const char *path, const rt_checkpoint_contents *c) {
    rt_status rc;
    rt_h5_image image = {0};
    rt_h5_schema schema = {0};
    writer w = {.path = path,
                .contents = c,
                .blobs = {c->config_json, c->vocab_txt, c->tokenizer_config_json, c->config_ini, c->state},
                .sections = {c->tensors, c->m, c->v},
                .counts = {c->n_tensors, c->n_moments, c->n_moments},
                .resumable = c->state.bytes != NULL};
    RT_GO(check_contents(&w));
    RT_GO(hash_tensors(&w));
    RT_GO(describe(&w, &image));
    RT_GO(finish_description(&w, &image, &schema));
    RT_GO(put_file(&w, &image, &schema));
done:
    for (int s = 0; s < RT_SECTIONS; s++) free(w.sums[s]);
    rt_h5_schema_free(&schema);
    rt_h5_image_free(&image);
    return rc;
}
