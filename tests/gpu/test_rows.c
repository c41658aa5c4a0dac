/* On a GPU what tests/cuda/test_rows.c runs in the emulator. */
#include "../cuda/test_rows.c"
