/* rectrain verify: every checksum of a checkpoint. */
#include "../checkpoint/checkpoint.h"
#include "../track/track.h"
#include "cli.h"
#include <string.h>

static rt_status put_json(const char *file, const rt_verify_summary *s) {
    rt_text out = {0};
    rt_text_puts(&out, "{\"file\": ");
    rt_text_json_string(&out, file, strlen(file));
    rt_text_printf(&out,
                   ", \"ok\": true, \"tensors\": %d, \"parameters\": %lld, \"moments\": %d, \"bytes\": %llu, "
                   "\"resumable\": %s, \"digest\": \"%s\"}\n",
                   s->tensors, (long long)s->parameters, s->moments, (unsigned long long)s->bytes,
                   s->resumable ? "true" : "false", s->digest);
    rt_status rc = rt_text_status(&out);
    if (rc == RT_OK) rc = rt_cli_write(out.data, out.size);
    rt_text_free(&out);
    return rc;
}

rt_status rt_cmd_verify(rt_cli *cli) {
    rt_verify_summary s = {0};
    rt_config *cfg = NULL;
    rt_status rc;
    RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg)); /* a wrong --set is told here too */
    rt_progress_line_phase(cli->line, "verifying");
    RT_GO(rt_checkpoint_verify(cli->file, &s));
    rt_progress_line_end(cli->line);
    if (cli->json)
        RT_GO(put_json(cli->file, &s));
    else
        RT_GO(rt_cli_printf("%s: ok. %d tensors, %lld parameters, %d moments, %.1f MB, digest %s; %s\n", cli->file,
                            s.tensors, (long long)s.parameters, s.moments, (double)s.bytes / 1e6, s.digest,
                            s.resumable ? "training can go on from it" : "for serving"));
    rc = rt_cli_flush();
done:
    rt_config_free(cfg);
    return rc;
}
