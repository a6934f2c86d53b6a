# syntax=docker/dockerfile:1
# One file, three images: `service` (the HTTP API), `worker` (one training process) and `worker-cpu` (the same with the
# torch of the API, whose layers it then shares).
#
# Their layers are the stages below: what changes least comes first, so a change of our code ships our code alone.
#
#   TORCH_INDEX_URL      package index of the torch of `worker`. Empty takes pip's own configuration, which on x86-64
#                        Linux is the CUDA build.
#   CPU_TORCH_INDEX_URL  package index of the torch of the other two: PyTorch's index of CPU wheels. Empty takes pip's
#                        configuration, and the build ends with a word where that gives a CUDA build.
#   WHEELS               a folder with wheels of torch that is mounted while building; it wins.
ARG VERSION=0.1.0
ARG REVISION=""

FROM docker.io/library/python:3.11-slim-bookworm AS base
RUN useradd --system --uid 10001 --create-home --home-dir /home/factrfm factrfm \
 && install -d -m 0700 -o factrfm -g factrfm /data \
 && python -m venv --without-pip /opt/factrfm
ENV PATH=/opt/factrfm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    FACTRFM_HOME=/data
WORKDIR /home/factrfm
USER 10001

# --- what is built and not shipped: root installs, and what runs cannot write it

FROM base AS requirements
USER 0
COPY pyproject.toml constraints.txt docs/deploy/image/requirements.py /build/
RUN python /build/requirements.py /build /build
USER 10001

FROM base AS code
USER 0
WORKDIR /build
COPY pyproject.toml README.md ./
COPY service service
COPY worker worker
RUN pip --python /opt/factrfm/bin/python install --no-cache-dir --no-deps .
USER 10001

# --- torch

FROM base AS torch-cpu
ARG CPU_TORCH_INDEX_URL=""
ARG WHEELS=/opt/wheels
USER 0
COPY --from=requirements /build/torch.txt /build/
RUN --mount=type=bind,source=docs/deploy/image/install,target=/install \
    sh /install ${CPU_TORCH_INDEX_URL:+--index-url "$CPU_TORCH_INDEX_URL"} --find-links "$WHEELS" -r /build/torch.txt \
 && python -W ignore -c 'import sys, torch; sys.exit(torch.version.cuda and "a CUDA build of torch was found: \
give CPU_TORCH_INDEX_URL, which is the index of CPU wheels of PyTorch, or a folder with one as WHEELS")'
USER 10001

FROM base AS torch-gpu
ARG TORCH_INDEX_URL=""
ARG WHEELS=/opt/wheels
USER 0
COPY --from=requirements /build/torch.txt /build/
RUN --mount=type=bind,source=docs/deploy/image/install,target=/install \
    sh /install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} --find-links "$WHEELS" -r /build/torch.txt
USER 10001

# --- other packages: twice the same, over one torch and the other

FROM torch-cpu AS packages-cpu
USER 0
COPY constraints.txt /build/
COPY --from=requirements /build/packages.txt /build/
RUN --mount=type=bind,source=docs/deploy/image/install,target=/install \
    sh /install -c /build/constraints.txt -r /build/packages.txt
USER 10001

FROM torch-gpu AS packages-gpu
USER 0
COPY constraints.txt /build/
COPY --from=requirements /build/packages.txt /build/
RUN --mount=type=bind,source=docs/deploy/image/install,target=/install \
    sh /install -c /build/constraints.txt -r /build/packages.txt
USER 10001

# --- the images

FROM packages-gpu AS worker
ARG VERSION
ARG REVISION
COPY --from=code /opt/factrfm /opt/factrfm
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["factrfm", "check", "--worker"]
ENTRYPOINT ["factrfm", "worker"]
LABEL org.opencontainers.image.title="FACT-RFM worker" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM packages-cpu AS worker-cpu
ARG VERSION
ARG REVISION
COPY --from=code /opt/factrfm /opt/factrfm
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["factrfm", "check", "--worker"]
ENTRYPOINT ["factrfm", "worker"]
LABEL org.opencontainers.image.title="FACT-RFM worker" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM packages-cpu AS service
ARG VERSION
ARG REVISION
COPY --from=code /opt/factrfm /opt/factrfm
ENV FACTRFM_HOST=0.0.0.0 FACTRFM_PORT=8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["factrfm", "check"]
ENTRYPOINT ["factrfm", "serve"]
LABEL org.opencontainers.image.title="FACT-RFM API" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
