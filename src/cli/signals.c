#include "signals.h"
#include "../train/train.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Handlers have no context to be given: the one place where the process itself is the state. */
static volatile sig_atomic_t stop_signal, save_wanted, interrupts;
static volatile sig_atomic_t nothing = -1; /* a descriptor of /dev/null, to put in stdin's place */

static void on_stop(int number) {
    int error = errno;
    if (number == SIGINT && ++interrupts > 1) {
        static const char message[] = "\nrectrain: second Ctrl-C: ended at once; what was last saved stays\n";
        ssize_t ignored = write(STDERR_FILENO, message, sizeof message - 1);
        (void)ignored;
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    stop_signal = number;
    if (nothing >= 0) dup2(nothing, STDIN_FILENO); /* a read that was interrupted begins anew, and there it ends */
    errno = error;
}

static void on_save(int number) {
    (void)number;
    save_wanted = 1;
}

void rt_signals_install(bool usr1_saves) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_stop;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    struct sigaction hangup; /* nohup: who ignores it wants the run to outlive the terminal */
    if (sigaction(SIGHUP, NULL, &hangup) != 0 || hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
    action.sa_flags = SA_RESTART | SA_NODEFER; /* so that the second SIGINT's own death is not blocked */
    sigaction(SIGINT, &action, NULL);
    action.sa_flags = SA_RESTART;
    action.sa_handler = usr1_saves ? on_save : on_stop;
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond `ulimit -f` is a failed write, with its sentence */
}

void rt_signals_end_stdin(void) {
    if (nothing < 0) nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool rt_signals_stop(void) {
    return stop_signal != 0;
}

const char *rt_signals_name(void) {
    switch (stop_signal) {
    case SIGTERM:
        return "SIGTERM";
    case SIGINT:
        return "SIGINT";
    case SIGUSR1:
        return "SIGUSR1";
    case SIGUSR2:
        return "SIGUSR2";
    case SIGHUP:
        return "SIGHUP";
    default:
        return "";
    }
}

uint32_t rt_signals_take(void) {
    uint32_t flags = stop_signal ? RT_SIGNAL_STOP : 0;
    if (save_wanted) {
        save_wanted = 0;
        flags |= RT_SIGNAL_SAVE;
    }
    return flags;
}
