/* The example shop: the same bytes for a seed, the shape and the statistics that it promises. */
#include "base/digest.h"
#include "base/file.h"
#include "data/shop.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[] = {"train.tsv", "dev.tsv", "test.tsv", "items.tsv"};
enum {
    COLUMNS = 17,
    IMPRESSION = 0,
    USER,
    ITEM,
    QUERY,
    HISTORY,
    TITLE,
    CATEGORY,
    BRAND,
    PRICE,
    POSITION,
    SHUFFLED,
    NEW_ITEM,
    COLD_USER,
    P_TRUE,
    P_TEXT,
    CLICK,
    BOUGHT
};

static char folder[64];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/rt-shop-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        char *path = rt_path_join(folder, names[i]);
        if (access(path, F_OK) == 0) unlink(path);
        free(path);
    }
    return rmdir(folder); /* fails if anything else was left behind */
}

static char *read_split(int i) {
    char *path = rt_path_join(folder, names[i]), *data;
    size_t size;
    assert_int_equal(rt_file_read(path, 1 << 28, &data, &size), RT_OK);
    free(path);
    return data;
}

/* Cuts the next line into its columns; false at the end. */
static bool next_row(char **at, char **field) {
    char *line = strsep(at, "\n");
    if (!line || !*at) return false;
    int n = 0;
    for (char *f; (f = strsep(&line, "\t")) != NULL;) {
        assert_true(n < COLUMNS);
        field[n++] = f;
    }
    assert_int_equal(n, COLUMNS);
    return true;
}

static rt_shop_summary write_shop(uint64_t seed, int users) {
    rt_shop_summary s;
    assert_int_equal(rt_shop_write(folder, &(rt_shop_options){.seed = seed, .users = users}, &s), RT_OK);
    return s;
}

static uint64_t digest_of_files(void) {
    uint64_t digest = 0;
    for (int i = 0; i < 4; i++) {
        char *data = read_split(i);
        digest = digest * 31 + rt_hash64(data, strlen(data));
        free(data);
    }
    return digest;
}

/* Known answer: a change of any byte on any machine is a change of the demonstration, to be made on purpose. */
static void test_same_bytes(void **state) {
    (void)state;
    write_shop(1, 0);
    uint64_t first = digest_of_files();
    write_shop(1, 0);
    assert_true(digest_of_files() == first);
    write_shop(2, 0);
    assert_true(digest_of_files() != first);
    if (first != UINT64_C(0x7f6441bc896cf109)) fail_msg("digest of the files is 0x%016llx", (unsigned long long)first);
}

static void test_rows(void **state) {
    (void)state;
    rt_shop_summary s = write_shop(1, 0);
    assert_int_equal(s.train_rows, 4096);
    assert_int_equal(s.dev_rows, 1024);
    assert_int_equal(s.test_rows, 2048);
    assert_int_equal(s.items, 1152);
    uint64_t rows[3] = {0}, clicks[3] = {0}, fresh = 0, cold = 0, cold_empty = 0, shuffled = 0, position = 8,
             impression = 0;
    double expected_clicks = 0;
    for (int split = 0; split < 3; split++) {
        char *data = read_split(split), *at = data, *f[COLUMNS];
        assert_true(next_row(&at, f));
        assert_string_equal(f[IMPRESSION], "impression_id");
        assert_string_equal(f[QUERY], "query");
        assert_string_equal(f[HISTORY], "history");
        assert_string_equal(f[TITLE], "title");
        assert_string_equal(f[P_TEXT], "p_text");
        assert_string_equal(f[CLICK], "click");
        assert_string_equal(f[BOUGHT], "bought");
        while (next_row(&at, f)) {
            /* Eight rows an impression, in order, impressions numbered in time. */
            position = position % 8 + 1;
            if (position == 1) impression++;
            assert_int_equal(strtoull(f[IMPRESSION], NULL, 10), impression);
            assert_int_equal(strtoull(f[POSITION], NULL, 10), position);
            assert_true(*f[QUERY] && *f[TITLE] && *f[CATEGORY] && *f[BRAND] && atof(f[PRICE]) > 0);
            double p = atof(f[P_TRUE]), p_text = atof(f[P_TEXT]);
            assert_true(p > 0 && p < 1 && p_text > 0 && p_text < 1 && strlen(f[P_TRUE]) == 8);
            bool click = *f[CLICK] == '1', is_new = *f[NEW_ITEM] == '1', is_cold = *f[COLD_USER] == '1';
            assert_true(click || *f[BOUGHT] == '0'); /* nobody buys without a click */
            if (split == 0) assert_true(!is_new && !is_cold && *f[HISTORY]);
            rows[split]++;
            clicks[split] += click;
            expected_clicks += p;
            if (split == 0) continue;
            fresh += is_new;
            cold += is_cold;
            cold_empty += is_cold && !*f[HISTORY];
            if (!is_cold) assert_true(*f[HISTORY]);
            shuffled += *f[SHUFFLED] == '1';
        }
        free(data);
    }
    assert_true(rows[0] == 4096 && rows[1] == 1024 && rows[2] == 2048 && position == 8);
    /* Clicks against their own chances: a sum of 7,168 coins, standard deviation at most sqrt(7168 / 4) = 42; six of
     * it. */
    assert_true(fabs((double)(clicks[0] + clicks[1] + clicks[2]) - expected_clicks) < 6 * 42);
    assert_true(fresh > 500 && cold > 200 && cold_empty > 0 && cold_empty < cold && shuffled > 400);
    assert_true(fabs(s.click_rate - (double)clicks[2] / 2048) < 1e-12);
}

/* What the demonstration rests on, for several seeds. The click rate of 2,048 rows has a standard error of 0.011, an
 * AUC near 0.85 of about 0.009: the bounds are what the simulator aims at, four of these wider. */
static void test_statistics(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        rt_shop_summary s = write_shop(seed, 0);
        assert_true(s.click_rate > .36 - .045 && s.click_rate < .39 + .045);
        assert_true(s.auc_p_true > .85 - .036 && s.auc_p_true < .87 + .036);
        assert_true(s.auc_p_text > .80 && s.auc_p_text < s.auc_p_true);
        assert_true(s.auc_item_rate > .44 && s.auc_item_rate < .60); /* an item's past tells almost nothing */
        assert_true(s.auc_constant == .5);
    }
}

/* p_true's ceiling is that of the column in the file. */
static void test_ceiling_by_pairs(void **state) {
    (void)state;
    rt_shop_summary s = write_shop(3, 64);
    char *data = read_split(2), *at = data, *f[COLUMNS];
    static double p[4096];
    static int y[4096];
    int n = 0;
    assert_true(next_row(&at, f));
    while (n < 4096 && next_row(&at, f)) p[n] = atof(f[P_TRUE]), y[n++] = *f[CLICK] == '1';
    free(data);
    assert_int_equal(n, s.test_rows);
    double won = 0, pairs = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (y[i] && !y[j]) pairs++, won += p[i] > p[j] ? 1 : p[i] == p[j] ? .5 : 0;
    assert_true(fabs(won / pairs - s.auc_p_true) < 1e-12);
}

static void test_refusals(void **state) {
    (void)state;
    rt_shop_summary s;
    assert_int_equal(rt_shop_write(folder, &(rt_shop_options){.users = 7}, &s), RT_EUSAGE);
    assert_non_null(strstr(rt_error_get()->text, "8 to 1000000"));
    assert_int_equal(rt_shop_write(folder, &(rt_shop_options){.users = -1}, &s), RT_EUSAGE);
    if (access("/proc/version", F_OK) == 0) /* a file stands where the folder should be */
        assert_int_not_equal(rt_shop_write("/proc/version/shop", NULL, &s), RT_OK);
    write_shop(0, 8); /* the smallest: no user is cold */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_statistics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceiling_by_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
