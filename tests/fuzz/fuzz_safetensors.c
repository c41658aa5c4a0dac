/* The header of a safetensors file: any bytes with any claimed size of the data, or (first byte odd) a sound header
 * under a list of edits, two bytes each: place, value. */
#include "../../src/checkpoint/safetensors.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *json, size_t size, uint64_t data_size) {
    rt_st_tensor *tensors = NULL;
    int n = 0;
    if (rt_safetensors_parse(json, size, data_size, "fuzz", &tensors, &n) == RT_OK) {
        uint64_t at = 0;
        for (int i = 0; i < n; i++) {
            if (tensors[i].at != at) __builtin_trap(); /* what passes has neither holes nor overlaps */
            at += tensors[i].size;
        }
        if (at != data_size) __builtin_trap();
    }
    rt_st_tensors_free(tensors, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char sound[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]}}";
    uint64_t data_size;
    if (size < sizeof data_size + 1) return 0;
    if (data[0] & 1) {
        for (size_t i = 1; i + 2 <= size; i += 2) sound[data[i] % (sizeof sound - 1)] = (char)data[i + 1];
        check(sound, sizeof sound - 1, 26);
        return 0;
    }
    memcpy(&data_size, data + 1, sizeof data_size);
    check((const char *)data + 9, size - 9, data_size);
    return 0;
}
