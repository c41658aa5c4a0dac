/* The vocabulary of the example shop, written for it; private to src/data/shop*.c. */
#ifndef RT_DATA_SHOP_WORDS_H
#define RT_DATA_SHOP_WORDS_H

enum {
    RT_SHOP_CATEGORIES = 12,
    RT_SHOP_NOUNS = 8, /* a category's things; from the seventh on they come after the training period */
    RT_SHOP_OLD_NOUNS = 6,
    RT_SHOP_PURPOSES = 6, /* a category's purposes; from the fourth on they come after the training period */
    RT_SHOP_OLD_PURPOSES = 3,
    RT_SHOP_BRANDS = 40, /* the same brands and adjectives in every category: they tell nothing about it */
    RT_SHOP_ADJECTIVES = 10,
};

typedef struct {
    const char *name;
    int typical_cents;
    const char *nouns[RT_SHOP_NOUNS];
    const char *purposes[RT_SHOP_PURPOSES]; /* no word of theirs is in a noun: only meaning connects them */
} rt_shop_category;

extern const rt_shop_category rt_shop_categories[RT_SHOP_CATEGORIES];
extern const char *const rt_shop_brands[RT_SHOP_BRANDS];
extern const char *const rt_shop_adjectives[RT_SHOP_ADJECTIVES];

#endif
