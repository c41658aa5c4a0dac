/* Reading, mapping, durable replacement under injected failures, folders and paths. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/rectrain-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* A path in the test's folder; the caller frees. */
static char *in_folder(const char *name) {
    char *path = rt_path_join(folder, name);
    assert_non_null(path);
    return path;
}

static void assert_content(const char *path, const char *want) {
    char *data = NULL;
    size_t size = 0;
    assert_int_equal(rt_file_read(path, 1000, &data, &size), RT_OK);
    assert_int_equal(size, strlen(want));
    assert_string_equal(data, want);
    free(data);
}

/* Nothing but these many entries is left in the folder: no temporary file survives. */
static void assert_entries(const char *where, const char *want) {
    char command[256], got[256] = "";
    snprintf(command, sizeof command, "ls -A '%s' | tr '\\n' ' '", where);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    if (!fgets(got, sizeof got, p)) got[0] = 0;
    pclose(p);
    assert_string_equal(got, want);
}

static void reads_within_a_limit(void **state) {
    (void)state;
    char *path = in_folder("read"), *data = (char *)1;
    size_t size = 9;
    assert_int_equal(rt_file_read(path, 10, &data, &size), RT_ENOINPUT);
    assert_null(data);
    assert_non_null(strstr(rt_error_get()->text, path));
    assert_int_equal(rt_file_write_atomic(path, "12345", 5), RT_OK);
    assert_content(path, "12345");
    assert_int_equal(rt_file_read(path, 4, &data, &size), RT_EDATA);
    assert_non_null(strstr(rt_error_get()->text, "5 bytes; at most 4"));
    assert_int_equal(rt_file_write_atomic(path, "", 0), RT_OK);
    assert_content(path, "");
    free(path);
}

static void refuses_what_is_no_file(void **state) {
    (void)state;
    char *data, *fifo = in_folder("fifo");
    size_t size;
    assert_int_equal(rt_file_read(folder, 10, &data, &size), RT_EDATA);
    assert_int_equal(rt_file_read("/dev/null", 10, &data, &size), RT_EDATA);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(rt_file_read(fifo, 10, &data, &size), RT_EDATA); /* and does not wait for a writer */
    assert_int_equal(rt_file_read("/etc/passwd/x", 10, &data, &size), RT_ENOINPUT);
    /* Links that lead nowhere, links in a circle, a name longer than any: nothing is there, and each is said. */
    char long_name[5000];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    unlink(fifo);
    assert_int_equal(symlink("nothing", fifo), 0);
    assert_int_equal(rt_file_read(fifo, 10, &data, &size), RT_ENOINPUT);
    assert_non_null(strstr(rt_error_get()->text, "a link to a file that is not there"));
    assert_true(rt_path_taken(fifo));
    assert_false(rt_file_exists(fifo));
    unlink(fifo);
    assert_false(rt_path_taken(fifo));
    assert_int_equal(symlink(rt_path_basename(fifo), fifo), 0);
    assert_int_equal(rt_file_read(fifo, 10, &data, &size), RT_ENOINPUT);
    assert_non_null(strstr(rt_error_get()->text, "lead in a circle"));
    assert_int_equal(rt_file_read(long_name, 10, &data, &size), RT_ENOINPUT);
    assert_non_null(strstr(rt_error_get()->text, "no file can have a name of this length (4999 bytes)"));
    unlink(fifo);
    free(fifo);
}

static void replaces_whole(void **state) {
    (void)state;
    char *where = in_folder("replace"), *path = rt_path_join(where, "f");
    rt_atomic file;
    assert_int_equal(rt_make_folders(where), RT_OK);
    assert_int_equal(rt_file_write_atomic(path, "old", 3), RT_OK);
    assert_int_equal(rt_atomic_begin(&file, path), RT_OK);
    assert_int_equal(rt_atomic_write(&file, "new..", 5), RT_OK);
    assert_int_equal(rt_atomic_pwrite(&file, "er", 2, 3), RT_OK);
    assert_content(path, "old"); /* until the rename */
    assert_int_equal(rt_atomic_commit(&file), RT_OK);
    assert_content(path, "newer");
    assert_entries(where, "f ");
    rt_atomic_abort(&file); /* does nothing after a commit */
    assert_content(path, "newer");
    assert_int_equal(rt_atomic_begin(&file, path), RT_OK);
    assert_int_equal(rt_atomic_write(&file, "lost", 4), RT_OK);
    rt_atomic_abort(&file);
    assert_content(path, "newer");
    assert_entries(where, "f ");
    assert_int_equal(rt_atomic_write(&file, "x", 1), RT_EINTERNAL);
    assert_int_equal(rt_atomic_pwrite(&file, "x", 1, 0), RT_EINTERNAL);
    assert_int_equal(rt_atomic_commit(&file), RT_EINTERNAL);
    rt_atomic zero = {0};
    rt_atomic_abort(&zero); /* must not close descriptor 0 */
    assert_int_not_equal(fcntl(0, F_GETFD), -1);
    free(path);
    free(where);
}

static void a_dead_process_s_leftover_is_no_obstacle(void **state) {
    (void)state;
    char *where = in_folder("leftover"), *path = rt_path_join(where, "f"), leftover[200],
         *victim = rt_path_join(where, "v");
    assert_int_equal(rt_make_folders(where), RT_OK);
    assert_int_equal(rt_file_write_atomic(victim, "safe", 4), RT_OK);
    snprintf(leftover, sizeof leftover, "%s.tmp.%ld", path, (long)getpid());
    assert_int_equal(symlink(victim, leftover), 0); /* a link planted under that name is not written through */
    assert_int_equal(rt_file_write_atomic(path, "new", 3), RT_OK);
    assert_content(path, "new");
    assert_content(victim, "safe");
    assert_entries(where, "f v ");
    free(victim);
    free(path);
    free(where);
}

/* A limit on file sizes makes write(2) fail in the middle of a file as a full disk does, with bytes already there. */
static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    char *where = in_folder("full"), *path = rt_path_join(where, "f");
    struct rlimit old, small;
    static const char bytes[100000];
    assert_int_equal(rt_make_folders(where), RT_OK);
    assert_int_equal(rt_file_write_atomic(path, "old", 3), RT_OK);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rt_status rc = rt_file_write_atomic(path, bytes, sizeof bytes);
    rt_atomic file;
    rt_status begun = rt_atomic_begin(&file, path), at_offset = rt_atomic_pwrite(&file, bytes, 5000, 0);
    rt_atomic_abort(&file);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, RT_EIO);
    assert_int_equal(begun, RT_OK);
    assert_int_equal(at_offset, RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, path));
    assert_content(path, "old");
    assert_entries(where, "f ");
    free(path);
    free(where);
}

/* The descriptor is exchanged for one on a full device: ENOSPC, told with what to do about it. */
static void a_full_device_is_named(void **state) {
    (void)state;
    char *where = in_folder("enospc"), *path = rt_path_join(where, "f");
    rt_atomic file;
    assert_int_equal(rt_make_folders(where), RT_OK);
    assert_int_equal(rt_file_write_atomic(path, "old", 3), RT_OK);
    assert_int_equal(rt_atomic_begin(&file, path), RT_OK);
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    assert_true(dup2(full, file.fd) >= 0);
    close(full);
    assert_int_equal(rt_atomic_write(&file, "x", 1), RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, "No space left on device; make room"));
    rt_atomic_abort(&file);
    assert_content(path, "old");
    assert_entries(where, "f ");
    free(path);
    free(where);
}

/* What is no file is written to and stays what it is; as root a rename would have put a file in its place. */
static void devices_and_pipes_are_never_replaced(void **state) {
    (void)state;
    char *path = in_folder("pipe"), got[8] = "";
    struct stat st;
    rt_atomic file;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(rt_atomic_begin(&file, path), RT_EIO); /* nobody reads: no waiting */
    assert_non_null(strstr(rt_error_get()->text, "nobody is at the other end"));
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_int_equal(rt_file_write_atomic(path, "abc", 3), RT_OK);
    assert_int_equal(read(reader, got, sizeof got), 3);
    assert_string_equal(got, "abc");
    close(reader);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    unlink(path);
    assert_int_equal(symlink("/dev/full", path), 0);
    assert_int_equal(rt_file_write_atomic(path, "abc", 3), RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, "No space left on device"));
    assert_int_equal(stat("/dev/full", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    unlink(path);
    assert_int_equal(rt_file_write_atomic(folder, "abc", 3), RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, "is a folder; name a file"));
    /* A descriptor is written to where it stands. */
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "12", 2), 2);
    char name[32];
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    assert_int_equal(rt_file_write_atomic(name, "abc", 3), RT_OK);
    close(fd);
    assert_content(path, "12abc");
    assert_int_equal(rt_path_descriptor("/dev/stdout"), 1);
    assert_int_equal(rt_path_descriptor("/proc/self/fd/7"), 7);
    assert_int_equal(rt_path_descriptor("/dev/fd/x"), -1);
    assert_int_equal(rt_path_descriptor("/dev/full"), -1);
    unlink(path);
    free(path);
}

/* fsync(2) fails on a descriptor that cannot be synced: the commit must not rename. */
static void a_failed_fsync_leaves_the_old_file(void **state) {
    (void)state;
    char *where = in_folder("fsync"), *path = rt_path_join(where, "f");
    int ends[2];
    rt_atomic file;
    assert_int_equal(rt_make_folders(where), RT_OK);
    assert_int_equal(rt_file_write_atomic(path, "old", 3), RT_OK);
    assert_int_equal(rt_atomic_begin(&file, path), RT_OK);
    assert_int_equal(rt_atomic_write(&file, "new", 3), RT_OK);
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], file.fd) >= 0);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(rt_atomic_commit(&file), RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, "fsync"));
    assert_content(path, "old");
    assert_entries(where, "f ");
    free(path);
    free(where);
}

static void a_place_that_cannot_be_written(void **state) {
    (void)state;
    char *path = in_folder("replace/f/below"), *missing = in_folder("no/such/folder/f"), *where = in_folder("taken");
    assert_int_equal(rt_file_write_atomic(path, "x", 1), RT_EIO);
    assert_int_equal(rt_file_write_atomic(missing, "x", 1), RT_EIO);
    assert_int_equal(rt_file_write_atomic("/proc/rectrain", "x", 1), RT_EIO);
    /* rename(2) fails where a folder has the name */
    assert_int_equal(rt_make_folders(where), RT_OK);
    assert_int_equal(rt_file_write_atomic(where, "x", 1), RT_EIO);
    char *beside = in_folder("");
    char command[200];
    snprintf(command, sizeof command, "ls -A '%s' | grep -q tmp", beside);
    assert_int_not_equal(system(command), 0);
    free(beside);
    free(where);
    free(missing);
    free(path);
}

static void a_folder_that_this_user_may_not_write(void **state) {
    (void)state;
    char *where = in_folder("readonly"), *path = rt_path_join(where, "f");
    assert_int_equal(rt_make_folders(where), RT_OK);
    assert_int_equal(rt_file_write_atomic(path, "old", 3), RT_OK);
    assert_int_equal(chmod(where, 0555), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    /* Root may write anywhere, so root becomes nobody for this. */
    bool root = geteuid() == 0;
    if (root) assert_int_equal(seteuid(65534), 0);
    rt_status rc = rt_file_write_atomic(path, "new", 3);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, "choose a folder that this user may write to"));
    assert_int_equal(chmod(where, 0755), 0);
    assert_content(path, "old");
    assert_entries(where, "f ");
    free(path);
    free(where);
}

static void folders(void **state) {
    (void)state;
    char *deep = in_folder("a/b//c/"), *file = in_folder("file"), *below = in_folder("file/x");
    assert_int_equal(rt_make_folders(deep), RT_OK);
    assert_true(rt_is_folder(deep));
    assert_int_equal(rt_make_folders(deep), RT_OK);
    assert_int_equal(rt_file_write_atomic(file, "x", 1), RT_OK);
    assert_true(rt_file_exists(file));
    assert_false(rt_is_folder(file));
    assert_int_equal(rt_make_folders(file), RT_EIO);
    assert_int_equal(rt_make_folders(below), RT_EIO);
    assert_int_equal(rt_make_folders(""), RT_EIO);
    assert_false(rt_file_exists(below));
    free(below);
    free(file);
    free(deep);
}

static void joined(const char *a, const char *b, const char *want) {
    char *path = rt_path_join(a, b);
    assert_string_equal(path, want);
    free(path);
}

static void dirname_is(const char *path, const char *want) {
    char *got = rt_path_dirname(path);
    assert_string_equal(got, want);
    free(got);
}

static void paths(void **state) {
    (void)state;
    joined("a", "b", "a/b");
    joined("a/", "b", "a/b");
    joined("a", "/b", "/b");
    joined("", "b", "b");
    joined(NULL, "b", "b");
    joined("/", "b", "/b");
    dirname_is("a/b", "a");
    dirname_is("a/b/", "a");
    dirname_is("a//b", "a");
    dirname_is("b", ".");
    dirname_is("/b", "/");
    dirname_is("/", "/");
    dirname_is("", ".");
    assert_string_equal(rt_path_basename("a/b.tsv"), "b.tsv");
    assert_string_equal(rt_path_basename("b"), "b");
}

static void expands(const char *path, const char *base, const char *want) {
    char *got = NULL;
    assert_int_equal(rt_path_expand(path, base, &got), RT_OK);
    assert_string_equal(got, want);
    free(got);
}

static void refuses(const char *path, const char *why) {
    char *got = (char *)1;
    assert_int_equal(rt_path_expand(path, "/base", &got), RT_ECONFIG);
    assert_null(got);
    assert_non_null(strstr(rt_error_get()->text, why));
}

static void expansion(void **state) {
    (void)state;
    setenv("HOME", "/home/me", 1);
    setenv("RT_TEST_A", "data", 1);
    setenv("RT_TEST_EMPTY", "", 1);
    setenv("RT_TEST_ABS", "/abs", 1);
    unsetenv("RT_TEST_NONE");
    expands("~", "/base", "/home/me");
    expands("~/x", "/base", "/home/me/x");
    expands("a~/x", "/base", "/base/a~/x");
    expands("~root/x", "/base", "/root/x");
    expands("${RT_TEST_A}/${RT_TEST_A}.tsv", "/base", "/base/data/data.tsv");
    expands("${RT_TEST_ABS}/x", "/base", "/abs/x");
    expands("x${RT_TEST_EMPTY}y", NULL, "xy");
    expands("$HOME/$", "/base", "/base/$HOME/$"); /* only the form with braces */
    expands("a b;#c", "base", "base/a b;#c");
    refuses("${RT_TEST_NONE}/x", "RT_TEST_NONE is not set");
    refuses("${RT_TEST_A", "${NAME} is accepted");
    refuses("${}", "${NAME} is accepted");
    refuses("${A-B}", "not a variable's name");
    refuses("~no-such-user-here/x", "no user of that name");
    unsetenv("HOME");
    char *got = NULL;
    assert_int_equal(rt_path_expand("~/x", NULL, &got), RT_OK); /* the password file knows it too */
    assert_int_equal(got[0], '/');
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_within_a_limit),
        cmocka_unit_test(refuses_what_is_no_file),
        cmocka_unit_test(replaces_whole),
        cmocka_unit_test(a_dead_process_s_leftover_is_no_obstacle),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(a_full_device_is_named),
        cmocka_unit_test(devices_and_pipes_are_never_replaced),
        cmocka_unit_test(a_failed_fsync_leaves_the_old_file),
        cmocka_unit_test(a_place_that_cannot_be_written),
        cmocka_unit_test(a_folder_that_this_user_may_not_write),
        cmocka_unit_test(folders),
        cmocka_unit_test(paths),
        cmocka_unit_test(expansion),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
