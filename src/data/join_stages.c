/* From events to pairs: when each impression began, which non-clicks stay in train, what each user liked before. */
#include "join_internal.h"
#include <stdlib.h>
#include <string.h>

/* --- events as bytes -----------------------------------------------------------------------------------------------
 */

void rt_join_pack(rt_text *out, const rt_join_event *e) {
    rt_text_clear(out);
    rt_text_append(out, (const char *)&e->head, sizeof e->head);
    rt_text_append(out, e->user, e->head.user_size);
    rt_text_append(out, e->impression, e->head.impression_size);
    rt_text_append(out, e->query, e->head.query_size);
    if (e->head.n_history > 0) rt_text_append(out, (const char *)e->history, e->head.n_history * sizeof(uint32_t));
}

rt_join_event rt_join_unpack(const rt_extsort_record *record) {
    rt_join_event e;
    const char *at = record->value;
    memcpy(&e.head, at, sizeof e.head);
    e.user = at + sizeof e.head;
    e.impression = e.user + e.head.user_size;
    e.query = e.impression + e.head.impression_size;
    e.history = (const unsigned char *)e.query + e.head.query_size;
    return e;
}

/* Ids hold no NUL, so that one ends them: a shorter id sorts before all that it begins. */
static void key_text(rt_text *key, const char *bytes, size_t size) {
    rt_text_append(key, bytes, size);
    rt_text_append(key, "", 1);
}

static void key_byte(rt_text *key, int value) {
    char byte = (char)value;
    rt_text_append(key, &byte, 1);
}

static void key_u64(rt_text *key, uint64_t value) {
    unsigned char bytes[8];
    rt_key_u64(bytes, value);
    rt_text_append(key, (const char *)bytes, sizeof bytes);
}

static void key_time(rt_text *key, rt_join_time time) {
    unsigned char bytes[12];
    rt_join_time_key(time, bytes);
    rt_text_append(key, (const char *)bytes, sizeof bytes);
}

static rt_status add(rt_joining *j, rt_extsort *sort, const void *value, size_t size) {
    RT_TRY(rt_text_status(&j->key));
    return rt_extsort_add(sort, j->key.data, j->key.size, value, size);
}

enum { KIND_ROW, KIND_CLICK };

/* A row is looked up when its impression began, a click counts from when it happened; at one instant rows stand before
 * clicks, so that a history holds what is strictly older. */
static rt_status add_user_event(rt_joining *j, const rt_join_event *e) {
    const rt_join_head *h = &e->head;
    rt_join_pack(&j->packed, e);
    RT_TRY(rt_text_status(&j->packed));
    for (int kind = KIND_ROW; kind <= (h->click ? KIND_CLICK : KIND_ROW); kind++) {
        unsigned char click[5];
        rt_text_clear(&j->key);
        key_text(&j->key, e->user, h->user_size);
        key_time(&j->key, kind == KIND_ROW ? h->shown : h->time);
        key_byte(&j->key, kind);
        key_u64(&j->key, h->seq);
        memcpy(click, &h->item, 4);
        click[4] = h->source;
        if (kind == KIND_ROW)
            RT_TRY(add(j, j->users, j->packed.data, j->packed.size));
        else
            RT_TRY(add(j, j->users, click, sizeof click));
    }
    return RT_OK;
}

rt_status rt_join_add_event(rt_joining *j, rt_join_event *e) {
    if (j->impressions) {
        rt_join_pack(&j->packed, e);
        RT_TRY(rt_text_status(&j->packed));
        rt_text_clear(&j->key);
        key_byte(&j->key, e->head.source);
        key_text(&j->key, e->impression, e->head.impression_size);
        key_text(&j->key, e->user, e->head.user_size);
        key_u64(&j->key, e->head.seq);
        return add(j, j->impressions, j->packed.data, j->packed.size);
    }
    if (j->users) return add_user_event(j, e);
    e->head.group = e->head.seq;
    return rt_join_add_pair(j, e, 0);
}

rt_status rt_join_add_pair(rt_joining *j, const rt_join_event *e, uint32_t ordinal) {
    const rt_join_head *h = &e->head;
    rt_text *key = &j->key;
    rt_join_time when = h->shown;
    unsigned char last[4];
    if (!j->has_time) {
        /* By chance, but whole groups: the hash of the group stands for the time. */
        rt_text_clear(key);
        key_u64(key, j->o->seed);
        if (j->has_impression) {
            key_text(key, e->impression, h->impression_size);
            key_text(key, e->user, h->user_size);
        } else {
            key_u64(key, h->group);
        }
        when = (rt_join_time){(int64_t)(rt_hash64(key->data, key->size) >> 1), 0};
    }
    rt_text_clear(key);
    key_byte(key, h->place);
    key_time(key, when);
    if (j->has_impression) {
        key_text(key, e->impression, h->impression_size);
        key_text(key, e->user, h->user_size);
    } else {
        key_u64(key, h->group);
    }
    key_u64(key, h->seq);
    for (int i = 0; i < 4; i++) last[i] = (unsigned char)(ordinal >> (24 - 8 * i));
    rt_text_append(key, (const char *)last, sizeof last);
    rt_join_pack(&j->packed, e);
    RT_TRY(rt_text_status(&j->packed));
    RT_TRY(add(j, j->pairs, j->packed.data, j->packed.size));
    j->cut_rows += h->place == RT_PLACE_CUT;
    return RT_OK;
}

/* --- choosing ------------------------------------------------------------------------------------------------------
 */

static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u; /* SplitMix64 (Steele, Lea, Flood 2014) */
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

rt_join_choice rt_join_choose(uint64_t seed, uint64_t stream, uint64_t all, uint64_t keep) {
    uint64_t words[2] = {seed, stream};
    return (rt_join_choice){all, keep < all ? keep : all, rt_hash64(words, sizeof words)};
}

/* Selection sampling (Knuth, volume 2, 3.4.2, algorithm S). */
bool rt_join_chosen(rt_join_choice *c) {
    if (c->all == 0) return false;
    bool chosen = c->keep > 0 && (c->keep == c->all || next_random(&c->state) % c->all < c->keep);
    c->all--;
    c->keep -= chosen;
    return chosen;
}

/* --- impressions ---------------------------------------------------------------------------------------------------
 */

typedef struct {
    rt_join_time shown;
    uint64_t rows, clicks;
    bool two_places;
} impression;

static bool same_group(const rt_text *key, const rt_extsort_record *r, size_t tail) {
    return r->key_size - tail == key->size && !memcmp(r->key, key->data, key->size);
}

static void keep_group(rt_text *key, const rt_extsort_record *r, size_t tail) {
    rt_text_clear(key);
    rt_text_append(key, r->key, r->key_size - tail);
}

/* Looks at a whole impression: *r is its first record, and the next one's afterwards. */
static rt_status look_ahead(rt_extsort_reader *ahead, rt_extsort_record *r, rt_text *group, impression *all) {
    rt_join_head first = rt_join_unpack(r).head;
    *all = (impression){.shown = first.time};
    keep_group(group, r, 8);
    RT_TRY(rt_text_status(group));
    while (r->key && same_group(group, r, 8)) {
        rt_join_head h = rt_join_unpack(r).head;
        if (rt_join_time_compare(h.time, all->shown) < 0) all->shown = h.time;
        all->rows++;
        all->clicks += h.click;
        all->two_places = all->two_places || h.place != first.place;
        RT_TRY(rt_extsort_next(ahead, r));
    }
    return RT_OK;
}

static rt_status in_two_splits(const rt_joining *j, const rt_join_event *e) {
    rt_text shown = {0};
    rt_text_escaped(&shown, e->impression, e->head.impression_size, 80);
    rt_status rc = rt_fail(RT_EDATA,
                           "%s: the rows of impression \"%s\" stand in different splits (--split-column %s); an "
                           "impression belongs to one",
                           j->o->events, shown.data ? shown.data : "", j->o->split_column ? j->o->split_column : "");
    rt_text_free(&shown);
    return rc;
}

/* The same id under another user: *last holds "source, impression" of the impression before. */
static void note_shared(rt_joining *j, rt_text *last, const rt_join_event *e) {
    rt_text_clear(&j->key);
    key_byte(&j->key, e->head.source);
    rt_text_append(&j->key, e->impression, e->head.impression_size);
    if (last->size == j->key.size && !memcmp(last->data, j->key.data, last->size)) j->s->shared_impressions++;
    rt_text_clear(last);
    rt_text_append(last, j->key.data, j->key.size);
}

static void end_sort(rt_joining *j, rt_extsort **sort) {
    if (!*sort) return;
    j->s->temporary_bytes += rt_extsort_file_bytes(*sort);
    j->s->runs += rt_extsort_runs(*sort);
    rt_extsort_free(*sort);
    *sort = NULL;
}

rt_status rt_join_time_impressions(rt_joining *j) {
    rt_status rc;
    rt_extsort *sorted = j->impressions;
    rt_extsort_reader *ahead = NULL, *behind = NULL;
    rt_extsort_record next, record;
    rt_text group = {0}, last = {0};
    RT_GO(rt_extsort_finish(sorted, j->read_memory));
    RT_GO(rt_extsort_new(j->o->folder, j->sort_memory, j->has_user ? &j->users : &j->pairs));
    RT_GO(rt_extsort_open(sorted, &ahead));
    RT_GO(rt_extsort_open(sorted, &behind));
    j->impressions = NULL; /* from here on events go to the next sort */
    RT_GO(rt_extsort_next(ahead, &next));
    for (uint64_t n = 0; next.key; n++) {
        impression all;
        if (n % 1024 == 0) RT_GO(rt_join_stopped(j));
        RT_GO(look_ahead(ahead, &next, &group, &all));
        uint64_t others = all.rows - all.clicks, keep = others;
        if (j->o->negatives >= 0 && !j->sampled) keep = (uint64_t)j->o->negatives * all.clicks;
        rt_join_choice choice = rt_join_choose(j->o->seed, rt_hash64(group.data, group.size), others, keep);
        for (uint64_t i = 0; i < all.rows; i++) {
            RT_GO(rt_extsort_next(behind, &record));
            rt_join_event e = rt_join_unpack(&record);
            if (i == 0 && all.two_places) RT_GO(in_two_splits(j, &e));
            if (i == 0) note_shared(j, &last, &e);
            e.head.shown = all.shown;
            e.head.spare = !e.head.click && !rt_join_chosen(&choice);
            RT_GO(rt_join_add_event(j, &e));
        }
    }
done:
    rt_extsort_close(ahead);
    rt_extsort_close(behind);
    rt_text_free(&group);
    rt_text_free(&last);
    end_sort(j, &sorted);
    j->impressions = NULL;
    return rc;
}

/* --- users ---------------------------------------------------------------------------------------------------------
 */

typedef struct {
    uint32_t items[RT_JOIN_MAX_HISTORY];
    uint64_t n;
} ring;

typedef struct {
    rt_join_time shown;
    uint64_t group;
    bool any;
} batch;

typedef struct {
    rt_text user;
    ring rings[2]; /* of the log; of both logs, for the rows of test_events */
    batch before;
    uint32_t history[RT_JOIN_MAX_HISTORY], drawn[RT_JOIN_MAX_NEGATIVES];
    rt_join_sampler *sampler;
    rt_extsort_reader *ahead;
    rt_extsort_record next; /* of ahead */
} walk;

static void push(ring *r, uint32_t item, int most) {
    if (most > 0) r->items[r->n++ % (uint64_t)most] = item;
}

static uint32_t unroll(const ring *r, int most, uint32_t *out) {
    uint64_t n = r->n < (uint64_t)most ? r->n : (uint64_t)most;
    for (uint64_t i = 0; i < n; i++) out[i] = r->items[(r->n - n + i) % (uint64_t)most];
    return (uint32_t)n;
}

static int kind_of(const rt_extsort_record *r) {
    return ((const unsigned char *)r->key)[r->key_size - 9];
}

/* The user's id in a key, its NUL included: what follows has a fixed length. */
enum { AFTER_USER = 12 + 1 + 8 };

/* Another user: nothing is remembered, and what he clicks at any time is never sampled for him. */
static rt_status begin_user(walk *w, const rt_extsort_record *r) {
    keep_group(&w->user, r, AFTER_USER);
    RT_TRY(rt_text_status(&w->user));
    w->rings[0].n = w->rings[1].n = 0;
    w->before.any = false;
    if (!w->sampler) return RT_OK;
    rt_join_sampler_clear(w->sampler);
    while (w->next.key && same_group(&w->user, &w->next, AFTER_USER)) {
        if (kind_of(&w->next) == KIND_CLICK) {
            uint32_t item;
            memcpy(&item, w->next.value, sizeof item);
            rt_join_sampler_exclude(w->sampler, item);
        }
        RT_TRY(rt_extsort_next(w->ahead, &w->next));
    }
    return RT_OK;
}

static rt_status add_row(rt_joining *j, walk *w, rt_join_event *e) {
    rt_join_head *h = &e->head;
    h->n_history = unroll(&w->rings[h->source], j->o->history, w->history);
    e->history = (const unsigned char *)w->history;
    h->group = h->seq;
    if (!j->has_impression && !j->sampled && j->has_time) {
        /* Without impressions, what a user was shown at one time. */
        if (w->before.any && rt_join_time_compare(w->before.shown, h->shown) == 0) h->group = w->before.group;
        w->before = (batch){h->shown, h->group, true};
    }
    RT_TRY(rt_join_add_pair(j, e, 0));
    if (!w->sampler || !h->click) return RT_OK;
    int n = rt_join_sampler_draw(w->sampler, h->shown, h->seq, j->o->negatives, w->drawn);
    j->s->negatives_missing += (uint64_t)(j->o->negatives - n);
    h->click = 0;
    for (int i = 0; i < n; i++) {
        h->item = w->drawn[i];
        RT_TRY(rt_join_add_pair(j, e, (uint32_t)i + 1));
    }
    return RT_OK;
}

rt_status rt_join_make_histories(rt_joining *j) {
    rt_status rc = RT_OK;
    rt_extsort_reader *reader = NULL;
    rt_extsort_record r;
    walk *w = calloc(1, sizeof *w);
    if (!w) return rt_fail(RT_ENOMEM, "no memory for histories");
    RT_GO(rt_extsort_finish(j->users, j->read_memory));
    RT_GO(rt_extsort_new(j->o->folder, j->sort_memory, &j->pairs));
    RT_GO(rt_extsort_open(j->users, &reader));
    if (j->sampled) {
        RT_GO(rt_join_sampler_new(j, &w->sampler));
        RT_GO(rt_extsort_open(j->users, &w->ahead));
        RT_GO(rt_extsort_next(w->ahead, &w->next));
    }
    for (uint64_t n = 0;; n++) {
        if (n % 4096 == 0) RT_GO(rt_join_stopped(j));
        RT_GO(rt_extsort_next(reader, &r));
        if (!r.key) break;
        if (!same_group(&w->user, &r, AFTER_USER)) RT_GO(begin_user(w, &r));
        if (kind_of(&r) == KIND_ROW) {
            rt_join_event e = rt_join_unpack(&r);
            RT_GO(add_row(j, w, &e));
        } else {
            uint32_t item;
            memcpy(&item, r.value, sizeof item);
            push(&w->rings[1], item, j->o->history);
            if (((const unsigned char *)r.value)[4] == 0) push(&w->rings[0], item, j->o->history);
        }
    }
done:
    rt_extsort_close(reader);
    rt_extsort_close(w->ahead);
    rt_join_sampler_free(w->sampler);
    rt_text_free(&w->user);
    free(w);
    end_sort(j, &j->users);
    return rc;
}
