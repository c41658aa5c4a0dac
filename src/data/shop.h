/* The example shop: a SIMULATED click log, deterministic by seed, for demonstrations and tests. */
#ifndef RT_DATA_SHOP_H
#define RT_DATA_SHOP_H
#include "../base/status.h"
#include <stdint.h>

typedef struct {
    uint64_t seed;
    int users; /* 0: the default */
} rt_shop_options;

typedef struct {
    uint64_t train_rows, dev_rows, test_rows, items;
    double click_rate;                  /* test */
    double auc_p_true, auc_p_text;      /* ceilings on test: of p_true, and of p_text (no price, no position) */
    double auc_constant, auc_item_rate; /* floors: 0.5, and the item's click rate in train */
} rt_shop_summary;

/* Writes train.tsv dev.tsv test.tsv items.tsv into `folder` (made if missing). */
rt_status rt_shop_write(const char *folder, const rt_shop_options *options, rt_shop_summary *summary);

#endif
