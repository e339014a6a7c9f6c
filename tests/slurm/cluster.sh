#!/usr/bin/env bash
# A Slurm cluster of one node on this machine: partitions cpu and gpu, two pretend GPUs, memory and time limits enforced.
#   cluster.sh start FOLDER     needs root, and: apt-get install slurm-wlm munge slurm-client
#   cluster.sh stop FOLDER
#   cluster.sh crash_node FOLDER, start_node FOLDER     the node dies with all that runs on it, and is back
# The plugin takes SLURM_* out of the environment, so the configuration lies in /etc/slurm while the cluster runs.
set -euo pipefail

start() {
  local host memory
  host=$(hostname -s)
  memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
  mkdir -p "$folder"/{controller,node} /run/munge /etc/slurm
  grep -q "[[:space:]]$host\b" /etc/hosts || echo "127.0.0.1 $host" >> /etc/hosts
  [ -s /etc/munge/munge.key ] || dd if=/dev/urandom bs=1 count=1024 of=/etc/munge/munge.key 2> /dev/null
  chown -R munge: /etc/munge /run/munge /var/log/munge /var/lib/munge
  chmod 400 /etc/munge/munge.key
  chmod 755 /run/munge
  munge -n > /dev/null 2>&1 || runuser -u munge -- munged --pid-file=/run/munge/munged.pid
  cat > /etc/slurm/slurm.conf << CONF
# cladeclip: written by tests/slurm/cluster.sh, removed by its stop
ClusterName=cladeclip
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/node
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
SlurmdTimeout=15
OverTimeLimit=0
MinJobAge=7200
KillWait=5
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
PartitionName=gpu Nodes=$host MaxTime=INFINITE State=UP OverSubscribe=YES
CONF
  # Nothing is behind these: CUDA finds no device, and the code says that it runs on the CPU.
  printf 'NodeName=%s Name=gpu File=%s\n' "$host" /dev/null "$host" /dev/zero > /etc/slurm/gres.conf
  slurmctld
  start_node
}

crash_node() {
  pkill -KILL -F "$folder/slurmd.pid"
  pkill -KILL slurmstepd || true
  # What ran in jobs: Slurm gave it the id of its job.
  for process in /proc/[0-9]*; do
    if tr '\0' '\n' < "$process/environ" 2> /dev/null | grep -q '^SLURM_JOB_ID='; then
      kill -KILL "${process#/proc/}" 2> /dev/null || true
    fi
  done
}

start_node() {
  slurmd
  for _ in $(seq 60); do
    sinfo -h -o %T 2> /dev/null | grep -q '^\(idle\|mixed\|allocated\)' && return
    sleep 0.5
  done
  echo "The node did not come up; see $folder/slurmd.log."
  exit 1
}

stop() {
  scancel --me 2> /dev/null || true
  for daemon in slurmd slurmctld; do
    [ -s "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")" || true
  done
  sleep 1
  [ -s /run/munge/munged.pid ] && kill "$(cat /run/munge/munged.pid)" || true
  # A configuration that names a controller which is gone makes every snakemake start ten seconds slower.
  grep -q '^# cladeclip' /etc/slurm/slurm.conf 2> /dev/null && rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
  return 0
}

folder=$(mkdir -p "$2" && cd "$2" && pwd)
"$1"
