/* This variant's ops, for ../dispatch.c. */
#include "op.h"

extern const rt_cpu_ops RT_OP(rt_cpu_table);

const rt_cpu_ops RT_OP(rt_cpu_table) = {
#define X(name, args) .name = RT_OP(rt_cpu_##name),
    RT_CPU_OPS(X)
#undef X
#define X(name) .need_##name = RT_OP(rt_cpu_need_##name),
        RT_CPU_NEEDS(X)
#undef X
#define X(result, name, args) .name = RT_OP(rt_cpu_##name),
            RT_CPU_PARTS(X)
#undef X
};
