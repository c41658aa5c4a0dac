/* Bump arenas: measure, allocate once, bind. The same code runs twice: with base NULL it only counts; then the arena
 * is mapped at that size and the code binds its pointers. Blocks start on RT_ALIGN bytes. */
#ifndef RT_BASE_ARENA_H
#define RT_BASE_ARENA_H
#include "status.h"
#include <stddef.h>
#include <stdint.h>

#define RT_ALIGN 256

typedef struct {
    unsigned char *base; /* NULL while measuring */
    size_t used;         /* bytes, a multiple of RT_ALIGN */
    size_t capacity;     /* bytes; ignored while measuring */
} rt_arena;

/* Next block of n * size bytes; NULL while measuring, and NULL with used > capacity (or SIZE_MAX on overflow) when it
 * does not fit: check rt_arena_ok() after binding. */
void *rt_arena_take(rt_arena *arena, size_t n, size_t size);
int rt_arena_ok(const rt_arena *arena);
/* Zeroed pages from the system (transparent huge pages advised). RT_ENOMEM names the size and `what`. */
rt_status rt_pages_map(size_t bytes, const char *what, void **out);
void rt_pages_unmap(void *pages, size_t bytes);
/* Resident bytes of this process and its peak; 0 where unknown. */
size_t rt_memory_resident(void);
size_t rt_memory_peak(void);
size_t rt_memory_total(void); /* of the machine, or of its cgroup if smaller */

#define RT_ARENA_NEW(arena, type, n) ((type *)rt_arena_take((arena), (size_t)(n), sizeof(type)))

#endif
