/* The emulator's machine: fibers, their scheduler, meetings, shared memory with its race detector. */
#include "core.hpp"
#include "cuemu.h"
#include <boost/context/detail/fcontext.hpp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define CUEMU_ASAN 1
/* Kernels' faults are what is looked for here; what a C library keeps until the end of a process is not. */
extern "C" const char *__asan_default_options() {
    return "detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=0";
}
#else
#define CUEMU_ASAN 0
#endif

namespace ctx = boost::context::detail;

namespace cuemu {

dim3 thread_index, block_index, block_size, grid_size;

namespace {

enum { STACK = 128 * 1024, GUARD = 64, POISON = 0xFF, GUARD_BYTE = 0xA5 };
enum class state : uint8_t { ready, at_barrier, in_meeting, left };

struct copy {
    void *to;
    const void *from;
    size_t bytes;
};

struct fiber {
    ctx::fcontext_t context;
    char *stack;
    void *fake; /* the sanitizer's */
    state now;
    uint16_t index;
    site where;       /* of the barrier or meeting it waits at */
    const char *what; /* the meeting's name */
    uint32_t mask;
    combine_function combine;
    const void *in;
    void *out;
    bool orders;
    std::vector<std::vector<copy>> groups; /* committed copies, oldest first */
    std::vector<copy> pending;
};

struct warp_state {
    uint32_t phase; /* meetings that ordered memory so far */
    int ready;
};

/* Who touched an element last, and when: enough to find a conflict with any other thread. */
struct access {
    uint32_t phase = 0; /* block phase + 1; 0: never */
    uint32_t warp_phase = 0;
    uint16_t thread = 0;
};
struct shadow {
    access writer, reader, other_reader;
};

struct shared_block {
    std::unique_ptr<unsigned char[]> memory; /* guard, data, guard */
    unsigned char *data;
    size_t bytes;
    site declared;
    std::vector<shadow> words;
};

struct machine {
    std::mutex one_launch;
    uint64_t seed = 0, random = 0;
    std::vector<fiber> fibers;
    std::vector<warp_state> warps;
    fiber *current = nullptr;
    ctx::fcontext_t scheduler = nullptr;
    const void *scheduler_stack = nullptr;
    size_t scheduler_stack_bytes = 0;
    void (*entry)(const void *) = nullptr;
    const void *closure = nullptr;
    unsigned threads = 0, at_barrier = 0, left = 0;
    uint32_t phase = 0;
    std::string file, kernel, error;
    bool failed = false;
    std::map<const void *, shared_block> shared;
    cuemu_counts counts = {};
    std::map<void *, size_t> device; /* living device memory */
};

machine &self() {
    static machine m;
    return m;
}

uint32_t draw(machine &m) {
    m.random ^= m.random << 13, m.random ^= m.random >> 7, m.random ^= m.random << 17;
    return (uint32_t)(m.random >> 32);
}

/* A permutation of 0 .. n-1; the identity for seed 0. */
void shuffle(machine &m, std::vector<unsigned> &order, unsigned n) {
    order.resize(n);
    for (unsigned i = 0; i < n; i++) order[i] = i;
    for (unsigned i = n; m.seed && i > 1; i--) std::swap(order[i - 1], order[draw(m) % i]);
}

void to_fiber(machine &m, fiber *f) {
    m.current = f;
    m.counts.switches++;
    unsigned i = f->index;
    thread_index = dim3(i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y);
#if CUEMU_ASAN
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, f->stack, STACK);
#endif
    f->context = ctx::jump_fcontext(f->context, f).fctx;
#if CUEMU_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    m.current = nullptr;
}

/* `forever`: this fiber will not run again. */
void to_scheduler(machine &m, bool forever) {
    fiber *f = m.current;
#if CUEMU_ASAN
    __sanitizer_start_switch_fiber(forever ? nullptr : &f->fake, m.scheduler_stack, m.scheduler_stack_bytes);
#endif
    m.scheduler = ctx::jump_fcontext(m.scheduler, f).fctx;
#if CUEMU_ASAN
    __sanitizer_finish_switch_fiber(f->fake, &m.scheduler_stack, &m.scheduler_stack_bytes);
#else
    (void)forever;
#endif
}

void leave(machine &m) {
    m.current->now = state::left;
    m.left++;
    m.warps[m.current->index / 32].ready--;
    to_scheduler(m, true);
    std::abort();
}

void start(ctx::transfer_t from) {
    machine &m = self();
    m.scheduler = from.fctx;
#if CUEMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &m.scheduler_stack, &m.scheduler_stack_bytes);
#endif
    m.entry(m.closure);
    leave(m);
}

std::string text_of(const char *format, va_list args) {
    char text[512];
    std::vsnprintf(text, sizeof text, format, args);
    return text;
}

void report(machine &m, const std::string &what) {
    if (m.failed) return;
    char where[96];
    std::snprintf(where, sizeof where, "block (%u, %u, %u)", block_index.x, block_index.y, block_index.z);
    m.error = m.file + ": kernel " + m.kernel + ", " + where + ": " + what;
    m.failed = true;
}

const char *base_name(const char *path) {
    const char *slash = std::strrchr(path, '/');
    return slash ? slash + 1 : path;
}

std::string waits(const fiber &f) {
    char text[160];
    if (f.now == state::left)
        std::snprintf(text, sizeof text, "thread %u has left the kernel", f.index);
    else
        std::snprintf(text, sizeof text, "thread %u waits at %s:%d (%s)", f.index, base_name(f.where.file),
                      f.where.line, f.now == state::at_barrier ? "__syncthreads" : f.what);
    return text;
}

/* Nobody can run, and not all have left: two threads that wait for one another say why. */
void report_stall(machine &m) {
    const fiber *one = nullptr;
    for (fiber &f : m.fibers)
        if (&f < m.fibers.data() + m.threads && f.now != state::left && !one) one = &f;
    for (unsigned i = 0; i < m.threads; i++) {
        const fiber &f = m.fibers[i];
        bool same = f.now == one->now && f.where.line == one->where.line && f.where.file == one->where.file;
        if (!same && (one->now == state::at_barrier || f.index / 32 == one->index / 32)) {
            report(m, "the threads never meet: " + waits(*one) + ", " + waits(f));
            return;
        }
    }
    report(m, "the threads never meet: " + waits(*one) + " with lanes that do not arrive");
}

bool conflicts(const machine &m, const access &before, const fiber &f) {
    if (before.phase != m.phase + 1 || before.thread == f.index) return false;
    return before.thread / 32 != f.index / 32 || before.warp_phase == m.warps[f.index / 32].phase;
}

void report_race(machine &m, const access &before, bool wrote, bool writes, const shared_block &b, size_t word) {
    char text[256];
    std::snprintf(text, sizeof text,
                  "race: thread %u %s and thread %u %s byte %zu of the shared array declared at %s:%d with no barrier "
                  "between",
                  before.thread, wrote ? "wrote" : "read", m.current->index, writes ? "writes" : "reads", 4 * word,
                  base_name(b.declared.file), b.declared.line);
    report(m, text);
}

shared_block &shared_of(machine &m, const void *key, size_t bytes, site where) {
    shared_block &b = m.shared[key];
    if (!b.memory) {
        b.memory.reset(new unsigned char[bytes + 2 * GUARD + 256]);
        uintptr_t at = ((uintptr_t)b.memory.get() + GUARD + 127) / 128 * 128;
        b.data = (unsigned char *)at, b.bytes = bytes, b.declared = where;
        b.words.resize((bytes + 3) / 4);
        std::memset(b.data - GUARD, GUARD_BYTE, GUARD);
        std::memset(b.data + bytes, GUARD_BYTE, GUARD);
        std::memset(b.data, POISON, bytes);
#if CUEMU_ASAN
        __asan_poison_memory_region(b.data - GUARD, GUARD);
        __asan_poison_memory_region(b.data + (bytes + 7) / 8 * 8, GUARD / 2);
#endif
    }
    return b;
}

void begin_block(machine &m) {
    m.at_barrier = m.left = 0, m.phase = 0;
    for (auto &entry : m.shared) {
        std::memset(entry.second.data, POISON, entry.second.bytes);
        for (shadow &s : entry.second.words) s = shadow();
    }
    for (warp_state &w : m.warps) w = {0, 32};
    for (unsigned i = 0; i < m.threads; i++) {
        fiber &f = m.fibers[i];
#if CUEMU_ASAN
        __asan_unpoison_memory_region(f.stack, STACK);
#endif
        f.context = ctx::make_fcontext(f.stack + STACK, STACK, start);
        f.now = state::ready, f.fake = nullptr;
        f.groups.clear(), f.pending.clear();
    }
}

void end_block(machine &m) {
    for (auto &entry : m.shared) {
        const shared_block &b = entry.second;
        for (int i = 0; i < GUARD && !CUEMU_ASAN; i++)
            if (b.data[-1 - i] != GUARD_BYTE || b.data[b.bytes + (size_t)i] != GUARD_BYTE)
                report(m, "shared memory was written beside an array");
    }
    for (unsigned i = 0; i < m.threads; i++)
        if (!m.fibers[i].groups.empty() || !m.fibers[i].pending.empty())
            report(m, "thread " + std::to_string(i) + " left with asynchronous copies that nobody waited for");
}

void run_block(machine &m) {
    static std::vector<unsigned> warps, lanes; /* one launch at a time */
    begin_block(m);
    while (m.left < m.threads && !m.failed) {
        uint64_t before = m.counts.switches;
        shuffle(m, warps, m.threads / 32);
        for (unsigned w : warps) {
            /* A warp runs until none of its lanes can: as the hardware would, but for the order of the lanes. */
            while (m.warps[w].ready > 0 && !m.failed) {
                shuffle(m, lanes, 32);
                for (unsigned l : lanes) {
                    fiber &f = m.fibers[32 * w + l];
                    if (f.now == state::ready && !m.failed) to_fiber(m, &f);
                }
            }
        }
        if (m.counts.switches == before && m.left < m.threads && !m.failed) report_stall(m);
    }
    if (!m.failed) end_block(m);
}

void prepare(machine &m) {
    while (m.fibers.size() < m.threads) {
        void *stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED) std::abort();
        m.fibers.emplace_back();
        m.fibers.back().stack = (char *)stack;
        m.fibers.back().index = (uint16_t)(m.fibers.size() - 1);
    }
    m.warps.resize(m.threads / 32);
}

/* The kernel's name out of a launch's arguments as they were written: up to the first comma outside <...>. */
std::string name_of(const char *text) {
    int depth = 0;
    const char *end = text;
    for (; *end && !(*end == ',' && depth == 0); end++)
        depth += (*end == '<' || *end == '(') - (*end == '>' || *end == ')');
    return std::string(text, end);
}

} // namespace

void fail(site where, const char *format, ...) {
    machine &m = self();
    va_list args;
    va_start(args, format);
    std::string text = text_of(format, args);
    va_end(args);
    report(m, "thread " + std::to_string(m.current->index) + ", " + base_name(where.file) + ":" +
                  std::to_string(where.line) + ": " + text);
    to_scheduler(m, true);
    std::abort();
}

int lane() {
    return self().current->index % 32;
}

void block_barrier(site where) {
    machine &m = self();
    fiber *f = m.current;
    f->where = where;
    if (++m.at_barrier < m.threads) {
        f->now = state::at_barrier;
        m.warps[f->index / 32].ready--;
        to_scheduler(m, false);
        return;
    }
    for (unsigned i = 0; i < m.threads; i++) {
        fiber &other = m.fibers[i];
        if (other.where.line != where.line || std::strcmp(other.where.file, where.file) != 0)
            fail(where, "a barrier at two places: thread %u waits at %s:%d", i, base_name(other.where.file),
                 other.where.line);
        if (&other != f) m.warps[i / 32].ready++;
        other.now = state::ready;
    }
    m.at_barrier = 0, m.phase++, m.counts.barriers++;
}

void meet(const char *what, uint32_t mask, combine_function combine, const void *in, void *out, site where,
          bool orders) {
    machine &m = self();
    fiber *f = m.current, *warp = &m.fibers[f->index / 32 * 32];
    warp_state &w = m.warps[f->index / 32];
    if (!(mask >> f->index % 32 & 1)) fail(where, "%s with mask %08x, which leaves out the caller", what, mask);
    f->what = what, f->mask = mask, f->in = in, f->out = out, f->where = where, f->combine = combine;
    f->now = state::in_meeting;
    /* A lane of the mask that waits elsewhere, with another mask perhaps, may still come: if not, nobody can run. */
    bool complete = true;
    for (uint32_t l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        const fiber &other = warp[l];
        if (other.now == state::left) fail(where, "%s with mask %08x, but lane %u has left", what, mask, l);
        complete = complete && other.now == state::in_meeting && other.mask == mask && other.combine == combine &&
                   other.where.line == where.line;
    }
    if (!complete) {
        w.ready--;
        to_scheduler(m, false);
        return;
    }
    const void *ins[32] = {};
    void *outs[32] = {};
    for (uint32_t l = 0; l < 32; l++)
        if (mask >> l & 1) {
            ins[l] = warp[l].in, outs[l] = warp[l].out;
            if (&warp[l] != f) w.ready++;
            warp[l].now = state::ready;
        }
    if (orders) w.phase++;
    m.counts.warp_calls++;
    if (combine) combine(ins, outs, mask);
}

void *shared_static(const void *key, size_t bytes, site where) {
    return shared_of(self(), key, bytes, where).data;
}

void *shared_dynamic(size_t *bytes) {
    machine &m = self();
    auto at = m.shared.find(&m);
    *bytes = at == m.shared.end() ? 0 : at->second.bytes;
    return *bytes ? at->second.data : nullptr;
}

void touch(const void *address, size_t bytes, bool write, site where) {
    machine &m = self();
    fiber *f = m.current;
    const unsigned char *p = (const unsigned char *)address;
    for (auto &entry : m.shared) {
        shared_block &b = entry.second;
        if (p < b.data || p >= b.data + b.bytes) continue;
        size_t first = (size_t)(p - b.data);
        if (first + bytes > b.bytes)
            fail(where, "%zu bytes at byte %zu of %zu of shared memory", bytes, first, b.bytes);
        access now;
        now.phase = m.phase + 1, now.warp_phase = m.warps[f->index / 32].phase, now.thread = f->index;
        for (size_t w = first / 4; w <= (first + bytes - 1) / 4; w++) {
            shadow &s = b.words[w];
            bool race = conflicts(m, s.writer, *f);
            if (race) report_race(m, s.writer, true, write, b, w);
            if (write && !race) {
                for (const access &r : {s.reader, s.other_reader})
                    if (conflicts(m, r, *f)) report_race(m, r, false, true, b, w);
                s.writer = now;
            } else if (!write) {
                /* Two readers of different threads, of different warps if there are such: any writer meets one. */
                if (s.reader.phase != now.phase || s.reader.thread == f->index)
                    s.reader = now;
                else if (s.other_reader.phase != now.phase || s.other_reader.thread / 32 == s.reader.thread / 32)
                    s.other_reader = now;
            }
            if (m.failed) {
                to_scheduler(m, true);
                std::abort();
            }
        }
        return;
    }
    fail(where, "%p is not in shared memory", address);
}

void copy_async(void *to, const void *from, size_t bytes, site where) {
    if (bytes != 4 && bytes != 8 && bytes != 16) fail(where, "cp.async of %zu bytes", bytes);
    if ((uintptr_t)to % bytes || (uintptr_t)from % bytes) fail(where, "cp.async of %zu bytes, not aligned", bytes);
    touch(to, bytes, true, where);
    std::memset(to, POISON, bytes);
    self().current->pending.push_back({to, from, bytes});
}

void copy_commit() {
    fiber *f = self().current;
    f->groups.push_back(std::move(f->pending));
    f->pending.clear();
}

void copy_wait(int groups_left) {
    fiber *f = self().current;
    size_t done = f->groups.size() > (size_t)groups_left ? f->groups.size() - (size_t)groups_left : 0;
    for (size_t g = 0; g < done; g++)
        for (const copy &c : f->groups[g]) std::memcpy(c.to, c.from, c.bytes);
    f->groups.erase(f->groups.begin(), f->groups.begin() + (long)done);
}

/* --- launches ----------------------------------------------------------------------------------------------------- */

static cuemu_queue queue;

static rt_status check_sizes(const launch_sizes &l) {
    const uint64_t threads = (uint64_t)l.block.x * l.block.y * l.block.z;
    const uint64_t blocks = (uint64_t)l.grid.x * l.grid.y * l.grid.z;
    const std::string kernel = name_of(l.text);
    if (threads == 0 || threads > 1024 || threads % 32)
        return rt_fail(RT_EINTERNAL, "%s: kernel %s: a block of %llu threads; 32 to 1024 in whole warps are possible",
                       l.file, kernel.c_str(), (unsigned long long)threads);
    if (blocks == 0 || l.grid.x > 0x7fffffffu || l.grid.y > 65535 || l.grid.z > 65535)
        return rt_fail(RT_EINTERNAL, "%s: kernel %s: a grid of %u x %u x %u blocks", l.file, kernel.c_str(), l.grid.x,
                       l.grid.y, l.grid.z);
    if (l.shared_bytes > 227 * 1024)
        return rt_fail(RT_EINTERNAL, "%s: kernel %s: %zu bytes of shared memory; 227 KiB are possible", l.file,
                       kernel.c_str(), l.shared_bytes);
    return RT_OK;
}

struct launched {
    launch_sizes sizes;
    void (*entry)(const void *);
    void (*drop)(const void *);
    const void *closure;
};

static rt_status run_launched(void *context) {
    const launched &l = *(const launched *)context;
    const dim3 grid = l.sizes.grid, block = l.sizes.block;
    machine &m = self();
    std::lock_guard<std::mutex> lock(m.one_launch);
    const unsigned blocks = grid.x * grid.y * grid.z;
    m.file = l.sizes.file, m.kernel = name_of(l.sizes.text), m.error.clear(), m.failed = false, m.counts = {};
    m.threads = block.x * block.y * block.z, m.entry = l.entry, m.closure = l.closure;
    m.random = m.seed * 0x9E3779B97F4A7C15ull + 0x632BE59BD9B4E019ull;
    block_size = block, grid_size = grid;
    prepare(m);
    m.shared.clear();
    if (l.sizes.shared_bytes) shared_of(m, &m, l.sizes.shared_bytes, {l.sizes.file, 0});
    std::vector<unsigned> order;
    shuffle(m, order, blocks);
    for (unsigned b : order) {
        block_index = dim3(b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y);
        run_block(m);
        if (m.failed) return rt_fail(RT_EINTERNAL, "%s", m.error.c_str());
        m.counts.blocks++, m.counts.threads += m.threads;
    }
    return RT_OK;
}

static void drop_launched(void *context) {
    launched *l = (launched *)context;
    l->drop(l->closure);
    delete l;
}

rt_status launch(const launch_sizes &sizes, void *stream, void (*entry)(const void *), void (*drop)(const void *),
                 const void *closure) {
    launched *l = new launched{sizes, entry, drop, closure};
    rt_status status = check_sizes(sizes);
    if (status == RT_OK && queue) return queue(stream, name_of(sizes.text).c_str(), run_launched, drop_launched, l);
    if (status == RT_OK) status = run_launched(l);
    drop_launched(l);
    return status;
}

struct zeroed {
    void *to;
    size_t bytes;
};
static rt_status run_zeroed(void *context) {
    const zeroed *z = (const zeroed *)context;
    std::memset(z->to, 0, z->bytes);
    return RT_OK;
}
static void drop_zeroed(void *context) {
    delete (zeroed *)context;
}
rt_status zero_async(void *to, size_t bytes, void *stream) {
    if (!bytes) return RT_OK;
    if (queue) return queue(stream, "rt_zero_async", run_zeroed, drop_zeroed, new zeroed{to, bytes});
    std::memset(to, 0, bytes);
    return RT_OK;
}

} // namespace cuemu

/* --- what tests call --------------------------------------------------------------------------------------------- */

using cuemu::self;

void cuemu_set_queue(cuemu_queue queue) {
    cuemu::queue = queue;
}

static size_t guard_bytes() {
    return CUEMU_ASAN ? 0 : 256; /* the sanitizer has zones of its own, right beside the last byte */
}

void cuemu_seed(uint64_t seed) {
    self().seed = seed;
}

void *cuemu_alloc(size_t bytes) {
    size_t guard = guard_bytes();
    void *block = nullptr;
    if (posix_memalign(&block, 256, bytes + 2 * guard) != 0) std::abort();
    unsigned char *data = (unsigned char *)block + guard;
    std::memset(block, cuemu::GUARD_BYTE, bytes + 2 * guard);
    std::memset(data, cuemu::POISON, bytes);
    self().device[data] = bytes;
    return data;
}

void cuemu_free(void *pointer) {
    if (!pointer) return;
    if (!self().device.erase(pointer)) std::abort(); /* freed twice, or never allocated */
    std::free((unsigned char *)pointer - guard_bytes());
}

rt_status cuemu_check_guards(const char *where) {
    for (const auto &entry : self().device) {
        const unsigned char *data = (const unsigned char *)entry.first;
        for (size_t i = 0; i < guard_bytes(); i++)
            if (data[-1 - (long)i] != cuemu::GUARD_BYTE || data[entry.second + i] != cuemu::GUARD_BYTE)
                return rt_fail(RT_EINTERNAL, "%s: device memory was written beside a buffer of %zu bytes", where,
                               entry.second);
    }
    return RT_OK;
}

cuemu_counts cuemu_last_launch(void) {
    return self().counts;
}
