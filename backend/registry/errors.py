"""Exceptions of the registry. Their messages are shown to clients.

PrismError
└── RegistryError
    ├── ReservedNameError      the name belongs to the operator
    ├── InvalidModelError      the upload is not a taught model that can be served
    ├── UploadTooLargeError    a part of the upload is too large
    ├── UnknownVersionError    the model has no such version
    ├── ActiveVersionError     the active version cannot be deleted, or be the shadow
    ├── NoShadowError          the model has no shadow
    ├── StoreFullError         a limit on models, versions or bytes is reached
    └── StoreUnavailableError  the store cannot be read or written now
        └── ConflictError      another process has changed the index
"""

from backend.inference.errors import PrismError


class RegistryError(PrismError):
    """A change of the registry is refused or failed; nothing has changed."""


class ReservedNameError(RegistryError):
    """The name is `auto` or that of a model of the operator."""


class InvalidModelError(RegistryError):
    """The upload is not a taught model that this service can serve."""


class UploadTooLargeError(RegistryError):
    """A part of the upload exceeds its limit."""


class UnknownVersionError(RegistryError):
    """The model has no such version."""


class ActiveVersionError(RegistryError):
    """The active version cannot be deleted, or be the shadow."""


class NoShadowError(RegistryError):
    """The model has no shadow."""

    def __init__(self) -> None:
        super().__init__("The model has no shadow. PUT /models/NAME/shadow makes a version one.")


class StoreFullError(RegistryError):
    """A limit on the number of models or versions, or on their bytes, is reached."""


class StoreUnavailableError(RegistryError):
    """The store cannot be read or written now."""


class ConflictError(StoreUnavailableError):
    """The index was changed by another process since it was read."""
