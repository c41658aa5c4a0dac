/* The device's memory, copies, uploads on a stream of their own, marks; what an error of CUDA's means. */
#include "cuda.h"
#include <string.h>
#include <time.h>

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* After these nothing works in this process any more: whatever call comes next returns them. */
static bool is_fatal(cudaError_t error) {
    switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
        return true;
    default:
        return false;
    }
}

static rt_status status_of(cudaError_t error) {
    switch (error) {
    case cudaErrorMemoryAllocation:
        return RT_ENOMEM;
    case cudaErrorInitializationError:
    case cudaErrorStubLibrary:
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
        return RT_EUNAVAILABLE;
    default:
        return RT_EINTERNAL;
    }
}

rt_status rt_cuda_check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return RT_OK;
    cudaGetLastError(); /* told here: the next launch must not find it again */
    const char *advice = "";
    if (error == cudaErrorECCUncorrectable || error == cudaErrorNvlinkUncorrectable || error == cudaErrorContained)
        advice =
            ". The GPU itself reports a fault: see nvidia-smi -q and the system's log (Xid), and take another one. "
            "Checkpoints written before are whole";
    else if (is_fatal(error))
        advice =
            ". An earlier op on the GPU failed, and no more can be done in this process; checkpoints written before "
            "are whole. CUDA_LAUNCH_BLOCKING=1 shows which op it is; compute-sanitizer shows why";
    return rt_fail(status_of(error), "%s: %s (%s)%s", what, cudaGetErrorString(error), cudaGetErrorName(error), advice);
}

/* For what cleans up: the record keeps what went wrong before. */
static bool enter_quietly(rt_cuda_context *cuda) {
    if (pthread_equal(cuda->user, pthread_self()) || cudaSetDevice(cuda->device) == cudaSuccess) return true;
    cudaGetLastError();
    return false;
}

rt_status rt_cuda_enter(rt_cuda_context *cuda) {
    if (pthread_equal(cuda->user, pthread_self())) return RT_OK;
    RT_CUDA(cudaSetDevice(cuda->device));
    cuda->user = pthread_self();
    return RT_OK;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

/* Until a stream (or, if `event` is not NULL, that event) is done. With while_waiting it is asked for again and again:
 * in a tight loop at first, for most waits are short, then with pauses. */
static rt_status wait_for(rt_cuda_context *cuda, cudaStream_t stream, cudaEvent_t event, const char *what) {
    const struct timespec pause = {.tv_nsec = 20000};
    if (!cuda->api.while_waiting)
        return rt_cuda_check(event ? cudaEventSynchronize(event) : cudaStreamSynchronize(stream), what);
    for (int n = 0;; n++) {
        const cudaError_t error = event ? cudaEventQuery(event) : cudaStreamQuery(stream);
        if (error != cudaErrorNotReady) return rt_cuda_check(error, what);
        cudaGetLastError(); /* "not ready" is kept as an error too */
        RT_TRY(cuda->api.while_waiting(cuda->api.waiting_context));
        if (n > 200) nanosleep(&pause, NULL);
    }
}

/* For what waits without looking: whoever is not to be waited out has had a look before, and gave up what never ends.
 * The record keeps what went wrong before. */
static void drain(rt_cuda_context *cuda) {
    if (!cuda->api.while_waiting) return;
    const rt_error why = *rt_error_get();
    if (wait_for(cuda, cuda->copies, NULL, "waiting for the GPU's copies") == RT_OK)
        wait_for(cuda, cuda->launch.stream, NULL, "waiting for the GPU");
    rt_error_set(&why);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static const double MIB = 1048576.0;

static rt_status out_of_memory(const rt_cuda_context *cuda, size_t bytes, const char *what) {
    size_t left = 0, total = cuda->memory_total;
    cudaGetLastError();
    if (cudaMemGetInfo(&left, &total) != cudaSuccess) cudaGetLastError();
    return rt_fail(RT_ENOMEM,
                   "the GPU has no room for %s: %.1f MiB wanted, %.1f of %.1f MiB free. Smaller micro-batches "
                   "(train.micro_batch_tokens, eval.batch_tokens) need less and train the same; train.recompute = yes "
                   "keeps fewer activations; nvidia-smi lists who else uses this GPU",
                   what, (double)bytes / MIB, (double)left / MIB, (double)total / MIB);
}

rt_status rt_cuda_memory(rt_backend *backend, size_t *left, size_t *total) {
    RT_TRY(rt_cuda_enter(rt_cuda_of(backend)));
    RT_CUDA(cudaMemGetInfo(left, total));
    return RT_OK;
}

rt_status rt_cuda_alloc(rt_backend *backend, size_t bytes, const char *what, void **out) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    void *memory = NULL;
    *out = NULL;
    RT_TRY(rt_cuda_enter(cuda));
    if (bytes == 0) bytes = 256;                          /* a pointer that is not NULL */
    const cudaError_t error = cudaMalloc(&memory, bytes); /* aligned to 256 bytes */
    if (error == cudaErrorMemoryAllocation) return out_of_memory(cuda, bytes, what);
    RT_TRY(rt_cuda_check(error, what));
    /* Any stream may write to it next, so the zeros must be there. */
    rt_status rc = rt_cuda_check(cudaMemsetAsync(memory, 0, bytes, cuda->launch.stream), what);
    if (rc == RT_OK) rc = rt_cuda_check(cudaStreamSynchronize(cuda->launch.stream), what);
    if (rc != RT_OK) {
        cudaFree(memory);
        return rc;
    }
    *out = memory;
    return RT_OK;
}

/* What fails here was told by the calls before, or will be by those after. */
void rt_cuda_release(rt_backend *backend, void *pointer, size_t bytes) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    (void)bytes;
    if (!pointer || !enter_quietly(cuda)) return;
    drain(cuda); /* cudaFree waits for all that is under way, without looking */
    if (cudaFree(pointer) != cudaSuccess) cudaGetLastError();
}

rt_status rt_cuda_alloc_host(rt_backend *backend, size_t bytes, const char *what, void **out) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    void *memory = NULL;
    *out = NULL;
    RT_TRY(rt_cuda_enter(cuda));
    if (bytes == 0) bytes = 256;
    const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return rt_fail(RT_ENOMEM,
                       "no page-locked memory for %s: %.1f MiB wanted. Free memory of this machine, or smaller "
                       "micro-batches (train.micro_batch_tokens)",
                       what, (double)bytes / MIB);
    }
    RT_TRY(rt_cuda_check(error, what));
    memset(memory, 0, bytes);
    *out = memory;
    return RT_OK;
}

void rt_cuda_release_host(rt_backend *backend, void *pointer, size_t bytes) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    (void)bytes;
    if (!pointer || !enter_quietly(cuda)) return;
    drain(cuda); /* a copy may be under way */
    if (cudaStreamSynchronize(cuda->copies) != cudaSuccess) cudaGetLastError();
    if (cudaStreamSynchronize(cuda->launch.stream) != cudaSuccess) cudaGetLastError();
    if (cudaFreeHost(pointer) != cudaSuccess) cudaGetLastError();
}

rt_status rt_cuda_synchronize(rt_backend *backend) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(rt_cuda_enter(cuda));
    RT_TRY(wait_for(cuda, cuda->copies, NULL, "waiting for the GPU's copies"));
    return wait_for(cuda, cuda->launch.stream, NULL, "waiting for the GPU");
}

/* --- copies ------------------------------------------------------------------------------------------------------- */

static rt_status copy(rt_backend *backend, void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                      bool waits) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    if (bytes == 0) return RT_OK;
    RT_TRY(rt_cuda_enter(cuda));
    /* A copy to pageable memory waits inside the call: what is before it is waited for here. */
    if (waits && kind == cudaMemcpyDeviceToHost && cuda->api.while_waiting)
        RT_TRY(wait_for(cuda, cuda->launch.stream, NULL, "waiting for the GPU"));
    RT_CUDA(cudaMemcpyAsync(to, from, bytes, kind, cuda->launch.stream));
    return waits ? wait_for(cuda, cuda->launch.stream, NULL, "waiting for a copy") : RT_OK;
}

rt_status rt_cuda_upload(rt_backend *backend, void *to, const void *from_host, size_t bytes) {
    return copy(backend, to, from_host, bytes, cudaMemcpyHostToDevice, true);
}

rt_status rt_cuda_download(rt_backend *backend, void *to_host, const void *from, size_t bytes) {
    return copy(backend, to_host, from, bytes, cudaMemcpyDeviceToHost, true);
}

rt_status rt_cuda_download_start(rt_backend *backend, void *to_host, const void *from, size_t bytes) {
    return copy(backend, to_host, from, bytes, cudaMemcpyDeviceToHost, false);
}

rt_status rt_cuda_zero(rt_backend *backend, void *pointer, size_t bytes) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    if (bytes == 0) return RT_OK;
    RT_TRY(rt_cuda_enter(cuda));
    RT_CUDA(cudaMemsetAsync(pointer, 0, bytes, cuda->launch.stream));
    return RT_OK;
}

/* --- uploads beside the ops --------------------------------------------------------------------------------------- */

static rt_status enter_slot(rt_cuda_context *cuda, const char *what, int slot) {
    if (slot < 0 || slot >= RT_UPLOAD_SLOTS)
        return rt_fail(RT_ESHAPE, "%s: slot %d of %d", what, slot, RT_UPLOAD_SLOTS);
    return rt_cuda_enter(cuda);
}

rt_status rt_cuda_upload_wait(rt_backend *backend, int slot) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(enter_slot(cuda, "upload_wait", slot));
    if (!(cuda->was_uploaded >> slot & 1)) return RT_OK;
    return wait_for(cuda, NULL, cuda->uploaded[slot], "waiting for an upload");
}

rt_status rt_cuda_upload_start(rt_backend *backend, int slot, void *to, const void *from_host, size_t bytes) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(enter_slot(cuda, "upload_start", slot));
    if (cuda->in_use >> slot & 1)
        return rt_fail(RT_ESHAPE, "upload_start: slot %d: ops may still read it: upload_done comes first", slot);
    if (cuda->was_released >> slot & 1) RT_CUDA(cudaStreamWaitEvent(cuda->copies, cuda->released[slot], 0));
    if (bytes) RT_CUDA(cudaMemcpyAsync(to, from_host, bytes, cudaMemcpyHostToDevice, cuda->copies));
    RT_CUDA(cudaEventRecord(cuda->uploaded[slot], cuda->copies));
    cuda->was_uploaded |= 1u << slot;
    return RT_OK;
}

rt_status rt_cuda_upload_use(rt_backend *backend, int slot) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(enter_slot(cuda, "upload_use", slot));
    if (!(cuda->was_uploaded >> slot & 1)) return rt_fail(RT_ESHAPE, "upload_use: slot %d: nothing was uploaded", slot);
    RT_CUDA(cudaStreamWaitEvent(cuda->launch.stream, cuda->uploaded[slot], 0));
    cuda->in_use |= 1u << slot;
    return RT_OK;
}

rt_status rt_cuda_upload_done(rt_backend *backend, int slot) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(enter_slot(cuda, "upload_done", slot));
    RT_CUDA(cudaEventRecord(cuda->released[slot], cuda->launch.stream));
    cuda->was_released |= 1u << slot;
    cuda->in_use &= ~(1u << slot);
    return RT_OK;
}

/* --- marks -------------------------------------------------------------------------------------------------------- */

static rt_status enter_mark(rt_cuda_context *cuda, const char *what, int mark) {
    if (mark < 0 || mark >= RT_MARKS) return rt_fail(RT_ESHAPE, "%s: mark %d of %d", what, mark, RT_MARKS);
    return rt_cuda_enter(cuda);
}

rt_status rt_cuda_mark(rt_backend *backend, int mark) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(enter_mark(cuda, "mark", mark));
    RT_CUDA(cudaEventRecord(cuda->marks[mark], cuda->launch.stream));
    cuda->was_marked |= 1u << mark;
    return RT_OK;
}

rt_status rt_cuda_wait(rt_backend *backend, int mark) {
    rt_cuda_context *cuda = rt_cuda_of(backend);
    RT_TRY(enter_mark(cuda, "wait", mark));
    if (!(cuda->was_marked >> mark & 1)) return RT_OK;
    return wait_for(cuda, NULL, cuda->marks[mark], "waiting for a step on the GPU");
}
