/* Whom lists are for, a window at a time: the rows of a table of users, or the users of the log. What the table does
 * not say of a user, the log does: his history, and the slice that he clicked most. */
#include "../data/template.h"
#include "../track/track.h"
#include "recommend_parts.h"
#include "signals.h"
#include <stdlib.h>
#include <string.h>

enum {
    SLICE_CLICKS = 50,
    WINDOW_BYTES = 16 << 20, /* of texts: a window of long ones has fewer users */
};

struct rt_rec_users {
    rt_rec *rec;
    rt_table *table; /* NULL: the users of the log */
    int id, slice;
    rt_template *texts[RT_ROLES]; /* NULL: the history */
    bool is_history[RT_ROLES];    /* the column is a history, not a query */
    uint64_t *wanted;             /* bits that are cleared as they are had; NULL: everybody */
    uint32_t n_users, next;       /* of the walk through the log's users */
    uint64_t bad_rows;
    rt_text scratch, history;
};

rt_status rt_rec_window_new(const rt_rec *rec, rt_rec_window *w) {
    size_t room = (size_t)rec->window * rec->candidates;
    *w = (rt_rec_window){.room = rec->window, .users = calloc(rec->window, sizeof *w->users)};
    bool whole = w->users != NULL;
    for (int p = 0; p < RT_PARTS; p++) {
        w->lists[p] = malloc(room * (p == RT_PART_RANKER ? 2 : 1) * sizeof **w->lists);
        whole = whole && w->lists[p];
    }
    w->because = malloc(room * sizeof *w->because);
    if (whole && w->because) return RT_OK;
    rt_rec_window_free(w);
    return rt_fail(RT_ENOMEM, "out of memory for the lists of %u users", rec->window);
}

void rt_rec_window_free(rt_rec_window *w) {
    free(w->users);
    for (int p = 0; p < RT_PARTS; p++) free(w->lists[p]);
    free(w->because);
    rt_text_free(&w->bytes);
    *w = (rt_rec_window){0};
}

void rt_rec_users_close(rt_rec_users *s) {
    if (!s) return;
    for (int r = 0; r < RT_ROLES; r++) rt_template_free(s->texts[r]);
    rt_table_close(s->table);
    rt_text_free(&s->scratch);
    rt_text_free(&s->history);
    free(s->wanted);
    free(s);
}

uint64_t rt_rec_users_bad_rows(const rt_rec_users *s) {
    return s->bad_rows;
}

/* --- the table of users ----------------------------------------------------------------------------------------------
 */

/* --user-text must be there; data.text_a of the model may, for a model that was trained on histories is served users
 * without a column of that name. */
static rt_status bind_text(rt_rec_users *s, int role) {
    const rt_rec *rec = s->rec;
    const char *asked = rec->cli->recommend.user_text, *text = asked ? asked : rec->configs[role]->data.text_a;
    RT_TRY(rt_template_parse(text, asked ? "--user-text" : "data.text_a", &s->texts[role]));
    s->is_history[role] = strstr(text, "history") != NULL;
    rt_status rc = rt_template_bind(s->texts[role], s->table);
    if (rc == RT_OK) return RT_OK;
    if (asked) return rt_fail(rc, "%s (--user-text names a column, or a template of several)", rt_error_get()->text);
    if (rc != RT_EDATA) return rc;
    rt_error_clear();
    rt_template_free(s->texts[role]);
    s->texts[role] = NULL;
    rt_info(rec->cli->log, "%s has no %s (data.text_a): the titles that a user clicked last stand for it",
            rec->cli->recommend.users, text);
    return RT_OK;
}

static rt_status open_table(rt_rec_users *s) {
    const rt_rec *rec = s->rec;
    RT_TRY(rt_table_open(rec->cli->recommend.users, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &s->table));
    RT_TRY(rt_table_require(s->table, rec->user_column, &s->id));
    if (rec->cli->recommend.slice) s->slice = rt_table_find(s->table, rec->cli->recommend.slice);
    for (int r = 0; r < RT_ROLES; r++)
        if (rec->has[r]) RT_TRY(bind_text(s, r));
    return RT_OK;
}

rt_status rt_rec_users_open(rt_rec *rec, const uint64_t *wanted, uint32_t n_wanted, rt_rec_users **out) {
    rt_status rc = RT_OK;
    rt_rec_users *s = calloc(1, sizeof *s);
    if (!s) return rt_fail(RT_ENOMEM, "out of memory for users");
    s->rec = rec;
    s->slice = -1;
    s->n_users = wanted ? n_wanted : rec->events.n_users;
    if (wanted) {
        size_t bytes = ((size_t)n_wanted / 64 + 1) * sizeof *wanted;
        s->wanted = malloc(bytes);
        if (!s->wanted) RT_GO(rt_fail(RT_ENOMEM, "out of memory for users"));
        memcpy(s->wanted, wanted, bytes);
    }
    if (rec->cli->recommend.users)
        RT_GO(open_table(s));
    else if (rec->cli->recommend.user_text)
        RT_GO(rt_fail(RT_EUSAGE, "--user-text %s is of the table of users: name it with --users",
                      rec->cli->recommend.user_text));
    *out = s;
    s = NULL;
done:
    rt_rec_users_close(s);
    return rc;
}

static bool is_id(const rt_field *f) {
    return !f->missing && f->size > 0 && f->size <= RT_ID_BYTES && !memchr(f->bytes, 0, f->size);
}

static rt_status bad_id(const rt_table *t, uint64_t line, const rt_field *f) {
    rt_text shown = {0};
    if (!f->missing) rt_text_escaped(&shown, f->bytes, f->size, 80);
    rt_status rc = rt_fail(RT_EDATA, "%s:%llu: a user's id \"%s\"; accepted: 1 to %d bytes of text", rt_table_path(t),
                           (unsigned long long)line, shown.data ? shown.data : "", RT_ID_BYTES);
    rt_text_free(&shown);
    return rc;
}

/* --- one user --------------------------------------------------------------------------------------------------------
 */

static void put(rt_rec_window *w, const char *bytes, size_t size, size_t *at, size_t *length) {
    *at = w->bytes.size;
    *length = size;
    if (size) rt_text_append(&w->bytes, bytes, size);
}

/* The slice that the user clicked most, ties to the smaller number. A user has few slices, so plain counting will do.
 */
static uint32_t slice_of_clicks(const rt_rec *rec, uint32_t user) {
    const uint32_t *items, *slices = rec->items.slices;
    uint32_t n = rt_events_history(&rec->events, user, &items), best = RT_NO_ID, most = 0;
    if (n > SLICE_CLICKS) items += n - SLICE_CLICKS, n = SLICE_CLICKS;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t count = 0, slice = slices[items[i]];
        if (slice == RT_NO_ID) continue;
        for (uint32_t j = 0; j < n; j++) count += slices[items[j]] == slice;
        if (count > most || (count == most && slice < best)) best = slice, most = count;
    }
    return best;
}

static rt_status add_user(rt_rec_users *s, rt_rec_window *w, uint32_t user, const char *id, size_t id_size,
                          const rt_field *fields) {
    const rt_rec *rec = s->rec;
    rt_rec_user *u = &w->users[w->n];
    const uint32_t *items;
    bool made = false;
    *u = (rt_rec_user){.user = user, .slice = RT_NO_ID};
    put(w, id, id_size, &u->id, &u->id_size);
    for (int r = 0; r < RT_ROLES; r++) {
        const char *text = NULL;
        size_t size = 0;
        if (!rec->has[r]) continue;
        if (s->texts[r] && fields) rt_template_render(s->texts[r], fields, &s->scratch, &text, &size);
        u->from_log[r] = s->is_history[r];
        if (!text || !size) { /* nothing in the table: the log */
            uint32_t n = rt_events_history(&rec->events, user, &items);
            if (!made) rt_catalogue_history(&rec->items, items, n, rec->history, &s->history);
            RT_TRY(rt_text_status(&s->history));
            made = true;
            text = s->history.data;
            size = s->history.size;
            u->from_log[r] = true;
        }
        put(w, text, size, &u->text[r], &u->text_size[r]);
    }
    if (fields && s->slice >= 0 && !fields[s->slice].missing && fields[s->slice].size)
        u->slice = rt_ids_find(rec->slices, fields[s->slice].bytes, fields[s->slice].size);
    if (u->slice == RT_NO_ID && rec->user_slices && user < rec->events.n_users) u->slice = rec->user_slices[user];
    if (u->slice == RT_NO_ID && rec->items.slices) u->slice = slice_of_clicks(rec, user);
    w->n++;
    return rt_text_status(&w->bytes);
}

/* With `wanted`, a user is taken once. */
static bool take_wanted(rt_rec_users *s, uint32_t user) {
    if (!s->wanted) return true;
    if (user >= s->n_users || !(s->wanted[user / 64] >> user % 64 & 1)) return false;
    s->wanted[user / 64] &= ~((uint64_t)1 << user % 64);
    return true;
}

static rt_status next_row(rt_rec_users *s, rt_rec_window *w, bool *end) {
    const rt_field *fields;
    uint64_t line;
    rt_status rc = rt_table_next(s->table, &fields, &line);
    *end = rc == RT_OK && !fields;
    if (*end) return RT_OK;
    if (rc == RT_OK && !is_id(&fields[s->id])) rc = bad_id(s->table, line, &fields[s->id]);
    if (rc == RT_EDATA && s->rec->skip_bad_rows) {
        s->bad_rows++;
        return RT_OK;
    }
    RT_TRY(rc);
    const rt_field *id = &fields[s->id];
    uint32_t user = rt_ids_find(s->rec->users, id->bytes, id->size);
    return take_wanted(s, user) ? add_user(s, w, user, id->bytes, id->size, fields) : RT_OK;
}

rt_status rt_rec_users_next(rt_rec_users *s, rt_rec_window *w) {
    w->n = 0;
    rt_text_clear(&w->bytes);
    while (w->n < w->room && s->table && w->bytes.size < WINDOW_BYTES) {
        bool end;
        RT_TRY(next_row(s, w, &end));
        if (rt_signals_stop()) return rt_fail(RT_ESTOPPED, "stopped");
        if (!end) continue;
        rt_table_close(s->table);
        s->table = NULL;
        if (!s->wanted) s->next = s->n_users; /* the table said who; only with `wanted` others follow */
    }
    for (; w->n < w->room && s->next < s->n_users && !s->table && w->bytes.size < WINDOW_BYTES; s->next++) {
        size_t size;
        const char *id = rt_ids_get(s->rec->users, s->next, &size);
        if (take_wanted(s, s->next)) RT_TRY(add_user(s, w, s->next, id, size, NULL));
    }
    return RT_OK;
}

rt_status rt_rec_users_slices(rt_rec *rec, uint32_t **out) {
    rt_status rc = RT_OK;
    rt_table *table = NULL;
    int id, slice;
    uint32_t *slices = NULL;
    *out = NULL;
    if (!rec->cli->recommend.users) return RT_OK;
    RT_GO(rt_table_open(rec->cli->recommend.users, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &table));
    RT_GO(rt_table_require(table, rec->user_column, &id));
    slice = rt_table_find(table, rec->cli->recommend.slice);
    if (slice < 0) goto done;
    slices = malloc(((size_t)rec->events.n_users + 1) * sizeof *slices);
    if (!slices) RT_GO(rt_fail(RT_ENOMEM, "out of memory for the slices of users"));
    for (uint32_t u = 0; u < rec->events.n_users; u++) slices[u] = RT_NO_ID;
    for (;;) {
        const rt_field *f;
        uint64_t line;
        rc = rt_table_next(table, &f, &line);
        if (rc == RT_EDATA && rec->skip_bad_rows) continue;
        RT_GO(rc);
        if (!f) break;
        if (rt_signals_stop()) RT_GO(rt_fail(RT_ESTOPPED, "stopped"));
        if (f[id].missing || f[slice].missing || !f[slice].size || f[slice].size > RT_ID_BYTES) continue;
        /* A slice of users without clicks is a slice too: it has no ranking of its own. */
        uint32_t user = rt_ids_find(rec->users, f[id].bytes, f[id].size), number;
        RT_GO(rt_ids_add(rec->slices, f[slice].bytes, f[slice].size, &number));
        if (user < rec->events.n_users && slices[user] == RT_NO_ID) slices[user] = number;
    }
    *out = slices;
    slices = NULL;
done:
    free(slices);
    rt_table_close(table);
    return rc;
}
