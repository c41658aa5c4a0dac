/* The place of each row among the rows of its group, by falling score. A group's rows may lie anywhere in the file, so
 * lines wait in a temporary file without a name until all scores are there; memory stays flat. */
#ifndef RT_CLI_PREDICT_RANK_H
#define RT_CLI_PREDICT_RANK_H
#include "../base/text.h"
#include <stdint.h>

typedef struct rt_ranks rt_ranks;

/* `folder`: of the temporary files. */
rt_status rt_ranks_new(const char *folder, rt_ranks **out);
void rt_ranks_free(rt_ranks *ranks);
/* The next row: the hash of its group's value, its score, and its line, which holds no line break. */
rt_status rt_ranks_add(rt_ranks *ranks, uint64_t group, double score, const char *line, size_t size);
/* No more rows: then every line again, in order, with its rank from 1; equal scores keep the order of rows. *line is
 * NULL at the end, and valid until the next call. */
rt_status rt_ranks_finish(rt_ranks *ranks);
rt_status rt_ranks_next(rt_ranks *ranks, const char **line, size_t *size, uint64_t *rank);

#endif
