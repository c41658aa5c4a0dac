#include "safetensors.h"
#include "json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/file.h"
#include "../base/text.h"

#define NEXT "fetch the file again, or save it again with save_pretrained"

static const struct {
    const char *name;
    int bytes;
} dtypes[] = {{"F32", 4}, {"F16", 2},     {"BF16", 2},        {"F64", 8},        {"I64", 8},
              {"I32", 4}, {"I16", 2},     {"I8", 1},          {"U64", 8},        {"U32", 4},
              {"U16", 2}, {"U8", 1},      {"BOOL", 1},        {"F8_E5M2", 1},    {"F8_E4M3", 1},
              {"C64", 8}, {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1}};

void rt_st_tensors_free(rt_st_tensor *tensors, int n) {
    for (int i = 0; tensors && i < n; i++) free(tensors[i].name);
    free(tensors);
}

bool rt_st_is_float(const rt_st_tensor *t) {
    return rt_streq(t->dtype, "F32") || rt_streq(t->dtype, "F16") || rt_streq(t->dtype, "BF16");
}

static rt_status parse_dtype(const json_t *info, const char *name, const char *key, rt_st_tensor *t, int *width) {
    const json_t *value = json_object_get(info, "dtype");
    char found[64];
    if (!json_is_string(value)) return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" has no dtype; " NEXT, name, key);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(json_string_value(value), dtypes[i].name) != 0) continue;
        t->dtype = dtypes[i].name;
        *width = dtypes[i].bytes;
        return RT_OK;
    }
    return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" has dtype %s, expected F32, F16 or BF16 for weights", name, key,
                   rt_json_describe(value, found));
}

/* Elements, refused on overflow: data_size bounds what a file can hold. */
static rt_status parse_shape(const json_t *info, const char *name, const char *key, rt_st_tensor *t) {
    const json_t *shape = json_object_get(info, "shape"), *dim;
    size_t i;
    if (!json_is_array(shape)) return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" has no shape; " NEXT, name, key);
    t->rank = (int)json_array_size(shape);
    t->shape[0] = t->shape[1] = t->count = 1;
    json_array_foreach(shape, i, dim) {
        json_int_t n = json_is_integer(dim) ? json_integer_value(dim) : -1;
        if (n < 0) return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" has a malformed shape; " NEXT, name, key);
        if (i < 2) t->shape[i] = n;
        if (__builtin_mul_overflow(t->count, (int64_t)n, &t->count))
            return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" claims more elements than any file holds; " NEXT, name,
                           key);
    }
    return RT_OK;
}

static rt_status parse_tensor(const json_t *info, const char *name, const char *key, uint64_t data_size,
                              rt_st_tensor *t) {
    int width = 0;
    uint64_t bytes;
    if (!json_is_object(info)) return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" is not described; " NEXT, name, key);
    RT_TRY(parse_dtype(info, name, key, t, &width));
    RT_TRY(parse_shape(info, name, key, t));
    const json_t *range = json_object_get(info, "data_offsets");
    const json_t *a = json_array_get(range, 0), *b = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(a) || !json_is_integer(b) || json_integer_value(a) < 0 ||
        json_integer_value(b) < json_integer_value(a))
        return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" has malformed data_offsets; " NEXT, name, key);
    t->at = (uint64_t)json_integer_value(a);
    t->size = (uint64_t)json_integer_value(b) - t->at;
    if (__builtin_mul_overflow((uint64_t)t->count, (uint64_t)width, &bytes) || bytes != t->size)
        return rt_fail(RT_EDATA,
                       "%s: tensor \"%.100s\": its shape and dtype want another size than its %llu bytes; " NEXT, name,
                       key, (unsigned long long)t->size);
    if (t->at + t->size > data_size)
        return rt_fail(RT_EDATA,
                       "%s: tensor \"%.100s\" ends at byte %llu of the data, which have %llu (cut off?); " NEXT, name,
                       key, (unsigned long long)(t->at + t->size), (unsigned long long)data_size);
    t->name = rt_strdup(key);
    return t->name ? RT_OK : rt_fail(RT_ENOMEM, "%s: out of memory", name);
}

static int compare_place(const void *a, const void *b) {
    const rt_st_tensor *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static rt_status check_places(const rt_st_tensor *t, int n, uint64_t data_size, const char *name) {
    uint64_t at = 0;
    for (int i = 0; i < n; i++) {
        if (t[i].at != at)
            return rt_fail(RT_EDATA, "%s: tensor \"%.100s\" starts at byte %llu of the data, expected %llu (%s); " NEXT,
                           name, t[i].name, (unsigned long long)t[i].at, (unsigned long long)at,
                           t[i].at < at ? "it overlaps another" : "bytes before it belong to none");
        at += t[i].size;
    }
    if (at != data_size)
        return rt_fail(RT_EDATA, "%s: its tensors take %llu bytes, its data have %llu; " NEXT, name,
                       (unsigned long long)at, (unsigned long long)data_size);
    return RT_OK;
}

static rt_status check_metadata(const json_t *metadata, const char *name) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata)) return rt_fail(RT_EDATA, "%s: its __metadata__ is malformed; " NEXT, name);
    json_object_foreach((json_t *)metadata, key, value) {
        if (!json_is_string(value))
            return rt_fail(RT_EDATA, "%s: its __metadata__ holds a value that is no string; " NEXT, name);
    }
    return RT_OK;
}

rt_status rt_safetensors_parse(const char *json, size_t size, uint64_t data_size, const char *name,
                               rt_st_tensor **tensors, int *n) {
    rt_status rc;
    json_t *header = NULL, *info;
    const char *key;
    rt_st_tensor *t = NULL;
    int count = 0;
    *tensors = NULL;
    *n = 0;
    RT_GO(rt_json_object(json, size, name, &header));
    t = calloc(json_object_size(header) + 1, sizeof *t);
    if (!t) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", name);
        goto done;
    }
    json_object_foreach(header, key, info) {
        if (strcmp(key, "__metadata__") == 0)
            RT_GO(check_metadata(info, name));
        else
            RT_GO(parse_tensor(info, name, key, data_size, &t[count++]));
    }
    qsort(t, (size_t)count, sizeof *t, compare_place);
    RT_GO(check_places(t, count, data_size, name));
    *tensors = t;
    *n = count;
    t = NULL;
done:
    rt_st_tensors_free(t, count);
    json_decref(header);
    return rc;
}

static rt_status read_at(const rt_safetensors *file, uint64_t at, void *out, size_t size) {
    char *to = out;
    while (size > 0) {
        ssize_t n = pread(file->fd, to, size < (1u << 30) ? size : 1u << 30, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return rt_fail(RT_EIO, "%s: cannot read at byte %llu: %s", file->path, (unsigned long long)at,
                           strerror(errno));
        if (n == 0)
            return rt_fail(RT_EDATA, "%s: ends at byte %llu, expected more (cut off?); " NEXT, file->path,
                           (unsigned long long)at);
        to += n, at += (uint64_t)n, size -= (size_t)n;
    }
    return RT_OK;
}

static rt_status open_file(rt_safetensors *file, uint64_t *size) {
    struct stat st;
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0) return rt_file_not_opened(file->path, errno);
    if (fstat(file->fd, &st) != 0) return rt_fail(RT_EIO, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return rt_fail(RT_EDATA, "%s: not a regular file; expected one of safetensors", file->path);
    *size = (uint64_t)st.st_size;
    return RT_OK;
}

static rt_status read_header(rt_safetensors *file, uint64_t size) {
    unsigned char b[8] = {0};
    uint64_t n = 0;
    rt_status rc;
    char *json = NULL;
    if (size < 8)
        return rt_fail(RT_EDATA, "%s: %llu bytes are too few for a safetensors file; " NEXT, file->path,
                       (unsigned long long)size);
    RT_TRY(read_at(file, 0, b, 8));
    for (int i = 7; i >= 0; i--) n = n << 8 | b[i];
    if (n > RT_SAFETENSORS_HEADER_MAX || n > size - 8)
        return rt_fail(RT_EDATA,
                       "%s: claims a header of %llu bytes, expected at most %u and no more than the file has; " NEXT,
                       file->path, (unsigned long long)n, RT_SAFETENSORS_HEADER_MAX);
    json = malloc((size_t)n + 1);
    if (!json) return rt_fail(RT_ENOMEM, "%s: out of memory", file->path);
    RT_GO(read_at(file, 8, json, (size_t)n));
    file->data_at = 8 + n;
    RT_GO(rt_safetensors_parse(json, (size_t)n, size - file->data_at, file->path, &file->tensors, &file->n));
done:
    free(json);
    return rc;
}

rt_status rt_safetensors_open(const char *path, rt_safetensors *out) {
    rt_status rc;
    uint64_t size = 0;
    *out = (rt_safetensors){.fd = -1, .path = rt_strdup(path)};
    if (!out->path) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    RT_GO(open_file(out, &size));
    RT_GO(read_header(out, size));
done:
    if (rc != RT_OK) rt_safetensors_close(out);
    return rc;
}

void rt_safetensors_close(rt_safetensors *file) {
    if (!file || !file->path) return;
    rt_st_tensors_free(file->tensors, file->n);
    if (file->fd >= 0) close(file->fd);
    free(file->path);
    *file = (rt_safetensors){.fd = -1};
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 31) return from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent > 0) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float small = (float)mantissa * 0x1p-24f; /* subnormal: exact in f32 */
    return sign ? -small : small;
}

rt_status rt_safetensors_read(const rt_safetensors *file, int i, float *out) {
    enum { PIECE = 1 << 15 };
    const rt_st_tensor *t = &file->tensors[i];
    uint64_t at = file->data_at + t->at;
    unsigned char piece[2 * PIECE];
    if (rt_streq(t->dtype, "F32")) return read_at(file, at, out, (size_t)t->size);
    if (!rt_st_is_float(t))
        return rt_fail(RT_EDATA,
                       "%s: tensor \"%.100s\" has dtype %s, expected F32, F16 or BF16; save the model in one of "
                       "these",
                       file->path, t->name, t->dtype);
    bool half = rt_streq(t->dtype, "F16");
    for (int64_t done = 0; done < t->count;) {
        int64_t n = t->count - done < PIECE ? t->count - done : PIECE;
        RT_TRY(read_at(file, at + 2 * (uint64_t)done, piece, 2 * (size_t)n));
        for (int64_t k = 0; k < n; k++) {
            uint16_t bits = (uint16_t)(piece[2 * k] | piece[2 * k + 1] << 8);
            out[done + k] = half ? from_f16(bits) : from_bits((uint32_t)bits << 16);
        }
        done += n;
    }
    return RT_OK;
}
