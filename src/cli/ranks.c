#include "ranks.h"
#include "../base/cpu.h"
#include "../base/plugin.h"
#include "../comm/mpi.h"
#include "../comm/wire.h"
#include "../track/track.h"
#include "args.h"
#include "signals.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

typedef rt_status (*attach_function)(rt_backend *, rt_comm *);

/* MPI is one library for the whole process. */
static const rt_mpi_plugin_table *mpi;

int rt_cli_ranks_threads(const rt_launch *l) {
    rt_cpu cpu;
    cpu_set_t bound;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    rt_cpu_detect(&cpu);
    /* Slurm may bind the tasks of a node to their processors together. */
    if (l->cpus) return l->cpus < cpu.cores ? l->cpus : cpu.cores;
    if (l->local_size < 2) return 0;
    /* Bound to cores of its own; a container's quota, which cpu.cores counts too, is shared by all its ranks. */
    if (sched_getaffinity(0, sizeof bound, &bound) == 0 && CPU_COUNT(&bound) < online) return 0;
    int share = cpu.cores / l->local_size;
    return share > 1 ? share : 1;
}

const rt_plugin_spec rt_cli_mpi_plugin = {"rectrain-mpi.so", "rt_mpi_abi", RT_MPI_ABI, "rt_mpi_plugin"};

static rt_status load_mpi(void) {
    rt_plugin_entry entry = NULL;
    if (mpi) return RT_OK;
    RT_TRY(rt_plugin_open(&rt_cli_mpi_plugin, &entry, NULL));
    mpi = ((const rt_mpi_plugin_table *(*)(void))entry)();
    return RT_OK;
}

/* Where the ranks that MPI started meet, and what they know that a stranger does not. */
typedef struct {
    char address[256];
    int32_t port; /* 0: rank 0 could not listen */
    unsigned char secret[16];
} meeting;

static rt_status meet_by_mpi(rt_launch *l, int *listener) {
    meeting m = {0};
    rt_error why = {0};
    if (l->rank == 0) {
        int port = 0;
        bool one_node = l->local_size == l->size;
        if (one_node || gethostname(m.address, sizeof m.address - 1) != 0) strcpy(m.address, "127.0.0.1");
        rt_status rc = getrandom(m.secret, sizeof m.secret, 0) == (ssize_t)sizeof m.secret
                           ? rt_wire_listen(m.address, 0, 2 * l->size, listener, &port)
                           : rt_fail(RT_EIO, "no random bytes from the system: %m");
        if (rc == RT_OK)
            m.port = port;
        else
            why = *rt_error_get();
    }
    RT_TRY(mpi->bcast(&m, (int)sizeof m));
    if (!m.port && l->rank == 0) {
        rt_error_set(&why);
        return why.status;
    }
    if (!m.port) return rt_fail(RT_EUNAVAILABLE, "rank 0 found no address to listen on; its own error says more");
    m.address[sizeof m.address - 1] = 0;
    snprintf(l->address, sizeof l->address, "%s", m.address);
    l->port = m.port;
    int n = snprintf(l->token, sizeof l->token, "mpi ");
    for (size_t i = 0; i < sizeof m.secret; i++)
        n += snprintf(l->token + n, sizeof l->token - (size_t)n, "%02x", m.secret[i]);
    return RT_OK;
}

static rt_status attach_nccl(rt_backend *be, rt_comm *c) {
    rt_plugin_entry entry = NULL;
    const rt_plugin_spec spec = {"rectrain-cuda.so", "rt_cuda_abi", RT_KERNELS_ABI, "rt_nccl_attach"};
    RT_TRY(rt_plugin_open(&spec, &entry, NULL));
    return ((attach_function)entry)(be, c);
}

/* A combination that cannot work is told at once, with the line that does. */
static rt_status check(const rt_launch *l, bool gpu) {
    if (l->launcher == RT_LAUNCH_TORCHRUN && !gpu)
        return rt_fail(
            RT_ECONFIG,
            "torchrun started %d ranks, but this run computes on the CPU, whose ranks speak MPI. Use: mpirun "
            "-n %d rectrain ... (with GPUs, run.device = cuda)",
            l->size, l->size);
    if (l->launcher == RT_LAUNCH_SLURM && !l->pmix && !gpu)
        return rt_fail(
            RT_ECONFIG,
            "srun started %d ranks without PMIx, so MPI would see %d runs of one. Use: srun --mpi=pmix -n %d "
            "rectrain ...",
            l->size, l->size, l->size);
    return RT_OK;
}

/* The watch's last word: the main thread is stuck where nothing can reach it. */
static void last_resort(const rt_error *why) {
    fprintf(stderr, "error: %s (this rank was stuck and is ended)\n", why->text);
    _exit(rt_exit_code(why->status));
}

static void await(void *context, const char *what) {
    const rt_cli *cli = context;
    rt_info(cli->log, "waiting: %s", what);
}

/* The live line's beat says it, with the seconds since. */
static void waiting(void *context, const char *what) {
    const rt_cli *cli = context;
    rt_progress_line_phase(cli->line, what);
}

rt_status rt_cli_ranks_detect(rt_cli *cli, rt_launch *l) {
    char host[64] = "unknown", prefix[128];
    RT_TRY(rt_launch_detect(l));
    if (l->warning[0]) rt_warn(cli->log, "%s", l->warning);
    if (!l->rank) return RT_OK;
    if (gethostname(host, sizeof host - 1) != 0) strcpy(host, "unknown");
    snprintf(prefix, sizeof prefix, "rank %d on %s: ", l->rank, host);
    rt_log_rank(cli->log, prefix, RT_LOG_ERROR);
    return RT_OK;
}

rt_status rt_cli_ranks_open(const rt_cli *cli, const rt_config *cfg, const rt_launch *launch, rt_backend *be,
                            rt_comm **out) {
    rt_launch l = *launch;
    bool gpu = !be->host_memory;
    int listener = -1;
    if (l.size < 2) return rt_comm_self(out);
    RT_TRY(check(&l, gpu));
    if (l.pmix) {
        RT_TRY(load_mpi());
        RT_TRY(mpi->init(&l));
        RT_TRY(meet_by_mpi(&l, &listener));
    }
    rt_comm_options options = {.timeout = cfg->distributed.timeout,
                               .stop = rt_signals_stop,
                               .last_resort = last_resort,
                               .listener = listener,
                               .await = await,
                               .waiting = waiting,
                               .context = (void *)(uintptr_t)cli};
    RT_TRY(rt_comm_tcp(&l, &options, out));
    RT_TRY(rt_comm_same(*out, "version of rectrain", RT_VERSION));
    /* One device kind for all, or they would wait for each other in different planes. */
    RT_TRY(rt_comm_same(*out, "device", gpu ? "GPU" : "CPU"));
    (*out)->narrow = cfg->distributed.reduce_dtype == RT_CFG_REDUCE_BF16;
    RT_TRY(gpu ? attach_nccl(be, *out) : mpi->attach(*out));
    rt_info(cli->log, "%d ranks, started by %s, meet at %s port %d", l.size, l.name, l.address, l.port);
    return RT_OK;
}

void rt_cli_ranks_finish(rt_status how) {
    if (mpi) mpi->finish(how == RT_OK || how == RT_ESTOPPED);
}
