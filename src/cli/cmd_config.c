/* rectrain config: what the configuration resolves to, and from where. */
#include "../config/options.h"
#include "cli.h"
#include <string.h>

rt_status rt_cli_config(rt_cli *cli, const char *stored, size_t stored_size, const char *stored_name, rt_config **out) {
    rt_config_request request = {
        .path = cli->config,
        .sets = cli->sets,
        .n_sets = cli->n_sets,
        .environment = cli->environment,
        .program = cli->program,
        .stored = stored,
        .stored_size = stored_size,
        .stored_name = stored_name,
    };
    return rt_config_load(&request, cli->log, out);
}

/* Reads "key = value" lines back from the canonical text: JSON shows what a config file would. */
static void put_json(const rt_config *cfg, const rt_text *ini, rt_text *out) {
    char section[64] = "", name[160];
    bool first = true;
    rt_text_puts(out, "{");
    for (const char *line = ini->data; line && *line;) {
        size_t n = strcspn(line, "\n");
        const char *equal = memchr(line, '=', n);
        if (*line == '[') {
            snprintf(section, sizeof section, "%.*s", (int)(n - 2), line + 1);
        } else if (equal && *line != '#') {
            const char *value = equal + 1 + (equal[1] == ' ');
            snprintf(name, sizeof name, "%s.%.*s", section, (int)(equal - line - 1), line);
            rt_text_puts(out, first ? "\n  " : ",\n  ");
            first = false;
            rt_text_json_string(out, name, strlen(name));
            rt_text_puts(out, ": {\"value\": ");
            rt_text_json_string(out, value, (size_t)(line + n - value));
            rt_text_puts(out, ", \"origin\": ");
            rt_text_json_string(out, rt_config_origin(cfg, name), strlen(rt_config_origin(cfg, name)));
            rt_text_puts(out, "}");
        }
        line += n + (line[n] == '\n');
    }
    rt_text_puts(out, "\n}\n");
}

rt_status rt_cmd_config(rt_cli *cli) {
    rt_config *cfg = NULL;
    rt_text ini = {0}, json = {0};
    rt_status rc;
    rt_config_write_options options = {.classes = RT_CLASS_ALL,
                                       .comments = cli->defaults,
                                       .relative = cli->defaults,
                                       .origins = !cli->defaults && !cli->json,
                                       .unset_as_comments = !cli->json};
    if (cli->defaults)
        RT_GO(rt_config_load(&(rt_config_request){0}, NULL, &cfg));
    else
        RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg));
    RT_GO(rt_config_write(cfg, &options, &ini));
    if (cli->json) put_json(cfg, &ini, &json);
    RT_GO(rt_text_status(&json));
    const rt_text *text = cli->json ? &json : &ini;
    RT_GO(rt_cli_write(text->data, text->size));
done:
    rt_text_free(&ini);
    rt_text_free(&json);
    rt_config_free(cfg);
    return rc;
}
