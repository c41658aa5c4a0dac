/* rectrain eval: the report and metrics of a checkpoint on a labelled file. */
#include "../track/track.h"
#include "live.h"
#include "score.h"
#include "signals.h"

static rt_status print_metrics(rt_cli *cli, const rt_metrics *m) {
    rt_text t = {0};
    if (cli->json)
        rt_metrics_json(m, false, &t);
    else
        rt_metrics_text(m, &t);
    if (cli->json) rt_text_puts(&t, "\n");
    rt_status rc = rt_text_status(&t);
    if (rc == RT_OK) rc = rt_cli_write(t.data, t.size);
    rt_text_free(&t);
    return rc == RT_OK ? rt_cli_flush() : rc;
}

static rt_status evaluate(rt_setup *s, const rt_dataset *ds) {
    rt_metrics m = {0};
    rt_data_slices slices = {0};
    rt_live live = rt_live_begin(s->cli, s->cli->data);
    rt_status rc = rt_cli_score(s, ds, &live, rt_live_evaluating, &slices, &m);
    rt_progress_line_end(s->cli->line);
    if (rc == RT_OK) rc = print_metrics(s->cli, &m);
    rt_metrics_free(&m);
    rt_data_slices_free(&slices);
    return rc;
}

rt_status rt_cmd_eval(rt_cli *cli) {
    rt_status rc = RT_OK;
    rt_setup setup = {.cli = cli};
    rt_config *cfg = NULL;
    rt_dataset *ds = NULL;
    rt_signals_install(false);
    rt_progress_line_phase(cli->line, "loading the weights");
    RT_GO(rt_setup_scoring(&setup, &cfg));
    rt_data_spec spec = rt_setup_spec(&setup, &cli->data, 1, true, NULL);
    rt_live live = rt_live_begin(cli, cli->data);
    RT_GO(rt_dataset_open(&spec, setup.tok, cli->log, rt_live_tokenising, &live, &ds));
    if (!rt_dataset_rows(ds)) RT_GO(rt_fail(RT_EDATA, "%s: no rows below the header", cli->data));
    RT_GO(evaluate(&setup, ds));
done:
    rt_dataset_close(ds);
    rt_setup_close(&setup);
    rt_config_free(cfg);
    return rc;
}
