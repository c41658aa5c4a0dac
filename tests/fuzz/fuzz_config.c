/* INI: any bytes as a configuration file and as the one that a checkpoint holds. What is taken is written in three
 * forms, and each reads back to the same values. */
#include "config/config.h"
#include "tests/fuzz/fuzz.h"

/* What a pattern finds, and how long that takes, is the file system's doing. */
static bool has_pattern(const uint8_t *data, size_t size) {
    bool value = false;
    for (size_t i = 0; i < size; i++) {
        value = data[i] == '\n' ? false : value || data[i] == '=';
        if (value && strchr("*?[", data[i]) && data[i]) return true;
    }
    return false;
}

static rt_config *load(int slot, const void *bytes, size_t size) {
    rt_config *cfg = NULL;
    rt_status rc = rt_config_load(&(rt_config_request){.path = fuzz_file(slot, bytes, size)}, NULL, &cfg);
    if (rc != RT_OK) {
        fuzz_require(!cfg);
        fuzz_refused(rc);
    }
    return cfg;
}

static void write_as(const rt_config *cfg, rt_config_write_options form, rt_text *out) {
    fuzz_require(rt_config_write(cfg, &form, out) == RT_OK);
    rt_text_puts(out, "");
}

static void require_same(const rt_config *cfg, const rt_text *plain, rt_config_write_options form) {
    rt_text written = {0}, again = {0};
    write_as(cfg, form, &written);
    rt_config *back = load(1, written.data, written.size);
    fuzz_require(back != NULL);
    write_as(back, (rt_config_write_options){.classes = RT_CLASS_ALL}, &again);
    fuzz_require(strcmp(plain->data, again.data) == 0);
    rt_config_free(back);
    rt_text_free(&written);
    rt_text_free(&again);
}

static void require_stored(const rt_config *cfg) {
    rt_text stored = {0}, differences = {0};
    write_as(cfg, (rt_config_write_options){.classes = RT_CLASS_MEANING | RT_CLASS_COLUMNS}, &stored);
    fuzz_require(rt_config_meaning_differences(cfg, stored.data, stored.size, "stored", &differences) == RT_OK);
    fuzz_require(differences.size == 0);
    rt_text_free(&stored);
    rt_text_free(&differences);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (has_pattern(data, size)) return 0;
    rt_config *cfg = load(0, data, size);
    if (cfg) {
        rt_text plain = {0};
        write_as(cfg, (rt_config_write_options){.classes = RT_CLASS_ALL}, &plain);
        require_same(cfg, &plain, (rt_config_write_options){.classes = RT_CLASS_ALL});
        require_same(cfg, &plain,
                     (rt_config_write_options){
                         .classes = RT_CLASS_ALL, .comments = true, .origins = true, .unset_as_comments = true});
        require_stored(cfg);
        rt_text_free(&plain);
        rt_config_free(cfg);
    }
    rt_status rc = rt_config_from_ini_bytes((const char *)data, size, "stored", &cfg);
    if (rc != RT_OK) fuzz_refused(rc);
    rt_config_free(cfg);
    return 0;
}
