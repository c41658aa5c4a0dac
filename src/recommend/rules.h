/* What a list may hold: a small file, one rule a line, about the columns of the items' table.
 *
 *     # a comment, to the end of the line
 *     must brand = Acme | "B | C"          only items of one of these values
 *     must not category = Alcohol          no item of these values
 *     at most 2 per brand                  of the items of one list
 *
 * All rules hold together. Values are compared byte by byte, blanks around them left out; in double quotes anything may
 * stand, "" for a quote. A column whose name has an = or begins with "not" goes in quotes too. An item without a value
 * is none that must wants, none that must not forbids, and is not counted by at most.
 *
 * must and must not act on the catalogue, before anything is looked for, so a list is as long as what they leave
 * allows; at most acts while a list is chosen (mmr.h): a candidate whose place is taken is passed over for good. */
#ifndef RT_RECOMMEND_RULES_H
#define RT_RECOMMEND_RULES_H
#include "../base/text.h"
#include "../data/table.h"
#include "ids.h"

enum { RT_RULES_MOST = 1000, RT_RULES_BYTES = 1 << 20, RT_RULES_CAP = 1000000 };

typedef enum { RT_RULE_MUST, RT_RULE_MUST_NOT, RT_RULE_AT_MOST } rt_rule_kind;

typedef struct {
    rt_rule_kind kind;
    int column;       /* of rt_rules.columns */
    int line;         /* in the file, from 1 */
    char *text;       /* the rule as it stands there, without a comment */
    uint32_t most;    /* AT_MOST */
    int n_values;     /* MUST, MUST_NOT */
    uint32_t *values; /* [n_values] numbers of the column's values, once bound */
    char **names;     /* [n_values] */
    size_t *sizes;
    /* What it did: items that it left out of the catalogue; candidates that AT_MOST passed over. */
    uint64_t effect;
    uint64_t matches; /* items that have one of the values, or for AT_MOST any */
} rt_rule;

typedef struct {
    char *name;
    int line;          /* where it is first named */
    int at;            /* in the table */
    rt_ids *ids;       /* its values */
    uint32_t *of_item; /* [n_items] RT_NO_ID: none */
} rt_rule_column;

typedef struct {
    char *path;
    int n, n_columns;
    rt_rule *rules;
    rt_rule_column *columns;
    uint32_t n_items, room;
    uint32_t *chosen, n_chosen, chosen_room;
} rt_rules;

/* RT_EDATA "FILE:LINE: ..." with what is accepted. */
rt_status rt_rules_read(const char *path, rt_rules **out);
/* The same of bytes in memory; `path` is for messages. */
rt_status rt_rules_parse(const char *path, const char *bytes, size_t size, rt_rules **out);
void rt_rules_free(rt_rules *rules);
/* Finds the columns: RT_EDATA with the rule's line, the columns there are, and the one that may be meant. */
rt_status rt_rules_bind(rt_rules *rules, const rt_table *table);
/* The next item of the catalogue, a row of the bound table. */
rt_status rt_rules_add_item(rt_rules *rules, const rt_field *fields);
/* Clears the bits of items that must and must not leave out; bits [(n_items + 63) / 64]. Returns how many remain. */
uint32_t rt_rules_apply(rt_rules *rules, uint64_t *bits);
/* A new list of at most k; then each candidate is asked for, and told when it is taken. */
rt_status rt_rules_begin(rt_rules *rules, uint32_t k);
bool rt_rules_may(rt_rules *rules, uint32_t item);
void rt_rules_take(rt_rules *rules, uint32_t item);

#endif
