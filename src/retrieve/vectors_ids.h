/* Whether an id stands twice, among more of them than memory holds. */
#ifndef RT_RETRIEVE_VECTORS_IDS_H
#define RT_RETRIEVE_VECTORS_IDS_H
#include "../base/text.h"
#include <stdint.h>

typedef struct rt_id_check rt_id_check;

/* Temporary files, from 32 MiB of ids on, go to `folder`. */
rt_status rt_id_check_new(const char *folder, rt_id_check **out);
void rt_id_check_free(rt_id_check *check);
/* `number`: of the row or line, for who asks later. */
rt_status rt_id_check_add(rt_id_check *check, const char *id, size_t size, uint64_t number);
/* The first id, in the order of bytes, that was added twice goes to `id`, and its first two numbers; nothing goes there
 * where all differ. */
rt_status rt_id_check_finish(rt_id_check *check, rt_text *id, uint64_t numbers[2]);
/* Why these bytes cannot be an id, or NULL. */
const char *rt_id_refused(const char *id, size_t size);

#endif
