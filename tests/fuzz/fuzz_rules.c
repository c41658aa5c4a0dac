/* Any bytes as a file of rules, over a table of five items. What is taken says the same when its own lines are read
 * again, and a list that is chosen under it keeps it. */
#include "recommend/rules.h"
#include "tests/fuzz/fuzz.h"

enum { ITEMS = 5 };

static rt_table *open_table(void) {
    static const char csv[] = "item,brand,a b\n1,Acme,x\n2,Acme,\n3,\"B | C\",x\n4,,y\n5,#1,\"=\"\n";
    rt_table *table = NULL;
    fuzz_require(rt_table_open(fuzz_file(0, csv, sizeof csv - 1), RT_FORMAT_CSV, RT_QUOTING_AUTO, &table) == RT_OK);
    return table;
}

static bool has(const rt_rules *r, const rt_rule *rule, uint32_t item) {
    const uint32_t value = r->columns[rule->column].of_item[item];
    for (int v = 0; v < rule->n_values && value != RT_NO_ID; v++)
        if (rule->values[v] == value) return true;
    return false;
}

/* Rules as they are kept, a line each, are the same rules. */
static void read_again(const rt_rules *r) {
    rt_text lines = {0};
    rt_rules *again = NULL;
    for (int i = 0; i < r->n; i++) rt_text_printf(&lines, "%s\n", r->rules[i].text);
    fuzz_require(rt_rules_parse("again", lines.data, lines.size, &again) == RT_OK && again->n == r->n);
    for (int i = 0; i < r->n; i++) {
        const rt_rule *a = &r->rules[i], *b = &again->rules[i];
        fuzz_require(a->kind == b->kind && a->most == b->most && a->n_values == b->n_values);
        fuzz_require(!strcmp(r->columns[a->column].name, again->columns[b->column].name));
        for (int v = 0; v < a->n_values; v++)
            fuzz_require(a->sizes[v] == b->sizes[v] && !memcmp(a->names[v], b->names[v], a->sizes[v]));
    }
    rt_rules_free(again);
    rt_text_free(&lines);
}

static void choose(rt_rules *r) {
    uint64_t bits = (1u << ITEMS) - 1;
    uint32_t left = rt_rules_apply(r, &bits), taken = 0;
    fuzz_require(left == (uint32_t)__builtin_popcountll(bits) && bits >> ITEMS == 0);
    fuzz_require(rt_rules_begin(r, ITEMS) == RT_OK);
    for (uint32_t item = 0; item < ITEMS; item++)
        if (bits >> item & 1 && rt_rules_may(r, item)) rt_rules_take(r, item), taken |= 1u << item;
    for (int i = 0; i < r->n; i++) {
        const rt_rule *rule = &r->rules[i];
        const uint32_t *of_item = r->columns[rule->column].of_item;
        for (uint32_t item = 0; item < ITEMS; item++) {
            uint32_t same = 0;
            if (!(taken >> item & 1)) continue;
            if (rule->kind == RT_RULE_MUST) fuzz_require(has(r, rule, item));
            if (rule->kind == RT_RULE_MUST_NOT) fuzz_require(!has(r, rule, item));
            for (uint32_t k = 0; k < ITEMS; k++) same += taken >> k & 1 && of_item[k] == of_item[item];
            if (rule->kind == RT_RULE_AT_MOST && of_item[item] != RT_NO_ID) fuzz_require(same <= rule->most);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rt_rules *rules = NULL;
    char *bytes = fuzz_string(data, size);
    rt_status rc = rt_rules_parse("rules.txt", bytes, size, &rules);
    if (rc != RT_OK) {
        fuzz_refused(rc);
        free(bytes);
        return 0;
    }
    read_again(rules);
    rt_table *table = open_table();
    rc = rt_rules_bind(rules, table);
    if (rc == RT_OK) {
        const rt_field *fields;
        uint64_t line;
        while (fuzz_require(rt_table_next(table, &fields, &line) == RT_OK), fields)
            fuzz_require(rt_rules_add_item(rules, fields) == RT_OK);
        choose(rules);
    } else {
        fuzz_refused(rc);
    }
    rt_table_close(table);
    rt_rules_free(rules);
    free(bytes);
    return 0;
}
