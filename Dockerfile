# An image for tasks that need no packages beside mapred's own: docker build --tag mapred .
# Git stays outside: --build-arg VERSION=0.2.0 names the version, else it is that of a checkout.
FROM python:3.12-slim AS wheel
ARG VERSION=
ENV SETUPTOOLS_SCM_PRETEND_VERSION=$VERSION
COPY pyproject.toml hatch_build.py README.md LICENSE /source/
COPY mapred /source/mapred
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/mapred-*.whl)[s3,oss,argo,pandas]"
RUN useradd --uid 10001 --create-home mapred
USER 10001
WORKDIR /home/mapred
CMD ["mapred", "--help"]
