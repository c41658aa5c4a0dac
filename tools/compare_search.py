#!/usr/bin/env python3
"""Exact search beside faiss-cpu's IndexFlatIP: alternating in one run, the same vectors, the same threads.

    tools/compare_search.py [--build build] [--items 100000] [--width 384] [--queries 1000] [--top 20] [--rounds 5]
                            [--threads 2] [--folder DIR] [--memory]

Needs numpy and faiss. Both hold all vectors in memory: `build/bench/bench_search` and the index; what is timed is the
search. Then `rectrain search` answers the same from files, and its hits are held against faiss': a place may have
another item only where the fp64 scores of the two differ by less than fp32's rounding. --memory: also the peak resident
memory of `rectrain search`, and no faiss beyond one round.
"""
import argparse
import os
import re
import subprocess
import tempfile
import time

import faiss
import numpy as np


def save(path, rows):
    """.fbin: u32 n, u32 width, rows."""
    with open(path, "wb") as f:
        np.array(rows.shape, dtype="<u4").tofile(f)
        for first in range(0, len(rows), 1 << 16):
            rows[first : first + (1 << 16)].astype("<f4").tofile(f)


def unit_rows(rng, n, width):
    rows = rng.standard_normal((n, width), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def read_hits(path, n, top):
    items = np.full((n, top), -1, dtype=np.int64)
    with open(path) as f:
        next(f)
        for line in f:
            query, rank, item, _ = line.split("\t")
            items[int(query), int(rank) - 1] = int(item)
    return items


def peak_memory(pid):
    """KiB; what wait4 tells would begin with this process's own."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))
    except (OSError, AttributeError):
        return 0


def disagreements(items, queries, ours, theirs):
    """Places with another item, and of these such where fp32's rounding does not explain it."""
    places = np.argwhere(ours != theirs)
    unexplained = 0
    for q, i in places:
        a, b = (queries[q].astype(np.float64) @ items[x[q, i]].astype(np.float64) for x in (ours, theirs))
        unexplained += abs(a - b) > items.shape[1] * 2.0**-23
    return len(places), unexplained


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--folder")
    for name, default in (("items", 100000), ("width", 384), ("queries", 1000), ("top", 20), ("rounds", 5), ("threads", 2)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    items, queries = unit_rows(rng, args.items, args.width), unit_rows(rng, args.queries, args.width)
    faiss.omp_set_num_threads(args.threads)
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads), RECTRAIN_RUN_DEVICE="cpu",
                       RECTRAIN_RUN_THREADS=str(args.threads))
    index = faiss.IndexFlatIP(args.width)
    index.add(items)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        paths = [os.path.join(folder, name) for name in ("items.fbin", "queries.fbin", "hits.tsv")]
        save(paths[0], items)
        save(paths[1], queries)
        ours, theirs, found = [], [], None
        for _ in range(1 if args.memory else args.rounds):
            said = subprocess.run([args.build + "/bench/bench_search", "--files", *paths[:2], str(args.top), "1"],
                                  env=environment, check=True, capture_output=True, text=True).stdout
            ours.append(float(re.search(r": ([0-9.]+) s,", said).group(1)))
            start = time.perf_counter()
            found = index.search(queries, args.top)[1]
            theirs.append(time.perf_counter() - start)
        command = [args.build + "/rectrain", "search", "--similarity", "dot", "--index", paths[0], "--queries", paths[1],
                   "--top", str(args.top), "--output", paths[2]]
        start = time.perf_counter()
        peak = 0
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.01)
        whole = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(process.stderr.read())
        places, unexplained = disagreements(items, queries, read_hits(paths[2], args.queries, args.top), found)
    print(f"{args.items} items x {args.width}, {args.queries} queries, top {args.top}, {args.threads} threads")
    print(f"faiss {faiss.__version__} IndexFlatIP: best {min(theirs):.4f} s of", " ".join(f"{t:.3f}" for t in theirs))
    print(f"bench_search:              best {min(ours):.4f} s of", " ".join(f"{t:.3f}" for t in ours))
    print(f"ratio of the best: {min(theirs) / min(ours):.3f}; of the medians: {np.median(theirs) / np.median(ours):.3f}")
    print(f"rectrain search from files, start to end: {whole:.3f} s; peak resident memory "
          f"{peak / 1024:.0f} MiB (the items alone: {items.nbytes / 2**20:.0f} MiB)")
    print(f"places with another item than faiss': {places} of {args.queries * args.top}; unexplained by rounding: {unexplained}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    raise SystemExit(main())
