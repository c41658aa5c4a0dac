/* metrics.jsonl: whole lines always, and the cut that a resume makes. */
#include "base/file.h"
#include "track/track.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[128];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/rt-jsonl-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (access(path, F_OK) == 0) unlink(path);
    return rmdir(folder); /* fails if a temporary file was left behind */
}

static void put(const char *text) {
    assert_int_equal(rt_file_write_atomic(path, text, strlen(text)), RT_OK);
}

static void expect(const char *text) {
    char *data;
    size_t size;
    assert_int_equal(rt_file_read(path, 1 << 20, &data, &size), RT_OK);
    assert_string_equal(data, text);
    free(data);
}

static void test_append(void **state) {
    (void)state;
    rt_jsonl *file;
    assert_int_equal(rt_jsonl_open(path, &file), RT_OK);
    assert_int_equal(rt_jsonl_write(file, "{\"step\": 1}"), RT_OK);
    expect("{\"step\": 1}\n"); /* there before the file is closed */
    assert_int_equal(rt_jsonl_write(file, "{\n}"), RT_EINTERNAL);
    rt_jsonl_close(file);
    assert_int_equal(rt_jsonl_open(path, &file), RT_OK);
    assert_int_equal(rt_jsonl_write(file, "{\"step\": 2}"), RT_OK);
    rt_jsonl_close(file);
    expect("{\"step\": 1}\n{\"step\": 2}\n");
    rt_jsonl_close(NULL);
}

static void test_torn_line_is_cut_on_open(void **state) {
    (void)state;
    rt_jsonl *file;
    put("{\"step\": 1}\n{\"step\": 2, \"a\": {\"b\": 1}");
    assert_int_equal(rt_jsonl_open(path, &file), RT_OK);
    assert_int_equal(rt_jsonl_write(file, "{\"step\": 3}"), RT_OK);
    rt_jsonl_close(file);
    expect("{\"step\": 1}\n{\"step\": 3}\n");
    /* A torn line longer than any buffer, and nothing before it. */
    char *torn = malloc(20001);
    assert_non_null(torn);
    memset(torn, 'x', 20000);
    torn[20000] = '\0';
    put(torn);
    free(torn);
    assert_int_equal(rt_jsonl_open(path, &file), RT_OK);
    rt_jsonl_close(file);
    expect("");
}

static void test_errors_name_the_path(void **state) {
    (void)state;
    rt_jsonl *file;
    char missing[160];
    snprintf(missing, sizeof missing, "%s/no/metrics.jsonl", folder);
    assert_int_equal(rt_jsonl_open(missing, &file), RT_EIO);
    assert_null(file);
    assert_non_null(strstr(rt_error_get()->text, missing));
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(rt_jsonl_open("/dev/full", &file), RT_OK);
        assert_int_equal(rt_jsonl_write(file, "{}"), RT_EIO);
        assert_non_null(strstr(rt_error_get()->text, "/dev/full"));
        rt_jsonl_close(file);
    }
}

#define START "{\"event\": \"start\", \"step\": 0}\n"
#define TRAIN(n) "{\"event\": \"train\", \"step\": " #n ", \"loss\": 0.5}\n"
#define EVAL(n) "{\"event\": \"eval\", \"split\": \"dev\", \"step\": " #n "}\n"

static void test_cut(void **state) {
    (void)state;
    put(START TRAIN(10) EVAL(10) TRAIN(20) EVAL(20) TRAIN(30));
    assert_int_equal(rt_jsonl_cut(path, 20, false), RT_OK);
    expect(START TRAIN(10) EVAL(10) TRAIN(20) EVAL(20));
    assert_int_equal(rt_jsonl_cut(path, 20, true), RT_OK);
    expect(START TRAIN(10) EVAL(10) TRAIN(20)); /* the evaluation of step 20 is due again; that of step 10 is not */
    assert_int_equal(rt_jsonl_cut(path, 0, false), RT_OK);
    expect(START);
}

static void test_cut_drops_what_is_torn(void **state) {
    (void)state;
    put(TRAIN(10) "{\"event\": \"tra\n\n[1]\n" TRAIN(20) "{\"event\": \"train\", \"step\": 5");
    assert_int_equal(rt_jsonl_cut(path, 20, false), RT_OK);
    expect(TRAIN(10) TRAIN(20));
    put("{\"step\": 1");
    assert_int_equal(rt_jsonl_cut(path, 20, false), RT_OK);
    expect("");
}

static void test_cut_leaves_a_good_file_alone(void **state) {
    (void)state;
    struct stat before, after;
    put(START "{\"note\": \"no step\"}\n" TRAIN(20));
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(rt_jsonl_cut(path, 20, false), RT_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    expect(START "{\"note\": \"no step\"}\n" TRAIN(20));
    if (access(path, F_OK) == 0) unlink(path);
    assert_int_equal(rt_jsonl_cut(path, 20, true), RT_OK); /* nothing there, nothing to do */
    assert_false(rt_file_exists(path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_append, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_line_is_cut_on_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_name_the_path, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_drops_what_is_torn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_leaves_a_good_file_alone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
