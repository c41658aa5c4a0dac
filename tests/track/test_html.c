/* report.html: curves where they belong, nothing that runs or loads, every byte of a stranger escaped. */
#include "base/file.h"
#include "track/track.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], lines_path[128], page_path[128];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/rt-html-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(lines_path, sizeof lines_path, "%s/metrics.jsonl", folder);
    snprintf(page_path, sizeof page_path, "%s/report.html", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (access(lines_path, F_OK) == 0) unlink(lines_path);
    unlink(page_path);
    return rmdir(folder);
}

static char *page_of(const char *title, const char *lines, const char *report) {
    char *data;
    size_t size;
    if (lines) assert_int_equal(rt_file_write_atomic(lines_path, lines, strlen(lines)), RT_OK);
    assert_int_equal(rt_html_write(page_path, title, lines_path, report), RT_OK);
    assert_int_equal(rt_file_read(page_path, 1 << 24, &data, &size), RT_OK);
    assert_int_equal(strlen(data), size);
    return data;
}

static void has(const char *page, const char *text) {
    if (!strstr(page, text)) fail_msg("no %s in %s", text, page);
}
static void has_not(const char *page, const char *text) {
    if (strstr(page, text)) fail_msg("%s in %s", text, page);
}

static int count(const char *page, const char *text) {
    int n = 0;
    for (const char *p = page; (p = strstr(p, text)) != NULL; p++) n++;
    return n;
}

static void test_curves(void **state) {
    (void)state;
    /* Three train lines, the second without a finite gradient norm; two evaluations; a torn line. */
    char *page = page_of(
        "run 1",
        "{\"event\": \"start\", \"step\": 0}\n"
        "{\"event\": \"train\", \"step\": 0, \"loss\": 1.0, \"lr\": 0, \"grad_norm\": 2}\n"
        "{\"event\": \"train\", \"step\": 50, \"loss\": 0.5, \"lr\": 1e-4, \"grad_norm\": null}\n"
        "{\"event\": \"train\", \"step\": 100, \"loss\": 0.0, \"lr\": 0, \"grad_norm\": 4}\n"
        "{\"event\": \"eval\", \"split\": \"dev\", \"step\": 50, \"auc\": 0.9, \"report\": {\"accuracy\": 0.75}}\n"
        "{\"event\": \"eval\", \"split\": \"dev\", \"step\": 100, \"auc\": 0.8, \"gauc\": null}\n"
        "{\"event\": \"eval\", \"split\": \"test\", \"step\": 100, \"auc\": 0.7}\n"
        "{\"event\": \"train\", \"step\": 110, \"lo",
        "precision");
    /* Loss 1 at step 0 is the frame's upper left corner, 0 at step 100 its lower right: the frame is 46 to 348 by 12 to
     * 174. */
    has(page, "<path class=\"curve train\" d=\"M46.0 12.0L197.0 93.0L348.0 174.0\"/>");
    /* The norm that is missing is a gap, not a line. */
    has(page, "<path class=\"curve train\" d=\"M46.0 174.0M348.0 12.0\"/>");
    has(page, "aria-label=\"AUC over steps\"");
    has(page, "<span class=\"dev\">dev 0.8, best 0.9 at step 50</span>");
    has(page, "<span class=\"test\">test 0.7</span>");
    has(page, "<title>step 50: 0.75</title>");           /* accuracy, from within the report */
    has_not(page, "aria-label=\"GAUC over steps\"");     /* only null: no plot */
    has_not(page, "aria-label=\"log loss over steps\""); /* never there */
    assert_int_equal(count(page, "<figure>"), count(page, "</svg></figure>"));
    assert_int_equal(count(page, "<figure>"), 5);
    has(page, "<pre>precision</pre>");
    has(page, "prefers-color-scheme:dark");
    has_not(page, "nan");
    has_not(page, "inf\"");
    free(page);
}

static void test_escapes(void **state) {
    (void)state;
    char *page = page_of("<script>alert(\"1\")</script>\x01\xff", NULL, "a < b & c > d \"\xe5\xa5\xbd\"\n");
    has_not(page, "<script");
    has(page, "<h1>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\xef\xbf\xbd\xef\xbf\xbd</h1>");
    has(page, "<pre>a &lt; b &amp; c &gt; d &quot;\xe5\xa5\xbd&quot;\n</pre>");
    /* Nothing is fetched: no address, no link, no picture. */
    has_not(page, "http");
    has_not(page, "src=");
    has_not(page, "url(");
    has_not(page, "<figure>");
    free(page);
}

/* Values that break scales: all equal, huge, one single step, steps that do not grow, thousands of points. */
static void test_hostile_values(void **state) {
    (void)state;
    char *page = page_of("x",
                         "{\"event\": \"train\", \"step\": 5, \"loss\": 3, \"lr\": 1e308, \"grad_norm\": -1e-300}\n"
                         "{\"event\": \"train\", \"step\": 5, \"loss\": 3, \"lr\": -1e308, \"grad_norm\": 1e-300}\n"
                         "{\"event\": \"train\", \"step\": 1e300, \"loss\": \"<b>\"}\n"
                         "{\"event\": \"eval\", \"split\": \"<i>\", \"step\": -7, \"auc\": true}\n"
                         "[]\nnull\n\"train\"\n{}\n",
                         NULL);
    has_not(page, "nan");
    has_not(page, "<b>");
    has_not(page, "<i>");
    free(page);

    rt_text lines = {0};
    for (int i = 0; i < 5000; i++)
        rt_text_printf(&lines, "{\"event\": \"train\", \"step\": %d, \"loss\": %d}\n", i, i == 2345 ? 100 : i % 2);
    page = page_of("long", lines.data, NULL);
    /* The one spike survives the thinning: the top of the frame is reached, by the raw curve alone. */
    assert_int_equal(count(page, " 12.0L"), 1);
    assert_true(strlen(page) < 60000);
    rt_text_free(&lines);
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_curves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_values, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
