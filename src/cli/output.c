/* stdout, checked: a result that did not arrive is an error, not a silence. */
#include "cli.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static rt_status failed(void) {
    int error = errno;
    if (error == EPIPE) return rt_fail(RT_EIO, "stdout: the reader went away before all results were written");
    return rt_fail(RT_EIO, "stdout: cannot write: %s", strerror(error));
}

rt_status rt_cli_write(const void *bytes, size_t size) {
    if (ferror(stdout)) return rt_fail(RT_EIO, "stdout: a write failed; the results are incomplete");
    return fwrite(bytes, 1, size, stdout) == size ? RT_OK : failed();
}

void rt_cli_show(const rt_cli *cli, const void *bytes, size_t size) {
    if (ferror(stdout)) return;
    if (rt_cli_write(bytes, size) == RT_OK && rt_cli_flush() == RT_OK) return;
    rt_warn(cli->log, "%s; going on, and what belongs there is in the run's folder", rt_error_get()->text);
}

void rt_cli_awaits_lines(const rt_cli *cli, const char *what) {
    if (isatty(STDIN_FILENO) == 1) rt_info(cli->log, "reading %s from the terminal; Ctrl-D ends them", what);
}

/* Asked of the pipe itself, for a library may have written in between and errno is long gone. */
bool rt_cli_reader_left(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return ferror(stdout) && poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
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
