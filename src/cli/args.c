/* Reading the command line by the two tables. */
#include "args.h"
#include "../base/file.h"
#include "../config/options.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COMMANDS = 32, MOST_FLAGS = 160 };

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
    int n_flags;
    const rt_flag_row *flags = rt_flags(&n_flags);
    for (int i = 0; i < n_flags; i++) {
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
    int n_flags, count = 0;
    const rt_flag_row *flags = rt_flags(&n_flags);
    const char *names[MOST_FLAGS + 2];
    for (int i = 0; i < n_flags && i < MOST_FLAGS; i++)
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
    int n_flags;
    const rt_flag_row *flags = rt_flags(&n_flags);
    for (const char *p = argv[*i] + 1; *p; p++) {
        const rt_flag_row *flag = NULL;
        for (int k = 0; k < n_flags; k++)
            if (flags[k].letter == *p && (!flag || rt_flag_belongs(&flags[k], command))) flag = &flags[k];
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
    const char *names[MOST_COMMANDS + 1];
    int n_commands;
    const rt_command_row *commands = rt_commands(&n_commands);
    for (int i = 0; i < n_commands; i++) names[i] = commands[i].name;
    names[n_commands++] = "help";
    size_t n = strlen(word);
    if ((n > 4 && !strcmp(word + n - 4, ".ini")) || rt_file_exists(word))
        return rt_fail(RT_EUSAGE, "%s is no command; did you mean rectrain --config %s?", word, word);
    const char *near = rt_did_you_mean(word, names, n_commands);
    if (near) return rt_fail(RT_EUSAGE, "%s is no command of rectrain; did you mean %s?", word, near);
    rt_text list = {0};
    for (int i = 0; i + 1 < n_commands; i++) rt_text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    rt_status rc =
        rt_fail(RT_EUSAGE, "%s is no command of rectrain; there are %s", word, list.data ? list.data : "others");
    rt_text_free(&list);
    return rc;
}

static bool is_help(const char *word) {
    return !strcmp(word, "-h") || !strcmp(word, "--help");
}

static rt_status check_needed(const rt_command_row *command, const rt_cli *cli) {
    int n_flags;
    const rt_flag_row *flags = rt_flags(&n_flags);
    for (int i = 0; i < n_flags; i++) {
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
    if (command->run != rt_cmd_join && command->run != rt_cmd_embed && cli->format && strcmp(cli->format, "tsv") != 0 &&
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
    cli->max_length = cli->seed = cli->users = cli->history = cli->negatives = cli->memory = cli->dimensions =
        cli->top = -1;
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
