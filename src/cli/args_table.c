/* The command line's two tables. Help, man page, completions and parsing follow from them. */
#include "args.h"
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
    {"embed", rt_cmd_embed, "vectors of texts, for search and recommendation",
     EXAMPLES("rectrain embed --checkpoint minilm.h5 --data items.tsv --text title --id item_id --output items.h5",
              "rectrain embed --checkpoint minilm.h5 --data users.tsv --text history --id user_id --output users.npy",
              "rectrain embed --checkpoint e5.h5 --data items.tsv --text \"{brand} {title}\" --prefix \"passage: \" --id item_id --output items.faiss"),
     "--checkpoint FILE.h5 --data FILE|- --text NAME --id COLUMN --output FILE [FLAG]...",
     "One vector a row, of length 1, in the order of rows. No head is needed: a checkpoint of any kind will do. FILE of\n"
     "--output ends in .h5 (as ann-benchmarks reads it, with ids), .npy, .fbin, .faiss (a flat index of inner product;\n"
     "ids of these three in FILE.ids) or .jsonl. A run that was stopped, however that was, goes on when the same command\n"
     "is given again, and ends with the same bytes. Texts are cut to data.max_length tokens, 128 where nothing else was\n"
     "set (--set data.max_length=256). NAME is a column or a template: \"{brand} {title}\".",
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
    {"--checkpoint", 0, RT_FLAG_TEXT, AT(checkpoint), "FILE.h5", " eval predict export tokenize example data embed ", " eval predict export embed ",
     "a checkpoint: best.h5 of a run, or what convert wrote", 0, 0},
    {"--data", 0, RT_FLAG_TEXT, AT(data), "FILE", " eval predict ", " eval predict ",
     "rows in tsv, csv or jsonl with a header or keys; predict takes - for stdin", 0, 0},
    {"--data", 0, RT_FLAG_TEXT, AT(data), "FILE", " embed ", " embed ", "rows in tsv, csv or jsonl with a header or keys; - is stdin", 0, 0},
    {"--text", 0, RT_FLAG_TEXT, AT(text), "NAME", " embed ", " embed ", "the text of a row: a column, or a template \"{brand} {title}\"", 0, 0},
    {"--id", 0, RT_FLAG_TEXT, AT(id), "COLUMN", " embed ", " embed ", "the id of a row; no two may be the same", 0, 0},
    {"--prefix", 0, RT_FLAG_TEXT, AT(prefix), "TEXT", " embed ", "", "put before every text, as a model wants it: \"query: \"", 0, 0},
    {"--output", 'o', RT_FLAG_TEXT, AT(output), "FILE", " embed ", " embed ", "the file of vectors to write", 0, 0},
    {"--format", 0, RT_FLAG_TEXT, AT(format), "FORMAT", " embed ", "", "h5, npy, fbin, faiss or jsonl, where the end of --output does not say it", 0, 0},
    {"--dimensions", 0, RT_FLAG_WHOLE, AT(dimensions), "N", " embed ", "", "the first N numbers of a vector alone, then made of length 1", 1, 32768},
    {"--no-normalize", 0, RT_FLAG_SWITCH, AT(no_normalize), NULL, " embed ", "", "leave vectors as long as they come", 0, 0},
    {"--pooling", 0, RT_FLAG_TEXT, AT(pooling), "cls|mean", " embed ", "", "of the last hidden states; as the checkpoint says, else mean", 0, 0},
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
