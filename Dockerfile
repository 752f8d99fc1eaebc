# One image for every part; docker-compose.yml says which part each container runs.
# Written where no container engine was to be had: the install steps were tried in a virtual
# environment of Python 3.12, the image itself was not built.
FROM python:3.12-slim

WORKDIR /srv/exchange
COPY requirements-installer.lock requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-installer.lock \
    && uv pip install --system --no-cache --require-hashes -r requirements.lock

COPY pyproject.toml LICENSE ./
COPY server server
COPY clients clients
COPY gateway gateway
COPY proto proto
RUN uv pip install --system --no-cache --no-deps --no-build-isolation -e . \
    && python -m compileall -q server clients gateway proto/gen \
    && useradd --system --uid 10001 --home-dir /var/lib/exchange --create-home exchange

USER exchange
ENV EXCHANGE_DATA_DIR=/var/lib/exchange
VOLUME /var/lib/exchange
ENTRYPOINT ["exchange"]
CMD ["up"]
