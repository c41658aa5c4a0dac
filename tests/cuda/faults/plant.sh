# Sourced by tests/cuda/test_faults.sh and tools/mutate.sh: a copy of a kernel or host file with a fault in it, compiled,
# linked with the prebuilt objects, and a test program run over it.
# The caller has sourced $BUILD/MODE/faults.env (mk/cuda.mk writes it), which says how to compile and link.
# shellcheck shell=bash disable=SC2154,SC2086 # variables of that file; flags are to be split

# plant_text FILE OLD NEW TO: writes a copy whose only OLD is NEW. Fails where OLD is not there exactly once.
plant_text() {
    local text rest
    text=$(< "$1")
    rest=${text#*"$2"}
    [ "$rest" != "$text" ] || { echo "$1 does not hold: $2" && return 1; }
    [ "${rest#*"$2"}" = "$rest" ] || { echo "$1 holds more than once: $2" && return 1; }
    printf '%s\n' "${text%%"$2"*}$3$rest" > "$4"
}

# plant_line FILE NUMBER TEXT TO: the same by the line's number.
plant_line() {
    PLANT=$3 awk -v at="$2" 'NR == at { print ENVIRON["PLANT"]; next } { print }' "$1" > "$4"
}

# compile FILE OBJECT: as the mode compiles its own, but warnings are allowed: a fault may leave a variable unused.
compile() {
    case $1 in
    *.cu) $FAULT_CXX -x c++ -std=gnu++17 $FAULT_FLAGS -w -c "$1" -o "$2" ;;
    *) $FAULT_CC -std=gnu11 -D_GNU_SOURCE $FAULT_FLAGS -w -c "$1" -o "$2" ;;
    esac
}

# link PROGRAM TEST OBJECT...: TEST is a name such as test_rows; each OBJECT (NAME.cu.o, NAME.c.o) takes its namesake's
# place.
link() {
    local to=$1 test=$2 object instead= name
    shift 2
    for object in $FAULT_OBJECTS; do
        name=${object##*/}
        for with in "$@"; do [ "${with##*/}" = "$name" ] && object=$with; done
        instead+=" $object"
    done
    $FAULT_CXX $FAULT_LDFLAGS "$BUILD/obj/tests/cuda/$test.o" $FAULT_SUPPORT "$FAULT_FIRST" $instead \
        -Wl,--start-group $FAULT_ARCHIVES -Wl,--end-group $FAULT_LIBS -o "$to"
}

# judge SECONDS PROGRAM LOG: runs it and says "passed", "noticed" (an assertion failed), "crashed" or "timeout"
judge() {
    timeout --foreground -k 5 "$1" "$2" > "$3" 2>&1 < /dev/null
    local status=$?
    if [ $status -eq 124 ] || [ $status -eq 137 ]; then
        echo timeout
    elif grep -q '^NOTICED at ' "$3"; then
        echo noticed
    elif [ $status -ne 0 ]; then
        echo crashed
    elif grep -qE '^\[  PASSED  \] [1-9]|^ok 1 ' "$3"; then
        echo passed
    else
        echo "ran no test"
    fi
}
