#include "comm.h"
#include "watch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void rt_comm_note(rt_comm *c, const char *phase, uint64_t step) {
    rt_watch_note(c->watch, phase, step);
}

rt_status rt_comm_shard(rt_comm *c, int64_t n) {
    const int64_t block = 1 << 16, blocks = (n + block - 1) / block;
    free(c->shards);
    c->shards = calloc((size_t)c->size + 1, sizeof *c->shards);
    if (!c->shards) return rt_fail(RT_ENOMEM, "out of memory for the shards of %d ranks", c->size);
    for (int r = 0; r <= c->size; r++) {
        int64_t at = blocks * r / c->size * block;
        c->shards[r] = at < n ? at : n;
    }
    return RT_OK;
}

enum { ANSWER = 512 };

/* Rank 0 compares; its answer, empty where all is well, goes to every rank. */
rt_status rt_comm_same(rt_comm *c, const char *what, const char *text) {
    struct {
        char host[64], text[128];
    } mine = {0}, *all = NULL;
    char answer[ANSWER] = "";
    if (c->size == 1) return RT_OK;
    size_t *sizes = calloc((size_t)c->size, sizeof *sizes);
    if (!sizes) return rt_fail(RT_ENOMEM, "out of memory for %d ranks", c->size);
    if (gethostname(mine.host, sizeof mine.host - 1) != 0) strcpy(mine.host, "unknown");
    snprintf(mine.text, sizeof mine.text, "%s", text);
    rt_status rc = c->gather(c, &mine, sizeof mine, (void **)&all, sizes);
    for (int r = 1; rc == RT_OK && c->rank == 0 && r < c->size && !answer[0]; r++) {
        if (sizes[r] != sizeof mine) {
            rc = rt_fail(RT_EINTERNAL, "rank %d sent %zu bytes where %zu were due", r, sizes[r], sizeof mine);
        } else if (memcmp(all[r].text, all[0].text, sizeof mine.text) != 0) {
            all[r].host[sizeof mine.host - 1] = all[r].text[sizeof mine.text - 1] = 0;
            snprintf(answer, sizeof answer,
                     "rank %d on %s has another %s (%s) than rank 0 on %s (%s): start every rank with the same "
                     "command, configuration and files",
                     r, all[r].host, what, all[r].text, all[0].host, all[0].text);
        }
    }
    if (rc == RT_OK) rc = c->bcast(c, answer, sizeof answer);
    free(all);
    free(sizes);
    answer[sizeof answer - 1] = 0;
    if (rc != RT_OK || !answer[0]) return rc;
    if (c->barrier(c) != RT_OK) rt_error_clear(); /* nobody leaves before all have read it */
    return rt_fail(RT_ECONFIG, "%s", answer);
}
