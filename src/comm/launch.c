#include "launch.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS_MAX = 65536 };

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static rt_status number(const char *name, long low, long high, int *out) {
    const char *text = variable(name);
    char *end;
    if (!text) return rt_fail(RT_ECONFIG, "the launcher set no %s: ranks cannot be told apart", name);
    errno = 0;
    long n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < low || n > high)
        return rt_fail(RT_ECONFIG, "%s = %.40s: expected a number from %ld to %ld", name, text, low, high);
    *out = (int)n;
    return RT_OK;
}

static rt_status number_or(const char *name, int fallback, int *out) {
    *out = fallback;
    return variable(name) ? number(name, 0, INT_MAX, out) : RT_OK;
}

static rt_status check(const rt_launch *l) {
    if (l->rank >= l->size)
        return rt_fail(RT_ECONFIG, "%s says rank %d of %d: ranks are counted from 0", l->name, l->rank, l->size);
    if (l->local_size && (l->local_rank >= l->local_size || l->local_size > l->size))
        return rt_fail(RT_ECONFIG, "%s says local rank %d of %d on this node, of %d in all", l->name, l->local_rank,
                       l->local_size, l->size);
    if (l->local_rank > l->rank)
        return rt_fail(RT_ECONFIG, "%s says local rank %d, but rank %d: the rank is counted per node, not over all",
                       l->name, l->local_rank, l->rank);
    return RT_OK;
}

static rt_status from_openmpi(rt_launch *l) {
    l->launcher = RT_LAUNCH_OPENMPI;
    l->name = "mpirun";
    l->pmix = true;
    RT_TRY(number("OMPI_COMM_WORLD_SIZE", 1, RANKS_MAX, &l->size));
    RT_TRY(number("OMPI_COMM_WORLD_RANK", 0, RANKS_MAX, &l->rank));
    RT_TRY(number_or("OMPI_COMM_WORLD_LOCAL_RANK", 0, &l->local_rank));
    return number_or("OMPI_COMM_WORLD_LOCAL_SIZE", 0, &l->local_size);
}

/* Name characters, then perhaps a list of numbers in brackets, of which the first, zeros kept, belongs to the name. */
bool rt_launch_first_node(const char *list, char *out, int size) {
    int n = 0;
    const char *p = list;
    for (; *p && *p != ',' && *p != '['; p++) {
        if (!(isalnum((unsigned char)*p) || strchr("-._", *p)) || n + 1 >= size) return false;
        out[n++] = *p;
    }
    if (*p == '[') {
        if (!isdigit((unsigned char)p[1]) || !strchr(p, ']')) return false;
        for (p++; isdigit((unsigned char)*p); p++) {
            if (n + 1 >= size) return false;
            out[n++] = *p;
        }
        if (*p != '-' && *p != ',' && *p != ']') return false;
    }
    out[n] = 0;
    return n > 0;
}

/* Lightning's rule, so that two jobs on one node rarely meet: 15000 and the last four digits of the job's number. */
static int slurm_port(const char *job) {
    long n = strtol(job, NULL, 10);
    return 15000 + (int)(n % 10000);
}

/* "2(x3),1" is 2 tasks on each of the first three nodes and 1 on the fourth. 0: the list does not say. */
static int tasks_of_node(const char *list, int node) {
    for (const char *p = list; isdigit((unsigned char)*p);) {
        char *end;
        long tasks = strtol(p, &end, 10), nodes = 1;
        if (end[0] == '(' && end[1] == 'x') {
            nodes = strtol(end + 2, &end, 10);
            if (*end++ != ')') return 0;
        }
        if (tasks < 1 || tasks > RANKS_MAX || nodes < 1 || (*end && *end != ',')) return 0;
        if (node < nodes) return (int)tasks;
        node -= (int)nodes;
        p = *end ? end + 1 : end;
    }
    return 0;
}

static rt_status from_slurm(rt_launch *l) {
    const char *job = variable("SLURM_JOB_ID"), *step = variable("SLURM_STEP_ID"), *address = variable("MASTER_ADDR");
    const char *nodes = variable("SLURM_STEP_NODELIST"), *tasks = variable("SLURM_STEP_TASKS_PER_NODE");
    int node = 0;
    l->launcher = RT_LAUNCH_SLURM;
    l->name = "srun";
    l->pmix = variable("PMIX_RANK") != NULL;
    RT_TRY(number("SLURM_NTASKS", 1, RANKS_MAX, &l->size));
    RT_TRY(number("SLURM_PROCID", 0, RANKS_MAX, &l->rank));
    RT_TRY(number_or("SLURM_LOCALID", 0, &l->local_rank));
    RT_TRY(number_or("SLURM_NODEID", 0, &node));
    RT_TRY(number_or("SLURM_CPUS_PER_TASK", 0, &l->cpus));
    if (tasks) l->local_size = tasks_of_node(tasks, node);
    if (!nodes) nodes = variable("SLURM_JOB_NODELIST");
    if (address)
        snprintf(l->address, sizeof l->address, "%s", address);
    else if (nodes && !rt_launch_first_node(nodes, l->address, sizeof l->address))
        return rt_fail(RT_ECONFIG, "SLURM_JOB_NODELIST = %.80s: expected node names; set MASTER_ADDR to rank 0's host",
                       nodes);
    l->port = job ? slurm_port(job) : 0;
    if (variable("MASTER_PORT")) RT_TRY(number("MASTER_PORT", 1, 65535, &l->port));
    snprintf(l->token, sizeof l->token, "slurm %s.%s", job ? job : "", step ? step : "");
    return RT_OK;
}

static rt_status from_torchrun(rt_launch *l) {
    const char *run = variable("TORCHELASTIC_RUN_ID"), *agent = variable("TORCHELASTIC_USE_AGENT_STORE");
    l->launcher = RT_LAUNCH_TORCHRUN;
    l->name = "torchrun";
    RT_TRY(number("WORLD_SIZE", 1, RANKS_MAX, &l->size));
    RT_TRY(number("RANK", 0, RANKS_MAX, &l->rank));
    RT_TRY(number_or("LOCAL_RANK", 0, &l->local_rank));
    RT_TRY(number_or("LOCAL_WORLD_SIZE", 0, &l->local_size));
    if (l->size > 1) {
        if (!variable("MASTER_ADDR"))
            return rt_fail(RT_ECONFIG,
                           "RANK and WORLD_SIZE are set, but MASTER_ADDR is not: where does rank 0 listen?");
        snprintf(l->address, sizeof l->address, "%s", variable("MASTER_ADDR"));
        RT_TRY(number("MASTER_PORT", 1, 65534, &l->port));
        /* torchrun's own store may sit on the port that it hands out. */
        if (agent && strcasecmp(agent, "true") == 0) l->port++;
    }
    if (run) snprintf(l->token, sizeof l->token, "torchrun %s", run);
    return RT_OK;
}

rt_status rt_launch_detect(rt_launch *l) {
    *l = (rt_launch){.launcher = RT_LAUNCH_ALONE, .name = "one process", .size = 1};
    if (variable("OMPI_COMM_WORLD_SIZE")) {
        RT_TRY(from_openmpi(l));
    } else if (variable("RANK") && variable("WORLD_SIZE")) {
        RT_TRY(from_torchrun(l));
    } else if (variable("SLURM_STEP_ID") && variable("SLURM_PROCID")) {
        RT_TRY(from_slurm(l)); /* in a batch script itself there is no step: one process */
    } else {
        if (variable("RANK"))
            snprintf(l->warning, sizeof l->warning, "RANK = %.20s is set without WORLD_SIZE: passed over",
                     getenv("RANK"));
        else if (variable("SLURM_NTASKS") && strcmp(getenv("SLURM_NTASKS"), "1") != 0)
            snprintf(l->warning, sizeof l->warning,
                     "Slurm gave this job %.10s tasks, but this is one process outside srun; for all of them: srun "
                     "--mpi=pmix rectrain ...",
                     getenv("SLURM_NTASKS"));
        return RT_OK;
    }
    if (variable("RECTRAIN_RUN_TOKEN")) snprintf(l->token, sizeof l->token, "own %s", variable("RECTRAIN_RUN_TOKEN"));
    return check(l);
}
