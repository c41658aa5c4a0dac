/* Between fp32 and bf16, copies, and small writes.
 *
 * convert<TO, FROM>: blocks of 256 threads, eight elements a thread where both pointers are aligned to 16 bytes, else
 *   one. bytes an element: sizeof(TO) + sizeof(FROM). A NaN stays one, with the hardware's bits.
 * write: one block of 32 threads, of which one stores: indices that are known to the compiler keep the words, the
 * kernel's argument, in constant memory; one that hangs on the thread would copy them to the stack. */
#include "common.cuh"

template <typename TO, typename FROM>
static __global__ void __launch_bounds__(256, 1) convert_kernel(TO *to, const FROM *from, int64_t n, bool wide) {
    const int64_t thread = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (!wide) {
        if (thread < n) rt_store1(to + thread, rt_load1(from + thread));
        return;
    }
    if (8 * thread + 8 <= n)
        rt_store8(to + 8 * thread, rt_load8(from + 8 * thread));
    else
        for (int64_t i = 8 * thread; i < n; i++) rt_store1(to + i, rt_load1(from + i));
}

template <typename TO, typename FROM>
static rt_status convert(const rt_cuda_launch *l, void *to, const void *from, int64_t n) {
    const bool wide = rt_aligned16(to) && rt_aligned16(from);
    const int64_t threads = wide ? (n + 7) / 8 : n;
    return rt_launch((convert_kernel<TO, FROM>), dim3((unsigned)((threads + 255) / 256)), dim3(256), 0, l->stream,
                     (TO *)to, (const FROM *)from, n, wide);
}

extern "C" rt_status rt_cuda_convert_launch(const rt_cuda_launch *l, void *to, rt_dtype to_dtype, const void *from,
                                            rt_dtype from_dtype, size_t n) {
    if (n == 0) return RT_OK;
    if (n > (size_t)INT64_MAX / 8) return rt_fail(RT_ESHAPE, "convert: %zu elements", n);
    if (to_dtype == RT_BF16)
        return from_dtype == RT_BF16 ? convert<rt_bf16, rt_bf16>(l, to, from, (int64_t)n)
                                     : convert<rt_bf16, float>(l, to, from, (int64_t)n);
    return from_dtype == RT_BF16 ? convert<float, rt_bf16>(l, to, from, (int64_t)n)
                                 : convert<float, float>(l, to, from, (int64_t)n);
}

struct write_words {
    uint32_t w[RT_WRITE_MAX / 4];
};

static __global__ void __launch_bounds__(32, 1) write_kernel(uint32_t *to, write_words words, int32_t n) {
#pragma unroll
    for (int32_t i = 0; i < RT_WRITE_MAX / 4; i++)
        if (threadIdx.x == 0 && i < n) to[i] = words.w[i];
}

extern "C" rt_status rt_cuda_write_launch(const rt_cuda_launch *l, void *to, const void *from_host, size_t bytes) {
    if (bytes > RT_WRITE_MAX || bytes % 4 || (uintptr_t)to % 4)
        return rt_fail(RT_ESHAPE, "write: %zu bytes to %p; expected a multiple of 4, at most %d", bytes, to,
                       RT_WRITE_MAX);
    if (bytes == 0) return RT_OK;
    write_words words = {};
    memcpy(words.w, from_host, bytes);
    return rt_launch(write_kernel, dim3(1), dim3(32), 0, l->stream, (uint32_t *)to, words, (int32_t)(bytes / 4));
}
