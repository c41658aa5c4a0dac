/* config.json, read with what import needs beyond rt_config_json_parse. */
#ifndef RT_CHECKPOINT_CONFIG_JSON_H
#define RT_CHECKPOINT_CONFIG_JSON_H
#include "source.h"

typedef enum {
    RT_HEAD_UNSAID,     /* no "architectures" */
    RT_HEAD_CLASSIFIER, /* ...ForSequenceClassification */
    RT_HEAD_OTHER,      /* a bare encoder, or the head of another task */
} rt_head;

typedef struct {
    rt_bert bert;  /* labels 0: the weights decide */
    char **labels; /* as listed; NULL where neither id2label nor num_labels stands */
    int n_labels;
    rt_head head;
    const char *sentence_pooling; /* rectrain.sentence_pooling: "cls" or "mean"; NULL: not said */
} rt_config_json;

rt_status rt_config_json_read(const char *json, size_t size, const char *name, rt_config_json *out);
void rt_config_json_free(rt_config_json *config);
void rt_labels_free(char **labels, int n);
rt_status rt_labels_numbered(int n, char ***out); /* "0", "1", ... */

#endif
