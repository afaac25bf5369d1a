"""The MLPipeline operator: reconciles MLPipelines into Airflow, DAGs and training runs."""
