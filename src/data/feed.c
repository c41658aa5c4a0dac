#include "feed.h"
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 };

typedef struct {
    void *host, *device; /* device: NULL where the backend's memory is the host's */
    rt_batch_buffer buffer;
    rt_batch batch; /* as the backend sees it */
} slot;

struct rt_feed {
    rt_backend *be;
    slot slots[SLOTS];
    int n_slots, at;
    size_t bytes;
};

rt_status rt_feed_new(rt_backend *be, int max_tokens, int max_seqs, rt_feed **out) {
    rt_status rc = RT_OK;
    size_t bytes;
    RT_TRY(rt_batch_buffer_bytes(max_tokens, max_seqs, &bytes));
    rt_feed *f = calloc(1, sizeof *f);
    if (!f) return rt_fail(RT_ENOMEM, "out of memory for batches");
    f->be = be;
    f->bytes = bytes;
    f->n_slots = be->host_memory ? 1 : SLOTS;
    for (int i = 0; i < f->n_slots; i++) {
        slot *s = &f->slots[i];
        RT_GO(be->alloc_host(be, bytes, "a batch", &s->host));
        rt_batch_buffer_place(s->host, max_tokens, max_seqs, &s->buffer);
        if (!be->host_memory) RT_GO(be->alloc(be, s->buffer.batch_bytes, "a batch", &s->device));
    }
    *out = f;
    return RT_OK;
done:
    rt_feed_free(f);
    return rc;
}

void rt_feed_free(rt_feed *f) {
    if (!f) return;
    rt_backend *be = f->be;
    for (int i = 0; i < f->n_slots; i++) {
        slot *s = &f->slots[i];
        if (s->device) be->release(be, s->device, s->buffer.batch_bytes);
        if (s->host) be->release_host(be, s->host, f->bytes);
    }
    free(f);
}

rt_status rt_feed_begin(rt_feed *f, rt_batch_buffer **out) {
    if (!f->be->host_memory) RT_TRY(f->be->upload_wait(f->be, f->at));
    *out = &f->slots[f->at].buffer;
    return RT_OK;
}

rt_status rt_feed_send(rt_feed *f, const rt_batch **batch) {
    slot *s = &f->slots[f->at];
    *batch = &s->buffer.batch;
    if (f->be->host_memory) return RT_OK;
    RT_TRY(f->be->upload_start(f->be, f->at, s->device, s->host, s->buffer.batch_bytes));
    RT_TRY(f->be->upload_use(f->be, f->at));
    s->batch = rt_batch_at(&s->buffer.batch, s->host, s->device);
    *batch = &s->batch;
    return RT_OK;
}

rt_status rt_feed_end(rt_feed *f) {
    if (f->be->host_memory) return RT_OK;
    RT_TRY(f->be->upload_done(f->be, f->at));
    f->at = (f->at + 1) % f->n_slots;
    return RT_OK;
}
