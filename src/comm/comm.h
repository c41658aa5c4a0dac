/* The collective interface between ranks: what the step, the loop and evaluation ask of the other processes. self.c
 * fills it for one process, the only communicator of this version. */
#ifndef RT_COMM_COMM_H
#define RT_COMM_COMM_H
#include "../base/status.h"
#include <rectrain/types.h>

typedef struct rt_comm rt_comm;
typedef enum { RT_REDUCE_SUM, RT_REDUCE_MAX } rt_reduce;

struct rt_comm {
    int rank, size;
    const char *name;
    /* Data plane: asynchronous; ranges of backend memory in a fixed order. NULL slots where size is 1 are never called.
     */
    rt_status (*reduce_start)(rt_comm *, float *data, int64_t offset, int64_t count, rt_reduce op);
    rt_status (*poll)(rt_comm *); /* lets transfers advance; cheap */
    rt_status (*wait_all)(rt_comm *);
    /* Host plane. */
    rt_status (*agree)(rt_comm *, uint32_t *flags);         /* *flags = bitwise or of all ranks' flags */
    rt_status (*sum_f64)(rt_comm *, double *values, int n); /* in rank order */
    rt_status (*gather_bytes)(rt_comm *, const void *bytes, size_t size, void *all /* rank 0: sum of sizes */,
                              size_t *sizes);
    rt_status (*bcast_bytes)(rt_comm *, void *bytes, size_t size);
    rt_status (*barrier)(rt_comm *, double deadline_seconds);
    void (*abort)(rt_comm *);
    void (*close)(rt_comm *);
};

/* One process: every call succeeds at once. */
rt_status rt_comm_self(rt_comm **out);

#endif
