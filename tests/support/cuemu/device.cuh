/* The emulator's version of kernels/cuda/device.cuh: the same functions, lane for lane, in plain C++. */
#ifndef RT_CUDA_DEVICE_CUH
#define RT_CUDA_DEVICE_CUH
#include "core.hpp"
#include <cmath>
#include <map>

#define RT_SHARED(type, name, count)                                                                                   \
    static const char name##_key = 0;                                                                                  \
    const cuemu::shared_array<type> name(                                                                              \
        (type *)cuemu::shared_static(&name##_key, sizeof(type) * (count), {__FILE__, __LINE__}), (count),              \
        {__FILE__, __LINE__})
#define RT_SHARED_DYNAMIC(type, name)                                                                                  \
    size_t name##_bytes;                                                                                               \
    type *const name##_first = (type *)cuemu::shared_dynamic(&name##_bytes);                                           \
    const cuemu::shared_array<type> name(name##_first, name##_bytes / sizeof(type), {__FILE__, __LINE__})

#define rt_launch(...) cuemu::launch_allowed(__FILE__, #__VA_ARGS__, __VA_ARGS__)

namespace cuemu {

/* The smallest card that is claimed has 99 KiB for a block; more than 48 must be asked for first. */
enum { SHARED_FREE = 48 * 1024, SHARED_MOST = 99 * 1024 };
inline std::map<const void *, size_t> shared_allowed;

template <typename... P, typename... A>
rt_status launch_allowed(const char *file, const char *text, void (*kernel)(P...), dim3 grid, dim3 block, size_t bytes,
                         void *stream, A... args) {
    if (bytes > SHARED_FREE && shared_allowed[(const void *)kernel] < bytes)
        return rt_fail(RT_EINTERNAL, "%s: launch of %.60s...: %zu bytes of shared memory that were not asked for", file,
                       text, bytes);
    return launch_kernel(file, text, kernel, grid, block, bytes, stream, args...);
}

} // namespace cuemu

template <typename... P> static inline rt_status rt_allow_shared(void (*kernel)(P...), size_t bytes) {
    if (bytes > cuemu::SHARED_MOST)
        return rt_fail(RT_EINTERNAL, "%zu bytes of shared memory for a block; 99 KiB are there on every card", bytes);
    cuemu::shared_allowed[(const void *)kernel] = bytes;
    return RT_OK;
}

static inline rt_status rt_zero_async(void *to, size_t bytes, void *stream) {
    return cuemu::zero_async(to, bytes, stream);
}

static inline uint32_t rt_bits_of(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    return u;
}
static inline float rt_float_of(uint32_t u) {
    float x;
    std::memcpy(&x, &u, 4);
    return x;
}

static inline float rt_exp2(float x) {
    float y = exp2f(x);
    return y < 0x1p-126f ? 0.0f : y; /* NaN stays */
}

/* --- barriers, votes, shuffles ------------------------------------------------------------------------------------ */

static inline void __syncthreads(CUEMU_SITE) {
    cuemu::block_barrier(CUEMU_THERE);
}
static inline void __syncwarp(uint32_t mask = 0xffffffffu, CUEMU_SITE) {
    cuemu::meet("__syncwarp", mask, nullptr, nullptr, nullptr, CUEMU_THERE, true);
}

namespace cuemu {

struct vote {
    int predicate;
};
static inline void ballot(const void *const in[32], void *const out[32], uint32_t mask) {
    uint32_t result = 0;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1 && ((const vote *)in[l])->predicate) result |= 1u << l;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1) *(uint32_t *)out[l] = result;
}

/* A lane's value and whose it wants. A lane outside the mask has nothing to give: its value is NaN, or all ones. */
template <typename T> struct wish {
    T value;
    int from;
};
template <typename T> void shuffle_lanes(const void *const in[32], void *const out[32], uint32_t mask) {
    for (int l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        int from = ((const wish<T> *)in[l])->from;
        if (mask >> from & 1)
            *(T *)out[l] = ((const wish<T> *)in[from])->value;
        else
            std::memset(out[l], 0xFF, sizeof(T));
    }
}
template <typename T> T shuffled(const char *what, uint32_t mask, T value, int from, site where) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    wish<T> mine = {value, from};
    T result;
    meet(what, mask, shuffle_lanes<T>, &mine, &result, where);
    return result;
}

} // namespace cuemu

static inline uint32_t __ballot_sync(uint32_t mask, int predicate, CUEMU_SITE) {
    cuemu::vote mine = {predicate};
    uint32_t result;
    cuemu::meet("__ballot_sync", mask, cuemu::ballot, &mine, &result, CUEMU_THERE);
    return result;
}
static inline int __any_sync(uint32_t mask, int predicate, CUEMU_SITE) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}
static inline int __all_sync(uint32_t mask, int predicate, CUEMU_SITE) {
    return __ballot_sync(mask, predicate, file, line) == mask;
}
template <typename T> static inline T __shfl_sync(uint32_t mask, T value, int from, int width = 32, CUEMU_SITE) {
    int first = cuemu::lane() / width * width;
    return cuemu::shuffled("__shfl_sync", mask, value, first + (from & (width - 1)), CUEMU_THERE);
}
template <typename T> static inline T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32, CUEMU_SITE) {
    int mine = cuemu::lane(), from = mine ^ lanes;
    return cuemu::shuffled("__shfl_xor_sync", mask, value, from / width <= mine / width ? from : mine, CUEMU_THERE);
}
template <typename T>
static inline T __shfl_down_sync(uint32_t mask, T value, unsigned by, int width = 32, CUEMU_SITE) {
    int mine = cuemu::lane(), from = mine + (int)by;
    return cuemu::shuffled("__shfl_down_sync", mask, value, from / width == mine / width ? from : mine, CUEMU_THERE);
}
template <typename T> static inline T __shfl_up_sync(uint32_t mask, T value, unsigned by, int width = 32, CUEMU_SITE) {
    int mine = cuemu::lane(), from = mine - (int)by;
    return cuemu::shuffled("__shfl_up_sync", mask, value, from >= mine / width * width ? from : mine, CUEMU_THERE);
}

/* --- integers ----------------------------------------------------------------------------------------------------- */

static inline int __popc(uint32_t x) {
    return __builtin_popcount(x);
}
static inline uint32_t __umulhi(uint32_t a, uint32_t b) {
    return (uint32_t)((uint64_t)a * b >> 32);
}
/* Integers only: a float's sum would depend on the order. */
static inline int atomicAdd(int *to, int value) {
    int before = *to;
    *to = before + value;
    return before;
}
static inline uint32_t atomicAdd(uint32_t *to, uint32_t value) {
    uint32_t before = *to;
    *to = before + value;
    return before;
}
float atomicAdd(float *, float) = delete;
double atomicAdd(double *, double) = delete;

/* --- wide accesses and bfloat16 ----------------------------------------------------------------------------------- */

struct alignas(16) rt_quad {
    uint32_t w[4];
};
static inline rt_quad rt_load16(const void *from, CUEMU_SITE) {
    if ((uintptr_t)from % 16) cuemu::fail(CUEMU_THERE, "a load of 16 bytes at %p", from);
    rt_quad q;
    std::memcpy(&q, from, 16);
    return q;
}
static inline void rt_store16(void *to, rt_quad q, CUEMU_SITE) {
    if ((uintptr_t)to % 16) cuemu::fail(CUEMU_THERE, "a store of 16 bytes at %p", to);
    std::memcpy(to, &q, 16);
}

static inline uint32_t rt_pack_bf16(float low, float high) {
    uint32_t u[2] = {rt_bits_of(low), rt_bits_of(high)};
    for (int i = 0; i < 2; i++)
        u[i] = (u[i] & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (u[i] + 0x7fffu + (u[i] >> 16 & 1u)) >> 16;
    return u[0] | u[1] << 16;
}

/* --- tensor cores, ldmatrix, cp.async ----------------------------------------------------------------------------- */

namespace cuemu {

template <bool TURNED> void ldmatrix4(const void *const in[32], void *const out[32], uint32_t) {
    for (int m = 0; m < 4; m++) {
        uint16_t tile[8][8];
        for (int r = 0; r < 8; r++) std::memcpy(tile[r], in[8 * m + r], 16);
        for (int l = 0; l < 32; l++) {
            int r = l / 4, c = l % 4 * 2;
            uint32_t low = TURNED ? tile[c][r] : tile[r][c], high = TURNED ? tile[c + 1][r] : tile[r][c + 1];
            ((uint32_t *)out[l])[m] = low | high << 16;
        }
    }
}
template <bool TURNED> void load_matrix4(uint32_t r[4], const void *row, site where) {
    if ((uintptr_t)row % 16) fail(where, "ldmatrix of a row at %p, not aligned to 16 bytes", row);
    touch(row, 16, false, where);
    meet("ldmatrix", 0xffffffffu, ldmatrix4<TURNED>, row, r, where);
}

static inline float widen_bf16(uint16_t h) {
    return rt_float_of((uint32_t)h << 16);
}
static inline float widen_f16(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float x = exponent == 31  ? (fraction ? NAN : INFINITY)
              : exponent == 0 ? std::ldexp((float)fraction, -24)
                              : std::ldexp((float)(fraction + 1024), exponent - 25);
    return h >> 15 ? -x : x;
}

struct mma_operands {
    const float *c;
    const uint32_t *a, *b;
};
/* Sums in fp32, the sixteen products of an element in the order of k and then c: the hardware's own order and rounding
 * are not documented, so results are compared within a tolerance. */
template <float (*WIDEN)(uint16_t)> void mma(const void *const in[32], void *const out[32], uint32_t) {
    float a[16][16], b[16][8];
    for (int l = 0; l < 32; l++) {
        const mma_operands *o = (const mma_operands *)in[l];
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; i++)
            for (int half = 0; half < 2; half++)
                a[g + i % 2 * 8][2 * t + i / 2 * 8 + half] = WIDEN((uint16_t)(o->a[i] >> 16 * half));
        for (int i = 0; i < 2; i++)
            for (int half = 0; half < 2; half++) b[2 * t + 8 * i + half][g] = WIDEN((uint16_t)(o->b[i] >> 16 * half));
    }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            float sum = 0;
            for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
            ((float *)out[l])[i] = ((const mma_operands *)in[l])->c[i] + sum;
        }
}

} // namespace cuemu

static inline void rt_ldmatrix4(uint32_t r[4], const void *row, CUEMU_SITE) {
    cuemu::load_matrix4<false>(r, row, CUEMU_THERE);
}
static inline void rt_ldmatrix4_turned(uint32_t r[4], const void *row, CUEMU_SITE) {
    cuemu::load_matrix4<true>(r, row, CUEMU_THERE);
}
static inline void rt_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2], CUEMU_SITE) {
    cuemu::mma_operands mine = {c, a, b};
    cuemu::meet("mma", 0xffffffffu, cuemu::mma<cuemu::widen_bf16>, &mine, c, CUEMU_THERE);
}
static inline void rt_mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2], CUEMU_SITE) {
    cuemu::mma_operands mine = {c, a, b};
    cuemu::meet("mma", 0xffffffffu, cuemu::mma<cuemu::widen_f16>, &mine, c, CUEMU_THERE);
}

/* The copy lands when it is waited for; until then its target is NaN. */
static inline void rt_copy_async16(void *to_shared, const void *from, CUEMU_SITE) {
    cuemu::copy_async(to_shared, from, 16, CUEMU_THERE);
}
static inline void rt_copy_async16_or_zero(void *to_shared, const void *from, bool lives, CUEMU_SITE) {
    alignas(16) static const char zeros[16] = {};
    cuemu::copy_async(to_shared, lives ? from : zeros, 16, CUEMU_THERE);
}
static inline void rt_copy_commit() {
    cuemu::copy_commit();
}
template <int GROUPS> static inline void rt_copy_wait() {
    cuemu::copy_wait(GROUPS);
}

#endif
