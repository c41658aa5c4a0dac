/* Who started this process, as which rank of how many, and where the ranks meet: read from the environment that
 * launchers set. Open MPI's mpirun, Slurm's srun, torchrun; nothing of them: one process.
 *
 * Variables (as their documentation has them): OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE; SLURM_PROCID,
 * SLURM_NTASKS, SLURM_LOCALID, SLURM_NODEID, SLURM_STEP_ID, SLURM_JOB_ID, SLURM_STEP_NODELIST,
 * SLURM_STEP_TASKS_PER_NODE, SLURM_CPUS_PER_TASK; RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK,
 * MASTER_ADDR, MASTER_PORT, TORCHELASTIC_RUN_ID. */
#ifndef RT_COMM_LAUNCH_H
#define RT_COMM_LAUNCH_H
#include "../base/status.h"
#include <stdbool.h>

typedef enum { RT_LAUNCH_ALONE, RT_LAUNCH_OPENMPI, RT_LAUNCH_SLURM, RT_LAUNCH_TORCHRUN } rt_launcher;

typedef struct {
    rt_launcher launcher;
    const char *name; /* "mpirun", "srun", ... */
    int rank, size;
    int local_rank, local_size; /* among the ranks of this node; local_size 0: not said */
    int cpus;                   /* processors of this rank; 0: not said */
    bool pmix;                  /* a PMIx server is there: MPI_Init will find the other ranks */
    char address[256];          /* where rank 0 listens; "": not said (MPI tells it) */
    int port;                   /* 0: not said */
    char token[256];            /* what the ranks of this run know and a stranger does not; "": nothing */
    char warning[256];          /* what was found and passed over; "": nothing */
} rt_launch;

/* RT_ECONFIG where the variables contradict each other or hold no number. */
rt_status rt_launch_detect(rt_launch *out);
/* The first name of a Slurm node list: "gpu[03-05,9],login" is gpu03. False if it is none. */
bool rt_launch_first_node(const char *list, char *out, int size);

#endif
