/* A join in the test's folder, and its files read back. */
#ifndef TEST_DATA_JOIN_CASE_H
#define TEST_DATA_JOIN_CASE_H
#include "base/philox.h"
#include "data/join.h"
#include "tests/data/files.h"

static rt_join_summary summary;

/* items.tsv and `log` of the folder into out/. */
static inline rt_join_options options(const char *log) {
    static char items_path[256], log_path[256], out_path[256];
    snprintf(items_path, sizeof items_path, "%s", in_folder("items.tsv"));
    snprintf(log_path, sizeof log_path, "%s", in_folder(log));
    snprintf(out_path, sizeof out_path, "%s", in_folder("out"));
    return (rt_join_options){.items = items_path,
                             .events = log_path,
                             .folder = out_path,
                             .history = 50,
                             .negatives = -1,
                             .seed = 1,
                             .memory = 32 << 20};
}

static inline void join_ok(const rt_join_options *o) {
    if (rt_join(o, NULL, &summary) != RT_OK) fail_msg("%s", rt_error_get()->text);
}

#define JOIN_FAILS(o, status, words)                                                                                   \
    do {                                                                                                               \
        assert_int_equal(rt_join((o), NULL, &summary), status);                                                        \
        if (!strstr(plain(rt_error_get()->text), words)) fail_msg("%s", rt_error_get()->text);                         \
    } while (0)

static inline const char *read_file(const char *name) {
    static char *text;
    FILE *f = fopen(in_folder(name), "rb");
    if (!f) fail_msg("%s is not there", name);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    text = realloc(text, (size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, f), size);
    text[size] = 0;
    fclose(f);
    return text;
}

#define FILE_IS(name, want) assert_string_equal(read_file(name), want)

/* items.tsv: 0 .. n-1, titles "Movie 0" ... */
static inline void write_many_items(int n) {
    char *text = malloc((size_t)n * 40 + 32);
    assert_non_null(text);
    size_t at = (size_t)sprintf(text, "item_id\ttitle\n");
    for (int i = 0; i < n; i++) at += (size_t)sprintf(text + at, "%d\tMovie %d\n", i, i);
    write_bytes("items.tsv", text, at);
    free(text);
}

#endif
