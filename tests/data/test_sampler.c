/* The order of epochs, the shares of ranks, the cuts of evaluation. */
#include "data/sampler.h"
#include "tests/data/files.h"
#include <math.h>

static void permute_is_a_bijection(void **state) {
    (void)state;
    const uint32_t sizes[] = {1,  2,   3,   4,   5,    7,    15,   16,    17,    63,    64,
                              65, 255, 256, 257, 1000, 4096, 4097, 65535, 65536, 65537, 300000};
    unsigned char *seen = malloc(300000);
    assert_non_null(seen);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (uint32_t epoch = 0; epoch < 3; epoch++) {
            memset(seen, 0, sizes[s]);
            for (uint32_t i = 0; i < sizes[s]; i++) {
                uint32_t row = rt_permute(sizes[s], 1234 + epoch, epoch, i);
                assert_true(row < sizes[s]);
                assert_int_equal(seen[row]++, 0);
            }
        }
    free(seen);
}

static void permute_handles_the_largest_set(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) assert_true(rt_permute(UINT32_MAX, 5, 0, UINT32_MAX - 1 - i) < UINT32_MAX);
}

static void permute_is_pinned(void **state) {
    (void)state;
    /* A resumed run and another rank must see the same order for ever: these values may not change. */
    const uint32_t want[10] = {2, 7, 3, 1, 5, 4, 6, 8, 9, 0};
    for (uint32_t i = 0; i < 10; i++) assert_int_equal(rt_permute(10, 42, 3, i), want[i]);
}

/* Place 0 holds each of n rows equally often over seeds: chi-square with n - 1 degrees of freedom has mean n - 1 and
 * variance 2 (n - 1); five sigma. */
static void chi_square(uint32_t n, uint32_t trials, uint32_t place, int by_epoch) {
    double *count = calloc(n, sizeof *count);
    assert_non_null(count);
    for (uint32_t t = 0; t < trials; t++) count[rt_permute(n, by_epoch ? 7 : t, by_epoch ? t : 0, place)]++;
    double expected = (double)trials / n, chi = 0;
    for (uint32_t i = 0; i < n; i++) chi += (count[i] - expected) * (count[i] - expected) / expected;
    assert_true(chi < n - 1 + 5 * sqrt(2.0 * (n - 1)));
    free(count);
}

static void permute_is_uniform(void **state) {
    (void)state;
    const uint32_t sizes[] = {2, 3, 5, 16, 37, 100};
    for (size_t s = 0; s < 6; s++)
        for (uint32_t place = 0; place < sizes[s]; place += 1 + sizes[s] / 4) {
            chi_square(sizes[s], 20000, place, 0);
            chi_square(sizes[s], 20000, place, 1);
        }
}

static void neighbours_part(void **state) {
    (void)state;
    /* |order(i + 1) - order(i)| of a uniform shuffle of n has mean (n + 1) / 3 and sigma about n / sqrt(18); the mean
     * of n - 1 of them strays by about n / sqrt(18 n): six of those. */
    const uint32_t n = 10000;
    double sum = 0;
    for (uint32_t i = 0; i + 1 < n; i++)
        sum += fabs((double)rt_permute(n, 9, 1, i + 1) - (double)rt_permute(n, 9, 1, i));
    assert_true(fabs(sum / (n - 1) - (n + 1) / 3.0) < 6 * n / sqrt(18.0 * n));
}

static void seeds_and_epochs_differ(void **state) {
    (void)state;
    const uint32_t n = 1000;
    uint32_t by_seed = 0, by_high = 0, by_epoch = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = rt_permute(n, 1, 1, i);
        by_seed += row == rt_permute(n, 2, 1, i);
        by_high += row == rt_permute(n, 1 + ((uint64_t)1 << 32), 1, i);
        by_epoch += row == rt_permute(n, 1, 2, i);
    }
    /* Two random orders agree in 1 place on average (Poisson). */
    assert_true(by_seed < 12 && by_high < 12 && by_epoch < 12);
}

static void steps_cover_an_epoch(void **state) {
    (void)state;
    const uint32_t n = 103;
    unsigned char seen[103] = {0};
    uint32_t rows[16];
    assert_int_equal(rt_steps_per_epoch(n, 16), 7);
    assert_int_equal(rt_steps_per_epoch(96, 16), 6);
    assert_int_equal(rt_steps_per_epoch(0, 16), 0);
    assert_int_equal(rt_steps_per_epoch(UINT32_MAX, 1), UINT32_MAX);
    for (uint32_t step = 0; step < 7; step++) {
        int got = rt_step_rows(n, 3, 2, step, 16, rows);
        assert_int_equal(got, step < 6 ? 16 : 7);
        for (int i = 0; i < got; i++) assert_int_equal(seen[rows[i]]++, 0);
    }
    assert_int_equal(rt_step_rows(n, 3, 2, 7, 16, rows), 0);
    assert_int_equal(rt_step_rows(n, 3, 2, UINT32_MAX, 16, rows), 0);
}

enum { ROWS = 500 };

static void make_lengths(uint16_t *lengths, uint32_t seed) {
    for (uint32_t i = 0; i < ROWS; i++) lengths[i] = (uint16_t)(2 + (i * 2654435761u + seed) % 127);
}

static void ranks_share_a_step(void **state) {
    (void)state;
    uint16_t lengths[ROWS];
    uint32_t rows[200];
    make_lengths(lengths, 17);
    for (int n_ranks = 1; n_ranks <= 9; n_ranks++)
        for (int n = 0; n <= 200; n += 1 + n / 3) {
            int seen[ROWS] = {0}, n_micro = -1, total = 0;
            uint64_t most = 0, least = UINT64_MAX;
            for (int i = 0; i < n; i++) rows[i] = (uint32_t)((i * 7 + 3) % ROWS);
            for (int rank = 0; rank < n_ranks; rank++) {
                rt_plan plan = {0};
                assert_int_equal(rt_plan_step(&plan, rows, n, lengths, 300, 4, rank, n_ranks), RT_OK);
                if (n_micro < 0) n_micro = plan.n_micro;
                assert_int_equal(plan.n_micro, n_micro);
                uint64_t share = 0;
                assert_int_equal(plan.starts[0], 0);
                for (int m = 0; m < plan.n_micro; m++) {
                    int seqs = plan.starts[m + 1] - plan.starts[m];
                    uint32_t tokens = 0;
                    assert_true(seqs >= 0 && seqs <= 4);
                    for (int i = plan.starts[m]; i < plan.starts[m + 1]; i++) {
                        tokens += lengths[plan.rows[i]];
                        seen[plan.rows[i]]++;
                    }
                    assert_true(tokens <= 300 || seqs == 1);
                    share += tokens;
                }
                total += plan.starts[plan.n_micro];
                if (share > most) most = share;
                if (share < least) least = share;
                rt_plan_free(&plan);
            }
            assert_int_equal(total, n);
            for (int i = 0; i < n; i++) assert_int_equal(seen[rows[i]], 1);
            /* Longest first to the emptiest: shares differ by one row at most. */
            assert_true(most - least <= 128);
        }
}

static void the_plan_is_as_written(void **state) {
    (void)state;
    /* Rows 0..5 of lengths 10 30 20 30 10 40; longest first: 5 1 3 2 0 4 (1 before 3, 0 before 4: earlier rows first).
     * Two ranks: 5 to 0 (40); 1 to 1 (30); 3 to 1 (60); 2 to 0 (60); 0 to 0 by the tie (70); 4 to 1 (70). */
    const uint16_t lengths[6] = {10, 30, 20, 30, 10, 40};
    const uint32_t rows[6] = {0, 1, 2, 3, 4, 5}, want0[3] = {5, 2, 0}, want1[3] = {1, 3, 4};
    rt_plan plan = {0};
    assert_int_equal(rt_plan_step(&plan, rows, 6, lengths, 60, 8, 0, 2), RT_OK);
    assert_memory_equal(plan.rows, want0, sizeof want0);
    assert_int_equal(plan.n_micro, 2);
    assert_int_equal(plan.starts[1], 2);
    assert_int_equal(plan.starts[2], 3);
    assert_int_equal(rt_plan_step(&plan, rows, 6, lengths, 60, 8, 1, 2), RT_OK);
    assert_memory_equal(plan.rows, want1, sizeof want1);
    assert_int_equal(plan.starts[1], 2);
    /* Too long for any micro-batch: each stands alone. */
    assert_int_equal(rt_plan_step(&plan, rows, 6, lengths, 5, 8, 0, 1), RT_OK);
    assert_int_equal(plan.n_micro, 6);
    /* Three rows on five ranks: empty shares, the same count. */
    assert_int_equal(rt_plan_step(&plan, rows, 3, lengths, 60, 8, 4, 5), RT_OK);
    assert_int_equal(plan.n_micro, 1);
    assert_int_equal(plan.starts[0], 0);
    assert_int_equal(plan.starts[1], 0);
    assert_int_equal(rt_plan_step(&plan, rows, 3, lengths, 60, 8, 5, 5), RT_EINTERNAL);
    assert_int_equal(rt_plan_step(&plan, rows, 3, lengths, 0, 8, 0, 1), RT_EINTERNAL);
    rt_plan_free(&plan);
    rt_plan_free(&plan);
    rt_plan_free(NULL);
}

static void evaluation_is_cut_once(void **state) {
    (void)state;
    const uint32_t n = 70000; /* more than two windows */
    uint16_t *lengths = malloc(n * sizeof *lengths);
    unsigned char *seen = calloc(n, 1);
    assert_true(lengths && seen);
    for (uint32_t i = 0; i < n; i++) lengths[i] = (uint16_t)(2 + (i * 2654435761u >> 7) % 500);
    lengths[5] = 2000;
    uint32_t *order, *starts, batches;
    assert_int_equal(rt_eval_cut(n, lengths, 1024, 16, &order, &starts, &batches), RT_OK);
    assert_int_equal(starts[0], 0);
    assert_int_equal(starts[batches], n);
    uint64_t padded = 0, real = 0;
    for (uint32_t b = 0; b < batches; b++) {
        assert_true(starts[b] < starts[b + 1] && starts[b + 1] - starts[b] <= 16);
        uint32_t tokens = 0, longest = 0;
        for (uint32_t i = starts[b]; i < starts[b + 1]; i++) {
            assert_int_equal(seen[order[i]]++, 0);
            tokens += lengths[order[i]];
            if (lengths[order[i]] > longest) longest = lengths[order[i]];
        }
        assert_true(tokens <= 1024 || starts[b + 1] - starts[b] == 1);
        padded += (uint64_t)longest * (starts[b + 1] - starts[b]);
        real += tokens;
    }
    /* Rows of a window are ordered by length: 16 neighbours of 32,768 over 500 lengths hardly differ. */
    assert_true((double)padded < 1.01 * (double)real);
    for (uint32_t i = 0; i + 1 < 32768; i++)
        assert_true(lengths[order[i]] > lengths[order[i + 1]] ||
                    (lengths[order[i]] == lengths[order[i + 1]] && order[i] < order[i + 1]));
    free(order);
    free(starts);
    assert_int_equal(rt_eval_cut(0, lengths, 1024, 16, &order, &starts, &batches), RT_OK);
    assert_int_equal(batches, 0);
    assert_int_equal(starts[0], 0);
    free(order);
    free(starts);
    free(lengths);
    free(seen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permute_is_a_bijection), cmocka_unit_test(permute_handles_the_largest_set),
        cmocka_unit_test(permute_is_pinned),      cmocka_unit_test(permute_is_uniform),
        cmocka_unit_test(neighbours_part),        cmocka_unit_test(seeds_and_epochs_differ),
        cmocka_unit_test(steps_cover_an_epoch),   cmocka_unit_test(ranks_share_a_step),
        cmocka_unit_test(the_plan_is_as_written), cmocka_unit_test(evaluation_is_cut_once),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
