/* Rules at work. The file is read in rules_parse.c. */
#include "rules.h"
#include <stdlib.h>
#include <string.h>

void rt_rules_free(rt_rules *r) {
    if (!r) return;
    for (int i = 0; i < r->n; i++) {
        rt_rule *rule = &r->rules[i];
        for (int v = 0; v < rule->n_values; v++) free(rule->names[v]);
        free(rule->names);
        free(rule->sizes);
        free(rule->values);
        free(rule->text);
    }
    for (int c = 0; c < r->n_columns; c++) {
        free(r->columns[c].name);
        rt_ids_free(r->columns[c].ids);
        free(r->columns[c].of_item);
    }
    free(r->rules);
    free(r->columns);
    free(r->chosen);
    free(r->path);
    free(r);
}

rt_status rt_rules_bind(rt_rules *r, const rt_table *table) {
    for (int c = 0; c < r->n_columns; c++) {
        rt_status rc = rt_table_require(table, r->columns[c].name, &r->columns[c].at);
        if (rc != RT_OK) return rt_fail_context(rc, "%s:%d", r->path, r->columns[c].line);
    }
    for (int i = 0; i < r->n; i++) {
        rt_rule *rule = &r->rules[i];
        if (rule->n_values == 0 || rule->values) continue;
        rule->values = calloc((size_t)rule->n_values, sizeof *rule->values);
        if (!rule->values) return rt_fail(RT_ENOMEM, "out of memory for rules");
        for (int v = 0; v < rule->n_values; v++)
            RT_TRY(rt_ids_add(r->columns[rule->column].ids, rule->names[v], rule->sizes[v], &rule->values[v]));
    }
    return RT_OK;
}

rt_status rt_rules_add_item(rt_rules *r, const rt_field *fields) {
    if (r->n_items == r->room) {
        uint32_t room = r->room ? 2 * r->room : 1024;
        for (int c = 0; c < r->n_columns; c++) {
            uint32_t *grown = realloc(r->columns[c].of_item, room * sizeof *grown);
            if (!grown) return rt_fail(RT_ENOMEM, "out of memory for the columns of %u items", room);
            r->columns[c].of_item = grown;
        }
        r->room = room;
    }
    for (int c = 0; c < r->n_columns; c++) {
        rt_rule_column *column = &r->columns[c];
        const rt_field *f = &fields[column->at];
        const char *bytes = f->missing || !f->size ? "" : f->bytes;
        size_t size = f->missing ? 0 : f->size;
        while (size && (*bytes == ' ' || *bytes == '\t')) bytes++, size--;
        while (size && (bytes[size - 1] == ' ' || bytes[size - 1] == '\t')) size--;
        column->of_item[r->n_items] = RT_NO_ID;
        if (size) RT_TRY(rt_ids_add(column->ids, bytes, size, &column->of_item[r->n_items]));
    }
    r->n_items++;
    return RT_OK;
}

static bool has_value(const rt_rule *rule, uint32_t value) {
    for (int v = 0; v < rule->n_values; v++)
        if (rule->values[v] == value) return true;
    return false;
}

uint32_t rt_rules_apply(rt_rules *r, uint64_t *bits) {
    uint32_t left = 0;
    for (int i = 0; i < r->n; i++) {
        rt_rule *rule = &r->rules[i];
        const uint32_t *of_item = r->columns[rule->column].of_item;
        rule->matches = 0;
        if (rule->kind != RT_RULE_AT_MOST) rule->effect = 0;
        for (uint32_t item = 0; item < r->n_items; item++) {
            bool match = rule->kind == RT_RULE_AT_MOST ? of_item[item] != RT_NO_ID : has_value(rule, of_item[item]);
            rule->matches += match;
            if (rule->kind == RT_RULE_AT_MOST || match == (rule->kind == RT_RULE_MUST)) continue;
            rule->effect++;
            bits[item / 64] &= ~((uint64_t)1 << item % 64);
        }
    }
    for (uint32_t item = 0; item < r->n_items; item++) left += bits[item / 64] >> item % 64 & 1;
    return left;
}

rt_status rt_rules_begin(rt_rules *r, uint32_t k) {
    r->n_chosen = 0;
    if (k <= r->chosen_room) return RT_OK;
    uint32_t *grown = realloc(r->chosen, k * sizeof *grown);
    if (!grown) return rt_fail(RT_ENOMEM, "out of memory for a list of %u", k);
    r->chosen = grown;
    r->chosen_room = k;
    return RT_OK;
}

bool rt_rules_may(rt_rules *r, uint32_t item) {
    for (int i = 0; i < r->n; i++) {
        rt_rule *rule = &r->rules[i];
        if (rule->kind != RT_RULE_AT_MOST) continue;
        const uint32_t *of_item = r->columns[rule->column].of_item;
        uint32_t same = 0;
        if (of_item[item] == RT_NO_ID) continue;
        for (uint32_t c = 0; c < r->n_chosen; c++) same += of_item[r->chosen[c]] == of_item[item];
        if (same < rule->most) continue;
        rule->effect++;
        return false;
    }
    return true;
}

void rt_rules_take(rt_rules *r, uint32_t item) {
    if (r->n_chosen < r->chosen_room) r->chosen[r->n_chosen++] = item;
}
