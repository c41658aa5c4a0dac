#!/usr/bin/env python3
"""Writes tests/integration/data/contrastive-*.golden: in-batch contrastive losses of a tiny BERT in fp64.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch transformers sentence-transformers numpy
    /tmp/golden/bin/python tools/make_golden_contrastive.py tests/integration/data

A file holds a model, a batch (queries, positives, two columns of hard negatives, and of each pair its item, its user, a
weight and ln Q of its item; which of the negatives are missing in the last variant) and, for each variant, its loss, every gradient (fp64, rounded to fp32 when stored) and the
rms error of torch's bf16 autocast, a tensor each; for some also the losses and parameters of ten Adam steps. The plain
variants are sentence-transformers' MultipleNegativesRankingLoss (symmetric: both directions, one softmax each), and its
cached form must agree. That library masks no false negatives, knows no ln Q and no weights: there the answer is
autograd's of

    s_ij = scale cos(q_i, d_j) - ln Q(item_j), j over the positives; masked where j != i and (item_j = item_i or user_j =
    user_i); loss = sum of w_i l_i / sum of w_i, l_i = -ln softmax_j(s_ij)[i], symmetric: the mean with that over queries

which equals the library's where nothing is masked, ln Q is 0 and weights are equal; that too is checked here. The format
of the file is that of make_golden.py.
"""
import sys

import numpy as np
import torch
from make_golden import File
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel, get_linear_schedule_with_warmup

NEGATIVES = 2
# name: symmetric, hard negatives, masked, ln Q, weighted, some negatives missing
VARIANTS = {
    "plain": (0, 0, 0, 0, 0, 0),
    "symmetric": (1, 0, 0, 0, 0, 0),
    "negatives": (0, 1, 0, 0, 0, 0),
    "symmetric-negatives": (1, 1, 0, 0, 0, 0),
    "masked": (0, 0, 1, 0, 0, 0),
    "masked-symmetric": (1, 0, 1, 0, 0, 0),
    "logq": (0, 0, 0, 1, 0, 0),
    "all": (1, 1, 1, 1, 1, 1),
}


class Embedder(torch.nn.Module):
    """Features to {"sentence_embedding"}, as the losses want it. pooling: mean or cls, the first token's hidden state."""

    def __init__(self, bert, pooling):
        super().__init__()
        self.bert, self.pool = bert, Pooling(bert.config.hidden_size, pooling_mode=pooling)

    def __getitem__(self, _):  # the cached loss looks at a model's first module
        return self

    def forward(self, features):
        out = self.bert(input_ids=features["input_ids"], attention_mask=features["attention_mask"])
        features = {"token_embeddings": out.last_hidden_state, "attention_mask": features["attention_mask"]}
        return {"sentence_embedding": self.pool(features)["sentence_embedding"]}


def padded(texts):
    width = max(map(len, texts))
    ids = torch.zeros(len(texts), width, dtype=torch.int64)
    mask = torch.zeros(len(texts), width, dtype=torch.int64)
    for i, t in enumerate(texts):
        ids[i, : len(t)] = torch.from_numpy(t)
        mask[i, : len(t)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def formula(vectors, scale, symmetric, mask, log_q, weights, missing):
    """vectors: queries, positives, then columns of negatives. missing: of all negatives, column by column."""
    q, *docs = (torch.nn.functional.normalize(v.to(torch.promote_types(v.dtype, torch.float32)), dim=1) for v in vectors)
    n, ninf = len(q), float("-inf")
    s = scale * q @ docs[0].T
    forward = (s - log_q).masked_fill(mask, ninf)
    if docs[1:]:
        forward = torch.cat([forward, (scale * q @ torch.cat(docs[1:]).T).masked_fill(missing, ninf)], 1)
    each = torch.logsumexp(forward, 1) - forward[range(n), range(n)]
    if symmetric:
        backward = s.T.masked_fill(mask, ninf)
        each = (each + torch.logsumexp(backward, 1) - backward[range(n), range(n)]) / 2
    return (each * weights).sum() / weights.sum()


def case(path, name, pooling, seed, variants, steps):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    scale, n = 20.0, 7
    cfg = BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                     max_position_embeddings=24, type_vocab_size=2, initializer_range=0.3, attn_implementation="eager",
                     hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = Embedder(BertModel(cfg, add_pooling_layer=False).double(), pooling).double().eval()
    with torch.no_grad():
        for p in model.parameters():  # LayerNorm and biases away from 1 and 0, or their use is not tested
            p.copy_(p.float().double() if p.dim() > 1 else (p + 0.1 * torch.randn(p.shape, dtype=p.dtype)).float().double())
    params = {k: v.detach().clone() for k, v in model.named_parameters()}

    items, users = np.array([3, 5, 3, 8, 5, 9, 2]), np.array([0, 1, 2, 0, 3, 4, 1])
    text = lambda longest: rng.integers(1, 60, rng.integers(2, longest + 1))  # 0 is the padding, whose row torch leaves out
    titles = {int(i): text(9) for i in sorted(set(items))}
    columns = [[text(22) for _ in range(n)], [titles[int(i)] for i in items]] + [[text(9) for _ in range(n)] for _ in range(NEGATIVES)]
    features = [padded(c) for c in columns]
    weights = torch.from_numpy(rng.uniform(0.2, 2.0, n).astype(np.float32)).double()
    log_q = torch.from_numpy(np.log(rng.uniform(0.001, 0.2, 10))[items].astype(np.float32)).double()
    same = (items[:, None] == items[None, :]) | (users[:, None] == users[None, :])
    same = torch.from_numpy(same & ~np.eye(n, dtype=bool))
    missing = torch.zeros(NEGATIVES * n, dtype=torch.bool)
    missing[[3, n, 2 * n - 1]] = True

    def own(vectors, kinds):
        symmetric, _, masked, logq, weighted, some = kinds
        like = vectors[0].float() if vectors[0].dtype == torch.bfloat16 else vectors[0]
        return formula(vectors, scale, symmetric, same & bool(masked), log_q.to(like) * logq,
                       (weights if weighted else torch.ones_like(weights)).to(like), missing & bool(some))

    def embedded(kinds):
        return [model(x)["sentence_embedding"] for x in features[: 2 + kinds[1] * NEGATIVES]]

    def library(kinds, cls=MultipleNegativesRankingLoss, **kw):
        how = dict(directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction") if kinds[0] else {}
        return cls(model, scale=scale, **how, **kw)(features[: 2 + kinds[1] * NEGATIVES], None)

    def grads(loss_of):
        model.load_state_dict(params)
        model.zero_grad()
        with torch.enable_grad():
            loss = loss_of()
            if loss.requires_grad:
                loss.backward()
        return loss.item(), {k: v.grad.clone() for k, v in model.named_parameters()}

    def agree(a, b, what):
        assert abs(a[0] - b[0]) <= 1e-12 * abs(b[0]), (what, a[0], b[0])
        for k in b[1]:
            if "key.bias" not in k:
                assert (a[1][k] - b[1][k]).norm() <= 1e-11 * b[1][k].norm(), (what, k)

    f = File()
    f.add("config", np.array([cfg.hidden_size, cfg.num_hidden_layers, cfg.num_attention_heads, cfg.intermediate_size, cfg.vocab_size,
                              cfg.max_position_embeddings, cfg.type_vocab_size, 0, pooling == "mean"], dtype=np.int32))
    f.add("rates", np.array([cfg.layer_norm_eps, scale]))
    f.add("pairs", np.array([n, NEGATIVES], dtype=np.int32))
    f.add("lengths", np.array([len(t) for c in columns for t in c], dtype=np.int32))
    f.add("ids", np.concatenate([t for c in columns for t in c]))
    for k, v in dict(items=items, users=users, weights=weights.numpy(), log_q=log_q.numpy(), missing=missing.int().numpy()).items():
        f.add(k, v)
    for k, v in params.items():
        f.add("param/" + k, v.numpy())
    with torch.no_grad():
        f.add("vectors", torch.cat([torch.nn.functional.normalize(model(x)["sentence_embedding"], dim=1) for x in features]).numpy())
    for v, kinds in variants.items():
        answer = grads(lambda: own(embedded(kinds), kinds))
        if not any(kinds[2:]):
            reference = grads(lambda: library(kinds))
            agree(answer, reference, v)
            agree(grads(lambda: library(kinds, CachedMultipleNegativesRankingLoss, mini_batch_size=2)), reference, v + ", cached")
            answer = reference
        f.add(v + "/kinds", np.array(kinds, dtype=np.int32))
        f.add(v + "/loss", np.array([answer[0]]))
        for k, g in answer[1].items():
            f.add(f"{v}/grad/{k}", g.numpy())
        # How far torch's own bf16 autocast is from fp64, a tensor each: rms over draws of its rounding errors.
        squares = {}
        for draw in range(8):
            model.double().load_state_dict({k: (p * (1 + 1e-3 * torch.randn(p.shape, dtype=p.dtype) * (draw > 0))).float().double() for k, p in params.items()})
            model.zero_grad()
            own(embedded(kinds), kinds).backward()
            want = {k: p.grad.clone() for k, p in model.named_parameters()}
            model.float().zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                vectors = embedded(kinds)
            loss = own(vectors, kinds)
            loss.backward()
            for k, p in model.named_parameters():
                squares[k] = squares.get(k, 0) + ((p.grad.double() - want[k]).norm() / want[k].norm()).item() ** 2 / 8
            model.double()
        for k, s in squares.items():
            f.add(f"{v}/bf16/{k}", np.array([s**0.5]))
        if v in steps:  # ten Adam steps, warm-up over three, linear to step 12
            model.load_state_dict(params)
            opt = torch.optim.Adam(model.parameters(), lr=1e-3)
            sch = get_linear_schedule_with_warmup(opt, 3, 12)
            losses = []
            for _ in range(10):
                opt.zero_grad()
                loss = own(embedded(kinds), kinds)
                loss.backward()
                opt.step()
                sch.step()
                losses.append(loss.item())
            f.add(v + "/losses", np.array(losses))
            for k, p in model.named_parameters():
                f.add(f"{v}/after/{k}", p.detach().numpy())
        print(name, v, "loss", answer[0], "bf16 errors", min(squares.values()), max(squares.values()))
    f.write(f"{path}/{name}.golden")
    print(name, "bytes", sum(map(len, f.records)))


def main():
    path = sys.argv[1]
    torch.set_num_threads(1)  # tensors are tiny
    some = {k: VARIANTS[k] for k in ("plain", "all")}
    case(path, "contrastive-mean", "mean", 11, VARIANTS, ("plain", "all"))
    case(path, "contrastive-cls", "cls", 12, some, ())


if __name__ == "__main__":
    main()
