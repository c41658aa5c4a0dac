/* The table of options itself, and how its rows describe themselves. */
#include "options.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const device_names[] = {"auto", "cpu", "cuda", NULL};
static const char *const precision_names[] = {"auto", "fp32", "tf32", "bf16", NULL};
static const char *const if_exists_names[] = {"resume", "refuse", "overwrite", NULL};
static const char *const init_names[] = {"base", "random", NULL};
static const char *const pooling_names[] = {"cls", "mean", NULL};
static const char *const format_names[] = {"auto", "tsv", "csv", "jsonl", NULL};
static const char *const quoting_names[] = {"auto", "none", "csv", NULL};
static const char *const truncation_names[] = {"longest_first", "text_a", "text_b", NULL};
static const char *const side_names[] = {"right", "left", NULL};
static const char *const special_names[] = {"split", "match", NULL};
static const char *const bad_names[] = {"stop", "skip", NULL};
static const char *const objective_names[] = {"classify", "contrastive", NULL};
static const char *const optimizer_names[] = {"adam", "adamw", NULL};
static const char *const schedule_names[] = {"constant", "linear", "cosine", NULL};
static const char *const metric_names[] = {
    "auc",      "average_precision", "log_loss",  "brier",     "ne",         "ece",      "gauc",        "gauc_mean",
    "mrr@10",   "mrr_mind",          "ndcg@5",    "ndcg@10",   "accuracy",   "macro_f1", "weighted_f1", "recall@1",
    "recall@5", "recall@10",         "recall@20", "recall@50", "recall@100", "ndcg@20",  NULL};
static const char *const test_names[] = {"best", "last", NULL};
static const char *const usr1_names[] = {"stop", "save", NULL};
static const char *const shard_names[] = {"auto", "no", "yes", NULL};
static const char *const reduce_names[] = {"fp32", "bf16", NULL};

#define AT(section_, key_, type_)                                                                                      \
    .section = #section_, .key = #key_, .type = RT_OPTION_##type_, .offset = offsetof(rt_config, section_.key_)
#define MEANING .classes = RT_CLASS_MEANING
#define MACHINE .classes = RT_CLASS_MACHINE
#define PLACE .classes = RT_CLASS_PLACE
#define COLUMN(class_) .classes = (class_) | RT_CLASS_COLUMNS
#define RANGE(low_, high_) .low = (low_), .high = (high_)

/* clang-format off */
static const rt_option table[] = {
    {AT(run, name, NAME), PLACE,
     .help = "The run's folder inside run.output. Unset: the name of the config file."},
    {AT(run, output, PATH), PLACE, .initial = "runs",
     .help = "The folder of all runs. Unset: runs in the current folder."},
    {AT(run, seed, UINT64), MEANING, .initial = "42",
     .help = "Seeds everything random: initialisation, the order of rows, dropout, sampling."},
    {AT(run, device, ENUM), MACHINE, .initial = "auto", .names = device_names,
     .help = "Where to compute. auto takes a GPU where there is one."},
    {AT(run, precision, ENUM), MEANING, .initial = "auto", .names = precision_names,
     .help = "auto: bf16 where the hardware computes it, else fp32; the log's first line says which and why."},
    {AT(run, threads, INT), MACHINE, RANGE(0, 4096), .word = "auto", .word_value = 0, .initial = "auto",
     .help = "Threads of the CPU backend, the tokenizer and the readers. auto: all that this process may use."},
    {AT(run, deterministic, BOOL), MACHINE, .initial = "yes",
     .help = "The same config, seed, machine type, threads and ranks give the same bytes."},
    {AT(run, if_exists, ENUM), PLACE, .initial = "resume", .names = if_exists_names,
     .help = "If the run's folder holds a run: resume goes on with it (and refuses one of another meaning), refuse stops, "
             "overwrite starts anew."},

    {AT(model, base, BASE), PLACE,
     .help = "The pretrained weights: a rectrain .h5, a Hugging Face folder, or a name in the hub's local cache such as "
             "bert-base-cased."},
    {AT(model, init, ENUM), MEANING, .initial = "base", .names = init_names,
     .help = "random: no pretrained weights; takes model.vocab and the four sizes below."},
    {AT(model, vocab, PATH), PLACE,
     .help = "For init = random: a vocab.txt, one token a line."},
    {AT(model, cased, BOOL), MEANING, .initial = "no",
     .help = "For init = random: whether the vocabulary keeps upper case and accents."},
    {AT(model, hidden, INT), MEANING, RANGE(8, 16384), .initial = "768",
     .help = "For init = random: width of the encoder; a multiple of 8 and of model.heads."},
    {AT(model, layers, INT), MEANING, RANGE(1, 256), .initial = "12",
     .help = "For init = random: number of layers."},
    {AT(model, heads, INT), MEANING, RANGE(1, 256), .initial = "12",
     .help = "For init = random: attention heads; model.hidden / model.heads must be a multiple of 8."},
    {AT(model, ffn, INT), MEANING, RANGE(8, 65536), .initial = "3072",
     .help = "For init = random: width of the feed-forward layer; a multiple of 8."},
    {AT(model, labels, LIST), COLUMN(RT_CLASS_MEANING), .initial = "0, 1",
     .help = "Names of the labels in the order of their values 0, 1, ... One name: one score, trained by binary "
             "cross-entropy (served as a re-ranker). Two or more: softmax (served as a classifier)."},
    {AT(model, pooling, ENUM), MEANING, .initial = "cls", .names = pooling_names,
     .help = "What the head sees: cls, the first token through BERT's pooler, or mean, the mean of all tokens. objective = "
             "contrastive: mean unless set; cls is the first token itself, without the pooler."},
    {AT(model, dropout, DOUBLE), MEANING, RANGE(0, 1), .below_high = true,
     .help = "Dropout of hidden states. Unset: as the base's config.json (init = random: 0.1)."},
    {AT(model, attention_dropout, DOUBLE), MEANING, RANGE(0, 1), .below_high = true,
     .help = "Dropout of attention probabilities. Unset: as the base's config.json (init = random: 0.1)."},
    {AT(model, head_dropout, DOUBLE), MEANING, RANGE(0, 1), .below_high = true,
     .help = "Dropout before the head. Unset: the base's classifier_dropout, or model.dropout where that is null."},

    {AT(data, train, FILES), PLACE,
     .help = "Rows to train on: a file, several with commas between them, or a glob such as clicks/2026-*.tsv."},
    {AT(data, dev, FILES), PLACE,
     .help = "Rows to evaluate on during training; chooses the best checkpoint."},
    {AT(data, test, FILES), PLACE,
     .help = "Rows to evaluate on once, at the end."},
    {AT(data, format, ENUM), PLACE, .initial = "auto", .names = format_names,
     .help = "auto goes by the file's name. All three have a header or keys; columns are found by name."},
    {AT(data, quoting, ENUM), MEANING, .initial = "auto", .names = quoting_names,
     .help = "Whether double quotes enclose fields. auto: yes in csv, no in tsv."},
    {AT(data, text_a, STRING), COLUMN(RT_CLASS_MEANING), .initial = "text_a",
     .help = "The first text: a column's name, or a template of several such as {brand} {title}."},
    {AT(data, text_b, STRING), COLUMN(RT_CLASS_MEANING), .initial = "text_b",
     .help = "The second text, likewise. Empty, or not set where text_a is: single texts."},
    {AT(data, label, STRING), COLUMN(RT_CLASS_MEANING), .initial = "label",
     .help = "The column of the label: 0 or 1, 1.0, true or false, or the names of model.labels."},
    {AT(data, group, STRING), COLUMN(RT_CLASS_MEANING), .initial = "group",
     .help = "The column that tells which rows were shown together (an impression, a user): for GAUC, MRR and nDCG."},
    {AT(data, weight, STRING), COLUMN(RT_CLASS_MEANING),
     .help = "The column of a row's weight in the loss, a number from 0."},
    {AT(data, user, STRING), COLUMN(RT_CLASS_PLACE),
     .help = "The column of the user, for the data check."},
    {AT(data, item, STRING), COLUMN(RT_CLASS_PLACE),
     .help = "The column of the item, for the data check."},
    {AT(data, time, STRING), COLUMN(RT_CLASS_PLACE),
     .help = "The column of the time of the impression, for the data check."},
    {AT(data, keep, LIST), COLUMN(RT_CLASS_PLACE),
     .help = "Columns that predict copies to its output."},
    {AT(data, slice, LIST), COLUMN(RT_CLASS_PLACE),
     .help = "Columns for whose values the metrics are also given apart."},
    {AT(data, max_length, INT), MEANING, RANGE(3, 512), .initial = "128",
     .help = "Tokens of a row at most, [CLS] and [SEP] counted."},
    {AT(data, truncation, ENUM), MEANING, .initial = "longest_first", .names = truncation_names,
     .help = "Which text of a pair gives way when a row is too long."},
    {AT(data, truncation_side, ENUM), MEANING, .initial = "right", .names = side_names,
     .help = "The end of the text that is cut off."},
    {AT(data, special_tokens, ENUM), MEANING, .initial = "split", .names = special_names,
     .help = "Special tokens such as [SEP] written in a text: split takes them as plain text and counts them, match turns "
             "them into the special token, as Hugging Face does."},
    {AT(data, on_bad_row, ENUM), MEANING, .initial = "stop", .names = bad_names,
     .help = "A row that cannot be read: stop with file, line and column, or skip and count it."},
    {AT(data, negative_keep, DOUBLE), MEANING, RANGE(0, 1), .above_low = true, .initial = "1",
     .help = "Share of the rows of label 0 of data.train that are kept, chosen by run.seed. data.dev and data.test are taken "
             "whole. The bias in best.h5 and the scores of every metric are corrected for it."},
    {AT(data, cache, PATH), PLACE, .word = "none",
     .help = "The folder of the token cache. Unset: cache in the run's folder. none: tokenise in memory and keep nothing."},

    {AT(train, objective, ENUM), MEANING, .initial = "classify", .names = objective_names,
     .help = "What is learnt. classify: the label of each row, from both texts at once. contrastive: vectors of the two texts of "
             "clicked rows that lie close, for search and recommendation; see [contrastive]."},
    {AT(train, epochs, INT), MEANING, RANGE(1, 100000), .initial = "5",
     .help = "Passes over the training rows."},
    {AT(train, batch_size, INT), MEANING, RANGE(1, 65536), .initial = "16",
     .help = "Rows of an optimizer step, over all ranks; cut into micro-batches as memory asks."},
    {AT(train, micro_batch_tokens, INT), MACHINE, RANGE(0, 16777216), .word = "auto", .word_value = 0,
     .initial = "auto",
     .help = "Tokens of a micro-batch at most. auto goes by the machine's memory and the model's size."},
    {AT(train, max_steps, INT64), MEANING, RANGE(1, 1e12),
     .help = "Optimizer steps at most. Unset: train.epochs decides."},
    {AT(train, freeze, FREEZE), MEANING, .initial = "none",
     .help = "What is not trained: none, embeddings, or N layers (the embeddings and the first N). Saves memory and time."},
    {AT(train, class_weights, WEIGHTS), MEANING, .initial = "none",
     .help = "Weights of the labels in the loss: none, balanced (rows / (labels x rows of the label)), or one number a "
             "label."},
    {AT(train, label_smoothing, DOUBLE), MEANING, RANGE(0, 1), .below_high = true, .initial = "0",
     .help = "Share of the target that is spread over all labels."},
    {AT(train, patience, INT), MEANING, RANGE(0, 1000000), .initial = "0",
     .help = "Stop after this many evaluations without a better eval.metric. 0: never."},
    {AT(train, on_nonfinite, ENUM), MEANING, .initial = "stop", .names = bad_names,
     .help = "A gradient that is not finite: stop, or skip the step and count it."},
    {AT(train, recompute, BOOL), MACHINE, .initial = "no",
     .help = "Compute a layer's activations again in the backward pass instead of keeping them: less memory, more time."},

    {AT(contrastive, scale, DOUBLE), MEANING, RANGE(0, 1000), .above_low = true, .initial = "20",
     .help = "Factor on the cosine before the softmax over the texts of the batch."},
    {AT(contrastive, symmetric, BOOL), MEANING, .initial = "no",
     .help = "yes: the mean of both directions, each text_a among all text_b and each text_b among all text_a."},
    {AT(contrastive, negatives, LIST), COLUMN(RT_CLASS_MEANING),
     .help = "Columns (or templates) of texts that were not clicked; they stand beside text_b for every row of the batch. "
             "Empty ones are passed over."},
    {AT(contrastive, mask_clicked, BOOL), MEANING, .initial = "yes",
     .help = "Another row of the batch is no wrong answer where its item (data.item, else the text) is the same, or where it "
             "is a click of the same user (data.user, else the same text_a)."},
    {AT(contrastive, log_frequency, BOOL), MEANING, .initial = "no",
     .help = "Subtract the logarithm of an item's share of the training rows from its score: in-batch softmax meets popular "
             "items more often and would push them down."},
    {AT(contrastive, items, FILES), PLACE,
     .help = "The catalogue that evaluation searches: a table with data.item's column and the text. Unset: the items of "
             "data.train and of the set evaluated."},
    {AT(contrastive, item_text, STRING), COLUMN(RT_CLASS_PLACE),
     .help = "The text of an item of the catalogue. Unset: data.text_b."},

    {AT(optimizer, type, ENUM), MEANING, .initial = "adam", .names = optimizer_names,
     .help = "adam, or adamw, which decays weights apart from the gradient."},
    {AT(optimizer, learning_rate, DOUBLE), MEANING, RANGE(0, 10), .initial = "2e-5",
     .help = "The learning rate after warm-up. 2e-5 to 5e-5 is usual for BERT; 1e-4 for small ones."},
    {AT(optimizer, beta1, DOUBLE), MEANING, RANGE(0, 1), .below_high = true, .initial = "0.9",
     .help = "Decay of the mean of gradients."},
    {AT(optimizer, beta2, DOUBLE), MEANING, RANGE(0, 1), .below_high = true, .initial = "0.999",
     .help = "Decay of the mean of squared gradients."},
    {AT(optimizer, epsilon, DOUBLE), MEANING, RANGE(0, 1), .above_low = true, .initial = "1e-8",
     .help = "Added to the root of the squared mean."},
    {AT(optimizer, weight_decay, DOUBLE), MEANING, RANGE(0, 1), .initial = "0",
     .help = "Decay of matrices and embeddings, never of biases and LayerNorm. Takes type = adamw."},
    {AT(optimizer, clip_norm, DOUBLE), MEANING, RANGE(0, 1e9), .initial = "0",
     .help = "Gradients longer than this are scaled down to it. 0: no clipping."},
    {AT(optimizer, layer_decay, DOUBLE), MEANING, RANGE(0, 1), .above_low = true, .initial = "1",
     .help = "Factor on the learning rate for each layer further from the head. 1: none."},

    {AT(schedule, type, ENUM), MEANING, .initial = "constant", .names = schedule_names,
     .help = "The learning rate after warm-up: constant, or falling to 0 at the last step in a line or a cosine."},
    {AT(schedule, warmup, WARMUP), MEANING, RANGE(0, 1e12), .initial = "0",
     .help = "Steps in which the learning rate rises from 0: below 1 a share of all steps, else a number of steps."},

    {AT(eval, every, SPAN), MEANING, .initial = "1 epoch",
     .help = "How often to evaluate on data.dev: 500 steps, 1 epoch or 10 minutes; a bare number means steps. 0: only at "
             "the end."},
    {AT(eval, metric, CHOICE), MEANING, .initial = "auc", .names = metric_names,
     .help = "What makes a checkpoint the best one, and what train.patience watches. Of vectors (objective = contrastive): "
             "recall@1 to recall@100, mrr@10, ndcg@10, ndcg@20; unset recall@20."},
    {AT(eval, threshold, DOUBLE), MEANING, RANGE(0, 1),
     .help = "Predict the last label from this score on. Unset: the likeliest label."},
    {AT(eval, batch_tokens, INT), MACHINE, RANGE(512, 16777216), .initial = "8192",
     .help = "Tokens of an evaluation batch at most."},
    {AT(eval, test_with, ENUM), MEANING, .initial = "best", .names = test_names,
     .help = "Which weights data.test is evaluated with."},

    {AT(checkpoint, every, SPAN), PLACE, .initial = "10 minutes",
     .help = "How often to write last.h5, from which a stopped run goes on. 0: only at the end."},
    {AT(checkpoint, keep, INT), PLACE, RANGE(0, 1000000), .initial = "0",
     .help = "Numbered copies step-00001234.h5 to keep; the oldest goes first. 0: none are written."},
    {AT(checkpoint, keep_best, BOOL), MEANING, .initial = "yes",
     .help = "best.h5 holds the weights of the best evaluation; no: those of the last step."},
    {AT(checkpoint, on_usr1, ENUM), PLACE, .initial = "stop", .names = usr1_names,
     .help = "On SIGUSR1: stop saves and ends with exit code 75, save saves and goes on."},

    {AT(track, jsonl_every, SPAN), PLACE, .initial = "10 steps",
     .help = "How often a line of training goes to metrics.jsonl and to TensorBoard."},
    {AT(track, tensorboard, BOOL), PLACE, .initial = "yes",
     .help = "Write TensorBoard's event file into the run's folder."},

    {AT(distributed, timeout, DOUBLE), MACHINE, RANGE(1, 86400), .initial = "600",
     .help = "Seconds after which a rank that does not answer ends the run."},
    {AT(distributed, shard_optimizer, ENUM), MACHINE, .initial = "auto", .names = shard_names,
     .help = "Each rank keeps its share of the optimizer's state alone: less memory. auto: on GPUs."},
    {AT(distributed, reduce_dtype, ENUM), MEANING, .initial = "fp32", .names = reduce_names,
     .help = "In which type gradients travel and are summed over ranks. bf16: half the bytes, 8 bits of each number."},
};

static const struct { const char *name, *help; } sections[] = {
    {"run", "Where, with what, and how a run is repeated."},
    {"model", "What is trained, and what it answers."},
    {"data", "Where the rows are, and what their columns mean."},
    {"train", "How long, and on what part of the model."},
    {"optimizer", "How a gradient becomes a step."},
    {"schedule", "The learning rate over time."},
    {"eval", "When to look at held-out rows, and what counts."},
    {"checkpoint", "What is saved, and when."},
    {"track", "What a run leaves for plots."},
    {"distributed", "Several processes on one run."},
};
/* clang-format on */

enum { N_OPTIONS = sizeof table / sizeof table[0], N_SECTIONS = sizeof sections / sizeof sections[0] };

const rt_option *rt_options(int *n) {
    if (n) *n = N_OPTIONS;
    return table;
}

const rt_option *rt_option_find(const char *section, const char *key) {
    if (!section || !key) return NULL;
    for (int i = 0; i < N_OPTIONS; i++)
        if (!strcmp(table[i].section, section) && !strcmp(table[i].key, key)) return &table[i];
    return NULL;
}

void rt_option_name(const rt_option *option, char out[64]) {
    snprintf(out, 64, "%s.%s", option->section, option->key);
}

void rt_option_variable(const rt_option *option, char out[80]) {
    snprintf(out, 80, "RECTRAIN_%s_%s", option->section, option->key);
    for (char *p = out; *p; p++) *p = (char)toupper((unsigned char)*p);
}

bool rt_option_section_exists(const char *section) {
    for (int i = 0; i < N_SECTIONS; i++)
        if (!strcmp(sections[i].name, section)) return true;
    return false;
}

const char *rt_option_section_name(int i) {
    return i >= 0 && i < N_SECTIONS ? sections[i].name : NULL;
}

const char *rt_option_section_help(const char *section) {
    for (int i = 0; i < N_SECTIONS; i++)
        if (!strcmp(sections[i].name, section)) return sections[i].help;
    return "";
}

/* Numbers in messages read as people write them: 1000000000000 and 0.5, never 1e+12. */
static void put_number(rt_text *out, double value) {
    if (value == floor(value) && fabs(value) < 1e15)
        rt_text_printf(out, "%.0f", value);
    else
        rt_text_double(out, value);
}

static void put_range(const rt_option *o, const char *what, rt_text *out) {
    rt_text_printf(out, "%s %s ", what, o->above_low ? "above" : "from");
    put_number(out, o->low);
    rt_text_puts(out, o->below_high ? " to below " : o->above_low ? " up to " : " to ");
    put_number(out, o->high);
}

static void put_names(const char *const *names, rt_text *out) {
    for (int i = 0; names[i]; i++) rt_text_printf(out, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
}

void rt_option_expected(const rt_option *o, rt_text *out) {
    switch (o->type) {
    case RT_OPTION_BOOL:
        rt_text_puts(out, "yes or no");
        break;
    case RT_OPTION_INT:
    case RT_OPTION_INT64:
        if (o->word) rt_text_printf(out, "%s, or ", o->word);
        put_range(o, "a whole number", out);
        break;
    case RT_OPTION_UINT64:
        rt_text_puts(out, "a whole number from 0 to 18446744073709551615");
        break;
    case RT_OPTION_DOUBLE:
        put_range(o, "a number", out);
        break;
    case RT_OPTION_STRING:
        rt_text_puts(out, "text without control characters");
        break;
    case RT_OPTION_NAME:
        rt_text_puts(out, "a file name without folders, at most 200 bytes");
        break;
    case RT_OPTION_ENUM:
    case RT_OPTION_CHOICE:
        put_names(o->names, out);
        break;
    case RT_OPTION_PATH:
        rt_text_printf(out, o->word ? "%s, or a path" : "a path", o->word);
        break;
    case RT_OPTION_BASE:
        rt_text_puts(out, "a rectrain .h5, a Hugging Face folder, or a model's name in the hub's cache");
        break;
    case RT_OPTION_FILES:
        rt_text_puts(out, "files or globs with commas between them");
        break;
    case RT_OPTION_LIST:
        rt_text_puts(out, "names with commas between them (one that holds a comma in double quotes)");
        break;
    case RT_OPTION_SPAN:
        rt_text_puts(out, "a span such as 500 steps, 1 epoch or 10 minutes (a bare number means steps)");
        break;
    case RT_OPTION_WARMUP:
        rt_text_puts(out, "a share from 0 to below 1, or a whole number of steps");
        break;
    case RT_OPTION_FREEZE:
        rt_text_puts(out, "none, embeddings, or N layers (the embeddings and the first N)");
        break;
    case RT_OPTION_WEIGHTS:
        rt_text_puts(out, "none, balanced, or one number from 0 for each label with commas between them");
        break;
    }
}
