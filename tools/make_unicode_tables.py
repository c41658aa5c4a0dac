#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c: what PyPI's `tokenizers` does with every code point, frozen.

    tools/make_unicode_tables.py [--venv DIR] [--out FILE]

The reference tokenizer mixes Unicode versions (categories of 2016, newer case and decomposition tables), so no
Unicode library reproduces it. This asks the reference itself, once for each code point and property, and checks the
assumptions that the C code makes (named in the assertions). It needs the package in the version below and makes a
virtual environment of its own for it. Run it by hand when that version is raised; then raise RT_TOKENIZER_VERSION too.
"""
import argparse
import os
import subprocess
import sys
import unicodedata

TOKENIZERS = "0.23.3"
DROP, SPACE, CJK, PUNCT, MN, HANGUL, LOWER_SEQ = 1, 2, 4, 8, 16, 32, 64
BLOCK = 128
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def enter_environment(folder):
    """Re-executes this script in a virtual environment that holds the reference, unless it is here already."""
    try:
        import tokenizers

        if tokenizers.__version__ == TOKENIZERS:
            return
    except ImportError:
        pass
    python = os.path.join(folder, "bin", "python")
    if os.environ.get("RT_UNICODE_VENV"):
        sys.exit(f"{python}: tokenizers {TOKENIZERS} cannot be imported; remove {folder} and try again")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", f"tokenizers=={TOKENIZERS}"], check=True)
    os.execve(python, [python, *sys.argv], dict(os.environ, RT_UNICODE_VENV="1"))


def bert(**on):
    from tokenizers import normalizers

    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **on}).normalize_str


def hangul(c):
    s = c - 0xAC00
    tail = [0x11A7 + s % 28] if s % 28 else []
    return [0x1100 + s // 588, 0x1161 + s % 588 // 28] + tail


def probe():
    """One record a code point: (flags, combining class, lower-case delta or sequence, decomposition)."""
    from tokenizers import normalizers, pre_tokenizers

    clean, cjk, strip, lower = (bert(clean_text=True), bert(handle_chinese_chars=True), bert(strip_accents=True),
                                bert(lowercase=True))
    nfd, split = normalizers.NFD().normalize_str, pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    records, decomposed, lowered = {}, {}, {}
    for c in POINTS:
        s, flags = chr(c), 0
        got = clean(f"a{s}b")
        assert got in ("ab", "a b", f"a{s}b"), (hex(c), got)
        flags |= DROP if got == "ab" else SPACE if got == "a b" else 0
        got = cjk(f"a{s}b")
        assert got in (f"a{s}b", f"a {s} b"), (hex(c), got)
        flags |= CJK if got != f"a{s}b" else 0
        pieces = [p for p, _ in split(f"a{s}b")]
        assert pieces in ([f"a{s}b"], ["a", s, "b"], ["a", "b"]), (hex(c), pieces)
        if pieces == ["a", "b"]:
            assert flags & (DROP | SPACE), hex(c)  # the pre-tokenizer's white space is what cleaning has blanked
        else:
            assert not flags & SPACE or s == " ", hex(c)
        flags |= PUNCT if len(pieces) == 3 else 0
        d = nfd(s)
        if d != s:
            decomposed[c] = [ord(x) for x in d]
        elif strip(s) == "":
            flags |= MN
        low = lower(s)
        assert low != "", hex(c)
        lowered[c] = [ord(x) for x in low]
        records[c] = flags
    for c, d in decomposed.items():  # strip_accents is NFD less the marks found above, and nothing else
        assert strip(chr(c)) == "".join(chr(x) for x in d if not records[x] & MN), hex(c)
        assert all(x not in decomposed for x in d), hex(c)
        if 0xAC00 <= c <= 0xD7A3:
            assert d == hangul(c), hex(c)
    return records, decomposed, lowered, combining_classes(nfd, records, decomposed)


def combining_classes(nfd, flags, decomposed):
    """Canonical classes as the reference sorts by them: exact where the mark survives, 1 for any dropped non-starter."""
    marks = {}
    for c in POINTS:
        known = nfd(f"a\u0345{chr(c)}") != f"a\u0345{chr(c)}" or c == 0x345  # 240, the highest class; not to a newer one
        if unicodedata.combining(chr(c)) and known and c not in decomposed:
            marks.setdefault(unicodedata.combining(chr(c)), chr(c))
    ranked = sorted(marks)
    first, last = marks[ranked[0]], marks[ranked[-1]]
    classes = {}
    for c in POINTS:
        s = chr(c)
        if c in decomposed:
            continue
        after_last = nfd(f"a{last}{s}") == f"a{s}{last}" and s != last
        before_first = nfd(f"a{s}{first}") == f"a{first}{s}" and s != first
        if not after_last and not before_first and s != last:
            continue
        if flags[c] & MN:
            classes[c] = 1
            continue
        same = [v for v in ranked if nfd(f"a{s}{marks[v]}") == f"a{s}{marks[v]}" and nfd(f"a{marks[v]}{s}") == f"a{marks[v]}{s}"]
        assert len(same) == 1, (hex(c), same)
        classes[c] = same[0]
    return classes


def rows(values, per_line):
    for i in range(0, len(values), per_line):
        yield "    " + ", ".join(str(v) for v in values[i:i + per_line]) + ",\n"


def write(out, flags, decomposed, lowered, classes):
    sequences, offsets = [0], {}

    def sequence(points):
        key = tuple(points)
        if key not in offsets:
            offsets[key] = len(sequences)
            sequences.extend([len(key), *key])
        return offsets[key]

    ids, order, table = {(0, 0, 0, 0): 0}, [(0, 0, 0, 0)], []
    for c in range(0x110000):
        record = (0, 0, 0, 0)
        if c in flags:
            bits, low, nfd = flags[c], lowered[c], 0
            if 0xAC00 <= c <= 0xD7A3:
                bits |= HANGUL
            elif c in decomposed:
                nfd = sequence(decomposed[c])
            delta = low[0] - c if len(low) == 1 else sequence(low)
            bits |= LOWER_SEQ if len(low) > 1 else 0
            record = (delta, nfd, bits, classes.get(c, 0))
        if record not in ids:
            ids[record] = len(order)
            order.append(record)
        table.append(ids[record])
    blocks, block_ids, index = [], {}, []
    for i in range(0, len(table), BLOCK):
        key = tuple(table[i:i + BLOCK])
        if key not in block_ids:
            block_ids[key] = len(block_ids)
            blocks.extend(key)
        index.append(block_ids[key])
    assert len(order) < 65536 and len(block_ids) < 65536 and len(sequences) < 65536
    with open(out, "w", encoding="ascii") as f:
        f.write(f"/* Generated by tools/make_unicode_tables.py from tokenizers {TOKENIZERS}: do not edit. */\n")
        f.write('/* clang-format off */\n#include "unicode.h"\n\n')
        f.write(f"const uint16_t rt_unicode_index[{len(index)}] = {{\n")
        f.writelines(rows(index, 24))
        f.write(f"}};\n\nconst uint16_t rt_unicode_blocks[{len(blocks)}] = {{\n")
        f.writelines(rows(blocks, 20))
        f.write(f"}};\n\nconst rt_unicode_record rt_unicode_records[{len(order)}] = {{\n")
        f.writelines(rows(["{%d,%d,%d,%d}" % r for r in order], 6))
        f.write(f"}};\n\nconst uint32_t rt_unicode_sequences[{len(sequences)}] = {{\n")
        f.writelines(rows(sequences, 16))
        f.write("};\n")
    print(f"{out}: {len(order)} records, {len(block_ids)} blocks, {len(sequences)} sequence words")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--venv", default=os.path.join(here, "..", "build", "venv-unicode"))
    parser.add_argument("--out", default=os.path.join(here, "..", "src", "text", "unicode_tables.c"))
    args = parser.parse_args()
    enter_environment(args.venv)
    write(args.out, *probe())


if __name__ == "__main__":
    main()
