/* The suite of data planes over MPI: started by mpirun, as many ranks as it says; exit code 0 where all is well. Linked
 * with the plugin's source. */
#include "comm/mpi.h"
#include "comm/wire.h"
#include "planes.h"
#include <stdio.h>

static rt_status copy(void *context, float *to, const float *from) {
    (void)context;
    memcpy(to, from, PLANES_N * sizeof *to);
    return RT_OK;
}

/* Where rank 0 listens, told by MPI. */
static rt_status meet(const rt_mpi_plugin_table *mpi, rt_launch *l, rt_comm **out) {
    int port = 0, listener = -1;
    if (l->rank == 0) RT_TRY(rt_wire_listen("127.0.0.1", 0, 16, &listener, &port));
    RT_TRY(mpi->bcast(&port, (int)sizeof port));
    snprintf(l->address, sizeof l->address, "127.0.0.1");
    snprintf(l->token, sizeof l->token, "planes");
    l->port = port;
    return rt_comm_tcp(l, &(rt_comm_options){.timeout = 60, .listener = listener}, out);
}

static rt_status run(rt_comm **comm) {
    static float memory[PLANES_N];
    const rt_mpi_plugin_table *mpi = rt_mpi_plugin();
    const planes_memory host = {memory, copy, copy, NULL};
    rt_launch l;
    RT_TRY(rt_launch_detect(&l));
    RT_TRY(mpi->init(&l));
    RT_TRY(meet(mpi, &l, comm));
    for (int narrow = 0; narrow < 2; narrow++) {
        (*comm)->narrow = narrow;
        RT_TRY(mpi->attach(*comm));
        RT_TRY(planes_check(*comm, &host));
        RT_TRY((*comm)->barrier(*comm));
        (*comm)->close_data(*comm);
    }
    return RT_OK;
}

int main(void) {
    rt_comm *comm = NULL;
    rt_status rc = run(&comm);
    if (rc != RT_OK) fprintf(stderr, "%s\n", rt_error_get()->text);
    if (comm && rc != RT_OK) comm->abort(comm, rc, rt_error_get()->text);
    if (comm) comm->close(comm, rc);
    rt_mpi_plugin()->finish(rc == RT_OK);
    return rc == RT_OK ? 0 : 1;
}
