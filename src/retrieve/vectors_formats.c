/* The beginnings of .npy, .fbin and .faiss files, read and written. */
#include "vectors_internal.h"
#include <stdio.h>
#include <string.h>

const char rt_vectors_formats[] = "h5, npy, fbin, faiss or jsonl";

enum {
    NPY_HEADER = 128, /* as numpy itself writes it: a multiple of 64, with room for a growing shape */
    NPY_HEADER_LIMIT = 1 << 16,
    FBIN_HEADER = 8,
    FAISS_HEADER = 45,
    FAISS_MAP_HEADER = 37, /* of an IxMp, before the index that it wraps */
};
static const unsigned char npy_magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
static const unsigned char h5_magic[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

static uint32_t u32_of(const unsigned char *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static uint64_t u64_of(const unsigned char *b) {
    return u32_of(b) | (uint64_t)u32_of(b + 4) << 32;
}

static void put(unsigned char *b, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) b[i] = (unsigned char)(value >> (8 * i));
}

rt_vectors_format rt_vectors_format_of(const char *path) {
    static const struct {
        const char *end;
        rt_vectors_format format;
    } ends[] = {{".h5", RT_VECTORS_H5},       {".hdf5", RT_VECTORS_H5},     {".npy", RT_VECTORS_NPY},
                {".fbin", RT_VECTORS_FBIN},   {".faiss", RT_VECTORS_FAISS}, {".jsonl", RT_VECTORS_JSONL},
                {".ndjson", RT_VECTORS_JSONL}};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i].end);
        if (n > m && strcmp(path + n - m, ends[i].end) == 0) return ends[i].format;
    }
    return RT_VECTORS_AUTO;
}

/* --- .npy --------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
} cursor;

static void skip_blanks(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) c->at++;
}

static bool take(cursor *c, char wanted) {
    skip_blanks(c);
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

/* 'text', its quotes of either kind, no escapes. */
static bool take_string(cursor *c, char *out, size_t size) {
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    char quote = *c->at++;
    const char *close = memchr(c->at, quote, (size_t)(c->end - c->at));
    if (!close || (size_t)(close - c->at) >= size) return false;
    memcpy(out, c->at, (size_t)(close - c->at));
    out[close - c->at] = '\0';
    c->at = close + 1;
    return true;
}

static bool take_word(cursor *c, const char *word) {
    size_t n = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

static bool take_number(cursor *c, uint64_t *out) {
    skip_blanks(c);
    const char *start = c->at;
    for (*out = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, (uint64_t)(*c->at - '0'), out))
            return false;
    return c->at > start;
}

typedef struct {
    char descr[32];
    bool fortran, has_descr, has_order, has_shape;
    int rank;
    uint64_t shape[2];
} npy_dict;

/* (n, width): more than two are counted alone. */
static bool take_shape(cursor *c, npy_dict *d) {
    if (!take(c, '(')) return false;
    for (d->rank = 0; !take(c, ')'); d->rank++) {
        uint64_t n;
        if (!take_number(c, &n)) return false;
        if (d->rank < 2) d->shape[d->rank] = n;
        if (!take(c, ',')) return take(c, ')') && ++d->rank;
    }
    return true;
}

static bool read_dict(cursor *c, npy_dict *d) {
    char key[32];
    if (!take(c, '{')) return false;
    while (!take(c, '}')) {
        if (!take_string(c, key, sizeof key) || !take(c, ':')) return false;
        if (strcmp(key, "descr") == 0) {
            if (d->has_descr || !take_string(c, d->descr, sizeof d->descr)) return false;
            d->has_descr = true;
        } else if (strcmp(key, "fortran_order") == 0) {
            d->fortran = take_word(c, "True");
            if (d->has_order || (!d->fortran && !take_word(c, "False"))) return false;
            d->has_order = true;
        } else if (strcmp(key, "shape") == 0) {
            if (d->has_shape || !take_shape(c, d)) return false;
            d->has_shape = true;
        } else {
            return false;
        }
        if (!take(c, ',')) return take(c, '}');
    }
    return true;
}

rt_status rt_vectors_read_npy(const rt_vectors_file *file, rt_vectors_layout *out) {
    unsigned char b[12];
    char text[NPY_HEADER_LIMIT];
    RT_TRY(rt_vectors_get(file, 0, b, 10));
    int version = b[6];
    if (version < 1 || version > 3 || b[7] != 0)
        return rt_fail(RT_EDATA, "%s: a NumPy file of version %d.%d, expected 1.0 to 3.0", file->path, b[6], b[7]);
    if (version > 1) RT_TRY(rt_vectors_get(file, 0, b, 12));
    size_t start = version == 1 ? 10 : 12, n = version == 1 ? (size_t)b[8] | (size_t)b[9] << 8 : u32_of(b + 8);
    if (n > sizeof text)
        return rt_fail(RT_EDATA, "%s: its header takes %zu bytes, expected at most %zu", file->path, n, sizeof text);
    RT_TRY(rt_vectors_get(file, start, text, n));
    npy_dict d = {0};
    cursor c = {text, text + n};
    if (!read_dict(&c, &d) || !d.has_descr || !d.has_order || !d.has_shape)
        return rt_fail(RT_EDATA,
                       "%s: its header is damaged, or holds records; expected what numpy.save writes of a "
                       "float32 array [n, width]",
                       file->path);
    if (strcmp(d.descr, "<f4") != 0)
        return rt_fail(RT_EDATA, "%s: holds %.20s, expected <f4: numpy.save(path, array.astype(\"float32\"))",
                       file->path, d.descr);
    if (d.rank != 2)
        return rt_fail(RT_EDATA, "%s: an array of %d dimensions, expected 2: [vectors, width]", file->path, d.rank);
    if (d.fortran && d.shape[0] > 1 && d.shape[1] > 1)
        return rt_fail(RT_EDATA,
                       "%s: columns stand end to end (fortran_order), expected rows: numpy.save(path, "
                       "numpy.ascontiguousarray(array))",
                       file->path);
    *out = (rt_vectors_layout){
        .n = d.shape[0], .width = d.shape[1], .data_at = start + n, .ids = RT_IDS_BESIDE, .unit = false};
    return RT_OK;
}

static void header_npy(uint64_t n, int width, unsigned char *out) {
    memset(out, ' ', NPY_HEADER);
    memcpy(out, npy_magic, sizeof npy_magic);
    out[6] = 1, out[7] = 0;
    put(out + 8, NPY_HEADER - 10, 2);
    char text[NPY_HEADER];
    int size = snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %d), }",
                        (unsigned long long)n, width);
    memcpy(out + 10, text, (size_t)size);
    out[NPY_HEADER - 1] = '\n';
}

/* --- .fbin -------------------------------------------------------------------------------------------------------- */

rt_status rt_vectors_read_fbin(const rt_vectors_file *file, rt_vectors_layout *out) {
    unsigned char b[FBIN_HEADER];
    RT_TRY(rt_vectors_get(file, 0, b, sizeof b));
    *out = (rt_vectors_layout){
        .n = u32_of(b), .width = u32_of(b + 4), .data_at = FBIN_HEADER, .ids = RT_IDS_BESIDE, .unit = false};
    return RT_OK;
}

/* --- .faiss ------------------------------------------------------------------------------------------------------- */

/* The flat index at `at`; its floats begin at out->data_at. */
static rt_status read_flat(const rt_vectors_file *file, uint64_t at, rt_vectors_layout *out) {
    unsigned char b[FAISS_HEADER];
    RT_TRY(rt_vectors_get(file, at, b, sizeof b));
    if (memcmp(b, "IxFI", 4) != 0 && memcmp(b, "IxF2", 4) != 0)
        return rt_fail(RT_EDATA,
                       "%s: a Faiss index of kind \"%c%c%c%c\", expected a flat one: IndexFlatIP (IxFI), IndexFlatL2 "
                       "(IxF2), or either within an IndexIDMap (IxMp)",
                       file->path, b[0] >= 32 && b[0] < 127 ? b[0] : '?', b[1] >= 32 && b[1] < 127 ? b[1] : '?',
                       b[2] >= 32 && b[2] < 127 ? b[2] : '?', b[3] >= 32 && b[3] < 127 ? b[3] : '?');
    uint64_t n = u64_of(b + 8), values = u64_of(b + 37), width = u32_of(b + 4);
    uint32_t metric = u32_of(b + 33);
    if (metric > 1)
        return rt_fail(RT_EDATA, "%s: a Faiss index of metric %u, expected 0 (inner product) or 1 (L2)", file->path,
                       metric);
    if (n > UINT32_MAX || width > RT_VECTORS_MAX_WIDTH || values != n * width)
        return rt_fail(RT_EDATA, "%s: a Faiss index of %llu vectors of %llu that holds %llu values: damaged",
                       file->path, (unsigned long long)n, (unsigned long long)width, (unsigned long long)values);
    out->n = n;
    out->width = width;
    out->data_at = at + FAISS_HEADER;
    return RT_OK;
}

rt_status rt_vectors_read_faiss(const rt_vectors_file *file, rt_vectors_layout *out) {
    unsigned char b[FAISS_MAP_HEADER];
    *out = (rt_vectors_layout){.ids = RT_IDS_BESIDE};
    RT_TRY(rt_vectors_get(file, 0, b, sizeof b));
    if (memcmp(b, "IxMp", 4) != 0) return read_flat(file, 0, out);
    /* An index within one that has numbers of its own: behind it their count and the numbers. */
    RT_TRY(read_flat(file, FAISS_MAP_HEADER, out));
    unsigned char count[8];
    uint64_t ids_at = out->data_at + out->n * out->width * sizeof(float);
    RT_TRY(rt_vectors_get(file, ids_at, count, sizeof count));
    if (u64_of(count) != out->n || u64_of(b + 8) != out->n)
        return rt_fail(RT_EDATA, "%s: %llu vectors and %llu ids: damaged", file->path, (unsigned long long)out->n,
                       (unsigned long long)u64_of(count));
    out->tail = 8 + out->n * 8;
    out->ids = RT_IDS_WHOLE;
    out->ids_at = ids_at + 8;
    out->ids_width = 8;
    out->ids_signed = true;
    return RT_OK;
}

static void header_faiss(uint64_t n, int width, unsigned char *out) {
    memcpy(out, "IxFI", 4);
    put(out + 4, (uint64_t)width, 4);
    put(out + 8, n, 8);
    put(out + 16, 1 << 20, 8); /* two fields that Faiss itself does not use */
    put(out + 24, 1 << 20, 8);
    out[32] = 1;         /* trained */
    put(out + 33, 0, 4); /* inner product */
    put(out + 37, n * (uint64_t)width, 8);
}

/* --- which one ---------------------------------------------------------------------------------------------------- */

static bool is_fbin(const rt_vectors_file *file, const unsigned char b[8]) {
    uint64_t width = u32_of(b + 4);
    return width >= 1 && width <= RT_VECTORS_MAX_WIDTH &&
           file->size == FBIN_HEADER + (uint64_t)u32_of(b) * width * sizeof(float);
}

rt_status rt_vectors_detect(const rt_vectors_file *file, rt_vectors_format *out) {
    unsigned char b[8] = {0};
    size_t n = file->size < sizeof b ? (size_t)file->size : sizeof b;
    RT_TRY(rt_vectors_get(file, 0, b, n));
    const unsigned char *text = b;
    while (text < b + n && (*text == ' ' || *text == '\n' || *text == '\r' || *text == '\t')) text++;
    if (n == sizeof b && memcmp(b, h5_magic, sizeof h5_magic) == 0)
        *out = RT_VECTORS_H5;
    else if (n == sizeof b && memcmp(b, npy_magic, sizeof npy_magic) == 0)
        *out = RT_VECTORS_NPY;
    else if (n == sizeof b && is_fbin(file, b))
        *out = RT_VECTORS_FBIN;
    else if (n == sizeof b && b[0] == 'I' && (b[1] == 'x' || b[1] == 'H' || b[1] == 'w' || b[1] == 'B'))
        *out = RT_VECTORS_FAISS; /* other kinds of index are refused by name */
    else if (text < b + n && *text == '{')
        *out = RT_VECTORS_JSONL;
    else if (file->size == 0)
        return rt_fail(RT_EDATA, "%s: empty, expected vectors (%s)", file->path, rt_vectors_formats);
    else if (rt_vectors_format_of(file->path) == RT_VECTORS_FBIN && n == sizeof b)
        return rt_fail(RT_EDATA, "%s: %llu bytes, but %u vectors of %u, which its first bytes promise, take %llu",
                       file->path, (unsigned long long)file->size, u32_of(b), u32_of(b + 4),
                       (unsigned long long)u32_of(b) * u32_of(b + 4) * sizeof(float) + FBIN_HEADER);
    else
        return rt_fail(RT_EDATA, "%s: no file of vectors (%s); rectrain embed writes them", file->path,
                       rt_vectors_formats);
    return RT_OK;
}

size_t rt_vectors_header_size(rt_vectors_format format) {
    switch (format) {
    case RT_VECTORS_H5:
        return RT_VECTORS_HEADER_MAX;
    case RT_VECTORS_NPY:
        return NPY_HEADER;
    case RT_VECTORS_FBIN:
        return FBIN_HEADER;
    case RT_VECTORS_FAISS:
        return FAISS_HEADER;
    default:
        return 0;
    }
}

void rt_vectors_header(rt_vectors_format format, uint64_t n, int width, bool unit, size_t id_width,
                       unsigned char out[RT_VECTORS_HEADER_MAX]) {
    if (format == RT_VECTORS_H5) rt_vectors_header_h5(n, width, unit, id_width, out);
    if (format == RT_VECTORS_NPY) header_npy(n, width, out);
    if (format == RT_VECTORS_FAISS) header_faiss(n, width, out);
    if (format == RT_VECTORS_FBIN) {
        put(out, n, 4);
        put(out + 4, (uint64_t)width, 4);
    }
}
