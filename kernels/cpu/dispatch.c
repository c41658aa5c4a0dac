/* From instruction level and dtype to the ops compiled for them. */
#include "cpu.h"

/* Four levels where the compiler makes x86-64 code (the Makefile compiles the same ones), plain C elsewhere. */
#define LEVEL(isa) extern const rt_cpu_ops rt_cpu_table_##isa##_f32, rt_cpu_table_##isa##_bf16;
LEVEL(generic)
#if defined(__x86_64__)
LEVEL(v2)
LEVEL(v3)
LEVEL(v4)
#endif
#undef LEVEL

const rt_cpu_ops *rt_cpu_ops_find(rt_isa isa, rt_dtype act) {
    switch (isa) {
#define LEVEL(level, isa)                                                                                              \
    case level:                                                                                                        \
        return act == RT_BF16 ? &rt_cpu_table_##isa##_bf16 : &rt_cpu_table_##isa##_f32;
        LEVEL(RT_ISA_GENERIC, generic)
#if defined(__x86_64__)
        LEVEL(RT_ISA_V2, v2)
        LEVEL(RT_ISA_V3, v3)
        LEVEL(RT_ISA_V4, v4)
#endif
#undef LEVEL
    default:
        return NULL;
    }
}
