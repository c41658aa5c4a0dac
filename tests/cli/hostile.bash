# What the hostile tests share: run the program on something that was made to harm it, within the memory and the time it
# may take, and look at how it refuses. Failures are collected, so that one test can hold many cases.
# shellcheck shell=bash disable=SC2034,SC2154

# May the memory be limited? A sanitizer's own takes all addresses there are, and its time.
sanitized() { [ -n "${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ]; }

begin() {
    cases=0 wrong=
    FEED=/dev/null
    LIMIT_BASE=8192 # KiB that the program takes for itself, whatever it is given; the loader and libraries need 2,200
    WALL=10
    if sanitized; then WALL=120; fi
    export OMP_NUM_THREADS=1 OMP_THREAD_LIMIT=1
}

begin_file() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    make_victims
}
begin_case() {
    unset_variables
    cd "$BATS_FILE_TMPDIR" || return 1
    begin
}
# A file that wants more defines its own.
setup_file() { begin_file; }
setup() { begin_case; }

blame() { wrong+="$1"$'\n'; }

# hostile CODES WORDS FILE ARGS...: `rectrain ARGS` ends with one of CODES ("65 78") and an error of one line that holds
# WORDS; FILE (or -) is what its memory may hang on: 2 x its size + 64 MiB, allocations counted and not what of them is
# used. Two seconds of processor time; the wall clock's ten are for a busy machine. stdin comes from $FEED.
hostile() {
    local codes=$1 words=$2 file=$3 status=0 size=0 said times milliseconds
    shift 3
    cases=$((cases + 1))
    [ "$file" = - ] || size=$(stat -Lc %s -- "$file" 2> /dev/null || echo 0)
    times=$(
        TIMEFORMAT='%U %S'
        ulimit -c 0
        sanitized || ulimit -d $((LIMIT_BASE + 65536 + size / 512))
        { time timeout -k 1 "$WALL" "$PROGRAM" "$@" < "$FEED" > got.out 2> got.err; } 2>&1
        echo $?
    )
    status=${times##*$'\n'} times=${times%%$'\n'*}
    said="rectrain ${*@Q}"
    said=${said:0:300}
    case " $codes " in
    *" $status "*) ;;
    *) blame "$said: exit code $status, expected $codes; stderr: $(head -c 600 got.err)" && return 0 ;;
    esac
    milliseconds=${times//[!0-9 ]/}
    milliseconds=$((10#${milliseconds% *} + 10#${milliseconds#* }))
    sanitized || [ "$milliseconds" -le 2000 ] || blame "$said: $milliseconds ms of processor time"
    check_words "$said" "$status" "$words"
}

# One line of error, the last; nothing that a terminal acts on.
check_words() {
    local LC_ALL=C errors=0 line last=
    local controls=$'[\x01-\x08\x0b-\x1f\x7f]'
    while IFS= read -r line; do
        last=$line
        # shellcheck disable=SC2053 # a pattern, on purpose
        [[ $line != *$controls* ]] || blame "$1: control bytes: ${line:0:400}"
        case $line in "error: "*) errors=$((errors + 1)) ;; esac
    done < got.err
    [ "$2" -eq 0 ] && return 0
    [ "$errors" -eq 1 ] || blame "$1: $errors errors, not one: $(head -c 600 got.err)"
    case $last in "error: "*"$3"*) ;; *) blame "$1: not \"$3\": ${last:0:600}" ;; esac
    [ "${#last}" -le 8400 ] || blame "$1: an error of ${#last} bytes"
}

# all_right N: at least N cases ran, and none was answered wrongly
all_right() {
    [ -z "$wrong" ] || { printf '%s' "$wrong" && return 1; }
    [ "$cases" -ge "$1" ] || { echo "only $cases cases ran, expected $1" && return 1; }
}

# random N: the next number below N, the same ones in every run
random() {
    state=$(((state * 69069 + 12345) % 4294967296))
    drawn=$((state / 256 % $1))
}

# read_bytes FILE: its bytes as numbers in the array `bytes`
read_bytes() { mapfile -t bytes < <(od -An -v -tu1 -w1 -- "$1" | tr -d ' '); }

# put_byte FILE AT VALUE
put_byte() {
    local octal
    printf -v octal '\\%03o' "$3"
    # shellcheck disable=SC2059
    printf "$octal" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

zeros() { head -c "$1" /dev/zero; }
letters() { zeros "$1" | tr '\0' a; }

# What any file can be instead of what it says: altered KIND FILE ORIGINAL
altered() {
    rm -rf "$2"
    case $1 in
    empty) : > "$2" ;;
    half) head -c $(($(stat -c %s "$3") / 2)) "$3" > "$2" ;;
    nul) cp "$3" "$2" && put_byte "$2" 5 0 ;;
    utf8) cp "$3" "$2" && put_byte "$2" 5 255 ;;
    deep) zeros 100000 | tr '\0' '[' > "$2" ;;
    line) letters 100000000 > "$2" ;;
    list) { printf '{"a":[' && zeros 2000000 | sed 's/\x00/0,/g' && echo '0]}'; } > "$2" ;;
    keys) awk 'BEGIN { printf "{"; for (i = 0; i < 600000; i++) printf "\"%x\":0,", i; print "\"a\":0}" }' > "$2" ;;
    objects) { printf '{"a":[' && zeros 1000000 | sed 's/\x00/{},/g' && echo '0]}'; } > "$2" ;;
    sparse) truncate -s 3G "$2" ;;
    folder) mkdir "$2" ;;
    pipe) mkfifo "$2" ;;
    circle) ln -s "${2##*/}" "$2" ;;
    nowhere) ln -s nothing "$2" ;;
    device) ln -s /dev/zero "$2" ;;
    esac
}

# A folder with a trained checkpoint (best.h5), the same as a Hugging Face folder (hf), a vocabulary and tables.
make_victims() {
    make_shop 24 12
    "$PROGRAM" --config tiny.ini --set run.name=run --set train.max_steps=2 --set model.hidden=16 --set model.layers=1 \
        --set model.ffn=16 > train.out 2> train.err || { cat train.err && return 1; }
    cp runs/run/best.h5 best.h5
    "$PROGRAM" export --checkpoint best.h5 --to hf > train.out 2> train.err || { cat train.err && return 1; }
}
