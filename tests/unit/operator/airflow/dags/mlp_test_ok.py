"""DAGs that a real Airflow needs for these tests: one task each, which does what the run's conf says.

``sleep`` (seconds) and ``fail`` (true) are understood.
"""

import time

from airflow.sdk import DAG, task

TAGS = ["mlpipelines.dev", "mlpipelines.dev/dag-hash=0123456789"]

for dag_id in ("mlp-test.ok", "mlp-test.ok-too"):
    with DAG(dag_id, schedule=None, tags=TAGS if dag_id == "mlp-test.ok" else TAGS[:1], catchup=False):

        @task
        def train(**context):
            conf = context["dag_run"].conf or {}
            print("hello from the training")
            time.sleep(float(conf.get("sleep", 0)))
            if conf.get("fail"):
                raise RuntimeError("the loss became NaN")
            context["ti"].xcom_push("metrics", {"val_accuracy": "0.981"})

        train()
