/* Progress of the long phases that several commands have; each also asks whether a signal wants the end. */
#ifndef RT_CLI_LIVE_H
#define RT_CLI_LIVE_H
#include "cli.h"

typedef struct {
    struct rt_progress_line *line;
    const char *what; /* "data.train", a file's name */
    double started;
} rt_live;

rt_live rt_live_begin(rt_cli *cli, const char *what);
/* An rt_progress of data/dataset.h; `live` is an rt_live. True: stop. */
bool rt_live_tokenising(void *live, uint64_t done_bytes, uint64_t all_bytes, uint64_t rows);
/* Batches of an evaluation. */
void rt_live_evaluating(void *live, uint32_t done, uint32_t all);
/* Rows so far, of a number that is not known. */
void rt_live_rows(rt_live *live, const char *verb, uint64_t rows);

#endif
