"""What Airflow's image needs beside Airflow: the DAG bundle, plain worker logs, the database's setup.

Runs inside Airflow's own environment and never imports the operator.
"""
