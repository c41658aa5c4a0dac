/* What a run says while it works: the live line, metrics.jsonl, TensorBoard, and the reports of evaluations. */
#include "../base/clock.h"
#include "../base/file.h"
#include "live.h"
#include "run.h"
#include "score.h"
#include "signals.h"
#include <math.h>
#include <string.h>

static double epoch_of(const rt_run *run) {
    return (double)run->state.train.step /
           rt_steps_per_epoch(rt_dataset_examples(run->train), run->cfg->train.batch_size);
}

static void json_number(rt_text *t, const char *key, double value) {
    rt_text_printf(t, ", \"%s\": ", key);
    if (isfinite(value))
        rt_text_double(t, value);
    else
        rt_text_puts(t, "null");
}

/* {"time": ..., "event": "...", "step": ..., "epoch": ... without the closing brace */
static void json_start(const rt_run *run, const char *event, rt_text *t) {
    rt_text_printf(t, "{\"time\": %.3f, \"event\": \"%s\", \"step\": %llu", rt_clock_unix(), event,
                   (unsigned long long)run->state.train.step);
    json_number(t, "epoch", epoch_of(run));
}

static rt_status json_finish(rt_run *run, rt_text *t) {
    rt_text_puts(t, "}");
    rt_status rc = rt_text_status(t);
    if (rc == RT_OK && run->jsonl) rc = rt_jsonl_write(run->jsonl, t->data);
    rt_text_free(t);
    return rc;
}

static void scalar(rt_run *run, const char *tag, double value) {
    if (run->tensorboard && isfinite(value))
        rt_tensorboard_scalar(run->tensorboard, tag, run->state.train.step, rt_clock_unix(), (float)value);
}

rt_status rt_run_jsonl_start(rt_run *run) {
    rt_text t = {0};
    json_start(run, "start", &t);
    rt_text_printf(&t, ", \"total_steps\": %llu, \"rows\": %u, \"parameters\": %lld, \"device\": ",
                   (unsigned long long)run->state.train.total_steps, rt_dataset_rows(run->train),
                   (long long)rt_param_count(&run->setup.table, false));
    rt_text_json_string(&t, run->setup.be->description, strlen(run->setup.be->description));
    rt_text_printf(&t, ", \"resumed\": %s", run->kind == RT_RUN_RESUME ? "true" : "false");
    return json_finish(run, &t);
}

rt_status rt_run_jsonl_checkpoint(rt_run *run, const char *path) {
    rt_text t = {0};
    if (!run->jsonl) return RT_OK;
    const char *name = rt_path_basename(path);
    json_start(run, "checkpoint", &t);
    rt_text_puts(&t, ", \"file\": ");
    rt_text_json_string(&t, name, strlen(name));
    return json_finish(run, &t);
}

rt_status rt_run_jsonl_end(rt_run *run) {
    rt_text t = {0};
    json_start(run, "end", &t);
    json_number(&t, "best_metric", run->state.train.best_metric);
    rt_text_printf(&t, ", \"best_step\": %llu, \"skipped_steps\": %llu, \"empty_steps\": %llu",
                   (unsigned long long)run->state.train.best_step, (unsigned long long)run->state.train.skipped_steps,
                   (unsigned long long)run->state.train.empty_steps);
    return json_finish(run, &t);
}

static void live_line(rt_run *run, const rt_train_event *e) {
    double now = rt_clock_seconds(), share = e->total_steps ? (double)e->step / (double)e->total_steps : 1.0;
    uint64_t done = e->step - run->first_step;
    rt_text t = {0};
    rt_text_printf(&t, "step %llu/%llu ", (unsigned long long)e->step, (unsigned long long)e->total_steps);
    rt_progress_bar(share, 20, &t);
    rt_text_printf(&t, " epoch %.2f", e->epoch);
    if (e->loss_known) rt_text_printf(&t, "  loss %.4f", e->loss);
    rt_text_printf(&t, "  lr %.2e", e->lr);
    if (e->seconds > 0) rt_text_printf(&t, "  %.0f tokens/s", (double)e->tokens / e->seconds);
    if (done) {
        char left[32];
        rt_duration_text((now - run->steps_started) / (double)done * (double)(e->total_steps - e->step), left);
        rt_text_printf(&t, "  %s left", left);
    }
    if (t.data) rt_progress_line_update(run->line, t.data);
    rt_text_free(&t);
}

rt_status rt_run_event(void *context, const rt_train_event *e) {
    rt_run *run = context;
    if (!rt_run_leads(run)) return RT_OK;
    live_line(run, e);
    if (!e->line) return RT_OK;
    rt_text t = {0};
    json_start(run, "train", &t);
    json_number(&t, "loss", e->loss_known ? e->loss : NAN);
    json_number(&t, "lr", e->lr);
    json_number(&t, "grad_norm", e->grad_norm);
    rt_text_printf(&t, ", \"seqs\": %llu, \"tokens\": %llu", (unsigned long long)e->seqs,
                   (unsigned long long)e->tokens);
    json_number(&t, "seconds", e->seconds);
    RT_TRY(json_finish(run, &t));
    if (e->loss_known) scalar(run, "train/loss", e->loss);
    scalar(run, "train/lr", e->lr);
    scalar(run, "train/grad_norm", e->grad_norm);
    if (e->seconds > 0) scalar(run, "train/tokens_per_second", (double)e->tokens / e->seconds);
    return RT_OK;
}

/* What an evaluation found: of labels, or of vectors. */
typedef struct {
    bool vectors;
    rt_metrics labels;
    rt_data_slices slices;
    rt_retrieval_metrics retrieval;
} findings;

static void findings_free(findings *f) {
    rt_metrics_free(&f->labels);
    rt_data_slices_free(&f->slices);
}

static bool find_metric(const findings *f, const char *name, double *value, bool *higher) {
    return f->vectors ? rt_retrieval_by_name(&f->retrieval, name, value, higher)
                      : rt_metric_by_name(&f->labels, name, value, higher);
}

rt_status rt_run_check_metric(const rt_config *cfg) {
    const findings none = {.vectors = rt_setup_gives_vectors(cfg)};
    double value;
    bool higher;
    if (find_metric(&none, cfg->eval.metric, &value, &higher)) return RT_OK;
    return rt_fail(RT_ECONFIG, "eval.metric = %s: train.objective = %s has %s", cfg->eval.metric,
                   none.vectors ? "contrastive" : "classify", none.vectors ? rt_retrieval_names() : rt_metric_names());
}

static bool wants_stop(void *context) {
    (void)context;
    return rt_signals_stop();
}

static rt_status search(rt_run *run, const rt_dataset *ds, rt_run_catalogue *catalogue, rt_live *live, findings *f) {
    if (!catalogue->catalogue.queries.n) {
        RT_TRY(rt_run_catalogue_new(ds, run->train, run->items, catalogue));
        if (catalogue->left_out && rt_run_leads(run))
            rt_warn(run->cli->log, "%llu rows are left out: contrastive.items has not their items",
                    (unsigned long long)catalogue->left_out);
    }
    return rt_retrieve_evaluate(&run->setup.encoder, &catalogue->catalogue, run->setup.comm,
                                &(rt_catalogue_options){.batch_tokens = run->cfg->eval.batch_tokens,
                                                        .max_seqs = run->setup.eval_max_seqs,
                                                        .unit = true,
                                                        .context = live,
                                                        .stop = wants_stop,
                                                        .progress = rt_live_evaluating},
                                &f->retrieval);
}

/* Scores a set; what is found belongs to the caller. */
static rt_status score(rt_run *run, const rt_dataset *ds, const char *split, findings *f) {
    rt_live live = rt_live_begin(run->cli, split);
    f->vectors = rt_setup_gives_vectors(run->cfg);
    rt_status rc = f->vectors ? search(run, ds, ds == run->dev ? &run->dev_catalogue : &run->test_catalogue, &live, f)
                              : rt_cli_score(&run->setup, ds, &live, rt_live_evaluating, &f->slices, &f->labels);
    rt_progress_line_end(run->line);
    return rc;
}

/* The report goes to stdout, report.txt, metrics.jsonl and TensorBoard. */
static rt_status publish(rt_run *run, const char *split, const findings *f) {
    rt_text t = {0};
    rt_text_printf(&t, "%s, step %llu (epoch %.2f)\n\n", split, (unsigned long long)run->state.train.step,
                   epoch_of(run));
    if (f->vectors)
        rt_retrieval_text(&f->retrieval, &t);
    else
        rt_metrics_text(&f->labels, &t);
    rt_text_puts(&t, "\n");
    rt_status rc = rt_text_status(&t);
    if (rc == RT_OK) rt_cli_show(run->cli, t.data, t.size);
    if (rc == RT_OK) rc = rt_run_report_add(&run->folder, t.data, t.size);
    rt_text_free(&t);
    RT_TRY(rc);
    json_start(run, "eval", &t);
    rt_text_printf(&t, ", \"split\": \"%s\", ", split);
    if (f->vectors)
        rt_retrieval_json(&f->retrieval, true, &t);
    else
        rt_metrics_json(&f->labels, true, &t);
    RT_TRY(json_finish(run, &t));
    static const char *const tags[] = {"auc", "gauc", "log_loss", "accuracy", "recall@20", "mrr@10", "ndcg@10"};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        char tag[64];
        double value;
        bool higher;
        snprintf(tag, sizeof tag, "%s/%s", split, tags[i]);
        if (find_metric(f, tags[i], &value, &higher)) scalar(run, tag, value);
    }
    return RT_OK;
}

/* Rank 0 has the metric; whether it is the best, and the end, are for all to know. */
static rt_status share_metric(rt_comm *comm, double *metric, bool *higher) {
    struct {
        double metric;
        uint64_t higher;
    } value = {*metric, *higher};
    RT_TRY(comm->bcast(comm, &value, sizeof value));
    *metric = value.metric;
    *higher = value.higher != 0;
    return RT_OK;
}

rt_status rt_run_eval(void *context, rt_train_state *state, double *metric, bool *higher) {
    rt_run *run = context;
    findings f = {0};
    (void)state;
    bool leads = rt_run_leads(run);
    rt_status rc = score(run, run->dev, "dev", &f);
    if (rc == RT_OK && leads) rc = publish(run, "dev", &f);
    if (rc == RT_OK && leads && !find_metric(&f, run->cfg->eval.metric, metric, higher))
        rc = rt_run_check_metric(run->cfg);
    findings_free(&f);
    return rc == RT_OK ? share_metric(run->setup.comm, metric, higher) : rc;
}

bool rt_run_keeps_best(const rt_run *run) {
    return run->dev && run->cfg->checkpoint.keep_best && !isnan(run->state.train.best_metric);
}

rt_status rt_run_test(rt_run *run) {
    if (!run->test) return RT_OK;
    bool best = run->cfg->eval.test_with == RT_CFG_TEST_BEST && rt_run_keeps_best(run);
    const rt_train_state *t = &run->state.train;
    if (best && t->best_step != t->step) {
        rt_info(run->cli->log, "test: with the best weights, of step %llu", (unsigned long long)t->best_step);
        RT_TRY(run->setup.comm->barrier(run->setup.comm)); /* rank 0 has written it */
        RT_TRY(rt_setup_reload(&run->setup, run->folder.best));
        run->setup.logit_shift = 0.0; /* best.h5 has it in its bias */
    }
    findings f = {0};
    rt_status rc = score(run, run->test, "test", &f);
    if (rc == RT_OK && rt_run_leads(run)) rc = publish(run, "test", &f);
    findings_free(&f);
    return rc;
}
