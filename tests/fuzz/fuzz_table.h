/* One table of any bytes, read to its end: what every format's fuzzer does. */
#ifndef FUZZ_TABLE_H
#define FUZZ_TABLE_H
#include "data/label.h"
#include "data/table.h"
#include "data/template.h"
#include "tests/fuzz/fuzz.h"

static void fuzz_table(const uint8_t *data, size_t size, rt_table_format format, rt_quoting quoting) {
    rt_table *t;
    rt_status rc = rt_table_open(fuzz_file(0, data, size), format, quoting, &t);
    if (rc != RT_OK) {
        fuzz_require(!t);
        fuzz_refused(rc);
        return;
    }
    const char *labels[] = {"no", "yes"};
    rt_template *template = NULL;
    rt_text scratch = {0}, source = {0};
    int column;
    uint64_t before = 0, rows = 0;
    if (rt_table_columns(t) < 1 ||
        (rt_table_require(t, "no such column", &column) == RT_OK) != (rt_table_find(t, "no such column") >= 0))
        abort();
    rt_text_printf(&source, "a{%s}b", rt_table_column_name(t, 0));
    if (rt_template_parse(source.data, "data.text_a", &template) == RT_OK && rt_template_bind(template, t) != RT_OK) {
        rt_template_free(template);
        template = NULL;
    }
    for (;;) {
        const rt_field *f;
        uint64_t line;
        rc = rt_table_next(t, &f, &line);
        if (rc == RT_OK && !f) break;
        /* Lines only go up, and no row is made of nothing; archives can unpack to more than their size. */
        if (line < before || (++rows > size + 1 && size > 3 && data[0] != 0x1F && data[0] != 0x28)) abort();
        before = line;
        if (rc == RT_EDATA) continue;
        if (rc != RT_OK) break;
        volatile unsigned char sum = 0;
        for (int c = 0; c < rt_table_columns(t); c++) {
            float w;
            if (f[c].missing && f[c].size) abort();
            for (size_t i = 0; i < f[c].size; i++) sum = (unsigned char)(sum + f[c].bytes[i]);
            int y = rt_label_parse(&f[c], labels, 2);
            if (y < -1 || y > 1) abort();
            if (rt_weight_parse(&f[c], &w) && !(w >= 0)) abort();
        }
        if (template) {
            const char *bytes;
            size_t n;
            rt_template_render(template, f, &scratch, &bytes, &n);
            if (n == 0 && rt_text_status(&scratch) == RT_OK) abort();
        }
    }
    rt_template_free(template);
    rt_text_free(&scratch);
    rt_text_free(&source);
    rt_table_close(t);
}

#endif
