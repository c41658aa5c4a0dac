/* The live line: redrawn on a terminal, whole lines in a log. */
#include "track/track.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    char *data;
    size_t size;
    FILE *stream;
} memory;

static void open_memory(memory *m) {
    m->stream = open_memstream(&m->data, &m->size);
    assert_non_null(m->stream);
}
static void close_memory(memory *m) {
    fclose(m->stream);
    free(m->data);
}

static void test_terminal(void **state) {
    (void)state;
    memory m;
    open_memory(&m);
    rt_log *log = rt_log_open(&(rt_log_options){.stream = m.stream, .threshold = RT_LOG_INFO});
    rt_progress_line *line = rt_progress_line_new(m.stream, true, 1000, log);
    assert_non_null(line);
    rt_progress_line_update(line, "step 1");
    fflush(m.stream);
    assert_string_equal(m.data, "\r\033[Kstep 1"); /* the first at once, no newline */
    /* A thousand more within the same tenths of a second draw a handful at most: at 10 a second this loop would have to
     * take 10 s to draw 100. */
    for (int i = 0; i < 1000; i++) rt_progress_line_update(line, "step 2");
    fflush(m.stream);
    int drawn = 0;
    for (const char *p = m.data; (p = strchr(p, '\r')) != NULL; p++) drawn++;
    assert_true(drawn < 100);
    /* A log line stands alone on its line; the live one comes back below it with its newest text. */
    size_t from = m.size;
    rt_info(log, "saved");
    fflush(m.stream);
    assert_string_equal(m.data + from, "\r\033[Ksaved\n\r\033[Kstep 2");
    from = m.size;
    rt_progress_line_end(line);
    fflush(m.stream);
    assert_string_equal(m.data + from, "\r\033[K");
    from = m.size;
    rt_info(log, "done"); /* nothing to clear and nothing to redraw */
    fflush(m.stream);
    assert_string_equal(m.data + from, "done\n");
    rt_progress_line_free(line);
    rt_log_close(log);
    close_memory(&m);
}

static void test_long_and_hostile_text(void **state) {
    (void)state;
    memory m;
    open_memory(&m);
    rt_progress_line *line = rt_progress_line_new(m.stream, true, 1, NULL);
    char text[400];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memcpy(text, "\xc3\xa9\033[2J\n", 7);
    rt_progress_line_update(line, text);
    fflush(m.stream);
    assert_non_null(strstr(m.data, "\xc3\xa9"));
    assert_null(strstr(m.data + 4, "\033["));
    assert_null(strchr(m.data, '\n'));
    assert_null(strstr(m.data, text + 100)); /* cut to the width: 80 columns where the stream has none */
    rt_progress_line_free(line);
    close_memory(&m);
}

static void test_log_lines(void **state) {
    (void)state;
    memory m;
    open_memory(&m);
    rt_log *log = rt_log_open(&(rt_log_options){.stream = m.stream, .threshold = RT_LOG_INFO});
    rt_progress_line *line = rt_progress_line_new(m.stream, false, 0, log);
    rt_progress_line_update(line, "step 1");
    rt_progress_line_update(line, "step 2");
    rt_progress_line_end(line);
    fflush(m.stream);
    assert_string_equal(m.data, "step 1\nstep 2\n");
    rt_progress_line_free(line);
    /* Not due for an hour: not a word. */
    line = rt_progress_line_new(m.stream, false, 3600, log);
    rt_progress_line_update(line, "step 3");
    rt_progress_line_free(line);
    fflush(m.stream);
    assert_string_equal(m.data, "step 1\nstep 2\n");
    rt_log_close(log);
    close_memory(&m);
    rt_progress_line_update(NULL, "x");
    rt_progress_line_end(NULL);
    rt_progress_line_free(NULL);
}

static void test_bar(void **state) {
    (void)state;
    const struct {
        double share;
        int width;
        const char *bar;
    } cases[] = {{0, 4, "[....]"}, {.5, 4, "[##..]"}, {.99, 4, "[###.]"},       {1, 4, "[####]"},
                 {7, 4, "[####]"}, {-1, 4, "[....]"}, {0.0 / 0.0, 4, "[....]"}, {.5, -3, "[]"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rt_text text = {0};
        rt_progress_bar(cases[i].share, cases[i].width, &text);
        assert_string_equal(text.data, cases[i].bar);
        rt_text_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_long_and_hostile_text),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_bar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
