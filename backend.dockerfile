# The backend. The default target serves with ONNX Runtime and holds no torch:
#   docker build -f backend.dockerfile -t prism-backend .
# With torch as well (PRISM_RUNTIME=torch), CPU builds unless TORCH_INDEX says otherwise:
#   docker build -f backend.dockerfile --target torch -t prism-backend:torch .

# ---- packages: only these layers are slow, and only a requirements file changes them.
# Bytecode is made here: with a read-only root it could not be kept later. Packages ship a file or
# two for other versions of Python; that those do not compile is no error. Left out is what nothing
# here runs: the packages' own tests, headers and types.
FROM python:3.11-slim AS packages
WORKDIR /build
RUN python -m venv --without-pip /opt/prism
# GCS=1 adds what models at gs:// addresses need, OTEL=1 what traces need, POSTGRES=1 what a history
# in PostgreSQL needs.
ARG GCS=
ARG OTEL=
ARG POSTGRES=
COPY requirements/serving.txt requirements/gcs.txt requirements/otel.txt requirements/postgres.txt requirements/
RUN pip --python /opt/prism/bin/python install --no-cache-dir --no-compile \
        -r requirements/serving.txt ${GCS:+-r requirements/gcs.txt} \
        ${OTEL:+-r requirements/otel.txt} ${POSTGRES:+-r requirements/postgres.txt} \
    && find /opt/prism/lib -type d -name tests -prune -exec rm -r {} + \
    && find /opt/prism/lib -type f -regex '.*\.\(pyi\|pyx\|pxd\|h\|hpp\|a\)' -delete \
    && { /opt/prism/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/prism/lib || true; }

FROM packages AS packages-torch
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements_backend.txt ./
RUN { test -z "$TORCH_INDEX" \
      || pip --python /opt/prism/bin/python install --no-cache-dir --no-compile --no-deps \
           --index-url "$TORCH_INDEX" --retries 0 --timeout 10 \
           -c requirements_backend.txt torch torchvision \
      || echo "TORCH_INDEX does not answer; using the default registry"; } \
    && pip --python /opt/prism/bin/python install --no-cache-dir --no-compile -r requirements_backend.txt \
    && { /opt/prism/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/prism/lib || true; }

# ---- what both targets share: no build tools, any numeric user, read-only root
FROM python:3.11-slim AS base
LABEL org.opencontainers.image.title="Prism backend" \
      org.opencontainers.image.description="Classifies images over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
# The base image's standard library comes without bytecode, which costs a second at every start.
# The thresholds (12 and 32 MiB) give the memory of large pictures back to the system once they are
# done with, and keep that of small ones, which would cost a fifth of the time to get anew. One arena:
# each would keep its own.
# A volume mounted on /data belongs to the service.
RUN python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(site-packages|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo)/' \
        /usr/local/lib/python3.11 \
    && install -d -o 10001 -g 10001 /data
ENV PATH=/opt/prism/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MALLOC_MMAP_THRESHOLD_=12582912 \
    MALLOC_TRIM_THRESHOLD_=33554432 \
    MALLOC_ARENA_MAX=1 \
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

# MODELS names the folders in models/ that the image holds, separated by commas; empty: all.
FROM python:3.11-slim AS models
ARG MODELS=
WORKDIR /all
COPY models/ ./
RUN mkdir /models \
    && IFS=', ' \
    && for name in ${MODELS:-*}; do test -z "$name" || cp -r "$name" /models/ || exit 1; done \
    && ls /models/*/manifest.json

# ---- the targets: packages first, so that a change of code copies only code again
FROM base AS torch
COPY --from=packages-torch /opt/prism /opt/prism
COPY --from=models /models models/
COPY --from=code /app ./

FROM base AS serving
COPY --from=packages /opt/prism /opt/prism
COPY --from=models /models models/
COPY --from=code /app ./
