/* The fake of NCCL: knobs and counts for tests. What it checks stands in nccl_fake.c. */
#ifndef RT_FAKE_NCCL_KNOBS_H
#define RT_FAKE_NCCL_KNOBS_H
#include <nccl.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero at first, but for what FAKE_NCCL_FAIL, _INIT_NEVER, _REMOTE_ERROR, _STALL, _DELAY in the environment say. */
typedef struct {
    long fail_call;       /* the n-th call of a function that can fail, from 1 on, does ... */
    ncclResult_t failure; /* ... with this; 0: ncclSystemError */
    bool init_never;      /* the communicator stays in progress */
    long remote_error;    /* after the n-th operation was put on a stream the communicator says ncclRemoteError */
    long stall;           /* operations after the n-th never come to an end, and nobody says why */
    int delay;            /* operations start up to so many questions late */
    uint64_t calls, operations, bytes, aborted;
} fake_nccl;
fake_nccl *fake_nccl_settings(void);

#endif
