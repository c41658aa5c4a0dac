/* Where emulated.c's device is: the emulator, whose memory the host sees, or a real GPU (RT_ON_GPU), whose memory has
 * an image in the host's that is copied before a launch and after it. Memory is NaN when new and ends in a guard zone.
 */
#ifndef RT_TESTS_CUDA_DEVICE_MEMORY_H
#define RT_TESTS_CUDA_DEVICE_MEMORY_H
#include <rectrain/kernels.h>

#ifdef RT_ON_GPU
typedef struct {
    rt_backend *be; /* the plugin's */
} device_place;

void device_open(device_place *place, rt_precision precision, const rt_dims *dims);
void device_close(device_place *place);
void *device_alloc(const device_place *place, size_t bytes, void **image);
void device_free(const device_place *place, void *device, void *image, size_t bytes);
void device_write(const device_place *place, void *device, const void *image, size_t bytes);
/* Fails the test where the guard zone behind the bytes was written to. */
void device_read(const device_place *place, const void *device, void *image, size_t bytes, const char *op);
#define device_seed(seed) (void)(seed)
#define device_check(op) (void)(op)
#define DEVICE_CALL(op, place, args) device_slot_##op((place)->be, (args))
#define DEVICE_CONVERT(place, to, to_dtype, from, from_dtype, n)                                                       \
    (place)->be->convert((place)->be, (to), (to_dtype), (from), (from_dtype), (n))
#define DEVICE_MORE(api) linear_slots(api)
#define DEVICE_SLOT(op, args)                                                                                          \
    static inline rt_status device_slot_##op(rt_backend *be, const args *a) {                                          \
        return be->op(be, a);                                                                                          \
    }
DEVICE_SLOT(embed_forward, rt_embed_forward_args)
DEVICE_SLOT(embed_backward, rt_embed_backward_args)
DEVICE_SLOT(attention_forward, rt_attention_forward_args)
DEVICE_SLOT(attention_backward, rt_attention_backward_args)
DEVICE_SLOT(residual_norm_forward, rt_residual_norm_forward_args)
DEVICE_SLOT(residual_norm_backward, rt_residual_norm_backward_args)
DEVICE_SLOT(select_rows_forward, rt_rows_forward_args)
DEVICE_SLOT(select_rows_backward, rt_rows_backward_args)
DEVICE_SLOT(mean_rows_forward, rt_rows_forward_args)
DEVICE_SLOT(mean_rows_backward, rt_rows_backward_args)
DEVICE_SLOT(dropout, rt_dropout_args)
DEVICE_SLOT(classify, rt_classify_args)
DEVICE_SLOT(sum_squares, rt_sum_squares_args)
DEVICE_SLOT(adamw, rt_adamw_args)
DEVICE_SLOT(linear_forward, rt_linear_forward_args)
DEVICE_SLOT(linear_backward, rt_linear_backward_args)
#undef DEVICE_SLOT

#else
#include "../support/cuemu/cuemu.h"
#include "launch.h"
#include "tests/support/kernel_check.h"

typedef rt_cuda_launch device_place;

static inline void device_open(device_place *place, rt_precision precision, const rt_dims *dims) {
    place->processors = 1;
    place->act = precision == RT_PRECISION_BF16 ? RT_BF16 : RT_F32;
    if (dims) {
        rt_dims more = *dims;
        more.max_tokens += 64, more.max_seqs += 2;
        place->workspace_bytes = rt_cuda_kernel_workspace(&more);
    }
    place->workspace = cuemu_alloc(place->workspace_bytes);
}
static inline void device_close(device_place *place) {
    cuemu_free(place->workspace);
}
static inline void *device_alloc(const device_place *place, size_t bytes, void **image) {
    (void)place;
    return *image = cuemu_alloc(bytes);
}
static inline void device_free(const device_place *place, void *device, void *image, size_t bytes) {
    (void)place, (void)image, (void)bytes;
    cuemu_free(device);
}
static inline void device_write(const device_place *place, void *device, const void *image, size_t bytes) {
    (void)place, (void)device, (void)image, (void)bytes;
}
static inline void device_read(const device_place *place, const void *device, void *image, size_t bytes,
                               const char *op) {
    (void)place, (void)device, (void)image, (void)bytes, (void)op;
}
#define device_seed(seed) cuemu_seed(seed)
#define device_check(op) rt_check_ok(cuemu_check_guards(op), (op))
#define DEVICE_CALL(op, place, args) rt_cuda_##op##_launch((place), (args))
#define DEVICE_CONVERT(place, to, to_dtype, from, from_dtype, n)                                                       \
    rt_cuda_convert_launch((place), (to), (to_dtype), (from), (from_dtype), (n))
#define DEVICE_MORE(api) (void)(api)
#endif
#endif
