/* The configuration as a file, as a digest, and as a list of differences. */
#include "origins.h"
#include "value.h"
#include <string.h>

/* "# " and the help, folded at 110 columns. */
static void put_comment(const char *text, rt_text *out) {
    enum { WIDTH = 110 };
    while (*text) {
        size_t n = strlen(text);
        if (n > WIDTH) {
            for (n = WIDTH; n > 1 && text[n] != ' ';) n--;
        }
        rt_text_puts(out, "# ");
        rt_text_append(out, text, n);
        rt_text_puts(out, "\n");
        text += n + strspn(text + n, " ");
    }
}

static void put_help(const rt_option *o, rt_text *out) {
    rt_text line = {0};
    rt_text_printf(&line, "%s ", o->help);
    rt_text_puts(&line, "Expected: ");
    rt_option_expected(o, &line);
    rt_text_puts(&line, ".");
    if (o->initial) rt_text_printf(&line, " Default: %s.", o->initial);
    if (line.data) put_comment(line.data, out);
    rt_text_free(&line);
}

rt_status rt_config_write(const rt_config *cfg, const rt_config_write_options *options, rt_text *out) {
    int n;
    const rt_option *table = rt_options(&n);
    const char *section = "";
    rt_text value = {0};
    for (int i = 0; i < n; i++) {
        const rt_option *o = &table[i];
        if (!(o->classes & options->classes)) continue;
        rt_text_clear(&value);
        bool is_set = rt_value_format(o, cfg, !options->relative, &value);
        if (options->relative && (o->classes & RT_CLASS_PLACE) && !cfg->origins->text[i] &&
            (o->type == RT_OPTION_NAME || o->type == RT_OPTION_PATH))
            is_set = false;
        if (!is_set && !options->unset_as_comments) continue;
        if (strcmp(section, o->section) != 0) {
            if (*section) rt_text_puts(out, "\n");
            section = o->section;
            rt_text_printf(out, "[%s]\n", section);
        } else if (options->comments)
            rt_text_puts(out, "\n");
        if (options->comments) put_help(o, out);
        if (options->origins) {
            char name[64];
            rt_option_name(o, name);
            rt_text_printf(out, "# from %s\n", rt_config_origin(cfg, name));
        }
        const char *text = value.data ? value.data : "";
        rt_text_printf(out, "%s%s =%s%s\n", is_set ? "" : "# ", o->key, *text ? " " : "", text);
    }
    rt_status rc = value.failed ? RT_ENOMEM : rt_text_status(out);
    rt_text_free(&value);
    return rc == RT_ENOMEM ? rt_fail(RT_ENOMEM, "configuration: out of memory") : rc;
}

static bool format(const rt_option *o, const rt_config *cfg, rt_text *out) {
    rt_text_clear(out);
    rt_text_puts(out, "");
    return rt_value_format(o, cfg, true, out);
}

static rt_status defaults(rt_config **out) {
    return rt_config_load(&(rt_config_request){0}, NULL, out);
}

rt_digest128 rt_config_meaning_digest(const rt_config *cfg) {
    int n;
    const rt_option *table = rt_options(&n);
    rt_digest128 digest = {0};
    rt_text mine = {0}, theirs = {0};
    rt_config *plain = NULL;
    rt_digest *d = rt_digest_new();
    if (!d || defaults(&plain) != RT_OK) goto done;
    for (int i = 0; i < n; i++) {
        if (!(table[i].classes & RT_CLASS_MEANING)) continue;
        bool a = format(&table[i], cfg, &mine), b = format(&table[i], plain, &theirs);
        if (a == b && rt_streq(mine.data, theirs.data)) continue;
        rt_digest_string(d, table[i].section);
        rt_digest_string(d, table[i].key);
        rt_digest_string(d, a ? mine.data : NULL);
    }
    digest = rt_digest_end(d);
done:
    rt_text_free(&mine);
    rt_text_free(&theirs);
    rt_config_free(plain);
    rt_digest_free(d);
    return digest;
}

rt_status rt_config_meaning_differences(const rt_config *cfg, const char *stored, size_t size, const char *name,
                                        rt_text *out) {
    int n;
    const rt_option *table = rt_options(&n);
    rt_text mine = {0}, theirs = {0};
    rt_config *other = NULL;
    RT_TRY(rt_config_from_ini_bytes(stored, size, name, &other));
    for (int i = 0; i < n; i++) {
        if (!(table[i].classes & RT_CLASS_MEANING)) continue;
        bool a = format(&table[i], cfg, &mine), b = format(&table[i], other, &theirs);
        if (a == b && rt_streq(mine.data, theirs.data)) continue;
        rt_text_printf(out, "%s%s.%s = %s (stored: %s)", out->size ? "; " : "", table[i].section, table[i].key,
                       a ? mine.data : "unset", b ? theirs.data : "unset");
    }
    rt_text_free(&mine);
    rt_text_free(&theirs);
    rt_config_free(other);
    return rt_text_status(out);
}
