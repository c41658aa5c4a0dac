/* rectrain example: the simulated shop. */
#include "../base/file.h"
#include "../data/shop.h"
#include "../track/track.h"
#include "example_cosine.h"
#include <stdlib.h>

static rt_status print_summary(const rt_cli *cli, uint64_t seed, const rt_shop_summary *s, double cosine) {
    RT_TRY(
        rt_cli_printf("The example shop is a SIMULATION: nobody clicked; a random model of shoppers did (seed %llu).\n",
                      (unsigned long long)seed));
    RT_TRY(rt_cli_printf(
        "%s: train.tsv %llu rows, dev.tsv %llu, test.tsv %llu, items.tsv %llu items; click rate of test %.3f\n",
        cli->to, (unsigned long long)s->train_rows, (unsigned long long)s->dev_rows, (unsigned long long)s->test_rows,
        (unsigned long long)s->items, s->click_rate));
    RT_TRY(rt_cli_printf("AUC on test.tsv of\n"
                         "  %.3f  the true probability of each click: no text model can reach it\n"
                         "  %.3f  the same without price and position: the ceiling of a text model\n"
                         "  %.3f  the item's click rate in train.tsv: what needs no text model\n",
                         s->auc_p_true, s->auc_p_text, s->auc_item_rate));
    if (cli->checkpoint)
        RT_TRY(rt_cli_printf("  %.3f  the untrained cosine of query and title, as %s encodes them\n", cosine,
                             cli->checkpoint));
    RT_TRY(rt_cli_printf("  %.3f  a constant\n", s->auc_constant));
    return rt_cli_flush();
}

rt_status rt_cmd_example(rt_cli *cli) {
    rt_shop_options options = {.seed = cli->seed >= 0 ? (uint64_t)cli->seed : 1,
                               .users = cli->users > 0 ? (int)cli->users : 0};
    rt_shop_summary s = {0};
    rt_setup setup = {.cli = cli};
    rt_config *cfg = NULL;
    double cosine = 0;
    rt_status rc;
    RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg));                   /* a wrong --set is told here too */
    if (cli->checkpoint) RT_GO(rt_example_encoder(cli, cfg, &setup)); /* before anything is written */
    rt_progress_line_phase(cli->line, "writing the shop");
    RT_GO(rt_shop_write(cli->to, &options, &s));
    if (cli->checkpoint) RT_GO(rt_example_cosine(&setup, cli->to, &cosine));
    rt_progress_line_end(cli->line);
    RT_GO(print_summary(cli, options.seed, &s, cosine));
done:
    rt_setup_close(&setup);
    rt_config_free(cfg);
    return rc;
}
