/* What to say about a key that does not exist. Most people come from another trainer: its names are known here. */
#include "options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *theirs, *ours; /* a key of ours; or a sentence, where it holds a blank */
} foreign[] = {
    {"per_device_train_batch_size", "train.batch_size (over all ranks)"},
    {"per_gpu_train_batch_size", "train.batch_size (over all ranks)"},
    {"train_batch_size", "train.batch_size"},
    {"per_device_eval_batch_size", "eval.batch_tokens (tokens, not rows)"},
    {"eval_batch_size", "eval.batch_tokens (tokens, not rows)"},
    {"num_train_epochs", "train.epochs"},
    {"num_epochs", "train.epochs"},
    {"max_train_steps", "train.max_steps"},
    {"lr", "optimizer.learning_rate"},
    {"learning_rate", "optimizer.learning_rate"},
    {"warmup_ratio", "schedule.warmup (below 1 a share)"},
    {"warmup_steps", "schedule.warmup (from 1 on a number of steps)"},
    {"num_warmup_steps", "schedule.warmup (from 1 on a number of steps)"},
    {"lr_scheduler_type", "schedule.type"},
    {"lr_scheduler", "schedule.type"},
    {"scheduler", "schedule.type"},
    {"optim", "optimizer.type"},
    {"weight_decay", "optimizer.weight_decay"},
    {"adam_beta1", "optimizer.beta1"},
    {"adam_beta2", "optimizer.beta2"},
    {"adam_epsilon", "optimizer.epsilon"},
    {"eps", "optimizer.epsilon"},
    {"max_grad_norm", "optimizer.clip_norm"},
    {"gradient_clip_val", "optimizer.clip_norm"},
    {"layerwise_lr_decay", "optimizer.layer_decay"},
    {"max_seq_length", "data.max_length"},
    {"max_seq_len", "data.max_length"},
    {"max_len", "data.max_length"},
    {"fp16", "run.precision"},
    {"bf16", "run.precision"},
    {"tf32", "run.precision"},
    {"mixed_precision", "run.precision"},
    {"use_cpu", "run.device"},
    {"no_cuda", "run.device"},
    {"output_dir", "run.output"},
    {"run_name", "run.name"},
    {"overwrite_output_dir", "run.if_exists"},
    {"resume_from_checkpoint", "run.if_exists (resume is the default)"},
    {"full_determinism", "run.deterministic"},
    {"num_workers", "run.threads"},
    {"dataloader_num_workers", "run.threads"},
    {"data_seed", "run.seed"},
    {"model_name_or_path", "model.base"},
    {"model_name", "model.base"},
    {"pretrained_model_name_or_path", "model.base"},
    {"num_labels", "model.labels (their names)"},
    {"label_names", "model.labels"},
    {"id2label", "model.labels"},
    {"hidden_size", "model.hidden"},
    {"num_hidden_layers", "model.layers"},
    {"num_attention_heads", "model.heads"},
    {"intermediate_size", "model.ffn"},
    {"hidden_dropout_prob", "model.dropout"},
    {"attention_probs_dropout_prob", "model.attention_dropout"},
    {"classifier_dropout", "model.head_dropout"},
    {"train_file", "data.train"},
    {"validation_file", "data.dev"},
    {"dev_file", "data.dev"},
    {"eval_file", "data.dev"},
    {"test_file", "data.test"},
    {"text_column", "data.text_a"},
    {"text_column_name", "data.text_a"},
    {"sentence1_key", "data.text_a"},
    {"sentence2_key", "data.text_b"},
    {"text_pair", "data.text_b"},
    {"label_column", "data.label"},
    {"label_column_name", "data.label"},
    {"label_smoothing_factor", "train.label_smoothing"},
    {"early_stopping_patience", "train.patience"},
    {"early_stopping", "train.patience"},
    {"gradient_checkpointing", "train.recompute"},
    {"metric_for_best_model", "eval.metric"},
    {"load_best_model_at_end", "eval.test_with"},
    {"evaluation_strategy", "eval.every"},
    {"eval_strategy", "eval.every"},
    {"eval_steps", "eval.every"},
    {"save_steps", "checkpoint.every"},
    {"save_strategy", "checkpoint.every"},
    {"save_total_limit", "checkpoint.keep"},
    {"logging_steps", "track.jsonl_every"},
    {"report_to", "track.tensorboard"},
    {"ddp_timeout", "distributed.timeout"},
    {"gradient_accumulation_steps",
     "; it is not needed: train.batch_size is the whole step's, cut into micro-batches by memory"},
    {"auto_find_batch_size",
     "; it is not needed: train.batch_size is the whole step's, cut into micro-batches by memory"},
    {"greater_is_better", "; it is not needed: each eval.metric knows its direction"},
    {"do_train", "; it is not needed: `rectrain train` trains, `rectrain eval` evaluates"},
    {"do_eval", "; it is not needed: data.dev is evaluated if it is set"},
    {"do_lower_case", "; it is not needed: casing comes with model.base (init = random: model.cased)"},
};

static bool same_key(const char *a, const char *b) {
    for (;; a++, b++) {
        char x = *a == '-' ? '_' : *a, y = *b == '-' ? '_' : *b;
        if (x >= 'A' && x <= 'Z') x = (char)(x - 'A' + 'a');
        if (x != y) return false;
        if (!x) return true;
    }
}

void rt_option_hint(const char *section, const char *key, rt_text *out) {
    int n, best = -1, best_distance = 0;
    const rt_option *options = rt_options(&n);
    if (strlen(key) > 60) return;

    /* The right key in another spelling or section comes first: "learning_rate" in [train]. */
    for (int i = 0; i < n; i++) {
        if (!same_key(key, options[i].key)) continue;
        if (best < 0 || (section && !strcmp(options[i].section, section))) best = i;
    }
    bool exact_section = best >= 0 && section && !strcmp(options[best].section, section);
    for (size_t i = 0; !exact_section && i < sizeof foreign / sizeof foreign[0]; i++) {
        if (!same_key(key, foreign[i].theirs)) continue;
        if (*foreign[i].ours == ';')
            rt_text_puts(out, foreign[i].ours);
        else
            rt_text_printf(out, "; did you mean %s?", foreign[i].ours);
        return;
    }
    /* Else the nearest; a key of the same section wins a tie. */
    for (int i = 0; best < 0 && i < n; i++) {
        int d = 2 * rt_edit_distance(key, options[i].key), limit = 2 * (int)(strlen(options[i].key) + 2) / 3;
        if (section && strcmp(options[i].section, section) != 0) d += 1;
        if (d <= limit && (best_distance == 0 || d < best_distance)) best_distance = d + (d == 0);
    }
    for (int i = 0; best < 0 && best_distance && i < n; i++) {
        int d = 2 * rt_edit_distance(key, options[i].key);
        if (section && strcmp(options[i].section, section) != 0) d += 1;
        if (d + (d == 0) == best_distance) best = i;
    }
    if (best >= 0) rt_text_printf(out, "; did you mean %s.%s?", options[best].section, options[best].key);
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
