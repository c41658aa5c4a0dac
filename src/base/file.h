/* Files: whole reads with a limit, read-only maps, durable atomic replacement, folders, paths. */
#ifndef RT_BASE_FILE_H
#define RT_BASE_FILE_H
#include "status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads a regular file whole; *data is NUL-terminated, owned by the caller. RT_ENOINPUT if it is not there, RT_EDATA if
 * it is larger than `limit` or not a regular file, RT_EIO. */
rt_status rt_file_read(const char *path, size_t limit, char **data, size_t *size);

typedef struct {
    const unsigned char *data; /* NULL for an empty file */
    size_t size;
} rt_map;
rt_status rt_map_open(const char *path, rt_map *map); /* read-only, private; regular files alone */
void rt_map_close(rt_map *map);

/* Durable replacement: writes "<path>.tmp.<pid>", then on commit fsync, rename over path, fsync of the folder. The old
 * file stays byte-identical until the rename. Every error is RT_EIO with path and errno; after a failed fsync nothing
 * is retried. Use: rt_atomic a = {0}; begin, write / pwrite, commit; rt_atomic_abort in every exit (no-op after
 * commit). */
typedef struct {
    int fd;
    char *path, *temporary;
    bool open;
} rt_atomic;
rt_status rt_atomic_begin(rt_atomic *file, const char *path);
rt_status rt_atomic_write(rt_atomic *file, const void *bytes, size_t size);
rt_status rt_atomic_pwrite(rt_atomic *file, const void *bytes, size_t size, uint64_t offset);
rt_status rt_atomic_commit(rt_atomic *file);
void rt_atomic_abort(rt_atomic *file);
rt_status rt_file_write_atomic(const char *path, const void *bytes, size_t size);

bool rt_file_exists(const char *path);
bool rt_is_folder(const char *path);
rt_status rt_make_folders(const char *path);              /* mkdir -p */
char *rt_path_join(const char *folder, const char *name); /* name alone if absolute; caller frees */
char *rt_path_dirname(const char *path);                  /* caller frees */
const char *rt_path_basename(const char *path);
/* "~" and "${VAR}" expanded, then, if still relative and base is not NULL, joined to base. RT_ECONFIG for an unset
 * variable. Caller frees. */
rt_status rt_path_expand(const char *path, const char *base, char **out);

#endif
