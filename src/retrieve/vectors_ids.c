/* Ids: what they may be, lists of them, and the proof that none stands twice. */
#include "../base/file.h"
#include "../data/extsort.h"
#include "vectors_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SORT_MEMORY = 32 << 20 };

const char *rt_id_refused(const char *id, size_t size) {
    if (size == 0) return "is empty";
    if (size > RT_VECTORS_MAX_ID) return "is over 1,024 bytes long";
    for (size_t i = 0; i < size; i++)
        if (id[i] == '\n' || id[i] == '\r' || id[i] == '\0') return "holds a line break or a NUL byte";
    return NULL;
}

rt_status rt_id_list_add(rt_id_list *list, const char *id, size_t size) {
    if (list->n == list->capacity) {
        size_t n = list->capacity ? 2 * list->capacity : 1024;
        uint64_t *grown = realloc(list->ends, n * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "out of memory for %zu ids", n);
        list->ends = grown;
        list->capacity = n;
    }
    rt_text_append(&list->bytes, id, size);
    list->ends[list->n++] = list->bytes.size;
    return rt_text_status(&list->bytes);
}

void rt_id_list_free(rt_id_list *list) {
    rt_text_free(&list->bytes);
    free(list->ends);
    *list = (rt_id_list){0};
}

/* Equal ids come one after the other, in the order of their rows. */
static rt_status find_twice(const rt_extsort *sort, const char *path) {
    rt_extsort_reader *reader = NULL;
    rt_extsort_record record;
    rt_text last = {0};
    uint64_t last_row = 0;
    rt_status rc;
    RT_GO(rt_extsort_open(sort, &reader));
    for (bool first = true;; first = false) {
        RT_GO(rt_extsort_next(reader, &record));
        if (!record.key) break;
        uint64_t row = rt_key_read_u64(record.value);
        if (!first && last.size == record.key_size && memcmp(last.data, record.key, record.key_size) == 0) {
            rt_text shown = {0};
            rt_text_escaped(&shown, record.key, record.key_size, 100);
            rc = rt_fail(RT_EDATA, "%s: rows %llu and %llu both have the id \"%s\"; each must have its own", path,
                         (unsigned long long)last_row, (unsigned long long)row, shown.data ? shown.data : "");
            rt_text_free(&shown);
            goto done;
        }
        rt_text_clear(&last);
        rt_text_append(&last, record.key, record.key_size);
        RT_GO(rt_text_status(&last));
        last_row = row;
    }
done:
    rt_extsort_close(reader);
    rt_text_free(&last);
    return rc;
}

rt_status rt_vectors_check_ids(const char *ids, const char *folder, const char *path, uint64_t n, size_t *longest) {
    rt_status rc;
    rt_extsort *sort = NULL;
    char *line = NULL;
    size_t capacity = 0;
    FILE *f = fopen(ids, "rbe");
    if (!f) return rt_file_not_opened(ids, errno);
    *longest = 0;
    RT_GO(rt_extsort_new(folder, SORT_MEMORY, &sort));
    for (uint64_t row = 0; row < n; row++) {
        unsigned char number[8];
        ssize_t size = getline(&line, &capacity, f);
        if (size < 1 || line[size - 1] != '\n')
            RT_GO(rt_fail(RT_EIO, "%s: ends after %llu of %llu ids; was it altered?", ids, (unsigned long long)row,
                          (unsigned long long)n));
        if ((size_t)size - 1 > *longest) *longest = (size_t)size - 1;
        rt_key_u64(number, row);
        RT_GO(rt_extsort_add(sort, line, (size_t)size - 1, number, sizeof number));
    }
    RT_GO(rt_extsort_finish(sort, SORT_MEMORY));
    RT_GO(find_twice(sort, path));
done:
    fclose(f);
    free(line);
    rt_extsort_free(sort);
    return rc;
}
