/* The encoder of a checkpoint of any kind, as what makes vectors of texts. */
#ifndef RT_CLI_SETUP_EMBED_H
#define RT_CLI_SETUP_EMBED_H
#include "../eval/embedder.h"
#include "setup.h"

/* As rt_setup_scoring, without a head: cli->checkpoint's encoder, its configuration below flags and environment. How
 * vectors are pooled: --pooling; else as the checkpoint was trained by the contrastive objective; else as the folder of
 * sentence-transformers said that it was made of; else the mean, which the log tells. *cfg belongs to the caller, after
 * the setup. */
rt_status rt_setup_embedding(rt_setup *s, rt_config **cfg);
/* Its part behind the configuration, for an encoder from elsewhere; own and why as rt_setup_vector_pooling gives them.
 */
rt_status rt_setup_vector_encoder(rt_setup *s, const char *base, const char *own, const char *why);
/* "cls" or "mean", as the checkpoint was trained for vectors or the folder that it was made of said, and *why in words;
 * NULL: neither. */
const char *rt_setup_vector_pooling(const rt_config *cfg, const rt_source *source, const char **why);
/* --dimensions and --no-normalize are looked at. RT_ECONFIG: more dimensions than the model has. */
rt_status rt_setup_embedder(rt_setup *s, bool (*stop)(void), rt_embedder **out);
/* Digest of all that a vector hangs on but its text: weights, vocabulary, pooling, precision, cut, dimensions. */
rt_status rt_setup_embedding_digest(rt_setup *s, rt_digest *digest);

#endif
