/* On a GPU what tests/cuda/test_classify.c runs in the emulator. */
#include "../cuda/test_classify.c"
