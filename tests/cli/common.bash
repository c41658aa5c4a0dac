# What the command-line tests share: the program, a folder of its own for each test, checks with words.
# shellcheck disable=SC2034,SC2154 # bats sets status, output, stderr; the tests read TREE
bats_require_minimum_version 1.5.0
TREE=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$TREE/$BUILD ;; esac
PROGRAM=$BUILD/rectrain

# The environment of whoever runs the tests must not change what they see.
unset_variables() {
    local name
    for name in $(compgen -e); do
        case $name in RECTRAIN_*) unset "$name" ;; esac
    done
    unset NO_COLOR
    export TERM=dumb
}

setup() {
    unset_variables
    cd "$BATS_TEST_TMPDIR" || return 1
}

# expect STATUS ARGS...: runs the program; $output is stdout, $stderr stderr
expect() {
    local wanted=$1
    shift
    run --separate-stderr "$PROGRAM" "$@"
    if [ "$status" -ne "$wanted" ]; then
        echo "rectrain $*: exit code $status, expected $wanted; stdout:"
        printf '%s\n' "$output"
        echo "stderr:"
        printf '%s\n' "$stderr"
        return 1
    fi
}

# has TEXT WORDS: TEXT contains WORDS
has() {
    case $1 in
    *"$2"*) return 0 ;;
    *)
        printf 'not found: %s\nin: %s\n' "$2" "$1"
        return 1
        ;;
    esac
}

# lacks TEXT WORDS
lacks() {
    case $1 in
    *"$2"*)
        printf 'found: %s\nin: %s\n' "$2" "$1"
        return 1
        ;;
    *) return 0 ;;
    esac
}
