/* The click log: ids, histories in order, both matrices, what a file may hold. */
#include "tests/recommend/log.h"

static void ids_are_dense_and_found_again(void **state) {
    (void)state;
    rt_ids *ids;
    uint32_t number;
    size_t size;
    char name[32];
    assert_int_equal(rt_ids_new(&ids), RT_OK);
    assert_int_equal(rt_ids_find(ids, "x", 1), RT_NO_ID);
    for (uint32_t i = 0; i < 5000; i++) {
        int n = snprintf(name, sizeof name, "user %u", i * 7919);
        assert_int_equal(rt_ids_add(ids, name, (size_t)n, &number), RT_OK);
        assert_int_equal(number, i);
    }
    assert_int_equal(rt_ids_add(ids, "", 0, &number), RT_OK);
    assert_int_equal(number, 5000);
    assert_int_equal(rt_ids_add(ids, "user 0", 6, &number), RT_OK);
    assert_int_equal(number, 0);
    assert_int_equal(rt_ids_count(ids), 5001);
    for (uint32_t i = 0; i < 5000; i++) {
        int n = snprintf(name, sizeof name, "user %u", i * 7919);
        assert_int_equal(rt_ids_find(ids, name, (size_t)n), i);
        const char *bytes = rt_ids_get(ids, i, &size);
        assert_int_equal(size, n);
        assert_memory_equal(bytes, name, size);
    }
    assert_int_equal(rt_ids_find(ids, "user 7919 ", 10), RT_NO_ID);
    assert_int_equal(rt_ids_find(ids, "user", 4), RT_NO_ID);
    rt_ids_free(ids);
    rt_ids_free(NULL);
}

static void histories_and_matrices_are_those_of_the_log(void **state) {
    (void)state;
    static made_log log;
    rt_events e;
    make_log(&log, 3, 40, 60, 3000);
    uint32_t *dense = dense_of(&log);
    arrange(&log, &e);
    assert_int_equal(e.n, log.n);
    for (uint32_t u = 0; u < log.n_users; u++) {
        /* By hand: time after time, rows in their order. */
        const uint32_t *items;
        uint32_t n = rt_events_history(&e, u, &items), at = 0;
        for (int64_t t = 0; t < 50; t++)
            for (uint32_t i = 0; i < log.n; i++)
                if (log.users[i] == u && log.times[i] == t) {
                    assert_true(at < n);
                    assert_int_equal(items[at], log.items[i]);
                    assert_int_equal(e.times[e.starts[u] + at], t);
                    at++;
                }
        assert_int_equal(at, n);
        n = rt_clicks_user(&e.clicks, u, &items);
        at = 0;
        for (uint32_t i = 0; i < log.n_items; i++) {
            uint32_t count = dense[u * log.n_items + i];
            if (!count) continue;
            assert_int_equal(items[at], i);
            assert_int_equal(e.clicks.user_counts[e.clicks.user_starts[u] + at], count);
            at++;
        }
        assert_int_equal(at, n);
    }
    for (uint32_t i = 0; i < log.n_items; i++) {
        uint64_t at = e.clicks.item_starts[i];
        for (uint32_t u = 0; u < log.n_users; u++)
            if (dense[u * log.n_items + i]) {
                assert_int_equal(e.clicks.item_users[at], u);
                assert_int_equal(e.clicks.item_counts[at], dense[u * log.n_items + i]);
                at++;
            }
        assert_int_equal(at, e.clicks.item_starts[i + 1]);
        assert_int_equal(rt_clicks_of_item(&e.clicks, i), at - e.clicks.item_starts[i]);
    }
    assert_int_equal(rt_clicks_of_item(&e.clicks, log.n_items), 0);
    free(dense);
    rt_events_free(&e);
}

/* The last two of 3 1 3 2 1 are 1 and 2, whatever stands before. */
static void a_limit_keeps_what_was_clicked_last(void **state) {
    (void)state;
    const uint32_t users[] = {0, 0, 0, 0, 0, 1}, items[] = {3, 1, 3, 2, 1, 0};
    rt_events e;
    rt_clicks c;
    uint32_t cut;
    assert_int_equal(rt_events_from(2, 4, 6, users, items, NULL, &e), RT_OK);
    assert_int_equal(rt_clicks_of(&e, 2, &c, &cut), RT_OK);
    assert_int_equal(cut, 1);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.user_items[0], 1);
    assert_int_equal(c.user_counts[0], 2);
    assert_int_equal(c.user_items[1], 2);
    assert_int_equal(c.user_counts[1], 1);
    assert_int_equal(c.user_items[2], 0);
    assert_int_equal(rt_clicks_of_item(&c, 3), 0);
    rt_clicks_free(&c);
    assert_int_equal(rt_clicks_of(&e, 3, &c, &cut), RT_OK);
    assert_int_equal(cut, 0);
    assert_int_equal(c.n, 4);
    rt_clicks_free(&c);
    rt_events_free(&e);
}

typedef struct {
    rt_ids *users, *items;
    rt_events_options o;
    rt_events e;
} reading;

static void begin(reading *r, const char *path) {
    uint32_t n;
    *r = (reading){0};
    assert_int_equal(rt_ids_new(&r->users), RT_OK);
    assert_int_equal(rt_ids_new(&r->items), RT_OK);
    for (const char *id = "abcd"; *id; id++) assert_int_equal(rt_ids_add(r->items, id, 1, &n), RT_OK);
    r->o = (rt_events_options){.path = path,
                               .user = "user_id",
                               .item = "item_id",
                               .time = "time",
                               .label = "click",
                               .time_optional = true,
                               .label_optional = true,
                               .users = r->users,
                               .items = r->items};
}

static void end(reading *r) {
    rt_events_free(&r->e);
    rt_ids_free(r->users);
    rt_ids_free(r->items);
}

static void read_ok(reading *r) {
    if (rt_events_read(&r->o, &r->e) != RT_OK) fail_msg("%s", rt_error_get()->text);
}

static void read_fails(reading *r, const char *words) {
    assert_int_equal(rt_events_read(&r->o, &r->e), RT_EDATA);
    if (!strstr(plain(rt_error_get()->text), words)) fail_msg("%s", rt_error_get()->text);
    assert_null(r->e.items);
}

static void clicks_alone_are_taken(void **state) {
    (void)state;
    reading r;
    const uint32_t *items;
    begin(&r, write_text("log.tsv", "time\tuser_id\titem_id\tclick\n"
                                    "2019-11-15 10:00:00\tu\ta\t1\n"
                                    "2019-11-14\tu\tb\t1\n"
                                    "2019-11-16\tu\tc\t0\n"
                                    "2019-11-16\tv\tz\t1\n"
                                    "2019-11-16\tw\td\tno\n"));
    r.o.skip_bad_rows = true;
    read_ok(&r);
    assert_int_equal(r.e.rows, 4);
    assert_int_equal(r.e.bad_rows, 1); /* "no" is no label here */
    assert_int_equal(r.e.unknown_items, 1);
    assert_int_equal(r.e.n, 2);
    assert_int_equal(rt_ids_count(r.users), 1); /* whoever clicked nothing that there is, is nobody */
    assert_int_equal(rt_events_history(&r.e, 0, &items), 2);
    assert_int_equal(items[0], 1);
    assert_int_equal(items[1], 0);
    assert_int_equal(r.e.times[1] - r.e.times[0], 34 * 3600);
    assert_true(r.e.timed);
    assert_false(r.e.all_rows_click);
    assert_int_equal(rt_events_history(&r.e, 7, &items), 0);
    end(&r);
}

static void without_label_or_time_rows_are_clicks_in_order(void **state) {
    (void)state;
    reading r;
    begin(&r,
          write_text("log.jsonl", "{\"user_id\": \"u\", \"item_id\": \"d\"}\n{\"user_id\": \"u\", \"item_id\": \"a\"}\n"
                                  "{\"user_id\": \"new\", \"item_id\": \"fresh\"}\n"));
    r.o.grow_items = true;
    read_ok(&r);
    assert_true(r.e.all_rows_click);
    assert_false(r.e.timed);
    assert_int_equal(r.e.n_items, 5);
    assert_int_equal(r.e.items[0], 3);
    assert_int_equal(r.e.items[1], 0);
    assert_int_equal(r.e.items[2], 4);
    end(&r);

    begin(&r, in_folder("log.jsonl"));
    r.o.known_users = true;
    read_ok(&r);
    assert_int_equal(r.e.n, 0);
    assert_int_equal(r.e.unknown_users, 2);
    assert_int_equal(r.e.unknown_items, 1);
    end(&r);

    begin(&r, in_folder("log.jsonl"));
    r.o.label_optional = false;
    read_fails(&r, "log.jsonl:1: no key \"click\"");
    end(&r);
}

static void names_of_labels_tell_the_click(void **state) {
    (void)state;
    static const char *const names[] = {"shown", "bought"};
    reading r;
    begin(&r, write_text("log.csv", "user_id,item_id,click\nu,a,bought\nu,b,shown\nu,c,1\n"));
    r.o.labels = names;
    r.o.n_labels = 2;
    read_ok(&r);
    assert_int_equal(r.e.n, 2);
    assert_int_equal(r.e.items[1], 2);
    end(&r);
}

static void bad_rows_are_named(void **state) {
    (void)state;
    static const struct {
        const char *rows, *words;
    } cases[] = {
        {"1\tu\ta\t1\n2\t\ta\t1\n", "log.tsv:3: user_id \"\"; accepted: 1 to 1024 bytes of text"},
        {"1\tu\t\t1\n", "log.tsv:2: item_id \"\""},
        {"1\tu\ta\tmaybe\n", "log.tsv:2: click \"maybe\"; accepted: 0 or 1"},
        {"soon\tu\ta\t1\n", "log.tsv:2: time \"soon\"; accepted: a number, or a date"},
        {"1\tu\ta\t1\n2019-11-15\tu\ta\t1\n",
         "log.tsv:3: time \"2019-11-15\"; accepted: a number, as in the rows before"},
        {"1\tu\ta\n", "log.tsv:2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        reading r;
        char text[256];
        snprintf(text, sizeof text, "time\tuser_id\titem_id\tclick\n%s", cases[i].rows);
        begin(&r, write_text("log.tsv", text));
        read_fails(&r, cases[i].words);
        end(&r);
    }
    reading r;
    begin(&r, write_text("log.tsv", "user_ids\titem_id\n"));
    read_fails(&r, "did you mean \"user_ids\"");
    end(&r);
    begin(&r, write_text("log.tsv", "user_id\titem_id\n"));
    read_ok(&r); /* no rows, no clicks */
    assert_int_equal(r.e.n, 0);
    assert_int_equal(r.e.n_users, 0);
    end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_dense_and_found_again),
        cmocka_unit_test(histories_and_matrices_are_those_of_the_log),
        cmocka_unit_test(a_limit_keeps_what_was_clicked_last),
        cmocka_unit_test(clicks_alone_are_taken),
        cmocka_unit_test(without_label_or_time_rows_are_clicks_in_order),
        cmocka_unit_test(names_of_labels_tell_the_click),
        cmocka_unit_test(bad_rows_are_named),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
