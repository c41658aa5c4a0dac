/* What processor and system offer, and which level to use. */
#include "cpu.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* The system's part: which register states it saves (XCR0). A processor's bit alone does not make AVX usable. */
static unsigned long long rt_xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (unsigned long long)high << 32 | low;
}

static bool rt_has(unsigned reg, unsigned bits) {
    return (reg & bits) == bits;
}

/* The psABI's lists, level by level. */
static void rt_cpu_levels(rt_cpu *cpu) {
    unsigned a, b, c, d, a7 = 0, b7 = 0, c7 = 0, d7 = 0, a71 = 0, c81 = 0;
    unsigned long long state = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    if (c & bit_OSXSAVE) state = rt_xcr0();
    unsigned c1 = c;
    if (__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7) && a7 >= 1) {
        unsigned x, y, z;
        __get_cpuid_count(7, 1, &a71, &x, &y, &z);
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) c81 = c;
    if (!rt_has(c1, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B) || !(c81 & 1)) return;
    cpu->isa = RT_ISA_V2;
    if (!rt_has(c1, bit_AVX | bit_F16C | bit_FMA | bit_MOVBE | bit_OSXSAVE) ||
        !rt_has(b7, bit_AVX2 | bit_BMI | bit_BMI2) || !(c81 & bit_LZCNT) || (state & 0x6) != 0x6)
        return;
    cpu->isa = RT_ISA_V3;
    if (!rt_has(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL) || (state & 0xE6) != 0xE6)
        return;
    cpu->isa = RT_ISA_V4;
    cpu->avx512_bf16 = (a71 >> 5 & 1) != 0;
    /* AMX: tile and bf16 bits, and both tile states saved by the system. */
    cpu->amx_bf16 = (d7 >> 22 & 1) && (d7 >> 24 & 1) && (state & 0x60000) == 0x60000;
}

static void rt_cpu_model(char out[64]) {
    unsigned words[12], most;
    char text[49];
    most = __get_cpuid_max(0x80000000, NULL);
    if (most < 0x80000004) return;
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
    memcpy(text, words, 48);
    text[48] = 0;
    const char *start = text + strspn(text, " ");
    size_t n = strlen(start);
    while (n > 0 && start[n - 1] == ' ') n--;
    snprintf(out, 64, "%.*s", (int)n, start);
}
#else
static void rt_cpu_levels(rt_cpu *cpu) {
    (void)cpu;
}
static void rt_cpu_model(char out[64]) {
    (void)out;
}
#endif

/* Whole processors that a cgroup's quota allows, rounded up; 0 for no quota. */
static int rt_quota_in(const char *folder) {
    char path[4224], first[32];
    long long quota = 0, period = 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", folder);
    FILE *f = fopen(path, "re");
    if (f) {
        if (fscanf(f, "%31s %lld", first, &period) == 2) quota = atoll(first); /* "max" gives 0 */
        fclose(f);
    } else {
        snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", folder);
        f = fopen(path, "re");
        if (!f) return 0;
        if (fscanf(f, "%lld", &quota) != 1) quota = 0;
        fclose(f);
        snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", folder);
        f = fopen(path, "re");
        if (!f) return 0;
        if (fscanf(f, "%lld", &period) != 1) period = 0;
        fclose(f);
    }
    if (quota <= 0 || period <= 0) return 0;
    long long whole = (quota + period - 1) / period;
    return whole > 100000 ? 100000 : (int)whole;
}

static int rt_quota(void) {
    char line[4096];
    int least = rt_quota_in("");
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return least;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *group = strncmp(line, "0::/", 4) == 0 ? line + 3 : strstr(line, ":cpu,");
        if (group && group[0] == ':') group = strchr(group + 1, ':');
        if (!group) continue;
        if (group[0] == ':') group++;
        while (group[0] == '/' && group[1]) {
            int n = rt_quota_in(group);
            if (n > 0 && (least == 0 || n < least)) least = n;
            char *slash = strrchr(group, '/');
            *slash = 0;
        }
    }
    fclose(f);
    return least;
}

static int rt_cores(void) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int cores = online > 0 ? (int)online : 1;
    /* A fixed cpu_set_t ends at 1024 processors; larger machines need a set of their size. */
    for (int most = 1024; most <= 1 << 20; most *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)most);
        if (!set) break;
        size_t size = CPU_ALLOC_SIZE((size_t)most);
        int rc = sched_getaffinity(0, size, set), error = errno;
        if (rc == 0) cores = CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (rc == 0 || error != EINVAL) break;
    }
    int quota = rt_quota();
    if (quota > 0 && quota < cores) cores = quota;
    return cores > 0 ? cores : 1;
}

void rt_cpu_detect(rt_cpu *cpu) {
    *cpu = (rt_cpu){.isa = RT_ISA_GENERIC, .model = "unknown processor"};
    rt_cpu_levels(cpu);
    rt_cpu_model(cpu->model);
    cpu->cores = rt_cores();
}

const char *rt_isa_name(rt_isa isa) {
    static const char *const names[RT_ISA_COUNT] = {"generic", "v2", "v3", "v4"};
    return (unsigned)isa < RT_ISA_COUNT ? names[isa] : "unknown";
}

rt_status rt_isa_choose(const rt_cpu *cpu, rt_isa *out) {
    const char *forced = getenv("RECTRAIN_ISA");
    *out = cpu->isa;
    if (!forced || !forced[0]) return RT_OK;
    for (int i = 0; i < RT_ISA_COUNT; i++) {
        if (strcmp(forced, rt_isa_name((rt_isa)i)) != 0) continue;
        if ((rt_isa)i > cpu->isa)
            return rt_fail(
                RT_EUNAVAILABLE,
                "RECTRAIN_ISA = %s: this processor (%s) reaches %s; unset the variable or name a lower level", forced,
                cpu->model, rt_isa_name(cpu->isa));
        *out = (rt_isa)i;
        return RT_OK;
    }
    return rt_fail(RT_ECONFIG, "RECTRAIN_ISA = %.40s: no such level; generic, v2, v3, v4 are accepted", forced);
}
