#include "hub_cache.h"
#include "../base/file.h"
#include "../base/text.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* Names that the hub can have; anything else is a path alone, and cannot climb out of the cache. */
static bool name_ok(const char *name) {
    int slashes = 0;
    if (!*name || strlen(name) > 200 || strstr(name, "..") || strstr(name, "--")) return false;
    for (const char *s = name; *s; s++) {
        bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '-' ||
                     *s == '_' || *s == '.';
        if (*s == '/')
            slashes++;
        else if (!plain)
            return false;
    }
    return slashes <= 1 && name[0] != '/' && name[0] != '.' && name[strlen(name) - 1] != '/';
}

static const char *set(const char *variable) {
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

/* As huggingface_hub resolves it. NULL with RT_OK: no home. */
static rt_status cache_folder(char **out) {
    const char *hub = set("HF_HUB_CACHE"), *home = set("HF_HOME"), *xdg = set("XDG_CACHE_HOME");
    rt_text path = {0};
    rt_status rc = RT_OK;
    *out = NULL;
    if (!hub) hub = set("HUGGINGFACE_HUB_CACHE");
    if (hub)
        rt_text_puts(&path, hub);
    else if (home)
        rt_text_printf(&path, "%s/hub", home);
    else if (xdg)
        rt_text_printf(&path, "%s/huggingface/hub", xdg);
    else if (set("HOME"))
        rt_text_puts(&path, "~/.cache/huggingface/hub");
    if (path.size) rc = rt_path_expand(path.data, NULL, out);
    if (rc == RT_OK) rc = rt_text_status(&path);
    rt_text_free(&path);
    return rc;
}

/* refs/main holds the commit whose snapshot is current. */
static rt_status read_commit(const char *model, char commit[65]) {
    rt_status rc = RT_OK;
    char *data = NULL, *path = rt_path_join(model, "refs/main");
    size_t size = 0, n;
    commit[0] = '\0';
    if (!path) return rt_fail(RT_ENOMEM, "%s: out of memory", model);
    if (!rt_file_exists(path)) goto done;
    RT_GO(rt_file_read(path, 4096, &data, &size));
    n = strspn(data, "0123456789abcdefABCDEF");
    if (n < 1 || n > 64 || strspn(data + n, " \r\n") != size - n) {
        rc = rt_fail(RT_EDATA, "%s: expected one commit's hex digits; fetch the model again", path);
        goto done;
    }
    memcpy(commit, data, n);
    commit[n] = '\0';
done:
    free(data);
    free(path);
    return rc;
}

/* The only entry of `folder` whose name ends in `suffix`; count tells how many there are. */
static char *only_entry(const char *folder, const char *prefix, const char *suffix, int *count) {
    DIR *dir = opendir(folder);
    char *found = NULL;
    *count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t n = strlen(entry->d_name), m = strlen(suffix);
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
        if (n < m || strcmp(entry->d_name + n - m, suffix) != 0) continue;
        if (++*count == 1) found = rt_path_join(folder, entry->d_name);
    }
    if (dir) closedir(dir);
    return found;
}

static rt_status snapshot_of(const char *model, char **folder) {
    rt_status rc;
    char commit[65], *snapshots = rt_path_join(model, "snapshots");
    int count = 0;
    if (!snapshots) return rt_fail(RT_ENOMEM, "%s: out of memory", model);
    RT_GO(read_commit(model, commit));
    if (commit[0]) {
        *folder = rt_path_join(snapshots, commit);
        if (*folder && rt_is_folder(*folder)) goto done;
        free(*folder);
        *folder = NULL;
        rc = rt_fail(RT_EDATA, "%s: refs/main names snapshot %s, which is not there; fetch the model again", model,
                     commit);
        goto done;
    }
    *folder = only_entry(snapshots, "", "", &count);
    if (count > 1) {
        free(*folder);
        *folder = NULL;
        rc = rt_fail(RT_EDATA, "%s: %d snapshots and no refs/main that names one; give the snapshot's folder itself",
                     model, count);
    }
done:
    free(snapshots);
    return rc;
}

static rt_status find_in_cache(const char *cache, const char *name, char **folder) {
    rt_status rc = RT_OK;
    rt_text entry = {0};
    char *model = NULL;
    int count = 0;
    rt_text_puts(&entry, "models--");
    for (const char *s = name; *s; s++) rt_text_puts(&entry, *s == '/' ? "--" : (char[]){*s, 0});
    RT_GO(rt_text_status(&entry));
    model = rt_path_join(cache, entry.data);
    if (model && !rt_is_folder(model) && !strchr(name, '/')) {
        /* A bare name stands for ORG/name where one organisation's is here: "bert-base-uncased" is google-bert's now.
         */
        free(model);
        model = NULL;
        rt_text_clear(&entry);
        rt_text_printf(&entry, "--%s", name);
        RT_GO(rt_text_status(&entry));
        model = only_entry(cache, "models--", entry.data, &count);
        if (count > 1) {
            rc = rt_fail(RT_EDATA, "%s: %d organisations have a model \"%s\"; name one, as in ORG/%s", cache, count,
                         name, name);
            goto done;
        }
    }
    if (model && rt_is_folder(model)) RT_GO(snapshot_of(model, folder));
done:
    rt_text_free(&entry);
    free(model);
    return rc;
}

static rt_status find_in_models(const char *models, const char *name, char **folder) {
    const char *names[2] = {name, rt_path_basename(name)};
    char *base = NULL;
    RT_TRY(rt_path_expand(models, NULL, &base));
    for (int i = 0; i < 2 && !*folder; i++) {
        char *path = rt_path_join(base, names[i]);
        if (path && rt_is_folder(path))
            *folder = path;
        else
            free(path);
    }
    free(base);
    return RT_OK;
}

rt_status rt_hub_find(const char *name, char **folder) {
    rt_status rc = RT_OK;
    char *cache = NULL;
    *folder = NULL;
    if (!name_ok(name)) return RT_OK;
    RT_GO(cache_folder(&cache));
    if (cache && rt_is_folder(cache)) RT_GO(find_in_cache(cache, name, folder));
    if (!*folder && set("RECTRAIN_MODELS")) RT_GO(find_in_models(set("RECTRAIN_MODELS"), name, folder));
done:
    free(cache);
    return rc;
}
