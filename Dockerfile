# One image for every part; docker-compose.yml says which part each container runs.
# Written where no container engine was to be had: the image itself was not built. Its install steps
# were tried in a virtual environment of Python 3.12, and tests/processes/test_containers.py runs the
# parts from a copy of just the files that are copied here.
FROM python:3.12.11-slim-bookworm

WORKDIR /srv/exchange
COPY requirements-installer.lock requirements.lock requirements-full.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-installer.lock \
    && uv pip install --system --no-cache --require-hashes -r requirements.lock

COPY pyproject.toml LICENSE ./
COPY server server
COPY clients clients
COPY gateway gateway
COPY proto proto
COPY migrations migrations
COPY deploy deploy
RUN uv pip install --system --no-cache --no-deps --no-build-isolation -e . \
    && python -m compileall -q server clients gateway proto/gen \
    && useradd --system --uid 10001 --home-dir /var/lib/exchange --create-home exchange

USER exchange
ENV EXCHANGE_DATA_DIR=/var/lib/exchange PYTHONUNBUFFERED=1
ENTRYPOINT ["exchange"]
# On the loopback interface of the container; to be reached through a published port it needs
# `up --host 0.0.0.0 --insecure-public`, and a volume at /var/lib/exchange to be there tomorrow.
CMD ["up"]
