#ifndef RT_CLI_EXPORT_CHECK_H
#define RT_CLI_EXPORT_CHECK_H
#include "setup.h"

/* Scores the rows of cli->check twice: with the checkpoint, and with the exported folder read back as any Hugging Face
 * folder is (safetensors, tokenizer.json). Prints the largest difference of a logit; RT_EINTERNAL if it is over 2e-5.
 * Leaves the first 20 rows in cli->to/check.jsonl, as a server's request and the answer it must give. */
rt_status rt_export_check(rt_cli *cli);
/* The same for a folder of sentence-transformers: the vectors of both texts of a row, each by itself. */
rt_status rt_export_check_vectors(rt_cli *cli);

#endif
