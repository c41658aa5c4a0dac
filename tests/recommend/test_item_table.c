/* The items' table, and histories as the join writes them. */
#include "recommend/item_table.h"
#include "tests/data/files.h"

static rt_catalogue c;
static rt_ids *names;

static rt_catalogue_options options(const char *path) {
    rt_ids_free(names);
    assert_int_equal(rt_ids_new(&names), RT_OK);
    return (rt_catalogue_options){.path = path,
                                  .id = "item_id",
                                  .texts = {"{brand} {title}", NULL, "title"},
                                  .keys = {"--item-text", NULL, "data.text_b"},
                                  .title = "title",
                                  .slice = "kind",
                                  .slice_names = names};
}

static void is(int t, uint32_t item, const char *wanted) {
    size_t size;
    const char *text = rt_catalogue_text(&c, t, item, &size);
    assert_int_equal(size, strlen(wanted));
    assert_memory_equal(text, wanted, size);
}

static void items_are_read(void **state) {
    (void)state;
    rt_rules *rules;
    rt_catalogue_options o = options(write_text("items.tsv", "item_id\tbrand\ttitle\tkind\n"
                                                             "7\tAcme\tRed  shoe\tshoes\n"
                                                             "3\t\t Blue hat \thats\n"
                                                             "7\tOther\tShoe\thats\n"
                                                             "9\tBolt\t\t\n"));
    assert_int_equal(rt_rules_parse("r", "must not brand = Bolt | Other", 29, &rules), RT_OK);
    o.rules = rules;
    if (rt_catalogue_read(&o, &c) != RT_OK) fail_msg("%s", rt_error_get()->text);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.again, 1);
    is(0, 0, "Acme Red  shoe");
    is(0, 1, "  Blue hat ");
    is(0, 2, "Bolt ");
    is(1, 0, "");
    is(2, 0, "Red  shoe");
    is(RT_CATALOGUE_TEXTS, 0, "Red shoe");
    is(RT_CATALOGUE_TEXTS, 1, "Blue hat");
    is(RT_CATALOGUE_TEXTS, 9, "");
    assert_int_equal(c.slices[0], 0);
    assert_int_equal(c.slices[1], 1);
    assert_int_equal(c.slices[2], RT_NO_ID);
    uint64_t bits = 7;
    assert_int_equal(rt_rules_apply(rules, &bits), 2); /* the second row of item 7 is not looked at */
    assert_int_equal(bits, 3);
    rt_rules_free(rules);

    rt_text history = {0};
    const uint32_t clicked[] = {1, 0, 2, 1, 0};
    assert_int_equal(rt_catalogue_history(&c, clicked, 5, 50, &history), 4);
    assert_string_equal(history.data, "Blue hat ; Red shoe ; Blue hat ; Red shoe");
    assert_int_equal(rt_catalogue_history(&c, clicked, 5, 3, &history), 2); /* one of the three has no title */
    assert_string_equal(history.data, "Blue hat ; Red shoe");
    assert_int_equal(rt_catalogue_history(&c, clicked, 0, 3, &history), 0);
    assert_int_equal(history.size, 0);
    rt_text_free(&history);
    rt_catalogue_free(&c);
    rt_catalogue_free(NULL);
}

static void a_history_has_its_bound(void **state) {
    (void)state;
    enum { LONG = 13107 }; /* five of them fit, but not with what stands between them */
    char *text = malloc(LONG + 64);
    assert_non_null(text);
    size_t at = (size_t)sprintf(text, "item_id\ttitle\n1\t");
    memset(text + at, 'x', LONG);
    strcpy(text + at + LONG, "\n");
    rt_catalogue_options o = options(write_text("long.tsv", text));
    o.texts[0] = NULL;
    assert_int_equal(rt_catalogue_read(&o, &c), RT_OK);
    assert_null(c.slices);
    rt_text history = {0};
    const uint32_t clicked[10] = {0};
    assert_int_equal(rt_catalogue_history(&c, clicked, 10, 50, &history), RT_HISTORY_BYTES / (LONG + 3));
    rt_text_free(&history);
    rt_catalogue_free(&c);
    free(text);
}

static void what_is_wrong_is_told(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"item_id\ttitle\tbrand\n", "items.tsv: no items in it"},
        {"id\ttitle\tbrand\n1\ta\tb\n", "items.tsv:1: no column \"item_id\""},
        {"item_id\ttitel\tbrand\n1\ta\tb\n",
         "no column \"title\"; found item_id, titel, brand; did you mean \"titel\"? (--item-text names"},
        {"item_id\ttitle\tbrand\n\ta\tb\n", "items.tsv:2: an item's id \"\"; accepted: 1 to 1024 bytes"},
        {"item_id\ttitle\tbrand\n1\ta\n", "items.tsv:2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rt_catalogue_options o = options(write_text("items.tsv", cases[i].text));
        assert_int_equal(rt_catalogue_read(&o, &c), RT_EDATA);
        if (!strstr(plain(rt_error_get()->text), cases[i].words)) fail_msg("%s", rt_error_get()->text);
        assert_null(c.ids);
    }
    rt_catalogue_options o = options(write_text("items.tsv", "item_id\ttitle\tbrand\n\ta\tb\n1\ta\n2\ta\tb\n"));
    o.skip_bad_rows = true;
    assert_int_equal(rt_catalogue_read(&o, &c), RT_OK);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.bad_rows, 2);
    rt_catalogue_free(&c);
    o = options(in_folder("items.tsv"));
    o.texts[0] = "{brand";
    assert_int_equal(rt_catalogue_read(&o, &c), RT_EUSAGE);
    rt_ids_free(names);
    names = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_read),
        cmocka_unit_test(a_history_has_its_bound),
        cmocka_unit_test(what_is_wrong_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
