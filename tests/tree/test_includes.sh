#!/bin/bash
# The edges between modules, read from the #include lines: dependencies run one way. A planted bad edge must be caught.
. tests/support/tap.sh

# may FROM TO: is this edge in the plan? Every module may also use itself, base and include/.
may() {
    case $1/$2 in
    cli/*) ;;
    api/cli) false ;;
    api/*) ;;
    */base | */include) ;;
    data/text | objective/model | checkpoint/model | checkpoint/text) ;;
    train/objective | train/model | train/data | train/comm) ;;
    eval/objective | eval/model | eval/data | eval/comm | eval/retrieve) ;;
    retrieve/data | retrieve/checkpoint | recommend/data | recommend/retrieve) ;;
    *) [ "$1" = "$2" ] ;;
    esac
}

# module_of PATH: the module that a normal path belongs to
module_of() {
    case $1 in
    src/*/*) echo "$1" | cut -d / -f 2 ;;
    include/*) echo include ;;
    kernels/*) echo kernels ;;
    *) echo outside ;;
    esac
}

# bad_edges ROOT: one line for each include that the plan does not allow or that leads nowhere
bad_edges() {
    local root file line path target from to where
    root=$(cd "$1" && pwd)
    (cd "$root" && grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' --include='*.[ch]' --include='*.cu' \
        --include='*.cuh' --include='*.inc' src include kernels 2> /dev/null) | while IFS=: read -r file line path; do
        case $path in
        *\"*\"*) path=${path#*\"} path=${path%%\"*} kind=quoted ;;
        *) path=${path#*<} path=${path%%>*} kind=angle ;;
        esac
        target=
        for where in "$(dirname "$file")" src include .; do
            [ "$kind/$where" = "angle/$(dirname "$file")" ] && continue
            if [ -e "$root/$where/$path" ]; then
                target=$(realpath -s --relative-to="$root" "$root/$where/$path")
                break
            fi
        done
        if [ -z "$target" ]; then
            [ "$kind" = angle ] || echo "$file:$line: includes \"$path\", which is not there"
            continue
        fi
        from=$(module_of "$file") to=$(module_of "$target")
        may "$from" "$to" || echo "$file:$line: $from may not include from $to ($path)"
    done
}

ok "the tree keeps its edges" empty bad_edges .

# The check itself, on small trees with one bad edge each.
plant() {
    rm -rf "$scratch/tree"
    mkdir -p "$scratch/tree"/{include/rectrain,kernels/cpu}
    for m in base config text data model objective train eval checkpoint comm track api cli; do
        mkdir -p "$scratch/tree/src/$m"
        echo '#include <stdio.h>' > "$scratch/tree/src/$m/$m.h"
    done
    echo '#include "../base/base.h"' > "$scratch/tree/src/data/fine.c"
    printf '%s\n' "$2" > "$scratch/tree/$1"
}
caught() {
    plant "$1" "$2"
    says "$1:1:" bad_edges "$scratch/tree"
}
allowed() {
    plant "$1" "$2"
    empty bad_edges "$scratch/tree"
}
ok "allowed: train includes data" allowed src/train/x.c '#include "../data/data.h"'
ok "allowed: cli includes anything" allowed src/cli/x.c '#include "../checkpoint/checkpoint.h"'
ok "allowed: api includes anything but cli" allowed src/api/x.c '#include "../checkpoint/checkpoint.h"'
ok "allowed: kernels include base through -Isrc" allowed kernels/cpu/x.c '#include "base/base.h"'
ok "caught: base includes text" caught src/base/x.c '#include "../text/text.h"'
ok "caught: model includes data" caught src/model/x.h '#include "../data/data.h"'
ok "caught: train includes checkpoint" caught src/train/x.c '  #  include "../checkpoint/checkpoint.h"'
ok "caught: kernels include model" caught kernels/cpu/x.c '#include "../../src/model/model.h"'
ok "caught: kernels include model through -Isrc" caught kernels/cpu/x.c '#include "model/model.h"'
ok "caught: in angle brackets too" caught src/text/x.c '#include <model/model.h>'
ok "caught: a public header includes train" caught include/rectrain/x.h '#include "../../src/train/train.h"'
ok "caught: anything includes cli" caught src/eval/x.c '#include "../cli/cli.h"'
ok "caught: api includes cli" caught src/api/x.c '#include "../cli/cli.h"'
ok "caught: eval includes api" caught src/eval/x.c '#include "../api/api.h"'
ok "caught: a file that is not there" caught src/eval/x.c '#include "../evil/x.h"'
done_testing
