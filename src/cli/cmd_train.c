/* rectrain train: from a configuration to checkpoints and reports. */
#include "../base/arena.h"
#include "../base/clock.h"
#include "../base/file.h"
#include "../data/template.h"
#include "ranks.h"
#include "run.h"
#include "signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A signal between two phases: nothing is half done. The signal of one rank is one for all. */
static rt_status border(rt_run *run, const char *before) {
    rt_comm *c = run->setup.comm;
    uint32_t stop = rt_signals_stop();
    rt_comm_note(c, before, 0);
    RT_TRY(c->agree(c, &stop));
    if (!stop) return RT_OK;
    run->together = true;
    return rt_fail(RT_ESTOPPED, "stopped by %s before %s; the same command starts again", rt_signals_name(), before);
}

static rt_status read_state(rt_run *run) {
    rt_blob blob = rt_source_state(run->setup.source);
    RT_TRY(rt_run_state_parse(blob.bytes, blob.size, run->folder.last, &run->state));
    return RT_OK;
}

/* A resumed run takes its vocabulary from last.h5; a model.vocab that says something else must not pass in silence. */
static rt_status check_vocab(const rt_run *run) {
    const char *path = run->cfg->model.vocab;
    char *bytes = NULL;
    size_t size = 0;
    if (run->kind != RT_RUN_RESUME || run->cfg->model.init != RT_CFG_INIT_RANDOM || !path || !rt_file_exists(path))
        return RT_OK;
    RT_TRY(rt_file_read(path, (size_t)1 << 28, &bytes, &size));
    bool same = size == run->setup.vocab_size && memcmp(bytes, run->setup.vocab, size) == 0;
    free(bytes);
    if (same) return RT_OK;
    return rt_fail(RT_ECONFIG,
                   "model.vocab = %s: not the vocabulary that the run began with (%s holds it); restore the file, "
                   "choose another run.name, or start anew with run.if_exists = overwrite",
                   path, run->folder.last);
}

/* The digests that a resumed run must find again. */
static rt_status fill_digests(rt_run *run) {
    rt_run_state now = {0};
    rt_digest *d = rt_digest_new();
    if (!d) return rt_fail(RT_ENOMEM, "out of memory for digests");
    const rt_dataset *sets[] = {run->train, run->dev};
    for (int i = 0; i < 2; i++) {
        if (!sets[i]) continue;
        rt_digest128 one = rt_dataset_digest(sets[i]);
        rt_digest_u64(d, one.high);
        rt_digest_u64(d, one.low);
    }
    rt_digest_hex(rt_digest_end(d), now.data_digest);
    rt_digest_free(d);
    rt_digest_hex(rt_tokenizer_digest(run->setup.tok), now.vocab_digest);
    rt_digest_hex(rt_config_meaning_digest(run->cfg), now.meaning_digest);
    if (run->kind == RT_RUN_RESUME) {
        if (strcmp(now.data_digest, run->state.data_digest) != 0)
            return rt_fail(
                RT_ECONFIG,
                "%s: the rows of data.train or data.dev are not those the run began with; restore the files, "
                "choose another run.name, or start anew with run.if_exists = overwrite",
                run->folder.last);
        if (strcmp(now.vocab_digest, run->state.vocab_digest) != 0 ||
            run->state.tokenizer_version != RT_TOKENIZER_VERSION)
            return rt_fail(
                RT_ECONFIG,
                "%s: the tokenizer is not the one the run began with; start anew with run.if_exists = overwrite",
                run->folder.last);
    }
    memcpy(run->state.data_digest, now.data_digest, sizeof now.data_digest);
    memcpy(run->state.vocab_digest, now.vocab_digest, sizeof now.vocab_digest);
    memcpy(run->state.meaning_digest, now.meaning_digest, sizeof now.meaning_digest);
    run->state.tokenizer_version = RT_TOKENIZER_VERSION;
    return RT_OK;
}

static rt_status write_config(rt_run *run) {
    rt_text text = {0};
    rt_config_write_options options = {.classes = RT_CLASS_ALL};
    rt_status rc = rt_config_write(run->cfg, &options, &text);
    if (rc == RT_OK) rc = rt_file_write_atomic(run->folder.config, text.data, text.size);
    rt_text_free(&text);
    return rc;
}

/* Rank 0 has the folder and its lock; the others know the names. */
static rt_status open_folder(rt_run *run) {
    rt_comm *c = run->setup.comm;
    if (run->cli->dry_run || !rt_run_leads(run))
        RT_TRY(rt_run_folder_name(run->cfg, &run->folder));
    else
        RT_TRY(rt_run_folder_open(run->cli, run->cfg, &run->folder, &run->kind));
    if (!c) return RT_OK;
    uint32_t kind = run->kind;
    RT_TRY(c->bcast(c, &kind, sizeof kind));
    run->kind = (rt_run_kind)kind;
    return RT_OK;
}

static rt_status open_device(rt_run *run) {
    rt_setup *s = &run->setup;
    char meaning[33] = "";
    s->cli = run->cli;
    s->cfg = run->cfg;
    RT_TRY(rt_setup_backend(s));
    rt_digest_hex(rt_config_meaning_digest(run->cfg), meaning);
    return rt_comm_same(s->comm, "configuration", meaning);
}

/* The automatic size is of rank 0's machine, and the same everywhere. */
static rt_status make_model(rt_run *run, int micro) {
    rt_comm *c = run->setup.comm;
    if (c->rank) RT_TRY(c->bcast(c, &micro, sizeof micro));
    RT_TRY(rt_setup_model(&run->setup, true, rt_run_longest_row(run), rt_run_largest_step(run), micro));
    micro = run->setup.micro_tokens;
    if (c->rank == 0) RT_TRY(c->bcast(c, &micro, sizeof micro));
    return RT_OK;
}

/* Everything from the device to the first step. */
static rt_status prepare(rt_run *run) {
    rt_setup *s = &run->setup;
    const rt_config *cfg = run->cfg;
    bool resume = run->kind == RT_RUN_RESUME;
    const char *base = resume ? run->folder.last : cfg->model.init == RT_CFG_INIT_RANDOM ? NULL : cfg->model.base;
    RT_TRY(rt_setup_base(s, base, true));
    if (resume) RT_TRY(read_state(run));
    RT_TRY(check_vocab(run));
    RT_TRY(border(run, "tokenising"));
    RT_TRY(rt_run_open_data(run));
    rt_progress_line_phase(run->line, "looking through the rows");
    if (rt_run_leads(run)) rt_run_data_summary(run);
    RT_TRY(fill_digests(run));
    RT_TRY(rt_comm_same(s->comm, "set of training and dev rows", run->state.data_digest));
    RT_TRY(rt_comm_same(s->comm, "vocabulary", run->state.vocab_digest));
    RT_TRY(border(run, "loading the weights"));
    int micro = resume ? run->state.micro_batch_tokens : cfg->train.micro_batch_tokens;
    rt_progress_line_phase(run->line, "loading the weights");
    RT_TRY(make_model(run, micro));
    RT_TRY(rt_setup_weights(s, true, resume));
    run->state.micro_batch_tokens = s->micro_tokens;
    RT_TRY(rt_run_settings(run));
    if (rt_run_leads(run)) RT_TRY(rt_run_plan(run));
    rt_progress_line_end(run->line);
    RT_TRY(border(run, "the first step"));
    return rt_run_prepare_blobs(run);
}

static rt_status open_tracks(rt_run *run) {
    const rt_train_state *t = &run->state.train;
    bool resume = run->kind == RT_RUN_RESUME;
    if (!rt_run_leads(run)) return RT_OK;
    RT_TRY(write_config(run));
    RT_TRY(rt_run_report_cut(&run->folder, resume ? t->reports : 0));
    RT_TRY(rt_jsonl_cut(run->folder.metrics, t->step, t->eval_due));
    RT_TRY(rt_run_drop_test_lines(&run->folder));
    RT_TRY(rt_jsonl_open(run->folder.metrics, &run->jsonl));
    if (run->cfg->track.tensorboard) RT_TRY(rt_tensorboard_open(run->folder.tensorboard, &run->tensorboard));
    if (resume && run->tensorboard) RT_TRY(rt_tensorboard_restart(run->tensorboard, t->step, rt_clock_unix()));
    if (resume)
        rt_info(run->cli->log, "going on after step %llu of %llu", (unsigned long long)t->step,
                (unsigned long long)t->total_steps);
    return rt_run_jsonl_start(run);
}

static uint32_t signals(void *context) {
    (void)context;
    return rt_signals_take();
}

/* The plots and the reports on one page. */
static rt_status write_html(const rt_run *run) {
    char *report = NULL;
    size_t size = 0;
    if (rt_file_exists(run->folder.report)) RT_TRY(rt_file_read(run->folder.report, (size_t)1 << 30, &report, &size));
    rt_status rc = rt_html_write(run->folder.html, run->cfg->run.name, run->folder.metrics, report ? report : "");
    free(report);
    return rc;
}

/* The end line comes last of all: it is what tells a finished run from one that has to go on. */
static rt_status finish(rt_run *run) {
    const rt_train_state *t = &run->state.train;
    bool best = rt_run_keeps_best(run);
    rt_progress_line_phase(run->line, "saving");
    if (!best) RT_TRY(rt_run_save(run, t, RT_SAVE_BEST));
    RT_TRY(rt_run_save(run, t, RT_SAVE_LAST));
    rt_progress_line_end(run->line);
    RT_TRY(rt_run_test(run));
    if (!rt_run_leads(run)) return RT_OK;
    RT_TRY(write_html(run));
    RT_TRY(rt_run_jsonl_end(run));
    if (t->skipped_steps)
        rt_warn(run->cli->log, "%llu steps had gradients that were not finite and were skipped",
                (unsigned long long)t->skipped_steps);
    if (t->empty_steps)
        rt_warn(run->cli->log, "%llu steps had rows of weight 0 alone and changed nothing",
                (unsigned long long)t->empty_steps);
    rt_info(run->cli->log, "best checkpoint: %s (step %llu)", run->folder.best,
            (unsigned long long)(best ? t->best_step : t->step));
    return RT_OK;
}

static rt_status train(rt_run *run) {
    rt_train_job job = {.data = run->train,
                        .pairs = run->pairs.n ? &run->pairs : NULL,
                        .objective = run->setup.objective,
                        .encoder = &run->setup.encoder,
                        .comm = run->setup.comm,
                        .settings = run->settings,
                        .state = &run->state.train,
                        .hooks = {.context = run,
                                  .on_event = rt_run_event,
                                  .on_eval = run->dev ? rt_run_eval : NULL,
                                  .on_save = rt_run_save,
                                  .signals = signals}};
    run->steps_started = rt_clock_seconds();
    run->first_step = run->state.train.step;
    rt_progress_line_phase(run->line, "first step");
    rt_status rc = rt_train(&job);
    rt_progress_line_end(run->line);
    run->together = rc == RT_ESTOPPED; /* the loop agreed on it */
    RT_TRY(rc);
    rc = finish(run);
    run->together = rc == RT_ESTOPPED;
    if (rc == RT_ESTOPPED) /* while testing: last.h5 is there and says that only the test is left */
        return rt_fail(RT_ESTOPPED,
                       "stopped by %s while testing; training is done and saved, the same command finishes it",
                       rt_signals_name());
    return rc;
}

/* The other ranks are told why this one ends, unless all end alike. */
static void part(rt_run *run, rt_status rc) {
    rt_comm *c = run->setup.comm;
    run->setup.ended = rc == RT_ESTOPPED && run->together ? RT_OK : rc;
    if (c && run->setup.ended != RT_OK) c->abort(c, rc, rt_error_get()->text);
}

static void close_run(rt_run *run) {
    rt_status ended = run->setup.ended;
    rt_progress_line_end(run->line);
    rt_jsonl_close(run->jsonl);
    rt_tensorboard_close(run->tensorboard);
    rt_pairs_free(&run->pairs);
    rt_run_catalogue_free(&run->dev_catalogue);
    rt_run_catalogue_free(&run->test_catalogue);
    rt_dataset_close(run->items);
    rt_dataset_close(run->train);
    rt_dataset_close(run->dev);
    rt_dataset_close(run->test);
    rt_setup_close(&run->setup);
    rt_cli_ranks_finish(ended);
    rt_run_folder_close(run->cli, &run->folder);
    rt_config_free(run->cfg);
    free(run->checkpoint_ini);
    free(run->config_json);
    free(run->tokenizer_json);
    free(run);
}

/* A template that is none is told before a folder is made for its run. */
static rt_status check_template(const char *text, const char *key) {
    rt_template *parsed = NULL;
    rt_status rc = text && *text ? rt_template_parse(text, key, &parsed) : RT_OK;
    rt_template_free(parsed);
    return rc;
}

static rt_status check(const rt_config *cfg) {
    RT_TRY(rt_config_check_training(cfg));
    RT_TRY(check_template(cfg->data.text_a, "data.text_a"));
    RT_TRY(check_template(cfg->data.text_b, "data.text_b"));
    RT_TRY(check_template(cfg->contrastive.item_text, "contrastive.item_text"));
    for (int i = 0; i < cfg->contrastive.negatives.n; i++)
        RT_TRY(check_template(cfg->contrastive.negatives.items[i], "contrastive.negatives"));
    return rt_run_check_metric(cfg);
}

rt_status rt_cmd_train(rt_cli *cli) {
    rt_status rc = RT_OK;
    rt_run *run = calloc(1, sizeof *run);
    if (!run) return rt_fail(RT_ENOMEM, "out of memory");
    run->cli = cli;
    run->folder.lock_fd = -1;
    rt_signals_install(false); /* before anything is read: a signal must find no moment without a handler */
    RT_GO(rt_cli_ranks_detect(cli, &run->setup.launch));
    RT_GO(rt_cli_config(cli, NULL, 0, NULL, &run->cfg));
    RT_GO(check(run->cfg));
    rt_signals_install(run->cfg->checkpoint.on_usr1 == RT_CFG_USR1_SAVE);
    bool many = run->setup.launch.size > 1;
    if (many) RT_GO(open_device(run)); /* one process looks for the folder first: it may have nothing to compute */
    RT_GO(open_folder(run));
    if (run->kind == RT_RUN_FINISHED) {
        if (!rt_run_leads(run)) goto done;
        rt_info(cli->log, "%s: this run is finished; its reports:", run->folder.folder);
        RT_GO(rt_run_report_print(&run->folder));
        goto done;
    }
    if (!many) RT_GO(open_device(run));
    if (rt_run_leads(run)) run->line = cli->line;
    RT_GO(prepare(run));
    if (cli->dry_run) {
        rt_info(cli->log, "--dry-run: nothing was trained or written");
        goto done;
    }
    RT_GO(open_tracks(run));
    RT_GO(train(run));
done:
    part(run, rc);
    close_run(run);
    return rc;
}
