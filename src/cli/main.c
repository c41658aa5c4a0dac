/* Reads the command line, runs one command, prints the error there may be, and is the one place that ends the program.
 */
#include "../track/track.h"
#include "args.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

extern char **environ;

/* A dumb terminal shows escapes as they are: for it everything is as in a log. */
static bool is_terminal(void) {
    const char *term = getenv("TERM");
    return term && *term && strcmp(term, "dumb") != 0 && isatty(STDERR_FILENO) == 1;
}

static bool may_color(const rt_cli *cli) {
    const char *no_color = getenv("NO_COLOR");
    return cli->terminal && !cli->no_color && !(no_color && *no_color);
}

/* How often a line comes where stderr is no terminal. */
static double progress_seconds(void) {
    const char *text = getenv("RECTRAIN_PROGRESS_SECONDS");
    double seconds;
    return text && rt_parse_f64(text, &seconds) && seconds >= 0.01 && seconds <= 86400 ? seconds : 10.0;
}

static void open_streams(rt_cli *cli) {
    cli->terminal = is_terminal();
    cli->color = may_color(cli);
    rt_log_level threshold = cli->quiet ? RT_LOG_WARN : cli->verbose ? RT_LOG_VERBOSE : RT_LOG_INFO;
    cli->log = rt_log_open(&(rt_log_options){.stream = stderr, .threshold = threshold, .color = cli->color});
    cli->line = rt_progress_line_new(stderr, cli->terminal && !cli->quiet, progress_seconds(), cli->log);
}

/* The binary's real path: the configs folder and plugins are looked for beside it, however it was called. */
static const char *real_program(char path[4096], const char *fallback) {
    ssize_t n = readlink("/proc/self/exe", path, 4095);
    if (n <= 0) return fallback;
    path[n] = 0;
    return path;
}

/* Where tools/fetch_model.sh leaves models of a checkout, so that model.base may name one; a user's own value wins. */
static void default_models(const char *program) {
    char path[4096 + 16];
    const char *slash = strrchr(program, '/');
    if (!slash) return;
    snprintf(path, sizeof path, "%.*s/models", (int)(slash - program), program);
    if (access(path, R_OK) == 0) setenv("RECTRAIN_MODELS", path, 0);
}

/* Of the window that `fd` is; COLUMNS says otherwise. 0: no window. */
static int columns_of(int fd) {
    struct winsize size;
    const char *text = getenv("COLUMNS");
    long long columns;
    if (isatty(fd) != 1) return 0;
    if (text && rt_parse_i64(text, &columns) && columns > 0 && columns < 10000) return (int)columns;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void fold(rt_text *text, int columns) {
    rt_text folded = {0};
    if (columns <= 0 || !text->data) return;
    rt_help_fold(text->data, columns, &folded);
    rt_text_free(text);
    *text = folded;
}

static rt_status show(rt_text *text) {
    rt_status rc = rt_text_status(text);
    if (rc == RT_OK) rc = rt_cli_write(text->data, text->size);
    return rc;
}

static rt_status show_help(rt_todo todo, const rt_command_row *command) {
    rt_text text = {0};
    if (todo == RT_DO_VERSION)
        rt_text_puts(&text, "rectrain " RT_VERSION "\n");
    else if (todo == RT_DO_MAN)
        rt_help_man(command, &text);
    else if (todo == RT_DO_BASH || todo == RT_DO_ZSH || todo == RT_DO_FISH)
        rt_help_completion(todo, &text);
    else if (command)
        rt_help_command(command, &text);
    else
        rt_help_program(&text);
    if (todo == RT_DO_HELP) fold(&text, columns_of(STDOUT_FILENO));
    rt_status rc = show(&text);
    rt_text_free(&text);
    return rc;
}

static void report(const rt_cli *cli, rt_status rc) {
    const rt_error *error = rt_error_get();
    bool known = error->status == rc && error->text[0];
    rt_error_log(cli->log, "%s", known ? error->text : "failed without a message; this is a bug of rectrain");
    if ((cli->verbose > 0 || rt_exit_code(rc) == 1) && error->trace[0]) rt_error_log(cli->log, "at %s", error->trace);
}

/* Descriptors 0 to 2 must be open, or the first file opened would become stdout. What stands in for stdin cannot be
 * read and what stands in for stdout cannot be written, so that results without a place are an error and no silence. */
static bool open_standard(void) {
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) != -1) continue;
        if (open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY) != fd) return false;
    }
    return true;
}

/* The end that a reader who left (`| head`) expects of whoever wrote to him: as by SIGPIPE, without a word. */
static void end_by_pipe(void) {
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

/* What a command wrote must have arrived, or its success is none; an earlier error is the one to tell. */
static rt_status flush_results(rt_status rc) {
    if (rc == RT_OK)
        rc = rt_cli_flush();
    else
        fflush(stdout);
    if (rc == RT_OK && close(STDOUT_FILENO) != 0 && errno != EBADF) rc = rt_fail(RT_EIO, "stdout: %s", strerror(errno));
    return rc;
}

int main(int argc, char **argv) {
    char program[4096];
    rt_cli cli = {.environment = (const char *const *)environ};
    const rt_command_row *command = NULL;
    rt_todo todo = RT_DO_RUN;
    bool piped = false;

    if (!open_standard()) return 74;
    /* A reader that left is told by the failed write, when temporary files can still be removed. */
    bool pipe_ends = signal(SIGPIPE, SIG_IGN) != SIG_IGN;
    rt_status rc = rt_args_parse(argc, argv, &cli, &command, &todo);
    cli.program = real_program(program, cli.program);
    default_models(cli.program);
    open_streams(&cli);

    if (rc == RT_OK && todo == RT_DO_SHORT_HELP) {
        rt_text text = {0};
        rt_help_short(&text);
        fold(&text, columns_of(STDERR_FILENO));
        if (text.data) fputs(text.data, stderr);
        rt_text_free(&text);
        rc = RT_EUSAGE;
        goto end;
    }
    if (rc == RT_OK && todo == RT_DO_RUN) {
        rt_progress_line_beat(cli.line);
        rc = command->run(&cli);
        rt_progress_line_end(cli.line);
    } else if (rc == RT_OK) {
        rc = show_help(todo, command);
    }
    rc = flush_results(rc);
    piped = rc == RT_EIO && pipe_ends && rt_cli_reader_left();
    if (rc != RT_OK && !piped) report(&cli, rc);
end:
    rt_progress_line_free(cli.line);
    rt_log_close(cli.log);
    free(cli.sets);
    free(cli.files);
    if (piped) end_by_pipe();
    return rt_exit_code(rc);
}
