/* What the tests of vector files share: a folder of their own, rows whose values tell where they belong, whole files.
 */
#ifndef RT_TESTS_VECTORS_CASES_H
#define RT_TESTS_VECTORS_CASES_H
#include "base/file.h"
#include "base/text.h"
#include "retrieve/vectors.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY "0123456789abcdef0123456789abcdef"
static const char *const ends[] = {"h5", "npy", "fbin", "faiss", "jsonl"};
enum { N_ENDS = sizeof ends / sizeof *ends };

static char folder[64];

static inline int make_folder(void **state) {
    (void)state;
    /* In memory where the system has such a place: every file is made durable again and again. */
    snprintf(folder, sizeof folder, "%s/rt-vectors-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* A path in the folder, valid as long as the program. */
static inline const char *at(const char *name) {
    static char paths[64][192];
    char path[192];
    int i = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    while (i < 64 && paths[i][0] && strcmp(paths[i], path) != 0) i++;
    assert_true(i < 64);
    return strcpy(paths[i], path);
}

static inline const char *with_end(const char *name, const char *end) {
    char whole[96];
    snprintf(whole, sizeof whole, "%s.%s", name, end);
    return at(whole);
}

/* Exact in f32, and of every sign and size. */
static inline float value_of(uint64_t row, int k) {
    return (float)((int64_t)(row * 31 + (uint64_t)k * 7) % 1021 - 510) / (float)(1 << (k % 9));
}

static inline void id_of(uint64_t row, char out[32]) {
    snprintf(out, 32, "item %llu\xc3\xa9", (unsigned long long)(row * 3));
}

static inline rt_status append(rt_vectors_writer *w, uint64_t first, uint32_t n, int width) {
    float *rows = malloc((size_t)n * (size_t)width * sizeof *rows);
    char(*text)[32] = malloc(n * sizeof *text);
    const char **ids = malloc(n * sizeof *ids);
    size_t *sizes = malloc(n * sizeof *sizes);
    assert_true(rows && text && ids && sizes);
    for (uint32_t i = 0; i < n; i++) {
        for (int k = 0; k < width; k++) rows[(size_t)i * (size_t)width + (size_t)k] = value_of(first + i, k);
        id_of(first + i, text[i]);
        ids[i] = text[i];
        sizes[i] = strlen(text[i]);
    }
    rt_status rc = rt_vectors_append(w, rows, ids, sizes, n);
    free(rows);
    free(text);
    free(ids);
    free(sizes);
    return rc;
}

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        rt_status got_ = (call);                                                                                       \
        if (got_ != RT_OK) fail_msg("%s: %d, %s", #call, got_, rt_error_get()->text);                                  \
    } while (0)

/* That status, and a sentence with `words` in it. */
#define refused(call, status, words)                                                                                   \
    do {                                                                                                               \
        rt_error_clear();                                                                                              \
        rt_status got_ = (call);                                                                                       \
        if (got_ != (status) || !strstr(rt_error_get()->text, words))                                                  \
            fail_msg("%s: %d, \"%s\"; wanted %d, \"%s\"", #call, got_, rt_error_get()->text, status, words);           \
    } while (0)

/* A whole file of n rows in windows of `window`. */
static inline void write_all(const char *path, uint64_t n, int width, uint32_t window) {
    rt_vectors_writer *w;
    uint64_t done;
    ok(rt_vectors_create(path, RT_VECTORS_AUTO, width, true, KEY, &w, &done));
    assert_int_equal(done, 0);
    for (uint64_t row = 0; row < n; row += window)
        ok(append(w, row, n - row < window ? (uint32_t)(n - row) : window, width));
    ok(rt_vectors_commit(w));
}

static inline void read_bytes(const char *path, char **bytes, size_t *size) {
    ok(rt_file_read(path, (size_t)1 << 30, bytes, size));
}

static inline void write_bytes(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static inline void assert_same_file(const char *a, const char *b) {
    char *x, *y;
    size_t n, m;
    read_bytes(a, &x, &n);
    read_bytes(b, &y, &m);
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

#endif
