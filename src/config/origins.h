/* Private to src/config. */
#ifndef RT_CONFIG_ORIGINS_H
#define RT_CONFIG_ORIGINS_H
#include "config.h"

struct rt_config_origins {
    int n;
    char *text[]; /* one an option, in the order of the table; NULL: the default stands */
};

/* What no single value can get wrong alone: options that contradict each other. RT_ECONFIG. */
rt_status rt_config_check(const rt_config *cfg);

#endif
