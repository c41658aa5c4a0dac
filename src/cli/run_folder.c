#include "run_folder.h"
#include "../base/file.h"
#include "../checkpoint/checkpoint.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPORT_LIMIT ((size_t)1 << 30)

rt_status rt_run_folder_name(const rt_config *cfg, rt_run_folder *run) {
    memset(run, 0, sizeof *run);
    run->lock_fd = -1;
    run->folder = rt_path_join(cfg->run.output, cfg->run.name);
    if (!run->folder) return rt_fail(RT_ENOMEM, "out of memory for paths");
    struct {
        char **path;
        const char *name;
    } parts[] = {{&run->best, "best.h5"},
                 {&run->last, "last.h5"},
                 {&run->metrics, "metrics.jsonl"},
                 {&run->report, "report.txt"},
                 {&run->log, "log.txt"},
                 {&run->config, "config.ini"},
                 {&run->tensorboard, "tensorboard"},
                 {&run->cache, "cache"},
                 {&run->html, "report.html"},
                 {&run->lock, "lock"}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!(*parts[i].path = rt_path_join(run->folder, parts[i].name)))
            return rt_fail(RT_ENOMEM, "out of memory for paths");
    if (cfg->data.cache) {
        free(run->cache);
        run->cache = strcmp(cfg->data.cache, "none") == 0 ? NULL : rt_strdup(cfg->data.cache);
    }
    return RT_OK;
}

static rt_status take_lock(rt_run_folder *run) {
    run->lock_fd = open(run->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (run->lock_fd < 0) return rt_fail(RT_EIO, "%s: %s", run->lock, strerror(errno));
    if (flock(run->lock_fd, LOCK_EX | LOCK_NB) == 0) return RT_OK;
    if (errno != EWOULDBLOCK) return RT_OK; /* a file system without locks: go on without */
    return rt_fail(RT_ECONFIG,
                   "%s: another rectrain process is at work in this folder; wait for it, or choose another run.name",
                   run->folder);
}

/* Removes what a run writes, and nothing else. */
static rt_status clear_folder(const rt_run_folder *run) {
    const char *own[] = {run->best, run->last, run->metrics, run->report, run->log, run->config, run->html};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (unlink(own[i]) != 0 && errno != ENOENT) return rt_fail(RT_EIO, "%s: %s", own[i], strerror(errno));
    const char *folders[] = {run->folder, run->tensorboard}, *prefixes[] = {"step-", "events.out.tfevents."};
    for (int i = 0; i < 2; i++) {
        DIR *dir = opendir(folders[i]);
        if (!dir) continue;
        for (struct dirent *e; (e = readdir(dir));)
            if (strncmp(e->d_name, prefixes[i], strlen(prefixes[i])) == 0) unlinkat(dirfd(dir), e->d_name, 0);
        closedir(dir);
    }
    return RT_OK;
}

/* A process that was killed while it replaced a file leaves "<name>.tmp.<pid>": with the lock held they are nobody's.
 */
static void clear_temporaries(const rt_run_folder *run) {
    static const char *const own[] = {"best.h5", "last.h5", "step-", "metrics.jsonl", "report.", "config.ini"};
    DIR *dir = opendir(run->folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        const char *mark = strstr(e->d_name, ".tmp.");
        if (!mark || !mark[5] || mark[5 + strspn(mark + 5, "0123456789")]) continue;
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            if (strncmp(e->d_name, own[i], strlen(own[i])) == 0) unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
}

/* A finished run's metrics.jsonl ends with its "end" event. */
static bool is_finished(const rt_run_folder *run) {
    FILE *f = fopen(run->metrics, "r");
    if (!f) return false;
    char tail[512] = {0};
    if (fseek(f, -(long)(sizeof tail - 1), SEEK_END) != 0) rewind(f);
    size_t n = fread(tail, 1, sizeof tail - 1, f);
    fclose(f);
    while (n && tail[n - 1] == '\n') tail[--n] = 0;
    const char *line = strrchr(tail, '\n');
    return strstr(line ? line : tail, "\"event\": \"end\"") != NULL;
}

static rt_status check_meaning(const rt_config *cfg, const rt_run_folder *run, const char *checkpoint) {
    rt_checkpoint *c = NULL;
    rt_text differences = {0};
    rt_status rc = rt_checkpoint_open(checkpoint, &c);
    if (rc != RT_OK) return rt_fail_context(rc, "cannot resume (run.if_exists = overwrite starts anew)");
    rt_blob ini = rt_checkpoint_config_ini(c);
    rc = rt_config_meaning_differences(cfg, ini.bytes, ini.size, checkpoint, &differences);
    if (rc == RT_OK && differences.size)
        rc = rt_fail(RT_ECONFIG,
                     "%s holds a run with other settings: %s. Give this run another run.name, restore these keys, or "
                     "start anew with run.if_exists = overwrite",
                     run->folder, differences.data);
    rt_text_free(&differences);
    rt_checkpoint_close(c);
    return rc;
}

/* What is there under our names must be files: a pipe among them would stop the run for ever. */
static rt_status check_files(const rt_run_folder *run) {
    const char *const paths[] = {run->best, run->last, run->metrics, run->report, run->log, run->config, run->html};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct stat st;
        if (stat(paths[i], &st) == 0 && !S_ISREG(st.st_mode))
            return rt_fail(RT_EIO,
                           "%s: a %s; the run keeps a file under this name: move it away, or choose another "
                           "run.name",
                           paths[i], S_ISDIR(st.st_mode) ? "folder" : "pipe or device");
    }
    return RT_OK;
}

static rt_status decide(rt_cli *cli, const rt_config *cfg, rt_run_folder *run, rt_run_kind *kind) {
    bool last = rt_file_exists(run->last), any = last || rt_file_exists(run->best) || rt_file_exists(run->metrics);
    *kind = RT_RUN_FRESH;
    if (any && cfg->run.if_exists == RT_IF_EXISTS_REFUSE)
        return rt_fail(RT_ECONFIG,
                       "%s already holds a run; choose another run.name, or set run.if_exists = resume or overwrite",
                       run->folder);
    /* Of a finished run last.h5, the larger file, may be deleted: best.h5 knows its meaning too. */
    bool finished = is_finished(run) && (last || rt_file_exists(run->best));
    if (cfg->run.if_exists == RT_IF_EXISTS_OVERWRITE || !(last || finished)) {
        if (any)
            rt_info(cli->log, "%s: %s", run->folder,
                    last ? "overwriting an earlier run" : "an earlier run saved nothing; starting anew");
        return clear_folder(run);
    }
    RT_TRY(check_meaning(cfg, run, last ? run->last : run->best));
    *kind = finished ? RT_RUN_FINISHED : RT_RUN_RESUME;
    return RT_OK;
}

rt_status rt_run_folder_open(rt_cli *cli, const rt_config *cfg, rt_run_folder *run, rt_run_kind *kind) {
    RT_TRY(rt_run_folder_name(cfg, run));
    RT_TRY(rt_make_folders(run->folder));
    RT_TRY(take_lock(run));
    RT_TRY(check_files(run));
    RT_TRY(decide(cli, cfg, run, kind));
    if (*kind == RT_RUN_FINISHED) return RT_OK;
    clear_temporaries(run);
    run->log_file = fopen(run->log, "ae");
    if (!run->log_file) return rt_fail(RT_EIO, "%s: %s", run->log, strerror(errno));
    rt_log_tee(cli->log, run->log_file);
    return RT_OK;
}

void rt_run_folder_close(rt_cli *cli, rt_run_folder *run) {
    if (run->log_file) {
        rt_log_tee(cli->log, NULL);
        fclose(run->log_file);
    }
    if (run->lock_fd >= 0) close(run->lock_fd);
    char *paths[] = {run->folder, run->best,        run->last,  run->metrics, run->report, run->log,
                     run->config, run->tensorboard, run->cache, run->html,    run->lock};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) free(paths[i]);
    memset(run, 0, sizeof *run);
    run->lock_fd = -1;
}

/* A report begins with a line of its own, as run_report.c writes it: "dev, step 12 (epoch 0.50)". Reports are counted
 * by these, so that a resumed run can cut the file back. */
static bool is_report_head(const char *line) {
    unsigned long long step;
    double epoch;
    int end = 0;
    if (sscanf(line, "dev, step %llu (epoch %lf)%n", &step, &epoch, &end) != 2 || !end) {
        end = 0;
        if (sscanf(line, "test, step %llu (epoch %lf)%n", &step, &epoch, &end) != 2 || !end) return false;
    }
    return line[end] == '\n';
}

rt_status rt_run_report_add(rt_run_folder *run, const char *text, size_t size) {
    char *old = NULL;
    size_t old_size = 0;
    rt_text all = {0};
    if (rt_file_exists(run->report)) RT_TRY(rt_file_read(run->report, REPORT_LIMIT, &old, &old_size));
    if (old) rt_text_append(&all, old, old_size);
    rt_text_append(&all, text, size);
    rt_status rc = rt_text_status(&all);
    if (rc == RT_OK) rc = rt_file_write_atomic(run->report, all.data, all.size);
    if (rc == RT_OK) run->reports++;
    rt_text_free(&all);
    free(old);
    return rc;
}

rt_status rt_run_report_cut(rt_run_folder *run, uint32_t n) {
    char *text = NULL;
    size_t size = 0;
    run->reports = n;
    if (!rt_file_exists(run->report)) return RT_OK;
    RT_TRY(rt_file_read(run->report, REPORT_LIMIT, &text, &size));
    uint32_t heads = 0;
    const char *at = text;
    for (const char *next; *at; at = next) {
        if (is_report_head(at) && ++heads > n) break;
        next = strchr(at, '\n');
        next = next ? next + 1 : at + strlen(at);
    }
    rt_status rc = *at ? rt_file_write_atomic(run->report, text, (size_t)(at - text)) : RT_OK;
    free(text);
    return rc;
}

rt_status rt_run_drop_test_lines(const rt_run_folder *run) {
    static const char mark[] = "\"event\": \"eval\"", split[] = "\"split\": \"test\"";
    char *text = NULL;
    size_t size = 0;
    rt_text kept = {0};
    if (!rt_file_exists(run->metrics)) return RT_OK;
    RT_TRY(rt_file_read(run->metrics, REPORT_LIMIT, &text, &size));
    for (char *line = text, *end; *line; line = end) {
        char *newline = strchr(line, '\n');
        end = newline ? newline + 1 : line + strlen(line);
        if (newline) *newline = 0;
        bool test = strstr(line, mark) && strstr(line, split);
        if (newline) *newline = '\n';
        if (!test) rt_text_append(&kept, line, (size_t)(end - line));
    }
    rt_status rc = rt_text_status(&kept);
    if (rc == RT_OK && kept.size != size)
        rc = rt_file_write_atomic(run->metrics, kept.data ? kept.data : "", kept.size);
    rt_text_free(&kept);
    free(text);
    return rc;
}

rt_status rt_run_report_print(const rt_run_folder *run) {
    char *text = NULL;
    size_t size = 0;
    if (!rt_file_exists(run->report)) return RT_OK;
    RT_TRY(rt_file_read(run->report, REPORT_LIMIT, &text, &size));
    rt_status rc = rt_cli_write(text, size);
    free(text);
    return rc == RT_OK ? rt_cli_flush() : rc;
}
