#include "run_state.h"
#include "../text/tokenizer.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

static void number(rt_text *out, const char *key, double value) {
    rt_text_printf(out, "  \"%s\": ", key);
    if (isfinite(value))
        rt_text_double(out, value);
    else
        rt_text_puts(out, "null");
    rt_text_puts(out, ",\n");
}

static void whole(rt_text *out, const char *key, uint64_t value) {
    rt_text_printf(out, "  \"%s\": %llu,\n", key, (unsigned long long)value);
}

static void string(rt_text *out, const char *key, const char *value) {
    rt_text_printf(out, "  \"%s\": ", key);
    rt_text_json_string(out, value, strlen(value));
    rt_text_puts(out, ",\n");
}

void rt_run_state_write(const rt_run_state *s, const char *const *labels, int n_labels, rt_text *out) {
    const rt_train_state *t = &s->train;
    rt_text_puts(out, "{\n");
    whole(out, "step", t->step);
    whole(out, "adam_step", t->adam_step);
    whole(out, "total_steps", t->total_steps);
    whole(out, "warmup_steps", t->warmup_steps);
    whole(out, "epoch", s->epoch);
    whole(out, "step_in_epoch", s->step_in_epoch);
    number(out, "loss_sum", t->loss_sum);
    whole(out, "loss_steps", t->loss_steps);
    whole(out, "seqs", t->seqs);
    whole(out, "tokens", t->tokens);
    number(out, "best_metric", t->best_metric);
    whole(out, "best_step", t->best_step);
    whole(out, "stale_evals", t->stale_evals);
    whole(out, "eval_due", t->eval_due);
    whole(out, "stopped_early", t->stopped_early);
    whole(out, "skipped_steps", t->skipped_steps);
    whole(out, "empty_steps", t->empty_steps);
    whole(out, "reports", t->reports);
    whole(out, "micro_batch_tokens", (uint64_t)s->micro_batch_tokens);
    rt_text_puts(out, "  \"class_weights\": [");
    for (int i = 0; i < s->n_class_weights; i++) {
        if (i) rt_text_puts(out, ", ");
        rt_text_double(out, s->class_weights[i]);
    }
    rt_text_puts(out, "],\n  \"labels\": [");
    for (int i = 0; i < n_labels; i++) {
        if (i) rt_text_puts(out, ", ");
        rt_text_json_string(out, labels[i], strlen(labels[i]));
    }
    rt_text_puts(out, "],\n");
    string(out, "data_digest", s->data_digest);
    string(out, "vocab_digest", s->vocab_digest);
    string(out, "meaning_digest", s->meaning_digest);
    string(out, "gemm_digest", s->gemm_digest);
    rt_text_printf(out, "  \"tokenizer_version\": %d\n}\n", s->tokenizer_version);
}

/* Readers note the first failure and go on; the parse reports it once. */
typedef struct {
    const json_t *root;
    const char *name, *bad;
} rt_state_reader;

static uint64_t read_whole(rt_state_reader *r, const char *key, uint64_t limit) {
    const json_t *v = json_object_get(r->root, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > limit) {
        if (!r->bad) r->bad = key;
        return 0;
    }
    return (uint64_t)json_integer_value(v);
}

static double read_number(rt_state_reader *r, const char *key) {
    const json_t *v = json_object_get(r->root, key);
    if (json_is_null(v)) return NAN;
    if (!json_is_number(v)) {
        if (!r->bad) r->bad = key;
        return 0;
    }
    return json_number_value(v);
}

static void read_digest(rt_state_reader *r, const char *key, char out[33]) {
    const char *v = json_string_value(json_object_get(r->root, key));
    if (!v || strlen(v) > 32) {
        if (!r->bad) r->bad = key;
        return;
    }
    memcpy(out, v, strlen(v) + 1);
}

rt_status rt_run_state_parse(const char *json, size_t size, const char *name, rt_run_state *s) {
    json_error_t error;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) return rt_fail(RT_EDATA, "%s: /state is not JSON: %s", name, error.text);
    rt_state_reader r = {.root = root, .name = name};
    const uint64_t steps = UINT32_MAX; /* the dropout counter's range */
    memset(s, 0, sizeof *s);
    s->train = (rt_train_state){.step = read_whole(&r, "step", steps),
                                .adam_step = read_whole(&r, "adam_step", steps),
                                .total_steps = read_whole(&r, "total_steps", steps),
                                .warmup_steps = read_whole(&r, "warmup_steps", steps),
                                .loss_sum = read_number(&r, "loss_sum"),
                                .loss_steps = read_whole(&r, "loss_steps", steps),
                                .seqs = read_whole(&r, "seqs", INT64_MAX),
                                .tokens = read_whole(&r, "tokens", INT64_MAX),
                                .best_metric = read_number(&r, "best_metric"),
                                .best_step = read_whole(&r, "best_step", steps),
                                .stale_evals = (uint32_t)read_whole(&r, "stale_evals", steps),
                                .eval_due = read_whole(&r, "eval_due", 1) != 0,
                                .stopped_early = read_whole(&r, "stopped_early", 1) != 0,
                                .skipped_steps = read_whole(&r, "skipped_steps", steps),
                                .empty_steps = read_whole(&r, "empty_steps", steps),
                                .reports = (uint32_t)read_whole(&r, "reports", steps)};
    s->epoch = (uint32_t)read_whole(&r, "epoch", steps);
    s->step_in_epoch = (uint32_t)read_whole(&r, "step_in_epoch", steps);
    s->micro_batch_tokens = (int)read_whole(&r, "micro_batch_tokens", 1 << 24);
    s->tokenizer_version = (int)read_whole(&r, "tokenizer_version", 1 << 20);
    read_digest(&r, "data_digest", s->data_digest);
    read_digest(&r, "vocab_digest", s->vocab_digest);
    read_digest(&r, "meaning_digest", s->meaning_digest);
    read_digest(&r, "gemm_digest", s->gemm_digest);
    const json_t *weights = json_object_get(root, "class_weights");
    if (!json_is_array(weights) || json_array_size(weights) > RT_MAX_LABELS) r.bad = r.bad ? r.bad : "class_weights";
    for (size_t i = 0; !r.bad && i < json_array_size(weights); i++) {
        double w = json_number_value(json_array_get(weights, i));
        if (!(w >= 0) || !isfinite(w)) r.bad = "class_weights";
        s->class_weights[s->n_class_weights++] = w;
    }
    if (!r.bad && s->train.step > s->train.total_steps) r.bad = "step";
    rt_status rc = r.bad ? rt_fail(RT_EDATA, "%s: /state: \"%s\" is missing or out of range", name, r.bad) : RT_OK;
    json_decref(root);
    return rc;
}
