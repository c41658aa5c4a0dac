/* The fake CUDA runtime's functions: see fake.h. */
#include "../cuemu/cuemu.h"
#include "runtime.hpp"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

using namespace fake;

#define BEGIN                                                                                                          \
    HELD;                                                                                                              \
    cudaError_t status = begin(r, __func__);                                                                           \
    if (status != cudaSuccess) return status

static bool pinned(runtime &r, const void *pointer, size_t bytes) {
    return on_device(r, pointer, bytes, -1);
}
/* Inside memory that the runtime knows, in whatever way. */
static bool known(runtime &r, const void *pointer) {
    return block_of(r, pointer, 0) != nullptr;
}

/* --- the runtime's functions: errors and devices ------------------------------------------------------------------ */

cudaError_t cudaGetLastError(void) {
    HELD;
    cudaError_t error = last;
    last = r.sticky;
    return error;
}
cudaError_t cudaPeekAtLastError(void) {
    return last;
}

#define ERRORS(X)                                                                                                      \
    X(cudaSuccess, "no error")                                                                                         \
    X(cudaErrorInvalidValue, "invalid argument")                                                                       \
    X(cudaErrorMemoryAllocation, "out of memory")                                                                      \
    X(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version")                     \
    X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                                         \
    X(cudaErrorInvalidDevice, "invalid device ordinal")                                                                \
    X(cudaErrorIllegalAddress, "an illegal memory access was encountered")                                             \
    X(cudaErrorLaunchFailure, "unspecified launch failure")                                                            \
    X(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device")                     \
    X(cudaErrorUnknown, "unknown error")

const char *cudaGetErrorName(cudaError_t error) {
#define X(name, words)                                                                                                 \
    if (error == name) return #name;
    ERRORS(X)
#undef X
    return "cudaErrorOfTheFake";
}
const char *cudaGetErrorString(cudaError_t error) {
#define X(name, words)                                                                                                 \
    if (error == name) return words;
    ERRORS(X)
#undef X
    return "an error that the fake has no words for";
}

cudaError_t cudaDriverGetVersion(int *version) {
    HELD;
    if (fake_call_fails(__func__)) return give(r.fail_with);
    *version = r.settings.driver; /* 0 and success where there is no driver */
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
    HELD;
    if (fake_call_fails(__func__)) return give(r.fail_with);
    *version = r.settings.runtime;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *count) {
    BEGIN;
    *count = r.settings.devices;
    if (r.settings.driver / 1000 < r.settings.runtime / 1000) return give(cudaErrorInsufficientDriver);
    return r.settings.devices ? cudaSuccess : give(cudaErrorNoDevice);
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    BEGIN;
    if (device < 0 || device >= r.settings.devices) return give(cudaErrorInvalidDevice);
    std::memset(properties, 0, sizeof *properties);
    std::snprintf(properties->name, sizeof properties->name, "Emulated GPU %d", device);
    properties->totalGlobalMem = r.settings.memory;
    properties->major = r.settings.sm / 10, properties->minor = r.settings.sm % 10;
    properties->multiProcessorCount = r.settings.processors;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    BEGIN;
    if (device < 0 || device >= r.settings.devices) return give(cudaErrorInvalidDevice);
    current = device;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *device) {
    BEGIN;
    *device = current;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void) {
    BEGIN;
    waits(r, __func__, false);
    run_all(r);
    return give(r.sticky);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    BEGIN;
    *total = r.settings.memory, *free = r.settings.memory - r.used;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **to, size_t bytes) {
    BEGIN;
    if (r.forbid_all || r.forbid_streams) fake_report("cudaMalloc: allocates in a step");
    r.counts.allocations++;
    if (bytes > r.settings.memory - r.used) return give(cudaErrorMemoryAllocation);
    if (!bytes) return refuse("cudaMalloc of nothing");
    *to = cuemu_alloc(bytes);
    r.memory[(const char *)*to] = {bytes, current};
    r.used += bytes;
    return cudaSuccess;
}

/* Waits for all that is under way, as the real one does. */
cudaError_t cudaFree(void *pointer) {
    HELD;
    const cudaError_t status = begin(r, __func__);
    if (!pointer) return status;
    waits(r, __func__, false);
    run_all(r);
    auto at = r.memory.find((const char *)pointer);
    if (at == r.memory.end() || at->second.device < 0) return refuse("cudaFree: %p is no device memory", pointer);
    r.used -= at->second.bytes;
    r.memory.erase(at);
    cuemu_free(pointer);
    return status != cudaSuccess ? status : give(r.sticky);
}

cudaError_t cudaHostAlloc(void **to, size_t bytes, unsigned int) {
    BEGIN;
    if (r.forbid_all || r.forbid_streams) fake_report("cudaHostAlloc: allocates in a step");
    r.counts.allocations++;
    if (!bytes) return refuse("cudaHostAlloc of nothing");
    if (posix_memalign(to, 256, bytes) != 0) return give(cudaErrorMemoryAllocation);
    std::memset(*to, 0xFF, bytes);
    r.memory[(const char *)*to] = {bytes, -1};
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *pointer) {
    HELD;
    const cudaError_t status = begin(r, __func__);
    if (!pointer) return status;
    auto at = r.memory.find((const char *)pointer);
    if (at == r.memory.end() || at->second.device >= 0) return refuse("cudaFreeHost: %p is no pinned memory", pointer);
    for (cudaStream_t s : r.streams)
        for (const op &o : s->queue)
            if (o.host && (const char *)o.host >= at->first && (const char *)o.host < at->first + at->second.bytes)
                fake_report("cudaFreeHost: a copy of this memory is under way");
    run_all(r);
    r.memory.erase(at);
    std::free(pointer);
    return status;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    BEGIN;
    if ((status = check_stream(r, __func__, stream)) != cudaSuccess) return status;
    r.counts.copies++;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (!to_device && !from_device) return refuse("cudaMemcpyAsync: kind %d", (int)kind);
    if (!bytes) return cudaSuccess;
    for (int end = 0; end < 2; end++) {
        const void *p = end ? from : to;
        const char *name = end ? "from" : "to";
        if (end ? from_device : to_device) {
            if (!on_device(r, p, bytes, current))
                return refuse("cudaMemcpyAsync: %s: %zu bytes at %p are not in one allocation of device %d", name,
                              bytes, p, current);
        } else if (known(r, p) && !pinned(r, p, bytes))
            return refuse("cudaMemcpyAsync: %s: %zu bytes at %p are not in one block of pinned memory", name, bytes, p);
    }
    op o = {op::work, __func__, nullptr, nullptr, 0, nullptr, 0, nullptr};
    if (kind == cudaMemcpyHostToDevice && !pinned(r, from, bytes)) { /* staged: read before the call returns */
        auto staged = std::make_shared<std::vector<char>>((const char *)from, (const char *)from + bytes);
        o.run = [=] { return std::memcpy(to, staged->data(), bytes), RT_OK; };
        return put(r, stream, std::move(o));
    }
    o.run = [=] { return std::memcpy(to, from, bytes), RT_OK; };
    if (kind == cudaMemcpyHostToDevice) o.host = from, o.host_bytes = bytes;
    if (kind != cudaMemcpyDeviceToHost || pinned(r, to, bytes)) {
        if (kind == cudaMemcpyDeviceToHost) o.host = to, o.host_bytes = bytes;
        return put(r, stream, std::move(o));
    }
    waits(r, "cudaMemcpyAsync to pageable memory", false); /* returns when the copy is complete */
    put(r, stream, std::move(o));
    run_until(r, stream, [&] { return stream->queue.empty(); });
    return give(r.sticky);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    BEGIN;
    if ((status = check_stream(r, __func__, stream)) != cudaSuccess) return status;
    r.counts.memsets++;
    if (!bytes) return cudaSuccess;
    if (!on_device(r, to, bytes, current))
        return refuse("cudaMemsetAsync: %zu bytes at %p are not in one allocation of device %d", bytes, to, current);
    return put(
        r, stream,
        {op::work, __func__, [=] { return std::memset(to, value, bytes), RT_OK; }, nullptr, 0, nullptr, 0, nullptr});
}

/* --- streams and events ------------------------------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags) {
    BEGIN;
    if (flags != cudaStreamNonBlocking) return refuse("cudaStreamCreateWithFlags: not a non-blocking stream");
    *stream = new CUstream_st{current, {}};
    r.streams.insert(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    HELD;
    const cudaError_t status = begin(r, __func__);
    if (!stream || !r.streams.count(stream)) return refuse("cudaStreamDestroy: a stream that is not there");
    if (!stream->queue.empty() && r.sticky == cudaSuccess)
        fake_report("cudaStreamDestroy: %zu things are left to be done on it, the first is %s", stream->queue.size(),
                    stream->queue.front().what.c_str());
    run_until(r, stream, [&] { return stream->queue.empty(); });
    r.streams.erase(stream);
    r.reducing.erase(stream);
    delete stream;
    return status;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    BEGIN;
    if ((status = check_stream(r, __func__, stream)) != cudaSuccess) return status;
    waits(r, __func__, false);
    run_until(r, stream, [&] { return stream->queue.empty(); });
    return give(r.sticky);
}

/* Whoever asks again and again gets an answer at last: each question lets some work be done. */
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    BEGIN;
    if ((status = check_stream(r, __func__, stream)) != cudaSuccess) return status;
    run_any(r);
    if (r.sticky != cudaSuccess) return give(r.sticky);
    return give(stream->queue.empty() ? cudaSuccess : cudaErrorNotReady);
}

static cudaError_t find_event(runtime &r, const char *function, cudaEvent_t handle, event *e) {
    auto at = r.events.find(handle);
    if (at == r.events.end()) return refuse("%s: an event that is not there", function);
    *e = at->second;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *handle, unsigned int flags) {
    BEGIN;
    if (flags != cudaEventDisableTiming) return refuse("cudaEventCreateWithFlags: an event that takes times");
    event e = std::make_shared<CUevent_st>();
    *handle = e.get();
    r.events[*handle] = e;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    HELD;
    const cudaError_t status = begin(r, __func__);
    if (!handle || !r.events.erase(handle)) return refuse("cudaEventDestroy: an event that is not there");
    return status;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
    BEGIN;
    event e;
    if ((status = check_stream(r, __func__, stream)) != cudaSuccess) return status;
    if ((status = find_event(r, __func__, handle, &e)) != cudaSuccess) return status;
    e->on = stream;
    return put(r, stream, {op::record, __func__, nullptr, e, ++e->recorded, nullptr, 0, nullptr});
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t handle, unsigned int) {
    BEGIN;
    event e;
    if ((status = check_stream(r, __func__, stream)) != cudaSuccess) return status;
    if ((status = find_event(r, __func__, handle, &e)) != cudaSuccess) return status;
    if (!e->recorded) return refuse("cudaStreamWaitEvent: an event that was never recorded: it waits for nothing");
    if ((r.dropped_waits & FAKE_DROP_BEFORE) && r.reducing.count(stream)) return cudaSuccess;
    if ((r.dropped_waits & FAKE_DROP_AFTER) && r.reducing.count(e->on)) return cudaSuccess;
    return put(r, stream, {op::wait, __func__, nullptr, e, e->recorded, nullptr, 0, nullptr});
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    BEGIN;
    event e;
    if ((status = find_event(r, __func__, handle, &e)) != cudaSuccess) return status;
    if (!e->recorded) return refuse("cudaEventSynchronize: an event that was never recorded: it waits for nothing");
    waits(r, __func__, true);
    if (e->done < e->recorded) run_until(r, recorder(r, e, e->recorded), [&] { return e->done >= e->recorded; });
    return give(r.sticky);
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    BEGIN;
    event e;
    if ((status = find_event(r, __func__, handle, &e)) != cudaSuccess) return status;
    if (!e->recorded) return refuse("cudaEventQuery: an event that was never recorded");
    run_any(r);
    if (r.sticky != cudaSuccess) return give(r.sticky);
    return give(e->done < e->recorded ? cudaErrorNotReady : cudaSuccess); /* kept as an error, as the real one does */
}
