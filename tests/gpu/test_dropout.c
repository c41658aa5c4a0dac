/* On a GPU what tests/cuda/test_dropout.c runs in the emulator. */
#include "../cuda/test_dropout.c"
