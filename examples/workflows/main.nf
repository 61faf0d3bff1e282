// A chain for each seed, and a table of their errors.
//
//     nextflow run examples/workflows/main.nf --experiment heat_fno --folder /scratch/me --seeds 1,2 --launcher site
//
// The run folders lie outside of Nextflow's work folder, because a chain continues in its run folder.

params.launcher = "local"
params.options = ""

process CHAIN {
    // The process only waits for the jobs of the chain.
    executor "local"

    input:
    val seed

    output:
    val "${params.folder}/seed-${seed}"

    script:
    def run = "${params.folder}/seed-${seed}"
    def wait = params.launcher == "local" ? "true" : "python -m pipeline.chain wait run=${run}"
    """
    python -m pipeline.chain experiment=${params.experiment} launcher=${params.launcher} seed=${seed} run=${run} ${params.options}
    ${wait}
    """
}

process COMPARE {
    executor "local"

    input:
    val runs

    output:
    stdout

    script:
    """
    python -m pipeline.compare ${runs.join(" ")}
    """
}

workflow {
    seeds = Channel.fromList(params.seeds.toString().tokenize(","))
    COMPARE(CHAIN(seeds).collect()).view()
}
