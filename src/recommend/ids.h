/* Ids as dense numbers: users, items, values of a column. The first id added is 0, and so on. */
#ifndef RT_RECOMMEND_IDS_H
#define RT_RECOMMEND_IDS_H
#include "../base/status.h"
#include <stddef.h>
#include <stdint.h>

enum {
    RT_ID_BYTES = 1024, /* of one id at most */
    RT_NO_ID = 0x7FFFFFFF,
    RT_MAX_IDS = 1 << 30,
};

typedef struct rt_ids rt_ids;

/* An id takes its bytes and about 29 beside them (8 of offset, 8 of hash, 4 or 8 of the table, and growing room). */
rt_status rt_ids_new(rt_ids **out);
void rt_ids_free(rt_ids *ids);
/* Its number, new or known. RT_EDATA: over RT_MAX_IDS of them; RT_ENOMEM. An empty id is an id like others. */
rt_status rt_ids_add(rt_ids *ids, const char *bytes, size_t size, uint32_t *number);
uint32_t rt_ids_find(const rt_ids *ids, const char *bytes, size_t size); /* RT_NO_ID: not there */
uint32_t rt_ids_count(const rt_ids *ids);
/* Its bytes, not NUL-terminated; valid until the next rt_ids_add. */
const char *rt_ids_get(const rt_ids *ids, uint32_t number, size_t *size);

#endif
