#include "../track/track.h"
#include "search.h"
#include "signals.h"
#include <stdlib.h>
#include <string.h>

enum { NO_CATEGORY = UINT32_MAX - 1 }; /* of an item that the file does not name: no query's */

typedef struct {
    rt_cli *cli;
    rt_ids *items, *queries; /* numbers are rows */
    uint32_t n_items, n_queries;
} names;

static bool stop(void *context, uint64_t rows) {
    (void)context;
    (void)rows;
    return rt_signals_stop();
}

static rt_status number_items(const rt_vectors *index, names *n) {
    n->n_items = rt_vectors_count(index);
    RT_TRY(rt_ids_new(&n->items));
    for (uint32_t i = 0, number; i < n->n_items; i++) {
        size_t size;
        const char *id = rt_vectors_id(index, i, &size);
        RT_TRY(rt_ids_add(n->items, id, size, &number));
    }
    return RT_OK;
}

static rt_status number_queries(const rt_queries *queries, names *n) {
    n->n_queries = queries->n;
    RT_TRY(rt_ids_new(&n->queries));
    for (uint32_t i = 0, number; i < n->n_queries; i++) {
        size_t size;
        const char *id = rt_queries_id(queries, i, &size);
        RT_TRY(rt_ids_add(n->queries, id, size, &number));
    }
    return RT_OK;
}

static const char *item_column(const rt_cli *cli) {
    return cli->join.item ? cli->join.item : "item_id";
}

static const char *user_column(const rt_cli *cli) {
    return cli->join.user ? cli->join.user : "user_id";
}

static rt_status read_seen(const names *n, rt_search_filter *out) {
    rt_cli *cli = n->cli;
    RT_TRY(rt_events_read(&(rt_events_options){.path = cli->seen,
                                               .user = user_column(cli),
                                               .item = item_column(cli),
                                               .users = n->queries,
                                               .items = n->items,
                                               .known_users = true,
                                               .stop = stop},
                          &out->seen));
    const rt_events *e = &out->seen;
    if (e->unknown_items)
        rt_warn(cli->log, "%s: %llu of %llu rows name items that are not in %s", cli->seen,
                (unsigned long long)e->unknown_items, (unsigned long long)e->rows, cli->index);
    if (e->unknown_users)
        rt_warn(cli->log, "%s: %llu of %llu rows name users that are not in %s", cli->seen,
                (unsigned long long)e->unknown_users, (unsigned long long)e->rows, cli->queries);
    return RT_OK;
}

/* Reads column `id` of a table, and column `value` where it is not NULL: take() gets the number of each known id. */
typedef struct {
    const char *path, *id, *value;
    const rt_ids *known;
    const char *of; /* file of the known ids */
    rt_status (*take)(void *context, uint32_t number, const rt_field *value);
    void *context;
} table_job;

static rt_status read_table(const names *n, const table_job *job) {
    rt_status rc;
    rt_table *table = NULL;
    uint64_t rows = 0, unknown = 0, line;
    int id, value = -1;
    RT_GO(rt_table_open(job->path, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &table));
    RT_GO(rt_table_require(table, job->id, &id));
    if (job->value) RT_GO(rt_table_require(table, job->value, &value));
    for (;;) {
        const rt_field *fields;
        RT_GO(rt_table_next(table, &fields, &line));
        if (rt_signals_stop()) RT_GO(rt_fail(RT_ESTOPPED, "stopped by %s", rt_signals_name()));
        if (!fields) break;
        rows++;
        const rt_field *f = &fields[id];
        const uint32_t number = f->missing ? (uint32_t)RT_NO_ID : rt_ids_find(job->known, f->bytes, f->size);
        if (number == RT_NO_ID)
            unknown++;
        else
            RT_GO(job->take(job->context, number, value >= 0 ? &fields[value] : NULL));
    }
    if (unknown)
        rt_warn(n->cli->log, "%s: %llu of %llu rows name ids (column %s) that are not in %s", job->path,
                (unsigned long long)unknown, (unsigned long long)rows, job->id, job->of);
done:
    rt_table_close(table);
    return rc;
}

static rt_status allow(void *context, uint32_t item, const rt_field *value) {
    rt_search_filter *f = context;
    (void)value;
    f->allowed[item / 64] |= (uint64_t)1 << (item % 64);
    return RT_OK;
}

static rt_status read_allowed(const names *n, rt_search_filter *out) {
    out->allowed = calloc((size_t)n->n_items / 64 + 1, sizeof *out->allowed);
    if (!out->allowed) return rt_fail(RT_ENOMEM, "out of memory for --allow");
    return read_table(n, &(table_job){.path = n->cli->allow,
                                      .id = item_column(n->cli),
                                      .known = n->items,
                                      .of = n->cli->index,
                                      .take = allow,
                                      .context = out});
}

typedef struct {
    rt_ids *values;
    uint32_t *category;
    uint32_t empty; /* what an empty value stands for */
} category_job;

static rt_status categorise(void *context, uint32_t row, const rt_field *value) {
    category_job *job = context;
    if (value->missing || value->size == 0) {
        job->category[row] = job->empty;
        return RT_OK;
    }
    return rt_ids_add(job->values, value->bytes, value->size, &job->category[row]);
}

static rt_status read_category(const names *n, const char *path, const char *id, const rt_ids *known, const char *of,
                               rt_ids *values, uint32_t empty, uint32_t **out) {
    const uint32_t rows = rt_ids_count(known);
    uint32_t missing = 0;
    *out = malloc(((size_t)rows + 1) * sizeof **out);
    if (!*out) return rt_fail(RT_ENOMEM, "out of memory for categories");
    for (uint32_t i = 0; i < rows; i++) (*out)[i] = empty;
    category_job job = {values, *out, empty};
    RT_TRY(read_table(n, &(table_job){.path = path,
                                      .id = id,
                                      .value = n->cli->join.category ? n->cli->join.category : "category",
                                      .known = known,
                                      .of = of,
                                      .take = categorise,
                                      .context = &job}));
    for (uint32_t i = 0; i < rows; i++) missing += (*out)[i] == empty;
    if (missing)
        rt_warn(n->cli->log, "%s: %u of the %u ids of %s have no category here: %s", path, missing, rows, of,
                empty == RT_ANY_CATEGORY ? "they get items of all" : "only queries without one find them");
    return RT_OK;
}

static rt_status read_categories(const names *n, rt_search_filter *out) {
    const rt_cli *cli = n->cli;
    rt_ids *values = NULL;
    rt_status rc;
    RT_GO(rt_ids_new(&values));
    RT_GO(read_category(n, cli->categories, item_column(cli), n->items, cli->index, values, NO_CATEGORY,
                        &out->item_category));
    RT_GO(read_category(n, cli->query_categories, user_column(cli), n->queries, cli->queries, values, RT_ANY_CATEGORY,
                        &out->query_category));
done:
    rt_ids_free(values);
    return rc;
}

rt_status rt_search_filter_read(rt_cli *cli, const rt_vectors *index, const rt_queries *queries,
                                rt_search_filter *out) {
    rt_status rc = RT_OK;
    names n = {.cli = cli};
    *out = (rt_search_filter){0};
    out->any = cli->seen || cli->allow || cli->categories;
    if (!out->any) return RT_OK;
    rt_progress_line_phase(cli->line, "reading what may be found");
    RT_GO(number_items(index, &n));
    if (cli->seen || cli->categories) RT_GO(number_queries(queries, &n));
    if (cli->seen) RT_GO(read_seen(&n, out));
    if (cli->allow) RT_GO(read_allowed(&n, out));
    if (cli->categories) RT_GO(read_categories(&n, out));
done:
    rt_ids_free(n.items);
    rt_ids_free(n.queries);
    return rc;
}

void rt_search_filter_free(rt_search_filter *f) {
    free(f->allowed);
    rt_events_free(&f->seen);
    free(f->item_category);
    free(f->query_category);
    *f = (rt_search_filter){0};
}

rt_topk_filter rt_search_filter_at(const rt_search_filter *f, uint32_t first) {
    const rt_clicks *seen = &f->seen.clicks;
    return (rt_topk_filter){.allowed = f->allowed,
                            .seen = seen->user_starts ? seen->user_items : NULL,
                            .starts = seen->user_starts ? seen->user_starts + first : NULL,
                            .item_category = f->item_category,
                            .query_category = f->query_category ? f->query_category + first : NULL};
}
