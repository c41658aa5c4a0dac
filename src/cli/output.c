/* stdout, checked: a result that did not arrive is an error, not a silence. */
#include "cli.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static rt_status failed(void) {
    int error = errno;
    if (error == EPIPE) return rt_fail(RT_EIO, "stdout: the reader went away before all results were written");
    return rt_fail(RT_EIO, "stdout: cannot write: %s", strerror(error));
}

/* Results are bytes to a file or a pipe. A terminal acts on some of them, and they come from data: there they are
 * shown, "\x1b" for an escape, and only line ends and tabs stay. */
static rt_status to_terminal(const char *bytes, size_t size) {
    rt_text shown = {0};
    for (size_t at = 0; at < size;) {
        size_t end = at;
        while (end < size && bytes[end] != '\n' && bytes[end] != '\t') end++;
        rt_text_escaped(&shown, bytes + at, end - at, (size_t)-1);
        if (end < size) rt_text_append(&shown, bytes + end, 1);
        at = end + 1;
    }
    rt_status rc = rt_text_status(&shown);
    if (rc == RT_OK && shown.size && fwrite(shown.data, 1, shown.size, stdout) != shown.size) rc = failed();
    rt_text_free(&shown);
    return rc;
}

rt_status rt_cli_write(const void *bytes, size_t size) {
    if (ferror(stdout)) return rt_fail(RT_EIO, "stdout: a write failed; the results are incomplete");
    if (isatty(STDOUT_FILENO) == 1) return to_terminal(bytes, size);
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
    struct stat st; /* a terminal that was closed looks the same, but nobody left it on purpose */
    if (!ferror(stdout) || fstat(STDOUT_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        return false;
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

rt_status rt_cli_printf(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) return rt_fail(RT_ENOMEM, "no memory for a line of results");
    rt_status rc = rt_cli_write(text, (size_t)n);
    free(text);
    return rc;
}

rt_status rt_cli_flush(void) {
    errno = 0;
    if (fflush(stdout) != 0) return failed();
    return ferror(stdout) ? rt_fail(RT_EIO, "stdout: a write failed; the results are incomplete") : RT_OK;
}
