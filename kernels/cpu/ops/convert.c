/* Between fp32 and bf16. */
#include "op.h"

void RT_OP(rt_cpu_convert)(rt_cpu_context *cpu, void *to, rt_dtype to_dtype, const void *from, rt_dtype from_dtype,
                           int64_t n) {
#pragma omp parallel num_threads(cpu->threads) if (n > 4096)
    {
        rt_span mine = rt_share(n, 64);
        if (to_dtype == from_dtype) {
            size_t size = rt_dtype_size(to_dtype);
            if (mine.end > mine.begin)
                memmove((char *)to + (size_t)mine.begin * size, (const char *)from + (size_t)mine.begin * size,
                        (size_t)(mine.end - mine.begin) * size);
        } else if (to_dtype == RT_F32) {
            float *restrict wide = to;
            const rt_bf16 *restrict narrow = from;
#pragma omp simd
            for (int64_t i = mine.begin; i < mine.end; i++) wide[i] = rt_widen(narrow[i]);
        } else {
            rt_bf16 *restrict narrow = to;
            const float *restrict wide = from;
#pragma omp simd
            for (int64_t i = mine.begin; i < mine.end; i++) narrow[i] = rt_narrow(wide[i]);
        }
    }
}
