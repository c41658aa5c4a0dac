#include "setup_embed.h"
#include <stdlib.h>
#include <string.h>

const char *rt_setup_vector_pooling(const rt_config *cfg, const rt_source *source, const char **why) {
    const char *said = rt_source_sentence_pooling(source);
    const rt_pooling trained = rt_source_bert(source)->pooling;
    if (rt_setup_gives_vectors(cfg) && trained != RT_POOL_CLS) {
        *why = "as it was trained";
        return trained == RT_POOL_MEAN ? "mean" : "cls";
    }
    *why = "as sentence-transformers was told";
    return said;
}

static void take_pooling(rt_setup *s, const char *own, const char *why) {
    const char *wanted = s->cli->pooling;
    if (wanted)
        why = "--pooling";
    else if (own)
        wanted = own;
    else {
        wanted = "mean";
        why = "nothing says otherwise; --pooling cls takes the first token's";
    }
    const bool mean = strcmp(wanted, "mean") == 0;
    s->bert.pooling = mean ? RT_POOL_MEAN : RT_POOL_FIRST;
    rt_info(s->cli->log, "vectors are %s (%s)",
            mean ? "the mean of their tokens' last hidden states" : "the first token's last hidden state", why);
}

static int batch_tokens(const rt_config *cfg) {
    return cfg->eval.batch_tokens > cfg->data.max_length ? cfg->eval.batch_tokens : cfg->data.max_length;
}

rt_status rt_setup_vector_encoder(rt_setup *s, const char *base, const char *own, const char *why) {
    RT_TRY(rt_setup_base(s, base, true)); /* as training would: no head is needed */
    take_pooling(s, own, why);
    RT_TRY(rt_setup_backend(s));
    return rt_setup_encoder(s, batch_tokens(s->cfg));
}

rt_status rt_setup_embedding(rt_setup *s, rt_config **cfg) {
    rt_source *source = NULL;
    rt_text name = {0};
    const char *wanted = s->cli->pooling, *own = NULL, *why = NULL;
    if (wanted && strcmp(wanted, "cls") != 0 && strcmp(wanted, "mean") != 0)
        return rt_fail(RT_EUSAGE, "--pooling %s: expected cls or mean", wanted);
    RT_TRY(rt_source_open_as("--checkpoint", s->cli->checkpoint, NULL, &source));
    rt_blob ini = rt_source_config_ini(source);
    rt_text_printf(&name, "%s:/config.ini", s->cli->checkpoint);
    rt_status rc = rt_cli_config(s->cli, ini.bytes, ini.size, name.data, cfg);
    rt_text_free(&name);
    if (rc == RT_OK) own = rt_setup_vector_pooling(*cfg, source, &why);
    rt_source_close(source);
    RT_TRY(rc);
    s->cfg = *cfg;
    return rt_setup_vector_encoder(s, s->cli->checkpoint, own, why);
}

rt_status rt_setup_embedder(rt_setup *s, bool (*stop)(void), rt_embedder **out) {
    rt_data_spec spec = rt_setup_spec(s, NULL, 0, false, NULL);
    if (s->cli->dimensions > s->bert.hidden)
        return rt_fail(RT_ECONFIG, "--dimensions %lld: %s has %d", (long long)s->cli->dimensions, s->cli->checkpoint,
                       s->bert.hidden);
    return rt_embedder_new(
        &(rt_embedder_options){.encoder = &s->encoder,
                               .tok = s->tok,
                               .encode = spec.encode,
                               .batch_tokens = batch_tokens(s->cfg),
                               .max_seqs = s->eval_max_seqs,
                               .width = s->cli->dimensions > 0 ? (int)s->cli->dimensions : s->bert.hidden,
                               .unit = !s->cli->no_normalize,
                               .stop = stop},
        out);
}

static rt_status digest_weights(rt_setup *s, rt_digest *digest) {
    float *values = NULL;
    size_t capacity = 0;
    rt_status rc = RT_OK;
    for (int i = 0; i < s->table.n; i++) {
        const rt_param *p = &s->table.rows[i];
        if ((size_t)p->count > capacity) {
            free(values);
            capacity = (size_t)p->count;
            values = malloc(capacity * sizeof *values);
            if (!values) RT_GO(rt_fail(RT_ENOMEM, "out of memory for %s", p->name));
        }
        RT_GO(rt_model_get(&s->model, i, RT_BUFFER_PARAMS, values));
        rt_digest_string(digest, p->name);
        rt_digest_update(digest, values, (size_t)p->count * sizeof *values);
    }
done:
    free(values);
    return rc;
}

rt_status rt_setup_embedding_digest(rt_setup *s, rt_digest *digest) {
    rt_data_spec spec = rt_setup_spec(s, NULL, 0, false, NULL);
    rt_digest128 tok = rt_tokenizer_digest(s->tok);
    const uint64_t numbers[] = {tok.high,
                                tok.low,
                                (uint64_t)s->bert.layers,
                                (uint64_t)s->bert.heads,
                                (uint64_t)s->bert.pooling,
                                (uint64_t)s->precision,
                                (uint64_t)spec.encode.max_length,
                                (uint64_t)spec.encode.left,
                                (uint64_t)batch_tokens(s->cfg),
                                (uint64_t)(s->cli->dimensions > 0 ? s->cli->dimensions : s->bert.hidden),
                                (uint64_t)!s->cli->no_normalize};
    rt_digest_string(digest, "rectrain vectors 1");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) rt_digest_u64(digest, numbers[i]);
    return digest_weights(s, digest);
}
