#include "predict_rank.h"
#include "../data/extsort.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { SORT_MEMORY = 32 << 20, KEY = 8 };

struct rt_ranks {
    FILE *lines;
    uint64_t rows;
    rt_extsort *by_score, *by_row; /* (group, falling score, row); row -> rank */
    rt_extsort_reader *reader;
    char *line; /* getline's */
    size_t capacity;
    const char *folder;
};

void rt_ranks_free(rt_ranks *r) {
    if (!r) return;
    rt_extsort_close(r->reader);
    rt_extsort_free(r->by_score);
    rt_extsort_free(r->by_row);
    if (r->lines) fclose(r->lines);
    free(r->line);
    free(r);
}

rt_status rt_ranks_new(const char *folder, rt_ranks **out) {
    int fd = -1;
    rt_status rc = RT_OK;
    rt_ranks *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return rt_fail(RT_ENOMEM, "out of memory to rank");
    r->folder = folder;
    RT_GO(rt_unnamed_file(folder, &fd));
    r->lines = fdopen(fd, "w+");
    if (!r->lines) {
        rc = rt_fail(RT_EIO, "%s: %s", folder, strerror(errno));
        close(fd);
        goto done;
    }
    RT_GO(rt_extsort_new(folder, SORT_MEMORY, &r->by_score));
    RT_GO(rt_extsort_new(folder, SORT_MEMORY, &r->by_row));
    *out = r;
    r = NULL;
done:
    rt_ranks_free(r);
    return rc;
}

/* Scores are not negative, so their bits sort as they do. What is no number comes last. */
static uint64_t falling(double score) {
    uint64_t bits;
    score += 0.0; /* no negative zero */
    memcpy(&bits, &score, sizeof bits);
    return isnan(score) ? UINT64_MAX : ~bits;
}

static rt_status spool_failed(const rt_ranks *r, const char *what) {
    return rt_fail(RT_EIO, "%s: %s a temporary file failed: %s", r->folder, what, strerror(errno));
}

rt_status rt_ranks_add(rt_ranks *r, uint64_t group, double score, const char *line, size_t size) {
    unsigned char key[3 * KEY];
    rt_key_u64(key, group);
    rt_key_u64(key + KEY, falling(score));
    rt_key_u64(key + 2 * KEY, r->rows++);
    if (fwrite(line, 1, size, r->lines) != size || putc('\n', r->lines) == EOF) return spool_failed(r, "writing");
    return rt_extsort_add(r->by_score, key, sizeof key, NULL, 0);
}

static rt_status number_rows(rt_ranks *r) {
    rt_extsort_record record;
    uint64_t group = 0, rank = 0;
    for (;;) {
        RT_TRY(rt_extsort_next(r->reader, &record));
        if (!record.key) return RT_OK;
        const unsigned char *key = record.key;
        uint64_t here = rt_key_read_u64(key);
        rank = rank > 0 && here == group ? rank + 1 : 1;
        group = here;
        RT_TRY(rt_extsort_add(r->by_row, key + 2 * KEY, KEY, &rank, sizeof rank));
    }
}

rt_status rt_ranks_finish(rt_ranks *r) {
    if (fflush(r->lines) != 0) return spool_failed(r, "writing");
    rewind(r->lines);
    RT_TRY(rt_extsort_finish(r->by_score, SORT_MEMORY));
    RT_TRY(rt_extsort_open(r->by_score, &r->reader));
    RT_TRY(number_rows(r));
    rt_extsort_close(r->reader);
    r->reader = NULL;
    rt_extsort_free(r->by_score);
    r->by_score = NULL;
    RT_TRY(rt_extsort_finish(r->by_row, SORT_MEMORY));
    return rt_extsort_open(r->by_row, &r->reader);
}

rt_status rt_ranks_next(rt_ranks *r, const char **line, size_t *size, uint64_t *rank) {
    rt_extsort_record record;
    *line = NULL;
    RT_TRY(rt_extsort_next(r->reader, &record));
    if (!record.key) return RT_OK;
    ssize_t n = getline(&r->line, &r->capacity, r->lines);
    if (n <= 0) return spool_failed(r, "reading");
    memcpy(rank, record.value, sizeof *rank);
    *line = r->line;
    *size = (size_t)n - 1; /* its line break */
    return RT_OK;
}
