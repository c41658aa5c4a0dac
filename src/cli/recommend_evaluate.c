/* rectrain recommend --evaluate: lists measured on what users clicked later, beside each part alone. A user's held-out
 * items are those that he clicks in the events of --evaluate; what he clicked in --events is seen, and counts neither
 * as found nor as missed unless --keep-seen. Rules hold for every system, diversity for the whole pipeline alone. A
 * part that knows nothing of a user gives an empty list, which finds nothing; only the pipeline falls back to
 * popularity. */
#include "../track/track.h"
#include "recommend_parts.h"
#include "signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SYSTEMS = 5, RESAMPLES = 1000, NAME = 24 };

typedef struct {
    const char *name;
    rt_recipe recipe;
    rt_measure *measure;
    rt_measured result;
} rec_system;

typedef struct {
    rt_rec *rec;
    rec_system systems[SYSTEMS];
    int n_systems;
    rt_events held; /* the events of --evaluate */
    uint64_t *wanted;
    uint32_t *kept; /* one user's held-out items */
    uint32_t *item_users, *chosen;
    rt_rec_window window;
    uint64_t users, already_seen, nothing_left, held_new;
} evaluation;

static void add_system(evaluation *e, const char *name, const double weights[RT_PARTS]) {
    rec_system *s = &e->systems[e->n_systems++];
    *s = (rec_system){.name = name};
    memcpy(s->recipe.weights, weights, sizeof s->recipe.weights);
}

static void list_systems(evaluation *e) {
    const rt_rec *rec = e->rec;
    const bool text = rec->has[RT_ROLE_RETRIEVER], ranker = rec->has[RT_ROLE_RANKER];
    const double *w = rec->recipe.weights;
    add_system(e, "popularity", (const double[RT_PARTS]){[RT_PART_POPULARITY] = 1});
    add_system(e, "item-knn", (const double[RT_PARTS]){[RT_PART_COLLABORATIVE] = 1});
    if (text) add_system(e, "retriever", (const double[RT_PARTS]){[RT_PART_TEXT] = 1});
    if (text && ranker) /* at the weights of the whole, or the ranker's own order where retrieval has none */
        add_system(
            e, "retriever + ranker",
            (const double[RT_PARTS]){
                [RT_PART_TEXT] = w[RT_PART_TEXT] > 0 ? w[RT_PART_TEXT] : 1e-9, [RT_PART_RANKER] = w[RT_PART_RANKER]});
    add_system(e, "pipeline", w);
    e->systems[e->n_systems - 1].recipe = rec->recipe;
}

static rt_status read_held_out(evaluation *e) {
    rt_rec *rec = e->rec;
    const rt_cli *cli = rec->cli;
    rt_rec_phase(rec, "reading", cli->recommend.evaluate);
    rt_events_options o = rt_rec_events_options(rec, cli->recommend.evaluate);
    o.time_optional = true;
    RT_TRY(rt_events_read(&o, &e->held));
    if (e->held.bad_rows)
        rt_warn(cli->log, "%s: %llu bad rows were skipped", cli->recommend.evaluate,
                (unsigned long long)e->held.bad_rows);
    if (e->held.unknown_items)
        rt_warn(cli->log, "%s: %llu clicks on items that %s lacks were left out", cli->recommend.evaluate,
                (unsigned long long)e->held.unknown_items, cli->join.items);
    if (e->held.all_rows_click && !rec->events.all_rows_click)
        return rt_fail(RT_EDATA, "%s has no column %s, which tells clicks in %s; name one that both have with --click",
                       cli->recommend.evaluate, rec->label_column, cli->join.events);
    return RT_OK;
}

/* The user's held-out items, less those that he had seen. What the rules forbid stays: it is missed. */
static uint32_t held_of(evaluation *e, uint32_t user, uint64_t *seen_before) {
    const rt_rec *rec = e->rec;
    const uint32_t *items, *seen = NULL;
    uint32_t n = rt_clicks_user(&e->held.clicks, user, &items), kept = 0;
    uint32_t n_seen = rec->cli->recommend.keep_seen ? 0 : rt_clicks_user(&rec->events.clicks, user, &seen);
    for (uint32_t i = 0, s = 0; i < n; i++) {
        while (s < n_seen && seen[s] < items[i]) s++;
        if (s < n_seen && seen[s] == items[i])
            ++*seen_before;
        else
            e->kept[kept++] = items[i];
    }
    return kept;
}

static rt_status prepare(evaluation *e) {
    rt_rec *rec = e->rec;
    uint32_t n_users = e->held.n_users, n_items = rec->items.n;
    e->wanted = calloc((size_t)n_users / 64 + 1, sizeof *e->wanted);
    e->kept = malloc(((size_t)n_items + 1) * sizeof *e->kept);
    e->item_users = malloc(((size_t)n_items + 1) * sizeof *e->item_users);
    e->chosen = malloc(rec->top * sizeof *e->chosen);
    if (!e->wanted || !e->kept || !e->item_users || !e->chosen)
        return rt_fail(RT_ENOMEM, "out of memory to evaluate %u users", n_users);
    for (uint32_t i = 0; i < n_items; i++) e->item_users[i] = rt_clicks_of_item(&rec->events.clicks, i);
    for (uint32_t u = 0; u < n_users; u++) {
        const uint32_t *items;
        if (!rt_clicks_user(&e->held.clicks, u, &items)) continue;
        uint32_t n = held_of(e, u, &e->already_seen);
        if (!n) {
            e->nothing_left++;
            continue;
        }
        e->wanted[u / 64] |= (uint64_t)1 << u % 64;
        e->users++;
        for (uint32_t i = 0; i < n; i++) e->held_new += e->item_users[e->kept[i]] == 0;
    }
    if (!e->users)
        return rt_fail(RT_EDATA, "%s: no user has a click on an item of %s that is not seen in %s: nothing to measure",
                       rec->cli->recommend.evaluate, rec->cli->join.items, rec->cli->join.events);
    rt_measure_options o = {.k = rec->top,
                            .n_items = n_items,
                            .n_allowed = rec->n_allowed,
                            .item_users = e->item_users,
                            .n_users = rec->events.n_users,
                            .similarity = rt_rec_similarity,
                            .context = rec};
    list_systems(e);
    for (int s = 0; s < e->n_systems; s++) RT_TRY(rt_measure_new(&o, &e->systems[s].measure));
    return rt_rec_window_new(rec, &e->window);
}

static rt_status measure_user(evaluation *e, uint32_t i) {
    rt_rec *rec = e->rec;
    const rt_rec_user *u = &e->window.users[i];
    uint64_t ignored = 0;
    const uint32_t *items;
    uint32_t n_held = held_of(e, u->user, &ignored), n;
    bool warm = rt_clicks_user(&rec->events.clicks, u->user, &items) > 0;
    for (int s = 0; s < e->n_systems; s++) {
        const rt_fused *fused;
        RT_TRY(rt_rec_choose(rec, &e->window, i, &e->systems[s].recipe, &fused, e->chosen, &n));
        for (uint32_t r = 0; r < n; r++) e->chosen[r] = fused[e->chosen[r]].item;
        RT_TRY(rt_measure_add(e->systems[s].measure, e->chosen, n, e->kept, n_held, warm));
    }
    return RT_OK;
}

static rt_status measure_all(evaluation *e) {
    rt_rec *rec = e->rec;
    rt_status rc;
    rt_rec_users *users = NULL;
    rt_recipe recipes[SYSTEMS];
    uint64_t done = 0;
    for (int s = 0; s < e->n_systems; s++) recipes[s] = e->systems[s].recipe;
    rt_rec_phase(rec, "measuring", "users");
    RT_GO(rt_rec_users_open(rec, e->wanted, e->held.n_users, &users));
    for (;;) {
        RT_GO(rt_rec_users_next(users, &e->window));
        if (!e->window.n) break;
        RT_GO(rt_rec_score(rec, &e->window, recipes, e->n_systems));
        for (uint32_t i = 0; i < e->window.n; i++) RT_GO(measure_user(e, i));
        rt_live_rows(&rec->live, "measuring", done += e->window.n);
    }
    rt_progress_line_phase(rec->live.line, "resampling users");
    uint64_t seed = rec->cli->seed >= 0 ? (uint64_t)rec->cli->seed : 1;
    for (int s = 0; s < e->n_systems; s++)
        RT_GO(rt_measure_finish(e->systems[s].measure, seed, RESAMPLES, &e->systems[s].result));
done:
    rt_rec_users_close(users);
    return rc;
}

/* --- what comes out --------------------------------------------------------------------------------------------------
 */

static void put_value(rt_text *out, const rt_measured_value *v, int digits) {
    char cell[64] = "-";
    if (!isnan(v->mean))
        snprintf(cell, sizeof cell, "%.*f [%.*f %.*f]", digits, v->mean, digits, v->low, digits, v->high);
    rt_text_printf(out, "  %-22s", cell);
}

static void end_line(rt_text *out) {
    while (out->size && out->data[out->size - 1] == ' ') out->data[--out->size] = 0;
    rt_text_puts(out, "\n");
}

static void put_head(const evaluation *e, int from, int to, rt_text *out) {
    rt_text_printf(out, "\n%-*s", NAME, "");
    for (int v = from; v < to; v++) {
        char head[32];
        snprintf(head, sizeof head, v < RT_M_NOVELTY ? "%s@%u" : "%s", rt_measure_names[v], e->rec->top);
        rt_text_printf(out, "  %-22s", head);
    }
}

/* Hits of a group; novelty and the like are of all users alone here, and of every group in JSON. */
static void put_group(const evaluation *e, int group, rt_text *out) {
    const uint32_t users = e->systems[0].result.users[group];
    if (!users) return;
    rt_text_printf(out, "\n%s%s (%u users)", group == RT_G_ALL ? "all users" : rt_group_names[group],
                   group >= RT_G_KNOWN ? " alone" : "", users);
    put_head(e, 0, RT_M_NOVELTY, out);
    end_line(out);
    for (int s = 0; s < e->n_systems; s++) {
        rt_text_printf(out, "%-*s", NAME, e->systems[s].name);
        for (int v = 0; v < RT_M_NOVELTY; v++) put_value(out, &e->systems[s].result.values[group][v], 4);
        end_line(out);
    }
}

static void put_breadth(const evaluation *e, rt_text *out) {
    put_head(e, RT_M_NOVELTY, RT_MEASURES, out);
    rt_text_puts(out, "  coverage\n");
    for (int s = 0; s < e->n_systems; s++) {
        const rt_measured *m = &e->systems[s].result;
        rt_text_printf(out, "%-*s", NAME, e->systems[s].name);
        put_value(out, &m->values[RT_G_ALL][RT_M_NOVELTY], 2);
        put_value(out, &m->values[RT_G_ALL][RT_M_DIVERSITY], 4);
        rt_text_printf(out, "  %.4f\n", m->coverage);
    }
}

static void put_text(const evaluation *e, rt_text *out) {
    const rt_rec *rec = e->rec;
    rt_text_printf(out, "%s: %llu users, %llu held-out items, %llu of them new; lists of %u out of %u items\n",
                   rec->cli->recommend.evaluate, (unsigned long long)e->users,
                   (unsigned long long)e->systems[0].result.held_out, (unsigned long long)e->held_new, rec->top,
                   rec->n_allowed);
    if (e->already_seen)
        rt_text_printf(out, "left out: %llu items that their users had seen; %llu users have no other\n",
                       (unsigned long long)e->already_seen, (unsigned long long)e->nothing_left);
    for (int g = 0; g < RT_GROUPS; g++) {
        put_group(e, g, out);
        if (g == RT_G_ALL) put_breadth(e, out);
    }
    rt_text_printf(out, "\nin brackets: 95 %% of %d resamples of the users\n", RESAMPLES);
}

static void put_number(rt_text *out, double value) {
    if (isfinite(value))
        rt_text_double(out, value);
    else
        rt_text_puts(out, "null");
}

static void put_json_group(const rt_measured *m, int group, rt_text *out) {
    int n = group >= RT_G_KNOWN ? 3 : RT_MEASURES;
    rt_text_printf(out, "{\"users\": %u", m->users[group]);
    for (int v = 0; v < n; v++) {
        const rt_measured_value *value = &m->values[group][v];
        rt_text_printf(out, ", \"%s\": ", rt_measure_names[v]);
        put_number(out, value->mean);
        rt_text_printf(out, ", \"%s_low\": ", rt_measure_names[v]);
        put_number(out, value->low);
        rt_text_printf(out, ", \"%s_high\": ", rt_measure_names[v]);
        put_number(out, value->high);
    }
    if (group == RT_G_ALL) {
        rt_text_puts(out, ", \"coverage\": ");
        put_number(out, m->coverage);
    }
    rt_text_puts(out, "}");
}

static void put_json(const evaluation *e, rt_text *out) {
    static const char *const keys[RT_GROUPS] = {"all", "warm_users", "cold_users", "known_items", "new_items"};
    rt_text_printf(out,
                   "{\"k\": %u, \"users\": %llu, \"held_out\": %llu, \"held_out_new\": %llu, \"already_seen\": %llu, "
                   "\"users_without\": %llu, \"items\": %u, \"resamples\": %d, \"systems\": {",
                   e->rec->top, (unsigned long long)e->users, (unsigned long long)e->systems[0].result.held_out,
                   (unsigned long long)e->held_new, (unsigned long long)e->already_seen,
                   (unsigned long long)e->nothing_left, e->rec->n_allowed, RESAMPLES);
    for (int s = 0; s < e->n_systems; s++) {
        rt_text_printf(out, "%s\"%s\": {", s ? ", " : "", e->systems[s].name);
        for (int g = 0; g < RT_GROUPS; g++) {
            rt_text_printf(out, "%s\"%s\": ", g ? ", " : "", keys[g]);
            put_json_group(&e->systems[s].result, g, out);
        }
        rt_text_puts(out, "}");
    }
    rt_text_puts(out, "}}\n");
}

rt_status rt_rec_evaluate(rt_rec *rec) {
    rt_status rc;
    rt_text out = {0};
    evaluation *e = calloc(1, sizeof *e);
    if (!e) return rt_fail(RT_ENOMEM, "out of memory to evaluate");
    e->rec = rec;
    RT_GO(read_held_out(e));
    RT_GO(prepare(e));
    RT_GO(measure_all(e));
    rt_progress_line_end(rec->live.line);
    if (rec->cli->json)
        put_json(e, &out);
    else
        put_text(e, &out);
    RT_GO(rt_text_status(&out));
    RT_GO(rt_cli_write(out.data, out.size));
    RT_GO(rt_cli_flush());
done:
    for (int s = 0; s < e->n_systems; s++) rt_measure_free(e->systems[s].measure);
    rt_events_free(&e->held);
    rt_rec_window_free(&e->window);
    rt_text_free(&out);
    free(e->wanted);
    free(e->kept);
    free(e->item_users);
    free(e->chosen);
    free(e);
    return rc;
}
