/* Opening a token cache and reading from it. */
#include "dataset_internal.h"
#include "slices.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of one read: large enough to be worth a call, small enough to be hashed out of the processor's cache. */
enum { READ_BLOCKS = 32, WINDOW = 8192 };

const unsigned char rt_section_width[RT_SECTIONS] = {0, 2, 2, 4, 4, 8, 8, 8, 8, 2, 1};
const char *const rt_cache_section_name[RT_SECTIONS] = {"ids",   "lengths", "labels", "weights", "groups",     "texts",
                                                        "users", "items",   "times",  "slices",  "slice names"};

static uint64_t round_up(uint64_t n) {
    return (n + RT_CACHE_BLOCK - 1) / RT_CACHE_BLOCK * RT_CACHE_BLOCK;
}

bool rt_cache_lay_out(const rt_cache_header *h, rt_cache_layout *out) {
    const uint64_t most = (uint64_t)1 << 60; /* of all together: sums of a few such do not overflow */
    uint64_t at = RT_CACHE_BLOCK;
    for (int k = 0; k < RT_SECTIONS; k++) {
        if (h->section_bytes[k] > most || at > most) return false;
        out->at[k] = at;
        at = round_up(at + h->section_bytes[k]);
    }
    out->at[RT_SECTIONS] = at;
    out->blocks = at / RT_CACHE_BLOCK - 1;
    out->file_bytes = at + out->blocks * sizeof(uint64_t);
    return true;
}

/* Of all that changes what a run computes: not of hashes for the data check, nor of counts. */
rt_digest128 rt_cache_content(const rt_cache_header *h, const rt_cache_layout *layout, const uint64_t *digests) {
    enum { KINDS = 5 };
    struct {
        uint64_t rows, tokens, id_bytes;
        rt_digest128 sections[KINDS];
    } all = {.rows = h->rows, .tokens = h->tokens, .id_bytes = h->id_bytes};
    for (int k = 0; k < KINDS; k++) { /* the first sections are those that matter */
        uint64_t first = layout->at[k] / RT_CACHE_BLOCK - 1, end = layout->at[k + 1] / RT_CACHE_BLOCK - 1;
        all.sections[k] = rt_hash128(digests + first, (size_t)(end - first) * sizeof *digests);
    }
    return rt_hash128(&all, sizeof all);
}

rt_digest128 rt_cache_self(const rt_cache_header *h) {
    return rt_hash128(h, offsetof(rt_cache_header, self));
}

static bool same(rt_digest128 a, rt_digest128 b) {
    return a.high == b.high && a.low == b.low;
}

static rt_status wrong(const char *name, const char *what) {
    return rt_fail(RT_EDATA, "%s: %s", name, what);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static rt_status read_at(const rt_dataset *ds, void *out, size_t size, uint64_t at) {
    unsigned char *p = out;
    while (size > 0) {
        ssize_t n = pread(ds->fd, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return rt_fail(RT_EIO, "%s: cannot be read: %s", ds->name, strerror(errno));
        if (n == 0)
            return rt_fail(RT_EDATA, "%s: cut off at byte %llu of %llu; start again, and the rows are tokenised anew",
                           ds->name, (unsigned long long)at, (unsigned long long)ds->header.file_bytes);
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return RT_OK;
}

/* Blocks first .. first + n - 1 as they are in the file, each held against its digest. */
static rt_status read_blocks(const rt_dataset *ds, uint64_t first, size_t n, unsigned char *out) {
    RT_TRY(read_at(ds, out, n * RT_CACHE_BLOCK, (first + 1) * RT_CACHE_BLOCK));
    for (size_t i = 0; i < n; i++) {
        if (rt_hash64(out + i * RT_CACHE_BLOCK, RT_CACHE_BLOCK) == ds->digests[first + i]) continue;
        uint64_t at = (first + i + 1) * RT_CACHE_BLOCK;
        int k = RT_SECTIONS - 1;
        while (k > 0 && (ds->layout.at[k] > at || !ds->header.section_bytes[k])) k--;
        return rt_fail(RT_EDATA,
                       "%s: bytes %llu to %llu, section %s, do not fit their checksum: the file was altered, or the "
                       "disk is failing; remove it and start again, and the rows are tokenised anew",
                       ds->name, (unsigned long long)at, (unsigned long long)(at + RT_CACHE_BLOCK - 1),
                       rt_cache_section_name[k]);
    }
    return RT_OK;
}

/* Any bytes between the header and the digests: whole blocks go straight to their place. */
static rt_status read_checked(const rt_dataset *ds, uint64_t at, size_t size, void *out) {
    unsigned char *to = out, part[RT_CACHE_BLOCK];
    while (size > 0) {
        uint64_t block = at / RT_CACHE_BLOCK - 1;
        size_t skip = (size_t)(at % RT_CACHE_BLOCK), n;
        if (skip || size < RT_CACHE_BLOCK) {
            n = RT_CACHE_BLOCK - skip < size ? RT_CACHE_BLOCK - skip : size;
            RT_TRY(read_blocks(ds, block, 1, part));
            memcpy(to, part + skip, n);
        } else {
            size_t blocks = size / RT_CACHE_BLOCK < READ_BLOCKS ? size / RT_CACHE_BLOCK : READ_BLOCKS;
            n = blocks * RT_CACHE_BLOCK;
            RT_TRY(read_blocks(ds, block, blocks, to));
        }
        to += n;
        at += n;
        size -= n;
    }
    return RT_OK;
}

static size_t width_of(const rt_dataset *ds, rt_section_kind kind) {
    return rt_section_width[kind] ? rt_section_width[kind] : ds->header.id_bytes;
}

bool rt_section_has(const rt_dataset *ds, rt_section_kind kind) {
    return ds->header.section_bytes[kind] > 0;
}

rt_status rt_section_read(const rt_dataset *ds, rt_section_kind kind, uint64_t first, size_t n, void *out) {
    size_t width = width_of(ds, kind);
    uint64_t values = ds->header.section_bytes[kind] / width;
    if (first > values || n > values - first)
        return rt_fail(RT_EINTERNAL, "%s: values %llu to %llu of section %s, which has %llu", ds->name,
                       (unsigned long long)first, (unsigned long long)(first + n), rt_cache_section_name[kind],
                       (unsigned long long)values);
    if (ds->stop && ds->stop()) return rt_fail(RT_ESTOPPED, "%s: stopped while it was looked through", ds->name);
    return read_checked(ds, ds->layout.at[kind] + first * width, n * width, out);
}

void rt_dataset_stop_when(rt_dataset *ds, bool (*stop)(void)) {
    ds->stop = stop;
}

rt_status rt_dataset_tokens(const rt_dataset *ds, uint32_t row, int32_t *ids, int *split) {
    const int n = ds->lengths[row];
    const size_t width = ds->header.id_bytes;
    uint64_t from = ds->starts[row / RT_START_EVERY];
    for (uint32_t r = row / RT_START_EVERY * RT_START_EVERY; r < row; r++) from += 1u + ds->lengths[r];
    uint64_t at = RT_CACHE_BLOCK + from * width;
    _Alignas(8) unsigned char block[RT_CACHE_BLOCK];
    for (int t = -1; t < n;) { /* -1: the split stands before the ids */
        RT_TRY(read_blocks(ds, at / RT_CACHE_BLOCK - 1, 1, block));
        for (size_t i = (size_t)(at % RT_CACHE_BLOCK); i < RT_CACHE_BLOCK && t < n; i += width, at += width, t++) {
            int32_t value =
                width == 2 ? *(const uint16_t *)(const void *)(block + i) : *(const int32_t *)(const void *)(block + i);
            if (t < 0)
                *split = value;
            else
                ids[t] = (uint32_t)value < ds->vocab ? value : ds->unknown_id;
        }
    }
    if (*split < 0 || *split > n) return rt_fail(RT_EDATA, "%s: row %u: impossible split", ds->name, row);
    return RT_OK;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static rt_status check_header(rt_dataset *ds, const unsigned char *block, uint64_t size, const rt_digest128 *key,
                              const rt_data_spec *spec) {
    const rt_cache_header *h = &ds->header;
    const char *name = ds->name;
    if (memcmp(h->magic, RT_CACHE_MAGIC, sizeof h->magic)) return wrong(name, "no token cache");
    if (h->version != RT_CACHE_VERSION || h->endian != RT_CACHE_ENDIAN) return wrong(name, "of another version");
    unsigned char rest = 0;
    for (size_t i = sizeof *h; i < RT_CACHE_BLOCK; i++) rest |= block[i];
    if (rest || !same(rt_cache_self(h), h->self)) return wrong(name, "its header does not fit its checksum");
    if (h->file_bytes != size) return wrong(name, "cut off, or grown");
    if (key && !same(*key, h->key)) return wrong(name, "of another key");
    ds->sides = spec->apart ? 2 + spec->n_negatives : 1;
    if (h->rows % (uint64_t)ds->sides) return wrong(name, "impossible counts");
    if (h->rows > UINT32_MAX || h->tokens > (uint64_t)1 << 56 || (h->id_bytes != 2 && h->id_bytes != 4) ||
        h->n_slices > RT_SLICE_COLUMNS)
        return wrong(name, "impossible counts");
    if (h->n_slices != (uint32_t)spec->n_slices) return wrong(name, "slices do not fit what is asked for");
    for (uint32_t c = 0; c < h->n_slices; c++)
        if (h->slice_values[c] > RT_SLICE_VALUES) return wrong(name, "impossible slices");
    return RT_OK;
}

/* After this no number of the header leads out of the file. */
static rt_status check_sections(const rt_dataset *ds, const rt_data_spec *spec) {
    const rt_cache_header *h = &ds->header;
    for (int k = 0; k < RT_SECTIONS; k++) {
        uint64_t n = k == RT_SECTION_IDS ? h->rows + h->tokens : h->rows;
        if (k == RT_SECTION_SLICES) n *= h->n_slices;
        if (k == RT_SECTION_SLICE_NAMES) n = h->section_bytes[k];
        bool optional = k >= RT_SECTION_LABELS && k != RT_SECTION_TEXTS && k != RT_SECTION_SLICES;
        if (h->section_bytes[k] == n * width_of(ds, (rt_section_kind)k) || (optional && h->section_bytes[k] == 0))
            continue;
        return rt_fail(RT_EDATA, "%s: section %s has the wrong size", ds->name, rt_cache_section_name[k]);
    }
    if (ds->layout.file_bytes != h->file_bytes) return wrong(ds->name, "sections that do not fill the file");
    if (h->rows > 0 && spec->need_label != rt_section_has(ds, RT_SECTION_LABELS))
        return wrong(ds->name, "labels do not fit what is asked for");
    return RT_OK;
}

static rt_status load_digests(rt_dataset *ds) {
    size_t bytes = (size_t)ds->layout.blocks * sizeof *ds->digests;
    ds->digests = malloc(bytes + 1);
    if (!ds->digests) return rt_fail(RT_ENOMEM, "%s: no memory for its checksums", ds->name);
    RT_TRY(read_at(ds, ds->digests, bytes, ds->layout.at[RT_SECTIONS]));
    if (!same(rt_hash128(ds->digests, bytes), ds->header.digests))
        return wrong(ds->name, "its list of checksums does not fit its own");
    if (!same(rt_cache_content(&ds->header, &ds->layout, ds->digests), ds->header.content))
        return wrong(ds->name, "its content digest does not fit");
    return RT_OK;
}

/* A section whole, in memory of its own. */
static rt_status load(const rt_dataset *ds, rt_section_kind kind, void *out) {
    void **to = out;
    size_t bytes = (size_t)ds->header.section_bytes[kind];
    *to = malloc(bytes + 1);
    if (!*to) return rt_fail(RT_ENOMEM, "%s: no memory for the %s of its rows", ds->name, rt_cache_section_name[kind]);
    return read_checked(ds, ds->layout.at[kind], bytes, *to);
}

/* Values that would lead astray although their checksum is right. */
static rt_status load_lengths(rt_dataset *ds, const rt_data_spec *spec) {
    const rt_cache_header *h = &ds->header;
    const uint32_t rows = (uint32_t)h->rows;
    RT_TRY(load(ds, RT_SECTION_LENGTHS, &ds->lengths));
    ds->starts = malloc(((size_t)rows / RT_START_EVERY + 1) * sizeof *ds->starts);
    if (!ds->starts) return rt_fail(RT_ENOMEM, "%s: no memory for the places of its rows", ds->name);
    uint64_t at = 0;
    uint32_t longest = 0, shortest = UINT16_MAX;
    ds->starts[0] = 0;
    for (uint32_t first = 0; first < rows;) {
        uint32_t n = rows - first < RT_START_EVERY ? rows - first : RT_START_EVERY, sum = n;
        ds->starts[first / RT_START_EVERY] = at;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t length = ds->lengths[first + i];
            sum += length;
            longest = length > longest ? length : longest;
            shortest = length < shortest ? length : shortest;
        }
        at += sum;
        first += n;
    }
    if (rows > 0 && (shortest < 2 || longest > (uint32_t)spec->encode.max_length))
        return wrong(ds->name, "impossible lengths");
    if (at != h->rows + h->tokens || longest != h->max_len) return wrong(ds->name, "counts that do not fit the rows");
    return RT_OK;
}

static rt_status load_labels(rt_dataset *ds, const rt_data_spec *spec) {
    const uint32_t rows = (uint32_t)ds->header.rows, values = spec->n_labels > 2 ? (uint32_t)spec->n_labels : 2;
    if (!rt_section_has(ds, RT_SECTION_LABELS)) return RT_OK;
    ds->labels = malloc((size_t)rows * sizeof *ds->labels);
    if (!ds->labels) return rt_fail(RT_ENOMEM, "%s: no memory for the labels of its rows", ds->name);
    uint16_t window[WINDOW];
    uint32_t largest = 0;
    for (uint32_t first = 0, n; first < rows; first += n) {
        n = rows - first < WINDOW ? rows - first : WINDOW;
        RT_TRY(rt_section_read(ds, RT_SECTION_LABELS, first, n, window));
        for (uint32_t i = 0; i < n; i++) {
            ds->labels[first + i] = window[i];
            largest = window[i] > largest ? window[i] : largest;
        }
    }
    return largest < values ? RT_OK : wrong(ds->name, "impossible labels");
}

static rt_status load_weights(rt_dataset *ds) {
    if (!rt_section_has(ds, RT_SECTION_WEIGHTS)) return RT_OK;
    RT_TRY(load(ds, RT_SECTION_WEIGHTS, &ds->weights));
    uint32_t largest = 0;
    for (uint64_t r = 0; r < ds->header.rows; r++) {
        uint32_t bits;
        memcpy(&bits, &ds->weights[r], sizeof bits);
        largest = bits > largest ? bits : largest;
    }
    /* negative, infinite or NaN */
    return largest < 0x7F800000u ? RT_OK : wrong(ds->name, "impossible weights");
}

static rt_status load_groups(rt_dataset *ds, const rt_data_spec *spec) {
    const rt_cache_header *h = &ds->header;
    if (h->n_groups > h->rows || h->one_class_groups > h->n_groups ||
        (h->n_groups > 0 && !rt_section_has(ds, RT_SECTION_GROUPS)))
        return wrong(ds->name, "counts that do not fit the rows");
    if (!rt_section_has(ds, RT_SECTION_GROUPS) || spec->leave_groups) return RT_OK;
    RT_TRY(load(ds, RT_SECTION_GROUPS, &ds->groups));
    uint32_t seen = 0;
    for (uint64_t r = 0; r < h->rows; r++) {
        if (ds->groups[r] > seen) return wrong(ds->name, "impossible groups");
        seen += ds->groups[r] == seen;
    }
    return seen == h->n_groups ? RT_OK : wrong(ds->name, "counts that do not fit the rows");
}

/* Every block, and the slices. */
static rt_status check_all(const rt_dataset *ds) {
    unsigned char *window = malloc(READ_BLOCKS * RT_CACHE_BLOCK);
    rt_status rc = window ? RT_OK : rt_fail(RT_ENOMEM, "%s: no memory to check it", ds->name);
    for (uint64_t block = 0, n; rc == RT_OK && block < ds->layout.blocks; block += n) {
        n = ds->layout.blocks - block < READ_BLOCKS ? ds->layout.blocks - block : READ_BLOCKS;
        rc = read_blocks(ds, block, (size_t)n, window);
    }
    free(window);
    if (rc != RT_OK) return rc;
    rt_data_slices slices;
    rc = rt_dataset_slices(ds, &slices);
    rt_data_slices_free(&slices);
    return rc;
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

rt_status rt_cache_open(int fd, const char *name, const rt_digest128 *key, const rt_data_spec *spec,
                        const rt_tokenizer *tok, uint64_t eager, rt_dataset **out) {
    *out = NULL;
    rt_status rc = RT_OK;
    struct stat st;
    unsigned char block[RT_CACHE_BLOCK];
    rt_dataset *ds = calloc(1, sizeof *ds);
    if (!ds) return rt_fail(RT_ENOMEM, "%s: no memory to open it", name);
    ds->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    ds->name = rt_strdup(name);
    if (ds->fd < 0 || !ds->name || fstat(ds->fd, &st) != 0) {
        rc = rt_fail(RT_EIO, "%s: %s", name, strerror(errno));
        goto done;
    }
    if (!S_ISREG(st.st_mode) || st.st_size < RT_CACHE_BLOCK) {
        rc = wrong(name, "cut off");
        goto done;
    }
    RT_GO(read_at(ds, block, sizeof block, 0));
    memcpy(&ds->header, block, sizeof ds->header);
    ds->vocab = (uint32_t)rt_tokenizer_size(tok);
    ds->unknown_id = rt_tokenizer_unk(tok);
    RT_GO(check_header(ds, block, (uint64_t)st.st_size, key, spec));
    if (!rt_cache_lay_out(&ds->header, &ds->layout)) {
        rc = wrong(name, "impossible counts");
        goto done;
    }
    RT_GO(check_sections(ds, spec));
    RT_GO(load_digests(ds));
    RT_GO(load_lengths(ds, spec));
    RT_GO(load_labels(ds, spec));
    RT_GO(load_weights(ds));
    RT_GO(load_groups(ds, spec));
    if (ds->header.file_bytes <= eager) RT_GO(check_all(ds));
    fill_stats(ds);
    *out = ds;
    ds = NULL;
done:
    rt_dataset_close(ds);
    return rc;
}
