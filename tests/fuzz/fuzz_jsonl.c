/* JSON lines: any bytes. */
#include "tests/fuzz/fuzz_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_table(data, size, RT_FORMAT_JSONL, RT_QUOTING_AUTO);
    return 0;
}
