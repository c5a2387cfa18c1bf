# syntax=docker/dockerfile:1
# The image of every service and coordinator: the library, the services of this repository, nothing that builds them.
#
#   docker build -t orchestra .
#   docker run --rm orchestra --help
#
# Which part a container runs is its command: `orchestra run <module>:<name>`.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/orchestra
WORKDIR /src
# What the library needs changes seldom: a layer of its own, exact versions.
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/constraints.txt
RUN mkdir orchestra && touch orchestra/__init__.py \
    && /opt/orchestra/bin/pip install --constraint .ci/constraints.txt '.[sql,postgres,health]' \
    && /opt/orchestra/bin/pip uninstall --yes orchestra
COPY orchestra orchestra
RUN /opt/orchestra/bin/pip install --no-deps .

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --no-create-home orchestra \
    && install -d -o orchestra /data
COPY --from=build /opt/orchestra /opt/orchestra
WORKDIR /app
COPY services services
ENV PATH=/opt/orchestra/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SERVICES_DATA=/data
USER orchestra
VOLUME /data
# exec form: the process is PID 1 and gets SIGTERM itself, so it drains.
ENTRYPOINT ["orchestra"]
CMD ["run", "services.food_delivery.app:app"]
