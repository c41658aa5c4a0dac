/* rectrain data: what labelled tables hold and share, before anything is trained on them. */
#include "../data/data_check.h"
#include "../track/track.h"
#include "live.h"
#include "setup.h"
#include "signals.h"
#include <stdlib.h>
#include <string.h>

/* Rows are encoded up to the longest that any model takes, so that a data.max_length can be chosen. */
enum { LONGEST = 512 };

typedef struct {
    rt_setup setup;
    rt_config *cfg;
    const char *unit;
    rt_dataset *data, *against;
    rt_data_check check, other;
    rt_data_against shared;
} checking;

static rt_status read_config(rt_cli *cli, rt_config **cfg) {
    rt_source *source = NULL;
    if (!cli->checkpoint) return rt_cli_config(cli, NULL, 0, NULL, cfg);
    RT_TRY(rt_source_open_as("--checkpoint", cli->checkpoint, cli->log, &source));
    rt_blob ini = rt_source_config_ini(source);
    rt_status rc = rt_cli_config(cli, ini.bytes, ini.size, cli->checkpoint, cfg);
    rt_source_close(source);
    return rc;
}

/* The vocabulary of the model that will read the texts; without one each word and sign counts as one. */
static rt_status open_tokenizer(checking *c) {
    static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    const rt_config *cfg = c->cfg;
    const char *base = c->setup.cli->checkpoint ? c->setup.cli->checkpoint : cfg->model.base;
    c->unit = "tokens";
    if (base || cfg->model.vocab) return rt_setup_base(&c->setup, base, true);
    c->unit = "words";
    rt_warn(c->setup.cli->log,
            "no vocabulary is given (--config, --checkpoint, --set model.base=...): lengths count words and signs, and "
            "a model's tokens are more");
    rt_tokenizer_options options = rt_tokenizer_defaults();
    return rt_tokenizer_from_vocab(words, sizeof words - 1, "words", &options, &c->setup.tok);
}

static rt_status open_set(checking *c, const char *const *files, int n, rt_dataset **out) {
    const rt_config *cfg = c->cfg;
    const char *folder = getenv("TMPDIR"), *cache = cfg->data.cache;
    rt_data_spec spec = rt_setup_spec(&c->setup, files, n, true, cache && strcmp(cache, "none") ? cache : NULL);
    spec.labels = (const char *const *)cfg->model.labels.items;
    spec.n_labels = cfg->model.labels.n;
    spec.encode.max_length = LONGEST;
    spec.raw_texts = !strcmp(c->unit, "words");
    spec.leave_groups = true; /* their counts are enough */
    spec.scratch_folder = folder && *folder ? folder : "/tmp";
    rt_live live = rt_live_begin(c->setup.cli, files[0]);
    rt_status rc = rt_dataset_open(&spec, c->setup.tok, c->setup.cli->log, rt_live_tokenising, &live, out);
    rt_progress_line_end(c->setup.cli->line);
    if (rc == RT_OK) rt_dataset_stop_when(*out, rt_signals_stop);
    return rc;
}

static void put_text(const checking *c, rt_text *t) {
    rt_data_check_text(&c->check, c->unit, t);
    rt_data_check_suggestions(&c->check, t);
    if (!c->against) return;
    rt_text_puts(t, "\n");
    rt_text_escaped(t, c->setup.cli->against, strlen(c->setup.cli->against), 200);
    rt_text_puts(t, "\n");
    rt_data_check_text(&c->other, c->unit, t);
    rt_data_against_text(&c->shared, c->other.rows, t);
}

static void put_json(const checking *c, rt_text *t) {
    rt_text_puts(t, "{\"data\": ");
    rt_data_check_json(&c->check, c->unit, t);
    if (c->against) {
        rt_text_puts(t, ", \"against\": ");
        rt_data_check_json(&c->other, c->unit, t);
        rt_text_puts(t, ", \"shared\": ");
        rt_data_against_json(&c->shared, t);
    }
    rt_text_puts(t, "}\n");
}

static rt_status print(const checking *c) {
    rt_text t = {0};
    if (c->setup.cli->json)
        put_json(c, &t);
    else
        put_text(c, &t);
    rt_status rc = rt_text_status(&t);
    if (rc == RT_OK) rc = rt_cli_write(t.data, t.size);
    rt_text_free(&t);
    return rc == RT_OK ? rt_cli_flush() : rc;
}

rt_status rt_cmd_data(rt_cli *cli) {
    rt_status rc = RT_OK;
    checking c = {.setup = {.cli = cli}};
    rt_signals_install(false);
    RT_GO(read_config(cli, &c.cfg));
    c.setup.cfg = c.cfg;
    RT_GO(open_tokenizer(&c));
    RT_GO(open_set(&c, cli->files, cli->n_files, &c.data));
    rt_progress_line_phase(cli->line, "looking through the rows");
    RT_GO(rt_data_check_fill(c.data, c.cfg->data.max_length, &c.check));
    if (!strcmp(c.unit, "words")) c.check.suggested_max_length = 0;
    if (cli->against) {
        RT_GO(open_set(&c, &cli->against, 1, &c.against));
        rt_progress_line_phase(cli->line, "comparing the rows");
        RT_GO(rt_data_check_fill(c.against, c.cfg->data.max_length, &c.other));
        RT_GO(rt_data_check_against(c.data, c.against, &c.shared));
    }
    rt_progress_line_end(cli->line);
    RT_GO(print(&c));
done:
    rt_progress_line_end(cli->line);
    if (rc == RT_ESTOPPED) rt_fail(rc, "stopped by %s; nothing was kept", rt_signals_name());
    rt_data_check_free(&c.check);
    rt_data_check_free(&c.other);
    rt_dataset_close(c.data);
    rt_dataset_close(c.against);
    rt_setup_close(&c.setup);
    rt_config_free(c.cfg);
    return rc;
}
