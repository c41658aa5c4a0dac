/* Dropout masks that every backend must give, computed once from the contract's text in exact integers by a program
 * that shares nothing with this one. Bit i is 1 where channel i (key first + i) is kept. */
#ifndef RT_TEST_DROPOUT_VECTORS_H
#define RT_TEST_DROPOUT_VECTORS_H
#include <stdint.h>

typedef struct {
    uint64_t seed;
    uint32_t step, example;
    uint16_t site, view;
    int position; /* hidden dropout */
    float p;
    uint64_t kept; /* channels 0 to 63 */
} hidden_vector;

typedef struct {
    uint64_t seed;
    uint32_t step, example;
    uint16_t site, view;
    int head, query;
    float p;
    int first;
    uint64_t kept; /* keys first to first + 63 */
} attention_vector;

static const hidden_vector hidden_vectors[] = {
    {0x1u, 0u, 0u, 0xff01, 0, 0, 0.1f, 0xffffffefdffeffffu},
    {0x123456789abcdef0u, 41u, 7u, 0xff01, 3, 0, 0.1f, 0xfdffdffeff7fffffu},
    {0xffffffffffffffffu, 4294967295u, 4294967295u, 0xffff, 65535, 0, 0.5f, 0x9b26a24e02d5966bu},
    {0x2au, 1000u, 123456u, 0xff00, 1, 1, 0.1f, 0xfbbedfffbddfefebu},
    {0x2au, 1000u, 123456u, 0xff00, 1, 17, 0.25f, 0xf4bef6fef7ff3eabu},
    {0x7u, 3u, 99u, 0x0059, 0, 15, 0.9f, 0x0200240000000202u},
};

static const attention_vector attention_vectors[] = {
    {0x1u, 0u, 0u, 0x0000, 0, 0, 0, 0.1f, 0, 0xf7efdffefffff7fbu},
    {0x123456789abcdef0u, 41u, 7u, 0x0028, 3, 11, 17, 0.1f, 0, 0x77bfb777fffffff5u},
    {0xffffffffffffffffu, 4294967295u, 4294967295u, 0x0058, 65535, 3, 20, 0.5f, 0, 0x68019c3ce14b9c4fu},
    {0x2au, 1000u, 123456u, 0x0008, 1, 1, 5, 0.25f, 64, 0x7ca4e7df775faffdu},
    {0x2au, 1000u, 123456u, 0x0008, 1, 0, 63, 0.1f, 64, 0xffffefe7fffdfaffu},
};

#endif
