/* Pairs in order of split, time and group become the files; on the way they are counted. */
#include "../base/file.h"
#include "join_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FLUSH = 256 << 10, TAIL = 12 /* of a pair's key: its place in the log, its ordinal */ };

typedef struct {
    rt_atomic file;
    rt_text text;
    char *path;
    uint64_t *items; /* bits: those that its rows have */
} output;

typedef struct {
    rt_joining *j;
    output out[RT_SPLITS];
    rt_text group, history, pair, line;
    rt_join_split split; /* of the group being written */
    uint64_t number;     /* of the group, over all files */
    uint64_t cut_before; /* rows that --split divides, before this group */
    rt_join_time at;     /* when the last group began */
    bool any, open;
    uint64_t rows, clicks; /* of the group */
    size_t words;
} writer;

const char *rt_join_split_name(rt_join_split split) {
    static const char *const names[] = {"train", "dev", "test", "predict"};
    return names[split];
}

/* As it stands in the output; where the log has dates, readable. */
static void time_label(const rt_joining *j, rt_join_time t, char out[48]) {
    rt_text text = {0};
    struct tm tm;
    time_t seconds = (time_t)t.whole;
    if (!j->has_time)
        out[0] = 0;
    else if (j->calendar && gmtime_r(&seconds, &tm))
        strftime(out, 48, "%Y-%m-%d %H:%M:%S", &tm);
    else {
        rt_join_time_print(t, &text);
        snprintf(out, 48, "%s", text.data ? text.data : "");
    }
    rt_text_free(&text);
}

/* --- files ---------------------------------------------------------------------------------------------------------
 */

static rt_status path_of(const rt_joining *j, const char *name, char **path) {
    rt_text file = {0};
    rt_text_printf(&file, "%s.tsv", name);
    *path = file.failed ? NULL : rt_path_join(j->o->folder, file.data);
    rt_text_free(&file);
    return *path ? RT_OK : rt_fail(RT_ENOMEM, "no memory for a file's name");
}

static rt_status flush(output *o, size_t at_least) {
    RT_TRY(rt_text_status(&o->text));
    if (o->text.size < at_least || o->text.size == 0) return RT_OK;
    RT_TRY(rt_atomic_write(&o->file, o->text.data, o->text.size));
    rt_text_clear(&o->text);
    return RT_OK;
}

static rt_status open_output(writer *w, rt_join_split split) {
    const rt_joining *j = w->j;
    output *o = &w->out[split];
    RT_TRY(path_of(j, rt_join_split_name(split), &o->path));
    RT_TRY(rt_atomic_begin(&o->file, o->path));
    o->items = calloc(w->words, sizeof *o->items);
    if (!o->items) return rt_fail(RT_ENOMEM, "no memory to count the items of %s", o->path);
    rt_text_puts(&o->text, "impression_id");
    if (j->has_user) rt_text_puts(&o->text, "\tuser_id");
    rt_text_puts(&o->text, "\titem_id");
    if (j->has_time) rt_text_puts(&o->text, "\ttime");
    if (j->has_query) rt_text_puts(&o->text, "\tquery");
    rt_text_puts(&o->text, "\thistory\ttitle");
    if (j->has_category) rt_text_puts(&o->text, "\tcategory");
    if (split != RT_SPLIT_PREDICT) rt_text_puts(&o->text, "\tclick");
    rt_text_puts(&o->text, "\tnew_item\tcold_user\n");
    return RT_OK;
}

static rt_status write_items(writer *w) {
    rt_status rc;
    output o = {0};
    rt_joining *j = w->j;
    RT_GO(path_of(j, "items", &o.path));
    RT_GO(rt_atomic_begin(&o.file, o.path));
    rt_text_printf(&o.text, "item_id\ttitle%s\n", j->has_category ? "\tcategory" : "");
    for (uint32_t i = 0; i < rt_join_items_count(j->items); i++) {
        rt_join_item item = rt_join_items_get(j->items, i);
        rt_join_clean(&o.text, item.id, item.id_size, RT_JOIN_ID_BYTES);
        rt_text_append(&o.text, "\t", 1);
        rt_text_append(&o.text, item.title, item.title_size);
        if (j->has_category) {
            rt_text_append(&o.text, "\t", 1);
            rt_text_append(&o.text, item.category, item.category_size);
        }
        rt_text_append(&o.text, "\n", 1);
        RT_GO(flush(&o, FLUSH));
        if (i % 65536 == 0) RT_GO(rt_join_stopped(j));
    }
    RT_GO(flush(&o, 1));
    RT_GO(rt_atomic_commit(&o.file));
done:
    rt_atomic_abort(&o.file);
    rt_text_free(&o.text);
    free(o.path);
    return rc;
}

/* A file of an earlier join must not be taken for one of this. */
static rt_status drop_stale(const rt_joining *j, rt_join_split split) {
    char *path;
    RT_TRY(path_of(j, rt_join_split_name(split), &path));
    rt_status rc = RT_OK;
    if (unlink(path) == 0)
        rt_warn(j->log, "%s: of an earlier join, removed: this one has no rows for it", path);
    else if (errno != ENOENT)
        rc = rt_fail(RT_EIO, "%s: this join has no rows for it, and it cannot be removed: %s", path, strerror(errno));
    free(path);
    return rc;
}

/* --- groups --------------------------------------------------------------------------------------------------------
 */

static void end_group(writer *w) {
    rt_join_counts *c = &w->j->s->split[w->split];
    if (!w->open || w->rows == 0) return;
    c->groups++;
    c->groups_no_positive += w->clicks == 0;
    c->groups_one_class += w->clicks == 0 || w->clicks == w->rows;
    w->rows = w->clicks = 0;
}

static rt_join_split split_by_rule(writer *w, rt_join_time shown, bool new_time) {
    rt_joining *j = w->j;
    const rt_join_rule *rule = &j->rule;
    if (!rule->by_share) {
        if (rule->n_instants > 1 && rt_join_time_compare(shown, rule->test_from) >= 0) return RT_SPLIT_TEST;
        return rt_join_time_compare(shown, rule->dev_from) >= 0 ? RT_SPLIT_DEV : RT_SPLIT_TRAIN;
    }
    double before = (double)w->cut_before + 1e-6, all = (double)j->cut_rows;
    rt_join_split split = w->any ? w->split : RT_SPLIT_TRAIN;
    if (!new_time) return split;
    if (split == RT_SPLIT_TRAIN && before >= rule->train * all) split = RT_SPLIT_DEV;
    if (split == RT_SPLIT_DEV && before >= (rule->train + rule->dev) * all) split = RT_SPLIT_TEST;
    return split;
}

static rt_status begin_group(writer *w, const rt_extsort_record *r, const rt_join_head *h) {
    rt_joining *j = w->j;
    unsigned char time[12];
    end_group(w);
    /* Without times the key holds a hash in the time's place; each group has its own. */
    bool new_time =
        !w->any || w->group.size < 13 || memcmp(w->group.data + 1, (const char *)r->key + 1, sizeof time) != 0;
    rt_join_split before = w->split;
    switch (h->place) {
    case RT_PLACE_CUT:
        w->split = split_by_rule(w, h->shown, new_time);
        break;
    case RT_PLACE_DEV:
        w->split = RT_SPLIT_DEV;
        break;
    case RT_PLACE_TEST:
        w->split = RT_SPLIT_TEST;
        break;
    default:
        w->split = RT_SPLIT_PREDICT;
    }
    if (h->place == RT_PLACE_CUT && w->split != before) {
        if (w->split == RT_SPLIT_DEV) time_label(j, h->shown, j->s->dev_from);
        if (w->split == RT_SPLIT_TEST) time_label(j, h->shown, j->s->test_from);
    }
    rt_text_clear(&w->group);
    rt_text_append(&w->group, r->key, r->key_size - TAIL);
    RT_TRY(rt_text_status(&w->group));
    w->any = w->open = true;
    w->number++;
    if (!w->out[w->split].path) RT_TRY(open_output(w, w->split));
    rt_join_counts *c = &j->s->split[w->split];
    if (!c->first[0]) time_label(j, h->shown, c->first);
    time_label(j, h->shown, c->last);
    return RT_OK;
}

/* --- rows ----------------------------------------------------------------------------------------------------------
 */

/* "oldest ; ... ; newest", as many of the newest as fit; returns how many. */
static uint64_t write_history(writer *w, const rt_join_event *e) {
    const rt_join_items *items = w->j->items;
    size_t size = 0;
    uint32_t from = e->head.n_history;
    uint64_t n = 0;
    rt_text_clear(&w->history);
    for (; from > 0; from--) {
        uint32_t number;
        memcpy(&number, e->history + (from - 1) * sizeof number, sizeof number);
        size += rt_join_items_get(items, number).title_size + 3;
        if (size > RT_JOIN_HISTORY_BYTES) break;
    }
    for (uint32_t i = from; i < e->head.n_history; i++) {
        uint32_t number;
        memcpy(&number, e->history + i * sizeof number, sizeof number);
        rt_join_item item = rt_join_items_get(items, number);
        if (item.title_size == 0) continue;
        if (n++ > 0) rt_text_puts(&w->history, " ; ");
        rt_text_append(&w->history, item.title, item.title_size);
    }
    return n;
}

static void put_id(rt_text *out, const char *bytes, size_t size) {
    rt_join_clean(out, bytes, size, RT_JOIN_ID_BYTES);
}

static void put_line(writer *w, const rt_join_event *e, const rt_join_item *item, bool new_item) {
    const rt_joining *j = w->j;
    rt_text *t = &w->out[w->split].text;
    if (j->has_impression) {
        put_id(t, e->impression, e->head.impression_size);
        if (j->s->shared_impressions > 0) {
            rt_text_puts(t, ":");
            put_id(t, e->user, e->head.user_size);
        }
    } else {
        rt_text_printf(t, "%llu", (unsigned long long)w->number);
    }
    if (j->has_user) {
        rt_text_puts(t, "\t");
        put_id(t, e->user, e->head.user_size);
    }
    rt_text_puts(t, "\t");
    put_id(t, item->id, item->id_size);
    if (j->has_time) {
        rt_text_puts(t, "\t");
        rt_join_time_print(e->head.time, t);
    }
    if (j->has_query) {
        rt_text_puts(t, "\t");
        rt_text_append(t, e->query, e->head.query_size);
    }
    rt_text_puts(t, "\t");
    rt_text_append(t, w->history.data ? w->history.data : "", w->history.size);
    rt_text_puts(t, "\t");
    rt_text_append(t, item->title, item->title_size);
    if (j->has_category) {
        rt_text_puts(t, "\t");
        rt_text_append(t, item->category, item->category_size);
    }
    if (w->split != RT_SPLIT_PREDICT) rt_text_puts(t, e->head.click ? "\t1" : "\t0");
    rt_text_puts(t, new_item ? "\t1" : "\t0");
    rt_text_puts(t, w->history.size == 0 ? "\t1\n" : "\t0\n");
}

static rt_status note_items(writer *w, uint32_t item) {
    uint64_t bit = (uint64_t)1 << (item & 63), *word = &w->out[w->split].items[item >> 6];
    if (*word & bit) return RT_OK;
    *word |= bit;
    return rt_join_note_item(w->j, w->split, item);
}

static rt_status write_row(writer *w, const rt_join_event *e) {
    rt_joining *j = w->j;
    const rt_join_head *h = &e->head;
    rt_join_counts *c = &j->s->split[w->split];
    if (w->split == RT_SPLIT_TRAIN && !h->click && !j->sampled) {
        j->s->negatives_all++;
        if (h->spare) return RT_OK;
        j->s->negatives_kept++;
    }
    rt_join_item item = rt_join_items_get(j->items, h->item);
    uint64_t n = write_history(w, e);
    /* Train is written first, so what it holds is known here. */
    const uint64_t *trained = w->out[RT_SPLIT_TRAIN].items;
    bool new_item = w->split != RT_SPLIT_TRAIN && !(trained && trained[h->item >> 6] >> (h->item & 63) & 1);
    RT_TRY(rt_text_status(&w->history));
    put_line(w, e, &item, new_item);
    RT_TRY(flush(&w->out[w->split], FLUSH));
    w->rows++;
    w->clicks += h->click;
    c->rows++;
    c->clicks += h->click;
    c->no_history += n == 0;
    c->history_items += n;
    c->new_items += new_item;
    if (w->split == RT_SPLIT_PREDICT) return RT_OK;
    RT_TRY(note_items(w, h->item));
    rt_text_clear(&w->pair);
    rt_text_append(&w->pair, e->query, h->query_size);
    rt_text_append(&w->pair, "", 1);
    rt_text_append(&w->pair, w->history.data ? w->history.data : "", w->history.size);
    rt_text_append(&w->pair, "", 1);
    rt_text_append(&w->pair, item.title, item.title_size);
    RT_TRY(rt_text_status(&w->pair));
    return rt_join_note_row(j, w->split, h->click, e->user, h->user_size, rt_hash128(w->pair.data, w->pair.size));
}

static rt_status commit(writer *w) {
    rt_joining *j = w->j;
    const rt_join_counts *c = j->s->split;
    if (j->cut_rows > 0 && c[RT_SPLIT_TRAIN].rows == 0)
        return rt_fail(RT_EDATA,
                       "%s: no row is left for train: with --split %s dev begins at the log's first time, %s; choose "
                       "later instants, or larger shares",
                       j->o->events, j->o->split ? j->o->split : "80/10/10", c[RT_SPLIT_DEV].first);
    if (j->rule.by_share && j->rule.dev > 0 && c[RT_SPLIT_TRAIN].rows > 0 && c[RT_SPLIT_DEV].rows == 0)
        rt_warn(j->log, "no row is left for dev: too many rows have the log's last time, or the shares are too small");
    RT_TRY(write_items(w));
    for (int s = 0; s < RT_SPLITS; s++) {
        if (!w->out[s].path) {
            RT_TRY(drop_stale(j, (rt_join_split)s));
            continue;
        }
        RT_TRY(flush(&w->out[s], 1));
        RT_TRY(rt_atomic_commit(&w->out[s].file));
    }
    return RT_OK;
}

rt_status rt_join_write(rt_joining *j) {
    rt_status rc;
    writer w = {.j = j, .words = (size_t)rt_join_items_count(j->items) / 64 + 1};
    rt_extsort_reader *reader = NULL;
    rt_extsort_record r;
    RT_GO(rt_extsort_finish(j->pairs, j->read_memory));
    RT_GO(rt_extsort_new(j->o->folder, j->sort_memory, &j->hashes));
    RT_GO(rt_extsort_open(j->pairs, &reader));
    for (uint64_t n = 0;; n++) {
        if (n % 4096 == 0) RT_GO(rt_join_stopped(j));
        RT_GO(rt_extsort_next(reader, &r));
        if (!r.key) break;
        rt_join_event e = rt_join_unpack(&r);
        if (!w.any || r.key_size - TAIL != w.group.size || memcmp(r.key, w.group.data, w.group.size) != 0)
            RT_GO(begin_group(&w, &r, &e.head));
        w.cut_before += e.head.place == RT_PLACE_CUT;
        RT_GO(write_row(&w, &e));
    }
    end_group(&w);
    rt_extsort_close(reader);
    reader = NULL;
    j->s->temporary_bytes += rt_extsort_file_bytes(j->pairs);
    j->s->runs += rt_extsort_runs(j->pairs);
    rt_extsort_free(j->pairs);
    j->pairs = NULL;
    RT_GO(commit(&w));
done:
    rt_extsort_close(reader);
    for (int s = 0; s < RT_SPLITS; s++) {
        rt_atomic_abort(&w.out[s].file);
        rt_text_free(&w.out[s].text);
        free(w.out[s].path);
        free(w.out[s].items);
    }
    rt_text_free(&w.group);
    rt_text_free(&w.history);
    rt_text_free(&w.pair);
    rt_text_free(&w.line);
    return rc;
}
