#!/usr/bin/env python3
"""Trains a bi-encoder on a click log with sentence-transformers and with rectrain, and compares what they find.

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install torch sentence-transformers numpy
    /tmp/peer/bin/python tools/compare_contrastive.py --data FOLDER --model MINILM --results /tmp/peer.json peer
    /tmp/peer/bin/python tools/compare_contrastive.py ... --rectrain build/rectrain ours more

FOLDER holds train.tsv and test.tsv (history, title, item_id, click) and items.tsv (item_id, title), MINILM a folder of
sentence-transformers with mean pooling. Both sides learn the clicked rows of train, history -> title, with the same
loss (MultipleNegativesRankingLoss, scale 20, cosine), batch, rate, schedule and number of steps, nothing masked. Each
clicked row of test is a query whose one relevant item is looked for among all items; BM25 and the untrained model
answer the same queries. What a part finds is added to the file of results, and all results are printed side by side.
"""
import argparse
import collections
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time

import numpy as np


def rows_of(path):
    with open(path, encoding="utf-8") as f:
        names = f.readline().rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"))) for line in f]


class Data:
    def __init__(self, folder, titles):
        self.train = [r for r in rows_of(f"{folder}/train.tsv") if r["click"] == "1"]
        self.test = [r for r in rows_of(f"{folder}/test.tsv") if r["click"] == "1"]
        self.items = rows_of(f"{folder}/items.tsv")
        for r in self.train + self.test:  # the newest stand last
            r["history"] = " ; ".join(r["history"].split(" ; ")[-titles:])
        number = {r["item_id"]: i for i, r in enumerate(self.items)}
        self.relevant = np.array([number[r["item_id"]] for r in self.test])
        # Rows of one impression share their history: each text is embedded once.
        self.queries = sorted({r["history"] for r in self.test})
        place = {q: i for i, q in enumerate(self.queries)}
        self.query_of = np.array([place[r["history"]] for r in self.test])


def metrics(data, scores):
    """scores [queries, items]: recall@20, MRR@10, nDCG@10 of the one relevant item of each clicked row; ties to the
    smaller item."""
    own = scores[data.query_of, data.relevant]
    every = np.arange(len(data.items))
    rank = np.empty(len(own), dtype=np.int64)
    for i in range(0, len(own), 512):
        part, mine = scores[data.query_of[i : i + 512]], own[i : i + 512, None]
        before = every[None, :] < data.relevant[i : i + 512, None]
        rank[i : i + 512] = (part > mine).sum(1) + ((part == mine) & before).sum(1) + 1
    top = rank <= 10
    return {"recall@20": float((rank <= 20).mean()), "mrr@10": float(np.where(top, 1 / rank, 0).mean()),
            "ndcg@10": float(np.where(top, 1 / np.log2(rank + 1), 0).mean()), "queries": len(own)}


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def bm25(data, k1=1.2, b=0.75):
    words = lambda text: re.findall(r"[a-z0-9]+", text.lower())
    docs = [collections.Counter(words(r["title"])) for r in data.items]
    length = np.array([sum(d.values()) for d in docs], dtype=np.float64)
    found = collections.defaultdict(list)
    for i, d in enumerate(docs):
        for w, n in d.items():
            found[w].append((i, n))
    scores = np.zeros((len(data.queries), len(docs)))
    norm = k1 * (1 - b + b * length / length.mean())
    for q, text in enumerate(data.queries):
        for w in words(text):
            hits = found.get(w, ())
            idf = math.log(1 + (len(docs) - len(hits) + 0.5) / (len(hits) + 0.5))
            for i, n in hits:
                scores[q, i] += idf * n * (k1 + 1) / (n + norm[i])
    return metrics(data, scores)


def popularity(data):
    clicks = collections.Counter(r["item_id"] for r in data.train)
    score = np.array([clicks[r["item_id"]] for r in data.items], dtype=np.float64)
    return metrics(data, np.broadcast_to(score, (len(data.queries), len(score))))


def peer(args, data, add, untrained):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import get_linear_schedule_with_warmup

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    def embedded(model):
        model.eval()
        with torch.no_grad():
            encode = lambda texts: model.encode(texts, batch_size=64, convert_to_numpy=True)
            return unit(encode(data.queries)) @ unit(encode([r["title"] for r in data.items])).T

    model = SentenceTransformer(args.model, device="cpu")
    if not untrained:
        add("untrained", metrics(data, embedded(model)))
    loss_of = MultipleNegativesRankingLoss(model, scale=args.scale)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, int(args.warmup * args.steps), args.steps)
    rng = random.Random(args.seed)
    order = []
    tokens, losses, began = 0, [], time.perf_counter()
    model.train()
    for step in range(args.steps):
        if len(order) < args.batch:
            order = rng.sample(range(len(data.train)), len(data.train))
        rows = [data.train[order.pop()] for _ in range(args.batch)]
        features = [model.preprocess([r[c] for r in rows]) for c in ("history", "title")]
        tokens += sum(int(f["attention_mask"].sum()) for f in features)
        loss = loss_of(features, None)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % 20 == 19:
            rate = tokens / (time.perf_counter() - began)
            print(f"step {step + 1} loss {np.mean(losses[-20:]):.4f} tokens/s {rate:.0f}", flush=True)
    seconds = time.perf_counter() - began
    add("sentence-transformers", {**metrics(data, embedded(model)), "loss_last_20": float(np.mean(losses[-20:])),
                                  "tokens_per_s": tokens / seconds, "seconds": seconds})


CONFIG = """[run]
output = {work}
name = run
seed = {seed}
device = cpu
precision = fp32
threads = {threads}
if_exists = overwrite
[model]
base = {model}
pooling = mean
[data]
train = {work}/train.tsv
dev = {work}/dev.tsv
text_a = history
text_b = title
label = click
user = user_id
item = item_id
max_length = 256
[train]
objective = contrastive
batch_size = {batch}
epochs = 1000
max_steps = {steps}
micro_batch_tokens = 8192
[contrastive]
scale = {scale}
mask_clicked = no
[optimizer]
learning_rate = {rate}
clip_norm = 1
[schedule]
type = linear
warmup = {warmup}
[eval]
every = 0
[track]
jsonl_every = 10 steps
"""


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        f.write("\t".join(rows[0]) + "\n")
        f.writelines("\t".join(r.values()) + "\n" for r in rows)


def ours(args, data, add, name, *more):
    with tempfile.TemporaryDirectory() as work:
        write_rows(f"{work}/train.tsv", data.train)
        write_rows(f"{work}/dev.tsv", data.test[:20])  # a run wants something to look at when it ends
        write_rows(f"{work}/queries.tsv", [{"id": str(i), "text": q} for i, q in enumerate(data.queries)])
        write_rows(f"{work}/items.tsv", [{"id": r["item_id"], "text": r["title"]} for r in data.items])
        with open(f"{work}/run.ini", "w") as f:
            f.write(CONFIG.format(work=work, model=os.path.abspath(args.model), **{k: getattr(args, k) for k in
                                  ("seed", "threads", "batch", "steps", "scale", "rate", "warmup")}))
        call = lambda *a: subprocess.run([args.rectrain, *a], check=True)
        call("--config", f"{work}/run.ini", "-q", *more)
        lines = [json.loads(line) for line in open(f"{work}/run/metrics.jsonl")]
        train = [line for line in lines if line.get("event") == "train"]
        vectors = []
        for texts in ("queries", "items"):
            call("embed", "--checkpoint", f"{work}/run/best.h5", "--data", f"{work}/{texts}.tsv", "--text", "text", "--id", "id",
                 "--output", f"{work}/{texts}.npy", "-q", "--set", "data.max_length=256", "--set", f"run.threads={args.threads}",
                 "--set", "run.precision=fp32")
            vectors.append(np.load(f"{work}/{texts}.npy"))
        seconds = sum(line["seconds"] for line in train)
        last = [line["loss"] for line in train if line["step"] > args.steps - 20]
        add(name, {**metrics(data, vectors[0] @ vectors[1].T), "loss_last_20": float(np.mean(last)),
                         "tokens_per_s": sum(line["tokens"] for line in train) / seconds, "seconds": seconds})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--results", required=True)
    p.add_argument("--rectrain", default="build/rectrain")
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--rate", type=float, default=2e-5)
    p.add_argument("--scale", type=float, default=20.0)
    p.add_argument("--warmup", type=float, default=0.1)
    p.add_argument("--titles", type=int, default=5, help="of a history, the newest")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("parts", nargs="*", default=["simple", "peer", "ours", "more"],
                   help="simple, peer, ours, more: what the library has not, the correction for popular items and masks")
    args = p.parse_args()
    data = Data(args.data, args.titles)
    results = json.load(open(args.results)) if os.path.exists(args.results) else {}

    def add(name, values):
        results[name] = {**values, "steps": args.steps, "batch": args.batch, "rate": args.rate, "seed": args.seed, "titles": args.titles}
        json.dump(results, open(args.results, "w"), indent=1)
        print(name, json.dumps(values), flush=True)

    if "simple" in args.parts:
        add("popularity", popularity(data))
        add("bm25", bm25(data))
    if "peer" in args.parts:
        peer(args, data, add, "untrained" in results)
    if "ours" in args.parts:
        ours(args, data, add, "rectrain")
    if "more" in args.parts:
        ours(args, data, add, "rectrain, ln Q, masks", "--set", "contrastive.log_frequency=yes", "--set", "contrastive.mask_clicked=yes")
    print(f"{'':>24}  recall@20   MRR@10  nDCG@10  tokens/s")
    for name, r in results.items():
        print(f"{name:>24}  {r['recall@20']:9.4f}  {r['mrr@10']:7.4f}  {r['ndcg@10']:7.4f}  {r.get('tokens_per_s', 0):8.0f}")


main()
