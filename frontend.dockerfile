# The frontend. It finds the backend by itself on Cloud Run; elsewhere set BACKEND to its address:
#   docker build -f frontend.dockerfile -t prism-frontend .

# ---- packages: the slow layers, which only a change of the requirements rebuilds.
# Bytecode is compiled here because the root is read-only later. Some packages contain files for other
# versions of Python, which fail to compile; this is not an error. Tests, build tools, headers, type stubs
# and source maps of packages are removed, and Arrow's network protocols and copies of its libraries.
FROM python:3.11-slim AS packages
WORKDIR /build
RUN python -m venv --without-pip /opt/prism
# OTEL=1 adds support for traces, POSTGRES=1 for PostgreSQL in PRISM_PAGE_STORE.
ARG OTEL=
ARG POSTGRES=
# Only wheels with the recorded hashes are installed; `make lock` updates the lock files.
COPY requirements/frontend.lock requirements/otel.lock requirements/postgres.lock requirements/
RUN pip --python /opt/prism/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes --only-binary :all: \
        -r requirements/frontend.lock ${OTEL:+-r requirements/otel.lock} ${POSTGRES:+-r requirements/postgres.lock} \
    && pip --python /opt/prism/bin/python check \
    && find /opt/prism/lib -type d \( -name tests -o -path '*/pydeck/nbextension' \
            -o -path '*/numpy/distutils' -o -path '*/mpl-data/sample_data' -o -path '*/sqlalchemy/testing' \
            -o -path '*/pyarrow/src' -o -path '*/streamlit/testing' \
            -o -path '*/sklearn/datasets/data' -o -path '*/sklearn/datasets/images' \
            -o -regex '.*/sqlalchemy/dialects/\(mssql\|mysql\|oracle\)' \
            -o -regex '.*/fontTools/\(cu2qu\|designspaceLib\|feaLib\|merge\|otlLib\|qu2cu\|ufoLib\|varLib\|voltLib\)' \) -prune -exec rm -r {} + \
    && find /opt/prism/lib -type f -regex '.*\.\(map\|pyi\|pyx\|pxd\|c\|h\|hpp\|a\)\|.*/pyarrow/[^/]*\(flight\|_s3\)[^/]*\|.*/pyarrow/libarrow_[^/]*\.so\(\.[0-9]*\.[0-9.]*\)?' -delete \
    && { /opt/prism/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/prism/lib || true; }
RUN /opt/prism/bin/python -B -c 'import pyarrow.compute, streamlit.web.cli, altair, av, google.cloud.run_v2, matplotlib.pyplot, scipy.stats, sklearn.metrics, pi_heif, authlib.integrations.starlette_client, sqlalchemy.orm, msgspec'

# ---- the service: code only, no build tools, any numeric user, read-only root
FROM python:3.11-slim
LABEL org.opencontainers.image.title="Prism frontend" \
      org.opencontainers.image.description="A web page to upload, draw and classify images" \
      org.opencontainers.image.licenses="Apache-2.0"
# The standard library of the base image has no bytecode, which costs a second at every start.
# A volume mounted on /data, for PRISM_PAGE_STORE, belongs to the service.
RUN python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(site-packages|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo)/' \
        /usr/local/lib/python3.11 \
    && install -d -o 10001 -g 10001 /data
# The malloc threshold returns the memory of uploads to the system.
ENV PATH=/opt/prism/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MALLOC_MMAP_THRESHOLD_=131072 \
    PORT=8501
COPY --from=packages /opt/prism /opt/prism
WORKDIR /app
COPY .streamlit/ .streamlit/
COPY calibration/ calibration/
COPY client/ client/
COPY evaluation/ evaluation/
COPY frontend/ frontend/
COPY teach/ teach/
RUN python -m compileall -q --invalidation-mode unchecked-hash calibration client evaluation frontend teach
USER 10001:10001
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); c.request('GET', '/_stcore/health'); sys.exit(c.getresponse().status != 200)"]
CMD ["sh", "-c", "exec python -m streamlit run frontend/app.py --server.address=0.0.0.0 --server.port=\"$PORT\" --server.fileWatcherType=none --browser.serverAddress=localhost"]
