/* Reading the command line by the two tables. */
#include "args.h"
#include "../base/file.h"
#include "../config/options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXAMPLES(...)                                                                                                  \
    (const char *const[]) {                                                                                            \
        __VA_ARGS__, NULL                                                                                              \
    }

/* clang-format off */
static const rt_command_row commands[] = {
    {"train", rt_cmd_train, "fine-tune on labelled pairs, evaluate, write checkpoints (the default command)",
     EXAMPLES("rectrain --config ecommerce.ini",
              "rectrain train --config ecommerce.ini --set optimizer.learning_rate=5e-5 --set run.name=lr5e-5",
              "rectrain --config ecommerce.ini --dry-run"),
     "--config FILE [--set section.key=value]... [--dry-run]",
     "Reads the configuration, checks the data, trains, evaluates on data.dev as it goes and on data.test at the\n"
     "end. Everything goes to the folder run.output/run.name: best.h5 (for serving), last.h5 (to go on from),\n"
     "config.ini, metrics.jsonl, report.txt, log.txt. The same command goes on with a run that was stopped.",
     NULL},
    {"eval", rt_cmd_eval, "classification report and click metrics of a checkpoint on labelled rows",
     EXAMPLES("rectrain eval --checkpoint runs/ecommerce/best.h5 --data test.tsv",
              "rectrain eval --checkpoint runs/ecommerce/best.h5 --data test.tsv --json"),
     "--checkpoint FILE.h5 --data FILE [--json]",
     "Column names, max_length and the rest come from the checkpoint's own configuration; --set changes them.",
     NULL},
    {"predict", rt_cmd_predict, "scores of a checkpoint for rows with or without labels",
     EXAMPLES("rectrain predict --checkpoint runs/ecommerce/best.h5 --data new.tsv --output scores.tsv",
              "generate-rows | rectrain predict --checkpoint best.h5 --data - --format jsonl"),
     "--checkpoint FILE.h5 --data FILE|- [--output FILE|-] [--format tsv|jsonl] [--logits]",
     "One output row for each input row, in order: row, prediction, p_<label> for each label (a one-label model:\n"
     "row, score), with --logits the logits, then the columns of data.keep. Where the rows have the column of\n"
     "data.group the last column is rank: the place of the row in its group, 1 for the highest score. The first row\n"
     "then comes out when the last was read; --set data.group= writes rows as they are scored, without ranks.",
     NULL},
    {"convert", rt_cmd_convert, "a Hugging Face folder into a rectrain .h5, without loss",
     EXAMPLES("rectrain convert --from bert-base-cased --to bert-base-cased.h5"),
     "--from HF_DIR --to FILE.h5",
     "Takes BERT with WordPiece: safetensors, one file or shards, F32, F16 or BF16, with or without a head. HF_DIR\n"
     "may also be a name in the hub's local cache.",
     NULL},
    {"export", rt_cmd_export, "a checkpoint into a folder that transformers and its servers load",
     EXAMPLES("rectrain export --checkpoint runs/ecommerce/best.h5 --to served/",
              "rectrain export --checkpoint runs/ecommerce/best.h5 --to served/ --check test.tsv"),
     "--checkpoint FILE.h5 --to DIR [--check FILE]",
     "Writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json, special_tokens_map.json,\n"
     "vocab.txt and sentence_bert_config.json. --check reads the folder back by another path, compares the logits of\n"
     "the rows of FILE, and leaves 20 request and answer pairs in check.jsonl beside the model.",
     NULL},
    {"tokenize", rt_cmd_tokenize, "token ids of lines on stdin",
     EXAMPLES("printf 'red shoes\\tRunning shoe, red\\n' | rectrain tokenize --vocab vocab.txt",
              "rectrain tokenize --checkpoint runs/ecommerce/best.h5 --json < queries.txt"),
     "--checkpoint FILE.h5 | --vocab FILE [--cased] [--max-length N] [--json]",
     "One line in, one line out. The first TAB separates a pair; later ones are white space. FILE of --vocab is a\n"
     "vocab.txt or a tokenizer.json (which knows its casing itself).",
     NULL},
    {"example", rt_cmd_example, "write the example shop: a simulated click log",
     EXAMPLES("rectrain example --to shop/", "rectrain example --to shop/ --seed 7 --users 2000",
              "rectrain example --to shop/ --checkpoint minilm.h5"),
     "--to DIR [--seed N] [--users N] [--checkpoint FILE.h5]",
     "Writes train.tsv, dev.tsv, test.tsv and items.tsv, the same bytes for the same seed, and prints what the best\n"
     "possible and the simplest models would reach on it. Nobody clicked: it is a simulation. With --checkpoint also\n"
     "what its encoder reaches on test.tsv before it has seen a click: the AUC of the cosine of query and title, each\n"
     "the mean of its tokens' vectors. No head is needed.",
     NULL},
    {"join", rt_cmd_join, "pairs from an item table and an event log: histories, splits, negatives, a check",
     EXAMPLES("rectrain join --items products.csv --events log.tsv --out pairs/ --click clicked --impression search_id",
              "rectrain join --items songs.tsv --events plays.tsv --out pairs/ --negatives 4",
              "rectrain join --format mind --items news.tsv --events behaviors.tsv --out pairs/ --split 2019-11-14"),
     "--items FILE --events FILE --out DIR [--format table|mind|movielens] [FLAG]...",
     "Writes train.tsv, dev.tsv, test.tsv, items.tsv and summary.json. A row has the titles that its user clicked\n"
     "strictly before it (history), the item's title, and click. Impressions are never divided. Where neither --click\n"
     "nor --rating is given each row is a click, and --negatives N samples what the user never clicked. Logs may be\n"
     "larger than memory. Several files: commas between them. NAME is a column or a template: \"{brand} {title}\".",
     NULL},
    {"data", rt_cmd_data, "check labelled tables before training on them",
     EXAMPLES("rectrain data train.tsv --against test.tsv --config ecommerce.ini",
              "rectrain data clicks-*.tsv --set data.text_a=query --set data.text_b=title --set data.label=click --json"),
     "FILE... [--against FILE] [--config FILE | --checkpoint FILE.h5] [--json]",
     "Rows, click rate, lengths, repeated texts, the same texts with both labels, groups of one class, times, the click\n"
     "rate by data.slice, settings that follow; of --against also what it shares with the files: rows, data.item,\n"
     "data.user, data.time. Lengths are those of the model.base of the configuration, or of the checkpoint.",
     "FILE..."},
    {"verify", rt_cmd_verify, "check every checksum of a checkpoint",
     EXAMPLES("rectrain verify runs/ecommerce/best.h5"),
     "FILE.h5 [--json]",
     "Checks the file's layout, the checksum of every tensor and the digest over all.",
     "FILE.h5"},
    {"config", rt_cmd_config, "show every resolved option and where it came from",
     EXAMPLES("rectrain config --config ecommerce.ini", "rectrain config --defaults > my.ini"),
     "[--config FILE] [--set section.key=value]... [--defaults] [--json]",
     "Resolves the configuration as train would and prints it as a file that reads back to the same values.\n"
     "--defaults prints every option with its explanation instead, to start a file of one's own from.",
     NULL},
    {"doctor", rt_cmd_doctor, "what this machine can do, and why not more",
     EXAMPLES("rectrain doctor", "rectrain doctor --config FILE",
              "rectrain doctor --plan ranks=64,gbps=400,tflops=989,rows=28,batch=16384"),
     "[--json] [--config FILE] [--plan key=value,...]",
     "Processor, instruction level, memory, precisions, libraries, GPUs, caches of models, folders of configurations.\n"
     "With --config also the memory that this run would take on its device, and the micro-batches that fit.\n"
     "--plan computes, instead, how long a step would take on other ranks than those here: a model, not measured. Keys:\n"
     "ranks, ranks_per_node, rows (tokens of a row), batch (rows of a step), tflops (peak of a rank), use (its share that\n"
     "training reaches), hbm_gbps and nvlink_gbps (GB/s), gbps (network of a rank, Gbit/s), latency_us. The model is\n"
     "that of --config, or BERT-base; without tflops this machine is measured.",
     NULL},
};

#define AT(field) offsetof(rt_cli, field)
static const rt_flag_row flags[] = {
    {"--config", 0, RT_FLAG_TEXT, AT(config), "FILE", " train config data doctor ", "",
     "the configuration: a file, or a name in RECTRAIN_CONFIG_PATH or the installed configs", 0, 0},
    {"--checkpoint", 0, RT_FLAG_TEXT, AT(checkpoint), "FILE.h5", " eval predict export tokenize example data ", " eval predict export ",
     "a checkpoint: best.h5 of a run, or what convert wrote", 0, 0},
    {"--data", 0, RT_FLAG_TEXT, AT(data), "FILE", " eval predict ", " eval predict ",
     "rows in tsv, csv or jsonl with a header or keys; predict takes - for stdin", 0, 0},
    {"--against", 0, RT_FLAG_TEXT, AT(against), "FILE", " data ", "", "rows that shall have nothing in common with these: dev or test", 0, 0},
    {"--output", 'o', RT_FLAG_TEXT, AT(output), "FILE", " predict ", "", "where the rows go; - or nothing: stdout", 0, 0},
    {"--format", 0, RT_FLAG_TEXT, AT(format), "tsv|jsonl", " predict ", "", "of the output; tsv where not said", 0, 0},
    {"--logits", 0, RT_FLAG_SWITCH, AT(logits), NULL, " predict ", "", "add the logits", 0, 0},
    {"--from", 0, RT_FLAG_TEXT, AT(from), "HF_DIR", " convert ", " convert ", "a Hugging Face folder, or a name in the hub's local cache", 0, 0},
    {"--to", 0, RT_FLAG_TEXT, AT(to), "PATH", " convert export example ", " convert export example ",
     "the file (convert) or folder (export, example) to write", 0, 0},
    {"--check", 0, RT_FLAG_TEXT, AT(check), "FILE", " export ", "", "compare the logits of these rows before and after", 0, 0},
    {"--vocab", 0, RT_FLAG_TEXT, AT(vocab), "FILE", " tokenize ", "", "a vocab.txt or a tokenizer.json", 0, 0},
    {"--cased", 0, RT_FLAG_SWITCH, AT(cased), NULL, " tokenize ", "", "keep upper case and accents (with --vocab vocab.txt)", 0, 0},
    {"--max-length", 0, RT_FLAG_WHOLE, AT(max_length), "N", " tokenize ", "", "cut rows to N tokens, [CLS] and [SEP] counted; unset: no cut, or the checkpoint's data.max_length", 3, 1000000},
    {"--seed", 0, RT_FLAG_WHOLE, AT(seed), "N", " example ", "", "another shop", 0, INT64_MAX},
    {"--users", 0, RT_FLAG_WHOLE, AT(users), "N", " example ", "", "how many users visit it", 1, 10000000},
    {"--items", 0, RT_FLAG_TEXT, AT(join.items), "FILE", " join ", " join ", "a table of items: tsv, csv, jsonl with a header or keys", 0, 0},
    {"--events", 0, RT_FLAG_TEXT, AT(join.events), "FILE", " join ", " join ", "the log: a row for each item shown, or clicked", 0, 0},
    {"--test-events", 0, RT_FLAG_TEXT, AT(join.test_events), "FILE", " join ", "", "a log of its own for test.tsv", 0, 0},
    {"--out", 0, RT_FLAG_TEXT, AT(join.folder), "DIR", " join ", " join ", "the folder to write, temporary files too", 0, 0},
    {"--format", 0, RT_FLAG_TEXT, AT(format), "FORMAT", " join ", "", "table (the default), mind (behaviors.tsv, news.tsv) or movielens", 0, 0},
    {"--item", 0, RT_FLAG_TEXT, AT(join.item), "NAME", " join ", "", "the item's id in the log; item_id where not said", 0, 0},
    {"--item-key", 0, RT_FLAG_TEXT, AT(join.item_key), "NAME", " join ", "", "the item's id in the table; as --item where not said", 0, 0},
    {"--title", 0, RT_FLAG_TEXT, AT(join.title), "NAME", " join ", "", "the item's text; title where not said", 0, 0},
    {"--category", 0, RT_FLAG_TEXT, AT(join.category), "NAME", " join ", "", "of the item: written beside the rows, to slice by", 0, 0},
    {"--user", 0, RT_FLAG_TEXT, AT(join.user), "NAME", " join ", "", "the user's id; user_id where there is one", 0, 0},
    {"--time", 0, RT_FLAG_TEXT, AT(join.time), "COLUMN", " join ", "", "numbers or dates; time where there is one", 0, 0},
    {"--click", 0, RT_FLAG_TEXT, AT(join.click), "COLUMN", " join ", "", "0 or 1, true or false", 0, 0},
    {"--positive", 0, RT_FLAG_TEXT, AT(join.positive), "A,B", " join ", "", "the values of --click that mean a click; all others do not", 0, 0},
    {"--rating", 0, RT_FLAG_TEXT, AT(join.rating), "COLUMN", " join ", "", "a number instead of a click", 0, 0},
    {"--min-rating", 0, RT_FLAG_TEXT, AT(join.min_rating), "N|>N", " join ", "", "from N on (more than N) is a click", 0, 0},
    {"--max-rating", 0, RT_FLAG_TEXT, AT(join.max_rating), "N", " join ", "", "up to N is none, and between the two a row is left out", 0, 0},
    {"--impression", 0, RT_FLAG_TEXT, AT(join.impression), "NAME", " join ", "", "which rows were shown together", 0, 0},
    {"--query", 0, RT_FLAG_TEXT, AT(join.query), "NAME", " join ", "", "of the log: written beside the rows", 0, 0},
    {"--split", 0, RT_FLAG_TEXT, AT(join.split), "RULE", " join ", "", "shares, 80/10/10, or when dev and test begin, 2019-11-14,2019-11-15", 0, 0},
    {"--split-column", 0, RT_FLAG_TEXT, AT(join.split_column), "COLUMN", " join ", "", "dev and test as published; --split divides its train", 0, 0},
    {"--history", 0, RT_FLAG_WHOLE, AT(history), "N", " join ", "", "titles of a history, the newest; 50 where not said", 0, 1000},
    {"--negatives", 0, RT_FLAG_WHOLE, AT(negatives), "N", " join ", "", "non-clicks for each click of train, or for each click of a log of clicks alone", 0, 1000},
    {"--seed", 0, RT_FLAG_WHOLE, AT(seed), "N", " join ", "", "another choice of non-clicks", 0, INT64_MAX},
    {"--memory", 0, RT_FLAG_WHOLE, AT(memory), "MIB", " join ", "", "memory for sorting; 1024 where not said", 16, 1 << 20},
    {"--on-bad-row", 0, RT_FLAG_TEXT, AT(on_bad_row), "stop|skip", " join ", "", "what a malformed row does", 0, 0},
    {"--defaults", 0, RT_FLAG_SWITCH, AT(defaults), NULL, " config ", "", "every option with its explanation and default", 0, 0},
    {"--plan", 0, RT_FLAG_TEXT, AT(plan), "key=value,...", " doctor ", "", "the time of a step on other ranks: ranks=64,gbps=400", 0, 0},
    {"--dry-run", 'n', RT_FLAG_SWITCH, AT(dry_run), NULL, " train ", "", "print the plan and train nothing", 0, 0},
    {"--json", 0, RT_FLAG_SWITCH, AT(json), NULL, " eval tokenize join data verify config doctor ", "", "results as JSON", 0, 0},
    {"--set", 0, RT_FLAG_APPEND, AT(sets), "section.key=value", "*", "", "set an option; wins over RECTRAIN_SECTION_KEY, which wins over the file", 0, 0},
    {"--quiet", 'q', RT_FLAG_SWITCH, AT(quiet), NULL, "*", "", "warnings and errors alone on stderr", 0, 0},
    {"--verbose", 'v', RT_FLAG_COUNT, AT(verbose), NULL, "*", "", "more on stderr", 0, 0},
    {"--no-color", 0, RT_FLAG_SWITCH, AT(no_color), NULL, "*", "", "plain text (also NO_COLOR=1, TERM=dumb, or not a terminal)", 0, 0},
};
/* clang-format on */

enum { N_COMMANDS = sizeof commands / sizeof commands[0], N_FLAGS = sizeof flags / sizeof flags[0] };

const rt_command_row *rt_commands(int *n) {
    *n = N_COMMANDS;
    return commands;
}

const rt_flag_row *rt_flags(int *n) {
    *n = N_FLAGS;
    return flags;
}

const rt_command_row *rt_command_find(const char *name) {
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

static bool stands_in(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p++)
        if (p > list && p[-1] == ' ' && p[n] == ' ') return true;
    return false;
}

bool rt_flag_belongs(const rt_flag_row *flag, const char *command) {
    return !strcmp(flag->commands, "*") || stands_in(flag->commands, command);
}

/* --- one flag ----------------------------------------------------------------------------------------------------- */

/* A name may stand in the table for several commands: the row that belongs to this one wins. */
static const rt_flag_row *find_flag(const char *word, size_t n, const char *command) {
    const rt_flag_row *found = NULL;
    for (int i = 0; i < N_FLAGS; i++) {
        if (strlen(flags[i].name) != n || strncmp(flags[i].name, word, n) != 0) continue;
        if (rt_flag_belongs(&flags[i], command)) return &flags[i];
        if (!found) found = &flags[i];
    }
    return found;
}

/* A key of the configuration, ours or another trainer's, given as a flag: the --set that does it. */
static rt_status option_as_flag(const char *word, size_t n, const char *value, const char *command, bool known_only) {
    rt_text hint = {0};
    rt_status rc = RT_OK;
    char *name = n > 2 ? rt_strndup(word + 2, n - 2) : NULL;
    const char *dot = name ? strchr(name, '.') : NULL; /* --train.batch_size 32 */
    const char *key = dot ? dot + 1 : name;
    if (key && *key && (!rt_option_hint_known(NULL, key, value, true, &hint) && !known_only))
        rt_option_hint_value(NULL, key, value, true, &hint);
    if (hint.data) rc = rt_fail(RT_EUSAGE, "rectrain %s: unknown flag --%s%s", command, name, hint.data);
    rt_text_free(&hint);
    free(name);
    return rc;
}

static rt_status unknown_flag(const char *word, size_t n, const char *value, const char *command) {
    const char *names[N_FLAGS + 2];
    int count = 0;
    for (int i = 0; i < N_FLAGS; i++)
        if (rt_flag_belongs(&flags[i], command)) names[count++] = flags[i].name;
    names[count++] = "--help";
    names[count++] = "--version";
    char *found = rt_strndup(word, n);
    const char *near = found ? rt_did_you_mean(found, names, count) : NULL;
    /* What is certain goes before what is near; but a flag of this command may be meant where it trains nothing. */
    rt_status rc = option_as_flag(word, n, value, command, near != NULL);
    if (rc != RT_OK && (!near || !strcmp(command, "train"))) goto done;
    rc = near ? rt_fail(RT_EUSAGE, "rectrain %s: unknown flag %s; did you mean %s?", command, found, near)
              : rt_fail(RT_EUSAGE, "rectrain %s: unknown flag %s; `rectrain %s --help` lists the flags", command,
                        found ? found : "", command);
done:
    free(found);
    return rc;
}

static rt_status foreign_flag(const rt_flag_row *flag, const char *value, const char *command) {
    /* `rectrain --config x.ini --seed 7` means run.seed */
    if (!strcmp(command, "train")) {
        rt_status rc = option_as_flag(flag->name, strlen(flag->name), value, command, true);
        if (rc != RT_OK) return rc;
    }
    const char *start = flag->commands + 1;
    return rt_fail(RT_EUSAGE, "rectrain %s takes no %s; rectrain %.*s does", command, flag->name,
                   (int)strcspn(start, " "), start);
}

static rt_status put_flag(const rt_flag_row *flag, const char *value, const char *command, rt_cli *cli) {
    void *field = (char *)cli + flag->offset;
    long long whole;
    switch (flag->type) {
    case RT_FLAG_SWITCH:
        *(bool *)field = true;
        return RT_OK;
    case RT_FLAG_COUNT:
        ++*(int *)field;
        return RT_OK;
    case RT_FLAG_APPEND: {
        const char **grown = realloc(cli->sets, ((size_t)cli->n_sets + 1) * sizeof *grown);
        if (!grown) return rt_fail(RT_ENOMEM, "%s: out of memory", flag->name);
        cli->sets = grown;
        cli->sets[cli->n_sets++] = value;
        return RT_OK;
    }
    case RT_FLAG_TEXT:
        if (*(const char **)field)
            return rt_fail(RT_EUSAGE, "rectrain %s: %s given twice: %s and %s", command, flag->name,
                           *(const char **)field, value);
        if (!*value)
            return rt_fail(RT_EUSAGE, "rectrain %s: %s is empty; expected %s", command, flag->name, flag->value);
        *(const char **)field = value;
        return RT_OK;
    case RT_FLAG_WHOLE:
        if (!rt_parse_i64(value, &whole) || whole < flag->low || whole > flag->high)
            return rt_fail(RT_EUSAGE, "rectrain %s: %s %s: expected a whole number from %lld to %lld", command,
                           flag->name, value, (long long)flag->low, (long long)flag->high);
        *(int64_t *)field = whole;
        return RT_OK;
    }
    return RT_EINTERNAL;
}

/* argv[*i] begins with "--". */
static rt_status long_flag(int argc, char **argv, int *i, const char *command, rt_cli *cli) {
    const char *word = argv[*i], *equal = strchr(word, '=');
    size_t n = equal ? (size_t)(equal - word) : strlen(word);
    const rt_flag_row *flag = find_flag(word, n, command);
    const char *next = equal ? equal + 1 : *i + 1 < argc && argv[*i + 1][0] != '-' ? argv[*i + 1] : "true";
    if (!flag) return unknown_flag(word, n, next, command);
    if (!rt_flag_belongs(flag, command)) return foreign_flag(flag, next, command);
    bool takes = flag->type != RT_FLAG_SWITCH && flag->type != RT_FLAG_COUNT;
    if (!takes && equal)
        return rt_fail(RT_EUSAGE, "rectrain %s: %s takes no value; found %s", command, flag->name, equal + 1);
    if (takes && !equal && *i + 1 >= argc)
        return rt_fail(RT_EUSAGE, "rectrain %s: %s needs a value: %s %s", command, flag->name, flag->name, flag->value);
    return put_flag(flag, equal ? equal + 1 : takes ? argv[++*i] : NULL, command, cli);
}

/* "-vq" or "-oFILE", "-o FILE". */
static rt_status short_flags(int argc, char **argv, int *i, const char *command, rt_cli *cli) {
    for (const char *p = argv[*i] + 1; *p; p++) {
        const rt_flag_row *flag = NULL;
        for (int k = 0; k < N_FLAGS && !flag; k++)
            if (flags[k].letter == *p) flag = &flags[k];
        if (!flag || !rt_flag_belongs(flag, command))
            return rt_fail(RT_EUSAGE, "rectrain %s: unknown flag -%c; `rectrain %s --help` lists the flags", command,
                           *p, command);
        if (flag->type == RT_FLAG_SWITCH || flag->type == RT_FLAG_COUNT) {
            RT_TRY(put_flag(flag, NULL, command, cli));
            continue;
        }
        if (!p[1] && *i + 1 >= argc)
            return rt_fail(RT_EUSAGE, "rectrain %s: -%c needs a value: -%c %s", command, *p, *p, flag->value);
        return put_flag(flag, p[1] ? p + 1 : argv[++*i], command, cli);
    }
    return RT_OK;
}

/* --- the whole line ----------------------------------------------------------------------------------------------- */

static rt_status unknown_command(const char *word) {
    const char *names[N_COMMANDS + 1];
    for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
    names[N_COMMANDS] = "help";
    size_t n = strlen(word);
    if ((n > 4 && !strcmp(word + n - 4, ".ini")) || rt_file_exists(word))
        return rt_fail(RT_EUSAGE, "%s is no command; did you mean rectrain --config %s?", word, word);
    const char *near = rt_did_you_mean(word, names, N_COMMANDS + 1);
    if (near) return rt_fail(RT_EUSAGE, "%s is no command of rectrain; did you mean %s?", word, near);
    return rt_fail(RT_EUSAGE,
                   "%s is no command of rectrain; there are train, eval, predict, convert, export, tokenize, "
                   "example, join, data, verify, config, doctor",
                   word);
}

static bool is_help(const char *word) {
    return !strcmp(word, "-h") || !strcmp(word, "--help");
}

static rt_status check_needed(const rt_command_row *command, const rt_cli *cli) {
    for (int i = 0; i < N_FLAGS; i++) {
        if (!stands_in(flags[i].needed_by, command->name)) continue; /* only text flags are needed by anyone */
        if (!*(const char *const *)(const void *)((const char *)cli + flags[i].offset))
            return rt_fail(RT_EUSAGE, "rectrain %s needs %s %s; usage: rectrain %s %s", command->name, flags[i].name,
                           flags[i].value, command->name, command->usage);
    }
    if (command->operand && !cli->file)
        return rt_fail(RT_EUSAGE, "rectrain %s needs a file; usage: rectrain %s %s", command->name, command->name,
                       command->usage);
    if (command->run == rt_cmd_train && !cli->config && cli->n_sets == 0)
        return rt_fail(RT_EUSAGE, "rectrain train needs --config FILE; usage: rectrain train %s", command->usage);
    if (command->run == rt_cmd_tokenize && !cli->checkpoint == !cli->vocab)
        return rt_fail(RT_EUSAGE, "rectrain tokenize needs either --checkpoint FILE.h5 or --vocab FILE");
    if (command->run == rt_cmd_tokenize && cli->checkpoint && cli->cased)
        return rt_fail(RT_EUSAGE, "rectrain tokenize: --cased goes with --vocab; a checkpoint knows its casing");
    if (command->run != rt_cmd_join && cli->format && strcmp(cli->format, "tsv") != 0 &&
        strcmp(cli->format, "jsonl") != 0)
        return rt_fail(RT_EUSAGE, "rectrain %s: --format %s: expected tsv or jsonl", command->name, cli->format);
    return RT_OK;
}

static rt_status operand(const rt_command_row *command, const char *word, rt_cli *cli) {
    if (!command->operand)
        return rt_fail(RT_EUSAGE, "rectrain %s: did not expect %s; usage: rectrain %s %s", command->name, word,
                       command->name, command->usage);
    if (cli->file && !strstr(command->operand, "..."))
        return rt_fail(RT_EUSAGE, "rectrain %s takes one %s; found %s and %s", command->name, command->operand,
                       cli->file, word);
    const char **grown = realloc(cli->files, ((size_t)cli->n_files + 1) * sizeof *grown);
    if (!grown) return rt_fail(RT_ENOMEM, "out of memory for the command line");
    cli->files = grown;
    cli->files[cli->n_files++] = word;
    cli->file = cli->files[0];
    return RT_OK;
}

/* `rectrain help [COMMAND | man [COMMAND] | bash | zsh | fish]` */
static rt_status parse_help(int argc, char **argv, const rt_command_row **command, rt_todo *todo) {
    static const char *const words[] = {"man", "bash", "zsh", "fish"};
    static const rt_todo todos[] = {RT_DO_MAN, RT_DO_BASH, RT_DO_ZSH, RT_DO_FISH};
    int at = 2;
    *todo = RT_DO_HELP;
    for (int i = 0; argc > 2 && i < 4; i++)
        if (!strcmp(argv[2], words[i])) *todo = todos[i], at = 3;
    bool takes = *todo == RT_DO_HELP || *todo == RT_DO_MAN;
    if (argc <= at || is_help(argv[at]) || !takes) return RT_OK;
    *command = rt_command_find(argv[at]);
    return *command ? RT_OK : unknown_command(argv[at]);
}

rt_status rt_args_parse(int argc, char **argv, rt_cli *cli, const rt_command_row **command, rt_todo *todo) {
    int i = 1;
    *command = NULL;
    *todo = RT_DO_RUN;
    cli->argc = argc;
    cli->argv = argv;
    cli->program = argc > 0 ? argv[0] : "rectrain";
    cli->max_length = cli->seed = cli->users = cli->history = cli->negatives = cli->memory = -1;
    if (argc <= 1) return *todo = RT_DO_SHORT_HELP, RT_OK;
    if (is_help(argv[1])) return *todo = RT_DO_HELP, RT_OK;
    if (!strcmp(argv[1], "--version")) return *todo = RT_DO_VERSION, RT_OK;
    if (!strcmp(argv[1], "help")) return parse_help(argc, argv, command, todo);
    if (argv[1][0] != '-') {
        *command = rt_command_find(argv[1]);
        if (!*command) return unknown_command(argv[1]);
        i = 2;
    } else {
        *command = rt_command_find("train");
    }
    const char *name = cli->command = (*command)->name;
    /* Help wins over whatever else is on the line, right or wrong. */
    for (int k = i; k < argc && strcmp(argv[k], "--") != 0; k++)
        if (is_help(argv[k])) return *todo = RT_DO_HELP, RT_OK;
    for (bool only_operands = false; i < argc; i++) {
        const char *word = argv[i];
        if (only_operands || word[0] != '-' || !word[1])
            RT_TRY(operand(*command, word, cli));
        else if (!strcmp(word, "--"))
            only_operands = true;
        else if (!strcmp(word, "--version"))
            return *todo = RT_DO_VERSION, RT_OK;
        else if (word[1] == '-')
            RT_TRY(long_flag(argc, argv, &i, name, cli));
        else
            RT_TRY(short_flags(argc, argv, &i, name, cli));
    }
    return check_needed(*command, cli);
}
