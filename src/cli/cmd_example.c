/* rectrain example: the simulated shop. */
#include "../base/file.h"
#include "../data/shop.h"
#include "cli.h"
#include <stdlib.h>

rt_status rt_cmd_example(rt_cli *cli) {
    rt_shop_options options = {.seed = cli->seed >= 0 ? (uint64_t)cli->seed : 1,
                               .users = cli->users > 0 ? (int)cli->users : 0};
    rt_shop_summary s = {0};
    rt_config *cfg = NULL;
    rt_status rc;
    RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg)); /* a wrong --set is told here too */
    RT_GO(rt_shop_write(cli->to, &options, &s));
    RT_GO(
        rt_cli_printf("The example shop is a SIMULATION: nobody clicked; a random model of shoppers did (seed %llu).\n",
                      (unsigned long long)options.seed));
    RT_GO(rt_cli_printf(
        "%s: train.tsv %llu rows, dev.tsv %llu, test.tsv %llu, items.tsv %llu items; click rate of test %.3f\n",
        cli->to, (unsigned long long)s.train_rows, (unsigned long long)s.dev_rows, (unsigned long long)s.test_rows,
        (unsigned long long)s.items, s.click_rate));
    RT_GO(rt_cli_printf("AUC on test.tsv of\n"
                        "  %.3f  the true probability of each click: no text model can reach it\n"
                        "  %.3f  the same without price and position: the ceiling of a text model\n"
                        "  %.3f  the item's click rate in train.tsv: what needs no text model\n"
                        "  %.3f  a constant\n",
                        s.auc_p_true, s.auc_p_text, s.auc_item_rate, s.auc_constant));
    rc = rt_cli_flush();
done:
    rt_config_free(cfg);
    return rc;
}
