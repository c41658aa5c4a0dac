/* A temporary folder for one test program, and files in it. */
#ifndef TEST_DATA_FILES_H
#define TEST_DATA_FILES_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char test_folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(test_folder, "/tmp/rectrain-data-XXXXXX");
    return mkdtemp(test_folder) ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline void remove_tree(const char *path) {
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int drop_folder(void **state) {
    (void)state;
    remove_tree(test_folder);
    return 0;
}

/* The path of `name` in the folder; a ring of buffers, so that a few may be held at once. */
static inline const char *in_folder(const char *name) {
    static char ring[16][256];
    static int at;
    char *path = ring[at++ % 16];
    snprintf(path, sizeof ring[0], "%s/%s", test_folder, name);
    return path;
}

/* Not synced: a test that damages a file many times need not wait for the disk. */
static inline void put_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline const char *write_bytes(const char *name, const void *bytes, size_t size) {
    const char *path = in_folder(name);
    put_bytes(path, bytes, size);
    return path;
}

static inline const char *write_text(const char *name, const char *text) {
    return write_bytes(name, text, strlen(text));
}

/* The error's text, less the folder, so that messages can be compared whole. */
static inline const char *plain(const char *message) {
    static char out[8192];
    size_t n = strlen(test_folder), at = 0;
    for (const char *p = message; *p && at + 1 < sizeof out;) {
        if (!strncmp(p, test_folder, n) && p[n] == '/')
            p += n + 1;
        else
            out[at++] = *p++;
    }
    out[at] = 0;
    return out;
}

#endif
