/* safetensors files: u64 little-endian header length, a JSON header, data. Everything is validated before use: no
 * overlaps, no holes, no bytes left over, shapes that match their byte ranges, no duplicate names. */
#ifndef RT_CHECKPOINT_SAFETENSORS_H
#define RT_CHECKPOINT_SAFETENSORS_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_SAFETENSORS_HEADER_MAX 100000000u

typedef struct {
    char *name;
    const char *dtype; /* "F32" ...: static */
    int rank;
    int64_t shape[2];  /* the first two dimensions, 1 where there are fewer */
    int64_t count;     /* elements */
    uint64_t at, size; /* bytes, counted from the end of the header */
} rt_st_tensor;

typedef struct {
    char *path;
    int fd;
    uint64_t data_at;      /* where data start */
    rt_st_tensor *tensors; /* in the order of their bytes */
    int n;
} rt_safetensors;

/* RT_ENOINPUT, RT_EDATA, RT_EIO. */
rt_status rt_safetensors_open(const char *path, rt_safetensors *out);
void rt_safetensors_close(rt_safetensors *file);
/* The header alone: `data_size` bytes follow it. */
rt_status rt_safetensors_parse(const char *json, size_t size, uint64_t data_size, const char *name,
                               rt_st_tensor **tensors, int *n);
void rt_st_tensors_free(rt_st_tensor *tensors, int n);
bool rt_st_is_float(const rt_st_tensor *tensor); /* F32, F16 or BF16: what rt_safetensors_read converts */
/* Tensor i as f32 into out[count]. */
rt_status rt_safetensors_read(const rt_safetensors *file, int i, float *out);

#endif
