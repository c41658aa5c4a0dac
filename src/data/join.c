#include "join.h"
#include "../base/clock.h"
#include "../base/file.h"
#include "join_internal.h"
#include <stdlib.h>
#include <string.h>

/* --- options that must fit together --------------------------------------------------------------------------------
 */

static rt_status refuse_columns(const rt_join_options *o) {
    const struct {
        const char *flag, *value;
    } columns[] = {{"--item", o->item},        {"--user", o->user},         {"--time", o->time},
                   {"--click", o->click},      {"--positive", o->positive}, {"--impression", o->impression},
                   {"--query", o->query},      {"--rating", o->rating},     {"--split-column", o->split_column},
                   {"--item-key", o->item_key}};
    const char *name = o->format == RT_JOIN_MIND ? "mind" : "movielens";
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        if (columns[i].value)
            return rt_fail(RT_EUSAGE, "%s %s: --format %s knows the columns of its files; leave %s out",
                           columns[i].flag, columns[i].value, name, columns[i].flag);
    if (o->format == RT_JOIN_MIND && (o->min_rating || o->max_rating))
        return rt_fail(RT_EUSAGE, "--min-rating and --max-rating: MIND has clicks, not ratings; leave them out");
    return RT_OK;
}

static rt_status check_options(const rt_join_options *o, rt_joining *j) {
    const char *split = o->split ? o->split : o->test_events || o->split_column ? "90/10" : "80/10/10";
    if (o->format != RT_JOIN_TABLE) RT_TRY(refuse_columns(o));
    RT_TRY(rt_join_rule_parse(split, &j->rule));
    bool test_too = j->rule.by_share ? j->rule.train + j->rule.dev < 0.99999 : j->rule.n_instants > 1;
    if (o->test_events && test_too)
        return rt_fail(RT_EUSAGE,
                       "--split %s: test comes from --test-events; divide the rest into train and dev alone, as 90/10 "
                       "or 2019-11-14",
                       split);
    if (o->click && o->rating) return rt_fail(RT_EUSAGE, "--click and --rating: give one of the two");
    if (o->positive && !o->click)
        return rt_fail(RT_EUSAGE, "--positive %s tells the values of a column: name it with --click", o->positive);
    if (o->format == RT_JOIN_TABLE && (o->min_rating || o->max_rating) && !o->rating)
        return rt_fail(RT_EUSAGE, "--min-rating and --max-rating need --rating COLUMN");
    if (o->rating && !o->min_rating)
        return rt_fail(RT_EUSAGE, "--rating %s needs --min-rating N: from which rating on is a row a click?",
                       o->rating);
    rt_join_bound min = {0}, max = {0};
    if (o->min_rating) RT_TRY(rt_join_bound_parse(o->min_rating, "--min-rating", &min));
    if (o->max_rating) RT_TRY(rt_join_bound_parse(o->max_rating, "--max-rating", &max));
    if (max.set && (max.strict || (min.set && max.bound >= min.bound)))
        return rt_fail(RT_EUSAGE, "--max-rating %s: expected a number below --min-rating", o->max_rating);
    j->sampled = o->format == RT_JOIN_TABLE && !o->click && !o->rating;
    if (j->sampled && o->negatives < 1)
        return rt_fail(RT_EUSAGE,
                       "neither --click nor --rating: every row would be a click. Name the column, or give --negatives "
                       "N to sample N items for each click that the user did not click");
    if (!j->sampled && o->negatives >= 0 && o->format != RT_JOIN_MIND && !o->impression)
        return rt_fail(RT_EUSAGE,
                       "--negatives %d keeps non-clicks of the same impression: name its column with --impression, or "
                       "leave --negatives out",
                       o->negatives);
    return RT_OK;
}

static rt_status check_numbers(const rt_join_options *o) {
    if (!o->items || !o->events || !o->folder) return rt_fail(RT_EUSAGE, "a join needs --items, --events and --out");
    if (o->history < 0 || o->history > RT_JOIN_MAX_HISTORY)
        return rt_fail(RT_EUSAGE, "--history %d: expected 0 to %d", o->history, RT_JOIN_MAX_HISTORY);
    if (o->negatives > RT_JOIN_MAX_NEGATIVES)
        return rt_fail(RT_EUSAGE, "--negatives %d: expected 0 to %d", o->negatives, RT_JOIN_MAX_NEGATIVES);
    if (o->memory < RT_JOIN_LEAST_MEMORY)
        return rt_fail(RT_EUSAGE, "--memory: at least %d MiB are needed", RT_JOIN_LEAST_MEMORY >> 20);
    return RT_OK;
}

/* One sort is filled while another is read, by two readers at most: half and twice a quarter of what the items leave.
 * A sort that never left memory is read where it lies: then it is half and half. */
static rt_status share_memory(rt_joining *j) {
    size_t taken = rt_join_items_memory(j->items), items = rt_join_items_count(j->items);
    if (j->sampled) taken += items * (sizeof *j->first_seen + sizeof(uint32_t)) + items / 4;
    taken += items / 2; /* bits of the items that each split has */
    if (taken > j->o->memory - (8 << 20))
        return rt_fail(RT_EUNAVAILABLE, "the index of %zu items takes %zu MiB of the %zu MiB allowed; raise --memory",
                       items, taken >> 20, j->o->memory >> 20);
    size_t left = j->o->memory - taken;
    j->sort_memory = left / 2;
    j->read_memory = left / 4;
    if (!j->sampled) return RT_OK;
    j->first_seen = calloc(items, sizeof *j->first_seen);
    j->seen = calloc(items / 64 + 1, sizeof *j->seen);
    return j->first_seen && j->seen ? RT_OK : rt_fail(RT_ENOMEM, "no memory for the times of %zu items", items);
}

static void describe(const rt_joining *j, rt_join_summary *s) {
    const rt_join_options *o = j->o;
    const char *order = j->has_time ? "by time" : "whole groups, by chance";
    const char *fixed = o->test_events ? "; test from its own log" : o->split_column ? "; the rest by its column" : "";
    double test = 100 * (1 - j->rule.train - j->rule.dev);
    if (j->rule.by_share)
        snprintf(s->split_rule, sizeof s->split_rule, "%.4g/%.4g/%.4g of the rows, %s%s", 100 * j->rule.train,
                 100 * j->rule.dev, test > 0.001 ? test : 0.0, order, fixed);
    else
        snprintf(s->split_rule, sizeof s->split_rule, "at %.80s, %s%s", o->split, order, fixed);
    s->has_user = j->has_user;
    s->has_time = j->has_time;
    s->has_impression = j->has_impression;
    s->has_query = j->has_query;
    s->has_category = j->has_category;
    s->sampled = j->sampled;
    s->history = o->history;
    s->negatives = o->negatives;
    s->seed = o->seed;
}

static rt_status write_summary(const rt_joining *j) {
    rt_text json = {0};
    char *path = rt_path_join(j->o->folder, "summary.json");
    rt_join_summary_json(j->s, &json);
    rt_status rc = path ? rt_text_status(&json) : rt_fail(RT_ENOMEM, "no memory for a file's name");
    if (rc == RT_OK) rc = rt_file_write_atomic(path, json.data, json.size);
    free(path);
    rt_text_free(&json);
    return rc;
}

rt_status rt_join(const rt_join_options *o, rt_log *log, rt_join_summary *s) {
    rt_status rc;
    double start = rt_clock_seconds();
    *s = (rt_join_summary){0};
    rt_joining j = {.o = o, .log = log, .s = s};
    RT_GO(check_numbers(o));
    RT_GO(check_options(o, &j));
    RT_GO(rt_make_folders(o->folder));
    RT_GO(rt_join_items_new(o->folder, o->memory / 2, &j.items));
    RT_GO(rt_join_read_items(&j));
    RT_GO(share_memory(&j));
    rt_info(log, "%llu items; reading events", (unsigned long long)s->items);
    RT_GO(rt_join_read_events(&j));
    if (j.impressions) {
        rt_info(log, "%llu rows; looking at impressions", (unsigned long long)s->events);
        RT_GO(rt_join_time_impressions(&j));
    }
    if (j.users) {
        rt_info(log, "%llu rows; making histories", (unsigned long long)s->events);
        RT_GO(rt_join_make_histories(&j));
    }
    rt_info(log, "%llu rows; writing", (unsigned long long)rt_extsort_records(j.pairs));
    describe(&j, s);
    RT_GO(rt_join_write(&j));
    RT_GO(rt_join_check(&j));
    s->seconds = rt_clock_seconds() - start;
    RT_GO(write_summary(&j));
done:
    rt_extsort_free(j.impressions);
    rt_extsort_free(j.users);
    rt_extsort_free(j.pairs);
    rt_extsort_free(j.hashes);
    rt_join_items_free(j.items);
    rt_text_free(&j.packed);
    rt_text_free(&j.key);
    free(j.first_seen);
    free(j.seen);
    return rc;
}
