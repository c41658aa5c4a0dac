/* Logs larger than memory, hostile rows, signals: bounded, told, nothing left behind. */
#include "base/arena.h"
#include "data/join_internal.h"
#include "tests/data/join_case.h"
#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { EVENTS = 200000, ITEMS = 2000, USERS = 5000 };

static void write_large_log(void) {
    FILE *f = fopen(in_folder("log.tsv"), "wb");
    assert_non_null(f);
    fprintf(f, "imp\tuser_id\titem_id\ttime\tclick\n");
    rt_rng rng = rt_rng_make(1, 2, 3);
    for (int i = 0; i < EVENTS; i++)
        fprintf(f, "impression-%06d\tuser-%05u\t%u\t%u\t%d\n", (int)((unsigned)i * 7919u % (EVENTS / 4)),
                (unsigned)((unsigned)i * 7919u % (EVENTS / 4)) % USERS, rt_rng_below(&rng, ITEMS),
                1000000 + rt_rng_below(&rng, 100000), rt_rng_below(&rng, 5) == 0);
    assert_int_equal(fclose(f), 0);
}

static int files_in(const char *folder) {
    DIR *d = opendir(folder);
    if (!d) return 0;
    int n = -2;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static rt_digest128 digest_of(const char *name) {
    const char *text = read_file(name);
    return rt_hash128(text, strlen(text));
}

static size_t address_space(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* 24 MiB more than the process has is all it may map: 16 for sorting, the rest for windows over the files, the items'
 * mapped texts, a page here and there. The log's rows take several times as much while they are sorted. */
static int join_in_a_small_space(const rt_join_options *o) {
    pid_t child = fork();
    if (child == 0) {
        size_t most = address_space() + ((size_t)24 << 20);
        struct rlimit limit = {most, most};
        if (!SANITIZED && setrlimit(RLIMIT_AS, &limit) != 0) _exit(99);
        if (rt_join(o, NULL, &summary) != RT_OK) {
            fprintf(stderr, "%s\n", rt_error_get()->text);
            _exit(98);
        }
        _exit(summary.runs > 3 && summary.temporary_bytes > ((uint64_t)48 << 20) ? 0 : 97);
    }
    int status = 0;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void memory_is_bounded(void **state) {
    (void)state;
    write_large_log();
    write_many_items(ITEMS);
    rt_join_options o = options("log.tsv");
    o.click = "click", o.impression = "imp", o.history = 5, o.negatives = 2;
    o.memory = 512 << 20;
    join_ok(&o);
    assert_int_equal(summary.runs, 0);
    rt_digest128 train = digest_of("out/train.tsv"), test = digest_of("out/test.tsv");
    o.memory = RT_JOIN_LEAST_MEMORY;
    assert_int_equal(join_in_a_small_space(&o), 0);
    /* Through memory or through files: the same bytes. */
    rt_digest128 again = digest_of("out/train.tsv");
    assert_true(again.low == train.low && again.high == train.high);
    again = digest_of("out/test.tsv");
    assert_true(again.low == test.low && again.high == test.high);
    assert_int_equal(files_in(in_folder("out")), 5);
}

static void too_many_items_for_the_memory(void **state) {
    (void)state;
    write_many_items(300000);
    write_text("log.tsv", "user_id\titem_id\ttime\tclick\nu\t1\t1\t1\n");
    rt_join_options o = options("log.tsv");
    o.click = "click", o.memory = RT_JOIN_LEAST_MEMORY;
    JOIN_FAILS(&o, RT_EUNAVAILABLE, "raise --memory");
}

/* --- stopping ------------------------------------------------------------------------------------------------------
 */

static bool stop_at(void *context) {
    return --*(int *)context < 0;
}

static void a_stop_leaves_what_was_there(void **state) {
    (void)state;
    write_large_log();
    write_many_items(ITEMS);
    remove_tree(in_folder("out"));
    rt_join_options o = options("log.tsv");
    int left = 0, stopped = 0;
    o.click = "click", o.impression = "imp", o.history = 5, o.memory = RT_JOIN_LEAST_MEMORY;
    o.stop = stop_at, o.context = &left;
    for (int i = 1; i < 4000; i = i * 3 / 2 + 1) {
        left = i;
        rt_status rc = rt_join(&o, NULL, &summary);
        if (rc == RT_OK) break;
        assert_int_equal(rc, RT_ESTOPPED);
        assert_int_equal(files_in(in_folder("out")), 0);
        stopped++;
    }
    assert_true(stopped >= 8);
    assert_int_equal(files_in(in_folder("out")), 5);
}

/* --- bad rows and options ------------------------------------------------------------------------------------------
 */

static void bad_rows_are_told(void **state) {
    (void)state;
    static char long_id[RT_JOIN_ID_BYTES + 2];
    memset(long_id, 'x', sizeof long_id - 1);
    write_text("items.tsv", "item_id\ttitle\n1\tA\n2\tB\n");
    rt_join_options o = options("log.tsv");
    o.click = "click", o.split = "1000";
    struct {
        const char *row, *words;
    } bad[] = {
        {"u\t1\t5", "log.tsv:3: 3 fields, expected 4"},
        {"u\t3\t5\t1", "log.tsv:3: no such item in the item table: \"3\"; accepted: an id of a row of --items"},
        {"u\t\t5\t1", "log.tsv:3: an item's id \"\"; accepted: 1 to 1024 bytes"},
        {"\t1\t5\t1", "log.tsv:3: a user's id \"\""},
        {"u\t1\tx\t1", "log.tsv:3: time is \"x\"; accepted: a number, 2019-11-15 10:22:32"},
        {"u\t1\t2019-01-01\t1", "log.tsv:3: time is \"2019-01-01\"; accepted: a number, as in the rows before"},
        {"u\t1\t5\t2", "log.tsv:3: click is \"2\"; accepted: 0, 1, true, false; --positive"},
        {"u\t1\t5\t\x1B[31m", "log.tsv:3: click is \"\\x1b[31m\""},
        {long_id, "log.tsv:3: 1 field"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[4096];
        snprintf(text, sizeof text, "user_id\titem_id\ttime\tclick\nu\t1\t5\t1\n%s\nu\t2\t6\t0\n", bad[i].row);
        write_text("log.tsv", text);
        o.skip_bad_rows = false;
        JOIN_FAILS(&o, RT_EDATA, bad[i].words);
        assert_non_null(strstr(rt_error_get()->text, "--on-bad-row skip"));
        o.skip_bad_rows = true;
        join_ok(&o);
        assert_int_equal(summary.bad_rows, 1);
        assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, 2);
    }
    static const char nul[] = "user_id\titem_id\ttime\tclick\nu\0v\t1\t5\t1\nu\t1\t5\t1\n";
    write_bytes("log.tsv", nul, sizeof nul - 1);
    join_ok(&o);
    assert_int_equal(summary.bad_rows, 1);
    write_text("log.tsv", "user_id\titem_id\ttime\tclick\n");
    JOIN_FAILS(&o, RT_EDATA, "no row that could be used");
    write_text("log.tsv", "user\titem_id\ttime\tclicked\nu\t1\t5\t1\n");
    JOIN_FAILS(&o, RT_EDATA, "did you mean \"clicked\"?");
    o.events = "/nowhere/log.tsv";
    JOIN_FAILS(&o, RT_ENOINPUT, "/nowhere/log.tsv");
}

static void long_texts_are_cut(void **state) {
    (void)state;
    size_t size = 5 << 20;
    char *text = malloc(size + 64);
    assert_non_null(text);
    size_t at = (size_t)sprintf(text, "item_id\ttitle\n1\t");
    memset(text + at, 'a', size);
    strcpy(text + at + size, "\n2\tB\n");
    write_bytes("items.tsv", text, at + size + 5);
    free(text);
    char log[2048] = "user_id\titem_id\ttime\tclick\n";
    for (int i = 0; i < 20; i++) sprintf(log + strlen(log), "u\t1\t%d\t1\n", i);
    strcat(log, "u\t2\t99\t1\n");
    write_text("log.tsv", log);
    rt_join_options o = options("log.tsv");
    o.click = "click", o.split = "1000";
    join_ok(&o);
    assert_int_equal(summary.items_cut, 1);
    /* Of twenty histories of 16 KiB three fit into 64 KiB with what stands between. */
    const char *last = strrchr(read_file("out/train.tsv"), 'u');
    while (*last != '\n') last--;
    assert_in_range(strlen(last), 3 * RT_JOIN_TITLE_BYTES, RT_JOIN_HISTORY_BYTES + 64);
}

static void options_that_do_not_fit(void **state) {
    (void)state;
    write_text("items.tsv", "item_id\ttitle\n1\tA\n");
    write_text("log.tsv", "user_id\titem_id\ttime\tclick\nu\t1\t5\t1\n");
    struct {
        rt_join_options o;
        const char *words;
    } wrong[] = {
        {{.click = "click", .rating = "r", .min_rating = "1", .negatives = -1}, "give one of the two"},
        {{.rating = "click", .negatives = -1}, "needs --min-rating"},
        {{.rating = "click", .min_rating = "4", .max_rating = "4", .negatives = -1}, "below --min-rating"},
        {{.rating = "click", .min_rating = "four", .negatives = -1}, "--min-rating four: expected a number"},
        {{.positive = "E", .negatives = 1}, "name it with --click"},
        {{.click = "click", .negatives = 4}, "name its column with --impression"},
        {{.click = "click", .negatives = -1, .history = 1001}, "--history 1001"},
        {{.click = "click", .negatives = -1, .split = "2019-01-01"}, "but the log's times are numbers"},
        {{.click = "click", .negatives = -1, .title = "{title"}, "--title = {title"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        rt_join_options o = options("log.tsv"), *w = &wrong[i].o;
        w->items = o.items, w->events = o.events, w->folder = o.folder, w->memory = o.memory;
        JOIN_FAILS(w, RT_EUSAGE, wrong[i].words);
    }
    rt_join_options o = options("log.tsv");
    o.click = "click", o.split = "5";
    JOIN_FAILS(&o, RT_EDATA, "no row is left for train");
    write_text("file", "");
    char folder[300];
    snprintf(folder, sizeof folder, "%s/x", in_folder("file"));
    o.folder = folder;
    JOIN_FAILS(&o, RT_EIO, "file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(too_many_items_for_the_memory),
        cmocka_unit_test(a_stop_leaves_what_was_there),
        cmocka_unit_test(bad_rows_are_told),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(options_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
