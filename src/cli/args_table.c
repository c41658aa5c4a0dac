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
    {"search", rt_cmd_search, "the nearest items of each query, exactly",
     EXAMPLES("rectrain search --index items.h5 --queries users.h5 --top 20 --output hits.tsv",
              "rectrain search --index items.h5 --queries users.h5 --seen train.tsv --allow instock.tsv",
              "rectrain search --index items.h5 --queries users.tsv --checkpoint minilm.h5 --text history --id user_id"),
     "--index FILE --queries FILE [--checkpoint FILE.h5 --text NAME --id COLUMN] [FLAG]...",
     "One line a hit, the best first: query, rank, item, score. Vectors are files of embed (.h5, .npy, .fbin, .faiss,\n"
     ".jsonl); with --checkpoint queries are a table, whose texts become vectors. All items are looked at, so nothing is\n"
     "missed; a score is the fp64 dot product rounded once, equal scores go to the item that stands first in the index,\n"
     "and hits are the same on any processor, with any precision and number of threads. Items are read from the file as\n"
     "they are needed. Columns of the files of --seen, --allow and --categories are user_id, item_id and category, unless\n"
     "--user, --item and --category name others.",
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
    {"recommend", rt_cmd_recommend, "a list of items for each user, from two models, the click log and what is popular",
     EXAMPLES("rectrain recommend --retriever bi.h5 --ranker cross.h5 --items items.tsv --events log.tsv -o lists.tsv",
              "rectrain recommend --retriever bi.h5 --items items.tsv --users users.tsv --events log.tsv --rules rules.txt",
              "rectrain recommend --items items.tsv --events train.tsv --evaluate test.tsv --json"),
     "--items FILE --events FILE [--retriever FILE.h5] [--ranker FILE.h5] [--users FILE] [FLAG]...",
     "The retriever's vectors, item-item cosine of the log (collaborative) and popularity each give their best\n"
     "candidates, without what the user has clicked; the ranker scores the best of all of them as pairs of the user's\n"
     "text and the item's; then all are merged, and the list is chosen under the rules. Either model may be missing. A\n"
     "user's text is data.text_a of the model in the table of users, else the titles that he clicked last. Users of whom\n"
     "nothing is known get what is popular, in their slice where --slice has one.\n"
     "Columns: user, rank, item, score, text, ranker, collaborative, popularity, reason.\n"
     "FILE of --rules has a rule a line: must COLUMN = VALUE, must not COLUMN = VALUE (several with | between them), at\n"
     "most N per COLUMN; # begins a comment. must and must not act on the catalogue, at most while a list is chosen.\n"
     "--evaluate measures instead, on later events: recall, nDCG, MRR, novelty, diversity and coverage of the pipeline,\n"
     "of its parts alone and of popularity and item-knn, with 95 % intervals by user.",
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
    {"--checkpoint", 0, RT_FLAG_TEXT, AT(checkpoint), "FILE.h5", " eval predict export tokenize example data embed search ", " eval predict export embed ",
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
    {"--index", 0, RT_FLAG_TEXT, AT(index), "FILE", " search ", " search ", "the items' vectors", 0, 0},
    {"--queries", 0, RT_FLAG_TEXT, AT(queries), "FILE", " search ", " search ", "the queries' vectors; with --checkpoint a table of texts", 0, 0},
    {"--text", 0, RT_FLAG_TEXT, AT(text), "NAME", " search ", "", "the text of a query: a column, or a template \"{brand} {title}\"", 0, 0},
    {"--id", 0, RT_FLAG_TEXT, AT(id), "COLUMN", " search ", "", "the id of a query; no two may be the same", 0, 0},
    {"--prefix", 0, RT_FLAG_TEXT, AT(prefix), "TEXT", " search ", "", "put before every text, as a model wants it: \"query: \"", 0, 0},
    {"--dimensions", 0, RT_FLAG_WHOLE, AT(dimensions), "N", " search ", "", "of the texts' vectors the first N numbers, as embed made the items'", 1, 32768},
    {"--pooling", 0, RT_FLAG_TEXT, AT(pooling), "cls|mean", " search ", "", "as for embed", 0, 0},
    {"--no-normalize", 0, RT_FLAG_SWITCH, AT(no_normalize), NULL, " search ", "", "of the texts' vectors: leave them as long as they come (with --similarity dot)", 0, 0},
    {"--top", 0, RT_FLAG_WHOLE, AT(top), "N", " search ", "", "items for each query; 20 where not said", 1, 1000000},
    {"--similarity", 0, RT_FLAG_TEXT, AT(similarity), "cosine|dot", " search ", "", "cosine where not said: vectors are made of length 1 unless their file says that they are", 0, 0},
    {"--seen", 0, RT_FLAG_TEXT, AT(seen), "FILE", " search ", "", "a table of users and items: a query does not get the items of its id", 0, 0},
    {"--allow", 0, RT_FLAG_TEXT, AT(allow), "FILE", " search ", "", "a table of items: no others are found", 0, 0},
    {"--categories", 0, RT_FLAG_TEXT, AT(categories), "FILE", " search ", "", "a table of items and their categories: a query gets items of its own alone", 0, 0},
    {"--query-categories", 0, RT_FLAG_TEXT, AT(query_categories), "FILE", " search ", "", "a table of users and their categories; one without gets items of all", 0, 0},
    {"--user", 0, RT_FLAG_TEXT, AT(join.user), "COLUMN", " search ", "", "the query's id in tables; user_id where not said", 0, 0},
    {"--item", 0, RT_FLAG_TEXT, AT(join.item), "COLUMN", " search ", "", "the item's id in tables; item_id where not said", 0, 0},
    {"--category", 0, RT_FLAG_TEXT, AT(join.category), "COLUMN", " search ", "", "category where not said", 0, 0},
    {"--precision", 0, RT_FLAG_TEXT, AT(precision), "fp32|bf16", " search ", "", "what products are computed in; vectors give the same hits in both, texts other vectors. run.precision where not said", 0, 0},
    {"--output", 'o', RT_FLAG_TEXT, AT(output), "FILE", " search ", "", "where the hits go; - or nothing: stdout", 0, 0},
    {"--format", 0, RT_FLAG_TEXT, AT(format), "tsv|jsonl", " search ", "", "of the output; tsv where not said", 0, 0},
    {"--against", 0, RT_FLAG_TEXT, AT(against), "FILE", " data ", "", "rows that shall have nothing in common with these: dev or test", 0, 0},
    {"--output", 'o', RT_FLAG_TEXT, AT(output), "FILE", " predict recommend ", "", "where the rows go; - or nothing: stdout", 0, 0},
    {"--format", 0, RT_FLAG_TEXT, AT(format), "tsv|jsonl", " predict recommend ", "", "of the output; tsv where not said", 0, 0},
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
    {"--items", 0, RT_FLAG_TEXT, AT(join.items), "FILE", " join recommend ", " join recommend ", "a table of items: tsv, csv, jsonl with a header or keys", 0, 0},
    {"--events", 0, RT_FLAG_TEXT, AT(join.events), "FILE", " join recommend ", " join recommend ", "the log: a row for each item shown, or clicked", 0, 0},
    {"--test-events", 0, RT_FLAG_TEXT, AT(join.test_events), "FILE", " join ", "", "a log of its own for test.tsv", 0, 0},
    {"--out", 0, RT_FLAG_TEXT, AT(join.folder), "DIR", " join ", " join ", "the folder to write, temporary files too", 0, 0},
    {"--format", 0, RT_FLAG_TEXT, AT(format), "FORMAT", " join ", "", "table (the default), mind (behaviors.tsv, news.tsv) or movielens", 0, 0},
    {"--item", 0, RT_FLAG_TEXT, AT(join.item), "NAME", " join recommend ", "", "the item's id in the log; item_id where not said", 0, 0},
    {"--item-key", 0, RT_FLAG_TEXT, AT(join.item_key), "NAME", " join recommend ", "", "the item's id in the table; as --item where not said", 0, 0},
    {"--title", 0, RT_FLAG_TEXT, AT(join.title), "NAME", " join recommend ", "", "the item's text; title where not said", 0, 0},
    {"--category", 0, RT_FLAG_TEXT, AT(join.category), "NAME", " join ", "", "of the item: written beside the rows, to slice by", 0, 0},
    {"--user", 0, RT_FLAG_TEXT, AT(join.user), "NAME", " join recommend ", "", "the user's id; user_id where there is one", 0, 0},
    {"--time", 0, RT_FLAG_TEXT, AT(join.time), "COLUMN", " join recommend ", "", "numbers or dates; time where there is one", 0, 0},
    {"--click", 0, RT_FLAG_TEXT, AT(join.click), "COLUMN", " join recommend ", "", "0 or 1, true or false", 0, 0},
    {"--positive", 0, RT_FLAG_TEXT, AT(join.positive), "A,B", " join ", "", "the values of --click that mean a click; all others do not", 0, 0},
    {"--rating", 0, RT_FLAG_TEXT, AT(join.rating), "COLUMN", " join ", "", "a number instead of a click", 0, 0},
    {"--min-rating", 0, RT_FLAG_TEXT, AT(join.min_rating), "N|>N", " join ", "", "from N on (more than N) is a click", 0, 0},
    {"--max-rating", 0, RT_FLAG_TEXT, AT(join.max_rating), "N", " join ", "", "up to N is none, and between the two a row is left out", 0, 0},
    {"--impression", 0, RT_FLAG_TEXT, AT(join.impression), "NAME", " join ", "", "which rows were shown together", 0, 0},
    {"--query", 0, RT_FLAG_TEXT, AT(join.query), "NAME", " join ", "", "of the log: written beside the rows", 0, 0},
    {"--split", 0, RT_FLAG_TEXT, AT(join.split), "RULE", " join ", "", "shares, 80/10/10, or when dev and test begin, 2019-11-14,2019-11-15", 0, 0},
    {"--split-column", 0, RT_FLAG_TEXT, AT(join.split_column), "COLUMN", " join ", "", "dev and test as published; --split divides its train", 0, 0},
    {"--history", 0, RT_FLAG_WHOLE, AT(history), "N", " join recommend ", "", "titles of a history, the newest; 50 where not said", 0, 1000},
    {"--negatives", 0, RT_FLAG_WHOLE, AT(negatives), "N", " join ", "", "non-clicks for each click of train, or for each click of a log of clicks alone", 0, 1000},
    {"--seed", 0, RT_FLAG_WHOLE, AT(seed), "N", " join ", "", "another choice of non-clicks", 0, INT64_MAX},
    {"--memory", 0, RT_FLAG_WHOLE, AT(memory), "MIB", " join ", "", "memory for sorting; 1024 where not said", 16, 1 << 20},
    {"--on-bad-row", 0, RT_FLAG_TEXT, AT(on_bad_row), "stop|skip", " join recommend ", "", "what a malformed row does", 0, 0},
    {"--retriever", 0, RT_FLAG_TEXT, AT(recommend.retriever), "FILE.h5", " recommend ", "", "a checkpoint whose vectors find items: of train.objective = contrastive, or what convert wrote", 0, 0},
    {"--ranker", 0, RT_FLAG_TEXT, AT(recommend.ranker), "FILE.h5", " recommend ", "", "a checkpoint that scores pairs: best.h5 of a run", 0, 0},
    {"--users", 0, RT_FLAG_TEXT, AT(recommend.users), "FILE", " recommend ", "", "whom lists are for, a list a row; all users of the log where not said", 0, 0},
    {"--index", 0, RT_FLAG_TEXT, AT(recommend.index), "FILE", " recommend ", "", "the items' vectors, as embed wrote them with the same retriever", 0, 0},
    {"--rules", 0, RT_FLAG_TEXT, AT(recommend.rules), "FILE", " recommend ", "", "what lists must and must not hold", 0, 0},
    {"--top", 0, RT_FLAG_WHOLE, AT(recommend.top), "N", " recommend ", "", "items of a list; 10 where not said", 1, 1000},
    {"--candidates", 0, RT_FLAG_WHOLE, AT(recommend.candidates), "N", " recommend ", "", "of each part, and pairs that the ranker scores for a user; 200 where not said", 1, 10000},
    {"--weights", 0, RT_FLAG_TEXT, AT(recommend.weights), "PART=N,...", " recommend ", "", "of text, ranker, collaborative, popularity: 1, 2, 1, 0.2 where not said; 0: no say", 0, 0},
    {"--merge", 0, RT_FLAG_TEXT, AT(recommend.merge), "minmax|rank|rrf", " recommend ", "", "how scores are made alike: between their least and greatest, by place, or 1 / (60 + place)", 0, 0},
    {"--diversity", 0, RT_FLAG_TEXT, AT(recommend.diversity), "N", " recommend ", "", "from 0 (by score alone) to 1: choose by (1 - N) score - N likeness to what is chosen", 0, 0},
    {"--slice", 0, RT_FLAG_TEXT, AT(recommend.slice), "COLUMN", " recommend ", "", "of items and users: popularity within it", 0, 0},
    {"--popularity-window", 0, RT_FLAG_WHOLE, AT(recommend.window), "N", " recommend ", "", "count clicks of the newest N seconds, or units of the log's time, alone", 1, INT64_MAX},
    {"--neighbours", 0, RT_FLAG_WHOLE, AT(recommend.neighbours), "N", " recommend ", "", "nearest items that each item keeps; 100 where not said", 1, 100000},
    {"--shrinkage", 0, RT_FLAG_WHOLE, AT(recommend.shrinkage), "N", " recommend ", "", "cosines of n common users times n / (n + N)", 0, 1000000},
    {"--log-counts", 0, RT_FLAG_SWITCH, AT(recommend.log_counts), NULL, " recommend ", "", "cosines of ln(1 + clicks) instead of 0 and 1", 0, 0},
    {"--user-cap", 0, RT_FLAG_WHOLE, AT(recommend.user_cap), "N", " recommend ", "", "cosines of the last N items of each user; of all where not said", 1, 1 << 30},
    {"--item-text", 0, RT_FLAG_TEXT, AT(recommend.item_text), "NAME", " recommend ", "", "the item's text for the retriever: a column or a template; data.text_b where not said", 0, 0},
    {"--user-text", 0, RT_FLAG_TEXT, AT(recommend.user_text), "NAME", " recommend ", "", "the user's text in --users: a column or a template; data.text_a where not said", 0, 0},
    {"--item-prefix", 0, RT_FLAG_TEXT, AT(recommend.item_prefix), "TEXT", " recommend ", "", "stands before every item's text for the retriever: 'passage: '", 0, 0},
    {"--user-prefix", 0, RT_FLAG_TEXT, AT(recommend.user_prefix), "TEXT", " recommend ", "", "stands before every user's text for the retriever: 'query: '", 0, 0},
    {"--keep-seen", 0, RT_FLAG_SWITCH, AT(recommend.keep_seen), NULL, " recommend ", "", "what a user has clicked may come again", 0, 0},
    {"--evaluate", 0, RT_FLAG_TEXT, AT(recommend.evaluate), "FILE", " recommend ", "", "later events, with the columns of --events: measure lists on their clicks", 0, 0},
    {"--seed", 0, RT_FLAG_WHOLE, AT(seed), "N", " recommend ", "", "other resamples", 0, INT64_MAX},
    {"--defaults", 0, RT_FLAG_SWITCH, AT(defaults), NULL, " config ", "", "every option with its explanation and default", 0, 0},
    {"--plan", 0, RT_FLAG_TEXT, AT(plan), "key=value,...", " doctor ", "", "the time of a step on other ranks: ranks=64,gbps=400", 0, 0},
    {"--dry-run", 'n', RT_FLAG_SWITCH, AT(dry_run), NULL, " train ", "", "print the plan and train nothing", 0, 0},
    {"--json", 0, RT_FLAG_SWITCH, AT(json), NULL, " eval tokenize join recommend data verify config doctor ", "", "results as JSON", 0, 0},
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
