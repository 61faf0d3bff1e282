#!/bin/bash
# flux: --job-name=heat
# flux: --nodes=2
# flux: --exclusive
# flux: --time-limit=60m
# flux: --output=heat.{{id}}.out
#
#     flux batch heat.flux     # in the folder with this file and the environment `env`
#
# module load mpich
source env/bin/activate || exit 1

arguments=(experiment=heat_fno run=/scratch/me/heat)
arguments+=(launcher.ranks.generate=32 launcher.ranks.validate=32 launcher.ranks.train=2 launcher.ranks.evaluate=2)
seconds=3480    # --time-limit less two minutes, in which a stage saves its work
submissions=20  # at most; a stage that makes no progress in a job would be submitted for ever

# Run a stage on several ranks. A complete stage is skipped. Two minutes before the limit of `flux run`, Flux sends
# SIGUSR1 to the ranks. Exit code 75 means that the work of the stage is saved, and that the next job continues.
stage() {
    limit=$((seconds > SECONDS ? seconds - SECONDS + 120 : 121))
    python -m pipeline.jobs.step "$1" "${arguments[@]}" \
        "launcher.mpirun=[flux,run,'--time-limit=${limit}s','--signal=SIGUSR1@120s']"
    code=$?
    if [ $code = 75 ] && [ "${SUBMISSION:=1}" -lt $submissions ]; then
        # `flux --parent` speaks to the instance of Flux to which this job was submitted.
        flux --parent batch --env=SUBMISSION=$((SUBMISSION + 1)) heat.flux
    fi
    [ $code = 0 ] || exit $code
}

stage generate
stage validate
stage train
stage evaluate
