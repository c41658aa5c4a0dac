/* The yardstick of `rectrain example --checkpoint`: what an encoder makes of the shop without having seen a click. */
#ifndef RT_CLI_EXAMPLE_COSINE_H
#define RT_CLI_EXAMPLE_COSINE_H
#include "setup.h"

/* Opens cli->checkpoint as a mean-pooling encoder without a head, whatever it pools by itself. Released by
 * rt_setup_close. */
rt_status rt_example_encoder(rt_cli *cli, const rt_config *cfg, rt_setup *s);
/* AUC on <folder>/test.tsv of the cosine of query and title. */
rt_status rt_example_cosine(rt_setup *s, const char *folder, double *auc);

#endif
