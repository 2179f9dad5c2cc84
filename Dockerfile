# syntax=docker/dockerfile:1
# The service and its policies, as an unprivileged user. compose.yaml shows how to run it.
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/cds
# The dependencies, with PostgreSQL's driver, exactly as locked; they change less often than the code.
COPY requirements.lock requirements-dev.lock ./
RUN /opt/cds/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && sed -n '/^psycopg/,/# via/p' requirements-dev.lock > postgresql.lock \
    && /opt/cds/bin/pip install --no-cache-dir --no-deps --require-hashes -r postgresql.lock
COPY . .
RUN /opt/cds/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/cds --create-home cds
COPY --from=build /opt/cds /opt/cds
USER cds
# Not where the service can write: nothing that it wrote may ever be found as code. PYTHONSAFEPATH says so too.
WORKDIR /opt/cds
ENV PATH=/opt/cds/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    CDS_DATABASE_URL=sqlite:////var/lib/cds/ledger.sqlite3 \
    CDS_HOST=0.0.0.0 \
    CDS_PORT=8000 \
    CDS_ADMIN_PORT=9000
EXPOSE 8000 9000
VOLUME /var/lib/cds
# Longer than CDS_SHUTDOWN_SECONDS, so that calls under way are finished: docker stop --time 30
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["cds-service"]
CMD ["serve"]
