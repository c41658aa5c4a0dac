/* The command line's two tables, commands and flags, and what reads them: parsing, help, man page, completions. */
#ifndef RT_CLI_ARGS_H
#define RT_CLI_ARGS_H
#include "../base/text.h"
#include "cli.h"
#include <rectrain/rectrain.h>
#include <stddef.h>

typedef struct {
    const char *name;
    rt_command run;
    const char *line;            /* one line for the list of commands */
    const char *const *examples; /* NULL-terminated; help shows them first */
    const char *usage;           /* after "rectrain NAME" */
    const char *about;           /* paragraphs, lines folded by hand */
    const char *operand;         /* what a bare word is ("FILE.h5", several with "FILE..."); NULL: none is taken */
} rt_command_row;

typedef enum { RT_FLAG_SWITCH, RT_FLAG_COUNT, RT_FLAG_TEXT, RT_FLAG_WHOLE, RT_FLAG_APPEND } rt_flag_type;
typedef struct {
    const char *name; /* "--config" */
    char letter;      /* 'v' for -v; 0: none */
    rt_flag_type type;
    size_t offset;         /* into rt_cli */
    const char *value;     /* "FILE", for help */
    const char *commands;  /* " eval predict ", or "*" for all */
    const char *needed_by; /* " eval ": commands that cannot do without */
    const char *help;
    int64_t low, high; /* WHOLE */
} rt_flag_row;

/* args_table.c */
const rt_command_row *rt_commands(int *n);
const rt_flag_row *rt_flags(int *n);
const rt_command_row *rt_command_find(const char *name);
bool rt_flag_belongs(const rt_flag_row *flag, const char *command);

/* What main shall do. */
typedef enum {
    RT_DO_RUN,
    RT_DO_HELP,
    RT_DO_SHORT_HELP,
    RT_DO_VERSION,
    RT_DO_MAN,
    RT_DO_BASH,
    RT_DO_ZSH,
    RT_DO_FISH
} rt_todo;
/* Fills cli from argv (strings are borrowed; cli->sets is allocated) and *command (NULL: help of the whole program).
 * RT_EUSAGE with "did you mean". */
rt_status rt_args_parse(int argc, char **argv, rt_cli *cli, const rt_command_row **command, rt_todo *todo);

/* Each appends to out. */
void rt_help_short(rt_text *out);
void rt_help_program(rt_text *out);
/* `text` of the three here, for a window of `columns`: paragraphs are filled, a flag's help stays in its column, and
 * examples stay whole, for they are there to be copied. */
void rt_help_fold(const char *text, int columns, rt_text *out);
void rt_help_command(const rt_command_row *command, rt_text *out);
/* help_man.c: a man page in roff, of a command, or for NULL of the program with the options of the configuration. */
void rt_help_man(const rt_command_row *command, rt_text *out);
/* help_complete.c: completions for the shell of RT_DO_BASH, RT_DO_ZSH, RT_DO_FISH. */
void rt_help_completion(rt_todo shell, rt_text *out);

#define RT_VERSION RECTRAIN_VERSION

#endif
