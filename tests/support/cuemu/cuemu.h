/* The CUDA emulator: runs the .cu files of kernels/cuda under g++, one fiber a thread, one block after the other.
 *
 * This part is what tests (C) see; core.hpp is what kernels see. Device memory is host memory that the emulator handed
 * out: exactly sized for the address sanitizer, aligned to 256 bytes, filled with NaN, between guard zones where there
 * is no sanitizer. A launch that breaks a rule of the machine returns RT_EINTERNAL; the error record then names file,
 * kernel, block, thread and line. What is checked:
 *   - __syncthreads: every thread of the block arrives, all at the same line; no thread may leave before the last one
 *     (stricter than the hardware, which counts a thread that has left as arrived: our kernels do not need it);
 *   - warp-wide calls: every lane of the mask arrives, at the same line, with the same mask;
 *   - shared arrays: indices; and a race: two threads touch one element between barriers, one of them writing;
 *   - shared memory is NaN when a block begins, and so is the target of a cp.async until it has been waited for;
 *   - launches: grid and block sizes, shared memory.
 * Blocks, warps and lanes run in an order drawn from the seed; 0 is the natural order. What it cannot see: races in
 * global memory between blocks (shuffled orders may show them), weak memory order, time. */
#ifndef RT_CUEMU_H
#define RT_CUEMU_H
#ifdef __cplusplus
extern "C" {
#endif
#include <rectrain/kernels.h>

/* The order of blocks, warps and lanes in the launches that follow. */
void cuemu_seed(uint64_t seed);
/* Device memory; NULL is never returned (the process ends). bytes may be 0. */
void *cuemu_alloc(size_t bytes);
void cuemu_free(void *pointer);
/* RT_OK, or RT_EINTERNAL if a guard zone of living device memory was written; `where` goes into the message. */
rt_status cuemu_check_guards(const char *where);

/* Where streams are queues (tests/support/fakes) launches and rt_zero_async are handed over: run(context) does the
 * work, drop(context) frees it, run or not. What a launch's sizes break is told at the launch. NULL: all is run at
 * once. */
typedef rt_status (*cuemu_queue)(void *stream, const char *what, rt_status (*run)(void *), void (*drop)(void *),
                                 void *context);
void cuemu_set_queue(cuemu_queue queue);

/* What the last launch did: for tests of the emulator, and for a first idea of a kernel's cost. */
typedef struct {
    uint64_t blocks, threads, barriers, warp_calls, switches;
} cuemu_counts;
cuemu_counts cuemu_last_launch(void);

#ifdef __cplusplus
}
#endif
#endif
