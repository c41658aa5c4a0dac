# A Slurm of one node that a test starts and stops itself: munged, slurmctld and slurmd with ports, folders and a cluster
# name of their own, without systemd. And what the tests ask of its jobs.
# shellcheck shell=bash

# slurm_missing: why no Slurm can be started here; says nothing where one can
slurm_missing() {
    local command pid
    [ "$(id -u)" -eq 0 ] || { echo "Slurm's daemons want root" && return; }
    for command in munged slurmctld slurmd srun sbatch scancel scontrol squeue; do
        PATH=$PATH:/usr/sbin command -v $command > /dev/null || { echo "Slurm is not installed" && return; }
    done
    for pid in ${SLURM_JOB_ID:+$$} $(pgrep -x slurmd) $(pgrep -x slurmctld); do
        gone "$pid" || { echo "a Slurm runs here already" && return; }
    done
}

# until_true SECONDS COMMAND...: waits for the command to succeed
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "in vain waited for: $*" && return 1; }
        sleep 0.05
    done
}

port_is_free() { ! (exec 4<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
# A zombie that nobody waits for (a container without an init) is gone too.
gone() { ! grep -q '^State:[[:space:]]*[^Z]' "/proc/$1/status" 2> /dev/null; }
idle() { sinfo -h -o %T | grep -q '^idle'; }
no_jobs() { [ -z "$(squeue -h)" ]; }

# slurm_configuration FOLDER PORT: preemption by partition, exit code 75 requeues. cred_expire: how long a requeued job
# waits at least before it starts again (two minutes without it).
slurm_configuration() {
    local node
    node=$(hostname -s)
    cat << CONF
ClusterName=rectraintest
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$2
SlurmdPort=$(($2 + 1))
AuthType=auth/munge
AuthInfo=socket=$1/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
SlurmUser=root
SlurmdUser=root
SlurmdParameters=config_overrides
SlurmctldTimeout=300
SlurmdTimeout=300
MessageTimeout=60
ReturnToService=2
MailProg=/bin/true
MpiDefault=none
JobRequeue=1
RequeueExit=75
KillWait=120
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName=$node NodeAddr=127.0.0.1 CPUs=2 RealMemory=500
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=120 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
CONF
}

# slurm_start: a Slurm in the folder $SLURM_FOLDER; SLURM_CONF names its configuration to every command. The folder's
# path is short, for it holds a socket.
slurm_start() {
    local port=$((20000 + RANDOM % 10000))
    PATH=$PATH:/usr/sbin
    SLURM_FOLDER=$(mktemp -d /tmp/rectrain-slurm.XXXXXX) || return 1
    export PATH SLURM_FOLDER
    until port_is_free $port && port_is_free $((port + 1)); do port=$((port + 2)); done
    chmod 755 "$SLURM_FOLDER"
    mkdir "$SLURM_FOLDER/state" "$SLURM_FOLDER/spool"
    slurm_configuration "$SLURM_FOLDER" $port > "$SLURM_FOLDER/slurm.conf"
    (umask 077 && head -c 128 /dev/urandom > "$SLURM_FOLDER/munge.key")
    # Whatever ends the tests, a signal to their whole group too, ends the Slurm.
    export -f slurm_stop slurm_end until_true gone no_jobs
    setsid bash -c "while kill -0 $$ 2> /dev/null; do sleep 1; done; [ ! -d $SLURM_FOLDER ] || slurm_stop" \
        > /dev/null 2>&1 3>&- < /dev/null &
    export SLURM_CONF=$SLURM_FOLDER/slurm.conf
    # The daemons outlive the shell that starts them: none may hold bats' own descriptor.
    if ! { munged --socket="$SLURM_FOLDER/munge.socket" --key-file="$SLURM_FOLDER/munge.key" \
        --pid-file="$SLURM_FOLDER/munged.pid" --log-file="$SLURM_FOLDER/munged.log" \
        --seed-file="$SLURM_FOLDER/munge.seed" && slurmctld -f "$SLURM_CONF" && slurmd -f "$SLURM_CONF" &&
        until_true 120 idle; } > "$SLURM_FOLDER/start.log" 2>&1 3>&- < /dev/null; then
        echo "the Slurm of the test did not start:"
        tail -n 20 "$SLURM_FOLDER"/*.log
        return 1
    fi
}

# slurm_end NAME: the daemon with this pid file
slurm_end() {
    local pid
    pid=$(cat "$SLURM_FOLDER/$1.pid" 2> /dev/null) || return 0
    kill "$pid" 2> /dev/null
    until_true 30 gone "$pid" || kill -KILL "$pid"
}

# slurm_stop: cancels what runs, ends the daemons, and removes the folder
slurm_stop() {
    local pid
    export SLURM_CONF=$SLURM_FOLDER/slurm.conf
    if [ -e "$SLURM_FOLDER/slurmctld.pid" ]; then
        scancel --user=root 2> /dev/null
        until_true 150 no_jobs
    fi
    slurm_end slurmd
    slurm_end slurmctld
    slurm_end munged
    # What a job may have left: known by the configuration in its environment.
    for pid in $(pgrep slurmstepd) $(pgrep rectrain); do
        if tr '\0' '\n' < "/proc/$pid/environ" 2> /dev/null | grep -qxF "SLURM_CONF=$SLURM_CONF"; then
            kill -KILL "$pid"
        fi
    done
    rm -rf "$SLURM_FOLDER"
}

# job_field ID NAME: a field of `scontrol show job`
job_field() { scontrol -o show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }
job_is() { [ "$(job_field "$1" JobState)" = "$2" ]; }
job_over() {
    case $(job_field "$1" JobState) in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL | BOOT_FAIL) ;; *) return 1 ;; esac
}
restarted() { [ "$(job_field "$1" Restarts)" -ge "$2" ]; }
