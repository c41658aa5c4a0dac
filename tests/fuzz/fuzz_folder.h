/* A folder for what takes folders: in memory where the system has such a place, removed at the end. */
#ifndef FUZZ_FOLDER_H
#define FUZZ_FOLDER_H
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <fcntl.h>

static char fuzz_folder_path[40];

static void fuzz_folder_remove(void) {
    DIR *folder = opendir(fuzz_folder_path);
    for (struct dirent *e; folder && (e = readdir(folder)) != NULL;) unlinkat(dirfd(folder), e->d_name, 0);
    if (folder) closedir(folder);
    rmdir(fuzz_folder_path);
}

static inline const char *fuzz_folder(void) {
    if (fuzz_folder_path[0]) return fuzz_folder_path;
    snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/rectrain-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    fuzz_require(mkdtemp(fuzz_folder_path) != NULL);
    atexit(fuzz_folder_remove);
    return fuzz_folder_path;
}

/* Removed where there are no bytes. */
static inline void fuzz_write(const char *folder, const char *name, const void *bytes, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    if (!size) return;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    fuzz_require(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

#endif
