/* Checkpoints of a run: best.h5 for serving, last.h5 and step-*.h5 for going on. */
#include "../base/file.h"
#include "run.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *take_text(rt_text *text) {
    char *s = rt_text_status(text) == RT_OK && text->data ? rt_strndup(text->data, text->size) : NULL;
    rt_text_free(text);
    return s;
}

rt_status rt_run_prepare_blobs(rt_run *run) {
    rt_text text = {0};
    rt_config_write_options options = {.classes = RT_CLASS_MEANING | RT_CLASS_COLUMNS};
    RT_TRY(rt_config_write(run->cfg, &options, &text));
    run->checkpoint_ini = take_text(&text);
    RT_TRY(rt_config_json_write(&run->setup.bert, run->setup.labels, run->setup.n_labels, &text));
    run->config_json = take_text(&text);
    RT_TRY(rt_tokenizer_config_write(run->setup.tok, run->cfg->data.max_length, &text));
    run->tokenizer_json = take_text(&text);
    if (!run->checkpoint_ini || !run->config_json || !run->tokenizer_json)
        return rt_fail(RT_ENOMEM, "out of memory for a checkpoint's texts");
    return RT_OK;
}

/* Views of rows; where the backend's memory is not the host's, copies that the caller frees. */
typedef struct {
    rt_tensor_view *views;
    float **copies;
    int n;
} rt_views;

static void free_views(rt_views *v) {
    for (int i = 0; v->copies && i < v->n; i++) free(v->copies[i]);
    free(v->copies);
    free(v->views);
    *v = (rt_views){0};
}

/* A row's moment from the ranks that have its parts, in their order, to rank 0; values has room for the row. */
static rt_status gather_moment(rt_setup *s, int row, rt_buffer buffer, float *values) {
    rt_comm *c = s->comm;
    const rt_param *p = &s->table.rows[row];
    int64_t first, count;
    size_t *sizes = calloc((size_t)c->size, sizeof *sizes), bytes = 0;
    void *all = NULL;
    if (!sizes) return rt_fail(RT_ENOMEM, "out of memory to save %s", p->name);
    rt_status rc = rt_model_get_part(&s->model, row, buffer, values, &first, &count);
    if (rc == RT_OK) rc = c->gather(c, values + first, (size_t)count * sizeof *values, &all, sizes);
    for (int r = 0; r < c->size; r++) bytes += sizes[r];
    if (rc == RT_OK && c->rank == 0 && bytes != (size_t)p->count * sizeof *values)
        rc = rt_fail(RT_EINTERNAL, "%s: the ranks have %zu bytes of its moments", p->name, bytes);
    if (rc == RT_OK && c->rank == 0) memcpy(values, all, bytes);
    free(all);
    free(sizes);
    return rc;
}

/* What rank 0 asks for while it writes a checkpoint. */
static rt_status send_moments(rt_setup *s) {
    static const rt_buffer buffers[] = {RT_BUFFER_M, RT_BUFFER_V};
    for (int b = 0; b < 2; b++) {
        for (int i = 0; i < s->table.n; i++) {
            if (!s->table.rows[i].trainable) continue;
            float *values = malloc((size_t)s->table.rows[i].count * sizeof *values);
            if (!values) return rt_fail(RT_ENOMEM, "out of memory to save %s", s->table.rows[i].name);
            rt_status rc = gather_moment(s, i, buffers[b], values);
            free(values);
            RT_TRY(rc);
        }
    }
    return RT_OK;
}

static rt_status make_views(rt_setup *s, rt_buffer buffer, rt_views *v) {
    const rt_param_table *t = &s->table;
    v->views = calloc((size_t)t->n, sizeof *v->views);
    v->copies = calloc((size_t)t->n, sizeof *v->copies);
    if (!v->views || !v->copies) return rt_fail(RT_ENOMEM, "out of memory to save");
    for (int i = 0; i < t->n; i++) {
        const rt_param *p = &t->rows[i];
        if (buffer != RT_BUFFER_PARAMS && !p->trainable) continue;
        bool parts = buffer != RT_BUFFER_PARAMS && s->comm->shards;
        const float *data = parts ? NULL : rt_model_direct(&s->model, i, buffer);
        if (!data) {
            float *copy = v->copies[v->n] = malloc((size_t)p->count * sizeof *copy);
            if (!copy) return rt_fail(RT_ENOMEM, "out of memory to save %s", p->name);
            RT_TRY(parts ? gather_moment(s, i, buffer, copy) : rt_model_get(&s->model, i, buffer, copy));
            data = copy;
        }
        v->views[v->n++] =
            (rt_tensor_view){.name = p->name, .rank = p->rank, .shape = {p->shape[0], p->shape[1]}, .data = data};
    }
    return RT_OK;
}

static rt_blob blob(const char *s) {
    return (rt_blob){s, strlen(s)};
}

/* For serving: the last label's bias with the correction for data.negative_keep, in a copy. */
static rt_status correct_bias(const rt_run *run, rt_views *v) {
    double correction = rt_setup_correction(run->cfg);
    for (int i = 0; correction != 0.0 && i < v->n; i++) {
        rt_tensor_view *view = &v->views[i];
        if (strcmp(view->name, rt_setup_bias) != 0) continue;
        size_t n = (size_t)run->setup.n_labels;
        float *copy = v->copies[i] ? v->copies[i] : malloc(n * sizeof *copy);
        if (!copy) return rt_fail(RT_ENOMEM, "out of memory to save %s", view->name);
        if (!v->copies[i]) memcpy(copy, view->data, n * sizeof *copy);
        v->copies[i] = copy;
        copy[n - 1] = (float)(copy[n - 1] + correction);
        view->data = copy;
    }
    return RT_OK;
}

static rt_status write_checkpoint(rt_run *run, const char *path, bool resumable) {
    rt_status rc = RT_OK;
    rt_views params = {0}, m = {0}, v = {0};
    rt_text state = {0};
    rt_checkpoint_contents contents = {.config_json = blob(run->config_json),
                                       .vocab_txt = {run->setup.vocab, run->setup.vocab_size},
                                       .tokenizer_config_json = blob(run->tokenizer_json),
                                       .config_ini = blob(run->checkpoint_ini)};
    RT_GO(make_views(&run->setup, RT_BUFFER_PARAMS, &params));
    if (!resumable) RT_GO(correct_bias(run, &params));
    contents.tensors = params.views;
    contents.n_tensors = params.n;
    if (resumable) {
        RT_GO(make_views(&run->setup, RT_BUFFER_M, &m));
        RT_GO(make_views(&run->setup, RT_BUFFER_V, &v));
        rt_run_state_write(&run->state, run->setup.labels, run->setup.n_labels, &state);
        RT_GO(rt_text_status(&state));
        contents.state = (rt_blob){state.data, state.size};
        contents.m = m.views;
        contents.v = v.views;
        contents.n_moments = m.n;
    }
    RT_GO(rt_checkpoint_write(path, &contents));
done:
    free_views(&params);
    free_views(&m);
    free_views(&v);
    rt_text_free(&state);
    return rc;
}

static int newest_first(const void *a, const void *b) {
    return strcmp(*(char *const *)b, *(char *const *)a);
}

/* Keeps the newest `keep` numbered files. */
static void prune_numbered(const rt_run *run, int keep) {
    enum { MOST = 4096 };
    char *names[MOST];
    int n = 0;
    DIR *dir = opendir(run->folder.folder);
    if (!dir) return;
    for (struct dirent *e; n < MOST && (e = readdir(dir));) {
        size_t size = strlen(e->d_name);
        if (size == 16 && strncmp(e->d_name, "step-", 5) == 0 && strcmp(e->d_name + 13, ".h5") == 0) {
            char *name = rt_strdup(e->d_name);
            if (name) names[n++] = name;
        }
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof names[0], newest_first);
    for (int i = 0; i < n; i++) {
        char *path = i >= keep ? rt_path_join(run->folder.folder, names[i]) : NULL;
        if (path) remove(path);
        free(path);
        free(names[i]);
    }
}

static rt_status save_numbered(rt_run *run, const rt_train_state *state) {
    if (run->cfg->checkpoint.keep <= 0) return RT_OK;
    char name[32];
    snprintf(name, sizeof name, "step-%08llu.h5", (unsigned long long)state->step);
    char *path = rt_path_join(run->folder.folder, name);
    if (!path) return rt_fail(RT_ENOMEM, "out of memory for paths");
    rt_status rc = write_checkpoint(run, path, true);
    free(path);
    if (rc == RT_OK) prune_numbered(run, run->cfg->checkpoint.keep);
    return rc;
}

rt_status rt_run_save(void *context, const rt_train_state *state, rt_save_kind kind) {
    rt_run *run = context;
    if (!rt_run_leads(run)) {
        bool wanted = kind == RT_SAVE_LAST || (kind == RT_SAVE_NUMBERED && run->cfg->checkpoint.keep > 0);
        return wanted && run->setup.comm->shards ? send_moments(&run->setup) : RT_OK;
    }
    uint32_t per_epoch = rt_steps_per_epoch(rt_dataset_examples(run->train), run->cfg->train.batch_size);
    run->state.epoch = (uint32_t)(state->step / per_epoch);
    run->state.step_in_epoch = (uint32_t)(state->step % per_epoch);
    run->state.train.reports = run->folder.reports;
    if (kind == RT_SAVE_NUMBERED) return save_numbered(run, state);
    const char *path = kind == RT_SAVE_BEST ? run->folder.best : run->folder.last;
    RT_TRY(write_checkpoint(run, path, kind == RT_SAVE_LAST));
    rt_verbose(run->cli->log, "step %llu: wrote %s", (unsigned long long)state->step, path);
    return rt_run_jsonl_checkpoint(run, path);
}
