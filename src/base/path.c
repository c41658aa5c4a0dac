/* Folders and paths. */
#include "file.h"
#include "text.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool rt_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool rt_path_taken(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

int rt_path_descriptor(const char *path) {
    static const char *const names[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    long long n = -1;
    for (int i = 0; i < 3; i++)
        if (!strcmp(path, names[i])) return i;
    const char *number = !strncmp(path, "/dev/fd/", 8)          ? path + 8
                         : !strncmp(path, "/proc/self/fd/", 14) ? path + 14
                                                                : NULL;
    return number && rt_parse_i64(number, &n) && n >= 0 && n <= INT_MAX ? (int)n : -1;
}

bool rt_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* One level. A folder that another process makes at the same moment is as good. */
static rt_status rt_make_folder(const char *path) {
    if (mkdir(path, 0777) == 0) return RT_OK;
    int error = errno;
    if (rt_is_folder(path)) return RT_OK;
    if (error == EEXIST || error == ENOTDIR)
        return rt_fail(RT_EIO, "%s: cannot be made: a file has that name, or part of it", path);
    return rt_fail(RT_EIO, "%s: this folder cannot be made: %s", path, strerror(error));
}

rt_status rt_make_folders(const char *path) {
    rt_status rc = RT_OK;
    if (!path[0]) return rt_fail(RT_EIO, "a folder with an empty name cannot be made");
    char *copy = rt_strdup(path);
    if (!copy) return rt_fail(RT_ENOMEM, "%s: no memory for its name", path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        RT_GO(rt_make_folder(copy));
        *slash = '/';
    }
    RT_GO(rt_make_folder(copy));
done:
    free(copy);
    return rc;
}

char *rt_path_join(const char *folder, const char *name) {
    if (name[0] == '/' || !folder || !folder[0]) return rt_strdup(name);
    rt_text path = {0};
    rt_text_puts(&path, folder);
    if (folder[strlen(folder) - 1] != '/') rt_text_append(&path, "/", 1);
    rt_text_puts(&path, name);
    if (path.failed) rt_text_free(&path);
    return path.data;
}

/* As dirname(3): "a/b/" is in "a", "b" in ".", "/b" in "/". */
char *rt_path_dirname(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    if (n == 0) return rt_strdup(".");
    while (n > 1 && path[n - 1] == '/') n--;
    return rt_strndup(path, n);
}

const char *rt_path_basename(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "~" and "~name" at the start. Returns the bytes of `path` that were used. */
static rt_status rt_expand_home(const char *path, rt_text *out, size_t *used) {
    size_t n = strcspn(path, "/");
    const char *home = NULL;
    struct passwd entry, *found = NULL;
    char buffer[4096];
    if (n == 1) {
        home = getenv("HOME");
        if (!home || !home[0]) {
            if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found) home = found->pw_dir;
        }
        if (!home || !home[0]) return rt_fail(RT_ECONFIG, "%s: \"~\" cannot be expanded: HOME is not set", path);
    } else {
        char *name = rt_strndup(path + 1, n - 1);
        if (!name) return rt_fail(RT_ENOMEM, "%s: no memory to expand it", path);
        if (getpwnam_r(name, &entry, buffer, sizeof buffer, &found) == 0 && found) home = found->pw_dir;
        free(name);
        if (!home) return rt_fail(RT_ECONFIG, "%s: there is no user of that name; write ./%s for a file", path, path);
    }
    rt_text_puts(out, home);
    *used = n;
    return RT_OK;
}

/* "${NAME}" at `at`. */
static rt_status rt_expand_variable(const char *path, const char *at, rt_text *out, size_t *used) {
    const char *end = strchr(at, '}');
    size_t n = end ? (size_t)(end - at) - 2 : 0;
    if (!end || n == 0) return rt_fail(RT_ECONFIG, "%s: \"${\" without a name and \"}\"; ${NAME} is accepted", path);
    for (size_t i = 0; i < n; i++)
        if (!(isalnum((unsigned char)at[2 + i]) || at[2 + i] == '_'))
            return rt_fail(RT_ECONFIG, "%s: \"%.*s\" is not a variable's name; letters, digits and _ are accepted",
                           path, (int)n, at + 2);
    char *name = rt_strndup(at + 2, n);
    if (!name) return rt_fail(RT_ENOMEM, "%s: no memory to expand it", path);
    const char *value = getenv(name);
    rt_status rc = RT_OK;
    if (value)
        rt_text_puts(out, value);
    else
        rc =
            rt_fail(RT_ECONFIG, "%s: the environment variable %s is not set; set it or write the path out", path, name);
    free(name);
    *used = n + 3;
    return rc;
}

rt_status rt_path_expand(const char *path, const char *base, char **out) {
    rt_status rc = RT_OK;
    rt_text text = {0};
    size_t at = 0;
    *out = NULL;
    if (path[0] == '~') RT_GO(rt_expand_home(path, &text, &at));
    while (path[at]) {
        size_t used = 1;
        if (path[at] == '$' && path[at + 1] == '{')
            RT_GO(rt_expand_variable(path, path + at, &text, &used));
        else
            rt_text_append(&text, path + at, 1);
        at += used;
    }
    rt_text_append(&text, "", 0);
    RT_GO(rt_text_status(&text));
    *out = base ? rt_path_join(base, text.data) : rt_strdup(text.data);
    if (!*out) rc = rt_fail(RT_ENOMEM, "%s: no memory to expand it", path);
done:
    rt_text_free(&text);
    return rc;
}
