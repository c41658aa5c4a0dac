/* The untrained cosine: packed pairs against each text run through the encoder alone. */
#include "base/file.h"
#include "eval/baseline.h"
#include "tiny_encoder.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* The third row has an empty text_b, the fourth two equal texts; the fifth and sixth share text_a. */
static const char *const texts[][2] = {{"red lamp", "lamp for the woods"},
                                       {"tent", "blue"},
                                       {"red", ""},
                                       {"the blue tent", "the blue tent"},
                                       {"woods woods woods", "red blue red blue"},
                                       {"woods woods woods", "tent"},
                                       {"woods woods", "tent"}};
enum { ROWS = sizeof texts / sizeof texts[0] };

typedef struct {
    char folder[64], path[128];
    tiny t;
    rt_dataset *ds;
} fixture;

static void make(fixture *f, rt_pooling pooling) {
    memset(f, 0, sizeof *f);
    strcpy(f->folder, "/tmp/rt-baseline-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/rows.tsv", f->folder);
    rt_text tsv = {0};
    rt_text_puts(&tsv, "a\tb\tlabel\n");
    for (int i = 0; i < ROWS; i++) rt_text_printf(&tsv, "%s\t%s\t%d\n", texts[i][0], texts[i][1], i % 2);
    assert_int_equal(rt_file_write_atomic(f->path, tsv.data, tsv.size), RT_OK);
    rt_text_free(&tsv);
    tiny_make(&f->t, RT_PRECISION_FP32, pooling);
    const char *files[] = {f->path}, *labels[] = {"0", "1"};
    rt_data_spec spec = {.files = files,
                         .n_files = 1,
                         .text_a = "a",
                         .text_b = "b",
                         .label = "label",
                         .labels = labels,
                         .n_labels = 2,
                         .need_label = true,
                         .encode = {.max_length = 16},
                         .threads = 1};
    assert_int_equal(rt_dataset_open(&spec, f->t.tok, NULL, NULL, NULL, &f->ds), RT_OK);
    assert_int_equal(rt_dataset_rows(f->ds), ROWS);
}

static void unmake(fixture *f) {
    rt_dataset_close(f->ds);
    tiny_free(&f->t);
    unlink(f->path);
    rmdir(f->folder);
}

static void test_cosine(void **state) {
    (void)state;
    fixture f;
    double scores[ROWS];
    make(&f, RT_POOL_MEAN);
    assert_int_equal(rt_baseline_cosine(&f.t.encoder, f.ds, TOKENS, SEQS, NULL, scores), RT_OK);
    for (int i = 0; i < ROWS; i++) {
        float a[HIDDEN], b[HIDDEN];
        double ab = 0, aa = 0, bb = 0;
        tiny_embed(&f.t, texts[i][0], a);
        tiny_embed(&f.t, texts[i][1], b);
        for (int k = 0; k < HIDDEN; k++)
            ab += (double)a[k] * b[k], aa += (double)a[k] * a[k], bb += (double)b[k] * b[k];
        /* The same fp32 operations on the same numbers, perhaps summed in another order where rows are blocked:
         * products of 32 terms, two layers, so some hundred roundings of 2^-24. */
        if (!(fabs(scores[i] - ab / sqrt(aa * bb)) < 200 * 0x1p-24))
            fail_msg("row %d: %g, not %g", i, scores[i], ab / sqrt(aa * bb));
    }
    assert_true(scores[3] > 1 - 200 * 0x1p-24 && scores[0] < 0.999 && scores[0] != scores[1]);
    unmake(&f);
}

static bool stop_now(void) {
    return true;
}

static void test_refusals(void **state) {
    (void)state;
    fixture f;
    double scores[ROWS];
    make(&f, RT_POOL_MEAN);
    assert_int_equal(rt_baseline_cosine(&f.t.encoder, f.ds, TOKENS, SEQS, stop_now, scores), RT_ESTOPPED);
    assert_int_equal(rt_baseline_cosine(&f.t.encoder, f.ds, 5, SEQS, NULL, scores), RT_EINTERNAL);
    unmake(&f);
    make(&f, RT_POOL_CLS);
    assert_int_equal(rt_baseline_cosine(&f.t.encoder, f.ds, TOKENS, SEQS, NULL, scores), RT_ECONFIG);
    unmake(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cosine), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
