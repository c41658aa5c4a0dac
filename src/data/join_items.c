/* The items of a join: texts in a mapped file without a name, an index by id in memory. */
#include "join_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD = 12, BUFFER = 256 << 10 };

struct rt_join_items {
    char *folder;
    size_t limit;
    int fd;
    uint64_t written; /* to the file; what follows is in the buffer */
    rt_text buffer, back;
    unsigned char *map;
    size_t map_bytes;
    uint64_t *offsets, *hashes; /* [capacity] */
    uint32_t n, capacity;
    uint32_t *slots; /* number + 1 by hash, 0 free */
    size_t n_slots;
};

rt_status rt_join_items_new(const char *folder, size_t memory, rt_join_items **out) {
    *out = NULL;
    rt_join_items *s = calloc(1, sizeof *s);
    if (!s) return rt_fail(RT_ENOMEM, "no memory for the items");
    s->fd = -1;
    s->limit = memory;
    s->folder = rt_strdup(folder);
    rt_status rc = s->folder ? rt_unnamed_file(folder, &s->fd) : rt_fail(RT_ENOMEM, "no memory for the items");
    if (rc != RT_OK) {
        rt_join_items_free(s);
        return rc;
    }
    *out = s;
    return RT_OK;
}

void rt_join_items_free(rt_join_items *s) {
    if (!s) return;
    if (s->map) munmap(s->map, s->map_bytes);
    if (s->fd >= 0) close(s->fd);
    rt_text_free(&s->buffer);
    rt_text_free(&s->back);
    free(s->offsets);
    free(s->hashes);
    free(s->slots);
    free(s->folder);
    free(s);
}

size_t rt_join_items_memory(const rt_join_items *s) {
    return (size_t)s->capacity * 16 + s->n_slots * sizeof *s->slots + BUFFER;
}

static rt_status flush(rt_join_items *s) {
    size_t done = 0;
    RT_TRY(rt_text_status(&s->buffer));
    while (done < s->buffer.size) {
        ssize_t n = pwrite(s->fd, s->buffer.data + done, s->buffer.size - done, (off_t)(s->written + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return rt_fail(RT_EIO, "%s: a temporary file for the items' texts cannot grow: %s; make room there",
                           s->folder, n < 0 ? strerror(errno) : "nothing was written");
        done += (size_t)n;
    }
    s->written += done;
    rt_text_clear(&s->buffer);
    return RT_OK;
}

static rt_join_item item_at(const char *at) {
    rt_join_item item;
    memcpy(&item.id_size, at, 4);
    memcpy(&item.title_size, at + 4, 4);
    memcpy(&item.category_size, at + 8, 4);
    item.id = at + HEAD;
    item.title = item.id + item.id_size;
    item.category = item.title + item.title_size;
    return item;
}

/* An item's record while the file is still being written: from the buffer, or read back. */
static rt_status read_back(rt_join_items *s, uint32_t number, rt_join_item *item) {
    uint64_t offset = s->offsets[number],
             end = number + 1 < s->n ? s->offsets[number + 1] : s->written + s->buffer.size;
    size_t size = (size_t)(end - offset);
    if (offset >= s->written) {
        *item = item_at(s->buffer.data + (offset - s->written));
        return RT_OK;
    }
    if (end > s->written) RT_TRY(flush(s));
    rt_text_clear(&s->back);
    while (s->back.size < size) {
        char piece[4096];
        size_t room = size - s->back.size < sizeof piece ? size - s->back.size : sizeof piece;
        ssize_t n = pread(s->fd, piece, room, (off_t)(offset + s->back.size));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return rt_fail(RT_EIO, "%s: a temporary file cannot be read back: %s", s->folder,
                           n < 0 ? strerror(errno) : "it became shorter");
        rt_text_append(&s->back, piece, (size_t)n);
        RT_TRY(rt_text_status(&s->back));
    }
    *item = item_at(s->back.data);
    return RT_OK;
}

static rt_status grow(rt_join_items *s) {
    uint32_t capacity = s->capacity ? s->capacity * 2 : 1024;
    size_t n_slots = (size_t)capacity * 2;
    if (capacity > (uint32_t)1 << 30)
        return rt_fail(RT_EDATA, "more than %u items; join the log in parts", s->capacity);
    if ((size_t)capacity * 16 + n_slots * sizeof *s->slots + BUFFER > s->limit)
        return rt_fail(RT_EUNAVAILABLE,
                       "the index of more than %u items takes more than half of the memory allowed; raise --memory "
                       "(about 60 bytes an item, twice)",
                       s->n);
    uint64_t *offsets = realloc(s->offsets, capacity * sizeof *offsets);
    if (offsets) s->offsets = offsets;
    uint64_t *hashes = realloc(s->hashes, capacity * sizeof *hashes);
    if (hashes) s->hashes = hashes;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!offsets || !hashes || !slots) {
        free(slots);
        return rt_fail(RT_ENOMEM, "no memory for an index of %u items", capacity);
    }
    free(s->slots);
    s->slots = slots;
    s->n_slots = n_slots;
    s->capacity = capacity;
    for (uint32_t i = 0; i < s->n; i++) {
        size_t slot = (size_t)s->hashes[i] & (n_slots - 1);
        while (slots[slot]) slot = (slot + 1) & (n_slots - 1);
        slots[slot] = i + 1;
    }
    return RT_OK;
}

rt_status rt_join_items_add(rt_join_items *s, const rt_join_item *item, rt_item_fate *fate) {
    if (s->n == s->capacity) RT_TRY(grow(s));
    uint64_t hash = rt_hash64(item->id, item->id_size);
    size_t slot = (size_t)hash & (s->n_slots - 1);
    for (; s->slots[slot]; slot = (slot + 1) & (s->n_slots - 1)) {
        uint32_t number = s->slots[slot] - 1;
        rt_join_item other;
        if (s->hashes[number] != hash) continue;
        RT_TRY(read_back(s, number, &other));
        if (other.id_size != item->id_size || memcmp(other.id, item->id, item->id_size) != 0) continue;
        bool same = other.title_size == item->title_size && !memcmp(other.title, item->title, item->title_size);
        *fate = same ? RT_ITEM_AGAIN : RT_ITEM_DIFFERS;
        return RT_OK;
    }
    s->offsets[s->n] = s->written + s->buffer.size;
    s->hashes[s->n] = hash;
    s->slots[slot] = ++s->n;
    rt_text_append(&s->buffer, (const char *)&item->id_size, 4);
    rt_text_append(&s->buffer, (const char *)&item->title_size, 4);
    rt_text_append(&s->buffer, (const char *)&item->category_size, 4);
    rt_text_append(&s->buffer, item->id, item->id_size);
    rt_text_append(&s->buffer, item->title, item->title_size);
    rt_text_append(&s->buffer, item->category, item->category_size);
    *fate = RT_ITEM_ADDED;
    return s->buffer.size >= BUFFER ? flush(s) : RT_OK;
}

rt_status rt_join_items_finish(rt_join_items *s) {
    RT_TRY(flush(s));
    rt_text_free(&s->buffer);
    rt_text_free(&s->back);
    if (s->written == 0) return RT_OK;
    void *map = mmap(NULL, (size_t)s->written, PROT_READ, MAP_SHARED, s->fd, 0);
    if (map == MAP_FAILED)
        return rt_fail(RT_EIO, "%s: a temporary file of %llu MiB cannot be mapped: %s", s->folder,
                       (unsigned long long)(s->written >> 20), strerror(errno));
    s->map = map;
    s->map_bytes = (size_t)s->written;
    return RT_OK;
}

uint32_t rt_join_items_count(const rt_join_items *s) {
    return s->n;
}

rt_join_item rt_join_items_get(const rt_join_items *s, uint32_t number) {
    return item_at((const char *)s->map + s->offsets[number]);
}

uint32_t rt_join_items_find(const rt_join_items *s, const char *id, size_t size) {
    if (!s->n_slots) return RT_JOIN_NO_ITEM;
    uint64_t hash = rt_hash64(id, size);
    for (size_t slot = (size_t)hash & (s->n_slots - 1); s->slots[slot]; slot = (slot + 1) & (s->n_slots - 1)) {
        uint32_t number = s->slots[slot] - 1;
        if (s->hashes[number] != hash) continue;
        rt_join_item item = rt_join_items_get(s, number);
        if (item.id_size == size && !memcmp(item.id, id, size)) return number;
    }
    return RT_JOIN_NO_ITEM;
}
