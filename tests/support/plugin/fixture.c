/* A plugin for tests/base/test_plugin.c. */
#include <stdint.h>

extern const uint32_t fixture_abi;
const uint32_t fixture_abi = 3;
int fixture_entry(int x);
int fixture_entry(int x) {
    return 2 * x;
}
