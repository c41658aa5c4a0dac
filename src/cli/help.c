/* Help, from the tables of commands and flags. */
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
    rt_text_printf(out, "  %-10s %s\n", "help", "this text; help COMMAND; help man [COMMAND]; help bash, zsh, fish");
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

/* --- for a window --------------------------------------------------------------------------------------------------
 */

/* Where the text after the name of a flag or a command begins: behind the last of two blanks or more. */
static size_t column_of(const char *line, size_t n) {
    size_t at = strspn(line, " ");
    if (at == 0) return 0;
    for (size_t i = at; i + 2 < n; i++)
        if (line[i] == ' ' && line[i + 1] == ' ') {
            while (i < n && line[i] == ' ') i++;
            return i;
        }
    return at;
}

/* The words of line[0..n), broken before `columns`; further lines begin at `indent`. */
static void put_words(const char *line, size_t n, size_t indent, size_t columns, rt_text *out) {
    size_t at = 0;
    for (size_t i = 0; i < n;) {
        size_t blanks = strspn(line + i, " "), word = strcspn(line + i + blanks, " \n");
        if (i + blanks >= n) break;
        if (at > indent && at + blanks + word > columns) {
            rt_text_printf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else {
            rt_text_append(out, line + i, blanks);
            at += blanks;
        }
        rt_text_append(out, line + i + blanks, word);
        at += word;
        i += blanks + word;
    }
    rt_text_puts(out, "\n");
}

static bool is_plain(const char *line) {
    return *line && *line != ' ' && *line != '\n';
}

/* Lines without indent are one paragraph; returns what follows it. */
static const char *put_paragraph(const char *line, size_t columns, rt_text *out) {
    rt_text whole = {0};
    size_t indent = strncmp(line, "Usage:", 6) == 0 ? 4 : 0;
    while (is_plain(line)) {
        size_t n = strcspn(line, "\n");
        if (whole.size) rt_text_puts(&whole, " ");
        rt_text_append(&whole, line, n);
        line += n + (line[n] == '\n');
    }
    if (whole.data) put_words(whole.data, whole.size, indent, columns, out);
    if (whole.failed) out->failed = true;
    rt_text_free(&whole);
    return line;
}

void rt_help_fold(const char *text, int columns, rt_text *out) {
    enum { NARROW = 40, ROOM = 24, LEFT = 4 };
    size_t width = columns > NARROW ? (size_t)columns : NARROW;
    bool example = false;
    for (const char *line = text; *line;) {
        if (is_plain(line)) {
            example = strncmp(line, "Example", 7) == 0;
            line = put_paragraph(line, width, out);
            continue;
        }
        size_t n = strcspn(line, "\n"), indent = column_of(line, n);
        example = example && n > 0;
        if (example)
            rt_text_append(out, line, n + (line[n] == '\n'));
        else /* a column that leaves no room for words is none */
            put_words(line, n, indent + ROOM > width ? LEFT : indent, width, out);
        line += n + (line[n] == '\n');
    }
}
