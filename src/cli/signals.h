/* Signals set a flag and nothing more. SIGTERM, SIGUSR1, SIGUSR2, SIGHUP and the first SIGINT ask for a stop at the
 * next border; with usr1_saves SIGUSR1 asks for a checkpoint instead. A second SIGINT ends the process at once. */
#ifndef RT_CLI_SIGNALS_H
#define RT_CLI_SIGNALS_H
#include <stdbool.h>
#include <stdint.h>

void rt_signals_install(bool usr1_saves);
/* From now on a stop also ends stdin, so that who waits for its next line waits no longer; it looks like its end. */
void rt_signals_end_stdin(void);
bool rt_signals_stop(void);        /* a stop is wanted */
const char *rt_signals_name(void); /* "SIGTERM", of the one that asked; "" before */
uint32_t rt_signals_take(void);    /* RT_SIGNAL_* of train.h; a wanted save is taken by this */

#endif
