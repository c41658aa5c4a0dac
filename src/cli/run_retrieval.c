#include "run_retrieval.h"
#include "../recommend/ids.h"
#include <stdlib.h>
#include <string.h>

/* A hash as an id among ids: a number in order of appearance; *added: it was not there. */
static rt_status number(rt_ids *ids, uint64_t hash, uint32_t *out, bool *added) {
    const uint32_t before = rt_ids_count(ids);
    RT_TRY(rt_ids_add(ids, (const char *)&hash, sizeof hash, out));
    *added = rt_ids_count(ids) > before;
    return RT_OK;
}

/* Token ids of texts, end to end, on their way to a rt_token_texts. */
typedef struct {
    int32_t *ids;
    uint64_t *starts;
    uint32_t n;
    size_t ids_capacity, starts_capacity;
} token_list;

static bool room(void *array, size_t size, size_t need, size_t *capacity) {
    if (need <= *capacity) return true;
    void *grown = realloc(*(void **)array, 2 * need * size);
    if (!grown) return false;
    *(void **)array = grown;
    *capacity = 2 * need;
    return true;
}

static rt_status add_text(token_list *l, const rt_dataset *ds, uint32_t record) {
    const size_t length = rt_dataset_lengths(ds)[record];
    if (!room(&l->starts, sizeof *l->starts, (size_t)l->n + 2, &l->starts_capacity))
        return rt_fail(RT_ENOMEM, "out of memory for %u texts", l->n);
    if (l->n == 0) l->starts[0] = 0;
    const uint64_t at = l->starts[l->n];
    int split;
    if (!room(&l->ids, sizeof *l->ids, (size_t)at + length, &l->ids_capacity))
        return rt_fail(RT_ENOMEM, "out of memory for the tokens of %u texts", l->n);
    RT_TRY(rt_dataset_tokens(ds, record, l->ids + at, &split));
    l->starts[++l->n] = at + length;
    return RT_OK;
}

typedef struct {
    rt_ids *items, *queries;
    token_list item_texts, query_texts;
    uint64_t *edges; /* query << 32 | item */
    size_t n_edges, edges_capacity;
} builder;

/* Hashes of record `side` of each row, window by window; the item's own where it has one, else its text's. */
typedef struct {
    uint64_t texts[1024], items[1024];
    uint32_t first, n;
} window;

static rt_status look(const rt_dataset *ds, uint32_t record, window *w) {
    if (record >= w->first && record - w->first < w->n) return RT_OK;
    const uint32_t left = rt_dataset_rows(ds) - record;
    w->first = record;
    w->n = left < 1024 ? left : 1024;
    RT_TRY(rt_dataset_hashes(ds, RT_HASH_TEXT, w->first, w->n, w->texts));
    return rt_dataset_hashes(ds, RT_HASH_ITEM, w->first, w->n, w->items);
}

static rt_status item_hash(const rt_dataset *ds, uint32_t record, window *w, uint64_t *hash) {
    RT_TRY(look(ds, record, w));
    const uint32_t i = record - w->first;
    *hash = w->items[i] ? w->items[i] : w->texts[i];
    return RT_OK;
}

/* The items of a set: record `side` of each of its rows. */
static rt_status take_items(builder *b, const rt_dataset *ds, uint32_t side) {
    window w = {0};
    const uint32_t sides = (uint32_t)rt_dataset_sides(ds), n = rt_dataset_examples(ds);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = 0;
        uint32_t item;
        bool added;
        RT_TRY(item_hash(ds, i * sides + side, &w, &hash));
        RT_TRY(number(b->items, hash, &item, &added));
        if (added) RT_TRY(add_text(&b->item_texts, ds, i * sides + side));
    }
    return RT_OK;
}

static rt_status take_queries(builder *b, const rt_dataset *ds, uint64_t *left_out) {
    window w = {0};
    const uint32_t sides = (uint32_t)rt_dataset_sides(ds), n = rt_dataset_examples(ds);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = 0;
        uint32_t query;
        bool added;
        RT_TRY(look(ds, i * sides, &w));
        const uint64_t text = w.texts[i * sides - w.first];
        RT_TRY(item_hash(ds, i * sides + 1, &w, &hash));
        const uint32_t item = rt_ids_find(b->items, (const char *)&hash, sizeof hash);
        if (item == RT_NO_ID) {
            ++*left_out;
            continue;
        }
        RT_TRY(number(b->queries, text, &query, &added));
        if (added) RT_TRY(add_text(&b->query_texts, ds, i * sides));
        if (!room(&b->edges, sizeof *b->edges, b->n_edges + 1, &b->edges_capacity))
            return rt_fail(RT_ENOMEM, "out of memory for %zu pairs", b->n_edges);
        b->edges[b->n_edges++] = (uint64_t)query << 32 | item;
    }
    return RT_OK;
}

static int rising(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Edges to relevant items of each query, each once. */
static rt_status relate(builder *b, uint32_t **relevant, uint64_t **starts) {
    qsort(b->edges, b->n_edges, sizeof *b->edges, rising);
    *relevant = malloc(b->n_edges * sizeof **relevant + 1);
    *starts = calloc((size_t)rt_ids_count(b->queries) + 1, sizeof **starts);
    if (!*relevant || !*starts) return rt_fail(RT_ENOMEM, "out of memory for %zu pairs", b->n_edges);
    size_t n = 0;
    for (size_t e = 0; e < b->n_edges; e++) {
        if (e > 0 && b->edges[e] == b->edges[e - 1]) continue;
        (*relevant)[n++] = (uint32_t)b->edges[e];
        (*starts)[(b->edges[e] >> 32) + 1] = n;
    }
    return RT_OK;
}

void rt_run_catalogue_free(rt_run_catalogue *c) {
    for (size_t i = 0; i < sizeof c->memory / sizeof c->memory[0]; i++) free(c->memory[i]);
    *c = (rt_run_catalogue){0};
}

rt_status rt_run_catalogue_new(const rt_dataset *ds, const rt_dataset *train, const rt_dataset *items,
                               rt_run_catalogue *out) {
    builder b = {0};
    uint32_t *relevant = NULL;
    uint64_t *starts = NULL;
    rt_status rc = RT_OK;
    *out = (rt_run_catalogue){0};
    RT_GO(rt_ids_new(&b.items));
    RT_GO(rt_ids_new(&b.queries));
    if (items) {
        RT_GO(take_items(&b, items, 0));
    } else {
        RT_GO(take_items(&b, train, 1));
        RT_GO(take_items(&b, ds, 1));
    }
    RT_GO(take_queries(&b, ds, &out->left_out));
    if (!b.query_texts.n)
        RT_GO(rt_fail(RT_EDATA,
                      "no item of the rows to evaluate stands in contrastive.items; data.item names the column "
                      "of its id in both"));
    RT_GO(relate(&b, &relevant, &starts));
    out->catalogue = (rt_catalogue){.queries = {b.query_texts.n, b.query_texts.ids, b.query_texts.starts},
                                    .items = {b.item_texts.n, b.item_texts.ids, b.item_texts.starts},
                                    .relevant = relevant,
                                    .starts = starts};
done:
    memcpy(
        out->memory,
        ((void *[]){b.query_texts.ids, b.query_texts.starts, b.item_texts.ids, b.item_texts.starts, relevant, starts}),
        sizeof out->memory);
    free(b.edges);
    rt_ids_free(b.items);
    rt_ids_free(b.queries);
    if (rc != RT_OK) rt_run_catalogue_free(out);
    return rc;
}
