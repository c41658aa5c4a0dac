/* librectrain: scores of a trained checkpoint inside another program. C11 and C++.
 *
 *     rectrain_model *model = NULL;
 *     rectrain_pair pair = {"red shoes", RECTRAIN_NUL, "Running shoe, red", RECTRAIN_NUL};
 *     float p[2];
 *     if (rectrain_load("best.h5", NULL, &model) != RECTRAIN_OK) return fail(rectrain_error());
 *     if (rectrain_predict(model, &pair, 1, p, NULL) != RECTRAIN_OK) return fail(rectrain_error());
 *     rectrain_free(model);
 *
 * Compile and link with `pkg-config --cflags --libs rectrain`; examples/score.c is a whole program.
 *
 * Shapes. K is rectrain_label_count(model); n is the number of rows of a call. Arrays are dense and row-major.
 *
 * Text is UTF-8. Any bytes are accepted: what is no UTF-8, and NUL where a size is given, is dropped as Hugging Face's
 * tokenizer drops it.
 *
 * Models run on the CPU. Their numbers are those of `rectrain predict` with run.device = cpu for the same rows in the
 * same order, to the last bit, on the same kind of processor, and the same again in every call. In other company a row
 * may have other last bits: what a batch holds decides which matrix products run.
 *
 * Ownership. A model belongs to whoever loaded it until rectrain_free. Arguments are read during the call alone.
 * Strings that are returned belong to the library; the comments say how long they live. Nothing else is handed out.
 *
 * Threads. A model may be used by any number of threads at once, and there may be many models. Each call tokenises in
 * the thread that made it. The matrix work of a model is done by one thread of its own with its OpenMP team, one call
 * after another (8,192 rows of it at a time): threads that share a model share its speed. rectrain_free must be the
 * last call for its model. A model's threads block all signals.
 *
 * Processes. A model does not live on in a child of fork(): load after forking.
 *
 * Errors. Functions that can fail return a status, 0 for success; rectrain_error() then says in words what was wrong,
 * in which file, and what would be accepted. Outputs are left untouched on failure, except where said. The library
 * neither prints nor ends the process, and changes no signal handler, locale or OpenMP setting of its caller. (GNU's
 * OpenMP runtime ends the process itself where the system refuses it threads.)
 *
 * Environment. RECTRAIN_ISA (v2, v3, v4, generic) caps the processor level, as for the program. A bare name instead of
 * a path is looked for in the hub's cache, as model.base is. RECTRAIN_SECTION_KEY is the program's alone. oneDNN and
 * OpenMP have variables of their own.
 *
 * Versions. RECTRAIN_API_VERSION is raised when something here is changed or taken away, and with it the library's
 * soname (librectrain.so.1); additions leave it. rectrain_options would grow at its end; that is what its size is for.
 */
#ifndef RECTRAIN_RECTRAIN_H
#define RECTRAIN_RECTRAIN_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RECTRAIN_API_VERSION 1
#define RECTRAIN_VERSION "0.1.0"

/* Of the library at hand: compare with RECTRAIN_API_VERSION, which is of the header. */
int rectrain_api_version(void);
/* RECTRAIN_VERSION of the library at hand; lives forever. */
const char *rectrain_version(void);

/* The values are the program's exit codes where it has one. */
typedef enum rectrain_status {
    RECTRAIN_OK = 0,
    RECTRAIN_EINTERNAL = 1,     /* a bug of rectrain */
    RECTRAIN_EINVAL = 2,        /* an argument that this header does not allow */
    RECTRAIN_EDATA = 65,        /* a file whose content is bad: malformed, altered, not a model */
    RECTRAIN_ENOINPUT = 66,     /* a file or folder that is not there */
    RECTRAIN_EUNAVAILABLE = 69, /* a library, processor level or thread that is not to be had */
    RECTRAIN_EIO = 74,          /* the system failed to read */
    RECTRAIN_ECONFIG = 78, /* a model that cannot be used so: no head, another architecture, max_length too large */
    RECTRAIN_ENOMEM = 101  /* out of memory */
} rectrain_status;

/* What the last call in this thread that failed had to say; "" before any did. No newline at the end. Lives until the
 * next call of this thread into the library. */
const char *rectrain_error(void);

typedef enum rectrain_precision {
    RECTRAIN_PRECISION_AUTO = 0, /* bf16 where the processor multiplies it in hardware, else fp32; as the program */
    RECTRAIN_PRECISION_FP32 = 1,
    RECTRAIN_PRECISION_BF16 = 2
} rectrain_precision;

typedef struct rectrain_options {
    size_t size;                  /* sizeof(rectrain_options) of the header you compile with */
    rectrain_precision precision; /* of activations and matrix products */
    int threads;                  /* of the matrix work; 0: all processors that the process may use */
    int max_length;               /* tokens of a row, [CLS] and [SEP] counted; 0: as the model was trained */
} rectrain_options;
/* rectrain_options options = RECTRAIN_OPTIONS_INIT; */
#define RECTRAIN_OPTIONS_INIT                                                                                          \
    { sizeof(rectrain_options), RECTRAIN_PRECISION_AUTO, 0, 0 }

typedef struct rectrain_model rectrain_model;

/* Loads a checkpoint (best.h5, or any other .h5 of rectrain) or a Hugging Face folder, verifying every checksum there
 * is; `options` NULL: RECTRAIN_OPTIONS_INIT. The file may be replaced or removed afterwards. *out is NULL on failure.
 * EINVAL, EDATA, ENOINPUT, EUNAVAILABLE, EIO, ECONFIG, ENOMEM. */
rectrain_status rectrain_load(const char *path, const rectrain_options *options, rectrain_model **out);
/* NULL is allowed. Waits for nobody: no other call may use the model any more. */
void rectrain_free(rectrain_model *model);

/* K, at least 1. One label: its score is the sigmoid of one logit. Two or more: softmax over the labels. */
int rectrain_label_count(const rectrain_model *model);
/* The name of label i of 0 .. K - 1, NULL beyond; lives as long as the model. */
const char *rectrain_label(const rectrain_model *model, int i);
/* Tokens that a row has at most; longer texts are cut as they were in training. */
int rectrain_max_length(const rectrain_model *model);
/* Width of the encoder's hidden states. */
int rectrain_hidden(const rectrain_model *model);
/* Processor, threads, level, precision and library in a line, for logs; lives as long as the model. */
const char *rectrain_description(const rectrain_model *model);

/* As a size: the text ends at its first NUL byte. */
#define RECTRAIN_NUL ((size_t)-1)

/* One row. b NULL: a single text, [CLS] a [SEP]; else a pair, [CLS] a [SEP] b [SEP], where an empty b keeps its place.
 */
typedef struct rectrain_pair {
    const char *a; /* not NULL */
    size_t a_size; /* bytes, or RECTRAIN_NUL */
    const char *b;
    size_t b_size;
} rectrain_pair;

/* The row's token ids and types (0 for a and its specials, 1 for b and the last [SEP]) into ids[capacity] and, where
 * not NULL, types[capacity]; *n: how many. rectrain_max_length() tokens are always enough room. EINVAL: with less room
 * than tokens; *n then says how much is needed, and nothing is written. EDATA: a text beyond 1 GiB. ENOMEM. */
rectrain_status rectrain_tokenize(rectrain_model *model, const rectrain_pair *pair, int32_t *ids, int32_t *types,
                                  size_t capacity, size_t *n);

/* Scores n rows: probabilities [n, K] (softmax over the labels, or the sigmoid where K is 1) and logits [n, K]; either
 * may be NULL. Calls with many rows are faster than many calls with one: rows of like length are scored together. n = 0
 * is allowed. On failure the outputs hold anything. EINVAL, EDATA (a text beyond 1 GiB), EUNAVAILABLE, ENOMEM. */
rectrain_status rectrain_predict(rectrain_model *model, const rectrain_pair *pairs, size_t n, float *probabilities,
                                 float *logits);

#ifdef __cplusplus
}
#endif
#endif
