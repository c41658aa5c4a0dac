#!/bin/bash
# Runs test programs (cmocka), tree checks (*.sh) and command-line tests (*.bats), one after another, and counts.
# Usage: tests/support/run.sh PROGRAM...   One line a program while it runs; the failures' own words after it;
# the last line is "N passed, N failed, N skipped". Every kind speaks TAP. A crash, a timeout, an exit status that
# disagrees with the counts, or fewer results than were planned is a failure by itself.
# Exit 1 on a failure or on a skip that tests/skips.txt does not list.
set -u
build=${BUILD:-build}
skips=${RECTRAIN_SKIPS:-tests/skips.txt}
limit=${RECTRAIN_TEST_SECONDS:-300}
[ -n "${RECTRAIN_LONG_TESTS:-}" ] && limit=$((limit * 12))
passed=0 failed=0 skipped=0
reasons=
logs=$build/test-logs
mkdir -p "$logs"

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
    if [ "$3" -eq 124 ] || [ "$3" -eq 137 ]; then
        f=$((f + 1)) why+="    no end after $limit s: stopped"$'\n'
    elif [ "$seen" -ne "$plan" ]; then
        f=$((f + 1)) why+="    $plan tests planned, $seen reported (exit status $3): it crashed or left early"$'\n'
    elif [ "$seen" -eq 0 ]; then
        f=$((f + 1)) why+="    it ran no test (exit status $3)"$'\n'
    elif [ "$3" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=$((f + 1)) why+="    exit status $3 although no test failed"$'\n'
    fi
}

for program in "$@"; do
    name=${program#"$build/test/"}
    name=${name#tests/}
    log=$logs/${name//\//-}.log
    start=${EPOCHREALTIME/[.,]/}
    case $program in
    *.bats) command=(bats --tap "$program") ;;
    *.sh) command=(bash "$program") ;;
    *) command=("$program") ;;
    esac
    [ -t 1 ] && printf '  ....  %s' "$name"
    CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 10 "$limit" "${command[@]}" > "$log" 2>&1 < /dev/null
    status=$?
    micros=$((${EPOCHREALTIME/[.,]/} - start))
    count "$log" "$name" "$status"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ -t 1 ] && printf '\r\033[K'
    printf '  %-4s  %-44s %4d passed' "$([ "$f" -eq 0 ] && echo ok || echo FAIL)" "$name" "$p"
    [ "$f" -gt 0 ] && printf ', %d failed' "$f"
    [ "$s" -gt 0 ] && printf ', %d skipped' "$s"
    printf '  %d.%02d s\n' $((micros / 1000000)) $((micros / 10000 % 100))
    if [ "$f" -gt 0 ]; then
        printf '%s' "$why"
        grep -v '^ok ' "$log" | tail -n 40 | sed 's/^/    | /'
        echo "    (all of it: $log)"
    fi
done
[ -n "$reasons" ] && printf '\n%s' "$reasons"
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
