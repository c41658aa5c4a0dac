/* What the fake runtime's two files share: its state, its queues. */
#ifndef RT_FAKE_RUNTIME_HPP
#define RT_FAKE_RUNTIME_HPP
#include "fake.h"
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

struct CUevent_st {
    uint64_t recorded = 0, done = 0; /* how often */
    cudaStream_t on = nullptr;       /* the stream of its last record; may be gone */
};

namespace fake {

typedef std::shared_ptr<CUevent_st> event;

struct op {
    enum { work, record, wait } kind;
    std::string what;
    std::function<rt_status()> run;
    event e;
    uint64_t n;
    const void *host; /* pinned memory that a copy will touch */
    size_t host_bytes;
    std::function<bool()> ready; /* work that waits for somebody else: asked at the head of its queue; none: always */
};

} // namespace fake

struct CUstream_st {
    int device;
    std::deque<fake::op> queue;
};

namespace fake {

struct block {
    size_t bytes;
    int device; /* -1: pinned host memory */
};

struct runtime {
    fake_device settings;
    uint64_t seed = 1, random = 1;
    std::map<const char *, block> memory;
    std::set<cudaStream_t> streams;
    std::map<cudaEvent_t, event> events;
    std::multimap<std::string, const void *> things;
    size_t used = 0;
    cudaError_t sticky = cudaSuccess;
    std::string broken; /* the first rule that was */
    bool forbid_all = false, forbid_streams = false, busy = false;
    uint64_t calls = 0, fail_at = 0;
    cudaError_t fail_with = cudaSuccess;
    fake_counts counts = {};
    std::set<cudaStream_t> reducing; /* streams that had work which waits for others */
    unsigned dropped_waits = 0;      /* FAKE_DROP_* */
};

extern std::recursive_mutex lock;
extern thread_local int current;
extern thread_local cudaError_t last;

runtime &self();
/* Keeps the error for cudaGetLastError and returns it. */
cudaError_t give(cudaError_t error);
cudaError_t refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* First in every function that can fail. */
cudaError_t begin(runtime &r, const char *function);
cudaError_t check_stream(runtime &r, const char *function, cudaStream_t s);
/* Counts a wait, and reports it where it is forbidden. */
void waits(runtime &r, const char *function, bool for_event);
cudaError_t put(runtime &r, cudaStream_t s, op o);
/* Works until `done`, by one of two ways: everything in some order, or no more than `s` needs. */
void run_until(runtime &r, cudaStream_t s, const std::function<bool()> &done);
void run_all(runtime &r);
/* One thing that can be done now, on any stream; false if there is none. */
bool run_any(runtime &r);
/* The stream that will say that e has happened for the n-th time. */
cudaStream_t recorder(runtime &r, const event &e, uint64_t n);
/* The allocation that holds the whole range, or NULL. */
const block *block_of(runtime &r, const void *pointer, size_t bytes);
bool on_device(runtime &r, const void *pointer, size_t bytes, int device);

} // namespace fake

#define HELD                                                                                                           \
    std::lock_guard<std::recursive_mutex> held(fake::lock);                                                            \
    fake::runtime &r = fake::self()

#endif
