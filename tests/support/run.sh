#!/bin/bash
# Runs test programs (cmocka), tree checks (*.sh) and command-line tests (*.bats), as many at a time as there are
# processors, and counts. The report keeps the order of the arguments, whichever ends first.
# Usage: tests/support/run.sh PROGRAM...   One line a program, with its seconds and its processor seconds, and under it
# a failure's own words; the last line is "N passed, N failed, N skipped". Every kind speaks TAP. A crash, a timeout, an
# exit status that disagrees with the counts, or fewer results than were planned is a failure by itself.
# Exit 1 on a failure or on a skip that tests/skips.txt does not list.
set -u
build=${BUILD:-build}
skips=${RECTRAIN_SKIPS:-tests/skips.txt}
limit=${RECTRAIN_TEST_SECONDS:-300}
[ -n "${RECTRAIN_LONG_TESTS:-}" ] && limit=$((limit * 12))
jobs=${RECTRAIN_TEST_JOBS:-$(nproc 2> /dev/null || echo 2)}
passed=0 failed=0 skipped=0
reasons=
logs=$build/test-logs
mkdir -p "$logs"
# Threads that wait by spinning take the processor from the program beside them.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

# may_skip NAME: is this skip on the committed list?
may_skip() {
    local pattern reason
    while read -r pattern reason; do
        case $pattern in '' | '#'*) continue ;; esac
        # shellcheck disable=SC2053 # a pattern, on purpose
        if [[ $1 == $pattern ]]; then
            reasons+="  skipped $1: $reason"$'\n'
            return 0
        fi
    done < "$skips"
    return 1
}

# count LOG NAME STATUS: reads the TAP lines of one program into p, f, s and the list `why`
count() {
    local line plan=0 seen=0 name what
    p=0 f=0 s=0 why=
    while IFS= read -r line; do
        if [[ $line =~ ^1\.\.([0-9]+) ]]; then
            plan=$((plan + BASH_REMATCH[1]))
            continue
        fi
        [[ $line =~ ^(ok|not\ ok)\ +([0-9]+)(.*)$ ]] || continue
        what=${BASH_REMATCH[1]} name=${BASH_REMATCH[3]}
        seen=$((seen + 1))
        if [[ $name =~ \#\ [Ss][Kk][Ii][Pp] ]]; then
            # cmocka writes "# SKIP name", bats "name # skip (why)"
            case $name in ' # SKIP '*) name=${name#' # SKIP '} ;; *) name=${name%% \# [Ss][Kk][Ii][Pp]*} ;; esac
            name=${name# - } name=${name# }
            if may_skip "$2:$name"; then
                s=$((s + 1))
            else
                f=$((f + 1)) why+="    skipped, and not on the list $skips: $2:$name"$'\n'
            fi
        elif [ "$what" = ok ]; then
            p=$((p + 1))
        else
            f=$((f + 1)) why+="    failed: ${name# - }"$'\n'
        fi
    done < "$1"
    if [ "$3" -eq 124 ]; then
        f=$((f + 1)) why+="    no end after $limit s: stopped"$'\n'
    elif [ "$3" -eq 137 ]; then
        f=$((f + 1)) why+="    killed (by the system for its memory, or $limit s passed and it did not stop)"$'\n'
    elif [ "$seen" -ne "$plan" ]; then
        f=$((f + 1)) why+="    $plan tests planned, $seen reported (exit status $3): it crashed or left early"$'\n'
    elif [ "$seen" -eq 0 ]; then
        f=$((f + 1)) why+="    it ran no test (exit status $3)"$'\n'
    elif [ "$3" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=$((f + 1)) why+="    exit status $3 although no test failed"$'\n'
    fi
}

name_of() {
    local name=${1#"$build/test/"}
    echo "${name#tests/}"
}
log_of() {
    local name
    name=$(name_of "$1")
    echo "$logs/${name//\//-}.log"
}

# run PROGRAM LOG: leaves its words in LOG and "status wall_ms cpu_ms" in LOG.end
run() {
    local start=${EPOCHREALTIME/[.,]/} child status command
    case $1 in
    *.bats) command=(bats --tap "$1") ;;
    *.sh) command=(bash "$1") ;;
    *) command=("$1") ;;
    esac
    CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 10 "$limit" "${command[@]}" > "$2" 2>&1 < /dev/null &
    child=$!
    trap 'kill "$child"' TERM
    wait "$child"
    status=$?
    # Not through a pipe: there `times` would speak of a shell without children. Its second line: 0m1.234s 0m0.567s
    times > "$2.times"
    awk -v status=$status -v wall=$(((${EPOCHREALTIME/[.,]/} - start) / 1000)) '
        NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); cpu += 60000 * t[1] + 1000 * t[2] } }
        END { print status, wall, int(cpu) }' "$2.times" > "$2.part"
    rm -f "$2.times"
    mv "$2.part" "$2.end"
}

# report PROGRAM LOG: counts it and prints its lines
report() {
    local name status wall cpu
    name=$(name_of "$1")
    read -r status wall cpu < "$2.end"
    rm -f "$2.end"
    count "$2" "$name" "$status"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ -t 1 ] && printf '\r\033[K'
    printf '  %-4s  %-36s %4d passed' "$([ "$f" -eq 0 ] && echo ok || echo FAIL)" "$name" "$p"
    [ "$f" -gt 0 ] && printf ', %d failed' "$f"
    [ "$s" -gt 0 ] && printf ', %d skipped' "$s"
    printf '  %d.%d s (processor %d.%d s)\n' $((wall / 1000)) $((wall / 100 % 10)) $((cpu / 1000)) $((cpu / 100 % 10))
    if [ "$f" -gt 0 ]; then
        printf '%s' "$why"
        grep -v '^ok ' "$2" | tail -n 40 | sed 's/^/    | /'
        echo "    (all of it: $2)"
    fi
}

programs=("$@")
begun=0 reported=0
# A child in the background does not hear the terminal's Ctrl-C: it is told.
# shellcheck disable=SC2046 # a list of process ids
trap 'kill $(jobs -p) 2> /dev/null; wait; exit 130' INT TERM
while [ $reported -lt $# ]; do
    while [ $begun -lt $# ] && [ "$(jobs -rp | wc -l)" -lt "$jobs" ]; do
        log=$(log_of "${programs[begun]}")
        rm -f "$log.end"
        run "${programs[begun]}" "$log" &
        begun=$((begun + 1))
    done
    [ -t 1 ] && printf '\r\033[K  ....  %s' "$(name_of "${programs[reported]}")"
    # Nobody left to wait for, and no result: what ran the program was itself killed.
    if ! wait -n 2> /dev/null && [ -z "$(jobs -rp)" ]; then
        log=$(log_of "${programs[reported]}")
        [ -e "$log.end" ] || echo 137 0 0 > "$log.end"
    fi
    while [ $reported -lt $begun ]; do
        log=$(log_of "${programs[reported]}")
        [ -e "$log.end" ] || break
        report "${programs[reported]}" "$log"
        reported=$((reported + 1))
    done
done
[ -n "$reasons" ] && printf '\n%s' "$reasons"
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
