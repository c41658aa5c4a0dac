/* The check at the end of a join, as text and as JSON. */
#include "join_internal.h"
#include <string.h>

static const char *const both_names[3] = {"train and dev", "train and test", "dev and test"};

static double share(uint64_t part, uint64_t all) {
    return all ? (double)part / (double)all : 0;
}

static void put_splits(const rt_join_summary *s, rt_text *out) {
    rt_text_printf(out, "  %-8s %10s %9s %10s %9s %8s %9s %10s %8s\n", "", "rows", "clicks", "click rate", "groups",
                   "no click", "one class", "no history", "new item");
    for (int i = 0; i < RT_SPLITS; i++) {
        const rt_join_counts *c = &s->split[i];
        if (i == RT_SPLIT_PREDICT && c->rows == 0) continue;
        rt_text_printf(out, "  %-8s %10llu %9llu %10.4f %9llu %8llu %9llu %9.1f%% %7.1f%%\n",
                       rt_join_split_name((rt_join_split)i), (unsigned long long)c->rows, (unsigned long long)c->clicks,
                       share(c->clicks, c->rows), (unsigned long long)c->groups,
                       (unsigned long long)c->groups_no_positive, (unsigned long long)c->groups_one_class,
                       100 * share(c->no_history, c->rows), 100 * share(c->new_items, c->rows));
    }
}

/* "train 2019-11-09 00:00:19 to 2019-11-13 23:59:58; dev ..." */
static void put_times(const rt_join_summary *s, rt_text *out) {
    bool any = false;
    for (int i = 0; i < RT_SPLITS; i++) {
        const rt_join_counts *c = &s->split[i];
        if (c->rows == 0) continue;
        rt_text_printf(out, "%s%s %s to %s", any ? "; " : "  times: ", rt_join_split_name((rt_join_split)i), c->first,
                       c->last);
        any = true;
    }
    if (any) rt_text_puts(out, "\n");
}

static void put_shared(const rt_join_summary *s, rt_text *out) {
    rt_text_printf(out, "  %-18s %9s %9s %9s %9s\n", "shared by", "users", "items", "titles", "pairs");
    for (int i = 0; i < 3; i++)
        rt_text_printf(out, "  %-18s %9llu %9llu %9llu %9llu\n", both_names[i], (unsigned long long)s->shared_users[i],
                       (unsigned long long)s->shared_items[i], (unsigned long long)s->shared_titles[i],
                       (unsigned long long)s->shared_pairs[i]);
    rt_text_printf(out, "  pairs of texts with both labels: %llu (%llu rows)\n",
                   (unsigned long long)s->contradictory_pairs, (unsigned long long)s->contradictory_rows);
}

static void put_negatives(const rt_join_summary *s, rt_text *out) {
    if (s->sampled) {
        rt_text_printf(
            out,
            "negatives: %d SAMPLED for each click (seed %llu), among items that the log knew by then and the "
            "user never clicked%s; the click rate is this number's doing, and AUC depends on the sampler\n",
            s->negatives, (unsigned long long)s->seed, s->has_time ? "" : " (no times: all items of the log)");
        if (s->negatives_missing > 0)
            rt_text_printf(out, "  %llu could not be had: too few items were left\n",
                           (unsigned long long)s->negatives_missing);
    } else if (s->negatives >= 0) {
        rt_text_printf(
            out,
            "negatives: in train %d for each click, of its impression (seed %llu): %llu of %llu kept, a rate "
            "w of %.6f; a probability p learnt so is p / (p + (1 - p) / w) in truth; dev and test have all\n",
            s->negatives, (unsigned long long)s->seed, (unsigned long long)s->negatives_kept,
            (unsigned long long)s->negatives_all, share(s->negatives_kept, s->negatives_all));
    } else {
        rt_text_puts(out, "negatives: all rows of the log\n");
    }
}

static void put_oddities(const rt_join_summary *s, rt_text *out) {
    const struct {
        uint64_t n;
        const char *what;
    } odd[] = {
        {s->bad_rows, "bad rows were skipped"},
        {s->left_out, "rows were rated between the two bounds: left out"},
        {s->unknown_history, "items of histories are not in the item table: left out"},
        {s->items_again, "items stand in the item table again, with the same title"},
        {s->items_differ, "items stand in the item table again, with another title: the first counts"},
        {s->items_untitled, "items have an empty title"},
        {s->items_cut, "titles of more than 16 KiB were cut"},
        {s->queries_cut, "queries of more than 16 KiB were cut"},
        {s->shared_impressions, "impression ids belong to several users: written as ID:USER"},
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        if (odd[i].n > 0) rt_text_printf(out, "%llu %s\n", (unsigned long long)odd[i].n, odd[i].what);
    if (s->contradictory_rows * 20 > s->split[0].rows + s->split[1].rows + s->split[2].rows)
        rt_text_puts(out, "more than a twentieth of the rows contradict another with the same texts: no text model can "
                          "tell them apart\n");
}

void rt_join_summary_text(const rt_join_summary *s, rt_text *out) {
    const rt_join_counts *train = &s->split[RT_SPLIT_TRAIN];
    rt_text_printf(out, "%llu items, %llu rows of events\n", (unsigned long long)s->items,
                   (unsigned long long)s->events);
    rt_text_printf(out, "split: %s", s->split_rule);
    if (s->has_time && s->dev_from[0]) rt_text_printf(out, "; dev from %s", s->dev_from);
    if (s->has_time && s->test_from[0]) rt_text_printf(out, "; test from %s", s->test_from);
    rt_text_puts(out, "\n");
    put_splits(s, out);
    if (s->has_time) put_times(s, out);
    put_shared(s, out);
    put_negatives(s, out);
    if (s->has_user && s->has_time)
        rt_text_printf(out, "history: the newest %d, strictly older than the row%s; %.2f titles a row of train\n",
                       s->history, s->has_impression ? "'s impression" : "",
                       train->rows ? (double)train->history_items / (double)train->rows : 0);
    put_oddities(s, out);
    if (s->runs > 0)
        rt_text_printf(out, "sorted through %d runs in temporary files, %llu MiB\n", s->runs,
                       (unsigned long long)(s->temporary_bytes >> 20));
}

static void put_number(rt_text *out, const char *key, uint64_t value) {
    rt_text_printf(out, ",\n  \"%s\": %llu", key, (unsigned long long)value);
}

static void put_text(rt_text *out, const char *key, const char *value) {
    rt_text_printf(out, ",\n  \"%s\": ", key);
    if (value[0])
        rt_text_json_string(out, value, strlen(value));
    else
        rt_text_puts(out, "null");
}

static void put_three(rt_text *out, const char *key, const uint64_t values[3]) {
    rt_text_printf(out, ",\n  \"%s\": {\"train_dev\": %llu, \"train_test\": %llu, \"dev_test\": %llu}", key,
                   (unsigned long long)values[0], (unsigned long long)values[1], (unsigned long long)values[2]);
}

static void put_split_json(const rt_join_counts *c, rt_text *out) {
    const struct {
        const char *key;
        uint64_t value;
    } fields[] = {{"rows", c->rows},
                  {"clicks", c->clicks},
                  {"groups", c->groups},
                  {"groups_no_positive", c->groups_no_positive},
                  {"groups_one_class", c->groups_one_class},
                  {"rows_without_history", c->no_history},
                  {"history_items", c->history_items},
                  {"rows_of_new_items", c->new_items}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        rt_text_printf(out, "%s\"%s\": %llu", i ? ", " : "", fields[i].key, (unsigned long long)fields[i].value);
    rt_text_puts(out, ", \"click_rate\": ");
    rt_text_double(out, share(c->clicks, c->rows));
    rt_text_puts(out, ", \"first\": ");
    rt_text_json_string(out, c->first, strlen(c->first));
    rt_text_puts(out, ", \"last\": ");
    rt_text_json_string(out, c->last, strlen(c->last));
}

void rt_join_summary_json(const rt_join_summary *s, rt_text *out) {
    rt_text_printf(out, "{\n  \"items\": %llu", (unsigned long long)s->items);
    put_number(out, "events", s->events);
    put_text(out, "split", s->split_rule);
    put_text(out, "dev_from", s->has_time ? s->dev_from : "");
    put_text(out, "test_from", s->has_time ? s->test_from : "");
    for (int i = 0; i < RT_SPLITS; i++) {
        rt_text_printf(out, ",\n  \"%s\": {", rt_join_split_name((rt_join_split)i));
        put_split_json(&s->split[i], out);
        rt_text_puts(out, "}");
    }
    put_three(out, "shared_users", s->shared_users);
    put_three(out, "shared_items", s->shared_items);
    put_three(out, "shared_titles", s->shared_titles);
    put_three(out, "shared_pairs", s->shared_pairs);
    put_number(out, "contradictory_pairs", s->contradictory_pairs);
    put_number(out, "contradictory_rows", s->contradictory_rows);
    put_text(out, "negatives", s->sampled ? "sampled" : s->negatives >= 0 ? "of the impression" : "all");
    if (s->negatives >= 0) put_number(out, "negatives_per_click", (uint64_t)s->negatives);
    if (!s->sampled && s->negatives >= 0) {
        put_number(out, "negatives_all", s->negatives_all);
        put_number(out, "negatives_kept", s->negatives_kept);
        rt_text_puts(out, ",\n  \"negative_keep\": ");
        rt_text_double(out, share(s->negatives_kept, s->negatives_all));
    }
    put_number(out, "negatives_missing", s->negatives_missing);
    put_number(out, "seed", s->seed);
    put_number(out, "history", (uint64_t)s->history);
    put_number(out, "bad_rows", s->bad_rows);
    put_number(out, "left_out", s->left_out);
    put_number(out, "unknown_history_items", s->unknown_history);
    put_number(out, "items_again", s->items_again);
    put_number(out, "items_with_another_title", s->items_differ);
    put_number(out, "items_without_title", s->items_untitled);
    put_number(out, "shared_impression_ids", s->shared_impressions);
    rt_text_puts(out, "\n}\n");
}
