# Lists the small faults that could be planted in one file of kernels/cuda, a line each: FILE, line, kind, column, and the
# line as it would then be, between tabs. Text in comments and strings, the preprocessor's lines and parts of macros are
# left alone. Usage: awk -f mutants.awk FILE

# The line with comments and strings blanked, of the same length.
function bare(s,    i, c, out, in_string, quote) {
    out = ""
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (in_comment) {
            if (substr(s, i, 2) == "*/") { in_comment = 0; i++; out = out " " }
            out = out " "
        } else if (in_string) {
            if (c == "\\") { i++; out = out " " }
            else if (c == quote) in_string = 0
            out = out (in_string ? " " : c)
        } else if (substr(s, i, 2) == "/*") {
            in_comment = 1; i++; out = out "  "
        } else if (c == "\"" || c == "'") {
            in_string = 1; quote = c; out = out c
        } else
            out = out c
    }
    return out
}
function is_whole(s,    t, open, close_) {
    t = s
    open = gsub(/\(/, "", t); close_ = gsub(/\)/, "", t)
    return open == close_ && s ~ /; *$/
}
function tell(kind, column, text) {
    if (text != $0) printf "%s\t%d\t%s\t%d\t%s\n", name, NR, kind, column, text
}
# Every place of a literal, one fault each.
function swap(kind, from, to,    at, rest, before) {
    rest = code; before = 0
    while ((at = index(rest, from)) > 0) {
        before += at
        tell(kind, before, substr($0, 1, before - 1) to substr($0, before + length(from)))
        before += length(from) - 1
        rest = substr(code, before + 1)
    }
}
# Every place of a pattern: what stands there is put between two texts.
function wrap(kind, pattern, front, behind,    rest, before, at, long_) {
    rest = code; before = 0
    while (match(rest, pattern)) {
        at = before + RSTART; long_ = RLENGTH
        tell(kind, at, substr($0, 1, at - 1) front substr($0, at, long_) behind substr($0, at + long_))
        before = at + long_ - 1
        rest = substr(code, before + 1)
    }
}
function cut(kind, pattern,    rest, before, at, long_) {
    rest = code; before = 0
    while (match(rest, pattern)) {
        at = before + RSTART; long_ = RLENGTH
        tell(kind, at, substr($0, 1, at - 1) substr($0, at + long_))
        before = at + long_ - 1
        rest = substr(code, before + 1)
    }
}

FNR == 1 { name = FILENAME; sub(/.*\//, "", name); continued = 0 }
{
    code = bare($0)
    skip = continued || code ~ /^ *#/ || code ~ /^ *(static_assert|_Static_assert|template|enum|struct|typedef)/
    continued = $0 ~ /\\$/
    if (skip || continued || code ~ /^ *$/) next
}
# What orders threads, copies and streams.
{
    cut("barrier", "__sync(threads|warp)\\(\\);")
    cut("copy wait", "rt_copy_(wait<[^;]*>|commit)\\(\\);")
}
code ~ /cuda(EventRecord|StreamWaitEvent|EventSynchronize|StreamSynchronize|MemsetAsync)\(/ && is_whole(code) {
    tell("order", 1, code ~ /return/ ? returning() : removed())
}
function removed(    s) {
    s = $0
    sub(/^ */, "", s)
    return "    ; // " s
}
function returning(    s) {
    s = $0
    sub(/return [^;]*;/, "return RT_OK;", s)
    return s
}
{
    # Lanes and what is added to what.
    wrap("lane", "__shfl[a-z_]*\\(RT_FULL, [^,()]*, ", "", "1 ^ ")
    wrap("accumulate", "(a|g|args)(->|\\.)accumulate", "!", "")
    cut("scale", " \\* (mask|m|a|f|l)\\.(scale|clip)")
    wrap("scale", "(mask|m)\\.scale( :|;)", "0.5f * ", "")
    swap("factor", "clip_norm > 0", "clip_norm > 9")
}
# Checks of errors and of arguments.
code ~ /^ *(RT_TRY|RT_GO|RT_CUDA|LT)\(.*\);$/ && is_whole(code) {
    if (code ~ /^ *RT_(TRY|GO)\(.*check/)
        tell("check", 1, removed())
    else {
        text = $0
        sub(/(RT_TRY|RT_GO|RT_CUDA|LT)\(/, "(void)(", text)
        tell("error", 1, text)
    }
}
code ~ /^ *if \(.*\) (return|continue|goto)[^=]*;$/ && is_whole(code) { tell("early end", 1, removed()) }
# Bounds, signs, products, logic.
{
    swap("bound", " < ", " <= ")
    swap("bound", " <= ", " < ")
    swap("bound", " > ", " >= ")
    swap("bound", " >= ", " > ")
    swap("logic", " && ", " || ")
    swap("logic", " || ", " && ")
    swap("logic", " == ", " != ")
    swap("logic", " != ", " == ")
    swap("sign", " + ", " - ")
    swap("sign", " - ", " + ")
    swap("product", " / ", " * ")
    swap("product", " % ", " / ")
    swap("index", " + 1]", "]")
    swap("index", "[b]", "[b + 1]")
    swap("index", "[row]", "[row + 1]")
    swap("index", "[c]", "[c + 1]")
    swap("index", "[at]", "[at + 1]")
    swap("index", "[block]", "[block + 1]")
    swap("index", "[slot]", "[slot ^ 1]")
}
code !~ /for \(/ {
    if (is_whole(code)) swap("sum", " += ", " = ")
    swap("product", " * ", " + ")
}
