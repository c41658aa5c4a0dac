/* The evaluation of a run that learns vectors: every query of a set among all items of the catalogue. */
#ifndef RT_CLI_RUN_RETRIEVAL_H
#define RT_CLI_RUN_RETRIEVAL_H
#include "../data/dataset.h"
#include "../eval/catalogue.h"

typedef struct {
    rt_catalogue catalogue;
    uint64_t left_out; /* rows whose item the catalogue has not */
    void *memory[6];   /* what the catalogue's pointers lead to */
} rt_run_catalogue;

/* Queries: the different text_a of `ds`; relevant to one are the items of its rows. Items: those of `items` (records of
 * one text), or for NULL the different ones of `train` and `ds`, with the text of their first row. All have texts
 * apart but `items`. RT_ENOMEM, RT_EDATA, RT_EIO. Free it in any case. */
rt_status rt_run_catalogue_new(const rt_dataset *ds, const rt_dataset *train, const rt_dataset *items,
                               rt_run_catalogue *out);
void rt_run_catalogue_free(rt_run_catalogue *catalogue);

#endif
