/* Pairs from an item table and an event log: for each row what the user liked strictly before it, the item, the click.
 * Logs may be larger than memory: events are sorted in temporary files of the output folder that have no name. */
#ifndef RT_DATA_JOIN_H
#define RT_DATA_JOIN_H
#include "../base/log.h"
#include "../base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    RT_JOIN_TABLE,     /* tables with a header, columns by name */
    RT_JOIN_MIND,      /* behaviors.tsv and news.tsv as published */
    RT_JOIN_MOVIELENS, /* ratings.csv and movies.csv, or u.data and u.item of the 100k set */
} rt_join_format;

enum {
    RT_JOIN_MAX_HISTORY = 1000,
    RT_JOIN_MAX_NEGATIVES = 1000,
    RT_JOIN_ID_BYTES = 1024,          /* of an item's, user's or impression's id */
    RT_JOIN_TITLE_BYTES = 16 << 10,   /* longer texts of an item, and queries, are cut and counted */
    RT_JOIN_HISTORY_BYTES = 64 << 10, /* the oldest titles beyond are left out */
    RT_JOIN_LEAST_MEMORY = 16 << 20,
};

/* Strings are borrowed; NULL: not given. The names of flags stand in messages. */
typedef struct {
    rt_join_format format;
    const char *items, *events; /* a file, or several with commas between them */
    const char *test_events;    /* a log of its own for the test split */
    const char *folder;         /* for the output and the temporary files; made if missing */
    /* Columns of the log. Item, user, impression and query are columns or templates. Without a name item is item_id,
     * user is user_id, time is time, the last two only where the log has such a column. */
    const char *item, *user, *time, *impression, *query;
    const char *click, *positive;                 /* 0 or 1; or with `positive` a list of values that mean a click */
    const char *rating, *min_rating, *max_rating; /* "4", or ">4"; "2": between the two a row is left out */
    const char *split_column;                     /* train, dev, test, as the publisher split them */
    const char *item_key, *title, *category;      /* of the item table; `item`, title, none */
    const char *split; /* "80/10/10", "90/10", or instants: "2019-11-14" or "2019-11-14,2019-11-15" */
    int history;       /* titles kept, the newest */
    int negatives;     /* -1: every row of the log; else for each click: of its impression, or sampled */
    uint64_t seed;
    size_t memory;
    bool skip_bad_rows;
    bool (*stop)(void *context); /* may be NULL; true: end with RT_ESTOPPED */
    void *context;
} rt_join_options;

typedef enum { RT_SPLIT_TRAIN, RT_SPLIT_DEV, RT_SPLIT_TEST, RT_SPLIT_PREDICT, RT_SPLITS } rt_join_split;

typedef struct {
    uint64_t rows, clicks, groups, groups_no_positive, groups_one_class;
    uint64_t no_history, history_items, new_items; /* rows without a history; titles in all; rows of new items */
    char first[48], last[48];                      /* times, as they stand in the file */
} rt_join_counts;

typedef struct {
    uint64_t items, items_again, items_differ, items_untitled, items_cut;
    uint64_t events, bad_rows, left_out /* rated between the two bounds */, unknown_history, queries_cut;
    uint64_t shared_impressions; /* ids that several users have: then written with the user */
    rt_join_counts split[RT_SPLITS];
    /* What two splits share: users, items, titles, pairs of texts; [train dev] [train test] [dev test]. */
    uint64_t shared_users[3], shared_items[3], shared_titles[3], shared_pairs[3];
    uint64_t contradictory_pairs, contradictory_rows; /* the same two texts with both labels */
    bool has_user, has_time, has_impression, sampled, has_category, has_query;
    int history, negatives;
    uint64_t negatives_all, negatives_kept; /* of the train split's impressions */
    uint64_t negatives_missing;             /* could not be had: taken what there was */
    uint64_t seed;
    char split_rule[160], dev_from[48], test_from[48];
    uint64_t temporary_bytes;
    int runs; /* sorted runs that went through files: 0 where memory was enough */
    double seconds;
} rt_join_summary;

/* Writes train.tsv, dev.tsv, test.tsv and items.tsv; rows without labels go to predict.tsv instead. RT_EUSAGE for
 * options that do not fit together, RT_EDATA for a bad row (or it is counted), RT_ESTOPPED, RT_EIO, RT_ENOINPUT,
 * RT_EUNAVAILABLE where `memory` does not hold the index of the items. */
rt_status rt_join(const rt_join_options *options, rt_log *log, rt_join_summary *summary);
const char *rt_join_split_name(rt_join_split split); /* "train", ... */
void rt_join_summary_text(const rt_join_summary *summary, rt_text *out);
void rt_join_summary_json(const rt_join_summary *summary, rt_text *out);

#endif
