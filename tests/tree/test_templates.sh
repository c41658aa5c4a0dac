#!/bin/bash
# What docs/cluster.md hands out: the batch script, the Kubernetes Job, the mpirun line. The Job is read by a parser of the
# part of YAML that it uses, which refuses all else; the line is run; tests/cli/slurm.bats submits the script.
. tests/support/tap.sh

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
program=$build/rectrain
job=docs/cluster/kubernetes-job.yaml script=docs/cluster/slurm.sbatch page=docs/cluster.md
for name in $(compgen -e); do
    case $name in RECTRAIN_*) unset "$name" ;; esac
done
[ -x "$program" ] || make --no-print-directory BUILD="$build" all > "$scratch/make.log" 2>&1 || cat "$scratch/make.log"

# flat FILE: "document/path/of/keys/0 = value" for every scalar; exit 1 at what is no plain block YAML: tabs, odd
# indentation, a key twice, a line that is neither key nor item.
flat() {
    awk '
        function fail(why) { print FILENAME ":" FNR ": " why; bad = 1; exit 1 }
        function path(d,   i, p) { p = document; for (i = 0; i <= d; i++) if (i in key) p = p "/" key[i]; return p }
        function close_to(d,   i) { for (i in key) if (i + 0 >= d) { delete key[i]; delete items[i] } }
        /^[ ]*(#.*)?$/ { next }
        /^---$/ { document++; split("", key); split("", items); next }
        {
            if (/\t/) fail("a tab")
            sub(/[ ]+#.*$/, "")
            match($0, /^ */); depth = RLENGTH; rest = substr($0, depth + 1)
            if (depth % 2) fail("indented by " depth)
            if (depth > last + 2) fail("indented too far")
            while (rest ~ /^- /) {
                n = (depth in items) ? items[depth] + 1 : 0
                close_to(depth); items[depth] = n; key[depth] = n
                rest = substr(rest, 3); depth += 2
            }
            last = depth
            if (!match(rest, /^[A-Za-z][A-Za-z0-9._\/-]*:( |$)/)) fail("neither key nor item: " rest)
            name = substr(rest, 1, RLENGTH); sub(/: ?$/, "", name)
            value = substr(rest, RLENGTH + 1)
            close_to(depth); key[depth] = name
            where = path(depth)
            if (where in seen) fail(where " twice")
            seen[where] = 1
            if (value == "") next
            if (value ~ /^[&*!|>%@`{]/ || (value ~ /^".*/ && value !~ /^"[^"]*"$/) || (value ~ /^\[/ && value !~ /\]$/) ||
                (value !~ /^["\[]/ && value ~ /: /)) fail("not plain: " value)
            if (value ~ /^"/) value = substr(value, 2, length(value) - 2)
            print where " = " value
        }' "$1"
}
# of PATH: its value in the Job; every PATH that is a pattern gives a line
of() { sed -n "s|^1/$1 = ||p" "$scratch/flat"; }
is() { [ "$(of "$1")" = "$2" ] || { echo "$1 is '$(of "$1")', not '$2'" && return 1; }; }
variable() {
    local at
    at=$(sed -n "s|^1/\(.*/env/[0-9]*\)/name = $1\$|\1|p" "$scratch/flat")
    [ -n "$at" ] && of "$at/value.*"
}
pod=spec/template/spec
service() { sed -n "s|^/$1 = ||p" "$scratch/flat"; }

ok "the Job is block YAML" eval 'flat $job > $scratch/flat || { tail -1 $scratch/flat; false; }'
ok "an indexed Job of batch/v1" eval 'is apiVersion batch/v1 && is kind Job && is spec/completionMode Indexed'
ok "all its pods at once, as many as there are ranks" \
    eval 'n=$(variable WORLD_SIZE) && is spec/completions "$n" && is spec/parallelism "$n" && [ "$n" -gt 1 ]'
ok "its pods are not started again but replaced" is $pod/restartPolicy Never
ok "they have time to save" eval '[ "$(of $pod/terminationGracePeriodSeconds)" -ge 60 ]'
ok "a stop with a checkpoint is ignored, by its exit code" \
    eval 'is spec/podFailurePolicy/rules/0/action Ignore && is spec/podFailurePolicy/rules/0/onExitCodes/values "[75]"'
ok "what a new start cannot mend ends the Job" \
    eval 'is spec/podFailurePolicy/rules/2/action FailJob && is spec/podFailurePolicy/rules/2/onExitCodes/values "[2, 65, 66, 78]"'
ok "the Service has no address of its own and knows the Job's pods" \
    eval '[ "$(service kind) $(service spec/clusterIP)" = "Service None" ] &&
          [ "$(service spec/selector/batch.kubernetes.io/job-name)" = "$(of metadata/name)" ] &&
          [ "$(service spec/publishNotReadyAddresses)" = true ]'
ok "rank 0 is found by the Job's name in the Service's domain" \
    eval 'is $pod/subdomain "$(service metadata/name)" &&
          [ "$(variable MASTER_ADDR)" = "$(of metadata/name)-0.$(of $pod/subdomain).\$(NAMESPACE).svc.cluster.local" ]'
ok "the rank is the pod's index" says job-completion-index variable RANK
ok "the ranks share a token" says controller-uid variable RECTRAIN_RUN_TOKEN
ok "a port, a device" eval '[ "$(variable MASTER_PORT)" -gt 1024 ] && of "$pod/containers/0/args" | grep -q run.device=cuda'

# The variables as the Job sets them, for both ranks: the program understands them, and says that this launcher needs GPUs.
as_pod() {
    ! env RANK="$1" WORLD_SIZE="$(variable WORLD_SIZE)" LOCAL_RANK="$(variable LOCAL_RANK)" MASTER_ADDR=127.0.0.1 \
        LOCAL_WORLD_SIZE="$(variable LOCAL_WORLD_SIZE)" MASTER_PORT="$(variable MASTER_PORT)" RECTRAIN_RUN_TOKEN=uid \
        "$program" --config "$scratch/shop/shop.ini" --set run.name=pod --set run.device=cpu > "$scratch/pod" 2>&1 &&
        grep -q 'ranks, but this run computes on the CPU' "$scratch/pod" && ! grep -q 'is no option' "$scratch/pod" ||
        ! cat "$scratch/pod"
}
mkdir "$scratch/shop"
(
    . tests/cli/train_shop.bash
    cd "$scratch/shop" && make_shop 40 20 && mv tiny.ini shop.ini
)
ok "the Job's variables reach rank 0" as_pod 0
ok "and rank 1" as_pod 1

# The batch script.
directive() { sed -n "s/^#SBATCH --$1\(=\|\$\)//p" "$script"; }
late_directives() { awk '!/^(#|$)/ { begun = 1 } begun && /^#SBATCH/ { print FILENAME ":" FNR ": Slurm passes over it" }' "$1"; }
ok "the batch script is a script" bash -n "$script"
ok "its directives stand before its commands" empty late_directives "$script"
ok "SIGTERM goes to the ranks, not to the script" eval 'directive signal | grep -qx "TERM@[0-9]*"'
ok "it comes back, with its log" eval 'grep -qx "#SBATCH --requeue" $script && [ "$(directive open-mode)" = append ]'
ok "its exit code is that of srun, with PMIx" eval 'tail -n 1 $script | grep -q "^exec srun --mpi=pmix "'

# The mpirun line of the page, as it stands there.
line=$(sed -n 's/^    \(mpirun -n .*\)$/\1/p' "$page")
run_line() {
    mkdir -p "$scratch/bin" && ln -sf "$program" "$scratch/bin/rectrain" && cd "$scratch/shop" &&
        PATH=$scratch/bin:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
            OMPI_MCA_rmaps_base_oversubscribe=1 bash -c "$line" > "$scratch/mpirun" 2>&1 &&
        grep -q '^4 ranks, started by mpirun' "$scratch/mpirun" && grep -q '"event": "end"' runs/shop/metrics.jsonl ||
        { cat "$scratch/mpirun" && false; }
}
if [ -e "$build/rectrain-mpi.so" ] && command -v mpirun > /dev/null; then
    ok "the mpirun line trains on four ranks" eval '(run_line)'
else
    skip "the mpirun line trains on four ranks" "no MPI plugin, or mpirun is not installed"
fi

# The page: its links, its options, the messages it explains.
no_links() { grep -oE '\]\([^)#:]*\)' "$1" | tr -d '()]' | while read -r f; do [ -e "docs/$f" ] || echo "no docs/$f"; done; }
no_options() {
    grep -oE '(run|data|train|distributed)\.[a-z_]+' "$1" | sort -u | grep -vE '\.(ini|tsv)$' | while IFS=. read -r section key; do
        "$program" config --defaults | awk -v s="[$section]" -v k="$key" '$0 == s { on = 1; next } /^\[/ { on = 0 }
            on && ($0 ~ "^#? ?" k " =") { found = 1 } END { exit !found }' || echo "no option $section.$key"
    done
}
# Parts of messages in both the page and the sources.
no_messages() {
    for words in 'did not come within' 'cannot listen on' 'has another' 'refused' 'without PMIx' 'died' 'answered' 'moved' \
        'strangers' 'The last checkpoint is whole: start the same command again' 'last heard of at step'; do
        tr '\n' ' ' < "$page" | sed 's/  */ /g' | grep -qF -- "$words" || echo "the page does not say: $words"
        cat src/comm/*.c src/cli/*.c | grep -qF -- "$words" || echo "no message says: $words"
    done
}
ok "the page's links lead somewhere" empty no_links "$page"
ok "the page's options exist" empty no_options "$page"
ok "the page's messages are the program's" empty no_messages
ok "the README leads to the page" grep -qF '(docs/cluster.md)' README.md

# The checks themselves.
printf 'a:\n  b: 1\n  b: 2\n' > "$scratch/twice.yaml"
ok "caught: a key twice" not flat "$scratch/twice.yaml"
printf 'a:\n   b: 1\n' > "$scratch/odd.yaml"
ok "caught: odd indentation" not flat "$scratch/odd.yaml"
printf 'a: b: c\n' > "$scratch/plain.yaml"
ok "caught: what is not plain" not flat "$scratch/plain.yaml"
printf '#!/bin/sh\necho\n#SBATCH --requeue\n' > "$scratch/late.sbatch"
ok "caught: a directive after a command" says "passes over" late_directives "$scratch/late.sbatch"
echo 'train.speed' > "$scratch/page.md"
ok "caught: an option" says train.speed no_options "$scratch/page.md"
done_testing
