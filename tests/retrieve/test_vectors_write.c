/* The writer: what it refuses, and that a run which was stopped in any way ends with the bytes of one that was not. */
#include "vectors_cases.h"
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static const char OTHER[] = "ffffffffffffffffffffffffffffffff";
static const char *const parts[] = {".part", ".part.ids", ".part.state"};

static void name_of(const char *path, const char *end, char out[200]) {
    snprintf(out, 200, "%s%s", path, end);
}

static bool any_part(const char *path) {
    char name[200];
    for (int i = 0; i < 3; i++) {
        name_of(path, parts[i], name);
        if (rt_file_exists(name)) return true;
    }
    return false;
}

static void assert_same(const char *path, const char *whole) {
    char a[200], b[200];
    assert_same_file(path, whole);
    name_of(path, ".ids", a);
    name_of(whole, ".ids", b);
    assert_int_equal(rt_file_exists(a), rt_file_exists(b));
    if (rt_file_exists(a)) assert_same_file(a, b);
    assert_false(any_part(path));
}

static rt_vectors_writer *begin(const char *path, int width, const char *key, uint64_t wanted_done) {
    rt_vectors_writer *w;
    uint64_t done = 77;
    ok(rt_vectors_create(path, RT_VECTORS_AUTO, width, true, key, &w, &done));
    if (done != wanted_done)
        fail_msg("%s: goes on after %llu, not %llu", path, (unsigned long long)done, (unsigned long long)wanted_done);
    return w;
}

static void test_goes_on(void **state) {
    (void)state;
    for (int e = 0; e < N_ENDS; e++) {
        const char *path = with_end("part", ends[e]);
        write_all(with_end("whole", ends[e]), 100, 5, 10);
        rt_vectors_writer *w = begin(path, 5, KEY, 0);
        ok(append(w, 0, 30, 5));
        rt_vectors_abort(w, true);
        assert_false(rt_file_exists(path));
        w = begin(path, 5, KEY, 30);
        rt_vectors_abort(w, true); /* nothing more: all the same */
        w = begin(path, 5, KEY, 30);
        ok(append(w, 30, 1, 5));
        ok(append(w, 31, 39, 5));
        rt_vectors_abort(w, true);
        w = begin(path, 5, KEY, 70);
        ok(append(w, 70, 30, 5));
        ok(rt_vectors_commit(w));
        assert_same(path, with_end("whole", ends[e]));
        /* Again from the start, over a file that is there, which stays until the end. */
        w = begin(path, 5, KEY, 0);
        ok(append(w, 0, 50, 5));
        rt_vectors_abort(w, false);
        assert_same(path, with_end("whole", ends[e]));
    }
}

static void test_starts_anew(void **state) {
    (void)state;
    const char *path = at("anew.npy");
    write_all(at("whole.npy"), 40, 3, 10);
    for (int what = 0; what < 9; what++) {
        rt_vectors_writer *w = begin(path, 3, KEY, 0);
        char name[200], *b;
        size_t size;
        ok(append(w, 0, 20, 3));
        rt_vectors_abort(w, true);
        name_of(path, parts[what % 3], name);
        read_bytes(name, &b, &size);
        uint64_t kept = 0;
        if (what < 3) { /* lost, any of the three */
            unlink(name);
        } else if (what < 6) { /* a byte altered */
            b[size / 2 + (what == 5 ? 0 : 1)] ^= 1;
            write_bytes(name, b, size);
        } else if (what < 8) { /* what a killed run left behind its last state: cut off */
            rt_text more = {0};
            rt_text_append(&more, b, size);
            for (int i = 0; i < 1000; i++) rt_text_puts(&more, "more than all the rows to come\n");
            write_bytes(name, more.data, more.size);
            rt_text_free(&more);
            kept = 20;
        } else { /* a state with words behind it is not one of ours */
            rt_text more = {0};
            rt_text_append(&more, b, size);
            rt_text_puts(&more, "rows 7\n");
            write_bytes(name, more.data, more.size);
            rt_text_free(&more);
        }
        free(b);
        w = begin(path, 3, KEY, kept);
        ok(append(w, kept, (uint32_t)(40 - kept), 3));
        ok(rt_vectors_commit(w));
        assert_same(path, at("whole.npy"));
    }
    /* Another key, width, format or kind of rows is another run. */
    for (int what = 0; what < 3; what++) {
        rt_vectors_writer *w = begin(path, 3, KEY, 0);
        uint64_t done = 77;
        ok(append(w, 0, 20, 3));
        rt_vectors_abort(w, true);
        ok(rt_vectors_create(path, what == 1 ? RT_VECTORS_FBIN : RT_VECTORS_AUTO, 3, what != 2, what ? KEY : OTHER, &w,
                             &done));
        assert_int_equal(done, 0);
        rt_vectors_abort(w, false);
        assert_false(any_part(path));
    }
}

/* A process that appends a row at a time is killed at moments that nobody chose; another one takes over, until the file
 * is whole. */
static void test_killed_at_any_moment(void **state) {
    (void)state;
    enum { N = 60000, WIDTH = 4, WINDOW = 500 };
    for (int e = 0; e < N_ENDS; e++) {
        const char *path = with_end("killed", ends[e]);
        uint64_t last = 0;
        int kills = 0;
        write_all(with_end("whole", ends[e]), N, WIDTH, WINDOW);
        for (;; kills++) {
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                rt_vectors_writer *w;
                uint64_t done;
                if (rt_vectors_create(path, RT_VECTORS_AUTO, WIDTH, true, KEY, &w, &done) != RT_OK) _exit(1);
                for (uint64_t row = done; row < N; row += WINDOW)
                    if (append(w, row, N - row < WINDOW ? (uint32_t)(N - row) : WINDOW, WIDTH) != RT_OK) _exit(2);
                _exit(rt_vectors_commit(w) == RT_OK ? 0 : 3);
            }
            int status;
            /* Longer and longer, so that the end is reached however slow the machine is. */
            struct timespec wait = {.tv_sec = kills / 40, .tv_nsec = (long)(kills % 40) * 1000000 + 300000};
            nanosleep(&wait, NULL);
            kill(child, SIGKILL);
            assert_int_equal(waitpid(child, &status, 0), child);
            if (WIFEXITED(status)) {
                assert_int_equal(WEXITSTATUS(status), 0);
                break;
            }
            if (rt_file_exists(path)) break; /* killed behind the last move */
            rt_vectors_writer *w;
            uint64_t done;
            ok(rt_vectors_create(path, RT_VECTORS_AUTO, WIDTH, true, KEY, &w, &done));
            assert_true(done >= last && done <= N && (done % WINDOW == 0 || done == N));
            last = done;
            rt_vectors_abort(w, true);
        }
        assert_same_file(path, with_end("whole", ends[e]));
        unlink(path);
    }
}

static void test_one_process_at_a_time(void **state) {
    (void)state;
    rt_vectors_writer *w = begin(at("two.h5"), 3, KEY, 0), *second;
    uint64_t done;
    refused(rt_vectors_create(at("two.h5"), RT_VECTORS_AUTO, 3, true, KEY, &second, &done), RT_ECONFIG,
            "another rectrain process");
    ok(append(w, 0, 5, 3)); /* unharmed */
    ok(rt_vectors_commit(w));
    rt_vectors *v;
    ok(rt_vectors_open(at("two.h5"), &v));
    assert_int_equal(rt_vectors_count(v), 5);
    rt_vectors_close(v);
}

static void test_refused_rows(void **state) {
    (void)state;
    static const struct {
        const char *id, *says;
        size_t size;
    } ids[] = {{"", "is empty", 0},
               {"a\nb", "holds a line break", 3},
               {"a\rb", "holds a line break", 3},
               {"a\0b", "holds a line break or a NUL", 3}};
    char *large = malloc(1025);
    memset(large, 'x', 1025);
    float row[3] = {1, 2, 3};
    for (int e = 0; e < N_ENDS; e++) {
        rt_vectors_writer *w = begin(with_end("rows", ends[e]), 3, KEY, 0);
        ok(append(w, 0, 2, 3));
        for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
            refused(rt_vectors_append(w, row, &ids[i].id, &ids[i].size, 1), RT_EDATA, ids[i].says);
        const char *id = large;
        size_t size = 1025;
        refused(rt_vectors_append(w, row, &id, &size, 1), RT_EDATA, "over 1,024 bytes");
        size = 1024;
        ok(rt_vectors_append(w, row, &id, &size, 1));
        const uint32_t values[] = {0x7fc00000, 0x7f800000, 0xff800000};
        for (size_t i = 0; i < 3; i++) {
            float bad[3] = {1, 2, 3};
            memcpy(&bad[2], &values[i], 4);
            id = "b", size = 1;
            refused(rt_vectors_append(w, bad, &id, &size, 1), RT_EDATA,
                    "row 3 (id \"b\") holds a value that is not finite");
        }
        id = "\xff\xfe", size = 2;
        if (strcmp(ends[e], "jsonl") == 0)
            refused(rt_vectors_append(w, row, &id, &size, 1), RT_EDATA, "no UTF-8");
        else
            ok(rt_vectors_append(w, row, &id, &size, 1));
        ok(rt_vectors_commit(w));
        rt_vectors *v;
        ok(rt_vectors_open(with_end("rows", ends[e]), &v));
        assert_int_equal(rt_vectors_count(v), strcmp(ends[e], "jsonl") == 0 ? 3 : 4);
        assert_int_equal(rt_vectors_find(v, large, 1024), 2);
        rt_vectors_close(v);
    }
    free(large);
}

static void test_ids_twice(void **state) {
    (void)state;
    for (int e = 0; e < N_ENDS; e++) {
        const char *path = with_end("twice", ends[e]);
        rt_vectors_writer *w = begin(path, 3, KEY, 0);
        ok(append(w, 0, 50, 3));
        ok(append(w, 17, 1, 3));
        ok(append(w, 50, 20, 3));
        refused(rt_vectors_commit(w), RT_EDATA, "rows 17 and 50 both have the id \"item 51");
        assert_false(rt_file_exists(path));
        assert_false(any_part(path));
    }
}

/* Nothing at all is a file too. */
static void test_no_rows(void **state) {
    (void)state;
    for (int e = 0; e < N_ENDS - 1; e++) {
        rt_vectors *v;
        float row[3];
        write_all(with_end("none", ends[e]), 0, 3, 8);
        ok(rt_vectors_open(with_end("none", ends[e]), &v));
        assert_true(rt_vectors_count(v) == 0 && rt_vectors_width(v) == 3);
        ok(rt_vectors_read(v, 0, 0, row));
        assert_int_equal(rt_vectors_find(v, "a", 1), -1);
        rt_vectors_close(v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_starts_anew),
        cmocka_unit_test(test_killed_at_any_moment),
        cmocka_unit_test(test_one_process_at_a_time),
        cmocka_unit_test(test_refused_rows),
        cmocka_unit_test(test_ids_twice),
        cmocka_unit_test(test_no_rows),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
