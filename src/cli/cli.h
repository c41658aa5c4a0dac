/* What every subcommand gets: parsed flags, the log, checked output. src/cli alone may exit(); commands still return an
 * rt_status after rt_fail(), and main prints the message and turns it into the exit code. */
#ifndef RT_CLI_CLI_H
#define RT_CLI_CLI_H
#include "../base/log.h"
#include "../base/status.h"
#include "../config/config.h"
#include "../data/join.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct rt_cli {
    rt_log *log;         /* stderr */
    const char *program; /* argv[0] */
    const char *command; /* "train", "eval", ... */
    char **argv;         /* the whole command line, for the log */
    int argc;
    const char *const *environment;

    /* flags of every command */
    const char **sets; /* [n_sets] of --set */
    int n_sets;
    bool quiet, no_color;
    int verbose;   /* number of -v */
    bool color;    /* stderr may be coloured: NO_COLOR, TERM=dumb, not a terminal, --no-color looked at */
    bool terminal; /* stderr is a terminal that knows escapes: progress may redraw in place */
    struct rt_progress_line *line; /* live progress on stderr; may be NULL */

    /* flags of some; NULL, false or -1 where not given. args.c holds the table of which command takes which */
    const char *config, *checkpoint, *data, *output, *format, *from, *to, *check, *vocab, *against, *plan;
    const char *file;   /* the first of `files` */
    const char **files; /* [n_files] bare words: verify's file, data's files */
    int n_files;
    bool dry_run, json, logits, cased, defaults, tune, force;
    int64_t max_length, seed, users;
    const char *on_bad_row;
    const char *text, *id, *prefix, *pooling; /* of what becomes vectors */
    int64_t dimensions;
    bool no_normalize;
    const char *index, *queries, *similarity, *seen, *allow, *categories, *query_categories, *precision; /* of search */
    int64_t top;
    int64_t history, negatives, memory;
    rt_join_options join; /* the strings alone; rt_cmd_join fills in the rest */
    struct {
        const char *retriever, *ranker, *users, *rules, *index, *item_text, *user_text, *item_prefix, *user_prefix;
        const char *weights, *merge, *diversity, *slice, *evaluate;
        int64_t top, candidates, neighbours, shrinkage, user_cap, window; /* 0 where not given */
        bool keep_seen, log_counts;
    } recommend;
} rt_cli;

typedef rt_status (*rt_command)(rt_cli *cli);
rt_status rt_cmd_train(rt_cli *cli), rt_cmd_eval(rt_cli *cli), rt_cmd_predict(rt_cli *cli);
rt_status rt_cmd_convert(rt_cli *cli), rt_cmd_export(rt_cli *cli), rt_cmd_tokenize(rt_cli *cli);
rt_status rt_cmd_example(rt_cli *cli), rt_cmd_verify(rt_cli *cli), rt_cmd_config(rt_cli *cli);
rt_status rt_cmd_doctor(rt_cli *cli), rt_cmd_join(rt_cli *cli), rt_cmd_data(rt_cli *cli);
rt_status rt_cmd_recommend(rt_cli *cli);
rt_status rt_cmd_embed(rt_cli *cli), rt_cmd_search(rt_cli *cli);

/* Loads the configuration of this command line: --config, --set, environment; `stored` (may be NULL) is a checkpoint's
 * /config.ini, `stored_name` its name for messages. */
rt_status rt_cli_config(rt_cli *cli, const char *stored, size_t stored_size, const char *stored_name, rt_config **out);

/* Results: to stdout, buffered. A failed write (full disk, closed pipe) is RT_EIO; rt_cli_flush must be the last call
 * of a command that wrote (main calls it again, and reports what is left). */
rt_status rt_cli_write(const void *bytes, size_t size);
rt_status rt_cli_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
rt_status rt_cli_flush(void);
/* Results that are kept elsewhere too: what does not arrive is a warning, once, and no reason to end hours of work. The
 * flush at the end still tells. */
void rt_cli_show(const rt_cli *cli, const void *bytes, size_t size);
/* Says what is waited for where stdin is a terminal: else the program would seem to hang. */
void rt_cli_awaits_lines(const rt_cli *cli, const char *what);
/* The last write failed because the reader left (`| head`). */
bool rt_cli_reader_left(void);

#endif
