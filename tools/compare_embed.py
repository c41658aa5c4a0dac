#!/usr/bin/env python3
"""Vectors and tokens a second of `rectrain embed` beside sentence-transformers' encode, on the same texts, in turns.

For whoever wants to know; neither the build nor the tests call it. Needs Python 3.9 with torch and
sentence-transformers.

    tools/compare_embed.py --model all-MiniLM-L6-v2/ --data items.tsv --text title --rows 20000

--model is a folder that sentence-transformers loads; rectrain converts it once, beside the temporary files. Texts of
the column are repeated to --rows, each with another number behind it, so that none is the same as another. Times are
those of the embedding alone: rectrain's rate is the one that it prints (reading, tokenising and writing the file
counted), sentence-transformers' that of encode(). The best of --turns counts, and of --batch the best size too, beside
the default of 32. With --cpu it is processor time instead, where other work disturbs less: give --threads 1, for who
waits for another thread spins. What rectrain takes to begin and end is measured with a few rows, and not counted.
"""
import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time


def texts_of(path, column, rows):
    with open(path, encoding="utf-8") as f:
        names = f.readline().rstrip("\n").split("\t")
        at = names.index(column)
        base = [line.rstrip("\n").split("\t")[at] for line in f]
    return [f"{base[i % len(base)]} {i // len(base)}" for i in range(rows)]


def write_table(path, texts):
    with open(path, "w", encoding="utf-8") as f:
        f.write("id\ttext\n")
        f.writelines(f"{i}\t{t}\n" for i, t in enumerate(texts))


def rectrain_run(o, checkpoint, table, output, precision):
    """Rows a second as it says, and its processor time."""
    command = [o.rectrain, "embed", "--checkpoint", checkpoint, "--data", table, "--text", "text", "--id", "id",
               "--output", output, "--set", f"run.precision={precision}", "--set", "run.device=cpu",
               "--set", f"run.threads={o.threads}", "--set", f"data.max_length={o.max_length}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(re.search(r"([0-9.]+) a second", done.stdout).group(1)), cpu


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rectrain", default="build/rectrain")
    p.add_argument("--model", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--rows", type=int, default=20000)
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("--precision", default="fp32,bf16")
    p.add_argument("--batch", default="32,64,128")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--turns", type=int, default=2)
    p.add_argument("--cpu", action="store_true")
    o = p.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["OMP_NUM_THREADS"] = str(o.threads)

    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(o.threads)
    texts = texts_of(o.data, o.text, o.rows)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, table, few = (os.path.join(folder, n) for n in ("model.h5", "texts.tsv", "few.tsv"))
        output = os.path.join(folder, "ours.npy")
        subprocess.run([o.rectrain, "convert", "--quiet", "--from", o.model, "--to", checkpoint], check=True,
                       stdout=subprocess.DEVNULL)
        write_table(table, texts)
        write_table(few, texts[:8])
        for precision in o.precision.split(","):
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            model = SentenceTransformer(o.model, device="cpu", model_kwargs={"torch_dtype": dtype})
            model.max_seq_length = o.max_length
            lengths = [len(x) for x in model.tokenizer(texts, truncation=True, max_length=o.max_length)["input_ids"]]
            tokens = sum(lengths) / len(lengths)
            model.encode(texts[:256])
            theirs, ours = {}, 0.0
            clock = time.process_time if o.cpu else time.perf_counter
            _, begin = rectrain_run(o, checkpoint, few, output, precision)
            for _ in range(o.turns):
                rate, cpu = rectrain_run(o, checkpoint, table, output, precision)
                ours = max(ours, (o.rows - 8) / (cpu - begin) if o.cpu else rate)
                for batch in map(int, o.batch.split(",")):
                    started = clock()
                    vectors = model.encode(texts, batch_size=batch, normalize_embeddings=True)
                    theirs[batch] = max(theirs.get(batch, 0), o.rows / (clock() - started))
            mine = np.load(output)
            vectors = np.asarray(vectors, dtype=np.float32)
            cosine = (mine * vectors).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(mine, axis=1)
            best = max(theirs.values())
            unit = "tokens a processor second" if o.cpu else "tokens/s"
            print(f"{precision}, threads {o.threads}, {o.rows} texts of {tokens:.1f} tokens: rectrain {ours * tokens:.0f} "
                  f"{unit}; sentence-transformers {theirs[min(theirs)] * tokens:.0f} (batch {min(theirs)}), "
                  + ", ".join(f"{v * tokens:.0f} ({k})" for k, v in theirs.items() if k != min(theirs))
                  + f"; {ours / theirs[min(theirs)]:.2f} x its default, {ours / best:.2f} x its best; "
                  f"least cosine {cosine.min():.7f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
