/* Files of vectors in every form. The first byte chooses: 'e' a sound .h5 under a list of edits (two bytes of place,
 * one of value), so that every run gets far; else the whole input is the file. What is taken is whole: each id is found
 * again at its row, and no value is other than finite. */
#include "retrieve/vectors.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"
#include <math.h>

static void check(const rt_vectors *v) {
    const uint32_t n = rt_vectors_count(v), some = n < 64 ? n : 64;
    const size_t width = (size_t)rt_vectors_width(v);
    float *rows = malloc(some * width * sizeof *rows + 1);
    fuzz_require(rows && (n == 0 || (width >= 1 && width <= RT_VECTORS_MAX_WIDTH)));
    for (uint32_t row = 0; row < n; row++) {
        size_t size;
        const char *id = rt_vectors_id(v, row, &size);
        fuzz_require(size >= 1 && size <= 1024 && rt_vectors_find(v, id, size) == (int64_t)row);
    }
    for (uint32_t first = 0; first < n; first += some) {
        const uint32_t part = n - first < some ? n - first : some;
        rt_status rc = rt_vectors_read(v, first, part, rows);
        if (rc != RT_OK) fuzz_refused(rc);
        for (size_t i = 0; rc == RT_OK && i < part * width; i++) fuzz_require(isfinite(rows[i]));
    }
    free(rows);
}

static void make_sound(char **data, size_t *size) {
    static const float rows[3][2] = {{1, 2}, {3, 4}, {5, 6}};
    static const char *const ids[] = {"a", "bb", "ccc"};
    static const size_t sizes[] = {1, 2, 3};
    rt_vectors_writer *w;
    uint64_t done;
    char path[128];
    snprintf(path, sizeof path, "%s/sound.h5", fuzz_folder());
    fuzz_require(rt_vectors_create(path, RT_VECTORS_H5, 2, true, "0123456789abcdef0123456789abcdef", &w, &done) ==
                 RT_OK);
    fuzz_require(rt_vectors_append(w, rows[0], ids, sizes, 3) == RT_OK && rt_vectors_commit(w) == RT_OK);
    FILE *f = fopen(path, "rb");
    *data = malloc(16384);
    fuzz_require(f && *data);
    *size = fread(*data, 1, 16384, f);
    fclose(f);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char *sound;
    static size_t sound_size;
    rt_vectors *v = NULL;
    rt_status rc;
    if (!sound) make_sound(&sound, &sound_size);
    if (size && data[0] == 'e') {
        char *copy = malloc(sound_size);
        fuzz_require(copy != NULL);
        memcpy(copy, sound, sound_size);
        for (size_t i = 1; i + 3 <= size; i += 3)
            copy[(size_t)(data[i] | data[i + 1] << 8) % sound_size] = (char)data[i + 2];
        rc = rt_vectors_open(fuzz_file(0, copy, sound_size), &v);
        free(copy);
    } else {
        rc = rt_vectors_open(fuzz_file(0, data, size), &v);
    }
    if (rc == RT_OK)
        check(v);
    else
        fuzz_refused(rc);
    rt_vectors_close(v);
    return 0;
}
