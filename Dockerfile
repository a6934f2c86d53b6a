# syntax=docker/dockerfile:1
# One file, two images: `service` (the HTTP API) and `worker` (one training process).
#
# TORCH_INDEX_URL names the package index that torch is taken from. Empty takes pip's own configuration, which on
# x86-64 Linux is the CUDA build. For a CPU-only image give PyTorch's index of CPU wheels, or mount a folder with a CPU
# wheel at WHEELS while building.

FROM docker.io/library/python:3.11-slim-bookworm AS build
ARG TORCH_INDEX_URL=""
ARG WHEELS=/opt/wheels
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python -m venv /opt/factrfm
COPY constraints.txt ./
RUN /opt/factrfm/bin/pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} --find-links "$WHEELS" \
    -c constraints.txt torch \
 && /opt/factrfm/bin/pip install -c constraints.txt numpy
COPY pyproject.toml README.md ./
COPY service service
COPY worker worker
RUN /opt/factrfm/bin/pip install -c constraints.txt ".[onnx,s3]" \
 && /opt/factrfm/bin/pip uninstall -y pip

FROM docker.io/library/python:3.11-slim-bookworm AS base
RUN useradd --system --uid 10001 --create-home --home-dir /home/factrfm factrfm \
 && install -d -o factrfm -g factrfm /data
COPY --from=build /opt/factrfm /opt/factrfm
ENV PATH=/opt/factrfm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    FACTRFM_HOME=/data
USER 10001
WORKDIR /home/factrfm

FROM base AS worker
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["factrfm", "check", "--worker"]
ENTRYPOINT ["factrfm", "worker"]

FROM base AS service
ENV FACTRFM_HOST=0.0.0.0 FACTRFM_PORT=8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["factrfm", "check"]
ENTRYPOINT ["factrfm", "serve"]
