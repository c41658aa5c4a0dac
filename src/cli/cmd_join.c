/* rectrain join: an item table and an event log become train.tsv, dev.tsv, test.tsv. */
#include "../data/join.h"
#include "../track/track.h"
#include "cli.h"
#include "signals.h"
#include <string.h>

static bool stopped(void *context) {
    (void)context;
    return rt_signals_stop();
}

static rt_status format_of(const char *name, rt_join_format *format) {
    static const char *const names[] = {"table", "mind", "movielens"};
    *format = RT_JOIN_TABLE;
    if (!name) return RT_OK;
    for (int i = 0; i < 3; i++) {
        *format = (rt_join_format)i;
        if (!strcmp(name, names[i])) return RT_OK;
    }
    return rt_fail(RT_EUSAGE, "rectrain join: --format %s: expected table, mind or movielens", name);
}

static rt_status skips(const char *word, bool *skip) {
    *skip = word && !strcmp(word, "skip");
    if (!word || *skip || !strcmp(word, "stop")) return RT_OK;
    return rt_fail(RT_EUSAGE, "rectrain join: --on-bad-row %s: expected stop or skip", word);
}

static rt_status print_summary(const rt_cli *cli, const rt_join_summary *s) {
    rt_text text = {0};
    if (cli->json)
        rt_join_summary_json(s, &text);
    else
        rt_join_summary_text(s, &text);
    rt_status rc = rt_text_status(&text);
    if (rc == RT_OK) rc = rt_cli_write(text.data, text.size);
    rt_text_free(&text);
    return rc == RT_OK ? rt_cli_flush() : rc;
}

rt_status rt_cmd_join(rt_cli *cli) {
    rt_status rc;
    rt_config *cfg = NULL;
    rt_join_summary summary;
    rt_join_options o = cli->join;
    rt_signals_install(false);
    RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg)); /* a wrong --set is told here too */
    RT_GO(format_of(cli->format, &o.format));
    RT_GO(skips(cli->on_bad_row, &o.skip_bad_rows));
    o.history = cli->history >= 0 ? (int)cli->history : 50;
    o.negatives = (int)cli->negatives;
    o.seed = cli->seed >= 0 ? (uint64_t)cli->seed : 1;
    o.memory = (size_t)(cli->memory > 0 ? cli->memory : 1024) << 20;
    o.stop = stopped;
    rt_progress_line_phase(cli->line, "joining");
    rc = rt_join(&o, cli->log, &summary);
    rt_progress_line_end(cli->line);
    if (rc == RT_ESTOPPED) rc = rt_fail(rc, "stopped by %s; %s is as it was before", rt_signals_name(), o.folder);
    if (rc != RT_OK) goto done;
    RT_GO(print_summary(cli, &summary));
    rt_info(cli->log, "%s: %s, in %.1f s", o.folder, "train.tsv dev.tsv test.tsv items.tsv summary.json",
            summary.seconds);
done:
    rt_config_free(cfg);
    return rc;
}
