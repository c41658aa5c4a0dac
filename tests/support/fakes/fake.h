/* Fakes of NVIDIA's libraries over the emulator: the backend's host code runs whole where there is no GPU.
 *
 * cudart.cpp is the runtime. A stream is a queue: what is put on it (kernels, copies, memsets, events, a library's
 * work) is done late, when something waits for it, in an order drawn from the seed that respects streams and events and
 * nothing else. So a host buffer that is refilled too early, a missing event, a result that is read without waiting
 * give wrong data, as they would on a bad day on a GPU. The fakes of cuBLASLt, cuDNN and NCCL put their work on streams
 * with fake_enqueue.
 *
 * What breaks a rule is remembered (fake_check tells the first one), and most such calls return an error on top:
 * host memory where the device's is wanted and the other way round, beyond an allocation's end, events that were never
 * recorded, waiting where it is forbidden, streams and events that are gone, work left on a stream that is destroyed,
 * memory freed while work on it is under way. Device memory comes from cuemu_alloc: NaN when new, the address sanitizer
 * sees its ends and its use after free. */
#ifndef RT_FAKE_H
#define RT_FAKE_H
#include <cuda_runtime_api.h>
#include <rectrain/kernels.h>
#ifdef __cplusplus
extern "C" {
#endif

/* --- for fakes of other libraries --------------------------------------------------------------------------------- */

/* Puts work on a stream: run(context) later, then free(context) (context from malloc, or NULL). `what` is a literal. */
void fake_enqueue(cudaStream_t stream, const char *what, void (*run)(void *), void *context);
/* The same for work that others take part in: at the head of its queue ready(context) is asked, again and again, and
 * run follows when it says so. */
void fake_enqueue_when(cudaStream_t stream, const char *what, bool (*ready)(void *), void (*run)(void *),
                       void *context);
/* Does some of what can be done, as a device does by itself. */
void fake_advance(void);
/* Calls of any fake so far: a host that makes none waits for something else than the device. */
uint64_t fake_calls(void);
/* [pointer, pointer + bytes) lies in one living allocation of the device. */
bool fake_is_device(const void *pointer, size_t bytes);
/* A rule was broken; the first one is kept for fake_check. */
void fake_report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Call first in every function that can fail: true where this call is to fail (fake_fail_call); counts it. */
bool fake_call_fails(const char *function);
/* Things that must be given back (handles, descriptors): fake_leaks counts what is not. */
void fake_made(const char *what, const void *thing);
void fake_gone(const char *what, const void *thing); /* reports a thing that is not there */

/* --- for tests ---------------------------------------------------------------------------------------------------- */

/* Forgets everything: living things, queues, reports, settings. The device is then as FAKE_CUDA_* in the environment
 * say (a plugin over the fakes has no other way in): DEVICES (1), SM (90), MEMORY in MiB (1024), DRIVER (13000; 0: no
 * driver), SEED (1). */
void fake_reset(void);
/* 0: work is done at once. Else an order drawn from it. Also the emulator's. */
void fake_seed(uint64_t seed);

typedef struct {
    int devices, sm, driver, runtime, processors;
    size_t memory; /* bytes of each device */
} fake_device;
fake_device *fake_settings(void); /* to be changed before the backend opens */

/* RT_OK, or RT_EINTERNAL with the first rule that was broken; forgets it. */
rt_status fake_check(const char *where);
/* Living allocations, streams, events and things of other libraries; `list` (may be NULL) gets them in words. */
int fake_leaks(char *list, size_t size);
/* Between true and false waiting for the device and allocating are reported. */
void fake_forbid_sync(bool forbidden);
/* As above, but waiting for an event is allowed: what a step does that looks at the step before. */
void fake_forbid_stream_sync(bool forbidden);
/* Every call that can fail is counted from 1; the n-th from now on fails with `error` (0: none does). Returns the calls
 * so far. */
uint64_t fake_fail_call(uint64_t n, cudaError_t error);
/* From here on every call says `error`: as after a kernel that touched what it must not. */
void fake_break_device(cudaError_t error);
/* Seeded faults: waits for events are dropped where a stream of fake_enqueue_when waits, or is waited for. */
enum { FAKE_DROP_BEFORE = 1, FAKE_DROP_AFTER = 2 };
void fake_drop_waits(unsigned which);
/* What has been put on streams and is not done yet. */
int fake_pending(void);

typedef struct {
    uint64_t launches, copies, memsets, works, stream_syncs, event_syncs, allocations;
} fake_counts;
fake_counts fake_count(void);

#ifdef __cplusplus
}
#endif
#endif
