"""Every setting of a Tocsin process, in one frozen tree: read from the environment (`TOCSIN_…`), printed into the docs.

Refuses values of the wrong type or range when a process starts, naming the variable.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings. A field `api_port` is the variable `TOCSIN_API_PORT`."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", frozen=True, extra="ignore")

    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL (16 or newer) as the role `tocsin_app`, which owns nothing; `tocsin dev` has its own.",
    )
    database_owner_url: SecretStr | None = Field(
        default=None,
        description="The same database as `tocsin_owner`: migrations, partitions and the operator's commands.",
    )
    database_keeper_url: SecretStr | None = Field(
        default=None, description="The same database as `tocsin_keeper`: finds overdue work of all apps."
    )
    database_pool: int = Field(default=10, ge=2, le=200, description="Connections a process opens at most.")
    data_dir: Path = Field(
        default=Path(".tocsin"), description="Where `tocsin dev` keeps its state, keys and database."
    )
    api_host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(default=8080, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    vault_keys: Path | None = Field(
        default=None,
        description="File with the keys that seal provider credentials: for workers and `tocsin credentials` only.",
    )
    receipt_key: Path | None = Field(
        default=None, description="File with the key that signs delivery receipts: the workers sign, the API verifies."
    )
    lab_url: str | None = Field(
        default=None,
        description="Where the lab answers over TLS, such as https://localhost:9443: all that a test app reaches.",
    )
    lab_ca: Path | None = Field(default=None, description="The lab's own certificate authority (PEM).")
    worker_batches: int = Field(default=4, ge=1, le=64, description="Batches a worker has on the wire at once.")
    retention_days: int = Field(
        default=30, ge=1, le=3650, description="Days for which notifications and their deliveries can be read back."
    )
    demo: bool = Field(default=False, description="Serve the demo page under /demo/ (`tocsin dev` does).")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["text", "json"] = Field(default="json", description="How a log line is written.")
