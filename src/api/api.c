/* The functions of <rectrain/rectrain.h>: what callers hand in is checked here, and nothing of the inside shows. */
#include "../text/tokenizer.h"
#include "scorer.h"
#include "worker.h"
#include <pthread.h>
#include <rectrain/rectrain.h>
#include <stdlib.h>
#include <string.h>

/* What one call at a time has for itself. Lanes are kept for the calls that follow, as many as were ever needed at
 * once. */
typedef struct lane {
    struct lane *next;
    rt_predictor *predictor;
    rt_tok_scratch *scratch;
    int32_t ids[]; /* [max_length] */
} lane;

struct rectrain_model {
    rt_worker *worker;
    rt_scorer scorer;     /* opened, used and closed by the worker; what is read elsewhere never changes */
    pthread_mutex_t lock; /* of the list */
    lane *idle;
};

/* The numbers of the header are those of rt_status where both have one. */
static rectrain_status public(rt_status status) {
    switch (status) {
    case RT_OK:
    case RT_EDATA:
    case RT_ENOINPUT:
    case RT_EUNAVAILABLE:
    case RT_EIO:
    case RT_ECONFIG:
    case RT_ENOMEM:
    case RT_EUSAGE:
        return (rectrain_status)(int)status;
    default:
        return RECTRAIN_EINTERNAL;
    }
}
_Static_assert((int)RECTRAIN_EINVAL == (int)RT_EUSAGE && (int)RECTRAIN_EDATA == (int)RT_EDATA &&
                   (int)RECTRAIN_ENOINPUT == (int)RT_ENOINPUT && (int)RECTRAIN_EUNAVAILABLE == (int)RT_EUNAVAILABLE &&
                   (int)RECTRAIN_EIO == (int)RT_EIO && (int)RECTRAIN_ECONFIG == (int)RT_ECONFIG &&
                   (int)RECTRAIN_ENOMEM == (int)RT_ENOMEM && (int)RECTRAIN_EINTERNAL == (int)RT_EINTERNAL,
               "the public numbers are the inner ones");

int rectrain_api_version(void) {
    return RECTRAIN_API_VERSION;
}

const char *rectrain_version(void) {
    return RECTRAIN_VERSION;
}

const char *rectrain_error(void) {
    return rt_error_get()->text;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static rt_status read_options(const rectrain_options *given, rt_scorer_options *out) {
    rectrain_options o = RECTRAIN_OPTIONS_INIT;
    if (given && given->size != sizeof o)
        return rt_fail(
            RT_EUSAGE,
            "rectrain_load: options.size is %zu and must be %zu: start from RECTRAIN_OPTIONS_INIT of a header "
            "of version %d",
            given->size, sizeof o, RECTRAIN_API_VERSION);
    if (given) o = *given;
    if (o.threads < 0) return rt_fail(RT_EUSAGE, "rectrain_load: options.threads = %d: at least 1, or 0", o.threads);
    if (o.max_length < 0)
        return rt_fail(RT_EUSAGE, "rectrain_load: options.max_length = %d: at least 3, or 0", o.max_length);
    switch (o.precision) {
    case RECTRAIN_PRECISION_AUTO:
    case RECTRAIN_PRECISION_FP32:
    case RECTRAIN_PRECISION_BF16:
        break;
    default:
        return rt_fail(RT_EUSAGE, "rectrain_load: options.precision = %d: 0 (auto), 1 (fp32), 2 (bf16) are accepted",
                       (int)o.precision);
    }
    *out = (rt_scorer_options){.threads = o.threads,
                               .max_length = o.max_length,
                               .auto_precision = o.precision == RECTRAIN_PRECISION_AUTO,
                               .precision =
                                   o.precision == RECTRAIN_PRECISION_BF16 ? RT_PRECISION_BF16 : RT_PRECISION_FP32};
    return RT_OK;
}

typedef struct {
    const char *path;
    rt_scorer_options options;
    rt_scorer *scorer;
} opening;

static rt_status open_scorer(void *context) {
    opening *o = context;
    return rt_scorer_open(o->path, &o->options, o->scorer);
}

rectrain_status rectrain_load(const char *path, const rectrain_options *options, rectrain_model **out) {
    rt_status rc;
    opening o = {.path = path};
    rectrain_model *m = NULL;
    if (!out) return public(rt_fail(RT_EUSAGE, "rectrain_load: out is NULL"));
    *out = NULL;
    if (!path) return public(rt_fail(RT_EUSAGE, "rectrain_load: path is NULL"));
    RT_GO(read_options(options, &o.options));
    m = calloc(1, sizeof *m);
    if (!m) RT_GO(rt_fail(RT_ENOMEM, "%s: out of memory", path));
    pthread_mutex_init(&m->lock, NULL);
    o.scorer = &m->scorer;
    RT_GO(rt_worker_start(&m->worker));
    RT_GO(rt_worker_run(m->worker, open_scorer, &o));
    *out = m;
    m = NULL;
done:
    rectrain_free(m);
    return public(rc);
}

static void free_lane(lane *l) {
    if (!l) return;
    rt_predictor_free(l->predictor);
    rt_tok_scratch_free(l->scratch);
    free(l);
}

static rt_status close_model(void *context) {
    rectrain_model *m = context;
    while (m->idle) {
        lane *l = m->idle;
        m->idle = l->next;
        free_lane(l);
    }
    rt_scorer_close(&m->scorer);
    return RT_OK;
}

void rectrain_free(rectrain_model *m) {
    if (!m) return;
    if (m->worker) rt_worker_run(m->worker, close_model, m);
    rt_worker_stop(m->worker);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* --- what a model is ---------------------------------------------------------------------------------------------- */

int rectrain_label_count(const rectrain_model *m) {
    return m->scorer.n_labels;
}

const char *rectrain_label(const rectrain_model *m, int i) {
    return i >= 0 && i < m->scorer.n_labels ? m->scorer.labels[i] : NULL;
}

int rectrain_max_length(const rectrain_model *m) {
    return m->scorer.encode.max_length;
}

int rectrain_hidden(const rectrain_model *m) {
    return m->scorer.bert.hidden;
}

const char *rectrain_description(const rectrain_model *m) {
    return m->scorer.be->description;
}

/* --- lanes -------------------------------------------------------------------------------------------------------- */

typedef struct {
    const rt_scorer *scorer;
    lane *lane;
} opening_lane;

static rt_status open_lane(void *context) {
    opening_lane *o = context;
    rt_status rc = RT_ENOMEM;
    lane *l = calloc(1, sizeof *l + (size_t)o->scorer->encode.max_length * sizeof *l->ids);
    if (!l) return rt_fail(RT_ENOMEM, "out of memory for a call");
    l->scratch = rt_tok_scratch_new();
    if (!l->scratch) RT_GO(rt_fail(RT_ENOMEM, "out of memory for a call"));
    RT_GO(rt_scorer_predictor(o->scorer, &l->predictor));
    o->lane = l;
    l = NULL;
done:
    free_lane(l);
    return rc;
}

static rt_status drop_lane(void *context) {
    free_lane(context);
    return RT_OK;
}

static rt_status take_lane(rectrain_model *m, lane **out) {
    opening_lane o = {.scorer = &m->scorer};
    pthread_mutex_lock(&m->lock);
    *out = m->idle;
    if (*out) m->idle = (*out)->next;
    pthread_mutex_unlock(&m->lock);
    if (*out) return RT_OK;
    RT_TRY(rt_worker_run(m->worker, open_lane, &o));
    *out = o.lane;
    return RT_OK;
}

static void return_lane(rectrain_model *m, lane *l) {
    pthread_mutex_lock(&m->lock);
    l->next = m->idle;
    m->idle = l;
    pthread_mutex_unlock(&m->lock);
}

/* --- texts and scores --------------------------------------------------------------------------------------------- */

/* `function` and `row` are for messages. */
static rt_status read_pair(const rectrain_pair *given, const char *function, size_t row, rectrain_pair *out) {
    if (!given->a) return rt_fail(RT_EUSAGE, "%s: row %zu: a is NULL; an empty text is \"\"", function, row);
    *out = *given;
    if (out->a_size == RECTRAIN_NUL) out->a_size = strlen(out->a);
    if (out->b && out->b_size == RECTRAIN_NUL) out->b_size = strlen(out->b);
    if (!out->b) out->b_size = 0;
    return RT_OK;
}

rectrain_status rectrain_tokenize(rectrain_model *m, const rectrain_pair *given, int32_t *ids, int32_t *types,
                                  size_t capacity, size_t *out_n) {
    rt_status rc = RT_OK;
    rectrain_pair pair;
    lane *l = NULL;
    int n = 0, split = 0;
    if (!m || !given || !out_n || (!ids && capacity))
        return public(rt_fail(RT_EUSAGE, "rectrain_tokenize: %s is NULL",
                              !m       ? "model"
                              : !given ? "pair"
                              : !out_n ? "n"
                                       : "ids"));
    RT_GO(read_pair(given, "rectrain_tokenize", 0, &pair));
    RT_GO(take_lane(m, &l));
    RT_GO(rt_encode(m->scorer.tok, l->scratch, &m->scorer.encode, pair.a, pair.a_size, pair.b, pair.b_size, l->ids, &n,
                    &split, NULL));
    *out_n = (size_t)n;
    if ((size_t)n > capacity) RT_GO(rt_fail(RT_EUSAGE, "rectrain_tokenize: %d tokens, and room for %zu", n, capacity));
    for (int i = 0; ids && i < n; i++) ids[i] = l->ids[i];
    for (int i = 0; types && i < n; i++) types[i] = i >= split;
done:
    if (l) return_lane(m, l);
    return public(rc);
}

typedef struct {
    rt_predictor *predictor;
    const float *logits;
} scoring;

static rt_status score(void *context) {
    scoring *s = context;
    return rt_predictor_run(s->predictor, &s->logits);
}

static rt_status predict_window(rectrain_model *m, lane *l, const rectrain_pair *pairs, size_t first, size_t n,
                                float *probabilities, float *logits) {
    size_t k = (size_t)m->scorer.n_labels;
    scoring s = {.predictor = l->predictor};
    for (size_t i = 0; i < n; i++) {
        rectrain_pair pair;
        RT_TRY(read_pair(&pairs[first + i], "rectrain_predict", first + i, &pair));
        RT_TRY(rt_predictor_add(l->predictor, pair.a, pair.a_size, pair.b, pair.b_size));
    }
    RT_TRY(rt_worker_run(m->worker, score, &s));
    if (logits) memcpy(logits + first * k, s.logits, n * k * sizeof *logits);
    for (size_t i = 0; probabilities && i < n; i++)
        rt_scorer_probabilities(s.logits + i * k, m->scorer.n_labels, probabilities + (first + i) * k);
    return RT_OK;
}

rectrain_status rectrain_predict(rectrain_model *m, const rectrain_pair *pairs, size_t n, float *probabilities,
                                 float *logits) {
    rt_status rc = RT_OK;
    lane *l = NULL;
    if (!m || (!pairs && n)) return public(rt_fail(RT_EUSAGE, "rectrain_predict: %s is NULL", m ? "pairs" : "model"));
    if (!n) goto done;
    RT_GO(take_lane(m, &l));
    for (size_t first = 0; first < n; first += RT_SCORER_WINDOW) {
        size_t rows = n - first < RT_SCORER_WINDOW ? n - first : RT_SCORER_WINDOW;
        RT_GO(predict_window(m, l, pairs, first, rows, probabilities, logits));
    }
    return_lane(m, l);
    l = NULL;
done:
    if (l) rt_worker_run(m->worker, drop_lane, l); /* after a failure rows may be left in its predictor */
    return public(rc);
}
