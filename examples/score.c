/* Scores pairs with a trained checkpoint:
 *
 *     cc score.c $(pkg-config --cflags --libs rectrain) -o score
 *     ./score best.h5 < pairs.tsv
 *
 * A line of the input is a text, or two with a TAB between them. The answer to each is a line of K probabilities and K
 * logits, in the order of the model's labels. Lines are read until the input ends and scored together: many rows in one
 * call are faster than many calls. */
#include <rectrain/rectrain.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of stdin with a NUL behind it; NULL when out of memory. */
static char *read_all(size_t *size) {
    size_t room = 1 << 16;
    char *text = malloc(room);
    *size = 0;
    while (text) {
        *size += fread(text + *size, 1, room - *size - 1, stdin);
        text[*size] = 0;
        if (*size < room - 1) break;
        char *grown = realloc(text, room *= 2);
        if (!grown) free(text);
        text = grown;
    }
    return text;
}

/* Cuts the text into its lines, and each line at its first TAB. */
static rectrain_pair *cut(char *text, size_t size, size_t *n) {
    size_t lines = 0;
    for (const char *p = text; p < text + size; p++) lines += *p == '\n';
    rectrain_pair *pairs = malloc((lines + 1) * sizeof *pairs);
    *n = 0;
    for (char *line = text, *next; pairs && line < text + size; line = next) {
        char *end = memchr(line, '\n', (size_t)(text + size - line));
        if (!end) end = text + size;
        next = end + 1;
        char *tab = memchr(line, '\t', (size_t)(end - line));
        pairs[(*n)++] = tab ? (rectrain_pair){line, (size_t)(tab - line), tab + 1, (size_t)(end - tab - 1)}
                            : (rectrain_pair){line, (size_t)(end - line), NULL, 0};
    }
    return pairs;
}

static void print_row(const float *values, int k) {
    for (int i = 0; i < k; i++) printf("\t%.9g", (double)values[i]);
}

int main(int argc, char **argv) {
    int result = EXIT_FAILURE;
    size_t size = 0, n = 0;
    rectrain_model *model = NULL;
    char *text = NULL;
    rectrain_pair *pairs = NULL;
    float *probabilities = NULL, *logits = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: %s CHECKPOINT < PAIRS\n", argv[0]);
        return 2;
    }
    if (rectrain_load(argv[1], NULL, &model) != RECTRAIN_OK) goto failed;

    int k = rectrain_label_count(model);
    text = read_all(&size);
    pairs = text ? cut(text, size, &n) : NULL;
    probabilities = malloc((n * (size_t)k + 1) * sizeof *probabilities);
    logits = malloc((n * (size_t)k + 1) * sizeof *logits);
    if (!pairs || !probabilities || !logits) {
        fprintf(stderr, "%s: out of memory\n", argv[0]);
        goto done;
    }
    if (rectrain_predict(model, pairs, n, probabilities, logits) != RECTRAIN_OK) goto failed;

    printf("row");
    for (int i = 0; i < k; i++) printf("\tp_%s", rectrain_label(model, i));
    for (int i = 0; i < k; i++) printf("\tlogit_%s", rectrain_label(model, i));
    printf("\n");
    for (size_t row = 0; row < n; row++) {
        printf("%zu", row);
        print_row(probabilities + row * (size_t)k, k);
        print_row(logits + row * (size_t)k, k);
        printf("\n");
    }
    result = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    goto done;
failed:
    fprintf(stderr, "%s: %s\n", argv[0], rectrain_error());
done:
    free(logits);
    free(probabilities);
    free(pairs);
    free(text);
    rectrain_free(model);
    return result;
}
