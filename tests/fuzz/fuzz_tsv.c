/* TSV, quoting found or told: any bytes. */
#include "tests/fuzz/fuzz_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    fuzz_table(data + 1, size - 1, data[0] & 4 ? RT_FORMAT_AUTO : RT_FORMAT_TSV, (rt_quoting)((data[0] & 3) % 3));
    return 0;
}
