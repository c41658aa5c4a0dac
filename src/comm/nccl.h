/* Gradients of GPU ranks over NCCL: part of rectrain-cuda.so, which exports this one function. */
#ifndef RT_COMM_NCCL_H
#define RT_COMM_NCCL_H
#include "comm.h"
#include <rectrain/kernels.h>

/* Fills the data plane of a host plane over the same ranks, for ranges in the memory of `be` (a CUDA backend, which
 * must outlive it). Every rank calls it. RT_EUNAVAILABLE, naming libnccl or the rank, where NCCL cannot start within
 * comm->timeout. Reductions run on a stream of their own, ordered against the backend's by events; the backend's waits
 * end when the watch or NCCL reports a failure. NVLS is switched off unless NCCL_NVLS_ENABLE is set: its sums are not
 * repeatable. */
rt_status rt_nccl_attach(rt_backend *be, rt_comm *comm);

#endif
