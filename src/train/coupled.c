#include "coupled.h"
#include <stdlib.h>
#include <string.h>

struct rt_coupled {
    rt_train_job job;
    rt_coupling view;
    int sides, width; /* of a vector */
    size_t most;      /* texts of a step */
    uint32_t *records;
    uint64_t *order; /* pair << 32 | row of the step, rising: from a record to its place */
    int *places;
    uint64_t *users, *items, *texts;
    unsigned char *missing;
    float *log_share;
    /* Several ranks: vectors as they travel, each with its place behind it; backend memory, and the host's. */
    float *shared, *host;
    int64_t *starts; /* [ranks + 1] */
};

static size_t shared_bytes(const rt_coupled *c) {
    return c->most * ((size_t)c->width + 1) * sizeof *c->shared;
}

void rt_coupled_free(rt_coupled *c) {
    if (!c) return;
    rt_backend *be = c->job.encoder->model->be;
    if (c->shared) be->release(be, c->shared, shared_bytes(c));
    free(c->host);
    free(c->records);
    free(c->order);
    free(c->places);
    free(c->users);
    free(c->items);
    free(c->texts);
    free(c->missing);
    free(c->log_share);
    free(c->starts);
    free(c);
}

rt_status rt_coupled_new(const rt_train_job *job, rt_coupled **out) {
    rt_status rc = RT_OK;
    const size_t rows = (size_t)job->settings.batch_size;
    rt_coupled *c = calloc(1, sizeof *c);
    if (!c) return rt_fail(RT_ENOMEM, "out of memory for the training step");
    c->job = *job;
    c->sides = job->pairs->sides;
    c->most = rows * (size_t)c->sides;
    c->records = calloc(c->most, sizeof *c->records);
    c->order = calloc(rows, sizeof *c->order);
    c->places = calloc(c->most, sizeof *c->places);
    c->users = calloc(rows, sizeof *c->users);
    c->items = calloc(rows, sizeof *c->items);
    c->texts = calloc(c->most, sizeof *c->texts);
    c->missing = calloc(c->most, sizeof *c->missing);
    c->log_share = calloc(rows, sizeof *c->log_share);
    c->starts = calloc((size_t)job->comm->size + 1, sizeof *c->starts);
    if (!c->records || !c->order || !c->places || !c->users || !c->items || !c->texts || !c->missing || !c->log_share ||
        !c->starts)
        RT_GO(rt_fail(RT_ENOMEM, "out of memory for steps of %zu texts", c->most));
    (void)job->objective->vectors(job->objective, &c->width);
    if (job->comm->size > 1) {
        rt_backend *be = job->encoder->model->be;
        c->host = malloc(shared_bytes(c));
        if (!c->host) RT_GO(rt_fail(RT_ENOMEM, "out of memory for the vectors of %zu texts", c->most));
        RT_GO(be->alloc(be, shared_bytes(c), "vectors of all ranks", (void **)&c->shared));
    }
    *out = c;
    return RT_OK;
done:
    rt_coupled_free(c);
    return rc;
}

static int rising(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Where the step has a record: side * rows + row. */
static int place_of(const rt_coupled *c, uint32_t record) {
    const uint32_t pair = record / (uint32_t)c->sides;
    int low = 0, high = c->view.rows - 1;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if ((uint32_t)(c->order[middle] >> 32) < pair)
            low = middle + 1;
        else
            high = middle;
    }
    return (int)(record % (uint32_t)c->sides) * c->view.rows + (int)(uint32_t)c->order[low];
}

rt_status rt_coupled_begin(rt_coupled *c, const uint32_t *rows, int n, const float *weights, const uint32_t **records) {
    const rt_pairs *pairs = c->job.pairs;
    const uint16_t *lengths = rt_dataset_lengths(c->job.data);
    enum { EMPTY = 2 }; /* [CLS] [SEP] */
    for (int i = 0; i < n; i++) {
        c->order[i] = (uint64_t)rows[i] << 32 | (uint32_t)i;
        c->users[i] = pairs->users[rows[i]];
        c->items[i] = pairs->items[rows[i]];
        if (pairs->log_share) c->log_share[i] = pairs->log_share[rows[i]];
        for (int side = 0; side < c->sides; side++) {
            const uint32_t record = rows[i] * (uint32_t)c->sides + (uint32_t)side;
            const int place = side * n + i;
            c->records[i * c->sides + side] = record;
            c->texts[place] = pairs->texts[record];
            c->missing[place] = side > 1 && lengths[record] <= EMPTY;
        }
    }
    qsort(c->order, (size_t)n, sizeof *c->order, rising);
    c->view = (rt_coupling){.rows = n,
                            .sides = c->sides,
                            .places = c->places,
                            .weights = weights,
                            .users = c->users,
                            .items = c->items,
                            .texts = c->texts,
                            .missing = c->missing,
                            .log_share = pairs->log_share ? c->log_share : NULL,
                            .leads = c->job.comm->rank == 0};
    *records = c->records;
    return RT_OK;
}

const rt_coupling *rt_coupled_place(rt_coupled *c, const rt_plan *plan) {
    const int n = plan->starts[plan->n_micro];
    for (int i = 0; i < n; i++) c->places[i] = place_of(c, plan->rows[i]);
    c->view.n_micro = plan->n_micro;
    c->view.starts = plan->starts;
    return &c->view;
}

rt_status rt_coupled_exchange(rt_coupled *c, const rt_plan *plan) {
    rt_comm *comm = c->job.comm;
    rt_backend *be = c->job.encoder->model->be;
    if (comm->size == 1) return RT_OK;
    const size_t width = (size_t)c->width, element = width + 1;
    float *vectors = c->job.objective->vectors(c->job.objective, &c->width);
    for (int r = 0; r < comm->size; r++) c->starts[r + 1] = c->starts[r] + rt_plan_count(plan, r);
    const size_t own = (size_t)c->starts[comm->rank], n = (size_t)c->starts[comm->rank + 1] - own;
    const size_t all = (size_t)c->starts[comm->size];
    for (size_t i = 0; i < n; i++) {
        const int32_t place = c->places[i];
        memcpy(c->host + (own + i) * element, vectors + (size_t)place * width, width * sizeof *vectors);
        memcpy(c->host + (own + i) * element + width, &place, sizeof place);
    }
    if (n) RT_TRY(be->upload(be, c->shared + own * element, c->host + own * element, n * element * sizeof *c->shared));
    RT_TRY(comm->all_gather(comm, c->shared, c->starts, element * sizeof *c->shared));
    RT_TRY(be->download(be, c->host, c->shared, all * element * sizeof *c->shared));
    for (size_t i = 0; i < all; i++) {
        int32_t place;
        memcpy(&place, c->host + i * element + width, sizeof place);
        if (place < 0 || place >= c->view.rows * c->sides)
            return rt_fail(RT_EINTERNAL, "a vector for place %d of %d came from another rank", place,
                           c->view.rows * c->sides);
        memcpy(vectors + (size_t)place * width, c->host + i * element, width * sizeof *vectors);
    }
    return RT_OK;
}
