#include "data_check_keep.h"
#include <stdlib.h>
#include <string.h>

/* A file: what it is of, numbers, the names of slices, each with its NUL, and a digest of all that. */
typedef struct {
    char magic[8];
    uint32_t version, max_length;
    rt_digest128 keys[2]; /* the second is zero for a check of one set */
    uint64_t n_numbers, name_bytes;
} found_header;

#define MAGIC "RTFOUND"

/* Numbers of a check before those of its slices. */
enum { CHECK_NUMBERS = 10, AGAINST_NUMBERS = 8, FILE_LIMIT = 1 << 20 };

static void fill_header(found_header *h, const rt_dataset *ds, const rt_dataset *other, int max_length) {
    memset(h, 0, sizeof *h);
    memcpy(h->magic, MAGIC, sizeof h->magic);
    h->version = RT_FINDINGS_VERSION;
    h->max_length = (uint32_t)max_length;
    h->keys[0] = ds->header.key;
    if (other) h->keys[1] = other->header.key;
}

static char *path_of(const rt_dataset *ds, const found_header *h) {
    char hex[33], name[48];
    rt_digest_hex(rt_hash128(h, offsetof(found_header, n_numbers)), hex);
    snprintf(name, sizeof name, "%s.found", hex);
    return rt_path_join(ds->folder, name);
}

/* The numbers and names of the file, if it is whole and of these sets. *data is the caller's. */
static bool recall(const rt_dataset *ds, const rt_dataset *other, int max_length, found_header *h, char **data,
                   const uint64_t **numbers, const char **names) {
    found_header wanted;
    size_t size = 0;
    *data = NULL;
    if (!ds->folder || (other && !other->folder)) return false;
    fill_header(&wanted, ds, other, max_length);
    char *path = path_of(ds, &wanted);
    bool good = path && rt_file_exists(path);
    if (good && rt_file_read(path, FILE_LIMIT, data, &size) != RT_OK) {
        rt_error_clear();
        good = false;
    }
    free(path);
    if (!good || size < sizeof *h + sizeof(rt_digest128)) return false;
    rt_digest128 found = rt_hash128(*data, size - sizeof found);
    memcpy(h, *data, sizeof *h);
    if (memcmp(h, &wanted, offsetof(found_header, n_numbers)) != 0 ||
        memcmp(&found, *data + size - sizeof found, sizeof found) != 0 || h->n_numbers > FILE_LIMIT ||
        h->name_bytes > FILE_LIMIT || size != sizeof *h + h->n_numbers * 8 + h->name_bytes + sizeof found)
        return false;
    *numbers = (const uint64_t *)(const void *)(*data + sizeof *h);
    *names = *data + sizeof *h + h->n_numbers * 8;
    return h->name_bytes == 0 || (*names)[h->name_bytes - 1] == 0;
}

static void keep(const rt_dataset *ds, const rt_dataset *other, int max_length, const uint64_t *numbers, size_t n,
                 const rt_text *names) {
    found_header h;
    rt_text file = {0};
    if (!ds->folder || (other && !other->folder)) return;
    fill_header(&h, ds, other, max_length);
    char *path = path_of(ds, &h);
    h.n_numbers = n;
    h.name_bytes = names ? names->size : 0;
    rt_text_append(&file, (const char *)&h, sizeof h);
    rt_text_append(&file, (const char *)numbers, n * sizeof *numbers);
    if (h.name_bytes) rt_text_append(&file, names->data, names->size);
    if (path && !file.failed && file.size < FILE_LIMIT) {
        rt_digest128 digest = rt_hash128(file.data, file.size);
        rt_text_append(&file, (const char *)&digest, sizeof digest);
        if (!file.failed) rt_sidecar_write(path, file.data, file.size);
    }
    rt_text_free(&file);
    free(path);
}

bool rt_data_check_recall(const rt_dataset *ds, rt_data_check *out) {
    found_header h;
    char *data;
    const uint64_t *v;
    const char *name;
    bool good = recall(ds, NULL, out->max_length, &h, &data, &v, &name);
    const char *end = good ? name + h.name_bytes : NULL;
    uint64_t n = good && h.n_numbers >= CHECK_NUMBERS ? (h.n_numbers - CHECK_NUMBERS) / 2 : 0;
    good = good && h.n_numbers == CHECK_NUMBERS + 2 * n;
    rt_check_slice *slices = good ? calloc((size_t)n + 1, sizeof *slices) : NULL;
    good = good && slices;
    for (uint64_t i = 0; i < n && good; i++) {
        good = name < end && (slices[i].name = rt_strdup(name)) != NULL;
        slices[i].rows = v[CHECK_NUMBERS + 2 * i];
        slices[i].clicks = v[CHECK_NUMBERS + 2 * i + 1];
        if (good) name += strlen(name) + 1;
    }
    if (good) {
        out->duplicates = v[0], out->contradictory_pairs = v[1], out->contradictory_rows = v[2];
        out->p50 = (int)v[3], out->p95 = (int)v[4], out->p99 = (int)v[5], out->cut = v[6];
        out->first = (int64_t)v[7], out->last = (int64_t)v[8], out->without_time = v[9];
        out->by_slice = slices;
        out->n_slices = (uint32_t)n;
    } else {
        for (uint64_t i = 0; slices && i < n; i++) free(slices[i].name);
        free(slices);
    }
    free(data);
    return good;
}

void rt_data_check_keep(const rt_dataset *ds, const rt_data_check *c) {
    rt_text names = {0};
    uint64_t *v = calloc(CHECK_NUMBERS + 2 * (size_t)c->n_slices, sizeof *v);
    if (!v) return;
    v[0] = c->duplicates, v[1] = c->contradictory_pairs, v[2] = c->contradictory_rows;
    v[3] = (uint64_t)c->p50, v[4] = (uint64_t)c->p95, v[5] = (uint64_t)c->p99, v[6] = c->cut;
    v[7] = (uint64_t)c->first, v[8] = (uint64_t)c->last, v[9] = c->without_time;
    for (uint32_t i = 0; i < c->n_slices; i++) {
        v[CHECK_NUMBERS + 2 * i] = c->by_slice[i].rows;
        v[CHECK_NUMBERS + 2 * i + 1] = c->by_slice[i].clicks;
        rt_text_append(&names, c->by_slice[i].name, strlen(c->by_slice[i].name) + 1);
    }
    if (!names.failed) keep(ds, NULL, c->max_length, v, CHECK_NUMBERS + 2 * (size_t)c->n_slices, &names);
    rt_text_free(&names);
    free(v);
}

bool rt_data_against_recall(const rt_dataset *ds, const rt_dataset *other, rt_data_against *out) {
    found_header h;
    char *data;
    const uint64_t *v;
    const char *names;
    bool good = recall(ds, other, 0, &h, &data, &v, &names) && h.n_numbers == AGAINST_NUMBERS;
    if (good)
        *out = (rt_data_against){.shared = {v[0], v[1], v[2], v[3] != 0, v[4] != 0},
                                 .has_times = v[5] != 0,
                                 .overlaps = v[6] != 0,
                                 .not_newer = v[7]};
    free(data);
    return good;
}

void rt_data_against_keep(const rt_dataset *ds, const rt_dataset *other, const rt_data_against *a) {
    const uint64_t v[AGAINST_NUMBERS] = {a->shared.rows,      a->shared.users, a->shared.items, a->shared.has_users,
                                         a->shared.has_items, a->has_times,    a->overlaps,     a->not_newer};
    keep(ds, other, 0, v, AGAINST_NUMBERS, NULL);
}
