/* Sorting beyond memory: the order of a plain sort, equal keys in the order of adding, nothing left behind. */
#include "base/philox.h"
#include "data/extsort.h"
#include "tests/data/files.h"
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>

typedef struct {
    unsigned char key[40];
    size_t key_size, value_size;
    uint32_t number; /* of adding: also the value's first bytes */
} rec;

static int by_key(const void *a, const void *b) {
    const rec *x = a, *y = b;
    size_t n = x->key_size < y->key_size ? x->key_size : y->key_size;
    int order = memcmp(x->key, y->key, n);
    if (order) return order;
    if (x->key_size != y->key_size) return x->key_size < y->key_size ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Few different bytes, so that keys are equal often and begin one another. */
static rec *make_records(uint32_t n, uint64_t seed) {
    rec *r = calloc(n, sizeof *r);
    assert_non_null(r);
    rt_rng rng = rt_rng_make(seed, 1, 1);
    for (uint32_t i = 0; i < n; i++) {
        r[i].number = i;
        r[i].key_size = rt_rng_below(&rng, 12);
        if (r[i].key_size == 11) r[i].key_size = 40;
        for (size_t k = 0; k < r[i].key_size; k++) r[i].key[k] = (unsigned char)(rt_rng_below(&rng, 3) * 127);
        r[i].value_size = 4 + rt_rng_below(&rng, 60);
    }
    return r;
}

static rt_extsort *sort_records(const rec *r, uint32_t n, size_t memory, size_t reader_memory) {
    static unsigned char value[64];
    rt_extsort *s;
    assert_int_equal(rt_extsort_new(test_folder, memory, &s), RT_OK);
    for (uint32_t i = 0; i < n; i++) {
        memset(value, (int)i, sizeof value);
        memcpy(value, &r[i].number, 4);
        assert_int_equal(rt_extsort_add(s, r[i].key, r[i].key_size, value, r[i].value_size), RT_OK);
    }
    assert_int_equal(rt_extsort_finish(s, reader_memory), RT_OK);
    assert_int_equal(rt_extsort_records(s), n);
    return s;
}

static void check_next(rt_extsort_reader *reader, const rec *want) {
    rt_extsort_record got;
    assert_int_equal(rt_extsort_next(reader, &got), RT_OK);
    assert_non_null(got.key);
    assert_int_equal(got.key_size, want->key_size);
    assert_memory_equal(got.key, want->key, got.key_size);
    assert_int_equal(got.value_size, want->value_size);
    assert_memory_equal(got.value, &want->number, 4);
    for (size_t i = 4; i < got.value_size; i++)
        assert_int_equal(((const unsigned char *)got.value)[i], (unsigned char)want->number);
}

static void check_end(rt_extsort_reader *reader) {
    rt_extsort_record got;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rt_extsort_next(reader, &got), RT_OK);
        assert_null(got.key);
    }
    rt_extsort_close(reader);
}

static int files_there(void) {
    DIR *d = opendir(test_folder);
    int n = -2; /* . and .. */
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void check_sort(uint32_t n, size_t memory, size_t reader_memory, int least_runs) {
    rec *r = make_records(n, n);
    rt_extsort *s = sort_records(r, n, memory, reader_memory);
    rt_extsort_reader *reader;
    assert_true(rt_extsort_runs(s) >= least_runs);
    assert_int_equal(files_there(), 0); /* what there is has no name */
    qsort(r, n, sizeof *r, by_key);
    assert_int_equal(rt_extsort_open(s, &reader), RT_OK);
    for (uint32_t i = 0; i < n; i++) check_next(reader, &r[i]);
    check_end(reader);
    rt_extsort_free(s);
    free(r);
}

static void in_memory(void **state) {
    (void)state;
    check_sort(0, 1 << 20, 1 << 20, 0);
    check_sort(1, 1 << 20, 1 << 20, 0);
    check_sort(17, 1 << 20, 1 << 20, 0);
    check_sort(3000, 1 << 20, 1 << 20, 0);
}

static void through_runs(void **state) {
    (void)state;
    check_sort(60000, 1 << 20, 1 << 20, 4);
}

/* Two ways at a time: several passes over the file before one reader can hold the rest. */
static void through_passes(void **state) {
    (void)state;
    check_sort(100000, 1 << 20, 1, 2);
}

static void two_readers_do_not_meet(void **state) {
    (void)state;
    enum { N = 40000 };
    rec *r = make_records(N, 7);
    rt_extsort *s = sort_records(r, N, 1 << 20, 1 << 19);
    rt_extsort_reader *a, *b;
    qsort(r, N, sizeof *r, by_key);
    assert_int_equal(rt_extsort_open(s, &a), RT_OK);
    assert_int_equal(rt_extsort_open(s, &b), RT_OK);
    for (uint32_t i = 0; i < N; i++) {
        check_next(a, &r[i]);
        if (i % 2) check_next(b, &r[i / 2]);
    }
    check_end(a);
    rt_extsort_close(b);
    rt_extsort_free(s);
    free(r);
}

static void large_records(void **state) {
    (void)state;
    rt_extsort *s;
    rt_extsort_reader *reader;
    rt_extsort_record got;
    enum { N = 24 };
    unsigned char *value = malloc(RT_EXTSORT_MAX_RECORD);
    assert_non_null(value);
    assert_int_equal(rt_extsort_new(test_folder, 1, &s), RT_OK);
    for (int i = 0; i < N; i++) {
        unsigned char key = (unsigned char)(N - i);
        memset(value, key, RT_EXTSORT_MAX_RECORD);
        assert_int_equal(rt_extsort_add(s, &key, 1, value, RT_EXTSORT_MAX_RECORD - 1), RT_OK);
    }
    assert_int_equal(rt_extsort_add(s, "k", 1, value, RT_EXTSORT_MAX_RECORD), RT_EINTERNAL);
    assert_int_equal(rt_extsort_finish(s, 1), RT_OK);
    assert_int_equal(rt_extsort_open(s, &reader), RT_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(rt_extsort_next(reader, &got), RT_OK);
        assert_int_equal(*(const unsigned char *)got.key, i + 1);
        assert_int_equal(got.value_size, RT_EXTSORT_MAX_RECORD - 1);
        assert_int_equal(((const unsigned char *)got.value)[got.value_size - 1], i + 1);
    }
    check_end(reader);
    rt_extsort_free(s);
    free(value);
}

/* A limit on the file's size stands for a full disk. */
static void a_full_disk_is_told(void **state) {
    (void)state;
    struct rlimit before, small;
    rt_extsort *s;
    rt_status rc = RT_OK;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(rt_extsort_new(test_folder, 1 << 20, &s), RT_OK);
    for (int i = 0; i < 100000 && rc == RT_OK; i++) rc = rt_extsort_add(s, "0123456789", 10, "0123456789", 10);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, test_folder));
    rt_extsort_free(s);
    assert_int_equal(files_there(), 0);
}

static void a_folder_that_is_not_there(void **state) {
    (void)state;
    int fd;
    assert_int_equal(rt_unnamed_file("/nowhere/at/all", &fd), RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, "/nowhere/at/all"));
}

static void numbers_compare_as_bytes(void **state) {
    (void)state;
    static const uint64_t n[] = {0, 1, 255, 256, 1u << 31, UINT64_MAX / 2, UINT64_MAX};
    unsigned char a[8], b[8];
    for (size_t i = 0; i + 1 < sizeof n / sizeof n[0]; i++) {
        rt_key_u64(a, n[i]);
        rt_key_u64(b, n[i + 1]);
        assert_true(memcmp(a, b, 8) < 0);
        assert_int_equal(rt_key_read_u64(a), n[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(through_runs),
        cmocka_unit_test(through_passes),
        cmocka_unit_test(two_readers_do_not_meet),
        cmocka_unit_test(large_records),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(a_folder_that_is_not_there),
        cmocka_unit_test(numbers_compare_as_bytes),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
