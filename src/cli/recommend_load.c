/* Everything that lists are made of: two models, the items, the log, and what is computed from them once. */
#include "../retrieve/vectors.h"
#include "../track/track.h"
#include "recommend_parts.h"
#include "setup_embed.h"
#include "signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EMBED_AT_ONCE = 4096 };

double rt_rec_similarity(void *context, uint32_t a, uint32_t b) {
    const rt_rec *rec = context;
    if (!rec->vectors) return rt_clicks_cosine(&rec->events.clicks, a, b);
    return rt_dot_rows(rec->vectors + (size_t)a * (size_t)rec->width, rec->vectors + (size_t)b * (size_t)rec->width,
                       rec->width);
}

void rt_rec_phase(rt_rec *rec, const char *verb, const char *what) {
    rt_text text = {0};
    struct rt_progress_line *line = rec->live.line;
    rec->live = rt_live_begin(rec->cli, what);
    rec->live.line = line;
    rt_text_printf(&text, "%s %s", verb, what);
    if (text.data) rt_progress_line_phase(line, text.data);
    rt_text_free(&text);
}

static bool stop_rows(void *context, uint64_t rows) {
    rt_live *live = context;
    if (rows) rt_live_rows(live, "reading", rows);
    return rt_signals_stop();
}

static bool stop_items(void *context, uint32_t done) {
    rt_live *live = context;
    if (done) rt_live_rows(live, "neighbours of", done);
    return rt_signals_stop();
}

/* --- models ----------------------------------------------------------------------------------------------------------
 */

static rt_status open_models(rt_rec *rec) {
    const rt_cli *cli = rec->cli;
    const char *files[RT_ROLES] = {cli->recommend.retriever, cli->recommend.ranker};
    for (int r = 0; r < RT_ROLES; r++) {
        if (!files[r]) continue;
        rec->clis[r] = *cli;
        rec->clis[r].checkpoint = files[r];
        rec->setups[r].cli = &rec->clis[r];
        rt_progress_line_phase(cli->line, "loading the weights");
        rec->has[r] = true;
        if (r == RT_ROLE_RETRIEVER)
            RT_TRY(rt_setup_embedding(&rec->setups[r], &rec->configs[r]));
        else
            RT_TRY(rt_setup_scoring(&rec->setups[r], &rec->configs[r]));
        if (!rec->cfg) rec->cfg = rec->configs[r];
    }
    if (!rec->cfg) {
        RT_TRY(rt_cli_config(rec->cli, NULL, 0, NULL, &rec->plain));
        rec->cfg = rec->plain;
    }
    if (rec->has[RT_ROLE_RANKER] && !rec->configs[RT_ROLE_RANKER]->data.text_b)
        return rt_fail(RT_ECONFIG,
                       "%s was trained on single texts (no data.text_b); a ranker reads pairs of a user's "
                       "text and an item's",
                       files[RT_ROLE_RANKER]);
    return RT_OK;
}

static void choose_columns(rt_rec *rec) {
    const rt_cli *cli = rec->cli;
    const rt_config *cfg = rec->cfg;
    rec->user_column = cli->join.user ? cli->join.user : cfg->data.user ? cfg->data.user : "user_id";
    rec->item_column = cli->join.item ? cli->join.item : cfg->data.item ? cfg->data.item : "item_id";
    rec->item_key = cli->join.item_key ? cli->join.item_key : rec->item_column;
    rec->time_column = cli->join.time ? cli->join.time : cfg->data.time ? cfg->data.time : "time";
    rec->label_column = cli->join.click ? cli->join.click : cfg->data.label;
}

/* --- items -----------------------------------------------------------------------------------------------------------
 */

/* The template of a model's item text: --item-text, data.text_b of its configuration, else the title. */
static const char *item_text(const rt_rec *rec, int role, const char **key) {
    const rt_config *cfg = rec->configs[role];
    *key = role == RT_ROLE_RETRIEVER ? "data.text_b of --retriever" : "data.text_b of --ranker";
    if (role == RT_ROLE_RETRIEVER && rec->cli->recommend.item_text) {
        *key = "--item-text";
        return rec->cli->recommend.item_text;
    }
    if (rt_config_is_set(cfg, "data.text_b") && cfg->data.text_b) return cfg->data.text_b;
    *key = "--item-text";
    return rec->cli->join.title ? rec->cli->join.title : "title";
}

static rt_status read_items(rt_rec *rec) {
    const rt_cli *cli = rec->cli;
    rt_rec_phase(rec, "reading", cli->join.items);
    rt_catalogue_options o = {.path = cli->join.items,
                              .id = rec->item_key,
                              .title = cli->join.title ? cli->join.title : "title",
                              .title_optional = !cli->join.title,
                              .slice = cli->recommend.slice,
                              .slice_names = rec->slices,
                              .rules = rec->rules,
                              .skip_bad_rows = rec->skip_bad_rows,
                              .stop = stop_rows,
                              .context = &rec->live};
    for (int r = 0; r < RT_ROLES; r++) {
        rec->text_of[r] = r;
        if (!rec->has[r]) continue;
        o.texts[r] = item_text(rec, r, &o.keys[r]);
        if (r == RT_ROLE_RANKER && o.texts[0] && !strcmp(o.texts[0], o.texts[1])) { /* kept once */
            rec->text_of[r] = 0;
            o.texts[1] = NULL;
        }
    }
    RT_TRY(rt_catalogue_read(&o, &rec->items));
    if (rec->candidates > rec->items.n) rec->candidates = rec->items.n;
    if (rec->items.bad_rows)
        rt_warn(cli->log, "%s: %llu bad rows were skipped", cli->join.items, (unsigned long long)rec->items.bad_rows);
    if (rec->items.again)
        rt_warn(cli->log, "%s: %llu rows of an item that was there already; the first counts", cli->join.items,
                (unsigned long long)rec->items.again);
    return RT_OK;
}

/* "; did you mean ..." of the column's first values. */
static void near_value(const rt_rec *rec, const rt_rule *rule, rt_text *out) {
    enum { LOOKED_AT = 2000 };
    const rt_ids *ids = rec->rules->columns[rule->column].ids;
    uint32_t all = rt_ids_count(ids), n = 0;
    char **names = calloc(LOOKED_AT, sizeof *names);
    for (uint32_t v = 0; names && v < all && n < LOOKED_AT; v++) {
        size_t size;
        const char *bytes = rt_ids_get(ids, v, &size);
        bool of_the_rules = false; /* the values of rules come before those of items */
        for (int i = 0; i < rec->rules->n; i++)
            for (int k = 0; k < rec->rules->rules[i].n_values; k++)
                of_the_rules = of_the_rules ||
                               (rec->rules->rules[i].column == rule->column && rec->rules->rules[i].values[k] == v);
        if (!of_the_rules && (names[n] = rt_strndup(bytes, size)) != NULL) n++;
    }
    const char *near = names ? rt_did_you_mean(rule->names[0], (const char *const *)names, (int)n) : NULL;
    if (near) {
        rt_text_puts(out, "; did you mean ");
        rt_text_escaped(out, near, strlen(near), 80);
        rt_text_puts(out, "?");
    }
    for (uint32_t v = 0; names && v < n; v++) free(names[v]);
    free(names);
}

/* A value that no item has is a slip of the pen more often than not. */
static void warn_of_rules(const rt_rec *rec) {
    for (int i = 0; i < rec->rules->n; i++) {
        const rt_rule *rule = &rec->rules->rules[i];
        rt_text near = {0};
        if (rule->matches == 0 && rule->kind != RT_RULE_AT_MOST) near_value(rec, rule, &near);
        if (rule->matches == 0)
            rt_warn(rec->cli->log, "%s:%d: %s: no item has %s%s", rec->rules->path, rule->line, rule->text,
                    rule->kind == RT_RULE_AT_MOST ? "a value there" : "such a value", near.data ? near.data : "");
        rt_text_free(&near);
    }
}

static rt_status apply_rules(rt_rec *rec) {
    size_t words = (size_t)rec->items.n / 64 + 1;
    rec->allowed = malloc(words * sizeof *rec->allowed);
    rec->seen_by = calloc((size_t)rec->items.n + 1, sizeof *rec->seen_by);
    if (!rec->allowed || !rec->seen_by) return rt_fail(RT_ENOMEM, "out of memory for %u items", rec->items.n);
    memset(rec->allowed, 0xFF, words * sizeof *rec->allowed);
    rec->n_allowed = rec->items.n;
    if (!rec->rules) return RT_OK;
    rec->n_allowed = rt_rules_apply(rec->rules, rec->allowed);
    warn_of_rules(rec);
    if (rec->n_allowed == 0)
        return rt_fail(RT_EDATA, "%s: the rules leave none of the %u items of %s", rec->rules->path, rec->items.n,
                       rec->cli->join.items);
    return RT_OK;
}

/* --- the log ---------------------------------------------------------------------------------------------------------
 */

static rt_status read_events(rt_rec *rec) {
    const rt_cli *cli = rec->cli;
    const rt_events *e = &rec->events;
    rt_rec_phase(rec, "reading", cli->join.events);
    rt_events_options o = rt_rec_events_options(rec, cli->join.events);
    RT_TRY(rt_events_read(&o, &rec->events));
    if (e->bad_rows)
        rt_warn(cli->log, "%s: %llu bad rows were skipped", cli->join.events, (unsigned long long)e->bad_rows);
    if (e->unknown_items)
        rt_warn(cli->log, "%s: %llu clicks on items that %s lacks were left out", cli->join.events,
                (unsigned long long)e->unknown_items, cli->join.items);
    rt_info(cli->log, "%s: %llu clicks of %u users on %u items%s%s", cli->join.events, (unsigned long long)e->n,
            e->n_users, rec->items.n, e->all_rows_click ? "; no label, so each row is a click" : "",
            e->timed ? "" : "; no times, so later rows are newer");
    return RT_OK;
}

rt_events_options rt_rec_events_options(rt_rec *rec, const char *path) {
    return (rt_events_options){.path = path,
                               .user = rec->user_column,
                               .item = rec->item_column,
                               .time = rec->time_column,
                               .label = rec->label_column,
                               .label_else = "click",
                               .time_optional = !rec->cli->join.time,
                               .label_optional = !rec->cli->join.click,
                               .labels = (const char *const *)rec->cfg->model.labels.items,
                               .n_labels = rec->cfg->model.labels.n,
                               .users = rec->users,
                               .items = rec->items.ids,
                               .skip_bad_rows = rec->skip_bad_rows,
                               .stop = stop_rows,
                               .context = &rec->live};
}

static rt_status count_clicks(rt_rec *rec) {
    const rt_cli *cli = rec->cli;
    if (cli->recommend.slice && !rec->items.slices) {
        RT_TRY(rt_rec_users_slices(rec, &rec->user_slices));
        if (!rec->user_slices)
            return rt_fail(RT_EDATA, "--slice %s: neither %s%s%s has such a column", cli->recommend.slice,
                           cli->join.items, cli->recommend.users ? " nor " : "",
                           cli->recommend.users ? cli->recommend.users : "");
    }
    rt_popularity_options popular = {.item_slices = rec->items.slices,
                                     .user_slices = rec->user_slices,
                                     .n_slices = rt_ids_count(rec->slices),
                                     .window = cli->recommend.window};
    rt_status rc = rt_popularity_new(&rec->events, &popular, &rec->popularity);
    if (rc == RT_EUSAGE) return rt_fail_context(rc, "--popularity-window");
    RT_TRY(rc);
    if (rec->recipe.weights[RT_PART_COLLABORATIVE] <= 0 && !cli->recommend.evaluate) return RT_OK;
    rt_rec_phase(rec, "neighbours of", "items");
    rt_itemknn_options near = {.neighbours = rec->neighbours,
                               .shrinkage = (double)cli->recommend.shrinkage,
                               .log_counts = cli->recommend.log_counts,
                               .user_cap = (uint32_t)cli->recommend.user_cap,
                               .stop = stop_items,
                               .context = &rec->live};
    RT_TRY(rt_itemknn_new(&rec->events, &near, &rec->knn));
    if (rec->knn.cut_users)
        rt_info(cli->log, "--user-cap %lld: of %u users only the last clicks count for item-item cosine",
                (long long)cli->recommend.user_cap, rec->knn.cut_users);
    return rt_knn_scorer_new(&rec->knn, &rec->scorer);
}

/* --- vectors ---------------------------------------------------------------------------------------------------------
 */

static rt_status take_vectors(rt_rec *rec, uint32_t width) {
    size_t n = (size_t)rec->items.n * width + 1;
    rec->width = (int)width;
    rec->vectors = calloc(n, sizeof *rec->vectors);
    size_t words = (size_t)rec->items.n / 64 + 1;
    rec->searchable = calloc(words, sizeof *rec->searchable);
    if (!rec->vectors || !rec->searchable)
        return rt_fail(RT_ENOMEM, "out of memory for %u vectors of %u dimensions (%zu MiB)", rec->items.n, width,
                       n * sizeof(float) >> 20);
    return RT_OK;
}

static void put_vector(rt_rec *rec, uint32_t item, const float *row) {
    size_t width = (size_t)rec->width;
    memcpy(rec->vectors + item * width, row, width * sizeof *row);
    rec->searchable[item / 64] |= (rec->allowed[item / 64] >> item % 64 & 1) << item % 64;
}

static rt_status read_index(rt_rec *rec, const rt_vectors *v) {
    rt_status rc = RT_OK;
    uint32_t n = rt_vectors_count(v), found = 0;
    size_t width = (size_t)rt_vectors_width(v);
    float *rows = malloc(EMBED_AT_ONCE * width * sizeof *rows);
    if (!rows) RT_GO(rt_fail(RT_ENOMEM, "out of memory to read %s", rt_vectors_path(v)));
    RT_GO(take_vectors(rec, (uint32_t)width));
    for (uint32_t from = 0; from < n; from += EMBED_AT_ONCE) {
        uint32_t here = n - from < EMBED_AT_ONCE ? n - from : EMBED_AT_ONCE;
        if (rt_signals_stop()) RT_GO(rt_fail(RT_ESTOPPED, "stopped while reading %s", rt_vectors_path(v)));
        RT_GO(rt_vectors_read(v, from, here, rows));
        for (uint32_t i = 0; i < here; i++) {
            size_t size;
            const char *id = rt_vectors_id(v, from + i, &size);
            uint32_t item = rt_ids_find(rec->items.ids, id, size);
            if (item == RT_NO_ID) continue;
            put_vector(rec, item, rows + i * width);
            found++;
        }
    }
    if (found == 0)
        RT_GO(rt_fail(RT_EDATA, "%s has none of the items of %s: are its ids those of column %s?", rt_vectors_path(v),
                      rec->cli->join.items, rec->item_key));
    if (found < rec->items.n)
        rt_warn(rec->cli->log, "%s lacks %u of the %u items of %s: by text they are not found", rt_vectors_path(v),
                rec->items.n - found, rec->items.n, rec->cli->join.items);
done:
    free(rows);
    return rc;
}

static rt_status open_index(rt_rec *rec) {
    rt_vectors *v;
    int hidden = rec->setups[RT_ROLE_RETRIEVER].bert.hidden;
    RT_TRY(rt_vectors_open(rec->cli->recommend.index, &v));
    rt_status rc = RT_OK;
    if (rt_vectors_width(v) > hidden)
        rc = rt_fail(RT_EDATA, "%s: vectors of %d dimensions, but %s makes %d: another model made them",
                     rt_vectors_path(v), rt_vectors_width(v), rec->cli->recommend.retriever, hidden);
    rec->clis[RT_ROLE_RETRIEVER].dimensions = rt_vectors_width(v); /* an index may be cut; users are cut like it */
    if (rc == RT_OK) rc = read_index(rec, v);
    rt_vectors_close(v);
    return rc;
}

rt_status rt_rec_embed_text(rt_rec *rec, const char *prefix, const char *text, size_t size) {
    if (!prefix) return rt_embedder_add(rec->embedder, text, size);
    rt_text_clear(&rec->prefixed);
    rt_text_puts(&rec->prefixed, prefix);
    if (size) rt_text_append(&rec->prefixed, text, size);
    RT_TRY(rt_text_status(&rec->prefixed));
    return rt_embedder_add(rec->embedder, rec->prefixed.data, rec->prefixed.size);
}

static rt_status embed_items(rt_rec *rec) {
    rt_rec_phase(rec, "embedding", "items");
    for (uint32_t from = 0; from < rec->items.n; from += EMBED_AT_ONCE) {
        const float *rows;
        uint32_t n = rec->items.n - from < EMBED_AT_ONCE ? rec->items.n - from : EMBED_AT_ONCE;
        for (uint32_t i = 0; i < n; i++) {
            size_t size;
            const char *text = rt_catalogue_text(&rec->items, RT_ROLE_RETRIEVER, from + i, &size);
            RT_TRY(rt_rec_embed_text(rec, rec->cli->recommend.item_prefix, text, size));
        }
        RT_TRY(rt_embedder_run(rec->embedder, &rows));
        if (!rec->vectors) RT_TRY(take_vectors(rec, (uint32_t)rt_embedder_width(rec->embedder)));
        for (uint32_t i = 0; i < n; i++) put_vector(rec, from + i, rows + (size_t)i * (size_t)rec->width);
        rt_live_rows(&rec->live, "embedding", from + n);
    }
    return RT_OK;
}

static rt_status make_vectors(rt_rec *rec) {
    if (!rec->has[RT_ROLE_RETRIEVER]) return RT_OK;
    RT_TRY(rt_setup_embedder(&rec->setups[RT_ROLE_RETRIEVER], rt_signals_stop, &rec->embedder));
    if (!rec->cli->recommend.index) RT_TRY(embed_items(rec));
    rt_unit_rows(rec->vectors, rec->items.n, rec->width);
    return RT_OK;
}

/* ----------------------------------------------------------------------------------------------------------------------
 */

rt_status rt_rec_load(rt_rec *rec) {
    const rt_cli *cli = rec->cli;
    RT_TRY(rt_ids_new(&rec->users));
    RT_TRY(rt_ids_new(&rec->slices));
    RT_TRY(rt_fuser_new(&rec->fuser));
    if (cli->recommend.rules) RT_TRY(rt_rules_read(cli->recommend.rules, &rec->rules)); /* before anything long */
    RT_TRY(open_models(rec));
    choose_columns(rec);
    RT_TRY(read_items(rec));
    RT_TRY(apply_rules(rec));
    if (cli->recommend.index) RT_TRY(open_index(rec));
    RT_TRY(read_events(rec));
    RT_TRY(count_clicks(rec));
    RT_TRY(make_vectors(rec));
    if (rec->has[RT_ROLE_RANKER])
        RT_TRY(rt_setup_predictor(&rec->setups[RT_ROLE_RANKER], rt_signals_stop, &rec->predictor));
    return RT_OK;
}

void rt_rec_free(rt_rec *rec) {
    if (!rec) return;
    rt_embedder_free(rec->embedder);
    rt_predictor_free(rec->predictor);
    for (int r = 0; r < RT_ROLES; r++) {
        rt_setup_close(&rec->setups[r]);
        rt_config_free(rec->configs[r]);
    }
    rt_config_free(rec->plain);
    rt_knn_scorer_free(rec->scorer);
    rt_itemknn_free(&rec->knn);
    rt_popularity_free(&rec->popularity);
    rt_events_free(&rec->events);
    rt_catalogue_free(&rec->items);
    rt_rules_free(rec->rules);
    rt_ids_free(rec->users);
    rt_ids_free(rec->slices);
    rt_fuser_free(rec->fuser);
    rt_text_free(&rec->prefixed);
    free(rec->user_slices);
    free(rec->allowed);
    free(rec->searchable);
    free(rec->vectors);
    free(rec->seen_by);
    free(rec);
}
