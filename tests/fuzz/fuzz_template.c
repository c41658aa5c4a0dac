/* Any bytes as a text template, over a table whose columns have difficult names. What it renders is what a reading of
 * the rules in six lines expects. */
#include "data/template.h"
#include "tests/fuzz/fuzz.h"

enum { COLUMNS = 4 };
static const char *const names[COLUMNS] = {"a", "title", "a b", "titles"};
static const char *const values[COLUMNS] = {"1", "red shoes", "", "{a}"};

static rt_table *open_table(void) {
    static const char csv[] = "a,title,a b,titles\n1,red shoes,,{a}\n";
    rt_table *table = NULL;
    fuzz_require(rt_table_open(fuzz_file(0, csv, sizeof csv - 1), RT_FORMAT_CSV, RT_QUOTING_AUTO, &table) == RT_OK);
    return table;
}

static const char *value_of(const char *name, size_t size) {
    for (int c = 0; c < COLUMNS; c++)
        if (strlen(names[c]) == size && memcmp(names[c], name, size) == 0) return values[c];
    abort(); /* it was bound, so it is one of them */
}

static void expect(const char *t, rt_text *out) {
    bool bare = !strpbrk(t, "{}");
    if (bare) rt_text_puts(out, value_of(t, strlen(t)));
    while (!bare && *t) {
        size_t n = *t == '{' && t[1] != '{' ? strcspn(t, "}") : 0;
        if (n)
            rt_text_puts(out, value_of(t + 1, n - 1));
        else
            rt_text_append(out, t, 1);
        t += n ? n + 1 : *t == '{' || *t == '}' ? 2 : 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rt_table *table = open_table();
    char *text = fuzz_string(data, size);
    rt_template *template = NULL;
    rt_text scratch = {0}, expected = {0};
    rt_status rc = rt_template_parse(text, "data.text_a", &template);
    if (rc == RT_OK) rc = rt_template_bind(template, table);
    if (rc == RT_OK) {
        const rt_field *fields;
        const char *bytes;
        uint64_t line;
        fuzz_require(rt_table_next(table, &fields, &line) == RT_OK && fields);
        rt_template_render(template, fields, &scratch, &bytes, &size);
        expect(text, &expected);
        fuzz_require(size == expected.size && (size == 0 || memcmp(bytes, expected.data, size) == 0));
    } else {
        fuzz_refused(rc);
    }
    rt_text_free(&scratch);
    rt_text_free(&expected);
    rt_template_free(template);
    rt_table_close(table);
    free(text);
    return 0;
}
