#include "catalogue.h"
#include "embedder.h"
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BATCHES = 2,     /* a block: texts of so many batches, so that the embedder can sort them by length */
    BLOCK_TEXTS = 1 << 14, /* and at most so many */
    WINDOW = 1 << 13,      /* queries that are searched together */
    SEARCHED = 1 << 14,    /* items between two signs of life, at most */
};

typedef struct {
    const rt_catalogue *catalogue;
    rt_comm *comm;
    const rt_catalogue_options *options;
    rt_backend *be;
    rt_embedder *embedder;
    size_t width;
    float *items, *window;        /* rank 0: [items.n, width], [WINDOW, width] */
    rt_hit *hits;                 /* rank 0: [WINDOW, RT_RETRIEVAL_DEPTH] */
    size_t *sizes;                /* rank 0: of what each rank sent */
    uint32_t blocks_done, blocks; /* of all texts */
} work;

/* The end of the block that begins with text `first`; windows of queries end blocks too. */
static uint32_t block_end(const work *w, const rt_token_texts *texts, uint32_t first, uint32_t end) {
    uint64_t most = (uint64_t)w->options->batch_tokens * BLOCK_BATCHES;
    uint32_t at = first + 1;
    while (at < end && at - first < BLOCK_TEXTS && texts->starts[at + 1] - texts->starts[first] <= most) at++;
    return at;
}

static uint32_t count_blocks(const work *w, const rt_token_texts *texts, uint32_t window) {
    uint32_t blocks = 0;
    for (uint32_t first = 0; first < texts->n;) {
        uint32_t left = texts->n - first, end = first + (left < window ? left : window);
        for (; first < end; blocks++) first = block_end(w, texts, first, end);
    }
    return blocks;
}

static rt_status embed_block(work *w, const rt_token_texts *texts, uint32_t first, uint32_t end,
                             const float **vectors) {
    for (uint32_t i = first; i < end; i++)
        RT_TRY(rt_embedder_add_ids(w->embedder, texts->ids + texts->starts[i],
                                   (int)(texts->starts[i + 1] - texts->starts[i])));
    return rt_embedder_run(w->embedder, vectors);
}

/* The stop of one rank stops all, before the same block. */
static rt_status stopped(const work *w) {
    uint32_t stop = w->options->stop && w->options->stop(w->options->context);
    RT_TRY(w->comm->agree(w->comm, &stop));
    return stop ? rt_fail(RT_ESTOPPED, "evaluation stopped by a signal") : RT_OK;
}

/* A block of each rank, from text `first` on: rank 0's vectors of them all go to `out`. */
static rt_status embed_round(work *w, const rt_token_texts *texts, uint32_t *first, uint32_t end, float *out) {
    rt_comm *c = w->comm;
    rt_status rc = RT_OK;
    uint32_t mine = 0, mine_end = 0, at = *first;
    const float *vectors = NULL;
    char *all = NULL;
    for (int r = 0; r < c->size && at < end; r++) {
        uint32_t next = block_end(w, texts, at, end);
        if (r == c->rank) mine = at, mine_end = next;
        at = next;
        w->blocks_done++;
    }
    size_t row = w->width * sizeof(float), bytes = (size_t)(mine_end - mine) * row;
    if (bytes) RT_GO(embed_block(w, texts, mine, mine_end, &vectors));
    if (c->rank == 0) memcpy(out, vectors, bytes);
    if (c->size > 1) {
        RT_GO(c->gather(c, vectors ? (const void *)vectors : "", c->rank ? bytes : 0, (void **)&all, w->sizes));
        size_t rest = (size_t)(at - *first) * row - bytes, sent = 0;
        for (int r = 0; r < c->size && c->rank == 0; r++) sent += w->sizes[r];
        if (c->rank == 0 && sent != rest)
            RT_GO(rt_fail(RT_EINTERNAL, "ranks sent %zu bytes of vectors where %zu were due", sent, rest));
        if (c->rank == 0) memcpy((char *)out + bytes, all, rest);
    }
    *first = at;
done:
    free(all);
    return rc;
}

/* Vectors of texts [first, end) to rank 0's `out`. */
static rt_status embed(work *w, const rt_token_texts *texts, uint32_t first, uint32_t end, float *out) {
    for (uint32_t at = first; at < end;) {
        RT_TRY(stopped(w));
        rt_comm_note(w->comm, "evaluating", w->blocks_done);
        RT_TRY(embed_round(w, texts, &at, end, w->comm->rank ? NULL : out + (size_t)(at - first) * w->width));
        if (w->options->progress) w->options->progress(w->options->context, w->blocks_done, w->blocks);
    }
    return RT_OK;
}

static rt_status search(work *w, uint32_t n_queries) {
    rt_status rc = RT_OK;
    rt_topk *topk = NULL;
    uint32_t n = w->catalogue->items.n;
    RT_GO(rt_topk_new(
        &(rt_topk_options){
            .be = w->be, .width = (int)w->width, .k = RT_RETRIEVAL_DEPTH, .n_queries = n_queries, .queries = w->window},
        &topk));
    uint32_t rows = rt_topk_rows(topk), step = rows < SEARCHED ? rows : SEARCHED;
    for (uint32_t at = 0; at < n;) {
        uint32_t some = n - at < step ? n - at : step;
        RT_GO(rt_topk_add(topk, w->items + (size_t)at * w->width, at, some));
        at += some;
        rt_comm_note(w->comm, "evaluating", w->blocks_done);
    }
    RT_GO(rt_topk_finish(topk, w->hits));
done:
    rt_topk_free(topk);
    return rc;
}

static rt_status run(work *w, rt_retrieval_metrics *out) {
    const rt_catalogue *c = w->catalogue;
    rt_retrieval_sums sums = {.k = RT_RETRIEVAL_DEPTH};
    RT_TRY(embed(w, &c->items, 0, c->items.n, w->items));
    for (uint32_t first = 0; first < c->queries.n;) {
        uint32_t left = c->queries.n - first, n = left < WINDOW ? left : WINDOW;
        RT_TRY(embed(w, &c->queries, first, first + n, w->window));
        if (w->comm->rank == 0) {
            RT_TRY(search(w, n));
            RT_TRY(rt_retrieval_add(&sums, &(rt_ranked){.n_queries = n,
                                                        .n_items = c->items.n,
                                                        .k = RT_RETRIEVAL_DEPTH,
                                                        .hits = w->hits,
                                                        .relevant = c->relevant,
                                                        .starts = c->starts + first}));
        }
        first += n;
    }
    if (w->comm->rank == 0) rt_retrieval_finish(&sums, c->items.n, out);
    return RT_OK;
}

static rt_status longest_of(const rt_token_texts *texts, const char *what, int *longest) {
    for (uint32_t i = 0; i < texts->n; i++) {
        uint64_t n = texts->starts[i + 1] - texts->starts[i];
        if (texts->starts[i + 1] < texts->starts[i] || n < 1 || n > INT32_MAX)
            return rt_fail(RT_EINTERNAL, "%s %u has %lld tokens", what, i, (long long)n);
        if ((int)n > *longest) *longest = (int)n;
    }
    return RT_OK;
}

rt_status rt_retrieve_evaluate(rt_encoder *encoder, const rt_catalogue *catalogue, rt_comm *comm,
                               const rt_catalogue_options *options, rt_retrieval_metrics *out) {
    rt_status rc = RT_OK;
    work w = {.catalogue = catalogue, .comm = comm, .options = options, .be = encoder->model->be};
    rt_embedder_options embedding = {.encoder = encoder,
                                     .encode = {.max_length = 1},
                                     .batch_tokens = options->batch_tokens,
                                     .max_seqs = options->max_seqs,
                                     .width = options->width,
                                     .unit = options->unit};
    RT_GO(longest_of(&catalogue->items, "item", &embedding.encode.max_length));
    RT_GO(longest_of(&catalogue->queries, "query", &embedding.encode.max_length));
    RT_GO(rt_embedder_new(&embedding, &w.embedder));
    w.width = (size_t)rt_embedder_width(w.embedder);
    w.blocks = count_blocks(&w, &catalogue->items, UINT32_MAX) + count_blocks(&w, &catalogue->queries, WINDOW);
    if (comm->rank == 0) {
        size_t window = catalogue->queries.n < WINDOW ? catalogue->queries.n : WINDOW;
        w.items = malloc((size_t)catalogue->items.n * w.width * sizeof *w.items + 1);
        w.window = malloc(window * w.width * sizeof *w.window + 1);
        w.hits = malloc(window * RT_RETRIEVAL_DEPTH * sizeof *w.hits + 1);
        w.sizes = calloc((size_t)comm->size, sizeof *w.sizes);
        if (!w.items || !w.window || !w.hits || !w.sizes)
            RT_GO(rt_fail(RT_ENOMEM, "out of memory for the vectors of %u items", catalogue->items.n));
    }
    RT_GO(run(&w, out));
done:
    rt_embedder_free(w.embedder);
    free(w.items);
    free(w.window);
    free(w.hits);
    free(w.sizes);
    return rc;
}
