"""Objects in a bucket of S3 or of anything that speaks its protocol, through botocore.

Credentials, region and the rest come from where every AWS tool looks for them: the environment,
``~/.aws``, the role of the machine. Large objects go in parts, a few at a time.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import BinaryIO, Final, NamedTuple, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

from kedge.errdefs import InvalidParameterError, SystemFailureError
from kedge.registry.failures import DistributionError, ErrorCode
from kedge.registry.objects import StoredObject

_PART_BYTES: Final = 8 << 20
_PARTS_MAX: Final = 10_000
_PARTS_AT_ONCE: Final = 4
_CHUNK_BYTES: Final = 1 << 20
_CONNECTIONS: Final = 64
_CONNECT_S: Final = 10
_ADDRESS_SECONDS: Final = 20 * 60
_NOT_THERE: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})

Fields: TypeAlias = Mapping[str, object]


class S3Settings(NamedTuple):
    """Which bucket, and where.

    Attributes:
        prefix: Begins every key; empty or ending with a slash.
        endpoint: URL of a store that is not Amazon's; empty for Amazon's own.
        region: Empty where the environment says it.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""


class _Body(Protocol):
    def read(self, amt: int) -> bytes: ...

    def close(self) -> None: ...


class _Call(Protocol):
    def __call__(self, **fields: object) -> Fields: ...


class _Client(Protocol):
    """The part of botocore's client, which has no types, that is used here."""

    put_object: _Call
    get_object: _Call
    head_object: _Call
    head_bucket: _Call
    delete_object: _Call
    list_objects_v2: _Call
    create_multipart_upload: _Call
    upload_part: _Call
    complete_multipart_upload: _Call
    abort_multipart_upload: _Call
    list_multipart_uploads: _Call

    def generate_presigned_url(
        self,
        ClientMethod: str,  # noqa: N803 - its names
        Params: Fields,  # noqa: N803
        ExpiresIn: int,  # noqa: N803
    ) -> str: ...

    def close(self) -> None: ...


class S3Objects:
    """Objects of one bucket below one prefix; thread-safe."""

    def __init__(self, settings: S3Settings) -> None:
        """Connect, and see that the bucket is there and ours to use.

        Raises:
            InvalidParameterError: The settings cannot be right.
            SystemFailureError: botocore is not installed.
            DistributionError: There is no such bucket, or it does not let us in.
        """
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._where = f"bucket {settings.bucket}"
        if settings.endpoint:
            parts = urlsplit(settings.endpoint)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
                raise InvalidParameterError(
                    f"invalid --s3-endpoint {parts.hostname or settings.endpoint!r}:"
                    " want https://host or http://host:port"
                )
            self._where += f" at {settings.endpoint}"
        self._client, self._failures = _connect(settings)
        self._parts = ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="s3-part")
        try:
            with self._told("use"):
                self._client.head_bucket(Bucket=self._bucket)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the worker threads and close the connections."""
        self._parts.shutdown()
        self._client.close()

    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Store a small object; see `Objects`."""
        with self._told("write to"):
            self._client.put_object(**self._at(key), Body=data, ContentType=media_type)

    def put_file(self, key: str, file: BinaryIO, size_bytes: int) -> None:
        """Store a file's bytes, in parts where they are many; see `Objects`."""
        with self._told("write to"):
            if size_bytes <= _PART_BYTES:
                self._client.put_object(**self._at(key), Body=file.read())
            else:
                self._put_parts(key, file, size_bytes)

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Return a small object and its media type; see `Objects`."""
        with self._told("read from"):
            found = self._unless_gone(lambda: self._client.get_object(**self._at(key)))
            if found is None:
                return None
            body = cast("_Body", found["Body"])
            try:
                return body.read(-1), str(found.get("ContentType", ""))
            finally:
                body.close()

    def size_bytes(self, key: str) -> int | None:
        """Return an object's size; see `Objects`."""
        with self._told("read from"):
            found = self._unless_gone(lambda: self._client.head_object(**self._at(key)))
        return None if found is None else cast("int", found["ContentLength"])

    def chunks(self, key: str, offset: int, length: int) -> Iterator[bytes] | None:
        """Return a part of an object, piece by piece; see `Objects`."""
        if length == 0:
            return iter(()) if self.size_bytes(key) is not None else None
        span = f"bytes={offset}-{offset + length - 1}"
        with self._told("read from"):
            found = self._unless_gone(lambda: self._client.get_object(**self._at(key), Range=span))
        return None if found is None else self._pieces(cast("_Body", found["Body"]))

    def delete(self, key: str) -> None:
        """Remove an object; see `Objects`."""
        with self._told("remove from"):
            self._client.delete_object(**self._at(key))

    def walk(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix, a page at a time; see `Objects`."""
        more: dict[str, object] = {}
        while True:
            with self._told("list"):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, **more
                )
            for entry in cast("list[Fields]", page.get("Contents", [])):
                key = str(entry["Key"]).removeprefix(self._prefix)
                yield StoredObject(key, cast("int", entry["Size"]))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def address(self, key: str) -> str:
        """Return a URL that is good for twenty minutes; see `Objects`."""
        return self._client.generate_presigned_url(
            "get_object", Params=self._at(key), ExpiresIn=_ADDRESS_SECONDS
        )

    def abandon_uploads(self, older_than_s: float) -> None:
        """Remove the parts of uploads nobody will complete; see `Objects`."""
        with self._told("list"):
            page = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix)
            for upload in cast("list[Fields]", page.get("Uploads", [])):
                age = datetime.now(UTC) - cast("datetime", upload["Initiated"])
                if age.total_seconds() > older_than_s:
                    self._unless_gone(
                        lambda upload=upload: self._client.abort_multipart_upload(  # type: ignore[misc]
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                    )

    def _put_parts(self, key: str, file: BinaryIO, size_bytes: int) -> None:
        upload = self._client.create_multipart_upload(**self._at(key))["UploadId"]
        part_bytes = max(_PART_BYTES, size_bytes // (_PARTS_MAX - 1))

        def send(number: int) -> Fields:
            # Read here, so that there are as many parts in memory as threads.
            data = os.pread(file.fileno(), part_bytes, (number - 1) * part_bytes)
            done = self._client.upload_part(
                **self._at(key), UploadId=upload, PartNumber=number, Body=data
            )
            return {"PartNumber": number, "ETag": done["ETag"]}

        numbers = range(1, -(-size_bytes // part_bytes) + 1)
        jobs = [self._parts.submit(send, number) for number in numbers]
        try:
            parts = [job.result() for job in jobs]
            self._client.complete_multipart_upload(
                **self._at(key), UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            for job in jobs:
                job.cancel()
            wait(jobs)
            with suppress(*self._failures):
                self._client.abort_multipart_upload(**self._at(key), UploadId=upload)
            raise

    def _pieces(self, body: _Body) -> Iterator[bytes]:
        try:
            while True:
                with self._told("read from"):
                    data = body.read(_CHUNK_BYTES)
                if not data:
                    return
                yield data
        finally:
            body.close()

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _unless_gone(self, call: Callable[[], Fields]) -> Fields | None:
        try:
            return call()
        except self._failures as error:
            if _code(error) in _NOT_THERE:
                return None
            raise

    @contextmanager
    def _told(self, doing: str) -> Generator[None, None, None]:
        """Turn the library's failures into one line that names the bucket."""
        try:
            yield
        except self._failures as error:
            raise DistributionError(
                ErrorCode.UNAVAILABLE, f"cannot {doing} {self._where}: {_reason(error)}"
            ) from error


def _connect(settings: S3Settings) -> tuple[_Client, tuple[type[Exception], ...]]:
    """Return a client and the classes of what it raises."""
    try:
        session = import_module("botocore.session").get_session()
        exceptions = import_module("botocore.exceptions")
        http_error: type[Exception] = import_module("urllib3.exceptions").HTTPError
        config = import_module("botocore.config").Config(
            max_pool_connections=_CONNECTIONS,
            connect_timeout=_CONNECT_S,
            retries={"mode": "standard"},
            # Other stores than Amazon's know no checksums in trailers; TLS and digests do for all.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # The name of a bucket as a host is Amazon's way alone.
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
        )
    except ModuleNotFoundError as error:
        raise SystemFailureError(
            f"storage in a bucket needs {error.name}: pip install 'kedge[s3]'"
        ) from error
    failures = cast(
        "tuple[type[Exception], ...]",
        (exceptions.BotoCoreError, exceptions.ClientError, http_error),
    )
    # What botocore says of a malformed endpoint.
    malformed: tuple[type[Exception], ...] = (*failures, ValueError)
    try:
        client = session.create_client(
            "s3",
            region_name=settings.region or None,
            endpoint_url=settings.endpoint or None,
            config=config,
        )
    except malformed as error:
        raise InvalidParameterError(f"cannot use bucket {settings.bucket}: {error}") from error
    return cast("_Client", client), failures


def _code(error: Exception) -> str:
    response = cast("Fields", getattr(error, "response", {}))
    problem = cast("Fields", response.get("Error", {}))
    return str(problem.get("Code", ""))


def _reason(error: Exception) -> str:
    reasons = {
        "404": "there is no such bucket",
        "NoSuchBucket": "there is no such bucket",
        "403": "access denied: check the credentials and the bucket's policy",
    }
    return reasons.get(_code(error)) or " ".join(str(error).split())
