/* The join: any bytes as item table and event log. The first byte chooses the format and what the flags say. After it,
 * what was written reads back, row for row as it was counted. */
#include "data/join.h"
#include "data/table.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

static rt_join_options choose(unsigned choice) {
    rt_join_options o = {.history = 3, .negatives = -1, .seed = 7, .memory = RT_JOIN_LEAST_MEMORY};
    o.format = (rt_join_format)((choice & 3) % 3);
    o.skip_bad_rows = choice & 4;
    o.split = choice & 8 ? "5,8" : NULL;
    if (o.format != RT_JOIN_TABLE) return o;
    o.impression = choice & 16 ? "impression" : NULL;
    o.query = choice & 16 ? "{user_id} {q}" : NULL;
    o.category = choice & 64 ? "category" : NULL;
    if (choice & 32) o.click = "click";
    if (!o.click || (o.impression && choice & 64)) o.negatives = 2;
    return o;
}

static void check_split(const rt_join_summary *s, rt_join_split split) {
    char path[128];
    rt_table *table = NULL;
    const rt_field *fields;
    uint64_t line, rows = 0;
    if (!s->split[split].rows) return;
    snprintf(path, sizeof path, "%s/%s.tsv", fuzz_folder(), rt_join_split_name(split));
    fuzz_require(rt_table_open(path, RT_FORMAT_TSV, RT_QUOTING_NONE, &table) == RT_OK);
    while (rt_table_next(table, &fields, &line) == RT_OK && fields) rows++;
    fuzz_require(rows == s->split[split].rows && s->split[split].clicks <= rows && s->split[split].groups <= rows);
    rt_table_close(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    rt_join_options o = choose(fuzz_choice(&rest));
    fuzz_bytes items = fuzz_part(&rest);
    rt_join_summary summary;
    o.items = fuzz_file(0, items.data, items.size);
    o.events = fuzz_file(1, rest.data, rest.size);
    o.folder = fuzz_folder();
    rt_status rc = rt_join(&o, NULL, &summary);
    if (rc != RT_OK) {
        fuzz_refused(rc);
        return 0;
    }
    for (int split = 0; split < RT_SPLITS; split++) check_split(&summary, (rt_join_split)split);
    return 0;
}
