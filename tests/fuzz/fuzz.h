/* What the fuzzers share: input as files and in parts, and requirements that end the run when they do not hold. */
#ifndef FUZZ_H
#define FUZZ_H
#include "../../src/base/status.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_require(bool holds) {
    if (!holds) abort();
}

/* What was refused says why. */
static inline void fuzz_refused(rt_status rc) {
    fuzz_require(rc != RT_OK && rc != RT_EINTERNAL && rt_error_get()->text[0]);
}

/* A file of these bytes that can be opened by its path, as the program does it; one for each slot, used again. */
static inline const char *fuzz_file(int slot, const void *bytes, size_t size) {
    static char paths[4][32];
    static int fds[4];
    if (!fds[slot]) {
        fds[slot] = memfd_create("fuzz", 0);
        snprintf(paths[slot], sizeof paths[slot], "/proc/self/fd/%d", fds[slot]);
    }
    fuzz_require(fds[slot] > 0 && ftruncate(fds[slot], 0) == 0 && pwrite(fds[slot], bytes, size, 0) == (ssize_t)size);
    return paths[slot];
}

/* A copy that ends in NUL and has its exact size, so that a read beyond it is seen. */
static inline char *fuzz_string(const void *bytes, size_t size) {
    char *copy = malloc(size + 1);
    fuzz_require(copy != NULL);
    if (size) memcpy(copy, bytes, size);
    copy[size] = 0;
    return copy;
}

typedef struct {
    const uint8_t *data;
    size_t size;
} fuzz_bytes;

/* The next part of the input: parts are parted by a line "====". */
static inline fuzz_bytes fuzz_part(fuzz_bytes *rest) {
    static const char border[] = "\n====\n";
    const uint8_t *end = memmem(rest->data, rest->size, border, sizeof border - 1);
    fuzz_bytes part = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
    size_t used = end ? part.size + sizeof border - 1 : part.size;
    rest->data += used;
    rest->size -= used;
    return part;
}

/* The first byte, a letter in the seeds, as a number that chooses options; 0 at the end. */
static inline unsigned fuzz_choice(fuzz_bytes *rest) {
    if (!rest->size) return 0;
    rest->size--;
    return *rest->data++;
}

#endif
