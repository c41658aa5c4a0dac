# Sourced by tests/tree/*.sh: results in TAP, a scratch folder, a make free of the outer make's flags.
# shellcheck shell=bash
set -u
tap_count=0 tap_failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# ok NAME COMMAND...: passes when the command succeeds; its output is shown when it does not
ok() {
    local name=$1
    shift
    tap_count=$((tap_count + 1))
    if "$@" > "$scratch/.ok" 2>&1; then
        echo "ok $tap_count - $name"
    else
        echo "not ok $tap_count - $name"
        sed 's/^/# /' "$scratch/.ok"
        tap_failed=$((tap_failed + 1))
    fi
}
skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # skip $2"
}
not() { ! "$@"; }
# says TEXT COMMAND...: the command's output holds TEXT (its status is not judged)
says() {
    local text=$1
    shift
    "$@" > "$scratch/.says" 2>&1
    grep -qF -- "$text" "$scratch/.says" || { cat "$scratch/.says" && return 1; }
}
# exits CODE COMMAND...
exits() {
    local want=$1 got
    shift
    "$@" > "$scratch/.exits" 2>&1
    got=$?
    [ "$got" -eq "$want" ] || { cat "$scratch/.exits" && echo "exit status $got, not $want" && return 1; }
}
# empty COMMAND...: it prints nothing; what it prints are the findings
empty() {
    "$@" > "$scratch/.empty" 2>&1
    [ ! -s "$scratch/.empty" ] || { cat "$scratch/.empty" && return 1; }
}
done_testing() {
    echo "1..$tap_count"
    [ "$tap_failed" -eq 0 ]
    exit
}
