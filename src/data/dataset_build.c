/* Making a data set: one thread reads rows into chunks and writes finished chunks in order; all threads encode. Chunks
 * go round a ring of fixed size, so memory does not grow with the file and the result does not depend on threads. */
#include "../base/cpu.h"
#include "dataset_read.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 256 };

typedef enum { FREE, FILLED, BUSY, DONE } chunk_state;

typedef struct {
    rt_rows_in in;
    chunk_state state;
    rt_status rc;
    rt_error error; /* of the thread that encoded it */
    void *ids;      /* uint16 or int32, as in the cache: of each row its split, then its ids */
    size_t n_ids, ids_capacity;
    uint16_t lengths[RT_CHUNK_ROWS], labels[RT_CHUNK_ROWS];
    uint64_t texts[RT_CHUNK_ROWS];
    uint64_t empty_a, empty_b;
    rt_tok_stats stats;
} rt_chunk;

typedef struct {
    const rt_data_spec *spec;
    const rt_tokenizer *tok;
    bool pairs, wide; /* wide: ids of 4 bytes */
    pthread_mutex_t lock;
    pthread_cond_t filled, done;
    rt_chunk **ring;
    size_t n_ring, head, encode, tail; /* running numbers: next to fill, to encode, to write */
    bool stop;
} rt_pipeline;

typedef struct {
    rt_tok_scratch *scratch;
    int32_t *row; /* [max_length] */
} rt_encoder;

static rt_status encoder_open(rt_encoder *e, int max_length) {
    e->scratch = rt_tok_scratch_new();
    e->row = malloc((size_t)max_length * sizeof *e->row);
    return e->scratch && e->row ? RT_OK : rt_fail(RT_ENOMEM, "no memory to tokenise");
}

static void encoder_close(rt_encoder *e) {
    rt_tok_scratch_free(e->scratch);
    free(e->row);
}

/* Appends a row in the cache's width and hashes its ids: equal hashes, equal texts for the model. */
static rt_status append_row(const rt_pipeline *p, rt_chunk *c, int i, const int32_t *ids, int n, int split) {
    size_t width = p->wide ? 4 : 2;
    const size_t needed = c->n_ids + (size_t)n + 1;
    if (needed > c->ids_capacity) {
        size_t capacity = c->ids_capacity ? c->ids_capacity * 2 : 65536;
        while (capacity < needed) capacity *= 2;
        void *grown = realloc(c->ids, capacity * width);
        if (!grown) return rt_fail(RT_ENOMEM, "no memory for %zu tokens", capacity);
        c->ids = grown;
        c->ids_capacity = capacity;
    }
    unsigned char *to = (unsigned char *)c->ids + (c->n_ids + 1) * width;
    if (p->wide) {
        ((int32_t *)c->ids)[c->n_ids] = split;
        memcpy(to, ids, (size_t)n * width);
    } else {
        ((uint16_t *)c->ids)[c->n_ids] = (uint16_t)split;
        for (int t = 0; t < n; t++) ((uint16_t *)(void *)to)[t] = (uint16_t)ids[t];
    }
    if (!p->spec->raw_texts) {
        uint64_t key[2] = {rt_hash64(to, (size_t)n * width), (uint64_t)split};
        uint64_t hash = rt_hash64(key, sizeof key);
        c->texts[i] = hash ? hash : 1;
    }
    c->lengths[i] = (uint16_t)n;
    c->n_ids = needed;
    return RT_OK;
}

static rt_status encode_rows(const rt_pipeline *p, rt_chunk *c, rt_encoder *e) {
    const char *text = c->in.text.data ? c->in.text.data : "";
    c->n_ids = 0;
    c->empty_a = c->empty_b = 0;
    c->stats = (rt_tok_stats){0};
    for (int i = 0; i < c->in.n; i++) {
        const char *a = text, *b = p->pairs ? a + c->in.a_size[i] : NULL;
        text += (size_t)c->in.a_size[i] + c->in.b_size[i];
        int n, split;
        uint64_t empty = c->stats.empty;
        RT_TRY(rt_encode(p->tok, e->scratch, &p->spec->encode, a, c->in.a_size[i], b, c->in.b_size[i], e->row, &n,
                         &split, &c->stats));
        empty = c->stats.empty - empty;
        /* [CLS] [SEP] B [SEP] splits at 2; [CLS] A [SEP] [SEP] has one token from the split on. */
        bool no_a = p->pairs ? split == 2 : n == 2, no_b = p->pairs && n - split == 1;
        c->empty_a += empty > 0 && no_a;
        c->empty_b += empty > 0 && no_b;
        if (p->spec->raw_texts) {
            uint64_t key[2] = {rt_hash64(a, c->in.a_size[i]), b ? rt_hash64(b, c->in.b_size[i]) : 0};
            uint64_t hash = rt_hash64(key, sizeof key);
            c->texts[i] = hash ? hash : 1;
        }
        RT_TRY(append_row(p, c, i, e->row, n, split));
        c->labels[i] = (uint16_t)c->in.labels[i];
    }
    return RT_OK;
}

static void encode_chunk(const rt_pipeline *p, rt_chunk *c, rt_encoder *e) {
    c->rc = encode_rows(p, c, e);
    if (c->rc != RT_OK) c->error = *rt_error_get();
}

/* Encodes the next filled chunk, if there is one. Called with the lock held, and returns so. */
static bool encode_next(rt_pipeline *p, rt_encoder *e) {
    if (p->encode == p->head) return false;
    rt_chunk *c = p->ring[p->encode++ % p->n_ring];
    c->state = BUSY;
    pthread_mutex_unlock(&p->lock);
    encode_chunk(p, c, e);
    pthread_mutex_lock(&p->lock);
    c->state = DONE;
    pthread_cond_signal(&p->done);
    return true;
}

static void *work(void *context) {
    rt_pipeline *p = context;
    rt_encoder e = {0};
    bool ready = encoder_open(&e, p->spec->encode.max_length) == RT_OK;
    pthread_mutex_lock(&p->lock);
    /* Without memory for it this thread leaves its part to the others. */
    while (ready && !p->stop)
        if (!encode_next(p, &e)) pthread_cond_wait(&p->filled, &p->lock);
    pthread_mutex_unlock(&p->lock);
    encoder_close(&e);
    return NULL;
}

static rt_status write_chunk(const rt_pipeline *p, const rt_reader *r, const rt_chunk *c, rt_cache_writer *w,
                             rt_cache_header *h) {
    const size_t n = (size_t)c->in.n;
    for (size_t i = 0; i < n; i++) {
        h->tokens += c->lengths[i];
        if (c->lengths[i] > h->max_len) h->max_len = c->lengths[i];
    }
    RT_TRY(rt_cache_write(w, RT_SECTION_IDS, c->ids, c->n_ids * (p->wide ? 4 : 2)));
    RT_TRY(rt_cache_write(w, RT_SECTION_LENGTHS, c->lengths, n * sizeof *c->lengths));
    RT_TRY(rt_cache_write(w, RT_SECTION_TEXTS, c->texts, n * sizeof *c->texts));
    const char *names[RT_OPTIONAL_COLUMNS], *keys[RT_OPTIONAL_COLUMNS];
    rt_data_columns(p->spec, names, keys);
    bool has[RT_OPTIONAL_COLUMNS];
    for (int i = 0; i < RT_OPTIONAL_COLUMNS; i++) has[i] = names[i] && !(r->dropped >> i & 1);
    if (p->spec->need_label) RT_TRY(rt_cache_write(w, RT_SECTION_LABELS, c->labels, n * sizeof *c->labels));
    if (has[0]) RT_TRY(rt_cache_write(w, RT_SECTION_GROUPS, c->in.groups, n * sizeof *c->in.groups));
    if (has[1]) RT_TRY(rt_cache_write(w, RT_SECTION_WEIGHTS, c->in.weights, n * sizeof *c->in.weights));
    if (has[2]) RT_TRY(rt_cache_write(w, RT_SECTION_USERS, c->in.users, n * sizeof *c->in.users));
    if (has[3]) RT_TRY(rt_cache_write(w, RT_SECTION_ITEMS, c->in.items, n * sizeof *c->in.items));
    if (has[4]) RT_TRY(rt_cache_write(w, RT_SECTION_TIMES, c->in.times, n * sizeof *c->in.times));
    if (p->spec->n_slices > 0)
        RT_TRY(
            rt_cache_write(w, RT_SECTION_SLICES, c->in.slices, n * (size_t)p->spec->n_slices * sizeof *c->in.slices));
    h->rows += n;
    h->truncated += c->stats.truncated;
    h->special_split += c->stats.special_split;
    h->invalid_utf8 += c->stats.invalid_utf8;
    h->unknown += c->stats.unknown;
    h->empty_a += c->empty_a;
    h->empty_b += c->empty_b;
    return RT_OK;
}

/* The reading and writing thread; it encodes too when there is nothing to read or write. */
static rt_status drive(rt_pipeline *p, rt_reader *r, rt_encoder *e, rt_progress progress, void *context,
                       rt_cache_writer *w, rt_cache_header *h) {
    bool end = false;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        rt_chunk *last = p->tail < p->head ? p->ring[p->tail % p->n_ring] : NULL;
        bool writable = last && last->state == DONE, room = !end && p->head - p->tail < p->n_ring;
        if (!writable && !room && last && !encode_next(p, e)) pthread_cond_wait(&p->done, &p->lock);
        pthread_mutex_unlock(&p->lock);
        if (writable) {
            if (last->rc != RT_OK) {
                rt_error_set(&last->error);
                return last->rc;
            }
            RT_TRY(write_chunk(p, r, last, w, h));
            p->tail++; /* this thread's own, as head is */
        } else if (room) {
            rt_chunk *c = p->ring[p->head % p->n_ring];
            RT_TRY(rt_reader_next(r, &c->in));
            if (progress && progress(context, rt_reader_position(r), r->all_bytes, r->rows))
                return rt_fail(RT_ESTOPPED, "stopped while the data were being tokenised; nothing is kept of it");
            if (c->in.n == 0) {
                end = true;
                continue;
            }
            pthread_mutex_lock(&p->lock);
            c->state = FILLED;
            p->head++;
            pthread_cond_signal(&p->filled);
            pthread_mutex_unlock(&p->lock);
        } else if (!last && end) {
            return RT_OK;
        }
    }
}

static int thread_count(int wanted) {
    if (wanted <= 0) {
        rt_cpu cpu;
        rt_cpu_detect(&cpu);
        wanted = cpu.cores;
    }
    return wanted < 1 ? 1 : wanted > MAX_THREADS ? MAX_THREADS : wanted;
}

/* Helpers beside this thread, with all signals blocked: those are the main thread's. */
static int start_helpers(rt_pipeline *p, pthread_t *threads, int n) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0;
    while (started < n && pthread_create(&threads[started], NULL, work, p) == 0) started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static rt_status ring_new(rt_pipeline *p, size_t n) {
    p->ring = calloc(n, sizeof *p->ring);
    if (!p->ring) return rt_fail(RT_ENOMEM, "no memory to tokenise");
    for (; p->n_ring < n; p->n_ring++) {
        p->ring[p->n_ring] = calloc(1, sizeof(rt_chunk));
        if (!p->ring[p->n_ring])
            return rt_fail(RT_ENOMEM, "no memory to tokenise with so many threads; run.threads lowers them");
    }
    return RT_OK;
}

static void ring_free(rt_pipeline *p) {
    for (size_t i = 0; i < p->n_ring; i++) {
        rt_text_free(&p->ring[i]->in.text);
        free(p->ring[i]->ids);
        free(p->ring[i]);
    }
    free(p->ring);
}

rt_status rt_dataset_build(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                           void *context, rt_cache_writer *w, rt_cache_header *h) {
    const int n_threads = thread_count(spec->threads);
    rt_pipeline p = {.spec = spec,
                     .tok = tok,
                     .lock = PTHREAD_MUTEX_INITIALIZER,
                     .filled = PTHREAD_COND_INITIALIZER,
                     .done = PTHREAD_COND_INITIALIZER};
    rt_reader r = {0};
    rt_encoder e = {0};
    pthread_t threads[MAX_THREADS];
    int started = 0;
    rt_status rc = RT_OK;
    p.wide = rt_tokenizer_size(tok) > 65536;
    h->id_bytes = p.wide ? 4 : 2;
    RT_GO(rt_reader_open(&r, spec, log));
    p.pairs = r.n_texts > 1 && !spec->apart;
    RT_GO(encoder_open(&e, spec->encode.max_length));
    RT_GO(ring_new(&p, (size_t)n_threads * 2 + 2));
    started = start_helpers(&p, threads, n_threads - 1);
    rc = drive(&p, &r, &e, progress, context, w, h);
    if (rc != RT_OK) goto done;
    h->bad_rows = r.bad_rows;
    h->dropped = r.dropped;
    h->label_counts[0] = r.label_counts[0];
    h->label_counts[1] = r.label_counts[1];
    h->n_groups = r.groups.n;
    h->one_class_groups = rt_group_map_one_class(&r.groups);
    h->calendar = r.calendar;
    h->left_out = r.left_out;
    h->n_slices = (uint32_t)spec->n_slices;
    for (int i = 0; i < spec->n_slices; i++) {
        h->slice_values[i] = r.slices[i].n;
        if (r.slices[i].n > 0)
            RT_GO(rt_cache_write(w, RT_SECTION_SLICE_NAMES, r.slices[i].names.data, r.slices[i].names.size));
    }
done:
    pthread_mutex_lock(&p.lock);
    p.stop = true;
    pthread_cond_broadcast(&p.filled);
    pthread_mutex_unlock(&p.lock);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    ring_free(&p);
    encoder_close(&e);
    rt_reader_close(&r);
    return rc;
}
