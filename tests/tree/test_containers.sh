#!/bin/bash
# The Containerfiles: by hadolint where it is on PATH, and always by the rules below, which need no network. The packages
# that they name are those of tools/install_deps.sh, and of what the program was linked with.
. tests/support/tap.sh

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
cpu=containers/Containerfile cuda=containers/Containerfile.cuda

# instructions FILE: "LINE WORD REST", comments gone, continued lines joined
instructions() {
    awk '/^[ \t]*#/ || (!held && /^[ \t]*$/) { next }
         { if (!held) at = NR; held = held $0; if (sub(/\\$/, " ", held)) next; print at, held; held = "" }' "$1" | tr -s ' '
}
# Each rule prints what breaks it.
unpinned() { # an image without a tag, or whose tag moves from release to release; a stage has neither
    instructions "$1" | awk '$2 == "FROM" { image = $3; if (image in stage) next; if (toupper($4) == "AS") stage[$5] = 1
        if (image !~ /:[0-9][^:]*$/ || image ~ /:latest/) print "line " $1 ": " image " has no fixed tag" }'
}
fetches() { instructions "$1" | awk '$2 == "ADD" || ($2 == "RUN" && /curl |wget |git clone|pip install/) { print "line " $1 ": " $2 " fetches by itself" }'; }
careless_apt() {
    instructions "$1" | awk '$2 == "RUN" && /apt-get/ {
        if (!/--no-install-recommends/) print "line " $1 ": installs recommended packages too"
        if (!/apt-get install -y/) print "line " $1 ": would ask a question"
        if (!/rm -rf \/var\/lib\/apt\/lists\/\*/) print "line " $1 ": leaves apt lists behind"
        if (!/apt-get update &&/) print "line " $1 ": installs from lists of another layer" }
        /apt-get (dist-)?upgrade|(^| )apt install/ { print "line " $1 ": not what a build can repeat" }'
}
runs_as_root() {
    instructions "$1" | awk '$2 == "FROM" { user = "" } $2 == "USER" { user = $3 }
        END { if (user !~ /^[1-9][0-9]*(:[1-9][0-9]*)?$/) print "the last stage runs as \"" user "\": a number other than 0 is wanted" }'
}
wrong_start() {
    instructions "$1" | awk '$2 == "FROM" { stages++; start = 0 } $2 == "ENTRYPOINT" { start = $3 == "[\"rectrain\"]" } $2 == "HEALTHCHECK" { health = 1 }
        END { if (!start) print "the entry point is not rectrain"; if (stages < 2) print "compilers stay in the image: one stage"
              if (!health) print "no word on HEALTHCHECK" }'
}
secrets() { instructions "$1" | grep -iE '(ENV|ARG) .*(password|token|secret|key)'; }
# Everything that is copied from the tree is in it, and is let through by .dockerignore.
copied() { instructions "$1" | awk '$2 == "COPY" && $3 !~ /^--from/ { for (i = 3; i < NF; i++) print $i }'; }
not_there() {
    local path
    copied "$1" | while read -r path; do
        [ -e "$path" ] || echo "$path is not there"
        grep -qxF -e "!${path%%/*}" .dockerignore || { [[ $path == *.md ]] && grep -qxF '!*.md' .dockerignore; } ||
            echo "$path is kept out by .dockerignore"
    done
}
# What a build needs of the tree: folders that the Makefile and mk/install.sh read.
not_copied() {
    local path
    for path in Makefile mk include src kernels configs docs examples; do copied "$1" | grep -qx "$path" || echo "$path is not copied"; done
}
# packages FILE N: those of its Nth RUN with apt-get, one a line
packages() {
    instructions "$1" | awk -v n="$2" '$2 == "RUN" && /apt-get install/ && ++seen == n { sub(/&& rm .*/, ""); sub(/.*--no-install-recommends/, ""); gsub(/ +/, "\n"); print }' |
        grep . | sort
}
# What want_build of the installer may ask for.
wanted() {
    sed -n '/^want_build()/,/^}/p' tools/install_deps.sh |
        sed -n -e 's/^ *want_library \([^ ]*\).*/\1/p' -e 's/^ *want_command [^ ]* \([^ ]*\).*/\1/p' -e 's/.*|| want \([a-z0-9-]*\).*/\1/p' | sort -u
}
# runtime FILE...: the packages of the libraries that these name, on this Debian; libc and its loader are everywhere
runtime() {
    readelf -d "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u | grep -vE '^(ld-linux|libc\.so|libm\.so|librectrain)' | while read -r library; do
        dpkg -S "*/$library" 2> /dev/null | grep -vE 'libc6|cross|lib32|libx32' | head -n 1 | cut -d : -f 1
    done | sort -u
}
# The same names with the numbers of another release.
stems() { sed -E 's/t64$//; s/(-[0-9]+)*$//; s/[0-9]+$//; s/-$//'; }

for file in "$cpu" "$cuda"; do
    for rule in unpinned fetches careless_apt runs_as_root wrong_start secrets not_there not_copied; do
        ok "$file: $rule" empty $rule "$file"
    done
    if command -v hadolint > /dev/null; then ok "$file: hadolint" hadolint "$file"; fi
done
ok "built with the packages of tools/install_deps.sh" diff <(wanted) <(packages "$cpu" 1)
ok "for CUDA with g++ besides" diff <({ wanted && echo g++; } | sort) <(packages "$cuda" 1)
ok "both run with the same libraries" diff <(packages "$cpu" 2 | stems) <(packages "$cuda" 2 | stems)
if grep -q '^12' /etc/debian_version 2> /dev/null && [ -x "$build/rectrain" ]; then
    ok "which are those that program and library were linked with here" diff <(runtime "$build/rectrain" "$build"/librectrain.so.1) <(packages "$cpu" 2)
fi
ok "both images are of one CUDA" eval '[ "$(instructions $cuda | sed -n "s/.*FROM nvidia.cuda:\([0-9.]*\)-.*/\1/p" | sort -u | wc -l)" -eq 1 ]'

# The rules themselves.
bad=$scratch/Containerfile
cat > "$bad" << 'END'
FROM debian AS build
ADD https://example.org/x /x
ENV API_TOKEN=1
RUN apt-get update
RUN apt-get install gcc \
    # a remark
    make
COPY nowhere /src
USER root
CMD ["rectrain"]
END
for rule in unpinned fetches careless_apt runs_as_root wrong_start secrets not_there not_copied; do
    ok "caught: $rule" not empty $rule "$bad"
done
printf 'FROM debian:latest\n' > "$bad"
ok "caught: latest" says "no fixed tag" unpinned "$bad"
printf 'FROM debian:12 AS a\nFROM a\nUSER 10001\nFROM a\n' > "$bad"
ok "a stage needs no tag" empty unpinned "$bad"
ok "caught: a user of another stage" not empty runs_as_root "$bad"
done_testing
