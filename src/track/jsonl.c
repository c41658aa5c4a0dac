/* metrics.jsonl: whole lines, always. */
#include "../base/file.h"
#include "append.h"
#include "track.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST_LINE = 1 << 24 };

struct rt_jsonl {
    int fd;
    char *path;
};

/* Where the last whole line ends. */
static off_t whole_lines(int fd, off_t size) {
    char block[4096];
    while (size > 0) {
        off_t from = size > (off_t)sizeof block ? size - (off_t)sizeof block : 0;
        ssize_t n = pread(fd, block, (size_t)(size - from), from);
        if (n <= 0) return -1;
        for (ssize_t i = n; i > 0; i--)
            if (block[i - 1] == '\n') return from + i;
        size = from;
    }
    return 0;
}

rt_status rt_jsonl_open(const char *path, rt_jsonl **out) {
    rt_status rc = RT_OK;
    *out = NULL;
    rt_jsonl *file = calloc(1, sizeof *file);
    if (!file) return rt_fail(RT_ENOMEM, "%s: out of memory", path);
    file->fd = -1;
    file->path = rt_strdup(path);
    if (!file->path) {
        rc = rt_fail(RT_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    file->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    struct stat st;
    if (file->fd < 0 || fstat(file->fd, &st) != 0) {
        rc = rt_fail(RT_EIO, "%s: cannot open for appending: %s", path, strerror(errno));
        goto done;
    }
    if (S_ISFIFO(st.st_mode)) { /* it would take 64 KB and then stop the run */
        rc = rt_fail(RT_EIO, "%s: a pipe; a regular file is expected: move it away", path);
        goto done;
    }
    if (S_ISREG(st.st_mode)) {
        off_t end = whole_lines(file->fd, st.st_size);
        if (end < 0 || (end < st.st_size && ftruncate(file->fd, end) != 0)) {
            rc = rt_fail(RT_EIO, "%s: cannot cut off a torn last line: %s", path, strerror(errno));
            goto done;
        }
    }
    *out = file;
    file = NULL;
done:
    rt_jsonl_close(file);
    return rc;
}

rt_status rt_jsonl_write(rt_jsonl *file, const char *object) {
    if (strchr(object, '\n'))
        return rt_fail(RT_EINTERNAL, "%s: a line must not hold a newline: %.200s", file->path, object);
    rt_text line = {0};
    rt_text_puts(&line, object);
    rt_text_append(&line, "\n", 1);
    rt_status rc = rt_text_status(&line);
    /* In one call: a reader who follows the file never sees half a line. */
    if (rc == RT_OK) rc = rt_append(file->fd, file->path, line.data, line.size);
    rt_text_free(&line);
    return rc;
}

void rt_jsonl_close(rt_jsonl *file) {
    if (!file) return;
    if (file->fd >= 0) close(file->fd);
    free(file->path);
    free(file);
}

static bool line_stays(const char *line, size_t size, uint64_t step, bool drop_eval_at) {
    if (size > LONGEST_LINE || rt_json_memory(line, size) > RT_JSON_MEMORY) return false;
    json_t *object = json_loadb(line, size, 0, NULL);
    bool stays = json_is_object(object);
    const json_t *at = json_object_get(object, "step");
    if (json_is_number(at)) {
        double value = json_number_value(at);
        const char *event = json_string_value(json_object_get(object, "event"));
        if (value > (double)step) stays = false;
        if (drop_eval_at && value == (double)step && rt_streq(event, "eval")) stays = false;
    }
    json_decref(object);
    return stays;
}

rt_status rt_jsonl_cut(const char *path, uint64_t step, bool drop_eval_at) {
    if (!rt_file_exists(path)) return RT_OK;
    char *data = NULL;
    size_t size = 0;
    rt_atomic file = {0};
    rt_text kept = {0};
    rt_status rc = RT_OK;
    RT_GO(rt_file_read(path, RT_METRICS_LIMIT, &data, &size));
    for (size_t at = 0; at < size;) {
        const char *newline = memchr(data + at, '\n', size - at);
        if (!newline) break; /* torn */
        size_t end = (size_t)(newline - data);
        if (line_stays(data + at, end - at, step, drop_eval_at)) rt_text_append(&kept, data + at, end - at + 1);
        at = end + 1;
    }
    RT_GO(rt_text_status(&kept));
    if (kept.size == size) goto done;
    RT_GO(rt_atomic_begin(&file, path));
    RT_GO(rt_atomic_write(&file, kept.data ? kept.data : "", kept.size));
    RT_GO(rt_atomic_commit(&file));
done:
    rt_atomic_abort(&file);
    rt_text_free(&kept);
    free(data);
    return rc;
}
