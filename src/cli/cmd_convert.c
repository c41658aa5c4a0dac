/* rectrain convert: a Hugging Face folder into a .h5. */
#include "../base/file.h"
#include "../checkpoint/checkpoint.h"
#include "../checkpoint/source.h"
#include "../track/track.h"
#include "cli.h"
#include "signals.h"
#include <stdlib.h>
#include <string.h>

rt_status rt_cmd_convert(rt_cli *cli) {
    rt_verify_summary s = {0};
    rt_config *cfg = NULL;
    char *folder = NULL;
    size_t n = strlen(cli->to);
    rt_status rc;
    rt_signals_install(false); /* seconds of writing end in order, so that nothing half written stays */
    RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg)); /* a wrong --set is told here too */
    if (rt_is_folder(cli->to)) {
        rc = rt_fail(RT_EUSAGE, "rectrain convert: --to %s is a folder; name the file to write: %s%sNAME.h5", cli->to,
                     cli->to, n && cli->to[n - 1] == '/' ? "" : "/");
        goto done;
    }
    if (n < 4 || strcmp(cli->to + n - 3, ".h5") != 0) {
        rc = rt_fail(RT_EUSAGE,
                     "rectrain convert: --to %s: expected a name that ends in .h5, by which model.base knows it",
                     cli->to);
        goto done;
    }
    folder = rt_path_dirname(cli->to);
    if (!folder) {
        rc = rt_fail(RT_ENOMEM, "convert: out of memory");
        goto done;
    }
    RT_GO(rt_make_folders(folder));
    rt_progress_line_phase(cli->line, "converting");
    RT_GO(rt_convert(cli->from, cli->to, cli->log));
    if (rt_signals_stop())
        RT_GO(rt_fail(RT_ESTOPPED, "stopped by %s; %s is whole, but was not read back", rt_signals_name(), cli->to));
    RT_GO(rt_checkpoint_verify(cli->to, &s));
    rt_progress_line_end(cli->line);
    RT_GO(rt_cli_printf("%s: %d tensors, %lld parameters, %.1f MB, digest %s\n", cli->to, s.tensors,
                        (long long)s.parameters, (double)s.bytes / 1e6, s.digest));
    rc = rt_cli_flush();
done:
    free(folder);
    rt_config_free(cfg);
    return rc;
}
