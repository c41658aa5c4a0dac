/* The ranks of a training run: how it was launched decides where they meet and what adds their gradients. */
#ifndef RT_CLI_RANKS_H
#define RT_CLI_RANKS_H
#include "../base/plugin.h"
#include "../comm/comm.h"
#include "../config/config.h"
#include "cli.h"
#include <rectrain/kernels.h>

extern const rt_plugin_spec rt_cli_mpi_plugin; /* rectrain-mpi.so */

/* Who started this process: first of all, for only rank 0 says what goes well. */
rt_status rt_cli_ranks_detect(rt_cli *cli, rt_launch *launch);
/* Threads for this rank where run.threads is 0: what the launcher gave it, or else an equal share of the node, unless
 * it bound this process to cores of its own; 0: all it may use. */
int rt_cli_ranks_threads(const rt_launch *launch);
/* Opens the communicator of `launch`; one process: rt_comm_self. RT_ECONFIG with the line to use instead where launcher
 * and device do not fit. */
rt_status rt_cli_ranks_open(const rt_cli *cli, const rt_config *cfg, const rt_launch *launch, rt_backend *be,
                            rt_comm **out);
/* After the communicator's close: lets MPI end in order where `how` is RT_OK or RT_ESTOPPED on all ranks. */
void rt_cli_ranks_finish(rt_status how);

#endif
