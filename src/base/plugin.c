#include "plugin.h"
#include "file.h"
#include "text.h"
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever may write the program may also say what it loads. */
static rt_status trusted(const struct stat *program, const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return rt_fail(RT_EUNAVAILABLE, "%s: %s", path, strerror(errno));
    const char *what = S_ISDIR(st.st_mode) ? "folder" : "file";
    if (st.st_uid != 0 && st.st_uid != program->st_uid)
        return rt_fail(RT_EUNAVAILABLE,
                       "%s is not loaded: this %s belongs to user %u, the program to %u. It must be root's or the same "
                       "user's",
                       path, what, (unsigned)st.st_uid, (unsigned)program->st_uid);
    const bool group_is_known = program->st_mode & S_IWGRP && program->st_gid == st.st_gid;
    if (st.st_mode & S_IWOTH || (st.st_mode & S_IWGRP && !group_is_known))
        return rt_fail(
            RT_EUNAVAILABLE,
            "%s is not loaded: others could write this %s (mode %04o), and it is code that would run. Remove "
            "their right: chmod go-w",
            path, what, (unsigned)st.st_mode & 07777);
    return RT_OK;
}

static rt_status load(const rt_plugin_spec *spec, const char *path, rt_plugin_entry *entry) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *words = handle ? NULL : dlerror();
    if (!handle)
        return rt_fail(RT_EUNAVAILABLE, "%s does not load: %s", path, words ? words : "the loader says no more");
    const uint32_t *abi = dlsym(handle, spec->abi_symbol);
    if (!abi || *abi != spec->abi) {
        char found[16] = "none";
        if (abi) snprintf(found, sizeof found, "%u", *abi);
        dlclose(handle);
        return rt_fail(RT_EUNAVAILABLE,
                       "%s is of another build: its interface (%s) is %s, this program's %u. Install both of one build",
                       path, spec->abi_symbol, found, spec->abi);
    }
    /* A function's address through a pointer to data: as POSIX has it for dlsym. */
    void *address = dlsym(handle, spec->entry);
    if (!address) {
        dlclose(handle);
        return rt_fail(RT_EUNAVAILABLE, "%s has no %s: it is no plugin of this program", path, spec->entry);
    }
    memcpy(entry, &address, sizeof address);
    /* cppcheck-suppress resourceLeak // it stays loaded until the process ends */
    return RT_OK;
}

rt_status rt_plugin_open_beside(const char *program, const rt_plugin_spec *spec, rt_plugin_entry *entry, char **path) {
    static const char *const folders[] = {"", "/../lib/rectrain"};
    rt_status rc = RT_OK;
    rt_text place = {0};
    struct stat st;
    char *home = rt_path_dirname(program), *folder = NULL, *file = NULL;
    *entry = NULL;
    if (path) *path = NULL;
    if (!home) RT_GO(rt_fail(RT_ENOMEM, "no memory for the name of %s", spec->file));
    if (stat(program, &st) != 0) RT_GO(rt_fail(RT_EUNAVAILABLE, "%s: %s", program, strerror(errno)));
    for (size_t i = 0; i < sizeof folders / sizeof *folders && !file; i++) {
        rt_text_clear(&place);
        rt_text_printf(&place, "%s%s", home, folders[i]);
        RT_GO(rt_text_status(&place));
        free(folder);
        folder = realpath(place.data, NULL);
        if (!folder) continue;
        rt_text_printf(&place, "/%s", spec->file);
        RT_GO(rt_text_status(&place));
        if (rt_file_exists(place.data)) file = realpath(place.data, NULL);
    }
    if (!file)
        RT_GO(rt_fail(RT_EUNAVAILABLE, "%s is not there: looked for in %s and %s/../lib/rectrain", spec->file, home,
                      home));
    if (path && !(*path = rt_strdup(file))) RT_GO(rt_fail(RT_ENOMEM, "no memory for the name of %s", file));
    /* The folder that the name stands in, and where a link from there leads to. */
    RT_GO(trusted(&st, folder));
    free(folder);
    folder = rt_path_dirname(file);
    if (!folder) RT_GO(rt_fail(RT_ENOMEM, "no memory for the name of %s", file));
    RT_GO(trusted(&st, folder));
    RT_GO(trusted(&st, file));
    RT_GO(load(spec, file, entry));
done:
    rt_text_free(&place);
    free(home);
    free(folder);
    free(file);
    return rc;
}

rt_status rt_plugin_open(const rt_plugin_spec *spec, rt_plugin_entry *entry, char **path) {
    char program[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    *entry = NULL;
    if (path) *path = NULL;
    if (n <= 0)
        return rt_fail(RT_EUNAVAILABLE, "%s: where this program lies is not known (/proc is not mounted)", spec->file);
    program[n] = 0;
    return rt_plugin_open_beside(program, spec, entry, path);
}
