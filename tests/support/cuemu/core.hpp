/* The emulator as kernels see it: indices, barriers, meetings of lanes, shared memory, launches. */
#ifndef RT_CUEMU_CORE_HPP
#define RT_CUEMU_CORE_HPP
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
extern "C" {
#include <rectrain/kernels.h>
}

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace cuemu {

/* Where in a kernel something was called: a function that takes CUEMU_SITE
 * last has its caller's line, as CUEMU_THERE. */
struct site {
    const char *file;
    int line;
};
#define CUEMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define CUEMU_THERE                                                                                                    \
    cuemu::site {                                                                                                      \
        file, line                                                                                                     \
    }

/* Set before a fiber runs, so a kernel reads them like the built-in variables. */
extern dim3 thread_index, block_index, block_size, grid_size;

[[noreturn]] void fail(site where, const char *format, ...) __attribute__((format(printf, 2, 3)));
int lane();
void block_barrier(site where);

/* Lanes of `mask` meet at one line; the last to arrive runs `combine` over all of them. in[l] and out[l] are lane l's,
 * NULL for lanes outside the mask. orders: does the meeting order memory among the lanes (__syncwarp)? */
typedef void (*combine_function)(const void *const in[32], void *const out[32], uint32_t mask);
void meet(const char *what, uint32_t mask, combine_function combine, const void *in, void *out, site where,
          bool orders = false);

/* Shared memory. `key` names the declaration; every thread of a block gets the same memory, NaN when the block begins.
 */
void *shared_static(const void *key, size_t bytes, site where);
void *shared_dynamic(size_t *bytes);
/* One access to shared memory, for the race detector. */
void touch(const void *address, size_t bytes, bool write, site where);

void copy_async(void *to, const void *from, size_t bytes, site where);
void copy_commit();
void copy_wait(int groups_left);

struct launch_sizes {
    const char *file, *text;
    dim3 grid, block;
    size_t shared_bytes;
};
/* The closure is a copy of the kernel's arguments, freed by `drop`. */
rt_status launch(const launch_sizes &sizes, void *stream, void (*entry)(const void *), void (*drop)(const void *),
                 const void *closure);
rt_status zero_async(void *to, size_t bytes, void *stream);

/* An element of a shared array: reads and writes are told to the race detector. */
template <typename T> class element {
    T *at;
    site where;

  public:
    element(T *at_, site where_) : at(at_), where(where_) {}
    element(const element &) = default;
    operator T() const {
        touch(at, sizeof(T), false, where);
        return *at;
    }
    element &operator=(T value) {
        touch(at, sizeof(T), true, where);
        *at = value;
        return *this;
    }
    element &operator=(const element &other) { return *this = (T)other; }
    element &operator+=(T value) { return *this = (T) * this + value; }
    T *operator&() const { return at; }
};

template <typename T> class shared_array {
    T *first;
    size_t count;
    site declared;

  public:
    shared_array(T *first_, size_t count_, site declared_) : first(first_), count(count_), declared(declared_) {}
    element<T> operator[](long long i) const {
        if (i < 0 || (size_t)i >= count) fail(declared, "index %lld of a shared array of %zu elements", i, count);
        return element<T>(first + i, declared);
    }
};

/* Arguments travel by value, as to a device. */
template <typename F> void call(const void *closure) {
    (*(const F *)closure)();
}
template <typename F> void drop(const void *closure) {
    delete (const F *)closure;
}

template <typename... P, typename... A>
rt_status launch_kernel(const char *file, const char *text, void (*kernel)(P...), dim3 grid, dim3 block, size_t bytes,
                        void *stream, A... args) {
    auto body = [=]() { kernel((P)args...); };
    typedef decltype(body) body_type;
    return launch({file, text, grid, block, bytes}, stream, call<body_type>, drop<body_type>, new body_type(body));
}

} // namespace cuemu

#define threadIdx cuemu::thread_index
#define blockIdx cuemu::block_index
#define blockDim cuemu::block_size
#define gridDim cuemu::grid_size

#endif
