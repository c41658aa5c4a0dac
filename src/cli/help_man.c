/* Man pages in roff, from the tables of commands, flags and options: rectrain.1, and one for each command. */
#include "../config/options.h"
#include "args.h"
#include <ctype.h>
#include <string.h>

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

static void put_title(const char *name, const char *what, rt_text *out) {
    rt_text_puts(out, ".TH RECTRAIN");
    if (name) rt_text_puts(out, "\\-");
    for (const char *p = name ? name : ""; *p; p++) {
        char upper = (char)toupper((unsigned char)*p);
        rt_text_append(out, &upper, 1);
    }
    rt_text_printf(out, " 1 \"\" \"rectrain %s\"\n.SH NAME\nrectrain%s%s \\- ", RT_VERSION, name ? "\\-" : "",
                   name ? name : "");
    roff(what, out);
    rt_text_puts(out, "\n");
}

static void put_flag(const rt_flag_row *f, rt_text *out) {
    rt_text_puts(out, ".TP\n.B ");
    if (f->letter) rt_text_printf(out, "\\-%c, ", f->letter);
    roff(f->name, out);
    if (f->value) {
        rt_text_puts(out, " \\fI");
        roff(f->value, out);
        rt_text_puts(out, "\\fR");
    }
    rt_text_puts(out, "\n");
    roff(f->help, out);
}

static void put_codes(rt_text *out) {
    rt_text_puts(out,
                 ".SH EXIT STATUS\n0 ok, 1 a bug, 2 wrong command line, 65 bad data, 66 missing input, 69 device or "
                 "library unavailable, 74 input/output error, 75 stopped by a signal with a checkpoint safe on disk, "
                 "78 bad configuration.\n");
}

static void put_commands(rt_text *out) {
    int n;
    const rt_command_row *c = rt_commands(&n);
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
}

static void put_flags(rt_text *out) {
    int n;
    const rt_flag_row *f = rt_flags(&n);
    rt_text_puts(out, ".SH FLAGS\n");
    for (int i = 0; i < n; i++) {
        put_flag(&f[i], out);
        size_t size = strlen(f[i].commands);
        if (!strcmp(f[i].commands, "*"))
            rt_text_puts(out, " (every command)\n");
        else
            rt_text_printf(out, " (%.*s)\n", (int)size - 2, f[i].commands + 1);
    }
}

static void put_options(rt_text *out) {
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

static void see_also(const char *but, rt_text *out) {
    int n;
    const rt_command_row *c = rt_commands(&n);
    rt_text_puts(out, ".SH SEE ALSO\n");
    if (but) rt_text_printf(out, ".BR rectrain (1)%s\n", n > 1 ? "," : "");
    for (int i = 0, left = n - (but != NULL); i < n; i++) {
        if (but && !strcmp(c[i].name, but)) continue;
        rt_text_printf(out, ".BR rectrain\\-%s (1)%s\n", c[i].name, --left ? "," : "");
    }
}

static void man_command(const rt_command_row *c, rt_text *out) {
    int n;
    const rt_flag_row *f = rt_flags(&n);
    put_title(c->name, c->line, out);
    rt_text_printf(out, ".SH SYNOPSIS\n.B rectrain %s\n", c->name);
    roff(c->usage, out);
    rt_text_puts(out, "\n.SH DESCRIPTION\n");
    roff(c->about, out);
    rt_text_puts(out, "\n.SH FLAGS\n");
    for (int common = 0; common < 2; common++)
        for (int i = 0; i < n; i++) {
            bool every = !strcmp(f[i].commands, "*");
            if (!rt_flag_belongs(&f[i], c->name) || every != common) continue;
            put_flag(&f[i], out);
            rt_text_puts(out, "\n");
        }
    rt_text_puts(out, ".SH EXAMPLES\n");
    for (int i = 0; c->examples[i]; i++) {
        rt_text_puts(out, ".PP\n.nf\n.RS\n");
        roff(c->examples[i], out);
        rt_text_puts(out, "\n.RE\n.fi\n");
    }
    put_codes(out);
    see_also(c->name, out);
}

void rt_help_man(const rt_command_row *command, rt_text *out) {
    if (command) {
        man_command(command, out);
        return;
    }
    put_title(NULL, "fine-tune BERT encoders on labelled click / no-click pairs", out);
    rt_text_puts(out, ".SH SYNOPSIS\n.B rectrain \\-\\-config \\fIFILE\\fR\n.br\n"
                      ".B rectrain \\fICOMMAND\\fR [\\fIFLAG\\fR]...\n");
    put_commands(out);
    put_flags(out);
    put_options(out);
    put_codes(out);
    see_also(NULL, out);
}
