#!/bin/bash
# What the documents name exists: commands, flags, options, variables, make targets, files, functions. And the README's
# configuration is one that the program takes.
. tests/support/tap.sh

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
program=$build/rectrain
documents='README.md ARCHITECTURE.md PERFORMANCE.md CONTRIBUTING.md SECURITY.md'
for name in $(compgen -e); do
    case $name in RECTRAIN_*) unset "$name" ;; esac
done
# `make test-tree` alone builds no program.
[ -x "$program" ] || make --no-print-directory BUILD="$build" all > "$scratch/make.log" 2>&1 || cat "$scratch/make.log"

"$program" --help > "$scratch/help" 2> /dev/null
sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' "$scratch/help" > "$scratch/commands"
{
    cat "$scratch/help"
    while read -r c; do "$program" "$c" --help; done < "$scratch/commands"
} 2> /dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u > "$scratch/flags"
"$program" config --defaults 2> /dev/null | sed -n -e 's/^\[\(.*\)\]$/\1/p' -e 's/^#\{0,1\} \{0,1\}\([a-z0-9_]*\) =.*/=\1/p' |
    awk '/^=/ { print section "." substr($0, 2); next } { section = $0 }' | sort -u > "$scratch/options"
cut -d . -f 1 "$scratch/options" | sort -u > "$scratch/sections"
{
    tr 'a-z.' 'A-Z_' < "$scratch/options" | sed 's/^/RECTRAIN_/'
    grep -rhoE 'RECTRAIN_[A-Z_]+' src tools tests/support Makefile kernels | sort -u
} > "$scratch/variables"
{
    make help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p'
    for m in src/* kernels integration cli tree; do printf 'test-%s\nmod-%s\n' "${m#src/}" "${m#src/}"; done
} > "$scratch/targets"

# lacking LIST: the words of stdin that LIST does not hold
lacking() { sort -u | grep -vxF -f "$1"; }
# Slurm's directives have flags of Slurm.
text_of() { grep -v '#SBATCH' "$1"; }

# Only `rectrain WORD` in code: prose says "rectrain does ..."
code_of() { text_of "$1" | grep -oE '`[^`]*`|^    .*'; }
bad_commands() {
    code_of "$1" | grep -oE '(^|[ `/(])rectrain [a-z]+' | sed 's/.*rectrain //' | lacking "$scratch/commands"
}
# A flag in the same line as a tool of ours or of others is that tool's.
bad_flags() {
    text_of "$1" | grep -vE 'tools/|git |pip |pkg-config |/usr/bin/time' | grep -oE '(^|[ `(])--[a-z][a-z-]*' | sed 's/^[ `(]*//' |
        lacking "$scratch/flags"
}
# section.key wherever the section is one of ours; train.tsv and the like are files.
bad_options() {
    local sections
    sections=$(paste -s -d '|' "$scratch/sections")
    text_of "$1" | grep -oE "(^|[^A-Za-z0-9_./-])($sections)\.[a-z][a-z0-9_]*" | sed 's/^[^a-z]*//' |
        grep -vE '\.(tsv|csv|jsonl|json|h5|ini|txt|c|h|a|safetensors|bats)$' | lacking "$scratch/options"
}
bad_variables() { grep -oE 'RECTRAIN_[A-Z_]+' "$1" | sort -u | grep -vx 'RECTRAIN_SECTION_KEY' | lacking "$scratch/variables"; }
bad_targets() {
    code_of "$1" | grep -oE '(^|[ `])make( +[a-z][a-z-]*)+' | sed 's/.*make *//' | tr ' ' '\n' | grep . |
        lacking "$scratch/targets"
}

# Paths below the folders of the tree, and links; build/ is made and may be empty. {a,b} and * mean several files.
bad_paths() {
    local path
    { text_of "$1" | grep -oE '(^|[^A-Za-z0-9_./<-])(src|tools|configs|tests|include|kernels|docs|mk)/[A-Za-z0-9_.,{}*/+-]*' |
        sed -e 's/^[^a-z]*//' -e 's/[.,]*$//' && grep -oE '\]\([^)#:]*\)' "$1" | sed -e 's/^](//' -e 's/)$//'; } |
        sort -u | while read -r path; do
        # shellcheck disable=SC2086 # patterns, on purpose
        eval "compgen -G '${path//\{*/}*'" > /dev/null && eval "ls -d -- $path" > /dev/null 2>&1 || echo "$1: $path is not there"
    done
}
# Functions, types and constants that ARCHITECTURE.md and CONTRIBUTING.md name.
bad_names() {
    grep -oE '\b(rt|RT)_[A-Za-z0-9_]+' "$1" | sort -u | grep -v '_$' | while read -r name; do
        grep -rqw -- "$name" src include kernels || echo "$1: nothing is named $name"
    done
}
bad_metrics() {
    sed -n '/^## Metrics/,/^## /p' README.md | sed -n 's/^| \(`[^|]*\) |.*/\1/p' | grep -oE '`[^`]+`' | tr -d '`' |
        while read -r key; do grep -qF "\"$key\"" src/eval/metrics_text.c || echo "no metric $key"; done
}
missing_codes() {
    grep -oE '\b(0|1|2|[67][0-9]) [a-z]' "$scratch/help" | cut -d ' ' -f 1 | while read -r code; do
        grep -q "^| $code | " README.md || echo "exit code $code is not in the README"
    done
}

ok "the program has commands, flags and options to compare with" \
    eval '[ "$(wc -l < $scratch/commands)" -ge 10 ] && [ "$(wc -l < $scratch/flags)" -ge 15 ] && [ "$(wc -l < $scratch/options)" -ge 50 ]'
for d in $documents; do
    ok "$d is there" test -s "$d"
    ok "$d: commands exist" empty bad_commands "$d"
    ok "$d: flags exist" empty bad_flags "$d"
    ok "$d: options exist" empty bad_options "$d"
    ok "$d: variables exist" empty bad_variables "$d"
    ok "$d: make targets exist" empty bad_targets "$d"
    ok "$d: files exist" empty bad_paths "$d"
    ok "$d: names of the code exist" empty bad_names "$d"
done
ok "the README's metrics are the program's" empty bad_metrics
ok "every exit code of --help stands in the README" empty missing_codes
while read -r c; do
    ok "the README's table has $c" eval 'sed -n "/^## Commands/,/^## /p" README.md | grep -qE "^\| \`rectrain $c|\(\`$c\` may"'
done < "$scratch/commands"

# The configuration in the README, beside files of these names.
sed -n '/^```ini$/,/^```$/p' README.md | grep -v '^```' > "$scratch/shop.ini"
for f in clicks-train.tsv clicks-dev.tsv clicks-test.tsv; do
    printf 'query\ttitle\tclick\timpression_id\nred shoes\tRunning shoe, red\t1\t17\n' > "$scratch/$f"
done
ok "the README's configuration is not empty" test -s "$scratch/shop.ini"
ok "the program takes it" exits 0 "$program" config --config "$scratch/shop.ini"
ok "and reads its paths beside it" says "train = $scratch/clicks-train.tsv" "$program" config --config "$scratch/shop.ini"
for f in configs/*.ini; do ok "the program takes $f but for files not made yet" \
    eval '"$program" config --config "$f" > "$scratch/out" 2>&1 || grep -q "no such file\|no file" "$scratch/out" || ! cat "$scratch/out"'; done

# The checks themselves.
cat > "$scratch/wrong.md" << 'END'
Run `rectrain bake` with `--hotter`, `train.speed = 9` and RECTRAIN_NO_SUCH_THING, then `make coffee`.
See src/none.c and [this](nowhere.md); rt_no_such_function does it.
END
ok "caught: a command" says bake bad_commands "$scratch/wrong.md"
ok "caught: a flag" says --hotter bad_flags "$scratch/wrong.md"
ok "caught: an option" says train.speed bad_options "$scratch/wrong.md"
ok "caught: a variable" says RECTRAIN_NO_SUCH_THING bad_variables "$scratch/wrong.md"
ok "caught: a make target" says coffee bad_targets "$scratch/wrong.md"
ok "caught: a file" says src/none.c bad_paths "$scratch/wrong.md"
ok "caught: a link" says nowhere.md bad_paths "$scratch/wrong.md"
ok "caught: a name" says rt_no_such_function bad_names "$scratch/wrong.md"
done_testing
