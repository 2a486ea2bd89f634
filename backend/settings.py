"""What can be set, from the environment; a value out of range refuses to boot."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

from platformdirs import user_data_path
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.inference.runtimes import RuntimeName
from backend.telemetry import logs

Port = Annotated[int, Field(ge=0, le=65535)]
Days = Annotated[int, Field(ge=0, le=36_500)]
Workers = Annotated[int, Field(ge=1, le=64)]

SECRET: Final = frozenset({"database_url", "api_keys"})  # not to be shown, not even where wrong

_DATABASES: Final = re.compile(
    r"(sqlite:///.+|(postgres(ql)?|postgresql\+psycopg)://.*)", re.DOTALL
)


class Settings(BaseSettings):
    """Read from variables named PRISM_ and the field's name in capitals.

    PORT and WEB_CONCURRENCY are called what platforms call them.
    """

    model_config = SettingsConfigDict(env_prefix="PRISM_", frozen=True, populate_by_name=True)

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 in a container")
    port: Port = Field(8000, validation_alias="PORT", description="port to listen on")
    workers: Workers = Field(
        1, validation_alias="WEB_CONCURRENCY", description="processes that serve, 64 at most"
    )
    max_connections: PositiveInt = Field(
        1000, description="connections that one process keeps open at most, else 503"
    )
    header_timeout: PositiveFloat = Field(
        10.0,
        description="seconds for the head of a request to come in, else its connection is closed",
    )
    models_dir: Path = Field(Path("models"), description="folder that holds the model folders")
    models: str = Field(
        "",
        description="models to serve, comma-separated, each a name or name=address; "
        "empty: every folder there",
    )
    default_model: str = Field(
        "",
        description="model that answers where a request names none; "
        "empty: mnist-cnn where it is served, else the first by name",
    )
    runtime: RuntimeName = Field(
        "auto", description="auto, onnx or torch; auto: torch on a GPU, else onnx"
    )
    timeout: PositiveFloat = Field(
        5.0,
        description="seconds from a received picture to its answer, else 504; a request may "
        "ask for less; a model that still loads is waited for as long",
    )
    body_timeout: PositiveFloat = Field(
        30.0, description="seconds in which the body of a request has to arrive, else 408"
    )
    max_bytes: PositiveInt = Field(20_000_000, description="bytes of one picture's file at most")
    max_pixels: PositiveInt = Field(50_000_000, description="pixels of one picture at most")
    max_batch_bytes: PositiveInt = Field(
        100_000_000, description="bytes of one request to /classify/batch at most"
    )
    queue_size: PositiveInt = Field(
        512, description="pictures of one model that may be inside at a time, else 429"
    )
    max_batch: PositiveInt = Field(32, description="pictures in one forward pass at most")
    threads: NonNegativeInt = Field(
        0, description="processors to plan for; 0: as many as the container's limit allows"
    )
    measure: bool = Field(
        True, description="true: measure in idle moments how the work is best spread"
    )
    scaled_decoding: bool = Field(
        True, description="true: decode a JPEG at reduced scale where the model needs few pixels"
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("prism"),
        description="folder for what the service keeps; a user data folder outside the tree",
    )
    history: bool = Field(
        True, description="true: answers are remembered; false: there is no history"
    )
    history_open: bool = Field(
        False, description="true: the history answers without an API key too, to whoever asks"
    )
    history_images: bool = Field(
        False, description="true: a small copy of each picture is kept, of 256 pixels at most"
    )
    history_days: Days = Field(30, description="days after which an answer is forgotten; 0: never")
    database_url: str = Field(
        "",
        repr=False,
        description="database of the history: sqlite:///FILE or "
        "postgresql://USER:PASSWORD@HOST/NAME; empty: history.db in PRISM_DATA_DIR",
    )
    api_keys: str = Field(
        "",
        repr=False,
        description="SHA-256 hashes of the API keys that are accepted, in hexadecimal, "
        "comma-separated; empty: no key is asked for",
    )
    source_timeout: PositiveFloat = Field(
        300.0, description="seconds in which one model is fetched from its address, else it fails"
    )
    source_max_bytes: PositiveInt = Field(
        2_000_000_000, description="bytes of one fetched model at most"
    )
    cache_max_bytes: NonNegativeInt = Field(
        10_000_000_000,
        description="bytes of fetched models to keep; those used longest ago are removed",
    )
    allow_private_sources: bool = Field(
        False, description="true: models may come from private networks and over http"
    )
    log_format: logs.Format = Field(
        "auto",
        description="auto, json or text; auto: text where the log goes to a terminal, else JSON",
    )
    log_level: logs.Level = Field(
        "info", description="debug, info, warning or error: the least that is logged"
    )

    @property
    def key_hashes(self) -> tuple[str, ...]:
        """What `api_keys` lists."""
        return tuple(part.strip() for part in self.api_keys.split(",") if part.strip())

    @field_validator("api_keys")
    @classmethod
    def _are_hashes(cls, given: str) -> str:
        parts = [part.strip() for part in given.lower().split(",")] if given.strip() else []
        if not all(re.fullmatch("[0-9a-f]{64}", part) for part in parts):
            raise PydanticCustomError(
                "api_keys",
                "SHA-256 hashes are expected, each of 64 hexadecimal digits, separated by commas; "
                "`python -m backend.api.middleware.api_keys` makes a key and its hash",
            )
        return ",".join(parts)

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, given: str) -> str:
        if given and not _DATABASES.fullmatch(given):
            raise PydanticCustomError(
                "database_url",
                "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME is expected",
            )
        if given.startswith("postgres") and find_spec("psycopg") is None:
            raise PydanticCustomError(
                "database_url", "PostgreSQL needs psycopg: pip install -r requirements/postgres.txt"
            )
        return given
