/* How fast one thread tokenizes two columns of a TSV file as pairs (max_length 128, uncased), by processor time, so
 * that other work on the machine disturbs little.
 *
 *   make mod-text mod-base
 *   gcc -std=gnu11 -O2 -D_GNU_SOURCE -Isrc tools/bench_tokenize.c build/mod/text.a build/mod/base.a -lxxhash -ljansson
 * \ -fopenmp -o build/bench_tokenize build/bench_tokenize VOCAB.txt FILE.tsv COLUMN_A COLUMN_B     (column names of the
 * header line)
 */
#include "base/file.h"
#include "text/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Processor seconds of this thread. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct {
    const char *a, *b;
    size_t a_size, b_size;
} row;

/* Field `want` of a line; empty where the line is shorter. */
static const char *field(const char *line, const char *end, int want, size_t *size) {
    for (; want > 0; want--) {
        line = memchr(line, '\t', (size_t)(end - line));
        if (!line) return *size = 0, end;
        line++;
    }
    const char *stop = memchr(line, '\t', (size_t)(end - line));
    *size = (size_t)((stop ? stop : end) - line);
    return line;
}

static int column(const char *line, const char *end, const char *name) {
    int n = 0;
    for (const char *p = line; p < end; p++) n += *p == '\t';
    for (int i = 0; i <= n; i++) {
        size_t size;
        const char *text = field(line, end, i, &size);
        if (size == strlen(name) && !memcmp(text, name, size)) return i;
    }
    return -1;
}

static rt_status run(char **argv) {
    rt_status rc = RT_ENOMEM;
    char *vocab = NULL, *file = NULL;
    size_t vocab_size, size, n = 0, bytes = 0;
    rt_tokenizer *tok = NULL;
    row *rows = NULL;
    rt_tok_scratch *scratch = rt_tok_scratch_new();
    rt_tokenizer_options options = rt_tokenizer_defaults();
    if (!scratch) goto done;
    RT_GO(rt_file_read(argv[1], (size_t)1 << 30, &vocab, &vocab_size));
    RT_GO(rt_tokenizer_from_vocab(vocab, vocab_size, argv[1], &options, &tok));
    RT_GO(rt_file_read(argv[2], (size_t)1 << 32, &file, &size));
    const char *p = file, *end = file + size, *stop = memchr(p, '\n', size);
    int a = stop ? column(p, stop, argv[3]) : -1, b = stop ? column(p, stop, argv[4]) : -1;
    if (a < 0 || b < 0) {
        rc = rt_fail(RT_EDATA, "%s:1: no column \"%s\" or \"%s\"", argv[2], argv[3], argv[4]);
        goto done;
    }
    rows = calloc(size / 2 + 1, sizeof *rows);
    if (!rows) goto done;
    for (p = stop + 1; p < end; p = stop + 1) {
        stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        row *r = &rows[n++];
        r->a = field(p, stop, a, &r->a_size);
        r->b = field(p, stop, b, &r->b_size);
        bytes += r->a_size + r->b_size;
    }
    for (int pass = 0; pass < 5; pass++) {
        rt_tok_stats stats = {0};
        int32_t ids[128];
        int length, split;
        double start = now();
        for (size_t i = 0; i < n; i++)
            RT_GO(rt_encode(tok, scratch, &(rt_encode_options){.max_length = 128}, rows[i].a, rows[i].a_size, rows[i].b,
                            rows[i].b_size, ids, &length, &split, &stats));
        double seconds = now() - start;
        printf("%zu pairs, %.2f MB, %llu pieces: %.1f MB/s, %.0f pairs/s, %.1f million pieces/s\n", n,
               (double)bytes / 1e6, (unsigned long long)stats.tokens, (double)bytes / 1e6 / seconds,
               (double)n / seconds, (double)stats.tokens / 1e6 / seconds);
    }
    rc = RT_OK;
done:
    free(vocab);
    free(file);
    free(rows);
    rt_tokenizer_free(tok);
    rt_tok_scratch_free(scratch);
    return rc;
}

int main(int argc, char **argv) {
    if (argc != 5) return fprintf(stderr, "usage: bench_tokenize VOCAB.txt FILE.tsv COLUMN_A COLUMN_B\n"), 2;
    rt_status rc = run(argv);
    if (rc != RT_OK) fprintf(stderr, "%s\n", rt_error_get()->text);
    return rt_exit_code(rc);
}
