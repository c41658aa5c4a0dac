/* Files: whole reads with a limit, durable atomic replacement, folders, paths. No file with a name is ever mapped: one
 * that someone else makes shorter would end the process by SIGBUS. */
#ifndef RT_BASE_FILE_H
#define RT_BASE_FILE_H
#include "status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads a regular file whole; *data is NUL-terminated, owned by the caller. RT_ENOINPUT if it is not there, RT_EDATA if
 * it is larger than `limit` or not a regular file, RT_EIO. */
rt_status rt_file_read(const char *path, size_t limit, char **data, size_t *size);

/* Why a file for reading could not be opened, in one form for all: RT_ENOINPUT if it is not there, leads nowhere (a
 * loop of links, a name no file can have) or may not be read, else RT_EIO. */
rt_status rt_file_not_opened(const char *path, int error);

/* A device or pipe at `path` (/dev/stdout, /dev/fd/9, a named pipe that someone reads) is written to as it is, in order
 * and without a name in between; it is never replaced. A folder is refused at once.
 * Durable replacement of all else: writes "<path>.tmp.<pid>", then on commit fsync, rename over path, fsync of the
 * folder. The old file stays byte-identical until the rename. Every error is RT_EIO with path and errno; after a failed
 * fsync nothing is retried. Use: rt_atomic a = {0}; begin, write / pwrite, commit; rt_atomic_abort in every exit (no-op
 * after commit). */
typedef struct {
    int fd;
    char *path, *temporary;
    bool open, direct; /* direct: a device or pipe */
} rt_atomic;
rt_status rt_atomic_begin(rt_atomic *file, const char *path);
rt_status rt_atomic_write(rt_atomic *file, const void *bytes, size_t size);
rt_status rt_atomic_pwrite(rt_atomic *file, const void *bytes, size_t size, uint64_t offset);
rt_status rt_atomic_commit(rt_atomic *file);
void rt_atomic_abort(rt_atomic *file);
rt_status rt_file_write_atomic(const char *path, const void *bytes, size_t size);

bool rt_file_exists(const char *path);
bool rt_path_taken(const char *path); /* by anything, a link that leads nowhere too: reading it then says why */
/* The number behind /dev/stdin, /dev/stdout, /dev/fd/N and the like, opened already by whoever started us; else -1. */
int rt_path_descriptor(const char *path);
bool rt_is_folder(const char *path);
rt_status rt_make_folders(const char *path);              /* mkdir -p */
char *rt_path_join(const char *folder, const char *name); /* name alone if absolute; caller frees */
char *rt_path_dirname(const char *path);                  /* caller frees */
const char *rt_path_basename(const char *path);
/* "~" and "${VAR}" expanded, then, if still relative and base is not NULL, joined to base. RT_ECONFIG for an unset
 * variable. Caller frees. */
rt_status rt_path_expand(const char *path, const char *base, char **out);

#endif
