/* Everything that is PTX, a warp-wide instruction or a compiler's word, behind small inline functions: the one header
 * that the emulator has in a version of its own (found through the include path, hence <device.cuh>). A kernel uses
 * nothing else that plain C++ does not have, besides __global__, the built-in indices, __syncthreads, __syncwarp,
 * __shfl_*_sync, __ballot_sync, __popc and __umulhi.
 *
 * Lane layouts of mma m16n8k16 (g = lane / 4, t = lane % 4; PTX ISA, "Matrix Fragments for mma.m16n8k16"):
 *   A [16, 16]: a[0] = (g, 2t..2t+1)  a[1] = (g+8, 2t..)  a[2] = (g, 2t+8..)  a[3] = (g+8, 2t+8..)
 *   B [16, 8]:  b[0] = (2t..2t+1, g)  b[1] = (2t+8.., g)
 *   C, D [16, 8] fp32: c[0], c[1] = (g, 2t..2t+1)  c[2], c[3] = (g+8, 2t..)
 * The lower half of a register holds the smaller index. */
#ifndef RT_CUDA_DEVICE_CUH
#define RT_CUDA_DEVICE_CUH
#include <cuda_runtime.h>
#include <stdint.h>
extern "C" {
#include <rectrain/kernels.h>
}

/* Shared memory: RT_SHARED(float, sums, 32) declares 32 floats for the block; RT_SHARED_DYNAMIC(float, tile) is what
 * the launch gave, from its first byte. Both are aligned to 16 bytes. */
#define RT_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define RT_SHARED_DYNAMIC(type, name)                                                                                  \
    extern __shared__ __align__(16) unsigned char rt_dynamic_shared[];                                                 \
    type *name = (type *)rt_dynamic_shared

/* rt_launch(kernel, grid, block, shared bytes, stream, arguments...): RT_OK, or RT_EINTERNAL with CUDA's words. Where
 * the kernel is a template it stands in parentheses: rt_launch((kernel<float, 2>), ...). Sizes, pointers and structs
 * are passed in the kernel's own types. */
#define rt_launch(...) rt_launch_kernel(__FILE__, #__VA_ARGS__, __VA_ARGS__)
template <typename... P, typename... A>
static inline rt_status rt_launch_kernel(const char *file, const char *text, void (*kernel)(P...), dim3 grid,
                                         dim3 block, size_t shared, void *stream, A... args) {
    kernel<<<grid, block, shared, (cudaStream_t)stream>>>((P)args...);
    cudaError_t error = cudaPeekAtLastError();
    if (error == cudaSuccess) return RT_OK;
    return rt_fail(RT_EINTERNAL, "%s: launch of %.60s...: %s", file, text, cudaGetErrorString(error));
}

/* More than 48 KiB of dynamic shared memory must be asked for before a kernel's launch; a card may have less. */
template <typename... P> static inline rt_status rt_allow_shared(void (*kernel)(P...), size_t bytes) {
    if (bytes <= 48 * 1024) return RT_OK;
    cudaError_t error =
        cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    if (error == cudaSuccess) return RT_OK;
    return rt_fail(RT_EINTERNAL, "%zu bytes of shared memory for a block: %s", bytes, cudaGetErrorString(error));
}

/* Zeroes device memory, in the stream's order. */
static inline rt_status rt_zero_async(void *to, size_t bytes, void *stream) {
    if (!bytes) return RT_OK;
    cudaError_t error = cudaMemsetAsync(to, 0, bytes, (cudaStream_t)stream);
    if (error == cudaSuccess) return RT_OK;
    return rt_fail(RT_EINTERNAL, "zeroing %zu bytes on the device: %s", bytes, cudaGetErrorString(error));
}

static __device__ __forceinline__ uint32_t rt_bits_of(float x) {
    return __float_as_uint(x);
}
static __device__ __forceinline__ float rt_float_of(uint32_t bits) {
    return __uint_as_float(bits);
}

/* 2^x within 2^-22 relatively; a result below 2^-126 is 0. One MUFU.EX2. */
static __device__ __forceinline__ float rt_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Sixteen bytes, aligned to sixteen: one LDG.E.128 / STG.E.128. */
struct __align__(16) rt_quad {
    uint32_t w[4];
};
static __device__ __forceinline__ rt_quad rt_load16(const void *from) {
    uint4 v = *(const uint4 *)from;
    rt_quad q = {{v.x, v.y, v.z, v.w}};
    return q;
}
static __device__ __forceinline__ void rt_store16(void *to, rt_quad q) {
    *(uint4 *)to = make_uint4(q.w[0], q.w[1], q.w[2], q.w[3]);
}

/* Two floats to two bfloat16, each rounded to nearest even; `low` into the lower half. NaN stays NaN. */
static __device__ __forceinline__ uint32_t rt_pack_bf16(float low, float high) {
#if __CUDA_ARCH__ >= 800
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#else
    uint32_t u[2] = {__float_as_uint(low), __float_as_uint(high)};
    for (int i = 0; i < 2; i++)
        u[i] = (u[i] & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (u[i] + 0x7fffu + (u[i] >> 16 & 1u)) >> 16;
    return u[0] | u[1] << 16;
#endif
}

/* Four 8 x 8 matrices of 16-bit elements from shared memory: lanes 8m .. 8m+7 give the addresses of matrix m's rows, 16
 * bytes each and aligned to 16; register m of lane 4r + c gets elements (r, 2c), (r, 2c+1) of it; with `turned` those
 * of its transpose: (2c, r), (2c+1, r). */
static __device__ __forceinline__ void rt_ldmatrix4(uint32_t r[4], const void *row) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
static __device__ __forceinline__ void rt_ldmatrix4_turned(uint32_t r[4], const void *row) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* c += a b, accumulated in fp32. bfloat16 needs sm_80; below, these do nothing, and the backend offers no bf16. */
static __device__ __forceinline__ void rt_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
static __device__ __forceinline__ void rt_mma_f16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* Sixteen bytes from global to shared memory, behind the thread's back: what it wrote may be read after rt_copy_wait,
 * and by other threads after a barrier on top. Below sm_80 a plain copy. */
static __device__ __forceinline__ void rt_copy_async16(void *to_shared, const void *from) {
#if __CUDA_ARCH__ >= 800
    uint32_t to = (uint32_t)__cvta_generic_to_shared(to_shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
#else
    *(uint4 *)to_shared = *(const uint4 *)from;
#endif
}
/* The same where `lives`; else sixteen zero bytes, and `from` is not read. */
static __device__ __forceinline__ void rt_copy_async16_or_zero(void *to_shared, const void *from, bool lives) {
#if __CUDA_ARCH__ >= 800
    uint32_t to = (uint32_t)__cvta_generic_to_shared(to_shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(lives ? 16 : 0) : "memory");
#else
    *(uint4 *)to_shared = lives ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
#endif
}
static __device__ __forceinline__ void rt_copy_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/* Waits until at most GROUPS of this thread's committed groups are under way. */
template <int GROUPS> static __device__ __forceinline__ void rt_copy_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
#endif
}

#endif
