/* The join, row by row: histories, impressions, splits, negatives, the published formats, bad rows. */
#include "tests/data/join_case.h"

static const char *const items =
    "item_id\ttitle\tkind\n1\tRed shoe\tshoes\n2\tBlue  hat\thats\n3\tGreen \"bag\"\tbags\n"
    "4\tOld coat\tcoats\n";

/* What is strictly older, the newest kept; at one time nothing is known of what happens then. */
static void histories_are_strictly_older(void **state) {
    (void)state;
    write_text("items.tsv", items);
    write_text("log.tsv", "user_id\titem_id\ttime\tclick\n"
                          "u\t1\t10\t1\n"
                          "u\t2\t10\t1\n"
                          "u\t3\t20\t0\n"
                          "v\t1\t20\t1\n"
                          "u\t4\t30\t1\n"
                          "u\t3\t25.5\t1\n"
                          "u\t1\t40\t0\n"
                          "v\t2\t50\t0\n");
    rt_join_options o = options("log.tsv");
    o.click = "click";
    o.history = 3;
    o.split = "60/20/20";
    join_ok(&o);
    FILE_IS("out/train.tsv", "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tclick\tnew_item\tcold_user\n"
                             "1\tu\t1\t10\t\tRed shoe\t1\t0\t1\n"
                             "1\tu\t2\t10\t\tBlue hat\t1\t0\t1\n"
                             "2\tu\t3\t20\tRed shoe ; Blue hat\tGreen \"bag\"\t0\t0\t0\n"
                             "3\tv\t1\t20\t\tRed shoe\t1\t0\t1\n"
                             "4\tu\t3\t25.5\tRed shoe ; Blue hat\tGreen \"bag\"\t1\t0\t0\n");
    FILE_IS("out/dev.tsv", "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tclick\tnew_item\tcold_user\n"
                           "5\tu\t4\t30\tRed shoe ; Blue hat ; Green \"bag\"\tOld coat\t1\t1\t0\n"
                           "6\tu\t1\t40\tBlue hat ; Green \"bag\" ; Old coat\tRed shoe\t0\t0\t0\n");
    FILE_IS("out/test.tsv", "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tclick\tnew_item\tcold_user\n"
                            "7\tv\t2\t50\tRed shoe\tBlue hat\t0\t0\t0\n");
    FILE_IS("out/items.tsv", "item_id\ttitle\n1\tRed shoe\n2\tBlue hat\n3\tGreen \"bag\"\n4\tOld coat\n");
    const rt_join_counts *train = &summary.split[RT_SPLIT_TRAIN];
    assert_int_equal(train->rows, 5);
    assert_int_equal(train->clicks, 4);
    assert_int_equal(train->groups, 4);
    assert_int_equal(train->groups_no_positive, 1);
    assert_int_equal(train->groups_one_class, 4);
    assert_int_equal(train->no_history, 3);
    assert_string_equal(train->first, "10");
    assert_string_equal(train->last, "25.5");
    assert_string_equal(summary.dev_from, "30");
    assert_string_equal(summary.test_from, "50");
    assert_int_equal(summary.shared_users[0], 1); /* u in train and dev */
    assert_int_equal(summary.shared_users[1], 1); /* v in train and test */
    assert_int_equal(summary.shared_users[2], 0);
    assert_int_equal(summary.shared_items[0], 1); /* 1 */
    assert_int_equal(summary.shared_items[1], 1); /* 2 */
    assert_int_equal(summary.shared_titles[0], 1);
    assert_int_equal(summary.contradictory_pairs, 1); /* the bag after shoe and hat */
    assert_int_equal(summary.contradictory_rows, 2);
}

/* An impression is one thing: its rows share the history of its beginning, its split, and never see its own clicks. */
static void impressions_are_whole(void **state) {
    (void)state;
    write_text("items.tsv", items);
    write_text("log.csv", "user,item,at,shown,imp\n"
                          "u,1,2019-11-15 10:00:00,True,a\n"
                          "u,2,2019-11-15 10:00:05,True,a\n"
                          "u,3,2019-11-15 09:59:50,False,a\n"
                          "u,1,2019-11-15 10:00:02,True,b\n"
                          "u,4,2019-11-15T11:00:00Z,True,c\n"
                          "u,3,2019-11-15 23:59:59,False,d\n"
                          "u,2,2019-11-16 00:00:01,False,d\n"
                          "u,2,2019-11-16 01:00:00,True,e\n");
    rt_join_options o = options("log.csv");
    o.user = "user", o.item = "item", o.item_key = "item_id", o.time = "at", o.click = "shown", o.impression = "imp";
    o.category = "kind";
    o.split = "2019-11-16";
    join_ok(&o);
    FILE_IS("out/train.tsv",
            "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tcategory\tclick\tnew_item\tcold_user\n"
            "a\tu\t1\t1573812000\t\tRed shoe\tshoes\t1\t0\t1\n"
            "a\tu\t2\t1573812005\t\tBlue hat\thats\t1\t0\t1\n"
            "a\tu\t3\t1573811990\t\tGreen \"bag\"\tbags\t0\t0\t1\n"
            "b\tu\t1\t1573812002\tRed shoe\tRed shoe\tshoes\t1\t0\t0\n"
            "c\tu\t4\t1573815600\tRed shoe ; Red shoe ; Blue hat\tOld coat\tcoats\t1\t0\t0\n"
            "d\tu\t3\t1573862399\tRed shoe ; Red shoe ; Blue hat ; Old coat\tGreen \"bag\"\tbags\t0\t0\t0\n"
            "d\tu\t2\t1573862401\tRed shoe ; Red shoe ; Blue hat ; Old coat\tBlue hat\thats\t0\t0\t0\n");
    assert_string_equal(summary.dev_from, "2019-11-16 01:00:00");
    assert_int_equal(summary.split[RT_SPLIT_DEV].rows, 1);
    assert_int_equal(summary.shared_impressions, 0);
    assert_int_equal(access(in_folder("out/test.tsv"), F_OK), -1);
}

static void ids_of_several_users_are_told_apart(void **state) {
    (void)state;
    write_text("items.tsv", items);
    write_text("log.tsv", "user_id\titem_id\ttime\tclick\timp\nu\t1\t1\t1\t7\nv\t2\t2\t0\t7\nu\t3\t1\t0\t7\n");
    rt_join_options o = options("log.tsv");
    o.click = "click", o.impression = "imp", o.split = "5,6";
    join_ok(&o);
    FILE_IS("out/train.tsv", "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tclick\tnew_item\tcold_user\n"
                             "7:u\tu\t1\t1\t\tRed shoe\t1\t0\t1\n"
                             "7:u\tu\t3\t1\t\tGreen \"bag\"\t0\t0\t1\n"
                             "7:v\tv\t2\t2\t\tBlue hat\t0\t0\t1\n");
    assert_int_equal(summary.shared_impressions, 1);
}

/* Judged lists: no user, no time, the publisher's split; dev is whole queries of the rest. */
static void queries_without_users(void **state) {
    (void)state;
    char log[8192] = "query_id\tquery\tproduct\tlabel\tsplit\n", line[128];
    write_text("items.tsv", items);
    for (int q = 0; q < 40; q++)
        for (int k = 1; k <= 3; k++) {
            snprintf(line, sizeof line, "%d\tquery  %d\t%d\t%s\t%s\n", q, q, k, k == q % 3 + 1 ? "E" : "I",
                     q < 30 ? "train" : "test");
            strcat(log, line);
        }
    write_text("log.tsv", log);
    rt_join_options o = options("log.tsv");
    o.item = "product", o.item_key = "item_id", o.click = "label", o.positive = "E,S", o.impression = "query_id";
    o.query = "query", o.split_column = "split";
    join_ok(&o);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows + summary.split[RT_SPLIT_DEV].rows, 90);
    assert_int_equal(summary.split[RT_SPLIT_DEV].groups, 3);
    assert_int_equal(summary.split[RT_SPLIT_DEV].rows, 9);
    assert_int_equal(summary.split[RT_SPLIT_TEST].groups, 10);
    assert_int_equal(summary.split[RT_SPLIT_TEST].clicks, 10);
    assert_non_null(strstr(read_file("out/test.tsv"), "\n31\t2\tquery 31\t\tBlue hat\t1\t0\t1\n"));
    write_text("log.tsv", "query_id\tquery\tproduct\tlabel\tsplit\n1\tq\t1\tE\ttrain\n1\tq\t2\tE\ttest\n");
    JOIN_FAILS(&o, RT_EDATA, "the rows of impression \"1\" stand in different splits (--split-column split)");
}

static void kept_non_clicks(void **state) {
    (void)state;
    char log[65536] = "user_id\titem_id\ttime\tclick\timp\n", line[64];
    size_t at = strlen(log);
    int want = 0;
    write_many_items(40);
    for (int imp = 0; imp < 100; imp++)
        for (int k = 0; k < 20; k++) {
            /* One or two clicks; in every fifth impression none. */
            int click = imp % 5 == 4 ? 0 : k == 3 || (k == 11 && imp % 2);
            at += (size_t)snprintf(line, sizeof line, "u%d\t%d\t%d\t%d\ti%d\n", imp % 7, k + 1, imp, click, imp);
            strcat(log, line);
            if (imp < 80) want += click * 5;
        }
    write_bytes("log.tsv", log, at);
    rt_join_options o = options("log.tsv");
    o.click = "click", o.impression = "imp", o.negatives = 4;
    join_ok(&o);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, want);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].clicks * 4, summary.negatives_kept);
    assert_int_equal(summary.negatives_all, 80 * 20 - want / 5);
    assert_int_equal(summary.split[RT_SPLIT_DEV].rows + summary.split[RT_SPLIT_TEST].rows, 20 * 20);
    char *first = strdup(read_file("out/train.tsv"));
    join_ok(&o);
    assert_string_equal(first, read_file("out/train.tsv"));
    o.seed = 2;
    join_ok(&o);
    assert_string_not_equal(first, read_file("out/train.tsv"));
    free(first);
    o.negatives = 1000; /* there are fewer: what there is is taken */
    join_ok(&o);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, 64 * 20);
}

static void ratings_and_their_gap(void **state) {
    (void)state;
    write_text("items.tsv", items);
    write_text("log.jsonl", "{\"user_id\": \"u\", \"item_id\": \"1\", \"time\": 1, \"stars\": 5.0}\n"
                            "{\"user_id\": \"u\", \"item_id\": \"2\", \"time\": 2, \"stars\": 3}\n"
                            "{\"user_id\": \"u\", \"item_id\": \"3\", \"time\": 3, \"stars\": 1}\n"
                            "{\"user_id\": \"u\", \"item_id\": \"4\", \"time\": 4, \"stars\": 4}\n");
    rt_join_options o = options("log.jsonl");
    o.rating = "stars", o.min_rating = "4", o.max_rating = "2", o.split = "9,10";
    join_ok(&o);
    assert_int_equal(summary.left_out, 1);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, 3);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].clicks, 2);
    o.min_rating = ">4", o.max_rating = NULL;
    join_ok(&o);
    assert_int_equal(summary.left_out, 0);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].rows, 4);
    assert_int_equal(summary.split[RT_SPLIT_TRAIN].clicks, 1);
}

/* A log of its own for test: its clicks are no history of train, but of its own later rows. */
static void a_test_log(void **state) {
    (void)state;
    write_text("items.tsv", items);
    write_text("big.tsv", "user_id\titem_id\ttime\tclick\nu\t1\t10\t1\nu\t2\t30\t1\n");
    write_text("small.tsv", "user_id\titem_id\ttime\tclick\nu\t3\t20\t1\nu\t4\t40\t0\n");
    rt_join_options o = options("big.tsv");
    o.click = "click", o.test_events = in_folder("small.tsv"), o.split = "99";
    join_ok(&o);
    assert_non_null(strstr(read_file("out/train.tsv"), "\tRed shoe\tBlue hat\t"));
    assert_non_null(
        strstr(read_file("out/test.tsv"), "\t40\tRed shoe ; Green \"bag\" ; Blue hat\tOld coat\t0\t1\t0\n"));
    o.split = "80/10/10";
    JOIN_FAILS(&o, RT_EUSAGE, "test comes from --test-events");
}

/* --- against a join made plainly -----------------------------------------------------------------------------------
 */

typedef struct {
    int user, item, time, click, imp, shown;
} event;

enum { EVENTS = 3000, USERS = 23, MOVIES = 60, HISTORY = 4 };

static char *expected_history(const event *all, const event *e) {
    static char out[256];
    const event *kept[EVENTS];
    int n = 0;
    for (int t = 0; t < e->shown; t++) /* by time, then by place in the log */
        for (int i = 0; i < EVENTS; i++)
            if (all[i].user == e->user && all[i].click && all[i].time == t) kept[n++] = &all[i];
    out[0] = 0;
    for (int i = n > HISTORY ? n - HISTORY : 0; i < n; i++) {
        if (out[0]) strcat(out, " ; ");
        sprintf(out + strlen(out), "Movie %d", kept[i]->item);
    }
    return out;
}

static const event *events_for_sort;
static int by_group(const void *a, const void *b) {
    const event *x = &events_for_sort[*(const int *)a], *y = &events_for_sort[*(const int *)b];
    char p[16], q[16];
    if (x->shown != y->shown) return x->shown - y->shown;
    snprintf(p, sizeof p, "i%d", x->imp);
    snprintf(q, sizeof q, "i%d", y->imp);
    int order = strcmp(p, q);
    return order ? order : (x > y) - (x < y);
}

static void as_a_plain_join_makes_it(void **state) {
    (void)state;
    event *e = calloc(EVENTS, sizeof *e);
    char *log = malloc(EVENTS * 64), *want = malloc(EVENTS * 300);
    int order[EVENTS];
    assert_true(e && log && want);
    rt_rng rng = rt_rng_make(5, 5, 5);
    size_t at = (size_t)sprintf(log, "imp\tuser_id\titem_id\ttime\tclick\n");
    for (int i = 0; i < EVENTS; i++) {
        /* Impressions of three rows, of one user, at times that often meet. */
        e[i].imp = (int)((unsigned)i * 7919u % EVENTS) / 3;
        e[i].user = e[i].imp % USERS;
        e[i].item = (int)rt_rng_below(&rng, MOVIES);
        e[i].time = e[i].imp / 8 + (int)rt_rng_below(&rng, 3);
        e[i].click = rt_rng_below(&rng, 3) == 0;
        order[i] = i;
        at += (size_t)sprintf(log + at, "i%d\t%d\t%d\t%d\t%d\n", e[i].imp, e[i].user, e[i].item, e[i].time, e[i].click);
    }
    for (int i = 0; i < EVENTS; i++) {
        e[i].shown = e[i].time;
        for (int k = 0; k < EVENTS; k++)
            if (e[k].imp == e[i].imp && e[k].time < e[i].shown) e[i].shown = e[k].time;
    }
    events_for_sort = e;
    qsort(order, EVENTS, sizeof order[0], by_group);
    size_t n =
        (size_t)sprintf(want, "impression_id\tuser_id\titem_id\ttime\thistory\ttitle\tclick\tnew_item\tcold_user\n");
    for (int i = 0; i < EVENTS; i++) {
        const event *x = &e[order[i]];
        const char *history = expected_history(e, x);
        n += (size_t)sprintf(want + n, "i%d\t%d\t%d\t%d\t%s\tMovie %d\t%d\t0\t%d\n", x->imp, x->user, x->item, x->time,
                             history, x->item, x->click, !*history);
    }
    write_many_items(MOVIES);
    write_bytes("log.tsv", log, at);
    rt_join_options o = options("log.tsv");
    o.click = "click", o.impression = "imp", o.history = HISTORY, o.split = "99999";
    join_ok(&o);
    const char *got = read_file("out/train.tsv");
    assert_int_equal(strlen(got), n);
    assert_memory_equal(got, want, n);
    free(e);
    free(log);
    free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories_are_strictly_older),
        cmocka_unit_test(impressions_are_whole),
        cmocka_unit_test(ids_of_several_users_are_told_apart),
        cmocka_unit_test(queries_without_users),
        cmocka_unit_test(kept_non_clicks),
        cmocka_unit_test(ratings_and_their_gap),
        cmocka_unit_test(a_test_log),
        cmocka_unit_test(as_a_plain_join_makes_it),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
