/* Reading files, and replacing them so that a crash leaves the old or the new bytes and nothing between. */
#include "file.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

rt_status rt_file_not_opened(const char *path, int error) {
    if (error == ENOENT || error == ENOTDIR) {
        struct stat st;
        if (lstat(path, &st) == 0) return rt_fail(RT_ENOINPUT, "%s: a link to a file that is not there", path);
        return rt_fail(RT_ENOINPUT, "%s: no such file or folder", path);
    }
    if (error == ELOOP) return rt_fail(RT_ENOINPUT, "%s: links that lead in a circle, to no file", path);
    if (error == ENAMETOOLONG)
        return rt_fail(RT_ENOINPUT, "%s: no file can have a name of this length (%zu bytes)", path, strlen(path));
    if (error == EACCES || error == EPERM)
        return rt_fail(RT_ENOINPUT, "%s: may not be read by this user (%s)", path, strerror(error));
    return rt_fail(RT_EIO, "%s: cannot be opened: %s", path, strerror(error));
}

/* O_NONBLOCK so that a pipe in a file's place is refused and not waited for; it means nothing for regular files. */
static rt_status rt_open_regular(const char *path, int *fd, size_t *size) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0) return rt_file_not_opened(path, errno);
    rt_status rc = RT_OK;
    if (fstat(*fd, &st) != 0)
        rc = rt_fail(RT_EIO, "%s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        rc = rt_fail(RT_EDATA, "%s: is a folder; a file is wanted here", path);
    else if (!S_ISREG(st.st_mode))
        rc = rt_fail(RT_EDATA, "%s: is not a regular file; copy it into one", path);
    else if (st.st_size < 0 || (uintmax_t)st.st_size > SIZE_MAX / 2)
        rc = rt_fail(RT_EDATA, "%s: %lld bytes are more than this machine can address", path, (long long)st.st_size);
    else
        *size = (size_t)st.st_size;
    if (rc != RT_OK) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

rt_status rt_file_read(const char *path, size_t limit, char **data, size_t *size) {
    rt_status rc = RT_OK;
    int fd = -1;
    size_t expected = 0, n = 0;
    char *bytes = NULL;
    *data = NULL;
    *size = 0;
    RT_GO(rt_open_regular(path, &fd, &expected));
    if (expected > limit) {
        rc = rt_fail(RT_EDATA, "%s: %zu bytes; at most %zu are accepted here", path, expected, limit);
        goto done;
    }
    bytes = malloc(expected + 1);
    if (!bytes) {
        rc = rt_fail(RT_ENOMEM, "%s: no memory to read its %zu bytes", path, expected);
        goto done;
    }
    while (n < expected) {
        ssize_t got = read(fd, bytes + n, expected - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            rc = rt_fail(RT_EIO, "%s: cannot be read at byte %zu: %s", path, n, strerror(errno));
            goto done;
        }
        if (got == 0) {
            rc = rt_fail(RT_EIO, "%s: became shorter while it was read (%zu of %zu bytes)", path, n, expected);
            goto done;
        }
        n += (size_t)got;
    }
    bytes[n] = 0;
    *data = bytes;
    *size = n;
    bytes = NULL;
done:
    free(bytes);
    if (fd >= 0) close(fd);
    return rc;
}

static rt_status rt_write_failed(const char *path, const char *verb, int error) {
    const char *next = error == ENOSPC || error == EDQUOT ? "; make room there or choose another folder"
                       : error == EACCES || error == EPERM || error == EROFS
                           ? "; choose a folder that this user may write to"
                           : "";
    return rt_fail(RT_EIO, "%s: cannot be %s: %s%s", path, verb, strerror(error), next);
}

/* O_NONBLOCK so that a pipe that nobody reads is refused and not waited for. A descriptor is taken as it stands, with
 * its place in the file: opened again by name it would begin at the file's first byte. */
static rt_status rt_open_direct(rt_atomic *file, const char *path) {
    file->path = rt_strdup(path);
    if (!file->path) return rt_fail(RT_ENOMEM, "%s: no memory for its name", path);
    int descriptor = rt_path_descriptor(path), flags = -1;
    file->fd = descriptor >= 0 ? fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
                               : open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd >= 0) flags = fcntl(file->fd, F_GETFL);
    if (flags < 0 || (descriptor < 0 && fcntl(file->fd, F_SETFL, flags & ~O_NONBLOCK) != 0)) {
        rt_status rc = errno == ENXIO ? rt_fail(RT_EIO, "%s: a pipe or device that nobody is at the other end of", path)
                                      : rt_write_failed(path, "written", errno);
        if (file->fd >= 0) close(file->fd);
        free(file->path);
        *file = (rt_atomic){.fd = -1};
        return rc;
    }
    file->open = file->direct = true;
    return RT_OK;
}

rt_status rt_atomic_begin(rt_atomic *file, const char *path) {
    struct stat st;
    *file = (rt_atomic){.fd = -1};
    bool taken = stat(path, &st) == 0;
    if (taken && S_ISDIR(st.st_mode))
        return rt_fail(RT_EIO, "%s: is a folder; name a file to write, in it or elsewhere", path);
    if (taken && (!S_ISREG(st.st_mode) || rt_path_descriptor(path) >= 0)) return rt_open_direct(file, path);
    rt_text temporary = {0};
    rt_text_printf(&temporary, "%s.tmp.%ld", path, (long)getpid());
    file->path = rt_strdup(path);
    file->temporary = temporary.data;
    if (!file->path || temporary.failed) {
        rt_atomic_abort(file);
        return rt_fail(RT_ENOMEM, "%s: no memory for its name", path);
    }
    /* One left by a dead process of the same number is nobody's. O_EXCL never follows a link that waits there. */
    for (int attempt = 0; attempt < 2 && file->fd < 0; attempt++) {
        file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (file->fd < 0 && (errno != EEXIST || attempt > 0 || unlink(file->temporary) != 0)) break;
    }
    if (file->fd < 0) {
        rt_status rc = rt_write_failed(path, "written", errno);
        free(file->path);
        free(file->temporary);
        *file = (rt_atomic){.fd = -1};
        return rc;
    }
    file->open = true;
    return RT_OK;
}

static rt_status rt_not_open(void) {
    return rt_fail(RT_EINTERNAL, "a write to a replacement file that is not open");
}

rt_status rt_atomic_write(rt_atomic *file, const void *bytes, size_t size) {
    const char *at = bytes;
    if (!file->open) return rt_not_open();
    while (size > 0) {
        ssize_t n = write(file->fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return rt_write_failed(file->path, "written", n < 0 ? errno : EIO);
        at += n;
        size -= (size_t)n;
    }
    return RT_OK;
}

rt_status rt_atomic_pwrite(rt_atomic *file, const void *bytes, size_t size, uint64_t offset) {
    const char *at = bytes;
    if (!file->open) return rt_not_open();
    if (offset > INT64_MAX || size > (uint64_t)INT64_MAX - offset)
        return rt_fail(RT_EIO, "%s: an offset beyond what a file can hold", file->path);
    while (size > 0) {
        ssize_t n = pwrite(file->fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return rt_write_failed(file->path, "written", n < 0 ? errno : EIO);
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return RT_OK;
}

/* Makes the rename itself durable. File systems that cannot sync a folder say EINVAL: nothing more can be done there.
 */
static rt_status rt_sync_folder(const char *path) {
    rt_status rc = RT_OK;
    char *folder = rt_path_dirname(path);
    if (!folder) return rt_fail(RT_ENOMEM, "%s: no memory for its folder's name", path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != EACCES) rc = rt_write_failed(folder, "synced", errno);
    } else {
        if (fsync(fd) != 0 && errno != EINVAL) rc = rt_write_failed(folder, "synced", errno);
        close(fd);
    }
    free(folder);
    return rc;
}

rt_status rt_atomic_commit(rt_atomic *file) {
    rt_status rc = RT_OK;
    if (!file->open) return rt_not_open();
    if (!file->direct && fsync(file->fd) != 0) {
        /* The kernel may have dropped the pages: a second fsync would succeed and lie. */
        rc = rt_write_failed(file->path, "made durable (fsync)", errno);
        goto done;
    }
    int closed = close(file->fd);
    file->fd = -1;
    if (closed != 0 && errno != EINTR) {
        rc = rt_write_failed(file->path, "closed", errno);
        goto done;
    }
    if (file->direct) goto done;
    if (rename(file->temporary, file->path) != 0) {
        rc = rt_write_failed(file->path, "replaced", errno);
        goto done;
    }
    free(file->temporary);
    file->temporary = NULL;
    rc = rt_sync_folder(file->path);
done:
    rt_atomic_abort(file);
    return rc;
}

void rt_atomic_abort(rt_atomic *file) {
    if (!file) return;
    if (file->open && file->fd >= 0) close(file->fd);
    if (file->open && file->temporary) unlink(file->temporary);
    free(file->path);
    free(file->temporary);
    *file = (rt_atomic){.fd = -1};
}

rt_status rt_file_write_atomic(const char *path, const void *bytes, size_t size) {
    rt_status rc = RT_OK;
    rt_atomic file = {0};
    RT_GO(rt_atomic_begin(&file, path));
    RT_GO(rt_atomic_write(&file, bytes, size));
    RT_GO(rt_atomic_commit(&file));
done:
    rt_atomic_abort(&file);
    return rc;
}
