/* Rules: what is read, what is refused, what they do. */
#include "base/philox.h"
#include "recommend/rules.h"
#include "tests/data/files.h"

static rt_rules *parse(const char *text) {
    rt_rules *r;
    if (rt_rules_parse("rules.txt", text, strlen(text), &r) != RT_OK) fail_msg("%s", rt_error_get()->text);
    return r;
}

static void lines_are_read(void **state) {
    (void)state;
    rt_rules *r = parse("\xEF\xBB\xBF# what we sell\r\n"
                        "\n"
                        "must brand = Acme | \"B | \"\"C\"\" #1\" # two brands\r\n"
                        "  MUST NOT  product category  =  Wine & Beer  \n"
                        "at most 2 per brand\n"
                        "must not brand = C# | D #E\n"
                        "must \"not = x\" = \"#7\"\n"
                        "at  most 1 per \"product category\"");
    assert_int_equal(r->n, 6);
    assert_int_equal(r->n_columns, 3);
    assert_string_equal(r->columns[0].name, "brand");
    assert_string_equal(r->columns[1].name, "product category");
    assert_string_equal(r->columns[2].name, "not = x");
    assert_int_equal(r->rules[0].kind, RT_RULE_MUST);
    assert_int_equal(r->rules[0].line, 3);
    assert_int_equal(r->rules[0].n_values, 2);
    assert_string_equal(r->rules[0].names[0], "Acme");
    assert_string_equal(r->rules[0].names[1], "B | \"C\" #1");
    assert_string_equal(r->rules[0].text, "must brand = Acme | \"B | \"\"C\"\" #1\"");
    assert_int_equal(r->rules[1].kind, RT_RULE_MUST_NOT);
    assert_int_equal(r->rules[1].column, 1);
    assert_string_equal(r->rules[1].names[0], "Wine & Beer");
    assert_int_equal(r->rules[2].kind, RT_RULE_AT_MOST);
    assert_int_equal(r->rules[2].most, 2);
    assert_int_equal(r->rules[2].column, 0);
    assert_int_equal(r->rules[3].n_values, 2);
    assert_string_equal(r->rules[3].names[0], "C#");
    assert_string_equal(r->rules[3].names[1], "D");
    assert_int_equal(r->rules[4].column, 2);
    assert_string_equal(r->rules[4].names[0], "#7");
    assert_int_equal(r->rules[5].column, 1);
    rt_rules_free(r);
    rt_rules_free(NULL);
}

static void wrong_lines_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"must brand = A\nshall brand = B\n", "rules.txt:2: \"shall brand = B\": not a rule; accepted: must COLUMN"},
        {"mustbrand = A", "rules.txt:1: \"mustbrand = A\": not a rule"},
        {"must brand A", "no = after the column"},
        {"must = A", "a column's name is missing"},
        {"must brand =", "a value is missing"},
        {"must brand = A |", "a value is missing"},
        {"must brand = \"\"", "a value is missing"},
        {"must brand = \"A", "rules.txt:1: \"\"A\": the quote does not end"},
        {"must brand = \"A\" B", "only | and another value may follow"},
        {"at most 0 per brand", "a whole number from 1 to 1000000"},
        {"at most -1 per brand", "a whole number"},
        {"at most 99999999999999999999 per brand", "a whole number"},
        {"at most 2 brand", "no \"per\" after the number"},
        {"at most 2 per ", "a column's name is missing"},
        {"at most 2 per \"brand\" or so", "nothing may follow the column"},
        {"at least 2 per brand", "not a rule"},
        {"", "no rule in it"},
        {"# nothing\n\n", "no rule in it"},
        {"must \x1b[2J = \x1b[1m = x\n", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rt_rules *r;
        rt_status rc = rt_rules_parse("rules.txt", cases[i].text, strlen(cases[i].text), &r);
        if (!cases[i].words) {
            rt_rules_free(r);
            continue;
        }
        assert_int_equal(rc, RT_EDATA);
        assert_null(r);
        if (!strstr(rt_error_get()->text, cases[i].words)) fail_msg("%s: %s", cases[i].text, rt_error_get()->text);
    }
    rt_rules *r;
    assert_int_equal(rt_rules_parse("rules.txt", "must a = b\0c", 12, &r), RT_EDATA);
    assert_non_null(strstr(rt_error_get()->text, "rules.txt:1: a NUL byte"));
    assert_int_equal(rt_rules_read(in_folder("none.txt"), &r), RT_ENOINPUT);
    assert_int_equal(rt_rules_read(write_text("r.txt", "must a = b"), &r), RT_OK);
    rt_rules_free(r);
    char *many = malloc(RT_RULES_BYTES + 2), *at = many;
    assert_non_null(many);
    for (int i = 0; i <= RT_RULES_MOST; i++) at += sprintf(at, "must a = b\n");
    assert_int_equal(rt_rules_parse("rules.txt", many, (size_t)(at - many), &r), RT_EDATA);
    assert_non_null(strstr(rt_error_get()->text, "rules.txt:1001: more than 1000 rules"));
    memset(many, '|', RT_RULES_BYTES + 1);
    assert_int_equal(rt_rules_parse("rules.txt", many, RT_RULES_BYTES + 1, &r), RT_EDATA);
    free(many);
}

/* Bytes from the grammar's own alphabet: whatever they say, nothing breaks. */
static void anything_may_stand_in_the_file(void **state) {
    (void)state;
    static const char *const pieces[] = {"must ", "not ", "at most ", "per ", "=",  "|",  "\"",   "#",
                                         "\n",    " ",    "a",        "9",    "\t", "\r", "\xff", "\"\""};
    rt_rng rng = rt_rng_make(5, 0, 0);
    int taken = 0;
    for (int round = 0; round < 20000; round++) {
        char text[256] = "";
        rt_rules *r;
        for (uint32_t i = rt_rng_below(&rng, 20); i-- > 0;) strcat(text, pieces[rt_rng_below(&rng, 16)]);
        if (rt_rules_parse("r", text, strlen(text), &r) == RT_OK) taken++, assert_true(r->n > 0);
        rt_rules_free(r);
    }
    assert_true(taken > 20);
}

static rt_table *open_items(const char *text) {
    rt_table *table;
    assert_int_equal(rt_table_open(write_text("items.tsv", text), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &table), RT_OK);
    return table;
}

static void add_items(rt_rules *r, rt_table *table) {
    const rt_field *fields;
    uint64_t line;
    if (rt_rules_bind(r, table) != RT_OK) fail_msg("%s", rt_error_get()->text);
    for (;;) {
        assert_int_equal(rt_table_next(table, &fields, &line), RT_OK);
        if (!fields) break;
        assert_int_equal(rt_rules_add_item(r, fields), RT_OK);
    }
}

static const char *const items = "item_id\tbrand\tcategory\n"
                                 "0\tAcme\tShoes\n"
                                 "1\tBolt\tShoes\n"
                                 "2\tAcme\tWine\n"
                                 "3\t\tShoes\n"
                                 "4\tCore\tHats\n"
                                 "5\tAcme\tShoes\n";

static void must_and_must_not_act_on_the_catalogue(void **state) {
    (void)state;
    static const struct {
        const char *rules;
        uint64_t left, effect[2], matches[2];
    } cases[] = {
        {"must brand = Acme", 0x25, {3}, {3}},
        {"must brand = Acme | Core", 0x35, {2}, {4}},
        {"must not brand = Acme", 0x1A, {3}, {3}},
        {"must brand = Acme\nmust not category = Wine", 0x21, {3, 1}, {3, 1}},
        {"must not category = Shoes | Hats", 0x04, {5}, {5}},
        {"must category = shoes", 0, {6}, {0}}, /* another value: bytes count */
        {"at most 2 per brand", 0x3F, {0}, {5}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rt_table *table = open_items(items);
        rt_rules *r = parse(cases[i].rules);
        uint64_t bits = 0x3F;
        add_items(r, table);
        assert_int_equal(rt_rules_apply(r, &bits), __builtin_popcountll(cases[i].left));
        assert_int_equal(bits, cases[i].left);
        for (int k = 0; k < r->n; k++) {
            assert_int_equal(r->rules[k].effect, cases[i].effect[k]);
            assert_int_equal(r->rules[k].matches, cases[i].matches[k]);
        }
        rt_rules_free(r);
        rt_table_close(table);
    }
}

static void at_most_acts_while_a_list_is_chosen(void **state) {
    (void)state;
    rt_table *table = open_items(items);
    rt_rules *r = parse("at most 1 per brand\nat most 2 per category");
    add_items(r, table);
    for (int list = 1; list <= 2; list++) {
        assert_int_equal(rt_rules_begin(r, 6), RT_OK);
        assert_true(rt_rules_may(r, 0));
        rt_rules_take(r, 0);
        assert_false(rt_rules_may(r, 2)); /* Acme again */
        assert_true(rt_rules_may(r, 3));  /* no brand is no brand */
        rt_rules_take(r, 3);
        assert_false(rt_rules_may(r, 1)); /* a third pair of shoes */
        assert_true(rt_rules_may(r, 4));
        assert_int_equal(r->rules[0].effect, list);
        assert_int_equal(r->rules[1].effect, list);
    }
    rt_rules_free(r);
    rt_table_close(table);
    table = open_items(items);
    r = parse("at most 1 per brand");
    add_items(r, table);
    assert_int_equal(rt_rules_begin(r, 3), RT_OK);
    rt_rules_take(r, 3);
    assert_true(rt_rules_may(r, 3)); /* nor is a second one without a brand one of the same */
    rt_rules_free(r);
    rt_table_close(table);
}

static void a_wrong_column_is_told(void **state) {
    (void)state;
    rt_table *table = open_items(items);
    rt_rules *r = parse("must brand = Acme\n\nat most 1 per categry");
    assert_int_equal(rt_rules_bind(r, table), RT_EDATA);
    const char *said = plain(rt_error_get()->text);
    if (!strstr(said, "rules.txt:3: items.tsv:1: no column \"categry\"") || !strstr(said, "did you mean \"category\""))
        fail_msg("%s", said);
    rt_rules_free(r);
    rt_table_close(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read),
        cmocka_unit_test(wrong_lines_are_named),
        cmocka_unit_test(anything_may_stand_in_the_file),
        cmocka_unit_test(must_and_must_not_act_on_the_catalogue),
        cmocka_unit_test(at_most_acts_while_a_list_is_chosen),
        cmocka_unit_test(a_wrong_column_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
