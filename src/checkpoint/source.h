/* Where weights come from: a rectrain .h5, a Hugging Face folder, or a name in the hub's local cache; one interface. */
#ifndef RT_CHECKPOINT_SOURCE_H
#define RT_CHECKPOINT_SOURCE_H
#include "../base/log.h"
#include "../model/bert.h"
#include "../text/tokenizer.h"
#include "checkpoint.h"

typedef struct rt_source rt_source;

/* `base` as in model.base. RT_ENOINPUT: "model.base = bert-base-uncased: no such file or folder, nor in the hub's
 * cache. Get it: tools/fetch_model.sh bert-base-uncased". Import takes all spellings: "bert."
 * prefix or none, gamma/beta spelling, no pooler, no head, F32 F16 BF16, one file or shards; dropped tensors are logged
 * by name. Other model types, tokenizers or only a pytorch_model.bin: RT_ECONFIG with a sentence. */
rt_status rt_source_open(const char *base, rt_log *log, rt_source **out);
/* The same for a name that stands elsewhere: `said` ("--checkpoint", "--from") comes before it in messages. */
rt_status rt_source_open_as(const char *said, const char *base, rt_log *log, rt_source **out);
void rt_source_close(rt_source *source);
const char *rt_source_path(const rt_source *source);    /* what was found */
bool rt_source_is_checkpoint(const rt_source *source);  /* an .h5 of ours */
const rt_bert *rt_source_bert(const rt_source *source); /* labels 0: headless; pooling as stored, else cls */
/* How a folder of sentence-transformers, or a checkpoint made of one, says that vectors are pooled: "cls" (the first
 * token's last hidden state) or "mean"; NULL: it does not say. */
const char *rt_source_sentence_pooling(const rt_source *source);
int rt_source_label_count(const rt_source *source);
const char *rt_source_label_name(const rt_source *source, int i); /* id2label; "0", "1" ... where absent */
const rt_tokenizer_options *rt_source_tokenizer_options(const rt_source *source);
rt_blob rt_source_vocab(const rt_source *source); /* vocab.txt bytes */
/* Made of the two above, checked against the size of the embeddings; borrowed. NULL: a checkpoint without vocabulary.
 */
const rt_tokenizer *rt_source_tokenizer(const rt_source *source);
rt_blob rt_source_config_json(const rt_source *source); /* as found */
rt_blob rt_source_config_ini(const rt_source *source);  /* checkpoints only */
bool rt_source_has(const rt_source *source, const char *name);
/* By canonical name ("bert.encoder.layer.0...", "classifier.weight"), converted to f32. RT_EDATA on another shape. */
rt_status rt_source_read(rt_source *source, const char *name, int rank, const int64_t *shape, float *out);
rt_status rt_source_read_moment(rt_source *source, rt_section section, const char *name, int rank, const int64_t *shape,
                                float *out);
rt_blob rt_source_state(const rt_source *source);

/* config.json from the facts at hand (architectures BertForSequenceClassification, or BertModel without a head;
 * id2label; num_labels; sizes), plus "rectrain": {"pooling": ...}. Parsing is the reverse. */
rt_status rt_config_json_write(const rt_bert *bert, const char *const *labels, int n_labels, rt_text *out);
rt_status rt_config_json_parse(const char *json, size_t size, const char *name, rt_bert *bert, char ***labels,
                               int *n_labels);

/* Every tensor of the model, by canonical name, sorted. */
int rt_source_tensor_count(const rt_source *source);
const char *rt_source_tensor(const rt_source *source, int i, int *rank, int64_t shape[2]);

/* `rectrain convert`: HF folder to .h5, without loss (f32). */
rt_status rt_convert(const char *hf_folder, const char *h5_path, rt_log *log);
/* `rectrain export`: config.json model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json
 * vocab.txt sentence_bert_config.json. Refuses mean-pooled classifiers (RT_ECONFIG). max_length for the last. */
rt_status rt_export(rt_source *source, const char *folder, int max_length, rt_log *log);
/* The same as a model of sentence-transformers: vectors of length 1, pooled by "cls" or "mean" (NULL: rt_export);
 * modules.json and 1_Pooling/config.json besides. */
rt_status rt_export_vectors(rt_source *source, const char *folder, const char *pooling, int max_length, rt_log *log);

#endif
