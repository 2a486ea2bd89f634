# The backend. The default target serves with ONNX Runtime and does not contain torch:
#   docker build -f backend.dockerfile -t prism-backend .
# For `python -m bulk`, locally, as a Cloud Run Job or on Ray:
#   docker build -f backend.dockerfile --target bulk -t prism-bulk .
# With torch (PRISM_RUNTIME=torch), in CPU builds unless TORCH_INDEX names another index:
#   docker build -f backend.dockerfile --target torch -t prism-backend:torch .

# ---- packages: the slow layers, which only a change of the requirements rebuilds.
# Bytecode is compiled here because the root is read-only later. Some packages contain files for other
# versions of Python, which fail to compile; this is not an error. Tests, build tools, headers and type
# stubs of packages are removed.
FROM python:3.11-slim AS packages
WORKDIR /build
RUN python -m venv --without-pip /opt/prism
# GCS=1 adds support for gs:// addresses, OTEL=1 for traces, POSTGRES=1 for PostgreSQL,
# GRPC=1 for PRISM_GRPC_PORT, MCP=1 for mcp in PRISM_PROTOCOLS.
ARG GCS=
ARG OTEL=
ARG POSTGRES=
ARG GRPC=
ARG MCP=
# Only wheels with the recorded hashes are installed; `make lock` updates the lock files.
COPY requirements/serving.lock requirements/gcs.lock requirements/otel.lock requirements/postgres.lock requirements/grpc.lock requirements/mcp.lock requirements/
RUN pip --python /opt/prism/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes --only-binary :all: \
        -r requirements/serving.lock ${GCS:+-r requirements/gcs.lock} \
        ${OTEL:+-r requirements/otel.lock} ${POSTGRES:+-r requirements/postgres.lock} \
        ${GRPC:+-r requirements/grpc.lock} ${MCP:+-r requirements/mcp.lock} \
    && pip --python /opt/prism/bin/python check \
    && find /opt/prism/lib -type d \( -name tests -o -path '*/sqlalchemy/testing' \
            -o -path '*/numpy/distutils' -o -path '*/numpy/f2py' -o -path '*/onnx/backend' \) -prune -exec rm -r {} + \
    && find /opt/prism/lib -type f -regex '.*\.\(pyi\|pyx\|pxd\|c\|h\|hpp\|a\)' -delete \
    && { /opt/prism/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/prism/lib || true; }

FROM packages AS packages-torch
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements_backend.txt ./
COPY requirements/serving.txt requirements/gcs.txt requirements/
RUN { test -z "$TORCH_INDEX" \
      || pip --python /opt/prism/bin/python install --no-cache-dir --no-compile --no-deps \
           --index-url "$TORCH_INDEX" --retries 0 --timeout 10 \
           -c requirements_backend.txt torch torchvision \
      || echo "TORCH_INDEX does not answer; using the default registry"; } \
    && pip --python /opt/prism/bin/python install --no-cache-dir --no-compile -r requirements_backend.txt \
    && { /opt/prism/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/prism/lib || true; }

# Ray's dashboard accepts the jobs of KubeRay.
FROM packages AS packages-bulk
COPY requirements/bulk.txt requirements/bulk-cloud.txt requirements/bulk-ray.txt requirements/evaluation.txt requirements/
RUN pip --python /opt/prism/bin/python install --no-cache-dir --no-compile -r requirements/bulk.txt \
        -r requirements/bulk-cloud.txt -r requirements/bulk-ray.txt -r requirements/evaluation.txt "ray[default]" \
    && { /opt/prism/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/prism/lib || true; }

# ---- common base: no build tools, any numeric user, read-only root
FROM python:3.11-slim AS base
LABEL org.opencontainers.image.title="Prism backend" \
      org.opencontainers.image.description="Classifies images over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
# The standard library of the base image has no bytecode, which costs a second at every start.
# A volume mounted on /data belongs to the service. KubeRay starts Ray in a login shell, which sets PATH anew.
RUN python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(site-packages|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo)/' \
        /usr/local/lib/python3.11 \
    && install -d -o 10001 -g 10001 /data \
    && echo "export PATH=/opt/prism/bin:\$PATH" > /etc/profile.d/prism.sh
ENV PATH=/opt/prism/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PORT=8000 \
    PRISM_HOST=0.0.0.0 \
    PRISM_DATA_DIR=/tmp/prism
WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "backend"]

FROM python:3.11-slim AS code
WORKDIR /app
COPY backend/ backend/
COPY calibration/ calibration/
RUN python -m compileall -q --invalidation-mode unchecked-hash backend calibration

# MODELS: folders of models/ to include, separated by commas; empty: all.
FROM python:3.11-slim AS models
ARG MODELS=
WORKDIR /all
COPY models/ ./
RUN mkdir /models \
    && IFS=', ' \
    && for name in ${MODELS:-*}; do test -z "$name" || cp -r "$name" /models/ || exit 1; done \
    && ls /models/*/manifest.json

# ---- targets: models last, so that a new model rebuilds neither the packages nor the code
FROM base AS torch
COPY --from=packages-torch /opt/prism /opt/prism
COPY --from=code /app ./
COPY --from=models /models models/

FROM base AS bulk
COPY --from=packages-bulk /opt/prism /opt/prism
COPY --from=code /app ./
COPY bulk/ bulk/
COPY evaluation/ evaluation/
COPY --from=models /models models/
HEALTHCHECK NONE
CMD ["python", "-m", "bulk", "--help"]

FROM base AS serving
COPY --from=packages /opt/prism /opt/prism
COPY --from=code /app ./
COPY --from=models /models models/
