/* The click log in memory: what each user clicked, oldest first, and as two sparse matrices of 0 and 1 (with counts),
 * user -> items and item -> users. Users and items are dense numbers (ids.h).
 *
 * Memory of n clicks: 16 n bytes while the file is read, 28 n at most while they are put in order, 12 n afterwards for
 * the histories and at most 12 n for the matrices, plus 8 bytes a user and an item; the ids are counted in ids.h. */
#ifndef RT_RECOMMEND_EVENTS_H
#define RT_RECOMMEND_EVENTS_H
#include "../data/table.h"
#include "ids.h"

#define RT_NO_TIME INT64_MIN

/* Different pairs of user and item. */
typedef struct {
    uint32_t n_users, n_items;
    uint64_t n;                          /* pairs */
    uint64_t *user_starts, *item_starts; /* [n_users + 1], [n_items + 1] */
    uint32_t *user_items, *item_users;   /* [n] rising within each */
    uint16_t *user_counts, *item_counts; /* [n] clicks of the pair; 65,535 stands for more */
} rt_clicks;

typedef struct {
    uint32_t n_users, n_items; /* of the two rt_ids when the log was read: later ids have no clicks */
    uint64_t n;                /* clicks */
    uint64_t *starts;          /* [n_users + 1] */
    uint32_t *items;           /* [n] of each user, rising by time, then in the order of rows; with repetitions */
    int64_t *times;            /* [n] whole seconds since 1970 or plain numbers; without times the row's number */
    rt_clicks clicks;
    bool timed, all_rows_click; /* the file had times; it had no label */
    uint64_t rows, bad_rows;    /* read; left out because they were malformed */
    uint64_t unknown_items;     /* clicks on what is not in the items' table, left out */
    uint64_t unknown_users;     /* clicks of users who are not known, left out (known_users) */
} rt_events;

typedef struct {
    const char *path;
    rt_table_format format;
    rt_quoting quoting;
    /* Columns. time NULL: the order of rows. label NULL: every row is a click. The optional ones are looked for and
     * done without where the file lacks them. */
    const char *user, *item, *time, *label;
    const char *label_else; /* looked for where the file lacks `label`; NULL: nothing is */
    bool time_optional, label_optional;
    const char *const *labels; /* [n_labels] names of the label's values, the last one is the click; NULL: 0 and 1 */
    int n_labels;
    rt_ids *users, *items; /* borrowed; users grow unless known_users */
    bool known_users;
    bool grow_items; /* a log that knows all items itself; else what `items` lacks is left out and counted */
    bool skip_bad_rows;
    bool (*stop)(void *context, uint64_t rows); /* asked every few thousand rows; NULL: never */
    void *context;
} rt_events_options;

/* RT_EDATA with file, line, what was found and what is accepted; RT_ENOINPUT; RT_ENOMEM; RT_ESTOPPED. */
rt_status rt_events_read(const rt_events_options *options, rt_events *out);
void rt_events_free(rt_events *events);
/* From clicks that are in memory already: users[i] clicked items[i] at times[i] (times NULL: in this order). */
rt_status rt_events_from(uint32_t n_users, uint32_t n_items, uint64_t n, const uint32_t *users, const uint32_t *items,
                         const int64_t *times, rt_events *out);
/* The matrices with at most `most` different items of each user, those he clicked last; 0: all. *cut (may be NULL):
 * users who had more. Free with rt_clicks_free. */
rt_status rt_clicks_of(const rt_events *events, uint32_t most, rt_clicks *out, uint32_t *cut);
void rt_clicks_free(rt_clicks *clicks);

static inline uint32_t rt_events_history(const rt_events *e, uint32_t user, const uint32_t **items) {
    *items = NULL;
    if (user >= e->n_users) return 0;
    *items = e->items + e->starts[user];
    return (uint32_t)(e->starts[user + 1] - e->starts[user]);
}

/* The user's different items, rising. */
static inline uint32_t rt_clicks_user(const rt_clicks *c, uint32_t user, const uint32_t **items) {
    *items = NULL;
    if (user >= c->n_users) return 0;
    *items = c->user_items + c->user_starts[user];
    return (uint32_t)(c->user_starts[user + 1] - c->user_starts[user]);
}

/* How many users clicked the item. */
static inline uint32_t rt_clicks_of_item(const rt_clicks *c, uint32_t item) {
    return item < c->n_items ? (uint32_t)(c->item_starts[item + 1] - c->item_starts[item]) : 0;
}

#endif
