/* A sparse file in memory, and the libhdf5 driver that writes into it. libhdf5 makes metadata only, so a checkpoint of
 * 1.3 GB costs a few pages here; nothing that libhdf5 does can touch, or half write, the file that users see. */
#ifndef RT_CHECKPOINT_H5_IMAGE_H
#define RT_CHECKPOINT_H5_IMAGE_H
#include "../base/status.h"
#include <hdf5.h>
#include <stdint.h>

#define RT_H5_PAGE ((size_t)1 << 16)

typedef struct {
    unsigned char **pages; /* NULL: all zero, never written */
    size_t n_pages;
    uint64_t end; /* libhdf5's end of allocation: the size of the file */
} rt_h5_image;

void rt_h5_image_free(rt_h5_image *image);
/* Zeros where nothing was written. */
void rt_h5_image_read(const rt_h5_image *image, uint64_t at, void *out, size_t size);
rt_status rt_h5_image_write(rt_h5_image *image, uint64_t at, const void *bytes, size_t size);

/* Registers the driver and returns a file access list bound to `image`, which must outlive every file opened with it.
 * Close both with rt_h5_driver_done. */
rt_status rt_h5_driver_new(rt_h5_image *image, hid_t *driver, hid_t *access);
void rt_h5_driver_done(hid_t driver, hid_t access);

#endif
