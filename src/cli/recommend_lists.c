/* The parts' lists for a window of users, and one list of them.
 *
 * Text, the collaborative score and popularity each give their best `candidates` items that the rules allow and the
 * user has not seen. They are merged, and the best `candidates` of that are scored by the ranker. Then all four are
 * merged. */
#include "../api/scorer.h"
#include "recommend_parts.h"
#include "signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_allowed(const rt_rec *rec, uint32_t item) {
    return rec->allowed[item / 64] >> item % 64 & 1;
}

static bool is_among(const uint32_t *items, uint32_t n, uint32_t item) {
    for (uint32_t low = 0, high = n; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        if (items[mid] == item) return true;
        if (items[mid] < item)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

/* What the user must not get again. */
static uint32_t seen_by(const rt_rec *rec, uint32_t user, const uint32_t **items) {
    *items = NULL;
    return rec->cli->recommend.keep_seen ? 0 : rt_clicks_user(&rec->events.clicks, user, items);
}

/* --- text ------------------------------------------------------------------------------------------------------------
 */

typedef struct {
    uint32_t n, *users; /* [n] places in the window of those who have a text */
    uint64_t *starts;
    uint32_t *seen;
    float *queries;
    rt_hit *hits;
} text_search;

static void search_free(text_search *t) {
    free(t->users);
    free(t->starts);
    free(t->seen);
    free(t->queries);
    free(t->hits);
}

static rt_status search_new(const rt_rec *rec, const rt_rec_window *w, text_search *t) {
    uint64_t all = 0, at = 0;
    const uint32_t *items;
    t->users = malloc(((size_t)w->n + 1) * sizeof *t->users);
    t->starts = calloc((size_t)w->n + 1, sizeof *t->starts);
    if (!t->users || !t->starts) return rt_fail(RT_ENOMEM, "out of memory to search");
    for (uint32_t i = 0; i < w->n; i++) {
        if (!w->users[i].text_size[RT_ROLE_RETRIEVER]) continue;
        all += seen_by(rec, w->users[i].user, &items);
        t->users[t->n++] = i;
    }
    t->seen = malloc((all + 1) * sizeof *t->seen);
    t->queries = malloc(((size_t)t->n * (size_t)rec->width + 1) * sizeof *t->queries);
    t->hits = malloc(((size_t)t->n * rec->candidates + 1) * sizeof *t->hits);
    if (!t->seen || !t->queries || !t->hits) return rt_fail(RT_ENOMEM, "out of memory to search for %u users", t->n);
    for (uint32_t q = 0; q < t->n; q++) {
        uint32_t n = seen_by(rec, w->users[t->users[q]].user, &items);
        if (n) memcpy(t->seen + at, items, n * sizeof *items);
        at += n;
        t->starts[q + 1] = at;
    }
    return RT_OK;
}

static rt_status search_text(rt_rec *rec, rt_rec_window *w) {
    rt_status rc;
    text_search t = {0};
    rt_topk *topk = NULL;
    const float *vectors;
    RT_GO(search_new(rec, w, &t));
    if (t.n == 0) goto done;
    for (uint32_t q = 0; q < t.n; q++) {
        const rt_rec_user *u = &w->users[t.users[q]];
        RT_GO(rt_rec_embed_text(rec, rec->cli->recommend.user_prefix, w->bytes.data + u->text[RT_ROLE_RETRIEVER],
                                u->text_size[RT_ROLE_RETRIEVER]));
    }
    RT_GO(rt_embedder_run(rec->embedder, &vectors));
    memcpy(t.queries, vectors, (size_t)t.n * (size_t)rec->width * sizeof *vectors);
    rt_unit_rows(t.queries, t.n, rec->width);
    rt_topk_filter filter = {.allowed = rec->searchable, .seen = t.seen, .starts = t.starts};
    rt_topk_options o = {.be = rec->setups[RT_ROLE_RETRIEVER].be,
                         .width = rec->width,
                         .k = (int)rec->candidates,
                         .n_queries = t.n,
                         .queries = t.queries,
                         .filter = &filter};
    RT_GO(rt_topk_new(&o, &topk));
    RT_GO(rt_topk_add(topk, rec->vectors, 0, rec->items.n));
    RT_GO(rt_topk_finish(topk, t.hits));
    for (uint32_t q = 0; q < t.n; q++) {
        uint32_t i = t.users[q], n = 0;
        rt_item_score *list = w->lists[RT_PART_TEXT] + (size_t)i * rec->candidates;
        const rt_hit *hits = t.hits + (size_t)q * rec->candidates;
        for (; n < rec->candidates && hits[n].item != RT_NO_HIT; n++)
            list[n] = (rt_item_score){hits[n].item, hits[n].score};
        w->users[i].n[RT_PART_TEXT] = n;
    }
done:
    rt_topk_free(topk);
    search_free(&t);
    return rc;
}

/* --- clicks ----------------------------------------------------------------------------------------------------------
 */

static rt_status score_clicks(rt_rec *rec, rt_rec_window *w, uint32_t i) {
    rt_rec_user *u = &w->users[i];
    const rt_knn_hit *hits;
    rt_knn_query q = {.most = rec->candidates, .allowed = rec->allowed, .keep_own = rec->cli->recommend.keep_seen};
    size_t base = (size_t)i * rec->candidates;
    if (!rec->scorer) return RT_OK;
    q.n = rt_clicks_user(&rec->events.clicks, u->user, &q.items);
    if (q.n) RT_TRY(rt_knn_score(rec->scorer, &q, &hits, &u->n[RT_PART_COLLABORATIVE]));
    for (uint32_t h = 0; h < u->n[RT_PART_COLLABORATIVE]; h++) {
        w->because[base + h] = hits[h].because;
        w->lists[RT_PART_COLLABORATIVE][base + h] = (rt_item_score){hits[h].item, hits[h].score};
    }
    return RT_OK;
}

/* The items of the slice with their clicks in it; below them all others with their share of the most clicks. */
static void list_popular(rt_rec *rec, rt_rec_window *w, uint32_t i) {
    rt_rec_user *u = &w->users[i];
    rt_item_score *list = w->lists[RT_PART_POPULARITY] + (size_t)i * rec->candidates;
    const uint32_t *seen;
    uint32_t n_seen = seen_by(rec, u->user, &seen), n = 0;
    double most = rec->popularity.n_all ? rec->popularity.all[0].clicks : 0;
    bool of_slice, sliced = u->slice < rec->popularity.n_slices;
    rt_popularity_walk walk = rt_popularity_begin(&rec->popularity, u->slice);
    rec->stamp++;
    while (n < rec->candidates) {
        const rt_popular *p = rt_popularity_next(&walk, &of_slice);
        if (!p) break;
        if (rec->seen_by[p->item] == rec->stamp || !is_allowed(rec, p->item) || is_among(seen, n_seen, p->item))
            continue;
        rec->seen_by[p->item] = rec->stamp;
        list[n++] = (rt_item_score){p->item, of_slice || !sliced ? p->clicks : p->clicks / (most + 1)};
        u->of_slice += of_slice;
    }
    u->n[RT_PART_POPULARITY] = n;
}

/* --- merging ---------------------------------------------------------------------------------------------------------
 */

static bool has_a_say(const rt_rec_user *u, const rt_recipe *recipe, int part) {
    if (part == RT_PART_RANKER || !u->n[part]) return false;
    if (recipe->weights[part] > 0) return true;
    if (part != RT_PART_POPULARITY || !recipe->fall_back) return false;
    for (int p = 0; p < RT_PART_POPULARITY; p++)
        if (has_a_say(u, recipe, p)) return false;
    return true;
}

/* The lists of the parts that find candidates; n 0 where one has no say. */
static void first_lists(const rt_rec *rec, const rt_rec_window *w, uint32_t i, const rt_recipe *recipe,
                        rt_fuse_list lists[RT_PARTS]) {
    const rt_rec_user *u = &w->users[i];
    for (int p = 0; p < RT_PARTS; p++) {
        bool says = has_a_say(u, recipe, p);
        double weight = recipe->weights[p] > 0 ? recipe->weights[p] : 1; /* the fall-back's weight is of no matter */
        lists[p] = (rt_fuse_list){rt_rec_list(rec, w, i, p), says ? u->n[p] : 0, weight};
    }
}

/* Those that the ranker is asked about: the best by the other parts. */
static rt_status short_list(rt_rec *rec, const rt_rec_window *w, uint32_t i, const rt_recipe *recipe,
                            const rt_fused **fused, uint32_t *n) {
    rt_fuse_list lists[RT_PARTS];
    first_lists(rec, w, i, recipe, lists);
    RT_TRY(rt_fuse(rec->fuser, rec->merge, lists, RT_PARTS, fused, n));
    if (*n > rec->candidates) *n = rec->candidates;
    return RT_OK;
}

static int by_item(const void *a, const void *b) {
    const rt_item_score *x = a, *y = b;
    return (x->item > y->item) - (x->item < y->item);
}

/* --- the ranker ------------------------------------------------------------------------------------------------------
 */

/* The items to rank of one user, rising, each once. */
static rt_status collect(rt_rec *rec, rt_rec_window *w, uint32_t i, const rt_recipe *recipes, int n_recipes) {
    rt_rec_user *u = &w->users[i];
    rt_item_score *list = w->lists[RT_PART_RANKER] + (size_t)i * 2 * rec->candidates;
    uint32_t n = 0, kept = 0;
    if (!u->text_size[RT_ROLE_RANKER]) return RT_OK;
    for (int r = 0; r < n_recipes; r++) {
        const rt_fused *fused;
        uint32_t more;
        if (recipes[r].weights[RT_PART_RANKER] <= 0) continue;
        RT_TRY(short_list(rec, w, i, &recipes[r], &fused, &more));
        for (uint32_t k = 0; k < more && n < 2 * rec->candidates; k++) list[n++] = (rt_item_score){fused[k].item, 0};
    }
    qsort(list, n, sizeof *list, by_item);
    for (uint32_t k = 0; k < n; k++)
        if (kept == 0 || list[k].item != list[kept - 1].item) list[kept++] = list[k];
    u->n[RT_PART_RANKER] = kept;
    return RT_OK;
}

static rt_status rank(rt_rec *rec, rt_rec_window *w, const rt_recipe *recipes, int n_recipes) {
    const int labels = rec->setups[RT_ROLE_RANKER].n_labels;
    const float *logits;
    float p[RT_MAX_LABELS];
    for (uint32_t i = 0; i < w->n; i++) {
        RT_TRY(collect(rec, w, i, recipes, n_recipes));
        const rt_rec_user *u = &w->users[i];
        const rt_item_score *list = rt_rec_list(rec, w, i, RT_PART_RANKER);
        for (uint32_t k = 0; k < u->n[RT_PART_RANKER]; k++) {
            size_t size;
            const char *text = rt_catalogue_text(&rec->items, rec->text_of[RT_ROLE_RANKER], list[k].item, &size);
            RT_TRY(rt_predictor_add(rec->predictor, w->bytes.data + u->text[RT_ROLE_RANKER],
                                    u->text_size[RT_ROLE_RANKER], text, size));
        }
    }
    RT_TRY(rt_predictor_run(rec->predictor, &logits));
    for (uint32_t i = 0; i < w->n; i++) {
        rt_item_score *list = w->lists[RT_PART_RANKER] + (size_t)i * 2 * rec->candidates;
        for (uint32_t k = 0; k < w->users[i].n[RT_PART_RANKER]; k++, logits += labels) {
            rt_scorer_probabilities(logits, labels, p);
            list[k].score = p[labels - 1];
        }
    }
    return RT_OK;
}

rt_status rt_rec_score(rt_rec *rec, rt_rec_window *w, const rt_recipe *recipes, int n_recipes) {
    bool wants[RT_PARTS] = {false};
    for (int r = 0; r < n_recipes; r++)
        for (int p = 0; p < RT_PARTS; p++) wants[p] = wants[p] || recipes[r].weights[p] > 0;
    if (rec->embedder && wants[RT_PART_TEXT]) RT_TRY(search_text(rec, w));
    for (uint32_t i = 0; i < w->n; i++) {
        if (rt_signals_stop()) return rt_fail(RT_ESTOPPED, "stopped");
        if (wants[RT_PART_COLLABORATIVE]) RT_TRY(score_clicks(rec, w, i));
        list_popular(rec, w, i);
    }
    return rec->predictor && wants[RT_PART_RANKER] ? rank(rec, w, recipes, n_recipes) : RT_OK;
}

/* --- choosing --------------------------------------------------------------------------------------------------------
 */

static bool may(void *rec, uint32_t item) {
    const rt_rec *r = rec;
    return !r->rules || rt_rules_may(r->rules, item);
}

static void taken(void *rec, uint32_t item) {
    const rt_rec *r = rec;
    if (r->rules) rt_rules_take(r->rules, item);
}

/* The ranker's scores of this recipe's short list, a part of all that it gave. */
static rt_status ranked_list(rt_rec *rec, const rt_rec_window *w, uint32_t i, const rt_recipe *recipe,
                             rt_item_score *out, uint32_t *n_out) {
    const rt_fused *fused;
    const rt_item_score *all = rt_rec_list(rec, w, i, RT_PART_RANKER);
    uint32_t n, n_all = w->users[i].n[RT_PART_RANKER];
    *n_out = 0;
    if (recipe->weights[RT_PART_RANKER] <= 0 || n_all == 0) return RT_OK;
    RT_TRY(short_list(rec, w, i, recipe, &fused, &n));
    for (uint32_t k = 0; k < n; k++) {
        rt_item_score key = {fused[k].item, 0};
        const rt_item_score *found = bsearch(&key, all, n_all, sizeof key, by_item);
        if (found) out[(*n_out)++] = *found;
    }
    return RT_OK;
}

rt_status rt_rec_choose(rt_rec *rec, const rt_rec_window *w, uint32_t i, const rt_recipe *recipe,
                        const rt_fused **fused, uint32_t *chosen, uint32_t *n_chosen) {
    rt_status rc = RT_OK;
    rt_fuse_list lists[RT_PARTS];
    rt_item_score *candidates = NULL;
    rt_item_score *ranked = malloc(((size_t)rec->candidates + 1) * sizeof *ranked);
    uint32_t n;
    if (!ranked) RT_GO(rt_fail(RT_ENOMEM, "out of memory to choose"));
    first_lists(rec, w, i, recipe, lists);
    lists[RT_PART_RANKER] = (rt_fuse_list){ranked, 0, recipe->weights[RT_PART_RANKER]};
    RT_GO(ranked_list(rec, w, i, recipe, ranked, &lists[RT_PART_RANKER].n));
    RT_GO(rt_fuse(rec->fuser, rec->merge, lists, RT_PARTS, fused, &n));
    candidates = malloc(((size_t)n + 1) * sizeof *candidates);
    if (!candidates) RT_GO(rt_fail(RT_ENOMEM, "out of memory to choose"));
    for (uint32_t k = 0; k < n; k++) candidates[k] = (rt_item_score){(*fused)[k].item, (*fused)[k].score};
    if (rec->rules) RT_GO(rt_rules_begin(rec->rules, rec->top));
    rt_mmr_options o = {recipe->diversity, rt_rec_similarity, may, taken, rec};
    RT_GO(rt_mmr_choose(&o, candidates, n, rec->top, chosen, n_chosen));
done:
    free(ranked);
    free(candidates);
    return rc;
}
