/* A run's folder: paths, lock, what run.if_exists does, and the reports printed so far. */
#ifndef RT_CLI_RUN_FOLDER_H
#define RT_CLI_RUN_FOLDER_H
#include "../base/text.h"
#include "cli.h"

typedef struct {
    char *folder, *best, *last, *metrics, *report, *log, *config, *tensorboard, *cache, *html, *lock;
    int lock_fd; /* -1: not held */
    FILE *log_file;
    uint32_t reports; /* in report.txt */
} rt_run_folder;

typedef enum { RT_RUN_FRESH, RT_RUN_RESUME, RT_RUN_FINISHED } rt_run_kind;

/* Makes the folder, takes its lock (RT_ECONFIG: another process has it) and finds out what kind of run this is:
 * overwrite clears an earlier run's files (never others, nor the token cache), refuse stops (RT_ECONFIG) where there
 * are any, resume compares the meaning stored in last.h5 and stops (RT_ECONFIG) naming the keys that differ. */
rt_status rt_run_folder_open(rt_cli *cli, const rt_config *cfg, rt_run_folder *out, rt_run_kind *kind);
void rt_run_folder_close(rt_cli *cli, rt_run_folder *run);
/* Paths only, nothing on disk: for --dry-run. */
rt_status rt_run_folder_name(const rt_config *cfg, rt_run_folder *out);
/* Appends a report to report.txt (durable) and counts it. */
rt_status rt_run_report_add(rt_run_folder *run, const char *text, size_t size);
/* Cuts report.txt back to its first n reports. */
rt_status rt_run_report_cut(rt_run_folder *run, uint32_t n);
/* Takes the test's eval lines out of metrics.jsonl: a run that goes on will test again. */
rt_status rt_run_drop_test_lines(const rt_run_folder *run);
/* report.txt whole, to stdout. */
rt_status rt_run_report_print(const rt_run_folder *run);

#endif
