/* What the processor can do. Levels are the x86-64 psABI's; "generic" is plain C on any processor. */
#ifndef RT_BASE_CPU_H
#define RT_BASE_CPU_H
#include "status.h"
#include <stdbool.h>

typedef enum { RT_ISA_GENERIC, RT_ISA_V2, RT_ISA_V3, RT_ISA_V4, RT_ISA_COUNT } rt_isa;

typedef struct {
    rt_isa isa; /* highest level of processor and system */
    bool avx512_bf16, amx_bf16;
    int cores; /* those this process may use (affinity, cgroup quota) */
    char model[64];
} rt_cpu;

void rt_cpu_detect(rt_cpu *cpu);
const char *rt_isa_name(rt_isa isa); /* "generic", "v2", "v3", "v4" */
/* The level to use: the highest, or what RECTRAIN_ISA forces. RT_ECONFIG for an unknown name, RT_EUNAVAILABLE for a
 * level that the processor lacks. */
rt_status rt_isa_choose(const rt_cpu *cpu, rt_isa *out);

#endif
