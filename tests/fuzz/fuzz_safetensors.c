/* safetensors. The first byte chooses: 'e' a sound header under a list of edits, two bytes each, place and value; 'f' a
 * whole file; else the bytes of data on a line of its own, then a header. */
#include "checkpoint/safetensors.h"
#include "tests/fuzz/fuzz.h"

/* What passes has neither holes nor overlaps. */
static void check_tensors(const rt_st_tensor *tensors, int n, uint64_t data_size) {
    uint64_t at = 0;
    for (int i = 0; i < n; i++) {
        fuzz_require(tensors[i].at == at);
        at += tensors[i].size;
    }
    fuzz_require(at == data_size);
}

static void parse(const char *json, size_t size, uint64_t data_size) {
    rt_st_tensor *tensors = NULL;
    int n = 0;
    rt_status rc = rt_safetensors_parse(json, size, data_size, "fuzz", &tensors, &n);
    if (rc == RT_OK)
        check_tensors(tensors, n, data_size);
    else
        fuzz_refused(rc);
    rt_st_tensors_free(tensors, n);
}

static void open_file(fuzz_bytes bytes) {
    rt_safetensors file = {0};
    rt_status rc = rt_safetensors_open(fuzz_file(0, bytes.data, bytes.size), &file);
    if (rc != RT_OK) {
        fuzz_refused(rc);
        return;
    }
    fuzz_require(file.data_at <= bytes.size);
    check_tensors(file.tensors, file.n, bytes.size - file.data_at);
    for (int i = 0; i < file.n; i++) {
        if (!rt_st_is_float(&file.tensors[i])) continue;
        float *out = malloc((size_t)file.tensors[i].count * sizeof *out + 1);
        fuzz_require(rt_safetensors_read(&file, i, out) == RT_OK);
        free(out);
    }
    rt_safetensors_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char sound[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]}}";
    fuzz_bytes rest = {data, size};
    if (size && data[0] == 'e') {
        for (size_t i = 1; i + 2 <= size; i += 2) sound[data[i] % (sizeof sound - 1)] = (char)data[i + 1];
        parse(sound, sizeof sound - 1, 26);
    } else if (size && data[0] == 'f') {
        fuzz_choice(&rest);
        open_file(rest);
    } else {
        uint64_t data_size = 0;
        for (unsigned c; (c = fuzz_choice(&rest)) >= '0' && c <= '9';) data_size = 10 * data_size + (c - '0');
        parse((const char *)rest.data, rest.size, data_size);
    }
    return 0;
}
