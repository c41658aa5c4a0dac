/* The fake runtime's queues, and what tests and other fakes call: see fake.h. */
#include "../cuemu/cuemu.h"
#include "runtime.hpp"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <vector>

namespace fake {

std::recursive_mutex lock;
thread_local int current;
thread_local cudaError_t last = cudaSuccess;

static long number(const char *name, long otherwise) {
    const char *text = std::getenv(name);
    return text && *text ? std::atol(text) : otherwise;
}

static void at_exit();

static void set_up(runtime &r) {
    r.settings.devices = (int)number("FAKE_CUDA_DEVICES", 1);
    r.settings.sm = (int)number("FAKE_CUDA_SM", 90);
    r.settings.driver = (int)number("FAKE_CUDA_DRIVER", 13000);
    r.settings.runtime = CUDART_VERSION;
    r.settings.processors = 2;
    r.settings.memory = (size_t)number("FAKE_CUDA_MEMORY", 1024) << 20;
    r.seed = (uint64_t)number("FAKE_CUDA_SEED", 1);
    r.random = r.seed * 0x9E3779B97F4A7C15ull + 1;
}

static rt_status take_launch(void *stream, const char *what, rt_status (*run)(void *), void (*drop)(void *),
                             void *context);

/* Never destroyed: what is left at the end of a process may still be asked about. */
runtime &self() {
    static runtime *r = [] {
        runtime *made = new runtime;
        set_up(*made);
        cuemu_set_queue(take_launch);
        if (number("FAKE_CUDA_STRICT", 0)) std::atexit(at_exit);
        return made;
    }();
    return *r;
}

/* Longer than any test lets ranks wait. */
static const int OTHERS_MS = 60000;

static uint32_t draw(runtime &r) {
    r.random ^= r.random << 13, r.random ^= r.random >> 7, r.random ^= r.random << 17;
    return (uint32_t)(r.random >> 32);
}

cudaError_t give(cudaError_t error) {
    if (error != cudaSuccess) last = error;
    return error;
}

cudaError_t refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
cudaError_t refuse(const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fake_report("%s", text);
    return give(cudaErrorInvalidValue);
}

/* --- queues ------------------------------------------------------------------------------------------------------- */

static bool blocked(runtime &r, const op &o) {
    if (o.kind == op::wait) return o.e->done < o.n;
    return o.ready && r.sticky == cudaSuccess && !o.ready();
}

static void run_head(runtime &r, cudaStream_t s) {
    op o = std::move(s->queue.front());
    s->queue.pop_front();
    if (o.kind == op::record && o.e->done < o.n) o.e->done = o.n;
    if (o.kind != op::work || r.sticky != cudaSuccess) return;
    rt_error before = *rt_error_get();
    rt_status status = o.run();
    if (status == RT_OK) status = cuemu_check_guards(o.what.c_str());
    if (status != RT_OK) {
        fake_report("%s: %s", o.what.c_str(), rt_error_get()->text);
        r.sticky = cudaErrorIllegalAddress;
    }
    rt_error_set(&before);
}

cudaStream_t recorder(runtime &r, const event &e, uint64_t n) {
    for (cudaStream_t s : r.streams)
        for (const op &o : s->queue)
            if (o.kind == op::record && o.e == e && o.n >= n) return s;
    fake_report("a stream waits for an event that nobody will record");
    return nullptr;
}

bool run_any(runtime &r) {
    std::vector<cudaStream_t> able;
    for (cudaStream_t s : r.streams)
        if (!s->queue.empty() && !blocked(r, s->queue.front())) able.push_back(s);
    if (able.empty()) return false;
    run_head(r, able[draw(r) % able.size()]);
    return true;
}

/* Only what must be: one head of s, or of whom s waits for. False where that waits for others than this device. */
static bool advance(runtime &r, cudaStream_t s) {
    while (s && blocked(r, s->queue.front())) {
        if (s->queue.front().kind != op::wait) return false;
        cudaStream_t other = recorder(r, s->queue.front().e, s->queue.front().n);
        if (!other) {
            s->queue.pop_front();
            return true;
        }
        s = other;
    }
    if (s) run_head(r, s);
    return true;
}

/* Some stream waits for what another process does. */
static bool others_are_due(runtime &r) {
    for (cudaStream_t s : r.streams)
        if (!s->queue.empty() && s->queue.front().ready) return true;
    return false;
}

void run_until(runtime &r, cudaStream_t s, const std::function<bool()> &done) {
    const bool lazy = draw(r) % 2;
    int slept = 0;
    r.busy = true;
    while (!done()) {
        if (lazy && s && !s->queue.empty() ? advance(r, s) : run_any(r)) continue;
        if (!others_are_due(r)) {
            fake_report("streams wait for one another");
            break;
        }
        if (slept++ == OTHERS_MS * 10) {
            fake_report("the host has waited %d s, without looking, for a device that waits for others",
                        OTHERS_MS / 1000);
            r.sticky = cudaErrorLaunchFailure;
        }
        usleep(100);
    }
    r.busy = false;
}

void run_all(runtime &r) {
    for (cudaStream_t s : r.streams) run_until(r, s, [&] { return s->queue.empty(); });
}

cudaError_t put(runtime &r, cudaStream_t s, op o) {
    s->queue.push_back(std::move(o));
    while (r.seed == 0 && run_any(r)) continue;
    return give(r.sticky);
}

/* --- what every call begins with ---------------------------------------------------------------------------------- */

cudaError_t begin(runtime &r, const char *function) {
    if (r.settings.driver == 0) return give(cudaErrorInsufficientDriver);
    if (fake_call_fails(function)) return give(r.fail_with);
    /* A device that is quick at times: some of what waits is done before anybody asks. */
    for (int n = r.seed && draw(r) % 4 == 0 ? (int)(draw(r) % 6) : 0; n > 0 && !r.busy; n--) run_any(r);
    return give(r.sticky);
}
cudaError_t check_stream(runtime &r, const char *function, cudaStream_t s) {
    if (!s) return refuse("%s: the default stream, which waits for all others", function);
    if (!r.streams.count(s)) return refuse("%s: a stream that is not there", function);
    if (s->device != current)
        return refuse("%s: a stream of device %d while device %d is the current one", function, s->device, current);
    return cudaSuccess;
}

void waits(runtime &r, const char *function, bool for_event) {
    if (r.forbid_all || (r.forbid_streams && !for_event)) fake_report("%s: waits for the device in a step", function);
    (for_event ? r.counts.event_syncs : r.counts.stream_syncs)++;
}

const block *block_of(runtime &r, const void *pointer, size_t bytes) {
    const char *p = (const char *)pointer;
    auto at = r.memory.upper_bound(p);
    if (at == r.memory.begin()) return nullptr;
    --at;
    const size_t first = (size_t)(p - at->first);
    return first <= at->second.bytes && bytes <= at->second.bytes - first ? &at->second : nullptr;
}
bool on_device(runtime &r, const void *pointer, size_t bytes, int device) {
    const block *b = block_of(r, pointer, bytes);
    return b && b->device == device;
}
static rt_status take_launch(void *stream, const char *what, rt_status (*run)(void *), void (*drop)(void *),
                             void *context) {
    std::lock_guard<std::recursive_mutex> held(lock);
    runtime &r = self();
    std::shared_ptr<void> kept(context, drop);
    cudaError_t status = begin(r, what);
    if (status == cudaSuccess) status = check_stream(r, what, (cudaStream_t)stream);
    if (status == cudaSuccess) status = last; /* cudaPeekAtLastError: an old error that nobody took */
    if (status == cudaSuccess)
        status = put(r, (cudaStream_t)stream,
                     {op::work, what, [=] { return run(kept.get()); }, nullptr, 0, nullptr, 0, nullptr});
    r.counts.launches++;
    if (status == cudaSuccess) return RT_OK;
    return rt_fail(RT_EINTERNAL, "launch of %s: %s", what, cudaGetErrorString(status));
}

static void at_exit() {
    runtime &r = self();
    char left[512];
    const int leaks = fake_leaks(left, sizeof left);
    if (r.broken.empty() && !leaks) return;
    std::fprintf(stderr, "fake CUDA: %s%s\n", r.broken.c_str(), leaks ? left : "");
    _exit(86);
}

} // namespace fake

using namespace fake;

/* --- for tests ---------------------------------------------------------------------------------------------------- */

void fake_reset(void) {
    HELD;
    for (const auto &b : r.memory) {
        if (b.second.device >= 0)
            cuemu_free((void *)(uintptr_t)b.first);
        else
            std::free((void *)(uintptr_t)b.first);
    }
    for (cudaStream_t s : r.streams) delete s;
    r = runtime();
    set_up(r);
    cuemu_seed(r.seed);
    current = 0, last = cudaSuccess;
}

void fake_seed(uint64_t seed) {
    HELD;
    r.seed = seed, r.random = seed * 0x9E3779B97F4A7C15ull + 1;
    cuemu_seed(seed);
}

fake_device *fake_settings(void) {
    return &self().settings;
}

void fake_report(const char *format, ...) {
    HELD;
    char text[1024];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (r.broken.empty()) r.broken = text;
}

rt_status fake_check(const char *where) {
    HELD;
    std::string broken;
    broken.swap(r.broken);
    return broken.empty() ? RT_OK : rt_fail(RT_EINTERNAL, "%s: %s", where, broken.c_str());
}

int fake_leaks(char *list, size_t size) {
    HELD;
    std::string text;
    int n = 0;
    for (const auto &b : r.memory)
        n++, text += std::string(b.second.device < 0 ? "pinned" : "device") + " memory of " +
                     std::to_string(b.second.bytes) + " bytes; ";
    for (size_t i = 0; i < r.streams.size(); i++) n++, text += "a stream; ";
    for (size_t i = 0; i < r.events.size(); i++) n++, text += "an event; ";
    for (const auto &t : r.things) n++, text += t.first + "; ";
    if (list && size) std::snprintf(list, size, "%s", text.c_str());
    return n;
}

void fake_made(const char *what, const void *thing) {
    HELD;
    r.things.insert({what, thing});
}

void fake_gone(const char *what, const void *thing) {
    HELD;
    for (auto t = r.things.begin(); t != r.things.end(); ++t)
        if (t->first == what && t->second == thing) {
            r.things.erase(t);
            return;
        }
    fake_report("%s %p is destroyed, but is not there", what, thing);
}

void fake_forbid_sync(bool forbidden) {
    self().forbid_all = forbidden;
}
void fake_forbid_stream_sync(bool forbidden) {
    self().forbid_streams = forbidden;
}

uint64_t fake_fail_call(uint64_t n, cudaError_t error) {
    HELD;
    r.fail_at = n ? r.calls + n : 0, r.fail_with = error;
    return r.calls;
}

bool fake_call_fails(const char *function) {
    HELD;
    (void)function;
    return ++r.calls == r.fail_at;
}

void fake_break_device(cudaError_t error) {
    HELD;
    r.sticky = error;
}

int fake_pending(void) {
    HELD;
    size_t n = 0;
    for (cudaStream_t s : r.streams) n += s->queue.size();
    return (int)n;
}

fake_counts fake_count(void) {
    return self().counts;
}

bool fake_is_device(const void *pointer, size_t bytes) {
    HELD;
    return on_device(r, pointer, bytes, current);
}

void fake_enqueue(cudaStream_t stream, const char *what, void (*run)(void *), void *context) {
    HELD;
    std::shared_ptr<void> kept(context, std::free);
    if (check_stream(r, what, stream) != cudaSuccess) return;
    r.counts.works++;
    put(r, stream,
        {op::work, what,
         [=] {
             run(kept.get());
             return RT_OK;
         },
         nullptr, 0, nullptr, 0, nullptr});
}

void fake_enqueue_when(cudaStream_t stream, const char *what, bool (*ready)(void *), void (*run)(void *),
                       void *context) {
    HELD;
    std::shared_ptr<void> kept(context, std::free);
    if (check_stream(r, what, stream) != cudaSuccess) return;
    r.counts.works++;
    r.reducing.insert(stream);
    put(r, stream,
        {op::work, what,
         [=] {
             run(kept.get());
             return RT_OK;
         },
         nullptr, 0, nullptr, 0, [=] { return ready(kept.get()); }});
}

void fake_advance(void) {
    HELD;
    for (int n = 0; n < 32 && !r.busy && run_any(r); n++) continue;
}

uint64_t fake_calls(void) {
    HELD;
    return r.calls;
}

void fake_drop_waits(unsigned which) {
    HELD;
    r.dropped_waits = which;
}
