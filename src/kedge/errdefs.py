"""The failure classes every layer of kedge speaks.

A class says what kind of failure happened, in the words of the Engine API. The server maps
each class to one HTTP status (`kedge.api.errors`); no other module knows about statuses.
Messages are lower case, name the object and the way out, and end without a full stop; where
clients match on Docker's own text, that text is used.

    KedgeError
    ├── NotFoundError            404
    ├── InvalidParameterError    400
    ├── ConflictError            409
    ├── UnauthorizedError        401
    ├── ForbiddenError           403
    ├── NotModifiedError         304
    ├── NotSupportedError        501
    ├── UnavailableError         503
    └── SystemFailureError       500
        ├── DataLossError        500
        └── HookFailedError      500
"""


class KedgeError(Exception):
    """Base of every error kedge raises on purpose; its text is one line for a person."""


class NotFoundError(KedgeError):
    """The named object does not exist."""


class InvalidParameterError(KedgeError):
    """The request is malformed or asks for something that can never work."""


class ConflictError(KedgeError):
    """The object's current state forbids the request; a change of state would allow it."""


class UnauthorizedError(KedgeError):
    """Credentials are missing, wrong or expired."""


class ForbiddenError(KedgeError):
    """The request is understood and refused, whoever asks."""


class NotModifiedError(KedgeError):
    """The object is already in the requested state."""


class NotSupportedError(KedgeError):
    """This engine, kernel or build of kedge does not do that."""


class UnavailableError(KedgeError):
    """A peer or a resource cannot be reached now; trying again may work."""


class SystemFailureError(KedgeError):
    """The host or the kernel refused something that should have worked."""


class DataLossError(SystemFailureError):
    """Stored or received bytes are not what their digest says."""


class HookFailedError(SystemFailureError):
    """A lifecycle hook of a container failed, which ends the container."""
