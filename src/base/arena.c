/* Bump arenas over zeroed pages, and what the process uses. */
#include "arena.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

void *rt_arena_take(rt_arena *arena, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - (RT_ALIGN - 1)) {
        arena->used = SIZE_MAX;
        return NULL;
    }
    bytes = (bytes + RT_ALIGN - 1) / RT_ALIGN * RT_ALIGN;
    size_t start = arena->used;
    if (start == SIZE_MAX || bytes > SIZE_MAX - RT_ALIGN - start) {
        arena->used = SIZE_MAX;
        return NULL;
    }
    arena->used = start + bytes;
    if (!arena->base || arena->used > arena->capacity) return NULL;
    return arena->base + start;
}

int rt_arena_ok(const rt_arena *arena) {
    if (arena->used == SIZE_MAX) return 0;
    return !arena->base || arena->used <= arena->capacity;
}

static void rt_size_text(double bytes, char out[32]) {
    const char *const units[] = {"bytes", "KB", "MB", "GB", "TB", "PB", "EB"};
    int u = 0;
    while (bytes >= 1000 && u < 6) bytes /= 1000, u++;
    snprintf(out, 32, "%.*f %s", u > 0 && bytes < 100 ? 1 : 0, bytes, units[u]);
}

rt_status rt_pages_map(size_t bytes, const char *what, void **out) {
    *out = NULL;
    if (bytes == 0) return RT_OK;
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        char text[32], total[32];
        int error = errno;
        rt_size_text((double)bytes, text);
        rt_size_text((double)rt_memory_total(), total);
        return rt_fail(RT_ENOMEM,
                       "%s: no memory for %s (the machine or its cgroup has %s): %s. Use a smaller batch, length or "
                       "model, or a machine with more memory",
                       what, text, total, strerror(error));
    }
#ifdef MADV_HUGEPAGE
    madvise(pages, bytes, MADV_HUGEPAGE); /* advice: a kernel without huge pages may refuse it */
#endif
    *out = pages;
    return RT_OK;
}

void rt_pages_unmap(void *pages, size_t bytes) {
    if (pages && bytes > 0) munmap(pages, bytes);
}

size_t rt_memory_resident(void) {
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    if (fscanf(f, "%*u %zu", &pages) != 1) pages = 0;
    fclose(f);
    long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? pages * (size_t)page : 0;
}

size_t rt_memory_peak(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss < 0) return 0;
    return (size_t)usage.ru_maxrss * 1024;
}

/* The number in a cgroup file; 0 for "max", for nonsense and where there is none. */
static unsigned long long rt_read_number(const char *path) {
    unsigned long long value = 0;
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    if (fscanf(f, "%llu", &value) != 1) value = 0;
    fclose(f);
    return value;
}

/* The smallest limit on the way from this process's group up to the root. */
static unsigned long long rt_cgroup_limit(void) {
    unsigned long long least = rt_read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    char line[4096], path[4224];
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return least;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        bool v2 = strncmp(line, "0::/", 4) == 0;
        char *group = v2 ? line + 3 : strstr(line, ":memory:");
        if (!group) continue;
        if (!v2) group += 8;
        for (;;) {
            snprintf(path, sizeof path,
                     v2 ? "/sys/fs/cgroup%s/memory.max" : "/sys/fs/cgroup/memory%s/memory.limit_in_bytes",
                     strcmp(group, "/") == 0 ? "" : group);
            unsigned long long limit = rt_read_number(path);
            if (limit > 0 && (least == 0 || limit < least)) least = limit;
            char *slash = strrchr(group, '/');
            if (!slash || group[0] == 0) break;
            *slash = 0;
        }
    }
    fclose(f);
    return least;
}

size_t rt_memory_total(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    unsigned long long total = pages > 0 && page > 0 ? (unsigned long long)pages * (unsigned long long)page : 0;
    unsigned long long limit = rt_cgroup_limit();
    if (limit > 0 && (total == 0 || limit < total)) total = limit;
    return total > SIZE_MAX ? SIZE_MAX : (size_t)total;
}
