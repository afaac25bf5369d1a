"""A pipeline from its first apply to its deletion."""

from tests.integration.operator.support.site import Site


def test_a_pipeline_comes_up_runs_and_shows_its_metric(site: Site) -> None:
    site.start()
    site.api.apply(site.pipeline())
    run = site.triggered()
    assert run.conf["parameters"] == {"epochs": "3"}
    site.wait_ready("MLPipeline", "digits")
    site.succeed(run)
    status = site.wait_state("MLPipeline", "digits", "Succeeded")
    assert status["metric"] == "val_accuracy=0.9812"
    assert status["lastRun"]["name"] == "digits-1"
    assert site.status("MLPipelineRun", "digits-1")["model"]["digest"] == "sha256:abc"
