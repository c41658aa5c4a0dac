#include "../base/file.h"
#include "source.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    rt_tensor_view *views;
    int n;
} tensors;

static void tensors_free(tensors *t) {
    for (int i = 0; i < t->n; i++) free((void *)t->views[i].data);
    free(t->views);
}

static rt_status read_tensors(rt_source *source, tensors *out) {
    int n = rt_source_tensor_count(source);
    out->views = calloc((size_t)n + 1, sizeof *out->views);
    if (!out->views) return rt_fail(RT_ENOMEM, "%s: out of memory", rt_source_path(source));
    for (int i = 0; i < n; i++) {
        rt_tensor_view *v = &out->views[i];
        v->name = rt_source_tensor(source, i, &v->rank, v->shape);
        float *data = malloc((size_t)v->shape[0] * (size_t)v->shape[1] * sizeof *data); /* checked against the file */
        if (!data) return rt_fail(RT_ENOMEM, "%s: out of memory for %s", rt_source_path(source), v->name);
        v->data = data;
        out->n = i + 1;
        RT_TRY(rt_source_read(source, v->name, v->rank, v->shape, data));
    }
    return RT_OK;
}

rt_status rt_convert(const char *hf_folder, const char *h5_path, rt_log *log) {
    rt_status rc;
    rt_source *source = NULL;
    rt_text tokenizer = {0};
    tensors t = {0};
    int64_t parameters = 0;
    RT_GO(rt_source_open_as("--from", hf_folder, log, &source));
    if (rt_source_is_checkpoint(source)) {
        rc = rt_fail(RT_EUSAGE, "%s: already a checkpoint of rectrain; use it as it is, or name a Hugging Face folder",
                     hf_folder);
        goto done;
    }
    if (rt_is_folder(h5_path)) {
        rc = rt_fail(RT_EUSAGE, "%s: a folder; name the file to write, as in %s/base.h5", h5_path, h5_path);
        goto done;
    }
    RT_GO(read_tensors(source, &t));
    RT_GO(rt_tokenizer_config_write(rt_source_tokenizer(source), rt_source_bert(source)->max_positions, &tokenizer));
    RT_GO(rt_checkpoint_write(h5_path, &(rt_checkpoint_contents){
                                           .config_json = rt_source_config_json(source),
                                           .vocab_txt = rt_source_vocab(source),
                                           .tokenizer_config_json = {tokenizer.data, tokenizer.size},
                                           .tensors = t.views,
                                           .n_tensors = t.n,
                                       }));
    for (int i = 0; i < t.n; i++) parameters += t.views[i].shape[0] * t.views[i].shape[1];
    rt_info(log, "%s: %d tensors, %lld parameters, %s, from %s", h5_path, t.n, (long long)parameters,
            rt_source_label_count(source) ? "with its head" : "no head", rt_source_path(source));
done:
    tensors_free(&t);
    rt_text_free(&tokenizer);
    rt_source_close(source);
    return rc;
}
