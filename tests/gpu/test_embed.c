/* On a GPU what tests/cuda/test_embed.c runs in the emulator. */
#include "../cuda/test_embed.c"
