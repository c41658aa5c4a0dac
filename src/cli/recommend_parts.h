/* What the files of `rectrain recommend` share: everything that is loaded, a window of users, their lists. */
#ifndef RT_CLI_RECOMMEND_PARTS_H
#define RT_CLI_RECOMMEND_PARTS_H
#include "../eval/embedder.h"
#include "../recommend/events.h"
#include "../recommend/fuse.h"
#include "../recommend/item_table.h"
#include "../recommend/itemknn.h"
#include "../recommend/measure.h"
#include "../recommend/mmr.h"
#include "../recommend/popularity.h"
#include "../retrieve/topk.h"
#include "live.h"
#include "setup.h"

/* Who has a say. */
typedef enum { RT_PART_TEXT, RT_PART_RANKER, RT_PART_COLLABORATIVE, RT_PART_POPULARITY, RT_PARTS } rt_part;
extern const char *const rt_part_names[RT_PARTS];

enum { RT_ROLE_RETRIEVER, RT_ROLE_RANKER, RT_ROLES }; /* of texts: each model has its own templates */

/* How one list is made of the parts. */
typedef struct {
    double weights[RT_PARTS]; /* 0: the part has no say */
    double diversity;
    bool fall_back; /* a user of whom no part knows anything gets what is popular */
} rt_recipe;

typedef struct {
    rt_cli *cli;
    rt_live live;
    uint32_t top, candidates, neighbours, history, window; /* window: users at once */
    rt_fuse_kind merge;
    rt_recipe recipe;
    const char *user_column, *item_column, *item_key, *time_column, *label_column;
    bool skip_bad_rows;

    const rt_config
        *cfg; /* that columns come from: the retriever's, else the ranker's, else of the command line alone */
    rt_config *configs[RT_ROLES], *plain;
    rt_cli clis[RT_ROLES]; /* --checkpoint of each is its own */
    rt_setup setups[RT_ROLES];
    bool has[RT_ROLES];
    rt_embedder *embedder;
    rt_predictor *predictor;

    rt_ids *users, *slices;
    rt_rules *rules;
    rt_catalogue items;
    int text_of[RT_ROLES]; /* which of the catalogue's texts is the item's for this model */
    rt_events events;
    uint32_t *user_slices; /* [events.n_users] where the items have no slice column and users have; else NULL */
    rt_itemknn knn;
    rt_knn_scorer *scorer;
    rt_popularity popularity;
    rt_fuser *fuser;
    rt_text prefixed;
    uint64_t *allowed, *searchable; /* bits: by the rules; and has a vector */
    uint32_t n_allowed;
    float *vectors; /* [n_items, width] of length 1; NULL without a retriever */
    int width;
    uint32_t *seen_by; /* [n_items] stamps, for popularity's walk */
    uint32_t stamp;
} rt_rec;

/* What the log and the held-out log have in common, for this file. */
rt_events_options rt_rec_events_options(rt_rec *rec, const char *path);
/* What begins now, for the live line: "embedding", "items". */
void rt_rec_phase(rt_rec *rec, const char *verb, const char *what);
/* recommend_load.c: models, tables, log, what is computed from them. */
rt_status rt_rec_load(rt_rec *rec);
void rt_rec_free(rt_rec *rec);
/* A text for the retriever, with its prefix. */
rt_status rt_rec_embed_text(rt_rec *rec, const char *prefix, const char *text, size_t size);
double rt_rec_similarity(void *rec, uint32_t a, uint32_t b); /* of vectors, else of clicks */

/* --- users in windows: recommend_users.c ----------------------------------------------------------------------------
 */

typedef struct {
    uint32_t user;  /* number, RT_NO_ID: not in the log */
    uint32_t slice; /* RT_NO_ID: none */
    size_t id, id_size;
    size_t text[RT_ROLES], text_size[RT_ROLES]; /* 0 bytes: nothing is known to search by */
    bool from_log[RT_ROLES];                    /* the text is the history */
    uint32_t n[RT_PARTS];
    uint32_t of_slice; /* so many of the popular are of the slice */
} rt_rec_user;

typedef struct {
    uint32_t n, room;
    rt_rec_user *users;
    rt_text bytes; /* ids and texts */
    /* [room, candidates] of each part but the ranker's [room, 2 * candidates] */
    rt_item_score *lists[RT_PARTS];
    uint32_t *because; /* [room, candidates] beside the collaborative list */
} rt_rec_window;

rt_status rt_rec_window_new(const rt_rec *rec, rt_rec_window *out);
void rt_rec_window_free(rt_rec_window *w);
static inline const rt_item_score *rt_rec_list(const rt_rec *rec, const rt_rec_window *w, uint32_t i, int part) {
    return w->lists[part] + (size_t)i * rec->candidates * (part == RT_PART_RANKER ? 2 : 1);
}

typedef struct rt_rec_users rt_rec_users;
/* Whom lists are for: the rows of --users, or where there is none all users of the log; with `wanted` (bits of user
 * numbers, n_wanted of them) only those, each once, and behind the table those whom it lacks. */
rt_status rt_rec_users_open(rt_rec *rec, const uint64_t *wanted, uint32_t n_wanted, rt_rec_users **out);
void rt_rec_users_close(rt_rec_users *users);
/* Fills the window with the next users; n 0: no more. */
rt_status rt_rec_users_next(rt_rec_users *users, rt_rec_window *window);
uint64_t rt_rec_users_bad_rows(const rt_rec_users *users);
/* The slice of each user of the log, from --users; *out stays NULL where that has no such column. */
rt_status rt_rec_users_slices(rt_rec *rec, uint32_t **out);

/* --- their lists: recommend_lists.c ----------------------------------------------------------------------------------
 */

/* All parts' lists for a window; the ranker scores what any of these recipes would ask of it. */
rt_status rt_rec_score(rt_rec *rec, rt_rec_window *window, const rt_recipe *recipes, int n_recipes);
/* One user's list by one recipe: places in *fused (the fuser's), best first; room for rec->top. */
rt_status rt_rec_choose(rt_rec *rec, const rt_rec_window *window, uint32_t user, const rt_recipe *recipe,
                        const rt_fused **fused, uint32_t *chosen, uint32_t *n_chosen);

rt_status rt_rec_write(rt_rec *rec);    /* recommend_write.c */
rt_status rt_rec_evaluate(rt_rec *rec); /* recommend_evaluate.c */

#endif
