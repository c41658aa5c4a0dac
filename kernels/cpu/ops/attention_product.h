/* Small matrix products on floats in cache, and the copies that prepare them. What attention needs: a head of a
 * sequence is too small for a GEMM library (48 x 64), and calls, packing and threads would cost more than the sums.
 *
 * c[m, n] = or += a[m, depth] b[depth, n]. Elements of a are read one by one and broadcast, so a may lie in any order
 * (also transposed); b is read in vectors and lies in panels of RT_PANEL columns. A block of c stays in registers for
 * the whole depth. The order of each sum is that of the depth, at every instruction level.
 */
#ifndef RT_OPS_ATTENTION_PRODUCT_H
#define RT_OPS_ATTENTION_PRODUCT_H
#include "op.h"

/* Lanes of a vector, and rows of a block of c: rows x 2 vectors of sums, two of b and one of a fill the registers. */
#if defined(__AVX512F__)
enum { RT_LANES = 16, RT_BLOCK_ROWS = 12 };
#elif defined(__AVX__)
enum { RT_LANES = 8, RT_BLOCK_ROWS = 6 };
#else
enum { RT_LANES = 4, RT_BLOCK_ROWS = 6 };
#endif
enum { RT_PANEL = 2 * RT_LANES };

typedef float rt_vector __attribute__((vector_size(4 * RT_LANES)));
typedef int32_t rt_vector_bits __attribute__((vector_size(4 * RT_LANES)));
typedef float rt_vector_at __attribute__((vector_size(4 * RT_LANES), aligned(4), may_alias)); /* anywhere in memory */

static inline int64_t rt_lanes_up(int64_t n) {
    return (n + RT_LANES - 1) / RT_LANES * RT_LANES;
}
static inline int64_t rt_panel_up(int64_t n) {
    return (n + RT_PANEL - 1) / RT_PANEL * RT_PANEL;
}

typedef struct {
    int64_t m, n, depth; /* n: a multiple of RT_LANES; depth at least 1 */
    const float *a;      /* element (i, k) at a[i * a_row + k * a_column] */
    int64_t a_row, a_column;
    const float *b; /* element (k, j) at b[j / RT_PANEL * b_panel + k * b_row + j % RT_PANEL] */
    int64_t b_row, b_panel;
    float *c;
    int64_t c_row;
    const float *row_scale; /* [m]: c's rows are multiplied by it; or NULL */
    bool add;               /* to what c holds (row_scale then counts for the new part alone) */
} rt_product;

static inline __attribute__((always_inline)) void rt_product_block(const rt_product *p, int rows, int vectors,
                                                                   int64_t row, const float *b, float *c) {
    rt_vector sum[RT_BLOCK_ROWS][2];
    const float *a = p->a + row * p->a_row;
    int64_t a_row = p->a_row, a_column = p->a_column, b_row = p->b_row, depth = p->depth;
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++) sum[i][j] = (rt_vector){0};
    for (int64_t k = 0; k < depth; k++) {
        rt_vector right[2];
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++) right[j] = *(const rt_vector_at *)(b + j * RT_LANES);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            float left = a[i * a_row];
#pragma GCC unroll 2
            for (int j = 0; j < vectors; j++) sum[i][j] += left * right[j];
        }
        a += a_column, b += b_row;
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        float *to = c + i * p->c_row;
        float scale = p->row_scale ? p->row_scale[row + i] : 1.0f;
#pragma GCC unroll 2
        for (int j = 0; j < vectors; j++) {
            rt_vector_at *at = (rt_vector_at *)(to + j * RT_LANES);
            rt_vector value = sum[i][j] * scale;
            if (p->add) value += *at;
            *at = value;
        }
    }
}

#if defined(__AVX512F__)
#define RT_EACH_BLOCK(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#else
#define RT_EACH_BLOCK(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif

static __attribute__((noinline)) void rt_multiply(const rt_product *p) {
    /* Rows are dealt evenly to as few blocks as hold them: 13 rows are 5 + 4 + 4, never 6 + 6 + 1. */
    int64_t blocks = (p->m + RT_BLOCK_ROWS - 1) / RT_BLOCK_ROWS;
    for (int64_t column = 0; column < p->n; column += RT_PANEL) {
        const float *b = p->b + column / RT_PANEL * p->b_panel;
        int vectors = p->n - column > RT_LANES ? 2 : 1;
        for (int64_t block = 0; block < blocks; block++) {
            int64_t row = p->m * block / blocks;
            int rows = (int)(p->m * (block + 1) / blocks - row);
            float *c = p->c + row * p->c_row + column;
#define X(n)                                                                                                           \
    if (rows == n) {                                                                                                   \
        if (vectors == 2)                                                                                              \
            rt_product_block(p, n, 2, row, b, c);                                                                      \
        else                                                                                                           \
            rt_product_block(p, n, 1, row, b, c);                                                                      \
    }
            RT_EACH_BLOCK(X)
#undef X
        }
    }
}

/* Squares of 8 x 8 elements (4 x 4 without AVX) turn in registers. */
#if defined(__AVX__)
enum { RT_SQUARE = 8 };
#else
enum { RT_SQUARE = 4 };
#endif
typedef float rt_edge __attribute__((vector_size(4 * RT_SQUARE)));
typedef float rt_edge_at __attribute__((vector_size(4 * RT_SQUARE), aligned(4), may_alias));
#if RT_OP_BF16
typedef uint16_t rt_edge16_at __attribute__((vector_size(2 * RT_SQUARE), aligned(2), may_alias));
typedef uint32_t rt_edge32 __attribute__((vector_size(4 * RT_SQUARE)));
static inline rt_edge rt_edge_load(const rt_act *p) {
    return (rt_edge)(__builtin_convertvector(*(const rt_edge16_at *)p, rt_edge32) << 16);
}
#else
static inline rt_edge rt_edge_load(const rt_act *p) {
    return *(const rt_edge_at *)p;
}
#endif

static inline void rt_square_turn(rt_edge r[RT_SQUARE]) {
    rt_edge t[RT_SQUARE];
#if defined(__AVX__)
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
        r[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 1] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i + 2] = __builtin_shufflevector(t[i + 1], t[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 3] = __builtin_shufflevector(t[i + 1], t[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; i++) {
        t[i] = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        t[i + 4] = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r[i] = t[i];
#else
    for (int i = 0; i < 4; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 4, 1, 5);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 6, 3, 7);
    }
    r[0] = __builtin_shufflevector(t[0], t[2], 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(t[0], t[2], 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(t[1], t[3], 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(t[1], t[3], 2, 3, 6, 7);
#endif
}

/* to = from^T in panels of rows of `from`: panel p is [columns, RT_PANEL], rows beyond `rows` are 0. As b of a product
 * its b_row is RT_PANEL and its b_panel columns x RT_PANEL. columns: a multiple of 8. */
static __attribute__((noinline)) void rt_pack_turned(float *restrict to, const rt_act *from, int64_t stride,
                                                     int64_t rows, int64_t columns) {
    static const rt_act nothing[RT_SQUARE] = {0};
    int64_t end = rt_lanes_up(rows);
    for (int64_t row = 0; row < end; row += RT_SQUARE) {
        float *out = to + row / RT_PANEL * (columns * RT_PANEL) + row % RT_PANEL;
        for (int64_t column = 0; column < columns; column += RT_SQUARE) {
            rt_edge r[RT_SQUARE];
#pragma GCC unroll 8
            for (int i = 0; i < RT_SQUARE; i++)
                r[i] = rt_edge_load(row + i < rows ? from + (row + i) * stride + column : nothing);
            rt_square_turn(r);
#pragma GCC unroll 8
            for (int i = 0; i < RT_SQUARE; i++) *(rt_edge_at *)(out + (column + i) * RT_PANEL) = r[i];
        }
    }
}

/* to = from in panels of columns: panel p is [rows, RT_PANEL], columns beyond `columns` (up to whole vectors) are 0. As
 * b of a product its b_row is RT_PANEL and its b_panel rows x RT_PANEL. */
static __attribute__((noinline)) void rt_pack_straight(float *restrict to, const rt_act *from, int64_t stride,
                                                       int64_t rows, int64_t columns) {
    for (int64_t column = 0; column < columns; column += RT_LANES) {
        float *out = to + column / RT_PANEL * (rows * RT_PANEL) + column % RT_PANEL;
        int64_t n = columns - column < RT_LANES ? columns - column : RT_LANES;
        if (n == RT_LANES)
            for (int64_t row = 0; row < rows; row++)
                for (int i = 0; i < RT_LANES; i += RT_SQUARE)
                    *(rt_edge_at *)(out + row * RT_PANEL + i) = rt_edge_load(from + row * stride + column + i);
        else
            for (int64_t row = 0; row < rows; row++)
                for (int i = 0; i < RT_LANES; i++)
                    out[row * RT_PANEL + i] = i < n ? rt_load(from + row * stride + column + i) : 0.0f;
    }
}

/* to = from as floats, row-major, rows of `width` = whole vectors, the rest 0. As b of a product its b_row is `width`
 * and its b_panel RT_PANEL; as a its a_row is `width`. */
static inline void rt_pack_rows(float *restrict to, const rt_act *from, int64_t stride, int64_t rows, int64_t columns,
                                int64_t width) {
    for (int64_t row = 0; row < rows; row++) {
        rt_load_row(to + row * width, from + row * stride, columns);
        for (int64_t i = columns; i < width; i++) to[row * width + i] = 0;
    }
}

#endif
