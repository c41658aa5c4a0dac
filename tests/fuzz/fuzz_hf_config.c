/* config.json of a Hugging Face folder, and the index of its shards: any bytes for both. A configuration that is taken
 * reads back the same from what is written. */
#include "checkpoint/hf_import.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

static void write_config(const rt_bert *bert, char **labels, int n, rt_text *out) {
    rt_status rc = rt_config_json_write(bert, (const char *const *)labels, n, out);
    if (rc == RT_ECONFIG)
        rt_text_clear(out); /* two labels of one name */
    else
        fuzz_require(rc == RT_OK);
}

static void round_trip(const rt_bert *bert, char **labels, int n) {
    rt_text once = {0}, twice = {0};
    rt_bert back;
    char **names = NULL;
    int m = 0;
    write_config(bert, labels, n, &once);
    if (once.size) {
        fuzz_require(rt_config_json_parse(once.data, once.size, "again", &back, &names, &m) == RT_OK && m == n);
        write_config(&back, names, m, &twice);
        fuzz_require(twice.size == once.size && memcmp(once.data, twice.data, once.size) == 0);
        rt_labels_free(names, m);
    }
    rt_text_free(&once);
    rt_text_free(&twice);
}

static void check_config(fuzz_bytes json) {
    rt_bert bert;
    char **labels = NULL;
    int n = 0;
    rt_status rc = rt_config_json_parse((const char *)json.data, json.size, "fuzz", &bert, &labels, &n);
    if (rc != RT_OK) {
        fuzz_refused(rc);
        return;
    }
    fuzz_require(rt_bert_check(&bert) == RT_OK && n >= 0 && n <= RT_MAX_LABELS);
    for (int i = 0; i < n; i++) fuzz_require(labels[i] != NULL);
    if (n == bert.labels) round_trip(&bert, labels, n);
    rt_labels_free(labels, n);
}

/* One shard of one tensor is there, under the name that seeds use. */
static void check_index(const char *folder, const rt_config_json *config, fuzz_bytes index) {
    static const char shard[] = "\x48\0\0\0\0\0\0\0{\"classifier.bias\":{\"dtype\":\"F32\",\"shape\":[2],"
                                "\"data_offsets\":[0,8]}}    \0\0\0\0\0\0\0\0";
    rt_hf_weights weights = {0};
    fuzz_write(folder, "a.safetensors", shard, sizeof shard - 1);
    fuzz_write(folder, "model.safetensors.index.json", index.data, index.size);
    rt_status rc = rt_hf_weights_open(folder, config, NULL, &weights);
    if (rc != RT_OK) fuzz_refused(rc);
    rt_hf_weights_close(&weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char plain[] = "{\"model_type\":\"bert\",\"num_hidden_layers\":1}";
    fuzz_bytes rest = {data, size}, json = fuzz_part(&rest);
    rt_config_json config;
    check_config(json);
    if (!rest.size) return 0;
    if (rt_config_json_read((const char *)json.data, json.size, "fuzz", &config) != RT_OK &&
        rt_config_json_read(plain, sizeof plain - 1, "plain", &config) != RT_OK)
        abort();
    check_index(fuzz_folder(), &config, rest);
    rt_config_json_free(&config);
    return 0;
}
