/* The header of a safetensors file: any bytes, any claimed size of the data. */
#include "../../src/checkpoint/safetensors.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rt_st_tensor *tensors = NULL;
    int n = 0;
    uint64_t data_size;
    if (size < sizeof data_size) return 0;
    memcpy(&data_size, data, sizeof data_size);
    if (rt_safetensors_parse((const char *)data + 8, size - 8, data_size, "fuzz", &tensors, &n) == RT_OK) {
        uint64_t at = 0;
        for (int i = 0; i < n; i++) {
            if (tensors[i].at != at) __builtin_trap(); /* what passes has neither holes nor overlaps */
            at += tensors[i].size;
        }
        if (at != data_size) __builtin_trap();
    }
    rt_st_tensors_free(tensors, n);
    return 0;
}
