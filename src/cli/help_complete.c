/* Completions for bash, zsh and fish, from the tables of commands, flags and options. */
#include "../config/options.h"
#include "args.h"
#include <stdio.h>
#include <string.h>

/* What may stand after a flag. */
typedef enum { TAKES_NOTHING, TAKES_FILE, TAKES_FOLDER, TAKES_WORDS, TAKES_OPTION, TAKES_TEXT } taking;

static bool are_words(const char *text, size_t n) {
    return n && memchr(text, '|', n) && strspn(text, "abcdefghijklmnopqrstuvwxyz|-") >= n;
}

/* `words`: "tsv|jsonl", from the flag's row or, where commands differ, from the command's usage. */
static taking takes(const rt_flag_row *f, const rt_command_row *c, char words[64]) {
    char name[64];
    words[0] = 0;
    if (!f->value) return TAKES_NOTHING;
    if (f->type == RT_FLAG_APPEND) return TAKES_OPTION;
    if (are_words(f->value, strlen(f->value))) return snprintf(words, 64, "%s", f->value), TAKES_WORDS;
    snprintf(name, sizeof name, "%s ", f->name);
    const char *at = strstr(c->usage, name);
    size_t n = at ? strcspn(at += strlen(name), "] ") : 0;
    if (n < 64 && are_words(at, n)) return snprintf(words, 64, "%.*s", (int)n, at), TAKES_WORDS;
    if (strstr(f->value, "DIR")) return TAKES_FOLDER;
    return !strncmp(f->value, "FILE", 4) || !strcmp(f->value, "PATH") ? TAKES_FILE : TAKES_TEXT;
}

/* Within single quotes, each of `special` behind a backslash; a quote as the shell wants it. */
static void quoted(const char *text, const char *special, const char *quote, rt_text *out) {
    for (const char *p = text; *p; p++) {
        if (*p == '\'') {
            rt_text_puts(out, quote);
            continue;
        }
        if (strchr(special, *p)) rt_text_puts(out, "\\");
        rt_text_append(out, p, 1);
    }
}

static void with_blanks(const char *words, rt_text *out) {
    for (const char *p = words; *p; p++) rt_text_append(out, *p == '|' ? " " : p, 1);
}

static void put_options(const char *between, const char *after, rt_text *out) {
    int n;
    const rt_option *o = rt_options(&n);
    for (int i = 0; i < n; i++) rt_text_printf(out, "%s%s.%s%s", i ? between : "", o[i].section, o[i].key, after);
}

/* --- bash --------------------------------------------------------------------------------------------------------- */

static void bash(rt_text *out) {
    int n, m;
    char words[64];
    const rt_command_row *c = rt_commands(&n);
    const rt_flag_row *f = rt_flags(&m);
    rt_text_puts(
        out,
        "# bash completions of rectrain: source <(rectrain help bash)\n"
        "_rectrain() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} flags\n"
        "    case \"$command $before\" in\n"
        "    *' --set') compopt -o nospace; COMPREPLY=($(compgen -S = -W '");
    put_options(" ", "", out);
    rt_text_puts(out, "' -- \"$word\")); return ;;\n");
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++)
            if (rt_flag_belongs(&f[j], c[i].name) && takes(&f[j], &c[i], words) == TAKES_WORDS) {
                rt_text_printf(out, "    '%s %s') COMPREPLY=($(compgen -W '", c[i].name, f[j].name);
                with_blanks(words, out);
                rt_text_puts(out, "' -- \"$word\")); return ;;\n");
            }
    rt_text_puts(out,
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

/* --- zsh ---------------------------------------------------------------------------------------------------------- */

static void zsh_flag(const rt_flag_row *f, const rt_command_row *c, rt_text *out) {
    char words[64];
    taking kind = takes(f, c, words);
    rt_text_puts(out, " \\\n            ");
    if (f->letter) rt_text_printf(out, "{-%c,%s}", f->letter, f->name);
    rt_text_puts(out, "'");
    if (!f->letter) rt_text_printf(out, "%s%s", kind == TAKES_OPTION ? "*" : "", f->name);
    rt_text_puts(out, "[");
    quoted(f->help, "[]\\", "'\\''", out);
    rt_text_puts(out, "]");
    if (kind != TAKES_NOTHING) {
        rt_text_puts(out, ":");
        quoted(f->value, ":\\", "'\\''", out);
        rt_text_puts(out, ":");
    }
    if (kind == TAKES_FILE) rt_text_puts(out, "_files");
    if (kind == TAKES_FOLDER) rt_text_puts(out, "_files -/");
    if (kind == TAKES_OPTION) rt_text_puts(out, "_rectrain_options");
    if (kind == TAKES_TEXT) rt_text_puts(out, " ");
    if (kind == TAKES_WORDS) {
        rt_text_puts(out, "(");
        with_blanks(words, out);
        rt_text_puts(out, ")");
    }
    rt_text_puts(out, "'");
}

static void zsh(rt_text *out) {
    int n, m;
    const rt_command_row *c = rt_commands(&n);
    const rt_flag_row *f = rt_flags(&m);
    rt_text_puts(out, "#compdef rectrain\n# zsh completions of rectrain: in a folder of $fpath as _rectrain\n"
                      "_rectrain_options() {\n    compadd -S '' -- \\\n        ");
    put_options(" \\\n        ", "=", out);
    rt_text_puts(out, "\n}\n_rectrain() {\n    local -a commands\n    commands=(\n");
    for (int i = 0; i < n; i++) {
        rt_text_printf(out, "        '%s:", c[i].name);
        quoted(c[i].line, ":\\", "'\\''", out);
        rt_text_puts(out, "'\n");
    }
    rt_text_puts(out, "        'help:help, man pages, completions'\n    )\n"
                      "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n"
                      "        _describe command commands\n        return\n    fi\n    local command=$words[2]\n"
                      "    if [[ $command != -* ]]; then\n        shift words\n        (( CURRENT-- ))\n    fi\n"
                      "    case $command in\n");
    for (int i = n - 1; i >= 0; i--) {
        rt_text_printf(out, "    %s)\n        _arguments {-h,--help}'[help]'", i == 0 ? "*" : c[i].name);
        for (int j = 0; j < m; j++)
            if (rt_flag_belongs(&f[j], c[i].name)) zsh_flag(&f[j], &c[i], out);
        if (c[i].operand) rt_text_puts(out, " \\\n            '*:FILE:_files'");
        rt_text_puts(out, "\n        ;;\n");
    }
    /* Sourced by hand it defines; called by the completion system it completes. */
    rt_text_puts(out, "    esac\n}\nif [[ $funcstack[1] == _rectrain ]]; then _rectrain \"$@\"\n"
                      "elif (( $+functions[compdef] )); then compdef _rectrain rectrain\nfi\n");
}

/* --- fish --------------------------------------------------------------------------------------------------------- */

static void fish_flag(const rt_flag_row *f, const rt_command_row *c, const char *when, rt_text *out) {
    char words[64];
    taking kind = takes(f, c, words);
    rt_text_printf(out, "complete -c rectrain -n '%s' -l %s", when, f->name + 2);
    if (f->letter) rt_text_printf(out, " -s %c", f->letter);
    if (kind == TAKES_FILE) rt_text_puts(out, " -r -F");
    if (kind == TAKES_FOLDER) rt_text_puts(out, " -x -a '(__fish_complete_directories)'");
    if (kind == TAKES_TEXT) rt_text_puts(out, " -x");
    if (kind == TAKES_OPTION) rt_text_puts(out, " -x -a '$__rectrain_options'");
    if (kind == TAKES_WORDS) {
        rt_text_puts(out, " -x -a '");
        with_blanks(words, out);
        rt_text_puts(out, "'");
    }
    rt_text_puts(out, " -d '");
    quoted(f->help, "\\", "\\'", out);
    rt_text_puts(out, "'\n");
}

static void fish(rt_text *out) {
    int n, m;
    const rt_command_row *c = rt_commands(&n);
    const rt_flag_row *f = rt_flags(&m);
    rt_text when = {0}, others = {0};
    for (int i = 1; i < n; i++) rt_text_printf(&others, " %s", c[i].name);
    rt_text_puts(out, "# fish completions of rectrain: rectrain help fish | source\nset -g __rectrain_options ");
    put_options(" ", "=", out);
    rt_text_puts(out, "\ncomplete -c rectrain -f\n");
    for (int i = 0; i < n; i++) {
        rt_text_printf(out, "complete -c rectrain -n __fish_use_subcommand -a %s -d '", c[i].name);
        quoted(c[i].line, "\\", "\\'", out);
        rt_text_puts(out, "'\n");
    }
    rt_text_puts(out, "complete -c rectrain -n __fish_use_subcommand -a help -d 'help, man pages, completions'\n"
                      "complete -c rectrain -l help -s h -d help\n");
    for (int i = 0; i < n; i++) {
        rt_text_clear(&when);
        if (i == 0)
            rt_text_printf(&when, "not __fish_seen_subcommand_from help%s", others.data ? others.data : "");
        else
            rt_text_printf(&when, "__fish_seen_subcommand_from %s", c[i].name);
        if (rt_text_status(&when) != RT_OK) out->failed = true;
        for (int j = 0; j < m && when.data; j++)
            if (rt_flag_belongs(&f[j], c[i].name)) fish_flag(&f[j], &c[i], when.data, out);
        if (c[i].operand) rt_text_printf(out, "complete -c rectrain -n '%s' -F\n", when.data ? when.data : "");
    }
    rt_text_free(&when);
    rt_text_free(&others);
}

void rt_help_completion(rt_todo shell, rt_text *out) {
    if (shell == RT_DO_BASH) bash(out);
    if (shell == RT_DO_ZSH) zsh(out);
    if (shell == RT_DO_FISH) fish(out);
}
