/* What a join reads from: lists of files, tables without a header; and what becomes of bad rows. */
#include "../base/file.h"
#include "join_internal.h"
#include "table_internal.h"
#include <stdlib.h>
#include <string.h>

void rt_join_files_free(char **files, int n) {
    for (int i = 0; i < n && files; i++) free(files[i]);
    free(files);
}

rt_status rt_join_files(const char *list, char ***files, int *n) {
    *n = 0;
    size_t most = 1;
    for (const char *p = list; *p; p++) most += *p == ',';
    *files = calloc(most, sizeof **files);
    if (!*files) return rt_fail(RT_ENOMEM, "no memory for a list of files");
    bool whole = rt_file_exists(list); /* a comma may be part of a name */
    for (const char *p = list;;) {
        const char *end = whole ? p + strlen(p) : p + strcspn(p, ",");
        if (end > p) {
            char *copy = rt_strndup(p, (size_t)(end - p));
            if (!copy) return rt_fail(RT_ENOMEM, "no memory for a list of files");
            (*files)[(*n)++] = copy;
        }
        if (!*end) break;
        p = end + 1;
    }
    if (*n == 0) return rt_fail(RT_EUSAGE, "\"%s\" names no file", list);
    return RT_OK;
}

rt_status rt_join_open_bare(const char *path, char delimiter, const char *const *names, int n_least, int n_most,
                            rt_table **out) {
    *out = NULL;
    rt_status rc = RT_OK;
    rt_table *t = calloc(1, sizeof *t);
    if (!t) return rt_fail(RT_ENOMEM, "%s: no memory to open it", path);
    t->line = 1;
    t->format = RT_FORMAT_TSV;
    t->quoting = RT_QUOTING_NONE;
    t->delimiter = delimiter;
    RT_GO(rt_input_open(path, &t->input));
    RT_GO(rt_table_fill(t, 3));
    if (t->stop - t->start >= 3 && !memcmp(t->buffer + t->start, "\xEF\xBB\xBF", 3)) t->start += 3;
    rt_extent e = {0};
    if (t->stop > t->start) RT_GO(rt_table_row_extent(t, RT_QUOTING_NONE, &e));
    const char *row = t->buffer ? t->buffer + t->start : "";
    int fields = 1;
    for (size_t i = 0; i < e.size && fields <= n_most; i++) fields += row[i] == delimiter;
    int n = fields < n_least || fields > n_most ? n_most : fields;
    for (int i = 0; i < n; i++) RT_GO(rt_table_add_column(t, names[i], strlen(names[i])));
    t->fields = calloc((size_t)n, sizeof *t->fields);
    if (!t->fields) {
        rc = rt_fail(RT_ENOMEM, "%s: no memory for %d columns", path, n);
        goto done;
    }
    *out = t;
    t = NULL;
done:
    rt_table_close(t);
    return rc;
}

rt_status rt_join_bad_row(rt_joining *j, rt_status rc) {
    enum { SHOWN = 3 };
    if (rc != RT_EDATA) return rc;
    if (!j->o->skip_bad_rows) {
        char text[RT_ERROR_TEXT];
        memcpy(text, rt_error_get()->text, sizeof text);
        size_t n = strlen(text);
        return rt_fail(RT_EDATA, "%s%s --on-bad-row skip counts such rows and goes on", text,
                       n > 0 && strchr("?.!", text[n - 1]) ? "" : ".");
    }
    if (j->warned++ < SHOWN) rt_warn(j->log, "skipped: %s", rt_error_get()->text);
    j->s->bad_rows++;
    return RT_OK;
}

rt_status rt_join_stopped(const rt_joining *j) {
    if (!j->o->stop || !j->o->stop(j->o->context)) return RT_OK;
    return rt_fail(RT_ESTOPPED, "stopped; %s is as it was before", j->o->folder);
}
