/* Writing and reading back: contents, bytes, refusals, and the old file whenever a write fails. */
#include "cases.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static void check_tensor(rt_checkpoint *c, rt_section section, const rt_tensor_view *v) {
    size_t n = (size_t)(v->shape[0] * v->shape[1]);
    float *out = malloc(n * sizeof *out);
    assert_int_equal(rt_checkpoint_read(c, section, v->name, v->rank, v->shape, out), RT_OK);
    assert_memory_equal(out, v->data, n * sizeof *out);
    free(out);
}

static void check_blob(rt_blob found, rt_blob expected) {
    assert_int_equal(found.bytes != NULL, expected.bytes != NULL);
    assert_int_equal(found.size, expected.size);
    if (expected.size) assert_memory_equal(found.bytes, expected.bytes, expected.size);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    for (int moments = 0; moments < 2; moments++) {
        tiny t;
        rt_checkpoint *c = NULL;
        make_tiny(&t, moments);
        assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
        assert_int_equal(rt_checkpoint_open(at("a.h5"), &c), RT_OK);
        check_blob(rt_checkpoint_config_json(c), t.contents.config_json);
        check_blob(rt_checkpoint_vocab(c), t.contents.vocab_txt);
        check_blob(rt_checkpoint_tokenizer_config(c), t.contents.tokenizer_config_json);
        check_blob(rt_checkpoint_config_ini(c), t.contents.config_ini);
        check_blob(rt_checkpoint_state(c), t.contents.state);
        assert_int_equal(rt_checkpoint_tensor_count(c), N_TENSORS);
        for (int i = 0; i < N_TENSORS; i++) {
            check_tensor(c, RT_SECTION_MODEL, &t.views[i]);
            if (i) assert_true(strcmp(rt_checkpoint_tensor_name(c, i - 1), rt_checkpoint_tensor_name(c, i)) < 0);
        }
        for (int i = 0; i < t.contents.n_moments; i++) {
            check_tensor(c, RT_SECTION_ADAM_M, &t.contents.m[i]);
            check_tensor(c, RT_SECTION_ADAM_V, &t.contents.v[i]);
        }
        assert_true(rt_checkpoint_has(c, RT_SECTION_MODEL, "classifier.bias"));
        assert_false(rt_checkpoint_has(c, RT_SECTION_MODEL, "classifier"));
        assert_int_equal(rt_checkpoint_has(c, RT_SECTION_ADAM_V, "classifier.bias"), moments);
        assert_false(rt_checkpoint_has(c, RT_SECTION_ADAM_M, "classifier.weight"));
        rt_checkpoint_close(c);
    }
    rt_checkpoint_close(NULL);
}

static void same_contents_same_bytes(void **state) {
    (void)state;
    tiny t;
    size_t n, m;
    make_tiny(&t, true);
    assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
    sleep(1); /* a time of a second's grain would show */
    assert_int_equal(rt_checkpoint_write(at("b.h5"), &t.contents), RT_OK);
    char *a = get_file("a.h5", &n), *b = get_file("b.h5", &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a), free(b);
    t.a[3] += 1;
    assert_int_equal(rt_checkpoint_write(at("b.h5"), &t.contents), RT_OK);
    rt_verify_summary x, y;
    assert_int_equal(rt_checkpoint_verify(at("a.h5"), &x), RT_OK);
    assert_int_equal(rt_checkpoint_verify(at("b.h5"), &y), RT_OK);
    assert_string_not_equal(x.digest, y.digest);
    assert_int_equal(strlen(x.digest), 32);
}

static void verify_counts(void **state) {
    (void)state;
    tiny t;
    rt_verify_summary s;
    struct stat st;
    make_tiny(&t, true);
    assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
    assert_int_equal(rt_checkpoint_verify(at("a.h5"), &s), RT_OK);
    assert_int_equal(stat(at("a.h5"), &st), 0);
    assert_int_equal(s.tensors, N_TENSORS);
    assert_int_equal(s.moments, 4);
    assert_int_equal(s.parameters, 48 + 5 + 210 + 2);
    assert_int_equal(s.bytes, st.st_size);
    assert_true(s.resumable);
    make_tiny(&t, false);
    assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
    assert_int_equal(rt_checkpoint_verify(at("a.h5"), &s), RT_OK);
    assert_false(s.resumable);
}

/* Beyond one piece of verify's buffer the checksum is streamed; and many names need a deeper index. */
static void large_and_many(void **state) {
    (void)state;
    enum { MANY = 3000, LARGE = 700001 };
    rt_tensor_view *views = calloc(MANY, sizeof *views);
    char(*names)[32] = calloc(MANY, sizeof *names);
    float *data = malloc(LARGE * sizeof *data), *out = malloc(LARGE * sizeof *out);
    rt_checkpoint *c;
    rt_verify_summary s;
    for (int i = 0; i < LARGE; i++) data[i] = (float)i;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "layer.%d.weight", i);
        views[i] = (rt_tensor_view){names[i], 1, {i == 1234 ? LARGE : 3, 1}, data + (i == 1234 ? 0 : i)};
    }
    rt_checkpoint_contents contents = {.tensors = views, .n_tensors = MANY};
    assert_int_equal(rt_checkpoint_write(at("many.h5"), &contents), RT_OK);
    assert_int_equal(rt_checkpoint_verify(at("many.h5"), &s), RT_OK);
    assert_int_equal(s.tensors, MANY);
    assert_int_equal(rt_checkpoint_open(at("many.h5"), &c), RT_OK);
    assert_int_equal(rt_checkpoint_read(c, RT_SECTION_MODEL, "layer.1234.weight", 1, (int64_t[]){LARGE}, out), RT_OK);
    assert_memory_equal(out, data, LARGE * sizeof *data);
    assert_int_equal(rt_checkpoint_read(c, RT_SECTION_MODEL, "layer.2999.weight", 1, (int64_t[]){3}, out), RT_OK);
    assert_true(out[0] == 2999.0f);
    rt_checkpoint_close(c);
    free(views), free(names), free(data), free(out);
}

static void wrong_questions(void **state) {
    (void)state;
    tiny t;
    rt_checkpoint *c;
    float out[256];
    make_tiny(&t, false);
    assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
    assert_int_equal(rt_checkpoint_open(at("a.h5"), &c), RT_OK);
    assert_fails(rt_checkpoint_read(c, RT_SECTION_MODEL, "classifier.weight", 2, (int64_t[]){24, 2}, out), RT_EDATA,
                 "/model/classifier.weight is [2, 24], expected [24, 2]");
    assert_fails(rt_checkpoint_read(c, RT_SECTION_MODEL, "classifier.weight", 1, (int64_t[]){48}, out), RT_EDATA,
                 "[48]");
    assert_fails(rt_checkpoint_read(c, RT_SECTION_MODEL, "pooler", 1, (int64_t[]){5}, out), RT_EDATA, "no tensor");
    assert_fails(rt_checkpoint_read(c, RT_SECTION_ADAM_M, "classifier.bias", 1, (int64_t[]){2}, out), RT_EDATA,
                 "/adam_m/classifier.bias");
    rt_checkpoint_close(c);
    assert_fails(rt_checkpoint_open(at("none.h5"), &c), RT_ENOINPUT, "none.h5");
    assert_fails(rt_checkpoint_open(folder, &c), RT_EDATA, "rectrain convert");
    put_text("text.h5", "this is no HDF5 file at all");
    assert_fails(rt_checkpoint_open(at("text.h5"), &c), RT_EDATA, "not an HDF5 file");
    put_text("empty.h5", "");
    assert_fails(rt_checkpoint_open(at("empty.h5"), &c), RT_EDATA, "not an HDF5 file");
    assert_int_equal(mkfifo(at("pipe.h5"), 0600), 0);
    assert_fails(rt_checkpoint_open(at("pipe.h5"), &c), RT_EDATA, "not a regular file");
}

static void wrong_contents(void **state) {
    (void)state;
    tiny t;
    static const char *const names[] = {"", "a/b", "with blank", "\xc3\xa4", "tab\t"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        make_tiny(&t, false);
        t.views[1].name = names[i];
        assert_fails(rt_checkpoint_write(at("w.h5"), &t.contents), RT_EINTERNAL, "cannot be stored");
    }
    make_tiny(&t, false);
    t.views[1].shape[0] = 0;
    assert_fails(rt_checkpoint_write(at("w.h5"), &t.contents), RT_EINTERNAL, "bert.pooler.dense.bias");
    make_tiny(&t, false);
    t.views[0].shape[0] = INT64_MAX / 2;
    assert_fails(rt_checkpoint_write(at("w.h5"), &t.contents), RT_EINTERNAL, "classifier.weight");
    make_tiny(&t, true);
    t.contents.state.bytes = NULL;
    assert_fails(rt_checkpoint_write(at("w.h5"), &t.contents), RT_EINTERNAL, "state");
    make_tiny(&t, true);
    t.moments[1][1].name = "other";
    assert_fails(rt_checkpoint_write(at("w.h5"), &t.contents), RT_EINTERNAL, "other");
    make_tiny(&t, false);
    t.views[1].name = t.views[0].name; /* libhdf5 refuses a second of the same name */
    assert_int_not_equal(rt_checkpoint_write(at("w.h5"), &t.contents), RT_OK);
    assert_int_equal(files_in_folder(), 0);
}

/* --- failures leave the old file ---------------------------------------------------------------------------------- */

/* A disk that is full after `limit` bytes, as far as one process can make it: EFBIG instead of ENOSPC. */
static void full_disk(void **state) {
    (void)state;
    tiny t;
    size_t n, m;
    struct rlimit before;
    struct stat st;
    make_tiny(&t, false);
    assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
    char *old = get_file("a.h5", &n);
    make_tiny(&t, true);
    assert_int_equal(rt_checkpoint_write(at("b.h5"), &t.contents), RT_OK);
    assert_int_equal(stat(at("b.h5"), &st), 0);
    assert_int_equal(remove(at("b.h5")), 0);
    signal(SIGXFSZ, SIG_IGN); /* so that write() fails instead */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t limit = 0; limit < (rlim_t)st.st_size; limit += 97) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, before.rlim_max}), 0);
        rt_status found = rt_checkpoint_write(at("a.h5"), &t.contents);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_fails(found, RT_EIO, "a.h5");
        char *now = get_file("a.h5", &m);
        assert_int_equal(n, m);
        assert_memory_equal(old, now, n);
        free(now);
        assert_int_equal(files_in_folder(), 1); /* nothing half written is left */
    }
    free(old);
}

static void no_folder(void **state) {
    (void)state;
    tiny t;
    make_tiny(&t, false);
    assert_fails(rt_checkpoint_write(at("nowhere/a.h5"), &t.contents), RT_EIO, "nowhere");
    put_text("file", "x");
    assert_fails(rt_checkpoint_write(at("file/a.h5"), &t.contents), RT_EIO, "file/a.h5");
}

/* A folder in the file's place: rename cannot succeed, whoever runs the test. */
static void cannot_be_replaced(void **state) {
    (void)state;
    tiny t;
    make_tiny(&t, false);
    assert_int_equal(mkdir(at("a.h5"), 0700), 0);
    assert_fails(rt_checkpoint_write(at("a.h5"), &t.contents), RT_EIO, "a.h5");
    assert_int_equal(files_in_folder(), 1);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read), TEST(same_contents_same_bytes), TEST(verify_counts), TEST(large_and_many),
        TEST(wrong_questions),         TEST(wrong_contents),           TEST(full_disk),     TEST(no_folder),
        TEST(cannot_be_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
