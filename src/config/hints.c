/* What to say about a key that does not exist. Most people come from another trainer: its names are known here. */
#include "value.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How a value of theirs becomes one of ours. */
typedef enum {
    SAME,     /* the value means the same */
    NO_VALUE, /* it has no counterpart that could be written for the user */
    STEPS,    /* a bare number counts steps */
    STRATEGY, /* no, epoch, steps */
    BF16,     /* true or false: bf16 or fp32 */
    MIXED,    /* no, fp16, bf16 */
    TF32,     /* true or false: tf32 or fp32 */
    CPU,      /* true or false: cpu or auto */
    REPLACE,  /* true or false: overwrite or resume */
    BEST,     /* true or false: best or last */
    ADAM,     /* adamw_torch, adamw_hf, ...: adamw */
    METRIC,   /* eval_loss, f1, roc_auc, ... */
    REPORT,   /* none, all, tensorboard */
} conversion;

static const struct {
    const char *theirs, *ours; /* a key of ours; or a sentence, where it begins with ";" */
    const char *note;          /* beside the key; NULL: none */
    conversion how;
} foreign[] = {
    {"per_device_train_batch_size", "train.batch_size", "over all ranks", SAME},
    {"per_gpu_train_batch_size", "train.batch_size", "over all ranks", SAME},
    {"train_batch_size", "train.batch_size", NULL, SAME},
    {"per_device_eval_batch_size", "eval.batch_tokens", "tokens, not rows", NO_VALUE},
    {"eval_batch_size", "eval.batch_tokens", "tokens, not rows", NO_VALUE},
    {"num_train_epochs", "train.epochs", NULL, SAME},
    {"num_epochs", "train.epochs", NULL, SAME},
    {"max_train_steps", "train.max_steps", NULL, SAME},
    {"lr", "optimizer.learning_rate", NULL, SAME},
    {"learning_rate", "optimizer.learning_rate", NULL, SAME},
    {"warmup_ratio", "schedule.warmup", "below 1 a share", SAME},
    {"warmup_steps", "schedule.warmup", "from 1 on a number of steps", SAME},
    {"num_warmup_steps", "schedule.warmup", "from 1 on a number of steps", SAME},
    {"lr_scheduler_type", "schedule.type", NULL, SAME},
    {"lr_scheduler", "schedule.type", NULL, SAME},
    {"scheduler", "schedule.type", NULL, SAME},
    {"optim", "optimizer.type", NULL, ADAM},
    {"weight_decay", "optimizer.weight_decay", NULL, SAME},
    {"adam_beta1", "optimizer.beta1", NULL, SAME},
    {"adam_beta2", "optimizer.beta2", NULL, SAME},
    {"adam_epsilon", "optimizer.epsilon", NULL, SAME},
    {"eps", "optimizer.epsilon", NULL, SAME},
    {"max_grad_norm", "optimizer.clip_norm", NULL, SAME},
    {"gradient_clip_val", "optimizer.clip_norm", NULL, SAME},
    {"layerwise_lr_decay", "optimizer.layer_decay", NULL, SAME},
    {"max_seq_length", "data.max_length", NULL, SAME},
    {"max_seq_len", "data.max_length", NULL, SAME},
    {"max_len", "data.max_length", NULL, SAME},
    {"fp16", "run.precision", "fp16 is not there; bf16 takes its place", BF16},
    {"bf16", "run.precision", NULL, BF16},
    {"tf32", "run.precision", NULL, TF32},
    {"mixed_precision", "run.precision", NULL, MIXED},
    {"use_cpu", "run.device", NULL, CPU},
    {"no_cuda", "run.device", NULL, CPU},
    {"output_dir", "run.output", NULL, SAME},
    {"run_name", "run.name", NULL, SAME},
    {"overwrite_output_dir", "run.if_exists", NULL, REPLACE},
    {"resume_from_checkpoint", "run.if_exists", "resume is the default", NO_VALUE},
    {"full_determinism", "run.deterministic", NULL, SAME},
    {"num_workers", "run.threads", NULL, SAME},
    {"dataloader_num_workers", "run.threads", NULL, SAME},
    {"data_seed", "run.seed", NULL, SAME},
    {"model_name_or_path", "model.base", NULL, SAME},
    {"model_name", "model.base", NULL, SAME},
    {"pretrained_model_name_or_path", "model.base", NULL, SAME},
    {"num_labels", "model.labels", "their names", NO_VALUE},
    {"label_names", "model.labels", NULL, SAME},
    {"id2label", "model.labels", NULL, NO_VALUE},
    {"hidden_size", "model.hidden", NULL, SAME},
    {"num_hidden_layers", "model.layers", NULL, SAME},
    {"num_attention_heads", "model.heads", NULL, SAME},
    {"intermediate_size", "model.ffn", NULL, SAME},
    {"hidden_dropout_prob", "model.dropout", NULL, SAME},
    {"attention_probs_dropout_prob", "model.attention_dropout", NULL, SAME},
    {"classifier_dropout", "model.head_dropout", NULL, SAME},
    {"train_file", "data.train", NULL, SAME},
    {"validation_file", "data.dev", NULL, SAME},
    {"dev_file", "data.dev", NULL, SAME},
    {"eval_file", "data.dev", NULL, SAME},
    {"test_file", "data.test", NULL, SAME},
    {"text_column", "data.text_a", NULL, SAME},
    {"text_column_name", "data.text_a", NULL, SAME},
    {"sentence1_key", "data.text_a", NULL, SAME},
    {"sentence2_key", "data.text_b", NULL, SAME},
    {"text_pair", "data.text_b", NULL, SAME},
    {"label_column", "data.label", NULL, SAME},
    {"label_column_name", "data.label", NULL, SAME},
    {"label_smoothing_factor", "train.label_smoothing", NULL, SAME},
    {"early_stopping_patience", "train.patience", NULL, SAME},
    {"early_stopping", "train.patience", NULL, NO_VALUE},
    {"metric_for_best_model", "eval.metric", NULL, METRIC},
    {"load_best_model_at_end", "eval.test_with", NULL, BEST},
    {"evaluation_strategy", "eval.every", NULL, STRATEGY},
    {"eval_strategy", "eval.every", NULL, STRATEGY},
    {"eval_steps", "eval.every", NULL, STEPS},
    {"save_steps", "checkpoint.every", NULL, STEPS},
    {"save_strategy", "checkpoint.every", NULL, STRATEGY},
    {"save_total_limit", "checkpoint.keep", NULL, SAME},
    {"logging_steps", "track.jsonl_every", NULL, STEPS},
    {"report_to", "track.tensorboard", NULL, REPORT},
    {"ddp_timeout", "distributed.timeout", NULL, SAME},
    {"gradient_checkpointing",
     "; train.recompute is its name here; memory is bounded by train.micro_batch_tokens as well", NULL, NO_VALUE},
    {"gradient_accumulation_steps",
     "; it is not needed: train.batch_size is the whole step's, cut into micro-batches by memory", NULL, NO_VALUE},
    {"auto_find_batch_size",
     "; it is not needed: train.batch_size is the whole step's, cut into micro-batches by memory", NULL, NO_VALUE},
    {"greater_is_better", "; it is not needed: each eval.metric knows its direction", NULL, NO_VALUE},
    {"do_train", "; it is not needed: `rectrain train` trains, `rectrain eval` evaluates", NULL, NO_VALUE},
    {"do_eval", "; it is not needed: data.dev is evaluated if it is set", NULL, NO_VALUE},
    {"do_predict", "; it is not needed: data.test is evaluated if it is set, `rectrain predict` predicts", NULL,
     NO_VALUE},
    {"do_lower_case", "; it is not needed: casing comes with model.base (init = random: model.cased)", NULL, NO_VALUE},
    {"tokenizer_name", "; it is not needed: the tokenizer comes with model.base", NULL, NO_VALUE},
    {"use_fast_tokenizer", "; it is not needed: the tokenizer comes with model.base", NULL, NO_VALUE},
    {"pad_to_max_length", "; it is not needed: rows are packed without padding", NULL, NO_VALUE},
    {"group_by_length", "; it is not needed: rows are packed without padding", NULL, NO_VALUE},
    {"remove_unused_columns", "; it is not needed: columns are found by name, others are ignored", NULL, NO_VALUE},
    {"logging_dir", "; it is not needed: everything of a run goes to run.output/run.name", NULL, NO_VALUE},
    {"max_train_samples", "; it is not there: train.max_steps bounds a run, and so does a shorter file", NULL,
     NO_VALUE},
    {"push_to_hub", "; it is not there: `rectrain export` writes a folder that can be pushed", NULL, NO_VALUE},
};

static bool same_key(const char *a, const char *b) {
    for (;; a++, b++) {
        char x = *a == '-' ? '_' : *a, y = *b == '-' ? '_' : *b;
        if (x >= 'A' && x <= 'Z') x = (char)(x - 'A' + 'a');
        if (x != y) return false;
        if (!x) return true;
    }
}

/* --- the line to write -------------------------------------------------------------------------------------------- */

static bool is_true(const char *value) {
    return same_key(value, "true") || same_key(value, "yes") || same_key(value, "on") || same_key(value, "1");
}

static bool is_false(const char *value) {
    return same_key(value, "false") || same_key(value, "no") || same_key(value, "off") || same_key(value, "0");
}

static const char *choose(const char *value, const char *if_true, const char *if_false) {
    return is_true(value) ? if_true : is_false(value) ? if_false : NULL;
}

static const char *metric_of(const char *value) {
    static const char *const names[][2] = {{"loss", "log_loss"}, {"f1", "macro_f1"},  {"roc_auc", "auc"},
                                           {"acc", "accuracy"},  {"map", "mrr_mind"}, {"ndcg", "ndcg@10"}};
    if (!strncmp(value, "eval_", 5)) value += 5;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (same_key(value, names[i][0])) return names[i][1];
    return value;
}

static const char *strategy_of(const char *value) {
    return is_false(value) ? "0" : same_key(value, "epoch") ? "1 epoch" : NULL;
}

/* NULL: nothing to write. `room` holds what has to be put together. */
static const char *convert(conversion how, const char *value, char room[80]) {
    long long steps;
    if (!value) return NULL;
    switch (how) {
    case SAME:
        return value;
    case NO_VALUE:
        return NULL;
    case STEPS:
        if (!rt_parse_i64(value, &steps) || steps < 1) return NULL;
        snprintf(room, 80, "%lld steps", steps);
        return room;
    case STRATEGY:
        return strategy_of(value);
    case BF16:
        return choose(value, "bf16", "fp32");
    case MIXED:
        return same_key(value, "fp16") || same_key(value, "bf16") ? "bf16" : same_key(value, "no") ? "fp32" : NULL;
    case TF32:
        return choose(value, "tf32", "fp32");
    case CPU:
        return choose(value, "cpu", "auto");
    case REPLACE:
        return choose(value, "overwrite", "resume");
    case BEST:
        return choose(value, "best", "last");
    case ADAM:
        return !strncmp(value, "adamw", 5) ? "adamw" : value;
    case METRIC:
        return metric_of(value);
    case REPORT:
        return same_key(value, "none") ? "no" : same_key(value, "all") || same_key(value, "tensorboard") ? "yes" : NULL;
    }
    return NULL;
}

static bool is_taken(const rt_option *o, const char *value) {
    rt_config *scratch = calloc(1, sizeof *scratch);
    if (!scratch) return false;
    rt_value_clear(o, scratch);
    bool taken = rt_value_parse(o, value, &(rt_value_source){"", NULL, RT_ECONFIG}, scratch) == RT_OK;
    rt_value_free(o, scratch);
    free(scratch);
    return taken;
}

/* "; did you mean train.batch_size (over all ranks)? Write in [train]: batch_size = 32" */
static void propose(const rt_option *o, const char *note, const char *value, bool flag, rt_text *out) {
    rt_text_printf(out, "; did you mean %s.%s%s%s%s?", o->section, o->key, note ? " (" : "", note ? note : "",
                   note ? ")" : "");
    if (!value || !*value || strlen(value) > 200 || (flag && strchr(value, '\''))) return;
    if (!is_taken(o, value)) {
        rt_text_puts(out, " It takes ");
        rt_option_expected(o, out);
        return;
    }
    bool quotes = flag && strcspn(value, " \t*?$\"'\\;&|<>(){}[]#!~") != strlen(value);
    if (flag)
        rt_text_printf(out, " Write: --set %s%s.%s=", quotes ? "'" : "", o->section, o->key);
    else
        rt_text_printf(out, " Write in [%s]: %s = ", o->section, o->key);
    rt_text_escaped(out, value, strlen(value), 200);
    if (quotes) rt_text_puts(out, "'");
}

/* --- finding the key ---------------------------------------------------------------------------------------------- */

static const rt_option *option_named(const char *name) {
    char section[32];
    size_t n = strcspn(name, ".");
    if (!name[n] || n >= sizeof section) return NULL;
    memcpy(section, name, n);
    section[n] = 0;
    return rt_option_find(section, name + n + 1);
}

bool rt_option_hint_known(const char *section, const char *key, const char *value, bool flag, rt_text *out) {
    int n;
    const rt_option *options = rt_options(&n), *own = NULL;
    char room[80];
    if (strlen(key) > 60) return false;
    /* The right key in another spelling or section: "learning_rate" in [train]. */
    for (int i = 0; i < n; i++) {
        if (!same_key(key, options[i].key)) continue;
        if (!own || (section && !strcmp(options[i].section, section))) own = &options[i];
    }
    bool exact_section = own && section && !strcmp(own->section, section);
    for (size_t i = 0; !exact_section && i < sizeof foreign / sizeof foreign[0]; i++) {
        if (!same_key(key, foreign[i].theirs)) continue;
        const rt_option *o = option_named(foreign[i].ours);
        if (o)
            propose(o, foreign[i].note, convert(foreign[i].how, value, room), flag, out);
        else
            rt_text_puts(out, foreign[i].ours);
        return true;
    }
    if (own) propose(own, NULL, value, flag, out);
    return own != NULL;
}

void rt_option_hint_value(const char *section, const char *key, const char *value, bool flag, rt_text *out) {
    int n, best = -1, best_distance = 0;
    const rt_option *options = rt_options(&n);
    if (strlen(key) > 60 || rt_option_hint_known(section, key, value, flag, out)) return;
    /* Else the nearest; a key of the same section wins a tie. */
    for (int i = 0; i < n; i++) {
        int d = 2 * rt_edit_distance(key, options[i].key), limit = 2 * (int)(strlen(options[i].key) + 2) / 3;
        if (section && strcmp(options[i].section, section) != 0) d += 1;
        if (d <= limit && (best < 0 || d < best_distance)) best = i, best_distance = d;
    }
    if (best >= 0) propose(&options[best], NULL, value, flag, out);
}

void rt_option_hint(const char *section, const char *key, rt_text *out) {
    rt_option_hint_value(section, key, NULL, false, out);
}

/* Words of other trainers and of daily speech for values of ours. */
void rt_option_near_value(const rt_option *o, const char *text, rt_text *out) {
    static const char *const words[][2] = {{"gpu", "cuda"},
                                           {"fp16", "bf16"},
                                           {"half", "bf16"},
                                           {"bfloat16", "bf16"},
                                           {"float32", "fp32"},
                                           {"float", "fp32"},
                                           {"adamw_torch", "adamw"},
                                           {"adamw_hf", "adamw"},
                                           {"adamw_torch_fused", "adamw"},
                                           {"f1", "macro_f1"},
                                           {"loss", "log_loss"},
                                           {"eval_loss", "log_loss"},
                                           {"roc_auc", "auc"},
                                           {"cosine_with_restarts", "cosine"},
                                           {"constant_with_warmup", "constant"},
                                           {"longest", "longest_first"},
                                           {"only_first", "text_a"},
                                           {"only_second", "text_b"},
                                           {"json", "jsonl"},
                                           {"error", "stop"},
                                           {"fail", "refuse"},
                                           {"replace", "overwrite"}};
    if (!o->names || strlen(text) > 60) return;
    int n = 0;
    while (o->names[n]) n++;
    const char *near = rt_did_you_mean(text, o->names, n);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        for (int k = 0; k < n; k++)
            if (same_key(text, words[i][0]) && !strcmp(o->names[k], words[i][1])) near = o->names[k];
    if (near) rt_text_printf(out, "; did you mean %s?", near);
}

void rt_option_section_hint(const char *section, rt_text *out) {
    const char *names[32];
    int n = 0;
    while (n < 32 && rt_option_section_name(n)) names[n] = rt_option_section_name(n), n++;
    const char *near = strlen(section) < 60 ? rt_did_you_mean(section, names, n) : NULL;
    if (near)
        rt_text_printf(out, "; did you mean [%s]?", near);
    else {
        rt_text_puts(out, "; there are ");
        for (int i = 0; i < n; i++) rt_text_printf(out, "%s[%s]", i ? " " : "", names[i]);
    }
}
