/* Models by name, on this machine: the hub's local cache, then $RECTRAIN_MODELS. The network is never asked. */
#ifndef RT_CHECKPOINT_HUB_CACHE_H
#define RT_CHECKPOINT_HUB_CACHE_H
#include "../base/status.h"

/* The folder of `name` ("ORG/MODEL" or "MODEL"); *folder NULL when it is not here. RT_EDATA: here, but broken or
 * ambiguous. Caller frees. */
rt_status rt_hub_find(const char *name, char **folder);

#endif
