/* What the files of the join share.
 *
 *   log  ->  [by impression: when it began, how many clicks]  ->  [by user and time: the history]  ->
 *            [by split, time and group]  ->  train.tsv, dev.tsv, test.tsv;  hashes  ->  what the splits share
 *
 * Each bracket is one external sort. The first is left out without impressions, the second without users. */
#ifndef RT_DATA_JOIN_INTERNAL_H
#define RT_DATA_JOIN_INTERNAL_H
#include "../base/digest.h"
#include "extsort.h"
#include "join.h"
#include "table.h"
#include "template.h"

/* --- values: join_value.c ------------------------------------------------------------------------------------------
 */

/* A number as it stands in the log (seconds, milliseconds, a date as 20200705), or seconds since 1970 of a date. */
typedef struct {
    int64_t whole;
    uint32_t nano;
} rt_join_time;

bool rt_join_time_parse(const char *bytes, size_t size, rt_join_time *time, bool *calendar);
int rt_join_time_compare(rt_join_time a, rt_join_time b);
void rt_join_time_print(rt_join_time time, rt_text *out);
void rt_join_time_key(rt_join_time time, unsigned char out[12]);

typedef struct {
    bool by_share;
    double train, dev; /* shares */
    int n_instants;
    rt_join_time dev_from, test_from;
    bool calendar;
} rt_join_rule;

/* RT_EUSAGE with what is accepted. */
rt_status rt_join_rule_parse(const char *text, rt_join_rule *rule);
/* "4" or ">4". RT_EUSAGE. */
typedef struct {
    double bound;
    bool strict, set;
} rt_join_bound;
rt_status rt_join_bound_parse(const char *text, const char *flag, rt_join_bound *bound);
/* Control characters become blanks, runs of blanks one; cut to `limit` bytes between characters. True: it was cut. */
bool rt_join_clean(rt_text *out, const char *bytes, size_t size, size_t limit);
/* ISO 8859-1 to UTF-8, appended. */
void rt_join_latin1(rt_text *out, const char *bytes, size_t size);
bool rt_join_is_utf8(const char *bytes, size_t size);

/* --- items: join_items.c -------------------------------------------------------------------------------------------
 */

typedef struct rt_join_items rt_join_items;
typedef struct {
    const char *id, *title, *category;
    uint32_t id_size, title_size, category_size;
} rt_join_item;

enum { RT_JOIN_NO_ITEM = UINT32_MAX };
typedef enum { RT_ITEM_ADDED, RT_ITEM_AGAIN, RT_ITEM_DIFFERS } rt_item_fate;

/* Texts go to an unnamed file that is mapped afterwards; the index takes about 40 bytes an item, at most `memory`. */
rt_status rt_join_items_new(const char *folder, size_t memory, rt_join_items **out);
void rt_join_items_free(rt_join_items *items);
/* Of several items with one id the first counts. */
rt_status rt_join_items_add(rt_join_items *items, const rt_join_item *item, rt_item_fate *fate);
rt_status rt_join_items_finish(rt_join_items *items);
uint32_t rt_join_items_count(const rt_join_items *items);
size_t rt_join_items_memory(const rt_join_items *items);
uint32_t rt_join_items_find(const rt_join_items *items, const char *id, size_t size); /* or RT_JOIN_NO_ITEM */
rt_join_item rt_join_items_get(const rt_join_items *items, uint32_t number);

/* --- events --------------------------------------------------------------------------------------------------------
 */

enum { RT_PLACE_CUT, RT_PLACE_DEV, RT_PLACE_TEST, RT_PLACE_PREDICT }; /* cut: train, dev or test by --split */

typedef struct {
    rt_join_time time, shown; /* of the row; of the first row of its impression */
    uint64_t seq;             /* its place in the log */
    uint64_t group;           /* where there is no impression's id */
    uint32_t item, user_size, impression_size, query_size, n_history;
    uint8_t click, place, source /* 1: of test_events */;
    uint8_t spare; /* a non-click beyond options.negatives: left out of train */
} rt_join_head;

typedef struct {
    rt_join_head head;
    const char *user, *impression, *query;
    const unsigned char *history; /* [n_history] uint32, unaligned, oldest first */
} rt_join_event;

typedef struct {
    const rt_join_options *o;
    rt_log *log;
    rt_join_summary *s;
    rt_join_rule rule;
    rt_join_items *items;
    size_t sort_memory, read_memory;
    rt_extsort *impressions, *users, *pairs, *hashes; /* the four sorts, NULL where there is none */
    bool has_user, has_time, has_impression, has_query, has_category, sampled;
    bool time_known, calendar; /* the kind of time that the log has, once a row was read */
    rt_join_time *first_seen;  /* [items] of the log; only for sampling */
    uint64_t *seen;            /* bits: items that occur in the log */
    uint64_t events, cut_rows; /* cut_rows: those that --split divides */
    uint32_t warned;
    rt_text packed, key; /* scratch */
} rt_joining;

/* join_source.c */
/* The files of a comma-separated list, or the one file that has this very name. Caller frees names and list. */
rt_status rt_join_files(const char *list, char ***files, int *n);
void rt_join_files_free(char **files, int n);
/* A file without a header: its columns are called names[0..n), where n_least <= n <= n_most as its first line has. */
rt_status rt_join_open_bare(const char *path, char delimiter, const char *const *names, int n_least, int n_most,
                            rt_table **out);
/* Counts a bad row and warns about the first few, or hands the error up. `rc`: after rt_fail. */
rt_status rt_join_bad_row(rt_joining *j, rt_status rc);
rt_status rt_join_stopped(const rt_joining *j);
/* join_read.c */
rt_status rt_join_read_items(rt_joining *j);
/* Reads the logs; rows go to the first sort there is. */
rt_status rt_join_read_events(rt_joining *j);
/* join_mind.c */
/* Impression ids begin at 1 in every file: with `number` > 0 they are written as NUMBER-ID. */
rt_status rt_join_mind_events(rt_joining *j, const char *path, int source, int number);
/* join_stages.c */
void rt_join_pack(rt_text *out, const rt_join_event *e);
rt_join_event rt_join_unpack(const rt_extsort_record *record);
rt_status rt_join_add_event(rt_joining *j, rt_join_event *e); /* to the first sort */
rt_status rt_join_add_pair(rt_joining *j, const rt_join_event *e, uint32_t ordinal);
rt_status rt_join_time_impressions(rt_joining *j);
rt_status rt_join_make_histories(rt_joining *j);
/* Which of `all` non-clicks are kept: call for each in turn; exactly min(all, keep) are, all subsets equally likely. */
typedef struct {
    uint64_t all, keep, state;
} rt_join_choice;
rt_join_choice rt_join_choose(uint64_t seed, uint64_t stream, uint64_t all, uint64_t keep);
bool rt_join_chosen(rt_join_choice *choice);
/* join_sample.c */
typedef struct rt_join_sampler rt_join_sampler;
rt_status rt_join_sampler_new(const rt_joining *j, rt_join_sampler **out);
void rt_join_sampler_free(rt_join_sampler *sampler);
void rt_join_sampler_clear(rt_join_sampler *sampler); /* another user */
void rt_join_sampler_exclude(rt_join_sampler *sampler, uint32_t item);
/* Up to n different items that were in the log by `time` and are not excluded; returns how many there are. */
int rt_join_sampler_draw(rt_join_sampler *sampler, rt_join_time time, uint64_t stream, int n, uint32_t *items);
/* join_write.c */
rt_status rt_join_write(rt_joining *j);
/* join_check.c */
rt_status rt_join_note_row(rt_joining *j, rt_join_split split, int click, const char *user, size_t user_size,
                           rt_digest128 pair);
rt_status rt_join_note_item(rt_joining *j, rt_join_split split, uint32_t item);
rt_status rt_join_check(rt_joining *j);

#endif
