#!/bin/bash
# The installer of dependencies, on machines made of fakes: what it asks for, whom it asks, what it leaves alone.
. tests/support/tap.sh

bin=$scratch/bin log=$scratch/log
mkdir -p "$bin"
for tool in sh bash sed grep tail cat mktemp rm env printf echo id dirname; do
    path=$(type -P "$tool") && ln -sf "$path" "$bin/$tool"
done
# fake NAME TEXT: a command of the fake machine
fake() {
    rm -f "$bin/$1"
    printf '#!/bin/sh\n%s\n' "$2" > "$bin/$1"
    chmod +x "$bin/$1"
}
machine() {
    rm -f "$bin"/{dpkg-query,apt-get,sudo,gcc,cc,make,ar,pkg-config,bats,id} "$log"
    # Every package is there, except those named.
    fake dpkg-query "for a; do last=\$a; done; case \" $1 \" in *\" \$last \"*) echo 'unknown ok not-installed' ;; *) echo 'install ok installed' ;; esac"
    fake gcc 'case "$*" in *p.c*) exit 1 ;; esac' # compiles the probe of the C library and links no other one
    fake apt-get "echo apt-get \"\$@\" >> $log"
    fake sudo "echo sudo \"\$@\" >> $log; [ \"\$1\" = -n ] || exec \"\$@\""
    fake id "echo ${2:-0}"
}
install() { PATH=$bin "$bin/sh" tools/install_deps.sh "$@" < /dev/null; }
logged() { [ -e "$log" ] && cat "$log"; }

machine ''
ok "nothing missing: said so" says "nothing to install" install test
ok "nothing missing: neither apt nor sudo was called" empty logged
machine 'libjansson-dev libcmocka-dev'
ok "what is missing is named" says "packages missing: libjansson-dev libcmocka-dev" install test
ok "apt gets these names, and the lists are not fetched" says "install --no-install-recommends libjansson-dev libcmocka-dev" logged
ok "no update where the lists did" not says update logged
ok "root needs no sudo" not says sudo logged
machine 'libcmocka-dev'
ok "the build alone does not need the tests' libraries" says "nothing to install" install build
machine 'clang libclang-rt-dev libclang-rt-14-dev libomp-dev'
ok "tests do not need clang" says "nothing to install" install test
ok "fuzzers do, and its runtimes" says "packages missing: clang libclang-rt-dev libomp-dev" install fuzz
machine 'slurmctld slurmd slurm-client munge' 1000
ok "Slurm's daemons are for root alone" says "nothing to install" install test
machine 'slurmctld slurmd slurm-client munge'
missing="packages missing: slurmctld slurmd slurm-client munge"
[ -d /run/systemd/system ] && missing="nothing to install"
ok "for the tests, and where systemd does not start them" says "$missing" install test
ok "not for the build" says "nothing to install" install build
machine 'libjansson-dev' 1000
ok "another user goes through sudo" eval 'install build && says "sudo env" logged'
machine 'libjansson-dev' 1000
rm "$bin/sudo"
ok "neither root nor sudo: 69" exits 69 install build
# What to run by hand instead, for three kinds of machine.
prints_lines() { # REASON
    local line
    ok "and says why: $1" says "$1" install build
    for line in "apt-get install libjansson-dev" "dnf install" "conda install -c conda-forge"; do
        ok "and prints: $line" says "$line" install build
    done
    ok "and has called no apt" empty logged_apt
}
logged_apt() { logged | grep apt-get; }
prints_lines "this user is not root and there is no sudo"
machine 'libjansson-dev'
rm "$bin/apt-get"
ok "no apt: 69, also for root" exits 69 install build
prints_lines "there is no apt on this machine"
machine 'libjansson-dev' 1000
rm "$bin/apt-get"
ok "no apt and not root: 69" exits 69 install build
machine 'libjansson-dev' 1000
fake sudo "echo sudo \"\$@\" >> $log; exit 1"
ok "sudo that wants a password, and no terminal to ask for it: 69" exits 69 install build
prints_lines "sudo wants a password and there is no terminal to ask for it"
machine 'libjansson-dev'
fake apt-get "echo apt-get \"\$@\" >> $log; case \"\$*\" in *update*) : > $scratch/lists ;; *) [ -e $scratch/lists ] ;; esac"
ok "absent lists are fetched, then it installs" exits 0 install build
ok "in that order" says update logged
machine 'libjansson-dev'
fake apt-get "echo 'E: no network'; exit 100"
ok "apt fails: 69" exits 69 install build
ok "with apt's own words" says "apt: E: no network" install build
ok "a wrong word: usage, 2" exits 2 install everything
done_testing
