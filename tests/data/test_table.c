/* Tables: what is read, and what is said when it cannot be. */
#include "data/label.h"
#include "data/table.h"
#include "data/template.h"
#include "tests/data/files.h"
#include <zlib.h>
#include <zstd.h>

/* All rows of a file as "a|b|c\n" (missing: "~"), bad rows as "!message\n". */
static char *read_all(const char *path, rt_table_format format, rt_quoting quoting) {
    static char out[1 << 16];
    rt_table *t;
    size_t at = 0;
    if (rt_table_open(path, format, quoting, &t) != RT_OK) {
        snprintf(out, sizeof out, "%s", plain(rt_error_get()->text));
        return out;
    }
    out[0] = 0;
    for (;;) {
        const rt_field *f;
        uint64_t line;
        rt_status rc = rt_table_next(t, &f, &line);
        if (rc != RT_OK) {
            at += (size_t)snprintf(out + at, sizeof out - at, "!%s\n", plain(rt_error_get()->text));
            if (rc == RT_EDATA) continue;
            break;
        }
        if (!f) break;
        for (int c = 0; c < rt_table_columns(t); c++)
            at += (size_t)snprintf(out + at, sizeof out - at, "%s%.*s", c ? "|" : "", f[c].missing ? 1 : (int)f[c].size,
                                   f[c].missing ? "~" : f[c].bytes);
        at += (size_t)snprintf(out + at, sizeof out - at, "\n");
    }
    rt_table_close(t);
    return out;
}

#define READS(name, text, want)                                                                                        \
    assert_string_equal(read_all(write_text(name, text), RT_FORMAT_AUTO, RT_QUOTING_AUTO), want)

static void tsv_is_read(void **state) {
    (void)state;
    READS("a.tsv", "x\ty\n1\t2\n3\t\n", "1|2\n3|\n");
    READS("a.tsv", "x\ty\r\n1\t2\r\n3\t4", "1|2\n3|4\n");
    READS("a.tsv", "\xEF\xBB\xBFx\ty\n1\t2\n", "1|2\n");
    READS("a.tsv", "x\ty\n1\t2\n\n3\t4\n\n\n", "1|2\n3|4\n");
    READS("a.tsv", "x\na\n\nb\n", "a\n\nb\n"); /* in a single column an empty line is an empty text */
    READS("a.tsv", "x\ty\n", "");
    READS("a.tsv", "x\ty", "");
    READS("a.txt", "x\ty\n1,2\t3\n", "1,2|3\n");
    READS("a.dat", "x,y\n1,2\n", "1|2\n");
    READS("tabs.csv", "x\ty\n1,5\t2\n", "1,5|2\n"); /* a .csv with tabs, as Music4All has it */
    READS("a.tsv", "x\ty\n1\t\"2\" inch\n\"a\" b\t3\n", "1|\"2\" inch\n\"a\" b|3\n");
}

static void the_bom_is_no_part_of_a_name(void **state) {
    (void)state;
    rt_table *t;
    assert_int_equal(rt_table_open(write_text("b.tsv", "\xEF\xBB\xBFx\ty\r\n"), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t),
                     RT_OK);
    assert_int_equal(rt_table_find(t, "x"), 0);
    assert_int_equal(rt_table_find(t, "y"), 1);
    assert_int_equal(rt_table_find(t, "z"), -1);
    assert_string_equal(rt_table_column_name(t, 1), "y");
    assert_null(rt_table_column_name(t, 2));
    rt_table_close(t);
    rt_table_close(NULL);
}

static void csv_is_read(void **state) {
    (void)state;
    READS("a.csv", "x,y\n1,2\n", "1|2\n");
    READS("a.csv", "x,y\n\"a,b\",\"c\"\"d\"\n", "a,b|c\"d\n");
    READS("a.csv", "x,y\n\"a\nb\",\"\"\nc,d\n", "a\nb|\nc|d\n");
    READS("a.csv", "x,y\r\n\"a\r\nb\",\"c\"\r\nd,e\r\n", "a\r\nb|c\nd|e\n");
    READS("a.csv", "\"x\",\"y z\"\n1,\"2\"", "1|2\n");
    READS("a.csv", "x,y\n5\" screen,2\n", "5\" screen|2\n"); /* a quote inside an unquoted field is itself */
    READS("a.csv", "x,y\n,\n\"\",\n", "|\n|\n");
    assert_string_equal(read_all(write_text("a.csv", "x,y\n\"a\",b\n"), RT_FORMAT_AUTO, RT_QUOTING_NONE), "\"a\"|b\n");
}

static void quoting_is_found_in_the_first_rows(void **state) {
    (void)state;
    rt_table *t;
    bool guessed;
    const struct {
        const char *text;
        rt_quoting want;
    } cases[] = {
        {"x\ty\n\"a \"\"b\"\" c\"\t1\n", RT_QUOTING_CSV}, /* pandas: a quote inside */
        {"x\ty\n\"a\tb\"\t1\n", RT_QUOTING_CSV},          /* a tab inside */
        {"x\ty\n\"a\nb\"\t1\n", RT_QUOTING_CSV},          /* a line break inside */
        {"\"x\"\t\"y\"\n\"a\"\t\"1\"\n", RT_QUOTING_CSV}, /* everything quoted */
        {"x\ty\nplain\t1\n", RT_QUOTING_NONE},
        {"x\ty\n\"Heroes\" (1977)\t1\n", RT_QUOTING_NONE}, /* a raw title */
        {"x\ty\n\"Heroes\"\t1\n", RT_QUOTING_NONE},        /* nothing inside that needs quotes */
        {"x\ty\n\"a \"\"b\"\"\"\t1\n\"Heroes\" (1977)\t1\n", RT_QUOTING_NONE},
        {"x\ty\n\"open\t1\nplain\t1\n", RT_QUOTING_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(rt_table_open(write_text("q.tsv", cases[i].text), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_OK);
        assert_int_equal(rt_table_get_quoting(t, &guessed), cases[i].want);
        assert_int_equal(guessed, cases[i].want == RT_QUOTING_CSV);
        rt_table_close(t);
    }
    READS("q.tsv", "x\ty\n\"a \"\"b\"\" c\"\t1\n\"a\tb\"\t2\n", "a \"b\" c|1\na\tb|2\n");
    const rt_field *f;
    uint64_t line;
    assert_int_equal(
        rt_table_open(write_text("q.tsv", "x\ty\n\"a \"\"b\"\"\"\t1\n"), RT_FORMAT_TSV, RT_QUOTING_NONE, &t), RT_OK);
    assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
    assert_int_equal(rt_table_suspicious(t), 1);
    rt_table_close(t);
}

static void jsonl_is_read(void **state) {
    (void)state;
    READS("a.jsonl", "{\"x\": \"a\", \"y\": 1}\n{\"y\": 2, \"x\": \"b\"}\n", "a|1\nb|2\n");
    READS("a.jsonl", "{\"x\": 1.50, \"y\": 12345678901234567890123}\n{\"x\": -0.0, \"y\": 1E5}\n",
          "1.50|12345678901234567890123\n-0.0|1E5\n");
    READS("a.jsonl", "{\"x\": true, \"y\": false}\n{\"x\": null}\n", "true|false\n~|~\n");
    READS("a.jsonl", "{\"a\": {\"b\": 1, \"c\": {\"d\": \"e\"}}, \"f\": 2}\n", "1|e|2\n");
    READS("a.jsonl", "{\"a\": [\"x\", 1.0, true, null, [2, {\"k\": 3}]], \"b\": 4.0}\n", "x 1.0 true 2 3|4.0\n");
    READS("a.jsonl", "{\"a\": \"1 \\\"2\\\" \\\\\", \"b\": 7}\n",
          "1 \"2\" \\|7\n"); /* digits in strings are no numbers */
    READS("a.jsonl", "\n{\"x\": 1}\r\n  \n{\"x\": 2}", "1\n2\n");
    READS("a.jsonl", "{\"x\": 1}\n{\"x\": 2, \"late\": 3}\n", "1|~\n2|3\n");
    READS("a.jsonl", "{\"\": 1, \"x\": []}\n", "1|\n");
    READS("a.jsonl", "{\"x\": \"\\u00e9\\ud83d\\ude00\"}\n", "\xC3\xA9\xF0\x9F\x98\x80\n");
    READS("noname", "{\"x\": 1}\n", "1\n");
    READS("unused.jsonl", "{\"x\": {\"n\": 5}, \"y\": 6}\n{\"z\": {\"n\": [8, 9]}, \"y\": 7}\n", "5|6|~\n~|7|8 9\n");
}

static void bad_rows_say_what_and_where(void **state) {
    (void)state;
    READS("t.tsv", "x\ty\n1\n1\t2\t3\n4\t5\n",
          "!t.tsv:2: 1 field, expected 2 (x, y); is there a tab or a line break inside a text (quoting = csv reads "
          "texts in "
          "quotes)?\n"
          "!t.tsv:3: 3 fields, expected 2 (x, y); is there a tab or a line break inside a text (quoting = csv reads "
          "texts in "
          "quotes)?\n4|5\n");
    READS("t.csv", "x,y\n\"a\"b,1\n2,3\n",
          "!t.csv:2: text after a closing quote (byte 4 of the row); a field that begins with \" ends with \" and "
          "doubles "
          "those inside\n2|3\n");
    READS(
        "t.csv", "x,y\n1,2\n\"a,1\n3,4\n",
        "1|2\n!t.csv:3: a quote that is never closed (byte 1 of the row); a field that begins with \" ends with \" and "
        "doubles those inside\n3|4\n");
    READS("t.csv", "x,y\n\"a\nb\",1,2\n3,4\n",
          "!t.csv:2: 3 fields, expected 2 (x, y); is there a comma or a line break inside a text that is not in "
          "quotes?\n3|4\n");
    assert_string_equal(read_all(write_bytes("t.tsv", "x\ty\na\0b\t1\n2\t3\n", 14), RT_FORMAT_AUTO, RT_QUOTING_AUTO),
                        "!t.tsv:2: a NUL byte (byte 2 of the row); text in UTF-8 is expected\n2|3\n");
    READS("t.jsonl", "{\"x\": 1}\n{\"x\": }\n{\"x\": 2}\n",
          "1\n!t.jsonl:2: not a JSON object: unexpected token near '}' (column 7); one object a line is expected, "
          "{\"key\": "
          "value, ...}\n2\n");
    READS("t.jsonl", "{\"x\": 1}\n{\"x\": 1, \"x\": 2}\n",
          "1\n!t.jsonl:2: not a JSON object: duplicate object key near '\"x\"' (column 12); one object a line is "
          "expected, "
          "{\"key\": value, ...}\n");
    READS("t.jsonl", "{\"x\": 1}\n{\"x\": 1} 2\n",
          "1\n!t.jsonl:2: not a JSON object: end of file expected near '2' (column 10); one object a line is expected, "
          "{\"key\": value, ...}\n");
    READS("t.json", "[{\"x\": 1}]\n",
          "t.json:1: not a JSON object: a list; jq -c '.[]' turns a list of objects into JSON lines (column 1); one "
          "object a "
          "line is expected, {\"key\": value, ...}");
}

static void line_numbers_count_breaks_inside_quotes(void **state) {
    (void)state;
    rt_table *t;
    const rt_field *f;
    uint64_t line;
    assert_int_equal(
        rt_table_open(write_text("l.csv", "x,y\n\"a\n\nb\",1\n2,3\n"), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_OK);
    assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
    assert_int_equal(line, 2);
    assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
    assert_int_equal(line, 5);
    assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
    assert_null(f);
    assert_int_equal(rt_table_next(t, &f, &line), RT_OK); /* the end stays the end */
    assert_null(f);
    rt_table_close(t);
}

static void opening_says_what_is_wrong(void **state) {
    (void)state;
    READS("e.tsv", "", "e.tsv: empty; a header line with the columns' names is expected");
    READS("e.tsv", "\xEF\xBB\xBF", "e.tsv: empty; a header line with the columns' names is expected");
    READS("e.tsv", "\nx\ty\n", "e.tsv:1: an empty line; a header with the columns' names is expected");
    READS("e.tsv", "x\ty\tx\n",
          "e.tsv:1: column \"x\" stands there twice (columns 1 and 3); each needs a name of its own");
    READS("e.tsv", "x\ty\r1\t2\r", "e.tsv: its lines end in CR alone; convert it: tr '\\r' '\\n' < 'e.tsv'");
    READS("e.jsonl", "{}\n{}\n", "e.jsonl: no JSON object with a key; one object a line is expected");
    rt_table *t;
    assert_int_equal(rt_table_open(in_folder("none.tsv"), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_ENOINPUT);
    assert_string_equal(plain(rt_error_get()->text), "none.tsv: no such file or folder");
    assert_int_equal(rt_table_open(test_folder, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_EDATA);
    assert_int_equal(rt_table_open("/dev/zero", RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_EDATA);
    assert_string_equal(rt_error_get()->text,
                        "/dev/zero: a named pipe, socket or device; a regular file is expected, or "
                        "\"-\" to read stdin");
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    assert_int_equal(rt_table_open(in_folder("fifo"), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_EDATA);
}

static void foreign_formats_are_refused_with_the_way_on(void **state) {
    (void)state;
    const struct {
        const char *bytes;
        size_t size;
        const char *what, *way;
    } cases[] = {
        {"PAR1\025\004", 6, "a Parquet file", "read_parquet('"},
        {"ARROW1\0\0", 8, "an Arrow (Feather) file", "read_feather('"},
        {"ORC\n\013", 5, "an ORC file", "read_orc('"},
        {"PK\003\004\024\0", 6, "a zip archive", "unzip '"},
        {"\x89HDF\r\n\x1A\n\0", 9, "an HDF5 file", "read_hdf('"},
        {"BZh91AY", 7, "a bzip2 file", "bunzip2"},
        {"\xFD"
         "7zXZ\0",
         6, "an xz file", "xz -dk"},
        {"SQLite format 3\0", 16, "an SQLite database", "sqlite3 -csv"},
        {"\xFF\xFEx\0\t\0", 6, "UTF-16 text", "iconv -f UTF-16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rt_table *t;
        const char *path = write_bytes("f.tsv", cases[i].bytes, cases[i].size);
        assert_int_equal(rt_table_open(path, RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_EDATA);
        assert_null(t);
        assert_non_null(strstr(rt_error_get()->text, cases[i].what));
        assert_non_null(strstr(rt_error_get()->text, cases[i].way));
        assert_non_null(strstr(rt_error_get()->text, path));
    }
}

static void a_missing_column_is_named(void **state) {
    (void)state;
    rt_table *t;
    int column;
    assert_int_equal(
        rt_table_open(write_text("train.tsv", "history\ttitle\tclicked\n"), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t),
        RT_OK);
    assert_int_equal(rt_table_require(t, "title", &column), RT_OK);
    assert_int_equal(column, 1);
    assert_int_equal(rt_table_require(t, "click", &column), RT_EDATA);
    assert_string_equal(plain(rt_error_get()->text),
                        "train.tsv:1: no column \"click\"; found history, title, clicked; did you mean \"clicked\"?");
    assert_int_equal(rt_table_require(t, "zzzzzz", &column), RT_EDATA);
    assert_string_equal(plain(rt_error_get()->text),
                        "train.tsv:1: no column \"zzzzzz\"; found history, title, clicked");
    rt_table_close(t);
}

static char *big; /* 40 MiB */

static void long_rows_are_bad_rows(void **state) {
    (void)state;
    const size_t limit = (size_t)8 << 20;
    big = malloc(40 << 20);
    assert_non_null(big);
    rt_table *t;
    const rt_field *f;
    uint64_t line;
    /* Exactly at the limit, one over it, far over it, and one after. */
    const size_t sizes[] = {limit, limit + 1, 2 * limit + 12345};
    size_t at = (size_t)sprintf(big, "x\n");
    FILE *file = fopen(in_folder("long.tsv"), "wb");
    assert_non_null(file);
    fwrite(big, 1, at, file);
    memset(big, 'a', 40 << 20);
    for (int i = 0; i < 3; i++) {
        fwrite(big, 1, sizes[i], file);
        fputc('\n', file);
    }
    fputs("last\n", file);
    assert_int_equal(fclose(file), 0);
    for (int quoting = RT_QUOTING_NONE; quoting <= RT_QUOTING_CSV; quoting++) {
        assert_int_equal(rt_table_open(in_folder("long.tsv"), RT_FORMAT_TSV, (rt_quoting)quoting, &t), RT_OK);
        assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
        assert_int_equal(f[0].size, limit);
        assert_int_equal(rt_table_next(t, &f, &line), RT_EDATA);
        assert_non_null(strstr(rt_error_get()->text, "long.tsv:3: over 8 MiB"));
        assert_int_equal(rt_table_next(t, &f, &line), RT_EDATA);
        assert_non_null(strstr(rt_error_get()->text, "long.tsv:4: over 8 MiB"));
        assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
        assert_int_equal(line, 5);
        assert_int_equal(f[0].size, 4);
        assert_memory_equal(f[0].bytes, "last", 4);
        rt_table_close(t);
    }
    free(big);
}

static void too_many_columns_are_refused(void **state) {
    (void)state;
    FILE *file = fopen(in_folder("wide.tsv"), "wb");
    assert_non_null(file);
    for (int c = 0; c < 65537; c++) fprintf(file, "%sc%d", c ? "\t" : "", c);
    fclose(file);
    rt_table *t;
    assert_int_equal(rt_table_open(in_folder("wide.tsv"), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_EDATA);
    assert_string_equal(plain(rt_error_get()->text),
                        "wide.tsv:1: more than 65536 columns; at most so many are accepted");
}

static size_t packed_gzip(const char *text, size_t size, unsigned char *out, size_t room) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)text, z.avail_in = (unsigned)size, z.next_out = out, z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = room - z.avail_out;
    deflateEnd(&z);
    return n;
}

static void packed_files_are_read(void **state) {
    (void)state;
    static char text[200000];
    static unsigned char out[300000];
    size_t at = (size_t)sprintf(text, "x\ty\n");
    for (int i = 0; i < 9000; i++) at += (size_t)sprintf(text + at, "row %d\t%d\n", i, i * 7919);
    for (int kind = 0; kind < 2; kind++) {
        /* Two members or frames in one file, as cat makes them. */
        size_t half = 4 + at / 3, n;
        if (kind == 0) {
            n = packed_gzip(text, half, out, sizeof out);
            n += packed_gzip(text + half, at - half, out + n, sizeof out - n);
        } else {
            n = ZSTD_compress(out, sizeof out, text, half, 3);
            n += ZSTD_compress(out + n, sizeof out - n, text + half, at - half, 3);
        }
        const char *name = kind ? "p.tsv.zst" : "p.tsv.gz";
        rt_table *t;
        const rt_field *f;
        uint64_t line;
        assert_int_equal(rt_table_open(write_bytes(name, out, n), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_OK);
        assert_int_equal(rt_table_get_format(t), RT_FORMAT_TSV);
        for (int i = 0; i < 9000; i++) {
            char want[32];
            assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
            sprintf(want, "row %d", i);
            assert_int_equal(f[0].size, strlen(want));
            assert_memory_equal(f[0].bytes, want, f[0].size);
        }
        assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
        assert_null(f);
        rt_table_close(t);
        /* Cut anywhere, it is an i/o error that cannot be skipped over: rows are missing. */
        rt_status rc = rt_table_open(write_bytes(name, out, n - 9), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t);
        int rows = 0;
        while (rc == RT_OK && (rc = rt_table_next(t, &f, &line)) == RT_OK && f) rows++;
        assert_int_equal(rc, RT_EIO);
        assert_non_null(strstr(rt_error_get()->text, kind ? "damaged zstd data" : "damaged gzip data"));
        rt_table_close(t);
        memset(out + n, 'z', 40);
        rc = rt_table_open(write_bytes(name, out, n + 40), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t);
        while (rc == RT_OK && (rc = rt_table_next(t, &f, &line)) == RT_OK && f) rows++;
        assert_int_equal(rc, RT_EIO);
        rt_table_close(t);
    }
}

static void stdin_and_open_pipes_are_read(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        int ends[2], saved = dup(0);
        char path[32];
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], "x\ty\n1\t2\n", 8), 8);
        close(ends[1]);
        if (way < 2) dup2(ends[0], 0);
        snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
        assert_string_equal(read_all(way == 0   ? "-"
                                     : way == 1 ? "/dev/stdin"
                                                : path,
                                     RT_FORMAT_AUTO, RT_QUOTING_AUTO),
                            "1|2\n");
        close(ends[0]);
        dup2(saved, 0);
        close(saved);
    }
}

static int label_of(const char *text, const char *const *labels, int n) {
    rt_field f = {text ? text : "", text ? strlen(text) : 0, text == NULL};
    return rt_label_parse(&f, labels, n);
}

static void labels_are_parsed(void **state) {
    (void)state;
    const char *two[] = {"no", "yes"}, *three[] = {"bad", "fair", "good"}, *swapped[] = {"1", "0"}, *one[] = {"click"};
    const struct {
        const char *text;
        int two, three, one;
    } cases[] = {
        {"0", 0, 0, 0},      {"1", 1, 1, 1},      {"2", -1, 2, -1},     {"3", -1, -1, -1},
        {"1.0", 1, 1, 1},    {"0.", 0, 0, 0},     {"2.000", -1, 2, -1}, {"1.5", -1, -1, -1},
        {"true", 1, -1, 1},  {"False", 0, -1, 0}, {"TRUE", 1, -1, 1},   {"yes", 1, -1, -1},
        {"no", 0, -1, -1},   {"Yes", -1, -1, -1}, {"good", -1, 2, -1},  {"click", -1, -1, -1},
        {"", -1, -1, -1},    {" 1", -1, -1, -1},  {"-1", -1, -1, -1},   {"01", -1, -1, -1},
        {"1e0", -1, -1, -1}, {"nan", -1, -1, -1}, {NULL, -1, -1, -1},   {"99999999999999999999", -1, -1, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(label_of(cases[i].text, two, 2), cases[i].two);
        assert_int_equal(label_of(cases[i].text, three, 3), cases[i].three);
        assert_int_equal(label_of(cases[i].text, one, 1), cases[i].one);
    }
    assert_int_equal(label_of("0", swapped, 2), 1); /* a name wins over a number */
}

static void weights_are_parsed(void **state) {
    (void)state;
    const char *good[] = {"0", "1", "2.5", "1e-3", "-0", "3.4028234e38"},
               *bad[] = {"", "-1", "nan", "inf", "1e39", "x", "1 ", "0x1"};
    float w;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        rt_field f = {good[i], strlen(good[i]), false};
        assert_true(rt_weight_parse(&f, &w));
        assert_true(w >= 0 && w == (float)atof(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rt_field f = {bad[i], strlen(bad[i]), false};
        assert_false(rt_weight_parse(&f, &w));
    }
}

static void templates_are_rendered(void **state) {
    (void)state;
    rt_table *t;
    assert_int_equal(
        rt_table_open(write_text("p.tsv", "brand\ttitle\nAcme\tAnvil\n"), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_OK);
    const rt_field *f;
    uint64_t line;
    assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
    const char *cases[][2] = {{"title", "Anvil"},
                              {"{title}", "Anvil"},
                              {"{brand} {title}", "Acme Anvil"},
                              {"{{{brand}}}: {title}!", "{Acme}: Anvil!"},
                              {"{title}{title}", "AnvilAnvil"},
                              {"by {brand}", "by Acme"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rt_template *p;
        rt_text scratch = {0};
        const char *bytes;
        size_t size;
        assert_int_equal(rt_template_parse(cases[i][0], "data.text_a", &p), RT_OK);
        assert_int_equal(rt_template_bind(p, t), RT_OK);
        rt_template_render(p, f, &scratch, &bytes, &size);
        assert_int_equal(size, strlen(cases[i][1]));
        assert_memory_equal(bytes, cases[i][1], size);
        if (i < 2) assert_ptr_equal(bytes, f[1].bytes); /* a view, no copy */
        rt_text_free(&scratch);
        rt_template_free(p);
    }
    const char *bad[][2] = {
        {"{brand", "data.text_a = {brand: character 1: \"{\" that is never closed"},
        {"a {b {c}", "data.text_a = a {b {c}: character 3: \"{\" that is never closed"},
        {"brand}", "data.text_a = brand}: character 6: \"}\" without a \"{\" before it"},
        {"{} x", "data.text_a = {} x: character 1: no column's name between the braces"},
        {"{{x}}", "data.text_a = {{x}}: no column in it"},
        {"", "data.text_a is empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rt_template *p;
        assert_int_equal(rt_template_parse(bad[i][0], "data.text_a", &p), RT_ECONFIG);
        assert_null(p);
        assert_memory_equal(rt_error_get()->text, bad[i][1], strlen(bad[i][1]));
    }
    rt_template *p;
    assert_int_equal(rt_template_parse("{brnd} {title}", "data.text_a", &p), RT_OK);
    assert_int_equal(rt_template_bind(p, t), RT_EDATA);
    assert_string_equal(plain(rt_error_get()->text),
                        "p.tsv:1: no column \"brnd\"; found brand, title; did you mean \"brand\"?");
    rt_template_free(p);
    rt_template_free(NULL);
    rt_table_close(t);
}

/* Rows of every size around the window's edges: what is read is what was written. */
static void windows_do_not_show(void **state) {
    (void)state;
    const char *names[3] = {"w.tsv", "w.csv", "w.jsonl"};
    for (int kind = 0; kind < 3; kind++) {
        FILE *file = fopen(in_folder(names[kind]), "wb");
        assert_non_null(file);
        if (kind < 2) fprintf(file, kind ? "x,y\n" : "x\ty\n");
        for (unsigned i = 0; i < 400; i++) {
            unsigned n = i * 2654435761u % 9973;
            fputs(kind == 0 ? "" : kind == 1 ? "\"" : "{\"x\": \"", file);
            for (unsigned j = 0; j < n; j++) {
                unsigned c = (i + j * 31) % 40;
                if (kind == 1 && c == 0)
                    fputs("\"\"", file);
                else if (kind == 1 && c == 1)
                    fputc('\n', file);
                else
                    fputc('a' + (int)(c % 26), file);
            }
            fprintf(file, kind == 0 ? "\t%u\n" : kind == 1 ? "\",%u\r\n" : "\", \"y\": %u}\n", i);
        }
        assert_int_equal(fclose(file), 0);
        rt_table *t;
        const rt_field *f;
        uint64_t line;
        assert_int_equal(rt_table_open(in_folder(names[kind]), RT_FORMAT_AUTO, RT_QUOTING_AUTO, &t), RT_OK);
        for (unsigned i = 0; i < 400; i++) {
            unsigned n = i * 2654435761u % 9973;
            assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
            assert_non_null(f);
            assert_int_equal(f[0].size, n);
            for (unsigned j = 0; j < n; j++) {
                unsigned c = (i + j * 31) % 40;
                assert_int_equal(f[0].bytes[j], kind == 1 && c == 0   ? '"'
                                                : kind == 1 && c == 1 ? '\n'
                                                                      : 'a' + (int)(c % 26));
            }
            char want[16];
            snprintf(want, sizeof want, "%u", i);
            assert_int_equal(f[1].size, strlen(want));
            assert_memory_equal(f[1].bytes, want, f[1].size);
        }
        assert_int_equal(rt_table_next(t, &f, &line), RT_OK);
        assert_null(f);
        rt_table_close(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tsv_is_read),
        cmocka_unit_test(the_bom_is_no_part_of_a_name),
        cmocka_unit_test(csv_is_read),
        cmocka_unit_test(quoting_is_found_in_the_first_rows),
        cmocka_unit_test(jsonl_is_read),
        cmocka_unit_test(bad_rows_say_what_and_where),
        cmocka_unit_test(line_numbers_count_breaks_inside_quotes),
        cmocka_unit_test(opening_says_what_is_wrong),
        cmocka_unit_test(foreign_formats_are_refused_with_the_way_on),
        cmocka_unit_test(a_missing_column_is_named),
        cmocka_unit_test(long_rows_are_bad_rows),
        cmocka_unit_test(too_many_columns_are_refused),
        cmocka_unit_test(packed_files_are_read),
        cmocka_unit_test(stdin_and_open_pipes_are_read),
        cmocka_unit_test(labels_are_parsed),
        cmocka_unit_test(weights_are_parsed),
        cmocka_unit_test(templates_are_rendered),
        cmocka_unit_test(windows_do_not_show),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
