/* The example shop. Everything random comes from rt_rng; chances are whole millionths and logits whole ten-thousandths,
 * so that a last bit of exp() that differs between machines does not change a byte of the files. */
#include "shop.h"
#include "../base/file.h"
#include "../base/philox.h"
#include "../base/text.h"
#include "shop_words.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_USERS = 256,
    MOST_USERS = 1000000,
    VARIANTS = 12, /* items of one noun */
    ITEMS = RT_SHOP_CATEGORIES * RT_SHOP_NOUNS * VARIANTS,
    CANDIDATES = 8, /* rows of an impression */
    HISTORY = 3,
    MILLION = 1000000,
    SITE_CATALOGUE = 0xFFE0, /* streams of random numbers, apart from everything that training draws */
    SITE_USER = 0xFFE1,
    SITE_IMPRESSION = 0xFFE2,
    FLUSH_BYTES = 1 << 16,
};

typedef struct {
    int category, noun, purpose; /* purpose -1: none in the title */
    int brand;                   /* every item has one; half of the titles say it */
    int price_cents, price_z10;  /* z10: tenths of a standard deviation from the noun's price */
    int popularity;              /* 0: the most popular; orders an impression */
    bool is_new;                 /* first seen after the training period */
    char title[80];
    uint64_t train_rows, train_clicks;
} shop_item;

typedef struct {
    int category;                    /* the one the user loves */
    bool cold;                       /* appears after the training period, without a history */
    int history[HISTORY], n_history; /* items clicked last, oldest first */
} shop_user;

/* The area under the ROC curve from scores in millionths. */
typedef struct {
    uint64_t *clicks, *others; /* [MILLION + 1] */
} shop_area;

typedef struct {
    uint64_t seed;
    shop_item items[ITEMS];
    int by_category[2][RT_SHOP_CATEGORIES][RT_SHOP_NOUNS * VARIANTS], n_by_category[2][RT_SHOP_CATEGORIES];
    int all[2][ITEMS], n_all[2]; /* [0] known in the training period, [1] all */
    uint32_t brand_bound[RT_SHOP_BRANDS];
    shop_user *users;
    uint32_t n_users;
    shop_area p_true, p_text, item_rate;
    uint64_t rows, clicks; /* of the file being written */
    uint64_t train_rows, train_clicks;
} shop;

typedef struct {
    rt_atomic file;
    rt_text text;
} shop_file;

static rt_status shop_file_begin(shop_file *f, const char *folder, const char *name) {
    char *path = rt_path_join(folder, name);
    if (!path) return rt_fail(RT_ENOMEM, "out of memory: path of %s", name);
    rt_status rc = rt_atomic_begin(&f->file, path);
    free(path);
    return rc;
}

static rt_status shop_file_flush(shop_file *f, size_t at_least) {
    RT_TRY(rt_text_status(&f->text));
    if (f->text.size < at_least || f->text.size == 0) return RT_OK;
    RT_TRY(rt_atomic_write(&f->file, f->text.data, f->text.size));
    rt_text_clear(&f->text);
    return RT_OK;
}

static bool coin(rt_rng *rng) {
    return rt_rng_below(rng, 2) == 1;
}
static int pick(rt_rng *rng, int n) {
    return (int)rt_rng_below(rng, (uint32_t)n);
}

/* Chance in millionths of a logit in ten-thousandths. */
static uint32_t chance(int logit) {
    return (uint32_t)lround(MILLION / (1 + exp(-logit / 10000.0)));
}

/* --- the catalogue --- */

static int pick_brand(const shop *s, rt_rng *rng) {
    uint32_t draw = rt_rng_below(rng, s->brand_bound[RT_SHOP_BRANDS - 1]);
    int brand = 0;
    while (draw >= s->brand_bound[brand]) brand++;
    return brand;
}

static void make_item(const shop *s, int number, shop_item *item) {
    rt_rng rng = rt_rng_make(s->seed, SITE_CATALOGUE, (uint32_t)number + 1);
    item->category = number / (RT_SHOP_NOUNS * VARIANTS);
    item->noun = number / VARIANTS % RT_SHOP_NOUNS;
    const rt_shop_category *category = &rt_shop_categories[item->category];
    item->brand = pick_brand(s, &rng);
    bool with_brand = coin(&rng), with_adjective = coin(&rng), with_purpose = coin(&rng);
    const char *adjective = rt_shop_adjectives[pick(&rng, RT_SHOP_ADJECTIVES)];
    int purpose = pick(&rng, RT_SHOP_PURPOSES);
    item->purpose = with_purpose ? purpose : -1;
    item->is_new = item->noun >= RT_SHOP_OLD_NOUNS || item->purpose >= RT_SHOP_OLD_PURPOSES;
    snprintf(item->title, sizeof item->title, "%s%s%s%s%s%s%s", with_brand ? rt_shop_brands[item->brand] : "",
             with_brand ? " " : "", with_adjective ? adjective : "", with_adjective ? " " : "",
             category->nouns[item->noun], with_purpose ? " " : "", with_purpose ? category->purposes[purpose] : "");
    double z10 = round(10 * rt_rng_normal(&rng));
    item->price_z10 = z10 < -25 ? -25 : z10 > 25 ? 25 : (int)z10;
    int noun_cents = category->typical_cents * (6 + item->noun) / 10;
    item->price_cents = noun_cents * (1000 + 22 * item->price_z10) / 1000;
}

static void make_catalogue(shop *s) {
    /* Zipf, exponent 0.8, in whole numbers. */
    uint32_t bound = 0;
    for (int b = 0; b < RT_SHOP_BRANDS; b++) {
        bound += (uint32_t)lround(MILLION / pow(b + 1, 0.8));
        s->brand_bound[b] = bound;
    }
    int order[ITEMS] = {0};
    rt_rng rng = rt_rng_make(s->seed, SITE_CATALOGUE, 0);
    for (int i = 0; i < ITEMS; i++) {
        int j = pick(&rng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (int i = 0; i < ITEMS; i++) {
        shop_item *item = &s->items[i];
        make_item(s, i, item);
        item->popularity = order[i];
        for (int late = item->is_new; late < 2; late++) {
            s->by_category[late][item->category][s->n_by_category[late][item->category]++] = i;
            s->all[late][s->n_all[late]++] = i;
        }
    }
}

/* --- users --- */

static void remember(shop_user *user, int item) {
    if (user->n_history == HISTORY)
        memmove(user->history, user->history + 1, (HISTORY - 1) * sizeof(int));
    else
        user->n_history++;
    user->history[user->n_history - 1] = item;
}

static void make_users(shop *s) {
    /* The last 15 % are cold, so the others are the first n: simple to draw from. */
    for (uint32_t u = 0; u < s->n_users; u++) {
        rt_rng rng = rt_rng_make(s->seed, SITE_USER, u);
        shop_user *user = &s->users[u];
        user->category = pick(&rng, RT_SHOP_CATEGORIES);
        user->cold = u >= s->n_users - s->n_users * 15 / 100;
        for (int h = 0; h < HISTORY && !user->cold; h++)
            remember(user, s->by_category[0][user->category][pick(&rng, s->n_by_category[0][user->category])]);
    }
}

/* --- impressions --- */

/* What the user asks for: a noun, or (noun -1) a purpose. */
typedef struct {
    int category, noun, purpose;
    char text[64];
} shop_query;

static shop_query make_query(rt_rng *rng, int category, bool late) {
    shop_query q = {.category = category, .noun = -1, .purpose = -1};
    const rt_shop_category *c = &rt_shop_categories[category];
    if (coin(rng)) {
        q.noun = pick(rng, late ? RT_SHOP_NOUNS : RT_SHOP_OLD_NOUNS);
        snprintf(q.text, sizeof q.text, "%s", c->nouns[q.noun]);
    } else {
        q.purpose = pick(rng, late ? RT_SHOP_PURPOSES : RT_SHOP_OLD_PURPOSES);
        snprintf(q.text, sizeof q.text, "gift %s", c->purposes[q.purpose]);
    }
    return q;
}

/* The part of a click's logit that the texts decide, in ten-thousandths. */
static int text_logit(const shop_query *q, const shop_item *item) {
    if (item->category != q->category) return -25000;
    bool named = q->noun >= 0 ? item->noun == q->noun : item->purpose == q->purpose;
    return named ? 20000 : 10000;
}

/* Half of the candidates from the query's category, half from anywhere, none twice. */
static void draw_candidates(const shop *s, rt_rng *rng, int category, bool late, int *chosen) {
    for (int n = 0; n < CANDIDATES;) {
        int item = n % 2 == 0 ? s->by_category[late][category][pick(rng, s->n_by_category[late][category])]
                              : s->all[late][pick(rng, s->n_all[late])];
        bool known = false;
        for (int k = 0; k < n; k++) known |= chosen[k] == item;
        if (!known) chosen[n++] = item;
    }
}

static void order_candidates(const shop *s, rt_rng *rng, bool shuffled, int *chosen) {
    for (int i = 1; i < CANDIDATES; i++) {
        int item = chosen[i], at = i;
        for (; at > 0 && s->items[chosen[at - 1]].popularity > s->items[item].popularity; at--)
            chosen[at] = chosen[at - 1];
        chosen[at] = item;
    }
    for (int i = CANDIDATES - 1; shuffled && i > 0; i--) {
        int j = pick(rng, i + 1), item = chosen[i];
        chosen[i] = chosen[j];
        chosen[j] = item;
    }
}

static void count_area(shop_area *area, uint32_t score, bool click) {
    (click ? area->clicks : area->others)[score]++;
}

static void write_impression(shop *s, uint32_t number, bool late, bool train, bool test, rt_text *out) {
    /* 0.35 ln(position) for positions 1 to 8; p_text has its mean, and no price. */
    static const int position_logit[CANDIDATES] = {0, 2426, 3845, 4852, 5633, 6271, 6811, 7278};
    enum { MEAN_POSITION_LOGIT = 4640, PRICE_LOGIT_Z10 = 350 };
    rt_rng rng = rt_rng_make(s->seed, SITE_IMPRESSION, number);
    uint32_t warm = s->n_users - s->n_users * 15 / 100;
    uint32_t user_number = rt_rng_below(&rng, late ? s->n_users : warm);
    shop_user *user = &s->users[user_number];
    shop_query query = make_query(&rng, user->category, late);
    bool shuffled = rt_rng_below(&rng, 4) == 0;
    int chosen[CANDIDATES] = {0};
    draw_candidates(s, &rng, user->category, late, chosen);
    order_candidates(s, &rng, shuffled, chosen);
    shop_user before = *user; /* the history that all rows of this impression show */
    for (int place = 0; place < CANDIDATES; place++) {
        shop_item *item = &s->items[chosen[place]];
        int from_text = text_logit(&query, item);
        uint32_t p_true = chance(from_text - position_logit[place] - PRICE_LOGIT_Z10 * item->price_z10);
        uint32_t p_text = chance(from_text - MEAN_POSITION_LOGIT);
        bool click = rt_rng_below(&rng, MILLION) < p_true;
        bool bought = rt_rng_below(&rng, MILLION) < chance(-12000 - 500 * item->price_z10) && click;
        rt_text_printf(out, "%u\t%u\t%d\t%s\t", number, user_number + 1, chosen[place] + 1, query.text);
        for (int h = 0; h < before.n_history; h++)
            rt_text_printf(out, "%s%s", h > 0 ? "; " : "", s->items[before.history[h]].title);
        rt_text_printf(out, "\t%s\t%s\t%s\t%d.%02d\t%d\t%d\t%d\t%d\t%u.%06u\t%u.%06u\t%d\t%d\n", item->title,
                       rt_shop_categories[item->category].name, rt_shop_brands[item->brand], item->price_cents / 100,
                       item->price_cents % 100, place + 1, shuffled, item->is_new, user->cold, p_true / MILLION,
                       p_true % MILLION, p_text / MILLION, p_text % MILLION, click, bought);
        s->rows++;
        s->clicks += click;
        if (train) {
            item->train_rows++;
            item->train_clicks += click;
        }
        if (test) {
            uint64_t known = item->train_rows, rate = known ? item->train_clicks * MILLION / known : 0;
            if (!known) rate = s->train_clicks * MILLION / s->train_rows; /* an unseen item gets the mean */
            count_area(&s->p_true, p_true, click);
            count_area(&s->p_text, p_text, click);
            count_area(&s->item_rate, (uint32_t)rate, click);
        }
        if (click && item->category == user->category) remember(user, chosen[place]);
    }
}

static rt_status write_split(shop *s, shop_file *f, uint32_t first, uint32_t n, bool late, bool train, bool test) {
    rt_text_puts(&f->text, "impression_id\tuser_id\titem_id\tquery\thistory\ttitle\tcategory\tbrand\tprice\tposition\t"
                           "shuffled\tnew_item\tcold_user\tp_true\tp_text\tclick\tbought\n");
    s->rows = s->clicks = 0;
    for (uint32_t i = 0; i < n; i++) {
        write_impression(s, first + i, late, train, test, &f->text);
        RT_TRY(shop_file_flush(f, FLUSH_BYTES));
    }
    return shop_file_flush(f, 0);
}

static rt_status write_items(const shop *s, shop_file *f) {
    rt_text_puts(&f->text, "item_id\ttitle\tcategory\tnoun\tbrand\tprice\tpopularity\tnew_item\n");
    for (int i = 0; i < ITEMS; i++) {
        const shop_item *item = &s->items[i];
        const rt_shop_category *c = &rt_shop_categories[item->category];
        rt_text_printf(&f->text, "%d\t%s\t%s\t%s\t%s\t%d.%02d\t%d\t%d\n", i + 1, item->title, c->name,
                       c->nouns[item->noun], rt_shop_brands[item->brand], item->price_cents / 100,
                       item->price_cents % 100, item->popularity + 1, item->is_new);
    }
    return shop_file_flush(f, 0);
}

/* --- the whole --- */

static double area_value(const shop_area *area) {
    double clicks = 0, others = 0, won = 0;
    for (int v = 0; v <= MILLION; v++) {
        won += (double)area->clicks[v] * (others + (double)area->others[v] / 2);
        clicks += (double)area->clicks[v];
        others += (double)area->others[v];
    }
    return clicks > 0 && others > 0 ? won / (clicks * others) : NAN;
}

static rt_status area_make(shop_area *area) {
    area->clicks = calloc(MILLION + 1, sizeof *area->clicks);
    area->others = calloc(MILLION + 1, sizeof *area->others);
    return area->clicks && area->others ? RT_OK : rt_fail(RT_ENOMEM, "out of memory: the example shop's ceilings");
}

static void area_free(shop_area *area) {
    free(area->clicks);
    free(area->others);
}

rt_status rt_shop_write(const char *folder, const rt_shop_options *options, rt_shop_summary *summary) {
    static const char *const names[] = {"train.tsv", "dev.tsv", "test.tsv", "items.tsv"};
    int users = options && options->users != 0 ? options->users : DEFAULT_USERS;
    if (users < 8 || users > MOST_USERS)
        return rt_fail(RT_EUSAGE, "%d users: the example shop takes 8 to %d (28 rows for each; without the option %d)",
                       users, MOST_USERS, DEFAULT_USERS);
    rt_status rc = RT_OK;
    shop_file files[4] = {0};
    shop *s = calloc(1, sizeof *s);
    shop_user *people = calloc((size_t)users, sizeof *people);
    if (!s || !people) {
        rc = rt_fail(RT_ENOMEM, "out of memory: the example shop of %d users", users);
        goto done;
    }
    s->seed = options ? options->seed : 0;
    s->users = people;
    s->n_users = (uint32_t)users;
    RT_GO(area_make(&s->p_true));
    RT_GO(area_make(&s->p_text));
    RT_GO(area_make(&s->item_rate));
    make_catalogue(s);
    make_users(s);
    RT_GO(rt_make_folders(folder));
    for (int i = 0; i < 4; i++) RT_GO(shop_file_begin(&files[i], folder, names[i]));
    /* In time order: two impressions a user to train on, a half for dev, one for test. */
    uint32_t n = s->n_users;
    *summary = (rt_shop_summary){.items = ITEMS, .auc_constant = 0.5};
    RT_GO(write_split(s, &files[0], 1, 2 * n, false, true, false));
    summary->train_rows = s->train_rows = s->rows;
    s->train_clicks = s->clicks;
    RT_GO(write_split(s, &files[1], 2 * n + 1, n / 2, true, false, false));
    summary->dev_rows = s->rows;
    RT_GO(write_split(s, &files[2], 2 * n + 1 + n / 2, n, true, false, true));
    summary->test_rows = s->rows;
    summary->click_rate = (double)s->clicks / (double)s->rows;
    summary->auc_p_true = area_value(&s->p_true);
    summary->auc_p_text = area_value(&s->p_text);
    summary->auc_item_rate = area_value(&s->item_rate);
    RT_GO(write_items(s, &files[3]));
    for (int i = 0; i < 4; i++) RT_GO(rt_atomic_commit(&files[i].file));
done:
    for (int i = 0; i < 4; i++) {
        rt_atomic_abort(&files[i].file);
        rt_text_free(&files[i].text);
    }
    if (s) {
        area_free(&s->p_true);
        area_free(&s->p_text);
        area_free(&s->item_rate);
    }
    free(people);
    free(s);
    return rc;
}
