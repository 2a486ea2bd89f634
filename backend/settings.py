"""Settings from environment variables; the service does not start with an invalid value."""

import ipaddress
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

from platformdirs import user_data_path
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.inference.runtimes import PrecisionChoice, RuntimeName
from backend.keys import ApiKey, parse_keys
from backend.telemetry import logs

Port = Annotated[int, Field(ge=0, le=65535)]
Days = Annotated[int, Field(ge=0, le=36_500)]
Workers = Annotated[int, Field(ge=1, le=64)]

SECRET_FIELDS: Final = frozenset({"database_url", "api_keys"})  # never shown, even if invalid

_DATABASE_URL: Final = re.compile(
    r"(sqlite:///.+|(postgres(ql)?|postgresql\+psycopg)://.*)", re.DOTALL
)

_BUCKET_URL: Final = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9._/-]*)?")

# Protocols of other services, each a module of backend.api.compat; all but the last are on.
PROTOCOLS: Final = (
    "open-inference",
    "vertex",
    "tensorflow-serving",
    "torchserve",
    "huggingface",
    "mcp",
)

ANY_HOST: Final = "*"
_ROUTE: Final = re.compile(r"(/[A-Za-z0-9._~:-]+)+/?")
_HOST_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[?[0-9a-f:.]+\]?")


class Settings(BaseSettings):
    """Settings, read from variables named PRISM_ plus the field's name in capitals.

    PORT, WEB_CONCURRENCY and the names that begin with AIP_ are those that cloud platforms use.
    """

    model_config = SettingsConfigDict(env_prefix="PRISM_", frozen=True, populate_by_name=True)

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container")
    allowed_hosts: str = Field(
        "",
        description="host names under which clients may use the service, comma-separated, besides "
        "those of this machine, such as localhost; *: all, also from pages of other websites; "
        "empty: those of this machine if PRISM_HOST is a loopback address, else all",
    )
    trusted_proxies: NonNegativeInt = Field(
        0,
        description="number of proxies in front of the service that append to X-Forwarded-For, "
        "which then names the client; Cloud Run: 1",
    )
    port: Port = Field(8000, validation_alias="PORT", description="port to listen on")
    workers: Workers = Field(
        1, validation_alias="WEB_CONCURRENCY", description="number of worker processes, at most 64"
    )
    max_connections: PositiveInt = Field(
        1000,
        description="open connections per process; further ones replace the slowest or get a 503",
    )
    header_timeout: PositiveFloat = Field(
        10.0, description="seconds to receive a request's headers; then the connection is closed"
    )
    write_timeout: PositiveFloat = Field(
        30.0, description="seconds without progress of a response that is sent, then it is cut off"
    )
    protocols: str = Field(
        ",".join(PROTOCOLS[:-1]),
        description="protocols of other services that clients can use, comma-separated: "
        f"{', '.join(PROTOCOLS[:-1])} or {PROTOCOLS[-1]}; empty: none",
    )
    grpc_port: Port = Field(
        0, description="port of the Open Inference Protocol over gRPC; 0: not served"
    )
    aip_http_port: Port = Field(
        0,
        validation_alias="AIP_HTTP_PORT",
        description="port to listen on instead of PORT, set by Vertex AI; 0: PORT",
    )
    aip_health_route: str = Field(
        "",
        validation_alias="AIP_HEALTH_ROUTE",
        description="path of the health check of Vertex AI, which sets it; empty: none",
    )
    aip_predict_route: str = Field(
        "",
        validation_alias="AIP_PREDICT_ROUTE",
        description="path of the predictions of Vertex AI, which sets it; empty: none",
    )
    models_dir: Path = Field(Path("models"), description="folder with the model folders")
    models: str = Field(
        "",
        description="models to serve, comma-separated, each a folder name or name=address; "
        "empty: all folders in PRISM_MODELS_DIR",
    )
    default_model: str = Field(
        "",
        description="model for requests that name none; empty: auto if at least two models of "
        "PRISM_AUTO_MODELS are served, else mnist-cnn, else the first by name",
    )
    auto_models: str = Field(
        "mnist-cnn,photos",
        description="models that the model name auto asks in order, comma-separated; the first "
        "for which the image is in distribution classifies it, else the last",
    )
    preload: bool = Field(
        False,
        description="true: load all models at startup; false: the default model, of auto the first "
        "one, and others when first asked for",
    )
    runtime: RuntimeName = Field(
        "auto",
        description="auto, onnx, openvino or torch; auto: torch on a GPU, else onnx, or openvino "
        "where it is installed and measured to be faster",
    )
    precision: PrecisionChoice = Field(
        "auto",
        description="auto: int8 where a model has a quantized graph that is measured to be faster "
        "and to give the same answers; fp32: never",
    )
    timeout: PositiveFloat = Field(
        5.0,
        description="seconds from the received image to the response, else 504; a request can set "
        "a shorter one; also the longest wait for a model that is loading",
    )
    body_timeout: PositiveFloat = Field(
        30.0, description="seconds to receive a request's body, else 408"
    )
    max_bytes: PositiveInt = Field(30_000_000, description="maximum size of an image file in bytes")
    max_pixels: PositiveInt = Field(50_000_000, description="maximum number of pixels of an image")
    max_batch_bytes: PositiveInt = Field(
        100_000_000, description="maximum size of a request to /classify/batch in bytes"
    )
    queue_size: PositiveInt = Field(
        512, description="images in flight per model; further ones get a 429"
    )
    max_batch: PositiveInt = Field(32, description="maximum number of images in a forward pass")
    threads: NonNegativeInt = Field(
        0, description="number of processors to use; 0: the container's limit"
    )
    measure: bool = Field(
        True, description="true: measure the best use of threads and batches while idle"
    )
    scaled_decoding: bool = Field(
        True,
        description="true: decode JPEG, HEIC, AVIF, TIFF and JPEG 2000 at reduced scale if the "
        "model's input is small",
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("prism"),
        description="folder for the history, plans and fetched models; "
        "default: the user's data folder",
    )
    history: bool = Field(True, description="true: store classifications in the history")
    history_open: bool = Field(
        False, description="true: the history is accessible without an API key"
    )
    history_images: bool = Field(
        False, description="true: store a thumbnail of each image, at most 256 pixels wide and high"
    )
    history_days: Days = Field(
        30, description="days after which classifications are deleted; 0: never"
    )
    models_open: bool = Field(
        False,
        description="true: taught models can be added, replaced and deleted without an API key; "
        "only if PRISM_HOST is a loopback address",
    )
    model_store: str = Field(
        "",
        description="where versions of taught models are kept: a folder, or gs://BUCKET/PREFIX, "
        "which several instances can share; empty: the folder registry in PRISM_DATA_DIR",
    )
    model_store_max_bytes: PositiveInt = Field(
        2_000_000_000, description="maximum size of all versions of taught models in bytes"
    )
    database_url: str = Field(
        "",
        repr=False,
        description="database of the history: sqlite:///FILE or "
        "postgresql://USER:PASSWORD@HOST/NAME; empty: history.db in PRISM_DATA_DIR",
    )
    api_keys: str = Field(
        "",
        repr=False,
        description="the accepted API keys, comma-separated: SHA-256 hashes in hexadecimal, or "
        "NAME=HASH, each with the options ;scopes=classify+history+models, ;requests=N and "
        ";megapixels=N per minute; empty: no key is required",
    )
    source_timeout: PositiveFloat = Field(
        300.0, description="seconds to fetch a model from its address, else it fails"
    )
    source_poll: NonNegativeFloat = Field(
        60.0,
        description="seconds between checks whether an alias of a model in an MLflow or W&B "
        "registry refers to another version, which then replaces the model; 0: only after SIGHUP",
    )
    source_max_bytes: PositiveInt = Field(
        2_000_000_000, description="maximum size of a fetched model in bytes"
    )
    cache_max_bytes: NonNegativeInt = Field(
        10_000_000_000,
        description="maximum size of all fetched models in bytes; the least recently used are "
        "deleted",
    )
    allow_private_sources: bool = Field(
        False, description="true: models may come from private networks and over http"
    )
    log_format: logs.Format = Field(
        "auto", description="auto, json or text; auto: text on a terminal, else json"
    )
    log_level: logs.Level = Field(
        "info", description="minimum level of log lines: debug, info, warning or error"
    )

    @property
    def http_port(self) -> int:
        """The port to listen on."""
        return self.aip_http_port or self.port

    @property
    def enabled_protocols(self) -> tuple[str, ...]:
        """The names in `protocols`."""
        return tuple(filter(None, self.protocols.split(",")))

    @property
    def accepted_keys(self) -> tuple[ApiKey, ...]:
        """The keys in `api_keys`."""
        return parse_keys(self.api_keys)

    @property
    def is_local(self) -> bool:
        """Return whether the service listens on the loopback interface only."""
        return is_loopback(self.host)

    @property
    def allowed_host_names(self) -> tuple[str, ...]:
        """The names in `allowed_hosts`."""
        return tuple(part.strip("[]") for part in self.allowed_hosts.split(",") if part)

    def describe_hosts(self) -> str:
        """Return for the log which host names the service accepts, and which setting says so."""
        local = "localhost and other names of this machine"
        if self.allowed_hosts == ANY_HOST:
            return "all, also from pages of other websites (PRISM_ALLOWED_HOSTS=*)"
        if self.allowed_hosts:
            return f"{', '.join(self.allowed_host_names)}, {local} (PRISM_ALLOWED_HOSTS)"
        if self.is_local:
            return f"{local} (PRISM_ALLOWED_HOSTS is empty)"
        return "all (PRISM_ALLOWED_HOSTS is empty, and PRISM_HOST is not a loopback address)"

    @field_validator("allowed_hosts")
    @classmethod
    def _validate_allowed_hosts(cls, value: str) -> str:
        names = [part.strip().lower() for part in value.split(",") if part.strip()]
        if names != [ANY_HOST] and not all(map(_HOST_NAME.fullmatch, names)):
            raise PydanticCustomError(
                "allowed_hosts",
                "must be comma-separated host names without scheme and port, such as "
                "prism.example.com, or * alone",
            )
        return ",".join(names)

    @field_validator("protocols")
    @classmethod
    def _validate_protocols(cls, value: str) -> str:
        names = [part.strip().lower() for part in value.split(",") if part.strip()]
        for name in names:
            if name not in PROTOCOLS:
                raise PydanticCustomError(
                    "protocols",
                    "{name} is not a protocol; use {known}, comma-separated",
                    {"name": name[:100], "known": ", ".join(PROTOCOLS)},
                )
        if "mcp" in names and find_spec("mcp") is None:
            raise PydanticCustomError(
                "protocols", "mcp requires its SDK: pip install -r requirements/mcp.txt"
            )
        return ",".join(dict.fromkeys(names))

    @field_validator("grpc_port")
    @classmethod
    def _validate_grpc_port(cls, value: int, info: ValidationInfo) -> int:
        if value and "open-inference" not in info.data.get("protocols", ""):
            raise PydanticCustomError("grpc_port", "requires open-inference in PRISM_PROTOCOLS")
        if value and (find_spec("grpc") is None or find_spec("grpc_health") is None):
            raise PydanticCustomError(
                "grpc_port", "requires gRPC: pip install -r requirements/grpc.txt"
            )
        return value

    @field_validator("aip_health_route", "aip_predict_route")
    @classmethod
    def _validate_route(cls, value: str) -> str:
        if value and not _ROUTE.fullmatch(value):
            raise PydanticCustomError("route", "must be a path such as /v1/predict")
        return value

    @field_validator("api_keys")
    @classmethod
    def _validate_api_keys(cls, value: str) -> str:
        try:
            parse_keys(value)
        except ValueError as error:
            raise PydanticCustomError("api_keys", "{reason}", {"reason": str(error)}) from error
        return value.strip()

    @field_validator("model_store")
    @classmethod
    def _validate_model_store(cls, value: str) -> str:
        if "://" in value and not _BUCKET_URL.fullmatch(value):
            raise PydanticCustomError("model_store", "must be a folder or gs://BUCKET/PREFIX")
        return value.rstrip("/")

    @field_validator("models_open")
    @classmethod
    def _validate_models_open(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not is_loopback(info.data.get("host", "")):
            raise PydanticCustomError(
                "models_open",
                "requires that PRISM_HOST is a loopback address, because everyone who reaches the "
                "service could replace its taught models; create a key with the scope models "
                "instead: python -m backend.keys --scopes classify+history+models",
            )
        return value

    @field_validator("database_url")
    @classmethod
    def _validate_database_url(cls, value: str) -> str:
        if value and not _DATABASE_URL.fullmatch(value):
            raise PydanticCustomError(
                "database_url",
                "must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
            )
        if value.startswith("postgres") and find_spec("psycopg") is None:
            raise PydanticCustomError(
                "database_url",
                "PostgreSQL requires psycopg: pip install -r requirements/postgres.txt",
            )
        return value


def is_loopback(name: str) -> bool:
    """Return whether the host name or address `name` always means this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
