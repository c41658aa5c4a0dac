/* Opening the data sets, and saying what was found in them before the first step. */
#include "../data/data_check.h"
#include "live.h"
#include "run.h"
#include "signals.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The live line, and a sign of life for ranks that wait. */
typedef struct {
    rt_live live;
    rt_comm *comm;
} rt_opening;

static bool tokenising(void *context, uint64_t done, uint64_t all, uint64_t rows) {
    rt_opening *o = context;
    char phase[48];
    snprintf(phase, sizeof phase, "tokenising %s", o->live.what);
    rt_comm_note(o->comm, phase, 0);
    return rt_live_tokenising(&o->live, done, all, rows);
}

/* The token cache is made by one rank of a node: rank 0, then the first of each node that does not see rank 0's files;
 * the others find it made. Without a cache all work at once. */
static rt_status open_in_turn(rt_run *run, const char *what, const rt_data_spec *spec, rt_dataset **out) {
    rt_comm *c = run->setup.comm;
    rt_opening opening = {rt_live_begin(run->cli, what), c};
    int mine = !spec->cache_folder || c->rank == 0 ? 0 : c->local_rank == 0 ? 1 : 2;
    for (int turn = 0; turn < 3; turn++) {
        if (turn == mine) {
            rt_status rc = rt_dataset_open(spec, run->setup.tok, run->cli->log, tokenising, &opening, out);
            rt_progress_line_end(run->line);
            RT_TRY(rc);
        }
        RT_TRY(c->barrier(c));
    }
    rt_progress_line_end(run->line); /* rank 0 may have told whom it waits for */
    return RT_OK;
}

/* Texts apart, clicked rows alone. What evaluation searches in has no negatives. */
static void pairs_spec(const rt_config *cfg, bool train, rt_data_spec *spec) {
    spec->apart = true;
    spec->need_label = false;
    spec->label = cfg->data.label;
    spec->label_by_default = !rt_config_is_set(cfg, "data.label");
    spec->labels = (const char *const *)cfg->model.labels.items;
    spec->n_labels = cfg->model.labels.n;
    spec->weight = train ? cfg->data.weight : NULL;
    spec->group = NULL;
    spec->n_slices = 0;
    spec->negatives = (const char *const *)cfg->contrastive.negatives.items;
    spec->n_negatives = train ? cfg->contrastive.negatives.n : 0;
}

/* The catalogue: a text an item. */
static rt_status open_items(rt_run *run) {
    const rt_config *cfg = run->cfg;
    const rt_config_list *files = &cfg->contrastive.items;
    if (!files->n || (!cfg->data.dev.n && !cfg->data.test.n)) return RT_OK;
    if (!cfg->data.item)
        return rt_fail(RT_ECONFIG,
                       "contrastive.items needs data.item, the column of an item's id there and in the rows");
    rt_data_spec spec = rt_setup_spec(&run->setup, (const char *const *)files->items, files->n, false,
                                      run->cli->dry_run ? NULL : run->folder.cache);
    spec.text_a = cfg->contrastive.item_text ? cfg->contrastive.item_text : cfg->data.text_b;
    spec.text_b = spec.user = spec.time = NULL;
    return open_in_turn(run, "contrastive.items", &spec, &run->items);
}

static rt_status open_one(rt_run *run, const char *what, const rt_config_list *files, rt_dataset **out) {
    if (!files->n) return RT_OK;
    rt_data_spec spec = rt_setup_spec(&run->setup, (const char *const *)files->items, files->n, true,
                                      run->cli->dry_run ? NULL : run->folder.cache);
    if (rt_setup_gives_vectors(run->cfg)) {
        pairs_spec(run->cfg, files == &run->cfg->data.train, &spec);
    } else if (files == &run->cfg->data.train) { /* dev and test are never sampled: a metric is of all their rows */
        spec.negative_keep = run->cfg->data.negative_keep;
        spec.seed = run->cfg->run.seed;
        spec.leave_groups = true;
    }
    rt_status rc = open_in_turn(run, what, &spec, out);
    if (rc == RT_ESTOPPED)
        return rt_fail(RT_ESTOPPED, "stopped by %s while tokenising; nothing was trained yet", rt_signals_name());
    if (rc != RT_OK) return rc;
    if (!rt_dataset_rows(*out)) return rt_fail(RT_EDATA, "%s: no rows below the header", files->items[0]);
    return RT_OK;
}

rt_status rt_run_open_data(rt_run *run) {
    run->setup.logit_shift = rt_setup_correction(run->cfg);
    RT_TRY(open_one(run, "data.train", &run->cfg->data.train, &run->train));
    RT_TRY(open_one(run, "data.dev", &run->cfg->data.dev, &run->dev));
    RT_TRY(open_one(run, "data.test", &run->cfg->data.test, &run->test));
    if (!rt_setup_gives_vectors(run->cfg)) return RT_OK;
    RT_TRY(open_items(run));
    return rt_pairs_new(run->train, run->cfg->contrastive.log_frequency, &run->pairs);
}

static void warn_texts(rt_log *log, const char *name, const rt_data_stats *s) {
    if (s->bad_rows) rt_warn(log, "%s: %llu bad rows were skipped", name, (unsigned long long)s->bad_rows);
    if (s->special_split)
        rt_warn(log,
                "%s: %llu special tokens such as [SEP] stand in the texts and were split (data.special_tokens = match "
                "keeps them)",
                name, (unsigned long long)s->special_split);
    if (s->invalid_utf8)
        rt_warn(log, "%s: %llu bytes are not UTF-8 and were dropped", name, (unsigned long long)s->invalid_utf8);
}

static void describe(const rt_run *run, const char *name, const rt_dataset *ds) {
    if (!ds) return;
    const rt_data_stats *s = rt_dataset_stats(ds);
    rt_log *log = run->cli->log;
    rt_info(log,
            "%-5s %u rows, click rate %.4f, tokens a row %.1f mean, %d longest, %.2f %% truncated, %llu empty texts "
            "(%s in %.2f s)",
            name, rt_dataset_rows(ds), s->click_rate, s->mean_len, s->max_len,
            100.0 * (double)s->truncated / (double)(s->rows ? s->rows : 1),
            (unsigned long long)(s->empty_a + s->empty_b), s->from_cache ? "cached" : "tokenised", s->seconds);
    if (s->left_out)
        rt_info(log, "%-5s %llu of %llu rows of label 0 were left out (data.negative_keep = %g); scores are corrected",
                name, (unsigned long long)s->left_out, (unsigned long long)(s->left_out + s->label_counts[0]),
                run->cfg->data.negative_keep);
    warn_texts(log, name, s);
    if (rt_dataset_has_groups(ds))
        rt_info(log, "%-5s %u groups, %u of one class", name, rt_dataset_group_count(ds),
                rt_dataset_one_class_groups(ds));
    if (s->click_rate <= 0.0 || s->click_rate >= 1.0)
        rt_warn(log, "%s: every row has the same label; there is nothing to tell apart", name);
}

/* No reason not to train, but no secret either: an altered token cache may be behind it. */
static void check_failed(const rt_run *run, const char *name) {
    rt_warn(run->cli->log, "%s: the data check came to no end: %s", name, rt_error_get()->text);
    rt_error_clear();
}

static void overlap(const rt_run *run, const char *name, const rt_dataset *other) {
    rt_data_against against;
    if (!other) return;
    if (rt_data_check_against(run->train, other, &against) != RT_OK) {
        check_failed(run, name);
        return;
    }
    const rt_data_overlap o = against.shared;
    rt_text text = {0};
    rt_text_printf(&text, "%s shares with train: %llu of %u rows (same texts)", name, (unsigned long long)o.rows,
                   rt_dataset_rows(other));
    if (o.has_items) rt_text_printf(&text, ", %llu items", (unsigned long long)o.items);
    if (o.has_users) rt_text_printf(&text, ", %llu users", (unsigned long long)o.users);
    if (text.data) rt_info(run->cli->log, "%s", text.data);
    rt_text_free(&text);
    if (against.overlaps)
        rt_warn(run->cli->log, "%s: %llu of %u rows are not newer than the newest row of train", name,
                (unsigned long long)against.not_newer, rt_dataset_rows(other));
}

/* The lines of a check, each one of the log, less those of rows and groups: describe() has said them. */
static void log_lines(rt_log *log, const char *name, rt_text *text) {
    for (char *line = text->data, *end; line && (end = strchr(line, '\n')) != NULL; line = end + 1)
        if (line != text->data && strncmp(line, "groups:", 7) != 0)
            rt_info(log, "%-5s %.*s", name, (int)(end - line), line);
    rt_text_clear(text);
}

/* Looking through ten million rows takes seconds: what is found is kept beside their tokens. */
static void check_train(const rt_run *run) {
    rt_data_check check = {0};
    rt_text text = {0};
    if (rt_data_check_fill(run->train, run->cfg->data.max_length, &check) == RT_OK) {
        rt_data_check_text(&check, "tokens", &text);
        rt_data_check_suggestions(&check, &text);
        log_lines(run->cli->log, "train", &text);
    } else {
        check_failed(run, "train");
    }
    rt_text_free(&text);
    rt_data_check_free(&check);
}

/* Texts apart: rows are pairs, and what is truncated or empty is a text. */
static void describe_pairs(const rt_run *run, const char *name, const rt_dataset *ds) {
    if (!ds) return;
    const rt_data_stats *s = rt_dataset_stats(ds);
    rt_log *log = run->cli->log;
    rt_info(
        log,
        "%-5s %u clicked rows of %llu, tokens a text %.1f mean, %d longest, %.2f %% truncated, %llu empty texts (%s "
        "in %.2f s)",
        name, rt_dataset_examples(ds), (unsigned long long)(rt_dataset_examples(ds) + s->left_out), s->mean_len,
        s->max_len, 100.0 * (double)s->truncated / (double)(s->rows ? s->rows : 1),
        (unsigned long long)(s->empty_a + s->empty_b), s->from_cache ? "cached" : "tokenised", s->seconds);
    warn_texts(log, name, s);
}

void rt_run_data_summary(const rt_run *run) {
    if (rt_setup_gives_vectors(run->cfg)) {
        describe_pairs(run, "train", run->train);
        describe_pairs(run, "dev", run->dev);
        describe_pairs(run, "test", run->test);
        if (run->items) rt_info(run->cli->log, "items %u in the catalogue", rt_dataset_rows(run->items));
        return;
    }
    describe(run, "train", run->train);
    describe(run, "dev", run->dev);
    describe(run, "test", run->test);
    check_train(run);
    overlap(run, "dev", run->dev);
    overlap(run, "test", run->test);
}

int rt_run_longest_row(const rt_run *run) {
    const rt_dataset *sets[] = {run->train, run->dev, run->test, run->items};
    int longest = 3;
    for (int i = 0; i < 4; i++)
        if (sets[i] && rt_dataset_stats(sets[i])->max_len > longest) longest = rt_dataset_stats(sets[i])->max_len;
    return longest;
}

int64_t rt_run_largest_step(const rt_run *run) {
    /* Lengths are small numbers: a histogram gives the sum of the longest batch_size rows. */
    enum { LIMIT = 1 << 16 };
    uint32_t *histogram = calloc(LIMIT, sizeof *histogram), n = rt_dataset_rows(run->train);
    const uint16_t *lengths = rt_dataset_lengths(run->train);
    int64_t left = (int64_t)run->cfg->train.batch_size * rt_dataset_sides(run->train), sum = 0;
    if (!histogram) return 0;
    for (uint32_t i = 0; i < n; i++) histogram[lengths[i]]++;
    for (int len = LIMIT - 1; len > 0 && left > 0; len--) {
        int64_t take = histogram[len] < left ? histogram[len] : left;
        sum += take * len;
        left -= take;
    }
    free(histogram);
    return sum;
}
