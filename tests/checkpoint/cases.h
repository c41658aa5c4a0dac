/* What the tests of checkpoints share: a folder of their own, files, a tiny model. */
#ifndef RT_TEST_CHECKPOINT_CASES_H
#define RT_TEST_CHECKPOINT_CASES_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"

static char folder[64];

static inline int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/rectrain-checkpoint-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline void remove_tree(const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0) return;
    if (S_ISDIR(st.st_mode)) {
        chmod(path, 0700);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir && (e = readdir(dir));) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
            char *inner = rt_path_join(path, e->d_name);
            if (inner) remove_tree(inner);
            free(inner);
        }
        if (dir) closedir(dir);
    }
    remove(path);
}

static inline int drop_folder(void **state) {
    (void)state;
    remove_tree(folder);
    return 0;
}

/* A path in the test's folder; good until the fourth call after. */
static inline const char *at(const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void put_file(const char *name, const void *bytes, size_t size) {
    FILE *f = fopen(at(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *name, const char *text) {
    put_file(name, text, strlen(text));
}

/* The whole file; the caller frees. */
static inline char *get_file(const char *name, size_t *size) {
    char *data = NULL;
    assert_int_equal(rt_file_read(at(name), (size_t)1 << 30, &data, size), RT_OK);
    return data;
}

static inline void assert_fails(rt_status found, rt_status expected, const char *part) {
    if (found != expected || !strstr(rt_error_get()->text, part))
        fail_msg("status %d, expected %d; \"%s\", expected it to say \"%s\"", found, expected, rt_error_get()->text,
                 part);
}

static inline int files_in_folder(void) {
    int n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) n += e->d_name[0] != '.';
    if (dir) closedir(dir);
    return n;
}

#define N_TENSORS 4
typedef struct {
    float a[6 * 8], b[5], c[3 * 70], d[2];
    rt_tensor_view views[N_TENSORS], moments[2][2];
    rt_checkpoint_contents contents;
} tiny;

/* Four tensors, given out of order; with moments for two of them where asked. */
static inline void make_tiny(tiny *t, bool moments) {
    memset(t, 0, sizeof *t);
    for (int i = 0; i < 48; i++) t->a[i] = (float)i * 0.5f - 3;
    for (int i = 0; i < 5; i++) t->b[i] = -(float)i;
    for (int i = 0; i < 210; i++) t->c[i] = 1.0f / (float)(i + 1);
    t->d[0] = -0.0f, t->d[1] = 1e-40f; /* bits that a careless copy loses */
    t->views[0] = (rt_tensor_view){"classifier.weight", 2, {2, 24}, t->a};
    t->views[1] = (rt_tensor_view){"bert.pooler.dense.bias", 1, {5, 1}, t->b};
    t->views[2] = (rt_tensor_view){"bert.encoder.layer.0.output.dense.weight", 2, {3, 70}, t->c};
    t->views[3] = (rt_tensor_view){"classifier.bias", 1, {2, 1}, t->d};
    t->contents = (rt_checkpoint_contents){.config_json = {"{\"model_type\": \"bert\"}", 22},
                                           .vocab_txt = {"[PAD]\n[UNK]\n", 12},
                                           .tokenizer_config_json = {"{}", 2},
                                           .config_ini = {"", 0},
                                           .tensors = t->views,
                                           .n_tensors = N_TENSORS};
    if (!moments) return;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++) t->moments[k][i] = t->views[2 * i + 1];
    t->moments[1][0].data = t->a;
    t->contents.m = t->moments[0], t->contents.v = t->moments[1], t->contents.n_moments = 2;
    t->contents.state = (rt_blob){"{\"step\": 7}", 11};
}

#endif
