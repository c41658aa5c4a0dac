/* Runs a command in a pseudo-terminal, as a person would: waits for words, types, sends signals, changes the window's
 * size, closes it.
 * Usage: pty_run [OPTION]... [STEP]... -- COMMAND [ARGUMENT]...
 *   --size COLUMNSxROWS   of the window (80x24)
 *   --raw FILE            every byte that the terminal was sent (stdout)
 *   --stdin FILE, --stdout FILE, --stderr FILE   not the terminal but this file; "-" closes the descriptor
 *   --seconds N           how long all may take (60)
 *   see:TEXT    waits until TEXT comes, after what the last `see` saw
 *   send:TEXT   types it
 *   signal:NAME to the command: TERM, INT, HUP, USR1, USR2, TSTP, CONT, KILL
 *   size:COLUMNSxROWS, hangup (closes the terminal)
 * TEXT knows \n, \r, \t, \\ and \xNN. Steps follow one another without a pause. The terminal echoes nothing and
 * leaves line breaks as they are written. Exits as the command did, with 128 + N after signal N; 250: a step failed. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

enum { FAILED = 250 };

typedef struct {
    struct winsize size;
    const char *raw, *files[3];
    int seconds;
    char **steps, **command;
    int n_steps;
    int master; /* -1: closed */
    pid_t child;
    char *seen; /* all that came */
    size_t n_seen, capacity, looked;
} session;

static int complain(const char *what, const char *detail) {
    fprintf(stderr, "pty_run: %s: %s\n", what, detail);
    return FAILED;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool parse_size(const char *text, struct winsize *size) {
    unsigned columns, rows;
    if (sscanf(text, "%ux%u", &columns, &rows) != 2 || columns > 9999 || rows > 9999) return false;
    *size = (struct winsize){.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
    return true;
}

/* Undoes the escapes of TEXT; the caller frees. */
static char *unescape(const char *text, size_t *n) {
    char *out = malloc(strlen(text) + 1);
    *n = 0;
    for (const char *p = text; out && *p; p++) {
        unsigned byte = (unsigned char)*p;
        int used = 0;
        if (*p == '\\' && p[1] == 'x' && sscanf(p + 2, "%2x%n", &byte, &used) == 1)
            p += 1 + used;
        else if (*p == '\\' && p[1])
            byte = *++p == 'n' ? '\n' : *p == 'r' ? '\r' : *p == 't' ? '\t' : (unsigned char)*p;
        out[(*n)++] = (char)byte;
    }
    return out;
}

/* --- the child ---------------------------------------------------------------------------------------------------- */

static void redirect(const session *s, int fd) {
    const char *file = s->files[fd];
    if (!file) return;
    if (!strcmp(file, "-")) {
        close(fd);
        return;
    }
    int opened = open(file, fd == 0 ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (opened < 0 || dup2(opened, fd) < 0) _exit(complain(file, strerror(errno)));
    if (opened != fd) close(opened);
}

static bool begin(session *s) {
    int slave;
    struct termios t;
    if (openpty(&s->master, &slave, NULL, NULL, &s->size) != 0) return complain("openpty", strerror(errno)), false;
    if (tcgetattr(slave, &t) == 0) {
        t.c_oflag &= ~(tcflag_t)OPOST;
        t.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(slave, TCSANOW, &t);
    }
    int started[2]; /* closed by exec: signals and hangups must meet the command, not our copy */
    if (pipe2(started, O_CLOEXEC) != 0) return complain("pipe", strerror(errno)), false;
    s->child = fork();
    if (s->child < 0) return complain("fork", strerror(errno)), false;
    if (s->child > 0) {
        char nothing;
        close(slave);
        close(started[1]);
        while (read(started[0], &nothing, 1) < 0 && errno == EINTR) {
        }
        close(started[0]);
        return true;
    }
    close(s->master);
    if (login_tty(slave) != 0) _exit(complain("login_tty", strerror(errno)));
    for (int fd = 0; fd < 3; fd++) redirect(s, fd);
    execvp(s->command[0], s->command);
    _exit(complain(s->command[0], strerror(errno)));
}

/* --- what comes --------------------------------------------------------------------------------------------------- */

/* Reads what there is, waiting `milliseconds` at most: the number of bytes, or -1 when nobody holds the other side. */
static int take(session *s, int milliseconds) {
    struct pollfd p = {.fd = s->master, .events = POLLIN};
    if (s->master < 0) return -1;
    if (poll(&p, 1, milliseconds) <= 0) return 0;
    if (s->capacity - s->n_seen < 4096) {
        char *grown = realloc(s->seen, s->capacity + 65536);
        if (!grown) return complain("memory", "none left"), -1;
        s->seen = grown;
        s->capacity += 65536;
    }
    ssize_t n = read(s->master, s->seen + s->n_seen, 4096);
    if (n > 0) s->n_seen += (size_t)n;
    return n > 0 ? (int)n : n < 0 && errno == EINTR ? 0 : -1;
}

static bool see(session *s, const char *text, double end) {
    size_t n;
    char *wanted = unescape(text, &n);
    bool found = false, open = true;
    while (wanted && !found) {
        char *at = s->n_seen > s->looked ? memmem(s->seen + s->looked, s->n_seen - s->looked, wanted, n) : NULL;
        if (at) {
            s->looked = (size_t)(at - s->seen) + n;
            found = true;
        } else if (!open || now() > end) {
            complain(open ? "never came" : "ended before it came", text);
            break;
        } else {
            open = take(s, 50) >= 0;
        }
    }
    free(wanted);
    return found;
}

static bool type(session *s, const char *text) {
    size_t n;
    char *bytes = unescape(text, &n);
    bool ok = bytes && write(s->master, bytes, n) == (ssize_t)n;
    free(bytes);
    return ok || (complain("cannot type", text), false);
}

static bool send_signal(session *s, const char *name) {
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"TERM", SIGTERM}, {"INT", SIGINT},   {"HUP", SIGHUP},   {"USR1", SIGUSR1},
                   {"USR2", SIGUSR2}, {"TSTP", SIGTSTP}, {"CONT", SIGCONT}, {"KILL", SIGKILL}};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (!strcmp(name, signals[i].name)) return kill(s->child, signals[i].number) == 0;
    return complain("no such signal", name), false;
}

static bool take_step(session *s, const char *step, double end) {
    if (!strncmp(step, "see:", 4)) return see(s, step + 4, end);
    if (!strncmp(step, "send:", 5)) return type(s, step + 5);
    if (!strncmp(step, "signal:", 7)) return send_signal(s, step + 7);
    if (!strncmp(step, "size:", 5))
        return parse_size(step + 5, &s->size) && ioctl(s->master, TIOCSWINSZ, &s->size) == 0;
    if (!strcmp(step, "hangup")) {
        close(s->master);
        s->master = -1;
        return true;
    }
    return complain("no such step", step), false;
}

/* Until the command has ended and all it wrote is read; what it left behind may hold the terminal for ever. */
static int finish(session *s, double end) {
    int status = 0, n = 0;
    while (waitpid(s->child, &status, WNOHANG) != s->child) {
        if (n >= 0) n = take(s, 20);
        if (n < 0) usleep(5000);
        if (now() < end) continue;
        kill(s->child, SIGKILL);
        waitpid(s->child, &status, 0);
        return complain("did not end", s->command[0]);
    }
    while (take(s, 200) > 0) {
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(session *s) {
    double end = now() + s->seconds;
    if (!begin(s)) return FAILED;
    bool ok = true;
    for (int i = 0; ok && i < s->n_steps; i++) {
        ok = take_step(s, s->steps[i], end);
        if (!ok) complain("failed", s->steps[i]);
    }
    if (!ok) kill(s->child, SIGKILL);
    int code = finish(s, end);
    FILE *raw = s->raw ? fopen(s->raw, "wb") : stdout;
    if (!raw || fwrite(s->seen ? s->seen : "", 1, s->n_seen, raw) != s->n_seen || fflush(raw) != 0)
        return complain("writing", s->raw ? s->raw : "stdout");
    if (s->raw) fclose(raw);
    return ok ? code : FAILED;
}

int main(int argc, char **argv) {
    session s = {.size = {.ws_col = 80, .ws_row = 24}, .seconds = 60, .master = -1};
    int i = 1;
    for (; i + 1 < argc && !strncmp(argv[i], "--", 2) && argv[i][2]; i += 2) {
        const char *value = argv[i + 1];
        static const char *const names[] = {"--stdin", "--stdout", "--stderr"};
        int fd = 0;
        while (fd < 3 && strcmp(argv[i], names[fd]) != 0) fd++;
        if (fd < 3)
            s.files[fd] = value;
        else if (!strcmp(argv[i], "--raw"))
            s.raw = value;
        else if (!strcmp(argv[i], "--seconds"))
            s.seconds = atoi(value);
        else if (strcmp(argv[i], "--size") != 0 || !parse_size(value, &s.size))
            return complain("not understood", argv[i]);
    }
    s.steps = argv + i;
    while (i + s.n_steps < argc && strcmp(s.steps[s.n_steps], "--") != 0) s.n_steps++;
    s.command = s.steps + s.n_steps + 1;
    if (i + s.n_steps + 1 >= argc) return complain("usage", "pty_run [OPTION]... [STEP]... -- COMMAND...");
    int code = run(&s);
    if (s.master >= 0) close(s.master);
    free(s.seen);
    return code;
}
