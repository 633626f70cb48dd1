# docker build -t teamcache-gateway .
# With the PostgreSQL that `standalone` runs: docker build --build-arg EXTRAS=embedded -t … .
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS builder
ARG EXTRAS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Without pip: nothing in the finished image needs it.
RUN python -m venv --without-pip /opt/teamcache-gateway
COPY pyproject.toml README.md LICENSE ./
# An empty package brings the dependencies, so that their layer outlives a change of our code.
RUN mkdir gateway && touch gateway/__init__.py \
    && pip --python /opt/teamcache-gateway/bin/python install --quiet ".${EXTRAS:+[$EXTRAS]}"
COPY gateway gateway
RUN pip --python /opt/teamcache-gateway/bin/python install --quiet --no-deps --force-reinstall .

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="TeamCache gateway" \
      org.opencontainers.image.licenses="MIT"
# A number, not a name: Kubernetes can tell from it that this is not root. The account needs a
# name all the same, PostgreSQL asks for one.
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/teamcache-gateway \
       --shell /usr/sbin/nologin gateway \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/teamcache-gateway
COPY --from=builder /opt/teamcache-gateway /opt/teamcache-gateway
COPY config.toml /etc/teamcache-gateway/config.toml
# XDG_DATA_HOME: `standalone` keeps its database in /var/lib/teamcache-gateway; mount a volume there.
ENV PATH=/opt/teamcache-gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_DATA_HOME=/var/lib \
    API_GATEWAY_CONFIG=/etc/teamcache-gateway/config.toml
WORKDIR /var/lib/teamcache-gateway
USER 10001:10001
EXPOSE 8095
STOPSIGNAL SIGTERM
# http.client and not urllib: a proxy in the environment must not answer for us. `worker` serves
# nothing, so its containers need --no-healthcheck. It asks by HTTPS if TLS_CERTIFICATE is in the
# environment (a config.toml is not looked at), whatever name the certificate has: it is we there.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os, ssl, sys; e = os.environ.get; a = e('API_GATEWAY_HOST') or '127.0.0.1', int(e('API_GATEWAY_PORT') or 8095); c = h.HTTPSConnection(*a, timeout=4, context=ssl._create_unverified_context()) if e('TLS_CERTIFICATE') else h.HTTPConnection(*a, timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["teamcache-gateway"]
CMD ["serve"]
