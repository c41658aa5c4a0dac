/* What a folder of sentence-transformers says beside its BERT: how vectors are made of the last hidden states. */
#ifndef RT_CHECKPOINT_HF_SENTENCE_H
#define RT_CHECKPOINT_HF_SENTENCE_H
#include "../base/log.h"
#include "../base/text.h"

/* From 1_Pooling/config.json in either spelling: "cls", "mean", or NULL where there is no such file, or it asks for
 * what rectrain has not (a warning). Modules that rectrain leaves out are warned of too. RT_EDATA: damaged JSON. */
rt_status rt_hf_sentence_pooling(const char *folder, rt_log *log, const char **out);
/* config.json again, with rectrain.sentence_pooling in it; *json is replaced. */
rt_status rt_hf_sentence_note(const char *name, const char *pooling, char **json, size_t *size);

#endif
