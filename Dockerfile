# sbmlump in a container: docker build -t sbmlump . && docker run --rm -v "$PWD:/models" sbmlump reduce model.xml --observe X -o small.xml
FROM python:3.12-slim AS build
COPY . /source
RUN python -m venv /opt/sbmlump && /opt/sbmlump/bin/pip install --no-cache-dir "/source[antimony,compiled,cvode,survey]"

FROM python:3.12-slim
# what the simulators' libraries need beside the C library
RUN apt-get update && apt-get install -y --no-install-recommends libncurses6 libxml2 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/sbmlump /opt/sbmlump
RUN useradd --create-home modeller && mkdir /models && chown modeller /models
USER modeller
WORKDIR /models
ENV PATH=/opt/sbmlump/bin:$PATH OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLBACKEND=Agg
ENTRYPOINT ["sbmlump"]
CMD ["--help"]
