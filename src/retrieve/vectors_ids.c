/* Ids: what they may be, lists of them, and the proof that none stands twice. */
#include "vectors_ids.h"
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

struct rt_id_check {
    rt_extsort *sort;
};

rt_status rt_id_check_new(const char *folder, rt_id_check **out) {
    rt_id_check *c = calloc(1, sizeof *c);
    rt_status rc = c ? rt_extsort_new(folder, SORT_MEMORY, &c->sort) : rt_fail(RT_ENOMEM, "out of memory for ids");
    if (rc != RT_OK) rt_id_check_free(c);
    *out = rc == RT_OK ? c : NULL;
    return rc;
}

void rt_id_check_free(rt_id_check *c) {
    if (!c) return;
    rt_extsort_free(c->sort);
    free(c);
}

rt_status rt_id_check_add(rt_id_check *c, const char *id, size_t size, uint64_t number) {
    unsigned char value[8];
    rt_key_u64(value, number);
    return rt_extsort_add(c->sort, id, size, value, sizeof value);
}

/* Equal ids come one after the other, in the order in which they were added. */
rt_status rt_id_check_finish(rt_id_check *c, rt_text *id, uint64_t numbers[2]) {
    rt_extsort_reader *reader = NULL;
    rt_extsort_record record;
    rt_status rc;
    bool first = true;
    rt_text_clear(id);
    RT_GO(rt_extsort_finish(c->sort, SORT_MEMORY));
    RT_GO(rt_extsort_open(c->sort, &reader));
    for (;; first = false) {
        RT_GO(rt_extsort_next(reader, &record));
        if (!record.key) break;
        numbers[1] = rt_key_read_u64(record.value);
        if (!first && id->size == record.key_size && memcmp(id->data, record.key, record.key_size) == 0) goto done;
        rt_text_clear(id);
        rt_text_append(id, record.key, record.key_size);
        RT_GO(rt_text_status(id));
        numbers[0] = numbers[1];
    }
    rt_text_clear(id);
done:
    rt_extsort_close(reader);
    return rc;
}

rt_status rt_vectors_check_ids(const char *ids, const char *folder, const char *path, uint64_t n, size_t *longest) {
    rt_status rc;
    rt_id_check *check = NULL;
    rt_text twice = {0}, shown = {0};
    uint64_t rows[2];
    char *line = NULL;
    size_t capacity = 0;
    FILE *f = fopen(ids, "rbe");
    if (!f) return rt_file_not_opened(ids, errno);
    *longest = 0;
    RT_GO(rt_id_check_new(folder, &check));
    for (uint64_t row = 0; row < n; row++) {
        ssize_t size = getline(&line, &capacity, f);
        if (size < 1 || line[size - 1] != '\n')
            RT_GO(rt_fail(RT_EIO, "%s: ends after %llu of %llu ids; was it altered?", ids, (unsigned long long)row,
                          (unsigned long long)n));
        if ((size_t)size - 1 > *longest) *longest = (size_t)size - 1;
        RT_GO(rt_id_check_add(check, line, (size_t)size - 1, row));
    }
    RT_GO(rt_id_check_finish(check, &twice, rows));
    rt_text_escaped(&shown, twice.data ? twice.data : "", twice.size, 100);
    if (twice.size)
        rc = rt_fail(RT_EDATA, "%s: rows %llu and %llu both have the id \"%s\"; each must have its own", path,
                     (unsigned long long)rows[0], (unsigned long long)rows[1], shown.data ? shown.data : "");
done:
    fclose(f);
    free(line);
    rt_text_free(&twice);
    rt_text_free(&shown);
    rt_id_check_free(check);
    return rc;
}
