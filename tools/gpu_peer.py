"""Training steps of BERT-base with Hugging Face transformers on this machine's GPU, for tools/gpu_check.sh: the same
shapes as rectrain's own runs beside it, every row as long as its batch, so that nothing is padded. Prints rows of a
markdown table; each is printed as soon as it is known. Usage: gpu_peer.py SECONDS"""
import sys
import time

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification

until = time.monotonic() + float(sys.argv[1])
torch.manual_seed(1)
name = torch.cuda.get_device_name()
print(f"# {name}, torch {torch.__version__}, transformers {transformers.__version__}", flush=True)


def steps(kind, sequences, length):
    """Tokens a second: bf16 autocast over fp32 weights, fused Adam, gradients clipped, as rectrain's runs."""
    config = BertConfig(num_labels=2, attn_implementation="eager" if kind == "eager" else "sdpa")
    model = BertForSequenceClassification(config).cuda().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    forward = torch.compile(model) if kind == "compiled" else model
    batches = [
        dict(
            input_ids=torch.randint(1000, 30000, (sequences, length), device="cuda"),
            labels=torch.randint(0, 2, (sequences,), device="cuda"),
        )
        for _ in range(4)
    ]

    def step(i):
        with torch.autocast("cuda", torch.bfloat16):
            loss = forward(**batches[i % 4]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for i in range(5):
        step(i)
    best = 0.0
    for _ in range(3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for i in range(20):
            step(i)
        torch.cuda.synchronize()
        best = max(best, 20 * sequences * length / (time.perf_counter() - began))
    return best


for kind in ("sdpa", "eager", "compiled"):
    for sequences, length in ((256, 28), (32, 128)):
        if time.monotonic() > until:
            print(f"# {kind}, {sequences} x {length}: no time was left", flush=True)
            continue
        try:
            rate = steps(kind, sequences, length)
            print(f"| transformers, {kind}, bf16 autocast | {sequences} x {length} | {rate:.0f} |", flush=True)
        except Exception as error:  # one kind that fails must not take the others along
            print(f"# {kind}, {sequences} x {length}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
        torch.cuda.empty_cache()
