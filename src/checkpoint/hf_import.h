/* A Hugging Face folder: its weights under canonical names, and its tokenizer. */
#ifndef RT_CHECKPOINT_HF_IMPORT_H
#define RT_CHECKPOINT_HF_IMPORT_H
#include "../base/log.h"
#include "../text/tokenizer.h"
#include "config_json.h"
#include "hf_names.h"
#include "safetensors.h"

#define RT_JSON_LIMIT ((size_t)1 << 24)  /* config.json and the like */
#define RT_VOCAB_LIMIT ((size_t)1 << 28) /* vocab.txt, tokenizer.json, an index of shards */

typedef struct {
    char name[RT_HF_NAME]; /* canonical */
    int file, index;
} rt_hf_tensor;

typedef struct {
    rt_safetensors *files;
    int n_files;
    rt_hf_tensor *tensors; /* sorted by name; checked against the configuration */
    int n;
    int labels; /* rows of classifier.weight; 0: no head */
    bool pooler;
} rt_hf_weights;

/* Finds, validates and matches the weights of `folder`. Tensors that are left out are logged by name. */
rt_status rt_hf_weights_open(const char *folder, const rt_config_json *config, rt_log *log, rt_hf_weights *out);
void rt_hf_weights_close(rt_hf_weights *weights);
const rt_hf_tensor *rt_hf_find(const rt_hf_weights *weights, const char *name);
const rt_st_tensor *rt_hf_info(const rt_hf_weights *weights, const rt_hf_tensor *tensor);
/* "FOLDER/FILE: tensor NAME" stands in front of errors. RT_EDATA on another shape. */
rt_status rt_hf_read(const rt_hf_weights *weights, const char *name, int rank, const int64_t *shape, float *out);

/* Vocabulary (as a vocab.txt) and options from vocab.txt, tokenizer.json and tokenizer_config.json. */
rt_status rt_hf_tokenizer(const char *folder, rt_log *log, rt_text *vocab, rt_tokenizer_options *options);

#endif
