/* rectrain recommend: a list of items for each user, of what two models, the click log and popularity say together; or,
 * with --evaluate, how good such lists are. */
#include "../track/track.h"
#include "recommend_parts.h"
#include "signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const rt_part_names[RT_PARTS] = {"text", "ranker", "collaborative", "popularity"};

enum {
    TOP = 10,
    CANDIDATES = 200,
    NEIGHBOURS = 100,
    HISTORY = 50,
    WINDOW_PAIRS = 51200,
    RANKED_PAIRS = 8192,
    MOST_USERS = 256
};

static rt_status bad_weights(const char *text, const char *what) {
    return rt_fail(RT_EUSAGE,
                   "--weights %s: %s; expected parts and numbers from 0, as "
                   "text=1,ranker=2,collaborative=1,popularity=0.2",
                   text, what);
}

/* "text=1,ranker=2": a part that is not named keeps its weight. */
static rt_status parse_weights(const char *text, double weights[RT_PARTS]) {
    bool given[RT_PARTS] = {false};
    char word[64];
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        if (n == 0 || n >= sizeof word) return bad_weights(text, "a part is missing");
        memcpy(word, p, n);
        word[n] = 0;
        p += n + (p[n] == ',');
        char *equal = strchr(word, '=');
        if (!equal) return bad_weights(text, "no = in a part");
        *equal = 0;
        int part = 0;
        while (part < RT_PARTS && strcmp(word, rt_part_names[part]) != 0) part++;
        if (part == RT_PARTS) {
            const char *near = rt_did_you_mean(word, rt_part_names, RT_PARTS);
            return near ? rt_fail(RT_EUSAGE, "--weights %s: no part \"%s\"; did you mean %s?", text, word, near)
                        : bad_weights(text, "a part that is not there");
        }
        if (given[part]) return bad_weights(text, "a part twice");
        given[part] = true;
        if (!rt_parse_f64(equal + 1, &weights[part]) || weights[part] < 0 || weights[part] > 1e6)
            return bad_weights(text, "no number from 0 to 1000000");
    }
    return RT_OK;
}

static rt_status parse_merge(const char *text, rt_fuse_kind *merge) {
    static const char *const names[] = {"minmax", "rank", "rrf"};
    *merge = RT_FUSE_MINMAX;
    if (!text) return RT_OK;
    for (int i = 0; i < 3; i++) {
        *merge = (rt_fuse_kind)i;
        if (!strcmp(text, names[i])) return RT_OK;
    }
    return rt_fail(RT_EUSAGE, "--merge %s: expected minmax, rank or rrf", text);
}

static rt_status parse_flags(rt_rec *rec) {
    const rt_cli *cli = rec->cli;
    static const double weights[RT_PARTS] = {1, 2, 1, 0.2};
    memcpy(rec->recipe.weights, weights, sizeof weights);
    rec->recipe.fall_back = true;
    rec->top = cli->recommend.top ? (uint32_t)cli->recommend.top : TOP;
    rec->candidates = cli->recommend.candidates ? (uint32_t)cli->recommend.candidates
                      : rec->top > CANDIDATES   ? rec->top
                                                : CANDIDATES;
    rec->neighbours = cli->recommend.neighbours ? (uint32_t)cli->recommend.neighbours : NEIGHBOURS;
    rec->history = cli->history >= 0 ? (uint32_t)cli->history : HISTORY;
    if (rec->candidates < rec->top)
        return rt_fail(RT_EUSAGE, "--candidates %u is less than --top %u: a list is chosen among the candidates",
                       rec->candidates, rec->top);
    /* A ranker takes long over a window, and each is told of when it is done. */
    rec->window = (cli->recommend.ranker ? RANKED_PAIRS : WINDOW_PAIRS) / rec->candidates;
    if (rec->window > MOST_USERS) rec->window = MOST_USERS;
    if (rec->window < 1) rec->window = 1;
    RT_TRY(parse_merge(cli->recommend.merge, &rec->merge));
    if (cli->recommend.weights) RT_TRY(parse_weights(cli->recommend.weights, rec->recipe.weights));
    if (cli->recommend.diversity && (!rt_parse_f64(cli->recommend.diversity, &rec->recipe.diversity) ||
                                     rec->recipe.diversity < 0 || rec->recipe.diversity > 1))
        return rt_fail(RT_EUSAGE, "--diversity %s: expected a number from 0 (by score alone) to 1",
                       cli->recommend.diversity);
    if (cli->on_bad_row && strcmp(cli->on_bad_row, "stop") != 0 && strcmp(cli->on_bad_row, "skip") != 0)
        return rt_fail(RT_EUSAGE, "rectrain recommend: --on-bad-row %s: expected stop or skip", cli->on_bad_row);
    rec->skip_bad_rows = cli->on_bad_row && !strcmp(cli->on_bad_row, "skip");
    if (cli->recommend.index && !cli->recommend.retriever)
        return rt_fail(RT_EUSAGE,
                       "--index %s spares --retriever the items' vectors; users' come from the model: name it",
                       cli->recommend.index);
    if (!cli->recommend.retriever &&
        (cli->recommend.item_text || cli->recommend.item_prefix || cli->recommend.user_prefix))
        return rt_fail(RT_EUSAGE, "--item-text, --item-prefix and --user-prefix are of --retriever: name one");
    if (cli->recommend.index && (cli->recommend.item_text || cli->recommend.item_prefix))
        return rt_fail(RT_EUSAGE, "--index has the items' vectors already: leave --item-text and --item-prefix out");
    if (cli->recommend.evaluate && cli->output)
        return rt_fail(RT_EUSAGE, "--evaluate prints a table, or JSON with --json; leave --output out");
    if (cli->json && !cli->recommend.evaluate)
        return rt_fail(RT_EUSAGE, "--json is of --evaluate; lists as JSON lines: --format jsonl");
    if (!cli->recommend.retriever) rec->recipe.weights[RT_PART_TEXT] = 0;
    if (!cli->recommend.ranker) rec->recipe.weights[RT_PART_RANKER] = 0;
    double sum = 0;
    for (int p = 0; p < RT_PARTS; p++)
        if (p != RT_PART_RANKER) sum += rec->recipe.weights[p];
    if (sum <= 0)
        return rt_fail(RT_EUSAGE, "nothing finds candidates: --retriever, collaborative and popularity are all without "
                                  "a say; give one a weight above 0, or a model");
    return RT_OK;
}

static rt_status refuse_pipes(const rt_cli *cli) {
    const struct {
        const char *flag, *file;
    } files[] = {{"--items", cli->join.items},
                 {"--events", cli->join.events},
                 {"--users", cli->recommend.users},
                 {"--evaluate", cli->recommend.evaluate}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i].file && !strcmp(files[i].file, "-"))
            return rt_fail(RT_EUSAGE, "%s -: expected a file; stdin is not read here", files[i].flag);
    return RT_OK;
}

rt_status rt_cmd_recommend(rt_cli *cli) {
    rt_status rc;
    rt_rec *rec = calloc(1, sizeof *rec);
    if (!rec) return rt_fail(RT_ENOMEM, "out of memory to recommend");
    rt_signals_install(false);
    rec->cli = cli;
    rec->live = rt_live_begin(cli, "users");
    RT_GO(parse_flags(rec));
    RT_GO(refuse_pipes(cli));
    RT_GO(rt_rec_load(rec));
    RT_GO(cli->recommend.evaluate ? rt_rec_evaluate(rec) : rt_rec_write(rec));
done:
    rt_progress_line_end(cli->line);
    if (rc == RT_ESTOPPED && cli->output)
        rc = rt_fail(rc, "stopped by %s; %s is as it was before", rt_signals_name(), cli->output);
    else if (rc == RT_ESTOPPED)
        rc = rt_fail(rc, "stopped by %s", rt_signals_name());
    rt_rec_free(rec);
    return rc;
}
