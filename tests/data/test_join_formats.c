/* MIND and MovieLens as they are published, times as logs have them. The fixtures are written for this test. */
#include "data/join_internal.h"
#include "tests/data/join_case.h"

static const char *const news = "N1\tsports\tgolf\tA \"quoted\" title\tabstract\thttps://x\t[]\t[]\n"
                                "N2\tnews\tworld\tSecond, with a comma\t\thttps://y\t[{\"Label\": \"tab\"}]\t[]\n"
                                "N3\tfinance\tmarkets\tThird\tabstract\thttps://z\t[]\t[]\n"
                                "N4\tnews\tlocal\tFourth\tabstract\thttps://z\t[]\t[]\n"
                                "N1\tsports\tgolf\tA \"quoted\" title\tabstract\thttps://x\t[]\t[]\n";

static void mind_as_published(void **state) {
    (void)state;
    write_text("items.tsv", news);
    write_text("behaviors.tsv", "7\tU1\t11/14/2019 11:59:59 PM\tN1 N9 N2\tN3-0 N4-1 N1-0\n"
                                "1\tU2\t11/13/2019 12:00:00 AM\t\tN2-1 N3-0\n"
                                "3\tU1\t11/15/2019 12:00:00 AM\tN1 N9 N2\tN2-0 N4-0\n");
    write_text("dev.tsv", "1\tU3\t11/15/2019 8:05:01 AM\tN3 N1 N2 N4\tN1-1\n");
    rt_join_options o = options("behaviors.tsv");
    o.format = RT_JOIN_MIND, o.split = "2019-11-15", o.history = 3, o.test_events = in_folder("dev.tsv");
    join_ok(&o);
    FILE_IS("out/train.tsv",
            "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tcategory\tclick\tnew_item\tcold_user\n"
            "1\tU2\tN2\t1573603200\t\tSecond, with a comma\tnews\t1\t0\t1\n"
            "1\tU2\tN3\t1573603200\t\tThird\tfinance\t0\t0\t1\n"
            "7\tU1\tN3\t1573775999\tA \"quoted\" title ; Second, with a comma\tThird\tfinance\t0\t0\t0\n"
            "7\tU1\tN4\t1573775999\tA \"quoted\" title ; Second, with a comma\tFourth\tnews\t1\t0\t0\n"
            "7\tU1\tN1\t1573775999\tA \"quoted\" title ; Second, with a comma\tA \"quoted\" title\tsports\t0\t0\t0\n");
    /* The same user's earlier click on N4 is not appended: his history is what the file says. */
    FILE_IS("out/dev.tsv",
            "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tcategory\tclick\tnew_item\tcold_user\n"
            "3\tU1\tN2\t1573776000\tA \"quoted\" title ; Second, with a comma\tSecond, with a comma\tnews\t0\t0\t0\n"
            "3\tU1\tN4\t1573776000\tA \"quoted\" title ; Second, with a comma\tFourth\tnews\t0\t0\t0\n");
    FILE_IS("out/test.tsv",
            "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tcategory\tclick\tnew_item\tcold_user\n"
            "1\tU3\tN1\t1573805101\tA \"quoted\" title ; Second, with a comma ; Fourth\tA \"quoted\" "
            "title\tsports\t1\t0\t0\n");
    assert_int_equal(summary.items_again, 1);
    assert_int_equal(summary.items, 4);
    assert_int_equal(summary.unknown_history, 2);
    assert_int_equal(summary.split[RT_SPLIT_DEV].groups_no_positive, 1);
    o.negatives = 1;
    join_ok(&o);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, 4);
    assert_int_equal(summary.negatives_kept, 2);
    assert_int_equal(summary.negatives_all, 3);
    assert_int_equal(summary.split[RT_SPLIT_DEV].rows, 2); /* all candidates */
    /* In every file ids begin at 1. */
    char both[600];
    snprintf(both, sizeof both, "%s,%s", in_folder("behaviors.tsv"), in_folder("dev.tsv"));
    o.events = both, o.test_events = NULL, o.negatives = -1, o.split = "2020-01-01";
    join_ok(&o);
    assert_non_null(strstr(read_file("out/train.tsv"), "\n1-1\tU2\t"));
    assert_non_null(strstr(read_file("out/train.tsv"), "\n2-1\tU3\t"));
}

static void mind_without_labels(void **state) {
    (void)state;
    write_text("items.tsv", news);
    write_text("behaviors.tsv", "1\tU1\t11/22/2019 3:00:00 PM\tN1\tN3 N4\n");
    rt_join_options o = options("behaviors.tsv");
    o.format = RT_JOIN_MIND;
    join_ok(&o);
    FILE_IS("out/predict.tsv", "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tcategory\tnew_item\tcold_user\n"
                               "1\tU1\tN3\t1574434800\tA \"quoted\" title\tThird\tfinance\t1\t0\n"
                               "1\tU1\tN4\t1574434800\tA \"quoted\" title\tFourth\tnews\t1\t0\n");
    assert_int_equal(access(in_folder("out/train.tsv"), F_OK), -1); /* of the join before: removed */
    assert_int_equal(summary.split[RT_SPLIT_PREDICT].rows, 2);
}

static void mind_bad_rows(void **state) {
    (void)state;
    write_text("items.tsv", news);
    rt_join_options o = options("behaviors.tsv");
    o.format = RT_JOIN_MIND, o.split = "2020-01-01";
    static const struct {
        const char *line, *words;
    } bad[] = {
        {"1\tU\t11/15/2019 10:00:00 AM\tN1\n", "behaviors.tsv:2: 4 fields, expected 5"},
        {"1\tU\t15.11.2019\tN1\tN1-0\n", "behaviors.tsv:2: time is \"15.11.2019\"; accepted: 11/15/2019 10:22:32 AM"},
        {"1\tU\t02/29/2019 10:00:00 AM\tN1\tN1-0\n", "behaviors.tsv:2: time is"},
        {"1\tU\t11/15/2019 10:00:00 AM\tN1\tN7-0\n", "behaviors.tsv:2: no such news in --items: \"N7\""},
        {"1\tU\t11/15/2019 10:00:00 AM\tN1\tN1-0 N2\n", "behaviors.tsv:2: a candidate is \"N2\"; accepted: an id with"},
        {"1\tU\t11/15/2019 10:00:00 AM\tN1\t\n", "behaviors.tsv:2: candidates are \"\""},
        {"\tU\t11/15/2019 10:00:00 AM\tN1\tN1-0\n", "behaviors.tsv:2: an impression's id \"\""},
        {"1\t\t11/15/2019 10:00:00 AM\tN1\tN1-0\n", "behaviors.tsv:2: a user's id \"\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "1\tU\t11/15/2019 10:00:00 AM\t\tN1-0 N2-1\n%s2\tV\t11/15/2019 10:00:01 AM\t\tN3-1\n", bad[i].line);
        write_text("behaviors.tsv", text);
        o.skip_bad_rows = false;
        JOIN_FAILS(&o, RT_EDATA, bad[i].words);
        o.skip_bad_rows = true;
        join_ok(&o);
        assert_int_equal(summary.bad_rows, 1);
        assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, 3);
    }
    o.user = "x";
    JOIN_FAILS(&o, RT_EUSAGE, "--user x: --format mind knows the columns of its files");
}

static const char *const movielens_rows =
    "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tclick\tnew_item\tcold_user\n"
    "1\t196\t1\t881250949\t\tToy Story (1995)\t0\t0\t1\n"
    "2\t186\t2\t891717742\t\tAm\xC3\xA9lie, la (2001)\t1\t0\t1\n"
    "2\t186\t1\t891717742\t\tToy Story (1995)\t0\t0\t1\n"
    "3\t186\t1\t891717743\tAm\xC3\xA9lie, la (2001)\tToy Story (1995)\t1\t0\t0\n";

static void movielens_100k(void **state) {
    (void)state;
    const char *zeros = "|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n";
    char text[512];
    snprintf(text, sizeof text, "1|Toy Story (1995)|01-Jan-1995||http://a%s2|Am\xE9lie, la (2001)|||http://b%s", zeros,
             zeros);
    write_text("items.tsv", text);
    write_text("u.data", "196\t1\t3\t881250949\n186\t2\t4\t891717742\n186\t1\t1\t891717742\n186\t1\t5\t891717743\n");
    rt_join_options o = options("u.data");
    o.format = RT_JOIN_MOVIELENS, o.split = "900000000";
    join_ok(&o);
    FILE_IS("out/train.tsv", movielens_rows);
    /* A first row whose fields are alike is no header either. */
    write_text("u.data", "1\t1\t1\t1\n186\t2\t4\t891717742\n");
    join_ok(&o);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, 2);
}

static void movielens_csv(void **state) {
    (void)state;
    write_text("movies.csv", "movieId,title,genres\r\n1,Toy Story (1995),Adventure|Animation\r\n"
                             "2,\"Am\xC3\xA9lie, la (2001)\",Drama\r\n");
    write_text("ratings.csv", "userId,movieId,rating,timestamp\r\n196,1,3.5,881250949\r\n186,2,4.0,891717742\r\n"
                              "186,1,0.5,891717742\r\n186,1,5.0,891717743\r\n");
    rt_join_options o = options("ratings.csv");
    o.items = in_folder("movies.csv"), o.format = RT_JOIN_MOVIELENS, o.split = "900000000";
    join_ok(&o);
    const char *got = read_file("out/train.tsv");
    assert_non_null(strstr(got, "2\t186\t2\t891717742\t\tAm\xC3\xA9lie, la (2001)\tDrama\t1\t0\t1\n"));
    assert_non_null(strstr(got, "\tAdventure|Animation\t0\t0\t1\n"));
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].clicks, 2);
}

/* --- clicks alone --------------------------------------------------------------------------------------------------
 */

enum { USERS = 20, ITEMS = 50, PLAYS = 12 };

static void what_is_sampled_was_never_clicked(void **state) {
    (void)state;
    char log[USERS * PLAYS * 32] = "user_id\titem_id\ttime\n";
    bool clicked[USERS][ITEMS] = {{false}};
    int known[ITEMS], user, item, time, click, cold, rows = 0;
    size_t at = strlen(log);
    rt_rng rng = rt_rng_make(3, 3, 3);
    for (int i = 0; i < ITEMS; i++) known[i] = 1 << 30;
    for (int i = 0; i < USERS * PLAYS; i++) {
        user = (int)rt_rng_below(&rng, USERS), item = (int)rt_rng_below(&rng, ITEMS - 2), time = i / 3;
        clicked[user][item] = true;
        if (time < known[item]) known[item] = time;
        at += (size_t)sprintf(log + at, "%d\t%d\t%d\n", user, item, time);
    }
    write_many_items(ITEMS);
    write_bytes("log.tsv", log, at);
    rt_join_options o = options("log.tsv");
    o.negatives = 3, o.split = "100000", o.history = 0;
    join_ok(&o);
    char *first = strdup(read_file("out/train.tsv")), *p = strchr(first, '\n') + 1;
    int group = 0, positive = 0, before = -1, seen[4], in_group = 0;
    for (; *p; p = strchr(p, '\n') + 1, rows++) {
        int g;
        assert_int_equal(sscanf(p, "%d\t%d\t%d\t%d\t\tMovie %*d\t%d\t0\t%d\n", &g, &user, &item, &time, &click, &cold),
                         6);
        if (g != group) {
            assert_int_equal(click, 1);
            in_group = 0;
        }
        group = g;
        for (int i = 0; i < in_group; i++) assert_int_not_equal(seen[i], item);
        assert_in_range(in_group, 0, 3);
        seen[in_group++] = item;
        positive += click;
        assert_true(click == clicked[user][item]);
        assert_true(known[item] <= time);
        assert_true(time >= before);
        before = time;
    }
    assert_int_equal(positive, USERS * PLAYS);
    assert_int_equal(rows, USERS * PLAYS * 4 - (int)summary.negatives_missing);
    assert_true(summary.negatives_missing > 0); /* of the first rows, when the log knew few items */
    assert_true(summary.negatives_missing < 60);
    join_ok(&o);
    assert_string_equal(first, read_file("out/train.tsv"));
    o.seed = 9;
    join_ok(&o);
    assert_string_not_equal(first, read_file("out/train.tsv"));
    free(first);
    o.negatives = -1;
    JOIN_FAILS(&o, RT_EUSAGE, "every row would be a click");
    o.negatives = 3, o.user = NULL;
    write_text("log.tsv", "item_id\ttime\n1\t1\n");
    JOIN_FAILS(&o, RT_EUSAGE, "needs --user");
}

/* A user of everything: what is left is found where it is near, and no row looks at all items. */
static void a_user_of_everything(void **state) {
    (void)state;
    enum { N = 6000 };
    char *log = malloc(N * 64);
    assert_non_null(log);
    size_t at = (size_t)sprintf(log, "user_id\titem_id\ttime\n");
    for (int i = 0; i < N; i++) at += (size_t)sprintf(log + at, "%s\t%d\t1\n", i == 17 ? "v" : "u", i);
    write_many_items(N);
    write_bytes("log.tsv", log, at);
    rt_join_options o = options("log.tsv");
    o.negatives = 2, o.split = "2", o.history = 0;
    join_ok(&o);
    const rt_join_counts *c = &summary.split[RT_SPLIT_TRAIN];
    assert_int_equal(c->clicks, N);
    assert_int_equal(c->rows + summary.negatives_missing, 3 * N);
    assert_in_range(summary.negatives_missing, N, 2 * N); /* one item at most was left for u */
    assert_non_null(strstr(read_file("out/train.tsv"), "\tu\t17\t1\t\tMovie 17\t0\t"));
    free(log);
}

/* --- values --------------------------------------------------------------------------------------------------------
 */

static const char *time_of(const char *text) {
    static rt_text out;
    rt_join_time t;
    bool calendar;
    rt_text_clear(&out);
    if (!rt_join_time_parse(text, strlen(text), &t, &calendar)) return "none";
    rt_text_puts(&out, calendar ? "date " : "");
    rt_join_time_print(t, &out);
    static char shown[64];
    snprintf(shown, sizeof shown, "%s", out.data);
    rt_text_free(&out);
    return shown;
}

static void times_are_read(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"0", "0"},
        {"-1", "-1"},
        {"-1.5", "-1.5"},
        {"-0.25", "-0.25"},
        {"1593878946.0", "1593878946"},
        {"1593878946.342", "1593878946.342"},
        {"1628643414042", "1628643414042"},
        {"1.5e9", "1500000000"},
        {"1.25e0", "1.25"},
        {"1.", "1"},
        {"20200705", "20200705"},
        {" 12 ", "12"},
        {"0.1234567894", "0.123456789"},
        {"1970-01-01", "date 0"},
        {"2000-02-29", "date 951782400"},
        {"2019-11-15 10:22:32", "date 1573813352"},
        {"2019-11-15T10:22:32.5Z", "date 1573813352.5"},
        {"2019-11-15T11:22:32+01:00", "date 1573813352"},
        {"2019-11-15 05:22:32-0500", "date 1573813352"},
        {"2019-11-15 10:22:32 UTC", "date 1573813352"},
        {"11/15/2019 10:22:32 AM", "date 1573813352"},
        {"11/15/2019 12:00:00 AM", "date 1573776000"},
        {"11/15/2019 12:00:00 PM", "date 1573819200"},
        {"2019/11/15", "date 1573776000"},
        {"1969-12-31 23:59:59", "date -1"},
        {"0001-01-01", "date -62135596800"},
        {"", "none"},
        {"-", "none"},
        {"now", "none"},
        {"1e400", "none"},
        {"9999999999999999999", "none"},
        {"2019-02-29", "none"},
        {"2019-13-01", "none"},
        {"2019-11-15 24:00", "none"},
        {"13/13/2019", "none"},
        {"2019-11-15 13:00 PM", "none"},
        {"2019-11-15x", "none"},
        {"15.11.2019", "none"},
        {"1 2", "none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_string_equal(time_of(cases[i][0]), cases[i][1]);
}

static void times_order_as_keys(void **state) {
    (void)state;
    static const char *const order[] = {"-5", "-1.5", "-1.25", "-1", "0", "0.5", "1", "1593878946.342"};
    for (size_t i = 0; i + 1 < sizeof order / sizeof order[0]; i++) {
        unsigned char a[12], b[12];
        rt_join_time x, y;
        bool calendar;
        assert_true(rt_join_time_parse(order[i], strlen(order[i]), &x, &calendar));
        assert_true(rt_join_time_parse(order[i + 1], strlen(order[i + 1]), &y, &calendar));
        rt_join_time_key(x, a);
        rt_join_time_key(y, b);
        assert_true(memcmp(a, b, 12) < 0);
        assert_true(rt_join_time_compare(x, y) < 0);
    }
}

static void texts_are_one_line(void **state) {
    (void)state;
    rt_text t = {0};
    assert_false(rt_join_clean(&t, " a\tb\r\n\x7F c \x1B[0m", 14, 100));
    assert_string_equal(t.data, "a b c [0m");
    rt_text_clear(&t);
    assert_true(rt_join_clean(&t, "ab \xC3\xA9\xC3\xA9", 7, 6)); /* not in the middle of a character */
    assert_string_equal(t.data, "ab \xC3\xA9");
    rt_text_free(&t);
}

static void splits_are_read(void **state) {
    (void)state;
    rt_join_rule r;
    assert_int_equal(rt_join_rule_parse("80/10/10", &r), RT_OK);
    assert_true(r.by_share && r.train > 0.799 && r.train < 0.801 && r.dev > 0.099 && r.dev < 0.101);
    assert_int_equal(rt_join_rule_parse("11/14/2019", &r), RT_OK);
    assert_true(!r.by_share && r.calendar && r.n_instants == 1 && r.dev_from.whole == 1573689600);
    assert_int_equal(rt_join_rule_parse("1628643414042,1658002729837", &r), RT_OK);
    assert_true(!r.by_share && !r.calendar && r.n_instants == 2);
    static const char *const bad[] = {"", "80/10", "80/10/20", "a", "5,4", "5,5", "5,", "2019-11-14,7", "80/10/10/0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(rt_join_rule_parse(bad[i], &r), RT_EUSAGE);
        assert_non_null(strstr(rt_error_get()->text, "--split"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mind_as_published),    cmocka_unit_test(mind_without_labels),
        cmocka_unit_test(mind_bad_rows),        cmocka_unit_test(movielens_100k),
        cmocka_unit_test(movielens_csv),        cmocka_unit_test(what_is_sampled_was_never_clicked),
        cmocka_unit_test(a_user_of_everything), cmocka_unit_test(times_are_read),
        cmocka_unit_test(times_order_as_keys),  cmocka_unit_test(texts_are_one_line),
        cmocka_unit_test(splits_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
