/* Paths, globs, and where a configuration is looked for. */
#include "../base/file.h"
#include "value.h"
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool real_folder(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "configs/../build/x" becomes "build/x", in place; only where "configs" is a real folder: behind a symbolic link ".."
 * is somewhere else. */
static void collapse(char *path) {
    char *at = path;
    while ((at = strstr(at, "/../")) != NULL) {
        char *start = at;
        while (start > path && start[-1] != '/') start--;
        size_t n = (size_t)(at - start);
        bool dots = (n == 1 && *start == '.') || (n == 2 && start[0] == '.' && start[1] == '.');
        *at = 0;
        bool can = n > 0 && !dots && real_folder(path);
        *at = '/';
        if (!can) {
            at += 3;
            continue;
        }
        memmove(start, at + 4, strlen(at + 4) + 1);
        at = path;
    }
}

rt_status rt_config_path(const char *text, const char *base, char **out) {
    RT_TRY(rt_path_expand(text, base, out));
    collapse(*out);
    return RT_OK;
}

rt_status rt_config_base(const char *text, const char *base, char **out) {
    size_t n = strlen(text);
    char *path = NULL;
    RT_TRY(rt_config_path(text, base, &path));
    bool is_path = *text == '/' || *text == '.' || *text == '~' || strstr(text, "${") ||
                   (n > 3 && !strcmp(text + n - 3, ".h5")) || rt_file_exists(path) || rt_is_folder(path);
    if (!is_path) {
        free(path);
        path = rt_strdup(text);
        if (!path) return rt_fail(RT_ENOMEM, "model.base: out of memory");
    }
    *out = path;
    return RT_OK;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A pattern that goes up again behind a wildcard visits the same folders over and over: with six of them for years. */
static rt_status check_pattern(const char *label, const char *pattern) {
    enum { MOST = 4 };
    int wild = 0;
    for (const char *part = pattern; *part; part += strspn(part, "/")) {
        size_t n = strcspn(part, "/");
        bool up = n == 2 && part[0] == '.' && part[1] == '.';
        wild += strcspn(part, "*?[") < n;
        if (wild > MOST || (up && wild))
            return rt_fail(RT_ECONFIG,
                           "%s = %s: expected wildcards in at most %d parts of the path, and no \"..\" behind them",
                           label, pattern, MOST);
        part += n;
    }
    return RT_OK;
}

static rt_status expand_one(const char *label, const char *pattern, rt_config_list *out) {
    glob_t found = {0};
    rt_status rc = RT_OK;
    RT_TRY(check_pattern(label, pattern));
    int code = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (code == GLOB_NOMATCH) {
        rc = rt_fail(RT_ENOINPUT, "%s = %s: no file matches; look at the pattern, or at the folder it starts from",
                     label, pattern);
    } else if (code != 0) {
        rc = rt_fail(code == GLOB_NOSPACE ? RT_ENOMEM : RT_EIO, "%s = %s: cannot list: %s", label, pattern,
                     strerror(code == GLOB_NOSPACE ? ENOMEM : errno));
    } else {
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_bytes);
        for (size_t i = 0; i < found.gl_pathc && rc == RT_OK; i++)
            if (!rt_is_folder(found.gl_pathv[i]) && !rt_list_push(out, found.gl_pathv[i]))
                rc = rt_fail(RT_ENOMEM, "%s: out of memory", label);
    }
    globfree(&found);
    return rc;
}

rt_status rt_config_expand_globs(const char *label, rt_config_list *list) {
    rt_config_list files = {0};
    rt_status rc = RT_OK;
    for (int i = 0; i < list->n && rc == RT_OK; i++) {
        const char *item = list->items[i];
        int before = files.n;
        if (!strpbrk(item, "*?[") || rt_file_exists(item)) {
            if (!rt_list_push(&files, item)) rc = rt_fail(RT_ENOMEM, "%s: out of memory", label);
        } else {
            rc = expand_one(label, item, &files);
        }
        if (rc == RT_OK && files.n == before)
            rc = rt_fail(RT_ENOINPUT, "%s = %s: only folders match; name the files in them (%s/*.tsv)", label, item,
                         item);
    }
    if (rc == RT_OK) {
        rt_list_free(list);
        *list = files;
    } else {
        rt_list_free(&files);
    }
    return rc;
}

/* --- where --config is looked for --------------------------------------------------------------------------------- */

static bool take_if_file(char *path, char **out) {
    if (path && rt_file_exists(path) && !rt_is_folder(path)) {
        *out = path;
        return true;
    }
    free(path);
    return false;
}

/* folder/name, then folder/name.ini; folder NULL: the name as given. */
static bool try_folder(const char *folder, const char *name, char **out) {
    char *path = folder ? rt_path_join(folder, name) : rt_strdup(name);
    rt_text with = {0};
    if (path) rt_text_printf(&with, "%s.ini", path);
    if (take_if_file(path, out)) {
        rt_text_free(&with);
        return true;
    }
    return take_if_file(with.data, out);
}

rt_status rt_config_search(const char *name, const char *folders, const char *program, char **out) {
    static const char *const beside[] = {"../share/rectrain/configs", "../configs", "configs"};
    rt_text looked = {0};
    char *folder = NULL;
    bool found = try_folder(NULL, name, out), relative = *name != '/' && *name != '.' && *name != '~';

    for (const char *p = folders; !found && relative && p && *p;) {
        size_t n = strcspn(p, ":");
        folder = rt_strndup(p, n);
        if (folder && n) {
            rt_text_printf(&looked, ", %s", folder);
            found = try_folder(folder, name, out);
        }
        free(folder);
        p += n + (p[n] == ':');
    }
    char *home = program && relative ? rt_path_dirname(program) : NULL;
    for (size_t i = 0; !found && home && i < sizeof beside / sizeof beside[0]; i++) {
        folder = rt_path_join(home, beside[i]);
        if (folder) {
            collapse(folder);
            rt_text_printf(&looked, ", %s", folder);
            found = try_folder(folder, name, out);
        }
        free(folder);
    }
    free(home);
    rt_status rc = RT_OK;
    if (!found)
        rc = rt_fail(RT_ENOINPUT,
                     "--config %s: no such file, nor with \".ini\" behind it; looked in the current folder%s. Name a "
                     "config file, or add its folder to RECTRAIN_CONFIG_PATH",
                     name, looked.data ? looked.data : "");
    rt_text_free(&looked);
    return rc;
}
