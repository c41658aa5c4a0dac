/* MIND's behaviors.tsv: an impression a line, its history given, its candidates with -0 or -1, or bare in the test set
 * that is scored elsewhere. Nothing is added to a history: a user's is the same on all his lines, on purpose, and
 * clicks of other lines would leak. */
#include "../base/digest.h"
#include "join_internal.h"
#include <stdlib.h>
#include <string.h>

enum { IMPRESSION, USER, TIME, HISTORY, CANDIDATES };

typedef struct {
    rt_table *table;
    uint64_t line;
    int labelled; /* of this file: -1 not known yet */
    int number;   /* of the file, where there are several */
    rt_text impression;
    uint32_t *history;
} mind;

static rt_status bad(const mind *m, const char *what, const char *bytes, size_t size, const char *accepted) {
    rt_text shown = {0};
    rt_text_escaped(&shown, bytes, size, 80);
    rt_status rc = rt_fail(RT_EDATA, "%s:%llu: %s \"%s\"; accepted: %s", rt_table_path(m->table),
                           (unsigned long long)m->line, what, shown.data ? shown.data : "", accepted);
    rt_text_free(&shown);
    return rc;
}

/* The next word of a field, blanks apart; false at its end. */
static bool next_word(const char **at, const char *stop, const char **word, size_t *size) {
    while (*at < stop && **at == ' ') ++*at;
    *word = *at;
    while (*at < stop && **at != ' ') ++*at;
    *size = (size_t)(*at - *word);
    return *size > 0;
}

static bool has_label(const char *word, size_t size) {
    return size > 2 && word[size - 2] == '-' && (word[size - 1] == '0' || word[size - 1] == '1');
}

static rt_status read_candidate(const rt_joining *j, mind *m, const char *word, size_t size, uint32_t *item,
                                int *click) {
    bool labelled = has_label(word, size);
    if (m->labelled < 0) m->labelled = labelled;
    if (m->labelled != (int)labelled)
        return bad(m, "a candidate is", word, size,
                   labelled ? "an id without -0 or -1, as in the rows before"
                            : "an id with -0 (not clicked) or -1 (clicked)");
    *click = labelled && word[size - 1] == '1';
    size_t id = labelled ? size - 2 : size;
    *item = rt_join_items_find(j->items, word, id);
    if (*item == RT_JOIN_NO_ITEM) return bad(m, "no such news in --items:", word, id, "an id of a row of news.tsv");
    return RT_OK;
}

/* The newest `history` items that are known. */
static int read_history(rt_joining *j, mind *m, const rt_field *f) {
    const char *at = f->bytes, *stop = f->bytes + f->size, *word;
    size_t size;
    int kept = 0, most = j->o->history;
    uint64_t n = 0;
    while (next_word(&at, stop, &word, &size)) {
        uint32_t item = rt_join_items_find(j->items, word, size);
        if (item == RT_JOIN_NO_ITEM) {
            j->s->unknown_history++;
            continue;
        }
        if (most > 0) m->history[n++ % (uint64_t)most] = item;
        if (kept < most) kept++;
    }
    /* A ring, turned so that the oldest stands first. */
    if (most > 0 && n > (uint64_t)most) {
        uint32_t turned[RT_JOIN_MAX_HISTORY];
        for (int i = 0; i < kept; i++) turned[i] = m->history[(n + (uint64_t)i) % (uint64_t)most];
        memcpy(m->history, turned, (size_t)kept * sizeof *turned);
    }
    return kept;
}

static rt_status check_id(const mind *m, const rt_field *f, const char *what) {
    if (f->size > 0 && f->size <= RT_JOIN_ID_BYTES) return RT_OK;
    return bad(m, what, f->bytes, f->size, "1 to 1024 bytes of text");
}

static rt_status add_line(rt_joining *j, mind *m, const rt_field *f, int source) {
    rt_join_event e = {.query = ""};
    const char *at = f[CANDIDATES].bytes, *stop = at + f[CANDIDATES].size, *word;
    size_t size;
    uint64_t clicks = 0, others = 0;
    int click;
    bool calendar;
    RT_TRY(check_id(m, &f[IMPRESSION], "an impression's id"));
    RT_TRY(check_id(m, &f[USER], "a user's id"));
    if (!rt_join_time_parse(f[TIME].bytes, f[TIME].size, &e.head.time, &calendar) || !calendar)
        return bad(m, "time is", f[TIME].bytes, f[TIME].size, "11/15/2019 10:22:32 AM");
    /* All of a line is looked at before any of it counts. */
    while (next_word(&at, stop, &word, &size)) {
        RT_TRY(read_candidate(j, m, word, size, &e.head.item, &click));
        clicks += click == 1;
        others += click == 0;
    }
    if (clicks + others == 0) return bad(m, "candidates are", "", 0, "N129416-0 N26703-1 ...");
    e.head.n_history = (uint32_t)read_history(j, m, &f[HISTORY]);
    e.history = (const unsigned char *)m->history;
    e.user = f[USER].bytes, e.head.user_size = (uint32_t)f[USER].size;
    rt_text_clear(&m->impression);
    if (m->number > 0) rt_text_printf(&m->impression, "%d-", m->number);
    rt_text_append(&m->impression, f[IMPRESSION].bytes, f[IMPRESSION].size);
    RT_TRY(rt_text_status(&m->impression));
    e.impression = m->impression.data, e.head.impression_size = (uint32_t)m->impression.size;
    e.head.shown = e.head.time;
    e.head.source = (uint8_t)source;
    e.head.place = m->labelled ? source ? RT_PLACE_TEST : RT_PLACE_CUT : RT_PLACE_PREDICT;
    uint64_t keep = j->o->negatives >= 0 ? (uint64_t)j->o->negatives * clicks : others;
    rt_join_choice choice = rt_join_choose(j->o->seed, j->events, others, keep);
    at = f[CANDIDATES].bytes;
    while (next_word(&at, stop, &word, &size)) {
        RT_TRY(read_candidate(j, m, word, size, &e.head.item, &click));
        e.head.click = (uint8_t)click;
        e.head.spare = click == 0 && !rt_join_chosen(&choice);
        e.head.seq = j->events++;
        RT_TRY(rt_join_add_pair(j, &e, 0));
    }
    return RT_OK;
}

rt_status rt_join_mind_events(rt_joining *j, const char *path, int source, int number) {
    static const char *const names[] = {"impression id", "user id", "time", "history", "impressions"};
    mind m = {.labelled = -1, .number = number};
    rt_status rc = RT_OK;
    const rt_field *fields;
    j->has_user = j->has_time = j->has_impression = true;
    j->time_known = j->calendar = true;
    if (j->rule.n_instants > 0 && !j->rule.calendar)
        return rt_fail(RT_EUSAGE, "--split %s: a number, but the log's times are dates, as 2019-11-14", j->o->split);
    if (!j->pairs) RT_GO(rt_extsort_new(j->o->folder, j->sort_memory, &j->pairs));
    m.history = calloc(RT_JOIN_MAX_HISTORY, sizeof *m.history);
    if (!m.history) {
        rc = rt_fail(RT_ENOMEM, "%s: no memory for histories", path);
        goto done;
    }
    RT_GO(rt_join_open_bare(path, '\t', names, 5, 5, &m.table));
    for (uint64_t n = 0;; n++) {
        if (n % 1024 == 0) RT_GO(rt_join_stopped(j));
        rc = rt_table_next(m.table, &fields, &m.line);
        if (rc == RT_OK && !fields) break;
        if (rc == RT_OK) rc = add_line(j, &m, fields, source);
        if (rc != RT_OK) RT_GO(rt_join_bad_row(j, rc));
    }
    if (m.labelled == 0)
        rt_warn(j->log,
                "%s: no candidate has -0 or -1, as in the test set that is scored elsewhere: its rows go to "
                "predict.tsv, for `rectrain predict` alone",
                path);
done:
    rt_table_close(m.table);
    rt_text_free(&m.impression);
    free(m.history);
    return rc;
}
