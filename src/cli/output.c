/* stdout, checked: a result that did not arrive is an error, not a silence. */
#include "cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static rt_status failed(void) {
    int error = errno;
    if (error == EPIPE) return rt_fail(RT_EIO, "stdout: the reader went away before all results were written");
    return rt_fail(RT_EIO, "stdout: cannot write: %s", strerror(error));
}

rt_status rt_cli_write(const void *bytes, size_t size) {
    if (ferror(stdout)) return rt_fail(RT_EIO, "stdout: a write failed; the results are incomplete");
    return fwrite(bytes, 1, size, stdout) == size ? RT_OK : failed();
}

rt_status rt_cli_printf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vprintf(format, args);
    va_end(args);
    return n >= 0 ? RT_OK : failed();
}

rt_status rt_cli_flush(void) {
    errno = 0;
    if (fflush(stdout) != 0) return failed();
    return ferror(stdout) ? rt_fail(RT_EIO, "stdout: a write failed; the results are incomplete") : RT_OK;
}
