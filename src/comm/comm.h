/* Ranks: the processes of one run, and what they ask of each other.
 *
 * Two planes. The host plane (tcp.c: a star around rank 0) agrees on flags, gathers scores, names who died. The data
 * plane adds gradients: nothing to do for one process (self.c), MPI for CPU ranks (rectrain-mpi.so), NCCL for GPUs
 * (rectrain-cuda.so). All ranks call the same collectives in the same order; a call that waits
 * for a rank which died, or did nothing for `timeout`, returns RT_EUNAVAILABLE and says who, where, at which step,
 * doing what. A rank that works long by itself calls rt_comm_note now and then. */
#ifndef RT_COMM_COMM_H
#define RT_COMM_COMM_H
#include "../base/status.h"
#include "launch.h"
#include <rectrain/types.h>

typedef struct rt_comm rt_comm;
typedef struct rt_watch rt_watch;

struct rt_comm {
    int rank, size;
    int local_rank, local_size; /* among the ranks of this node */
    char name[48];              /* "self", "tcp + mpi", "tcp + nccl" */
    double timeout;             /* seconds */
    rt_watch *watch;            /* NULL where size is 1 */
    void *data;                 /* the data plane's own */
    bool narrow;                /* gradients travel and are added as bf16; set before a data plane is attached */

    /* Data plane: sums over all ranks, in place, of ranges in backend memory; asynchronous, in an order that is the
     * same on every rank and from run to run. With shards set, rank r's sums are final for elements [shards[r],
     * shards[r+1]) alone, and the rest is unspecified. */
    int64_t *shards; /* [size + 1] of rt_comm_shard; NULL: none */
    /* Of the gradients: elements most of which are zero on every rank, as the word table's are. A plane that can may
     * send what is not zero alone; it lies in the last range of a step, or later ranges wait. sparse_count 0: none. */
    int64_t sparse_from, sparse_count;
    rt_status (*reduce_start)(rt_comm *, float *data, int64_t offset, int64_t count);
    rt_status (*poll)(rt_comm *); /* lets transfers advance; cheap */
    rt_status (*wait_all)(rt_comm *);
    /* Rank r's elements [starts[r], starts[r + 1]) of `size` bytes each to all; starts is [ranks + 1]. */
    rt_status (*all_gather)(rt_comm *, void *data, const int64_t *starts, size_t size);
    void (*close_data)(rt_comm *);

    /* Host plane: on return every rank has the same. */
    rt_status (*agree)(rt_comm *, uint32_t *flags);         /* bitwise or of all ranks' flags */
    rt_status (*sum_f64)(rt_comm *, double *values, int n); /* added in rank order */
    /* Rank 0 gets the blocks one after the other in *all (malloc'ed, the caller frees it) and their sizes [size]. */
    rt_status (*gather)(rt_comm *, const void *bytes, size_t size, void **all, size_t *sizes);
    rt_status (*bcast)(rt_comm *, void *bytes, size_t size); /* from rank 0 */
    rt_status (*barrier)(rt_comm *);
    /* Tells the others why this rank ends: they end too, with the same status, and can say so. */
    void (*abort)(rt_comm *, rt_status status, const char *why);
    /* After RT_OK everywhere: waits for all; else leaves at once. */
    void (*close)(rt_comm *, rt_status how);
};

/* One process: every call succeeds at once. */
rt_status rt_comm_self(rt_comm **out);

typedef struct {
    double timeout;
    bool (*stop)(void); /* ends waiting for the others at the start; may be NULL */
    /* Called in a thread of the watch when this rank ought to have ended and has not, `timeout` after it was given up:
     * must end the process. */
    void (*last_resort)(const rt_error *why);
    int listener; /* rank 0: already listening, or -1 */
    /* Told, in a sentence, what rank 0 waits for before it can listen; may be NULL. */
    void (*await)(void *context, const char *what);
    /* Told in a thread of the watch, again and again while rank 0 waits for a second and longer, for which ranks and
     * what they are doing: "waiting for rank 2 on node1 (tokenising)"; may be NULL. */
    void (*waiting)(void *context, const char *what);
    void *context;
} rt_comm_options;

/* The host plane over TCP at launch->address and port, with a watch; data slots refuse until a data plane is attached.
 */
rt_status rt_comm_tcp(const rt_launch *launch, const rt_comm_options *options, rt_comm **out);

/* Cuts n elements into a shard a rank, whole blocks of 2^16 elements each: what the gradient's norm is summed by. */
rt_status rt_comm_shard(rt_comm *comm, int64_t n);
/* What of the elements [offset, offset + count) is rank r's: from *from on, so many; none: 0 or less. */
static inline int64_t rt_comm_shard_part(const rt_comm *comm, int r, int64_t offset, int64_t count, int64_t *from) {
    int64_t end = offset + count;
    *from = comm->shards[r] > offset ? comm->shards[r] : offset;
    if (end > comm->shards[r + 1]) end = comm->shards[r + 1];
    return end - *from;
}
/* RT_ECONFIG, naming host, rank and `what`, unless every rank gives the same text. */
rt_status rt_comm_same(rt_comm *comm, const char *what, const char *text);
/* What this rank is doing, for the others' error messages and for the watch: call it where there is progress. */
void rt_comm_note(rt_comm *comm, const char *phase, uint64_t step);

#endif
