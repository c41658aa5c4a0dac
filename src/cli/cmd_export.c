/* rectrain export: a checkpoint into a folder that other programs load, and the proof that it says the same. */
#include "../track/track.h"
#include "export_check.h"
#include "setup_embed.h"
#include "signals.h"

/* *vectors: it became a model of sentence-transformers. */
static rt_status export_folder(rt_cli *cli, bool *vectors) {
    rt_source *source = NULL;
    rt_config *cfg = NULL;
    rt_text name = {0};
    rt_status rc;
    RT_GO(rt_source_open_as("--checkpoint", cli->checkpoint, cli->log, &source));
    rt_blob ini = rt_source_config_ini(source);
    rt_text_printf(&name, "%s:/config.ini", cli->checkpoint);
    RT_GO(rt_text_status(&name));
    RT_GO(rt_cli_config(cli, ini.bytes, ini.size, name.data, &cfg));
    if (cfg->data.negative_keep < 1 && rt_source_state(source).size) {
        rc = rt_fail(
            RT_ECONFIG,
            "%s was trained with data.negative_keep = %g and holds the bias as it was trained; a server would give "
            "scores that are too high. Export best.h5 of the same run: the correction is in it",
            cli->checkpoint, cfg->data.negative_keep);
        goto done;
    }
    const char *why, *pooling = rt_source_label_count(source) ? NULL : rt_setup_vector_pooling(cfg, source, &why);
    *vectors = pooling != NULL;
    /* A converted checkpoint was never told how its rows are cut: 128, whatever the base could take. */
    RT_GO(rt_export_vectors(source, cli->to, pooling, cfg->data.max_length, cli->log));
done:
    rt_text_free(&name);
    rt_config_free(cfg);
    rt_source_close(source);
    return rc;
}

rt_status rt_cmd_export(rt_cli *cli) {
    rt_signals_install(false); /* the files are written to their ends, so that nothing half written stays */
    rt_progress_line_phase(cli->line, "exporting");
    bool vectors = false;
    RT_TRY(export_folder(cli, &vectors));
    rt_progress_line_end(cli->line);
    RT_TRY(rt_cli_printf(
        "%s: config.json, model.safetensors, tokenizer.json, tokenizer_config.json, special_tokens_map.json, "
        "vocab.txt, sentence_bert_config.json%s\n",
        cli->to, vectors ? ", modules.json, 1_Pooling/config.json" : ""));
    if (cli->check && rt_signals_stop())
        return rt_fail(RT_ESTOPPED, "stopped by %s; %s is whole, but --check was not done", rt_signals_name(), cli->to);
    if (cli->check) RT_TRY(vectors ? rt_export_check_vectors(cli) : rt_export_check(cli));
    return rt_cli_flush();
}
