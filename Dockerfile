# The project's images; one target each: operator, airflow, trainer, postgres.
#
#   docker build --target operator -t mlpipeline-operator .
#
# BASE_IMAGE is any Debian trixie with python3 (3.13) and its venv module.
ARG BASE_IMAGE=python:3.13-slim

# ---------------------------------------------------------------------------------------------------------
# uv, in a virtual environment of its own; no later image keeps it.
FROM ${BASE_IMAGE} AS uv
ARG UV_VERSION=0.13.9
# Certificates and package index of the machine that builds, where it has its own; they reach no image.
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION}
ENV PATH=/opt/uv/bin:$PATH \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

# ---------------------------------------------------------------------------------------------------------
FROM uv AS operator-environment
ARG SSL_CERT_FILE
ARG UV_SYSTEM_CERTS
ARG UV_DEFAULT_INDEX
ARG UV_INDEX_URL
ARG UV_INDEX
COPY requirements/operator.txt /tmp/requirements.txt
RUN uv venv --quiet /opt/operator \
    && uv pip install --quiet --python /opt/operator/bin/python --require-hashes -r /tmp/requirements.txt \
    && echo /opt/mlpipeline > "$(/opt/operator/bin/python -c 'import site; print(site.getsitepackages()[0])')/mlpipeline.pth"

FROM ${BASE_IMAGE} AS operator
LABEL org.opencontainers.image.title="mlpipeline-operator" \
      org.opencontainers.image.description="Kubernetes operator for machine-learning pipelines on Airflow" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=operator-environment /opt/operator /opt/operator
ENV PATH=/opt/operator/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY operator/mlpipeline_operator /opt/mlpipeline/mlpipeline_operator
RUN python3 -m compileall -q /opt/mlpipeline
USER 65532:65532
ENTRYPOINT ["python3", "-m", "mlpipeline_operator"]

# ---------------------------------------------------------------------------------------------------------
FROM uv AS airflow-environment
ARG SSL_CERT_FILE
ARG UV_SYSTEM_CERTS
ARG UV_DEFAULT_INDEX
ARG UV_INDEX_URL
ARG UV_INDEX
COPY requirements/airflow.txt /tmp/requirements.txt
RUN uv venv --quiet /opt/airflow-venv \
    && uv pip install --quiet --python /opt/airflow-venv/bin/python --require-hashes -r /tmp/requirements.txt \
    && echo /opt/mlpipeline > "$(/opt/airflow-venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/mlpipeline.pth"

# What airflow and trainer share; the code comes last in each, so that a change of it copies nothing large.
FROM ${BASE_IMAGE} AS airflow-base
# Airflow wants a name for its user; group 0, as arbitrary user ids have it.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home airflow && chmod 0775 /opt/airflow
COPY --from=airflow-environment /opt/airflow-venv /opt/airflow-venv
# No bytecode is written at run time: it is keyed by whole seconds, and an edited DAG would be taken for the old one.
ENV PATH=/opt/airflow-venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/airflow

FROM airflow-base AS airflow
LABEL org.opencontainers.image.title="mlpipeline-airflow" \
      org.opencontainers.image.description="Apache Airflow with the DAG bundle of the MLPipeline operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY dags/mlpipeline_dags /opt/mlpipeline/mlpipeline_dags
RUN python3 -m compileall -q /opt/mlpipeline
USER 50000:0
CMD ["airflow", "version"]

# ---------------------------------------------------------------------------------------------------------
FROM uv AS trainer-environment
ARG SSL_CERT_FILE
ARG UV_SYSTEM_CERTS
ARG UV_DEFAULT_INDEX
ARG UV_INDEX_URL
ARG UV_INDEX
COPY requirements/trainer.txt /tmp/requirements.txt
RUN uv venv --quiet /opt/trainer \
    && uv pip install --quiet --python /opt/trainer/bin/python --require-hashes -r /tmp/requirements.txt \
    && echo /opt/trainer/lib/mlpipeline > "$(/opt/trainer/bin/python -c 'import site; print(site.getsitepackages()[0])')/mlpipeline.pth"

# A worker's image: Airflow runs the task, its child process trains in the environment that has TensorFlow.
FROM airflow-base AS trainer
LABEL org.opencontainers.image.title="mlpipeline-trainer" \
      org.opencontainers.image.description="Airflow worker with TensorFlow and the MLPipeline trainer" \
      org.opencontainers.image.licenses="Apache-2.0"
# For training.source.git. Certificates for https are the base image's.
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=trainer-environment /opt/trainer /opt/trainer
# MNIST, where the build has it; else the preset downloads it at run time. (The pattern may match nothing.)
COPY LICENSE build/dataset[s] /opt/datasets/
COPY dags/mlpipeline_dags /opt/mlpipeline/mlpipeline_dags
COPY trainer/mlpipeline_trainer /opt/trainer/lib/mlpipeline/mlpipeline_trainer
RUN python3 -m compileall -q /opt/mlpipeline /opt/trainer/lib/mlpipeline
USER 50000:0
CMD ["airflow", "version"]

# ---------------------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS postgres
LABEL org.opencontainers.image.title="mlpipeline-postgres" \
      org.opencontainers.image.description="PostgreSQL 17 of Debian, as the embedded database of an Airflow" \
      org.opencontainers.image.licenses="PostgreSQL"
# The packages' files without their maintainer scripts, and without the JIT: installing postgresql-17 pulls LLVM (130 MB)
# and ssl-cert, which writes to /etc/ssl/certs, and that may be the build machine's own, mounted read-only.
RUN apt-get update --quiet=2 \
    && apt-cache depends --important postgresql-17 postgresql-client-17 \
        | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | grep -v llvm | sort --unique \
        | xargs apt-get install --quiet=2 --yes --no-install-recommends \
    && cd /tmp && apt-get download --quiet=2 postgresql-17 postgresql-client-17 \
    && for package in postgresql*.deb; do dpkg --extract "$package" /; done \
    && rm -rf postgresql*.deb /usr/lib/postgresql/17/lib/bitcode /usr/lib/postgresql/17/lib/llvmjit* \
        /usr/share/doc/postgresql* /usr/share/locale/*/LC_MESSAGES/*-17.mo /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --uid 999 --user-group --home-dir /var/lib/postgresql --create-home postgres
COPY --chmod=0755 docker/postgres-entrypoint.sh /usr/local/bin/postgres-entrypoint
ENV PATH=/usr/lib/postgresql/17/bin:$PATH \
    PGDATA=/var/lib/postgresql/data/pgdata
USER 999:999
EXPOSE 5432
# Fast shutdown: roll back what is open and stop, rather than wait for every client to leave.
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
