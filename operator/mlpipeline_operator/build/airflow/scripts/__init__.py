"""Programs for Airflow's containers, delivered with the manifests. The operator never imports them."""
