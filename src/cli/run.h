/* One training run: the parts that cli/run*.c share. */
#ifndef RT_CLI_RUN_H
#define RT_CLI_RUN_H
#include "../eval/metrics.h"
#include "../track/track.h"
#include "../train/train.h"
#include "run_folder.h"
#include "run_retrieval.h"
#include "run_state.h"
#include "setup.h"

typedef struct {
    rt_cli *cli;
    rt_config *cfg;
    rt_run_folder folder;
    rt_run_kind kind;
    rt_setup setup;
    rt_dataset *train, *dev, *test;
    /* train.objective = contrastive: the pairs of train, contrastive.items, and what dev and test are searched for. */
    rt_pairs pairs;
    rt_dataset *items;
    rt_run_catalogue dev_catalogue, test_catalogue;
    rt_run_state state;
    rt_train_settings settings;
    rt_jsonl *jsonl;
    rt_tensorboard *tensorboard;
    rt_progress_line *line;
    char *checkpoint_ini, *config_json, *tokenizer_json; /* blobs of every checkpoint of this run */
    bool together;        /* all ranks end alike: trained to the end, or stopped at the same step */
    double steps_started; /* clock at the first step of this process */
    uint64_t first_step;  /* state.train.step then */
} rt_run;

/* Only rank 0 writes and speaks. */
static inline bool rt_run_leads(const rt_run *run) {
    return run->setup.launch.rank == 0;
}

/* run_data.c: the data sets, with progress and the summary that stands before step 1. */
rt_status rt_run_open_data(rt_run *run);
void rt_run_data_summary(const rt_run *run);
/* Tokens of the largest step that data and batch size allow. */
int64_t rt_run_largest_step(const rt_run *run);
int rt_run_longest_row(const rt_run *run);

/* run_plan.c: what will be done, memory, estimated time. */
rt_status rt_run_settings(rt_run *run);
rt_status rt_run_plan(rt_run *run);

/* run_save.c */
rt_status rt_run_prepare_blobs(rt_run *run);
rt_status rt_run_save(void *run, const rt_train_state *state, rt_save_kind kind);

/* run_report.c: hooks for events and evaluation. */
rt_status rt_run_event(void *run, const rt_train_event *event);
rt_status rt_run_eval(void *run, rt_train_state *state, double *metric, bool *higher);
rt_status rt_run_test(rt_run *run);
/* RT_ECONFIG for an eval.metric that this objective has not. */
rt_status rt_run_check_metric(const rt_config *cfg);
/* best.h5 follows eval.metric; else (no data.dev, checkpoint.keep_best = no, a metric that was never defined) it holds
 * the last step's weights. */
bool rt_run_keeps_best(const rt_run *run);
rt_status rt_run_jsonl_start(rt_run *run);
rt_status rt_run_jsonl_checkpoint(rt_run *run, const char *path);
rt_status rt_run_jsonl_end(rt_run *run);

#endif
