#!/usr/bin/env python3
"""Writes the golden files of tests/integration/data: what Hugging Face's BERT computes in fp64 on tiny models.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch transformers numpy
    /tmp/golden/bin/python tools/make_golden.py tests/integration/data

Each file holds a model, a packed batch and the answers: logits, loss, every gradient (fp64, rounded to fp32 when
stored), parameters after ten Adam steps with warm-up, and, a tensor each, the error of torch's bf16 autocast. One case
repeats the gradients with dropout on, its masks drawn here by an independent Philox written from the contract; another
keeps the gradients under tanh GELU, so that tests can show that they would notice.

File: "RTGOLD1\\0", u32 records; a record: u16 size of name, name, u8 dtype (0 f32, 1 i32), u8 rank, i64 dims, data. All
little endian.
"""
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F
from transformers import BertConfig, BertModel, get_linear_schedule_with_warmup


def philox(c0, c1, c2, c3, seed):
    """Philox4x32-10 over arrays of counters; returns four uint32 arrays."""
    c = [np.asarray(x, dtype=np.uint64) & 0xFFFFFFFF for x in np.broadcast_arrays(c0, c1, c2, c3)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & np.uint64(0xFFFFFFFF),
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & np.uint64(0xFFFFFFFF)]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def keep(word, p):
    return (word >= np.uint64(int(p * 2**32))) / (1 - p)


class Masks:
    """Dropout masks of contract section 4, for one step and seed."""

    def __init__(self, seed, step, view=0):
        self.seed, self.step, self.view = seed, step, view

    def hidden(self, site, example, positions, width, p):
        g = np.arange(width // 4)
        w = philox(self.step, example, site << 16 | self.view, positions[:, None] << 16 | g[None, :], self.seed)
        return keep(np.stack(w, -1).reshape(len(positions), width), p)

    def attention(self, site, example, heads, n, p):
        out = np.zeros((heads, n, n))
        tiles = (n + 15) // 16
        for h in range(heads):
            for g in range(4 * tiles):
                j, t = divmod(g, 4)
                w = philox(self.step, example, site << 16 | self.view, h << 24 | np.arange(n) << 12 | g, self.seed)
                for member, offset in enumerate((0, 1, 8, 9)):
                    key = 16 * j + 2 * t + offset
                    if key < n:
                        out[h, :, key] = keep(w[member], p)
        return out


def forward(m, cfg, ids, types, example, pooling, head, masks=None, act="gelu", eps=None):
    """BERT by hand on one unpadded sequence, so that masks can be put in; checked against transformers in main()."""
    eps, n, h = cfg.layer_norm_eps if eps is None else eps, len(ids), cfg.hidden_size
    ln = lambda x, p: F.layer_norm(x, (h,), m[p + ".weight"], m[p + ".bias"], eps)
    lin = lambda x, p: F.linear(x, m[p + ".weight"], m[p + ".bias"])
    pos = np.arange(n)
    drop = lambda x, site, p: x if masks is None or p == 0 else x * torch.from_numpy(masks.hidden(site, example, pos[: len(x)], h, p)).to(x.dtype)
    e = "bert.embeddings."
    x = m[e + "word_embeddings.weight"][ids] + m[e + "position_embeddings.weight"][:n] + m[e + "token_type_embeddings.weight"][types]
    x = drop(ln(x, e + "LayerNorm"), 0xFF00, cfg.hidden_dropout_prob)
    heads, d = cfg.num_attention_heads, h // cfg.num_attention_heads
    for l in range(cfg.num_hidden_layers):
        b = f"bert.encoder.layer.{l}."
        q, k, v = (lin(x, b + "attention.self." + s).view(n, heads, d).transpose(0, 1) for s in ("query", "key", "value"))
        p = torch.softmax(q @ k.transpose(1, 2) / d**0.5, -1)
        if masks is not None and cfg.attention_probs_dropout_prob:
            p = p * torch.from_numpy(masks.attention(8 * l, example, heads, n, cfg.attention_probs_dropout_prob)).to(p.dtype)
        o = lin((p @ v).transpose(0, 1).reshape(n, h), b + "attention.output.dense")
        x = ln(x + drop(o, 8 * l + 1, cfg.hidden_dropout_prob), b + "attention.output.LayerNorm")
        f = F.gelu(lin(x, b + "intermediate.dense"), approximate="tanh" if act == "tanh" else "none")
        x = ln(x + drop(lin(f, b + "output.dense"), 8 * l + 2, cfg.hidden_dropout_prob), b + "output.LayerNorm")
    pooled = torch.tanh(lin(x[:1], "bert.pooler.dense")) if pooling == "cls" else x.mean(0, keepdim=True)
    return lin(drop(pooled, 0xFF01, head), "classifier")[0]


def loss_of(logits, labels, scale, smoothing=0.0):
    k = logits.shape[1]
    if k == 1:
        y = labels.to(logits.dtype) * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(logits[:, 0], y, reduction="none")
    else:
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return (each * scale).sum()


class File:
    def __init__(self):
        self.records = []

    def add(self, name, array):
        array = np.asarray(array)
        kind = 1 if array.dtype.kind in "iu" else 0
        array = array.astype("<i4" if kind else "<f4")
        head = struct.pack("<H", len(name)) + name.encode() + struct.pack("<BB", kind, array.ndim)
        self.records.append(head + struct.pack(f"<{array.ndim}q", *array.shape) + array.tobytes())

    def write(self, path):
        with open(path, "wb") as f:
            f.write(b"RTGOLD1\0" + struct.pack("<I", len(self.records)) + b"".join(self.records))


def case(path, name, lengths, labels_n, pooling, seed, sizes, pairs=True, smoothing=0.0, dropout=None, tanh=False, steps=True):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    cfg = BertConfig(vocab_size=60, type_vocab_size=2, initializer_range=0.08, attn_implementation="eager", **sizes,
                     hidden_dropout_prob=(dropout or [0])[0], attention_probs_dropout_prob=(dropout or [0, 0])[1])
    bert = BertModel(cfg, add_pooling_layer=pooling == "cls").double().eval()
    params = {"bert." + k: v.detach().float().double() for k, v in bert.named_parameters()}
    for k in params:  # LayerNorm and biases away from 1 and 0, or their use is not tested
        if params[k].dim() == 1:
            params[k] = (params[k] + 0.1 * torch.randn(params[k].shape, dtype=torch.float64)).float().double()
    params["classifier.weight"] = (0.3 * torch.randn(labels_n, cfg.hidden_size)).double()
    params["classifier.bias"] = (0.1 * torch.randn(labels_n)).double()
    ids = [torch.from_numpy(rng.integers(0, 60, n)) for n in lengths]
    types = [torch.from_numpy((np.arange(n) >= (n + 1) // 2).astype(np.int64) * pairs) for n in lengths]
    examples = rng.integers(0, 2**31 - 1, len(lengths))
    labels = torch.from_numpy(rng.integers(0, max(labels_n, 2), len(lengths)))
    scale = torch.from_numpy(rng.uniform(0.2, 1.0, len(lengths)).astype(np.float32)).double()
    scale = (scale / scale.sum()).float().double()
    masks = Masks(0x123456789ABCDEF0 % 2**63, 7) if dropout else None
    head = dropout[2] if dropout else 0.0

    def run(ps, act="gelu", dtype=torch.float64):
        logits = torch.stack([forward(ps, cfg, i, t, int(e), pooling, head, masks, act) for i, t, e in zip(ids, types, examples)])
        return logits, loss_of(logits.to(dtype), labels, scale.to(dtype), smoothing)

    def grads(act="gelu"):
        ps = {k: v.clone().requires_grad_() for k, v in params.items()}
        logits, loss = run(ps, act)
        loss.backward()
        return logits.detach(), loss.item(), {k: v.grad.clone() for k, v in ps.items()}

    logits, loss, g = grads()
    if not dropout:  # our own forward is transformers' forward
        bert.load_state_dict({k[5:]: v for k, v in params.items() if k.startswith("bert.")})
        for i, (a, t) in enumerate(zip(ids, types)):
            out = bert(input_ids=a[None], token_type_ids=t[None])
            pooled = out.pooler_output if pooling == "cls" else out.last_hidden_state.mean(1)
            want = F.linear(pooled, params["classifier.weight"], params["classifier.bias"])[0]
            assert torch.allclose(want, logits[i], atol=1e-12), "forward() differs from transformers"
    f = File()
    f.add("config", np.array([cfg.hidden_size, cfg.num_hidden_layers, cfg.num_attention_heads, cfg.intermediate_size, cfg.vocab_size,
                              cfg.max_position_embeddings, cfg.type_vocab_size, labels_n, pooling == "mean"], dtype=np.int32))
    f.add("rates", np.array([cfg.layer_norm_eps, *(dropout or [0, 0, 0]), smoothing]))
    f.add("seed", np.array([0 if not masks else masks.seed & 0xFFFFFFFF, 0 if not masks else masks.seed >> 32], dtype=np.uint32).view(np.int32))
    f.add("step", np.array([7 if masks else 0], dtype=np.int32))
    f.add("lengths", np.array(lengths, dtype=np.int32))
    f.add("ids", torch.cat(ids).numpy())
    f.add("types", torch.cat(types).numpy())
    f.add("examples", examples.astype(np.int32))
    f.add("labels", labels.numpy())
    f.add("scale", scale.numpy())
    f.add("logits", logits.numpy())
    f.add("loss", np.array([loss]))
    for k, v in params.items():
        f.add("param/" + k, v.numpy())
        f.add("grad/" + k, g[k].numpy())
    if tanh:
        for k, v in grads("tanh")[2].items():
            f.add("tanh/" + k, v.numpy())
    if steps:  # ten Adam steps, warm-up over three, linear to step 12
        ps = {k: v.clone().requires_grad_() for k, v in params.items()}
        opt = torch.optim.Adam(ps.values(), lr=1e-3)
        sch = get_linear_schedule_with_warmup(opt, 3, 12)
        losses = []
        for _ in range(10):
            opt.zero_grad()
            l = run(ps)[1]
            l.backward()
            opt.step()
            sch.step()
            losses.append(l.item())
        f.add("losses", np.array(losses))
        for k, v in ps.items():
            f.add("after/" + k, v.detach().numpy())
    if not dropout:  # how far torch's own bf16 autocast is from fp64, a tensor each: rms over draws of its rounding errors
        squares = {}
        for draw in range(8):
            near = {k: (v * (1 + 1e-3 * torch.randn(v.shape, dtype=v.dtype) * (draw > 0))).float().double() for k, v in params.items()}
            exact = {k: v.clone().requires_grad_() for k, v in near.items()}
            want = run(exact)
            want[1].backward()
            ps = {k: v.float().requires_grad_() for k, v in near.items()}
            with torch.autocast("cpu", dtype=torch.bfloat16):
                got = run(ps, dtype=torch.float32)
            got[1].backward()
            rel = lambda a, b: ((a.double() - b).norm() / b.norm()).item() ** 2 / 8
            squares["logits"] = squares.get("logits", 0) + rel(got[0].detach(), want[0].detach())
            for k, v in ps.items():
                squares[k] = squares.get(k, 0) + rel(v.grad, exact[k].grad)
        for k, v in squares.items():
            f.add("bf16/" + k, np.array([v**0.5]))
    f.write(f"{path}/{name}.golden")
    print(name, "loss", loss, "bytes", sum(map(len, f.records)))


def main():
    path = sys.argv[1]
    small = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, max_position_embeddings=64)
    wide = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=96, max_position_embeddings=64)
    long = dict(hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_position_embeddings=512)
    case(path, "pair-cls-2", [7, 1, 33, 16, 17, 2, 25, 12, 40, 5, 21, 60], 2, "cls", 1, small, tanh=True, steps=False)
    case(path, "steps-cls-2", [7, 1, 33, 16, 17, 2], 2, "cls", 1, small)
    case(path, "single-mean-1", [5, 64, 1, 31], 1, "mean", 2, wide, pairs=False)
    case(path, "pair-mean-3", [9, 40, 3], 3, "mean", 3, small, smoothing=0.1, steps=False)
    case(path, "single-cls-1", [12, 2, 30], 1, "cls", 4, wide, pairs=False, smoothing=0.2, steps=False)
    case(path, "long-cls-2", [512, 1, 300, 511], 2, "cls", 5, long, steps=False)
    case(path, "dropout-cls-2", [7, 1, 33, 16, 17], 2, "cls", 6, small, dropout=[0.1, 0.2, 0.3], steps=False)
    case(path, "dropout-mean-1", [20, 5, 49], 1, "mean", 7, wide, dropout=[0.25, 0.1, 0.1], steps=False)


if __name__ == "__main__":
    main()
