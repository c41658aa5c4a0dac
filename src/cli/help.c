/* Help, man page and completions, all from the tables of commands, flags and options. */
#include "../config/options.h"
#include "args.h"
#include <string.h>

static void put_flag_column(const rt_flag_row *f, rt_text *out) {
    rt_text left = {0};
    if (f->letter) rt_text_printf(&left, "-%c, ", f->letter);
    rt_text_puts(&left, f->name);
    if (f->value) rt_text_printf(&left, " %s", f->value);
    rt_text_printf(out, "  %-27s %s\n", left.data ? left.data : "", f->help);
    rt_text_free(&left);
}

void rt_help_short(rt_text *out) {
    int n;
    const rt_command_row *c = rt_commands(&n);
    rt_text_puts(out, "rectrain fine-tunes BERT encoders on labelled click / no-click pairs.\n\n"
                      "  rectrain --config ecommerce.ini      train, evaluate, write checkpoints\n\n");
    for (int i = 0; i < n; i++) rt_text_printf(out, "  %-10s %s\n", c[i].name, c[i].line);
    rt_text_puts(out, "\n`rectrain --help` shows more, `rectrain COMMAND --help` all about one command.\n");
}

void rt_help_program(rt_text *out) {
    int n;
    rt_text_puts(out, "Examples:\n"
                      "  rectrain --config ecommerce.ini\n"
                      "  rectrain eval --checkpoint runs/ecommerce/best.h5 --data test.tsv\n"
                      "  rectrain predict --checkpoint runs/ecommerce/best.h5 --data new.tsv --output scores.tsv\n\n"
                      "Usage: rectrain [COMMAND] [FLAG]...\n\nCommands:\n");
    const rt_command_row *c = rt_commands(&n);
    for (int i = 0; i < n; i++) rt_text_printf(out, "  %-10s %s\n", c[i].name, c[i].line);
    rt_text_printf(out, "  %-10s %s\n", "help", "this text; help COMMAND; help man (roff), help bash (completions)");
    rt_text_puts(out, "\nFlags of every command:\n");
    const rt_flag_row *f = rt_flags(&n);
    for (int i = 0; i < n; i++)
        if (!strcmp(f[i].commands, "*")) put_flag_column(&f[i], out);
    rt_text_printf(out, "  %-27s %s\n  %-27s %s\n", "-h, --help", "help", "--version", "the version");
    rt_text_puts(out,
                 "\nResults go to stdout, everything else to stderr. Exit codes: 0 ok, 1 a bug, 2 wrong command line,\n"
                 "65 bad data, 66 missing input, 69 device or library unavailable, 74 input/output error,\n"
                 "75 stopped by a signal with a checkpoint safe on disk (run it again), 78 bad configuration.\n"
                 "Options of the configuration: rectrain config --defaults\n");
}

void rt_help_command(const rt_command_row *command, rt_text *out) {
    int n;
    const rt_flag_row *f = rt_flags(&n);
    rt_text_puts(out, command->examples[1] ? "Examples:\n" : "Example:\n");
    for (int i = 0; command->examples[i]; i++) rt_text_printf(out, "  %s\n", command->examples[i]);
    rt_text_printf(out, "\nUsage: rectrain %s %s\n\n%s\n\nFlags:\n", command->name, command->usage, command->about);
    for (int i = 0; i < n; i++)
        if (rt_flag_belongs(&f[i], command->name) && strcmp(f[i].commands, "*") != 0) put_flag_column(&f[i], out);
    for (int i = 0; i < n; i++)
        if (!strcmp(f[i].commands, "*")) put_flag_column(&f[i], out);
    rt_text_printf(out, "  %-27s %s\n", "-h, --help", "this text");
}

/* --- roff --------------------------------------------------------------------------------------------------------- */

static void roff(const char *text, rt_text *out) {
    for (const char *p = text; *p; p++) {
        if (*p == '-')
            rt_text_puts(out, "\\-");
        else if (*p == '\\')
            rt_text_puts(out, "\\e");
        else if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n')) {
            rt_text_puts(out, "\\&");
            rt_text_append(out, p, 1);
        } else
            rt_text_append(out, p, 1);
    }
}

static void roff_commands(rt_text *out) {
    int n, m;
    const rt_command_row *c = rt_commands(&n);
    const rt_flag_row *f = rt_flags(&m);
    rt_text_puts(out, ".SH COMMANDS\n");
    for (int i = 0; i < n; i++) {
        rt_text_puts(out, ".TP\n.B rectrain ");
        roff(c[i].name, out);
        rt_text_puts(out, " ");
        roff(c[i].usage, out);
        rt_text_puts(out, "\n");
        roff(c[i].about, out);
        rt_text_puts(out, "\n");
    }
    rt_text_puts(out, ".SH FLAGS\n");
    for (int i = 0; i < m; i++) {
        rt_text_puts(out, ".TP\n.B ");
        roff(f[i].name, out);
        if (f[i].value) rt_text_printf(out, " \\fI%s\\fR", f[i].value);
        rt_text_puts(out, "\n");
        roff(f[i].help, out);
        rt_text_printf(out, " (%s)\n", !strcmp(f[i].commands, "*") ? "every command" : f[i].commands + 1);
    }
}

static void roff_options(rt_text *out) {
    int n;
    const rt_option *o = rt_options(&n);
    const char *section = "";
    rt_text_puts(out, ".SH CONFIGURATION\nAn INI file; a comment has a line of its own. Each key may also be set by "
                      "\\fB\\-\\-set\\fR \\fIsection.key=value\\fR or by the variable RECTRAIN_SECTION_KEY.\n");
    for (int i = 0; i < n; i++) {
        if (strcmp(section, o[i].section) != 0) {
            section = o[i].section;
            rt_text_printf(out, ".SS [%s]\n", section);
            roff(rt_option_section_help(section), out);
            rt_text_puts(out, "\n");
        }
        rt_text expected = {0};
        rt_option_expected(&o[i], &expected);
        rt_text_printf(out, ".TP\n.B %s\n", o[i].key);
        roff(o[i].help, out);
        rt_text_puts(out, " Expected: ");
        roff(expected.data ? expected.data : "", out);
        rt_text_puts(out, ".");
        if (o[i].initial) {
            rt_text_puts(out, " Default: ");
            roff(o[i].initial, out);
            rt_text_puts(out, ".");
        }
        rt_text_puts(out, "\n");
        rt_text_free(&expected);
    }
}

void rt_help_man(rt_text *out) {
    rt_text_puts(out,
                 ".TH RECTRAIN 1 \"\" \"rectrain " RT_VERSION "\"\n.SH NAME\nrectrain \\- fine\\-tune BERT encoders on "
                 "labelled click / no\\-click pairs\n.SH SYNOPSIS\n.B rectrain \\-\\-config \\fIFILE\\fR\n.br\n"
                 ".B rectrain \\fICOMMAND\\fR [\\fIFLAG\\fR]...\n");
    roff_commands(out);
    roff_options(out);
    rt_text_puts(out,
                 ".SH EXIT STATUS\n0 ok, 1 a bug, 2 wrong command line, 65 bad data, 66 missing input, 69 device or "
                 "library unavailable, 74 input/output error, 75 stopped by a signal with a checkpoint safe on disk, "
                 "78 bad configuration.\n");
}

/* --- bash --------------------------------------------------------------------------------------------------------- */

void rt_help_completion(rt_text *out) {
    int n, m, k;
    const rt_command_row *c = rt_commands(&n);
    const rt_flag_row *f = rt_flags(&m);
    const rt_option *o = rt_options(&k);
    rt_text_puts(
        out,
        "# bash completions of rectrain: source <(rectrain help bash)\n"
        "_rectrain() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} flags\n"
        "    case $before in\n"
        "    --set) compopt -o nospace; COMPREPLY=($(compgen -S = -W '");
    for (int i = 0; i < k; i++) rt_text_printf(out, "%s%s.%s", i ? " " : "", o[i].section, o[i].key);
    rt_text_puts(out,
                 "' -- \"$word\")); return ;;\n    --format) COMPREPLY=($(compgen -W 'tsv jsonl table mind movielens' "
                 "-- \"$word\")); return ;;\n"
                 "    esac\n    if [[ $COMP_CWORD -eq 1 && $word != -* ]]; then\n        COMPREPLY=($(compgen -W '");
    for (int i = 0; i < n; i++) rt_text_printf(out, "%s ", c[i].name);
    rt_text_puts(out, "help' -- \"$word\"))\n        return\n    fi\n    case $command in\n");
    for (int i = n - 1; i >= 0; i--) {
        rt_text_printf(out, "    %s) flags='", i == 0 ? "*" : c[i].name); /* train is the default command */
        for (int j = 0; j < m; j++)
            if (rt_flag_belongs(&f[j], c[i].name)) rt_text_printf(out, "%s ", f[j].name);
        rt_text_puts(out, "--help' ;;\n");
    }
    rt_text_puts(out, "    esac\n    if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n"
                      "    else compopt -o default; fi\n}\ncomplete -F _rectrain rectrain\n");
}
