/* The driver: libhdf5's idea of a file over an rt_h5_image. Written against 1.10; 1.13 moved the class to
 * H5FDdevelop.h and put a version and a number in front, which designated initialisers absorb. */
#include "h5_image.h"
#include <stdlib.h>
#include <string.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#define DRIVER_NUMBER ((H5FD_class_value_t)600) /* above 511: not registered with the HDF Group */
#endif

#define MAX_ADDRESS (((haddr_t)1 << 46) - 1)

typedef struct {
    H5FD_t head; /* libhdf5's part: first */
    rt_h5_image *image;
    haddr_t end;
} file;

typedef struct {
    rt_h5_image *image;
} access_info;

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t maxaddr) {
    (void)name;
    (void)maxaddr;
    /* H5Fcreate first tries to open what may be there: nothing is. */
    if (!(flags & H5F_ACC_CREAT)) return NULL;
    const access_info *info = H5Pget_driver_info(access);
    if (!info || !info->image) return NULL;
    file *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->image = info->image;
    return &f->head;
}

static herr_t driver_close(H5FD_t *head) {
    file *f = (file *)head;
    f->image->end = f->end;
    free(f);
    return 0;
}

static herr_t driver_query(const H5FD_t *head, unsigned long *flags) {
    (void)head;
    /* Both aggregations keep metadata in few blocks, so that opening a checkpoint reads few places. */
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *head, H5FD_mem_t type) {
    (void)type;
    return ((const file *)head)->end;
}

static herr_t driver_set_eoa(H5FD_t *head, H5FD_mem_t type, haddr_t address) {
    (void)type;
    if (address > MAX_ADDRESS) return -1;
    ((file *)head)->end = address;
    return 0;
}

static haddr_t driver_get_eof(const H5FD_t *head, H5FD_mem_t type) {
    (void)type;
    return ((const file *)head)->end;
}

static herr_t driver_read(H5FD_t *head, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t size, void *out) {
    (void)type;
    (void)transfer;
    if (at > MAX_ADDRESS || size > MAX_ADDRESS - at) return -1;
    rt_h5_image_read(((file *)head)->image, at, out, size);
    return 0;
}

static herr_t driver_write(H5FD_t *head, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t size, const void *bytes) {
    (void)type;
    (void)transfer;
    if (at > MAX_ADDRESS || size > MAX_ADDRESS - at) return -1;
    return rt_h5_image_write(((file *)head)->image, at, bytes, size) == RT_OK ? 0 : -1;
}

static const H5FD_class_t driver_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = DRIVER_NUMBER,
#endif
    .name = "rectrain-image",
    .maxaddr = MAX_ADDRESS,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(access_info),
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_get_eoa,
    .set_eoa = driver_set_eoa,
    .get_eof = driver_get_eof,
    .read = driver_read,
    .write = driver_write,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

rt_status rt_h5_driver_new(rt_h5_image *image, hid_t *driver, hid_t *access) {
    access_info info = {image};
    *access = -1;
    *driver = H5FDregister(&driver_class);
    if (*driver < 0) return rt_fail(RT_EUNAVAILABLE, "libhdf5 refused the driver for checkpoints");
    *access = H5Pcreate(H5P_FILE_ACCESS);
    if (*access < 0 || H5Pset_driver(*access, *driver, &info) < 0)
        return rt_fail(RT_EUNAVAILABLE, "libhdf5 could not set up the driver for checkpoints");
    return RT_OK;
}

void rt_h5_driver_done(hid_t driver, hid_t access) {
    if (access >= 0) H5Pclose(access);
    if (driver >= 0) H5FDunregister(driver);
}
