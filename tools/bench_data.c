/* How fast rows of a table come from its token cache: the second opening, the choice of a step's rows, and reading them
 * in that order, on one thread. The first opening, which makes the cache in FOLDER, is timed too.
 *
 *   build/bench/bench_data FOLDER VOCAB.txt FILE.tsv TEXT_A TEXT_B LABEL */
#include "base/clock.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 20000, BATCH = 32, MAX_LENGTH = 64 };

static rt_status bench(const rt_data_spec *spec, const rt_tokenizer *tok) {
    rt_dataset *ds = NULL;
    rt_status rc = RT_OK;
    uint32_t rows[BATCH];
    int32_t ids[MAX_LENGTH];
    uint64_t tokens = 0, read = 0, chosen = 0;
    int split;
    RT_GO(rt_dataset_open(spec, tok, NULL, NULL, NULL, &ds));
    const rt_data_stats first = *rt_dataset_stats(ds);
    rt_dataset_close(ds);
    ds = NULL;
    RT_GO(rt_dataset_open(spec, tok, NULL, NULL, NULL, &ds));
    const uint32_t n_rows = rt_dataset_rows(ds);
    double start = rt_clock_seconds();
    for (uint32_t s = 0; s < STEPS; s++) chosen += (uint64_t)rt_step_rows(n_rows, 1, 0, s, BATCH, rows);
    double choosing = rt_clock_seconds() - start;
    start = rt_clock_seconds();
    for (uint32_t s = 0; s < STEPS; s++) {
        int n = rt_step_rows(n_rows, 1, 0, s, BATCH, rows);
        for (int i = 0; i < n; i++, read++) {
            RT_GO(rt_dataset_tokens(ds, rows[i], ids, &split));
            tokens += rt_dataset_lengths(ds)[rows[i]];
        }
    }
    double reading = rt_clock_seconds() - start - choosing;
    printf("%u rows: %s in %.2f s, opened again in %.3f s; choosing rows %.2f us each, reading one %.2f us (%.0f "
           "tokens)\n",
           n_rows, first.from_cache ? "opened" : "tokenised", first.seconds, rt_dataset_stats(ds)->seconds,
           1e6 * choosing / (double)(chosen ? chosen : 1), 1e6 * reading / (double)(read ? read : 1),
           (double)tokens / (double)(read ? read : 1));
done:
    rt_dataset_close(ds);
    return rc;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: %s FOLDER VOCAB.txt FILE.tsv TEXT_A TEXT_B LABEL\n", argv[0]);
        return 64;
    }
    char *vocab = NULL;
    size_t size = 0;
    rt_tokenizer *tok = NULL;
    rt_tokenizer_options options = rt_tokenizer_defaults();
    const char *files[] = {argv[3]};
    const rt_data_spec spec = {.files = files,
                               .n_files = 1,
                               .text_a = argv[4],
                               .text_b = argv[5],
                               .label = argv[6],
                               .n_labels = 1,
                               .need_label = true,
                               .encode = {.max_length = MAX_LENGTH},
                               .cache_folder = argv[1]};
    rt_status rc = RT_OK;
    RT_GO(rt_file_read(argv[2], (size_t)1 << 28, &vocab, &size));
    RT_GO(rt_tokenizer_from_vocab(vocab, size, argv[2], &options, &tok));
    rc = bench(&spec, tok);
done:
    if (rc != RT_OK) fprintf(stderr, "bench_data: %s\n", rt_error_get()->text);
    rt_tokenizer_free(tok);
    free(vocab);
    return rc == RT_OK ? 0 : (int)rc;
}
