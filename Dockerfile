# Two images: `gateway` is what runs in production, `demo` has the simulated fleet and the load tools besides.
#
#   docker build --target gateway -t hybrid-router-gateway:0.1.0 .
#   docker build --target demo -t hybrid-router-gateway-demo:0.1.0 .
#
# The base is named by its tag. Pin it where you build: `docker buildx imagetools inspect python:TAG` prints its digest,
# and `--build-arg PYTHON=TAG@sha256:DIGEST` takes it. All that is installed comes from locks with hashes.
ARG PYTHON=3.12.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv /opt/build && /opt/build/bin/python -m pip install --require-hashes -r requirements/build.txt
RUN python -m venv --without-pip /opt/gateway
RUN python -m pip --python /opt/gateway/bin/python install --require-hashes --only-binary :all: -r requirements/image.txt
COPY pyproject.toml LICENSE README.md ./
COPY gateway gateway
RUN /opt/build/bin/python -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /opt/dist .
RUN python -m pip --python /opt/gateway/bin/python install --no-index --no-deps /opt/dist/*.whl

FROM build AS demo-build
COPY requirements/load.txt requirements/
RUN python -m pip --python /opt/gateway/bin/python install --require-hashes --only-binary :all: -r requirements/load.txt

FROM python:${PYTHON} AS gateway
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hybrid router gateway" \
      org.opencontainers.image.description="One URL in front of your own GPUs and the APIs you overflow to" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A volume takes owner and mode of the folder that it is mounted on when it is first used.
RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip \
 && rm -rf /usr/local/lib/python3.*/ensurepip \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/gateway /var/lib/gateway-audit /var/lib/gateway-artefacts
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080 \
    GATEWAY_ADMIN_PORT=9090 \
    GATEWAY_POLICIES=/etc/gateway/policies \
    GATEWAY_DATA_DIR=/var/lib/gateway/data
# The root may be read-only: state lies below the volume, what lasts as long as a request in /tmp.
VOLUME /var/lib/gateway
WORKDIR /var/lib/gateway
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_PORT']), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]

FROM gateway AS demo
COPY --from=demo-build /opt/gateway /opt/gateway
COPY loadtests /srv/loadtests
COPY policies /srv/policies
ENV PYTHONPATH=/srv
WORKDIR /srv
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m"]
CMD ["loadtests.simfleet"]

# `docker build .` makes what production runs.
FROM gateway
