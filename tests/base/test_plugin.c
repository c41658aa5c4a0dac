/* Plugins: where they are looked for, what is refused, what is said. A folder of this test's own plays the install:
 * bin/program, and a plugin that the build made (tests/support/plugin). */
#include "base/file.h"
#include "base/plugin.h"
#include "base/text.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const rt_plugin_spec spec = {
    .file = "test-plugin.so", .abi_symbol = "fixture_abi", .abi = 3, .entry = "fixture_entry"};
static char root[] = "/tmp/rectrain-plugin-XXXXXX", program[PATH_MAX], fixture[PATH_MAX];

static char *in_root(const char *name) {
    static char names[8][PATH_MAX];
    static int next;
    char *to = names[next++ % 8];
    snprintf(to, PATH_MAX, "%s/%s", root, name);
    return to;
}

static void copy(const char *from, const char *to) {
    char *bytes;
    size_t size;
    assert_int_equal(rt_file_read(from, (size_t)1 << 24, &bytes, &size), RT_OK);
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(to, 0755), 0);
    free(bytes);
}

static int start(void **state) {
    (void)state;
    char self[PATH_MAX] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    char *folder = rt_path_dirname(self);
    snprintf(fixture, sizeof fixture, "%s/../plugin_fixture.so", folder);
    free(folder);
    return mkdtemp(root) ? 0 : -1;
}

static int clean(void **state) {
    (void)state;
    char command[sizeof root + 16];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* bin with a program, lib/rectrain, and no plugin. */
static int empty_install(void **state) {
    clean(state);
    if (mkdir(root, 0755) || mkdir(in_root("bin"), 0755) || mkdir(in_root("lib"), 0755)) return -1;
    if (mkdir(in_root("lib/rectrain"), 0755)) return -1;
    snprintf(program, sizeof program, "%s/bin/program", root);
    copy(fixture, program); /* its content is not looked at */
    return 0;
}

static void loads(const char *where) {
    rt_plugin_entry entry = NULL;
    char *path = NULL;
    if (rt_plugin_open_beside(program, &spec, &entry, &path) != RT_OK) fail_msg("%s", rt_error_get()->text);
    assert_string_equal(path, where);
    assert_int_equal(((int (*)(int))entry)(21), 42);
    free(path);
}

static void refused_as(const rt_plugin_spec *wanted, const char *words) {
    rt_plugin_entry entry = (rt_plugin_entry)refused_as;
    char *path = NULL;
    assert_int_equal(rt_plugin_open_beside(program, wanted, &entry, &path), RT_EUNAVAILABLE);
    assert_null(entry);
    if (!strstr(rt_error_get()->text, words)) fail_msg("\"%s\" does not say \"%s\"", rt_error_get()->text, words);
    free(path);
}
static void refused(const char *words) {
    refused_as(&spec, words);
}

static void found_beside_the_program_and_in_the_install(void **state) {
    (void)state;
    refused("test-plugin.so is not there: looked for in ");
    copy(fixture, in_root("lib/rectrain/test-plugin.so"));
    loads(in_root("lib/rectrain/test-plugin.so"));
    copy(fixture, in_root("bin/test-plugin.so"));
    loads(in_root("bin/test-plugin.so")); /* the nearer one first */
}

static void found_nowhere_else(void **state) {
    (void)state;
    char before[PATH_MAX];
    assert_non_null(getcwd(before, sizeof before));
    copy(fixture, in_root("test-plugin.so"));
    copy(fixture, in_root("lib/test-plugin.so"));
    assert_int_equal(chdir(root), 0);
    setenv("LD_LIBRARY_PATH", root, 1);
    refused("is not there");
    unsetenv("LD_LIBRARY_PATH");
    assert_int_equal(chdir(before), 0);
    rt_plugin_entry entry;
    char *path = (char *)1;
    assert_int_equal(rt_plugin_open(&spec, &entry, &path), RT_EUNAVAILABLE); /* of this very program */
    assert_null(path);
}

static void what_others_can_write_is_refused(void **state) {
    (void)state;
    char *file = in_root("bin/test-plugin.so"), *bin = in_root("bin");
    copy(fixture, file);
    assert_int_equal(chmod(file, 0757), 0);
    refused("others could write this file (mode 0757)");
    assert_int_equal(chmod(file, 0775), 0);
    refused("others could write this file (mode 0775)");
    assert_int_equal(chmod(program, 0775), 0); /* the same group may write the program: it decides anyway */
    loads(file);
    assert_int_equal(chmod(program, 0755), 0);
    assert_int_equal(chmod(file, 0755), 0);
    assert_int_equal(chmod(bin, 01777), 0);
    refused("others could write this folder (mode 1777)");
    assert_int_equal(chmod(bin, 0755), 0);
    loads(file);
    if (geteuid() == 0) {
        assert_int_equal(chown(file, 12345, (gid_t)-1), 0);
        refused("belongs to user 12345");
        assert_int_equal(chown(program, 12345, (gid_t)-1), 0);
        loads(file);
    }
}

static void a_link_is_followed(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_root("open"), 0755), 0);
    assert_int_equal(chmod(in_root("open"), 0777), 0);
    copy(fixture, in_root("open/real.so"));
    assert_int_equal(symlink("../open/real.so", in_root("bin/test-plugin.so")), 0);
    refused("others could write this folder (mode 0777)");
    assert_int_equal(chmod(in_root("open"), 0755), 0);
    loads(in_root("open/real.so"));
}

static void other_builds_are_refused(void **state) {
    (void)state;
    rt_plugin_spec wanted = spec;
    copy(fixture, in_root("bin/test-plugin.so"));
    wanted.abi = 4;
    refused_as(&wanted, "is of another build: its interface (fixture_abi) is 3, this program's 4");
    wanted = spec, wanted.abi_symbol = "other_abi";
    refused_as(&wanted, "its interface (other_abi) is none");
    wanted = spec, wanted.entry = "other_entry";
    refused_as(&wanted, "has no other_entry");
    wanted = spec, wanted.file = "broken.so"; /* a name that was not loaded before */
    FILE *f = fopen(in_root("bin/broken.so"), "w");
    assert_non_null(f);
    fputs("no shared object\n", f);
    fclose(f);
    assert_int_equal(chmod(in_root("bin/broken.so"), 0644), 0);
    refused_as(&wanted, "broken.so does not load: ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(found_beside_the_program_and_in_the_install, empty_install),
        cmocka_unit_test_setup(found_nowhere_else, empty_install),
        cmocka_unit_test_setup(what_others_can_write_is_refused, empty_install),
        cmocka_unit_test_setup(a_link_is_followed, empty_install),
        cmocka_unit_test_setup(other_builds_are_refused, empty_install),
    };
    return cmocka_run_group_tests(tests, start, clean);
}
