/* What rectrain-mpi.so exports: gradients of CPU ranks over MPI. The host plane stays tcp.c's; MPI
 * tells the ranks where to meet. Calls of MPI come from one thread. */
#ifndef RT_COMM_MPI_H
#define RT_COMM_MPI_H
#include "comm.h"

#define RT_MPI_ABI 1u

typedef struct {
    /* MPI_Init. RT_ECONFIG, with the line to use instead, where MPI does not see the ranks that the launcher started.
     */
    rt_status (*init)(const rt_launch *launch);
    /* From rank 0 to all, while there is no host plane yet. */
    rt_status (*bcast)(void *bytes, int size);
    /* Fills the data plane of a host plane over the same ranks. */
    rt_status (*attach)(rt_comm *comm);
    /* MPI_Finalize, where all ranks end in order; else nothing, and the launcher clears up. */
    void (*finish)(bool in_order);
    const char *(*version)(void); /* of the library */
} rt_mpi_plugin_table;

extern const uint32_t rt_mpi_abi; /* RT_MPI_ABI */
const rt_mpi_plugin_table *rt_mpi_plugin(void);

#endif
