#include "h5_image.h"
#include <stdlib.h>
#include <string.h>

void rt_h5_image_free(rt_h5_image *image) {
    if (!image) return;
    for (size_t i = 0; i < image->n_pages; i++) free(image->pages[i]);
    free(image->pages);
    memset(image, 0, sizeof *image);
}

void rt_h5_image_read(const rt_h5_image *image, uint64_t at, void *out, size_t size) {
    unsigned char *to = out;
    while (size > 0) {
        size_t page = (size_t)(at / RT_H5_PAGE), offset = (size_t)(at % RT_H5_PAGE);
        size_t n = RT_H5_PAGE - offset < size ? RT_H5_PAGE - offset : size;
        if (page < image->n_pages && image->pages[page])
            memcpy(to, image->pages[page] + offset, n);
        else
            memset(to, 0, n);
        to += n, at += n, size -= n;
    }
}

static unsigned char *page_for_write(rt_h5_image *image, size_t page) {
    if (page >= image->n_pages) {
        size_t n = page + page / 2 + 16;
        unsigned char **grown = realloc(image->pages, n * sizeof *grown);
        if (!grown) return NULL;
        memset(grown + image->n_pages, 0, (n - image->n_pages) * sizeof *grown);
        image->pages = grown;
        image->n_pages = n;
    }
    if (!image->pages[page]) image->pages[page] = calloc(1, RT_H5_PAGE);
    return image->pages[page];
}

rt_status rt_h5_image_write(rt_h5_image *image, uint64_t at, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    while (size > 0) {
        size_t page = (size_t)(at / RT_H5_PAGE), offset = (size_t)(at % RT_H5_PAGE);
        size_t n = RT_H5_PAGE - offset < size ? RT_H5_PAGE - offset : size;
        unsigned char *to = page_for_write(image, page);
        if (!to) return rt_fail(RT_ENOMEM, "out of memory for the description of a checkpoint");
        memcpy(to + offset, from, n);
        from += n, at += n, size -= n;
    }
    return RT_OK;
}
