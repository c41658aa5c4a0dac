/* Reading items and events: tables with columns by name, and MovieLens as it is published. */
#include "../base/digest.h"
#include "join_internal.h"
#include "label.h"
#include <stdlib.h>
#include <string.h>

/* The columns of one file; -1, NULL: none. */
typedef struct {
    rt_table *table;
    rt_template *item, *user, *impression, *query, *title, *category;
    int time, click, rating, split;
    rt_join_bound min, max;
    rt_text scratch[3], latin1, title_text, category_text, query_text;
    bool bare; /* of the 100k set: ISO 8859-1 where it is no UTF-8 */
} columns;

typedef struct {
    const char *bytes;
    size_t size;
} piece;

static void close_columns(columns *c) {
    rt_template_free(c->item);
    rt_template_free(c->user);
    rt_template_free(c->impression);
    rt_template_free(c->query);
    rt_template_free(c->title);
    rt_template_free(c->category);
    for (int i = 0; i < 3; i++) rt_text_free(&c->scratch[i]);
    rt_text_free(&c->latin1);
    rt_text_free(&c->title_text);
    rt_text_free(&c->category_text);
    rt_text_free(&c->query_text);
    rt_table_close(c->table);
}

static rt_status bind(const columns *c, const char *text, const char *flag, rt_template **out) {
    rt_status rc = rt_template_parse(text, flag, out);
    if (rc == RT_ECONFIG) return rt_fail(RT_EUSAGE, "%s", rt_error_get()->text);
    RT_TRY(rc);
    rc = rt_template_bind(*out, c->table);
    return rc == RT_OK ? RT_OK : rt_fail(rc, "%s (%s names a column)", rt_error_get()->text, flag);
}

static rt_status find(const columns *c, const char *name, const char *flag, int *column) {
    rt_status rc = rt_table_require(c->table, name, column);
    return rc == RT_OK ? RT_OK : rt_fail(rc, "%s (%s names a column)", rt_error_get()->text, flag);
}

/* ratings.csv and movies.csv have a header; u.data and u.item have none. */
static rt_status open_movielens(const char *path, const char *column, char delimiter, const char *const *names,
                                int least, int most, columns *c) {
    rt_status rc = rt_table_open(path, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &c->table);
    if (rc == RT_OK && rt_table_find(c->table, column) >= 0) return RT_OK;
    if (rc != RT_OK && rc != RT_EDATA) return rc;
    rt_table_close(c->table);
    c->table = NULL;
    c->bare = true;
    return rt_join_open_bare(path, delimiter, names, least, most, &c->table);
}

static piece render(const rt_template *t, const rt_field *fields, rt_text *scratch) {
    piece p = {"", 0};
    if (t) rt_template_render(t, fields, scratch, &p.bytes, &p.size);
    if (!p.bytes) p = (piece){"", 0};
    return p;
}

static rt_status bad_value(const rt_table *t, uint64_t line, const char *what, const char *bytes, size_t size,
                           const char *accepted) {
    rt_text shown = {0};
    rt_text_escaped(&shown, bytes, size, 80);
    rt_status rc = rt_fail(RT_EDATA, "%s:%llu: %s \"%s\"; accepted: %s", rt_table_path(t), (unsigned long long)line,
                           what, shown.data ? shown.data : "", accepted);
    rt_text_free(&shown);
    return rc;
}

static rt_status check_id(const rt_table *t, uint64_t line, const char *what, piece id) {
    if (id.size > 0 && id.size <= RT_JOIN_ID_BYTES && !memchr(id.bytes, 0, id.size)) return RT_OK;
    return bad_value(t, line, what, id.bytes, id.size, "1 to 1024 bytes of text");
}

/* --- items ---------------------------------------------------------------------------------------------------------
 */

static const char *const mind_items[] = {"item_id",  "category", "subcategory",    "title",
                                         "abstract", "url",      "title_entities", "abstract_entities"};
static const char *const movielens_items[] = {
    "movieId",     "title",     "release_date", "video_release_date", "url",    "unknown",
    "Action",      "Adventure", "Animation",    "Children",           "Comedy", "Crime",
    "Documentary", "Drama",     "Fantasy",      "Film-Noir",          "Horror", "Musical",
    "Mystery",     "Romance",   "Sci-Fi",       "Thriller",           "War",    "Western"};

static rt_status open_items(rt_joining *j, const char *path, columns *c) {
    const rt_join_options *o = j->o;
    const char *key = o->item_key ? o->item_key : o->item, *category = o->category;
    if (o->format == RT_JOIN_MIND) {
        RT_TRY(rt_join_open_bare(path, '\t', mind_items, 7, 8, &c->table));
        if (!category) category = "category";
        key = o->item_key;
    } else if (o->format == RT_JOIN_MOVIELENS) {
        RT_TRY(open_movielens(path, "movieId", '|', movielens_items, 24, 24, c));
        if (!category && !c->bare) category = "genres";
        if (!key) key = "movieId";
    } else {
        RT_TRY(rt_table_open(path, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &c->table));
    }
    RT_TRY(bind(c, key ? key : "item_id", o->item_key ? "--item-key" : "--item", &c->item));
    RT_TRY(bind(c, o->title ? o->title : "title", "--title", &c->title));
    if (category) {
        RT_TRY(bind(c, category, "--category", &c->category));
        j->has_category = true;
    }
    return RT_OK;
}

static rt_status add_item(rt_joining *j, columns *c, const rt_field *fields, uint64_t line) {
    piece id = render(c->item, fields, &c->scratch[0]), title = render(c->title, fields, &c->scratch[1]),
          category = render(c->category, fields, &c->scratch[2]);
    RT_TRY(check_id(c->table, line, "an item's id", id));
    if (c->bare && !rt_join_is_utf8(title.bytes, title.size)) {
        rt_text_clear(&c->latin1);
        rt_join_latin1(&c->latin1, title.bytes, title.size);
        title = (piece){c->latin1.data ? c->latin1.data : "", c->latin1.size};
    }
    rt_text_clear(&c->title_text);
    rt_text_clear(&c->category_text);
    j->s->items_cut += rt_join_clean(&c->title_text, title.bytes, title.size, RT_JOIN_TITLE_BYTES);
    rt_join_clean(&c->category_text, category.bytes, category.size, RT_JOIN_ID_BYTES);
    RT_TRY(rt_text_status(&c->title_text));
    RT_TRY(rt_text_status(&c->category_text));
    rt_item_fate fate;
    rt_join_item item = {id.bytes,
                         c->title_text.data ? c->title_text.data : "",
                         c->category_text.data ? c->category_text.data : "",
                         (uint32_t)id.size,
                         (uint32_t)c->title_text.size,
                         (uint32_t)c->category_text.size};
    RT_TRY(rt_join_items_add(j->items, &item, &fate));
    j->s->items_again += fate == RT_ITEM_AGAIN;
    j->s->items_differ += fate == RT_ITEM_DIFFERS;
    j->s->items_untitled += fate == RT_ITEM_ADDED && item.title_size == 0;
    return RT_OK;
}

static rt_status read_items_of(rt_joining *j, const char *path) {
    rt_status rc;
    columns c = {0};
    const rt_field *fields;
    uint64_t line, n = 0;
    RT_GO(open_items(j, path, &c));
    for (;; n++) {
        if (n % 4096 == 0) RT_GO(rt_join_stopped(j));
        rc = rt_table_next(c.table, &fields, &line);
        if (rc == RT_OK && !fields) break;
        if (rc == RT_OK) rc = add_item(j, &c, fields, line);
        if (rc != RT_OK) RT_GO(rt_join_bad_row(j, rc));
    }
done:
    close_columns(&c);
    return rc;
}

rt_status rt_join_read_items(rt_joining *j) {
    char **files = NULL;
    int n = 0;
    rt_status rc;
    RT_GO(rt_join_files(j->o->items, &files, &n));
    for (int i = 0; i < n; i++) RT_GO(read_items_of(j, files[i]));
    RT_GO(rt_join_items_finish(j->items));
    j->s->items = rt_join_items_count(j->items);
    if (j->s->items == 0) rc = rt_fail(RT_EDATA, "%s: no item in it", j->o->items);
done:
    rt_join_files_free(files, n);
    return rc;
}

/* --- events --------------------------------------------------------------------------------------------------------
 */

/* A column that need not be there: NULL where it is neither named nor found. */
static const char *optional(const columns *c, const char *given, const char *usual) {
    return given ? given : rt_table_find(c->table, usual) >= 0 ? usual : NULL;
}

static rt_status open_events(rt_joining *j, const char *path, bool first, columns *c) {
    static const char *const bare[] = {"userId", "movieId", "rating", "timestamp"};
    const rt_join_options *o = j->o;
    const char *item = o->item ? o->item : "item_id", *user, *time, *rating = o->rating, *min = o->min_rating;
    if (o->format == RT_JOIN_MOVIELENS) {
        RT_TRY(open_movielens(path, "userId", '\t', bare, 4, 4, c));
        item = "movieId", user = "userId", time = "timestamp", rating = "rating";
        if (!min) min = "4";
    } else {
        RT_TRY(rt_table_open(path, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &c->table));
        user = optional(c, o->user, "user_id");
        time = optional(c, o->time, "time");
    }
    if (first) {
        j->has_user = user != NULL;
        j->has_time = time != NULL;
    }
    c->time = c->click = c->rating = c->split = -1;
    RT_TRY(bind(c, item, "--item", &c->item));
    if (j->has_user) RT_TRY(bind(c, user ? user : "user_id", "--user", &c->user));
    if (j->has_time) RT_TRY(find(c, time ? time : "time", "--time", &c->time));
    if (o->impression) RT_TRY(bind(c, o->impression, "--impression", &c->impression));
    if (o->query) RT_TRY(bind(c, o->query, "--query", &c->query));
    if (o->click) RT_TRY(find(c, o->click, "--click", &c->click));
    if (rating) RT_TRY(find(c, rating, "--rating", &c->rating));
    if (o->split_column) RT_TRY(find(c, o->split_column, "--split-column", &c->split));
    if (min) RT_TRY(rt_join_bound_parse(min, "--min-rating", &c->min));
    if (o->max_rating) RT_TRY(rt_join_bound_parse(o->max_rating, "--max-rating", &c->max));
    return RT_OK;
}

static bool in_list(const char *list, piece word) {
    for (const char *p = list;;) {
        size_t n = strcspn(p, ",");
        if (n == word.size && !memcmp(p, word.bytes, n)) return true;
        if (!p[n]) return false;
        p += n + 1;
    }
}

/* *click: 0, 1, or -1: the row lies between the bounds and is left out. */
static rt_status read_click(const rt_joining *j, const columns *c, const rt_field *fields, uint64_t line, int *click) {
    *click = 1;
    if (c->click >= 0) {
        const rt_field *f = &fields[c->click];
        if (j->o->positive)
            *click = in_list(j->o->positive, (piece){f->bytes, f->size});
        else
            *click = rt_label_parse(f, NULL, 1);
        if (*click < 0)
            return bad_value(c->table, line, "click is", f->bytes, f->size,
                             "0, 1, true, false; --positive VALUES names others that mean a click");
    } else if (c->rating >= 0) {
        const rt_field *f = &fields[c->rating];
        char text[64];
        double value;
        size_t n = f->size < sizeof text ? f->size : 0;
        memcpy(text, f->bytes, n);
        text[n] = 0;
        if (f->missing || n == 0 || !rt_parse_f64(text, &value))
            return bad_value(c->table, line, "rating is", f->bytes, f->size, "a number");
        if (c->min.strict ? value > c->min.bound : value >= c->min.bound)
            *click = 1;
        else
            *click = c->max.set && value > c->max.bound ? -1 : 0;
    }
    return RT_OK;
}

static rt_status read_time(rt_joining *j, const columns *c, const rt_field *fields, uint64_t line, rt_join_time *time) {
    const rt_field *f = &fields[c->time];
    bool calendar;
    if (!rt_join_time_parse(f->bytes, f->size, time, &calendar))
        return bad_value(c->table, line, "time is", f->bytes, f->size,
                         "a number, 2019-11-15 10:22:32, 2019-11-15T10:22:32Z, 11/15/2019 10:22:32 AM");
    if (j->time_known && calendar != j->calendar)
        return bad_value(c->table, line, "time is", f->bytes, f->size,
                         calendar ? "a number, as in the rows before" : "a date, as in the rows before");
    if (!j->time_known && j->rule.n_instants > 0 && j->rule.calendar != calendar)
        return rt_fail(RT_EUSAGE, "--split %s: %s, but the log's times are %s (%s:%llu: \"%.*s\")", j->o->split,
                       j->rule.calendar ? "a date" : "a number", calendar ? "dates" : "numbers",
                       rt_table_path(c->table), (unsigned long long)line, (int)(f->size < 40 ? f->size : 40), f->bytes);
    j->time_known = true;
    j->calendar = calendar;
    return RT_OK;
}

static rt_status read_place(const columns *c, const rt_field *fields, uint64_t line, uint8_t *place) {
    static const struct {
        const char *word;
        uint8_t place;
    } words[] = {{"train", RT_PLACE_CUT}, {"training", RT_PLACE_CUT},   {"dev", RT_PLACE_DEV},  {"val", RT_PLACE_DEV},
                 {"valid", RT_PLACE_DEV}, {"validation", RT_PLACE_DEV}, {"test", RT_PLACE_TEST}};
    const rt_field *f = &fields[c->split];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == f->size && !strncasecmp(words[i].word, f->bytes, f->size)) {
            *place = words[i].place;
            return RT_OK;
        }
    return bad_value(c->table, line, "split is", f->bytes, f->size, "train, dev, validation, test");
}

static void note_seen(rt_joining *j, const rt_join_head *h) {
    rt_join_time *first = &j->first_seen[h->item];
    uint64_t bit = (uint64_t)1 << (h->item & 63), *word = &j->seen[h->item >> 6];
    if (!(*word & bit) || rt_join_time_compare(h->time, *first) < 0) *first = h->time;
    *word |= bit;
}

static rt_status add_row(rt_joining *j, columns *c, const rt_field *fields, uint64_t line, int source) {
    rt_join_event e = {.user = "", .impression = "", .query = ""};
    piece item = render(c->item, fields, &c->scratch[0]);
    int click;
    RT_TRY(check_id(c->table, line, "an item's id", item));
    e.head.item = rt_join_items_find(j->items, item.bytes, item.size);
    if (e.head.item == RT_JOIN_NO_ITEM)
        return bad_value(c->table, line, "no such item in the item table:", item.bytes, item.size,
                         "an id of a row of --items");
    piece user = render(c->user, fields, &c->scratch[1]), impression = render(c->impression, fields, &c->scratch[2]);
    if (c->user) RT_TRY(check_id(c->table, line, "a user's id", user));
    if (c->impression) RT_TRY(check_id(c->table, line, "an impression's id", impression));
    if (c->time >= 0) RT_TRY(read_time(j, c, fields, line, &e.head.time));
    if (c->split >= 0) RT_TRY(read_place(c, fields, line, &e.head.place));
    RT_TRY(read_click(j, c, fields, line, &click));
    if (click < 0) {
        j->s->left_out++;
        return RT_OK;
    }
    if (c->query) {
        piece query = render(c->query, fields, &c->latin1);
        rt_text_clear(&c->query_text);
        j->s->queries_cut += rt_join_clean(&c->query_text, query.bytes, query.size, RT_JOIN_TITLE_BYTES);
        RT_TRY(rt_text_status(&c->query_text));
        e.query = c->query_text.data ? c->query_text.data : "";
        e.head.query_size = (uint32_t)c->query_text.size;
    }
    e.user = user.bytes, e.head.user_size = (uint32_t)user.size;
    e.impression = impression.bytes, e.head.impression_size = (uint32_t)impression.size;
    e.head.click = (uint8_t)click;
    e.head.source = (uint8_t)source;
    if (source == 1) e.head.place = RT_PLACE_TEST;
    e.head.shown = e.head.time;
    e.head.seq = j->events++;
    if (j->sampled) note_seen(j, &e.head);
    return rt_join_add_event(j, &e);
}

/* What the log has decides which sorts there are: the first one is made here. */
static rt_status begin_sorting(rt_joining *j) {
    const rt_join_options *o = j->o;
    j->has_impression = o->impression != NULL;
    j->has_query = o->query != NULL;
    if (j->sampled && !j->has_user)
        return rt_fail(RT_EUSAGE, "sampling what a user did not click needs --user: the log has no such column");
    if (!j->has_time && j->rule.n_instants > 0)
        return rt_fail(RT_EUSAGE, "--split %s: the log has no time; name its column with --time", o->split);
    if (!j->has_time) rt_warn(j->log, "no time column (--time): no histories, and whole groups are split by chance");
    if (!j->has_user) rt_warn(j->log, "no user column (--user): no histories");
    rt_extsort **first = j->has_impression ? &j->impressions : j->has_user ? &j->users : &j->pairs;
    return rt_extsort_new(o->folder, j->sort_memory, first);
}

static rt_status read_events_of(rt_joining *j, const char *path, int source, bool first) {
    rt_status rc;
    columns c = {0};
    const rt_field *fields;
    uint64_t line, n = 0;
    RT_GO(open_events(j, path, first, &c));
    if (first) RT_GO(begin_sorting(j));
    for (;; n++) {
        if (n % 4096 == 0) RT_GO(rt_join_stopped(j));
        rc = rt_table_next(c.table, &fields, &line);
        if (rc == RT_OK && !fields) break;
        if (rc == RT_OK) rc = add_row(j, &c, fields, line, source);
        if (rc != RT_OK) RT_GO(rt_join_bad_row(j, rc));
    }
    if (rt_table_suspicious(c.table) > 0)
        rt_warn(j->log, "%s: %llu fields look quoted as in CSV, but were read as they stand", rt_table_path(c.table),
                (unsigned long long)rt_table_suspicious(c.table));
done:
    close_columns(&c);
    return rc;
}

rt_status rt_join_read_events(rt_joining *j) {
    char **files = NULL;
    int n = 0;
    rt_status rc = RT_OK;
    bool first = true;
    for (int source = 0; source < 2; source++) {
        const char *list = source ? j->o->test_events : j->o->events;
        if (!list) continue;
        rt_join_files_free(files, n);
        files = NULL;
        RT_GO(rt_join_files(list, &files, &n));
        for (int i = 0; i < n; i++, first = false)
            RT_GO(j->o->format == RT_JOIN_MIND ? rt_join_mind_events(j, files[i], source, n > 1 ? i + 1 : 0)
                                               : read_events_of(j, files[i], source, first));
    }
    j->s->events = j->events;
    if (j->events == 0) rc = rt_fail(RT_EDATA, "%s: no row that could be used", j->o->events);
done:
    rt_join_files_free(files, n);
    return rc;
}
