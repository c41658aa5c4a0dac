/* On a GPU what tests/cuda/test_adam.c runs in the emulator. */
#include "../cuda/test_adam.c"
