/* Layers of values: defaults, a checkpoint, a file, the environment, flags; the last one wins and leaves its name. */
#include "config.h"
#include "../base/file.h"
#include "ini.h"
#include "origins.h"
#include "value.h"
#include <stdlib.h>
#include <string.h>

/* --- the struct and where its values came from -------------------------------------------------------------------- */

void rt_config_free(rt_config *cfg) {
    if (!cfg) return;
    int n;
    const rt_option *options = rt_options(&n);
    for (int i = 0; i < n; i++) rt_value_free(&options[i], cfg);
    if (cfg->origins)
        for (int i = 0; i < n; i++) free(cfg->origins->text[i]);
    free(cfg->origins);
    free(cfg->path);
    free(cfg);
}

static rt_status new_config(rt_config **out) {
    int n;
    const rt_option *options = rt_options(&n);
    rt_config *cfg = calloc(1, sizeof *cfg);
    rt_status rc = RT_OK;
    if (!cfg) return rt_fail(RT_ENOMEM, "configuration: out of memory");
    for (int i = 0; i < n; i++) rt_value_clear(&options[i], cfg);
    cfg->origins = calloc(1, sizeof *cfg->origins + (size_t)n * sizeof(char *));
    if (cfg->origins)
        cfg->origins->n = n;
    else
        rc = rt_fail(RT_ENOMEM, "configuration: out of memory");
    for (int i = 0; i < n && rc == RT_OK; i++) {
        char name[64];
        rt_option_name(&options[i], name);
        if (!options[i].initial) continue;
        rc = rt_value_parse(&options[i], options[i].initial, &(rt_value_source){name, NULL, RT_EINTERNAL}, cfg);
    }
    if (rc != RT_OK) {
        rt_config_free(cfg);
        return rc;
    }
    *out = cfg;
    return RT_OK;
}

static const rt_option *find_by_name(const char *name, int *index) {
    char section[32];
    const char *dot = name ? strchr(name, '.') : NULL;
    if (!dot || (size_t)(dot - name) >= sizeof section) return NULL;
    memcpy(section, name, (size_t)(dot - name));
    section[dot - name] = 0;
    const rt_option *o = rt_option_find(section, dot + 1);
    if (o) *index = (int)(o - rt_options(NULL));
    return o;
}

bool rt_config_is_set(const rt_config *cfg, const char *name) {
    int i = 0;
    return find_by_name(name, &i) && cfg->origins->text[i];
}

const char *rt_config_origin(const rt_config *cfg, const char *name) {
    int i = 0;
    if (!find_by_name(name, &i)) return "";
    return cfg->origins->text[i] ? cfg->origins->text[i] : "default";
}

static rt_status set(rt_config *cfg, const rt_option *o, const char *text, const char *label, const char *origin,
                     const char *base, rt_status status) {
    char **slot = &cfg->origins->text[o - rt_options(NULL)];
    RT_TRY(rt_value_parse(o, text, &(rt_value_source){label, base, status}, cfg));
    free(*slot);
    *slot = rt_strdup(origin);
    return *slot ? RT_OK : rt_fail(RT_ENOMEM, "configuration: out of memory");
}

/* --- one layer after the other ------------------------------------------------------------------------------------ */

static rt_status unknown_key(const char *where, const rt_ini_entry *e, rt_status status) {
    const char *section = e->section, *key = e->key;
    rt_text hint = {0};
    rt_status rc;
    if (!rt_option_section_exists(section)) {
        /* A section that is not ours, but a key that is: say both. */
        rt_option_section_hint(section, &hint);
        rt_option_hint_known(NULL, key, e->value, false, &hint);
        rc = rt_fail(status, "%s: no section [%s]%s", where, section, hint.data ? hint.data : "");
    } else {
        rt_option_hint_value(section, key, e->value, false, &hint);
        rc = rt_fail(status, "%s: no option %s.%s%s", where, section, key, hint.data ? hint.data : "");
    }
    rt_text_free(&hint);
    return rc;
}

/* allowed: classes of options that the file may set; 0: all. */
static rt_status apply_ini(rt_config *cfg, const char *bytes, size_t size, const char *name, const char *base,
                           rt_status status, unsigned allowed) {
    rt_ini ini = {0};
    rt_text where = {0}, label = {0};
    rt_status rc;
    RT_GO(rt_ini_parse(bytes, size, name, status, &ini));
    for (int i = 0; i < ini.n; i++) {
        const rt_ini_entry *e = &ini.entries[i];
        const rt_option *o = rt_option_find(e->section, e->key);
        rt_text_clear(&where);
        rt_text_clear(&label);
        rt_text_printf(&where, "%s:%d", name, e->line);
        rt_text_printf(&label, "%s: %s.%s", where.data, e->section, e->key);
        RT_GO(rt_text_status(&where));
        RT_GO(rt_text_status(&label));
        if (!o) {
            rc = unknown_key(where.data, e, status);
            goto done;
        }
        if (allowed && !(o->classes & allowed)) {
            rc =
                rt_fail(status, "%s: a checkpoint's configuration holds no such key; the file was altered", label.data);
            goto done;
        }
        RT_GO(set(cfg, o, e->value, label.data, where.data, base, status));
    }
done:
    rt_text_free(&where);
    rt_text_free(&label);
    rt_ini_free(&ini);
    return rc;
}

static const char *environment_get(const char *const *environment, const char *name) {
    size_t n = strlen(name);
    for (; environment && *environment; environment++)
        if (!strncmp(*environment, name, n) && (*environment)[n] == '=') return *environment + n + 1;
    return NULL;
}

static rt_status apply_file(rt_config *cfg, const rt_config_request *q, rt_log *log) {
    char *bytes = NULL, *base = NULL;
    size_t size = 0;
    rt_status rc;
    RT_GO(rt_config_search(q->path, environment_get(q->environment, "RECTRAIN_CONFIG_PATH"), q->program, &cfg->path));
    rc = rt_file_read(cfg->path, RT_INI_MAX_BYTES, &bytes, &size);
    if (rc == RT_EDATA) {
        rt_error error = *rt_error_get();
        rc = rt_fail(RT_ECONFIG, "%s", error.text);
    }
    if (rc != RT_OK) goto done;
    rt_info(log, "configuration: %s", cfg->path);
    base = rt_path_dirname(cfg->path);
    if (!base) {
        rc = rt_fail(RT_ENOMEM, "configuration: out of memory");
        goto done;
    }
    /* "." as a base would only put "./" before every path in messages. */
    rc = apply_ini(cfg, bytes, size, cfg->path, strcmp(base, ".") ? base : NULL, RT_ECONFIG, 0);
done:
    free(base);
    free(bytes);
    return rc;
}

/* Variables that rectrain reads and that are no options. */
static bool is_other_variable(const char *name, size_t n) {
    static const char *const known[] = {"RECTRAIN_ISA", "RECTRAIN_CONFIG_PATH", "RECTRAIN_MODELS",
                                        "RECTRAIN_PROGRESS_SECONDS", "RECTRAIN_RUN_TOKEN"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i]) == n && !strncmp(known[i], name, n)) return true;
    return false;
}

static void warn_unknown_variable(const char *name, rt_log *log) {
    char names[256][80];
    const char *pointers[256];
    int n, m = 0;
    const rt_option *options = rt_options(&n);
    for (int i = 0; i < n && m < 256; i++) {
        rt_option_variable(&options[i], names[m]);
        pointers[m] = names[m];
        m++;
    }
    rt_text hint = {0};
    /* RECTRAIN_LEARNING_RATE; else the prefix that all have makes unlike names look near. */
    if (!rt_option_hint_known(NULL, name + 9, NULL, true, &hint)) {
        const char *near = strlen(name) < 80 ? rt_did_you_mean(name, pointers, m) : NULL;
        if (near) rt_text_printf(&hint, "; did you mean %s?", near);
    }
    rt_warn(log, "%.100s is set and is no option of rectrain; it changes nothing%s", name, hint.data ? hint.data : "");
    rt_text_free(&hint);
}

static rt_status apply_environment(rt_config *cfg, const char *const *environment, rt_log *log) {
    int n;
    const rt_option *options = rt_options(&n);
    for (; environment && *environment; environment++) {
        const char *entry = *environment, *equal = strchr(entry, '=');
        if (!equal || strncmp(entry, "RECTRAIN_", 9) != 0) continue;
        size_t length = (size_t)(equal - entry);
        const rt_option *found = NULL;
        char variable[80] = "";
        for (int i = 0; i < n && !found; i++) {
            rt_option_variable(&options[i], variable);
            if (strlen(variable) == length && !strncmp(variable, entry, length)) found = &options[i];
        }
        if (found) {
            RT_TRY(set(cfg, found, equal + 1, variable, variable, NULL, RT_ECONFIG));
        } else if (!is_other_variable(entry, length)) {
            char *name = rt_strndup(entry, length);
            if (name) warn_unknown_variable(name, log);
            free(name);
        }
    }
    return RT_OK;
}

static rt_status apply_set(rt_config *cfg, const char *text) {
    rt_text label = {0}, hint = {0};
    const char *equal = strchr(text, '=');
    char *name = equal ? rt_strndup(text, (size_t)(equal - text)) : NULL;
    int index = 0;
    rt_status rc = RT_OK;
    if (!equal || equal == text) {
        rc = rt_fail(RT_EUSAGE, "--set %s: expected section.key=value, as in --set train.batch_size=32", text);
        goto done;
    }
    const rt_option *o = find_by_name(name, &index);
    rt_text_printf(&label, "--set %s", name ? name : "");
    if (!name || rt_text_status(&label) != RT_OK) {
        rc = rt_fail(RT_ENOMEM, "--set: out of memory");
    } else if (o) {
        rc = set(cfg, o, equal + 1, label.data, "--set", NULL, RT_ECONFIG);
    } else {
        const char *dot = strchr(name, '.');
        char *section = dot ? rt_strndup(name, (size_t)(dot - name)) : NULL;
        bool known = section && rt_option_section_exists(section);
        if (dot && !known) rt_option_section_hint(section ? section : "", &hint);
        if (dot && !known)
            rt_option_hint_known(NULL, dot + 1, equal + 1, true, &hint);
        else
            rt_option_hint_value(section, dot ? dot + 1 : name, equal + 1, true, &hint);
        rc = rt_fail(RT_ECONFIG, "%s: no such option%s%s", label.data, hint.data ? hint.data : "",
                     hint.data ? "" : "; `rectrain config` lists them");
        free(section);
    }
done:
    rt_text_free(&label);
    rt_text_free(&hint);
    free(name);
    return rc;
}

/* --- resolving ---------------------------------------------------------------------------------------------------- */

static rt_status name_the_run(rt_config *cfg) {
    if (cfg->run.name) return RT_OK;
    const char *base = cfg->path ? rt_path_basename(cfg->path) : "run";
    size_t n = strlen(base);
    if (n > 4 && !strcmp(base + n - 4, ".ini")) n -= 4;
    cfg->run.name = rt_strndup(base, n > 200 ? 200 : n);
    return cfg->run.name ? RT_OK : rt_fail(RT_ENOMEM, "run.name: out of memory");
}

/* The two texts' defaults belong together: whoever names the first alone has single texts. */
static void settle_texts(rt_config *cfg) {
    if (!rt_config_is_set(cfg, "data.text_a") || rt_config_is_set(cfg, "data.text_b")) return;
    free(cfg->data.text_b);
    cfg->data.text_b = NULL;
}

static rt_status expand_files(rt_config *cfg) {
    rt_config_list *lists[] = {&cfg->data.train, &cfg->data.dev, &cfg->data.test};
    const char *const names[] = {"data.train", "data.dev", "data.test"};
    for (int i = 0; i < 3; i++) {
        char label[512];
        const char *origin = rt_config_origin(cfg, names[i]);
        snprintf(label, sizeof label, "%s: %s", origin, names[i]);
        RT_TRY(rt_config_expand_globs(label, lists[i]));
    }
    return RT_OK;
}

/* Defaults that hang on train.objective: vectors are means of tokens, and judged by how they find. */
static rt_status suit_vectors(rt_config *cfg) {
    if (cfg->train.objective != RT_CFG_OBJECTIVE_CONTRASTIVE) return RT_OK;
    if (!rt_config_is_set(cfg, "model.pooling")) cfg->model.pooling = RT_CFG_POOLING_MEAN;
    if (rt_config_is_set(cfg, "eval.metric")) return RT_OK;
    free(cfg->eval.metric);
    cfg->eval.metric = rt_strdup("recall@20");
    return cfg->eval.metric ? RT_OK : rt_fail(RT_ENOMEM, "configuration: out of memory");
}

rt_status rt_config_load(const rt_config_request *q, rt_log *log, rt_config **out) {
    rt_config *cfg = NULL;
    rt_status rc;
    *out = NULL;
    RT_GO(new_config(&cfg));
    if (q->stored)
        RT_GO(apply_ini(cfg, q->stored, q->stored_size, q->stored_name ? q->stored_name : "config.ini", NULL, RT_EDATA,
                        RT_CLASS_MEANING | RT_CLASS_COLUMNS));
    if (q->path) RT_GO(apply_file(cfg, q, log));
    RT_GO(apply_environment(cfg, q->environment, log));
    for (int i = 0; i < q->n_sets; i++) RT_GO(apply_set(cfg, q->sets[i]));
    settle_texts(cfg);
    RT_GO(suit_vectors(cfg));
    RT_GO(name_the_run(cfg));
    RT_GO(rt_config_check(cfg));
    RT_GO(expand_files(cfg));
    *out = cfg;
    cfg = NULL;
done:
    rt_config_free(cfg);
    return rc;
}

rt_status rt_config_from_ini_bytes(const char *ini, size_t size, const char *name, rt_config **out) {
    return rt_config_load(&(rt_config_request){.stored = ini, .stored_size = size, .stored_name = name}, NULL, out);
}
