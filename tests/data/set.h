/* A small vocabulary, a spec to change, and shortcuts for data sets. */
#ifndef TEST_DATA_SET_H
#define TEST_DATA_SET_H
#include "data/dataset.h"
#include "tests/data/files.h"

enum { PAD, UNK, CLS, SEP, MASK, W_A, W_B, W_C, W_D, W_RED, W_BLUE, W_SHOE };
static const char vocab_text[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\nred\nblue\nshoe\n##s\n1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n";

static inline rt_tokenizer *make_tokenizer(const char *more, bool cased) {
    rt_tokenizer *tok;
    char text[1024];
    rt_tokenizer_options options = rt_tokenizer_defaults();
    options.lowercase = !cased;
    snprintf(text, sizeof text, "%s%s", vocab_text, more);
    assert_int_equal(rt_tokenizer_from_vocab(text, strlen(text), "vocab.txt", &options, &tok), RT_OK);
    return tok;
}

/* Pairs a, b; label y; no cache. */
static inline rt_data_spec make_spec(const char *const *files, int n) {
    return (rt_data_spec){.files = files,
                          .n_files = n,
                          .text_a = "a",
                          .text_b = "b",
                          .label = "y",
                          .n_labels = 1,
                          .need_label = true,
                          .encode = {.max_length = 16},
                          .threads = 2};
}

typedef struct {
    rt_log *log;
    char *text;
    size_t size;
    FILE *stream;
} log_catcher;

/* In place: the stream keeps the addresses of text and size. */
static inline void catch_log(log_catcher *c) {
    *c = (log_catcher){0};
    c->stream = open_memstream(&c->text, &c->size);
    rt_log_options options = {c->stream, RT_LOG_VERBOSE, false};
    c->log = rt_log_open(&options);
    assert_non_null(c->log);
}

/* True if the log so far holds `part`. */
static inline bool log_says(log_catcher *c, const char *part) {
    fflush(c->stream);
    return c->text && strstr(c->text, part) != NULL;
}

static inline void drop_log(log_catcher *c) {
    rt_log_close(c->log);
    fclose(c->stream);
    free(c->text);
    *c = (log_catcher){0};
}

/* "2 5 3 | 6 3" : ids, a bar at the split. */
static inline const char *row_text(const rt_dataset *ds, uint32_t row) {
    static char out[4096];
    int32_t ids[512];
    int split, at = 0;
    assert_int_equal(rt_dataset_tokens(ds, row, ids, &split), RT_OK);
    int n = rt_dataset_lengths(ds)[row];
    for (int t = 0; t < n; t++)
        at += snprintf(out + at, sizeof out - (size_t)at, "%s%s%d", t ? " " : "", t == split ? "| " : "", (int)ids[t]);
    return out;
}

#endif
