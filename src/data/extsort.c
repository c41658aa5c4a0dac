#include "extsort.h"
#include "../base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HEAD = 8,                /* sizes of key and value before a record's bytes */
    LEAST_WINDOW = 64 << 10, /* of a run while it is merged: smaller reads would make the disk seek */
    WRITE_BUFFER = 256 << 10,
};

typedef struct {
    uint64_t prefix; /* the key's first bytes, zero-padded: most comparisons end here */
    uint64_t at;     /* of the record in the memory */
} entry;

typedef struct {
    uint64_t offset, bytes;
} run;

struct rt_extsort {
    char *folder;
    size_t memory;
    unsigned char *bytes; /* records from the front; once it is full, sorted entries are written out */
    size_t used;
    entry *entries, *spare; /* [capacity]; spare is the other half of a merge sort */
    size_t n, capacity;
    run *runs;
    int n_runs, runs_capacity;
    int fd;
    uint64_t written, records;
    size_t window; /* of a run while reading */
    bool finished;
};

/* One run (or the memory) being read. */
typedef struct {
    uint64_t offset, left; /* still in the file */
    unsigned char *buffer;
    size_t capacity, start, stop;
    rt_extsort_record record;
    uint64_t prefix;
    bool ended;
} cursor;

struct rt_extsort_reader {
    const rt_extsort *sort;
    size_t next; /* of the entries, when all is in memory */
    cursor *cursors;
    int n;
    int *heap; /* cursors that have a record, the least first */
    int heap_size;
    bool started;
};

void rt_key_u64(unsigned char out[8], uint64_t value) {
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(value >> (56 - 8 * i));
}

uint64_t rt_key_read_u64(const unsigned char in[8]) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | in[i];
    return value;
}

static uint64_t prefix_of(const unsigned char *key, size_t size) {
    unsigned char first[8] = {0};
    memcpy(first, key, size < 8 ? size : 8);
    return rt_key_read_u64(first);
}

static int compare_keys(const void *a, size_t a_size, const void *b, size_t b_size) {
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

rt_status rt_unnamed_file(const char *folder, int *fd) {
    rt_status rc = RT_OK;
    rt_text path = {0};
    *fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (*fd >= 0) return RT_OK;
    /* Not every file system can make a file without a name. */
    rt_text_printf(&path, "%s/.rectrain-XXXXXX", folder);
    rc = rt_text_status(&path);
    if (rc != RT_OK) goto done;
    *fd = mkostemp(path.data, O_CLOEXEC);
    if (*fd < 0) {
        rc = rt_fail(RT_EIO, "%s: a temporary file cannot be made there: %s; choose a folder that can be written to",
                     folder, strerror(errno));
        goto done;
    }
    unlink(path.data);
done:
    rt_text_free(&path);
    return rc;
}

rt_status rt_extsort_new(const char *folder, size_t memory, rt_extsort **out) {
    *out = NULL;
    rt_extsort *s = calloc(1, sizeof *s);
    if (!s) return rt_fail(RT_ENOMEM, "no memory to sort");
    s->fd = -1;
    s->memory = memory < RT_EXTSORT_LEAST_MEMORY ? RT_EXTSORT_LEAST_MEMORY : memory;
    /* A record of a few dozen bytes has two entries' worth of company: a third of the memory is for them. */
    s->capacity = s->memory / 3 / (2 * sizeof(entry));
    size_t entry_bytes = s->capacity * 2 * sizeof(entry);
    s->folder = rt_strdup(folder);
    s->bytes = malloc(s->memory - entry_bytes);
    s->entries = malloc(s->capacity * sizeof(entry));
    s->spare = malloc(s->capacity * sizeof(entry));
    s->memory -= entry_bytes;
    if (!s->folder || !s->bytes || !s->entries || !s->spare) {
        rt_extsort_free(s);
        return rt_fail(RT_ENOMEM, "no memory to sort: %zu MiB were asked for; a lower limit needs less", memory >> 20);
    }
    *out = s;
    return RT_OK;
}

static void drop_memory(rt_extsort *s) {
    free(s->bytes);
    free(s->entries);
    free(s->spare);
    s->bytes = NULL;
    s->entries = s->spare = NULL;
}

void rt_extsort_free(rt_extsort *s) {
    if (!s) return;
    drop_memory(s);
    if (s->fd >= 0) close(s->fd);
    free(s->runs);
    free(s->folder);
    free(s);
}

static rt_extsort_record record_at(const unsigned char *at) {
    uint32_t sizes[2];
    memcpy(sizes, at, HEAD);
    return (rt_extsort_record){at + HEAD, at + HEAD + sizes[0], sizes[0], sizes[1]};
}

static int compare_entries(const rt_extsort *s, const entry *a, const entry *b) {
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    rt_extsort_record x = record_at(s->bytes + a->at), y = record_at(s->bytes + b->at);
    return compare_keys(x.key, x.key_size, y.key, y.key_size);
}

/* Bottom-up merge sort: stable, and n log n whatever the keys are. */
static void sort_entries(rt_extsort *s) {
    enum { BLOCK = 16 };
    for (size_t from = 0; from < s->n; from += BLOCK) {
        size_t to = from + BLOCK < s->n ? from + BLOCK : s->n;
        for (size_t i = from + 1; i < to; i++) {
            entry e = s->entries[i];
            size_t j = i;
            for (; j > from && compare_entries(s, &s->entries[j - 1], &e) > 0; j--) s->entries[j] = s->entries[j - 1];
            s->entries[j] = e;
        }
    }
    for (size_t width = BLOCK; width < s->n; width *= 2) {
        for (size_t from = 0; from < s->n; from += 2 * width) {
            size_t middle = from + width < s->n ? from + width : s->n,
                   to = middle + width < s->n ? middle + width : s->n;
            size_t a = from, b = middle, at = from;
            while (a < middle && b < to)
                s->spare[at++] =
                    compare_entries(s, &s->entries[a], &s->entries[b]) <= 0 ? s->entries[a++] : s->entries[b++];
            memcpy(s->spare + at, s->entries + a, (middle - a) * sizeof(entry));
            memcpy(s->spare + at + (middle - a), s->entries + b, (to - b) * sizeof(entry));
        }
        entry *other = s->spare;
        s->spare = s->entries;
        s->entries = other;
    }
}

/* --- runs ----------------------------------------------------------------------------------------------------------
 */

static rt_status write_failed(const rt_extsort *s, int error) {
    bool full = error == ENOSPC || error == EDQUOT;
    return rt_fail(RT_EIO, "%s: a temporary file of %llu MiB there cannot grow: %s%s", s->folder,
                   (unsigned long long)(s->written >> 20), strerror(error),
                   full ? "; make room, choose another folder, or allow more memory" : "");
}

static rt_status write_bytes(rt_extsort *s, const unsigned char *bytes, size_t size) {
    while (size > 0) {
        ssize_t n = pwrite(s->fd, bytes, size, (off_t)s->written);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return write_failed(s, n < 0 ? errno : EIO);
        bytes += n;
        size -= (size_t)n;
        s->written += (uint64_t)n;
    }
    return RT_OK;
}

static rt_status add_run(rt_extsort *s, uint64_t offset) {
    if (s->n_runs == s->runs_capacity) {
        int capacity = s->runs_capacity ? s->runs_capacity * 2 : 16;
        run *runs = realloc(s->runs, (size_t)capacity * sizeof *runs);
        if (!runs) return rt_fail(RT_ENOMEM, "no memory for the list of sorted runs");
        s->runs = runs;
        s->runs_capacity = capacity;
    }
    s->runs[s->n_runs++] = (run){offset, s->written - offset};
    return RT_OK;
}

typedef struct {
    unsigned char *bytes;
    size_t used;
} out_buffer;

static rt_status put_record(rt_extsort *s, out_buffer *b, const rt_extsort_record *r) {
    uint32_t sizes[2] = {(uint32_t)r->key_size, (uint32_t)r->value_size};
    size_t size = HEAD + r->key_size + r->value_size;
    if (b->used + size > WRITE_BUFFER) {
        RT_TRY(write_bytes(s, b->bytes, b->used));
        b->used = 0;
    }
    unsigned char *at = b->bytes + b->used;
    memcpy(at, sizes, HEAD);
    memcpy(at + HEAD, r->key, r->key_size);
    if (r->value_size > 0) memcpy(at + HEAD + r->key_size, r->value, r->value_size);
    b->used += size;
    return RT_OK;
}

/* The records in memory become a run. */
static rt_status spill(rt_extsort *s) {
    rt_status rc = RT_OK;
    out_buffer buffer = {malloc(WRITE_BUFFER + RT_EXTSORT_MAX_RECORD + HEAD), 0};
    uint64_t offset = s->written;
    if (!buffer.bytes) return rt_fail(RT_ENOMEM, "no memory to write a sorted run");
    if (s->fd < 0) RT_GO(rt_unnamed_file(s->folder, &s->fd));
    sort_entries(s);
    for (size_t i = 0; i < s->n; i++) {
        rt_extsort_record r = record_at(s->bytes + s->entries[i].at);
        RT_GO(put_record(s, &buffer, &r));
    }
    RT_GO(write_bytes(s, buffer.bytes, buffer.used));
    RT_GO(add_run(s, offset));
    s->used = s->n = 0;
done:
    free(buffer.bytes);
    return rc;
}

rt_status rt_extsort_add(rt_extsort *s, const void *key, size_t key_size, const void *value, size_t value_size) {
    if (s->finished || key_size > RT_EXTSORT_MAX_RECORD || value_size > RT_EXTSORT_MAX_RECORD - key_size)
        return rt_fail(RT_EINTERNAL, "a record of %zu + %zu bytes for sorting; at most %d are expected", key_size,
                       value_size, (int)RT_EXTSORT_MAX_RECORD);
    size_t size = HEAD + key_size + value_size;
    if (s->n == s->capacity || s->memory - s->used < size) RT_TRY(spill(s));
    uint32_t sizes[2] = {(uint32_t)key_size, (uint32_t)value_size};
    unsigned char *at = s->bytes + s->used;
    memcpy(at, sizes, HEAD);
    memcpy(at + HEAD, key, key_size);
    if (value_size > 0) memcpy(at + HEAD + key_size, value, value_size);
    s->entries[s->n++] = (entry){prefix_of(key, key_size), s->used};
    s->used += size;
    s->records++;
    return RT_OK;
}

/* --- reading -------------------------------------------------------------------------------------------------------
 */

static rt_status fill(const rt_extsort *s, cursor *c, size_t wanted) {
    if (c->stop - c->start >= wanted) return RT_OK;
    if (wanted > c->capacity) {
        unsigned char *buffer = realloc(c->buffer, wanted);
        if (!buffer) return rt_fail(RT_ENOMEM, "no memory to merge sorted runs");
        c->buffer = buffer;
        c->capacity = wanted;
    }
    memmove(c->buffer, c->buffer + c->start, c->stop - c->start);
    c->stop -= c->start;
    c->start = 0;
    while (c->left > 0 && c->stop < c->capacity) {
        size_t room = c->capacity - c->stop;
        ssize_t n = pread(s->fd, c->buffer + c->stop, c->left < room ? (size_t)c->left : room, (off_t)c->offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return rt_fail(RT_EIO, "%s: a temporary file there cannot be read back: %s", s->folder,
                           n < 0 ? strerror(errno) : "it became shorter");
        c->stop += (size_t)n;
        c->offset += (uint64_t)n;
        c->left -= (uint64_t)n;
    }
    if (c->stop - c->start < wanted)
        return rt_fail(RT_EIO, "%s: a temporary file there does not hold what was written", s->folder);
    return RT_OK;
}

static rt_status cursor_next(const rt_extsort *s, cursor *c) {
    if (c->stop == c->start && c->left == 0) {
        c->ended = true;
        return RT_OK;
    }
    RT_TRY(fill(s, c, HEAD));
    rt_extsort_record r = record_at(c->buffer + c->start);
    if (r.key_size > RT_EXTSORT_MAX_RECORD || r.value_size > RT_EXTSORT_MAX_RECORD)
        return rt_fail(RT_EIO, "%s: a temporary file there does not hold what was written", s->folder);
    size_t size = HEAD + r.key_size + r.value_size;
    RT_TRY(fill(s, c, size));
    c->record = record_at(c->buffer + c->start);
    c->prefix = prefix_of(c->record.key, c->record.key_size);
    c->start += size;
    return RT_OK;
}

/* Of equal keys the earlier run's comes first: that keeps the order in which records were added. */
static bool cursor_before(const rt_extsort_reader *r, int a, int b) {
    const cursor *x = &r->cursors[a], *y = &r->cursors[b];
    if (x->prefix != y->prefix) return x->prefix < y->prefix;
    int order = compare_keys(x->record.key, x->record.key_size, y->record.key, y->record.key_size);
    return order ? order < 0 : a < b;
}

static void sift_down(rt_extsort_reader *r, int at) {
    for (;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < r->heap_size; child++)
            if (cursor_before(r, r->heap[child], r->heap[least])) least = child;
        if (least == at) return;
        int moved = r->heap[at];
        r->heap[at] = r->heap[least];
        r->heap[least] = moved;
        at = least;
    }
}

static rt_status open_runs(const rt_extsort *s, int first, int n, rt_extsort_reader **out) {
    rt_status rc = RT_OK;
    rt_extsort_reader *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return rt_fail(RT_ENOMEM, "no memory to read sorted records");
    r->sort = s;
    r->n = n;
    if (n > 0) {
        r->cursors = calloc((size_t)n, sizeof *r->cursors);
        r->heap = malloc((size_t)n * sizeof *r->heap);
        if (!r->cursors || !r->heap) goto no_memory;
        for (int i = 0; i < n; i++) {
            cursor *c = &r->cursors[i];
            c->offset = s->runs[first + i].offset;
            c->left = s->runs[first + i].bytes;
            c->capacity = s->window;
            c->buffer = malloc(c->capacity);
            if (!c->buffer) goto no_memory;
            RT_GO(cursor_next(s, c));
            if (!c->ended) r->heap[r->heap_size++] = i;
        }
        for (int i = r->heap_size / 2 - 1; i >= 0; i--) sift_down(r, i);
    }
    *out = r;
    r = NULL;
    goto done;
no_memory:
    rc = rt_fail(RT_ENOMEM, "no memory to read %d sorted runs of %zu KiB each", n, s->window >> 10);
done:
    rt_extsort_close(r);
    return rc;
}

rt_status rt_extsort_open(const rt_extsort *s, rt_extsort_reader **out) {
    *out = NULL;
    if (!s->finished) return rt_fail(RT_EINTERNAL, "sorted records are read before all were added");
    return open_runs(s, 0, s->n_runs, out);
}

void rt_extsort_close(rt_extsort_reader *r) {
    if (!r) return;
    for (int i = 0; i < r->n && r->cursors; i++) free(r->cursors[i].buffer);
    free(r->cursors);
    free(r->heap);
    free(r);
}

rt_status rt_extsort_next(rt_extsort_reader *r, rt_extsort_record *record) {
    *record = (rt_extsort_record){0};
    if (r->n == 0) {
        const rt_extsort *s = r->sort;
        if (r->next < s->n) *record = record_at(s->bytes + s->entries[r->next++].at);
        return RT_OK;
    }
    /* The record handed out last lies in its cursor's window, so that cursor moves on only now. */
    if (r->started && r->heap_size > 0) {
        cursor *c = &r->cursors[r->heap[0]];
        RT_TRY(cursor_next(r->sort, c));
        if (c->ended) r->heap[0] = r->heap[--r->heap_size];
        sift_down(r, 0);
    }
    r->started = true;
    if (r->heap_size > 0) *record = r->cursors[r->heap[0]].record;
    return RT_OK;
}

/* Runs first .. first + n - 1 become one, which takes the place of the first. */
static rt_status merge_runs(rt_extsort *s, int first, int n) {
    rt_status rc = RT_OK;
    rt_extsort_reader *reader = NULL;
    out_buffer buffer = {malloc(WRITE_BUFFER + RT_EXTSORT_MAX_RECORD + HEAD), 0};
    uint64_t offset = s->written;
    rt_extsort_record r;
    if (!buffer.bytes) return rt_fail(RT_ENOMEM, "no memory to merge sorted runs");
    RT_GO(open_runs(s, first, n, &reader));
    for (;;) {
        RT_GO(rt_extsort_next(reader, &r));
        if (!r.key) break;
        RT_GO(put_record(s, &buffer, &r));
    }
    RT_GO(write_bytes(s, buffer.bytes, buffer.used));
    /* The file keeps its length; the merged pieces give their blocks back where the file system can. */
    for (int i = first; i < first + n; i++)
        (void)!fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->runs[i].offset,
                         (off_t)s->runs[i].bytes);
    s->runs[first] = (run){offset, s->written - offset};
    memmove(s->runs + first + 1, s->runs + first + n, (size_t)(s->n_runs - first - n) * sizeof *s->runs);
    s->n_runs -= n - 1;
done:
    rt_extsort_close(reader);
    free(buffer.bytes);
    return rc;
}

rt_status rt_extsort_finish(rt_extsort *s, size_t reader_memory) {
    if (s->n_runs == 0) {
        sort_entries(s);
        s->finished = true;
        return RT_OK;
    }
    if (s->n > 0) RT_TRY(spill(s));
    drop_memory(s);
    size_t ways = reader_memory / LEAST_WINDOW;
    int most = ways < 2 ? 2 : ways > 1024 ? 1024 : (int)ways;
    while (s->n_runs > most) {
        /* Neighbours only, so that equal keys stay in order; all of a level before the next. */
        s->window = LEAST_WINDOW;
        int before = s->n_runs;
        for (int first = 0; first < s->n_runs && s->n_runs > most; first++) {
            int n = s->n_runs - first < most ? s->n_runs - first : most;
            if (n > 1) RT_TRY(merge_runs(s, first, n));
        }
        if (s->n_runs >= before) return rt_fail(RT_EINTERNAL, "merging %d sorted runs came to nothing", before);
    }
    s->window = reader_memory / (size_t)s->n_runs;
    if (s->window < LEAST_WINDOW) s->window = LEAST_WINDOW;
    if (s->window > (4 << 20)) s->window = 4 << 20;
    s->finished = true;
    return RT_OK;
}

uint64_t rt_extsort_records(const rt_extsort *s) {
    return s->records;
}
uint64_t rt_extsort_file_bytes(const rt_extsort *s) {
    return s->written;
}
int rt_extsort_runs(const rt_extsort *s) {
    return s->n_runs;
}
