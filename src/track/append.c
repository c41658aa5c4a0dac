#include "append.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

rt_status rt_append(int fd, const char *path, const void *bytes, size_t size) {
    struct stat before;
    if (fstat(fd, &before) != 0) return rt_fail(RT_EIO, "%s: %s", path, strerror(errno));
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            int error = n < 0 ? errno : ENOSPC;
            if (done > 0 && S_ISREG(before.st_mode) && ftruncate(fd, before.st_size) != 0) error = errno;
            return rt_fail(RT_EIO, "%s: cannot write: %s", path, strerror(error));
        }
        done += (size_t)n;
    }
    return RT_OK;
}
