/* A small data set with every column, its cache, and shortcuts to open it. */
#ifndef TEST_DATA_CACHE_CASE_H
#define TEST_DATA_CACHE_CASE_H
#include "base/file.h"
#include "data/dataset_internal.h"
#include "tests/data/set.h"
#include <dirent.h>

static rt_tokenizer *tok;
static int folders;

static inline int set_up(void **state) {
    tok = make_tokenizer("", false);
    return make_folder(state);
}

static int tear_down(void **state) {
    rt_tokenizer_free(tok);
    return drop_folder(state);
}

static inline const char *fresh_folder(void) {
    char name[32];
    snprintf(name, sizeof name, "cache%d", folders++);
    return in_folder(name);
}

/* The only file in `folder` whose name ends so; "" if none. */
static inline const char *find_file(const char *folder, const char *end) {
    static char path[512];
    DIR *d = opendir(folder);
    path[0] = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name), m = strlen(end);
        if (n < m || strcmp(e->d_name + n - m, end) != 0) continue;
        assert_string_equal(path, "");
        snprintf(path, sizeof path, "%.200s/%.255s", folder, e->d_name);
    }
    closedir(d);
    return path;
}

static const char text[] =
    "a\tb\ty\tg\tw\tu\ti\tt\nred shoe\tblue\t1\tq1\t2\tann\tx\t1\nshoes\td d\t0\tq2\t0.5\tbob\ty\t2\n"
    "A\tzzz [SEP]\t1\tq1\t1\tann\tx\t3\n";

static inline rt_data_spec full_spec(const char *const *files, const char *folder) {
    rt_data_spec spec = make_spec(files, 1);
    spec.group = "g", spec.weight = "w", spec.user = "u", spec.item = "i", spec.time = "t";
    spec.cache_folder = folder;
    return spec;
}

/* Opens, checks whether the cache served, and that the rows are right either way. */
static inline void open_and_check(const rt_data_spec *spec, const rt_tokenizer *with, bool cached) {
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(spec, with, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_stats(ds)->from_cache, cached);
    assert_int_equal(rt_dataset_rows(ds), 3);
    assert_int_equal(rt_dataset_labels(ds)[0], 1);
    rt_dataset_close(ds);
}

#endif
